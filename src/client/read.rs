//! Reading: batches of records, in order, without gaps and without repetitions.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use thiserror::Error;
use tokio::time::{Instant, sleep, timeout_at};

use super::backoff::pause_after;
use super::connections::AskError;
use super::leader::{Shared, Unavailable};
use super::outcome::Outcome;
use super::route::Leading;
use crate::limits::{CLIENT_HEDGE_AFTER, TAIL_PROBE_AFTER};
use crate::net::{FrameReceiver, FrameSender, Stream, StreamError};
use crate::types::{Index, LogNumber, NodeId, Offset, Term, Timestamp};
use crate::wire::Frame;
use crate::wire::api::{Read, ReadFrom, ReadRefusal, Records, Request};

/// What to read, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadOptions {
    /// Where to begin.
    pub from: ReadFrom,
    /// At most so many records; `None`: all up to the end.
    pub limit: Option<u64>,
    /// What the records must reflect.
    pub consistency: Consistency,
    /// Whether to go on with what is committed later.
    pub follow: bool,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self {
            from: ReadFrom::Offset(Offset::ZERO),
            limit: None,
            consistency: Consistency::Linearizable,
            follow: false,
        }
    }
}

/// What a read must reflect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consistency {
    /// Everything that was acknowledged before the read began, to anybody.
    Linearizable,
    /// What one node knows to be committed: this one, or any that answers.
    Stale {
        /// Which.
        node: Option<NodeId>,
    },
}

/// One record of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its position.
    pub offset: Offset,
    /// The term of its entry.
    pub term: Term,
    /// The index of its entry.
    pub index: Index,
    /// The time of its entry.
    pub time: Timestamp,
    /// What was appended.
    pub bytes: Bytes,
}

/// A read could not go on.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ReadError {
    /// There was nobody to ask.
    #[error("{0}")]
    Unavailable(Unavailable),
    /// The node that was asked does not answer.
    #[error("{node} does not answer")]
    Unreachable {
        /// Who.
        node: NodeId,
    },
    /// Nobody has said where the node is that was to be asked.
    #[error("no address of {node} is known")]
    NoAddress {
        /// Who.
        node: NodeId,
    },
    /// Nothing came within the timeout.
    #[error("nothing came within {} ms", after.as_millis())]
    TimedOut {
        /// The timeout.
        after: Duration,
    },
    /// The log does not exist.
    #[error("there is no such log")]
    UnknownLog,
    /// A node could not read its store.
    #[error("{node} could not read its store")]
    Failed {
        /// Who.
        node: NodeId,
    },
    /// A node sent other records than those that come next. They were not shown.
    #[error("{node} sent records from offset {found} on, and {expected} comes next")]
    OutOfOrder {
        /// Who.
        node: NodeId,
        /// What comes next.
        expected: Offset,
        /// What it sent.
        found: Offset,
    },
}

impl ReadError {
    /// What it means for scripts.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Unavailable(unavailable) => unavailable.outcome(),
            Self::TimedOut { .. } | Self::Unreachable { .. } => Outcome::TimedOut,
            Self::NoAddress { .. } => Outcome::Usage,
            Self::UnknownLog | Self::Failed { .. } | Self::OutOfOrder { .. } => Outcome::Failed,
        }
    }

    /// What to do about it; empty where there is nothing to say.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Unavailable(unavailable) => unavailable.hint(),
            Self::NoAddress { .. } => "give it with --nodes, as n1=127.0.0.1:7101",
            Self::Unreachable { .. } => "name another node, or leave out --node",
            Self::TimedOut { .. } => "see `annal client status`, or allow more time with --timeout",
            Self::Failed { .. } => "its own log says why; `annal node inspect` looks for damage",
            Self::UnknownLog => "only the log main exists",
            Self::OutOfOrder { .. } => "the nodes may be of another version: see `annal --version`",
        }
    }
}

/// A read that is under way.
#[derive(Debug)]
pub struct Reader {
    shared: Arc<Shared>,
    options: ReadOptions,
    /// The offset that comes next, once known.
    position: Option<Offset>,
    /// Records still wanted.
    remaining: Option<u64>,
    source: Option<Source>,
    done: bool,
    /// Failures since a node last served this read.
    troubles: u32,
    /// When the first of them was, and what the last of them was if it has a name.
    troubled_since: Option<Instant>,
    trouble: Option<ReadError>,
}

/// The stream that the records come on.
#[derive(Debug)]
struct Source {
    node: NodeId,
    /// The leader that serves it, for a linearizable read.
    leading: Option<Leading>,
    /// Kept open: its end tells the node that the reader is gone.
    _sender: FrameSender,
    receiver: FrameReceiver,
}

