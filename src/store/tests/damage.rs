//! Older copies, other histories, flipped bits, cut files.

use std::fs;
use std::path::Path;

use super::super::meta::Floor;
use super::super::testing::*;
use super::super::*;

#[test]
fn an_older_meta_is_damage() {
    let folder = Folder::with_store();
    let saved = Folder::new();
    let (mut running, _) = folder.open();
    running.append(&[1]);
    running.crash();
    copy_folder(&folder.path().join("meta"), saved.path());
    let (mut running, _) = folder.open();
    running.write(Write { hard_state: Some(hard_state(2, None)), ..nothing() });
    running.append(&[2]);
    running.crash();
    put_back(saved.path(), &folder.path().join("meta"));
    assert!(matches!(damage_found(&folder), Fault::OlderMeta { .. }));
}

#[test]
fn a_meta_from_before_the_last_roll_is_damage() {
    let folder = Folder::with_store();
    let saved = Folder::new();
    let (mut running, _) = folder.open();
    running.append(&[1]);
    running.crash();
    copy_folder(&folder.path().join("meta"), saved.path());
    let (mut running, _) = folder.open();
    running.roll();
    running.append(&[2]);
    running.crash();
    put_back(saved.path(), &folder.path().join("meta"));
    let fault = damage_found(&folder);
    assert!(matches!(fault, Fault::SegmentUnknown), "{fault}");
}

#[test]
fn an_older_active_segment_is_damage() {
    for clean in [false, true] {
        let folder = Folder::with_store();
        let saved = Folder::new();
        let (mut running, _) = folder.open();
        running.append(&[1]);
        running.close();
        copy_folder(&folder.segment(1), saved.path());
        let (mut running, _) = folder.open();
        running.append(&[2]);
        eventually("a floor", || running.writer.floor().index == index(2));
        if clean {
            running.close();
        } else {
            running.crash();
        }
        put_back(saved.path(), &folder.segment(1));
        let fault = damage_found(&folder);
        let expected = matches!(fault, Fault::Hash) == clean
            && matches!(fault, Fault::BelowFloor { .. }) != clean;
        assert!(expected, "{fault}");
    }
}

/// An intact segment of another history does not fit: not behind a sealed one, not behind a
/// closing one, and not where something else was synced.
#[test]
fn a_segment_of_another_history_is_damage() {
    for (committed, lower_floor) in [(true, true), (false, true), (false, false)] {
        let make = |first_bytes: usize| {
            let folder = Folder::with_store();
            let (mut running, _) = folder.open();
            running.append(&[first_bytes]);
            running.roll();
            running.append(&[5]);
            if committed {
                running.writer.committed(index(1));
                eventually("sealing", || running.writer.is_sealed());
            }
            eventually("a floor", || running.writer.floor().index == index(2));
            running.crash();
            folder
        };
        let (folder, other) = (make(1), make(2));
        put_back(&other.segment(2), &folder.segment(2));
        if lower_floor {
            // The floor alone would notice; the border has to as well.
            open_meta(&folder).update(|record| record.floor = Floor::default()).unwrap();
        }
        let fault = damage_found(&folder);
        assert!(matches!(fault, Fault::Border { .. }), "{fault}");
    }
    let make = |bytes: usize| {
        let folder = Folder::with_store();
        let (mut running, _) = folder.open();
        running.append(&[bytes]);
        eventually("a floor", || running.writer.floor().index == index(1));
        running.crash();
        folder
    };
    let (folder, other) = (make(1), make(2));
    put_back(&other.segment(1), &folder.segment(1));
    let fault = damage_found(&folder);
    assert!(matches!(fault, Fault::OtherFloor { .. }), "{fault}");
}

#[test]
fn only_what_was_torn_is_reported_as_torn() {
    let folder = Folder::with_store();
    let (mut running, _) = folder.open();
    // So much that sled frees its first segment, and clears it at the next start.
    for _ in 0..60 {
        running.append(&[150_000, 10, 10, 150_000, 10, 10]);
    }
    let log = running.crash();
    let (running, recovered) = folder.open();
    assert_eq!(recovered.entries, log.entries);
    assert_eq!(recovered.report.torn_bytes, 0);
    running.crash();

    let (folder, log) = half_synced();
    let file = folder.segment(1).join("db");
    let mut bytes = fs::read(&file).unwrap();
    let end = used(&bytes);
    bytes.truncate(end);
    bytes.extend_from_slice(&[0xff; 1000]);
    fs::write(&file, bytes).unwrap();
    let (running, recovered) = folder.open();
    assert_eq!(recovered.entries, log.entries);
    // A zero at the end of what sled wrote may have been taken for the zeroes behind it.
    assert!((990..=1000).contains(&recovered.report.torn_bytes), "{}", recovered.report);
    running.close();
}

/// A store whose floor is entry 6 of 12, and its log. Its files are not those of a clean stop.
fn half_synced() -> (Folder, Log) {
    let folder = Folder::with_store();
    let (mut running, _) = folder.open();
    running.write(Write { hard_state: Some(hard_state(1, Some(3))), ..nothing() });
    for bytes in [10, 500, 20, 2000, 30, 40] {
        running.append(&[bytes]);
    }
    eventually("a floor", || running.writer.floor().index == index(6));
    for bytes in [50, 600, 60, 3000, 70, 80] {
        running.append(&[bytes]);
    }
    let log = running.crash();
    (folder, log)
}

