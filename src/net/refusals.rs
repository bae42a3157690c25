//! What was refused, counted: who knocks a thousand times a second must not fill the log.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use tracing::{info, warn};

use crate::limits::REFUSAL_REASONS_MAX;

/// What was refused since it was last told.
#[derive(Debug)]
pub(super) struct Refusals {
    subject: Subject,
    counts: Mutex<Counts>,
}

/// What is refused.
#[derive(Clone, Copy, Debug)]
pub(super) enum Subject {
    /// Connections, as they come.
    Connections,
    /// What only admins may do.
    Actions,
}

#[derive(Debug, Default)]
struct Counts {
    /// One was told since the last summary: the next ones wait for it.
    is_told: bool,
    by_reason: BTreeMap<String, u64>,
    last: Option<SocketAddr>,
}

impl Refusals {
    pub(super) fn new(subject: Subject) -> Self {
        Self { subject, counts: Mutex::default() }
    }

    /// Notes a refusal. The first after a while is told at once.
    pub(super) fn note(&self, address: SocketAddr, reason: &str) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.is_told {
            counts.add(address, reason);
            return;
        }
        counts.is_told = true;
        match self.subject {
            Subject::Connections => info!(%address, "a connection was refused: {reason}"),
            Subject::Actions => warn!(%address, "audit: at {address} was refused: {reason}"),
        }
    }

    /// Tells what was refused since the last time, if anything was.
    pub(super) fn summarise(&self) {
        let counts =
            std::mem::take(&mut *self.counts.lock().unwrap_or_else(PoisonError::into_inner));
        let Some(address) = counts.last else { return };
        let sentence = counts.sentence(self.subject);
        match self.subject {
            Subject::Connections => info!(%address, "{sentence}"),
            Subject::Actions => warn!(%address, "audit: {sentence}"),
        }
    }
}

impl Counts {
    fn add(&mut self, address: SocketAddr, reason: &str) {
        self.last = Some(address);
        let is_listed = self.by_reason.contains_key(reason);
        let has_room = self.by_reason.len() < REFUSAL_REASONS_MAX;
        let reason = if is_listed || has_room { reason } else { "others" };
        *self.by_reason.entry(reason.to_owned()).or_default() += 1;
    }

    fn sentence(&self, subject: Subject) -> String {
        let all: u64 = self.by_reason.values().sum();
        let what = match subject {
            Subject::Connections => "connections",
            Subject::Actions => "actions",
        };
        let mut sentence = format!("{all} more {what} were refused, the last from here:");
        for (number, (reason, count)) in self.by_reason.iter().enumerate() {
            let comma = if number == 0 { "" } else { "," };
            // Writing to a string cannot fail.
            let _ = write!(sentence, "{comma} {count} × {reason}");
        }
        sentence
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_refusals_are_one_sentence() {
        let refusals = Refusals::new(Subject::Connections);
        let address = |port| SocketAddr::from(([10, 0, 0, 1], port));
        refusals.note(address(1), "unknown CA");
        for port in 2..5 {
            refusals.note(address(port), "unknown CA");
        }
        refusals.note(address(5), "too many connections");
        let counts = std::mem::take(&mut *refusals.counts.lock().unwrap());
        assert_eq!(counts.last, Some(address(5)));
        assert_eq!(
            counts.sentence(Subject::Connections),
            "4 more connections were refused, the last from here: 1 × too many connections, \
             3 × unknown CA"
        );
    }
    #[test]
    fn there_are_no_more_reasons_than_a_line_has_room_for() {
        let refusals = Refusals::new(Subject::Actions);
        let address = SocketAddr::from(([10, 0, 0, 1], 1));
        for number in 0..100 {
            refusals.note(address, &format!("who/{number}: what"));
        }
        let counts = std::mem::take(&mut *refusals.counts.lock().unwrap());
        assert_eq!(counts.by_reason.len(), REFUSAL_REASONS_MAX + 1);
        let sentence = counts.sentence(Subject::Actions);
        assert!(sentence.starts_with("99 more actions were refused"), "{sentence}");
        assert!(sentence.contains(" × others"), "{sentence}");
    }
}
