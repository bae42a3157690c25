//! Appends under conditions, of real processes: what is accepted, what is refused, and what it says.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::thread;

use super::harness::{Cluster, Kind, wait_for};
use crate::program::{self, Output};

fn expecting<'a>(offset: &'a str, record: &'a str) -> [&'a str; 4] {
    ["append", "--expect-offset", offset, record]
}

#[test]
fn an_append_that_expects_an_offset_is_taken_there_or_refused() {
    let mut cluster = Cluster::started(Kind::default());
    cluster.append(&["a", "b"]);
    let refused = cluster
        .client(expecting("1", "c"))
        .expect_complaint(4, "the log did not end at offset 1: its next offset is 2");
    assert!(refused.stderr.contains("hint: `annal client read --from 1` shows"), "{refused:?}");
    cluster.client(expecting("9", "c")).expect_complaint(4, "its next offset is 2");
    cluster.client(expecting("2", "c")).expect_code(0);

    // Lines stand side by side, or the first that does not ends it.
    let mut lines = program::annal(cluster.folder());
    lines.args(["append", "--expect-offset", "3", "-"]);
    program::finish(lines, b"d\ne\n").expect_code(0);
    let mut lines = program::annal(cluster.folder());
    lines.args(["append", "--expect-offset", "3", "-"]);
    let refused = program::finish(lines, b"d\ne\n").expect_complaint(4, "its next offset is 5");
    assert!(refused.stderr.contains("no line is acknowledged"), "{refused:?}");
    assert_eq!(cluster.records(), ["a", "b", "c", "d", "e"]);
    cluster.stop_all();
}

#[test]
fn of_two_that_expect_one_offset_one_is_taken_whoever_leads() {
    let mut cluster = Cluster::started(Kind::default());
    let mut winners = vec![];
    for round in 0..6 {
        if round == 3 {
            let leader = cluster.leader();
            cluster.kill(&leader);
            cluster.start(&leader);
        }
        let offset = round.to_string();
        let records = [format!("{round}-x"), format!("{round}-y")];
        let outcomes = thread::scope(|scope| {
            let append = |record: &String| cluster.client(expecting(&offset, record));
            let racing: Vec<_> =
                records.iter().map(|record| scope.spawn(move || append(record))).collect();
            racing.into_iter().map(|racing| racing.join().unwrap()).collect::<Vec<_>>()
        });
        let codes: Vec<_> = outcomes.iter().map(|output| output.code).collect();
        let won = codes.iter().position(|code| *code == Some(0)).unwrap();
        assert_eq!(codes[1 - won], Some(4), "{outcomes:?}");
        winners.push(records[won].clone());
    }
    assert_eq!(cluster.records(), winners);
    cluster.stop_all();
}

/// An append that names this fence.
fn naming(cluster: &Cluster, fence: &str, record: &str) -> Output {
    cluster.client(["append", "--fence", fence, record])
}

#[test]
fn nothing_that_names_another_fence_is_taken() {
    let mut cluster = Cluster::started(Kind::default());
    assert_eq!(cluster.client(["fence"]).expect_code(0).text(), "no fence\n");
    naming(&cluster, "w1", "early").expect_complaint(4, "the log's fence is none, not w1");
    assert_eq!(cluster.client(["fence", "w1"]).expect_code(0).text(), "w1\n");
    naming(&cluster, "w1", "a").expect_code(0);
    cluster.client(["fence", "w2"]).expect_code(0);
    naming(&cluster, "w1", "late").expect_complaint(4, "the log's fence is w2, not w1");
    naming(&cluster, "w2", "b").expect_code(0);
    cluster.client(["append", "whoever"]).expect_code(0);
    let shown = cluster.client(["fence", "--json"]).expect_code(0).json();
    assert_eq!(shown, [serde_json::json!({"fence": "w2"})]);

    // All of it is in the log, and so with the next leader, and after a restart of all.
    let leader = cluster.leader();
    cluster.kill(&leader);
    naming(&cluster, "w1", "later").expect_complaint(4, "the log's fence is w2, not w1");
    cluster.start(&leader);
    cluster.stop_all();
    cluster.start_all();
    naming(&cluster, "w1", "at last").expect_complaint(4, "the log's fence is w2, not w1");
    cluster.client(["fence", "--clear"]).expect_code(0);
    naming(&cluster, "w2", "c").expect_complaint(4, "the log's fence is none, not w2");
    assert_eq!(cluster.records(), ["a", "b", "whoever"]);
    for word in ["", "a b", "1234567890123456789012345678901234567"] {
        cluster.client(["fence", word]).expect_code(2);
    }
    cluster.stop_all();
}

