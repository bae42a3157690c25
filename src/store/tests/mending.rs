//! Mending: damage of every kind to a sealed segment, what others may send instead of what was sealed, and a
//! crash after each operation.

use std::fs;
use std::path::Path;

use bytes::Bytes;

use super::super::testing::*;
use super::super::*;
use crate::entry::SealedEntry;

const FIRST: u64 = 3;
const LAST: u64 = 4;

/// Fills a store with three segments, two of which are sealed: from 1, from 3, and the rest.
fn fill(store: Store, recovered: &Recovered) -> Log {
    let mut running = Running::start(store, recovered);
    for sizes in [[3000, 10], [200, 9000]] {
        running.append(&sizes);
        running.roll();
    }
    running.append(&[20]);
    running.seal();
    running.close()
}

fn in_a_folder() -> (Folder, Log) {
    let folder = Folder::with_store();
    let (store, recovered) = folder.try_open().unwrap();
    let log = fill(store, &recovered);
    (folder, log)
}

fn on_a_simulated_disk() -> (MemoryDisk, Log) {
    let disk = MemoryDisk::default();
    create_in(&disk, IDENTITY, &configuration(), &small()).unwrap();
    let (store, recovered) = open_in(&disk, IDENTITY, small()).unwrap();
    let log = fill(store, &recovered);
    (disk, log)
}

fn bytes_of(entries: &[SealedEntry]) -> Bytes {
    entries.iter().flat_map(|entry| entry.bytes().to_vec()).collect()
}

/// What becomes of a segment's folder.
type Damage<'a> = &'a dyn Fn(&Path);

/// Mends of what another reader has.
fn mend(mender: &Mender, source: &Reader) -> Result<(), MendError> {
    let mut mending = mender.begin(index(FIRST)).unwrap();
    assert_eq!(mending.range(), (index(FIRST), index(LAST)));
    let head = source.head_before(index(FIRST)).unwrap().unwrap();
    head.chunks(7).try_for_each(|piece| mending.take_head(piece))?;
    for entry in source.entries(index(FIRST), index(LAST), usize::MAX).unwrap() {
        mending.take_entries(entry.bytes().clone())?;
    }
    mending.finish()
}

