//! annal beside what a user would take instead: the same work against three servers of each, on
//! this machine, in one table.
//!
//! ```sh
//! cargo run --release --manifest-path benches/peers/Cargo.toml
//! cargo run --release --manifest-path benches/peers/Cargo.toml -- --peers etcd,annal --cells 1,256
//! ```
//!
//! It installs the servers itself, for which it must be root and reach Debian's packages and `PyPI`.
//! Servers, clients and the disk share the machine, and everything listens on 127.0.0.1 only.
//!
//! # What is measured
//!
//! Each peer gets a new cluster with its data on a real disk, and one client process that is
//! connected to the leader. A load keeps the same number of requests in flight from its first to its
//! last moment; what is acknowledged within the window that follows the warm-up counts. Latencies
//! are those from the call to the acknowledgement. The CPU time is that of all server processes,
//! their children included. A failover is the time from `kill -9` of the leader to the first
//! acknowledgement of an append that began after it. The table shows medians of the runs.
//!
//! # Where to begin
//!
//! [`load`] is the work; a peer is a file that says how its servers are set, and why so.

mod annal;
mod etcd;
mod load;
mod nats;
mod peer;
mod rabbitmq;
mod report;
mod servers;
mod setup;
mod zookeeper;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::{Parser, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};

use crate::annal::Annal;
use crate::etcd::Etcd;
use crate::nats::Nats;
use crate::peer::{Peer, Work};
use crate::rabbitmq::RabbitMq;
use crate::report::{Row, Runs, table};
use crate::zookeeper::ZooKeeper;

/// How long a load goes on before it is measured.
const WARM_UP: Duration = Duration::from_secs(1);

/// Requests of a batch each that are in flight, and entries in a batch.
const BATCHES: (usize, usize) = (16, 128);

/// Measure annal beside etcd, NATS, `ZooKeeper` and `RabbitMQ`, and print a Markdown table
#[derive(Parser)]
struct Arguments {
    /// Which to measure
    #[arg(long, value_delimiter = ',', default_value = "etcd,nats,zookeeper,rabbitmq,annal")]
    peers: Vec<Name>,

    /// What to measure: appends in flight, batches, entries of 1 KiB, or the loss of the leader
    #[arg(long, value_delimiter = ',', default_value = "1,64,256,1000,batch,1k,failover")]
    cells: Vec<Cell>,

    /// How long a load is measured
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,

    /// How often each cell is measured
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=100))]
    runs: u64,

    /// The program to measure [default: this repository's, built as its release]
    #[arg(long)]
    annal: Option<PathBuf>,

    /// Where data and programs go: on a real disk [default: target/peers beside this crate]
    #[arg(long)]
    dir: Option<PathBuf>,

    /// Print JSON, one object per line
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Name {
    Etcd,
    Nats,
    Zookeeper,
    Rabbitmq,
    Annal,
}

/// A kind of work; the order is that of the table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
enum Cell {
    #[value(name = "1")]
    One,
    #[value(name = "64")]
    Some,
    #[value(name = "256")]
    Many,
    #[value(name = "1000")]
    Most,
    #[value(name = "batch")]
    Batch,
    #[value(name = "1k")]
    Kibibyte,
    #[value(name = "failover")]
    Failover,
}

impl Cell {
    /// As the table calls it.
    fn title(self) -> &'static str {
        match self {
            Self::One => "100 B, 1 in flight",
            Self::Some => "100 B, 64 in flight",
            Self::Many => "100 B, 256 in flight",
            Self::Most => "100 B, 1000 in flight",
            Self::Batch => "100 B, 16 batches of 128 in flight",
            Self::Kibibyte => "1 KiB, 256 in flight",
            Self::Failover => "`kill -9` of the leader, ms: median, worst",
        }
    }

    /// The load, unless it is the failover.
    fn work(self, duration: Duration) -> Option<Work> {
        let (in_flight, batch, size) = match self {
            Self::One => (1, 1, 100),
            Self::Some => (64, 1, 100),
            Self::Many => (256, 1, 100),
            Self::Most => (1000, 1, 100),
            Self::Batch => (BATCHES.0, BATCHES.1, 100),
            Self::Kibibyte => (256, 1, 1024),
            Self::Failover => return None,
        };
        Some(Work { in_flight, batch, size, warm_up: WARM_UP, duration })
    }
}

