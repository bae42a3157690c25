//! Appending: one request, or many in flight and in order.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use thiserror::Error;
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::append_options::AppendOptions;
use super::ask::Ask;
use super::token::Token;
use super::unavailable::Unavailable;
use crate::command::Command;
use crate::label::{FenceToken, ProducerName};
use crate::limits::{
    CLIENT_IN_FLIGHT_MAX, FORK_DEPTH_MAX, FORKS_MAX, LOGS_MAX, PRODUCERS_MAX, RECORD_BYTES_MAX,
    REQUEST_BYTES_MAX, REQUEST_RECORDS_MAX, REVOKED_TOKENS_MAX,
};
use crate::outcome::Outcome;
use crate::types::{LogNumber, Offset};
use crate::wire::api::Appended;
use crate::wire::conditions::{Conditions, Obstacle};

/// An append was not acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AppendError {
    /// A request has at least one record.
    #[error("there is nothing to append")]
    Empty,
    /// A record is larger than any may be. Nothing was sent.
    #[error("record {number} has {bytes} bytes, and a record has at most {RECORD_BYTES_MAX}")]
    RecordTooLarge {
        /// Which, counted from 1 within the request.
        number: usize,
        /// Its bytes.
        bytes: usize,
    },
    /// The records together are larger than a request may be. Nothing was sent.
    #[error("the request has {bytes} bytes, and a request has at most {REQUEST_BYTES_MAX}")]
    RequestTooLarge {
        /// Bytes of all records.
        bytes: usize,
    },
    /// More records than a request may have. Nothing was sent.
    #[error("the request has {count} records, and a request has at most {REQUEST_RECORDS_MAX}")]
    TooManyRecords {
        /// How many.
        count: usize,
    },
    /// These are not the records of the token's request, or not its conditions. Nothing was sent.
    #[error(
        "the token is that of another request, with other records ({expected} of them) or conditions"
    )]
    OtherRecords {
        /// How many it was made for.
        expected: u32,
    },
    /// The log did not end where it was expected to: certainly none of it is in the log.
    #[error("the log did not end at offset {expected}: its next offset is {next}")]
    OtherOffset {
        /// The offset that was expected.
        expected: Offset,
        /// The offset that the next record gets, unless another append comes first.
        next: Offset,
    },
    /// The log's fence token is not the one that the append names: certainly none of it is in the log.
    #[error("the log's fence is {}, not {named}", shown(*present))]
    Fenced {
        /// The token that the append names.
        named: FenceToken,
        /// The log's.
        present: Option<FenceToken>,
    },
    /// A newer process of the producer has taken over: certainly none of it is in the log.
    #[error("a newer process of producer {producer} has taken over (epoch {epoch})")]
    Superseded {
        /// Which producer.
        producer: ProducerName,
        /// How often it was opened by then.
        epoch: u64,
    },
    /// There is no such producer, or it was forgotten: certainly none of it is in the log.
    #[error("there is no producer {producer}")]
    NoProducer {
        /// Which was meant.
        producer: ProducerName,
    },
    /// The log remembers as many producers as it can, and this one is new.
    #[error("there are {PRODUCERS_MAX} producers already")]
    TooManyProducers,
    /// The log ends before the offset that it was to be trimmed to, or forked at.
    #[error("the log ends before that: its next offset is {next}")]
    BeyondEnd {
        /// The offset of the next record.
        next: Offset,
    },
    /// There is no such log any more: certainly none of it is in one.
    #[error("there is no such log any more")]
    UnknownLog,
    /// The log is closed: certainly none of it is in the log.
    #[error("the log is closed")]
    LogClosed,
    /// There is a log of this name already.
    #[error("there is a log of this name already")]
    LogExists {
        /// Its number.
        number: LogNumber,
    },
    /// There are as many logs as there can be, and this one would be new.
    #[error("there are {LOGS_MAX} logs already")]
    TooManyLogs,
    /// The log `main` is for whoever names none: it is neither closed nor deleted.
    #[error("the log main can be neither closed nor deleted")]
    MainStays,
    /// There are as many tokens revoked as there can be.
    #[error("there are {REVOKED_TOKENS_MAX} tokens revoked already that have not expired")]
    TooManyRevocations,
    /// The producer's request is in the log already.
    #[error("this request of the producer is in the log already, and {last} is its last")]
    Repeated {
        /// The number of its last request that is.
        last: u64,
    },
    /// Requests of the producer before this one are not in the log: certainly this one is not.
    #[error("the producer's next request is {expected}")]
    OutOfTurn {
        /// The number of the first that is missing.
        expected: u64,
    },
    /// A newer process of the producer begins with another request than 0: it is not in the log.
    #[error("a new epoch of a producer begins with request 0")]
    EpochBegins,
    /// The log's last sequence word is not before this one: it is not in the log.
    #[error("the log has that sequence word already, or a later one")]
    WordNotBehind,
    /// What a fork was to begin with was trimmed.
    #[error("the log begins at {start} by now: it cannot be forked before that")]
    Trimmed {
        /// Where the source begins.
        start: Offset,
    },
    /// Another fork of that log would be one too many, or the last of too many above each other.
    #[error(
        "a log has at most {FORKS_MAX} forks, of which at most {FORK_DEPTH_MAX} are above each other"
    )]
    TooManyForks,
    /// There was nobody to take it: certainly none of it is in the log.
    #[error("{0}")]
    Unavailable(Unavailable),
    /// A leader may have taken it, and no answer came in time.
    #[error("no answer came: the records may be in the log, or may still get there")]
    Unknown {
        /// The same append, to be repeated at will.
        token: Token,
    },
    /// A leader may have taken it once, and the cluster no longer remembers.
    #[error("the cluster no longer remembers this request: the records may be in the log or not")]
    Expired {
        /// Whose outcome nobody knows any more.
        token: Token,
    },
    /// The log holds a request of another length under the token's number.
    #[error("the log holds {} records under this request's number, not {sent}", appended.count)]
    Mismatch {
        /// What the log holds.
        appended: Appended,
        /// How many records were to be appended.
        sent: usize,
    },
    /// A node refused it for good: certainly it is not in the log.
    #[error("the request breaks a limit of the cluster")]
    Invalid,
    /// Only an admin may ask for it: certainly nothing of it was done.
    #[error("the nodes do not take this certificate for an admin's")]
    NotAdmin,
    /// The certificate does not allow it: certainly it is not in the log.
    #[error("this certificate does not allow that")]
    Forbidden,
    /// It was given up before anybody can have taken it: it is certainly not in the log.
    #[error("the append was given up before anybody can have taken it")]
    GivenUp,
    /// A request before it failed, and so this one was not sent, or not taken: it is certainly not
    /// in the log.
    #[error("a request before this one failed")]
    Ended,
}

