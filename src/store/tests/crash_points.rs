//! Every crash there is: a history is cut off after each of its disk operations, by a kill or by a
//! power cut of several kinds, and so is the start that follows.

use super::super::layout::Layout;
use super::super::testing::*;
use super::super::*;
use super::witness::{End, Witness};
use crate::entry::SealedEntry;
use crate::limits::JOURNAL_BLOCK_BYTES;

/// One operation of a history.
#[derive(Clone, Debug)]
enum Step {
    Write(Write),
    Committed(u64),
    KeepUp,
    Release(u64),
    Restart,
}

/// A history, and the log that it ends with: what it calls committed stays.
struct History {
    steps: Vec<Step>,
    log: Log,
}

impl History {
    fn new() -> Self {
        Self { steps: vec![], log: Log::new() }
    }

    fn step(&mut self, step: Step) -> &mut Self {
        self.steps.push(step);
        self
    }

    /// Removes what is at `from` and behind, adds entries, and ends a segment if asked.
    fn write(&mut self, from: Option<u64>, term: u64, sizes: &[usize], other: Write) -> &mut Self {
        let mut write = other;
        write.truncate_from = from.map(index);
        if let Some(from) = write.truncate_from {
            self.log.truncate(from);
        }
        write.entries = sizes.iter().map(|bytes| self.log.add_to(0, term, *bytes)).collect();
        if !write.heads.is_empty() {
            write.heads = self.log.end_segment();
        }
        self.step(Step::Write(write))
    }

    /// Appends, truncations, new segments, terms and votes, seals, what is given up, a clean stop. One
    /// entry has so many bytes.
    fn of_everything(large: usize) -> Self {
        let mut history = Self::new();
        let vote = |term, vote| Write { hard_state: Some(hard_state(term, vote)), ..nothing() };
        let commit = |to| Write { commit_index: index(to), ..nothing() };
        let roll = |to| Write { heads: vec![Log::new().head()], ..commit(to) };
        history
            .write(None, 1, &[10, 20, 3000], vote(1, Some(1)))
            .write(None, 1, &[], vote(2, Some(3)))
            .step(Step::KeepUp)
            .write(None, 2, &[5, large], roll(3))
            .write(None, 2, &[6, 7], vote(3, None))
            .step(Step::KeepUp)
            // The end of a segment is taken back, and what comes instead is committed at once.
            .write(Some(5), 3, &[8, 9], Write { commit_index: index(6), ..vote(3, Some(2)) })
            .write(None, 3, &[11], roll(6))
            .step(Step::Committed(7))
            .write(None, 3, &[12, 13, 14], nothing())
            .step(Step::KeepUp)
            .write(Some(9), 4, &[15], vote(4, None))
            .step(Step::Restart)
            .write(None, 4, &[16], roll(9))
            .write(None, 4, &[17], nothing())
            .step(Step::Restart)
            .write(Some(10), 5, &[18, 19], vote(5, Some(1)))
            .write(None, 5, &[20], roll(11))
            .step(Step::Committed(12))
            .write(None, 5, &[21], commit(12))
            // The first of two sealed segments goes, and no more.
            .step(Step::Release(7))
            .step(Step::Release(13))
            .write(None, 5, &[22], commit(13))
            .step(Step::Restart)
            .write(None, 5, &[23], commit(14));
        history
    }
}

/// A file of the journal is full after three blocks.
fn options() -> Options {
    Options { journal_file_bytes: 4 * JOURNAL_BLOCK_BYTES as u64, ..small() }
}

fn start(disk: &MemoryDisk) -> Result<(SteppedWriter, Reader, Recovered), StoreError> {
    let (store, recovered) = open_in(disk, IDENTITY, options())?;
    let reader = store.reader();
    Ok((store.into_stepped_writer(), reader, recovered))
}

fn new_disk() -> MemoryDisk {
    let disk = MemoryDisk::new();
    create_in(&disk, IDENTITY, &configuration(), &options()).unwrap();
    disk
}

/// One process after the other that goes through a history.
struct Run<'a> {
    disk: &'a MemoryDisk,
    witness: &'a mut Witness,
    /// `None` between two of them.
    writer: Option<SteppedWriter>,
    /// Where segments end, as its replica would know.
    heads: Vec<Head>,
}

