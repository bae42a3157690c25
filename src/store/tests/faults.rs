//! What a simulated disk can do to a store: first that it does it, then that the store copes.

use std::path::Path;

use super::super::barrier::{CONF_FILE, DB_FILE};
use super::super::disk::{Disk, Files as _};
use super::super::engine::{Batch, Engine as _};
use super::super::journal::{GroupMark, Scan};
use super::super::layout::Layout;
use super::super::testing::*;
use super::super::*;
use super::witness::choices;
use crate::entry::SealedEntry;
use crate::limits::UNSEALED_SEGMENTS_MAX;

fn lose_all(_: u64) -> u64 {
    0
}

/// A disk with a new store.
fn disk_with_store() -> MemoryDisk {
    let disk = MemoryDisk::new();
    create_in(&disk, IDENTITY, &configuration(), &small()).unwrap();
    disk
}

fn try_open(disk: &MemoryDisk) -> Result<(Store, Recovered), StoreError> {
    open_in(disk, IDENTITY, small())
}

fn writer(disk: &MemoryDisk) -> SteppedWriter {
    try_open(disk).unwrap().0.into_stepped_writer()
}

fn write(writer: &mut SteppedWriter, write: Write) -> Result<Option<Done>, StoreError> {
    writer.write(Write { ticket: Ticket::new(1), ..write });
    assert!(writer.begin());
    writer.finish()
}

fn append(
    writer: &mut SteppedWriter,
    log: &mut Log,
    bytes: usize,
) -> Result<Option<Done>, StoreError> {
    let entries = vec![log.add(bytes)];
    write(writer, Write { entries, ..nothing() })
}

fn roll(writer: &mut SteppedWriter, log: &mut Log) {
    let heads = log.end_segment();
    write(writer, Write { heads, ..nothing() }).unwrap();
}

/// All entries that can be read after a start.
fn all(disk: &MemoryDisk) -> Vec<SealedEntry> {
    let (store, _) = try_open(disk).unwrap();
    store.reader().entries(index(1), index(u64::MAX), usize::MAX).unwrap()
}

/// A disk as the store uses it, with a folder in it that lasts.
fn bare_disk() -> (MemoryDisk, Disk, Layout) {
    let disk = MemoryDisk::new();
    let layout = Layout::in_memory(disk.mount());
    layout.disk.create_folder(&layout.log()).unwrap();
    layout.disk.sync_folder(&layout.data).unwrap();
    (disk, layout.disk.clone(), layout)
}

// ---- the disk can be caught ----

#[test]
fn without_a_sync_of_its_folder_a_segment_is_lost() {
    for synced in [false, true] {
        let (disk, files, layout) = bare_disk();
        let segment = layout.segment(index(1));
        files.create_folder(&segment).unwrap();
        let database = disk.mount().open(&segment).unwrap();
        database.sync().unwrap();
        files.sync_file(&segment.join(CONF_FILE)).unwrap();
        files.sync_folder(&segment).unwrap();
        if synced {
            files.sync_folder(&layout.log()).unwrap();
        }
        disk.power_cut(&mut lose_all);
        let layout = Layout::in_memory(disk.mount());
        assert_eq!(layout.disk.exists(&segment.join(DB_FILE)).unwrap(), synced);
    }
}

#[test]
fn without_a_sync_a_batch_is_lost_with_the_power_but_not_with_the_process() {
    let (disk, files, layout) = bare_disk();
    let segment = layout.segment(index(1));
    files.create_folder(&segment).unwrap();
    let database = disk.mount().open(&segment).unwrap();
    let put = |value: u8| {
        let mut batch = Batch::default();
        batch.insert(&[1], &[value]);
        database.apply(batch).unwrap();
    };
    put(1);
    database.sync().unwrap();
    files.sync_folder(&segment).unwrap();
    files.sync_folder(&layout.log()).unwrap();
    put(2);
    put(3);
    let value =
        |disk: &MemoryDisk| disk.mount().open(&segment).unwrap().get(&[1]).unwrap().unwrap();
    let of_cut = |kept| {
        let disk = disk.duplicate();
        disk.power_cut(&mut |bound| if bound == 3 { kept } else { 1 });
        value(&disk)[0]
    };
    assert_eq!([0, 1, 2].map(of_cut), [1, 2, 3], "a prefix survives");
    disk.restart();
    assert_eq!(value(&disk)[0], 3);
    let error = database.get(&[1]).unwrap_err();
    assert_eq!(error.to_string(), "IO error: the process was killed");
}

