//! Histories of real processes: what clients asked for and were told while nodes are killed and stand still,
//! are parted, and are heard without hearing, judged by the log in the end.
//!
//! Nothing acknowledged is lost, nothing is there twice, nothing that was refused is there; what expects an
//! offset stands there, what names a fence stands behind that fence, a producer's numbers have neither gap
//! nor double, and no read misses what was acknowledged before it began. Each record says of itself what
//! must be so for it, and a stopped node shows its whole log, commands among it.
#![allow(clippy::print_stderr, reason = "what a history came to")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use annal::{
    AppendError, AppendOptions, Appended, Bytes, Client, Consistency, NodeId, Offset, Outcome,
    ReadFrom, ReadOptions, Settings,
};
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use super::harness::{Cluster, Kind};
use crate::relay::Relay;

/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long a fault lasts, and the pause before the next, at most.
const FAULT_MAX_MS: u64 = 1500;
/// Requests that a producer has on their way, and then opens itself anew.
const PRODUCER_WORDS: u64 = 40;

/// A stream of numbers that is the same for a seed.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        // The constants are Knuth's; the high bits are the good ones.
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }

    fn one_of<'a>(&mut self, names: &'a [String]) -> &'a String {
        &names[usize::try_from(self.below(names.len() as u64)).unwrap()]
    }

    fn pause(&mut self) -> Duration {
        Duration::from_millis(100 + self.below(FAULT_MAX_MS))
    }
}

/// What clients were told.
#[derive(Default)]
struct Told {
    /// Offset and entry of each record that is in the log for certain.
    acknowledged: BTreeMap<String, (u64, u64)>,
    /// Records that are not, for certain.
    refused: BTreeSet<String>,
    /// What a read had to see, and the records that it saw, from which offset on.
    reads: Vec<(u64, u64, Vec<String>)>,
    unknown: u64,
}

/// What all clients share.
#[derive(Default)]
struct Shared {
    told: Mutex<Told>,
    /// Behind the last record that anybody was told of.
    end: AtomicU64,
    is_over: AtomicBool,
}

impl Shared {
    fn goes_on(&self) -> bool {
        !self.is_over.load(Ordering::Relaxed)
    }

    /// Notes what became of a record. Whoever reads from now on has to see it.
    fn note(&self, record: String, outcome: &Result<Appended, AppendError>) {
        let mut told = self.told.lock().unwrap();
        match outcome {
            Ok(appended) => {
                let place = (appended.offset.get(), appended.index.get());
                self.end.fetch_max(place.0 + 1, Ordering::SeqCst);
                let before = told.acknowledged.insert(record, place);
                assert_eq!(before, None, "each record is asked for once");
            }
            Err(error) if error.outcome() == Outcome::Unknown => told.unknown += 1,
            Err(_) => drop(told.refused.insert(record)),
        }
    }
}

/// Appends one record after the other, whatever is so.
async fn append(shared: Arc<Shared>, client: Client, number: u64) {
    for count in 0_u64.. {
        if !shared.goes_on() {
            return;
        }
        let record = format!("a {number} {count}");
        let outcome = client.append(vec![Bytes::from(record.clone())]).await;
        shared.note(record, &outcome);
    }
}

/// Appends where it believes that the log ends.
async fn append_at_the_end(shared: Arc<Shared>, client: Client, number: u64) {
    let mut end = 0;
    for count in 0_u64.. {
        if !shared.goes_on() {
            return;
        }
        let record = format!("e {end} {number} {count}");
        let expect_offset = Some(Offset::new(end));
        let options = AppendOptions { expect_offset, ..AppendOptions::default() };
        let outcome = client.append_with(vec![Bytes::from(record.clone())], &options).await;
        end = match &outcome {
            Ok(appended) => appended.offset.get() + 1,
            Err(AppendError::OtherOffset { next, .. }) => next.get(),
            Err(_) => shared.end.load(Ordering::SeqCst),
        };
        shared.note(record, &outcome);
    }
}

/// Sets a fence, and appends behind it until another has set one.
async fn append_behind_fences(shared: Arc<Shared>, client: Client, number: u64) {
    for count in 0_u64.. {
        if !shared.goes_on() {
            return;
        }
        let fence = format!("w{number}-{count}").parse().ok();
        if client.set_fence(fence).await.is_err() {
            continue;
        }
        let options = AppendOptions { fence, ..AppendOptions::default() };
        for word in 0..20 {
            let record = format!("f w{number}-{count} {word}");
            let outcome = client.append_with(vec![Bytes::from(record.clone())], &options).await;
            let is_out = matches!(outcome, Err(AppendError::Fenced { .. }));
            shared.note(record, &outcome);
            if is_out || !shared.goes_on() {
                break;
            }
        }
    }
}

