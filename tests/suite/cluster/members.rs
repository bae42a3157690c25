//! Members come and go while records are appended: nothing that was acknowledged is lost.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::Value;

use super::harness::{Cluster, Kind, free_ports, wait_for};
use crate::program::{self, Output};

/// What a node that was removed ends with.
const REMOVED: Option<i32> = Some(4);

fn started() -> Cluster {
    let cluster = Cluster::started(Kind::default());
    cluster.append(&["first"]);
    cluster
}

fn members(cluster: &Cluster) -> Value {
    cluster.run(["cluster", "members", "--json"]).expect_code(0).json().swap_remove(0)
}

/// The names of those that vote.
fn voters(cluster: &Cluster) -> Vec<String> {
    let found = members(cluster);
    let all = found["members"].as_array().unwrap().iter();
    let voters = all.filter(|member| member["part"] == "voter");
    voters.map(|member| member["node"].as_str().unwrap().to_owned()).collect()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn address() -> String {
    format!("127.0.0.1:{}", free_ports(1))
}

/// A change is begun, the new node is started, and the same command waits until it has come about.
#[track_caller]
fn join(cluster: &mut Cluster, node: &str, line: &[&str]) -> Output {
    let begun = ["--no-wait"];
    let line = || line.iter().copied();
    let output = cluster.run(line().chain(begun)).expect_code(0);
    assert!(output.stderr.contains(&format!("start {node} with: annal node start")), "{output:?}");
    cluster.start(node);
    cluster.run(line()).expect_code(0)
}

#[track_caller]
fn add(cluster: &mut Cluster, node: &str) {
    let address = address();
    let output = join(cluster, node, &["cluster", "add", node, "--address", &address]);
    assert!(said(&output).contains(&format!("{node} is a voter")), "{output:?}");
}

/// Somebody appends all the time, one record after the other, and notes what was acknowledged.
struct Load {
    stop: Arc<AtomicBool>,
    acknowledged: thread::JoinHandle<Vec<String>>,
}

impl Load {
    fn begin(folder: &Path) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, folder) = (stop.clone(), folder.to_owned());
        let acknowledged = thread::spawn(move || {
            let mut acknowledged = vec![];
            for number in 0.. {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                let record = format!("record {number}");
                let line = ["append", "--timeout", "30s", &record];
                if program::run(&folder, line).code == Some(0) {
                    acknowledged.push(record);
                }
            }
            acknowledged
        });
        Self { stop, acknowledged }
    }

    fn end(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.acknowledged.join().unwrap()
    }
}

#[test]
fn three_become_five_and_three_again_while_records_are_appended() {
    let mut cluster = started();
    let load = Load::begin(cluster.folder());
    add(&mut cluster, "n4");
    add(&mut cluster, "n5");
    assert_eq!(voters(&cluster), ["n1", "n2", "n3", "n4", "n5"]);
    // The leader among them: it hands over first.
    let leader = cluster.leader();
    let other = ["n1", "n2"].into_iter().find(|node| *node != leader).unwrap();
    for node in [leader.as_str(), other] {
        cluster.run(["cluster", "remove", node]).expect_code(0);
        assert_eq!(cluster.wait_for_end(node).code(), REMOVED);
        // It is so already.
        cluster.run(["cluster", "remove", node]).expect_code(0);
    }
    assert_eq!(voters(&cluster).len(), 3);
    let acknowledged = load.end();
    assert!(!acknowledged.is_empty());
    let records = cluster.records();
    let mut found = records.iter();
    for record in &acknowledged {
        assert!(found.any(|other| other == record), "{record} was acknowledged");
    }
}

