//! Many clients at once: each is a process that does one thing, and all begin together.
#![allow(clippy::print_stderr, reason = "how long they took")]

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use super::harness::{Cluster, Kind, wait_for};
use crate::program::annal;

/// Two cores get through so many in some seconds, unoptimised too; `for i in $(seq 500)` on a command
/// line shows more.
const APPENDS: usize = 200;
const TAILS: usize = 100;

/// A client and where its output goes. Dropped, it is ended.
struct Client {
    process: Child,
    out: PathBuf,
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn start(cluster: &Cluster, number: usize, line: &[&str]) -> Client {
    let out = cluster.path(&format!("out{number}"));
    let mut command = annal(cluster.folder());
    command.arg("client").args(line).args(["--timeout", "120s"]);
    command.stdin(Stdio::null()).stderr(Stdio::null()).stdout(File::create(&out).unwrap());
    Client { process: command.spawn().unwrap(), out }
}

/// Each finds nobody at first: what it does then must not keep the others from being served.
#[test]
fn a_crowd_of_appends_is_served() {
    crowd(APPENDS);
}

/// What a script does that starts them all at once.
#[test]
#[ignore = "starts 500 processes: measured by hand, with --nocapture"]
fn a_crowd_of_five_hundred_is_served() {
    crowd(500);
}

fn crowd(count: usize) {
    let cluster = Cluster::started(Kind::default());
    let text = |number| format!("record {number}");
    let begin = |number| start(&cluster, number, &["append", &text(number)]);
    let start_of_all = Instant::now();
    let clients: Vec<Client> = (0..count).map(begin).collect();
    for (number, mut client) in clients.into_iter().enumerate() {
        let status = wait_for("a client to end", || client.process.try_wait().unwrap());
        assert_eq!(status.code(), Some(0), "client {number}");
    }
    eprintln!("{count} clients: {:?}", start_of_all.elapsed());
    let mut records = cluster.records();
    let mut expected: Vec<String> = (0..count).map(text).collect();
    records.sort();
    expected.sort();
    assert_eq!(records, expected, "each once");
}

#[test]
fn a_crowd_of_tails_is_served_and_ends_when_told() {
    let cluster = Cluster::started(Kind::default());
    cluster.append(&["one"]);
    let follow = ["tail", "-f", "-n", "1"];
    let mut tails: Vec<_> = (0..TAILS).map(|number| start(&cluster, number, &follow)).collect();
    let all_show = |text: &str| {
        let shows = |tail: &Client| fs::read_to_string(&tail.out).unwrap() == text;
        wait_for("every tail to show what there is", || tails.iter().all(shows).then_some(()));
    };
    all_show("one\n");
    cluster.append(&["two"]);
    all_show("one\ntwo\n");
    let ids: Vec<String> = tails.iter().map(|tail| tail.process.id().to_string()).collect();
    assert!(Command::new("kill").args(["-s", "INT"]).args(ids).status().unwrap().success());
    for tail in &mut tails {
        wait_for("a tail to end", || tail.process.try_wait().unwrap());
    }
}