/// What was written on the command line for it.
fn chosen_as(value: &impl ValueEnum) -> String {
    value.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut bench = Bench { arguments, rows: Vec::new() };
    // Whatever ends this early drops the servers, and so kills them.
    let outcome = tokio::select! {
        outcome = bench.measure() => outcome,
        outcome = interrupted() => outcome,
    };
    if !bench.arguments.json && !bench.rows.is_empty() {
        print(&table(&bench.rows));
    }
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn interrupted() -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    bail!("stopped before the end")
}

struct Bench {
    arguments: Arguments,
    rows: Vec<Row>,
}

impl Bench {
    /// Measures every peer that was chosen. One that fails keeps no other from being measured.
    async fn measure(&mut self) -> Result<()> {
        let place = self.arguments.dir.clone();
        let place = place
            .unwrap_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/target/peers")));
        setup::check_disk(&place)?;
        let tools = place.join("nats-server");
        let mut failed = Vec::new();
        for name in self.arguments.peers.clone() {
            let data = |name: &str| place.join(name);
            let outcome = match name {
                Name::Etcd => self.run(true, Etcd::start(&data("etcd"))).await,
                Name::Zookeeper => self.run(true, ZooKeeper::start(&data("zookeeper"))).await,
                Name::Rabbitmq => self.run(true, RabbitMq::start(&data("rabbitmq"))).await,
                Name::Nats => {
                    let always = self.run(true, Nats::start(&data("nats"), &tools, true)).await;
                    always
                        .and(self.run(false, Nats::start(&data("nats-lazy"), &tools, false)).await)
                }
                Name::Annal => match self.annal().await {
                    Ok(program) => self.run(true, Annal::start(&data("annal"), program)).await,
                    Err(error) => Err(error),
                },
            };
            if let Err(error) = outcome {
                let name = chosen_as(&name);
                tell(&format!("{name}: {error:#}; see the logs below {}", place.display()));
                failed.push(name);
            }
        }
        ensure!(failed.is_empty(), "not measured to the end: {}", failed.join(", "));
        Ok(())
    }

    /// Starts a peer, measures every cell that was chosen, and removes it.
    async fn run<P: Peer>(
        &mut self,
        durable: bool,
        start: impl Future<Output = Result<(String, P)>>,
    ) -> Result<()> {
        let (title, mut peer) = start.await?;
        let duration = Duration::from_secs(self.arguments.seconds);
        tell(&format!("{title}: warming up"));
        if let Some(work) = Cell::Some.work(duration) {
            // For compilers that learn at run time, and for caches.
            peer.load(&work).await.context("the warm-up failed")?;
        }
        for cell in self.arguments.cells.clone() {
            tell(&format!("{title}: {}", cell.title()));
            let mut loads = Vec::new();
            let mut failovers = Vec::new();
            for _ in 0..self.arguments.runs {
                match cell.work(duration) {
                    Some(work) => loads.push(peer.load(&work).await?),
                    None => failovers.push(peer.failover().await?.as_secs_f64() * 1e3),
                }
            }
            let runs =
                if failovers.is_empty() { Runs::Loads(loads) } else { Runs::Failovers(failovers) };
            let row = Row { cell, title: title.clone(), durable, runs };
            if self.arguments.json {
                print(&format!("{}\n", row.json()));
            }
            self.rows.push(row);
        }
        peer.clear()
    }

    async fn annal(&self) -> Result<PathBuf> {
        match &self.arguments.annal {
            Some(program) => {
                std::fs::canonicalize(program).with_context(|| format!("no program {program:?}"))
            }
            None => setup::build_annal().await,
        }
    }
}

/// Data goes to stdout.
#[expect(clippy::print_stdout, reason = "the one place that prints data")]
fn print(text: &str) {
    print!("{text}");
}

/// Talk goes to stderr.
#[expect(clippy::print_stderr, reason = "the one place that talks")]
fn tell(text: &str) {
    eprintln!("{text}");
}
