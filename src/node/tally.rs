//! What a node has counted since it started. The driver counts, everybody may look.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

#[cfg(feature = "http")]
use crate::http::Counts;
use crate::limits::PERSIST_BOUNDS_MS;
use crate::types::Ticket;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Tally {
    acknowledged_requests: AtomicU64,
    acknowledged_bytes: AtomicU64,
    refused_requests: AtomicU64,
    persisted: [AtomicU64; PERSIST_BOUNDS_MS.len() + 1],
    persisted_micros: AtomicU64,
    /// Writes that are on their way to the disk, in order.
    writing: Mutex<VecDeque<(Ticket, Instant)>>,
}

impl Tally {
    /// Requests were acknowledged, or not.
    pub(super) fn answered(&self, requests: u32, were_taken: bool) {
        let count = if were_taken { &self.acknowledged_requests } else { &self.refused_requests };
        count.fetch_add(requests.into(), Ordering::Relaxed);
    }

    /// So many bytes were in requests that were all acknowledged.
    pub(super) fn took_bytes(&self, bytes: usize) {
        self.acknowledged_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// A write goes to the disk.
    pub(super) fn wrote(&self, ticket: Ticket) {
        let mut writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        writing.push_back((ticket, Instant::now()));
    }

    /// All writes up to this one are on the disk.
    pub(super) fn persisted(&self, ticket: Ticket) {
        let mut writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some((_, since)) = writing.pop_front_if(|(written, _)| *written <= ticket) {
            self.took(since.elapsed());
        }
    }

    fn took(&self, time: Duration) {
        let is_within = |bound: &u64| time <= Duration::from_millis(*bound);
        let place = PERSIST_BOUNDS_MS.iter().position(is_within);
        if let Some(count) = self.persisted.get(place.unwrap_or(PERSIST_BOUNDS_MS.len())) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.persisted_micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// All of it.
    #[cfg(feature = "http")]
    pub(super) fn counts(&self) -> Counts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Counts {
            acknowledged_requests: read(&self.acknowledged_requests),
            acknowledged_bytes: read(&self.acknowledged_bytes),
            refused_requests: read(&self.refused_requests),
            persisted: self.persisted.each_ref().map(read),
            persisted_micros: read(&self.persisted_micros),
        }
    }
}

#[cfg(all(test, feature = "http"))]
mod tests {
    use super::*;

    #[test]
    fn each_write_is_counted_once_when_it_is_on_the_disk() {
        let tally = Tally::default();
        for ticket in 1..=3 {
            tally.wrote(Ticket::new(ticket));
        }
        tally.persisted(Ticket::new(2));
        assert_eq!(tally.counts().persisted.iter().sum::<u64>(), 2);
        tally.persisted(Ticket::new(2));
        tally.persisted(Ticket::new(3));
        assert_eq!(tally.counts().persisted.iter().sum::<u64>(), 3);
        assert!(tally.writing.lock().unwrap().is_empty());
        tally.took(Duration::from_secs(5));
        assert_eq!(tally.counts().persisted[PERSIST_BOUNDS_MS.len()], 1);
    }
}
