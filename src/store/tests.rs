//! The store as a whole: write, roll, truncate, stop, start.

use std::time::Instant;

use super::testing::*;
use super::*;

fn index(number: u64) -> Index {
    Index::new(number)
}

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
    assert_eq!(recovered.report.floor, log.tip().id);
    running.append(&[7]);
    let log = running.crash();

    let (running, recovered) = folder.open();
    assert!(!recovered.report.clean);
    assert_eq!(recovered.entries, log.entries);
    assert_eq!(running.all(), log.entries);
    running.close();
}

#[test]
#[ignore = "prints times: cargo test --lib store::tests::measured -- --ignored --nocapture"]
fn measured() {
    let folder = Folder::new();
    let time = |what: &str, act: &mut dyn FnMut()| {
        let started = Instant::now();
        act();
        println!("{what}: {:?}", started.elapsed());
    };
    time("create", &mut || create(folder.path(), IDENTITY, &configuration(), &SMALL).unwrap());
    let mut running = None;
    time("open", &mut || running = Some(folder.open().0));
    let mut running = running.unwrap();
    for _ in 0..3 {
        time("append 100 B", &mut || running.append(&[100]));
    }
    time("append 1000 times", &mut || (0..1000).for_each(|_| running.append(&[100])));
    time("append 4 MiB", &mut || running.append(&[4 << 20]));
    time("append 4 MiB", &mut || running.append(&[4 << 20]));
    time("vote", &mut || {
        running.write(Write { hard_state: Some(hard_state(1, Some(1))), ..nothing() });
    });
    time("roll", &mut || running.roll());
    let log = running.crash();
    let mut running = None;
    time("open", &mut || running = Some(folder.open().0));
    assert_eq!(running.as_ref().unwrap().all(), log.entries);
    time("seal", &mut || {
        running.as_ref().unwrap().writer.committed(index(u64::MAX));
        eventually("sealing", || running.as_ref().unwrap().writer.is_sealed());
    });
    time("close", &mut || drop(running.take().unwrap().close()));
    time("open clean", &mut || running = Some(folder.open().0));
}
