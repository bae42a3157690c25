//! Named logs, of real processes: each has records of its own, whoever leads.

use annal::{AppendError, Client, LogName, Outcome, ReadError, ReadOptions, Settings};
use serde_json::json;

use super::harness::{Cluster, Kind};
use crate::program::{self, Output};

fn records_of(cluster: &Cluster, log: &str) -> String {
    cluster.client(["read", "--log", log]).expect_code(0).text()
}

fn append_to(cluster: &Cluster, log: &str, record: &str) -> Output {
    cluster.client(["append", "--log", log, record])
}

#[test]
fn each_log_has_its_own_records_and_keeps_them_when_the_leader_dies() {
    let mut cluster = Cluster::started(Kind::default());
    cluster.client(["log", "create", "orders"]).expect_code(0);
    cluster.client(["log", "create", "eu/mail"]).expect_code(0);
    // It is there already, which is as good.
    cluster.client(["log", "create", "orders"]).expect_code(0);
    let other = ["log", "create", "orders", "--content-type", "text/plain"];
    cluster.client(other).expect_complaint(4, "there is a log orders already, with other settings");
    for round in 0..3 {
        append_to(&cluster, "orders", &format!("o{round}")).expect_code(0);
        append_to(&cluster, "eu/mail", &format!("m{round}")).expect_code(0);
        cluster.append(&[&format!("main{round}")]);
    }
    let leader = cluster.leader();
    cluster.kill(&leader);
    append_to(&cluster, "orders", "o3").expect_code(0);
    assert_eq!(records_of(&cluster, "orders"), "o0\no1\no2\no3\n");
    assert_eq!(records_of(&cluster, "eu/mail"), "m0\nm1\nm2\n");
    assert_eq!(cluster.records(), ["main0", "main1", "main2"]);
    cluster.start(&leader);

    let listed = cluster.client(["log", "list", "--json"]).expect_code(0).json();
    let row = |log: &str, number: u32, next_offset: u64| json!({"log": log, "number": number, "start_offset": 0, "next_offset": next_offset, "closed": false});
    assert_eq!(listed, [row("eu/mail", 2, 3), row("main", 0, 3), row("orders", 1, 4)]);
    let some = cluster.client(["log", "list", "--prefix", "eu/"]).expect_code(0).text();
    assert_eq!(some, "eu/mail: next offset 3\n");

    // Producers, fences and offsets are a log's own.
    cluster.client(["fence", "--log", "orders", "w1"]).expect_code(0);
    assert_eq!(cluster.client(["fence"]).expect_code(0).text(), "no fence\n");
    let words = ["append", "--log", "orders", "--expect-offset", "3", "late"];
    cluster.client(words).expect_complaint(4, "did not end at offset 3: its next offset is 4");
    let mut lines = program::annal(cluster.folder());
    lines.args(["append", "--producer", "p", "-"]).env("ANNAL_LOG_NAME", "eu/mail");
    program::finish(lines, b"m3\n").expect_code(0);
    assert_eq!(records_of(&cluster, "eu/mail"), "m0\nm1\nm2\nm3\n");
    assert_eq!(cluster.client(["producers", "list"]).expect_code(0).text(), "");
    let known = cluster.client(["producers", "list", "--log", "eu/mail"]).expect_code(0).text();
    assert!(known.starts_with("p: epoch 1"), "{known}");

    // One node is enough to read what it has, by name too.
    cluster.wait_until_caught_up();
    cluster.kill("n2");
    cluster.kill("n3");
    let stale = cluster.client(["read", "--log", "orders", "--stale"]).expect_code(0).text();
    assert_eq!(stale, "o0\no1\no2\no3\n");
    cluster.stop_all();
}