impl Run<'_> {
    fn writer(&mut self) -> &mut SteppedWriter {
        self.writer.as_mut().unwrap()
    }

    fn write(&mut self, write: &Write) -> Result<(), StoreError> {
        self.witness.ticket += 1;
        self.witness.attempt = Some(write.clone());
        let ticket = Ticket::new(self.witness.ticket);
        self.writer().write(Write { ticket, ..write.clone() });
        assert!(self.writer().begin());
        if self.writer().finish()?.is_some() {
            self.witness.settle();
            self.witness.check_platter(self.disk);
        }
        Ok(())
    }

    fn restart(&mut self) -> Result<(), StoreError> {
        let (writer, _, recovered) = start(self.disk)?;
        self.writer = Some(writer);
        self.heads.retain(|head| head.tip.id.index > recovered.head.tip.id.index);
        self.write(&Write { heads: self.heads.clone(), ..nothing() })
    }

    fn perform(mut self, steps: &[Step]) -> Result<(), StoreError> {
        for step in steps {
            match step {
                Step::Write(write) => {
                    let is_left = |head: &Head| {
                        write.truncate_from.is_none_or(|from| head.tip.id.index < from)
                    };
                    self.heads.retain(is_left);
                    self.heads.extend(write.heads.iter().cloned());
                    self.write(write)?;
                }
                Step::Committed(to) => self.writer().committed(index(*to))?,
                Step::KeepUp => self.writer().keep_up()?,
                Step::Release(before) => {
                    self.witness.released = *before;
                    self.writer().release_before(index(*before));
                }
                Step::Restart => {
                    self.writer.take().unwrap().close()?;
                    self.restart()?;
                }
            }
            run_chores(self.writer())?;
        }
        Ok(())
    }
}

/// Goes through a history until an error, or to its end.
fn run(disk: &MemoryDisk, history: &History, witness: &mut Witness) -> Result<(), StoreError> {
    let (writer, ..) = start(disk)?;
    Run { disk, witness, writer: Some(writer), heads: vec![] }.perform(&history.steps)
}

/// The store opens, holds what it promised, and goes on.
fn check_start(disk: &MemoryDisk, history: &History, witness: &Witness) {
    let (mut writer, reader, recovered) = start(disk).unwrap();
    let found = all_with_given_up(&reader, history, witness);
    witness.check(&found, recovered.hard_state);
    let commit_index = usize::try_from(recovered.commit_index.get()).unwrap();
    assert_eq!(found[..commit_index], history.log.entries[..commit_index]);

    // What a start hands on is not only seen, it would survive.
    let hard_state = recovered.hard_state;
    let mut now = Witness { log: found, hard_state, ..Witness::new() };
    now.check_platter(disk);

    let mut log = Log::of(&now.log);
    let write = Write { ticket: Ticket::new(1), entries: vec![log.add_to(0, 9, 5)], ..nothing() };
    now.attempt = Some(write.clone());
    writer.write(write);
    assert!(writer.begin());
    writer.finish().unwrap().unwrap();
    now.settle();
    drop(writer);
    End::LoseAll.strike(disk);
    let (_, reader, recovered) = start(disk).unwrap();
    assert_eq!(all_with_given_up(&reader, history, witness), now.log);
    assert_eq!(recovered.hard_state, now.hard_state);
    // Nothing is left of what is not on the list.
    let folders = Layout::in_memory(disk.mount()).segments().unwrap();
    let listed: Vec<_> = disk.sealed_after(Index::ZERO).iter().map(|it| it.first).collect();
    assert_eq!(folders, listed);
}

/// The entries that there are, behind those that were given up: whole segments, and none but when asked.
fn all_with_given_up(reader: &Reader, history: &History, witness: &Witness) -> Vec<SealedEntry> {
    let first = reader.first();
    assert!(first == index(1) || first == index(8) && witness.released == 13, "{first}");
    let mut all = history.log.entries.clone();
    all.truncate(usize::try_from(first.get() - 1).unwrap());
    all.extend(reader.entries(first, index(u64::MAX), usize::MAX).unwrap());
    all
}

