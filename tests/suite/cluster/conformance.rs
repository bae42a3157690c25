//! The published suite of the Durable Streams protocol, against the door of the leader and of a follower.
//!
//! It runs where Node is and its package can be had. Elsewhere it says so, and the tests of our own (`streams`)
//! stand alone.
#![allow(clippy::print_stderr, reason = "what was left out")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::harness::{Cluster, HTTP_PORTS_AFTER, Kind};
use super::npm::{installed, said};

/// The suite. Its command line finds no tests: it is run as the file below does.
const PACKAGE: &str = "@durable-streams/server-conformance-tests@0.3.6";

const TESTS: &str = "import { runConformanceTests } from '@durable-streams/server-conformance-tests'\n\
     runConformanceTests({ baseUrl: process.env.CONFORMANCE_TEST_URL, longPollTimeoutMs: 20000 })\n";

const SETTINGS: &str = "export default { test: { include: ['*.test.mjs'], testTimeout: 30000 } }\n";

/// Its tests but those of subscriptions, of which there are none here.
const TESTED: &str = "^(?!.*Reserved subscription)";

/// How many those are.
const COUNT: usize = 332;

/// Those of them that fail, by name. One that fails and is not here, and one that is here and does not
/// fail, are faults: so fewer and fewer fail.
const FAILING: &[&str] = &[];

/// How often a test may fail that has to do with time, before it counts: machines stand still now and then.
const ATTEMPTS: usize = 2;

#[test]
fn the_published_suite_passes_at_the_leader_and_at_a_follower() {
    let Some(folder) = installed(PACKAGE) else { return };
    fs::write(folder.join("streams.test.mjs"), TESTS).unwrap();
    fs::write(folder.join("vitest.config.mjs"), SETTINGS).unwrap();
    let mut cluster = Cluster::prepared(Kind::default());
    for node in cluster.nodes() {
        cluster.change_config(&node, "long_poll_ms = 20000", "long_poll_ms = 500");
    }
    cluster.start_all();
    let leader = cluster.leader();
    let follower = cluster.nodes().into_iter().find(|node| *node != leader).unwrap();
    let known: BTreeSet<_> = FAILING.iter().map(|name| (*name).to_owned()).collect();
    for node in [leader, follower] {
        let number: u16 = node.trim_start_matches('n').parse().unwrap();
        let port = cluster.base_port() + HTTP_PORTS_AFTER + number;
        let mut found = failing(&folder, port);
        for _ in 1..ATTEMPTS {
            if found != known {
                found = &found & &failing(&folder, port);
            }
        }
        assert_eq!(found, known, "at the door of {node}");
    }
}

/// The tests of the suite that fail at this door.
fn failing(folder: &Path, port: u16) -> BTreeSet<String> {
    let results = folder.join(format!("results-{port}.json"));
    let mut node = Command::new("node");
    node.args(["node_modules/vitest/vitest.mjs", "run", "-t", TESTED, "--reporter=json"])
        .arg(format!("--outputFile={}", results.display()))
        .env("CONFORMANCE_TEST_URL", format!("http://127.0.0.1:{port}"))
        .current_dir(folder)
        .stdin(Stdio::null());
    let output = node.output().unwrap();
    let text = fs::read_to_string(&results).unwrap_or_else(|_| panic!("{}", said(&output)));
    fs::remove_file(&results).unwrap();
    let results: Value = serde_json::from_str(&text).unwrap();
    let files = results["testResults"].as_array().unwrap();
    let tests: Vec<_> =
        files.iter().flat_map(|file| file["assertionResults"].as_array().unwrap()).collect();
    let is = |test: &Value, status| test["status"] == status;
    let run = tests.iter().filter(|test| is(test, "passed") || is(test, "failed")).count();
    assert_eq!(run, COUNT, "{}", said(&output));
    let failed = tests.into_iter().filter(|test| is(test, "failed"));
    let failed: Vec<_> = failed.collect();
    for test in &failed {
        eprintln!("{}: {}", test["fullName"], test["failureMessages"][0]);
    }
    failed.iter().map(|test| test["fullName"].as_str().unwrap().to_owned()).collect()
}
