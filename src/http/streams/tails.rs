//! One followed read for all who wait at one log: what is new is read once, however many take it.
//!
//! What has just come is kept in memory, within a bound, for those who are there; who is slower reads the
//! log itself. So nobody has a queue of its own.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::interval;

use super::batch::{Batch, cost};
use super::body::Room;
use super::lock;
use super::log::{Log, Logs};
use super::refusal::{Refusal, busy};
use crate::client::{self, LogError, ReadFrom, ReadOptions, Record};
use crate::limits::{
    HTTP_NEWS_BYTES_MAX, HTTP_NEWS_TAKEN_BYTES, HTTP_READS_MAX, HTTP_TAIL_LOOK, HTTP_TAILS_MAX,
    HTTP_WAITING_MAX,
};
use crate::types::{LogNumber, Offset};

/// What streams take of a node.
#[derive(Debug)]
pub(in super::super) struct Rooms {
    /// For bodies and answers.
    pub(super) bodies: Room,
    /// Reads that go on at the same time.
    pub(super) reads: Semaphore,
    /// Readers that wait.
    waiting: Arc<Semaphore>,
    pub(super) tails: Tails,
    pub(super) logs: Logs,
}

impl Default for Rooms {
    fn default() -> Self {
        Self {
            bodies: Room::default(),
            reads: Semaphore::new(HTTP_READS_MAX),
            waiting: Arc::new(Semaphore::new(HTTP_WAITING_MAX)),
            tails: Tails::default(),
            logs: Logs::default(),
        }
    }
}

impl Rooms {
    /// A place for a reader that waits.
    pub(super) fn wait(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        let place = Arc::clone(&self.waiting).try_acquire_owned();
        place.map_err(|_| busy("too many readers wait already"))
    }
}

/// The logs at which somebody waits.
#[derive(Clone, Debug, Default)]
pub(super) struct Tails(Arc<Mutex<BTreeMap<LogNumber, Followed>>>);

/// A log that is followed.
#[derive(Clone, Debug)]
struct Followed {
    /// The sender goes when the log cannot be followed.
    end: watch::Receiver<End>,
    recent: Arc<Mutex<Recent>>,
}

/// Where a log ends, as far as it was followed.
#[derive(Clone, Copy, Debug)]
struct End {
    /// The offset after the last record that came.
    offset: Offset,
    /// Nothing comes behind it any more.
    is_closed: bool,
}

/// What has just come.
#[derive(Debug, Default)]
struct Recent {
    records: VecDeque<Record>,
    bytes: usize,
}

/// Somebody's place at a log that is followed.
#[derive(Debug)]
pub(super) struct Tail(Followed);

impl Tails {
    /// A place at a log, which ends there or later.
    pub(super) fn follow(&self, log: &Log, end: Offset) -> Result<Tail, Refusal> {
        let mut followed = lock(&self.0);
        if let Some(known) = followed.get(&log.number) {
            return Ok(Tail(known.clone()));
        }
        if followed.len() >= HTTP_TAILS_MAX {
            return Err(busy("readers wait at too many logs already"));
        }
        let first = End { offset: end, is_closed: log.is_closed };
        let (sender, receiver) = watch::channel(first);
        let new = Followed { end: receiver, recent: Arc::default() };
        followed.insert(log.number, new.clone());
        let options = ReadOptions { from: ReadFrom::Offset(end), ..ReadOptions::default() };
        let tail = log.client.tail(options);
        tokio::spawn(self.clone().keep(log.clone(), tail, sender, new.recent.clone()));
        Ok(Tail(new))
    }

    /// Follows a log until nobody waits there any more, or it cannot be followed.
    async fn keep(
        self,
        log: Log,
        mut tail: client::Tail,
        end: watch::Sender<End>,
        recent: Arc<Mutex<Recent>>,
    ) {
        let mut looks = interval(HTTP_TAIL_LOOK);
        loop {
            tokio::select! {
                came = tail.next() => match came {
                    Ok(Some(record)) => {
                        let offset = Offset::new(record.offset.get() + 1);
                        lock(&recent).push(record);
                        end.send_modify(|end| end.offset = offset);
                    }
                    Ok(None) => break,
                    Err(error) => {
                        tracing::debug!(%error, "a log cannot be followed");
                        break;
                    }
                },
                _ = looks.tick() => if !self.is_wanted(&log, &end).await {
                    return;
                }
            }
        }
        lock(&self.0).remove(&log.number);
    }

    /// Whether anybody still waits at a log, which may have been closed meanwhile or be gone. If not, it is
    /// off the table.
    async fn is_wanted(&self, log: &Log, end: &watch::Sender<End>) -> bool {
        let is_there = log.number == LogNumber::MAIN
            || match log.client.log_state(&log.name).await {
                Ok(state) => {
                    let is_over = |end: &End| state.closed && end.offset >= state.next_offset;
                    end.send_if_modified(|end| {
                        let is_news = is_over(end) && !end.is_closed;
                        end.is_closed |= is_news;
                        is_news
                    });
                    state.number == log.number && !state.deleted
                }
                Err(LogError::Unknown { .. }) => false,
                // Nobody leads: it is asked again.
                Err(_) => true,
            };
        let mut followed = lock(&self.0);
        // One receiver is with the table.
        let is_wanted = is_there && end.receiver_count() > 1;
        if !is_wanted {
            followed.remove(&log.number);
        }
        is_wanted
    }
}

impl Recent {
    fn push(&mut self, record: Record) {
        self.bytes += cost(&record);
        self.records.push_back(record);
        while self.bytes > HTTP_NEWS_BYTES_MAX {
            let Some(oldest) = self.records.pop_front() else { return };
            self.bytes -= cost(&oldest);
        }
    }
}

impl Tail {
    /// Waits until there is something behind a place, or never will be. Says which.
    pub(super) async fn reaches_beyond(&mut self, from: Offset) -> Result<bool, Refusal> {
        let reached = self.0.end.wait_for(|end| end.offset > from || end.is_closed).await;
        let reached = reached.map_err(|_| busy("the log cannot be followed now"))?;
        Ok(reached.offset > from)
    }

    /// What has come behind a place, if that is still in memory.
    pub(super) fn recent(&self, from: Offset) -> Option<Batch> {
        let recent = lock(&self.0.recent);
        let first = recent.records.front()?.offset;
        let begin = usize::try_from(from.get().checked_sub(first.get())?).ok()?;
        let mut bytes = 0;
        let fits = |record: &&Record| {
            let is_first = bytes == 0;
            bytes += cost(record);
            is_first || bytes <= HTTP_NEWS_TAKEN_BYTES
        };
        let records: Vec<_> = recent.records.iter().skip(begin).take_while(fits).cloned().collect();
        let next = Offset::new(records.last()?.offset.get() + 1);
        let is_at_tail =
            recent.records.back().is_some_and(|last| last.offset.get() + 1 == next.get());
        let is_closed = is_at_tail && self.0.end.borrow().is_closed;
        Some(Batch { records, next, is_at_tail, is_closed })
    }
}
