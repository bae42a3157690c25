//! Entries of a log with what is in them, as `annal node inspect --from` prints them.

use std::collections::BTreeSet;
use std::io::{self, Write};

use bytes::Bytes;
use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};

use super::escape::write_escaped;
use super::output::Row;
use super::rows::{serialize_record, shown_retention};
use crate::command::{Command, Stamp, Turn};
use crate::date::rfc3339;
use crate::entry::{EntryKind, SealedEntry};
use crate::housekeeping::Housekeeping;
use crate::types::{Index, LogNumber, NodeId, Offset, Term};

/// An entry.
#[derive(Serialize)]
pub(super) struct EntryRow {
    index: Index,
    term: Term,
    time: Option<String>,
    kind: &'static str,
    /// Who was elected, if a term begins with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    leader: Option<NodeId>,
    /// What is done with it besides appending.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    commands: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    records: Vec<Listed>,
}

/// A record of an entry.
struct Listed {
    log: LogNumber,
    offset: Offset,
    record: Bytes,
}

impl From<&SealedEntry> for EntryRow {
    fn from(entry: &SealedEntry) -> Self {
        // Its checksum is right: what has another form is of another program, and listed as far as it goes.
        let logged = entry.logged().unwrap_or_default();
        let commands = logged.iter().filter_map(|it| Some((it.head.log, it.command.as_deref()?)));
        let chores = entry.housekeeping().ok().flatten();
        let logs: BTreeSet<_> = logged.iter().map(|logged| logged.head.log).collect();
        let mut records = vec![];
        for log in logs {
            let _ = entry.visit_records(log, Offset::ZERO, |offset, record| {
                records.push(Listed { log, offset, record: Bytes::copy_from_slice(record) });
                true
            });
        }
        Self {
            index: entry.id().index,
            term: entry.id().term,
            time: rfc3339(entry.time()),
            kind: kind(entry.kind()),
            leader: entry.no_op().ok().flatten().map(|no_op| no_op.leader),
            commands: commands
                .map(|(log, command)| shown(log, command))
                .chain(chores.iter().flat_map(done))
                .collect(),
            records,
        }
    }
}

fn kind(kind: EntryKind) -> &'static str {
    match kind {
        EntryKind::NoOp => "election",
        EntryKind::Configuration => "configuration",
        EntryKind::Records => "records",
        EntryKind::Housekeeping => "housekeeping",
    }
}

fn done(chores: &Housekeeping) -> Vec<String> {
    let trims = chores.trims.iter().map(|(log, start)| shown(*log, &Command::Trim(*start)));
    let released = Some(chores.released).filter(|released| *released > Index::ZERO);
    let released = released.map(|before| format!("give up the entries before {before}"));
    let expired = chores.expired.iter().map(|log| format!("log {log} has expired"));
    trims.chain(released).chain(expired).collect()
}

fn shown(log: LogNumber, command: &Command) -> String {
    let what = match command {
        Command::Fence(Some(token)) => format!("fence {token}"),
        Command::Fence(None) => "fence --clear".to_owned(),
        Command::Open(name) => format!("open producer {name}"),
        Command::Forget(name) => format!("forget producer {name}"),
        Command::Create(new) => return format!("create log {log}, {}", new.name),
        Command::Close(stamp) => format!("close{}", stamped(stamp)),
        Command::Delete => "delete".to_owned(),
        Command::Trim(before) => format!("trim --before {before}"),
        Command::Append(stamp) => format!("append{}", stamped(stamp)),
        Command::Revoke(token) => format!("revoke token {token}"),
        Command::Configure(retention) => format!("configure: {}", shown_retention(*retention)),
    };
    if log == LogNumber::MAIN { what } else { format!("log {log}: {what}") }
}

fn stamped(stamp: &Stamp) -> String {
    let word = stamp.word.map(|word| format!(" as {word}"));
    let turn = stamp.turn.map(|Turn { producer, epoch, seq }| {
        format!(" of producer {producer}, epoch {epoch}, request {seq}")
    });
    [word, turn].into_iter().flatten().collect()
}

impl Serialize for Listed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let is_main = self.log == LogNumber::MAIN;
        let mut object = serializer.serialize_struct("record", if is_main { 2 } else { 3 })?;
        if !is_main {
            object.serialize_field("log", &self.log)?;
        }
        object.serialize_field("offset", &self.offset)?;
        serialize_record(&mut object, &self.record)?;
        object.end()
    }
}

impl Row for EntryRow {
    fn human(&self, out: &mut dyn Write) -> io::Result<()> {
        let Self { index, term, time, kind, .. } = self;
        let time = time.as_deref().unwrap_or("-");
        match self.leader {
            Some(leader) => writeln!(out, "entry {index}@{term} {time}: {leader} was elected")?,
            None => writeln!(out, "entry {index}@{term} {time}: {kind}")?,
        }
        for command in &self.commands {
            writeln!(out, "  {command}")?;
        }
        for Listed { log, offset, record } in &self.records {
            if *log == LogNumber::MAIN {
                write!(out, "  {offset}: ")?;
            } else {
                write!(out, "  log {log}, {offset}: ")?;
            }
            write_escaped(out, record)?;
            writeln!(out)?;
        }
        Ok(())
    }
}