/// A command that appends lines of its input as producer `p`.
fn producing(cluster: &Cluster) -> Command {
    let mut command = program::annal(cluster.folder());
    command.args(["append", "--producer", "p", "--timeout", "1m", "-"]);
    command
}

fn state(cluster: &Cluster) -> serde_json::Value {
    let outcome = cluster.client(["outcome", "--producer", "p", "--json"]);
    outcome.expect_code(0).json().remove(0)
}

#[test]
fn a_producer_that_is_killed_goes_on_where_it_was() {
    let mut cluster = Cluster::started(Kind::default());
    cluster.client(["outcome", "--producer", "p"]).expect_complaint(4, "there is no producer p");
    let lines: Vec<String> = (1..=20_000).map(|number| format!("line {number}")).collect();
    let input = lines.join("\n") + "\n";
    for attempt in 0..3 {
        let mut command = producing(&cluster);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let before = if attempt == 0 { 0 } else { state(&cluster)["last_seq"].as_u64().unwrap() };
        // A part of it, the rest of the pipe stays open: killed in the middle, whatever is on its way.
        let part = lines[..(attempt + 1) * 5_000].join("\n") + "\n";
        let feeding = thread::spawn(move || {
            let _ = stdin.write_all(part.as_bytes());
            stdin
        });
        wait_for("lines of the producer", || {
            let outcome = cluster.client(["outcome", "--producer", "p", "--json"]);
            if outcome.code != Some(0) {
                return None;
            }
            let last_seq = outcome.json()[0]["last_seq"].as_u64().unwrap();
            (last_seq > before).then_some(())
        });
        child.kill().unwrap();
        child.wait().unwrap();
        drop(feeding.join());
        if attempt == 1 {
            let leader = cluster.leader();
            cluster.kill(&leader);
            cluster.start(&leader);
        }
    }
    let resumed = program::finish(producing(&cluster), input.as_bytes()).expect_code(0);
    assert!(resumed.stderr.contains("lines were in the log already"), "{}", resumed.stderr);
    assert_eq!(cluster.records(), lines);
    let state = state(&cluster);
    assert_eq!(state["last_seq"], 20_000);
    assert_eq!(state["offset"], 19_999);
    assert!(state["epoch"].as_u64().unwrap() >= 4, "{state}");

    // Once more: nothing is new.
    let again = program::finish(producing(&cluster), input.as_bytes()).expect_code(0);
    assert!(again.stderr.contains("20000 lines were in the log already"), "{}", again.stderr);
    assert_eq!(cluster.records().len(), 20_000);
    cluster.stop_all();
}

#[test]
fn of_two_processes_of_a_producer_the_older_is_refused() {
    let mut cluster = Cluster::started(Kind { nodes: 1, ..Kind::default() });
    let mut command = producing(&cluster);
    command.arg("--json");
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut older = command.spawn().unwrap();
    let mut input = older.stdin.take().unwrap();
    input.write_all(b"a\n").unwrap();
    wait_for("the first line", || (cluster.records() == ["a"]).then_some(()));
    program::finish(producing(&cluster), b"a\nb\n").expect_code(0);
    input.write_all(b"late\n").unwrap();
    drop(input);
    let output = older.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert!(said.contains("a newer process of producer p has taken over (epoch 2)"), "{said}");
    assert!(said.contains(r#","epoch":2}"#), "{said}");
    assert_eq!(cluster.records(), ["a", "b"]);

    // What a program may go on with is in fields of its own.
    let json = |words: &[&str]| {
        let words: Vec<_> = words.iter().copied().chain(["--json"]).collect();
        let refused = cluster.client(words).expect_code(4);
        serde_json::from_str::<serde_json::Value>(&refused.stderr).unwrap()
    };
    assert_eq!(json(&["append", "--expect-offset", "1", "x"])["next_offset"], 2);
    cluster.client(["fence", "w1"]).expect_code(0);
    assert_eq!(json(&["append", "--fence", "w2", "x"])["fence"], "w1");
    // Nor does a process that is fenced out take the producer over.
    let refused = json(&["append", "--producer", "p", "--fence", "w2", "-"]);
    assert_eq!((&refused["fence"], &refused["epoch"]), (&"w1".into(), &serde_json::Value::Null));
    assert_eq!(state(&cluster)["epoch"], 2);

    cluster.client(["append", "--producer", "p", "x"]).expect_complaint(2, "lines of an input");
    let listed = cluster.client(["producers", "list"]).expect_code(0).text();
    assert_eq!(listed, "p: epoch 2, last seq 2, at offset 1\n");
    cluster.client(["producers", "forget", "p"]).expect_code(0);
    cluster.client(["producers", "forget", "p"]).expect_complaint(4, "there is no producer p");
    assert_eq!(cluster.client(["producers", "list"]).expect_code(0).text(), "");
    cluster.stop_all();
}
