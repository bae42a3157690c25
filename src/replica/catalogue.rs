//! Which logs there are.
//!
//! A function of the entries, equal on all nodes at equal indexes. A log has a name, which may be given
//! to another one once it is deleted, and a number, which is never given again: whoever holds a number
//! holds that very log, or none. `main` is there from the beginning.
//!
//! A *fork* is a log whose beginning is another one's: it has an origin, and no copy. What is before that
//! offset its readers find at the source ([`Lineage`]), and so what a fork still needs of its source is live,
//! wherever the source itself begins by then. A log that is deleted while it has forks is there for them
//! alone: it keeps its name, nobody can use it any more, and it goes with the last of them. A fork may have
//! forks, so both go on along the chain, whose length is bounded.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use serde::{Deserialize, Serialize};

use super::reach::Lineage;
use crate::command::{Command, NewLog, Origin};
use crate::limits::{FORK_DEPTH_MAX, FORKS_MAX, LOGS_MAX, LOGS_PAGE};
use crate::log_name::LogName;
use crate::log_settings::{Expiry, LogSettings};
use crate::marks::{Mark, hit};
use crate::mutants::{self, Mutant};
use crate::retention::Retention;
use crate::types::{LogNumber, Offset};
use crate::wire::conditions::Obstacle;
use crate::wire::standing::{Fork, LogState};

/// A log, besides its records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Log {
    name: LogName,
    settings: LogSettings,
    closed: bool,
    /// Its first offset: what is before it was trimmed.
    start: Offset,
    /// Where it comes from, if it is a fork.
    origin: Option<Origin>,
    /// It is there for its forks alone.
    deleted: bool,
}

/// The forks of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Forks {
    count: usize,
    /// Those that need some of its records, each with the first of these.
    needs: BTreeSet<(Offset, LogNumber)>,
}

/// What a fork needs of its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Need {
    source: LogNumber,
    /// The first of its records, if it needs any.
    from: Option<Offset>,
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Catalogue {
    logs: BTreeMap<LogNumber, Log>,
    /// The number of the next log to be created.
    next: LogNumber,
    /// The same logs by name. Derived; not stored.
    #[serde(skip)]
    by_name: BTreeMap<LogName, LogNumber>,
    /// The forks of each log that has some. Derived; not stored.
    #[serde(skip)]
    forks: BTreeMap<LogNumber, Forks>,
}

impl Log {
    /// A new one, which begins here.
    fn of(new: NewLog, start: Offset) -> Self {
        let NewLog { name, settings, closed, origin } = new;
        Self { name, settings, closed, start, origin, deleted: false }
    }
}

impl Default for Catalogue {
    fn default() -> Self {
        let main = Log::of(LogName::main().into(), Offset::ZERO);
        let logs = BTreeMap::from([(LogNumber::MAIN, main)]);
        let (by_name, forks) = (BTreeMap::default(), BTreeMap::default());
        let mut catalogue = Self { logs, next: LogNumber::MAIN.next(), by_name, forks };
        catalogue.derive();
        catalogue
    }
}

impl Catalogue {
    /// Fills in what is not stored, after it was read.
    pub(super) fn derive(&mut self) {
        let names = self.logs.iter().map(|(number, log)| (log.name.clone(), *number));
        self.by_name = names.collect();
        // A fork has a higher number than its source: what it needs is known first.
        let numbers: Vec<_> = self.logs.keys().rev().copied().collect();
        for number in numbers {
            let need = self.need(number);
            self.link(number, None, need);
        }
    }

    /// A log that is not deleted.
    fn get(&self, number: LogNumber) -> Option<&Log> {
        self.logs.get(&number).filter(|log| !log.deleted)
    }

    /// The number of the next log to be created.
    pub(super) fn next(&self) -> LogNumber {
        if mutants::is_on(Mutant::ReuseLogNumber) {
            return self.logs.last_key_value().map_or(LogNumber::MAIN, |(last, _)| last.next());
        }
        self.next
    }

    /// Whether there is such a log, or will be: one whose number was not given yet may be created.
    pub(super) fn may_exist(&self, number: LogNumber) -> bool {
        number >= self.next || self.get(number).is_some()
    }

    /// The log's name, if there is such a log.
    pub(super) fn name(&self, number: LogNumber) -> Option<&LogName> {
        self.get(number).map(|log| &log.name)
    }

    /// Whether the log is closed, if there is such a log.
    pub(super) fn is_closed(&self, number: LogNumber) -> Option<bool> {
        self.get(number).map(|log| log.closed)
    }

    /// How much of the log is kept, if there is such a log.
    pub(super) fn retention(&self, number: LogNumber) -> Option<Retention> {
        self.get(number).map(|log| log.settings.retention)
    }

    /// When the log expires, if it does.
    pub(super) fn expiry(&self, number: LogNumber) -> Option<Expiry> {
        self.get(number)?.settings.expiry
    }

    /// The logs that expire.
    pub(super) fn expiring(&self) -> impl Iterator<Item = LogNumber> {
        let numbers = self.logs.keys().copied();
        numbers.filter(|number| self.expiry(*number).is_some())
    }