/// What to do about a certificate that does not allow something.
pub(super) const FORBIDDEN_HINT: &str = "`annal cert show FILE` says what a certificate allows; who has the \
                                         authority's key can issue another";

impl AppendError {
    /// That a condition of an append did not hold.
    pub(super) fn unmet(ask: &Ask, obstacle: Obstacle) -> Self {
        let conditions = &ask.conditions;
        let turn = ask.command.as_ref().and_then(Command::stamp).and_then(|stamp| stamp.turn);
        let producer = match &ask.command {
            Some(Command::Open(name) | Command::Forget(name)) => Some(*name),
            _ => turn.map(|turn| turn.producer).or(conditions.producer),
        };
        match (obstacle, producer) {
            (Obstacle::Superseded { epoch }, Some(producer)) => {
                return Self::Superseded { producer, epoch };
            }
            (Obstacle::NoProducer, Some(producer)) => return Self::NoProducer { producer },
            (Obstacle::TooManyProducers, _) => return Self::TooManyProducers,
            (Obstacle::Offset { next }, _)
                if matches!(ask.command, Some(Command::Trim(_) | Command::Create(_))) =>
            {
                return Self::BeyondEnd { next };
            }
            (Obstacle::NoLog, _) => return Self::UnknownLog,
            (Obstacle::Closed, _) => return Self::LogClosed,
            (Obstacle::LogExists { number }, _) => return Self::LogExists { number },
            (Obstacle::TooManyLogs, _) => return Self::TooManyLogs,
            (Obstacle::TooManyRevocations, _) => return Self::TooManyRevocations,
            (Obstacle::MainStays, _) => return Self::MainStays,
            (Obstacle::Repeated { last }, _) => return Self::Repeated { last },
            (Obstacle::OutOfTurn { expected }, _) => return Self::OutOfTurn { expected },
            (Obstacle::EpochBegins, _) => return Self::EpochBegins,
            (Obstacle::WordNotBehind, _) => return Self::WordNotBehind,
            (Obstacle::Trimmed { start }, _) => return Self::Trimmed { start },
            (Obstacle::TooManyForks, _) => return Self::TooManyForks,
            _ => {}
        }
        match obstacle {
            Obstacle::Offset { next } => {
                Self::OtherOffset { expected: conditions.expect_offset.unwrap_or(next), next }
            }
            Obstacle::Fence { present } => match conditions.fence {
                Some(named) => Self::Fenced { named, present },
                None => Self::Invalid,
            },
            // Nobody asked for that.
            _ => Self::Invalid,
        }
    }

