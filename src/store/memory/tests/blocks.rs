//! What a simulated disk does to files that are written in blocks.

use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::super::super::disk::{Blocks, Disk};
use super::super::super::error::StoreError;
use super::*;

/// Answers these choices, and no others.
fn answers(answers: &[u64]) -> impl FnMut(u64) -> u64 {
    let mut left = answers.iter().copied();
    move |bound| {
        let answer = left.next().unwrap_or_else(|| panic!("another choice of {bound}"));
        assert!(answer < bound, "{answer} of {bound}");
        answer
    }
}

fn after(disk: &MemoryDisk, choose: &mut dyn FnMut(u64) -> u64) -> Vec<u8> {
    let disk = disk.duplicate();
    disk.power_cut(choose);
    all_of(&mounted(&disk), "file")
}

#[test]
fn blocks_that_are_not_synced_are_kept_or_lost_each_for_itself() {
    let (disk, files, file) = with_file(&[1, 2, 3]);
    file.write_at(0, &blocks(&[5, 2, 6])).unwrap();
    assert_eq!(all_of(&files, "file"), [5, 2, 6]);
    // The block in the middle holds what it held: there is nothing to choose.
    assert_eq!(after(&disk, &mut answers(&[0, 0])), [1, 2, 3]);
    assert_eq!(after(&disk, &mut answers(&[0, 1])), [1, 2, 6]);
    assert_eq!(after(&disk, &mut answers(&[1, 0])), [5, 2, 3]);
    assert_eq!(after(&disk, &mut answers(&[1, 1])), [5, 2, 6]);
    file.sync().unwrap();
    assert_eq!(after(&disk, &mut answers(&[])), [5, 2, 6]);
    disk.power_cut(&mut |_| 0);
    assert_eq!(disk.faults().blocks_lost, 0);
}

#[test]
fn of_what_a_file_grew_a_part_is_kept_and_in_it_each_block_for_itself() {
    let (disk, _, file) = with_file(&[1]);
    file.write_at(BLOCK, &blocks(&[2, 0, 3])).unwrap();
    assert_eq!(after(&disk, &mut |_| 0), [1]);
    assert_eq!(after(&disk, &mut |bound| bound - 1), [1, 2, 0, 3]);
    assert_eq!(after(&disk, &mut answers(&[2, 1])), [1, 2, 0]);
    assert_eq!(after(&disk, &mut answers(&[3, 0, 1])), [1, 0, 0, 3]);
    assert_eq!(after(&disk, &mut answers(&[3, 0, 0])), [1, 0, 0, 0]);
}

#[test]
fn zeros_ahead_cost_one_choice_and_no_memory() {
    let (disk, _, file) = with_file(&[1]);
    file.write_at(BLOCK, &vec![0; 16 << 20]).unwrap();
    assert_eq!(disk.bytes(), (16 << 20) + BLOCK);
    let long = after(&disk, &mut answers(&[4096]));
    assert_eq!((long.len(), long.iter().filter(|byte| **byte != 0).count()), (4097, 1));
}

#[test]
fn what_a_failed_sync_was_for_is_shown_and_will_never_be_on_the_disk() {
    let (disk, files, file) = with_file(&[1, 2, 3]);
    file.write_at(0, &blocks(&[5, 6])).unwrap();
    disk.fail_sync_once();
    file.sync().unwrap_err();
    file.write_at(2 * BLOCK, &blocks(&[7])).unwrap();
    file.sync().unwrap();
    assert_eq!(all_of(&files, "file"), [5, 6, 7]);
    assert_eq!(seen(&files.read_past_cache(&place("file")).unwrap()), [1, 2, 7]);
    assert_eq!(after(&disk, &mut answers(&[])), [1, 2, 7]);
    // What is written again counts anew.
    file.write_at(BLOCK, &blocks(&[6])).unwrap();
    assert_eq!(after(&disk, &mut answers(&[0])), [1, 2, 7]);
    file.sync().unwrap();
    assert_eq!(after(&disk, &mut answers(&[])), [1, 6, 7]);
    // The next process sees it, until it lets the page cache forget the file.
    disk.restart();
    let files = mounted(&disk);
    assert_eq!(all_of(&files, "file"), [5, 6, 7]);
    files.forget_cached(&place("file")).unwrap();
    assert_eq!(all_of(&files, "file"), [1, 6, 7]);
}

