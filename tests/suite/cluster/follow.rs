//! Reads from anywhere: by offset, from the end, by time, and in the shape that is asked for.

use serde_json::Value;

use super::harness::{Cluster, Kind};
use super::pty::Terminal;

const CTRL_C: &str = "\x03";

/// The records that a command of the client prints, one a line.
#[track_caller]
fn lines(cluster: &Cluster, words: &[&str]) -> Vec<String> {
    let text = cluster.run(words).expect_code(0).text();
    text.lines().map(ToOwned::to_owned).collect()
}

#[test]
fn a_read_begins_and_ends_where_it_is_told_to() {
    let mut cluster = Cluster::started(Kind { nodes: 1, ..Kind::default() });
    let all: Vec<String> = (0..9).map(|number| format!("r{number}")).collect();
    for pair in all.chunks(2) {
        cluster.append(&pair.iter().map(String::as_str).collect::<Vec<_>>());
    }
    for verb in ["read", "tail"] {
        assert_eq!(lines(&cluster, &[verb, "--last", "2"]), all[7..]);
        assert_eq!(lines(&cluster, &[verb, "--from", "7"]), all[7..]);
        assert_eq!(lines(&cluster, &[verb, "--from", "3", "--limit", "2"]), all[3..5]);
        assert_eq!(lines(&cluster, &[verb, "--since", "1h"]), all);
        assert_eq!(lines(&cluster, &[verb, "--since", "2200-01-01"]), [""; 0]);
        assert_eq!(lines(&cluster, &[verb, "--until", "1h", "--from", "0"]), [""; 0]);
    }

    // Exact to the record, whatever its place in its entry.
    let records = cluster.client(["read", "--json"]).expect_code(0).json();
    let time = |at: usize| records[at]["time"].as_str().unwrap();
    for at in 0..all.len() {
        let begin = records.iter().position(|record| record["time"] == time(at)).unwrap();
        let since = ["read", "--since", time(at)];
        assert_eq!(lines(&cluster, &since), all[begin..], "since {}", time(at));
        let stale = ["read", "--stale", "--since", time(at)];
        assert_eq!(lines(&cluster, &stale), all[begin..], "since {}", time(at));
        let until = ["read", "--until", time(at)];
        assert_eq!(lines(&cluster, &until), all[..begin], "until {}", time(at));
        let both = ["read", "--since", time(0), "--until", time(at), "--limit", "3"];
        assert_eq!(lines(&cluster, &both), all[..begin.min(3)], "until {}", time(at));
    }

    // A read that follows ends by itself once it has what it wants.
    let follow = ["read", "-f", "--from", "7", "--limit", "3", "--json"];
    let program = env!("CARGO_BIN_EXE_annal");
    let mut following = std::process::Command::new(program);
    following.args(follow).current_dir(cluster.folder()).stdout(std::process::Stdio::piped());
    let following = following.spawn().unwrap();
    cluster.append(&["later", "too late"]);
    let output = following.wait_with_output().unwrap();
    let found = String::from_utf8(output.stdout).unwrap();
    let found: Vec<Value> = found.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let found: Vec<_> = found.iter().map(|record| record["record"].as_str().unwrap()).collect();
    assert_eq!(found, ["r7", "r8", "later"]);
    cluster.stop_all();
}

#[test]
fn records_have_the_shape_that_is_asked_for() {
    let mut cluster = Cluster::started(Kind { nodes: 1, ..Kind::default() });
    cluster.append(&["two\nlines", "plain"]);
    let printed = |words: &[&str]| cluster.run(words).expect_code(0).text();
    assert_eq!(printed(&["read", "-0"]), "two\nlines\0plain\0");
    assert_eq!(printed(&["read", "--raw"]), "two\nlines");
    assert_eq!(printed(&["tail", "--raw"]), "plain");
    assert_eq!(printed(&["read", "--raw", "--from", "1"]), "plain");
    assert_eq!(printed(&["tail", "-n", "1", "--format", r"%o@%T: %r\n"]), "1@1: plain\n");
    let time = &cluster.client(["read", "--json"]).expect_code(0).json()[0]["time"];
    assert_eq!(printed(&["read", "--limit", "1", "--format", "%t"]), time.as_str().unwrap());
    let beyond = cluster.run(["read", "--raw", "--from", "2"]);
    assert!(beyond.expect_complaint(1, "there is no such record").stdout.is_empty());
    cluster.stop_all();
}

#[test]
fn whoever_sits_there_is_told_where_to_go_on() {
    let mut cluster = Cluster::started(Kind { nodes: 1, ..Kind::default() });
    cluster.append(&["zero", "one"]);
    let folder = cluster.folder().to_owned();
    let mut tail = Terminal::run(&folder, &["tail", "-f", "-n", "1"]);
    tail.expect("one\n");
    cluster.append(&["two"]);
    tail.expect("two\n");
    tail.press(CTRL_C);
    tail.expect("2 records; --from 3 goes on from here");
    assert_eq!(tail.expect_end(), Some(0), "{}", tail.text());

    let mut raw = Terminal::run(&folder, &["read", "--raw"]);
    raw.expect("error: --raw prints the bytes of a record as they are");
    assert_eq!(raw.expect_end(), Some(2));

    // What fails says it wherever its words go.
    cluster.kill("n1");
    let dead = cluster.run(["read", "--from", "2", "--timeout", "1s"]).expect_code(3);
    assert!(dead.stderr.contains("; --from 2 goes on from here"), "{}", dead.stderr);

    // Whoever follows by time waits for a leader from the first question on.
    let mut tail = Terminal::run(&folder, &["tail", "-f", "--since", "1h", "--timeout", "1s"]);
    tail.expect("waiting: ");
    cluster.start("n1");
    tail.expect("zero\none\ntwo\n");
    tail.press(CTRL_C);
    tail.expect("3 records; --from 3 goes on from here");
    assert_eq!(tail.expect_end(), Some(0), "{}", tail.text());
    cluster.stop_all();
}

#[test]
fn who_follows_a_log_that_is_closed_is_told_so_and_let_go() {
    let cluster = Cluster::started(Kind { nodes: 1, ..Kind::default() });
    for name in ["done", "empty"] {
        cluster.run(["log", "create", name]).expect_code(0);
    }
    cluster.run(["append", "--log", "done", "first"]).expect_code(0);
    let follow = |name: &'static str| cluster.run(["tail", "-f", "--log", name]).expect_code(0);
    std::thread::scope(|scope| {
        let following = scope.spawn(|| follow("done"));
        cluster.run(["append", "--log", "done", "last"]).expect_code(0);
        for name in ["done", "empty"] {
            cluster.run(["log", "close", name]).expect_code(0);
        }
        let output = following.join().unwrap();
        assert!(output.stderr.contains("the log is closed"), "{}", output.stderr);
        assert_eq!(output.text(), "first\nlast\n");
    });
    assert_eq!(follow("done").text(), "first\nlast\n");
    assert_eq!(follow("empty").text(), "");
}
