//! Nodes that lost their data come back by themselves: as learners that the others fill, then as voters.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::harness::{Cluster, Kind, free_ports, wait_for};
use super::refusals::{copy_folder, keep_older, put_back};
use crate::program;

fn started() -> Cluster {
    let mut cluster = Cluster::started(Kind { recovers: true, ..Kind::default() });
    cluster.append(&["one"]);
    cluster.wait_until_caught_up();
    cluster
}

/// A node that does not lead.
fn follower(cluster: &Cluster) -> String {
    let leader = cluster.leader();
    cluster.nodes().into_iter().find(|node| *node != leader).unwrap()
}

/// The node begins anew, is filled, and votes again; nothing that was acknowledged is lost.
#[track_caller]
fn expect_back(cluster: &mut Cluster, node: &str, records: &[&str]) {
    cluster.wait_for_line(node, "begins anew");
    cluster.wait_for_line(node, "a voter again");
    wait_for("the leader's word", || {
        let words = format!("{node} is filled: it is a voter again");
        let nodes = cluster.nodes();
        nodes.iter().any(|other| cluster.log(other).contains(&words)).then_some(())
    });
    let role = |status: &Value| {
        let nodes = status["nodes"].as_array()?;
        let row = nodes.iter().find(|row| row["node"] == node)?;
        Some(row["role"].clone())
    };
    wait_for("its role", || role(&cluster.status()).filter(|role| role != "recovering"));
    cluster.wait_until_caught_up();
    assert_eq!(cluster.records(), records);
    assert!(cluster.is_running(node));
    // It counts: with it alone beside the leader records are acknowledged.
    let leader = cluster.leader();
    let third = cluster.nodes().into_iter().find(|other| *other != leader && other != node);
    let third = third.filter(|_| leader != node);
    if let Some(third) = &third {
        cluster.stop(third);
        cluster.append(&["with it"]);
        cluster.start(third);
        cluster.wait_until_caught_up();
    }
    cluster.stop_all();
    cluster.expect_equal_logs();
}

#[test]
fn a_node_wiped_to_what_init_wrote_comes_back() {
    let mut cluster = Cluster::prepared(Kind { recovers: true, ..Kind::default() });
    let as_written = cluster.path("as-written");
    copy_folder(&cluster.path("data"), &as_written);
    cluster.start_all();
    cluster.leader();
    cluster.append(&["one"]);
    cluster.wait_until_caught_up();
    let node = follower(&cluster);
    cluster.stop(&node);
    put_back(&as_written.join(&node), &cluster.path(&format!("data/{node}")));
    cluster.append(&["two"]);
    cluster.start(&node);
    cluster.wait_for_line(&node, "made anew");
    expect_back(&mut cluster, &node, &["one", "two"]);
}

#[test]
fn a_node_put_back_from_an_older_copy_comes_back_and_what_it_was_is_kept() {
    let mut cluster = started();
    let node = follower(&cluster);
    let (data, older) = keep_older(&mut cluster, &node);
    put_back(&older, &data);
    cluster.start(&node);
    cluster.wait_for_line(&node, "older copy");
    expect_back(&mut cluster, &node, &["one", "two"]);
    let names: Vec<_> = fs::read_dir(&data)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("suspect-1-"))
        .collect();
    assert_eq!(names.len(), 3, "{names:?}");

    // What it was before is refused for good, and begins anew as well. A peer that had met it for a moment only
    // knows that it is no store of this node's, and may be the first to say so.
    cluster.start_all();
    cluster.wait_until_caught_up();
    cluster.stop(&node);
    put_back(&older, &data);
    cluster.start(&node);
    cluster.wait_for_line(&node, "remembers of it: ");
    cluster.wait_for_line(&node, "begins anew");
    cluster.wait_for_line(&node, "a voter again");
}

#[test]
fn a_copy_beside_its_original_never_takes_its_place() {
    let mut cluster = started();
    let node = follower(&cluster);
    let number: u16 = node[1..].parse().unwrap();
    let copy = cluster.path(&format!("copied/{node}"));
    fs::create_dir(copy.parent().unwrap()).unwrap();
    cluster.stop(&node);
    copy_folder(&cluster.path(&format!("data/{node}")), &copy);
    let file = copy.join("node.toml");
    let text = fs::read_to_string(&file).unwrap();
    let here = format!("listen = \"127.0.0.1:{}\"", cluster.base_port() + number);
    assert!(text.contains(&here), "{text}");
    let elsewhere = format!("listen = \"127.0.0.1:{}\"", free_ports(1));
    fs::write(&file, text.replace(&here, &elsewhere)).unwrap();
    cluster.start(&node);
    cluster.append(&["two"]);
    cluster.wait_until_caught_up();
    let output = program::finish(cluster.start_command(&format!("../copied/{node}")), b"");
    let output = output.expect_complaint(6, "this one is a copy");
    assert!(!output.stderr.contains("begins anew"), "{}", output.stderr);
    cluster.append(&["three"]);
    cluster.wait_until_caught_up();
    assert!(cluster.nodes().iter().all(|node| cluster.is_running(node)));
    assert_eq!(cluster.records(), ["one", "two", "three"]);
}

/// All files below a folder.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![];
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files_below(&path)) } else { found.push(path) }
    }
    found
}