#[test]
fn what_is_not_synced_when_the_cache_forgets_a_file_is_synced_first() {
    let (disk, files, file) = with_file(&[1, 2]);
    file.write_at(0, &blocks(&[5])).unwrap();
    assert_eq!(seen(&files.read_past_cache(&place("file")).unwrap()), [5, 2]);
    files.forget_cached(&place("file")).unwrap();
    assert_eq!(after(&disk, &mut answers(&[])), [5, 2]);
    file.write_at(0, &blocks(&[6])).unwrap();
    disk.fail_sync_once();
    files.forget_cached(&place("file")).unwrap_err();
    assert_eq!(all_of(&files, "file"), [6, 2]);
}

#[test]
fn a_file_that_a_failed_sync_was_to_make_longer_is_as_long_until_the_power_fails() {
    let (disk, files, file) = with_file(&[1]);
    file.write_at(BLOCK, &blocks(&[2, 3])).unwrap();
    disk.fail_sync_once();
    file.sync().unwrap_err();
    disk.restart();
    drop((files, file));
    let files = mounted(&disk);
    files.forget_cached(&place("file")).unwrap();
    assert_eq!(all_of(&files, "file"), [1, 0, 0]);
    assert_eq!(after(&disk, &mut answers(&[])), [1]);
}

#[test]
fn a_write_that_fails_leaves_the_first_half_of_its_blocks() {
    let (disk, files, file) = with_file(&[1, 1, 1, 1, 1]);
    disk.fail_from_now_on(Failing::Writes);
    file.write_at(BLOCK, &blocks(&[2, 3, 4])).unwrap_err();
    file.write_at(0, &blocks(&[5])).unwrap_err();
    assert_eq!(all_of(&files, "file"), [1, 2, 1, 1, 1]);
    assert_eq!(after(&disk, &mut answers(&[0])), [1, 1, 1, 1, 1]);
    assert_eq!(disk.faults().writes_failed, 2);
}

#[test]
fn on_a_full_disk_a_file_holds_what_it_is_long_and_grows_no_more() {
    let (disk, files, file) = with_file(&[0, 0, 0]);
    disk.leave_room(2 * BLOCK);
    file.write_at(0, &blocks(&[1, 2, 3])).unwrap();
    file.write_at(2 * BLOCK, &blocks(&[4, 5])).unwrap();
    let error = file.write_at(4 * BLOCK, &blocks(&[6, 7])).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    assert_eq!(all_of(&files, "file"), [1, 2, 4, 5, 6]);
    // Of this the half fits that is there already.
    file.write_at(4 * BLOCK, &blocks(&[8, 9])).unwrap_err();
    file.write_at(5 * BLOCK, &blocks(&[9, 9])).unwrap_err();
    assert_eq!(all_of(&files, "file"), [1, 2, 4, 5, 8]);
    file.write_at(0, &blocks(&[2; 5])).unwrap();
    file.sync().unwrap();
    files.create_blocks(&place("other")).unwrap_err();
    files.remove_file(&place("file")).unwrap();
    files.sync_folder(Path::new(ROOT)).unwrap();
    files.create_blocks(&place("other")).unwrap();
    assert_eq!(disk.faults().writes_refused, 4);
}

