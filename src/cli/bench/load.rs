//! The load: clients with a fixed number of requests in flight, each with a connection of its own.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hdrhistogram::Histogram;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::record::{self, Label, RunId};
use crate::cli::args::BenchLoad;
use crate::cli::connection::{self, Target};
use crate::cli::failure::Failure;
use crate::client::{AppendError, Appended, Appender, Client};
use crate::types::Offset;

/// How often the rate is shown.
const SHOW_EVERY: Duration = Duration::from_millis(250);

/// A session that failed is followed by another, so often at most in a row.
const FAILURES_MAX: u32 = 20;

/// What is to be done.
#[derive(Clone, Debug)]
pub(super) struct Load {
    pub(super) run: RunId,
    pub(super) size: usize,
    pub(super) batch: usize,
    pub(super) inflight: usize,
    pub(super) connections: usize,
    pub(super) warmup: Duration,
    pub(super) duration: Duration,
}

/// A session, and what was acknowledged of it: always its first requests.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) number: u64,
    /// Where the records of each acknowledged request begin.
    pub(super) offsets: Vec<Offset>,
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Measured {
    pub(super) load: Load,
    pub(super) streams: Vec<Stream>,
    /// Microseconds of each request that was acknowledged within the measured time.
    pub(super) latencies: Histogram<u64>,
    /// Requests that were not acknowledged.
    pub(super) errors: u64,
}

impl Measured {
    pub(super) fn new(load: Load) -> Self {
        Self { load, streams: vec![], latencies: histogram(), errors: 0 }
    }

    pub(super) fn add(&mut self, worker: Worker) {
        self.streams.extend(worker.streams);
        self.latencies.add(worker.latencies).expect("the same bounds");
        self.errors += worker.errors;
    }

    /// Requests acknowledged within the measured time.
    pub(super) fn acknowledged(&self) -> u64 {
        self.latencies.len()
    }
}

/// What was done in a time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    pub(super) count: u64,
    pub(super) took: Duration,
}

impl Rate {
    #[expect(clippy::cast_precision_loss, reason = "a rate is not exact")]
    pub(super) fn per_second(self) -> f64 {
        self.count as f64 / self.took.as_secs_f64().max(1e-6)
    }
}

/// A histogram of microseconds up to a minute, with three digits.
pub(super) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000, 3).expect("bounds in order")
}

pub(super) fn in_micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

impl Load {
    pub(super) fn new(args: &BenchLoad) -> Result<Self, Failure> {
        Ok(Self {
            run: RunId::new()?,
            size: args.size,
            batch: args.batch,
            inflight: args.inflight,
            connections: args.connections,
            warmup: args.warmup,
            duration: args.duration,
        })
    }

    /// Appends for as long as it takes. Tells the rate now and then.
    pub(super) async fn run(
        self,
        target: &Target,
        mut show: impl FnMut(f64),
    ) -> Result<Measured, Failure> {
        let common = Arc::new(Common::default());
        let mut workers = JoinSet::new();
        let begin = Instant::now() + self.warmup;
        let end = begin + self.duration;
        for place in 0..self.connections {
            let extra = usize::from(place < self.inflight % self.connections);
            let inflight = self.inflight / self.connections + extra;
            let worker = Worker::new(target, &self, inflight, &common)?;
            workers.spawn(worker.work(begin, end));
        }
        let (mut shown, mut at) = (0, Instant::now());
        while Instant::now() < end && !workers.is_empty() {
            sleep_until(end.min(at + SHOW_EVERY)).await;
            let (total, now) = (common.acknowledged.load(Ordering::Relaxed), Instant::now());
            let seconds = now.duration_since(at).as_secs_f64().max(1e-3);
            #[expect(clippy::cast_precision_loss, reason = "to be looked at")]
            show((total - shown) as f64 / seconds);
            (shown, at) = (total, now);
        }
        let mut measured = Measured::new(self);
        while let Some(worker) = workers.join_next().await {
            measured.add(worker.expect("a panic ends the process"));
        }
        Ok(measured)
    }
}

/// What all workers of a load count together.
#[derive(Debug, Default)]
pub(super) struct Common {
    streams_begun: AtomicU64,
    /// Records.
    acknowledged: AtomicU64,
    /// The time is over before its end.
    stopped: AtomicBool,
}

