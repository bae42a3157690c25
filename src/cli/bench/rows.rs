//! What a bench prints.

use std::io::{self, Write};
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::floor::Floors;
use super::in_ms;
use super::load::{Measured, Rate, in_micros};
use crate::cli::args::{BenchFollowers, BenchLoad, BenchLogs};
use crate::cli::output::Row;

/// Appends and their latencies: of requests, each of `--batch` records.
#[derive(Serialize)]
pub(super) struct BenchRow {
    size: usize,
    inflight: usize,
    connections: usize,
    /// Records acknowledged within the measured time.
    appends: u64,
    appends_per_s: f64,
    p50_us: u64,
    p99_us: u64,
    p999_us: u64,
    max_us: u64,
    errors: u64,
    /// `null`: nobody looked.
    verified: Option<bool>,
}

impl BenchRow {
    pub(super) fn new(args: &BenchLoad, measured: &Measured, verified: Option<bool>) -> Self {
        let at = |quantile| measured.latencies.value_at_quantile(quantile);
        let appends = measured.acknowledged() * args.batch as u64;
        #[expect(clippy::cast_precision_loss, reason = "a rate is not exact")]
        let appends_per_s = appends as f64 / args.duration.as_secs_f64();
        Self {
            size: args.size,
            inflight: args.inflight,
            connections: args.connections,
            appends,
            appends_per_s: appends_per_s.round(),
            p50_us: at(0.5),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: measured.latencies.max(),
            errors: measured.errors,
            verified,
        }
    }

    /// How many times the floor the median is.
    #[expect(clippy::cast_precision_loss, reason = "a ratio is not exact")]
    pub(super) fn ratio_to(&self, floors: &Floors) -> f64 {
        self.p50_us as f64 / floors.append().max(1) as f64
    }
}

impl Row for BenchRow {
    fn human(&self, out: &mut dyn Write) -> io::Result<()> {
        let Self { size, inflight, connections, appends, appends_per_s, errors, .. } = self;
        writeln!(
            out,
            "{appends_per_s:.0} appends/s of {size} bytes, {inflight} in flight on {connections} connection(s); {appends} in all, {errors} errors"
        )?;
        let [p50, p99, p999, max] =
            [self.p50_us, self.p99_us, self.p999_us, self.max_us].map(in_ms);
        writeln!(out, "latency: p50 {p50}, p99 {p99}, p99.9 {p999}, most {max}")?;
        match self.verified {
            Some(true) => {
                writeln!(out, "verified: every acknowledged record is there, once, in order")
            }
            _ => writeln!(out, "not verified"),
        }
    }
}

/// The floors of the machine.
#[derive(Serialize)]
pub(super) struct FloorRow {
    sync_p50_us: u64,
    sync_p99_us: u64,
    round_trip_p50_us: u64,
    round_trip_p99_us: u64,
    /// One sync and two round trips.
    append_us: u64,
    /// How many times that a median append took.
    #[serde(skip_serializing_if = "Option::is_none")]
    ratio: Option<f64>,
}

impl FloorRow {
    pub(super) fn new(floors: &Floors, ratio: Option<f64>) -> Self {
        Self {
            sync_p50_us: floors.sync_p50,
            sync_p99_us: floors.sync_p99,
            round_trip_p50_us: floors.round_trip_p50,
            round_trip_p99_us: floors.round_trip_p99,
            append_us: floors.append(),
            ratio,
        }
    }
}

impl Row for FloorRow {
    fn human(&self, out: &mut dyn Write) -> io::Result<()> {
        let [sync, sync_p99, trip, trip_p99, append] = [
            self.sync_p50_us,
            self.sync_p99_us,
            self.round_trip_p50_us,
            self.round_trip_p99_us,
            self.append_us,
        ]
        .map(in_ms);
        writeln!(
            out,
            "floors here: append + fdatasync p50 {sync} (p99 {sync_p99}), QUIC round trip p50 {trip} (p99 {trip_p99})"
        )?;
        match self.ratio {
            Some(ratio) => {
                writeln!(out, "p50 is {ratio:.1} times one sync and two round trips ({append})")
            }
            None => writeln!(out, "one sync and two round trips: {append}"),
        }
    }
}

/// What it costs that records are of many logs.
#[derive(Serialize)]
pub(super) struct LogsRow {
    logs: usize,
    inflight: usize,
    created_ms: u64,
    created_per_s: f64,
    one_appends_per_s: f64,
    many_appends_per_s: f64,
    /// The second by the first.
    ratio: f64,
    /// Records read a second: of the one log, …
    one_reads_per_s: f64,
    /// … and of one among the many.
    many_reads_per_s: f64,
}

