//! What is said while lines are appended: that they wait, how far they are, and in the end what it came to.

use std::io;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use indicatif::ProgressBar;
use serde::Serialize;
use tokio::time::{Instant, sleep};
use tokio_util::task::AbortOnDropHandle;

use super::escape::escaped;
use super::output::{Row, talk};
use super::progress;
use crate::client::{Appended, Client};

/// Lines that are not acknowledged in this time wait for something.
const STALLED_AFTER: Duration = Duration::from_secs(2);
/// How often that is looked at.
const LOOK: Duration = Duration::from_millis(250);

/// How many lines have been read, and are acknowledged.
#[derive(Debug, Default)]
pub(super) struct Tally {
    read: AtomicU64,
    acknowledged: AtomicU64,
}

impl Tally {
    /// So many more have been read.
    pub(super) fn read(&self, lines: usize) {
        self.read.fetch_add(lines as u64, Ordering::Relaxed);
    }

    /// How many wait to be acknowledged, and how many are.
    fn now(&self) -> (u64, u64) {
        let acknowledged = self.acknowledged.load(Ordering::Relaxed);
        (self.read.load(Ordering::Relaxed).saturating_sub(acknowledged), acknowledged)
    }
}

/// Says what is going on, until it is dropped.
pub(super) struct Telling {
    tally: Arc<Tally>,
    bar: ProgressBar,
    _looking: AbortOnDropHandle<()>,
}

impl Telling {
    /// From now on. `bytes` is how much there is, if that is known; a bar is for those who watch.
    pub(super) fn start(client: &Client, tally: Arc<Tally>, bytes: Option<u64>, bar: bool) -> Self {
        let bar = if bar { progress::lines(bytes) } else { ProgressBar::hidden() };
        let looking = tell_stalls(client.clone(), tally.clone(), bar.clone());
        Self { tally, bar, _looking: AbortOnDropHandle::new(tokio::spawn(looking)) }
    }

    /// A request is acknowledged, which took so many bytes of the input.
    pub(super) fn acknowledged(&self, records: u32, bytes: usize) {
        let records = u64::from(records);
        let before = self.tally.acknowledged.fetch_add(records, Ordering::Relaxed);
        self.bar.inc(bytes as u64);
        self.bar.set_message(format!("{} records", before + records));
    }
}

impl Drop for Telling {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Says once that lines wait, and why, and once that they go on.
async fn tell_stalls(client: Client, tally: Arc<Tally>, bar: ProgressBar) {
    let (mut known, mut since, mut is_told) = (0, Instant::now(), false);
    loop {
        sleep(LOOK).await;
        let (waiting, acknowledged) = tally.now();
        if acknowledged > known || waiting == 0 {
            if is_told {
                bar.suspend(|| talk("going on"));
            }
            (known, since, is_told) = (acknowledged, Instant::now(), false);
        } else if !is_told && since.elapsed() >= STALLED_AFTER {
            // A leader that has much to do is no reason to say anything.
            if let Some(reason) = client.status().await.unavailable {
                let lines = if waiting == 1 { "line waits" } else { "lines wait" };
                let reason = escaped(&reason.to_string());
                bar.suspend(|| talk(format_args!("{waiting} {lines}: {reason}")));
                is_told = true;
            }
        }
    }
}

/// What all acknowledged requests come to.
#[derive(Debug)]
pub(super) struct Sum {
    begun: Instant,
    requests: u64,
    records: u64,
    first: Option<Appended>,
    last: Option<Appended>,
}

impl Sum {
    /// Of what is acknowledged from now on.
    pub(super) fn begin() -> Self {
        Self { begun: Instant::now(), requests: 0, records: 0, first: None, last: None }
    }

    /// A request is acknowledged.
    pub(super) fn add(&mut self, appended: Appended) {
        self.requests += 1;
        self.records += u64::from(appended.count);
        self.first.get_or_insert(appended);
        self.last = Some(appended);
    }

    /// The sum so far.
    pub(super) fn row(&self) -> SumRow {
        let Self { requests, records, .. } = *self;
        let first_offset = self.first.map(|first| first.offset.get());
        let last_offset = self.last.map(|last| last.offset.get() + u64::from(last.count) - 1);
        let elapsed_ms = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        SumRow { records, requests, first_offset, last_offset, elapsed_ms }
    }
}

/// A [`Sum`], printed.
#[derive(Debug, Serialize)]
pub(super) struct SumRow {
    records: u64,
    requests: u64,
    first_offset: Option<u64>,
    last_offset: Option<u64>,
    elapsed_ms: u64,
}

impl Row for SumRow {
    fn human(&self, out: &mut dyn Write) -> io::Result<()> {
        let (Some(first), Some(last)) = (self.first_offset, self.last_offset) else {
            return writeln!(out, "no lines, no records");
        };
        let plural = if self.records == 1 { "" } else { "s" };
        write!(out, "{} record{plural} acknowledged: ", self.records)?;
        match last - first + 1 {
            1 => write!(out, "offset {first}")?,
            all if all == self.records => write!(out, "offsets {first} to {last}")?,
            _ => write!(out, "offsets {first} to {last}, with others' in between")?,
        }
        let (seconds, tenths) = (self.elapsed_ms / 1000, self.elapsed_ms % 1000 / 100);
        let rate = self.records.saturating_mul(1000) / self.elapsed_ms.max(1);
        writeln!(out, "; {seconds}.{tenths} s, {rate} records/s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::rows::tests::{human, node};
    use crate::types::{Index, Offset, Term};

    fn appended(offset: u64, count: u32) -> Appended {
        let (offset, term, index) = (Offset::new(offset), Term::new(1), Index::new(2));
        Appended { offset, count, term, index, leader: node("n1") }
    }

    #[test]
    fn a_sum_says_how_many_and_where() {
        let said = |appends: &[(u64, u32)]| {
            let mut sum = Sum::begin();
            for (offset, count) in appends {
                sum.add(appended(*offset, *count));
            }
            human(&SumRow { elapsed_ms: 2_500, ..sum.row() })
        };
        assert_eq!(said(&[]), "no lines, no records\n");
        assert_eq!(said(&[(7, 1)]), "1 record acknowledged: offset 7; 2.5 s, 0 records/s\n");
        assert_eq!(
            said(&[(7, 100), (107, 50)]),
            "150 records acknowledged: offsets 7 to 156; 2.5 s, 60 records/s\n"
        );
        assert_eq!(
            said(&[(7, 1), (9, 1)]),
            "2 records acknowledged: offsets 7 to 9, with others' in between; 2.5 s, 0 records/s\n"
        );
    }

    #[test]
    fn what_waits_is_what_was_read_and_is_not_acknowledged() {
        let tally = Tally::default();
        tally.read(10);
        tally.acknowledged.fetch_add(4, Ordering::Relaxed);
        assert_eq!(tally.now(), (6, 4));
    }
}
