//! `annal client backup`: the log of a running cluster, in one file.

use std::path::{Path, PathBuf};
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use indicatif::ProgressBar;

use super::args;
use super::failure::{End, Failure};
use super::output::{Printer, talk};
use super::progress;
use super::rows::BackupRow;
use crate::client::{BackupError as SourceError, BackupPiece, BackupSource, Client};
use crate::date::wall_clock;
use crate::entry::{SealedEntry, Tip, split_first};
use crate::limits::HEAD_BYTES_MAX;
use crate::outcome::Outcome;
use crate::store::{self, BackupEnd, BackupWriter, Beginning, decode_head};
use crate::types::{ClusterId, Index, NodeId};

/// What is to be written.
pub(super) struct Backing {
    out: PathBuf,
    from: Option<PathBuf>,
}

/// A backup on its way.
struct Taking<'a> {
    client: &'a Client,
    writer: BackupWriter,
    /// What it goes on from, if it is not a whole one.
    after: Option<Tip>,
    /// Pieces of the head.
    head: BytesMut,
    is_described: bool,
    bar: ProgressBar,
}

impl Backing {
    pub(super) fn of(args: args::Backup) -> Self {
        let args::Backup { out, from } = args;
        Self { out, from }
    }

    /// Takes the backup, and says what it has.
    pub(super) async fn run(self, admin: &Client, printer: &mut Printer) -> Result<(), End> {
        let begun = Instant::now();
        let after = self.from.as_deref().map(|from| end_of(from, admin.cluster())).transpose()?;
        let mut taking = Taking {
            client: admin,
            writer: BackupWriter::begin(&self.out)?,
            after,
            head: BytesMut::new(),
            is_described: false,
            bar: progress::bar(0, "{bar:20} {percent}%  {msg}, {elapsed}, {eta} left"),
        };
        let node = taking.take().await;
        taking.bar.finish_and_clear();
        let node = node?;
        let Taking { writer, .. } = taking;
        let (BackupEnd { entries, tip }, bytes) = (writer.end(), writer.bytes());
        writer.finish()?;
        Ok(printer.print_now(&BackupRow {
            file: self.out.display().to_string(),
            node,
            first_index: Index::new(tip.id.index.get() + 1 - entries),
            last_index: tip.id.index,
            entries,
            bytes,
            chain: tip.chain.to_string(),
            elapsed_ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
        })?)
    }
}

/// Where the backup ends that this one is to follow on.
fn end_of(from: &Path, cluster: ClusterId) -> Result<Tip, Failure> {
    let (Beginning { cluster: found, .. }, end) = store::backup_outline(from)?;
    if found == cluster {
        return Ok(end.tip);
    }
    let sentence = format!("{} is of cluster {found}, and this is {cluster}", from.display());
    Err(Failure::new(
        Outcome::Failed,
        sentence,
        "give a backup of this cluster, or leave out --from",
    ))
}

impl Taking<'_> {
    /// Takes all of it, from one node after another if need be. Returns who sent the last of it.
    async fn take(&mut self) -> Result<NodeId, End> {
        let mut progressed = Instant::now();
        loop {
            let known = self.writer.end().tip;
            let source = self.client.backup(self.goes_on_behind()).await;
            let source = source.map_err(|error| failure_of(&error))?;
            let node = source.node();
            let Err(error) = self.take_from(source).await? else { return Ok(node) };
            if self.writer.end().tip != known {
                progressed = Instant::now();
            }
            if error.is_final() || progressed.elapsed() >= self.client.patience() {
                return Err(failure_of(&error).into());
            }
            self.bar.suspend(|| talk(format_args!("{error}; going on")));
        }
    }

    /// Behind which entry it goes on; from the first on, with the head, if nothing is written.
    fn goes_on_behind(&self) -> Option<Index> {
        let known = if self.is_described { Some(self.writer.end().tip) } else { self.after };
        known.map(|tip| tip.id.index)
    }

    /// Takes what one node sends.
    async fn take_from(
        &mut self,
        mut source: BackupSource,
    ) -> Result<Result<(), SourceError>, End> {
        self.head.clear();
        let before = self.after.map_or(0, |tip| tip.id.index.get());
        self.bar.set_length(source.through().get().saturating_sub(before));
        loop {
            match source.next().await {
                Ok(Some(BackupPiece::Head(piece))) if !self.is_described => {
                    self.head.extend_from_slice(&piece);
                    if self.head.len() > HEAD_BYTES_MAX {
                        return Ok(Err(SourceError::Failed { node: source.node() }));
                    }
                }
                Ok(Some(BackupPiece::Entries(entries))) => self.write(entries, source.node())?,
                Ok(None) => {
                    self.describe(source.node())?;
                    return Ok(Ok(()));
                }
                Ok(Some(BackupPiece::Head(_))) => {}
                Err(error) => return Ok(Err(error)),
            }
        }
    }

    fn write(&mut self, mut entries: Bytes, from: NodeId) -> Result<(), Failure> {
        self.describe(from)?;
        while !entries.is_empty() {
            let bytes = split_first(&mut entries);
            let entry = SealedEntry::parse(bytes).map_err(|error| bad_words(from, &error))?;
            self.writer.push(&entry)?;
            self.bar.inc(1);
        }
        let bytes = indicatif::BinaryBytes(self.writer.bytes());
        self.bar.set_message(format!("{} entries, {bytes}", self.writer.end().entries));
        Ok(())
    }

    /// Writes the beginning, once all that it needs has come.
    fn describe(&mut self, from: NodeId) -> Result<(), Failure> {
        if self.is_described {
            return Ok(());
        }
        let origin = (self.client.cluster(), wall_clock());
        if let Some(after) = self.after {
            self.writer.describe(origin, after, None)?;
        } else {
            let head = decode_head(&self.head);
            let head = head.ok_or_else(|| bad_words(from, &"its head is not of its form"))?;
            self.writer.describe(origin, head.tip, Some(&head))?;
        }
        self.is_described = true;
        Ok(())
    }
}

fn failure_of(error: &SourceError) -> Failure {
    Failure::of(error.outcome(), error, error.hint())
}

fn bad_words(node: NodeId, what: &dyn std::fmt::Display) -> Failure {
    let hint = "the nodes may be of another version: see `annal --version`";
    Failure::new(Outcome::Failed, format!("what {node} sent is no backup: {what}"), hint)
}
