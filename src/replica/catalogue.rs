//! Which logs there are.
//!
//! A function of the entries, equal on all nodes at equal indexes. A log has a name, which may be given
//! to another one once it is deleted, and a number, which is never given again: whoever holds a number
//! holds that very log, or none. `main` is there from the beginning.

use std::collections::BTreeMap;
use std::ops::Bound;

use serde::{Deserialize, Serialize};

use crate::command::{Command, NewLog};
use crate::limits::{LOGS_MAX, LOGS_PAGE};
use crate::log_name::LogName;
use crate::log_settings::{Expiry, LogSettings};
use crate::mutants::{self, Mutant};
use crate::retention::Retention;
use crate::types::{LogNumber, Offset};
use crate::wire::conditions::Obstacle;
use crate::wire::standing::LogState;

/// A log, besides its records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Log {
    name: LogName,
    settings: LogSettings,
    closed: bool,
    /// Its first offset: what is before it was trimmed.
    start: Offset,
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
}

impl Log {
    fn of(new: NewLog) -> Self {
        let NewLog { name, settings, closed } = new;
        Self { name, settings, closed, start: Offset::ZERO }
    }
}

impl Default for Catalogue {
    fn default() -> Self {
        let main = Log::of(LogName::main().into());
        let logs = BTreeMap::from([(LogNumber::MAIN, main)]);
        let mut catalogue =
            Self { logs, next: LogNumber::MAIN.next(), by_name: BTreeMap::default() };
        catalogue.derive();
        catalogue
    }
}

impl Catalogue {
    /// Fills in what is not stored, after it was read.
    pub(super) fn derive(&mut self) {
        let names = self.logs.iter().map(|(number, log)| (log.name.clone(), *number));
        self.by_name = names.collect();
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
        number >= self.next || self.logs.contains_key(&number)
    }

    /// Whether the log is closed, if there is such a log.
    pub(super) fn is_closed(&self, number: LogNumber) -> Option<bool> {
        self.logs.get(&number).map(|log| log.closed)
    }

    /// How much of the log is kept, if there is such a log.
    pub(super) fn retention(&self, number: LogNumber) -> Option<Retention> {
        self.logs.get(&number).map(|log| log.settings.retention)
    }

    /// When the log expires, if it does.
    pub(super) fn expiry(&self, number: LogNumber) -> Option<Expiry> {
        self.logs.get(&number)?.settings.expiry
    }

    /// The logs that expire.
    pub(super) fn expiring(&self) -> impl Iterator<Item = LogNumber> {
        let expires = |(number, log): (&LogNumber, &Log)| log.settings.expiry.map(|_| *number);
        self.logs.iter().filter_map(expires)
    }

    /// How many logs there are.
    pub(super) fn len(&self) -> usize {
        self.logs.len()
    }

    /// Where the log begins, if there is such a log.
    pub(super) fn begins_at(&self, number: LogNumber) -> Option<Offset> {
        self.logs.get(&number).map(|log| log.start)
    }

    /// The log's first offset.
    pub(super) fn start(&self, number: LogNumber) -> Offset {
        self.begins_at(number).unwrap_or_default()
    }

    /// A log is created. Gives what was so before.
    pub(super) fn create(&mut self, number: LogNumber, new: NewLog) -> Option<Log> {
        // Invariant: a number is given once.
        assert!(number == self.next || mutants::any(), "broken law: log {number} is not the next");
        self.next = number.next();
        self.put(number, Some(Log::of(new)))
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

    /// A log is deleted. Gives what was so before.
    pub(super) fn delete(&mut self, number: LogNumber) -> Option<Log> {
        self.put(number, None)
    }

    /// Puts back what was so before: one that was not there had not been created.
    pub(super) fn undo(&mut self, number: LogNumber, before: Option<Log>) {
        if before.is_none() {
            self.next = number;
        }
        self.put(number, before);
    }

    fn put(&mut self, number: LogNumber, log: Option<Log>) -> Option<Log> {
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
        before
    }

    /// What keeps a request for this log from being done, if something does.
    pub(super) fn obstacle(
        &self,
        number: LogNumber,
        command: Option<&Command>,
    ) -> Option<Obstacle> {
        if let Some(Command::Create(new)) = command {
            return self.forbids(&new.name);
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

    /// How the log of this name stands, by which logs go on at these offsets.
    pub(super) fn state(
        &self,
        name: &LogName,
        next_offset: &dyn Fn(LogNumber) -> Offset,
    ) -> Option<LogState> {
        let number = *self.by_name.get(name)?;
        let Log { name, settings, closed, start } = self.logs.get(&number)?.clone();
        let next_offset = next_offset(number);
        Some(LogState { name, number, settings, start_offset: start, next_offset, closed })
    }

    /// The logs whose names begin so, behind this one, by name, as many as an answer has.
    pub(super) fn page(&self, prefix: &str, after: Option<&LogName>) -> Vec<LogName> {
        let behind = after.map(LogName::as_str).filter(|after| *after >= prefix);
        let first = behind.map_or(Bound::Included(prefix), Bound::Excluded);
        let names = self.by_name.range::<str, _>((first, Bound::Unbounded)).map(|(name, _)| name);
        names.take_while(|name| name.starts_with(prefix)).take(LOGS_PAGE).cloned().collect()
    }
}
