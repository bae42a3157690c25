//! The store on a simulated disk.

use super::super::testing::*;
use super::super::*;

#[test]
fn a_store_on_a_simulated_disk_keeps_what_it_was_given() {
    let disk = MemoryDisk::new();
    create_in(&disk, IDENTITY, &configuration(), &SMALL).unwrap();
    let mut log = Log::new();
    for clean in [true, false, true] {
        let (store, recovered) = open_in(&disk, IDENTITY, SMALL).unwrap();
        assert_eq!(recovered.entries, log.entries);
        let reader = store.reader();
        let mut stepper = store.into_stepper();
        for ticket in 1..=3 {
            let entries = vec![log.add(100), log.add(200)];
            stepper.write(Write { ticket: Ticket::new(ticket), entries, ..nothing() });
        }
        assert!(!stepper.is_idle());
        assert!(stepper.begin());
        assert_eq!(stepper.finish().unwrap(), Some(Done::Persisted(Ticket::new(3))));
        assert!(stepper.is_idle() && !stepper.begin());
        let all = reader.entries(Index::new(1), Index::new(100), usize::MAX).unwrap();
        assert_eq!(all, log.entries);
        if clean {
            stepper.close().unwrap();
        } else {
            drop(stepper);
        }
        disk.restart();
    }
    let (_, recovered) = open_in(&disk, IDENTITY, SMALL).unwrap();
    assert!(recovered.report.clean);
    assert_eq!(recovered.entries, log.entries);
}