/// The bytes that a file really holds, before the zeroes at its end.
fn used(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

/// Opens a store one of whose files was changed. Whatever comes of it must be honest.
fn check_outcome(folder: &Folder, log: &Log, what: &str) -> bool {
    let before = folder.contents();
    match folder.try_open() {
        Ok((store, recovered)) => {
            drop(store);
            let found = recovered.entries.len();
            assert!(found >= 6, "{what}: only {found} entries, and 6 were synced");
            assert_eq!(recovered.entries, log.entries[..found], "{what}: not a prefix");
            assert_eq!(recovered.hard_state, hard_state(1, Some(3)), "{what}");
            true
        }
        Err(error) => {
            assert!(error.is_damage(), "{what}: {error}");
            assert!(folder.contents() == before, "{what}: changed although {error}");
            false
        }
    }
}

/// Changes a file in many ways, one at a time, and counts how often the store could be opened.
fn try_changes(folder: &Folder, log: &Log, file: &Path, tries: usize) -> (usize, usize) {
    let pristine = Folder::new();
    copy_folder(folder.path(), pristine.path());
    let bytes = fs::read(file).unwrap();
    let length = used(&bytes);
    let (mut opened, mut refused) = (0, 0);
    for step in 0..tries {
        let position = length * step / tries;
        let mut flipped = bytes.clone();
        flipped[position] ^= 1 << (step % 8);
        let cut = bytes[..position].to_vec();
        for (changed, what) in [(flipped, "bit flipped"), (cut, "cut")] {
            for name in ["log", "meta"] {
                put_back(&pristine.path().join(name), &folder.path().join(name));
            }
            fs::write(file, changed).unwrap();
            let what = format!("{} {what} at {position} of {length}", file.display());
            if check_outcome(folder, log, &what) { opened += 1 } else { refused += 1 }
        }
    }
    (opened, refused)
}

#[test]
fn a_changed_segment_is_an_honest_prefix_or_damage() {
    let (folder, log) = half_synced();
    let (opened, refused) = try_changes(&folder, &log, &folder.segment(1).join("db"), 28);
    // Neither outcome is rare: a test that never sees one of them would not notice a mistake in it.
    assert!(opened >= 6 && refused >= 6, "{opened} opened, {refused} refused");
}

#[test]
fn a_changed_meta_is_harmless_or_damage() {
    let (folder, log) = half_synced();
    let (opened, refused) = try_changes(&folder, &log, &folder.path().join("meta/db"), 24);
    assert!(opened + refused == 48 && refused >= 10, "{opened} opened, {refused} refused");
}

#[test]
fn changed_settings_and_snapshots_of_sled_are_harmless_or_damage() {
    let (folder, log) = half_synced();
    for place in [folder.segment(1), folder.path().join("meta")] {
        for entry in fs::read_dir(&place).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() && !path.ends_with("db") {
                let (opened, refused) = try_changes(&folder, &log, &path, 8);
                assert!(refused > 0, "{}: {opened} opened", path.display());
            }
        }
    }
}

#[test]
fn after_a_clean_stop_any_change_is_damage() {
    let (folder, _) = half_synced();
    folder.open().0.close();
    let file = folder.segment(1).join("db");
    let bytes = fs::read(&file).unwrap();
    for position in [0, 21, used(&bytes) / 2, used(&bytes) - 1, bytes.len() - 1] {
        let mut flipped = bytes.clone();
        flipped[position] ^= 4;
        fs::write(&file, flipped).unwrap();
        assert!(matches!(damage_found(&folder), Fault::Hash), "at {position}");
    }
    fs::write(&file, &bytes[..bytes.len() - 1]).unwrap();
    assert!(matches!(damage_found(&folder), Fault::Hash));
    fs::write(&file, bytes).unwrap();
    folder.open().0.close();
}

#[test]
fn a_changed_sealed_segment_is_never_opened() {
    let folder = Folder::with_store();
    let (mut running, _) = folder.open();
    running.append(&[3000, 10]);
    running.roll();
    running.append(&[20]);
    running.writer.committed(index(2));
    eventually("sealing", || running.writer.is_sealed());
    running.close();
    let file = folder.segment(1).join("db");
    let mut bytes = fs::read(&file).unwrap();
    let middle = used(&bytes) / 2;
    bytes[middle] ^= 1;
    fs::write(&file, bytes).unwrap();

    let (running, recovered) = folder.open();
    assert_eq!(recovered.entries.len(), 1, "the start does not need it");
    let before = contents_of(&folder.segment(1));
    let error = running.reader.entries(index(1), index(3), 10).unwrap_err();
    assert!(matches!(&error, ReadError::Store(store) if store.is_damage()), "{error}");
    assert!(running.reader.locate(LogNumber::MAIN, Offset::ZERO).is_err());
    assert_eq!(contents_of(&folder.segment(1)), before);
    assert_eq!(running.reader.entries(index(3), index(3), 10).unwrap().len(), 1);
    running.close();
}