#[test]
fn a_log_that_is_closed_can_be_read_and_one_that_is_deleted_is_gone_for_good() {
    let mut cluster = Cluster::started(Kind::default());
    append_to(&cluster, "a", "x").expect_complaint(4, "there is no log a");
    cluster.client(["log", "create", "a"]).expect_code(0);
    append_to(&cluster, "a", "first").expect_code(0);
    let settings = Settings::from_dir(cluster.folder()).unwrap();
    let name: LogName = "a".parse().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (client, old) = runtime.block_on(async {
        let client = Client::connect(settings).unwrap();
        let old = client.log(&name).await.unwrap();
        (client, old)
    });

    cluster.client(["log", "close", "a"]).expect_code(0);
    cluster.client(["log", "close", "a"]).expect_code(0);
    append_to(&cluster, "a", "late").expect_complaint(4, "the log is closed");
    assert_eq!(records_of(&cluster, "a"), "first\n");
    assert_eq!(
        cluster.client(["log", "describe", "a"]).expect_code(0).text(),
        "a: next offset 1, closed\n"
    );

    cluster.client(["log", "delete", "a"]).expect_complaint(2, "nobody is asked");
    cluster.client(["log", "delete", "main", "--yes"]).expect_complaint(4, "the log main");
    cluster.client(["log", "delete", "a", "--yes"]).expect_code(0);
    cluster.client(["read", "--log", "a"]).expect_complaint(4, "there is no log a");
    cluster.client(["log", "create", "a"]).expect_code(0);
    append_to(&cluster, "a", "anew").expect_code(0);
    let leader = cluster.leader();
    cluster.kill(&leader);
    assert_eq!(records_of(&cluster, "a"), "anew\n");
    // Whoever held the one that was deleted is not led to the one that has its name now.
    runtime.block_on(async {
        let refused = old.append(vec!["stray".into()]).await.unwrap_err();
        assert_eq!(
            (&refused, refused.outcome()),
            (&AppendError::UnknownLog, Outcome::ConditionNotMet)
        );
        let mut reader = old.read(ReadOptions::default());
        assert_eq!(reader.next().await, Err(ReadError::UnknownLog));
        client.close().await;
    });
    cluster.start(&leader);
    cluster.stop_all();
}

#[test]
fn a_fork_begins_as_its_source_did_and_outlives_it() {
    let mut cluster = Cluster::started(Kind::default());
    cluster.client(["log", "create", "a", "--content-type", "text/plain"]).expect_code(0);
    for record in ["a0", "a1", "a2"] {
        append_to(&cluster, "a", record).expect_code(0);
    }
    let fork = ["log", "create", "b", "--fork-of", "a", "--at", "2"];
    let told = cluster.client(fork).expect_code(0).text();
    assert_eq!(told, "b: next offset 2, fork of a at 2, text/plain\n");
    append_to(&cluster, "b", "b2").expect_code(0);
    append_to(&cluster, "a", "a3").expect_code(0);
    assert_eq!(records_of(&cluster, "b"), "a0\na1\nb2\n");
    cluster.client(["log", "create", "c", "--fork-of", "b"]).expect_code(0);
    // It is there already, wherever that is if nobody says where; as another it is not.
    cluster.client(fork).expect_code(0);
    cluster.client(["log", "create", "b", "--fork-of", "a"]).expect_code(0);
    let no_fork = ["log", "create", "b", "--content-type", "text/plain"];
    cluster.client(no_fork).expect_complaint(4, "there is a log b already, with other settings");
    let elsewhere = ["log", "create", "b", "--fork-of", "a", "--at", "3"];
    cluster.client(elsewhere).expect_complaint(4, "there is a log b already, with other settings");
    let beyond = ["log", "create", "d", "--fork-of", "a", "--at", "5"];
    cluster.client(beyond).expect_complaint(4, "its next offset is 4");
    let typed = ["log", "create", "d", "--fork-of", "a", "--content-type", "a/b"];
    cluster.client(typed).expect_complaint(4, "log a is of text/plain, and so are its forks");

    // The source goes, and so does who led when it was forked.
    cluster.client(["log", "delete", "a", "--yes"]).expect_code(0);
    cluster.client(["log", "delete", "b", "--yes"]).expect_code(0);
    let leader = cluster.leader();
    cluster.kill(&leader);
    append_to(&cluster, "c", "c3").expect_code(0);
    assert_eq!(records_of(&cluster, "c"), "a0\na1\nb2\nc3\n");
    for words in
        [&["read", "--log", "a"][..], &["log", "create", "a"], &["log", "delete", "b", "--yes"]]
    {
        cluster
            .client(words.iter().copied())
            .expect_complaint(4, "is deleted, and its name is kept");
    }
    let again = ["log", "create", "d", "--fork-of", "a"];
    cluster.client(again).expect_complaint(4, "log a is deleted");
    let listed = cluster.client(["log", "list"]).expect_code(0).text();
    let expected = "a: next offset 4, deleted and kept for 1 fork, text/plain\n\
         b: next offset 3, fork of a at 2, deleted and kept for 1 fork, text/plain\n\
         c: next offset 4, fork of b at 3, text/plain\n\
         main: next offset 0\n";
    assert_eq!(listed, expected);
    cluster.start(&leader);
    cluster.wait_until_caught_up();
    cluster.stop_all();
    cluster.start_all();
    assert_eq!(records_of(&cluster, "c"), "a0\na1\nb2\nc3\n");
    cluster.client(["trim", "--log", "c", "--before", "1"]).expect_code(0);
    assert_eq!(records_of(&cluster, "c"), "a1\nb2\nc3\n");
    cluster.client(["log", "delete", "c", "--yes"]).expect_code(0);
    assert_eq!(cluster.client(["log", "list"]).expect_code(0).text(), "main: next offset 0\n");
    cluster.stop_all();
}