/// One of several processes of one producer: goes on where that is, with many on their way, until another
/// takes over or it is gone itself.
async fn produce(shared: Arc<Shared>, client: Client) {
    let name = "p".parse().unwrap();
    while shared.goes_on() {
        let Ok(mut producer) = client.producer(name, &AppendOptions::default()).await else {
            continue;
        };
        let first = producer.last_seq() + 1;
        for seq in first..first + PRODUCER_WORDS {
            let record = format!("p {seq}");
            if producer.send(vec![Bytes::from(record)]).await.is_err() {
                break;
            }
        }
        // Half of them are not waited for: it may be killed as well.
        for _ in 0..PRODUCER_WORDS / 2 {
            let Ok(Some(appended)) = producer.next().await else { break };
            shared.end.fetch_max(appended.offset.get() + 1, Ordering::SeqCst);
        }
    }
}

/// Reads the end of the log, wherever that is served.
async fn read(shared: Arc<Shared>, client: Client, consistency: Consistency) {
    while shared.goes_on() {
        let must_see = shared.end.load(Ordering::SeqCst);
        let from = must_see.saturating_sub(3);
        let mut reader = client.read(ReadOptions {
            from: ReadFrom::Offset(Offset::new(from)),
            consistency,
            ..ReadOptions::default()
        });
        let mut records = vec![];
        let is_whole = loop {
            match reader.next().await {
                Ok(Some(batch)) => {
                    records.extend(batch.into_iter().map(|record| text(&record.bytes)));
                }
                Ok(None) => break true,
                Err(_) => break false,
            }
        };
        if is_whole {
            shared.told.lock().unwrap().reads.push((must_see, from, records));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn text(bytes: &Bytes) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Who does what: each client is one of its own.
fn begin(runtime: &Runtime, cluster: &Cluster, shared: &Arc<Shared>) -> JoinSet<()> {
    let _entered = runtime.enter();
    let mut all = JoinSet::new();
    let client = || {
        let settings = Settings::from_dir(cluster.folder()).unwrap();
        Client::connect(Settings { timeout: PATIENCE, ..settings }).unwrap()
    };
    for number in 0..2 {
        all.spawn(append(shared.clone(), client(), number));
        all.spawn(append_at_the_end(shared.clone(), client(), number));
        all.spawn(append_behind_fences(shared.clone(), client(), number));
        all.spawn(produce(shared.clone(), client()));
    }
    let at = |number| Consistency::LinearizableAt { node: NodeId::new(number).unwrap() };
    for consistency in [Consistency::Linearizable, at(1), at(2), at(3)] {
        all.spawn(read(shared.clone(), client(), consistency));
    }
    all
}

/// A relay for each way from one node to another that it dials.
struct Network(BTreeMap<(String, String), Relay>);

impl Network {
    /// Puts itself between the nodes of a cluster that has not begun.
    fn between(cluster: &Cluster) -> Self {
        let mut relays = BTreeMap::new();
        for from in cluster.nodes() {
            for (number, to) in (1..).zip(cluster.nodes()).filter(|(_, to)| *to != from) {
                let direct = format!("127.0.0.1:{}", cluster.base_port() + number);
                let relay = Relay::new(direct.parse().unwrap(), Duration::ZERO);
                cluster.change_config(&from, &direct, &relay.address().to_string());
                relays.insert((from.clone(), to), relay);
            }
        }
        Self(relays)
    }

    /// What one node says to another is lost, whoever has dialled, or is heard again.
    fn lose(&self, from: &str, to: &str, is_lost: bool) {
        let key = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        self.0[&key(from, to)].lose_to_target(is_lost);
        self.0[&key(to, from)].lose_to_sender(is_lost);
    }
}

/// Lets things go wrong, one at a time, for so long.
fn storm(cluster: &mut Cluster, network: &Network, (seed, length): (u64, Duration)) -> String {
    let mut random = Random(seed);
    let mut done = String::new();
    let until = Instant::now() + length;
    while Instant::now() < until {
        let nodes = cluster.nodes();
        let one = random.one_of(&nodes).clone();
        let others: Vec<_> = nodes.into_iter().filter(|node| *node != one).collect();
        let pause = random.pause();
        match random.below(4) {
            0 => {
                write!(done, "kill {one}, ").unwrap();
                cluster.kill(&one);
                thread::sleep(pause);
                cluster.start(&one);
            }
            1 => {
                write!(done, "pause {one}, ").unwrap();
                cluster.signal(&one, "STOP");
                thread::sleep(pause);
                cluster.signal(&one, "CONT");
            }
            2 => {
                write!(done, "part {one}, ").unwrap();
                let part = |is_lost| {
                    for other in &others {
                        network.lose(&one, other, is_lost);
                        network.lose(other, &one, is_lost);
                    }
                };
                part(true);
                thread::sleep(pause);
                part(false);
            }
            _ => {
                let other = random.one_of(&others);
                write!(done, "{other} does not hear {one}, ").unwrap();
                network.lose(&one, other, true);
                thread::sleep(pause);
                network.lose(&one, other, false);
            }
        }
        thread::sleep(random.pause());
    }
    done
}

/// The records of a log by their offsets, each with its entry, which has to be what it says.
fn judge_log(entries: &[Value]) -> Vec<(String, u64)> {
    let (mut fence, mut numbers) = (String::new(), 0);
    let mut records: Vec<(String, u64)> = vec![];
    let mut known = BTreeSet::new();
    for entry in entries {
        let index = entry["index"].as_u64().unwrap();
        for record in entry["records"].as_array().into_iter().flatten() {
            let text = record["record"].as_str().unwrap();
            assert_eq!(record["offset"].as_u64(), Some(records.len() as u64), "offsets are dense");
            assert!(known.insert(text.to_owned()), "'{text}' is there twice");
            let words: Vec<_> = text.split(' ').collect();
            match words[0] {
                "e" => assert_eq!(words[1], records.len().to_string(), "'{text}'"),
                "f" => assert_eq!(words[1], fence, "'{text}' passed a fence"),
                "p" => {
                    numbers += 1;
                    assert_eq!(words[1], numbers.to_string(), "'{text}' of the producer");
                }
                _ => {}
            }
            records.push((text.to_owned(), index));
        }
        // A command ends its entry.
        for command in entry["commands"].as_array().into_iter().flatten() {
            if let Some(token) = command.as_str().unwrap().strip_prefix("fence ") {
                token.clone_into(&mut fence);
            }
        }
    }
    assert!(numbers > PRODUCER_WORDS, "the producer came to {numbers}");
    records
}

/// Whether what clients were told is so.
fn judge(told: &Told, records: &[(String, u64)]) {
    for (record, (offset, index)) in &told.acknowledged {
        let found = &records[usize::try_from(*offset).unwrap()];
        assert_eq!(found, &(record.clone(), *index), "acknowledged at {offset}");
    }
    for (record, _) in records {
        assert!(!told.refused.contains(record), "'{record}' was refused for certain");
    }
    for (must_see, from, seen) in &told.reads {
        let end = from + seen.len() as u64;
        assert!(end >= *must_see, "a read saw up to {end}, and {must_see} was acknowledged");
        let from = usize::try_from(*from).unwrap();
        let there: Vec<_> =
            records[from..].iter().take(seen.len()).map(|(text, _)| text.clone()).collect();
        assert_eq!(&there, seen, "a read from {from}");
    }
}

fn history(seed: u64, length: Duration) {
    let mut cluster = Cluster::prepared(Kind::default());
    let network = Network::between(&cluster);
    cluster.start_all();
    cluster.leader();
    let runtime = Runtime::new().unwrap();
    let shared = Arc::new(Shared::default());
    let clients = begin(&runtime, &cluster, &shared);
    let done = storm(&mut cluster, &network, (seed, length));
    // All is well: everybody is served once more.
    cluster.leader();
    cluster.append(&["last"]);
    shared.is_over.store(true, Ordering::Relaxed);
    runtime.block_on(soon(clients.join_all()));
    cluster.wait_until_caught_up();
    cluster.stop_all();
    cluster.expect_equal_logs();

    let inspect = ["node", "inspect", "--data", "data/n1", "--from", "1", "--json"];
    let records = judge_log(&cluster.run(inspect).expect_code(0).json());
    let told = shared.told.lock().unwrap();
    judge(&told, &records);
    let Told { acknowledged, refused, reads, unknown } = &*told;
    let counts = format!(
        "{} acknowledged, {} refused, {unknown} unknown, {} reads; {done}",
        acknowledged.len(),
        refused.len(),
        reads.len()
    );
    eprintln!("seed {seed}: {counts}");
    assert!(acknowledged.len() > 100 && refused.len() > 10 && reads.len() > 10, "{counts}");
}

/// Within a bound that only a hang reaches.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_mins(1), what).await.expect("clients end")
}

#[test]
fn a_history_of_half_a_minute_is_one_of_a_log() {
    history(1, Duration::from_secs(30));
}

/// `ANNAL_SEED` chooses another one.
#[test]
#[ignore = "takes five minutes"]
fn a_history_of_five_minutes_is_one_of_a_log() {
    let seed = std::env::var("ANNAL_SEED").ok().and_then(|seed| seed.parse().ok());
    history(seed.unwrap_or(2), Duration::from_mins(5));
}