#[test]
fn a_file_can_be_used_whatever_becomes_of_its_name() {
    let (disk, files, file) = with_file(&[1, 2]);
    files.rename(&place("file"), &place("other")).unwrap();
    file.write_at(0, &blocks(&[3])).unwrap();
    assert_eq!(all_of(&files, "other"), [3, 2]);
    files.remove_file(&place("other")).unwrap();
    files.sync_folder(Path::new(ROOT)).unwrap();
    // A folder that is removed makes the disk look for what nobody needs.
    files.create_folder(&place("folder")).unwrap();
    files.remove_folder(&place("folder")).unwrap();
    assert_eq!(seen(&file.read_at(0, 2 * JOURNAL_BLOCK_BYTES).unwrap()), [3, 2]);
    file.sync().unwrap();
    assert!(!files.exists(&place("other")).unwrap());
    assert_eq!(disk.bytes(), 0);
    disk.restart();
    file.read_at(0, 1).unwrap_err();
    file.write_at(0, &blocks(&[1])).unwrap_err();
    file.sync().unwrap_err();
}

#[test]
fn a_name_of_a_file_is_kept_or_lost_by_itself() {
    let (disk, files, _file) = with_file(&[1]);
    files.rename(&place("file"), &place("other")).unwrap();
    assert_eq!(after(&disk, &mut answers(&[0])), [1]);
    disk.power_cut(&mut answers(&[1]));
    assert_eq!(all_of(&mounted(&disk), "other"), [1]);
}

#[test]
fn a_file_that_is_made_again_is_empty_once_that_is_synced() {
    let (disk, files, _former) = with_file(&[1, 2, 3]);
    let file = files.create_blocks(&place("file")).unwrap();
    assert_eq!(files.length(&place("file")).unwrap(), 0);
    assert_eq!(after(&disk, &mut answers(&[0])), [1, 2, 3]);
    assert!(after(&disk, &mut answers(&[1])).is_empty());
    file.write_at(BLOCK, &blocks(&[4])).unwrap();
    assert_eq!(all_of(&files, "file"), [0, 4]);
    assert_eq!(after(&disk, &mut answers(&[0])), [1, 2, 3]);
    assert_eq!(after(&disk, &mut answers(&[1, 2, 0])), [0, 0]);
    file.sync().unwrap();
    assert_eq!(after(&disk, &mut answers(&[])), [0, 4]);
}

#[test]
fn each_write_sync_and_name_is_an_operation_and_kills_can_come_between() {
    let run = |files: &Disk| -> Result<(), StoreError> {
        let io = StoreError::io("test", Path::new("file"));
        let file = files.create_blocks(&place("file"))?;
        file.write_at(0, &blocks(&[1])).and_then(|()| file.sync()).map_err(io)?;
        files.rename(&place("file"), &place("other"))?;
        files.length(&place("other"))?;
        files.sync_folder(Path::new(ROOT))
    };
    let disk = MemoryDisk::new();
    run(&mounted(&disk)).unwrap();
    assert_eq!(disk.operations(), 5);
    let expected: [Option<&[u8]>; 5] = [None, Some(&[]), Some(&[1]), Some(&[1]), None];
    for (operations, expected) in (0..).zip(expected) {
        let disk = MemoryDisk::new();
        disk.fail_after(operations);
        run(&mounted(&disk)).unwrap_err();
        assert!(disk.is_killed());
        disk.restart();
        let files = mounted(&disk);
        let is_there = files.exists(&place("file")).unwrap();
        let found = is_there.then(|| all_of(&files, "file"));
        assert_eq!(found.as_deref(), expected, "after {operations}");
    }
}

#[test]
fn hashes_tell_contents_and_lengths_apart() {
    let hash = |contents: &[u8]| {
        let (_, files, file) = with_file(contents);
        // What was zero before, is zero now.
        file.write_at(0, &blocks(&contents[..1])).unwrap();
        let mut hasher = blake3::Hasher::new();
        files.hash_file(&place("file"), &mut hasher, &|_| ()).unwrap();
        hasher.finalize()
    };
    assert_eq!(hash(&[0, 1, 0]), hash(&[0, 1, 0]));
    for other in [&[0, 1][..], &[0, 1, 1], &[1, 0, 0], &[0, 0, 1], &[0, 1, 0, 0]] {
        assert_ne!(hash(other), hash(&[0, 1, 0]), "{other:?}");
    }
}

