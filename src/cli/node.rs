//! `annal node start` and `annal node inspect`.

use super::args::{NodeInspect, NodeStart, Shared};
use super::failure::{Code, End, Failure};
use super::logs::{self, LogSettings};
use super::output::{Printer, talk};
use super::rows::InspectRow;
use super::{parent, runtime};
use crate::node::start::{PreparedNode, prepare_node};

/// Runs a node until it is stopped.
pub(super) fn start(args: &NodeStart, shared: &Shared) -> Result<(), End> {
    let name = args.data.file_name().unwrap_or_default().to_string_lossy().into_owned();
    logs::install(LogSettings {
        format: shared.log_format,
        filter: shared.log.as_deref(),
        default_filter: logs::SERVER_FILTER,
        name,
        named_by_parent: args.child.parent_pipe,
    })?;
    if args.child.parent_pipe {
        parent::stop_when_it_ends();
    }
    let prepared = prepare_node(&args.data, &args.dir)?;
    if let Some(directory) = &prepared.wrote {
        tracing::info!(dir = %directory.display(), "made a new cluster of three nodes");
    }
    run(prepared)
}

/// Hands over to the node itself.
fn run(prepared: PreparedNode) -> Result<(), End> {
    // Stub until the node has landed.
    let _ = (prepared, runtime::wait(async { Ok(()) })?);
    Err(Failure::new(Code::Failed, "this build has no node yet", "wait for it").into())
}

/// Looks into a stopped node's folder.
pub(super) fn inspect(args: &NodeInspect, printer: &mut Printer) -> Result<(), End> {
    let row = inspection(args)?;
    let is_damaged = !row.damage.is_empty();
    printer.print_now(&row)?;
    if is_damaged {
        talk("error: the folder is damaged, and was left as it is");
        return Err(End::Said(Code::Damage));
    }
    Ok(())
}

/// Asks the store what is in the folder.
fn inspection(args: &NodeInspect) -> Result<InspectRow, Failure> {
    // Stub until the store has landed.
    let _ = args;
    Err(Failure::new(Code::Failed, "this build has no store yet", "wait for it"))
}
