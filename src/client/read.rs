//! Reading: batches of records, in order, without gaps and without repetitions.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use thiserror::Error;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::append::FORBIDDEN_HINT;
use super::connections::{AskError, Opened};
use super::questions::Questions;
use super::random;
use super::read_options::{Consistency, ReadOptions};
use super::read_pilot::{ReadAction, ReadPilot, SourceNumber, Taken, Trouble};
use super::search::Word;
use super::shared::Shared;
use super::unavailable::Unavailable;
use crate::net::{FrameReceiver, FrameSender, Stream};
use crate::outcome::Outcome;
use crate::types::{Index, LogNumber, NodeId, Offset, Term, Timestamp};
use crate::wire::Frame;
use crate::wire::api::{Onward, Records, Request};
use crate::wire::standing::{Inquiry, Standing};

/// One record of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
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
    /// The log does not exist any more.
    #[error("there is no such log any more")]
    UnknownLog,
    /// The certificate does not allow it.
    #[error("this certificate does not allow that")]
    Forbidden,
    /// What was to be read was trimmed.
    #[error("the log begins at offset {start}: what was before it was trimmed")]
    Trimmed {
        /// The offset of the first record that there is.
        start: Offset,
    },
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
    /// A node did not answer what was asked of the log.
    #[error("a node did not answer what was asked of the log")]
    Unanswered,
}

impl ReadError {
    /// What it means for scripts.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Unavailable(unavailable) => unavailable.outcome(),
            Self::TimedOut { .. } | Self::Unreachable { .. } => Outcome::TimedOut,
            Self::NoAddress { .. } => Outcome::Usage,
            Self::UnknownLog | Self::Trimmed { .. } => Outcome::ConditionNotMet,
            Self::Failed { .. } | Self::OutOfOrder { .. } | Self::Unanswered | Self::Forbidden => {
                Outcome::Failed
            }
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
            Self::Trimmed { .. } => "read from there on, or leave out --from",
            Self::Forbidden => FORBIDDEN_HINT,
            Self::UnknownLog => "`annal log list` shows which there are",
            Self::OutOfOrder { .. } | Self::Unanswered => {
                "the nodes may be of another version: see `annal --version`"
            }
        }
    }
}

/// A read that is under way.
#[derive(Debug)]
pub struct Reader {
    shared: Arc<Shared>,
    pilot: ReadPilot,
    source: Option<Source>,
    opening: JoinSet<(SourceNumber, Opened)>,
    questions: Questions,
    /// What is still to be told.
    notes: VecDeque<Turn>,
    /// The answer, if it asks a question.
    standing: Option<Standing>,
}

/// What comes of a read that is to outlive any time without a leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The next records, at least one.
    Records(Vec<Record>),
    /// Nobody has served it for as long as the settings' timeout; it goes on trying.
    Waits(ReadError),
    /// Somebody serves it again.
    GoesOn,
}

/// What a read comes to next.
#[derive(Debug)]
enum Turn {
    Records(Vec<Record>),
    Failed(Trouble),
    GoesOn,
    Done,
}

/// The stream that the records come on.
#[derive(Debug)]
struct Source {
    number: SourceNumber,
    /// Kept open: its end tells the node that the reader is gone.
    _sender: FrameSender,
    receiver: FrameReceiver,
}

impl Reader {
    pub(super) fn new(shared: Arc<Shared>, log: LogNumber, options: ReadOptions) -> Self {
        let pilot = ReadPilot::new(options, shared.timeout, random::draw_jitter());
        Self::with_pilot(shared, pilot.of(log))
    }

    /// One that asks this, and reads no records.
    pub(super) fn asking(
        shared: Arc<Shared>,
        log: LogNumber,
        (inquiry, consistency): (Inquiry, Consistency),
    ) -> Self {
        let pilot = ReadPilot::asking(inquiry, shared.timeout, random::draw_jitter());
        Self::with_pilot(shared, pilot.of(log).reflecting(consistency))
    }