#[test]
fn a_sync_that_failed_is_not_made_good_by_the_next() {
    let (disk, files, layout) = bare_disk();
    let segment = layout.segment(index(1));
    files.create_folder(&segment).unwrap();
    let database = disk.mount().open(&segment).unwrap();
    files.sync_folder(&segment).unwrap();
    files.sync_folder(&layout.log()).unwrap();
    let put = |key: u8| {
        let mut batch = Batch::default();
        batch.insert(&[key], &[1]);
        database.apply(batch).unwrap();
    };
    put(1);
    disk.fail_sync_once();
    database.sync().unwrap_err();
    database.sync().unwrap();
    put(2);
    database.sync().unwrap();
    assert!(database.get(&[1]).unwrap().is_some(), "the page cache says that all is well");
    disk.restart();
    let found = |disk: &MemoryDisk| {
        let database = disk.mount().open(&segment).unwrap();
        [1, 2].map(|key| database.get(&[key]).unwrap().is_some())
    };
    assert_eq!(found(&disk.duplicate()), [true; 2], "and so it does to the next process");
    let cut = disk.duplicate();
    cut.power_cut(&mut |bound| bound - 1);
    assert_eq!(found(&cut), [false; 2], "sled's log ends before the gap");
    disk.mount().forget_cached(&segment.join(DB_FILE)).unwrap();
    assert_eq!(found(&disk), [false; 2], "the platter was asked");
}

#[test]
fn names_whose_sync_failed_last_only_if_another_is_changed() {
    for changed in [false, true] {
        let (disk, files, layout) = bare_disk();
        let path = |name: &str| layout.log().join(name);
        files.create_mark(&path("a")).unwrap();
        disk.fail_sync_once();
        files.sync_folder(&layout.log()).unwrap_err();
        disk.restart();
        let files = Layout::in_memory(disk.mount()).disk;
        assert!(files.exists(&path("a")).unwrap(), "the next process sees it");
        if changed {
            files.create_mark(&path("b")).unwrap();
        }
        files.sync_folder(&layout.log()).unwrap();
        disk.power_cut(&mut lose_all);
        let files = Layout::in_memory(disk.mount()).disk;
        assert_eq!(files.exists(&path("a")).unwrap(), changed);
    }
}

#[test]
fn names_are_kept_or_lost_each_for_itself() {
    let (disk, files, layout) = bare_disk();
    let path = |name: &str| layout.log().join(name);
    files.create_mark(&path("a")).unwrap();
    files.sync_folder(&layout.log()).unwrap();
    files.rename(&path("a"), &path("b")).unwrap();
    files.create_mark(&path("c")).unwrap();
    files.create_mark(&path("d")).unwrap();
    files.remove_file(&path("d")).unwrap();
    let names_after = |keep: [u64; 4]| {
        let disk = disk.duplicate();
        let mut keep = keep.into_iter();
        disk.power_cut(&mut |bound| if bound == 2 { keep.next().unwrap_or(0) } else { 0 });
        let mut names = Layout::in_memory(disk.mount()).disk.names_in(&layout.log()).unwrap();
        names.sort();
        names.concat()
    };
    assert_eq!(names_after([0, 0, 0, 0]), "a");
    assert_eq!(names_after([1, 0, 1, 0]), "bd");
    assert_eq!(names_after([0, 1, 1, 1]), "ac");
    assert_eq!(disk.faults(), FaultCounts::default());
}

// ---- the store copes ----

#[test]
fn a_disk_that_cannot_be_read_or_written_is_no_damage() {
    let disk = disk_with_store();
    for failing in [Failing::Reads, Failing::Writes] {
        disk.fail_from_now_on(failing);
        let error = try_open(&disk).unwrap_err();
        assert!(matches!(error, StoreError::Io { .. }), "{failing:?}: {error}");
        disk.restart();
    }
    try_open(&disk).unwrap();
}

