//! `annal registry start`, `leader`, `terms` and `forget`.

use tokio::task;

use super::args::{Connection, RegistryForget, RegistryStart, Shared};
use super::connection::{ADMIN, CLIENT, Target, target};
use super::failure::{End, Failure};
use super::logs::{self, LogSettings};
use super::output::Printer;
use super::rows::{ForgottenRow, TermRow};
use super::{parent, renewal, runtime};
use crate::address::Address;
use crate::config::REGISTRY_FOLDER;
use crate::limits;
use crate::net::{self, CertificateRole, Credentials, Endpoint, Protocol};
use crate::node::privacy::warn_of_others;
use crate::node::start::{PreparedRegistry, prepare_registry};
use crate::outcome::Outcome;
use crate::registry::{self, LookupError, Server, ServerError};
use crate::store;
use crate::types::Term;
use crate::wire::registry::Announcement;

/// Runs the registry until it is stopped.
pub(super) fn start(args: &RegistryStart, shared: &Shared) -> Result<(), End> {
    logs::install(LogSettings {
        format: shared.log_format,
        filter: shared.log_filter.as_deref(),
        default_filter: logs::SERVER_FILTER,
        name: REGISTRY_FOLDER.to_owned(),
        named_by_parent: args.child.parent_pipe,
    })?;
    store::install_panic_hook();
    runtime::check_room_to_serve()?;
    if args.child.parent_pipe {
        parent::stop_when_it_ends();
    }
    let prepared = prepare_registry(&args.data, &args.dir)?;
    if let Some(directory) = &prepared.wrote {
        tracing::info!(dir = %directory.display(), "made a new cluster of three nodes");
    }
    warn_of_others(&prepared.data, &prepared.certs);
    let credentials = credentials(&prepared)?;
    runtime::serve(serve(&prepared, &credentials))
}

/// The registry's certificate, which has to be a registry's.
fn credentials(prepared: &PreparedRegistry) -> Result<Credentials, Failure> {
    let credentials = Credentials::load(&prepared.certs, REGISTRY_FOLDER)
        .map_err(|error| Failure::new(Outcome::Failed, &error, error.hint()))?;
    let found = credentials.identity();
    if found.role == CertificateRole::Registry {
        return Ok(credentials);
    }
    let file = prepared.certs.join("registry.crt");
    let sentence = format!("{} is the certificate of {found}, not of a registry", file.display());
    Err(Failure::new(
        Outcome::Failed,
        sentence,
        "`annal cert issue registry registry`, where ca.key is, makes one; copy its two files here",
    ))
}

/// Serves until a signal.
async fn serve(prepared: &PreparedRegistry, credentials: &Credentials) -> Result<(), End> {
    let endpoint = net::listen(&prepared.config.listen, credentials, &[Protocol::Registry])
        .await
        .map_err(|error| {
        Failure::new(Outcome::Failed, &error, error.hint()).occupied(error.is_occupied())
    })?;
    let (data, opening) = (prepared.data.clone(), endpoint.clone());
    let kept = credentials.clone();
    runtime::until_signal(|stop| async move {
        renewal::keep_current(kept, !runtime::hang_up_stops())?;
        // Beside this thread, which hears the signals meanwhile.
        let opening = task::spawn_blocking(move || Server::start(&data, opening));
        let server = match stop.run_until_cancelled(opening).await {
            Some(server) => server.expect("a panic ends the process").map_err(|e| failed(&e))?,
            None => return Ok(()),
        };
        tracing::info!("listening on {}", endpoint.local_address());
        let closing = endpoint.clone();
        tokio::spawn(async move {
            stop.cancelled().await;
            closing.close();
        });
        server.stopped().await.map_err(|error| failed(&error))?;
        endpoint.closed(limits::CONNECT_TIMEOUT).await;
        tracing::info!("stopped");
        Ok(())
    })
    .await
}

fn failed(error: &ServerError) -> Failure {
    let code = if error.is_damage() { Outcome::Damage } else { Outcome::Failed };
    Failure::new(code, error, error.hint()).occupied(error.is_occupied())
}

/// Prints who led last.
pub(super) fn leader(args: &Connection, printer: &mut Printer) -> Result<(), End> {
    let target = target(args)?;
    let last = runtime::wait(async {
        let (endpoint, address) = reach(&target)?;
        registry::leader(&endpoint, address, target.cluster, target.timeout)
            .await
            .map_err(|error| unanswered(&error).into())
    })?;
    let last = last.ok_or_else(|| {
        let sentence = "the registry knows no leader of this cluster yet";
        Failure::new(Outcome::Failed, sentence, "`annal client status` asks the nodes")
    })?;
    Ok(printer.print_now(&row(last))?)
}

/// Prints who led each term.
pub(super) fn terms(args: &Connection, printer: &mut Printer) -> Result<(), End> {
    let target = target(args)?;
    runtime::wait(print_terms(&target, printer))
}

/// The same, for whoever has a runtime.
pub(super) async fn print_terms(target: &Target, printer: &mut Printer) -> Result<(), End> {
    let terms = known_terms(target).await?;
    terms.into_iter().try_for_each(|term| printer.print(&row(term)))?;
    Ok(printer.flush()?)
}

/// Has it forget a term, or that and all later ones.
pub(super) fn forget(args: &RegistryForget, printer: &mut Printer) -> Result<(), End> {
    let target = target(&args.connection)?;
    let which = (target.cluster, Term::new(args.term), args.and_later);
    let terms = runtime::wait(async {
        let (endpoint, address) = reach_as(&target, ADMIN)?;
        registry::forget(&endpoint, address, which, target.timeout)
            .await
            .map_err(|error| unanswered(&error).into())
    })?;
    Ok(printer.print_now(&ForgottenRow { terms })?)
}

/// All terms that the registry knows, oldest first.
pub(super) async fn known_terms(target: &Target) -> Result<Vec<Announcement>, Failure> {
    let (endpoint, address) = reach(target)?;
    registry::terms(&endpoint, address, target.cluster, target.timeout)
        .await
        .map_err(|error| unanswered(&error))
}

/// A socket, and where the registry is.
fn reach(target: &Target) -> Result<(Endpoint, &Address), Failure> {
    reach_as(target, CLIENT)
}

/// The same, with the certificate of this name.
fn reach_as<'a>(target: &'a Target, name: &str) -> Result<(Endpoint, &'a Address), Failure> {
    let address = target.registry.as_ref().ok_or_else(|| {
        let hint = "`annal client status` asks the nodes; --registry says where one is";
        Failure::new(Outcome::Failed, "this cluster has no registry", hint)
    })?;
    let credentials = Credentials::load(&target.certs, name)
        .map_err(|error| Failure::new(Outcome::Failed, &error, error.hint()))?;
    let endpoint = Endpoint::client(&credentials)
        .map_err(|error| Failure::new(Outcome::Failed, &error, error.hint()))?;
    Ok((endpoint, address))
}

fn row(announcement: Announcement) -> TermRow {
    TermRow {
        name: announcement.name(),
        term: announcement.term,
        node: announcement.node,
        address: announcement.address,
        time: announcement.time,
    }
}

fn unanswered(error: &LookupError) -> Failure {
    let hint = match error.hint() {
        "" => "registry and program may be of different versions",
        hint => hint,
    };
    Failure::new(Outcome::Failed, error, hint)
}
