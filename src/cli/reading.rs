//! `annal read` and `annal tail`.

use super::args::{Read, Tail};
use super::connection::Target;
use super::failure::{End, Failure};
use super::output::{Closed, Printer, talk};
use super::rows::RecordRow;
use super::runtime::Interruption;
use crate::client::{Client, Consistency, ReadFrom, ReadOptions, Record, Step};
use crate::outcome::Outcome;
use crate::types::Offset;

/// What `read` asks for.
pub(super) fn read_options(args: &Read) -> ReadOptions {
    let consistency =
        if args.stale { Consistency::Stale { node: args.node } } else { Consistency::Linearizable };
    let from = ReadFrom::Offset(Offset::new(args.from));
    ReadOptions { from, limit: args.limit, consistency, follow: false }
}

/// Whether the cluster has the node that is to be read from.
pub(super) fn check_node(options: &ReadOptions, target: &Target) -> Result<(), Failure> {
    let Consistency::Stale { node: Some(node) } = options.consistency else { return Ok(()) };
    if target.nodes.iter().any(|(known, _)| *known == node) {
        return Ok(());
    }
    let names: Vec<_> = target.nodes.iter().map(|(known, _)| known.to_string()).collect();
    let sentence = format!("the cluster has no node {node}");
    Err(Failure::new(Outcome::Usage, sentence, format!("its nodes are {}", names.join(", "))))
}

/// What `tail` asks for.
pub(super) fn tail_options(args: &Tail) -> ReadOptions {
    let from = ReadFrom::Last(args.lines);
    ReadOptions { from, limit: None, consistency: Consistency::Linearizable, follow: args.follow }
}

/// Reads, and prints each record.
pub(super) async fn run(
    client: &Client,
    options: ReadOptions,
    printer: &mut Printer,
) -> Result<(), End> {
    let interruption = Interruption::listen(|| {}, ended_at_once())?;
    let mut reader = client.read(options);
    loop {
        let step = tokio::select! {
            step = reader.step() => step,
            () = interruption.notice().cancelled() => return interrupted(options),
        };
        match step {
            Ok(Some(Step::Records(records))) => print(records, printer)?,
            Ok(Some(Step::Waits(error))) => talk(format_args!("waiting: {error}")),
            Ok(Some(Step::GoesOn)) => talk("going on"),
            Ok(None) => return Ok(()),
            Err(error) => return Err(Failure::of(error.outcome(), &error, error.hint()).into()),
        }
    }
}

fn print(records: Vec<Record>, printer: &mut Printer) -> Result<(), Closed> {
    for record in records {
        printer.print(&RecordRow {
            offset: record.offset,
            term: record.term,
            index: record.index,
            time: record.time,
            record: record.bytes,
        })?;
    }
    printer.flush()
}

/// What a signal means: a read that follows has no other end, any other one is not whole.
fn interrupted(options: ReadOptions) -> Result<(), End> {
    if options.follow {
        return Ok(());
    }
    let hint = "what was printed is whole records, in order, from where it began";
    Err(Failure::new(Outcome::Failed, "interrupted before the end of the log", hint).into())
}

/// The last words where nobody reads what is printed.
fn ended_at_once() -> Failure {
    let hint = "whoever was to read the records did not take them";
    Failure::new(Outcome::Failed, "interrupted again: the read was ended at once", hint)
}
