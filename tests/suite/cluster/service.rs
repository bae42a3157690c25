//! What a healthy cluster does: append, read, tail, tell its state, and stop.

use std::fs;
use std::process::{Command, Stdio};

use super::harness::{Cluster, Kind, wait_for};
use crate::program::{self, annal, run_with_input};

#[test]
fn records_are_appended_read_and_tailed() {
    let mut cluster = Cluster::started(Kind::default());
    let first = cluster.append(&["hello"]);
    assert_eq!((&first["offset"], &first["count"]), (&0.into(), &1.into()));
    assert_eq!(first["leader"], cluster.leader());
    let three = cluster.append(&["a", "", "c"]);
    assert_eq!((&three["offset"], &three["count"]), (&1.into(), &3.into()));

    let piped = run_with_input(cluster.folder(), ["client", "append", "-"], b"x\n\xff\xfe\nlast");
    piped.expect_code(0);
    fs::write(cluster.path("lines"), "f1\nf2\n").unwrap();
    cluster.client(["append", "--file", "lines"]).expect_code(0);

    let all = cluster.client(["read"]).expect_code(0);
    assert_eq!(all.stdout, b"hello\na\n\nc\nx\n\xff\xfe\nlast\nf1\nf2\n");
    let some = cluster.client(["read", "--from", "5", "--limit", "2", "--json"]).expect_code(0);
    let some = some.json();
    assert_eq!(some.len(), 2);
    assert_eq!((&some[0]["offset"], &some[0]["record_base64"]), (&5.into(), &"//4=".into()));
    assert_eq!(some[1]["record"], "last");
    assert!(some[1]["time"].as_str().unwrap().ends_with('Z'));
    let beyond = cluster.client(["read", "--from", "100"]).expect_code(0);
    assert!(beyond.stdout.is_empty());

    let tail = cluster.client(["tail", "-n", "2"]).expect_code(0);
    assert_eq!(tail.text(), "f1\nf2\n");
    cluster.wait_until_caught_up();
    for node in cluster.nodes() {
        let stale = cluster.client(["read", "--stale", "--node", &node]).expect_code(0);
        assert_eq!(stale.stdout, all.stdout, "{node}");
    }

    follow_and_stop_reading(&cluster);
    cluster.stop_all();
    cluster.expect_equal_logs();
}

fn follow_and_stop_reading(cluster: &Cluster) {
    let mut follow = annal(cluster.folder());
    let out = fs::File::create(cluster.path("followed")).unwrap();
    follow.args(["client", "tail", "-n", "1", "-f"]).stdout(out).stderr(Stdio::null());
    let mut following = follow.spawn().unwrap();
    let followed = || fs::read_to_string(cluster.path("followed")).unwrap();
    wait_for("the last record", || (followed() == "f2\n").then_some(()));
    cluster.append(&["later"]);
    wait_for("the record that came later", || (followed() == "f2\nlater\n").then_some(()));
    following.kill().unwrap();
    following.wait().unwrap();

    // A reader that has seen enough is no error, and tells nobody off.
    let program = env!("CARGO_BIN_EXE_annal");
    let script = format!("'{program}' client read | head -n 1; exit ${{PIPESTATUS[0]}}");
    let mut shell = Command::new("bash");
    shell.args(["-c", &script]).current_dir(cluster.folder());
    let output = program::finish(shell, b"").expect_code(0);
    assert_eq!((output.text().as_str(), output.stderr.as_str()), ("hello\n", ""));
}

#[test]
fn the_lines_of_an_input_are_kept_in_order_over_many_requests() {
    let cluster = Cluster::started(Kind::default());
    let lines: Vec<String> = (0..20_000).map(|number| format!("line {number:06}")).collect();
    let append = ["client", "append", "-", "--json", "--timeout", "30s"];
    let output = run_with_input(cluster.folder(), append, lines.join("\n").as_bytes());
    let answers = output.expect_code(0).json();
    assert!(answers.len() > 1, "{} requests", answers.len());
    let mut next = 0;
    for answer in &answers {
        assert_eq!(answer["offset"], next, "answers come in order");
        next += answer["count"].as_u64().unwrap();
    }
    assert_eq!(cluster.records(), lines);

    // With a line that is no record, all before it are appended, and counted.
    let input = [b"one\ntwo\n".as_slice(), &vec![b'x'; (1 << 20) + 1]].concat();
    let output = run_with_input(cluster.folder(), append, &input);
    let output = output.expect_complaint(1, "line 3 is longer than a record may be");
    assert!(output.stderr.contains("the first 2 lines are acknowledged"), "{}", output.stderr);
    assert_eq!(cluster.records()[20_000..], ["one", "two"]);
}

#[test]
fn a_leader_that_is_stopped_hands_over() {
    let mut cluster = Cluster::started(Kind::default());
    cluster.append(&["before"]);
    let leader = cluster.leader();
    cluster.stop(&leader);
    assert!(cluster.log(&leader).contains("hands over"), "{}", cluster.log(&leader));
    let next = cluster.leader();
    assert_ne!(next, leader);
    cluster.append(&["after"]);
    cluster.start(&leader);
    let report = cluster.wait_for_line(&leader, "recovered");
    assert!(!report.contains("after a crash"), "{report}");
    cluster.wait_until_caught_up();
    assert_eq!(cluster.records(), ["before", "after"]);
}

#[test]
fn a_single_node_is_a_cluster() {
    let mut cluster = Cluster::started(Kind { nodes: 1, ..Kind::default() });
    cluster.append(&["alone"]);
    cluster.kill("n1");
    cluster.start("n1");
    assert_eq!(cluster.leader(), "n1");
    assert_eq!(cluster.records(), ["alone"]);
}

#[test]
fn a_node_alone_waits_for_a_majority_and_serves_what_it_knows() {
    let mut cluster = Cluster::started(Kind::default());
    cluster.append(&["known"]);
    cluster.wait_until_caught_up();
    cluster.append(&["later"]);
    cluster.wait_until_caught_up();
    cluster.stop_all();
    cluster.start("n2");
    cluster.wait_for_line("n2", "waiting for a majority (1 of 3)");
    let stale = || cluster.client(["read", "--stale", "--node", "n2"]).expect_code(0).text();
    let known = stale();
    assert!("known\nlater\n".starts_with(&known) && !known.is_empty(), "{known:?}");
    cluster.client(["read", "--timeout", "1s"]).expect_complaint(3, "no quorum");
    for name in ["n1", "n3"] {
        cluster.start(name);
    }
    cluster.leader();
    assert_eq!(cluster.records(), ["known", "later"]);
}
