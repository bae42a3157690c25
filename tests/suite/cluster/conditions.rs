//! Appends under conditions, of real processes: what is accepted, what is refused, and what it says.

use std::thread;

use super::harness::{Cluster, Kind};
use crate::program::{self, Output};

fn expecting<'a>(offset: &'a str, record: &'a str) -> [&'a str; 4] {
    ["append", "--expect-offset", offset, record]
}

#[test]
fn an_append_that_expects_an_offset_is_taken_there_or_refused() {
    let mut cluster = Cluster::started(Kind::default());
    cluster.append(&["a", "b"]);
    let refused = cluster
        .client(expecting("1", "c"))
        .expect_complaint(4, "the log did not end at offset 1: its next offset is 2");
    assert!(refused.stderr.contains("hint: `annal client read --from 1` shows"), "{refused:?}");
    cluster.client(expecting("9", "c")).expect_complaint(4, "its next offset is 2");
    cluster.client(expecting("2", "c")).expect_code(0);

    // Lines stand side by side, or the first that does not ends it.
    let mut lines = program::annal(cluster.folder());
    lines.args(["append", "--expect-offset", "3", "-"]);
    program::finish(lines, b"d\ne\n").expect_code(0);
    let mut lines = program::annal(cluster.folder());
    lines.args(["append", "--expect-offset", "3", "-"]);
    let refused = program::finish(lines, b"d\ne\n").expect_complaint(4, "its next offset is 5");
    assert!(refused.stderr.contains("no line is acknowledged"), "{refused:?}");
    assert_eq!(cluster.records(), ["a", "b", "c", "d", "e"]);
    cluster.stop_all();
}

#[test]
fn of_two_that_expect_one_offset_one_is_taken_whoever_leads() {
    let mut cluster = Cluster::started(Kind::default());
    let mut winners = vec![];
    for round in 0..6 {
        if round == 3 {
            let leader = cluster.leader();
            cluster.kill(&leader);
            cluster.start(&leader);
        }
        let offset = round.to_string();
        let records = [format!("{round}-x"), format!("{round}-y")];
        let outcomes = thread::scope(|scope| {
            let append = |record: &String| cluster.client(expecting(&offset, record));
            let racing: Vec<_> =
                records.iter().map(|record| scope.spawn(move || append(record))).collect();
            racing.into_iter().map(|racing| racing.join().unwrap()).collect::<Vec<_>>()
        });
        let codes: Vec<_> = outcomes.iter().map(|output| output.code).collect();
        let won = codes.iter().position(|code| *code == Some(0)).unwrap();
        assert_eq!(codes[1 - won], Some(4), "{outcomes:?}");
        winners.push(records[won].clone());
    }
    assert_eq!(cluster.records(), winners);
    cluster.stop_all();
}

/// An append that names this fence.
fn naming(cluster: &Cluster, fence: &str, record: &str) -> Output {
    cluster.client(["append", "--fence", fence, record])
}

#[test]
fn nothing_that_names_another_fence_is_taken() {
    let mut cluster = Cluster::started(Kind::default());
    assert_eq!(cluster.client(["fence"]).expect_code(0).text(), "no fence\n");
    naming(&cluster, "w1", "early").expect_complaint(4, "the log's fence is none, not w1");
    assert_eq!(cluster.client(["fence", "w1"]).expect_code(0).text(), "w1\n");
    naming(&cluster, "w1", "a").expect_code(0);
    cluster.client(["fence", "w2"]).expect_code(0);
    naming(&cluster, "w1", "late").expect_complaint(4, "the log's fence is w2, not w1");
    naming(&cluster, "w2", "b").expect_code(0);
    cluster.client(["append", "whoever"]).expect_code(0);
    let shown = cluster.client(["fence", "--json"]).expect_code(0).json();
    assert_eq!(shown, [serde_json::json!({"fence": "w2"})]);

    // All of it is in the log, and so with the next leader, and after a restart of all.
    let leader = cluster.leader();
    cluster.kill(&leader);
    naming(&cluster, "w1", "later").expect_complaint(4, "the log's fence is w2, not w1");
    cluster.start(&leader);
    cluster.stop_all();
    cluster.start_all();
    naming(&cluster, "w1", "at last").expect_complaint(4, "the log's fence is w2, not w1");
    cluster.client(["fence", "--clear"]).expect_code(0);
    naming(&cluster, "w2", "c").expect_complaint(4, "the log's fence is none, not w2");
    assert_eq!(cluster.records(), ["a", "b", "whoever"]);
    for word in ["", "a b", "1234567890123456789012345678901234567"] {
        cluster.client(["fence", word]).expect_code(2);
    }
    cluster.stop_all();
}
