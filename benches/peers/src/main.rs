//! annal beside what a user would take instead: the same work against three servers of each (of
//! Durable Streams, which is not replicated, one), on this machine, in one table.
//!
//! ```sh
//! cargo run --release --manifest-path benches/peers/Cargo.toml
//! cargo run --release --manifest-path benches/peers/Cargo.toml -- --peers etcd,annal --cells 1,256
//! ```
//!
//! It installs the servers itself, for which it must be root and reach Debian's packages,
//! `PyPI` and crates.io. Servers, clients and the disk share the machine, and everything listens on 127.0.0.1
//! only.
//!
//! # What is measured
//!
//! Each peer gets a new cluster with its data on a real disk, and one client process that is
//! connected to the leader. A load keeps the same number of requests in flight from its first to
//! its last moment; what is acknowledged within the window that follows the warm-up counts.
//! Latencies are those from the call to the acknowledgement. The CPU time is that of all server
//! processes, their children included. A failover is the time from `kill -9` of the leader to the
//! first acknowledgement of an append that began after it. The table shows medians of the runs.
//!
//! # Where to begin
//!
//! [`cluster`] is what a peer has to say of itself, and [`load`] the work; a peer is a file that
//! says how its servers are set, and why so.

mod annal;
mod cluster;
mod durable_streams;
mod etcd;
mod load;
mod nats;
mod rabbitmq;
mod report;
mod servers;
mod setup;
mod zookeeper;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use crate::annal::Annal;
use crate::cluster::{Cluster, Peer};
use crate::durable_streams::DurableStreams;
use crate::etcd::Etcd;
use crate::load::Work;
use crate::nats::Nats;
use crate::rabbitmq::RabbitMq;
use crate::report::{Row, Runs, table};
use crate::zookeeper::ZooKeeper;

/// How long a load goes on before it is measured.
const WARM_UP: Duration = Duration::from_secs(1);

/// What can be measured, in this order.
const PEERS: [&str; 6] = ["etcd", "nats", "zookeeper", "rabbitmq", "durable-streams", "annal"];

/// The command line.
#[derive(Parser)]
#[command(
    about = "Measure annal beside etcd, NATS, ZooKeeper, RabbitMQ and Durable Streams: one table"
)]
struct Arguments {
    /// Which to measure
    #[arg(long, value_delimiter = ',', value_parser = PEERS, default_values = PEERS)]
    peers: Vec<String>,

    /// What to measure: appends in flight, batches, entries of 1 KiB, or the loss of the leader
    #[arg(long, value_delimiter = ',', value_parser = CELLS.each_ref().map(|cell| cell.name))]
    #[arg(default_values = CELLS.each_ref().map(|cell| cell.name))]
    cells: Vec<String>,

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

/// A kind of work.
struct Cell {
    /// As it is chosen.
    name: &'static str,
    /// As the table calls it.
    title: &'static str,
    /// Connections, requests in flight over all of them, entries in a request, and bytes of an
    /// entry, unless it is the failover.
    load: Option<(usize, usize, usize, usize)>,
}

/// All of them, in the order of the table.
#[rustfmt::skip]
static CELLS: [Cell; 8] = [
    Cell { name: "1", title: "100 B, 1 in flight", load: Some((1, 1, 1, 100)) },
    Cell { name: "64", title: "100 B, 64 in flight", load: Some((1, 64, 1, 100)) },
    Cell { name: "256", title: "100 B, 256 in flight", load: Some((1, 256, 1, 100)) },
    Cell { name: "1000", title: "100 B, 1000 in flight", load: Some((1, 1000, 1, 100)) },
    Cell { name: "4x1000", title: "100 B, four connections with 1000", load: Some((4, 4000, 1, 100)) },
    Cell { name: "batch", title: "100 B, 16 batches of 128 in flight", load: Some((1, 16, 128, 100)) },
    Cell { name: "1k", title: "1 KiB, 256 in flight", load: Some((1, 256, 1, 1024)) },
    Cell { name: "failover", title: "`kill -9` of the leader, ms: median, worst", load: None },
];

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
        let here = || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/peers");
        let place = self.arguments.dir.clone().unwrap_or_else(here);
        setup::check_disk(&place)?;
        let mut failed = Vec::new();
        for name in self.arguments.peers.clone() {
            if let Err(error) = Box::pin(self.measure_one(&name, &place)).await {
                let logs = place.join(&name);
                tell(&format!("{name}: {error:#}; its logs are in {}", logs.display()));
                failed.push(name);
            }
        }
        ensure!(failed.is_empty(), "not measured to the end: {}", failed.join(", "));
        Ok(())
    }

    async fn measure_one(&mut self, name: &str, place: &Path) -> Result<()> {
        let folder = place.join(name);
        match name {
            "etcd" => self.run(true, Cluster::start(Etcd, &folder)).await,
            "zookeeper" => self.run(true, Cluster::start(ZooKeeper, &folder)).await,
            "rabbitmq" => self.run(true, Cluster::start(RabbitMq, &folder)).await,
            "nats" => {
                for durable in [true, false] {
                    let nats = Nats { tools: place.join("nats-server"), durable };
                    Box::pin(self.run(durable, Cluster::start(nats, &folder))).await?;
                }
                Ok(())
            }
            "durable-streams" => {
                let server = DurableStreams { tools: place.join("durable-streams-server") };
                self.run(true, Cluster::start(server, &folder)).await
            }
            "annal" => {
                let program = self.annal().await?;
                self.run(true, Annal::start(&folder, program)).await
            }
            _ => bail!("there is no such peer"),
        }
    }

    /// Starts a peer, and measures every cell that was chosen.
    async fn run<P: Peer>(
        &mut self,
        durable: bool,
        start: impl Future<Output = Result<(String, P)>>,
    ) -> Result<()> {
        let (title, mut peer) = start.await?;
        tell(&format!("{title}: warming up"));
        // For compilers that learn at run time, and for caches.
        peer.load(&self.work((1, 64, 1, 100))).await.context("the warm-up failed")?;
        let asked = |cell: &&Cell| self.arguments.cells.iter().any(|name| name == cell.name);
        let replicated = peer.replicated();
        for cell in CELLS.iter().filter(asked).filter(|cell| replicated || cell.load.is_some()) {
            tell(&format!("{title}: {}", cell.title));
            let mut loads = Vec::new();
            let mut failovers = Vec::new();
            for _ in 0..self.arguments.runs {
                match cell.load {
                    Some(load) => loads.push(peer.load(&self.work(load)).await?),
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
        Ok(())
    }

    fn work(&self, (connections, in_flight, batch, size): (usize, usize, usize, usize)) -> Work {
        let duration = Duration::from_secs(self.arguments.seconds);
        Work { connections, in_flight, batch, size, warm_up: WARM_UP, duration }
    }

    async fn annal(&self) -> Result<PathBuf> {
        match &self.arguments.annal {
            Some(program) => {
                let missing = || format!("there is no program {}", program.display());
                std::fs::canonicalize(program).with_context(missing)
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
