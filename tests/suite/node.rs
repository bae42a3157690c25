//! Whole nodes in one process: real QUIC, real sled, no children.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::ops::Range;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use annal::client::{
    Client, Consistency, ReadOptions, Reader, Settings as ClientSettings, Unavailable,
};
use annal::config::{NodeConfig, Recover};
use annal::log_name::LogName;
use annal::log_settings::LogSettings;
use annal::net::{
    CertificateRole, Connection, Credentials, Endpoint, Expect, Holder, Protocol, Stream,
    StreamError,
};
use annal::node::{self, Ended, RunError};
use annal::retention::Retention;
use annal::types::{ClientId, ClusterId, Index, LogNumber, NodeId, Offset, Seq, SeqRange};
use annal::wire::api::{
    AppendRefusal, AppendReplies, AppendRun, OnBehalf, Onward, Read, ReadFrom, Records, Request,
};
use annal::wire::conditions::Conditions;
use bytes::Bytes;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::relay::Relay;

const CLUSTER: ClusterId = ClusterId::new(0xa11a);
/// The end of every wait.
const PATIENCE: Duration = Duration::from_mins(1);

fn id(number: u16) -> NodeId {
    NodeId::new(number).unwrap()
}

/// Nodes in this process, and the folder that they live in.
struct Nodes {
    folder: TempDir,
    addresses: BTreeMap<NodeId, SocketAddr>,
    /// What lies before each node, if anything does.
    relays: BTreeMap<NodeId, Relay>,
    running: BTreeMap<NodeId, (CancellationToken, JoinHandle<Result<Ended, RunError>>)>,
}

impl Nodes {
    fn prepare(count: u16) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let certs = folder.path().join("certs");
        fs::create_dir(&certs).unwrap();
        let mut holders = vec![
            Holder::new(CertificateRole::Client, "client"),
            Holder::new(CertificateRole::Admin, "admin"),
        ];
        holders.extend((1..=count).map(|n| Holder::new(CertificateRole::Node, format!("n{n}"))));
        let (authority, pair) = annal::net::Authority::generate(CLUSTER).unwrap();
        let mut files = Vec::from(pair);
        for holder in &holders {
            files.extend(authority.issue(holder).unwrap());
        }
        for file in files {
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
            founders: None,
            registry: None,
            heartbeat: Duration::from_millis(100),
            election_timeout_min: Duration::from_millis(600),
            election_timeout_max: Duration::from_millis(1200),
            segment_bytes: 16 << 10,
            recover: Recover::Manual,
            scrub: None,
            fault_injection: true,
            certs: None,
            http: None,
        };
        let certs = self.path().join("certs");
        let credentials = Credentials::load(&certs, &node.to_string()).unwrap();
        let data = self.path().join(node.to_string());
        let stop = CancellationToken::new();
        let settings = node::Settings { data, config, credentials, certs, on_recovered: |_| () };
        let task = tokio::spawn(node::run(settings, stop.clone()));
        self.running.insert(node, (stop, task));
    }

    async fn stop(&mut self, node: NodeId) {
        let (stop, task) = self.running.remove(&node).unwrap();
        stop.cancel();
        let ended = async {
            assert_eq!(task.await.unwrap().unwrap(), Ended::Stopped);
            // Its last tasks hold the socket a moment longer than the node runs.
            while UdpSocket::bind(self.addresses[&node]).is_err() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_mins(1), ended).await.unwrap();
    }

    /// Stops all. Each test ends so, see [`Self::drop`].
    async fn stop_all(&mut self) {
        for node in self.running.keys().copied().collect::<Vec<_>>() {
            self.stop(node).await;
        }
    }

    fn client(&self) -> Client {
        self.client_of("client")
    }

    /// A client with one of the certificates.
    fn client_of(&self, name: &str) -> Client {
        Client::connect(ClientSettings {
            certs: self.path().join("certs"),
            name: name.to_owned(),
            nodes: self.addresses.keys().map(|n| (*n, self.reached_at(*n).into())).collect(),
            registry: None,
            cluster: Some(CLUSTER),
            timeout: PATIENCE,
        })
        .unwrap()
    }

    /// A connection to a node with one of the certificates.
    async fn connect(&self, name: &str, node: NodeId, protocol: Protocol) -> Connection {
        let credentials = Credentials::load(&self.path().join("certs"), name).unwrap();
        let endpoint = Endpoint::client(&credentials).unwrap();
        let expect = Expect { role: CertificateRole::Node, name: Some(node.to_string()) };
        let begun = Instant::now();
        loop {
            match endpoint.connect(self.reached_at(node), &expect, protocol).await {
                Ok(connection) => return connection,
                Err(error) => assert!(begun.elapsed() < PATIENCE, "not connected: {error}"),
            }
        }
    }

    fn others(&self, leader: NodeId) -> impl Iterator<Item = NodeId> {
        self.addresses.keys().copied().filter(move |node| *node != leader)
    }
}

