//! `annal registry start`, `leader` and `terms`.

use super::args::{Connection, RegistryStart, Shared};
use super::connection;
use super::failure::{Code, End, Failure};
use super::logs::{self, LogSettings};
use super::output::Printer;
use super::{parent, runtime};
use crate::node::start::{PreparedRegistry, prepare_registry};

/// Runs the registry until it is stopped.
pub(super) fn start(args: &RegistryStart, shared: &Shared) -> Result<(), End> {
    logs::install(LogSettings {
        format: shared.log_format,
        filter: shared.log.as_deref(),
        default_filter: logs::SERVER_FILTER,
        name: "registry".to_owned(),
        named_by_parent: args.child.parent_pipe,
    })?;
    if args.child.parent_pipe {
        parent::stop_when_it_ends();
    }
    let prepared = prepare_registry(&args.data, &args.dir)?;
    if let Some(directory) = &prepared.wrote {
        tracing::info!(dir = %directory.display(), "made a new cluster of three nodes");
    }
    runtime::wait(serve(prepared))
}

/// Serves until SIGINT or SIGTERM.
async fn serve(prepared: PreparedRegistry) -> Result<(), End> {
    // Stub until branch `net` has landed.
    let _ = prepared;
    runtime::until_signal(|stop| async move {
        stop.cancelled().await;
        Ok(())
    })
    .await
}

/// Prints who led last.
pub(super) fn leader(args: &Connection, printer: &mut Printer) -> Result<(), End> {
    let settings = connection::target(args)?;
    let _ = (settings, printer);
    Err(Failure::new(Code::Failed, "this build has no registry yet", "wait for it").into())
}

/// Prints who led each term.
pub(super) fn terms(args: &Connection, printer: &mut Printer) -> Result<(), End> {
    leader(args, printer)
}
