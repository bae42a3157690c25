//! `annal client …`: append, read, tail, status, crash-leader.

use super::args::{Append, Client, ClientVerb, Connection, Read, Tail};
use super::connection::{Target, target};
use super::failure::{Code, End, Failure};
use super::output::Printer;
use crate::types::{NodeId, Term};

/// Runs a client's command.
pub(super) fn run(args: Client, printer: &mut Printer) -> Result<(), End> {
    let Some(verb) = args.verb else {
        let verbs = "append, read, tail, status, crash-leader";
        return Err(Failure::new(
            Code::Usage,
            "`annal client` needs a command",
            format!("one of {verbs}; `annal client --help` says more"),
        )
        .into());
    };
    let target = target(&args.connection)?;
    match verb {
        ClientVerb::Append(append) => append_records(&target, &args.connection, append, printer),
        ClientVerb::Read(read) => read_records(&target, &read, printer),
        ClientVerb::Tail(tail) => tail_records(&target, &tail, printer),
        ClientVerb::Status => status(&target, printer),
        ClientVerb::CrashLeader => crash_leader(&target, printer),
    }
}

fn append_records(
    _target: &Target,
    _connection: &Connection,
    _append: Append,
    _printer: &mut Printer,
) -> Result<(), End> {
    Err(stub())
}

fn read_records(_target: &Target, _read: &Read, _printer: &mut Printer) -> Result<(), End> {
    Err(stub())
}

fn tail_records(_target: &Target, _tail: &Tail, _printer: &mut Printer) -> Result<(), End> {
    Err(stub())
}

fn status(_target: &Target, _printer: &mut Printer) -> Result<(), End> {
    Err(stub())
}

fn crash_leader(_target: &Target, _printer: &mut Printer) -> Result<(), End> {
    Err(stub())
}

/// The leader that serves appends now, if one is found.
pub(super) async fn ready_leader(_target: &Target) -> Option<(NodeId, Term)> {
    std::future::ready(None).await
}

fn stub() -> End {
    Failure::new(Code::Failed, "this build has no client yet", "wait for it").into()
}