#[test]
fn a_dead_node_is_replaced_and_told_when_it_comes_back() {
    let mut cluster = started();
    let leader = cluster.leader();
    let dead = cluster.nodes().into_iter().find(|node| *node != leader).unwrap();
    cluster.kill(&dead);
    let address = address();
    let line = ["cluster", "replace", &dead, "--with", "n4", "--address", &address];
    let output = join(&mut cluster, "n4", &line);
    assert!(said(&output).contains(&format!("n4 has the place of {dead}")), "{output:?}");
    assert!(!voters(&cluster).contains(&dead));
    // Who is dead for good need not be told; who comes back is.
    cluster.start(&dead);
    assert_eq!(cluster.wait_for_end(&dead).code(), REMOVED);
    cluster.wait_for_line(&dead, "was removed from the cluster");
    // The new one counts: with it alone beside the leader records are acknowledged.
    let leader = cluster.leader();
    let rest = voters(&cluster);
    let third = rest.iter().find(|node| **node != leader && *node != "n4");
    if let Some(third) = third.filter(|_| leader != "n4") {
        cluster.kill(third);
    }
    cluster.append(&["with it"]);
    assert_eq!(cluster.records(), ["first", "with it"]);
}

#[test]
fn leadership_goes_where_it_is_wanted_and_nobody_is_left_without_a_majority() {
    let mut cluster = started();
    let before = cluster.leader();
    cluster.run(["cluster", "transfer"]).expect_code(0);
    let after = wait_for("another leader", || Some(cluster.leader()).filter(|it| *it != before));
    cluster.run(["cluster", "transfer", "--to", &before]).expect_code(0);
    assert_eq!(cluster.leader(), before);
    // Of two that would be left only one is heard.
    cluster.kill(&after);
    wait_for("that it is missed", || {
        let found = members(&cluster);
        let mut all = found["members"].as_array()?.iter();
        all.any(|member| member["node"] == after.as_str() && member["heard"] == false).then_some(())
    });
    let third =
        cluster.nodes().into_iter().find(|node| ![&before, &after].contains(&node)).unwrap();
    let output = cluster.run(["cluster", "remove", &third]);
    assert_eq!(output.code, Some(4), "{output:?}");
    assert!(output.stderr.contains("no majority"), "{output:?}");
    assert_eq!(voters(&cluster).len(), 3);
    // The dead one may go.
    cluster.run(["cluster", "remove", &after]).expect_code(0);
    assert_eq!(voters(&cluster).len(), 2);
    let nobody = cluster.run(["cluster", "transfer", "--to", "n9"]);
    assert_eq!(nobody.code, Some(4), "{nobody:?}");
}

#[test]
fn a_node_that_has_moved_is_found_and_a_learner_stays_one() {
    let mut cluster = started();
    let leader = cluster.leader();
    let moved = cluster.nodes().into_iter().find(|node| *node != leader).unwrap();
    cluster.stop(&moved);
    let number: u16 = moved[1..].parse().unwrap();
    let old = format!("listen = \"127.0.0.1:{}\"", cluster.base_port() + number);
    let new = address();
    cluster.change_config(&moved, &old, &format!("listen = \"{new}\""));
    cluster.run(["cluster", "address", &moved, &new]).expect_code(0);
    cluster.start(&moved);
    wait_for("that it is heard", || {
        let found = members(&cluster);
        let mut all = found["members"].as_array()?.iter();
        let is_it = |member: &&Value| member["node"] == moved.as_str();
        let member = all.find(is_it)?;
        assert_eq!(member["address"], new.as_str());
        (member["heard"] == true && member["behind"] == 0).then_some(())
    });
    let at = address();
    let line = ["cluster", "add", "n4", "--address", &at, "--learner"];
    let output = cluster.run(line).expect_code(0);
    assert!(said(&output).contains("n4 is a learner"), "{output:?}");
    cluster.start("n4");
    cluster.append(&["second"]);
    wait_for("that it is filled", || {
        let found = members(&cluster);
        let n4 = found["members"].as_array()?.iter().find(|member| member["node"] == "n4")?;
        (n4["behind"] == 0 && n4["part"] == "learner" && n4["stays"] == true).then_some(())
    });
    assert_eq!(voters(&cluster).len(), 3);
    assert_eq!(cluster.records(), ["first", "second"]);
}
