//! Space comes back: what a log's retention lets go leaves the disks, while appends and reads go on.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use annal::{Bytes, Client, LogName, ReadError, ReadFrom, ReadOptions, Settings};
use serde_json::json;

use super::harness::{Cluster, Kind, wait_for};

/// Bytes of a record.
const RECORD_BYTES: usize = 64 << 10;
/// Records of a request: a MiB.
const RECORDS: usize = 16;

/// Bytes that a folder takes of its disk. Files come and go meanwhile.
fn bytes_in(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let of_entry = |path: &Path| match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => bytes_in(path),
        Ok(found) => found.blocks() * 512,
        Err(_) => 0,
    };
    entries.flatten().map(|entry| of_entry(&entry.path())).sum()
}

/// Reads a log from its beginning on for ever; where it was trimmed before it came, from where it begins
/// by then. Counts what it was given.
async fn follow(log: Client, given: Arc<AtomicU64>, is_over: Arc<AtomicBool>) {
    let mut from = ReadFrom::Start;
    while !is_over.load(Ordering::Relaxed) {
        let mut reader = log.read(ReadOptions { from, follow: true, ..ReadOptions::default() });
        from = loop {
            match reader.next().await {
                Ok(Some(records)) => given.fetch_add(records.len() as u64, Ordering::Relaxed),
                Ok(None) => return,
                Err(ReadError::Trimmed { .. }) => break ReadFrom::Start,
                Err(error) => panic!("a reader does not go on: {error}"),
            };
        };
    }
}

