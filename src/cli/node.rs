//! `annal node start`, `inspect`, `recover` and `set-term`.

use std::path::Path;
use std::sync::{Arc, Mutex};

use super::args::{NodeInspect, NodeRecover, NodeSetTerm, NodeStart, Shared};
use super::entry_rows::EntryRow;
use super::failure::{End, Failure};
use super::logs::{self, LogSettings};
use super::output::Printer;
use super::parent::ChildWord;
use super::rows::{InspectRow, RecoverRow, SetTermRow};
use super::{allocator, parent, renewal, runtime};
use crate::config::{NODE_FILE, NodeConfig};
use crate::net::{CertificateIdentity, CertificateRole, Credentials};
use crate::node::anew::{self, AnewError};
use crate::node::folders::NEW_FILE;
use crate::node::privacy::warn_of_others;
use crate::node::start::{PreparedNode, prepare_node};
use crate::node::waiting::{self, Waited};
use crate::node::{self, Ended, RunError, Settings};
use crate::outcome::Outcome;
use crate::store::{self, Inspection, Seen, SetTermError, StoreError};
use crate::types::{Index, Term};

/// Runs a node until it is stopped.
pub(super) fn start(args: &NodeStart, shared: &Shared) -> Result<(), End> {
    allocator::give_back()?;
    let name = args.data.file_name().unwrap_or_default().to_string_lossy().into_owned();
    logs::install(LogSettings {
        format: shared.log_format,
        filter: shared.log_filter.as_deref(),
        default_filter: logs::SERVER_FILTER,
        name,
        named_by_parent: args.child.parent_pipe,
    })?;
    store::install_panic_hook();
    runtime::check_room_to_serve()?;
    if args.child.parent_pipe {
        parent::stop_when_it_ends();
    }
    let prepared = prepare_node(&args.data, &args.dir)?;
    if let Some(directory) = &prepared.wrote {
        tracing::info!(dir = %directory.display(), "made a new cluster of three nodes");
    }
    warn_of_others(&prepared.data, &prepared.certs);
    run(prepared)
}

/// Hands over to the node itself, until a signal asks it to stop.
fn run(prepared: PreparedNode) -> Result<(), End> {
    let credentials = credentials(&prepared)?;
    let PreparedNode { data, config, certs, .. } = prepared;
    if anew::was_begun(&data).map_err(|error| store_failure(&error))? {
        begin_anew(&data, &config)?;
    }
    let on_recovered = |report: &str| parent::tell(&ChildWord::Recovered(report.to_owned()));
    let (folder, found) = (data.clone(), config.clone());
    let kept = credentials.clone();
    let settings =
        Settings { data: folder, config: found, credentials: kept.clone(), certs, on_recovered };
    let lost = Arc::new(Mutex::new(false));
    let (noted, judge) = (lost.clone(), config.clone());
    let ended = runtime::serve(runtime::until_signal(|stop| async move {
        renewal::keep_current(kept, !runtime::hang_up_stops())?;
        Box::pin(node::run(settings, stop)).await.map_err(|error| {
            *noted.lock().expect("nobody panics with it") = anew::is_wanted(&judge, &error);
            failure_of(&error).into()
        })
    }));
    match ended {
        Ok(Ended::StartsAgain) => Err(allocator::begin_again().into()),
        Err(End::Failed(failure)) if *lost.lock().expect("nobody panics with it") => {
            tracing::error!("{}", failure.sentence);
            let why_not = match wait_for_others(&data, &config, credentials) {
                Ok(Waited::Stopped) => return Ok(()),
                Ok(Waited::MayBegin) => begin_anew(&data, &config).err().map(End::from),
                Err(why_not) => Some(why_not),
            };
            match why_not {
                // With the same process id: whoever started this one need not know.
                None => Err(allocator::begin_again().into()),
                Some(End::Failed(why_not)) => {
                    tracing::error!("it does not begin anew: {}", why_not.sentence);
                    Err(End::Failed(failure))
                }
                Some(end) => Err(end),
            }
        }
        ended => ended.map(|_| ()),
    }
}

/// Waits until the others can do without what the node had, if it may begin anew at all.
fn wait_for_others(
    data: &Path,
    config: &NodeConfig,
    credentials: Credentials,
) -> Result<Waited, End> {
    anew::check(data, config).map_err(|error| anew_failure(&error))?;
    runtime::serve(runtime::until_signal(|stop| async move {
        renewal::keep_current(credentials.clone(), !runtime::hang_up_stops())?;
        let waiting = waiting::until_others_are_sound(data, config, &credentials, stop);
        waiting.await.map_err(|error| failure_of(&error).into())
    }))
}

fn failure_of(error: &RunError) -> Failure {
    let failure = Failure::new(error.outcome(), error, some_hint(error.hint()));
    failure.occupied(error.is_occupied())
}

/// Sets the store aside and makes a new one that the others fill.
fn begin_anew(data: &Path, config: &NodeConfig) -> Result<(), Failure> {
    let suspect = anew::begin(data, config).map_err(|error| anew_failure(&error))?;
    tracing::warn!(
        node = %config.node,
        "begins anew: what was there is set aside as {suspect}… in its folder, and the others fill a new \
         store; until then it does not vote"
    );
    Ok(())
}

fn anew_failure(error: &AnewError) -> Failure {
    Failure::new(error.outcome(), error, error.hint())
}

fn store_failure(error: &StoreError) -> Failure {
    let code = if error.is_damage() { Outcome::Damage } else { Outcome::Failed };
    Failure::new(code, error, error.hint())
}

