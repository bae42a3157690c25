//! Writing, stopping, starting, reading.

use std::time::Instant;

use super::super::testing::*;
use super::super::*;
use crate::types::{LogId, Term};

#[test]
fn what_was_written_is_there_after_a_clean_stop_and_after_a_crash() {
    let folder = Folder::with_store();
    let (mut running, recovered) = folder.open();
    assert!(recovered.entries.is_empty());
    assert_eq!(recovered.head.configuration, configuration());
    assert!(!recovered.report.clean);
    running.append(&[10, 100, 0]);
    running.append(&[300_000]);
    let log = running.close();

    let (mut running, recovered) = folder.open();
    assert!(recovered.report.clean);
    assert_eq!(recovered.entries, log.entries);
    assert_eq!(recovered.report.last, log.tip().id);
    running.append(&[7]);
    let log = running.crash();

    let (running, recovered) = folder.open();
    assert!(!recovered.report.clean);
    assert_eq!(recovered.entries, log.entries);
    assert_eq!(running.all(), log.entries);
    assert!(
        recovered.report.to_string().contains("verified 5 and their chain"),
        "{}",
        recovered.report
    );
    running.close();
}

#[test]
fn tickets_come_in_order_and_the_newest_comes() {
    let folder = Folder::with_store();
    let (mut running, _) = folder.open();
    for bytes in 0..200 {
        let entries = vec![running.log.add(bytes)];
        running.queue(Write { entries, ..nothing() });
    }
    running.wait();
    let log = running.crash();
    assert_eq!(folder.open().1.entries, log.entries);
}

#[test]
fn a_write_larger_than_a_group_commit_is_whole() {
    let folder = Folder::with_store();
    let (mut running, _) = folder.open();
    running.append(&[4 << 20, 100, 4 << 20, 4 << 20]);
    running.append(&vec![10; 3000]);
    running.replace(2, &[5, 4 << 20]);
    let log = running.crash();
    assert_eq!(log.entries.len(), 3);
    let (mut running, _) = folder.open_with(log);
    running.roll();
    running.seal();
    assert!(!folder.segment(1).join("blobs").read_dir().unwrap().any(|_| true));
    assert_eq!(running.all(), running.log.entries);
    running.close();
}

#[test]
fn the_commit_index_is_remembered_and_never_passes_the_log() {
    let folder = Folder::with_store();
    let (mut running, _) = folder.open();
    let entries = vec![running.log.add(1), running.log.add(1)];
    running.write(Write { entries, commit_index: index(1), ..nothing() });
    running.crash();
    let (running, recovered) = folder.open();
    assert_eq!(recovered.commit_index, index(1));
    running.writer.committed(index(900));
    running.close();
    assert_eq!(folder.open().1.commit_index, index(2));
}

/// A follower learns in one message that its entries are replaced *and* that the new ones are
/// committed: the commit index speaks of the log after the write, not of the disk before it.
#[test]
fn a_write_may_replace_entries_by_others_that_are_committed() {
    let folder = Folder::with_store();
    let (mut running, _) = folder.open();
    running.append(&[1, 2, 3]);
    running.log.truncate(index(2));
    let entries = vec![running.log.add_to(0, 9, 5), running.log.add_to(0, 9, 6)];
    let write =
        Write { truncate_from: Some(index(2)), entries, commit_index: index(3), ..nothing() };
    running.write(write);
    let log = running.crash();
    assert_eq!(folder.open().1.entries, log.entries);
}

#[test]
fn a_closed_store_reads_no_more() {
    let folder = Folder::with_store();
    let (mut running, _) = folder.open();
    running.append(&[1]);
    let reader = running.reader.clone();
    assert_eq!(reader.entries(index(1), index(1), 0).unwrap().len(), 1);
    running.close();
    assert!(matches!(reader.entries(index(1), index(1), 0), Err(ReadError::Closed)));
    assert!(matches!(reader.locate(LogNumber::MAIN, Offset::ZERO), Err(ReadError::Closed)));
}

#[test]
fn reads_are_bounded_and_return_at_least_one() {
    let folder = Folder::with_store();
    let (mut running, _) = folder.open();
    running.append(&[1000, 1000, 1000, 200_000, 1000]);
    let read = |first, last, bytes_max| -> Vec<u64> {
        let entries = running.reader.entries(index(first), index(last), bytes_max).unwrap();
        entries.iter().map(|entry| entry.id().index.get()).collect()
    };
    assert_eq!(read(1, 5, usize::MAX), [1, 2, 3, 4, 5]);
    assert_eq!(read(2, 3, usize::MAX), [2, 3]);
    assert_eq!(read(1, 5, 2500), [1, 2]);
    assert_eq!(read(4, 5, 10), [4]);
    assert_eq!(read(6, 9, 10), [0; 0]);
    assert_eq!(read(3, 2, 10), [0; 0]);
    running.crash();
}