/// Appends so many MiB to the log `clicks` with a reader behind, and calls `look` after each.
pub(super) fn append_under(cluster: &Cluster, mib: u64, mut look: impl FnMut(u64)) -> u64 {
    let settings = Settings::from_dir(cluster.folder()).unwrap();
    let name: LogName = "clicks".parse().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (given, is_over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    runtime.block_on(async {
        let log = Client::connect(settings).unwrap().log(&name).await.unwrap();
        let reader = tokio::spawn(follow(log.clone(), given.clone(), is_over.clone()));
        let record = Bytes::from(vec![b'x'; RECORD_BYTES]);
        for number in 1..=mib {
            log.append(vec![record.clone(); RECORDS]).await.unwrap();
            look(number);
        }
        is_over.store(true, Ordering::Relaxed);
        reader.abort();
        if let Err(error) = reader.await {
            assert!(error.is_cancelled(), "{error}");
        }
    });
    given.load(Ordering::Relaxed)
}

/// What `annal log describe` says of it.
pub(super) fn described(cluster: &Cluster) -> serde_json::Value {
    cluster.client(["log", "describe", "clicks", "--json"]).expect_code(0).json().remove(0)
}

/// A cluster with segments of a MiB.
fn of_small_segments() -> Cluster {
    let mut cluster = Cluster::prepared(Kind::default());
    cluster.make_segments_small();
    cluster.start_all();
    cluster.leader();
    cluster
}

/// The MiB that the log of any node takes at most.
pub(super) fn most_mib(cluster: &Cluster) -> u64 {
    cluster.nodes().iter().map(|node| mib_of(cluster, node)).max().unwrap()
}

/// The MiB that the log of a node takes.
pub(super) fn mib_of(cluster: &Cluster, node: &str) -> u64 {
    bytes_in(&cluster.path(&format!("data/{node}/log"))) >> 20
}

#[test]
fn what_a_fork_has_of_a_log_that_is_deleted_comes_back_with_the_fork() {
    let mut cluster = of_small_segments();
    cluster.client(["log", "create", "clicks"]).expect_code(0);
    append_under(&cluster, 32, |_| ());
    let fork = ["log", "create", "trial", "--fork-of", "clicks", "--at", "480"];
    cluster.client(fork).expect_code(0);
    cluster.client(["log", "delete", "clicks", "--yes"]).expect_code(0);
    // What nobody has any more would go now: what comes behind it is sealed.
    cluster.client(["log", "create", "others"]).expect_code(0);
    let filling = vec![b'x'; RECORD_BYTES];
    let filling = String::from_utf8(filling).unwrap();
    for _ in 0..40 {
        cluster.client(["append", "--log", "others", &filling]).expect_code(0);
    }
    cluster.wait_until_caught_up();
    cluster.stop_all();
    cluster.start_all();
    cluster.leader();
    let count = |log: &str| {
        let read = cluster.client(["read", "--log", log, "--json"]).expect_code(0).json();
        (read.len(), read.first().map(|first| first["offset"].clone()))
    };
    assert_eq!(count("trial"), (480, Some(json!(0))));
    assert!(most_mib(&cluster) >= 30, "it is kept");
    cluster.client(["trim", "--log", "trial", "--before", "470"]).expect_code(0);
    wait_for("space", || (most_mib(&cluster) < 25).then_some(()));
    assert_eq!(count("trial"), (10, Some(json!(470))));
    cluster.client(["log", "delete", "trial", "--yes"]).expect_code(0);
    cluster.client(["log", "create", "clicks"]).expect_code(0);
    cluster.stop_all();
}

#[test]
fn space_comes_back_under_a_retention_and_readers_go_on() {
    let mut cluster = of_small_segments();
    let create = ["log", "create", "clicks", "--retention-bytes", "8MiB"];
    let told = cluster.client(create).expect_code(0).text();
    assert_eq!(told, "clicks: next offset 0, keeps 8MiB\n");
    cluster.client(create).expect_code(0);
    let other = ["log", "create", "clicks", "--retention-bytes", "9MiB"];
    cluster.client(other).expect_complaint(4, "there is a log clicks already, with other settings");

    let given = append_under(&cluster, 60, |number| {
        if number.is_multiple_of(10) {
            wait_for("space", || (most_mib(&cluster) < 20).then_some(()));
        }
    });
    assert!(given > 0);
    let log = described(&cluster);
    assert_eq!((&log["next_offset"], &log["retention_bytes"]), (&json!(960), &json!(8 << 20)));
    let start = log["start_offset"].as_u64().unwrap();
    assert!((816..=832).contains(&start), "8 MiB are left and 9 at most: {log}");

    // What is gone is said to be gone, and what is left is there, also for nodes that start again.
    let from = |offset: u64| {
        let from = offset.to_string();
        cluster.client(["read", "--log", "clicks", "--from", &from, "--limit", "1", "--json"])
    };
    from(0).expect_complaint(4, &format!("begins at offset {start}"));
    assert_eq!(from(start).expect_code(0).json()[0]["offset"], start);
    let words = ["log", "configure", "clicks", "--retention-records", "10"];
    let told = cluster.client(words.into_iter().chain(["--retention-bytes", "none"]));
    assert!(told.expect_code(0).text().ends_with(", keeps 10 records\n"));
    wait_for("the last ten", || (described(&cluster)["start_offset"] == 950).then_some(()));
    cluster.client(["log", "configure", "clicks"]).expect_complaint(2, "nothing was said");
    cluster.wait_until_caught_up();
    cluster.stop_all();
    let found = cluster.inspect("n1", None);
    assert!(found["first_index"].as_u64().unwrap() > 1, "{found}");
    cluster.start_all();
    cluster.leader();
    let read = cluster.client(["read", "--log", "clicks", "--json"]).expect_code(0).json();
    assert_eq!((read.len(), &read[0]["offset"]), (10, &json!(950)));
    cluster.stop_all();
}

#[test]
#[ignore = "takes long: appends two gigabytes"]
fn a_folder_stays_small_while_two_gigabytes_come_and_go() {
    let mut cluster = Cluster::started(Kind { is_slow: false, ..Kind::default() });
    cluster.client(["log", "create", "clicks", "--retention-bytes", "200MB"]).expect_code(0);
    let folders: Vec<_> =
        cluster.nodes().iter().map(|node| cluster.path(&format!("data/{node}"))).collect();
    let mut most = 0;
    let given = append_under(&cluster, 2_000, |number| {
        let now = folders.iter().map(|folder| bytes_in(folder)).max().unwrap();
        most = most.max(now);
        if number.is_multiple_of(200) {
            println!(
                "{number} MiB: {} MB in the largest folder, {} at most",
                now / 1_000_000,
                most / 1_000_000
            );
        }
        assert!(now < 600_000_000, "{now} bytes after {number} MiB");
    });
    println!("the reader was given {given} records of {}", 2_000 * RECORDS);
    assert!(given > 0);
    cluster.stop_all();
}
