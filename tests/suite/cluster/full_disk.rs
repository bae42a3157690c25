//! A disk that fills up under a whole cluster.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{FallocateFlags, fallocate, statvfs};
use rustix::io::Errno;

use super::harness::{Cluster, Kind, wait_for};

const MIB: u64 = 1 << 20;

/// Bytes of a segment: with it a node wants 130 MiB to be free.
const SEGMENT_BYTES: &str = "1048576";

/// A small file system of its own; gone with this.
struct Small {
    folder: PathBuf,
}

impl Small {
    /// Puts what is in a folder onto a small file system that is mounted there.
    fn under(folder: &Path, mib: u64) -> Self {
        let before = folder.with_extension("before");
        fs::rename(folder, &before).unwrap();
        fs::create_dir(folder).unwrap();
        run("mount", &["-t", "tmpfs", "-o", &format!("size={mib}m"), "small", path(folder)]);
        let small = Self { folder: folder.to_owned() };
        run("cp", &["-a", &format!("{}/.", path(&before)), path(folder)]);
        small
    }

    /// Takes all of it but so many bytes. Nodes that run there take and give back space meanwhile: what
    /// is taken already stays taken, and what was free a moment ago may be free no more.
    fn leave(&self, bytes: u64) {
        let file =
            File::options().create(true).append(true).open(self.folder.join("filler")).unwrap();
        wait_for("the disk to be filled", || {
            let found = statvfs(&self.folder).unwrap();
            let more = (found.f_bavail * found.f_frsize).saturating_sub(bytes);
            let taken = file.metadata().unwrap().len();
            match more {
                0 => Some(()),
                more => match fallocate(&file, FallocateFlags::empty(), taken, more) {
                    Ok(()) | Err(Errno::NOSPC) => None,
                    Err(error) => panic!("cannot fill the disk: {error}"),
                },
            }
        });
    }

    fn make_room(&self) {
        fs::remove_file(self.folder.join("filler")).unwrap();
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // Lazily: what still runs there is ended by the cluster.
        let _ = Command::new("umount").args(["-l", path(&self.folder)]).status();
    }
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[track_caller]
fn run(program: &str, arguments: &[&str]) {
    let status = Command::new(program).args(arguments).status().unwrap();
    assert!(status.success(), "{program} {arguments:?}: {status}");
}

/// A cluster all of whose data lies on one small file system.
fn on_small_disk(mib: u64) -> (Small, Cluster) {
    let mut cluster = Cluster::started(Kind::default());
    cluster.append(&["one"]);
    cluster.stop_all();
    for node in cluster.nodes() {
        let line = fs::read_to_string(cluster.path(&format!("data/{node}/node.toml"))).unwrap();
        let line = line.lines().find(|line| line.starts_with("segment_bytes")).unwrap().to_owned();
        cluster.change_config(&node, &line, &format!("segment_bytes = {SEGMENT_BYTES}"));
    }
    let small = Small::under(&cluster.path("data"), mib);
    cluster.start_all();
    cluster.leader();
    (small, cluster)
}

fn full_nodes(cluster: &Cluster) -> usize {
    let status = cluster.status();
    let nodes = status["nodes"].as_array().unwrap();
    nodes.iter().filter(|node| node["disk_full"]["free_bytes"].is_u64()).count()
}

#[test]
#[ignore = "needs root: mounts a small file system"]
fn a_full_disk_takes_no_records_and_everything_else_goes_on() {
    let (small, mut cluster) = on_small_disk(300);
    cluster.append(&["two"]);
    small.leave(100 * MIB);
    wait_for("all to notice", || (full_nodes(&cluster) == 3).then_some(()));
    let refused = cluster.client(["append", "--timeout", "2s", "three"]);
    let refused = refused.expect_complaint(3, "'s disk is full: ");
    assert!(refused.stderr.contains("MiB free, 130 MiB needed"), "{}", refused.stderr);
    assert_eq!(cluster.records(), ["one", "two"]);
    let shown = cluster.client(["status"]).expect_code(0).text();
    assert!(shown.contains("n1's disk is full: "), "{shown}");

    // Votes, the first entry of a new leader, a start.
    let old = cluster.leader();
    cluster.kill(&old);
    wait_for("another leader", || (cluster.leader() != old).then_some(()));
    assert_eq!(cluster.records(), ["one", "two"]);
    cluster.start(&old);
    cluster.wait_for_line(&old, "recovered: ");
    cluster.client(["append", "--timeout", "2s", "three"]).expect_complaint(3, "'s disk is full");

    cluster.wait_for_line(&old, "the disk is full (");
    small.make_room();
    cluster.append(&["three"]);
    cluster.wait_for_line(&old, "the disk has room again");
    cluster.wait_until_caught_up();
    assert_eq!(cluster.records(), ["one", "two", "three"]);
    cluster.stop_all();
}

#[test]
#[ignore = "needs root: mounts a small file system"]
fn what_a_disk_without_any_room_ends_says_so_and_comes_back_with_everything() {
    let (small, mut cluster) = on_small_disk(300);
    cluster.append(&["two"]);
    let killed = cluster.leader();
    cluster.kill(&killed);
    let leader = wait_for("another leader", || Some(cluster.leader()).filter(|l| *l != killed));
    // All at once, while records come: some write finds no room before anybody has looked.
    let large = vec![b'x'; 1 << 20];
    let appends = |cluster: &Cluster| {
        let line = ["client", "append", "--timeout", "1s", "--json", "-"];
        let input = [&large[..], b"\n"].concat().repeat(4);
        crate::program::run_with_input(cluster.folder(), line, &input)
    };
    small.leave(0);
    let _ = appends(&cluster);

    // A start takes what was kept for it.
    cluster.start(&killed);
    cluster.wait_for_line(&killed, "the space that was kept for it");
    cluster.wait_for_line(&killed, "recovered: ");
    cluster.wait_for_line(&killed, "the disk is full (");
    cluster.kill(&killed);

    // Without that it does not begin with what it has no room for.
    let _ = fs::remove_file(cluster.path(&format!("data/{killed}/reserve")));
    small.leave(0);
    cluster.start(&killed);
    let status = cluster.wait_for_end(&killed);
    assert_eq!(status.code(), Some(1), "{status}");
    let said = cluster.log(&killed);
    assert!(said.contains("error: needs ") && said.contains("hint: make room"), "{said}");
    let left: Vec<_> = fs::read_dir(cluster.path(&format!("data/{killed}"))).unwrap().collect();
    let left = left.into_iter().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert!(left.into_iter().all(|name| !name.starts_with("trial-")), "a copy is left");

    // Who ended over a write ended with a sentence.
    for node in cluster.nodes() {
        if let Some(status) = cluster.has_ended(&node).filter(|_| node != killed) {
            let said = cluster.log(&node);
            assert_eq!(status.code(), Some(1), "{node}: {status}\n{said}");
            assert!(said.contains("error: ") && said.contains("hint: make room"), "{said}");
        }
    }
    small.make_room();
    for node in cluster.nodes() {
        if !cluster.is_running(&node) {
            cluster.start(&node);
        }
    }
    cluster.append(&["three"]);
    let records = cluster.records();
    assert_eq!(records[..2], ["one", "two"], "{leader} led");
    assert_eq!(records.last().unwrap(), "three");
    cluster.stop_all();
}
