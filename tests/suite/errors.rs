//! What each command says when it cannot do what it was asked for: exit code, stdout and stderr, as
//! recorded in `tests/errors/`.
//!
//! `UPDATE_GOLDENFILES=1 cargo test --test suite errors` records them anew.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use crate::cluster::harness::free_ports;
use crate::program::{Output, run, run_with_input};

/// Where nothing is.
const NOWHERE: &[&[&str]] = &[
    &["append", "x"],
    &["append", "--file", "missing"],
    &["append", "--as", "s1-nonsense", "x"],
    &["append"],
    &["append", "x", "-"],
    &["append", "--from-json", "x"],
    &["read"],
    &["read", "--from", "1", "--last", "1"],
    &["read", "--since", "yesterday"],
    &["read", "--node", "n1"],
    &["tail", "--timeout", "0s"],
    &["fence"],
    &["outcome"],
    &["producers", "forget"],
    &["status"],
    &["status", "--json"],
    &["leader"],
    &["terms"],
    &["token", "create"],
    &["token", "create", "--allow", "read"],
    &["token", "create", "--log", "a*", "--allow", "read"],
    &["token", "create", "--allow", "observe", "--expires", "2y"],
    &["token", "show", "x"],
    &["top"],
    &["crash-leader"],
    &["shell"],
    &["client"],
    &["client", "zzz"],
    &["registry", "leader"],
    &["registry", "terms"],
    &["registry", "forget"],
    &["registry", "forget", "--term", "7"],
    &["node", "start"],
    &["node", "start", "--data", "data/mine"],
    &["node", "inspect", "--data", "data/n1"],
    &["node", "inspect", "--data", "data/n1", "--at", "0"],
    &["node", "set-term", "--data", "data/n1", "all-nodes-are-stopped"],
    &["node", "set-term", "--data", "data/n1"],
    &["down"],
    &["init", "--nodes", "0"],
    &["init", "--base-port", "65535"],
    &["up", "--nodes", "16"],
    &["demo", "--base-port", "0"],
    &["bench", "--here"],
    &["bench", "--batch", "0"],
    &["bench", "floor", "--data", "missing"],
    &["sim", "--seeds", "0"],
    &["sim", "--off", "zzz"],
    &["completions", "zzz"],
    &["man", "--out", "/dev/null/pages"],
    &["version", "--zzz"],
    &["stauts"],
    &["put", "x"],
    &["--log-filter", "loud", "status"],
];

/// Where a cluster was made and nobody runs.
const STOPPED: &[&[&str]] = &[
    &["append", "x"],
    &["append", "--nodes", "nowhere", "x"],
    &["append", "--json", "x"],
    &["read"],
    &["read", "--stale", "--node", "n9"],
    &["read", "-f", "--node", "n1"],
    &["tail"],
    &["fence"],
    &["outcome", "--producer", "jobs"],
    &["producers", "list"],
    &["status"],
    &["leader"],
    &["terms"],
    &["crash-leader"],
    &["registry", "leader"],
    &["registry", "forget", "--term", "7"],
    &["node", "start", "--data", "data/n9"],
    &["node", "inspect", "--data", "data/n1"],
    &["node", "set-term", "--data", "data/n1", "all-nodes-are-stopped"],
    &["init"],
    &["up", "--base-port", "1"],
];

#[test]
fn errors_are_what_was_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let mut said = String::new();
    for line in NOWHERE {
        record(&mut said, line, &run(folder.path(), *line), |text| text);
    }
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().flatten().collect();
    assert!(left.is_empty(), "a command that fails leaves something: {left:?}");
    compare("nowhere.txt", &said);
}

#[test]
fn errors_of_a_cluster_that_is_stopped_are_what_was_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_ports(3);
    let made = run(folder.path(), ["init", "--json", "--base-port", &port.to_string()]);
    let made = made.expect_code(0).json().swap_remove(0);
    let cluster = made["cluster"].as_str().unwrap().to_owned();
    let without_ports = |mut text: String| {
        for number in 0..4 {
            text = text.replace(&(port + number).to_string(), &format!("PORT{number}"));
        }
        text.replace(&cluster, "CLUSTER")
    };
    let mut said = String::new();
    for line in STOPPED {
        let is_local = ["node", "init", "up"].contains(&line[0]);
        let limit = if is_local { &[][..] } else { &["--timeout", "300ms"] };
        let words: Vec<_> = line.iter().chain(limit).copied().collect();
        record(&mut said, &words, &run(folder.path(), &words), without_ports);
    }
    let long = "x".repeat((1 << 20) + 1);
    let output = run_with_input(folder.path(), ["append", "-"], long.as_bytes());
    record(&mut said, &["append", "-"], &output, without_ports);
    let output = run_with_input(folder.path(), ["append", "--from-json", "-"], b"x\n");
    record(&mut said, &["append", "--from-json", "-"], &output, without_ports);
    compare("stopped.txt", &said);
}

/// What was typed, how it ended, and what was said.
pub(crate) fn record(
    said: &mut String,
    line: &[&str],
    output: &Output,
    plain: impl Fn(String) -> String,
) {
    let (stdout, stderr) = (plain(output.text()), plain(output.stderr.clone()));
    let line = plain(line.join(" "));
    writeln!(said, "$ annal {line}\nexit {}", output.code.unwrap()).unwrap();
    for (name, text) in [("stdout", stdout), ("stderr", stderr)] {
        for text in text.lines() {
            writeln!(said, "{}", format!("{name}: {text}").trim_end()).unwrap();
        }
    }
    said.push('\n');
}

pub(crate) fn compare(name: &str, said: &str) {
    let path = golden(name);
    if std::env::var_os("UPDATE_GOLDENFILES").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, said).unwrap();
    }
    let recorded = fs::read_to_string(&path).unwrap();
    for (found, expected) in said.split("\n\n").zip(recorded.split("\n\n")) {
        assert_eq!(found, expected, "{}", path.display());
    }
    assert_eq!(said, recorded, "{}", path.display());
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/errors").join(name)
}
