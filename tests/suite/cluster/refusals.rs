//! What a cluster refuses: wrong certificates, foreign or damaged folders, ports that are taken.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::harness::{Cluster, Kind};
use crate::program;

#[test]
fn only_the_right_certificate_is_accepted() {
    let mut cluster = Cluster::started(Kind::default());
    cluster.append(&["one"]);
    let other = tempfile::tempdir().unwrap();
    program::run(other.path(), ["init"]).expect_code(0);
    let certs = cluster.path("certs");
    let copy = |from: &Path, to: &str| {
        for suffix in ["crt", "key"] {
            fs::copy(from.with_extension(suffix), certs.join(format!("{to}.{suffix}"))).unwrap();
        }
    };

    // A client's certificate is no admin's.
    let kept = cluster.path("kept");
    fs::create_dir(&kept).unwrap();
    for name in ["admin", "client", "n1"] {
        for suffix in ["crt", "key"] {
            let file = format!("{name}.{suffix}");
            fs::copy(cluster.path("certs").join(&file), kept.join(&file)).unwrap();
        }
    }
    copy(&kept.join("client"), "admin");
    cluster.client(["crash-leader"]).expect_complaint(1, "only an admin");
    assert_eq!(cluster.append(&["two"])["offset"], 1, "nothing has crashed");
    copy(&kept.join("admin"), "admin");

    // A client's certificate is no node's; neither is another node's.
    cluster.stop("n1");
    for name in ["client", "admin"] {
        copy(&kept.join(name), "n1");
        let output = program::finish(cluster.start_command("n1"), b"");
        output.expect_complaint(1, "is the certificate of");
    }
    let n2 = cluster.path("certs/n2");
    copy(&n2, "n1");
    let output = program::finish(cluster.start_command("n1"), b"");
    output.expect_complaint(1, "is the certificate of");

    // Another cluster's certificates, with or without its authority's.
    copy(&other.path().join("certs/n1"), "n1");
    let output = program::finish(cluster.start_command("n1"), b"");
    output.expect_complaint(1, "was not issued by");
    fs::remove_file(cluster.path("certs/n1.key")).unwrap();
    let output = program::finish(cluster.start_command("n1"), b"");
    output.expect_complaint(1, "n1.key");
    copy(&kept.join("n1"), "n1");
    cluster.start("n1");
    cluster.wait_until_caught_up();

    // A client of another cluster is told so, and quickly.
    let theirs = other.path().join("certs");
    let ours: Vec<String> =
        (1..=3).map(|number| format!("127.0.0.1:{}", cluster.base_port() + number)).collect();
    let line = ["client", "append", "x", "--nodes", &ours.join(","), "--timeout", "5s"];
    let output = program::run(theirs.parent().unwrap(), line);
    output.expect_complaint(1, "certificate");
    // Nor is a leader found there, nor where nobody speaks to clients; whom the registry names is
    // asked whichever of the two answers first.
    let line = ["client", "status", "--json", "--nodes", &ours.join(",")];
    let output = program::run(theirs.parent().unwrap(), line).expect_complaint(3, "certificate");
    assert!(output.json()[0]["leader"].is_null(), "the object is printed all the same");
    let registry = format!("127.0.0.1:{}", cluster.base_port());
    cluster.client(["status", "--nodes", &registry, "--registry", &ours[0]]).expect_code(3);
    cluster.client(["status", "--nodes", &registry]).expect_code(0);
    assert_eq!(cluster.records(), ["one", "two"]);
}

#[test]
fn a_production_cluster_does_not_crash_on_demand() {
    let cluster = Cluster::started(Kind { production: true, ..Kind::default() });
    let output = cluster.client(["crash-leader"]);
    output.expect_complaint(1, "without fault injection");
    cluster.append(&["still here"]);
}

#[test]
fn a_port_in_use_and_a_folder_in_use_are_told_apart() {
    let mut cluster = Cluster::prepared(Kind::default());
    cluster.start("n1");
    cluster.wait_for_line("n1", "listening");
    let output = program::finish(cluster.start_command("n1"), b"");
    output.expect_complaint(1, "another process holds");
    cluster.run(["node", "inspect", "--data", "data/n1"]).expect_complaint(1, "another process");

    let (first, second) = (cluster.base_port() + 1, cluster.base_port() + 2);
    cluster.change_config("n2", &format!("{first}"), "19999");
    cluster.change_config("n2", &format!("{second}"), &format!("{first}"));
    let output = program::finish(cluster.start_command("n2"), b"");
    output.expect_complaint(1, &format!("127.0.0.1:{first}"));
}

