//! `annal bench` on clusters that it makes itself.

use std::fs;

use serde_json::Value;

use super::harness::{Cluster, Kind, alone};
use crate::program::{self, annal, run};

/// Runs a bench with temporary folders of its own, and returns the object that it prints.
fn bench(arguments: &[&str]) -> Value {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let mut command = annal(folder.path());
    command.arg("bench").args(arguments).arg("--json").env("TMPDIR", folder.path());
    let output = program::finish(command, b"").expect_code(0);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "the bench left something");
    let [object] = output.json().try_into().expect("one object");
    object
}

#[test]
fn a_bench_prints_its_fields_and_reads_everything_back() {
    let arguments = ["--cluster", "3", "--duration", "1s", "--warmup", "100ms", "--batch", "3"];
    let found = bench(&[&arguments[..], &["--inflight", "8", "--connections", "2"]].concat());
    let fields: Vec<&str> = found.as_object().unwrap().keys().map(String::as_str).collect();
    let mut expected = [
        "size",
        "inflight",
        "connections",
        "appends",
        "appends_per_s",
        "p50_us",
        "p99_us",
        "p999_us",
        "max_us",
        "errors",
        "verified",
    ];
    expected.sort_unstable();
    assert_eq!(fields, expected);
    let number = |field: &str| found[field].as_u64().unwrap();
    assert_eq!([number("size"), number("inflight"), number("connections")], [100, 8, 2]);
    assert!(number("appends") >= 3, "{found}");
    assert!(number("p50_us") <= number("p99_us") && number("p99_us") <= number("max_us"));
    assert_eq!(number("errors"), 0);
    assert_eq!(found["verified"], true);
}

#[test]
fn leaders_are_killed_and_nothing_is_lost() {
    let found = bench(&["failover", "--trials", "2"]);
    assert_eq!(found["trials"], 2);
    assert_eq!(found["trials_ms"].as_array().unwrap().len(), 2);
    assert!(found["median_ms"].as_u64() <= found["worst_ms"].as_u64());
    assert_eq!(found["verified"], true);
}

#[test]
fn the_floors_are_measured_anywhere() {
    let found = bench(&["floor"]);
    let number = |field: &str| found[field].as_u64().unwrap();
    assert!(number("sync_p50_us") <= number("sync_p99_us"));
    assert_eq!(number("append_us"), number("sync_p50_us") + 2 * number("round_trip_p50_us"));
}

#[test]
fn the_users_own_log_is_measured_only_if_asked_for() {
    let mut cluster = Cluster::started(Kind { nodes: 1, ..Kind::default() });
    cluster.append(&["mine"]);
    let measure = ["bench", "--json", "--duration", "100ms", "--warmup", "10ms"];
    let own = cluster.run(measure.into_iter().chain(["--cluster", "1"])).expect_code(0).json();
    assert_eq!(own[0]["verified"], true);
    assert_eq!(cluster.records(), ["mine"]);
    let here = cluster.run(measure.into_iter().chain(["--here"])).expect_code(0).json();
    assert_eq!(here[0]["verified"], true);
    assert!(cluster.status()["nodes"][0]["next_offset"].as_u64() > Some(1));
    cluster.stop_all();
}

#[test]
fn a_bench_that_cannot_be_run_is_a_usage_error() {
    let folder = tempfile::tempdir().unwrap();
    let cases: [(&[&str], &str); 8] = [
        (&["--size", "8"], "cannot be told apart"),
        (&["--size", "100000000"], "larger than a request may be"),
        (&["--inflight", "2", "--connections", "3"], "more connections than requests"),
        (&["--inflight", "1000000"], "cannot be in flight"),
        (&["--batch", "1000000", "--size", "24"], "larger than a request may be"),
        (&["--connections", "0"], "at least 1"),
        // A cluster that is named and not measured would be one measured by mistake.
        (&["--dir", "elsewhere"], "a bench makes its own"),
        (&["--nodes", "127.0.0.1:7101"], "a bench makes its own"),
    ];
    for (arguments, words) in cases {
        run(folder.path(), [&["bench"], arguments].concat()).expect_complaint(2, words);
    }
    run(folder.path(), ["bench", "--here"]).expect_complaint(1, "cluster.toml");
    run(folder.path(), ["bench", "floor", "--data", "nowhere"]).expect_complaint(1, "nowhere");
}
