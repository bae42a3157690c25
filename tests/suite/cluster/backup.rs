//! What stands on disks is verified, taken along, and put into new clusters.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use annal::{Bytes, Client, Offset, Settings, Token};
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

/// What is asked of a cluster to see whether another one is as it was.
fn shown(cluster: &Cluster) -> Vec<Vec<Value>> {
    let read = ["main", "clicks"].map(|log| vec!["read", "--log", log, "--json"]);
    let others = [
        vec!["log", "list", "--json"],
        vec!["fence", "--json"],
        vec!["producers", "list", "--log", "clicks", "--json"],
    ];
    let lines = read.into_iter().chain(others);
    lines.map(|line| cluster.client(line).expect_code(0).json()).collect()
}

/// Gives the logs what there is to be kept besides records.
fn use_everything(cluster: &Cluster) {
    cluster.client(["log", "create", "closed", "--content-type", "text/plain"]).expect_code(0);
    cluster.client(["append", "--log", "closed", "one"]).expect_code(0);
    cluster.client(["log", "close", "closed"]).expect_code(0);
    cluster.client(["log", "configure", "clicks", "--retention-age", "300d"]).expect_code(0);
    cluster.client(["trim", "--log", "clicks", "--before", "7"]).expect_code(0);
    cluster.client(["fence", "w1"]).expect_code(0);
    fs::write(cluster.path("two.txt"), "p1\np2\n").unwrap();
    let producer = ["append", "--log", "clicks", "--producer", "p", "--file", "two.txt"];
    cluster.client(producer).expect_code(0);
}

/// Appends what has a name, and gives that.
fn append_named(cluster: &Cluster, text: &str) -> (Token, Offset) {
    let settings = Settings::from_dir(cluster.folder()).unwrap();
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let client = Client::connect(settings).unwrap();
        let records = vec![Bytes::copy_from_slice(text.as_bytes())];
        let token = client.prepare(&records).await.unwrap();
        let mut appender = client.resume(token);
        appender.send(records).await.unwrap();
        let done = appender.next().await.unwrap().unwrap();
        (token, done.offset)
    })
}

/// Appends to `main` until it is told to stop; says how many were acknowledged.
fn load(cluster: &Cluster, is_over: Arc<AtomicBool>) -> thread::JoinHandle<u64> {
    let settings = Settings::from_dir(cluster.folder()).unwrap();
    thread::spawn(move || {
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            let client = Client::connect(settings).unwrap();
            let mut acknowledged = 0;
            while !is_over.load(Ordering::Relaxed) {
                client.append(vec![Bytes::from(vec![b'y'; 8 << 10]); 8]).await.unwrap();
                acknowledged += 8;
            }
            acknowledged
        })
    })
}

fn backup(cluster: &Cluster, words: &[&str]) -> Output {
    cluster.client(["backup", "--json", "--timeout", "30s"].iter().chain(words).copied())
}

#[test]
fn a_new_cluster_begins_with_the_log_of_a_backup_taken_under_load() {
    let mut cluster = with_segments(Kind::default());
    use_everything(&cluster);
    let (token, named) = append_named(&cluster, "named");
    let before = shown(&cluster);
    let is_over = Arc::new(AtomicBool::new(false));
    let loading = load(&cluster, is_over.clone());
    let whole = backup(&cluster, &["--out", "all.backup"]).expect_code(0).json().remove(0);
    let more = ["--from", "all.backup", "--out", "more.backup"];
    let more = backup(&cluster, &more).expect_code(0).json().remove(0);
    is_over.store(true, Ordering::Relaxed);
    let acknowledged = loading.join().unwrap();
    assert!(acknowledged > 0);
    assert_eq!(more["first_index"], json!(whole["last_index"].as_u64().unwrap() + 1));
    backup(&cluster, &["--out", "all.backup"]).expect_complaint(1, "is already there");
    cluster.stop_all();

    // Each for itself is what was written, and both together are; not one of them without the other.
    let all = verify(&cluster, &["all.backup"]).expect_code(0).json().remove(0);
    assert_eq!((&all["logs"], &all["chain"]), (&json!(3), &whole["chain"]));
    verify(&cluster, &["more.backup"]).expect_code(0);
    let both = verify(&cluster, &["all.backup", "more.backup"]).expect_code(0).json().remove(0);
    assert_eq!((&both["chain"], &both["last_index"]), (&more["chain"], &more["last_index"]));
    verify(&cluster, &["more.backup", "all.backup"]).expect_complaint(1, "begins behind entry");
    let only_more = ["init", "--from", "more.backup", "--dir", "elsewhere"];
    cluster.run(only_more).expect_complaint(1, "has only what came behind entry");
    assert!(!cluster.path("elsewhere/certs").exists());

    for (nodes, files) in [(1, &["all.backup"][..]), (3, &["all.backup", "more.backup"])] {
        let from = files.iter().map(|file| cluster.path(file)).collect::<Vec<_>>();
        let mut restored = cluster.restored(Kind { nodes, ..Kind::default() }, &from);
        let last = if files.len() == 1 { &whole } else { &more };
        for node in restored.nodes() {
            let found = verify(&restored, &["--data", &format!("data/{node}")]);
            let found = found.expect_code(0).json().remove(0);
            let ours = json!(last["last_index"].as_u64().unwrap() + 1);
            assert_eq!((&found["last_index"], &found["damage"]), (&ours, &json!([])));
            assert_ne!(found["cluster"], all["cluster"]);
        }
        restored.expect_equal_logs();
        restored.start_all();
        restored.leader();
        let mut now = shown(&restored);
        // What was appended while the backup was taken may be there, and stands behind the rest.
        let surplus = now[0].split_off(before[0].len());
        assert!(surplus.len() as u64 <= acknowledged && surplus.len().is_multiple_of(8));
        assert!(surplus.iter().all(|record| record["record"].as_str().unwrap().starts_with('y')));
        let of_main = |logs: &[Value]| logs.iter().position(|log| log["log"] == "main").unwrap();
        let (main, main_before) = (of_main(&now[2]), of_main(&before[2]));
        let next = now[2].remove(main)["next_offset"].as_u64().unwrap();
        let mut logs_before = before[2].clone();
        logs_before.remove(main_before);
        assert_eq!(next, (before[0].len() + surplus.len()) as u64);
        assert_eq!(now[2], logs_before);
        assert_eq!((&now[0], &now[1]), (&before[0], &before[1]), "records, offsets, times");
        assert_eq!(now[3..], before[3..], "fence and producers");

        // The same append is the same append, and the producer goes on where it was.
        let token = token.to_string();
        let again = restored.client(["append", "--json", "--as", &token, "named"]);
        assert_eq!(again.expect_code(0).json()[0]["offset"], named.get());
        fs::write(restored.path("three.txt"), "p1\np2\np3\n").unwrap();
        let producer = ["append", "--log", "clicks", "--producer", "p", "--file", "three.txt"];
        restored.client(producer).expect_code(0);
        let clicks = restored.client(["tail", "--log", "clicks", "-n", "3"]).expect_code(0).text();
        assert_eq!(clicks, "p1\np2\np3\n");
        assert_eq!(restored.append(&["new"])["offset"], next);
        restored.client(["append", "--fence", "w2", "x"]).expect_complaint(4, "fence");
        restored.client(["append", "--log", "closed", "x"]).expect_complaint(4, "closed");
        restored.wait_until_caught_up();
        restored.stop_all();
        restored.start_all();
        restored.leader();
        assert_eq!(restored.append(&["newer"])["offset"], next + 1);
        restored.wait_until_caught_up();
        restored.stop_all();
        restored.expect_equal_logs();
        for node in restored.nodes() {
            verify(&restored, &["--data", &format!("data/{node}")]).expect_code(0);
        }
    }
}