    /// What it means for scripts.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::OtherOffset { .. }
            | Self::Fenced { .. }
            | Self::Superseded { .. }
            | Self::NoProducer { .. }
            | Self::TooManyProducers
            | Self::BeyondEnd { .. }
            | Self::UnknownLog
            | Self::LogClosed
            | Self::LogExists { .. }
            | Self::TooManyLogs
            | Self::TooManyRevocations
            | Self::MainStays
            | Self::Repeated { .. }
            | Self::OutOfTurn { .. }
            | Self::EpochBegins
            | Self::WordNotBehind
            | Self::Trimmed { .. }
            | Self::TooManyForks => Outcome::ConditionNotMet,
            Self::Empty
            | Self::RecordTooLarge { .. }
            | Self::RequestTooLarge { .. }
            | Self::TooManyRecords { .. }
            | Self::Mismatch { .. }
            | Self::NotAdmin
            | Self::Forbidden
            | Self::Invalid => Outcome::Failed,
            Self::OtherRecords { .. } => Outcome::Usage,
            Self::Unavailable(unavailable) => unavailable.outcome(),
            Self::GivenUp | Self::Ended => Outcome::NoLeader,
            Self::Unknown { .. } | Self::Expired { .. } => Outcome::Unknown,
        }
    }

    /// The word that repeats the same append, if its outcome is unknown.
    pub fn token(&self) -> Option<Token> {
        match self {
            Self::Unknown { token } | Self::Expired { token } => Some(*token),
            _ => None,
        }
    }

    /// The error of a request that was about no records: what it means for it if nobody knows its outcome.
    pub(super) fn or_unknown(&self, what: &str) -> String {
        match self.token() {
            Some(_) => format!("no answer came: {what}"),
            None => self.to_string(),
        }
    }

    /// What to do about it; empty where there is nothing to say.
    pub fn hint(&self) -> String {
        match self {
            Self::Unknown { token } => {
                format!("`annal client append --as {token} …` with the same records settles it")
            }
            Self::Expired { .. } => {
                "read the end of the log to see whether the records are in it".to_owned()
            }
            Self::Unavailable(unavailable) => unavailable.hint().to_owned(),
            Self::OtherRecords { .. } => {
                "give the records and the conditions of the append that failed".to_owned()
            }
            Self::RequestTooLarge { .. } | Self::TooManyRecords { .. } => {
                "split it, or pass the records as lines with `append -`".to_owned()
            }
            Self::Mismatch { .. } => {
                "the records were cut into other requests: read the end of the log".to_owned()
            }
            Self::Invalid => {
                "the nodes may be of another version: see `annal --version`".to_owned()
            }
            Self::OtherOffset { expected, next } if next > expected => format!(
                "`annal client read --from {expected}` shows what came before it; then expect {next}"
            ),
            Self::Superseded { producer, .. } => format!(
                "`annal outcome --producer {producer}` shows how far it is; whoever opens it takes over"
            ),
            Self::NoProducer { .. } => "`annal producers list` shows which there are".to_owned(),
            Self::TooManyProducers => "`annal producers forget NAME` makes room".to_owned(),
            Self::UnknownLog | Self::LogExists { .. } => {
                "`annal log list` shows which there are".to_owned()
            }
            Self::BeyondEnd { next } => format!("take {next}, or an offset before it"),
            Self::Trimmed { start } => format!("take {start}, or a later offset"),
            Self::TooManyForks => "fork what it is a fork of, or delete forks".to_owned(),
            Self::LogClosed => "what it has can still be read".to_owned(),
            Self::TooManyLogs => "`annal log delete NAME` makes room".to_owned(),
            Self::TooManyRevocations => {
                "`annal token new-key --drop-former` ends all tokens at once".to_owned()
            }
            Self::Forbidden => FORBIDDEN_HINT.to_owned(),
            Self::NotAdmin => "use the certificate `admin` that `annal init` made".to_owned(),
            Self::MainStays => "it is the log of whoever names none".to_owned(),
            Self::Repeated { .. } => "go on with the next".to_owned(),
            Self::OutOfTurn { expected } => format!("send request {expected} first"),
            Self::EpochBegins => "count from 0 again under a new epoch".to_owned(),
            Self::WordNotBehind => {
                "words are compared byte by byte, and each is behind the last".to_owned()
            }
            Self::Fenced { .. } => {
                "another has taken over: whoever appends under the present fence knows \
                 what is so now"
                    .to_owned()
            }
            Self::OtherOffset { next, .. } => format!("nothing is there yet: expect {next}"),
            Self::GivenUp => "nothing of it is in the log: append it again".to_owned(),
            Self::Empty | Self::RecordTooLarge { .. } | Self::Ended => String::new(),
        }
    }
}

