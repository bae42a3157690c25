//! Whole nodes in one process: real QUIC, real sled, no children.

use std::collections::BTreeMap;
use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::time::Duration;

use annal::client::{Client, Consistency, ReadOptions, Settings as ClientSettings, Unavailable};
use annal::config::NodeConfig;
use annal::net::tls::{self, CertificateRole};
use annal::net::{Credentials, Endpoint, Expect, Protocol};
use annal::node::{self, RunError};
use annal::types::{ClusterId, LogNumber, NodeId, Offset};
use annal::wire::api::{Onward, Read, ReadFrom, Request};
use bytes::Bytes;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::relay::Relay;

const CLUSTER: ClusterId = ClusterId::new(0xa11a);

fn id(number: u16) -> NodeId {
    NodeId::new(number).unwrap()
}

/// Nodes in this process, and the folder that they live in.
struct Nodes {
    folder: TempDir,
    addresses: BTreeMap<NodeId, SocketAddr>,
    /// What lies before each node, if anything does.
    relays: BTreeMap<NodeId, Relay>,
    running: BTreeMap<NodeId, (CancellationToken, JoinHandle<Result<(), RunError>>)>,
}

impl Nodes {
    fn prepare(count: u16) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let certs = folder.path().join("certs");
        fs::create_dir(&certs).unwrap();
        let mut holders = vec![
            (CertificateRole::Client, "client".to_owned()),
            (CertificateRole::Admin, "admin".to_owned()),
        ];
        holders.extend((1..=count).map(|n| (CertificateRole::Node, format!("n{n}"))));
        for file in tls::issue_all(CLUSTER, &holders).unwrap() {
            fs::write(certs.join(&file.name), &file.contents).unwrap();
        }
        // All are held at once, so that no two get the same port.
        let sockets: Vec<_> = (0..count).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
        let addresses = sockets.iter().map(|socket| socket.local_addr().unwrap());
        let addresses = (1..=count).map(id).zip(addresses).collect();
        for n in 1..=count {
            let data = folder.path().join(format!("n{n}"));
            fs::create_dir(&data).unwrap();
            fs::write(data.join("new"), "").unwrap();
        }
        Self { folder, addresses, relays: BTreeMap::new(), running: BTreeMap::new() }
    }

    /// Puts a relay before each node: whoever is to reach it goes through that.
    fn behind_relays(mut self) -> Self {
        let relay = |(node, at): (&NodeId, &SocketAddr)| (*node, Relay::new(*at, Duration::ZERO));
        self.relays = self.addresses.iter().map(relay).collect();
        self
    }

    /// Where others reach a node.
    fn reached_at(&self, node: NodeId) -> SocketAddr {
        self.relays.get(&node).map_or(self.addresses[&node], Relay::address)
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn start(&mut self, node: NodeId) {
        let address = self.addresses[&node];
        let others = self.addresses.keys().filter(|other| **other != node);
        let peers: BTreeMap<NodeId, SocketAddr> =
            others.map(|other| (*other, self.reached_at(*other))).collect();
        let config = NodeConfig {
            cluster: CLUSTER,
            node,
            listen: address.into(),
            address: self.reached_at(node).into(),
            peers: peers.into_iter().map(|(peer, at)| (peer, at.into())).collect(),
            registry: None,
            heartbeat: Duration::from_millis(100),
            election_timeout_min: Duration::from_millis(600),
            election_timeout_max: Duration::from_millis(1200),
            segment_bytes: 16 << 10,
            fault_injection: true,
            certs: None,
        };
        let credentials = Credentials::load(&self.path().join("certs"), &node.to_string()).unwrap();
        let data = self.path().join(node.to_string());
        let stop = CancellationToken::new();
        let settings = node::Settings { data, config, credentials, on_recovered: |_| () };
        let task = tokio::spawn(node::run(settings, stop.clone()));
        self.running.insert(node, (stop, task));
    }

    async fn stop(&mut self, node: NodeId) {
        let (stop, task) = self.running.remove(&node).unwrap();
        stop.cancel();
        let ended = async {
            task.await.unwrap().unwrap();
            // Its last tasks hold the socket a moment longer than the node runs.
            while UdpSocket::bind(self.addresses[&node]).is_err() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_mins(1), ended).await.unwrap();
    }

    fn client(&self) -> Client {
        Client::connect(ClientSettings {
            certs: self.path().join("certs"),
            name: "client".to_owned(),
            nodes: self.addresses.keys().map(|n| (*n, self.reached_at(*n).into())).collect(),
            registry: None,
            cluster: Some(CLUSTER),
            timeout: Duration::from_mins(1),
        })
        .unwrap()
    }
}

