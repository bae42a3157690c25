//! `RabbitMQ`, as Debian has it: a quorum queue, with publisher confirms and persistent messages.
//!
//! A quorum queue is a Raft log. Its servers sync a batch of entries before they answer for it, and
//! a confirm comes when a majority has: there is no setting that would make it more durable. The
//! servers are told to keep to this folder, to 127.0.0.1, and to a port mapper (`epmd`) of their
//! own. Plugins are off. On one machine a dead leader is missed at once, because its connections to
//! the others are cut.
//!
//! Its best batch is a row of publishes without waiting, with a confirm for each.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use bytes::Bytes;
use futures_util::future::try_join_all;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, ConnectionProperties};

use crate::load::{Cluster, Log};
use crate::servers::{Servers, free_ports, output_of, wait_for};
use crate::setup::{install, version_of};

/// The server, in Debian.
const PACKAGE: &str = "rabbitmq-server";

/// Where Debian keeps the programs themselves; those in the path insist on a user of their own.
const PROGRAMS: &str = "/usr/lib/rabbitmq/bin";

/// The queue's name.
const QUEUE: &str = "log";

/// How long a question to a server may take: it starts an Erlang machine.
const CONTROL_TIMEOUT: Duration = Duration::from_secs(25);

/// The number that makes the server keep a message on its disk.
const PERSISTENT: u8 = 2;

pub(crate) struct RabbitMq {
    servers: Servers,
    endpoints: Vec<String>,
    port: u16,
}

impl RabbitMq {
    pub(crate) async fn start(folder: &Path) -> Result<(String, Self)> {
        install(&[PACKAGE]).await?;
        let servers = Servers::new(folder)?;
        let port = free_ports(7)?;
        let endpoints = (0..3).map(|i| format!("127.0.0.1:{}", port + i)).collect();
        let mut rabbitmq = Self { servers, endpoints, port };
        rabbitmq.configure()?;
        let epmd = rabbitmq.command("epmd", 0);
        rabbitmq.servers.start("epmd", epmd)?;
        for i in 0..3 {
            let name = format!("n{i}");
            rabbitmq.servers.folder_of(&name)?;
            let command = rabbitmq.command(&format!("{PROGRAMS}/rabbitmq-server"), i);
            rabbitmq.servers.start(&name, command)?;
        }
        wait_for("the start of RabbitMQ", async || {
            rabbitmq.check_running().await?;
            let connection = Self::connect(&rabbitmq.endpoints).await?;
            let mut arguments = FieldTable::default();
            let kind = AMQPValue::LongString("quorum".into());
            arguments.insert("x-queue-type".into(), kind);
            let options = QueueDeclareOptions { durable: true, ..Default::default() };
            connection.channel.queue_declare(QUEUE.into(), options, arguments).await?;
            rabbitmq.leader().await
        })
        .await?;
        Ok((format!("RabbitMQ {}", version_of(PACKAGE).await?), rabbitmq))
    }

    fn configure(&self) -> Result<()> {
        let folder = &self.servers.folder;
        let mut text = "cluster_formation.peer_discovery_backend = classic_config\n".to_owned();
        for i in 0..3 {
            let key = format!("cluster_formation.classic_config.nodes.{}", i + 1);
            text += &format!("{key} = n{i}@localhost\n");
        }
        fs::write(folder.join("rabbitmq.conf"), text)?;
        fs::write(folder.join("plugins"), "[].\n")?;
        let cookie = folder.join(".erlang.cookie");
        fs::write(&cookie, "PEERS")?;
        fs::set_permissions(&cookie, fs::Permissions::from_mode(0o400))?;
        Ok(())
    }