/// A fence, in a sentence.
fn shown(token: Option<FenceToken>) -> String {
    token.map_or_else(|| "none".to_owned(), |token| token.to_string())
}

/// Whether these records make a request.
///
/// # Errors
/// Which limit they break.
pub fn check_limits(records: &[Bytes]) -> Result<(), AppendError> {
    if records.is_empty() {
        return Err(AppendError::Empty);
    }
    if records.len() > REQUEST_RECORDS_MAX {
        return Err(AppendError::TooManyRecords { count: records.len() });
    }
    let large = records.iter().position(|record| record.len() > RECORD_BYTES_MAX);
    if let Some((at, record)) = large.and_then(|at| Some((at, records.get(at)?))) {
        return Err(AppendError::RecordTooLarge { number: at + 1, bytes: record.len() });
    }
    let bytes = records.iter().map(Bytes::len).sum();
    if bytes > REQUEST_BYTES_MAX {
        return Err(AppendError::RequestTooLarge { bytes });
    }
    Ok(())
}

/// A request on its way to the task that sends it.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) ask: Ask,
    /// Where its answer goes, if not to the one who gets all answers.
    pub(super) reply: Option<oneshot::Sender<Answer>>,
}

/// What became of a request.
pub(super) type Answer = Result<Appended, AppendError>;

/// The orders of one caller. Ordering ends when it is dropped.
#[derive(Clone, Debug)]
pub(super) struct Orders(pub(super) mpsc::Sender<Order>);

impl Orders {
    /// Hands a request over, and waits for its answer.
    pub(super) async fn append(&self, ask: Ask) -> Result<Appended, AppendError> {
        let (reply, answer) = oneshot::channel();
        self.place(Order { ask, reply: Some(reply) }).await?;
        // The task that answers ends only with the runtime.
        answer.await.unwrap_or(Err(AppendError::Ended))
    }

    /// Whether nobody takes them any more.
    pub(super) fn have_ended(&self) -> bool {
        self.0.is_closed()
    }

    /// Hands a request over. Waits while too many are before it.
    async fn place(&self, order: Order) -> Result<(), AppendError> {
        if order.ask.command.is_none() || !order.ask.records.is_empty() {
            check_limits(&order.ask.records)?;
        }
        self.0.send(order).await.map_err(|_| AppendError::Ended)
    }
}

