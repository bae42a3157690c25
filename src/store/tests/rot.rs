//! What was on the disk long ago and is not what it was, in the journal: bits, blocks, files. Nothing of
//! it is cut like a torn end, and nothing is changed by the start that finds it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::super::disk::Disk;
use super::super::journal::{GroupMark, Scan};
use super::super::layout::Layout;
use super::super::testing::*;
use super::super::*;
use crate::entry::SealedEntry;
use crate::limits::JOURNAL_BLOCK_BYTES;

/// A file of the journal is full after seven blocks.
fn options() -> Options {
    Options { journal_file_bytes: 8 * JOURNAL_BLOCK_BYTES as u64, ..small() }
}

fn files_of(disk: &MemoryDisk) -> Disk {
    Layout::in_memory(disk.mount()).disk
}

/// Every name on a disk, with a hash of what it stands for.
fn contents(files: &Disk, folder: &Path) -> BTreeMap<PathBuf, blake3::Hash> {
    let mut found = BTreeMap::new();
    for name in files.names_in(folder).unwrap() {
        let path = folder.join(name);
        let mut hasher = blake3::Hasher::new();
        if files.is_file(&path).unwrap() {
            files.hash_file(&path, &mut hasher, &|_| ()).unwrap();
        } else {
            found.extend(contents(files, &path));
        }
        found.insert(path, hasher.finalize());
    }
    found
}

/// A disk with a store that is not running, the log in it, and the files of its journal that have
/// groups.
struct Old {
    disk: MemoryDisk,
    log: Log,
    files: Vec<PathBuf>,
}

/// How a store came to rest.
#[derive(Clone, Copy, PartialEq)]
enum Rest {
    /// Its process died with its last write.
    Crash,
    /// … or a while later.
    Idle,
    CleanStop,
}

impl Old {
    /// Three files and a part of a fourth one, of one to three blocks each group.
    fn new(rest: Rest) -> Self {
        let disk = MemoryDisk::new();
        create_in(&disk, IDENTITY, &configuration(), &options()).unwrap();
        let mut writer = open_in(&disk, IDENTITY, options()).unwrap().0.into_stepped_writer();
        let mut log = Log::new();
        for bytes in [10, 5000, 200, 9000, 3000, 3900, 10, 4000, 9000, 60, 70, 9000, 80, 5000] {
            run_chores(&mut writer).unwrap();
            let entries = vec![log.add(bytes)];
            writer.write(Write { ticket: Ticket::new(1), entries, ..nothing() });
            assert!(writer.begin() && writer.finish().is_ok());
        }
        match rest {
            Rest::Crash => drop(writer),
            Rest::Idle => {
                writer.keep_up().unwrap();
                drop(writer);
            }
            Rest::CleanStop => writer.close().unwrap(),
        }
        disk.restart();
        let layout = Layout::in_memory(disk.mount());
        let scan = Scan::read(&layout, IDENTITY, 1, GroupMark::default()).unwrap();
        let files: Vec<_> =
            scan.files.iter().map(|file| layout.journal_file(file.number)).collect();
        assert!(files.len() > 3, "{files:?}");
        Self { disk, log, files }
    }

    fn read(&self, file: &Path) -> Vec<u8> {
        files_of(&self.disk).read_file(file).unwrap()
    }

    /// What a start finds on a copy of the disk on which something is changed: entries, or damage that
    /// it has left as it was.
    fn found(&self, change: impl FnOnce(&MemoryDisk)) -> Result<Vec<SealedEntry>, Fault> {
        let disk = self.disk.duplicate();
        change(&disk);
        disk.restart();
        let layout = Layout::in_memory(disk.mount());
        let before = contents(&layout.disk, &layout.data);
        let (_, recovered) = match open_in(&disk, IDENTITY, options()) {
            Ok(found) => found,
            Err(StoreError::Damage { fault, .. }) => {
                assert!(contents(&layout.disk, &layout.data) == before, "{fault}: it was changed");
                return Err(fault);
            }
            Err(error) => panic!("{error}"),
        };
        Ok(recovered.entries)
    }

    fn flipped(&self, file: &Path, bit: usize) -> Result<Vec<SealedEntry>, Fault> {
        self.found(|disk| change_file(disk, file, |bytes| bytes[bit / 8] ^= 1 << (bit % 8)))
    }

    /// The groups of a file: where each begins, and the bytes of it that count.
    fn groups(&self, file: &Path) -> Vec<(usize, usize)> {
        let bytes = self.read(file);
        let mut groups = vec![];
        let mut at = JOURNAL_BLOCK_BYTES;
        while bytes.get(at..at + 4) == Some(b"jgrp") {
            let field: [u8; 4] = bytes[at + 8..at + 12].try_into().unwrap();
            let length = 144 + usize::try_from(u32::from_le_bytes(field)).unwrap();
            groups.push((at, length));
            at += length.next_multiple_of(JOURNAL_BLOCK_BYTES);
        }
        groups
    }
}

/// Some bits of what counts in a group: all of its first bytes, and some of the rest.
fn bits((at, length): (usize, usize)) -> impl Iterator<Item = usize> {
    let bytes = (0..24).chain((24..length).step_by(211)).chain([length - 1]);
    bytes.map(move |byte| (at + byte) * 8 + byte % 8)
}