async fn read_all(client: &Client, consistency: Consistency) -> Vec<Bytes> {
    let mut reader = client.read(ReadOptions {
        from: ReadFrom::Offset(Offset::ZERO),
        limit: None,
        consistency,
        follow: false,
    });
    let mut records = vec![];
    while let Some(batch) = reader.next().await.unwrap() {
        records.extend(batch.into_iter().map(|record| record.bytes));
    }
    records
}

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_append_hand_over_restart_and_catch_up() {
    let mut nodes = Nodes::prepare(3);
    (1..=3).for_each(|n| nodes.start(id(n)));
    let client = nodes.client();
    let mut expected = vec![];
    for round in 0_u16..6 {
        // Enough to take new segments, and one node after the other away and back.
        let away = id(round % 3 + 1);
        nodes.stop(away).await;
        for n in 0..20 {
            let record = Bytes::from(format!("{round}/{n} {}", "x".repeat(200)));
            let appended = client.append(vec![record.clone()]).await.unwrap();
            assert_eq!(appended.offset.get(), expected.len() as u64);
            expected.push(record);
        }
        nodes.start(away);
    }
    assert_eq!(read_all(&client, Consistency::Linearizable).await, expected);
    for n in 1..=3 {
        nodes.stop(id(n)).await;
    }
    (1..=3).for_each(|n| nodes.start(id(n)));
    assert_eq!(read_all(&client, Consistency::Linearizable).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_reach_the_leader_is_served_by_way_of_the_others() {
    let mut nodes = Nodes::prepare(3).behind_relays();
    (1..=3).for_each(|n| nodes.start(id(n)));
    let appended = nodes.client().append(vec![Bytes::from_static(b"direct")]).await.unwrap();
    // The others talk to the leader; who comes now does not reach it.
    nodes.relays[&appended.leader].admit_only(nodes.addresses.values().copied());
    let client = nodes.client();
    let onward = client.append(vec![Bytes::from_static(b"onward")]).await.unwrap();
    assert_eq!((onward.offset, onward.leader), (Offset::new(1), appended.leader));
    assert_eq!(read_all(&client, Consistency::Linearizable).await, ["direct", "onward"]);
    let status = client.status().await;
    let said = status.unavailable.unwrap();
    assert!(
        matches!(&said, Unavailable::OutOfReach { leading, .. } if leading.node == appended.leader)
    );
    assert!(said.to_string().contains("does not answer here"), "{said}");
}

/// What nobody reads once filled the one connection on which a follower hands on for all.
#[tokio::test(flavor = "multi_thread")]
async fn what_follows_the_question_of_a_read_that_is_handed_on_stops_nobody() {
    let mut nodes = Nodes::prepare(3).behind_relays();
    (1..=3).for_each(|n| nodes.start(id(n)));
    let appended = nodes.client().append(vec![Bytes::from_static(b"direct")]).await.unwrap();
    let credentials = Credentials::load(&nodes.path().join("certs"), "client").unwrap();
    let endpoint = Endpoint::client(&credentials).unwrap();
    let from = ReadFrom::Offset(Offset::ZERO);
    let read = Read { log: LogNumber::MAIN, from, limit: None, linearizable: true, follow: true };
    for node in (1..=3).map(id).filter(|node| *node != appended.leader) {
        let expect = Expect { role: CertificateRole::Node, name: Some(node.to_string()) };
        let address = nodes.reached_at(node);
        let connection = endpoint.connect(address, &expect, Protocol::Client).await.unwrap();
        let mut stream = connection.open().await.unwrap();
        let request = Request::Onward(Onward::Read(read.clone()));
        stream.sender.send(&request.to_frame()).await.unwrap();
        stream.receiver.answer(Duration::from_mins(1)).await.unwrap();
        let junk = vec![Request::Hello.to_frame(); 10_000];
        let sending = async { while stream.sender.send_all(&junk).await.is_ok() {} };
        tokio::time::timeout(Duration::from_mins(1), sending).await.expect("it is told to stop");
    }
    nodes.relays[&appended.leader].admit_only(nodes.addresses.values().copied());
    let onward = nodes.client().append(vec![Bytes::from_static(b"onward")]).await.unwrap();
    assert_eq!((onward.offset, onward.leader), (Offset::new(1), appended.leader));
}
