//! Term and vote in two places, and what an open refuses.

use std::fs;

use super::super::disk::Disk;
use super::super::engine::Batch;
use super::super::layout::Layout;
use super::super::testing::*;
use super::super::*;

/// An election waits for the journal alone.
#[test]
fn a_vote_is_in_the_journal_before_its_ticket_and_in_meta_after_a_clean_stop() {
    let folder = Folder::with_store();
    let (mut running, _) = folder.open();
    running.write(Write { hard_state: Some(hard_state(3, Some(2))), ..nothing() });
    running.crash();
    let (running, recovered) = folder.open();
    assert_eq!(recovered.hard_state, hard_state(3, Some(2)));
    running.close();
    assert_eq!(open_meta(&folder).record().hard_state, hard_state(3, Some(2)));
    assert_eq!(folder.open().1.hard_state, hard_state(3, Some(2)));
}

#[test]
fn the_higher_term_wins_and_meta_is_rewritten() {
    for (first, second) in
        [((3, None), (4, None)), ((3, None), (3, Some(2))), ((3, Some(1)), (4, None))]
    {
        for meta_is_higher in [false, true] {
            let folder = Folder::with_store();
            let (mut running, _) = folder.open();
            let (lower, higher) = (hard_state(first.0, first.1), hard_state(second.0, second.1));
            let (in_meta, in_journal) =
                if meta_is_higher { (higher, lower) } else { (lower, higher) };
            running.write(Write { hard_state: Some(in_journal), ..nothing() });
            running.crash();
            open_meta(&folder).update(|record| record.hard_state = in_meta).unwrap();

            let (running, recovered) = folder.open();
            assert_eq!(recovered.hard_state, higher);
            running.crash();
            assert_eq!(open_meta(&folder).record().hard_state, higher);
            assert_eq!(folder.open().1.hard_state, higher);
        }
    }
}

#[test]
fn two_votes_in_a_term_are_damage() {
    let folder = Folder::with_store();
    let (mut running, _) = folder.open();
    running.write(Write { hard_state: Some(hard_state(3, Some(1))), ..nothing() });
    running.crash();
    open_meta(&folder).update(|record| record.hard_state = hard_state(3, Some(2))).unwrap();
    assert!(matches!(damage_found(&folder), Fault::TwoVotes { .. }));
}

#[test]
fn a_folder_is_opened_once() {
    let folder = Folder::with_store();
    let (running, _) = folder.open();
    assert!(matches!(folder.try_open(), Err(StoreError::Locked { .. })));
    running.close();
    folder.open().0.close();
}

#[test]
fn the_store_of_another_is_refused() {
    let folder = Folder::with_store();
    let before = folder.contents();
    let others = [
        Identity { cluster: ClusterId::new(8), ..IDENTITY },
        Identity { node: NodeId::new(2).unwrap(), ..IDENTITY },
    ];
    for other in others {
        let error = open(folder.path(), other, small(), lock(folder.path()).unwrap()).unwrap_err();
        assert!(matches!(error, StoreError::Foreign { .. }), "{error}");
    }
    assert_eq!(folder.contents(), before);
}

#[test]
fn a_format_of_the_future_is_refused() {
    let folder = Folder::with_store();
    let meta = Layout::of(folder.path()).meta();
    let database = database::Database::open(&Disk::real(), &meta, meta::META_SHAPE).unwrap();
    let mut batch = Batch::default();
    batch.insert(&[1], &(meta::FORMAT + 1).to_le_bytes());
    database.write(batch).unwrap();
    drop(database);
    let error = folder.try_open().unwrap_err();
    let StoreError::Format { folder, found, known } = &error else { panic!("{error}") };
    assert_eq!((*found, *known), (meta::FORMAT + 1, meta::FORMAT));
    assert_eq!(*folder, meta, "the copy that it was read from is nobody's business");
    assert!(!error.is_damage());
}

