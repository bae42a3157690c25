//! What the holder of one client certificate can do to a cluster: each attack that took a node down
//! once, with the bound that holds now.
//!
//! The attacker speaks the protocol with the library's own means and keeps to it as little as it
//! likes. Of each node the highest resident size is read when the attack is over, and while it goes
//! on an honest client with the same certificate appends. Its longest gap is judged by that of the same
//! client without an attack, just before: a slow machine makes both longer.
#![allow(clippy::print_stdout, reason = "what was measured")]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use annal::client::{Client, Settings};
use annal::limits::SESSIONS_MAX;
use annal::net::{
    CertificateRole, Connection, Credentials, Endpoint, Expect, Protocol, Stream, StreamError,
};
use annal::registry::{Announcing, Leadership, LookupError};
use annal::types::{ClientId, Index, LogNumber, NodeId, Offset, Seq, SeqRange, Term, Timestamp};
use annal::wire::Frame;
use annal::wire::api::{AppendReplies, AppendRun, Onward, Read, ReadFrom, Request};
use annal::wire::conditions::Conditions;
use annal::wire::frame::kind;
use annal::wire::registry::{Announcement, Refusal};
use bytes::Bytes;
use serde::Serialize;
use tokio::runtime::Runtime;
use tokio::time::timeout;

use super::harness::{Cluster, Kind, wait_for};

/// No node is ever larger than this, whatever one client does.
const RESIDENT_BYTES_MAX: u64 = 512 << 20;
/// The longest gap of an honest client under attack is at most so many times that without one: on a
/// quiet machine that is some 10 ms, and half a second is what nobody is to wait longer than.
const GAP_FACTOR: u32 = 75;
/// A machine that is quiet now need not be a moment later: no shorter gap is taken for the usual one.
const CALM_GAP_LEAST: Duration = Duration::from_millis(25);
/// Records that tell how long gaps are without an attack.
const CALM_RECORDS: u64 = 1000;
/// The end of every wait.
const PATIENCE: Duration = Duration::from_mins(1);

/// Somebody with the client's certificate and a program of its own.
struct Attacker {
    runtime: Runtime,
    endpoint: Endpoint,
    node: SocketAddr,
}

impl Attacker {
    /// An attacker of the leader.
    fn of_leader(cluster: &Cluster) -> Self {
        Self::of(cluster, &cluster.leader())
    }

    /// An attacker of a node that follows.
    fn of_follower(cluster: &Cluster) -> Self {
        let leader = cluster.leader();
        let follower = cluster.nodes().into_iter().find(|node| *node != leader);
        Self::of(cluster, &follower.unwrap())
    }

    fn of(cluster: &Cluster, node: &str) -> Self {
        let runtime = Runtime::new().unwrap();
        let credentials = Credentials::load(&cluster.path("certs"), "client").unwrap();
        let endpoint = runtime.block_on(async { Endpoint::client(&credentials).unwrap() });
        let number: u16 = node.trim_start_matches('n').parse().unwrap();
        let node = SocketAddr::from((Ipv4Addr::LOCALHOST, cluster.base_port() + number));
        Self { runtime, endpoint, node }
    }

    /// A connection; on a busy machine an attempt may run out of time, and a crowded node refuses.
    async fn connect(&self) -> Connection {
        let expect = Expect { role: CertificateRole::Node, name: None };
        let begun = Instant::now();
        loop {
            let limit = Duration::from_secs(4);
            let dialled = self.endpoint.connect_within(limit, self.node, &expect, Protocol::Client);
            match dialled.await {
                Ok(connection) => return connection,
                Err(error) => assert!(begun.elapsed() < PATIENCE, "not connected: {error}"),
            }
        }
    }
}

/// Opens a stream and says what it is for.
async fn open(connection: &Connection, request: &Request) -> Result<Stream, StreamError> {
    let mut stream = connection.open().await?;
    stream.sender.send(&request.to_frame()).await?;
    Ok(stream)
}

/// Waits until the other side has had enough of a stream, or a little while.
async fn until_unwanted(stream: &Stream) {
    let _ = timeout(Duration::from_secs(2), stream.sender.unwanted()).await;
}

