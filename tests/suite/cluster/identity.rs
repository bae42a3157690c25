//! Nodes that are not what their peers remember: put back from an older copy, made anew, copied and
//! started beside the original; and files that name different members.

use std::fs;
use std::path::Path;

use super::harness::{Cluster, Kind, free_ports, wait_for};
use super::refusals::{copy_folder, keep_older, put_back};
use crate::program;

/// A follower, and a node that neither leads nor is that.
fn follower_and_other(cluster: &Cluster) -> (String, String) {
    let leader = cluster.leader();
    let mut others = cluster.nodes().into_iter().filter(|node| *node != leader);
    (others.next().unwrap(), others.next().unwrap())
}

/// Lines in the log of a process, of its last start, that say this.
fn lines_with(cluster: &Cluster, node: &str, words: &str) -> usize {
    cluster.log(node).lines().filter(|line| line.contains(words)).count()
}

/// The node ends with exit code 6, says why and what to do, and its peers say it once.
#[track_caller]
fn expect_refused(cluster: &mut Cluster, node: &str, words: &str) {
    let status = cluster.wait_for_end(node);
    assert_eq!(status.code(), Some(6), "{status}");
    let log = cluster.log(node);
    let said = log.lines().rev().take(4).collect::<Vec<_>>().join("\n");
    assert!(said.contains("is not what n") && said.contains(words), "{said}");
    assert!(said.contains("hint: "), "{said}");
    for peer in cluster.nodes().iter().filter(|peer| *peer != node) {
        let count = lines_with(cluster, peer, &format!("{node} is refused"));
        assert!(count <= 1, "{peer} says it {count} times");
    }
}

#[test]
fn a_follower_put_back_from_an_older_copy_is_refused() {
    let mut cluster = Cluster::started(Kind::default());
    cluster.append(&["one"]);
    cluster.wait_until_caught_up();
    let (follower, _) = follower_and_other(&cluster);
    let (data, older) = keep_older(&mut cluster, &follower);
    let newest = cluster.path("newest");
    copy_folder(&data, &newest);

    put_back(&older, &data);
    cluster.start(&follower);
    expect_refused(&mut cluster, &follower, "older copy");
    // The others carry on, and whoever starts it again is told the same.
    cluster.append(&["three"]);
    let output = program::finish(cluster.start_command(&follower), b"");
    output.expect_complaint(6, "an earlier start was refused");

    // The folder as it was is welcome.
    put_back(&newest, &data);
    cluster.start(&follower);
    cluster.wait_until_caught_up();
    assert_eq!(cluster.records(), ["one", "two", "three"]);
}

#[test]
fn a_folder_copied_while_its_node_ran_and_put_back_later_is_refused() {
    let mut cluster = Cluster::started(Kind::default());
    cluster.append(&["one"]);
    cluster.wait_until_caught_up();
    let (follower, _) = follower_and_other(&cluster);
    let data = cluster.path(&format!("data/{follower}"));
    let older = cluster.path("older");
    // The same start writes before the copy and after it.
    cluster.signal(&follower, "STOP");
    copy_folder(&data, &older);
    cluster.signal(&follower, "CONT");
    cluster.append(&["two"]);
    cluster.wait_until_caught_up();
    cluster.kill(&follower);
    put_back(&older, &data);
    cluster.start(&follower);
    expect_refused(&mut cluster, &follower, "older copy");
    assert_eq!(cluster.records(), ["one", "two"]);
}

#[test]
fn a_folder_put_back_as_init_wrote_it_is_refused() {
    let mut cluster = Cluster::prepared(Kind::default());
    let as_written = cluster.path("as-written");
    copy_folder(&cluster.path("data"), &as_written);
    cluster.start_all();
    cluster.leader();
    cluster.append(&["one"]);
    cluster.wait_until_caught_up();
    let (follower, _) = follower_and_other(&cluster);
    cluster.stop(&follower);
    put_back(&as_written.join(&follower), &cluster.path(&format!("data/{follower}")));
    cluster.start(&follower);
    expect_refused(&mut cluster, &follower, "made anew");
    cluster.append(&["two"]);
}