#[test]
fn whatever_became_of_a_sealed_segment_it_is_mended_and_the_same_again() {
    let (source, log) = in_a_folder();
    let (source, _) = source.open_with(log.clone());
    let (older, _) = in_a_folder();
    let damages: [(&str, Damage<'_>); 8] = [
        ("a bit of its database", &|segment| flip(&segment.join("db"))),
        ("a bit of its settings", &|segment| flip(&segment.join("conf"))),
        ("its end", &|segment| {
            let file = fs::OpenOptions::new().write(true).open(segment.join("db")).unwrap();
            file.set_len(1000).unwrap();
        }),
        ("all zero", &|segment| fs::write(segment.join("db"), [0; 5000]).unwrap()),
        ("a file gone", &|segment| fs::remove_file(segment.join("db")).unwrap()),
        ("all gone", &|segment| fs::remove_dir_all(segment).unwrap()),
        ("another in its place", &|segment| {
            put_back(&older.segment(1), segment);
        }),
        ("a mark", &|segment| {
            let mark = segment.with_extension("damaged");
            fs::write(mark, "sled could not open it").unwrap();
        }),
    ];
    for (what, damage) in damages {
        let (folder, _) = in_a_folder();
        damage(&folder.segment(FIRST));
        let found = inspect(folder.path(), None).unwrap();
        assert!(!found.damage.is_empty() && !found.is_lost, "{what}: {:?}", found.damage);
        let (running, _) = folder.open_with(log.clone());
        // Some damage is seen by whoever reads, and some at the start.
        let error = read_all(&running.reader).unwrap_err();
        assert!(matches!(error, ReadError::Damaged { .. }), "{what}: {error}");
        assert_eq!(damaged(&running.reader), [(index(FIRST), index(LAST))], "{what}");
        assert_eq!(running.reader.entries(index(5), index(5), 10).unwrap().len(), 1, "{what}");
        mend(&running.writer.mender(), &source.reader).unwrap();
        assert_eq!(damaged(&running.reader), [], "{what}");
        assert_eq!(read_all(&running.reader).unwrap(), log.entries, "{what}");
        assert!(running.writer.mender().begin(index(FIRST)).is_none(), "{what}: there is no need");
        running.close();
        let found = inspect(folder.path(), None).unwrap();
        assert_eq!(found.damage, [""; 0], "{what}");
        let (running, _) = folder.open_with(log.clone());
        assert_eq!(read_all(&running.reader).unwrap(), log.entries, "{what}");
        running.close();
    }
    source.close();
}

#[test]
fn what_is_not_in_a_sealed_segment_is_not_mended() {
    let (folder, _) = in_a_folder();
    flip(&folder.segment(FIRST).join("db"));
    let mendable = inspect(folder.path(), None).unwrap();
    assert!(!mendable.is_lost);
    fs::remove_dir_all(folder.path().join("journal")).unwrap();
    let lost = inspect(folder.path(), None).unwrap();
    assert!(lost.is_lost && lost.damage.len() > mendable.damage.len(), "{:?}", lost.damage);
}

#[test]
fn nobody_is_trusted_and_what_is_not_the_same_is_thrown_away() {
    let (folder, log) = in_a_folder();
    flip(&folder.segment(FIRST).join("db"));
    let before = contents_of(&folder.segment(FIRST));
    let (running, _) = folder.open_with(log.clone());
    read_all(&running.reader).unwrap_err();
    let mender = running.writer.mender();

    let head = |log: &Log| postcard::to_stdvec(&log.heads[0]).unwrap();
    let mut other = Log::new();
    other.add_to(0, 1, 3000);
    other.add_to(0, 1, 10);
    other.end_segment();
    other.add_to(0, 1, 201);
    other.add_to(0, 1, 9000);
    let mut otherwise = log.clone();
    otherwise.heads[0].sessions = Bytes::from_static(b"sessionr");
    let second = &log.entries[2..4];
    let wrong: [(&str, Vec<u8>, Bytes); 8] = [
        ("no head", vec![1, 2, 3], bytes_of(second)),
        ("nothing", vec![], Bytes::new()),
        ("the next head", postcard::to_stdvec(&log.heads[1]).unwrap(), bytes_of(second)),
        ("another head", head(&otherwise), bytes_of(second)),
        ("too little", head(&log), bytes_of(&second[..1])),
        ("too much", head(&log), bytes_of(&log.entries[2..5])),
        ("another history", head(&other), bytes_of(&other.entries[2..4])),
        ("half an entry", head(&log), bytes_of(second).slice(..100)),
    ];
    for (what, head, entries) in wrong {
        let mut mending = mender.begin(index(FIRST)).unwrap();
        let taken = mending.take_head(&head).and_then(|()| mending.take_entries(entries));
        let outcome = taken.and_then(|()| mending.finish());
        let error = outcome.map_or_else(|error| error, |()| panic!("{what} was taken"));
        assert!(!matches!(error, MendError::Store(_)), "{what}: {error}");
        assert!(contents_of(&folder.segment(FIRST)) == before, "{what}");
        read_all(&running.reader).unwrap_err();
    }
    // And what is right is still taken.
    let (source, _) = in_a_folder();
    let (source, _) = source.open_with(log.clone());
    mend(&mender, &source.reader).unwrap();
    assert_eq!(read_all(&running.reader).unwrap(), log.entries);
    running.close();
    source.close();
}

#[test]
fn a_segment_is_not_mended_that_was_given_up_or_in_a_store_that_was_closed() {
    let (source, log) = in_a_folder();
    let (source, _) = source.open_with(log.clone());
    let (folder, _) = in_a_folder();
    fs::remove_dir_all(folder.segment(1)).unwrap();
    let (running, _) = folder.open_with(log);
    let mender = running.writer.mender();
    let begun = |first: u64| {
        let mut mending = mender.begin(index(first)).unwrap();
        let head = source.reader.head_before(index(first)).unwrap().unwrap();
        mending.take_head(&head).unwrap();
        let (first, last) = mending.range();
        let entries = source.reader.entries(first, last, usize::MAX).unwrap();
        mending.take_entries(bytes_of(&entries)).unwrap();
        mending
    };
    let mending = begun(1);
    running.writer.release_before(index(FIRST));
    eventually("giving up", || running.reader.first() == index(FIRST));
    assert!(matches!(mending.finish(), Err(MendError::Unneeded)));
    assert_eq!(damaged(&running.reader), []);
    assert!(mender.begin(index(1)).is_none());
    flip(&folder.segment(FIRST).join("db"));
    running.reader.entries(index(FIRST), index(FIRST), 1).unwrap_err();
    let mending = begun(FIRST);
    running.close();
    assert!(matches!(mending.finish(), Err(MendError::Unneeded)));
    source.close();
}

/// Whatever a crash leaves behind, the segment is what it was or known to be damaged, and can be mended.
#[test]
fn a_crash_after_any_operation_leaves_what_can_be_mended() {
    let (good, log) = on_a_simulated_disk();
    let (source, _) = open_in(&good, IDENTITY, small()).unwrap();
    let source = source.reader();
    let mut rotten = 0;
    for seed in 0_u64.. {
        let hurt = good.duplicate();
        hurt.restart();
        let mut chosen = seed;
        let mut choose = |bound: u64| {
            chosen = chosen.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (chosen >> 33) % bound
        };
        let rot = hurt.rot(&mut choose);
        if rot.is_none_or(|rot| rot.segment != Some(index(FIRST))) {
            continue;
        }
        crash_at_each(&hurt, &source, &log);
        rotten += 1;
        if rotten == 6 {
            break;
        }
    }
}

fn crash_at_each(hurt: &MemoryDisk, source: &Reader, log: &Log) {
    let mut operations = 0;
    let mut is_done = false;
    while !is_done {
        for power in [None, Some(0), Some(1)] {
            let disk = hurt.duplicate();
            disk.restart();
            let (store, _) = open_in(&disk, IDENTITY, small()).unwrap();
            let reader = store.reader();
            let writer = store.into_stepped_writer();
            read_all(&reader).unwrap_err();
            disk.fail_after(operations);
            is_done = mend(&writer.mender(), source).is_ok();
            drop((reader, writer));
            match power {
                None => disk.restart(),
                Some(kept) => disk.power_cut(&mut |bound| kept.min(bound - 1)),
            }
            let (store, _) = open_in(&disk, IDENTITY, small()).unwrap();
            let reader = store.reader();
            let writer = store.into_stepped_writer();
            match read_all(&reader) {
                Ok(entries) => assert_eq!(entries, log.entries, "after {operations}"),
                Err(ReadError::Damaged { .. }) => {
                    assert!(!is_done, "it was mended");
                    mend(&writer.mender(), source).unwrap();
                }
                Err(error) => panic!("after {operations}: {error}"),
            }
            assert_eq!(read_all(&reader).unwrap(), log.entries, "after {operations}");
            writer.close().unwrap();
        }
        operations += 1;
    }
    assert!(operations > 10, "{operations} operations");
}