#[test]
fn what_is_trimmed_is_gone_for_everybody_and_the_rest_keeps_its_offsets() {
    let mut cluster = Cluster::started(Kind::default());
    cluster.append(&["a", "b", "c", "d"]);
    cluster.client(["trim", "--before", "9"]).expect_complaint(4, "its next offset is 4");
    cluster.client(["trim", "--before", "2"]).expect_code(0);
    let leader = cluster.leader();
    cluster.kill(&leader);
    // It never goes back.
    cluster.client(["trim", "--before", "1"]).expect_code(0);
    let begins = "the log begins at offset 2: what was before it was trimmed";
    cluster.client(["read", "--from", "0"]).expect_complaint(4, begins);
    cluster.client(["tail", "-f", "--from", "1"]).expect_complaint(4, begins);
    assert_eq!(cluster.client(["read"]).expect_code(0).text(), "c\nd\n");
    assert_eq!(cluster.client(["tail"]).expect_code(0).text(), "c\nd\n");
    let since = ["read", "--since", "1h", "--format", "%o\n"];
    assert_eq!(cluster.client(since).expect_code(0).text(), "2\n3\n");
    cluster.start(&leader);
    // All of it: what comes goes on where it was.
    cluster.client(["trim", "--before", "4"]).expect_code(0);
    assert_eq!(cluster.client(["read", "--since", "1h"]).expect_code(0).text(), "");
    cluster.append(&["e"]);
    let shown = cluster.client(["read", "--format", "%o %r\n"]).expect_code(0).text();
    assert_eq!(shown, "4 e\n");
    let described = cluster.client(["log", "describe", "main"]).expect_code(0).text();
    assert_eq!(described, "main: next offset 5, begins at 4\n");
    cluster.stop_all();
}

#[test]
fn a_reader_that_follows_a_log_hears_of_that_log_alone_and_of_its_end() {
    let mut cluster = Cluster::started(Kind::default());
    let settings = Settings::from_dir(cluster.folder()).unwrap();
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let client = Client::connect(settings).unwrap();
        let name: LogName = "a".parse().unwrap();
        client.create_log(&name).await.unwrap();
        let log = client.log(&name).await.unwrap();
        let mut tail = log.tail(ReadOptions::default());
        for round in 0..3_u64 {
            client.append(vec!["elsewhere".into()]).await.unwrap();
            log.append(vec![format!("{round}").into()]).await.unwrap();
            let record = tail.next().await.unwrap().unwrap();
            assert_eq!((record.offset.get(), record.bytes), (round, format!("{round}").into()));
        }
        log.delete_log().await.unwrap();
        assert_eq!(tail.next().await, Err(ReadError::UnknownLog));
        client.close().await;
    });
    cluster.stop_all();
}
