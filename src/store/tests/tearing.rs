//! What a power cut may leave of a write that was not synced, on real files: any of the sectors that
//! it changed, in any order, with the old length of the file or the new one. The simulated disk says
//! that sled makes a beginning of it, whole or torn; here sled has to. Of the journal a disk may keep
//! less than the blocks that the simulated one keeps or loses.

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
    log: Log,
}

impl Home {
    /// One whose journal has used its files before.
    fn new() -> Self {
        let folder = Folder::with_store();
        let writer = folder.try_open().unwrap().0.into_stepped_writer();
        let mut home = Self { folder, writer, witness: Witness::new(), log: Log::new() };
        for _ in 0..20 {
            let entries = vec![home.log.add(9000)];
            home.write(&Write { entries, ..nothing() });
            home.witness.settle();
        }
        let (heads, commit_index) = (home.log.end_segment(), home.log.tip().id.index);
        home.write(&Write { commit_index, heads, ..nothing() });
        home.witness.settle();
        home
    }

    /// Performs a write. Returns the files before and after it.
    fn write(&mut self, write: &Write) -> (Files, Files) {
        run_chores(&mut self.writer).unwrap();
        let before = self.files();
        self.witness.ticket += 1;
        self.witness.attempt = Some(write.clone());
        self.writer.write(Write { ticket: Ticket::new(self.witness.ticket), ..write.clone() });
        assert!(self.writer.begin());
        self.writer.finish().unwrap().unwrap();
        (before, self.files())
    }

    /// All files but those of the sealed segment, which no start reads.
    fn files(&self) -> Files {
        let mut files = self.folder.contents();
        let sealed = self.folder.segment(1);
        files.retain(|path, _| path.parent().is_none_or(|parent| !parent.starts_with(&sealed)));
        files
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

/// A folder as a power cut leaves it: what was written last is there in part.
fn cut(home: &Path, (before, after): (&Files, &Files), seed: u64) -> Folder {
    let (folder, mut choose) = (Folder::new(), choices(seed));
    for (path, new) in after {
        let target = folder.path().join(path.strip_prefix(home).unwrap());
        if path.is_dir() {
            fs::create_dir_all(target).unwrap();
            continue;
        }
        let old = before.get(path).expect("a file that was made ahead is there");
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::write(target, mixed(old, new, &mut choose)).unwrap();
    }
    folder
}

/// The store starts, holds what it promised, and goes on.
fn check(folder: &Folder, witness: &Witness) -> u64 {
    let (store, recovered) = folder.try_open().unwrap();
    let sealed = usize::try_from(recovered.head.tip.id.index.get()).unwrap();
    let mut found = witness.log[..sealed].to_vec();
    found.extend(recovered.entries.clone());
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
    assert_eq!(folder.try_open().unwrap().1.entries, log.entries[sealed..]);
    recovered.report.torn_bytes
}

#[test]
fn any_sectors_of_a_write_may_be_missing() {
    let mut home = Home::new();
    let vote = |term, vote| Some(hard_state(term, Some(vote)));
    let mut torn = 0;
    for (number, (back, sizes, hard_state)) in [
        (0, vec![10, 20], None),
        (0, vec![900; 12], None),
        (0, vec![200_000, 5], None),
        (4, vec![70; 30], vote(2, 1)),
        (0, vec![3000; 20], None),
        (0, vec![], vote(3, 2)),
        (20, vec![400; 9], None),
        (0, vec![2000; 5], None),
    ]
    .into_iter()
    .enumerate()
    {
        let from = index(home.log.tip().id.index.get() - back).next();
        home.log.truncate(from);
        let entries = sizes.iter().map(|bytes| home.log.add_to(0, 3, *bytes)).collect();
        let truncate_from = (back > 0).then_some(from);
        let write = Write { hard_state, truncate_from, entries, ..nothing() };
        let (before, after) = home.write(&write);
        for seed in 0..CUTS {
            println!("write {number}, seed {seed}");
            let files = (&before, &after);
            let folder = cut(home.folder.path(), files, seed);
            torn += check(&folder, &home.witness);
        }
        home.witness.settle();
    }
    assert!(torn > 0, "nothing was ever torn: this shows little");
}