/// A node whose folder is gone while it runs ends the process, and with it all tests and every word of
/// what went wrong. So the folder stays if a node may still run, and whoever forgot to stop it hears so.
impl Drop for Nodes {
    fn drop(&mut self) {
        if !self.running.is_empty() {
            self.folder.disable_cleanup(true);
            assert!(thread::panicking(), "a test ends with `stop_all`");
        }
    }
}

/// Opens a stream and says what it is for.
async fn open(connection: &Connection, request: &Request) -> Stream {
    let mut stream = connection.open().await.unwrap();
    stream.sender.send(&request.to_frame()).await.unwrap();
    stream
}

/// A follower's read of all there is.
fn tail() -> Read {
    let from = ReadFrom::Offset(Offset::ZERO);
    Read {
        log: LogNumber::MAIN,
        from,
        limit: None,
        linearizable: true,
        follow: true,
        inquiry: None,
    }
}

/// Begins so many sessions on a stream of appends, and says how many were refused as too many.
async fn begin_sessions(stream: &mut Stream, numbers: Range<u128>) -> usize {
    let record = [Bytes::from_static(b"x")];
    let count = numbers.clone().count();
    for number in numbers {
        let run = AppendRun {
            client: ClientId::new(number),
            seqs: SeqRange::one(Seq::FIRST),
            first_unanswered: Seq::FIRST,
            began_at: Index::ZERO,
            log: LogNumber::MAIN,
            conditions: Conditions::default(),
            command: None,
            lengths: AppendRun::lengths_of(&record),
        };
        stream.sender.send(&run.to_frame(&record)).await.unwrap();
    }
    let (mut answered, mut refused) = (0, 0);
    while answered < count {
        let frame = stream.receiver.answer(PATIENCE).await.unwrap();
        let replies = AppendReplies::from_frame(&frame).unwrap().replies;
        answered += replies.len();
        refused += replies.iter().filter(|r| r.result == Err(AppendRefusal::Busy)).count();
    }
    refused
}

async fn read_all(client: &Client, consistency: Consistency) -> Vec<Bytes> {
    let from = ReadFrom::Offset(Offset::ZERO);
    read(client, ReadOptions { from, limit: None, consistency, follow: false }).await
}

