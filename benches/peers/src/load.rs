//! The same work for every peer that has a client crate.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use hdrhistogram::Histogram;
use tokio::task::JoinSet;
use tokio::time::{interval, sleep, sleep_until, timeout};

use crate::cluster::Log;

/// How long the last appends of a load may take.
const LAST_TIMEOUT: Duration = Duration::from_secs(30);

/// The longest latency that is told apart, in microseconds.
const LATENCY_US_MAX: u64 = 60_000_000;

/// How long a worker rests after an error.
const ERROR_PAUSE: Duration = Duration::from_millis(10);

/// How often an append is begun after the leader was killed.
const PROBE_INTERVAL: Duration = Duration::from_millis(20);

/// How long a cluster may be without a leader.
const FAILOVER_TIMEOUT: Duration = Duration::from_secs(90);

/// A load: so many requests in flight at every moment, from one process that is connected to the
/// leader.
#[derive(Clone, Copy)]
pub(crate) struct Work {
    /// Connections, unless more suit the peer better.
    pub(crate) connections: usize,
    /// Requests in flight, over all connections.
    pub(crate) in_flight: usize,
    /// Entries in a request; with more than one it is acknowledged as a whole.
    pub(crate) batch: usize,
    /// Bytes of an entry.
    pub(crate) size: usize,
    /// How long the load goes on before anything is measured.
    pub(crate) warm_up: Duration,
    /// How long it is measured.
    pub(crate) duration: Duration,
}

/// What a load came to.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    pub(crate) entries_per_s: f64,
    /// Of a request, from the call to the acknowledgement.
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    /// CPU seconds of all server processes for 1000 entries.
    pub(crate) cpu_s_per_1000: f64,
    /// Requests that were not acknowledged.
    pub(crate) errors: u64,
}

/// Appends over these connections, and measures.
pub(crate) async fn run<L: Log>(
    logs: &[L],
    work: &Work,
    cpu_seconds: impl Fn() -> Result<f64>,
) -> Result<Load> {
    let begin = Instant::now() + work.warm_up;
    let end = begin + work.duration;
    let tally = Arc::new(Mutex::new(Tally::new()?));
    let entry = entry(work.size);
    let mut workers = JoinSet::new();
    for log in logs.iter().cycle().take(work.in_flight) {
        let (log, entry, tally) = (log.clone(), entry.clone(), tally.clone());
        workers.spawn(append_until(log, entry, work.batch, begin..end, tally));
    }
    sleep_until(begin.into()).await;
    let cpu_before = cpu_seconds()?;
    sleep_until(end.into()).await;
    let cpu = cpu_seconds()? - cpu_before;
    timeout(LAST_TIMEOUT, workers.join_all()).await.context("an append never ended")?;
    let tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
    tally.result(work, cpu)
}

/// An entry without a pattern, so that a peer that compresses gains nothing.
pub(crate) fn entry(size: usize) -> Bytes {
    let mut state = 1_u64;
    let byte = |_| {
        // Knuth's generator; its upper bits are good enough for this.
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    };
    (0..size).map(byte).collect()
}

/// What all workers of one load saw.
struct Tally {
    /// Microseconds of the requests that were acknowledged within the window.
    latencies: Histogram<u64>,
    errors: u64,
    first_error: Option<String>,
}

impl Tally {
    fn new() -> Result<Self> {
        let latencies = Histogram::new_with_max(LATENCY_US_MAX, 3)?;
        Ok(Self { latencies, errors: 0, first_error: None })
    }

    fn note(&mut self, outcome: Result<()>, latency: Option<Duration>) {
        match (outcome, latency) {
            (Err(error), _) => {
                self.errors += 1;
                self.first_error.get_or_insert_with(|| format!("{error:#}"));
            }
            (Ok(()), Some(latency)) => {
                let us = u64::try_from(latency.as_micros()).unwrap_or(LATENCY_US_MAX);
                self.latencies.saturating_record(us);
            }
            (Ok(()), None) => {}
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "counts of entries are far below 2^52")]
    fn result(&self, work: &Work, cpu_seconds: f64) -> Result<Load> {
        let entries = (self.latencies.len() * work.batch as u64) as f64;
        let error = self.first_error.as_deref().unwrap_or("no error either");
        ensure!(entries > 0.0, "nothing was acknowledged: {error}");
        let ms = |quantile| self.latencies.value_at_quantile(quantile) as f64 / 1e3;
        Ok(Load {
            entries_per_s: entries / work.duration.as_secs_f64(),
            p50_ms: ms(0.5),
            p99_ms: ms(0.99),
            cpu_s_per_1000: cpu_seconds / entries * 1e3,
            errors: self.errors,
        })
    }
}

/// One of those in flight: appends, waits for the acknowledgement, and begins again.
async fn append_until<L: Log>(
    log: L,
    entry: Bytes,
    batch: usize,
    window: Range<Instant>,
    tally: Arc<Mutex<Tally>>,
) {
    while Instant::now() < window.end {
        let begun = Instant::now();
        let outcome = match batch {
            1 => log.append(&entry).await,
            _ => log.append_batch(&entry, batch).await,
        };
        let ended = Instant::now();
        let failed = outcome.is_err();
        let latency = window.contains(&ended).then(|| ended - begun);
        tally.lock().unwrap_or_else(PoisonError::into_inner).note(outcome, latency);
        if failed {
            sleep(ERROR_PAUSE).await;
        }
    }
}

/// The time from the kill to the first success of a probe that began after it. One begins every
/// 20 ms, each apart, so that one that waits for its time-out delays no other.
pub(crate) async fn first_acknowledged(
    killed: Instant,
    probe: impl AsyncFn() -> Result<()>,
) -> Result<Duration> {
    let mut probes = FuturesUnordered::new();
    let mut next = interval(PROBE_INTERVAL);
    let mut last_error = anyhow!("no append ended");
    while killed.elapsed() < FAILOVER_TIMEOUT {
        tokio::select! {
            _ = next.tick() => probes.push(probe()),
            Some(outcome) = probes.next() => match outcome {
                Ok(()) => return Ok(killed.elapsed()),
                Err(error) => last_error = error,
            },
        }
    }
    Err(last_error.context(format!("no acknowledgement in {FAILOVER_TIMEOUT:?} after the kill")))
}