#[test]
fn only_an_admin_takes_a_backup_and_one_goes_on_at_another_node() {
    let mut cluster = with_segments(Kind::default());
    for end in ["crt", "key"] {
        fs::rename(
            cluster.path(&format!("certs/admin.{end}")),
            cluster.path(&format!("admin.{end}")),
        )
        .unwrap();
        fs::copy(
            cluster.path(&format!("certs/client.{end}")),
            cluster.path(&format!("certs/admin.{end}")),
        )
        .unwrap();
    }
    let refused = backup(&cluster, &["--out", "b"]);
    refused.expect_complaint(1, "only an admin may take a backup");
    assert!(!cluster.path("b").exists() && !cluster.path("b.partial").exists());
    for end in ["crt", "key"] {
        fs::rename(
            cluster.path(&format!("admin.{end}")),
            cluster.path(&format!("certs/admin.{end}")),
        )
        .unwrap();
    }
    // One node after the other does not answer, the leader among them.
    let leader = cluster.leader();
    let followers: Vec<_> = cluster.nodes().into_iter().filter(|node| *node != leader).collect();
    cluster.kill(&followers[0]);
    let taken = backup(&cluster, &["--out", "b"]).expect_code(0).json().remove(0);
    assert_eq!(taken["node"], followers[1]);
    cluster.start(&followers[0]);
    cluster.kill(&leader);
    cluster.leader();
    let more = backup(&cluster, &["--from", "b", "--out", "c"]).expect_code(0).json().remove(0);
    assert!(more["entries"].as_u64().unwrap() > 0, "a term has begun: {more}");
    verify(&cluster, &["b", "c"]).expect_code(0);
    cluster.stop_all();
    let alone = cluster.client(["backup", "--out", "d", "--timeout", "2s"]);
    alone.expect_complaint(3, "");
    assert!(!cluster.path("d").exists());
}

#[test]
fn a_damaged_backup_is_named_and_makes_no_cluster() {
    let mut cluster = Cluster::started(Kind { nodes: 1, ..Kind::default() });
    cluster.append(&["one", "two"]);
    backup(&cluster, &["--out", "b"]).expect_code(0);
    cluster.stop_all();
    let bytes = fs::read(cluster.path("b")).unwrap();
    let mut flipped = bytes.clone();
    let at = bytes.windows(6).position(|window| window == b"onetwo").unwrap();
    flipped[at] ^= 1;
    fs::write(cluster.path("b"), &flipped).unwrap();
    verify(&cluster, &["b"]).expect_complaint(6, "fails its checksum");
    let init = ["init", "--from", "b", "--dir", "new"];
    cluster.run(init).expect_complaint(6, "fails its checksum");
    fs::write(cluster.path("b"), &bytes[..at]).unwrap();
    verify(&cluster, &["b"]).expect_complaint(6, "it ends before its end was written");
    cluster.run(init).expect_complaint(6, "it ends before its end was written");
    fs::write(cluster.path("b"), "hello").unwrap();
    cluster.run(init).expect_complaint(1, "is no backup");
    verify(&cluster, &["missing"]).expect_complaint(1, "cannot open missing");
    let left = fs::read_dir(cluster.path("new")).unwrap().count();
    assert_eq!(left, 0, "nothing is left of what failed");
    fs::write(cluster.path("b"), &bytes).unwrap();
    cluster.run(init).expect_code(0);
}