#[test]
fn an_emptied_folder_is_damage_and_not_a_new_store() {
    let folder = Folder::with_store();
    folder.open().0.close();
    assert!(exists(folder.path()).unwrap());
    assert!(matches!(
        create(folder.path(), IDENTITY, &configuration(), &small()),
        Err(StoreError::Exists { .. })
    ));
    for part in ["log", "journal"] {
        let away = folder.path().join("away");
        fs::rename(folder.path().join(part), &away).unwrap();
        let error = folder.try_open().unwrap_err();
        assert!(error.is_damage(), "{error}");
        fs::rename(&away, folder.path().join(part)).unwrap();
    }
    fs::remove_dir_all(folder.path().join("log")).unwrap();
    fs::remove_dir_all(folder.path().join("journal")).unwrap();
    fs::remove_dir_all(folder.path().join("meta")).unwrap();
    assert!(!exists(folder.path()).unwrap());
    let error = folder.try_open().unwrap_err();
    assert!(matches!(error, StoreError::Missing { .. }) && error.is_damage(), "{error}");
}

#[test]
fn a_log_whose_meta_is_gone_is_not_made_anew() {
    let folder = Folder::with_store();
    let (mut running, _) = folder.open();
    running.append(&[1]);
    running.close();
    fs::remove_dir_all(folder.path().join("meta")).unwrap();
    assert!(folder.try_open().unwrap_err().is_damage());
    let error = create(folder.path(), IDENTITY, &configuration(), &small()).unwrap_err();
    assert!(error.is_damage(), "{error}");
}

#[test]
fn an_interrupted_making_is_done_again() {
    let folder = Folder::with_store();
    fs::rename(folder.path().join("meta"), folder.path().join("meta-unfinished")).unwrap();
    assert!(!exists(folder.path()).unwrap());
    create(folder.path(), IDENTITY, &configuration(), &small()).unwrap();
    folder.open().0.close();
}

#[test]
fn a_marked_folder_is_refused() {
    for name in [
        "meta.damaged",
        "log/00000000000000000001.damaged",
        "journal/00000000000000000001.journal.damaged",
    ] {
        let folder = Folder::with_store();
        fs::write(folder.path().join(name), "").unwrap();
        assert!(matches!(damage_found(&folder), Fault::Marked));
    }
}

#[test]
fn a_blob_file_is_damage() {
    let folder = Folder::with_store();
    fs::write(folder.path().join("meta/blobs/17"), "page").unwrap();
    assert!(matches!(damage_found(&folder), Fault::Blob));
}

#[test]
fn a_missing_segment_is_damage_and_no_other_is_touched() {
    let folder = Folder::with_store();
    let (mut running, _) = folder.open();
    for _ in 0..2 {
        running.append(&[3000]);
        running.roll();
        running.seal();
    }
    running.close();
    for first in [1, 2] {
        let away = folder.path().join("away");
        fs::rename(folder.segment(first), &away).unwrap();
        let (running, _) = folder.open();
        let read = |at| running.reader.entries(index(at), index(at), 1).map(|read| read.len());
        assert!(matches!(read(first), Err(ReadError::Damaged { .. })));
        assert!(matches!(read(3 - first), Ok(1)));
        running.close();
        let found = inspect(folder.path(), None).unwrap();
        assert!(!found.damage.is_empty());
        fs::rename(&away, folder.segment(first)).unwrap();
    }
    folder.open().0.close();
}

#[test]
fn leftovers_of_sled_and_of_earlier_starts_are_cleared_away() {
    let folder = Folder::with_store();
    let (mut running, _) = folder.open();
    running.append(&[1]);
    let log = running.crash();
    fs::write(folder.path().join("meta/snap.00000000000000AA.generating"), "half one").unwrap();
    fs::create_dir(folder.path().join("trial-meta")).unwrap();
    let (running, recovered) = folder.open();
    assert_eq!(recovered.entries, log.entries);
    running.close();
    assert!(!folder.path().join("trial-meta").exists());
    assert!(!folder.path().join("meta/snap.00000000000000AA.generating").exists());
}

/// What is in them is in the journal, or was never needed.
#[test]
fn what_meta_does_not_name_is_cleared_away() {
    let folder = Folder::with_store();
    let (mut running, _) = folder.open();
    running.append(&[1, 2]);
    let log = running.crash();
    fs::create_dir(folder.segment(1)).unwrap();
    fs::write(folder.segment(1).join("db"), vec![7; 10_000]).unwrap();
    let layout = Layout::of(folder.path());
    fs::write(layout.head_file(index(3)), "half a head").unwrap();
    let (running, recovered) = folder.open();
    assert_eq!(recovered.entries, log.entries);
    assert!(!folder.segment(1).exists() && !layout.head_file(index(3)).exists());
    assert!(layout.head_file(index(1)).exists());
    running.crash();
}