/// Cuts a history on this disk off after each of its operations. Returns how many there were.
fn check_each_crash(
    made: &MemoryDisk,
    history: &History,
    then: impl Fn(&MemoryDisk, &Witness, u64, End),
) -> u64 {
    for operations in 0.. {
        let killed = made.duplicate();
        killed.fail_after(operations);
        let mut witness = Witness::new();
        let outcome = run(&killed, history, &mut witness);
        if outcome.is_ok() && !killed.is_killed() {
            return operations;
        }
        for end in End::ALL {
            let disk = killed.duplicate();
            end.strike(&disk);
            then(&disk, &witness, operations, end);
        }
    }
    unreachable!("a history ends")
}

#[test]
fn nothing_promised_is_lost_wherever_a_history_is_cut_off() {
    let history = History::of_everything(200_000);
    let count = check_each_crash(&new_disk(), &history, |disk, witness, operations, end| {
        println!("after {operations} operations: {end:?}");
        check_start(disk, &history, witness);
    });
    assert!(count > 100, "only {count} operations");
}

#[test]
fn nothing_promised_is_lost_wherever_the_start_after_a_crash_is_cut_off() {
    let history = History::of_everything(200);
    check_each_crash(&new_disk(), &history, |disk, witness, operations, end| {
        // In turn: both for each would take too long.
        let is_in_turn = match end {
            End::Kill => operations % 2 == 0,
            End::LoseAll => operations % 2 == 1,
            _ => false,
        };
        if !is_in_turn {
            return;
        }
        for more in 0.. {
            let disk = disk.duplicate();
            disk.fail_after(more);
            if start(&disk).is_ok() {
                return;
            }
            let second = if (operations / 2 + more) % 2 == 0 { End::Kill } else { End::LoseAll };
            println!("after {operations} operations: {end:?}; after {more} more: {second:?}");
            second.strike(&disk);
            check_start(&disk, &history, witness);
        }
    });
}

#[test]
fn a_store_is_there_or_can_be_made_wherever_its_making_is_cut_off() {
    for operations in 0.. {
        for end in End::ALL {
            let disk = MemoryDisk::new();
            disk.fail_after(operations);
            let made = create_in(&disk, IDENTITY, &configuration(), &options()).is_ok();
            end.strike(&disk);
            match create_in(&disk, IDENTITY, &configuration(), &options()) {
                Ok(()) => assert!(!made, "a store that was made is gone: {operations} {end:?}"),
                Err(StoreError::Exists { .. }) => (),
                Err(error) => panic!("{operations} {end:?}: {error}"),
            }
            check_start(&disk, &History::new(), &Witness::new());
            if made && matches!(end, End::Some(5)) {
                return;
            }
        }
    }
}

/// What is set aside stays, whole, and what is made in its place says what it is.
#[test]
fn a_node_that_begins_anew_goes_on_wherever_that_was_cut_off() {
    for operations in 0.. {
        for end in End::ALL {
            let disk = MemoryDisk::new();
            create_in(&disk, IDENTITY, &configuration(), &options()).unwrap();
            let anew = || begin_anew_in(&disk, IDENTITY, &configuration(), &options());
            disk.fail_after(operations);
            let begun = anew();
            end.strike(&disk);
            // A start asks first.
            let must_go_on = began_anew_in(&disk).unwrap();
            assert!(begun.is_err() || !must_go_on, "{operations} {end:?}: it was done");
            if must_go_on {
                assert_eq!(anew().unwrap(), 1, "{operations} {end:?}");
            }
            let is_new = || {
                let (store, _) = open_in(&disk, IDENTITY, options()).unwrap();
                store.lineage().in_place
            };
            if !is_new() {
                // Nothing was begun, and all is as it was.
                assert!(begun.is_err() && !must_go_on, "{operations} {end:?}");
                disk.restart();
                assert_eq!(anew().unwrap(), 1, "{operations} {end:?}");
                assert!(is_new(), "{operations} {end:?}");
            }
            disk.restart();
            assert_eq!(anew().unwrap(), 2, "{operations} {end:?}: the first was not set aside");
            if begun.is_ok() && matches!(end, End::Some(5)) {
                return;
            }
        }
    }
}