#[test]
fn a_folder_that_was_emptied_or_swapped_is_not_started() {
    let mut cluster = Cluster::started(Kind::default());
    cluster.append(&["one"]);
    cluster.wait_until_caught_up();
    cluster.stop_all();
    let data = |node: &str| cluster.path(&format!("data/{node}"));
    let start = |node: &str| program::finish(cluster.start_command(node), b"");

    // Another node's store under this node's configuration.
    fs::rename(data("n1"), data("kept")).unwrap();
    copy_folder(&data("n2"), &data("n1"));
    fs::copy(data("kept").join("node.toml"), data("n1").join("node.toml")).unwrap();
    start("n1").expect_complaint(1, "belongs to n2");
    fs::copy(data("n2").join("node.toml"), data("n1").join("node.toml")).unwrap();
    start("n1").expect_complaint(1, "is the data of n2, not of n1");

    let gone = "n1's data is gone; starting it empty could break what it promised";
    for name in ["meta", "log"] {
        fs::remove_dir_all(data("n1").join(name)).unwrap();
    }
    fs::copy(data("kept").join("node.toml"), data("n1").join("node.toml")).unwrap();
    start("n1").expect_complaint(6, gone);
    fs::remove_dir_all(data("n1")).unwrap();
    start("n1").expect_complaint(6, gone);
    fs::create_dir(data("n1")).unwrap();
    start("n1").expect_complaint(6, gone);

    // The log alone gone, or a file of it: damage as well.
    fs::remove_dir_all(data("n1")).unwrap();
    copy_folder(&data("kept"), &data("n1"));
    fs::remove_dir_all(data("n1").join("log")).unwrap();
    start("n1").expect_complaint(6, "data/n1");
}

#[test]
fn a_flipped_bit_and_a_cut_file_are_found_and_left_as_they_were() {
    let mut cluster = Cluster::started(Kind::default());
    let marker = "a record that is looked for in the file of the segment";
    let records: Vec<String> = (0..50).map(|number| format!("{marker} {number}")).collect();
    cluster.append(&records.iter().map(String::as_str).collect::<Vec<_>>());
    cluster.append(&["behind it"]);
    cluster.wait_until_caught_up();
    cluster.stop_all();
    assert_eq!(cluster.inspect("n1", None)["damage"], serde_json::json!([]));

    let kept = cluster.path("kept");
    copy_folder(&cluster.path("data/n1"), &kept);
    let spoil: [fn(&mut Vec<u8>, usize); 2] =
        [|bytes, at| bytes[at] ^= 1, |bytes, at| bytes.truncate(at)];
    for spoil in spoil {
        let file = file_with(&cluster.path("data/n1"), marker.as_bytes());
        let mut bytes = fs::read(&file).unwrap();
        let at = find(&bytes, marker.as_bytes()).unwrap();
        spoil(&mut bytes, at + 3);
        fs::write(&file, &bytes).unwrap();

        let inspect = cluster.run(["node", "inspect", "--data", "data/n1", "--json"]);
        let inspect = inspect.expect_code(6);
        assert_ne!(inspect.json()[0]["damage"], serde_json::json!([]));
        let output = program::finish(cluster.start_command("n1"), b"");
        output.expect_complaint(6, "data/n1");
        assert!(fs::read(&file).unwrap() == bytes, "the damaged file was changed");
        // And again: a refused start makes nothing better or worse.
        program::finish(cluster.start_command("n1"), b"").expect_code(6);
        assert!(fs::read(&file).unwrap() == bytes, "the damaged file was changed");

        fs::remove_dir_all(cluster.path("data/n1")).unwrap();
        copy_folder(&kept, &cluster.path("data/n1"));
    }
    cluster.start_all();
    cluster.leader();
    assert_eq!(cluster.records().len(), 51);
}

/// Puts a folder that was kept into the place of another.
pub(super) fn put_back(kept: &Path, place: &Path) {
    fs::remove_dir_all(place).unwrap();
    copy_folder(kept, place);
}

/// Keeps a copy of a node's folder from before the record `two`, which the node has when it is stopped
/// again. Gives where the folder is, and the copy.
pub(super) fn keep_older(cluster: &mut Cluster, node: &str) -> (PathBuf, PathBuf) {
    let (data, older) = (cluster.path(&format!("data/{node}")), cluster.path("older"));
    cluster.stop(node);
    copy_folder(&data, &older);
    cluster.start(node);
    cluster.append(&["two"]);
    cluster.wait_until_caught_up();
    cluster.stop(node);
    (data, older)
}

pub(super) fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, to) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        if path.is_dir() {
            copy_folder(&path, &to);
        } else {
            fs::copy(&path, &to).unwrap();
        }
    }
}

/// The file below a folder that holds these bytes.
fn file_with(folder: &Path, bytes: &[u8]) -> PathBuf {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if find(&fs::read(&path).unwrap(), bytes).is_some() {
                return path;
            }
        }
    }
    panic!("no file holds the record as it is");
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

#[test]
fn what_is_kept_is_for_its_owner_only_and_a_wider_folder_is_told() {
    let mut cluster = Cluster::started(Kind::default());
    cluster.append(&["one"]);
    let mut paths = vec![cluster.path("data"), cluster.path("certs")];
    while let Some(path) = paths.pop() {
        // What is deleted meanwhile is nobody's to read.
        let Ok(found) = fs::metadata(&path) else { continue };
        assert_eq!(found.permissions().mode() & 0o077, 0, "{}", path.display());
        if let Ok(entries) = fs::read_dir(&path) {
            paths.extend(entries.map(|entry| entry.unwrap().path()));
        }
    }
    assert!(!cluster.log("n1").contains("chmod"));
    cluster.stop("n1");
    let allow = |path: &str, mode| {
        fs::set_permissions(cluster.path(path), Permissions::from_mode(mode)).unwrap();
    };
    allow("data/n1", 0o755);
    allow("certs", 0o755);
    allow("certs/n2.key", 0o644);
    cluster.start("n1");
    cluster.wait_for_line("n1", "data/n1: chmod -R go= ");
    cluster.wait_for_line("n1", "certs: chmod -R go= ");
}
