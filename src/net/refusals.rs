//! Refused connections, counted: who knocks a thousand times a second must not fill the log.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use tracing::info;

/// What was refused since it was last told.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    /// One was told since the last summary: the next ones wait for it.
    is_told: bool,
    by_reason: BTreeMap<String, u64>,
    last: Option<SocketAddr>,
}

impl Refusals {
    /// Notes a refusal. The first after a while is told at once.
    pub(super) fn note(&self, address: SocketAddr, reason: &str) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.is_told {
            counts.last = Some(address);
            *counts.by_reason.entry(reason.to_owned()).or_default() += 1;
            return;
        }
        counts.is_told = true;
        info!(%address, "a connection was refused: {reason}");
    }

    /// Tells what was refused since the last time, if anything was.
    pub(super) fn summarise(&self) {
        let counts =
            std::mem::take(&mut *self.counts.lock().unwrap_or_else(PoisonError::into_inner));
        if let Some(address) = counts.last {
            info!(%address, "{}", counts.sentence());
        }
    }
}

impl Counts {
    fn sentence(&self) -> String {
        let all: u64 = self.by_reason.values().sum();
        let mut sentence = format!("{all} more connections were refused, the last from here:");
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
        let refusals = Refusals::default();
        let address = |port| SocketAddr::from(([10, 0, 0, 1], port));
        refusals.note(address(1), "unknown CA");
        for port in 2..5 {
            refusals.note(address(port), "unknown CA");
        }
        refusals.note(address(5), "too many connections");
        let counts = std::mem::take(&mut *refusals.counts.lock().unwrap());
        assert_eq!(counts.last, Some(address(5)));
        assert_eq!(
            counts.sentence(),
            "4 more connections were refused, the last from here: 1 × too many connections, \
             3 × unknown CA"
        );
    }
}
