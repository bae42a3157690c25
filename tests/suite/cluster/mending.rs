//! Sealed segments that rot are found, and mended of what the other nodes have, while the cluster is used.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::harness::{Cluster, Kind, wait_for};
use super::refusals::{copy_folder, put_back};

/// Bytes of a record.
const RECORD_BYTES: usize = 64 << 10;
/// Records, one after the other: some 8 MiB, of which a segment takes one.
const RECORDS: usize = 128;

/// A cluster with segments of a MiB, each of which is read once a second, and records in some of them.
fn filled() -> (Cluster, Vec<String>) {
    let mut cluster = Cluster::prepared(Kind::default());
    cluster.make_segments_small();
    for node in cluster.nodes() {
        cluster.change_config(&node, "scrub_seconds = 604800", "scrub_seconds = 1");
    }
    cluster.start_all();
    cluster.leader();
    let filling = "x".repeat(RECORD_BYTES);
    let records: Vec<_> = (0..RECORDS).map(|number| format!("{number} {filling}")).collect();
    for some in records.chunks(16) {
        let some: Vec<_> = some.iter().map(String::as_str).collect();
        cluster.append(&some);
    }
    cluster.wait_until_caught_up();
    (cluster, records)
}

/// The folders of a node's sealed segments: one that is being made has no name in the list of the other
/// nodes yet, so the newest is left out.
fn sealed(cluster: &Cluster, node: &str) -> Vec<PathBuf> {
    let log = cluster.path(&format!("data/{node}/log"));
    let names = fs::read_dir(log).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<_> = names.filter(|path| path.is_dir()).collect();
    found.sort();
    found.pop();
    found
}

/// Flips a bit in the middle of what is written in a segment's database.
fn rot(segment: &Path) {
    let file = segment.join("db");
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.iter().rposition(|byte| *byte != 0).unwrap() / 2;
    bytes[middle] ^= 4;
    fs::write(file, bytes).unwrap();
}

fn row<'a>(status: &'a Value, node: &str) -> Option<&'a Value> {
    status["nodes"].as_array()?.iter().find(|row| row["node"] == node)
}

#[test]
fn rot_in_a_segment_of_every_node_is_found_and_mended_while_they_run() {
    let (mut cluster, records) = filled();
    let enough = |node: &String| (sealed(&cluster, node).len() >= 4).then_some(());
    for node in cluster.nodes() {
        wait_for("segments to be sealed", || enough(&node));
    }
    // One of each node, and no two the same: every entry is whole on two of three.
    for (place, node) in cluster.nodes().iter().enumerate() {
        rot(&sealed(&cluster, node)[place]);
    }
    for node in cluster.nodes() {
        cluster.wait_for_line(&node, "are damaged on this disk");
        cluster.wait_for_line(&node, "are mended: ");
        wait_for("nothing to be damaged", || {
            let status = cluster.status();
            row(&status, &node)?["damaged"].is_null().then_some(())
        });
    }
    assert_eq!(cluster.records(), records);
    for node in cluster.nodes() {
        assert!(cluster.is_running(&node), "{node} has ended");
    }
    cluster.append(&["and it goes on"]);
    cluster.wait_until_caught_up();
    cluster.stop_all();
    for node in cluster.nodes() {
        let data = format!("data/{node}");
        cluster.run(["verify", "--data", &data]).expect_code(0);
    }
    cluster.expect_equal_logs();
}

#[test]
fn what_nobody_can_mend_is_named_and_served_by_nobody_and_all_else_goes_on() {
    let (mut cluster, records) = filled();
    for node in cluster.nodes() {
        wait_for("segments to be sealed", || (sealed(&cluster, &node).len() >= 4).then_some(()));
    }
    cluster.stop_all();
    let kept = cluster.path("kept");
    let second = sealed(&cluster, "n1")[1].clone();
    copy_folder(&second, &kept);
    // The same of all, and not in the same way.
    for node in cluster.nodes() {
        let segment = sealed(&cluster, &node)[1].clone();
        if node == "n2" {
            fs::remove_dir_all(segment).unwrap();
        } else {
            rot(&segment);
        }
    }
    cluster.start_all();
    for node in cluster.nodes() {
        cluster.wait_for_line(&node, "are damaged on this disk");
        cluster.wait_for_line(&node, "cannot help to mend");
    }
    let said = cluster.client(["status"]).text();
    for node in cluster.nodes() {
        let words = format!("are damaged on {node}'s disk");
        assert!(said.contains(&words), "{said}");
    }
    cluster.append(&["and it goes on"]);
    let newest = cluster.client(["read", "--last", "1"]).expect_code(0).text();
    assert!(newest.contains("and it goes on"), "{newest}");
    let read = cluster.client(["read", "--timeout", "2s", "--json"]);
    assert_ne!(read.code, Some(0), "it was read around the damage");
    let whole = read.text().lines().count();
    assert!(whole < records.len(), "{whole} records");

    // One copy that is whole is enough for all of them.
    cluster.stop("n1");
    put_back(&kept, &second);
    cluster.start("n1");
    for node in ["n2", "n3"] {
        cluster.wait_for_line(node, "are mended");
    }
    let mut expected = records;
    expected.push("and it goes on".to_owned());
    assert_eq!(cluster.records(), expected);
    cluster.stop_all();
    cluster.expect_equal_logs();
}
