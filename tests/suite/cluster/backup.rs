//! What stands on disks is verified, taken along, and put into new clusters.

use std::fs;

use serde_json::{Value, json};

use super::harness::{Cluster, Kind};
use crate::program::Output;

/// A cluster with several logs and, on its disks, several segments.
fn with_segments(kind: Kind) -> Cluster {
    let mut cluster = Cluster::prepared(kind);
    cluster.make_segments_small();
    cluster.start_all();
    cluster.leader();
    cluster.client(["log", "create", "clicks"]).expect_code(0);
    cluster.client(["log", "create", "gone"]).expect_code(0);
    let line = "x".repeat(64 << 10);
    let lines = vec![line.as_str(); 40].join("\n");
    fs::write(cluster.path("lines.txt"), lines).unwrap();
    for log in ["main", "clicks", "gone"] {
        cluster.client(["append", "--log", log, "--file", "lines.txt"]).expect_code(0);
    }
    cluster.client(["log", "delete", "gone", "--yes"]).expect_code(0);
    cluster.append(&["last"]);
    cluster
}

/// What `annal verify --json` says.
fn verify(cluster: &Cluster, words: &[&str]) -> Output {
    cluster.run(["verify", "--json"].iter().chain(words))
}

#[test]
fn a_stopped_nodes_folder_is_verified_and_damage_is_named() {
    let mut cluster = with_segments(Kind { nodes: 1, ..Kind::default() });
    let data = ["--data", "data/n1"];
    verify(&cluster, &data).expect_complaint(1, "another process holds");
    cluster.stop_all();
    let found = verify(&cluster, &data).expect_code(0).json().remove(0);
    assert_eq!((&found["logs"], &found["records"]), (&json!(2), &json!(121)), "{found}");
    assert_eq!((&found["damage"], &found["first_index"]), (&json!([]), &json!(1)));
    assert_eq!(found["entries"], found["last_index"]);
    assert!(found["segments"].as_u64().unwrap() > 4, "{found}");
    assert_eq!(found["chain"], cluster.inspect("n1", None)["chain"]);
    let text = cluster.run(["verify", "--data", "data/n1"]).expect_code(0).text();
    assert!(text.contains(", with 121 records of 2 log(s)"), "{text}");

    let file = cluster.path("data/n1/log/00000000000000000001/db");
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, bytes).unwrap();
    let output = verify(&cluster, &data);
    let damaged: Value = output.json().remove(0);
    let first = damaged["damage"][0].as_str().unwrap();
    assert!(first.contains("log/00000000000000000001"), "{damaged}");
    assert_eq!(damaged["last_index"], found["last_index"], "what is intact is told");
    output.expect_complaint(6, "the folder is damaged");
}