#[test]
fn a_failed_sync_ends_the_writer_and_what_it_wrote_was_never_promised() {
    let disk = disk_with_store();
    let mut log = Log::new();
    let mut running = writer(&disk);
    append(&mut running, &mut log, 10).unwrap();
    disk.fail_sync_once();
    append(&mut running, &mut log.clone(), 20).unwrap_err();
    drop(running);
    disk.restart();
    assert_eq!(all(&disk), log.entries);
    assert_eq!(disk.durable_last(), index(1));
}

#[test]
fn a_start_that_cannot_write_what_the_cache_holds_is_refused_and_finds_no_damage() {
    let disk = disk_with_store();
    let mut log = Log::new();
    let mut running = writer(&disk);
    append(&mut running, &mut log, 10).unwrap();
    // The group is written, its sync does not come.
    disk.fail_after(1);
    append(&mut running, &mut log.clone(), 20).unwrap_err();
    disk.restart();
    disk.fail_sync_once();
    let error = try_open(&disk).unwrap_err();
    assert!(matches!(error, StoreError::Io { action: "sync", .. }), "{error}");
    disk.restart();
    disk.fail_sync_once();
    let layout = Layout::in_memory(disk.mount());
    let error = Scan::read(&layout, IDENTITY, 1, GroupMark::default()).unwrap_err();
    assert!(matches!(error, StoreError::Io { action: "sync", .. }), "{error}");
    // What it could not write it does not believe.
    disk.restart();
    assert_eq!(all(&disk), log.entries);
    disk.power_cut(&mut lose_all);
    assert_eq!(all(&disk), log.entries);
}

/// What a start hands on after the sync before some step has failed, and what is left of that if the
/// power fails then; and the same once more, behind another entry.
fn after_failed_sync(number: u32, then_cut: bool) -> [(Vec<SealedEntry>, Vec<SealedEntry>); 2] {
    let disk = disk_with_store();
    let mut log = Log::new();
    let mut running = writer(&disk);
    append(&mut running, &mut log, 10).unwrap();
    let mut steps = number;
    // Its outcome is told by what is found.
    let _ = busy(&mut running, &mut Log::of(&log.entries), || {
        steps -= 1;
        if steps == 0 {
            disk.fail_sync_once();
        }
    });
    drop(running);
    disk.restart();
    let found = all(&disk);
    assert!(found.len() >= log.entries.len());
    let left = if then_cut {
        disk.power_cut(&mut lose_all);
        all(&disk)
    } else {
        found.clone()
    };
    let mut log = Log::of(&left);
    let mut running = writer(&disk);
    append(&mut running, &mut log, 20).unwrap();
    drop(running);
    disk.power_cut(&mut lose_all);
    [(found, left), (log.entries, all(&disk))]
}

/// Whatever sync fails in whatever history, and whether the power fails afterwards or not: what a
/// start hands on would survive.
#[test]
fn a_start_after_a_failed_sync_does_not_believe_the_page_cache() {
    for (number, then_cut) in (1..26).flat_map(|number| [(number, false), (number, true)]) {
        for (found, left) in after_failed_sync(number, then_cut) {
            assert_eq!(found, left, "step {number}");
        }
    }
}

#[cfg(feature = "mutants")]
#[test]
fn a_start_that_believes_the_page_cache_is_caught() {
    use crate::mutants::{Mutant, choose};

    // It may also be stopped by what it finds.
    let is_caught = |number| {
        std::panic::catch_unwind(|| {
            choose(Some(Mutant::BelievePageCache));
            let outcome = after_failed_sync(number, true);
            assert!(outcome.iter().all(|(found, left)| found == left));
        })
        .is_err()
    };
    let caught = (1..26).any(is_caught);
    choose(None);
    assert!(caught);
}

/// Appends, a vote, the end of a segment, a truncation that takes it back; says before each step that
/// it comes. Ends at the first error.
fn busy(
    running: &mut SteppedWriter,
    log: &mut Log,
    mut comes: impl FnMut(),
) -> Result<(), StoreError> {
    for round in 1..=3_u16 {
        let term = u64::from(round);
        comes();
        append(running, log, 500)?;
        comes();
        let heads = log.end_segment();
        write(running, Write { heads, ..nothing() })?;
        comes();
        append(running, log, 30)?;
        comes();
        running.keep_up()?;
        comes();
        let last = log.tip().id.index;
        log.truncate(index(last.get() - 1));
        let (truncate_from, hard_state) =
            (Some(index(last.get() - 1)), Some(hard_state(term, Some(round))));
        let entries = vec![log.add_to(0, term, 40)];
        write(running, Write { hard_state, truncate_from, entries, ..nothing() })?;
        let heads = log.end_segment();
        write(running, Write { heads, ..nothing() })?;
        comes();
        running.committed(log.tip().id.index)?;
        run_chores(running)?;
    }
    Ok(())
}

