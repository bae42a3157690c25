//! What each command says to a cluster that runs, line by line, be it done or refused: exit code, stdout and
//! stderr, as recorded in `tests/errors/running.txt`.
//!
//! `UPDATE_GOLDENFILES=1 cargo test --test suite answers` records them anew.

use crate::cluster::harness::{Cluster, Kind};
use crate::errors::{compare, record};
use crate::program::run_with_input;

/// One line after the other, of a cluster of one node.
const RUNNING: &[&[&str]] = &[
    &["append", "one"],
    &["append", "two", "--json"],
    &["append", ""],
    &["append", "late", "--expect-offset", "0"],
    &["append", "late", "--expect-offset", "0", "--json"],
    &["append", "in time", "--expect-offset", "3"],
    &["append", "behind", "--expect-offset", "99"],
    &["fence"],
    &["fence", "w1"],
    &["fence"],
    &["fence", "--json"],
    &["append", "of another", "--fence", "w2"],
    &["append", "of another", "--fence", "w2", "--json"],
    &["append", "of the owner", "--fence", "w1"],
    &["fence", "--clear"],
    &["append", "by a producer", "--producer", "jobs"],
    &["append", "-", "--producer", "jobs"],
    &["append", "-", "--producer", "jobs"],
    &["outcome", "--producer", "jobs"],
    &["outcome", "--producer", "jobs", "--json"],
    &["outcome", "--producer", "nobody"],
    &["producers", "list"],
    &["producers", "list", "--json"],
    &["producers", "forget", "jobs"],
    &["producers", "forget", "jobs"],
    &["producers", "list"],
    &["read"],
    &["read", "--json", "--limit", "2"],
    &["read", "--format", "%o %t %T %r\\n", "--limit", "1"],
    &["read", "--raw", "--from", "1"],
    &["read", "--last", "1"],
    &["read", "--from", "4", "-0"],
    &["read", "--until", "1h"],
    &["read", "--since", "1h", "--limit", "1"],
    &["read", "--since", "2999-01-01"],
    &["read", "--from", "99"],
    &["read", "--from", "99", "--json"],
    &["read", "--stale", "--limit", "1"],
    &["read", "--node", "n1", "--limit", "1"],
    &["tail", "--from", "0", "--limit", "1"],
    &["log", "list"],
    &["log", "create", "orders"],
    &["log", "create", "orders"],
    &["log", "create", "../orders"],
    &["log", "create", "eu/mail", "--json"],
    &["log", "list", "--prefix", "eu/"],
    &["log", "describe", "orders", "--json"],
    &["log", "describe", "nothing"],
    &["append", "to a log", "--log", "orders"],
    &["append", "to no log", "--log", "nothing"],
    &["append", "to no log", "--log", "nothing", "--json"],
    &["read", "--log", "orders"],
    &["read", "--log", "nothing"],
    &["log", "close", "orders"],
    &["log", "close", "orders"],
    &["log", "close", "main"],
    &["append", "to a closed log", "--log", "orders"],
    &["append", "to a closed log", "--log", "orders", "--json"],
    &["tail", "--log", "orders", "--from", "0"],
    &["log", "delete", "orders"],
    &["log", "delete", "orders", "--yes"],
    &["log", "delete", "orders", "--yes"],
    &["log", "delete", "main", "--yes"],
    &["trim"],
    &["trim", "--before", "2"],
    &["trim", "--before", "1"],
    &["trim", "--before", "99"],
    &["read", "--from", "1"],
    &["read", "--from", "1", "--json"],
    &["read", "--limit", "1"],
    &["log", "list"],
    &["leader"],
    &["leader", "--json"],
    &["terms"],
    &["terms", "--json"],
    &["registry", "leader"],
    &["registry", "terms"],
    &["registry", "forget", "--term", "7"],
    &["node", "inspect", "--data", "data/n1"],
    &["node", "start", "--data", "data/n1"],
    &["init"],
];

#[test]
fn answers_of_a_cluster_that_runs_are_what_was_recorded() {
    let mut cluster = Cluster::started(Kind { nodes: 1, ..Kind::default() });
    let (port, folder) = (cluster.base_port(), cluster.folder().to_owned());
    let plain = |text: String| {
        let text = text.replace('\0', "\\0").replace(&format!(":{port}"), ":PORT0");
        without_times(&without_rates(&text.replace(&format!(":{}", port + 1), ":PORT1")))
    };
    let mut said = String::new();
    for line in RUNNING {
        // What takes an input has two lines.
        record(&mut said, line, &run_with_input(&folder, *line, b"first\nsecond\n"), plain);
    }
    cluster.stop_all();
    compare("running.txt", &said);
}

/// How fast it went is said behind what was done.
fn without_rates(text: &str) -> String {
    let plain = |line: &str| match line.split_once("; ") {
        Some((done, rate)) if rate.contains("records/s") => format!("{done}; RATE\n"),
        _ => format!("{line}\n"),
    };
    text.lines().map(plain).collect()
}

/// Days and times of day, in whatever form, are others each time.
fn without_times(text: &str) -> String {
    let is_part = |character: char| character.is_ascii_digit() || "-:.TZ+".contains(character);
    let mut plain = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(|character: char| character.is_ascii_digit()) {
        let (before, number) = rest.split_at(start);
        let end = number.find(|character| !is_part(character)).unwrap_or(number.len());
        let (number, after) = number.split_at(end);
        let is_time = number.len() >= 13 || number.matches(':').count() == 2;
        plain.extend([before, if is_time { "TIME" } else { number }]);
        rest = after;
    }
    plain + rest
}