/// Requests in order, many in flight, over one session of its own.
///
/// The first failure ends it: what is acknowledged is always a prefix of what was sent. Dropped, it
/// lets what it has sent arrive, and tells nobody.
#[derive(Debug)]
pub struct Appender {
    sender: AppendSender,
    receiver: AppendReceiver,
}

/// The half of an [`Appender`] that sends.
#[derive(Debug)]
pub struct AppendSender {
    orders: Orders,
    /// Places among the requests whose answers the other half has not received.
    places: Arc<Semaphore>,
    sent: Arc<AtomicU64>,
    log: LogNumber,
    /// Of the first request, if that one is a repetition.
    token: Option<Token>,
    /// What must be so for the next request.
    conditions: Conditions,
}

/// The half of an [`Appender`] that gets the acknowledgements.
#[derive(Debug)]
pub struct AppendReceiver {
    /// Answers in order, as many at once as came together.
    answers: mpsc::UnboundedReceiver<Vec<Answer>>,
    /// Those that have come and were not asked for yet.
    ready: VecDeque<Answer>,
    places: Arc<Semaphore>,
    /// Requests that the other half has sent.
    sent: Arc<AtomicU64>,
    acknowledged: u64,
    records: u64,
    failed: bool,
}

impl Appender {
    /// `answers` gets the answers to all `orders`, in their order.
    pub(super) fn new(
        orders: Orders,
        answers: mpsc::UnboundedReceiver<Vec<Answer>>,
        (log, token, options): (LogNumber, Option<Token>, &AppendOptions),
    ) -> Self {
        let conditions = options.conditions();
        let places = Arc::new(Semaphore::new(CLIENT_IN_FLIGHT_MAX));
        let sent = Arc::new(AtomicU64::new(0));
        Self {
            sender: AppendSender {
                orders,
                places: places.clone(),
                sent: sent.clone(),
                log,
                token,
                conditions,
            },
            receiver: AppendReceiver {
                answers,
                ready: VecDeque::new(),
                places,
                sent,
                acknowledged: 0,
                records: 0,
                failed: false,
            },
        }
    }

    /// Becomes this producer, before anything else is sent.
    pub(super) async fn open(&mut self, name: ProducerName) -> Result<Appended, AppendError> {
        self.sender.command(Command::Open(name)).await?;
        self.sender.conditions.producer = Some(name);
        self.receiver.next().await?.ok_or(AppendError::Ended)
    }

    /// The two halves, for two tasks: one reads what to append, the other prints what was.
    pub fn split(self) -> (AppendSender, AppendReceiver) {
        (self.sender, self.receiver)
    }

    /// Sends a request. As [`AppendSender::send`].
    ///
    /// NB: a caller that sends more than a window without taking acknowledgements waits for ever.
    ///
    /// # Errors
    /// As [`AppendSender::send`].
    pub async fn send(&mut self, records: Vec<Bytes>) -> Result<(), AppendError> {
        self.sender.send(records).await
    }

    /// The next acknowledgement. As [`AppendReceiver::next`], if more is to be sent.
    ///
    /// # Errors
    /// As [`AppendReceiver::next`].
    pub async fn next(&mut self) -> Result<Option<Appended>, AppendError> {
        self.receiver.next().await
    }
}

impl AppendSender {
    /// Sends a request: its records stay together, all or none, after all requests sent before.
    ///
    /// Waits while the window is full. Its acknowledgement comes to the other half.
    ///
    /// # Errors
    /// A limit is broken, or these are not the token's records: nothing was sent, and the appender
    /// is as good as before. [`AppendError::Ended`]: it is not; the other half knows why.
    pub async fn send(&mut self, records: Vec<Bytes>) -> Result<(), AppendError> {
        let conditions = self.conditions.clone();
        let ask = Ask { log: self.log, records, conditions, command: None };
        if let Some(token) = self.token.filter(|token| !token.fits(&ask)) {
            return Err(AppendError::OtherRecords { expected: token.count() });
        }
        let next = self.conditions.after(ask.records.len() as u64);
        self.place(ask).await?;
        self.conditions = next;
        self.token = None;
        Ok(())
    }