/// The highest resident size that a process has had.
fn peak_bytes(cluster: &Cluster, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", cluster.id(name))).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

#[track_caller]
fn expect_modest(cluster: &mut Cluster, what: &str) {
    for name in cluster.nodes() {
        assert!(cluster.is_running(&name), "{name} has ended: {what}");
        let peak = peak_bytes(cluster, &name);
        println!("{what}: {name} was at most {} MiB", peak >> 20);
        assert!(peak < RESIDENT_BYTES_MAX, "{what}: {name} was {} MiB", peak >> 20);
    }
}

fn settings(cluster: &Cluster, name: &str) -> Settings {
    let node = |number: u16| {
        let address = format!("127.0.0.1:{}", cluster.base_port() + number);
        (NodeId::new(number).unwrap(), address.parse().unwrap())
    };
    Settings {
        certs: cluster.path("certs"),
        name: name.to_owned(),
        cluster: None,
        nodes: (1..=3).map(node).collect(),
        registry: None,
        timeout: PATIENCE,
    }
}

/// An honest client that appends one record after the other.
struct Honest {
    stop: Arc<AtomicBool>,
    count: Arc<AtomicU64>,
    thread: JoinHandle<Duration>,
}

impl Honest {
    fn start(cluster: &Cluster) -> Self {
        let settings = settings(cluster, "client");
        let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, counted) = (stop.clone(), count.clone());
        let thread = thread::spawn(move || {
            Runtime::new().unwrap().block_on(async {
                let client = Client::connect(settings).unwrap();
                let mut longest = Duration::ZERO;
                while !stopped.load(Ordering::Relaxed) {
                    let begun = Instant::now();
                    client.append(vec![Bytes::from_static(b"honest")]).await.unwrap();
                    longest = longest.max(begun.elapsed());
                    counted.fetch_add(1, Ordering::Relaxed);
                }
                longest
            })
        });
        Self { stop, count, thread }
    }

    /// How many records it has appended.
    fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// How long it waited for a record at most.
    fn stop(self) -> Duration {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// Attacks the leader while an honest client goes on, and judges how that fared.
#[track_caller]
fn under_attack(cluster: &mut Cluster, what: &str, attack: impl FnOnce(&Attacker)) {
    let attacker = Attacker::of_leader(cluster);
    under_attack_of(cluster, &attacker, what, attack);
}

#[track_caller]
fn under_attack_of(
    cluster: &mut Cluster,
    attacker: &Attacker,
    what: &str,
    attack: impl FnOnce(&Attacker),
) {
    let calm = Honest::start(cluster);
    wait_for("records without an attack", || (calm.count() >= CALM_RECORDS).then_some(()));
    let calm = calm.stop();
    let honest = Honest::start(cluster);
    attack(attacker);
    let count = honest.count();
    let longest = honest.stop();
    println!("{what}: {count} honest records, longest gap {longest:?}; without: {calm:?}");
    assert!(count > 0, "{what}: nothing honest got through");
    let usual = calm.max(CALM_GAP_LEAST);
    assert!(longest <= usual * GAP_FACTOR, "{what}: a gap of {longest:?}; without: {calm:?}");
    expect_modest(cluster, what);
}

/// The header of an append that the library would never make.
#[derive(Serialize)]
struct LongHeader {
    client: ClientId,
    seqs: SeqRange,
    first_unanswered: Seq,
    began_at: Index,
    log: LogNumber,
    lengths: Vec<u32>,
}

#[test]
fn frames_that_list_millions_of_nothings_cost_what_they_weigh() {
    let mut cluster = Cluster::started(Kind::default());
    under_attack(&mut cluster, "5.2 million lengths of zero", |attacker| {
        let header = LongHeader {
            client: ClientId::new(7),
            seqs: SeqRange::one(Seq::FIRST),
            first_unanswered: Seq::FIRST,
            began_at: Index::ZERO,
            log: LogNumber::MAIN,
            lengths: vec![0; 5_200_000],
        };
        let frame = Frame::new(kind::APPEND, &header, &[]);
        attacker.runtime.block_on(async {
            let mut crowd = vec![];
            for _ in 0..4 {
                let connection = attacker.connect().await;
                for _ in 0..6 {
                    let (connection, frame) = (connection.clone(), frame.clone());
                    crowd.push(tokio::spawn(async move {
                        let Ok(mut stream) = open(&connection, &Request::Appends).await else {
                            return;
                        };
                        let _ = timeout(PATIENCE, stream.sender.send(&frame)).await;
                        until_unwanted(&stream).await;
                    }));
                }
            }
            for one in crowd {
                one.await.unwrap();
            }
        });
    });
}

#[test]
fn frames_that_never_end_are_given_up() {
    let mut cluster = Cluster::started(Kind::default());
    under_attack(&mut cluster, "frames without an end", |attacker| {
        let records = vec![Bytes::from(vec![7; 1 << 20]); 4];
        let frame = append(1, &records).to_frame(&records);
        attacker.runtime.block_on(async {
            let mut kept = vec![];
            for _ in 0..12 {
                let connection = attacker.connect().await;
                let mut stream = open(&connection, &Request::Appends).await.unwrap();
                // As much as the windows take at once, and then no more.
                let _ = timeout(Duration::from_millis(1), stream.sender.send(&frame)).await;
                kept.push((connection, stream));
            }
            // The node ends them by itself.
            for (_, stream) in &kept {
                timeout(PATIENCE, stream.sender.unwanted()).await.unwrap();
            }
        });
    });
}

fn append(seq: u64, records: &[Bytes]) -> AppendRun {
    AppendRun {
        client: ClientId::new(7),
        seqs: SeqRange::one(Seq::new(seq)),
        first_unanswered: Seq::new(seq),
        began_at: Index::ZERO,
        log: LogNumber::MAIN,
        conditions: Conditions::default(),
        command: None,
        lengths: AppendRun::lengths_of(records),
    }
}

/// All from an offset on, and what comes later.
fn tail(offset: u64) -> Read {
    Read {
        log: LogNumber::MAIN,
        from: ReadFrom::Offset(Offset::new(offset)),
        limit: None,
        linearizable: false,
        follow: true,
        inquiry: None,
    }
}

/// Appends an entry of 4 MiB, and some hundred thousand empty records.
fn fill(cluster: &Cluster) {
    let fill = Attacker::of_leader(cluster);
    fill.runtime.block_on(async {
        let connection = fill.connect().await;
        let mut stream = open(&connection, &Request::Appends).await.unwrap();
        let large = vec![Bytes::from(vec![7; 1 << 20]); 4];
        let empty = vec![Bytes::new(); 4096];
        stream.sender.send(&append(1, &large).to_frame(&large)).await.unwrap();
        for seq in 2..120 {
            stream.sender.send(&append(seq, &empty).to_frame(&empty)).await.unwrap();
        }
        stream.sender.finish();
        while let Ok(Some(_)) = timeout(PATIENCE, stream.receiver.next()).await.unwrap() {}
    });
}

#[test]
fn reads_that_nobody_takes_hold_little() {
    let mut cluster = Cluster::started(Kind::default());
    fill(&cluster);
    under_attack(&mut cluster, "unread reads", |attacker| {
        attacker.runtime.block_on(async {
            let mut kept = vec![];
            for offset in [0, 4, 0, 4] {
                let connection = attacker.connect().await;
                for _ in 0..60 {
                    if let Ok(stream) = open(&connection, &Request::Read(tail(offset))).await {
                        kept.push(stream);
                    }
                }
            }
            // As long as somebody else waits, those who take nothing are given up.
            tokio::time::sleep(Duration::from_secs(3)).await;
        });
    });
    // All of it can still be read by who takes it.
    let output = cluster.client(["read", "--from", "0", "--limit", "4", "--timeout", "30s"]);
    assert_eq!(output.expect_code(0).stdout.len(), 4 * ((1 << 20) + 1));
}

#[test]
fn what_comes_by_way_of_a_follower_costs_no_more() {
    let mut cluster = Cluster::started(Kind::default());
    fill(&cluster);
    let attacker = Attacker::of_follower(&cluster);
    under_attack_of(&mut cluster, &attacker, "by way of a follower", |attacker| {
        let records = vec![Bytes::from(vec![7; 1 << 20]); 4];
        let frame = append(1, &records).to_frame(&records);
        attacker.runtime.block_on(async {
            let (mut kept, mut crowd) = (vec![], vec![]);
            for offset in [0, 4, 0, 4] {
                let connection = attacker.connect().await;
                for _ in 0..12 {
                    let read = Request::Onward(Onward::Read(tail(offset)));
                    kept.extend(open(&connection, &read).await);
                }
                for _ in 0..4 {
                    let (connection, frame) = (connection.clone(), frame.clone());
                    crowd.push(tokio::spawn(async move {
                        let appends = Request::Onward(Onward::Appends);
                        let Ok(mut stream) = open(&connection, &appends).await else { return };
                        for _ in 0..4 {
                            let _ = timeout(PATIENCE, stream.sender.send(&frame)).await;
                        }
                        until_unwanted(&stream).await;
                    }));
                }
            }
            for one in crowd {
                one.await.unwrap();
            }
        });
    });
}

#[test]
fn idle_connections_shut_nobody_out() {
    let mut cluster = Cluster::started(Kind::default());
    let attacker = Attacker::of_leader(&cluster);
    let leader = cluster.leader();
    let kept = attacker.runtime.block_on(async {
        let mut kept = vec![];
        while kept.len() < 1020 {
            kept.push(attacker.connect().await);
        }
        kept
    });
    // Neither a client with the same certificate nor an admin is shut out.
    cluster.append(&["one"]);
    let answer = cluster.client(["crash-leader", "--json", "--timeout", "30s"]).expect_code(0);
    assert_eq!(answer.json()[0]["crashed"], leader.as_str());
    drop(kept);
    cluster.wait_for_end(&leader);
    let log = cluster.log(&leader);
    assert!(log.contains("audit: annal://"), "who crashed it is in its log");
    cluster.start(&leader);
    cluster.leader();
    expect_modest(&mut cluster, "idle connections");
}

#[test]
fn sessions_of_one_identity_do_not_push_out_those_of_others() {
    let mut cluster = Cluster::started(Kind::default());
    let attacker = Attacker::of_leader(&cluster);
    let older = attacker.runtime.block_on(async {
        let older = Client::connect(settings(&cluster, "admin")).unwrap();
        older.append(vec![Bytes::from_static(b"before")]).await.unwrap();
        older
    });
    let refused = attacker.runtime.block_on(async {
        let connection = attacker.connect().await;
        let mut stream = open(&connection, &Request::Appends).await.unwrap();
        let records = [Bytes::from_static(b"x")];
        // More than the table of clients has places.
        let count = SESSIONS_MAX as u128 + 1000;
        for number in 0..count {
            let run = AppendRun { client: ClientId::new(number), ..append(1, &records) };
            stream.sender.send(&run.to_frame(&records)).await.unwrap();
        }
        let (mut answered, mut refused) = (0, 0);
        while answered < count {
            let frame = timeout(PATIENCE, stream.receiver.next()).await.unwrap().unwrap().unwrap();
            let replies = AppendReplies::from_frame(&frame).unwrap().replies;
            answered += replies.len() as u128;
            refused += replies.iter().filter(|reply| reply.result.is_err()).count();
        }
        refused
    });
    assert!(refused > 0, "so many sessions were begun at once");
    // Who has to begin one has to wait for a moment.
    cluster.append(&["late"]);
    // An older one of somebody else goes on.
    attacker.runtime.block_on(async {
        older.append(vec![Bytes::from_static(b"after")]).await.unwrap();
    });
    expect_modest(&mut cluster, "new sessions");
}

#[test]
fn a_made_up_term_is_refused_and_one_that_got_in_is_forgotten() {
    let mut cluster = Cluster::started(Kind::default());
    let credentials = Credentials::load(&cluster.path("certs"), "n1").unwrap();
    let registry = format!("127.0.0.1:{}", cluster.base_port()).parse().unwrap();
    let runtime = Runtime::new().unwrap();
    let announce = |term: u64| {
        let current = Announcement {
            term: Term::new(term),
            node: NodeId::new(1).unwrap(),
            address: "127.0.0.1:9".to_owned(),
            time: Timestamp::new(1),
        };
        let cluster = credentials.identity().cluster;
        let leadership = Leadership { cluster, current, history: vec![] };
        let mut announcing = Announcing::new(leadership);
        runtime.block_on(async {
            let endpoint = Endpoint::client(&credentials).unwrap();
            annal::registry::announce(&endpoint, &registry, &mut announcing, PATIENCE).await
        })
    };
    let refused = announce(u64::MAX).unwrap_err();
    assert!(matches!(refused, LookupError::Refused(Refusal::Implausible { .. })), "{refused}");
    // What cannot be told from elections gets in, and is in the way of the next real leader.
    announce(1000).unwrap();
    let leader = cluster.leader();
    cluster.kill(&leader);
    let successor = wait_for("another leader", || Some(cluster.leader()).filter(|l| *l != leader));
    cluster.wait_for_line(&successor, "was refused");
    let forget = ["registry", "forget", "--term", "1000", "--json"];
    assert_eq!(cluster.run(forget).expect_code(0).json()[0]["terms"], 1);
    assert_eq!(cluster.run(forget).expect_code(0).json()[0]["terms"], 0);
    cluster.wait_for_line("registry", "admin/admin at 127.0.0.1");
    let audited = |what| {
        let log = cluster.log("registry");
        log.lines().filter(|line| line.contains("audit: ") && line.contains(what)).count()
    };
    assert_eq!(audited("did: forget"), 1, "nothing was forgotten the second time");
    // A crowd of refusals is a line or two.
    let client = Credentials::load(&cluster.path("certs"), "client").unwrap();
    runtime.block_on(async {
        let (endpoint, id) = (Endpoint::client(&client).unwrap(), client.identity().cluster);
        for _ in 0..60 {
            let asked =
                annal::registry::forget(&endpoint, &registry, (id, Term::new(1), true), PATIENCE);
            assert!(matches!(asked.await, Err(LookupError::Refused(Refusal::NotAllowed))));
        }
    });
    wait_for("a line of it", || (audited("client/client: forget") > 0).then_some(()));
    assert!(audited("client/client: forget") < 20);
    wait_for("the real leader to be known", || {
        let known = cluster.run(["registry", "leader", "--json"]).expect_code(0);
        (known.json()[0]["node"] == successor.as_str()).then_some(())
    });
}