impl LogsRow {
    pub(super) fn new(
        args: &BenchLogs,
        created: Rate,
        appends: (Rate, Rate),
        reads: (Rate, Rate),
    ) -> Self {
        let [created_per_s, one, many, one_reads, many_reads] =
            [created, appends.0, appends.1, reads.0, reads.1].map(Rate::per_second);
        Self {
            logs: args.logs,
            inflight: args.inflight,
            created_ms: in_micros(created.took) / 1_000,
            created_per_s: created_per_s.round(),
            one_appends_per_s: one.round(),
            many_appends_per_s: many.round(),
            ratio: many / one.max(1.0),
            one_reads_per_s: one_reads.round(),
            many_reads_per_s: many_reads.round(),
        }
    }
}

impl Row for LogsRow {
    fn human(&self, out: &mut dyn Write) -> io::Result<()> {
        let Self { logs, inflight, created_ms, created_per_s, ratio, .. } = self;
        let Self { one_appends_per_s, many_appends_per_s, .. } = self;
        let Self { one_reads_per_s, many_reads_per_s, .. } = self;
        writeln!(out, "{logs} logs created in {created_ms} ms ({created_per_s:.0} a second)")?;
        writeln!(
            out,
            "{one_appends_per_s:.0} appends/s to one log, {many_appends_per_s:.0} to {logs} in turn, {inflight} in flight: {ratio:.2} of it"
        )?;
        writeln!(
            out,
            "{one_reads_per_s:.0} records/s read of the one, {many_reads_per_s:.0} of one among the {logs}"
        )?;
        writeln!(out, "verified: every acknowledged record is counted in its log")
    }
}

/// How soon many have what is appended.
#[derive(Serialize)]
pub(super) struct FollowersRow {
    readers: usize,
    appends: u64,
    appends_per_s: f64,
    deliveries: u64,
    p50_us: u64,
    p99_us: u64,
    max_us: u64,
}

impl FollowersRow {
    pub(super) fn new(args: &BenchFollowers, appends: u64, latencies: &Histogram<u64>) -> Self {
        let rate = Rate { count: appends, took: args.duration };
        Self {
            readers: args.readers,
            appends,
            appends_per_s: rate.per_second().round(),
            deliveries: latencies.len(),
            p50_us: latencies.value_at_quantile(0.5),
            p99_us: latencies.value_at_quantile(0.99),
            max_us: latencies.max(),
        }
    }
}

impl Row for FollowersRow {
    fn human(&self, out: &mut dyn Write) -> io::Result<()> {
        let Self { readers, appends, appends_per_s, deliveries, .. } = self;
        let [p50, p99, max] = [self.p50_us, self.p99_us, self.max_us].map(in_ms);
        writeln!(
            out,
            "{readers} readers have all {appends} records ({appends_per_s:.0} appends/s): {deliveries} deliveries"
        )?;
        writeln!(out, "from the append to a reader: p50 {p50}, p99 {p99}, most {max}")
    }
}

/// How long nothing was acknowledged after leaders were killed.
#[derive(Serialize)]
pub(super) struct FailoverRow {
    trials: usize,
    median_ms: u64,
    worst_ms: u64,
    trials_ms: Vec<u64>,
    /// Records acknowledged, before, during and after.
    appends: u64,
    errors: u64,
    verified: bool,
}

impl FailoverRow {
    pub(super) fn new(gaps: Vec<Duration>, measured: &Measured) -> Self {
        let trials_ms: Vec<u64> = gaps.into_iter().map(|gap| in_micros(gap) / 1_000).collect();
        let mut sorted = trials_ms.clone();
        sorted.sort_unstable();
        Self {
            trials: sorted.len(),
            median_ms: sorted.get(sorted.len() / 2).copied().unwrap_or_default(),
            worst_ms: sorted.last().copied().unwrap_or_default(),
            trials_ms,
            appends: measured.acknowledged(),
            errors: measured.errors,
            verified: true,
        }
    }
}

impl Row for FailoverRow {
    fn human(&self, out: &mut dyn Write) -> io::Result<()> {
        let Self { trials, median_ms, worst_ms, appends, errors, .. } = self;
        writeln!(
            out,
            "{trials} leaders killed: the next acknowledgement came after {median_ms} ms (median), {worst_ms} ms (worst)"
        )?;
        writeln!(
            out,
            "{appends} appends, {errors} errors; every acknowledged record is there, once, in order"
        )
    }
}
