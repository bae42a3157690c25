//! What a peer with a client crate has to say of itself, and what is done to it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bytes::Bytes;
use tokio::time::{sleep, timeout};

use crate::load::{self, Load, Work};
use crate::servers::{Servers, free_ports, wait_for};

/// How many servers a cluster has.
pub(crate) const SERVERS: u16 = 3;

/// How long a connection, or an append to a cluster that is well, may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a client appends before the leader is killed.
const STEADY: Duration = Duration::from_secs(1);

/// How long a cluster rests after a server came back.
const SETTLE: Duration = Duration::from_secs(3);

/// Servers on this machine, and what clients do to them. Dropping it kills the servers.
pub(crate) trait Peer {
    /// Appends for a while, and measures.
    async fn load(&mut self, work: &Work) -> Result<Load>;

    /// Kills the leader as `kill -9` does: the time until the first acknowledgement of an append
    /// that began after the kill. All servers are up again when it returns.
    async fn failover(&mut self) -> Result<Duration>;

    /// Whether another server goes on where one is killed.
    fn replicated(&self) -> bool {
        true
    }
}

/// A client's connection to a log. Clones share the connection.
pub(crate) trait Log: Clone + Send + Sync + 'static {
    /// Appends one entry; returns when it was acknowledged.
    fn append(&self, entry: &Bytes) -> impl Future<Output = Result<()>> + Send;

    /// Appends an entry `count` times in the best batch form that the peer has.
    fn append_batch(&self, entry: &Bytes, count: usize) -> impl Future<Output = Result<()>> + Send;
}

/// A peer that is driven through a client crate.
pub(crate) trait Kind {
    type Log: Log;

    /// How many servers there are: one that is not replicated is alone.
    const SERVERS: u16 = SERVERS;

    /// Ports that a server needs; clients connect to the first.
    const PORTS: u16;

    /// Connections that suit it best under load.
    const CONNECTIONS: usize = 1;

    /// Whether its client connects again, to another server, by itself.
    const RECONNECTS: bool = true;

    /// Installs it unless it is there. Returns its name and version.
    async fn install(&self) -> Result<String>;

    /// A process that the servers need before they start.
    fn helper(&self, _place: &Place) -> Result<Option<Command>> {
        Ok(None)
    }

    /// What runs a server in the foreground; its configuration is written by then.
    fn command(&self, place: &Place, server: u16) -> Result<Command>;

    /// Makes the log, unless it is there.
    async fn create(&self, place: &Place) -> Result<()>;

    /// Which server leads; an error unless all are up and agree.
    async fn leader(&self, place: &Place) -> Result<u16>;

    /// Connects to one of these servers, the first if it can be chosen.
    fn connect(endpoints: &[String]) -> impl Future<Output = Result<Self::Log>> + Send;
}

/// Where the servers of a cluster are.
pub(crate) struct Place {
    /// What is in this folder is removed in the end.
    pub(crate) data: PathBuf,
    first_port: u16,
    ports_of_a_server: u16,
}

impl Place {
    /// The folder of a server.
    pub(crate) fn folder(&self, server: u16) -> Result<PathBuf> {
        let folder = self.data.join(format!("n{server}"));
        std::fs::create_dir_all(&folder)?;
        Ok(folder)
    }

    pub(crate) fn port(&self, server: u16, which: u16) -> u16 {
        self.first_port + server * self.ports_of_a_server + which
    }

    pub(crate) fn address(&self, server: u16, which: u16) -> String {
        format!("127.0.0.1:{}", self.port(server, which))
    }

    /// Where clients connect to, server by server.
    pub(crate) fn endpoints(&self) -> [String; SERVERS as usize] {
        each(|server| self.address(server, 0))
    }
}

/// Something of every server.
pub(crate) fn each<T>(of: impl Fn(u16) -> T) -> [T; SERVERS as usize] {
    [of(0), of(1), of(2)]
}

/// Three servers of a kind.
pub(crate) struct Cluster<K> {
    kind: K,
    place: Place,
    servers: Servers,
}

impl<K: Kind> Cluster<K> {
    /// Installs what is needed, and starts a cluster with an empty log. Returns its title, too.
    pub(crate) async fn start(kind: K, folder: &Path) -> Result<(String, Self)> {
        let title = kind.install().await?;
        let servers = Servers::new(folder)?;
        let (data, first_port) = (servers.data.clone(), free_ports(K::SERVERS * K::PORTS)?);
        let place = Place { data, first_port, ports_of_a_server: K::PORTS };
        let mut cluster = Self { kind, place, servers };
        if let Some(helper) = cluster.kind.helper(&cluster.place)? {
            cluster.servers.start("helper", helper)?;
        }
        for server in 0..K::SERVERS {
            let command = cluster.kind.command(&cluster.place, server)?;
            cluster.servers.start(&name(server), command)?;
        }
        wait_for("the start", async || cluster.kind.create(&cluster.place).await).await?;
        cluster.leader().await?;
        Ok((title, cluster))
    }

    async fn leader(&self) -> Result<u16> {
        wait_for("finding the leader", async || self.kind.leader(&self.place).await).await
    }
}

fn name(server: u16) -> String {
    format!("n{server}")
}

async fn connect<K: Kind>(endpoints: &[String]) -> Result<K::Log> {
    timeout(ANSWER_TIMEOUT, K::connect(endpoints)).await.context("cannot connect in time")?
}

impl<K: Kind> Peer for Cluster<K> {
    async fn load(&mut self, work: &Work) -> Result<Load> {
        let endpoint = self.place.address(self.leader().await?, 0);
        let mut logs = Vec::new();
        for _ in 0..K::CONNECTIONS.max(work.connections).min(work.in_flight) {
            logs.push(connect::<K>(std::slice::from_ref(&endpoint)).await?);
        }
        load::run(&logs, work, || self.servers.cpu_seconds()).await
    }

    async fn failover(&mut self) -> Result<Duration> {
        let leader = self.leader().await?;
        let mut endpoints = self.place.endpoints();
        endpoints.swap(0, leader.into());
        let log = connect::<K>(&endpoints).await?;
        let entry = load::entry(100);
        let steady = Instant::now();
        while steady.elapsed() < STEADY {
            timeout(ANSWER_TIMEOUT, log.append(&entry)).await.context("no acknowledgement")??;
        }
        self.servers.kill(&name(leader))?;
        let probe = async || {
            let log = if K::RECONNECTS { log.clone() } else { K::connect(&endpoints).await? };
            log.append(&entry).await
        };
        let outage = load::first_acknowledged(Instant::now(), probe).await?;
        self.servers.restart(&name(leader))?;
        self.leader().await?;
        sleep(SETTLE).await;
        Ok(outage)
    }

    fn replicated(&self) -> bool {
        K::SERVERS > 1
    }
}