async fn read(client: &Client, options: ReadOptions) -> Vec<Bytes> {
    let mut reader = client.read(options);
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
    nodes.stop_all().await;
    (1..=3).for_each(|n| nodes.start(id(n)));
    assert_eq!(read_all(&client, Consistency::Linearizable).await, expected);
    nodes.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_node_serves_reads_that_see_what_was_acknowledged() {
    let mut nodes = Nodes::prepare(3);
    (1..=3).for_each(|n| nodes.start(id(n)));
    let client = nodes.client();
    let mut expected = vec![];
    for n in 0..10 {
        let record = Bytes::from(n.to_string());
        client.append(vec![record.clone()]).await.unwrap();
        expected.push(record);
        for node in 1..=3 {
            let consistency = Consistency::LinearizableAt { node: id(node) };
            assert_eq!(read_all(&client, consistency).await, expected, "at n{node}");
        }
    }
    nodes.stop_all().await;
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
    nodes.stop_all().await;
}

/// What nobody reads once filled the one connection on which a follower hands on for all.
#[tokio::test(flavor = "multi_thread")]
async fn what_follows_the_question_of_a_read_that_is_handed_on_stops_nobody() {
    let mut nodes = Nodes::prepare(3).behind_relays();
    (1..=3).for_each(|n| nodes.start(id(n)));
    let appended = nodes.client().append(vec![Bytes::from_static(b"direct")]).await.unwrap();
    for node in nodes.others(appended.leader) {
        let connection = nodes.connect("client", node, Protocol::Client).await;
        let mut stream = open(&connection, &Request::Onward(Onward::Read(tail()))).await;
        stream.receiver.answer(Duration::from_mins(1)).await.unwrap();
        let junk = vec![Request::Hello.to_frame(); 10_000];
        let sending = async { while stream.sender.send_all(&junk).await.is_ok() {} };
        tokio::time::timeout(Duration::from_mins(1), sending).await.expect("it is told to stop");
    }
    nodes.relays[&appended.leader].admit_only(nodes.addresses.values().copied());
    let onward = nodes.client().append(vec![Bytes::from_static(b"onward")]).await.unwrap();
    assert_eq!((onward.offset, onward.leader), (Offset::new(1), appended.leader));
    nodes.stop_all().await;
}

/// What a node hands on once counted as the node's own: who came by way of it had as many sessions as
/// all others who did so, together.
#[tokio::test(flavor = "multi_thread")]
async fn sessions_begun_by_way_of_a_node_count_as_those_of_their_client() {
    let mut nodes = Nodes::prepare(3);
    (1..=3).for_each(|n| nodes.start(id(n)));
    let appended = nodes.client().append(vec![Bytes::from_static(b"direct")]).await.unwrap();
    let follower = nodes.others(appended.leader).next().unwrap();
    let noisy = nodes.connect("client", follower, Protocol::Client).await;
    let other = nodes.connect("admin", follower, Protocol::Client).await;
    let mut noisy = open(&noisy, &Request::Onward(Onward::Appends)).await;
    let refused = begin_sessions(&mut noisy, 1000..3000).await;
    assert!(refused > 0, "so many sessions were begun at once");
    let mut other = open(&other, &Request::Onward(Onward::Appends)).await;
    assert_eq!(begin_sessions(&mut other, 5000..5900).await, 0);
    nodes.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_identity_does_not_take_all_places_of_a_node_that_hands_on() {
    let mut nodes = Nodes::prepare(3).behind_relays();
    (1..=3).for_each(|n| nodes.start(id(n)));
    let appended = nodes.client().append(vec![Bytes::from_static(b"direct")]).await.unwrap();
    let mut kept = vec![];
    for node in nodes.others(appended.leader) {
        for _ in 0..4 {
            let connection = nodes.connect("client", node, Protocol::Client).await;
            for _ in 0..20 {
                let mut stream = open(&connection, &Request::Onward(Onward::Read(tail()))).await;
                let answer = stream.receiver.answer(PATIENCE).await.unwrap();
                if Records::from_frame(&answer).unwrap().0.refusal.is_none() {
                    kept.push(stream);
                }
            }
        }
    }
    assert!((1..=96).contains(&kept.len()), "{} streams were handed on", kept.len());
    // Another, who does not reach the leader either, has room.
    nodes.relays[&appended.leader].admit_only(nodes.addresses.values().copied());
    let other = nodes.client_of("admin").append(vec![Bytes::from_static(b"onward")]).await.unwrap();
    assert_eq!(other.offset, Offset::new(1));
    nodes.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_but_a_node_speaks_for_others_and_only_for_clients() {
    let mut nodes = Nodes::prepare(3);
    (1..=3).for_each(|n| nodes.start(id(n)));
    let leader = nodes.client().append(vec![Bytes::from_static(b"x")]).await.unwrap().leader;
    let node = nodes.others(leader).next().unwrap().to_string();
    let identity = |role: &str| format!("annal://{CLUSTER}/{role}");
    let on_behalf = |identity: String| {
        let request = Onward::Read(tail());
        Request::OnBehalf(OnBehalf {
            identity,
            connection: 1,
            certificate: None,
            grants: None,
            request,
        })
    };
    let client = nodes.connect("client", leader, Protocol::Client).await;
    let peer = nodes.connect(&node, leader, Protocol::Onward).await;
    let elsewhere = format!("annal://{}/client/client", ClusterId::new(7));
    for (from, request) in [
        (&client, on_behalf(identity("client/client"))),
        (&peer, on_behalf(identity(&format!("node/{leader}")))),
        (&peer, on_behalf(elsewhere)),
        (&peer, on_behalf("client".to_owned())),
        (&peer, Request::Appends),
        (&peer, Request::Onward(Onward::Appends)),
    ] {
        let refused = open(from, &request).await.receiver.answer(PATIENCE).await.unwrap_err();
        assert_eq!(refused, StreamError::Abandoned, "{request:?}");
    }
    // A client's, and of nodes its own: who comes to its door over HTTP.
    for whose in ["client/client".to_owned(), format!("node/{node}")] {
        let mut served = open(&peer, &on_behalf(identity(&whose))).await;
        served.receiver.answer(PATIENCE).await.unwrap();
    }
    nodes.stop_all().await;
}

/// A log with so many records kept, and a reader that waits for what comes.
async fn trimmed_by_itself(client: &Client, name: &str) -> (Client, Reader) {
    let name: LogName = name.parse().unwrap();
    let mut retention = Retention::ALL;
    retention.records = Some(1);
    let settings = LogSettings { retention, ..LogSettings::default() };
    client.create_log_with(&name, settings).await.unwrap();
    let log = client.log(&name).await.unwrap();
    let mut reader = log.read(ReadOptions { follow: true, ..ReadOptions::default() });
    for record in ["one", "two", "three"] {
        log.append(vec![Bytes::from(record)]).await.unwrap();
        reader.next().await.unwrap();
    }
    let start = async {
        while client.log_state(&name).await.unwrap().start_offset != Offset::new(2) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, start).await.expect("its retention trims it");
    (log, reader)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_hears_of_a_trim_that_nobody_asked_for() {
    let mut nodes = Nodes::prepare(1);
    nodes.start(id(1));
    let client = nodes.client();
    let (log, _reader) = trimmed_by_itself(&client, "short").await;
    // Another one watches the log and knows where it begins.
    assert_eq!(read(&log, ReadOptions::default()).await, ["three"]);
    nodes.stop_all().await;
}

/// The entry behind the last record of a quiet log may be long gone when the next record comes.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_waits_while_what_was_to_come_next_is_given_up() {
    let mut nodes = Nodes::prepare(1);
    nodes.start(id(1));
    let client = nodes.client();
    let quiet: LogName = "quiet".parse().unwrap();
    let number = client.create_log(&quiet).await.unwrap().number;
    let log = client.log(&quiet).await.unwrap();
    log.append(vec![Bytes::from("first")]).await.unwrap();
    let connection = nodes.connect("client", id(1), Protocol::Client).await;
    let mut stream = open(&connection, &Request::Read(Read { log: number, ..tail() })).await;
    let mut next = async || {
        let frame = stream.receiver.answer(PATIENCE).await.unwrap();
        let (records, _) = Records::from_frame(&frame).unwrap();
        (records.refusal, records.first_offset)
    };
    assert_eq!(next().await, (None, Offset::ZERO));

    log.trim(Offset::new(1)).await.unwrap();
    let segments = nodes.path().join("n1/log");
    let sealed = || {
        let names = fs::read_dir(&segments).unwrap().map(|entry| entry.unwrap().file_name());
        // A head stands there before its segment does.
        names.filter(|name| !name.to_string_lossy().contains('.')).collect::<BTreeSet<_>>()
    };
    let until_given_up = async {
        let mut first = None;
        while first.is_none() || sealed().first() == first.as_ref() {
            first = first.or(sealed().pop_first());
            if sealed().len() < 3 {
                let record = Bytes::from(vec![b'x'; 16 << 10]);
                let appended = client.append(vec![record]).await.unwrap();
                client.trim(appended.offset.plus(1)).await.unwrap();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, until_given_up).await.expect("space comes back");
    log.append(vec![Bytes::from("second")]).await.unwrap();
    assert_eq!(next().await, (None, Offset::new(1)));
    nodes.stop_all().await;
}
