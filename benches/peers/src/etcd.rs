//! etcd, as Debian has it: a put of a new key for each entry, in the order of revisions.
//!
//! etcd persists a batch of Raft entries with one `fdatasync` before it answers for them, on every
//! member, and that is its default: the option that would leave it out, `--unsafe-no-fsync`, is not
//! given. Nothing else here touches durability: the quota of the back end is raised so that a long
//! run does not end in an alarm, and the log is quiet. A leader is missed after a second (the
//! default).
//!
//! Its best batch is a transaction of puts; 128 is the most that a server takes by default.

use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic_prost::ProstCodec;

use crate::cluster::{Kind, Log, Place, each};
use crate::setup;

/// How long a connection to a server may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

pub(crate) struct Etcd;

impl Kind for Etcd {
    type Log = Connection;
    const PORTS: u16 = 2;

    async fn install(&self) -> Result<String> {
        Ok(format!("etcd {}", setup::install(&["etcd-server"]).await?))
    }

    fn command(&self, place: &Place, server: u16) -> Result<Command> {
        let client = format!("http://{}", place.address(server, 0));
        let peer = |i| format!("http://{}", place.address(i, 1));
        let members = each(|i| format!("n{i}={}", peer(i))).join(",");
        let mut command = Command::new("etcd");
        command.arg("--data-dir").arg(place.folder(server)?);
        command.args(["--name", &format!("n{server}"), "--initial-cluster", &members]);
        command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
        command.args(["--listen-peer-urls", &peer(server)]);
        command.args(["--initial-advertise-peer-urls", &peer(server)]);
        command.args(["--quota-backend-bytes", "8589934592"]);
        command.args(["--logger", "zap", "--log-level", "error"]);
        Ok(command)
    }

    async fn create(&self, _place: &Place) -> Result<()> {
        Ok(())
    }

    async fn leader(&self, place: &Place) -> Result<u16> {
        let mut leader = None;
        for (i, endpoint) in (0..).zip(place.endpoints()) {
            let server = Self::connect(&[endpoint]).await?;
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
        let servers = endpoints.iter().map(|endpoint| {
            let server = Endpoint::from_shared(format!("http://{endpoint}"))?;
            Ok(server.connect_timeout(CONNECT_TIMEOUT))
        });
        let servers: Vec<Endpoint> = servers.collect::<Result<_>>()?;
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
