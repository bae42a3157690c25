//! Apache ZooKeeper, as Debian has it, on OpenJDK 17: a persistent sequential node for each entry.
//!
//! A server syncs its transaction log before it answers for a proposal, as `forceSync=yes` (the
//! default, written out here) demands, and gathers what waits into one sync. Snapshots stay at their
//! default. The heap is large enough that a long run, which keeps every entry in memory, does not
//! only collect garbage. A session is served in order by one thread, and 32 sessions are faster than
//! one: loads use that many, still from one process.
//!
//! Its best batch is a `multi`, a transaction of creations.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use zookeeper_client::{Acls, Client, CreateMode, CreateOptions, Error};

use crate::load::{Cluster, Log};
use crate::servers::{Servers, free_ports, wait_for};
use crate::setup::{install, version_of};

/// The server, in Debian.
const PACKAGE: &str = "libzookeeper-java";

/// What runs it.
const JAVA: &str = "openjdk-17-jre-headless";

/// Where Debian keeps Java's libraries.
const JARS: &str = "/usr/share/java";

/// The node below which the entries are.
const PARENT: &str = "/log";

/// An entry's node; the leader appends a number.
const ENTRY: &str = "/log/e-";

pub(crate) struct ZooKeeper {
    servers: Servers,
    endpoints: Vec<String>,
}

impl ZooKeeper {
    pub(crate) async fn start(folder: &Path) -> Result<(String, Self)> {
        install(&[PACKAGE, JAVA]).await?;
        let mut servers = Servers::new(folder)?;
        let port = free_ports(9)?;
        let mut members = String::new();
        for i in 0..3 {
            let (peer, election) = (port + 3 + i, port + 6 + i);
            writeln!(members, "server.{i}=127.0.0.1:{peer}:{election}")?;
        }
        for i in 0..3 {
            let name = format!("n{i}");
            let folder = servers.folder_of(&name)?;
            fs::write(folder.join("myid"), format!("{i}\n"))?;
            let text = format!(
                "tickTime=2000\ninitLimit=10\nsyncLimit=5\nforceSync=yes\nmaxClientCnxns=0\n\
                 dataDir={}\nclientPortAddress=127.0.0.1\nclientPort={}\n\
                 admin.enableServer=false\n4lw.commands.whitelist=srvr\n{members}",
                folder.display(),
                port + i
            );
            let configuration = folder.join("zoo.cfg");
            fs::write(&configuration, text)?;
            let mut command = Command::new("java");
            command.args(["-Xmx3G", "-Djava.net.preferIPv4Stack=true", "-cp", &class_path()?]);
            command.arg("org.apache.zookeeper.server.quorum.QuorumPeerMain").arg(configuration);
            servers.start(&name, command)?;
        }
        let endpoints = (0..3).map(|i| format!("127.0.0.1:{}", port + i)).collect();
        let zookeeper = Self { servers, endpoints };
        wait_for("the start of ZooKeeper", async || {
            zookeeper.leader().await?;
            let client = Client::connect(&zookeeper.endpoints.join(",")).await?;
            let options = CreateMode::Persistent.with_acls(Acls::anyone_all());
            match client.create(PARENT, b"", &options).await {
                Ok(_) | Err(Error::NodeExists) => Ok(()),
                Err(error) => Err(error.into()),
            }
        })
        .await?;
        Ok((format!("ZooKeeper {}", version_of(PACKAGE).await?), zookeeper))
    }
}

/// ZooKeeper's library, which names most of the others it needs, those it does not name, and a
/// logger that is silent.
fn class_path() -> Result<String> {
    let mut metrics: Option<PathBuf> = None;
    for entry in fs::read_dir(JARS).with_context(|| format!("cannot read {JARS}"))? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("metrics-core") {
            metrics = Some(entry.path());
        }
    }
    let metrics = metrics.with_context(|| format!("metrics-core is not in {JARS}"))?;
    Ok(format!("{JARS}/zookeeper.jar:{JARS}/slf4j-nop.jar:{}", metrics.display()))
}

/// Whether a server leads; an error if it serves nobody.
async fn leads(endpoint: &str) -> Result<bool> {
    let mut stream = TcpStream::connect(endpoint).await?;
    stream.write_all(b"srvr").await?;
    let mut said = String::new();
    stream.read_to_string(&mut said).await?;
    match said.lines().find_map(|line| line.strip_prefix("Mode: ")) {
        Some("leader") => Ok(true),
        Some("follower") => Ok(false),
        _ => bail!("a server is not ready"),
    }
}

impl Cluster for ZooKeeper {
    type Log = Connection;
    const CONNECTIONS: usize = 32;
    const RECONNECTS: bool = true;

    fn servers(&mut self) -> &mut Servers {
        &mut self.servers
    }

    fn endpoints(&self) -> &[String] {
        &self.endpoints
    }

    async fn leader(&self) -> Result<usize> {
        let mut leader = None;
        for (i, endpoint) in self.endpoints.iter().enumerate() {
            if leads(endpoint).await? {
                ensure!(leader.is_none(), "two servers lead");
                leader = Some(i);
            }
        }
        leader.context("no server leads")
    }

    async fn connect(endpoints: &[String]) -> Result<Connection> {
        Ok(Connection(Client::connect(&endpoints.join(",")).await?))
    }
}

#[derive(Clone)]
pub(crate) struct Connection(Client);

fn sequential() -> CreateOptions<'static> {
    CreateMode::PersistentSequential.with_acls(Acls::anyone_all())
}

impl Log for Connection {
    async fn append(&self, entry: &Bytes) -> Result<()> {
        self.0.create(ENTRY, entry, &sequential()).await?;
        Ok(())
    }

    async fn append_batch(&self, entry: &Bytes, count: usize) -> Result<()> {
        let mut transaction = self.0.new_multi_writer();
        for _ in 0..count {
            transaction.add_create(ENTRY, entry, &sequential())?;
        }
        transaction.commit().await?;
        Ok(())
    }
}