impl Common {
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }
}

/// One client with its connection.
pub(super) struct Worker {
    client: Client,
    load: Load,
    inflight: usize,
    common: Arc<Common>,
    streams: Vec<Stream>,
    latencies: Histogram<u64>,
    errors: u64,
    /// Told of each acknowledgement, if somebody wants to know.
    latest: Option<watch::Sender<Option<Acknowledgement>>>,
}

/// That a request was acknowledged.
#[derive(Clone, Copy, Debug)]
pub(super) struct Acknowledgement {
    /// When there was room for it.
    pub(super) began: Instant,
    pub(super) ended: Instant,
}

/// A session under way.
struct Session {
    appender: Appender,
    stream: Stream,
    sent: u64,
    /// When there was room for each request that has no answer yet.
    began: VecDeque<Instant>,
}

impl Worker {
    pub(super) fn new(
        target: &Target,
        load: &Load,
        inflight: usize,
        common: &Arc<Common>,
    ) -> Result<Self, Failure> {
        Ok(Self {
            client: connection::connect_as_client(target)?,
            load: load.clone(),
            inflight,
            common: common.clone(),
            streams: vec![],
            latencies: histogram(),
            errors: 0,
            latest: None,
        })
    }

    /// Follows the acknowledgements.
    pub(super) fn watch(&mut self) -> watch::Receiver<Option<Acknowledgement>> {
        let (sender, receiver) = watch::channel(None);
        self.latest = Some(sender);
        receiver
    }

    /// Appends until the end, and counts from the beginning.
    pub(super) async fn work(mut self, begin: Instant, end: Instant) -> Self {
        let mut failures = 0;
        while !self.is_over(end) && failures < FAILURES_MAX {
            let mut session = self.begin();
            let ended = self.fill_and_drain(&mut session, (begin, end)).await;
            failures = if session.stream.offsets.is_empty() { failures + 1 } else { 0 };
            if ended.is_err() {
                self.errors += session.began.len() as u64;
            }
            self.streams.push(session.stream);
        }
        self
    }

    fn is_over(&self, end: Instant) -> bool {
        Instant::now() >= end || self.common.stopped.load(Ordering::Relaxed)
    }

    fn begin(&self) -> Session {
        let number = self.common.streams_begun.fetch_add(1, Ordering::Relaxed);
        let stream = Stream { number, offsets: vec![] };
        Session { appender: self.client.appender(), stream, sent: 0, began: VecDeque::new() }
    }

    /// Keeps the requests in flight until the time is over, then waits for the last answers.
    async fn fill_and_drain(
        &mut self,
        session: &mut Session,
        measured: (Instant, Instant),
    ) -> Result<(), AppendError> {
        loop {
            let is_over = self.is_over(measured.1);
            while !is_over && session.began.len() < self.inflight {
                session.began.push_back(Instant::now());
                let records = self.records(session);
                session.appender.send(records).await?;
            }
            if session.began.is_empty() {
                return Ok(());
            }
            let Some(appended) = session.appender.next().await? else { return Ok(()) };
            self.note(session, appended, measured);
        }
    }

    fn records(&self, session: &mut Session) -> Vec<Bytes> {
        let Load { run, size, batch, .. } = self.load;
        let first = session.sent * batch as u64;
        session.sent += 1;
        let stream = session.stream.number;
        (0..batch as u64)
            .map(|place| record::make(run, Label { stream, number: first + place }, size))
            .collect()
    }

    fn note(
        &mut self,
        session: &mut Session,
        appended: Appended,
        (from, until): (Instant, Instant),
    ) {
        let now = Instant::now();
        let began = session.began.pop_front().expect("an answer to a request");
        session.stream.offsets.push(appended.offset);
        self.common.acknowledged.fetch_add(self.load.batch as u64, Ordering::Relaxed);
        if now >= from && now < until {
            self.latencies.saturating_record(in_micros(now.duration_since(began)));
        }
        if let Some(latest) = &self.latest {
            latest.send_replace(Some(Acknowledgement { began, ended: now }));
        }
    }
}