// ---- the real disk ----

#[derive(Clone, Debug)]
enum Step {
    Create(u8),
    Open(u8),
    Close,
    Write(u64, Vec<u8>),
    Read(u64, usize),
    Sync,
    Rename(u8, u8),
    Remove(u8),
    Forget(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let name = 0..3_u8;
    prop_oneof![
        2 => name.clone().prop_map(Step::Create),
        2 => name.clone().prop_map(Step::Open),
        1 => Just(Step::Close),
        8 => (0..5_u64, prop::collection::vec(0..4_u8, 1..4))
            .prop_map(|(at, bytes)| Step::Write(at * BLOCK, bytes)),
        6 => (0..6 * BLOCK, 0..3 * JOURNAL_BLOCK_BYTES).prop_map(|(at, length)| Step::Read(at, length)),
        3 => Just(Step::Sync),
        2 => (name.clone(), name.clone()).prop_map(|(from, to)| Step::Rename(from, to)),
        1 => name.clone().prop_map(Step::Remove),
        1 => name.prop_map(Step::Forget),
    ]
}

/// A disk, and the file that is open.
struct Side {
    files: Disk,
    folder: PathBuf,
    open: Option<Box<dyn Blocks>>,
}

impl Side {
    fn path(&self, name: u8) -> PathBuf {
        self.folder.join(name.to_string())
    }

    /// What a step tells, if it does not fail.
    fn perform(&mut self, step: &Step) -> Option<Vec<u8>> {
        match step {
            Step::Create(name) => {
                self.open = Some(self.files.create_blocks(&self.path(*name)).ok()?);
            }
            Step::Open(name) => self.open = Some(self.files.open_blocks(&self.path(*name)).ok()?),
            Step::Close => self.open = None,
            Step::Write(at, bytes) => self.open.as_ref()?.write_at(*at, &blocks(bytes)).ok()?,
            Step::Read(at, length) => return self.open.as_ref()?.read_at(*at, *length).ok(),
            Step::Sync => self.open.as_ref()?.sync().ok()?,
            Step::Rename(_, to) if self.files.exists(&self.path(*to)).unwrap() => return None,
            Step::Rename(from, to) => {
                self.files.rename(&self.path(*from), &self.path(*to)).ok()?;
            }
            Step::Remove(name) => self.files.remove_file(&self.path(*name)).ok()?,
            Step::Forget(name) => self.files.forget_cached(&self.path(*name)).ok()?,
        }
        Some(vec![])
    }

    /// All names, and what is in their files.
    fn contents(&self) -> Vec<(String, u64, Vec<u8>)> {
        let mut names = self.files.names_in(&self.folder).unwrap();
        names.sort();
        let look = |name: String| {
            let path = self.folder.join(&name);
            let shown = self.files.read_file(&path).unwrap();
            assert_eq!(self.files.read_past_cache(&path).unwrap(), shown);
            (name, self.files.length(&path).unwrap(), shown)
        };
        names.into_iter().map(look).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever is called, on the real disk and on this one, tells the same.
    #[test]
    fn files_of_blocks_are_as_on_the_real_disk(
        steps in prop::collection::vec(step(), 1..40),
    ) {
        let real = tempfile::tempdir().unwrap();
        let memory = mounted(&MemoryDisk::new());
        let folder = real.path().to_owned();
        let mut sides = [(Disk::real(), folder), (memory, PathBuf::from(ROOT))]
            .map(|(files, folder)| Side { files, folder, open: None });
        for step in &steps {
            let [real, memory] = &mut sides;
            prop_assert_eq!(real.perform(step), memory.perform(step), "{:?}", step);
        }
        let [real, memory] = &sides;
        prop_assert_eq!(real.contents(), memory.contents());
    }
}