    fn with_pilot(shared: Arc<Shared>, pilot: ReadPilot) -> Self {
        Self {
            pilot,
            questions: Questions::new(shared.clone()),
            shared,
            source: None,
            opening: JoinSet::new(),
            notes: VecDeque::new(),
            standing: None,
        }
    }

    /// The answer to its question.
    pub(super) async fn answer(mut self) -> Result<Standing, ReadError> {
        while self.next().await?.is_some() {}
        self.standing.ok_or(ReadError::Unanswered)
    }

    /// The offset of the next record, if it is known: where another read would go on.
    pub fn position(&self) -> Option<Offset> {
        self.pilot.position()
    }

    /// The next records, at least one; `None` at the end.
    ///
    /// If a node fails, the read goes on at another where it was. A read that does not follow waits
    /// for each batch at most the settings' timeout; one that follows waits for records as long as
    /// there is a leader to send them, and without one as long as that timeout. May be dropped before
    /// it is done: nothing is lost.
    ///
    /// # Errors
    /// [`ReadError`]. Calling it again tries again where it was.
    pub async fn next(&mut self) -> Result<Option<Vec<Record>>, ReadError> {
        self.pilot.on_wait(self.shared.now());
        loop {
            match self.turn().await? {
                Turn::Records(records) => return Ok(Some(records)),
                Turn::Failed(trouble) => return Err(self.error(trouble)),
                Turn::GoesOn => {}
                Turn::Done => return Ok(None),
            }
        }
    }

    /// As [`Self::next`], for a read that follows and is to outlive any time without a leader: that
    /// nobody serves it is told once, and that somebody does again.
    ///
    /// # Errors
    /// As [`Self::next`], if waiting is of no use. A read that does not follow fails as there.
    pub async fn step(&mut self) -> Result<Option<Step>, ReadError> {
        self.pilot.on_look(self.shared.now());
        Ok(match self.turn().await? {
            Turn::Records(records) => Some(Step::Records(records)),
            Turn::Failed(trouble) if self.pilot.waits_out(trouble) => {
                Some(Step::Waits(self.error(trouble)))
            }
            Turn::Failed(trouble) => return Err(self.error(trouble)),
            Turn::GoesOn => Some(Step::GoesOn),
            Turn::Done => None,
        })
    }

    async fn turn(&mut self) -> Result<Turn, ReadError> {
        loop {
            self.advance();
            if let Some(note) = self.notes.pop_front() {
                return Ok(note);
            }
            if self.pilot.is_done() {
                return Ok(Turn::Done);
            }
            let wake_at = self.wake_at();
            tokio::select! {
                frame = next_frame(&mut self.source) => {
                    if let Some(records) = self.on_frame(frame)? {
                        // That it goes on is told before what comes.
                        self.advance();
                        self.notes.push_back(Turn::Records(records));
                    }
                }
                word = self.questions.next() => self.on_word(&word),
                Some(Ok((source, opened))) = self.opening.join_next() => {
                    self.on_opened(source, opened)?;
                }
                () = sleep_until(wake_at) => {}
            }
        }
    }

    /// Does all that can be done now.
    fn advance(&mut self) {
        self.pilot.on_time(self.shared.now(), &mut self.shared.beliefs());
        for action in self.pilot.take_actions() {
            match action {
                ReadAction::Ask(question) => self.questions.ask(question),
                ReadAction::StopAsking => self.questions.stop(),
                ReadAction::Open { source, node, read, onward, limit } => {
                    let shared = self.shared.clone();
                    self.opening.spawn(async move {
                        let request = if onward {
                            Request::Onward(Onward::Read(read))
                        } else {
                            Request::Read(read)
                        };
                        (source, shared.connections.open(node, &request, limit).await)
                    });
                }
                ReadAction::Close(number) => {
                    self.source.take_if(|source| source.number == number);
                }
                ReadAction::Fail(trouble) => self.notes.push_back(Turn::Failed(trouble)),
                ReadAction::GoesOn => self.notes.push_back(Turn::GoesOn),
            }
        }
    }

