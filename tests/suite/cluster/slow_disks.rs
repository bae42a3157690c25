//! Real processes on disks whose syncs take longer than an election timeout.

use std::path::PathBuf;
use std::process::Command;

use super::harness::{Cluster, Kind};

/// What the shim does, and how, is in its source.
const SHIM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/suite/cluster/slow_sync.c");

fn build_shim(cluster: &Cluster) -> PathBuf {
    let library = cluster.path("slow_sync.so");
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .args([library.as_os_str(), SHIM.as_ref()])
        .status()
        .unwrap();
    assert!(built.success(), "the shim cannot be built");
    library
}

#[test]
fn with_slow_syncs_on_all_nodes_a_leader_is_elected_and_the_log_says_why_it_takes_so_long() {
    let mut cluster = Cluster::prepared(Kind { is_slow: false, ..Kind::default() });
    let shim = build_shim(&cluster).to_str().unwrap().to_owned();
    cluster.set_environment(&[("LD_PRELOAD", &shim), ("SLOW_SYNC_MS", "200")]);
    cluster.start_all();
    cluster.append(&["slowly"]);
    let leader = cluster.leader();
    cluster.wait_for_line(&leader, "elections and appends wait for it");
    cluster.kill(&leader);
    cluster.append(&["and again"]);
    assert_eq!(cluster.records(), ["slowly", "and again"]);
}
