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
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use bytes::Bytes;
use futures_util::future::try_join_all;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, ConnectionProperties};

use crate::cluster::{Kind, Log, Place, each};
use crate::servers::output_of;
use crate::setup;

/// Where Debian keeps the programs themselves; those in the path insist on a user of their own.
const PROGRAMS: &str = "/usr/lib/rabbitmq/bin";

/// The queue's name.
const QUEUE: &str = "log";

/// How long a question to a server may take: it starts an Erlang machine.
const CONTROL_TIMEOUT: Duration = Duration::from_secs(25);

/// The delivery mode that makes the server keep a message on its disk.
const PERSISTENT: u8 = 2;

pub(crate) struct RabbitMq;

impl Kind for RabbitMq {
    type Log = Connection;
    const PORTS: u16 = 3;
    const RECONNECTS: bool = false;

    async fn install(&self) -> Result<String> {
        Ok(format!("RabbitMQ {}", setup::install(&["rabbitmq-server"]).await?))
    }

    fn helper(&self, place: &Place) -> Result<Option<Command>> {
        fs::write(place.data.join("plugins"), "[].\n")?;
        let cookie = place.data.join(".erlang.cookie");
        fs::write(&cookie, "PEERS")?;
        fs::set_permissions(&cookie, fs::Permissions::from_mode(0o400))?;
        let key = "cluster_formation.classic_config.nodes";
        let members = each(|i| format!("{key}.{} = n{i}@localhost\n", i + 1)).concat();
        let discovery = "cluster_formation.peer_discovery_backend = classic_config";
        fs::write(place.data.join("rabbitmq.conf"), format!("{discovery}\n{members}"))?;
        Ok(Some(program("epmd", place, 0)))
    }

    fn command(&self, place: &Place, server: u16) -> Result<Command> {
        place.folder(server)?;
        Ok(program(&format!("{PROGRAMS}/rabbitmq-server"), place, server))
    }

    async fn create(&self, place: &Place) -> Result<()> {
        check_running(place).await?;
        let connection = Self::connect(&place.endpoints()).await?;
        let mut arguments = FieldTable::default();
        arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
        let options = QueueDeclareOptions { durable: true, ..Default::default() };
        connection.channel.queue_declare(QUEUE.into(), options, arguments).await?;
        Ok(())
    }

    async fn leader(&self, place: &Place) -> Result<u16> {
        check_running(place).await?;
        let queues = control(place, &["list_queues", "name", "leader", "online"]).await?;
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

/// A program with the settings of one server, which are all in the environment.
fn program(name: &str, place: &Place, server: u16) -> Command {
    let folder = place.data.join(format!("n{server}"));
    let loopback = "-kernel inet_dist_use_interface {127,0,0,1}";
    let mut command = Command::new(name);
    command.env("HOME", &place.data);
    command.env("RABBITMQ_NODENAME", format!("n{server}@localhost"));
    command.env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1");
    command.env("RABBITMQ_NODE_PORT", place.port(server, 0).to_string());
    command.env("RABBITMQ_DIST_PORT", place.port(server, 1).to_string());
    command.env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", loopback);
    command.env("RABBITMQ_CTL_ERL_ARGS", loopback);
    command.env("RABBITMQ_MNESIA_BASE", &folder).env("RABBITMQ_LOG_BASE", &folder);
    command.env("RABBITMQ_PID_FILE", folder.join("pid"));
    command.env("RABBITMQ_CONFIG_FILE", place.data.join("rabbitmq"));
    command.env("RABBITMQ_ENABLED_PLUGINS_FILE", place.data.join("plugins"));
    command.env("RABBITMQ_CONF_ENV_FILE", "/dev/null");
    command.env("ERL_EPMD_ADDRESS", "127.0.0.1");
    command.env("ERL_EPMD_PORT", place.port(0, 2).to_string());
    command
}

/// What the first server answers to a question of its control program.
async fn control(place: &Place, question: &[&str]) -> Result<serde_json::Value> {
    let mut command = program(&format!("{PROGRAMS}/rabbitmqctl"), place, 0);
    command.args(["--quiet", "--node", "n0@localhost"]).args(question);
    command.args(["--formatter", "json"]);
    Ok(serde_json::from_str(&output_of(command, CONTROL_TIMEOUT).await?)?)
}

async fn check_running(place: &Place) -> Result<()> {
    let status = control(place, &["cluster_status"]).await?;
    let running = status["running_nodes"].as_array().map_or(0, Vec::len);
    ensure!(running == 3, "{running} of 3 servers run");
    Ok(())
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