#[test]
fn a_node_whose_journal_rotted_or_whose_files_are_gone_comes_back() {
    let marker = b"a record that is looked for";
    let rot = |data: &Path| {
        let holds = |path: &PathBuf| {
            let bytes = fs::read(path).unwrap();
            bytes.windows(marker.len()).position(|window| window == marker)
        };
        let files = files_below(&data.join("journal"));
        let (file, at) = files.iter().find_map(|file| Some((file, holds(file)?))).unwrap();
        let mut bytes = fs::read(file).unwrap();
        bytes[at + 3] ^= 1;
        fs::write(file, &bytes).unwrap();
    };
    let without = |data: &Path, part: &str| fs::remove_dir_all(data.join(part)).unwrap();
    let spoil: [&dyn Fn(&Path); 3] =
        [&rot, &|data| without(data, "log"), &|data| without(data, "journal")];
    for spoil in spoil {
        let mut cluster = started();
        let node = follower(&cluster);
        let text = String::from_utf8_lossy(marker).into_owned();
        cluster.append(&[&text]);
        cluster.append(&["behind it"]);
        cluster.wait_until_caught_up();
        cluster.kill(&node);
        spoil(&cluster.path(&format!("data/{node}")));
        cluster.append(&["two"]);
        cluster.start(&node);
        expect_back(&mut cluster, &node, &["one", &text, "behind it", "two"]);
    }
}

#[test]
fn by_hand_a_node_begins_anew_when_somebody_says_so() {
    let mut cluster = Cluster::started(Kind::default());
    cluster.append(&["one"]);
    cluster.wait_until_caught_up();
    let node = follower(&cluster);
    let data = format!("data/{node}");
    let line = ["node", "recover", "--data", &data, "begin-anew"];
    cluster.run(line).expect_complaint(1, "another process holds");
    cluster.run(["node", "recover", "--data", &data]).expect_code(2);
    cluster.kill(&node);
    fs::remove_dir_all(cluster.path(&data).join("log")).unwrap();
    program::finish(cluster.start_command(&node), b"").expect_complaint(6, &data);
    let output = cluster.run(line).expect_code(0);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("set aside as suspect-1-*"), "{said}");
    cluster.append(&["two"]);
    cluster.start(&node);
    cluster.wait_for_line(&node, "a voter again");
    cluster.wait_until_caught_up();
    assert_eq!(cluster.records(), ["one", "two"]);
}

#[test]
fn where_the_others_cannot_vote_it_back_a_node_keeps_what_it_has() {
    let mut cluster = Cluster::started(Kind { nodes: 2, recovers: true, ..Kind::default() });
    cluster.append(&["one"]);
    cluster.wait_until_caught_up();
    cluster.kill("n2");
    fs::remove_dir_all(cluster.path("data/n2/log")).unwrap();
    let output = program::finish(cluster.start_command("n2"), b"");
    let output = output.expect_complaint(6, "data/n2");
    assert!(output.stderr.contains("it does not begin anew: of 2 nodes"), "{}", output.stderr);
    assert!(cluster.path("data/n2/meta").exists());
}

/// What is set aside in a node's folder.
fn set_aside(cluster: &Cluster, node: &str) -> Vec<PathBuf> {
    let is_suspect = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.starts_with("suspect-")
    };
    let names = fs::read_dir(cluster.path(&format!("data/{node}"))).unwrap();
    names.map(|entry| entry.unwrap().path()).filter(is_suspect).collect()
}

#[test]
fn of_a_majority_damaged_at_once_nobody_begins_anew_and_one_put_right_heals_the_others() {
    let mut cluster = started();
    let sound = cluster.leader();
    let damaged: Vec<_> = cluster.nodes().into_iter().filter(|node| *node != sound).collect();
    for node in cluster.nodes() {
        cluster.kill(&node);
    }
    for node in &damaged {
        let (data, before) = (format!("data/{node}"), format!("before-{node}"));
        copy_folder(&cluster.path(&data), &cluster.path(&before));
        fs::remove_dir_all(cluster.path(&data).join("journal")).unwrap();
    }
    for node in cluster.nodes() {
        cluster.start(&node);
    }
    for (node, other) in [(&damaged[0], &damaged[1]), (&damaged[1], &damaged[0])] {
        cluster.wait_for_line(node, &format!("and 1 is: {other} is damaged"));
    }
    let status = cluster.status();
    assert_eq!(status["leader"], Value::Null);
    for row in status["nodes"].as_array().unwrap() {
        let is_damaged = damaged.iter().any(|node| row["node"] == *node.as_str());
        assert_eq!(row["role"] == "damaged", is_damaged, "{row}");
        assert_eq!(row["last_index"].is_null(), is_damaged, "{row}");
    }
    let shown = String::from_utf8(cluster.client(["status"]).stdout).unwrap();
    let waits = |node| format!("{node} lost what it promised, and waits");
    assert!(damaged.iter().all(|node| shown.contains(&waits(node))), "{shown}");
    // Nobody acknowledges anything, and nothing is set aside.
    cluster.client(["append", "--timeout", "1s", "two"]).expect_code(3);
    for node in &damaged {
        assert_eq!(set_aside(&cluster, node), Vec::<PathBuf>::new());
        assert!(!cluster.log(node).contains("begins anew"));
    }

    let (righted, other) = (&damaged[0], &damaged[1]);
    cluster.stop(righted);
    put_back(
        &cluster.path(&format!("before-{righted}")),
        &cluster.path(&format!("data/{righted}")),
    );
    cluster.start(righted);
    cluster.wait_for_line(other, "begins anew");
    cluster.wait_for_line(other, "a voter again");
    cluster.wait_until_caught_up();
    cluster.append(&["two"]);
    assert_eq!(cluster.records(), ["one", "two"]);
    assert_eq!(set_aside(&cluster, righted), Vec::<PathBuf>::new());
    assert_eq!(set_aside(&cluster, other).len(), 2);
    cluster.wait_until_caught_up();
    cluster.stop_all();
    cluster.expect_equal_logs();
}