/// Has a stopped node begin anew.
pub(super) fn recover(args: &NodeRecover, printer: &mut Printer) -> Result<(), End> {
    let config = NodeConfig::load(&args.data)
        .map_err(|error| Failure::new(Outcome::Failed, &error, error.hint()))?;
    let suspect = anew::begin(&args.data, &config).map_err(|error| anew_failure(&error))?;
    printer.print_now(&RecoverRow { node: config.node, set_aside: format!("{suspect}*") })?;
    Ok(())
}

fn some_hint(hint: String) -> String {
    if hint.is_empty() { "the lines above say more".to_owned() } else { hint }
}

/// The node's certificate, which has to be the node's.
fn credentials(prepared: &PreparedNode) -> Result<Credentials, Failure> {
    let config = &prepared.config;
    let name = config.node.to_string();
    let credentials = Credentials::load(&prepared.certs, &name)
        .map_err(|error| Failure::new(Outcome::Failed, &error, error.hint()))?;
    let expected = CertificateIdentity {
        cluster: config.cluster,
        role: CertificateRole::Node,
        name: name.clone(),
    };
    if *credentials.identity() == expected {
        return Ok(credentials);
    }
    let file = prepared.certs.join(format!("{name}.crt"));
    let found = credentials.identity();
    let sentence = format!("{} is the certificate of {found}, not of {expected}", file.display());
    Err(Failure::new(
        Outcome::Failed,
        sentence,
        "`annal cert issue node` with its name, where ca.key is, makes one; copy its two files here",
    ))
}

/// Looks into a stopped node's folder.
pub(super) fn inspect(args: &NodeInspect, printer: &mut Printer) -> Result<(), End> {
    let (row, is_lost) = inspection(args, printer)?;
    let is_damaged = !row.damage.is_empty();
    if is_damaged || args.from.is_none() {
        printer.print(&row)?;
    }
    printer.flush()?;
    if is_damaged {
        let sentence = "the folder is damaged, and was left as it is";
        let hint = if is_lost {
            "start it: with `recover = \"auto\"` it keeps what is there, begins anew as soon as enough of the others \
             are sound, and they fill it"
        } else {
            "start it: it has these segments mended of what another node has, and counts all the while"
        };
        return Err(Failure::new(Outcome::Damage, sentence, hint).into());
    }
    Ok(())
}

/// Asks the store what is in the folder, and prints the entries that are asked for.
fn inspection(args: &NodeInspect, printer: &mut Printer) -> Result<(InspectRow, bool), End> {
    let mut told = Ok(());
    let mut left = args.limit.unwrap_or(u64::MAX);
    let list = |seen: Seen<'_>| {
        let Seen::Entry(entry) = seen else { return };
        let is_wanted = args.from.is_some_and(|from| from <= entry.id().index) && left > 0;
        if is_wanted && told.is_ok() {
            left -= 1;
            told = printer.print(&EntryRow::from(entry));
        }
    };
    let found = store::inspect_each(&args.data, args.at, list);
    let found = found.map_err(|error| no_inspection(&args.data, &error))?;
    told?;
    let is_lost = found.is_lost;
    Ok((row_of(args, found)?, is_lost))
}

fn row_of(args: &NodeInspect, found: Inspection) -> Result<InspectRow, Failure> {
    let last = found.last.id.index;
    let is_there = |at: &Index| (found.first_index..=last).contains(at);
    // Damage is told first: it may be why the entry is not there.
    let asked = args.at.or(args.from);
    if let Some(at) = asked.filter(|at| !is_there(at) && found.damage.is_empty()) {
        let sentence =
            format!("entry {at} is not there: the log has {} to {last}", found.first_index);
        let hint = "without an index all of it is verified";
        return Err(Failure::new(Outcome::Failed, sentence, hint));
    }
    Ok(InspectRow {
        node: found.identity.node,
        term: found.hard_state.current_term,
        voted_for: found.hard_state.voted_for,
        segments: found.segments,
        first_index: found.first_index,
        last_index: found.last.id.index,
        commit_index: found.commit_index,
        next_offset: found.next_offset,
        chain: found.chain.map(|chain| chain.to_string()),
        damage: found.damage,
    })
}

/// Why there is nothing to show. A folder that never held a store has lost none.
pub(super) fn no_inspection(data: &Path, error: &StoreError) -> Failure {
    let is_missing = matches!(error, StoreError::Missing { .. });
    let is_there = |name| data.join(name).try_exists().unwrap_or(true);
    let was_node = is_there(NODE_FILE) && !is_there(NEW_FILE);
    if is_missing && !was_node {
        let hint = "--data names the folder of a node that was started before, as ./data/n1";
        return Failure::new(Outcome::Failed, error, hint);
    }
    let code = if error.is_damage() { Outcome::Damage } else { Outcome::Failed };
    Failure::new(code, error, error.hint())
}

/// Gives a stopped node another term.
pub(super) fn set_term(args: &NodeSetTerm, printer: &mut Printer) -> Result<(), End> {
    let opened = || {
        let identity = store::inspect(&args.data, None)?.identity;
        let lock = store::lock(&args.data)?;
        store::open(&args.data, identity, store::Options::default(), lock)
    };
    let (store, _) = opened().map_err(|error| store_failure(&error))?;
    let (before, now) = store.set_term(args.term.map(Term::new)).map_err(|error| match error {
        SetTermError::Store(error) => store_failure(&error),
        error => Failure::new(Outcome::Failed, error, "see `annal node set-term --help`"),
    })?;
    printer.print_now(&SetTermRow { before, now })?;
    Ok(())
}
