//! etcd, as Debian has it: a put of a new key for each entry, in the order of revisions.
//!
//! etcd persists a batch of Raft entries with one `fdatasync` before it answers for them, on every
//! member, and that is its default: the option that would leave it out, `--unsafe-no-fsync`, is not
//! given. Nothing else here touches durability: the quota of the back end is raised so that a long
//! run does not end in an alarm, and the log is quiet. A leader is missed after a second (the
//! default).
//!
//! Its best batch is a transaction of puts; 128 is the most that a server takes by default.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic_prost::ProstCodec;

use crate::load::{Cluster, Log};
use crate::servers::{Servers, free_ports, wait_for};
use crate::setup::{install, version_of};

/// The server, in Debian.
const PACKAGE: &str = "etcd-server";

/// How long a connection to a server may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

pub(crate) struct Etcd {
    servers: Servers,
    endpoints: Vec<String>,
}

impl Etcd {
    pub(crate) async fn start(folder: &Path) -> Result<(String, Self)> {
        install(&[PACKAGE]).await?;
        let mut servers = Servers::new(folder)?;
        let port = free_ports(6)?;
        let client = |i: u16| format!("http://127.0.0.1:{}", port + i);
        let peer = |i: u16| format!("http://127.0.0.1:{}", port + 3 + i);
        let members: Vec<_> = (0..3).map(|i| format!("n{i}={}", peer(i))).collect();
        for i in 0..3 {
            let name = format!("n{i}");
            let mut command = Command::new("etcd");
            command.args(["--name", &name]).arg("--data-dir").arg(servers.folder_of(&name)?);
            command.args(["--listen-client-urls", &client(i)]);
            command.args(["--advertise-client-urls", &client(i)]);
            command.args(["--listen-peer-urls", &peer(i)]);
            command.args(["--initial-advertise-peer-urls", &peer(i)]);
            command.args(["--initial-cluster", &members.join(",")]);
            command.args(["--quota-backend-bytes", "8589934592"]);
            command.args(["--logger", "zap", "--log-level", "error"]);
            servers.start(&name, command)?;
        }
        let etcd = Self { servers, endpoints: (0..3).map(client).collect() };
        wait_for("the start of etcd", async || etcd.leader().await).await?;
        Ok((format!("etcd {}", version_of(PACKAGE).await?), etcd))
    }
}

impl Cluster for Etcd {
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
        for (i, endpoint) in self.endpoints.iter().enumerate() {
            let server = Self::connect(std::slice::from_ref(endpoint)).await?;
            let status: StatusResponse =
                server.call("/etcdserverpb.Maintenance/Status", StatusRequest {}).await?;
            ensure!(status.leader != 0, "a server knows no leader");
            let header = status.header.context("a status without a header")?;
            if header.member_id == status.leader {
                leader = Some(i);
            }
        }
        leader.context("no server leads")
    }

    async fn connect(endpoints: &[String]) -> Result<Connection> {
        let mut servers = Vec::new();
        for endpoint in endpoints {
            servers.push(Endpoint::from_shared(endpoint.clone())?.connect_timeout(CONNECT_TIMEOUT));
        }
        Ok(Connection(Grpc::new(Channel::balance_list(servers.into_iter()))))
    }
}

#[derive(Clone)]
pub(crate) struct Connection(Grpc<Channel>);

impl Connection {
    async fn call<Q, A>(&self, method: &'static str, question: Q) -> Result<A>
    where
        Q: prost::Message + Send + Sync + 'static,
        A: prost::Message + Default + Send + Sync + 'static,
    {
        let mut grpc = self.0.clone();
        grpc.ready().await?;
        let path = PathAndQuery::from_static(method);
        let codec = ProstCodec::default();
        Ok(grpc.unary(tonic::Request::new(question), path, codec).await?.into_inner())
    }
}

/// A put under a key that no other has.
fn put(entry: &Bytes) -> PutRequest {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let key = format!("log/{:016x}", NEXT.fetch_add(1, Ordering::Relaxed));
    PutRequest { key: key.into(), value: entry.clone() }
}

impl Log for Connection {
    async fn append(&self, entry: &Bytes) -> Result<()> {
        let _: PutResponse = self.call("/etcdserverpb.KV/Put", put(entry)).await?;
        Ok(())
    }

    async fn append_batch(&self, entry: &Bytes, count: usize) -> Result<()> {
        let success = (0..count).map(|_| Operation { put: Some(put(entry)) }).collect();
        let response: TxnResponse =
            self.call("/etcdserverpb.KV/Txn", TxnRequest { success }).await?;
        ensure!(response.succeeded, "the transaction failed");
        Ok(())
    }
}

// Of etcd's rpc.proto, the fields that are used here.

#[derive(Clone, PartialEq, prost::Message)]
struct PutRequest {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    value: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PutResponse {}

#[derive(Clone, PartialEq, prost::Message)]
struct TxnRequest {
    #[prost(message, repeated, tag = "2")]
    success: Vec<Operation>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Operation {
    #[prost(message, optional, tag = "2")]
    put: Option<PutRequest>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct TxnResponse {
    #[prost(bool, tag = "2")]
    succeeded: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
struct StatusRequest {}

#[derive(Clone, PartialEq, prost::Message)]
struct StatusResponse {
    #[prost(message, optional, tag = "1")]
    header: Option<Header>,
    #[prost(uint64, tag = "4")]
    leader: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Header {
    #[prost(uint64, tag = "2")]
    member_id: u64,
}