    /// How many logs there are.
    pub(super) fn len(&self) -> usize {
        self.logs.len()
    }

    /// Where the log begins, if there is such a log.
    pub(super) fn begins_at(&self, number: LogNumber) -> Option<Offset> {
        self.get(number).map(|log| log.start)
    }

    /// The log's first offset.
    pub(super) fn start(&self, number: LogNumber) -> Offset {
        self.begins_at(number).unwrap_or_default()
    }

    /// Whether the log has an entry here: it is there, if only for its forks.
    pub(super) fn has(&self, number: LogNumber) -> bool {
        self.logs.contains_key(&number)
    }

    /// Whose records a log begins with.
    pub(super) fn lineage(&self, number: LogNumber) -> Lineage {
        let mut origin = self.logs.get(&number).and_then(|log| log.origin);
        let (mut parts, mut until) = (vec![], None);
        while let Some(Origin { source, at, .. }) = origin {
            // What a fork of a fork took from before that was a fork is not that one's.
            let end = until.map_or(at, |until: Offset| until.min(at));
            parts.push((source, end));
            until = Some(end);
            origin = self.logs.get(&source).and_then(|log| log.origin);
        }
        parts.reverse();
        Lineage::of(parts)
    }

    /// The first of a log's own records that anybody needs, itself or a fork; none, if nobody needs any.
    /// Never goes back.
    pub(super) fn live_from(&self, number: LogNumber) -> Option<Offset> {
        if mutants::is_on(Mutant::ForksNeedNothing) {
            return self.begins_at(number);
        }
        let lowest = self.lowest(number)?;
        let origin = self.logs.get(&number)?.origin;
        Some(lowest.max(origin.map_or(Offset::ZERO, |origin| origin.at)))
    }

    /// The first record that anybody needs who reads it through this log.
    fn lowest(&self, number: LogNumber) -> Option<Offset> {
        let of_forks = self.forks.get(&number).and_then(|forks| forks.needs.first());
        self.begins_at(number).into_iter().chain(of_forks.map(|(from, _)| *from)).min()
    }

    /// What a log needs of its source, if it is a fork.
    fn need(&self, number: LogNumber) -> Option<Need> {
        let Origin { source, at, .. } = self.logs.get(&number)?.origin?;
        Some(Need { source, from: self.lowest(number).filter(|from| *from < at) })
    }

    /// Notes with a log's source, and with what that is a fork of, what it needs by now instead of this.
    fn note_need(&mut self, number: LogNumber, before: Option<Need>) {
        let after = self.need(number);
        let changed = before.or(after).filter(|_| before != after);
        if let Some(Need { source, .. }) = changed {
            let of_source = self.need(source);
            self.link(number, before, after);
            self.note_need(source, of_source);
        }
    }

    /// Notes with a log's source what it needs of it.
    fn link(&mut self, number: LogNumber, before: Option<Need>, after: Option<Need>) {
        if let Some(Need { source, from }) = before
            && let Some(forks) = self.forks.get_mut(&source)
        {
            forks.count -= 1;
            from.map(|from| forks.needs.remove(&(from, number)));
            if forks.count == 0 {
                self.forks.remove(&source);
            }
        }
        if let Some(Need { source, from }) = after {
            let forks = self.forks.entry(source).or_default();
            forks.count += 1;
            forks.needs.extend(from.map(|from| (from, number)));
        }
    }

    /// How many forks a log has.
    fn count_forks(&self, number: LogNumber) -> usize {
        self.forks.get(&number).map_or(0, |forks| forks.count)
    }

    /// A log is created. Gives what was so before.
    pub(super) fn create(&mut self, number: LogNumber, new: NewLog) -> Option<Log> {
        // Invariant: a number is given once.
        assert!(number == self.next || mutants::any(), "broken law: log {number} is not the next");
        self.next = number.next();
        // What its source has lost by then it never had.
        let start = new.origin.map_or(Offset::ZERO, |origin| self.start(origin.source));
        let start = if mutants::is_on(Mutant::ForkFromZero) { Offset::ZERO } else { start };
        self.put(number, Some(Log::of(new, start)))
    }

    /// A log is closed. Gives what was so before.
    pub(super) fn close(&mut self, number: LogNumber) -> Option<Log> {
        let open = self.logs.get(&number).cloned();
        self.put(number, open.map(|log| Log { closed: true, ..log }))
    }

    /// A log is trimmed. Gives what was so before.
    pub(super) fn trim(&mut self, number: LogNumber, before: Offset) -> Option<Log> {
        let trimmed = self.logs.get(&number).cloned().map(|log| {
            let is_back = mutants::is_on(Mutant::StartGoesBack);
            // Invariant: what is gone does not come back.
            let start = if is_back { before } else { log.start.max(before) };
            Log { start, ..log }
        });
        self.put(number, trimmed)
    }

    /// So much of a log is kept from here on. Gives what was so before.
    pub(super) fn configure(&mut self, number: LogNumber, retention: Retention) -> Option<Log> {
        let log = self.logs.get(&number).cloned();
        self.put(
            number,
            log.map(|log| Log { settings: LogSettings { retention, ..log.settings }, ..log }),
        )
    }

