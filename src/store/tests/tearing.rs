//! What a power cut may leave of a write that was not synced, on real files: any of the sectors that
//! it changed, in any order, with the old length of the file or the new one. The simulated disk says
//! that sled makes a beginning of it, whole or torn; here sled has to.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::super::testing::*;
use super::super::*;
use super::witness::{Witness, choices};

/// The least that a disk writes as one.
const SECTOR: usize = 512;

/// Another choice for each.
const CUTS: u64 = 5;

type Files = BTreeMap<PathBuf, Vec<u8>>;

/// A running store, and what it has promised.
struct Home {
    folder: Folder,
    writer: SteppedWriter,
    witness: Witness,
}

impl Home {
    fn new() -> Self {
        let folder = Folder::with_store();
        let writer = folder.try_open().unwrap().0.into_stepped_writer();
        Self { folder, writer, witness: Witness::new() }
    }

    /// Performs a write. Returns the files before and after it.
    fn write(&mut self, write: &Write) -> (Files, Files) {
        let before = self.folder.contents();
        self.witness.ticket += 1;
        self.witness.attempt = Some(write.clone());
        self.writer.write(Write { ticket: Ticket::new(self.witness.ticket), ..write.clone() });
        assert!(self.writer.begin());
        self.writer.finish().unwrap().unwrap();
        (before, self.folder.contents())
    }
}

/// Some of the sectors that were changed, and some of the length.
fn mixed(old: &[u8], new: &[u8], choose: &mut impl FnMut(u64) -> u64) -> Vec<u8> {
    // All, none, a few, most.
    let odds = choose(5);
    let mut keeps = || choose(4) < odds;
    let mut found = old.to_vec();
    if keeps() {
        found.resize(new.len().max(old.len()), 0);
    }
    for (at, sector) in new.chunks(SECTOR).enumerate() {
        let begin = at * SECTOR;
        if old.get(begin..begin + sector.len()) == Some(sector) || !keeps() {
            continue;
        }
        if found.len() < begin + sector.len() {
            found.resize(begin + sector.len(), 0);
        }
        found[begin..begin + sector.len()].copy_from_slice(sector);
    }
    found
}

/// A folder as a power cut leaves it: files of which the name begins like this have in part what was
/// written last, and of the others they have all, or nothing.
fn cut(home: &Path, files: (&Files, &Files), torn: &str, others_new: bool, seed: u64) -> Folder {
    let (before, after) = files;
    let (folder, mut choose) = (Folder::new(), choices(seed));
    for (path, new) in after {
        let target = folder.path().join(path.strip_prefix(home).unwrap());
        if path.is_dir() {
            fs::create_dir_all(target).unwrap();
            continue;
        }
        let old = before.get(path).unwrap_or(new);
        let is_torn = path.strip_prefix(home).unwrap().starts_with(torn);
        let bytes = match is_torn {
            true => mixed(old, new, &mut choose),
            false if others_new => new.clone(),
            false => old.clone(),
        };
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::write(target, bytes).unwrap();
    }
    folder
}

/// The store starts, holds what it promised, and goes on.
fn check(folder: &Folder, witness: &Witness) -> u64 {
    let (store, recovered) = folder.try_open().unwrap();
    let found = store.reader().entries(index(1), index(u64::MAX), usize::MAX).unwrap();
    witness.check(&found, recovered.hard_state);
    let mut log = Log::of(&found);
    let mut writer = store.into_stepped_writer();
    for ticket in 1..=3 {
        let entries = vec![log.add_to(0, 9, 300)];
        writer.write(Write { ticket: Ticket::new(ticket), entries, ..nothing() });
        assert!(writer.begin());
        writer.finish().unwrap().unwrap();
    }
    drop(writer);
    let (store, _) = folder.try_open().unwrap();
    let all = store.reader().entries(index(1), index(u64::MAX), usize::MAX).unwrap();
    assert_eq!(all, log.entries);
    recovered.report.torn_bytes
}

#[test]
fn any_sectors_of_a_write_may_be_missing() {
    let mut home = Home::new();
    let mut log = Log::new();
    let vote = |term, vote| Some(hard_state(term, Some(vote)));
    let mut torn = 0;
    for (number, (keep, sizes, hard_state)) in [
        (u64::MAX, vec![10, 20], None),
        (u64::MAX, vec![900; 12], None),
        (u64::MAX, vec![200_000, 5], None),
        (4, vec![70; 30], vote(2, 1)),
        (u64::MAX, vec![3000; 20], None),
        (u64::MAX, vec![], vote(3, 2)),
        (20, vec![400; 9], None),
    ]
    .into_iter()
    .enumerate()
    {
        let last = log.tip().id.index.get();
        let truncate_from = (keep < last).then(|| index(keep + 1));
        if let Some(from) = truncate_from {
            log.truncate(from);
        }
        let entries = sizes.iter().map(|bytes| log.add_to(0, 3, *bytes)).collect();
        let write = Write { hard_state, truncate_from, entries, ..nothing() };
        let (before, after) = home.write(&write);
        // `meta` is written when the log is synced.
        let places = [("log", false), ("meta", true)];
        let places = if hard_state.is_some() { &places[..] } else { &places[..1] };
        for seed in 0..CUTS {
            for &(place, others_new) in places {
                println!("write {number}, {place}, seed {seed}");
                let files = (&before, &after);
                let folder = cut(home.folder.path(), files, place, others_new, seed);
                torn += check(&folder, &home.witness);
            }
        }
        home.witness.settle();
    }
    assert!(torn > 0, "nothing was ever torn: this shows little");
}
