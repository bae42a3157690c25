//! A disk on which writing fails late: a file system on a volume that has less room than it says, as
//! a thin volume of a cloud has. What the page cache took the disk then refuses; the pages stay, and
//! count as clean.
//!
//! ```sh
//! cargo test --test suite thin_volume -- --ignored
//! ```

use std::fs::{self, File};
use std::io::{Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use annal::store::{DiskMap, StoreError};

use crate::power_cut::run;
use crate::store_crash::{Promise, check_log, write_for_ever};
use crate::store_rig::{Worker, create, job, open, tell};

/// More inodes than a test has files.
const FILES: usize = 200;

/// An ext4 in a file that takes no room until it is written, on a tmpfs that is much smaller.
struct Volume {
    folder: tempfile::TempDir,
}

impl Volume {
    fn new() -> Self {
        let volume = Self { folder: tempfile::tempdir().unwrap() };
        fs::create_dir(volume.pool()).unwrap();
        fs::create_dir(volume.place()).unwrap();
        let pool = volume.pool();
        run("mount", &["-t", "tmpfs", "-o", "size=384m", "tmpfs", pool.to_str().unwrap()]);
        let image = volume.image();
        File::create(&image).unwrap().set_len(1 << 30).unwrap();
        // With a journal that cannot be written ext4 stops altogether; one that can be does not.
        run("mkfs.ext4", &["-q", "-F", "-O", "^has_journal", image.to_str().unwrap()]);
        volume.mount();
        volume.take_room_for_names();
        volume
    }

    fn pool(&self) -> PathBuf {
        self.folder.path().join("pool")
    }

    fn image(&self) -> PathBuf {
        self.pool().join("image")
    }

    /// Where the file system is mounted.
    fn place(&self) -> PathBuf {
        self.folder.path().join("mounted")
    }

    fn mount(&self) {
        let (image, place) = (self.image(), self.place());
        let found = Command::new("losetup").args(["--find", "--show"]).arg(image).output().unwrap();
        assert!(found.status.success(), "{}", String::from_utf8_lossy(&found.stderr));
        let device = String::from_utf8(found.stdout).unwrap();
        let (device, name) = (device.trim(), device.trim().trim_start_matches("/dev/"));
        // Page by page: Linux 6.18 takes a write to a loop device that was cut short for done.
        fs::write(format!("/sys/block/{name}/queue/max_sectors_kb"), "4").unwrap();
        run("mount", &[device, place.to_str().unwrap()]);
        // It goes when it is unmounted.
        run("losetup", &["--detach", device]);
    }

    /// What the page cache alone has is gone afterwards.
    fn mount_again(&self) {
        run("umount", &[self.place().to_str().unwrap()]);
        self.mount();
    }

    /// Not what this is about: without a journal, a file system whose inodes cannot be written is
    /// none.
    fn take_room_for_names(&self) {
        let files: Vec<_> =
            (0..FILES).map(|number| self.place().join(number.to_string())).collect();
        for file in &files {
            File::create(file).unwrap();
        }
        run("sync", &["-f", self.place().to_str().unwrap()]);
        for file in &files {
            fs::remove_file(file).unwrap();
        }
        run("sync", &["-f", self.place().to_str().unwrap()]);
    }

    fn filler(&self) -> PathBuf {
        self.pool().join("filler")
    }

    /// From now on nothing more fits.
    fn fill(&self) {
        let mut filler = File::create(self.filler()).unwrap();
        for bytes in [vec![7; 1 << 20], vec![7; 4096]] {
            while filler.write_all(&bytes).is_ok() {}
        }
    }

    fn make_room(&self) {
        fs::remove_file(self.filler()).unwrap();
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        for place in [self.place(), self.pool()] {
            // Whatever still holds it must not keep the test's folder alive.
            let _ = Command::new("umount").arg("--lazy").arg(place).status();
        }
    }
}

/// Hears this many acknowledgements, or all until the child ends.
fn hear(promise: &mut Promise, child: &Worker, count: u64) {
    let until = promise.count + count;
    for line in &child.lines {
        promise.hear(&line);
        if promise.count >= until {
            return;
        }
    }
}

/// A child fills the volume, and ends as it should; there is room again, and another goes on where
/// it finds itself; that is killed, and what only the page cache has is forgotten. Returns what was
/// acknowledged.
fn fill_and_go_on(volume: &Volume, name: &str, job: &str) -> Promise {
    let mut promise = Promise::default();
    let mut child = Worker::start(name, job, &volume.place());
    hear(&mut promise, &child, 30);
    volume.fill();
    promise.hear_all(&child);
    let (status, mut stderr) = (child.child.wait().unwrap(), String::new());
    child.child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!(status.code(), Some(1), "{status}: {stderr}");
    let first = promise;

    // A start without room is refused, or is not; it never finds damage.
    let mut child = Worker::start(name, job, &volume.place());
    for line in &child.lines {
        promise.hear(&line);
        assert!(!(line.contains("refused:") && line.contains("damage")), "{line}");
    }
    child.child.wait().unwrap();

    volume.make_room();
    let mut child = Worker::start(name, job, &volume.place());
    hear(&mut promise, &child, 100);
    assert!(promise.count >= first.count + 100, "the start after it was refused: {promise:?}");
    child.child.kill().unwrap();
    child.child.wait().unwrap();
    promise.hear_all(&child);
    volume.mount_again();
    promise
}

#[test]
#[ignore = "needs root: a loop device and a tmpfs"]
fn nothing_acknowledged_is_lost_behind_a_write_that_failed_late() {
    if let Some((job, folder)) = job() {
        write_for_ever(&folder, &job);
    }
    let name = "thin_volume::nothing_acknowledged_is_lost_behind_a_write_that_failed_late";
    for job in ["fill", "write", "fill", "write"] {
        let volume = Volume::new();
        create(&volume.place());
        let promise = fill_and_go_on(&volume, name, job);
        let (opened, recovered) = open(&volume.place()).unwrap();
        println!("{job}: {promise:?}; {}", recovered.report);
        let term = recovered.hard_state.current_term.get();
        promise.check(recovered.report.last.index.get(), term);
        check_log(&opened, &recovered);
    }
}

/// What the registry does with its map, until it is killed or its disk fails.
fn announce_for_ever(folder: &Path) -> ! {
    let map = match DiskMap::open(folder) {
        Ok(map) => map,
        Err(error) => {
            tell(format_args!("refused: {error}"));
            std::process::exit(6);
        }
    };
    let known = map.scan().unwrap().len() as u64;
    for number in known + 1.. {
        match map.put_all(&[row(number)]) {
            Ok(()) => tell(format_args!("acknowledged: {number} 0")),
            Err(StoreError::Damage { .. }) => std::process::exit(6),
            Err(_) => std::process::exit(1),
        }
    }
    unreachable!("it is killed before it has counted so far")
}

fn row(number: u64) -> (Vec<u8>, Vec<u8>) {
    (number.to_be_bytes().to_vec(), vec![number.to_le_bytes()[0]; 3000])
}

#[test]
#[ignore = "needs root: a loop device and a tmpfs"]
fn nothing_that_the_registry_acknowledged_is_lost_behind_a_write_that_failed_late() {
    if let Some((_, folder)) = job() {
        announce_for_ever(&folder);
    }
    let name = "thin_volume::\
                nothing_that_the_registry_acknowledged_is_lost_behind_a_write_that_failed_late";
    for _ in 0..2 {
        let volume = Volume::new();
        let promise = fill_and_go_on(&volume, name, "announce");
        let rows = DiskMap::open(&volume.place()).unwrap().scan().unwrap();
        println!("{promise:?}; {} rows", rows.len());
        assert!(rows.len() as u64 >= promise.index, "{} of {promise:?}", rows.len());
        for (number, found) in (1..).zip(rows) {
            assert!(found == row(number));
        }
    }
}