/// Why a source is of no more use; the read goes on at another.
struct Lost;

impl Reader {
    pub(super) fn new(shared: Arc<Shared>, options: ReadOptions) -> Self {
        let position = match options.from {
            ReadFrom::Offset(offset) => Some(offset),
            ReadFrom::Last(_) => None,
        };
        Self {
            shared,
            options,
            position,
            remaining: options.limit,
            source: None,
            done: options.limit == Some(0),
            troubles: 0,
            troubled_since: None,
            trouble: None,
        }
    }

    /// The offset of the next record, if it is known: where another read would go on.
    pub fn position(&self) -> Option<Offset> {
        self.position
    }

    /// The next records, at least one; `None` at the end.
    ///
    /// If a node fails, the read goes on at another where it was. A read that does not follow waits
    /// for each batch at most the settings' timeout; one that follows waits for records as long as
    /// there is a leader to send them. May be dropped before it is done: nothing is lost.
    ///
    /// # Errors
    /// [`ReadError`]. Calling it again tries again where it was.
    pub async fn next(&mut self) -> Result<Option<Vec<Record>>, ReadError> {
        let began = Instant::now();
        while !self.done {
            // Waiting for records is what following is for; being without a node to send them is not.
            let since = if self.options.follow { self.troubled_since } else { Some(began) };
            let until = since.unwrap_or_else(Instant::now) + self.shared.timeout;
            if Instant::now() >= until {
                return Err(self.give_up());
            }
            if self.source.is_none()
                && let Err(error) = self.open(until).await
            {
                // Whoever calls again begins with fresh patience.
                self.give_up();
                return Err(error);
            }
            match self.wait(until).await {
                Ok(frame) => match self.take(&frame)? {
                    Some(records) if !records.is_empty() => return Ok(Some(records)),
                    Some(_) => {}
                    None => self.lose(),
                },
                Err(Lost) => self.lose(),
            }
        }
        self.source = None;
        Ok(None)
    }

    async fn open(&mut self, until: Instant) -> Result<(), ReadError> {
        loop {
            if self.troubles > 1 {
                let pause = pause_after(self.troubles - 2);
                sleep(pause.min(until.saturating_duration_since(Instant::now()))).await;
            }
            let (node, leading) = self.whom_to_ask(until).await?;
            let request = self.request();
            let opening = self.shared.connections.open(node, &request);
            match timeout_at(until, opening).await {
                Ok(Ok(Stream { sender, receiver })) => {
                    self.source = Some(Source { node, leading, _sender: sender, receiver });
                    return Ok(());
                }
                // Only whoever reads knows of it, and asks nobody who could tell where it is.
                Ok(Err(AskError::NoAddress { node })) => return Err(ReadError::NoAddress { node }),
                Ok(Err(_)) | Err(_) => {}
            }
            self.shared.failed(node);
            self.trouble = Some(ReadError::Unreachable { node });
            self.lose();
            if Instant::now() >= until {
                return Err(self.give_up());
            }
        }
    }

    async fn whom_to_ask(&self, until: Instant) -> Result<(NodeId, Option<Leading>), ReadError> {
        match self.options.consistency {
            Consistency::Linearizable => {
                let found = self.shared.find(None, until).await;
                found.map(|leading| (leading.node, Some(leading))).map_err(ReadError::Unavailable)
            }
            Consistency::Stale { node: Some(node) } => Ok((node, None)),
            Consistency::Stale { node: None } => {
                let found = self.shared.any(until).await;
                found.map(|node| (node, None)).map_err(ReadError::Unavailable)
            }
        }
    }

    /// The rest of the read. A followed read that begins at the end first asks, reading nothing,
    /// where that is: else what is appended before its first record could be skipped, if its node
    /// failed meanwhile.
    fn request(&self) -> Request {
        let asks_where = self.asks_where();
        Request::Read(Read {
            log: LogNumber::MAIN,
            from: self.position.map_or(self.options.from, ReadFrom::Offset),
            limit: if asks_where { Some(0) } else { self.remaining },
            linearizable: self.options.consistency == Consistency::Linearizable,
            follow: self.options.follow && !asks_where,
        })
    }

    fn asks_where(&self) -> bool {
        self.options.follow && self.position.is_none()
    }