/// Too much is not sealed: the next group has to wait for that.
#[test]
fn what_fails_after_the_answer_is_told_by_the_next_call() {
    let disk = disk_with_store();
    let mut log = Log::new();
    let mut running = writer(&disk);
    for _ in 0..UNSEALED_SEGMENTS_MAX {
        append(&mut running, &mut log, 10).unwrap();
        roll(&mut running, &mut log);
    }
    run_chores(&mut running).unwrap();
    running.committed(log.tip().id.index).unwrap();
    // The write and the sync of a group.
    disk.fail_after(2);
    assert!(append(&mut running, &mut log, 10).unwrap().is_some());
    assert!(disk.is_killed());
    running.committed(index(1)).unwrap_err();
    drop(running);
    disk.restart();
    assert_eq!(all(&disk), log.entries);
}

#[test]
fn a_segment_that_is_being_sealed_can_be_read_and_a_crash_leaves_it_as_it_was() {
    for is_killed in [true, false] {
        let (disk, mut log) = (disk_with_store(), Log::new());
        let (store, _) = try_open(&disk).unwrap();
        let (reader, mut running) = (store.reader(), store.into_stepped_writer());
        let read = || reader.entries(index(1), index(u64::MAX), usize::MAX);
        append(&mut running, &mut log, 100).unwrap();
        append(&mut running, &mut log, 100).unwrap();
        let head = Log::of(&log.entries[..1]).head();
        write(&mut running, Write { heads: vec![head], ..nothing() }).unwrap();
        run_chores(&mut running).unwrap();
        assert!(!running.begin_chore());
        running.committed(index(2)).unwrap();
        assert_eq!(read().unwrap(), log.entries);
        assert!(running.begin_chore());
        assert_eq!(read().unwrap(), log.entries);
        append(&mut running, &mut log, 100).unwrap();
        assert_eq!(read().unwrap(), log.entries);
        if is_killed {
            disk.fail_after(15);
            running.finish_chore().unwrap_err();
        } else {
            running.finish_chore().unwrap();
            assert_eq!(read().unwrap(), log.entries);
        }
        drop(running);
        disk.restart();
        let (_, recovered) = try_open(&disk).unwrap();
        assert_eq!(recovered.report.segments, if is_killed { 1 } else { 2 });
        disk.restart();
        assert_eq!(all(&disk), log.entries);
    }
}

#[test]
fn a_store_in_memory_runs_with_threads_too() {
    let disk = disk_with_store();
    let (store, recovered) = try_open(&disk).unwrap();
    let mut running = Running::start(store, &recovered);
    running.append(&[1, 2]);
    running.roll();
    running.append(&[3]);
    let log = running.close();
    assert_eq!(all(&disk), log.entries);
}

// ---- rot ----

/// Sealed segments, a full one and one behind it, with votes and truncations in between.
fn old_store(clean: bool) -> (MemoryDisk, Log, HardState) {
    let disk = disk_with_store();
    let mut log = Log::new();
    let mut running = writer(&disk);
    for round in 1..=4_u16 {
        for bytes in [100, 2000, 30] {
            append(&mut running, &mut log, bytes).unwrap();
        }
        let hard_state = Some(hard_state(u64::from(round), Some(round)));
        write(&mut running, Write { hard_state, ..nothing() }).unwrap();
        log.truncate(log.tip().id.index);
        let truncate_from = Some(log.tip().id.index.next());
        let entries = vec![log.add_to(0, u64::from(round), 40)];
        write(&mut running, Write { truncate_from, entries, ..nothing() }).unwrap();
        running.keep_up().unwrap();
        roll(&mut running, &mut log);
        if round < 4 {
            running.committed(log.tip().id.index).unwrap();
            run_chores(&mut running).unwrap();
        }
    }
    append(&mut running, &mut log, 70).unwrap();
    running.keep_up().unwrap();
    append(&mut running, &mut log, 80).unwrap();
    if clean {
        running.close().unwrap();
    } else {
        drop(running);
    }
    disk.restart();
    (disk, log, hard_state(4, Some(4)))
}

