//! Databases and heads: older copies, other histories, flipped bits, cut files. What stands in the
//! journal is in `rot`.

use std::fs;
use std::path::Path;

use super::super::layout::Layout;
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
fn a_meta_from_before_the_last_sealing_is_damage() {
    let folder = Folder::with_store();
    let saved = Folder::new();
    let (mut running, _) = folder.open();
    running.append(&[1]);
    running.crash();
    copy_folder(&folder.path().join("meta"), saved.path());
    let (mut running, _) = folder.open();
    running.roll();
    running.append(&[2]);
    running.seal();
    running.crash();
    put_back(saved.path(), &folder.path().join("meta"));
    // It needs what is free by now, or the journal has seen a newer one.
    let fault = damage_found(&folder);
    assert!(matches!(fault, Fault::OlderMeta { .. } | Fault::JournalGone { .. }), "{fault}");
}

/// A store with one sealed segment and an entry behind it, of a history of its own.
fn with_sealed(bytes: usize) -> (Folder, Log) {
    let folder = Folder::with_store();
    let (mut running, _) = folder.open();
    running.append(&[bytes, 10]);
    running.roll();
    running.append(&[20]);
    running.writer.committed(index(2));
    eventually("sealing", || running.writer.is_sealed());
    let log = running.crash();
    (folder, log)
}

#[test]
fn what_is_of_another_history_is_damage() {
    let ((folder, _), (other, _)) = (with_sealed(1), with_sealed(2));
    let pristine = Folder::new();
    copy_folder(folder.path(), pristine.path());
    let head = |folder: &Folder| Layout::of(folder.path()).head_file(index(3));
    fs::copy(head(&other), head(&folder)).unwrap();
    let fault = damage_found(&folder);
    assert!(matches!(fault, Fault::Border { .. }), "{fault}");

    for part in ["journal", "meta"] {
        put_back(&pristine.path().join("log"), &folder.path().join("log"));
        put_back(&other.path().join(part), &folder.path().join(part));
        damage_found(&folder);
        put_back(&pristine.path().join(part), &folder.path().join(part));
    }

    put_back(&other.segment(1), &folder.segment(1));
    let (running, _) = folder.open();
    let error = running.reader.entries(index(1), index(3), 10).unwrap_err();
    assert!(matches!(&error, ReadError::Damaged { .. }), "{error}");
    running.close();
}

#[test]
fn a_head_that_is_gone_or_changed_is_damage() {
    let (folder, log) = with_sealed(1);
    let path = Layout::of(folder.path()).head_file(index(3));
    let bytes = fs::read(&path).unwrap();
    for bit in 0..bytes.len() * 8 {
        let mut changed = bytes.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        fs::write(&path, changed).unwrap();
        let layout = Layout::of(folder.path());
        assert!(head::read(&layout, index(3)).unwrap_err().is_damage(), "bit {bit}");
    }
    damage_found(&folder);
    for length in [0, 31, 32, bytes.len() - 1] {
        fs::write(&path, &bytes[..length]).unwrap();
        damage_found(&folder);
    }
    fs::remove_file(&path).unwrap();
    assert!(matches!(damage_found(&folder), Fault::FileGone { .. }));
    fs::write(&path, bytes).unwrap();
    folder.open_with(log).0.close();
}

/// A store with twelve entries, in part before a stop that was a clean one, and its log.
fn half_settled() -> (Folder, Log) {
    let folder = Folder::with_store();
    let (mut running, _) = folder.open();
    running.write(Write { hard_state: Some(hard_state(1, Some(3))), ..nothing() });
    for bytes in [10, 500, 20, 2000, 30, 40] {
        running.append(&[bytes]);
    }
    let log = running.close();
    let (mut running, _) = folder.open_with(log);
    for bytes in [50, 600, 60, 3000, 70, 80] {
        running.append(&[bytes]);
    }
    let log = running.crash();
    (folder, log)
}

/// Opens a store one of whose files was changed. Whatever comes of it must be honest.
fn check_outcome(folder: &Folder, log: &Log, what: &str) -> bool {
    let before = folder.contents();
    match folder.try_open() {
        Ok((store, recovered)) => {
            drop(store);
            assert_eq!(recovered.entries, log.entries, "{what}");
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
            for name in ["journal", "log", "meta"] {
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
fn a_changed_meta_is_harmless_or_damage() {
    let (folder, log) = half_settled();
    let (opened, refused) = try_changes(&folder, &log, &folder.path().join("meta/db"), 24);
    assert!(opened + refused == 48 && refused >= 10, "{opened} opened, {refused} refused");
}

#[test]
fn changed_settings_and_snapshots_of_sled_are_harmless_or_damage() {
    let (folder, log) = half_settled();
    for entry in fs::read_dir(folder.path().join("meta")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() && !path.ends_with("db") {
            let (opened, refused) = try_changes(&folder, &log, &path, 8);
            assert!(refused > 0, "{}: {opened} opened", path.display());
        }
    }
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
    flip(&file);

    let (running, recovered) = folder.open();
    assert_eq!(recovered.entries.len(), 1, "the start does not need it");
    let before = contents_of(&folder.segment(1));
    let error = running.reader.entries(index(1), index(3), 10).unwrap_err();
    assert!(matches!(&error, ReadError::Damaged { .. }), "{error}");
    assert!(running.reader.locate(LogNumber::MAIN, Offset::ZERO).is_err());
    assert_eq!(contents_of(&folder.segment(1)), before);
    assert_eq!(damaged(&running.reader), [(index(1), index(2))]);
    assert_eq!(running.reader.entries(index(3), index(3), 10).unwrap().len(), 1);
    running.close();
}

/// What an orderly stop has brought into sled is a copy of what is in the journal.
#[test]
fn a_changed_copy_is_harmless() {
    let (folder, log) = with_sealed(1);
    let (running, _) = folder.open_with(log);
    running.writer.committed(index(3));
    let log = running.close();
    let file = folder.segment(3).join("db");
    flip(&file);
    let (running, _) = folder.open_with(log);
    assert!(!folder.segment(3).exists());
    assert_eq!(running.all(), running.log.entries);
    running.close();
}