#[test]
fn histories_that_contradict_each_other_are_told_and_end_nobody_by_a_panic() {
    let mut cluster = Cluster::started(Kind::default());
    cluster.append(&["one"]);
    cluster.wait_until_caught_up();
    let data = cluster.path("data/n1");
    let older = cluster.path("older");
    cluster.stop("n1");
    copy_folder(&data, &older);
    cluster.stop("n2");
    cluster.start("n1");
    cluster.append(&["acknowledged by n1 and n3"]);
    cluster.stop("n1");
    cluster.stop("n3");
    // Of those that run now, nobody can know that n1 has forgotten an entry.
    put_back(&older, &data);
    cluster.start("n1");
    cluster.start("n2");
    cluster.append(&["acknowledged by n1 and n2"]);
    cluster.start("n3");

    // n3 knows better than n1, and n2 has other records than n3.
    expect_refused(&mut cluster, "n1", "older copy");
    let (ended, other) =
        wait_for("n2 or n3 to end", || match (cluster.has_ended("n2"), cluster.has_ended("n3")) {
            (Some(status), None) => Some((("n2", status), "n3")),
            (None, Some(status)) => Some((("n3", status), "n2")),
            (None, None) => None,
            both => panic!("both ended: {both:?}"),
        });
    assert_eq!(ended.1.code(), Some(6), "{}: {}", ended.0, ended.1);
    let log = cluster.log(ended.0);
    let said = log.lines().rev().take(4).collect::<Vec<_>>().join("\n");
    assert!(said.contains("contradict each other") && said.contains(other), "{said}");
    assert!(said.contains("hint: ") && !said.contains("panicked"), "{said}");
    assert!(cluster.is_running(other));
}

/// A copy of a folder that listens elsewhere.
fn listening_elsewhere(cluster: &Cluster, copy: &Path, port: u16) {
    let file = copy.join("node.toml");
    let text = fs::read_to_string(&file).unwrap();
    let here = format!("listen = \"127.0.0.1:{}\"", cluster.base_port() + 2);
    assert!(text.contains(&here), "{text}");
    fs::write(&file, text.replace(&here, &format!("listen = \"127.0.0.1:{port}\""))).unwrap();
}

#[test]
fn a_copy_started_beside_its_original_ends_and_the_original_stays() {
    let mut cluster = Cluster::started(Kind::default());
    cluster.append(&["one"]);
    cluster.wait_until_caught_up();
    let stopped = cluster.path("stopped/n2");
    let running = cluster.path("running/n2");
    let copied = |cluster: &Cluster, copy: &Path| {
        fs::create_dir(copy.parent().unwrap()).unwrap();
        copy_folder(&cluster.path("data/n2"), copy);
        listening_elsewhere(cluster, copy, free_ports(1));
    };
    cluster.stop("n2");
    copied(&cluster, &stopped);
    cluster.start("n2");
    cluster.append(&["two"]);
    cluster.wait_until_caught_up();
    cluster.signal("n2", "STOP");
    copied(&cluster, &running);
    cluster.signal("n2", "CONT");
    cluster.append(&["three"]);
    cluster.wait_until_caught_up();

    let before: usize = cluster.nodes().iter().map(|node| cluster.log(node).lines().count()).sum();
    for name in ["../stopped/n2", "../running/n2"] {
        let output = program::finish(cluster.start_command(name), b"");
        let output = output.expect_complaint(6, "n2 is not what");
        assert!(output.stderr.contains("this one is a copy"), "{}", output.stderr);
        assert!(output.stderr.lines().count() < 100, "{}", output.stderr);
    }
    let after: usize = cluster.nodes().iter().map(|node| cluster.log(node).lines().count()).sum();
    assert!(after - before < 100, "{} lines about two copies", after - before);
    cluster.append(&["four"]);
    cluster.wait_until_caught_up();
    for node in cluster.nodes() {
        assert!(cluster.is_running(&node), "{node} has ended");
    }
}

#[test]
fn files_that_name_different_members_are_told_on_both_sides() {
    let mut cluster = Cluster::prepared(Kind::default());
    let port = cluster.base_port() + 1;
    let n1 = format!("n1 = \"127.0.0.1:{port}\"");
    cluster.change_config("n3", &n1, &format!("{n1}\nn4 = \"127.0.0.1:19999\""));
    cluster.start_all();
    cluster.leader();
    cluster.append(&["one"]);
    for node in ["n1", "n2"] {
        cluster.wait_for_line(node, "n3 is refused: their files name different members");
        cluster.wait_for_line("n3", "different members: n1, n2, n3 here, n1, n2, n3, n4 there");
    }
    // Whoever corrects the file is welcome.
    cluster.stop("n3");
    cluster.change_config("n3", "n4 = \"127.0.0.1:19999\"", "");
    cluster.start("n3");
    cluster.wait_until_caught_up();
    assert!(lines_with(&cluster, "n1", "n3 is refused") <= 1);
}