    /// Waits for the next frame, and makes sure now and then that there is something to wait for.
    async fn wait(&mut self, until: Instant) -> Result<Frame, Lost> {
        let follow = self.options.follow;
        let source = self.source.as_mut().ok_or(Lost)?;
        let mut patience = CLIENT_HEDGE_AFTER;
        loop {
            // Both may be dropped half-way: nothing is lost.
            let quiet_at = Instant::now() + patience;
            let wake_at = if follow { quiet_at } else { quiet_at.min(until) };
            if let Ok(frame) = timeout_at(wake_at, source.receiver.next()).await {
                return frame_of(frame);
            }
            let now = Instant::now();
            if !follow && now >= until {
                return Err(Lost);
            }
            let probed_by = if follow { now + self.shared.timeout } else { until };
            tokio::select! {
                frame = source.receiver.next() => return frame_of(frame),
                alive = is_alive(&self.shared, (source.node, source.leading), probed_by) => {
                    if !alive {
                        return Err(Lost);
                    }
                    (self.troubles, self.troubled_since, self.trouble) = (0, None, None);
                }
            }
            patience = TAIL_PROBE_AFTER;
        }
    }

    /// The records in a frame; `None` if the node refused and another must be asked.
    fn take(&mut self, frame: &Frame) -> Result<Option<Vec<Record>>, ReadError> {
        let Some(source) = &self.source else { return Ok(None) };
        let node = source.node;
        let Ok((header, records)) = Records::from_frame(frame) else { return Ok(None) };
        match &header.refusal {
            None => {}
            Some(ReadRefusal::NotLeader { leader }) => {
                self.shared.refused_by(node, *leader);
                return Ok(None);
            }
            Some(ReadRefusal::Busy) => return Ok(None),
            // It may be behind, or another may do better.
            Some(ReadRefusal::Failed) => {
                self.trouble = Some(ReadError::Failed { node });
                return Ok(None);
            }
            Some(ReadRefusal::UnknownLog) => {
                self.source = None;
                return Err(ReadError::UnknownLog);
            }
        }
        let found = header.first_offset;
        if self.asks_where() {
            self.position = Some(found);
            self.source = None;
            return Ok(Some(vec![]));
        }
        let expected = self.position.unwrap_or(found);
        if !records.is_empty() && found != expected {
            self.source = None;
            return Err(ReadError::OutOfOrder { node, expected, found });
        }
        let wanted = self
            .remaining
            .map_or(usize::MAX, |remaining| usize::try_from(remaining).unwrap_or(usize::MAX));
        let taken: Vec<Record> = with_places(&header, records).take(wanted).collect();
        let count = taken.len() as u64;
        self.position = Some(expected.plus(count));
        self.remaining = self.remaining.map(|remaining| remaining.saturating_sub(count));
        self.done = self.remaining == Some(0) || (header.end && !self.options.follow);
        if count > 0 {
            (self.troubles, self.troubled_since, self.trouble) = (0, None, None);
        }
        // The end of what does not end: the node stops, and another goes on.
        let stopped = header.end && !self.done && count == 0;
        Ok((!stopped).then_some(taken))
    }

    /// The source is of no more use: the read goes on at another.
    fn lose(&mut self) {
        self.source = None;
        self.troubles += 1;
        self.troubled_since.get_or_insert_with(Instant::now);
    }

    /// Nothing came for as long as may be waited.
    fn give_up(&mut self) -> ReadError {
        self.source = None;
        (self.troubles, self.troubled_since) = (0, None);
        self.trouble.take().unwrap_or(ReadError::TimedOut { after: self.shared.timeout })
    }
}

fn frame_of(next: Result<Option<Frame>, StreamError>) -> Result<Frame, Lost> {
    next.ok().flatten().ok_or(Lost)
}

/// Whether the node that serves a read still answers, and leads if it did.
async fn is_alive(
    shared: &Arc<Shared>,
    (node, leading): (NodeId, Option<Leading>),
    until: Instant,
) -> bool {
    match leading {
        Some(leading) => shared.find(Some(leading), until).await == Ok(leading),
        None => shared.connections.hello(node).await.is_ok(),
    }
}

/// Each record with its place in the log.
fn with_places(header: &Records, records: Vec<Bytes>) -> impl Iterator<Item = Record> + use<> {
    let runs = header.runs.clone();
    let first_offset = header.first_offset;
    let places = runs.into_iter().flat_map(|run| std::iter::repeat_n(run, run.count as usize));
    let numbered = records.into_iter().zip(places).zip(0u64..);
    numbered.map(move |((bytes, run), number)| Record {
        offset: first_offset.plus(number),
        term: run.term,
        index: run.index,
        time: run.time,
        bytes,
    })
}