/// Goes on after damage: refused at the start, or at the first read of a sealed segment, or nothing
/// of what was promised is missing.
fn is_noticed_or_harmless(
    disk: &MemoryDisk,
    log: &Log,
    promised: HardState,
) -> Result<bool, String> {
    let (store, recovered) = match try_open(disk) {
        Ok(found) => found,
        Err(error) if error.is_damage() => return Ok(true),
        Err(StoreError::Format { .. }) => return Ok(true),
        Err(error) => return Err(error.to_string()),
    };
    let entries = match store.reader().entries(index(1), index(u64::MAX), usize::MAX) {
        Ok(entries) => entries,
        Err(ReadError::Damaged { .. }) => return Ok(true),
        Err(error) => return Err(error.to_string()),
    };
    if recovered.hard_state != promised {
        return Err(format!("{:?}", recovered.hard_state));
    }
    if entries == log.entries {
        Ok(false)
    } else {
        Err(format!("{} entries of {}", entries.len(), log.entries.len()))
    }
}

#[test]
fn rot_is_noticed_or_harmless() {
    let (mut noticed, mut harmless) = (0, 0);
    for clean in [false, true] {
        let (old, log, hard_state) = old_store(clean);
        for seed in 0..2000 {
            let disk = old.duplicate();
            let Some(rot) = disk.rot(&mut choices(seed)) else { continue };
            match is_noticed_or_harmless(&disk, &log, hard_state) {
                Ok(true) => noticed += 1,
                Ok(false) if rot.lowest.is_none() => harmless += 1,
                Ok(false) => panic!("seed {seed}, clean {clean}: {rot} was not noticed"),
                Err(wrong) => panic!("seed {seed}, clean {clean}: {rot}: {wrong}"),
            }
        }
    }
    assert!(noticed > 1000 && harmless > 10, "{noticed} noticed, {harmless} harmless");
}

#[test]
fn a_store_that_was_found_damaged_while_it_ran_is_refused_from_then_on() {
    let (disk, ..) = old_store(false);
    let mut running = writer(&disk);
    disk.mark_damage(&StoreError::damage(
        &Layout::in_memory(disk.mount()).journal_file(1),
        Fault::Hash,
    ));
    running.keep_up().unwrap();
    drop(running);
    disk.power_cut(&mut lose_all);
    let error = try_open(&disk).unwrap_err();
    assert!(matches!(error, StoreError::Damage { fault: Fault::Marked, .. }), "{error}");
}

#[test]
fn the_platter_shows_what_rot_has_left() {
    let (old, log, _) = old_store(false);
    for entry in &log.entries {
        let id = entry.id();
        assert_eq!(old.durable_entry(id.index), Some((id, entry.chain())));
    }
    for seed in 0..300 {
        let disk = old.duplicate();
        let Some(rot) = disk.rot(&mut choices(seed)) else { continue };
        if let Some(lowest) = rot.lowest
            && !rot.place.ends_with(Path::new(CONF_FILE))
            && rot.place.extension().is_none_or(|ending| ending != "head")
        {
            let entry = &log.entries[usize::try_from(lowest.get() - 1).unwrap()];
            let found = disk.durable_entry(lowest);
            assert_ne!(found, Some((entry.id(), entry.chain())), "seed {seed}: {rot}");
        }
    }
}

/// It speaks of the log behind the write. While that is on its way, what it takes back would look
/// committed to whoever seals segments meanwhile.
#[test]
fn what_a_write_says_is_committed_counts_when_it_is_on_the_disk() {
    let disk = disk_with_store();
    let mut writer = writer(&disk);
    let mut log = Log::new();
    append(&mut writer, &mut log, 10).unwrap();
    assert_eq!(writer.known_commit_index(), Index::ZERO);
    disk.fail_sync_once();
    let entries = vec![log.add(10)];
    write(&mut writer, Write { entries, commit_index: index(2), ..nothing() }).unwrap_err();
    assert_eq!(writer.known_commit_index(), Index::ZERO);
}
