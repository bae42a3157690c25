//! Apache `ZooKeeper`, as Debian has it, on Java 17: a persistent sequential node for each entry.
//!
//! A server syncs its transaction log before it answers for a proposal, as `forceSync=yes` (the
//! default, written out here) demands, and gathers what waits into one sync. Snapshots stay at
//! their default. The heap is large enough that a long run, which keeps every entry in memory, does
//! not only collect garbage. A session is served in order by one thread, and 32 sessions are faster
//! than one: loads use that many, still from one process.
//!
//! Its best batch is a `multi`, a transaction of creations.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use zookeeper_client::{Acls, Client, CreateMode, CreateOptions, Error};

use crate::cluster::{Kind, Log, Place, each};
use crate::setup;

/// Where Debian keeps Java's libraries.
const JARS: &str = "/usr/share/java";

/// The node below which the entries are.
const PARENT: &str = "/log";

/// An entry's node; the leader appends a number.
const ENTRY: &str = "/log/e-";

pub(crate) struct ZooKeeper;

impl Kind for ZooKeeper {
    type Log = Connection;
    const PORTS: u16 = 3;
    const CONNECTIONS: usize = 32;

    async fn install(&self) -> Result<String> {
        let version = setup::install(&["libzookeeper-java", "openjdk-17-jre-headless"]).await?;
        Ok(format!("ZooKeeper {version}"))
    }

    fn command(&self, place: &Place, server: u16) -> Result<Command> {
        let folder = place.folder(server)?;
        let member = |i| format!("server.{i}={}:{}\n", place.address(i, 1), place.port(i, 2));
        let text = format!(
            "tickTime=2000\ninitLimit=10\nsyncLimit=5\nforceSync=yes\nmaxClientCnxns=0\n\
             dataDir={}\nclientPortAddress=127.0.0.1\nclientPort={}\n\
             admin.enableServer=false\n4lw.commands.whitelist=srvr\n{}",
            folder.display(),
            place.port(server, 0),
            each(member).concat(),
        );
        let configuration = folder.join("zoo.cfg");
        fs::write(&configuration, text)?;
        fs::write(folder.join("myid"), server.to_string())?;
        let mut command = Command::new("java");
        command.args(["-Xmx3G", "-Djava.net.preferIPv4Stack=true", "-cp", &class_path()?]);
        command.arg("org.apache.zookeeper.server.quorum.QuorumPeerMain").arg(configuration);
        Ok(command)
    }

    async fn create(&self, place: &Place) -> Result<()> {
        self.leader(place).await?;
        let client = Client::connect(&place.endpoints().join(",")).await?;
        let options = CreateMode::Persistent.with_acls(Acls::anyone_all());
        match client.create(PARENT, b"", &options).await {
            Ok(_) | Err(Error::NodeExists) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn leader(&self, place: &Place) -> Result<u16> {
        let mut leader = None;
        for (i, endpoint) in (0..).zip(place.endpoints()) {
            if leads(&endpoint).await? {
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

/// The server's library, which names most of the others it needs, those it does not name, and a
/// logger that is silent.
fn class_path() -> Result<String> {
    let files = fs::read_dir(JARS)?.filter_map(Result::ok);
    let mut names = files.map(|file| file.file_name().to_string_lossy().into_owned());
    // Its file is called after its version here.
    let metrics = names.find(|name| name.starts_with("metrics-core"));
    let metrics = metrics.with_context(|| format!("metrics-core is not in {JARS}"))?;
    Ok(format!("{JARS}/zookeeper.jar:{JARS}/slf4j-nop.jar:{JARS}/{metrics}"))
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
