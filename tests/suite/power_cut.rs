//! Cutting the power: a file system on a loop device, whose image is copied under load. The copy
//! holds what the device was given so far, and nothing that only stands in the page cache.
//!
//! The rig is judged first: sled with nothing but its own `flush` must lose what it acknowledged. A
//! rig in which nobody ever loses anything shows nothing.
//!
//! ```sh
//! cargo test --test suite power_cut -- --ignored
//! ```

use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use annal::entry::SealedEntry;
use annal::store::{self, Write};
use annal::types::Index;

use crate::store_crash::{Promise, bytes_of, check_log, write_for_ever};
use crate::store_rig::{Worker, create, entry_after, job, open, start, tell, write};

/// A file system in an image, mounted. Both are gone at the end.
struct Disk {
    folder: tempfile::TempDir,
    mounted: Vec<PathBuf>,
}

pub(crate) fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
}

impl Disk {
    /// ext4, which by itself would write nothing for minutes.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("image");
        fs::File::create(&image).unwrap().set_len(1 << 30).unwrap();
        run("mkfs.ext4", &["-q", "-F", image.to_str().unwrap()]);
        let mut disk = Self { folder, mounted: vec![] };
        disk.mount("image");
        disk
    }

    fn mount(&mut self, image: &str) -> PathBuf {
        let place = self.folder.path().join(format!("{image}-mounted"));
        fs::create_dir(&place).unwrap();
        let image = self.folder.path().join(image);
        run("mount", &["-o", "loop,commit=300", image.to_str().unwrap(), place.to_str().unwrap()]);
        self.mounted.push(place.clone());
        place
    }

    /// Where the file system is mounted.
    fn place(&self) -> PathBuf {
        self.mounted[0].clone()
    }

    /// Copies what the device has been given so far: what a power cut would leave.
    fn copy(&self) -> String {
        let copy = format!("copy{}", self.mounted.len());
        let (from, to) = (self.folder.path().join("image"), self.folder.path().join(&copy));
        run("cp", &["--sparse=always", from.to_str().unwrap(), to.to_str().unwrap()]);
        copy
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        for place in &self.mounted {
            // Whatever still holds it must not keep the test's folder alive.
            let _ = Command::new("umount").arg("--lazy").arg(place).status();
        }
    }
}

/// Lets a child work for a while, kills it, and cuts the power. Returns what it said, and what is
/// left of its folder.
fn work_and_cut(disk: &mut Disk, name: &str, job: &str, work: Duration) -> (Promise, PathBuf) {
    let mut child = Worker::start(name, job, &disk.place());
    thread::sleep(work);
    child.child.kill().unwrap();
    child.child.wait().unwrap();
    let killed = Instant::now();
    let copy = disk.copy();
    let elapsed = killed.elapsed();
    // The kernel writes by itself what is older than some seconds.
    assert!(elapsed < Duration::from_secs(2), "the copy took {elapsed:?}: too late to be a cut");
    let mut promise = Promise::default();
    promise.hear_all(&child);
    (promise, disk.mount(&copy))
}

/// sled as it is, with its own idea of a flush.
fn write_with_sled(folder: &Path) -> ! {
    let db = sled::Config::new().path(folder.join("sled")).flush_every_ms(None).open().unwrap();
    for number in 1..=u64::MAX {
        db.insert(number.to_be_bytes(), vec![7; 100]).unwrap();
        db.flush().unwrap();
        tell(format_args!("acknowledged: {number} 0"));
    }
    unreachable!("it is killed before it has counted so far")
}

#[test]
#[ignore = "needs root and a loop device"]
fn the_rig_convicts_sleds_own_flush() {
    if let Some((_, folder)) = job() {
        write_with_sled(&folder);
    }
    let mut disk = Disk::new();
    let name = "power_cut::the_rig_convicts_sleds_own_flush";
    let (promise, place) = work_and_cut(&mut disk, name, "sled", Duration::from_millis(700));
    assert!(promise.index > 50, "{promise:?}: hardly anything was written");
    let found = catch_unwind(|| {
        let db = sled::Config::new().path(place.join("sled")).flush_every_ms(None).open().ok()?;
        Some(db.len() as u64)
    });
    let found = found.ok().flatten().unwrap_or(0);
    println!("sled's flush: {found} of {} are left", promise.index);
    assert!(found < promise.index, "nothing was lost: this rig shows nothing");
}

#[test]
#[ignore = "needs root and a loop device"]
fn nothing_acknowledged_is_lost_when_the_power_is_cut() {
    if let Some((job, folder)) = job() {
        write_for_ever(&folder, &job);
    }
    let name = "power_cut::nothing_acknowledged_is_lost_when_the_power_is_cut";
    // With `write` there are truncations, new segments and votes; `fill` only appends.
    for (round, job) in ["write", "fill", "write", "fill", "write"].into_iter().enumerate() {
        let mut disk = Disk::new();
        create(&disk.place());
        let work = Duration::from_millis(900 + 257 * round as u64);
        let (promise, place) = work_and_cut(&mut disk, name, job, work);
        assert!(promise.count > 20, "{promise:?}: hardly anything was written");
        let (opened, recovered) = open(&place).unwrap();
        println!("{job}: {promise:?}; {}", recovered.report);
        let term = recovered.hard_state.current_term.get();
        promise.check(recovered.report.last.index.get(), term);
        check_log(&opened, &recovered);
    }
}

/// Writes, reads, which makes sled do what it has put off, and stops in order.
fn write_and_stop(folder: &Path) -> ! {
    let (opened, recovered) = open(folder).unwrap();
    let reader = opened.reader();
    let mut tip = recovered.entries.last().map_or(recovered.head.tip, SealedEntry::tip);
    let (writer, done) = start(opened);
    for ticket in 1..=300 {
        let entry = entry_after(&tip, bytes_of);
        tip = entry.tip();
        writer.write(Write { entries: vec![entry], ..write(ticket) });
        while done.recv().unwrap() < ticket {}
    }
    reader.entries(Index::new(1), tip.id.index, usize::MAX).unwrap();
    writer.close().unwrap();
    tell(format_args!("stopped: {}", tip.id.index));
    loop {
        thread::park();
    }
}

#[test]
#[ignore = "needs root and a loop device"]
fn a_clean_stop_outlives_a_power_cut() {
    if let Some((_, folder)) = job() {
        write_and_stop(&folder);
    }
    let name = "power_cut::a_clean_stop_outlives_a_power_cut";
    let mut disk = Disk::new();
    create(&disk.place());
    for _ in 0..3 {
        let child = Worker::start(name, "stop", &disk.place());
        let last: u64 = child.next("stopped:").unwrap().parse().unwrap();
        let copy = disk.copy();
        drop(child);
        let place = disk.mount(&copy);
        let (opened, recovered) = open(&place).unwrap();
        assert!(recovered.report.clean);
        assert_eq!(recovered.report.last.index.get(), last);
        check_log(&opened, &recovered);
    }
}

#[test]
#[ignore = "needs root and a loop device"]
fn a_new_store_outlives_a_power_cut() {
    let mut disk = Disk::new();
    create(&disk.place());
    let copy = disk.copy();
    let place = disk.mount(&copy);
    assert!(store::exists(&place).unwrap());
    assert_eq!(open(&place).unwrap().1.entries, []);
}