/// Something is missing behind what is there, or before it, or at the beginning.
fn is_of_journal(fault: &Fault) -> bool {
    matches!(fault, Fault::Hole { .. } | Fault::Border { .. } | Fault::Value { .. })
}

#[test]
fn a_flipped_bit_is_damage_but_in_what_was_written_last() {
    for rest in [Rest::Crash, Rest::Idle, Rest::CleanStop] {
        let old = Old::new(rest);
        let mut tried = 0;
        for file in &old.files {
            for bit in (0..64 * 8).step_by(7) {
                let fault = old.flipped(file, bit).unwrap_err();
                assert!(is_of_journal(&fault), "{fault}");
            }
            for group in old.groups(file) {
                let is_last =
                    Some(file) == old.files.last() && old.groups(file).last() == Some(&group);
                for bit in bits(group) {
                    tried += 1;
                    match old.flipped(file, bit) {
                        Err(fault) => {
                            let may_be = !is_last || rest == Rest::CleanStop;
                            assert!(may_be && is_of_journal(&fault), "{fault}");
                        }
                        Ok(found) => {
                            assert!(is_last && rest != Rest::CleanStop, "bit {bit} is believed");
                            // What is last says nothing, once a store is idle.
                            let lost = usize::from(rest == Rest::Crash);
                            assert_eq!(found, old.log.entries[..old.log.entries.len() - lost]);
                        }
                    }
                }
            }
        }
        assert!(tried > 500, "{tried}");
    }
}

#[test]
fn what_fills_up_a_block_says_nothing() {
    let old = Old::new(Rest::CleanStop);
    for file in &old.files {
        let padding = old.groups(file).into_iter().map(|(at, length)| at + length);
        for byte in padding.filter(|end| end % JOURNAL_BLOCK_BYTES > 0).chain([64, 4095]) {
            assert_eq!(old.flipped(file, byte * 8).unwrap(), old.log.entries);
        }
    }
}

#[test]
fn a_block_that_is_all_zero_is_damage() {
    let old = Old::new(Rest::CleanStop);
    for file in &old.files {
        let (end, length) = old.groups(file).pop().unwrap();
        for at in (0..end + length).step_by(JOURNAL_BLOCK_BYTES) {
            let zeroed = |bytes: &mut Vec<u8>| bytes[at..at + JOURNAL_BLOCK_BYTES].fill(0);
            let fault = old.found(|disk| change_file(disk, file, zeroed)).unwrap_err();
            assert!(is_of_journal(&fault), "{at}: {fault}");
        }
    }
}

/// After a clean stop of all files, else of all but the newest: that there was one is known to nobody
/// until `meta` is next written.
#[test]
fn a_file_that_is_gone_or_empty_or_short_is_damage() {
    for rest in [Rest::Crash, Rest::CleanStop] {
        let old = Old::new(rest);
        let files = &old.files[..old.files.len() - usize::from(rest == Rest::Crash)];
        for file in files {
            let gone = old.found(|disk| files_of(disk).remove_file(file).unwrap());
            let is_first = file == &files[0];
            let fault = gone.unwrap_err();
            assert_eq!(matches!(fault, Fault::JournalGone { .. }), is_first, "{fault}");
            let (end, length) = old.groups(file).pop().unwrap();
            let end = (end + length).next_multiple_of(JOURNAL_BLOCK_BYTES);
            for length in (0..end).step_by(JOURNAL_BLOCK_BYTES) {
                let cut = |bytes: &mut Vec<u8>| bytes.truncate(length);
                old.found(|disk| change_file(disk, file, cut)).unwrap_err();
            }
        }
    }
}

#[test]
fn files_that_have_changed_places_are_damage() {
    let old = Old::new(Rest::CleanStop);
    for (one, other) in (0..old.files.len()).flat_map(|one| (0..one).map(move |other| (one, other)))
    {
        let (one, other) = (&old.files[one], &old.files[other]);
        let (of_one, of_other) = (old.read(one), old.read(other));
        old.found(|disk| {
            change_file(disk, one, |bytes| *bytes = of_other.clone());
            change_file(disk, other, |bytes| *bytes = of_one.clone());
        })
        .unwrap_err();
        old.found(|disk| change_file(disk, one, |bytes| *bytes = of_other)).unwrap_err();
    }
}

/// A file as it was when only its first groups had been written.
#[test]
fn an_earlier_state_of_a_file_is_damage() {
    let old = Old::new(Rest::CleanStop);
    for file in &old.files {
        for (at, _) in old.groups(file) {
            let earlier = |bytes: &mut Vec<u8>| bytes[at..].fill(0);
            let fault = old.found(|disk| change_file(disk, file, earlier)).unwrap_err();
            assert!(is_of_journal(&fault), "{at}: {fault}");
        }
    }
}

/// The thread of a writer has nothing else to do then.
#[test]
fn what_was_written_last_is_confirmed_when_nothing_follows() {
    let folder = Folder::with_store();
    let (mut running, _) = folder.open();
    running.append(&[10]);
    let groups = || {
        let layout = Layout::of(folder.path());
        Scan::read(&layout, IDENTITY, 1, GroupMark::default()).unwrap().last.number
    };
    eventually("another group", || groups() > 1);
    let log = running.crash();
    // And no more than one.
    assert_eq!(groups(), 2);
    folder.open_with(log).0.close();
}