#[test]
fn every_offset_is_located_in_every_kind_of_segment() {
    let folder = Folder::with_store();
    let (mut running, _) = folder.open();
    for segment in 0..4 {
        for step in 0..150_usize {
            let log = u32::try_from(step % 3 + segment / 2).unwrap();
            let bytes = if step % 50 == 0 { 70_000 } else { step };
            let entries = vec![running.log.add_to(log, 1, bytes)];
            running.queue(Write { entries, ..nothing() });
        }
        running.wait();
        if segment < 3 {
            running.roll();
        }
        if segment < 2 {
            running.seal();
        }
    }
    for entry in &running.log.entries {
        for request in entry.requests().unwrap() {
            let found = running.reader.locate(request.log, request.first_offset).unwrap();
            assert_eq!(found, Some(entry.id().index), "{:?}", request.log);
        }
    }
    for (log, next) in &running.log.next_offsets {
        assert_eq!(running.reader.locate(*log, *next).unwrap(), None);
    }
    assert_eq!(running.reader.locate(LogNumber::new(9), Offset::ZERO).unwrap(), None);
    running.close();
}

#[test]
fn readers_on_other_threads_see_only_whole_histories_while_the_writer_truncates() {
    let folder = Folder::with_store();
    let (mut running, _) = folder.open();
    running.append(&[200; 20]);
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let threads: Vec<_> = (0..2)
        .map(|_| {
            let (reader, stop) = (running.reader.clone(), stop.clone());
            std::thread::spawn(move || {
                let mut reads = 0_u32;
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    let entries = reader.entries(index(1), index(99), usize::MAX).unwrap();
                    for (one, next) in entries.iter().zip(entries.iter().skip(1)) {
                        next.check_follows(&one.tip()).unwrap();
                    }
                    reader.locate(LogNumber::MAIN, Offset::new(15)).unwrap();
                    reads += 1;
                }
                reads
            })
        })
        .collect();
    for round in 0..100 {
        running.replace(10 + round % 5, &[200_000, 200, 200, 200]);
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    for thread in threads {
        assert!(thread.join().unwrap() > 0);
    }
    running.crash();
}

#[test]
#[ignore = "prints times: cargo test --lib measured -- --ignored --nocapture"]
fn measured() {
    let folder = Folder::on_disk();
    let time = |what: &str, act: &mut dyn FnMut()| {
        let started = Instant::now();
        act();
        println!("{what}: {:?}", started.elapsed());
    };
    time("create", &mut || create(folder.path(), IDENTITY, &configuration(), &small()).unwrap());
    let mut running = None;
    time("open", &mut || running = Some(folder.open().0));
    let mut running = running.unwrap();
    for _ in 0..3 {
        time("append 100 B", &mut || running.append(&[100]));
    }
    time("append 100 B, 1000 times", &mut || (0..1000).for_each(|_| running.append(&[100])));
    time("append 4 MiB", &mut || running.append(&[4 << 20]));
    time("append 4 MiB", &mut || running.append(&[4 << 20]));
    time("vote", &mut || {
        running.write(Write { hard_state: Some(hard_state(1, Some(1))), ..nothing() });
    });
    time("roll", &mut || running.roll());
    let log = running.crash();
    let mut running = None;
    time("open after a crash", &mut || running = Some(folder.open().0));
    let running = running.unwrap();
    assert_eq!(running.all(), log.entries);
    time("seal", &mut || {
        running.writer.committed(index(u64::MAX));
        eventually("sealing", || running.writer.is_sealed());
    });
    let mut running = Some(running);
    time("close", &mut || drop(running.take().unwrap().close()));
    time("open after a clean stop", &mut || running = Some(folder.open().0));
}

#[test]
fn a_follower_is_given_the_next_entry_however_large_it_and_the_one_before_are() {
    let folder = Folder::with_store();
    let (mut running, _) = folder.open();
    let entries: Vec<_> = (0..3).map(|_| running.log.add(700 << 10)).collect();
    running.write(Write { entries: entries.clone(), ..nothing() });
    let read = |prev| match running.reader.for_follower(prev, index(3)).unwrap() {
        Lacking::Entries { previous, entries } => {
            assert!(entries.is_empty() || previous.id == prev);
            entries
        }
        Lacking::Head { info, .. } => panic!("nothing was given up before {}", info.id),
    };
    assert_eq!(read(LogId::ZERO), entries[..1]);
    assert_eq!(read(entries[0].id()), entries[1..2]);
    assert_eq!(read(LogId::new(index(1), Term::new(9))), [], "another history");
    assert_eq!(read(entries[2].id()), [], "nothing comes after it");
    running.close();
}