    /// A program with the settings of one server: all of RabbitMQ's are in the environment.
    fn command(&self, program: &str, server: u16) -> Command {
        let folder = &self.servers.folder;
        let data = folder.join(format!("n{server}"));
        let loopback = "-kernel inet_dist_use_interface {127,0,0,1}";
        let mut command = Command::new(program);
        command.env("HOME", folder);
        command.env("RABBITMQ_NODENAME", format!("n{server}@localhost"));
        command.env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1");
        command.env("RABBITMQ_NODE_PORT", (self.port + server).to_string());
        command.env("RABBITMQ_DIST_PORT", (self.port + 3 + server).to_string());
        command.env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", loopback);
        command.env("RABBITMQ_CTL_ERL_ARGS", loopback);
        command.env("RABBITMQ_MNESIA_BASE", &data).env("RABBITMQ_LOG_BASE", &data);
        command.env("RABBITMQ_PID_FILE", data.join("pid"));
        command.env("RABBITMQ_CONFIG_FILE", folder.join("rabbitmq"));
        command.env("RABBITMQ_ENABLED_PLUGINS_FILE", folder.join("plugins"));
        command.env("RABBITMQ_CONF_ENV_FILE", "/dev/null");
        command.env("ERL_EPMD_ADDRESS", "127.0.0.1");
        command.env("ERL_EPMD_PORT", (self.port + 6).to_string());
        command
    }

    /// What the first server answers to a question of its control program.
    async fn control(&self, question: &[&str]) -> Result<serde_json::Value> {
        let mut command = self.command(&format!("{PROGRAMS}/rabbitmqctl"), 0);
        command.args(["--quiet", "--node", "n0@localhost"]).args(question);
        command.args(["--formatter", "json"]);
        Ok(serde_json::from_str(&output_of(command, CONTROL_TIMEOUT).await?)?)
    }

    async fn check_running(&self) -> Result<()> {
        let status = self.control(&["cluster_status"]).await?;
        let running = status["running_nodes"].as_array().map_or(0, Vec::len);
        ensure!(running == 3, "{running} of 3 servers run");
        Ok(())
    }
}

impl Cluster for RabbitMq {
    type Log = Connection;
    const CONNECTIONS: usize = 1;
    const RECONNECTS: bool = false;

    fn servers(&mut self) -> &mut Servers {
        &mut self.servers
    }

    fn endpoints(&self) -> &[String] {
        &self.endpoints
    }

    async fn leader(&self) -> Result<usize> {
        self.check_running().await?;
        let queues = self.control(&["list_queues", "name", "leader", "online"]).await?;
        let online = queues[0]["online"].as_array().map_or(0, Vec::len);
        ensure!(online == 3, "{online} of 3 members of the queue are up");
        let leader = queues[0]["leader"].as_str().context("the queue has no leader")?;
        let number = leader.strip_prefix('n').and_then(|rest| rest.split('@').next());
        Ok(number.context("the leader has an unknown name")?.parse()?)
    }

    async fn connect(endpoints: &[String]) -> Result<Connection> {
        let mut last_error = anyhow!("there is no server");
        for endpoint in endpoints {
            let address = format!("amqp://guest:guest@{endpoint}/%2f");
            match lapin::Connection::connect(&address, ConnectionProperties::default()).await {
                Ok(connection) => {
                    let channel = connection.create_channel().await?;
                    channel.confirm_select(ConfirmSelectOptions::default()).await?;
                    return Ok(Connection { channel, _connection: Arc::new(connection) });
                }
                Err(error) => last_error = error.into(),
            }
        }
        Err(last_error)
    }
}

#[derive(Clone)]
pub(crate) struct Connection {
    channel: Channel,
    /// Kept: the channel ends with it.
    _connection: Arc<lapin::Connection>,
}

impl Log for Connection {
    async fn append(&self, entry: &Bytes) -> Result<()> {
        let options = BasicPublishOptions::default();
        let properties = BasicProperties::default().with_delivery_mode(PERSISTENT);
        let publish =
            self.channel.basic_publish("".into(), QUEUE.into(), options, entry, properties);
        ensure!(publish.await?.await?.is_ack(), "the entry was refused");
        Ok(())
    }

    async fn append_batch(&self, entry: &Bytes, count: usize) -> Result<()> {
        try_join_all((0..count).map(|_| self.append(entry))).await?;
        Ok(())
    }
}
