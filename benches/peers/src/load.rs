//! The same work for every peer that has a client crate: loads and failovers.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use bytes::Bytes;
use futures_util::future::join_all;
use hdrhistogram::Histogram;
use tokio::task::JoinSet;
use tokio::time::{interval, sleep, sleep_until, timeout};

use crate::peer::{Load, Peer, Work};
use crate::servers::{Servers, wait_for};

/// How long an append may take at the end of a load, and how long a connection to be made.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// The longest latency that is told apart, in microseconds: longer ones end the run.
const LATENCY_US_MAX: u64 = 60_000_000;

/// How long a worker rests after an error.
const ERROR_PAUSE: Duration = Duration::from_millis(10);

/// How long a client appends before the leader is killed.
const STEADY: Duration = Duration::from_secs(1);

/// How often an append is begun after the leader was killed.
const PROBE_INTERVAL: Duration = Duration::from_millis(20);

/// How long a cluster may be without a leader.
const FAILOVER_TIMEOUT: Duration = Duration::from_secs(90);

/// How long a cluster rests after a server came back.
const SETTLE: Duration = Duration::from_secs(3);

/// A client's connection to a log. Clones share the connection.
pub(crate) trait Log: Clone + Send + Sync + 'static {
    /// Appends one entry; returns when it was acknowledged.
    fn append(&self, entry: &Bytes) -> impl Future<Output = Result<()>> + Send;

    /// Appends an entry `count` times in the best batch form that the peer has.
    fn append_batch(&self, entry: &Bytes, count: usize) -> impl Future<Output = Result<()>> + Send;
}

/// A cluster of three servers, numbered from 0, that is driven through a client crate.
pub(crate) trait Cluster: Sized {
    /// Its client's connection.
    type Log: Log;

    /// Connections that suit it best under load.
    const CONNECTIONS: usize;

    /// Whether its client connects again, to another server, by itself.
    const RECONNECTS: bool;

    /// Its processes; those that keep the log are called `n0`, `n1` and `n2`.
    fn servers(&mut self) -> &mut Servers;

    /// Where clients connect to, server by server.
    fn endpoints(&self) -> &[String];

    /// Which server leads; an error unless all three are up and know.
    async fn leader(&self) -> Result<usize>;

    /// Connects to the first of these servers if it can be had, else to another.
    fn connect(endpoints: &[String]) -> impl Future<Output = Result<Self::Log>> + Send;
}

impl<C: Cluster> Peer for C {
    async fn load(&mut self, work: &Work) -> Result<Load> {
        let leader = wait_for("finding the leader", async || self.leader().await).await?;
        let endpoint = [self.endpoints()[leader].clone()];
        let mut logs = Vec::new();
        for _ in 0..C::CONNECTIONS.min(work.in_flight) {
            logs.push(connect::<C>(&endpoint).await?);
        }
        let begin = Instant::now() + work.warm_up;
        let end = begin + work.duration;
        let tally = Arc::new(Mutex::new(Tally::new()?));
        let entry = entry(work.size);
        let worker = |i: usize| {
            let log = logs[i % logs.len()].clone();
            tokio::spawn(append_until(log, entry.clone(), work.batch, begin..end, tally.clone()))
        };
        let workers = join_all((0..work.in_flight).map(worker));
        sleep_until(begin.into()).await;
        let cpu_before = self.servers().cpu_seconds()?;
        sleep_until(end.into()).await;
        let cpu = self.servers().cpu_seconds()? - cpu_before;
        for worker in timeout(ANSWER_TIMEOUT, workers).await.context("an append never ended")? {
            worker?;
        }
        let tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
        tally.result(work, cpu)
    }

    async fn failover(&mut self) -> Result<Duration> {
        let leader = wait_for("finding the leader", async || self.leader().await).await?;
        let mut endpoints = self.endpoints().to_vec();
        endpoints.swap(0, leader);
        let log = connect::<C>(&endpoints).await?;
        let entry = entry(100);
        let steady = Instant::now();
        while steady.elapsed() < STEADY {
            timeout(ANSWER_TIMEOUT, log.append(&entry)).await.context("no acknowledgement")??;
        }
        let name = format!("n{leader}");
        self.servers().kill(&name)?;
        let killed = Instant::now();
        let outage = first_acknowledged::<C>(&log, &endpoints, &entry, killed).await?;
        self.servers().reap(&name)?;
        self.servers().restart(&name)?;
        wait_for("a server's return", async || self.leader().await).await?;
        sleep(SETTLE).await;
        Ok(outage)
    }

    fn clear(&mut self) -> Result<()> {
        self.servers().clear()
    }
}

async fn connect<C: Cluster>(endpoints: &[String]) -> Result<C::Log> {
    timeout(ANSWER_TIMEOUT, C::connect(endpoints)).await.context("cannot connect in time")?
}

/// An entry without a pattern, so that a peer that compresses gains nothing.
fn entry(size: usize) -> Bytes {
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
    /// Microseconds from the call to the acknowledgement, of the requests that were acknowledged
    /// within the window.
    latencies: Histogram<u64>,
    errors: u64,
    first_error: Option<String>,
}

impl Tally {
    fn new() -> Result<Self> {
        Ok(Self { latencies: Histogram::new_with_max(LATENCY_US_MAX, 3)?, errors: 0, first_error: None })
    }

    #[expect(clippy::cast_precision_loss, reason = "counts of entries are far below 2^52")]
    fn result(&self, work: &Work, cpu_seconds: f64) -> Result<Load> {
        let entries = (self.latencies.len() * work.batch as u64) as f64;
        let error = self.first_error.as_deref().unwrap_or("no error either");
        ensure!(entries > 0.0, "nothing was acknowledged: {error}");
        Ok(Load {
            entries_per_s: entries / work.duration.as_secs_f64(),
            p50_ms: self.latencies.value_at_quantile(0.5) as f64 / 1e3,
            p99_ms: self.latencies.value_at_quantile(0.99) as f64 / 1e3,
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
        {
            let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
            match outcome {
                Ok(()) if window.contains(&ended) => {
                    let us = u64::try_from((ended - begun).as_micros()).unwrap_or(u64::MAX);
                    tally.latencies.saturating_record(us);
                }
                Ok(()) => {}
                Err(error) => {
                    tally.errors += 1;
                    tally.first_error.get_or_insert_with(|| format!("{error:#}"));
                }
            }
        }
        if failed {
            sleep(ERROR_PAUSE).await;
        }
    }
}

/// The time from the kill to the first acknowledgement of an append that began after it. An append
/// begins every 20 ms, each apart, so that one that waits for its time-out delays no other.
async fn first_acknowledged<C: Cluster>(
    log: &C::Log,
    endpoints: &[String],
    entry: &Bytes,
    killed: Instant,
) -> Result<Duration> {
    let mut probes = JoinSet::new();
    let mut next = interval(PROBE_INTERVAL);
    let mut last_error = anyhow!("no append ended");
    while killed.elapsed() < FAILOVER_TIMEOUT {
        tokio::select! {
            _ = next.tick() => {
                let (log, endpoints, entry) = (log.clone(), endpoints.to_vec(), entry.clone());
                probes.spawn(async move {
                    let log = if C::RECONNECTS { log } else { C::connect(&endpoints).await? };
                    log.append(&entry).await?;
                    anyhow::Ok(killed.elapsed())
                });
            }
            Some(outcome) = probes.join_next() => match outcome? {
                Ok(outage) => return Ok(outage),
                Err(error) => last_error = error,
            },
        }
    }
    Err(last_error.context(format!("no acknowledgement in {FAILOVER_TIMEOUT:?} after the kill")))
}