    fn wake_at(&self) -> Instant {
        let idle = || Instant::now() + self.shared.timeout;
        self.pilot.wake_at().map_or_else(idle, |at| self.shared.instant(at))
    }

    fn on_word(&mut self, word: &Word) {
        self.pilot.hear(self.shared.now(), &mut self.shared.beliefs(), word);
    }

    fn on_opened(&mut self, number: SourceNumber, opened: Opened) -> Result<(), ReadError> {
        let now = self.shared.now();
        match opened {
            Ok((link, stream)) if self.pilot.on_opened(now, number, link) => {
                let Stream { sender, receiver } = stream;
                self.source = Some(Source { number, _sender: sender, receiver });
            }
            // It was given up meanwhile.
            Ok(_) => {}
            Err(error) => {
                self.pilot.on_closed(now, &mut self.shared.beliefs(), number);
                // Only whoever reads knows of it, and asks nobody who could tell where it is.
                if let AskError::NoAddress { node } = error {
                    return Err(ReadError::NoAddress { node });
                }
            }
        }
        Ok(())
    }

    /// The records in a frame, if there are any to be shown.
    fn on_frame(&mut self, frame: Option<Frame>) -> Result<Option<Vec<Record>>, ReadError> {
        let Some(number) = self.source.as_ref().map(|source| source.number) else {
            return Ok(None);
        };
        let (now, beliefs) = (self.shared.now(), &mut self.shared.beliefs());
        let Some((header, records)) = frame.and_then(|frame| Records::from_frame(&frame).ok())
        else {
            self.source = None;
            self.pilot.on_closed(now, beliefs, number);
            return Ok(None);
        };
        let next = self.pilot.position();
        self.standing.clone_from(&header.standing);
        match self.pilot.on_records(now, beliefs, number, (&header, records.len())) {
            Taken::Records(0) | Taken::Nothing => Ok(None),
            Taken::Records(count) => {
                // Invariant: without a gap and without a repetition.
                assert!(next.is_none_or(|next| next == header.first_offset), "{next:?}");
                assert!(count <= records.len(), "{count} of {}", records.len());
                Ok(Some(with_places(&header, records).take(count).collect()))
            }
            Taken::UnknownLog => Err(ReadError::UnknownLog),
            Taken::Forbidden => Err(ReadError::Forbidden),
            Taken::Trimmed(start) => Err(ReadError::Trimmed { start }),
            Taken::OutOfOrder { node, expected, found } => {
                Err(ReadError::OutOfOrder { node, expected, found })
            }
        }
    }

    fn error(&self, trouble: Trouble) -> ReadError {
        match trouble {
            Trouble::Nobody | Trouble::Refused => ReadError::Unavailable(self.shared.unavailable()),
            Trouble::Unreachable(node) => ReadError::Unreachable { node },
            Trouble::Failed(node) => ReadError::Failed { node },
            Trouble::TimedOut => ReadError::TimedOut { after: self.shared.timeout },
        }
    }
}

/// The next frame of the source; `None` if it is over. Never, if there is none.
async fn next_frame(source: &mut Option<Source>) -> Option<Frame> {
    match source {
        // May be dropped half-way: nothing is lost.
        Some(source) => source.receiver.next().await.ok().flatten(),
        None => std::future::pending().await,
    }
}

/// Each record with its place in the log.
fn with_places(header: &Records, records: Vec<Bytes>) -> impl Iterator<Item = Record> + use<> {
    let spans = header.spans.clone();
    let first_offset = header.first_offset;
    let places = spans.into_iter().flat_map(|span| std::iter::repeat_n(span, span.count as usize));
    let numbered = records.into_iter().zip(places).zip(0u64..);
    numbered.map(move |((bytes, span), number)| Record {
        offset: first_offset.plus(number),
        term: span.term,
        index: span.index,
        time: span.time,
        bytes,
    })
}
