//! `annal status`, `annal leader` and `annal crash-leader`.

use tokio::time::sleep;

use super::failure::{End, Failure};
use super::output::Printer;
use super::rows::LeaderRow;
use super::runtime::Interruption;
use crate::client::report::{CrashRow, StatusRow};
use crate::client::{Client, CrashError, Crashed, Leading, NodeStatus, Status};
use crate::limits::STATUS_WATCH_EVERY;
use crate::outcome::Outcome;

/// Prints what every part of the cluster says of itself. Returns who leads.
pub(super) async fn status(client: &Client, printer: &mut Printer) -> Result<Option<Leading>, End> {
    let status = client.status().await;
    printer.print_now(&StatusRow::of(&status))?;
    led(&status)?;
    Ok(status.leader)
}

/// Prints it again and again, until a signal. On a terminal each takes the place of the one before.
pub(super) async fn watch(client: &Client, printer: &mut Printer) -> Result<(), End> {
    let interruption = Interruption::listen(|| {}, ended_at_once())?;
    printer.clear_screen()?;
    let looking = async {
        loop {
            let status = client.status().await;
            let reason = status.unavailable.as_ref().map(ToString::to_string);
            printer.print_in_place(&StatusRow { reason, ..StatusRow::of(&status) })?;
            sleep(STATUS_WATCH_EVERY).await;
        }
    };
    tokio::select! {
        ended = looking => ended,
        // There is no other end.
        () = interruption.notice().cancelled() => Ok(()),
    }
}

/// The last words where nobody reads what is printed.
fn ended_at_once() -> Failure {
    let hint = "whoever was to read it did not take it";
    Failure::new(Outcome::Failed, "interrupted again: it was ended at once", hint)
}

/// Prints who leads. Returns that.
pub(super) async fn leader(client: &Client, printer: &mut Printer) -> Result<Option<Leading>, End> {
    let status = client.status().await;
    led(&status)?;
    let is_leader = |node: &&NodeStatus| Some(node.node) == status.leader.map(|found| found.node);
    if let (Some(leading), Some(node)) = (status.leader, status.nodes.iter().find(is_leader)) {
        let address = node.address.to_string();
        printer.print_now(&LeaderRow { leader: leading.node, term: leading.term, address })?;
    }
    Ok(status.leader)
}

/// Whatever the reason: without a leader there is nothing to work with.
fn led(status: &Status) -> Result<(), Failure> {
    match &status.unavailable {
        Some(reason) => Err(Failure::of(status.outcome(), reason, reason.hint())),
        None => Ok(()),
    }
}

/// Crashes the leader, and prints who leads next. Returns that.
pub(super) async fn crash_leader(
    client: &Client,
    printer: &mut Printer,
) -> Result<Option<Leading>, End> {
    let crashed = client.crash_leader().await;
    match &crashed {
        Ok(crashed) => {
            printer.print_now(&CrashRow::from(crashed))?;
            let Crashed { new_term: term, new_leader: node, .. } = *crashed;
            return Ok(Some(Leading { term, node }));
        }
        Err(CrashError::NoSuccessor { node, term, .. }) => printer.print_now(&CrashRow {
            crashed: *node,
            term: *term,
            new_leader: None,
            new_term: None,
            failover_ms: None,
        })?,
        Err(_) => {}
    }
    let error = crashed.expect_err("success has returned");
    Err(Failure::of(error.outcome(), &error, error.hint()).into())
}