    async fn command(&mut self, command: Command) -> Result<(), AppendError> {
        // Whoever was fenced out does not take a producer over, either.
        let conditions = Conditions { fence: self.conditions.fence, ..Conditions::default() };
        self.place(Ask { conditions, ..Ask::of(command).on(self.log) }).await
    }

    async fn place(&mut self, ask: Ask) -> Result<(), AppendError> {
        // First the place among the answers, so that those which nobody takes are bounded.
        let place = self.places.acquire().await.map_err(|_| AppendError::Ended)?;
        // Counted before it can be answered: what was sent and is not answered is not acknowledged.
        let counted = Counted::one_of(&self.sent);
        self.orders.place(Order { ask, reply: None }).await?;
        counted.keep();
        // Given back when the answer is received.
        place.forget();
        Ok(())
    }

    /// Says that nothing more is to be sent, as dropping it does.
    pub fn finish(self) {}
}

impl AppendReceiver {
    /// The acknowledgement of the next request, in the order in which they were sent; `None` when
    /// the other half is gone and all are acknowledged, or after an error.
    ///
    /// May be dropped before it is done: nothing is lost.
    ///
    /// # Errors
    /// Why the next request is not acknowledged. Whatever follows it is not, either.
    pub async fn next(&mut self) -> Result<Option<Appended>, AppendError> {
        if self.failed {
            return Ok(None);
        }
        if self.ready.is_empty() {
            let Some(answers) = self.answers.recv().await else { return self.end() };
            self.places.add_permits(answers.len());
            self.ready.extend(answers);
        }
        let Some(answer) = self.ready.pop_front() else { return Ok(None) };
        if let Ok(appended) = &answer {
            self.acknowledged += 1;
            self.records += u64::from(appended.count);
        } else {
            self.failed = true;
            self.places.close();
        }
        answer.map(Some)
    }

    /// Nobody answers any more: that is the end of it only if nothing is left unanswered.
    fn end(&mut self) -> Result<Option<Appended>, AppendError> {
        if self.sent.load(Ordering::Acquire) == self.acknowledged {
            return Ok(None);
        }
        self.failed = true;
        self.places.close();
        Err(AppendError::Ended)
    }

    /// After a failure: those of the later requests whose outcome is unknown as well, in order.
    ///
    /// What nobody took stands before nothing that somebody took: they follow on the failed one
    /// without a gap.
    pub async fn later_unknown(&mut self) -> Vec<Token> {
        let mut tokens = vec![];
        while self.failed {
            // The other half is shut out: what was sent is all that comes.
            let Some(answer) = self.ready.pop_front() else {
                let Some(answers) = self.answers.recv().await else { break };
                self.ready.extend(answers);
                continue;
            };
            match answer {
                Err(AppendError::Unknown { token }) => tokens.push(token),
                _ => break,
            }
        }
        tokens
    }

    /// How many requests are acknowledged so far: always the first ones.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// How many records those have.
    pub fn acknowledged_records(&self) -> u64 {
        self.records
    }
}

/// A request that is counted as sent, unless that fails or is given up half-way.
struct Counted<'a>(&'a AtomicU64);

impl<'a> Counted<'a> {
    fn one_of(sent: &'a AtomicU64) -> Self {
        sent.fetch_add(1, Ordering::AcqRel);
        Self(sent)
    }

    fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Nobody takes the answers any more: the other half need not wait for that.
impl Drop for AppendReceiver {
    fn drop(&mut self) {
        self.places.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_producer_is_opened_under_the_fence_that_its_records_name() {
        let (sender, mut orders) = mpsc::channel(1);
        let (_answers, answers) = mpsc::unbounded_channel();
        let fence: Option<FenceToken> = "w1".parse().ok();
        let options = AppendOptions { fence, expect_offset: Some(Offset::ZERO) };
        let mut appender =
            Appender::new(Orders(sender), answers, (LogNumber::MAIN, None, &options));
        let name: ProducerName = "p".parse().unwrap();
        let opening = tokio::spawn(async move { appender.open(name).await });
        let order = orders.recv().await.unwrap();
        assert_eq!(order.ask.command, Some(Command::Open(name)));
        assert_eq!(order.ask.conditions, Conditions { fence, ..Conditions::default() });
        opening.abort();
    }
}
