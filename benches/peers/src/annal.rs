//! annal itself, measured by its own `annal bench` over its own client.
//!
//! There is nothing to set: an append is acknowledged after a majority has synced it, always. The
//! cluster is one of `annal init` with three nodes and the registry, which is counted with them. It
//! is the only peer here whose connections are encrypted. Its batch is one request
//! with many records.
//!
//! The CPU is read in the middle of a load, together with the number of entries in the log, so that
//! neither the start of `annal bench` nor what it verifies at its end is counted.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::time::sleep;
use tokio::try_join;

use crate::cluster::Peer;
use crate::load::{Load, Work};
use crate::servers::{Servers, free_ports, output_of, wait_for};

/// How long a command may take that only asks or writes configuration.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(30);

/// How much longer than its load a benchmark may take: it verifies what it wrote.
const BENCH_EXTRA: Duration = Duration::from_mins(2);

pub(crate) struct Annal {
    servers: Servers,
    program: PathBuf,
}

impl Annal {
    pub(crate) async fn start(folder: &Path, program: PathBuf) -> Result<(String, Self)> {
        let servers = Servers::new(folder)?;
        let mut annal = Self { servers, program };
        let title = output_of(annal.command(&["--version"]), COMMAND_TIMEOUT).await?;
        let port = free_ports(4)?.to_string();
        let init = annal.command(&["init", "--nodes", "3", "--base-port", &port, "--dir", "."]);
        output_of(init, COMMAND_TIMEOUT).await?;
        let registry = annal.command(&["registry", "start", "--data", "data/registry"]);
        annal.servers.start("registry", registry)?;
        for name in ["n1", "n2", "n3"] {
            let node = annal.command(&["node", "start", "--data", &format!("data/{name}")]);
            annal.servers.start(name, node)?;
        }
        wait_for("the start of annal", async || {
            let status = annal.status().await?;
            let nodes = status["nodes"].as_array().context("a status without nodes")?;
            ensure!(status["leader"].is_string(), "no node leads");
            ensure!(nodes.iter().all(|node| node["reachable"] == true), "a node is not up");
            Ok(())
        })
        .await?;
        Ok((title.trim().to_owned(), annal))
    }

    /// The program, in the cluster's folder, with nothing set by whoever runs this.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("ANNAL_") {
                command.env_remove(name);
            }
        }
        // What it makes for itself shall be on the same disk.
        command.env("TMPDIR", &self.servers.data).current_dir(&self.servers.data);
        command.args(arguments);
        command
    }

    /// What a command says with `--json`: the last line.
    async fn json(&self, arguments: &[&str], limit: Duration) -> Result<Value> {
        let said = output_of(self.command(arguments), limit).await?;
        let line = said.lines().last().context("annal said nothing")?;
        serde_json::from_str(line).context("annal said something that is not JSON")
    }

    async fn status(&self) -> Result<Value> {
        self.json(&["client", "status", "--json"], COMMAND_TIMEOUT).await
    }

    /// CPU seconds that were used, and entries that were appended, until now.
    async fn mark(&self) -> Result<(f64, f64)> {
        let status = self.status().await?;
        let nodes = status["nodes"].as_array().context("a status without nodes")?;
        let entries = nodes.iter().filter_map(|node| node["next_offset"].as_f64());
        Ok((self.servers.cpu_seconds()?, entries.fold(0.0, f64::max)))
    }

    /// CPU seconds for an entry, over the middle half of a load that begins now.
    async fn cpu_of_an_entry(&self, work: &Work) -> Result<f64> {
        sleep(work.warm_up + work.duration / 4).await;
        let (cpu_before, entries_before) = self.mark().await?;
        sleep(work.duration / 2).await;
        let (cpu, entries) = self.mark().await?;
        ensure!(entries > entries_before, "nothing was appended in the middle of the load");
        Ok((cpu - cpu_before) / (entries - entries_before))
    }
}

impl Peer for Annal {
    async fn load(&mut self, work: &Work) -> Result<Load> {
        let load = format!(
            "bench --here --json --connections {} --size {} --inflight {} --batch {} \
             --duration {}ms --warmup {}ms",
            work.connections,
            work.size,
            work.in_flight,
            work.batch,
            work.duration.as_millis(),
            work.warm_up.as_millis(),
        );
        let arguments: Vec<&str> = load.split(' ').collect();
        let limit = work.warm_up + work.duration + BENCH_EXTRA;
        let bench = self.json(&arguments, limit);
        let (said, cpu_of_an_entry) = try_join!(bench, self.cpu_of_an_entry(work))?;
        ensure!(said["verified"] == true, "annal bench did not find what it appended");
        let number = |name: &str| {
            said[name].as_f64().with_context(|| format!("annal bench did not say {name}"))
        };
        Ok(Load {
            entries_per_s: number("appends_per_s")?,
            p50_ms: number("p50_us")? / 1e3,
            p99_ms: number("p99_us")? / 1e3,
            cpu_s_per_1000: cpu_of_an_entry * 1e3,
            errors: said["errors"].as_u64().context("annal bench did not say errors")?,
        })
    }

    /// `annal bench failover` has a cluster of its own, beside this one, which is idle. Its client
    /// keeps 64 appends in flight instead of beginning one every 20 ms.
    async fn failover(&mut self) -> Result<Duration> {
        let arguments = ["bench", "failover", "--json", "--trials", "1"];
        let said = self.json(&arguments, BENCH_EXTRA).await?;
        let median = said["median_ms"].as_f64().context("annal bench did not say median_ms")?;
        Ok(Duration::from_secs_f64(median / 1e3))
    }
}
