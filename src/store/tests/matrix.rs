//! The damage matrix: every kind of file of a closed store, and everything that may become of it. What comes of
//! that is the log as it was, at once or when a segment is mended, or a refusal that changes nothing; never a
//! wrong byte, and never a panic.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::super::testing::*;
use super::super::*;
use crate::entry::SealedEntry;

/// What comes of damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    /// The log is what it was.
    Exact,
    /// So it is when the segments that are damaged are mended.
    Mended,
    /// The start is refused.
    Refused,
}
use Outcome::{Exact, Mended, Refused};

/// What becomes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Damage {
    /// A bit of what is written, at so many thousandths of it, is another.
    Flip(u64),
    /// What is behind so many thousandths is cut off.
    Cut(u64),
    /// All of it is zero.
    Zero,
    /// It is gone.
    Gone,
    /// It is as it was in an earlier state of the same store.
    Older,
    /// Another store's file of this name is in its place.
    Swapped,
}

/// A closed store, an earlier state of it, and one of another history.
struct Stores {
    now: Folder,
    earlier: Folder,
    other: Folder,
    log: Log,
    hard_state: HardState,
}

/// Segments from 1 and 3 on, then one from 5 on, and what is not sealed.
fn grow(folder: &Folder, term: u64) -> Log {
    let (mut running, _) = folder.open();
    running.write(Write { hard_state: Some(hard_state(term, Some(1))), ..nothing() });
    for sizes in [[300, 10], [200, 900]] {
        let entries = sizes.iter().map(|bytes| running.log.add_to(0, term, *bytes)).collect();
        running.write(Write { entries, ..nothing() });
        running.roll();
    }
    running.append(&[20]);
    running.seal();
    running.close()
}

fn grow_on(folder: &Folder, log: Log, term: u64) -> Log {
    let (mut running, _) = folder.open_with(log);
    running.write(Write { hard_state: Some(hard_state(term, Some(2))), ..nothing() });
    running.append(&[40, 50]);
    running.roll();
    running.append(&[60]);
    running.seal();
    running.close()
}

fn stores() -> Stores {
    let (now, earlier, other) = (Folder::with_store(), Folder::new(), Folder::with_store());
    let log = grow(&now, 3);
    copy_folder(now.path(), earlier.path());
    let log = grow_on(&now, log, 4);
    let of_other = grow(&other, 5);
    grow_on(&other, of_other, 6);
    Stores { now, earlier, other, log, hard_state: hard_state(4, Some(2)) }
}

/// The files of a folder, by what they are for: without the numbers in their names.
fn files_of(folder: &Path) -> Vec<(String, PathBuf)> {
    let mut found = vec![];
    for (path, _) in contents_of(folder) {
        if path.is_file() {
            let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
            found.push((name, path));
        }
    }
    found
}

/// Does damage to a file. Says whether it is another now.
fn hurt(stores: &Stores, folder: &Folder, name: &str, damage: Damage) -> bool {
    let path = folder.path().join(name);
    let before = fs::read(&path).unwrap();
    let mut bytes = before.clone();
    let written = used(&bytes);
    let at = |thousandths: u64| written * usize::try_from(thousandths).unwrap() / 1000;
    match damage {
        Damage::Flip(part) => {
            if let Some(byte) = bytes.get_mut(at(part)) {
                *byte ^= 1 << (part % 8);
            }
        }
        Damage::Cut(part) => bytes.truncate(at(part)),
        Damage::Zero => bytes.fill(0),
        Damage::Gone => {
            fs::remove_file(path).unwrap();
            return true;
        }
        Damage::Older | Damage::Swapped => {
            let source = if damage == Damage::Older { &stores.earlier } else { &stores.other };
            let Ok(other) = fs::read(source.path().join(name)) else { return false };
            bytes = other;
        }
    }
    fs::write(path, &bytes).unwrap();
    bytes != before
}

/// Starts on a folder, reads all of it, and mends what is damaged.
fn outcome(stores: &Stores, folder: &Folder) -> Outcome {
    let before = folder.contents();
    let (store, recovered) = match folder.try_open() {
        Ok(opened) => opened,
        Err(error) => {
            let is_refusal = error.is_damage()
                || matches!(error, StoreError::Foreign { .. } | StoreError::Format { .. });
            assert!(is_refusal, "{error}");
            assert!(folder.contents() == before, "a refused folder was changed: {error}");
            return Refused;
        }
    };
    assert_eq!(recovered.hard_state, stores.hard_state, "a promise is forgotten");
    let running = Running::start(store, &recovered);
    let mut outcome = Exact;
    let entries = loop {
        match read_all(&running.reader) {
            Ok(entries) => break entries,
            Err(ReadError::Damaged { first, last }) => {
                outcome = Mended;
                mend(stores, &running, (first, last));
            }
            Err(error) => panic!("{error}"),
        }
    };
    assert!(entries == stores.log.entries, "{} entries", entries.len());
    running.close();
    assert_eq!(inspect(folder.path(), None).unwrap().damage, [""; 0]);
    outcome
}