    /// A log is deleted; with it go those that were deleted before and had no other fork. Gives of each what
    /// was so before.
    pub(super) fn delete(&mut self, number: LogNumber) -> Vec<(LogNumber, Option<Log>)> {
        if self.count_forks(number) > 0 {
            hit(Mark::KeptForForks);
            let log = self.logs.get(&number).cloned();
            let kept = log.map(|log| Log { deleted: true, ..log });
            return vec![(number, self.put(number, kept))];
        }
        let mut gone = vec![(number, self.put(number, None))];
        while let Some(source) = gone.last().and_then(|(_, log)| Some(log.as_ref()?.origin?.source))
            && self.is_over(source)
        {
            hit(Mark::WentWithFork);
            gone.push((source, self.put(source, None)));
        }
        gone
    }

    /// Whether a log was there for its forks alone, and has none any more.
    fn is_over(&self, number: LogNumber) -> bool {
        let is_deleted = self.logs.get(&number).is_some_and(|log| log.deleted);
        is_deleted && self.count_forks(number) == 0 && !mutants::is_on(Mutant::DeletedStays)
    }

    /// Puts back what was so before: one that was not there had not been created.
    pub(super) fn undo(&mut self, number: LogNumber, before: Option<Log>) {
        if before.is_none() {
            self.next = number;
        }
        self.put(number, before);
    }

    fn put(&mut self, number: LogNumber, log: Option<Log>) -> Option<Log> {
        let needed = self.need(number);
        let name = log.as_ref().map(|log| log.name.clone());
        let before = match log {
            Some(log) => self.logs.insert(number, log),
            None => self.logs.remove(&number),
        };
        if let Some(before) = &before {
            self.by_name.remove(&before.name);
        }
        if let Some(name) = name {
            self.by_name.insert(name, number);
        }
        self.note_need(number, needed);
        before
    }

    /// What keeps a request for this log from being done, if something does.
    pub(super) fn obstacle(
        &self,
        number: LogNumber,
        command: Option<&Command>,
    ) -> Option<Obstacle> {
        if let Some(Command::Create(new)) = command {
            return self.forbids(&new.name).or_else(|| self.forbids_fork(new.origin?));
        }
        let is_main = number == LogNumber::MAIN;
        match (self.is_closed(number), command) {
            (None, _) => Some(Obstacle::NoLog),
            (Some(_), Some(Command::Close(_) | Command::Delete)) if is_main => {
                Some(Obstacle::MainStays)
            }
            (
                Some(_),
                Some(
                    Command::Configure(_) | Command::Delete | Command::Forget(_) | Command::Trim(_),
                ),
            )
            | (Some(false), _) => None,
            (Some(true), _) => Some(Obstacle::Closed),
        }
    }

    /// Why a log of this name cannot be created, if it cannot.
    fn forbids(&self, name: &LogName) -> Option<Obstacle> {
        if let Some(number) = self.by_name.get(name) {
            return Some(Obstacle::LogExists { number: *number });
        }
        let is_full = self.logs.len() >= LOGS_MAX || self.next == LogNumber::LAST;
        is_full.then_some(Obstacle::TooManyLogs)
    }

    /// Why a log cannot be forked so, if it cannot.
    fn forbids_fork(&self, Origin { source, at, .. }: Origin) -> Option<Obstacle> {
        let Some(start) = self.begins_at(source) else { return Some(Obstacle::NoLog) };
        if at < start {
            return Some(Obstacle::Trimmed { start });
        }
        let is_full =
            self.count_forks(source) >= FORKS_MAX || self.lineage(source).depth() >= FORK_DEPTH_MAX;
        is_full.then_some(Obstacle::TooManyForks)
    }

    /// How the log of this name stands, by which logs go on at these offsets.
    pub(super) fn state(
        &self,
        name: &LogName,
        next_offset: &dyn Fn(LogNumber) -> Offset,
    ) -> Option<LogState> {
        let number = *self.by_name.get(name)?;
        let Log { name, settings, closed, start: start_offset, origin, deleted } =
            self.logs.get(&number)?.clone();
        let fork = origin.and_then(|Origin { source, at, part }| {
            let name = self.logs.get(&source)?.name.clone();
            Some(Fork { source: name, number: source, at, part })
        });
        let (next_offset, forks) = (next_offset(number), self.count_forks(number));
        Some(LogState {
            name,
            number,
            settings,
            start_offset,
            next_offset,
            closed,
            deleted,
            fork,
            forks: u32::try_from(forks).unwrap_or(u32::MAX),
        })
    }

    /// The logs whose names begin so, behind this one, by name, as many as an answer has.
    pub(super) fn page(&self, prefix: &str, after: Option<&LogName>) -> Vec<LogName> {
        let behind = after.map(LogName::as_str).filter(|after| *after >= prefix);
        let first = behind.map_or(Bound::Included(prefix), Bound::Excluded);
        let names = self.by_name.range::<str, _>((first, Bound::Unbounded)).map(|(name, _)| name);
        names.take_while(|name| name.starts_with(prefix)).take(LOGS_PAGE).cloned().collect()
    }
}
