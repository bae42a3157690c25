//! The store on a simulated disk.

use super::super::testing::*;
use super::super::*;

#[test]
fn a_store_on_a_simulated_disk_keeps_what_it_was_given() {
    let disk = MemoryDisk::new();
    create_in(&disk, IDENTITY, &configuration(), &small()).unwrap();
    let mut log = Log::new();
    for clean in [true, false, true] {
        let (store, recovered) = open_in(&disk, IDENTITY, small()).unwrap();
        assert_eq!(recovered.entries, log.entries);
        let reader = store.reader();
        let mut writer = store.into_stepped_writer();
        for ticket in 1..=3 {
            let entries = vec![log.add(100), log.add(200)];
            writer.write(Write { ticket: Ticket::new(ticket), entries, ..nothing() });
        }
        assert!(!writer.is_idle());
        assert!(writer.begin());
        assert_eq!(writer.finish().unwrap(), Some(Done::Persisted(Ticket::new(3))));
        assert!(writer.is_idle() && !writer.begin());
        let all = reader.entries(Index::new(1), Index::new(100), usize::MAX).unwrap();
        assert_eq!(all, log.entries);
        if clean {
            writer.close().unwrap();
        } else {
            drop(writer);
        }
        disk.restart();
    }
    let (_, recovered) = open_in(&disk, IDENTITY, small()).unwrap();
    assert!(recovered.report.clean);
    assert_eq!(recovered.entries, log.entries);
}

#[test]
#[ignore = "prints times: cargo test --lib memory::measured -- --ignored --nocapture"]
fn measured() {
    let disk = MemoryDisk::new();
    create_in(&disk, IDENTITY, &configuration(), &small()).unwrap();
    let mut store = open_in(&disk, IDENTITY, small()).unwrap().0.into_stepped_writer();
    let mut log = Log::new();
    let writes: Vec<Write> = (1..=1000)
        .map(|ticket| Write {
            ticket: Ticket::new(ticket),
            entries: vec![log.add(100)],
            ..nothing()
        })
        .collect();
    let started = std::time::Instant::now();
    for write in writes {
        store.write(write);
        store.begin();
        store.finish().unwrap();
    }
    println!("a write of one entry: {:?}", started.elapsed() / 1000);
    let started = std::time::Instant::now();
    for index in 1..=1000 {
        disk.durable_entry(Index::new(index)).unwrap();
    }
    println!("a look at an entry of the platter: {:?}", started.elapsed() / 1000);
    let started = std::time::Instant::now();
    for _ in 0..1000 {
        disk.durable_hard_state();
        disk.durable_last();
    }
    println!("term, vote and last of the platter: {:?}", started.elapsed() / 1000);
    drop(store);
    let started = std::time::Instant::now();
    for _ in 0..10 {
        disk.restart();
        open_in(&disk, IDENTITY, small()).unwrap();
    }
    println!("a start with 1000 entries: {:?}", started.elapsed() / 10);
    let disk = MemoryDisk::new();
    let started = std::time::Instant::now();
    create_in(&disk, IDENTITY, &configuration(), &small()).unwrap();
    println!("making a store: {:?}", started.elapsed());
    let started = std::time::Instant::now();
    for _ in 0..100 {
        disk.restart();
        open_in(&disk, IDENTITY, small()).unwrap();
    }
    println!("a start with nothing: {:?}", started.elapsed() / 100);
}
