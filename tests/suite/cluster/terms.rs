//! Terms that nobody can have reached: refused on the way, and mended on the disk.

use super::harness::{Cluster, Kind};

/// Half of all terms there are: far beyond any that elections lead to.
const MADE_UP: &str = "9223372036854775807";

fn set_term(cluster: &Cluster, node: &str, more: &[&str]) -> crate::program::Output {
    let data = format!("./data/{node}");
    let line = ["node", "set-term", "--json", "all-nodes-are-stopped", "--data", &data];
    cluster.run(line.iter().chain(more))
}

#[test]
fn a_made_up_term_stops_one_node_and_one_on_all_disks_can_be_mended() {
    let mut cluster = Cluster::started(Kind::default());
    cluster.append(&["before"]);
    cluster.wait_until_caught_up();
    cluster.stop_all();

    // One node is in a term that was made up: the others do not believe it, and go on.
    set_term(&cluster, "n3", &["--term", MADE_UP]).expect_code(0);
    cluster.start_all();
    cluster.append(&["without n3"]);
    cluster.wait_for_line("n1", "n3 is refused: it is in term 9223372036854775807");
    cluster.wait_for_line("n3", "n1 is refused: it is in term ");
    cluster.stop_all();

    // All are. Nothing of theirs is of that term, so it is taken back.
    for node in ["n1", "n2"] {
        set_term(&cluster, node, &["--term", MADE_UP]).expect_code(0);
    }
    for node in cluster.nodes() {
        let low = set_term(&cluster, &node, &["--term", "1"]);
        low.expect_complaint(1, "may have voted in a term above 1");
        let set = set_term(&cluster, &node, &[]).expect_code(0).json().swap_remove(0);
        assert_eq!(set["before"].to_string(), MADE_UP);
        set_term(&cluster, &node, &["--term", "5"]).expect_complaint(1, "is plausible");
    }
    cluster.start_all();
    cluster.append(&["after"]);
    cluster.wait_until_caught_up();
    assert_eq!(cluster.records(), ["before", "without n3", "after"]);
    cluster.stop_all();
    cluster.expect_equal_logs();
}
