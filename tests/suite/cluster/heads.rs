//! Nodes that lack what all others have given back are filled all the same: they begin where the others' logs do.

use serde_json::json;

use super::harness::{Cluster, Kind, wait_for};
use super::refusals::{copy_folder, put_back};
use super::space::{append_under, described, mib_of, most_mib};

/// A cluster with a log that keeps 4 MiB, in segments of one, and the folders of its nodes as they were
/// written.
fn with_retention(kind: Kind) -> Cluster {
    let mut cluster = Cluster::prepared(kind);
    cluster.make_segments_small();
    copy_folder(&cluster.path("data"), &cluster.path("as-written"));
    cluster.start_all();
    cluster.leader();
    let create = ["log", "create", "clicks", "--retention-bytes", "4MiB"];
    cluster.client(create).expect_code(0);
    cluster
}

fn follower(cluster: &Cluster) -> String {
    let leader = cluster.leader();
    cluster.nodes().into_iter().find(|node| *node != leader).unwrap()
}

/// The node's log begins behind what was given back; it has all that is kept, serves it, and is sound.
#[track_caller]
fn expect_filled(cluster: &mut Cluster, node: &str) {
    cluster.wait_until_caught_up();
    let start = described(cluster)["start_offset"].as_u64().unwrap();
    assert!(start > 0);
    let read = |node: &str| {
        cluster.client(["read", "--log", "clicks", "--node", node, "--json"]).expect_code(0).json()
    };
    let leader = cluster.leader();
    let (here, there) = (read(node), read(&leader));
    assert_eq!((here.len(), &here[0]["offset"]), (there.len(), &json!(start)));
    let of_all = |read: &[serde_json::Value]| -> Vec<_> {
        read.iter().map(|record| (record["offset"].clone(), record["record"].clone())).collect()
    };
    assert!(of_all(&here) == of_all(&there), "the records are others");
    cluster.stop_all();
    let data = format!("data/{node}");
    let verified = cluster.run(["verify", "--data", &data]).expect_code(0).text();
    assert!(!verified.is_empty());
    assert!(cluster.inspect(node, None)["first_index"].as_u64().unwrap() > 1);
    cluster.expect_equal_logs();
    // It starts as any other.
    cluster.start_all();
    cluster.wait_until_caught_up();
    cluster.stop_all();
}

#[test]
fn a_node_that_was_wiped_is_filled_with_what_is_kept_and_votes_again() {
    let mut cluster = with_retention(Kind { recovers: true, ..Kind::default() });
    append_under(&cluster, 20, |_| ());
    wait_for("space", || (most_mib(&cluster) < 15).then_some(()));
    let node = follower(&cluster);
    // What the others have in memory they could still give it.
    cluster.stop_all();
    let data = cluster.path(&format!("data/{node}"));
    put_back(&cluster.path("as-written").join(&node), &data);
    cluster.start_all();
    cluster.wait_for_line(&node, "lacks what the others have given up: its log begins behind");
    cluster.wait_for_line(&node, "a voter again");
    expect_filled(&mut cluster, &node);
}

#[test]
fn a_follower_that_was_away_while_the_log_was_trimmed_comes_back() {
    let mut cluster = with_retention(Kind { is_slow: false, ..Kind::default() });
    append_under(&cluster, 3, |_| ());
    cluster.wait_until_caught_up();
    let node = follower(&cluster);
    cluster.stop(&node);
    append_under(&cluster, 20, |_| ());
    // It is waited for, and no longer than that.
    let others: Vec<_> = cluster.nodes().into_iter().filter(|other| *other != node).collect();
    wait_for("space", || {
        let sizes = others.iter().map(|other| mib_of(&cluster, other));
        (sizes.max().unwrap() < 15).then_some(())
    });
    // What the others have in memory they could still give it.
    cluster.stop_all();
    cluster.start_all();
    cluster.wait_for_line(&node, "lacks what the others have given up: its log begins behind");
    expect_filled(&mut cluster, &node);
}
