//! What a node takes of the machine's memory.

use std::fs;
use std::process::{Child, Stdio};

use super::harness::{Cluster, Kind};
use crate::program::annal;

/// A node's resident size stays below this.
const RESIDENT_KIB_MAX: u64 = 256 << 10;

/// Readers at once.
const READERS: u64 = 22;

/// The most that a node's memory has ever been.
fn peak_kib(cluster: &Cluster, node: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", cluster.id(node))).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn a_node_has_the_allocator_give_back_what_it_does_not_use() {
    let cluster = Cluster::started(Kind::default());
    for node in cluster.nodes() {
        let environment = fs::read(format!("/proc/{}/environ", cluster.id(&node))).unwrap();
        let variables: Vec<_> = environment.split(|byte| *byte == 0).collect();
        assert!(variables.contains(&&b"MALLOC_TRIM_THRESHOLD_=1048576"[..]), "{node}");
    }
}

#[test]
#[ignore = "takes long: writes a gigabyte and reads it back"]
fn a_node_stays_small_under_large_records_and_many_readers_of_old_ones() {
    let cluster = Cluster::started(Kind::default());
    let load = |flags: &[&str]| {
        let line = ["bench", "--here", "--no-verify", "--duration", "6s", "--warmup", "100ms"];
        cluster.run(line.iter().chain(flags)).expect_code(0);
    };
    load(&["--inflight", "1000", "--connections", "4"]);
    load(&["--inflight", "16", "--size", "1000000"]);
    let status = cluster.status();
    let nodes = status["nodes"].as_array().unwrap();
    let records = nodes.iter().filter_map(|node| node["next_offset"].as_u64()).max().unwrap();
    let readers: Vec<Child> = (0..READERS)
        .map(|number| {
            let from = (number * records / READERS).to_string();
            let limit = (records / READERS).min(100_000).to_string();
            let mut command = annal(cluster.folder());
            command.args([
                "client",
                "read",
                "--timeout",
                "60s",
                "--from",
                &from,
                "--limit",
                &limit,
            ]);
            command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap()
        })
        .collect();
    for mut reader in readers {
        assert!(reader.wait().unwrap().success());
    }
    for node in cluster.nodes() {
        let peak = peak_kib(&cluster, &node);
        println!("{node}: {} MiB", peak >> 10);
        assert!(peak < RESIDENT_KIB_MAX, "{node} took {peak} KiB");
    }
}
