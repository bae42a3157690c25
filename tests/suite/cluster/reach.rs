//! Clients that do not reach the leader, and readers of a cluster that has none for a while.

use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::process::Stdio;

use serde_json::Value;

use super::harness::{Cluster, Kind, wait_for};
use crate::program::{self, annal};

/// `--nodes` with the addresses of all, but for one that nobody answers at.
fn without(cluster: &Cluster, lost: &str, nowhere: &UdpSocket) -> String {
    let address = |(number, node): (u16, String)| {
        let port = cluster.base_port() + number;
        let dead = nowhere.local_addr().unwrap();
        if node == lost { format!("{node}={dead}") } else { format!("{node}=127.0.0.1:{port}") }
    };
    (1..).zip(cluster.nodes()).map(address).collect::<Vec<_>>().join(",")
}

#[test]
fn a_client_that_has_a_dead_address_of_the_leader_is_served_all_the_same() {
    let cluster = Cluster::started(Kind::default());
    cluster.append(&["before"]);
    let leader = cluster.leader();
    let nowhere = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let nodes = without(&cluster, &leader, &nowhere);
    let line = ["append", "--nodes", &nodes, "--timeout", "30s", "--json", "by way of others"];
    let answer = cluster.client(line).expect_code(0).json().swap_remove(0);
    assert_eq!((&answer["offset"], &answer["leader"]), (&1.into(), &leader.clone().into()));
    let read = cluster.client(["read", "--nodes", &nodes, "--timeout", "30s"]).expect_code(0);
    assert_eq!(read.text(), "before\nby way of others\n");
    assert_eq!(cluster.records(), ["before", "by way of others"]);
}

#[test]
fn lines_wait_for_a_leader_as_long_as_it_takes_and_say_so_once() {
    let mut cluster = Cluster::started(Kind::default());
    for node in ["n1", "n2"] {
        cluster.kill(node);
    }
    let (lines, out, err) = (cluster.path("lines"), cluster.path("out"), cluster.path("err"));
    fs::write(&lines, "one\ntwo\nthree\n").unwrap();
    let mut append = annal(cluster.folder());
    append.args(["append", "-"]).stdin(fs::File::open(&lines).unwrap());
    append.stdout(fs::File::create(&out).unwrap()).stderr(fs::File::create(&err).unwrap());
    let mut appending = append.spawn().unwrap();
    let text = |path| fs::read_to_string(path).unwrap();
    wait_for("a word of it", || text(&err).contains("3 lines wait: ").then_some(()));
    for node in ["n1", "n2"] {
        cluster.start(node);
    }
    assert_eq!(appending.wait().unwrap().code(), Some(0), "{}", text(&err));
    let sum = text(&out);
    assert!(sum.starts_with("3 records acknowledged: offsets 0 to 2; "), "{sum}");
    assert_eq!(text(&err).matches("wait: ").count(), 1, "{}", text(&err));
    assert_eq!(cluster.records(), ["one", "two", "three"]);
}

#[test]
fn what_read_prints_as_json_can_be_appended_again() {
    let cluster = Cluster::started(Kind { nodes: 1, ..Kind::default() });
    let first = program::run_with_input(cluster.folder(), ["append", "-"], b"a\xff\n\"\x1b\n");
    first.expect_code(0);
    let dump = cluster.client(["read", "--json"]).expect_code(0).stdout;
    let line = ["append", "--from-json", "-"];
    program::run_with_input(cluster.folder(), line, &dump).expect_code(0);
    let all = cluster.client(["read"]).expect_code(0).stdout;
    assert_eq!(all, b"a\xff\n\"\x1b\na\xff\n\"\x1b\n");
    let broken = program::run_with_input(cluster.folder(), line, b"{\"record\":\"x\"}\nx\n");
    broken.expect_complaint(1, "line 2 is no object with a record, and was not sent");
    cluster.run(["append", "--from-json", "x"]).expect_complaint(2, "takes lines");
}

#[test]
fn every_node_says_how_its_process_is_doing() {
    let cluster = Cluster::started(Kind::default());
    let nodes = wait_for("each node heard, and its disk looked at", || {
        let nodes = cluster.status()["nodes"].as_array()?.clone();
        let is_known = |node: &Value| {
            node["last_contact_ms"].is_u64() && node["disk_used_bytes"].as_u64() > Some(1 << 20)
        };
        nodes.iter().all(is_known).then_some(nodes)
    });
    for node in nodes {
        assert_eq!(node["version"], env!("CARGO_PKG_VERSION"));
        assert!(node["elections"].as_u64() >= Some(1), "{node}");
        assert!(node["uptime_ms"].is_u64() && node["disk_free_bytes"].is_u64(), "{node}");
    }
}

#[test]
fn a_tail_outlives_a_cluster_without_a_leader_and_says_so_once() {
    let mut cluster = Cluster::started(Kind::default());
    cluster.append(&["one"]);
    let (out, err) = (cluster.path("followed"), cluster.path("said"));
    let mut follow = annal(cluster.folder());
    follow.args(["client", "tail", "-f", "-n", "1", "--timeout", "1s"]);
    follow.stdout(fs::File::create(&out).unwrap()).stderr(fs::File::create(&err).unwrap());
    let mut following = follow.stdin(Stdio::null()).spawn().unwrap();
    let text = |path| fs::read_to_string(path).unwrap();
    wait_for("the first record", || (text(&out) == "one\n").then_some(()));
    for node in ["n1", "n2"] {
        cluster.kill(node);
    }
    wait_for("a word of it", || text(&err).contains("waiting: ").then_some(()));
    for node in ["n1", "n2"] {
        cluster.start(node);
    }
    cluster.append(&["two"]);
    wait_for("what came later", || (text(&out) == "one\ntwo\n").then_some(()));
    let said = text(&err);
    let lines: Vec<&str> = said.lines().collect();
    assert!(matches!(lines[..], [first, "going on"] if first.starts_with("waiting: ")), "{said}");
    following.kill().unwrap();
    following.wait().unwrap();
}