fn mend(stores: &Stores, running: &Running, (first, last): (Index, Index)) {
    let mut mending = running.writer.mender().begin(first).unwrap();
    let heads = std::iter::once(Log::new().head()).chain(stores.log.heads.clone());
    let mut heads = heads.filter(|head| head.tip.id.index.next() == first);
    let mut head = heads.next().unwrap();
    if first == index(1) {
        // As the store is made with it.
        head.sessions = Bytes::new();
    }
    mending.take_head(&postcard::to_stdvec(&head).unwrap()).unwrap();
    let of_it = |entry: &&SealedEntry| (first..=last).contains(&entry.id().index);
    for entry in stores.log.entries.iter().filter(of_it) {
        mending.take_entries(entry.bytes().clone()).unwrap();
    }
    mending.finish().unwrap();
}

/// What comes of damage to one file.
fn of_one(stores: &Stores, name: &str, damage: Damage) -> Option<Outcome> {
    let folder = Folder::new();
    copy_folder(stores.now.path(), folder.path());
    hurt(stores, &folder, name, damage).then(|| outcome(stores, &folder))
}

const DAMAGES: [Damage; 10] = [
    Damage::Flip(0),
    Damage::Flip(333),
    Damage::Flip(999),
    Damage::Cut(0),
    Damage::Cut(500),
    Damage::Cut(999),
    Damage::Zero,
    Damage::Gone,
    Damage::Older,
    Damage::Swapped,
];

/// What may come of damage to a file of this name, whatever it is. `written` is the journal's file that was
/// written to.
fn expected(name: &str, written: &Path) -> &'static [Outcome] {
    let sealed = [1, 3, 5].map(|first| format!("log/{first:020}/"));
    match name {
        _ if sealed.iter().any(|folder| name.starts_with(folder)) => &[Mended],
        // What an orderly stop has copied, and files ahead of their use, are needed by nobody.
        "reserve" => &[Exact],
        _ if name.starts_with("log/") && !name.contains(".head") => &[Exact],
        _ if name.starts_with("journal/") && !written.ends_with(name) => &[Exact],
        // sled's file goes on behind what it reads, and its settings end with a line's end.
        _ if name.starts_with("meta/") => &[Refused, Exact],
        _ => &[Refused],
    }
}

#[test]
fn whatever_becomes_of_a_file_the_log_is_what_it_was_or_the_start_is_refused() {
    let stores = stores();
    let written = stores.now.journal().remove(0);
    let mut found = BTreeMap::new();
    for (name, _) in files_of(stores.now.path()) {
        for damage in DAMAGES {
            if let Some(outcome) = of_one(&stores, &name, damage) {
                assert!(
                    expected(&name, &written).contains(&outcome),
                    "{name}, {damage:?}: {outcome:?}"
                );
                *found.entry(outcome).or_insert(0) += 1;
            }
        }
    }
    assert!(found.len() == 3 && found.values().all(|count| *count > 20), "{found:?}");
}

/// As many folders as `ANNAL_FUZZ_ROUNDS` says, from `ANNAL_FUZZ_SEED` on.
#[test]
fn whatever_becomes_of_several_files_the_log_is_what_it_was_or_the_start_is_refused() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let first: u64 = number("ANNAL_FUZZ_SEED").unwrap_or(0);
    let rounds = number("ANNAL_FUZZ_ROUNDS").unwrap_or(60);
    let stores = stores();
    let names: Vec<_> = files_of(stores.now.path()).into_iter().map(|(name, _)| name).collect();
    for seed in first..first + rounds {
        let mut random = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut below = |bound: usize| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            usize::try_from(random >> 33).unwrap() % bound
        };
        let folder = Folder::new();
        copy_folder(stores.now.path(), folder.path());
        let mut done = vec![];
        for _ in 0..=below(3) {
            let name = &names[below(names.len())];
            let part = below(1000) as u64;
            let damage = match below(8) {
                0 => Damage::Zero,
                1 => Damage::Gone,
                2 => Damage::Older,
                3 => Damage::Swapped,
                4 => Damage::Cut(part),
                _ => Damage::Flip(part),
            };
            if folder.path().join(name).exists() {
                hurt(&stores, &folder, name, damage);
                done.push(format!("{name} {damage:?}"));
            }
        }
        println!("seed {seed}: {done:?}");
        println!("seed {seed}: {:?}", outcome(&stores, &folder));
    }
}
