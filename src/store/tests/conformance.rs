//! The simulated disk is judged by the real one: whatever is done to a store on both of them, what a
//! start finds is the same.

use proptest::prelude::*;

use super::super::testing::*;
use super::super::*;
use super::sizes;
use crate::entry::SealedEntry;

#[derive(Clone, Debug)]
enum Step {
    Append(Vec<usize>),
    Replace(u64, Vec<usize>),
    Roll,
    Commit(u64),
    Vote(Option<u16>),
    KeepUp,
    Close,
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => sizes().prop_map(Step::Append),
        4 => (1..8_u64, sizes()).prop_map(|(back, sizes)| Step::Replace(back, sizes)),
        4 => Just(Step::Roll),
        4 => (0..8_u64).prop_map(Step::Commit),
        2 => prop::option::of(1..4_u16).prop_map(Step::Vote),
        1 => Just(Step::KeepUp),
        1 => Just(Step::Close),
        2 => Just(Step::Crash),
    ]
}

enum Place {
    Real(Folder),
    Memory(MemoryDisk),
}

/// A store in one of the two places.
struct Home {
    place: Place,
    writer: Option<SteppedWriter>,
    ticket: u64,
}

/// All that can be told of a start, but how long it took.
type Told = (HardState, Index, Head, Vec<SealedEntry>, RecoveryReport);

impl Home {
    fn new(place: Place) -> Self {
        Self { place, writer: None, ticket: 0 }
    }

    /// Returns what was found, and all entries that can be read.
    fn start(&mut self) -> (Told, Vec<SealedEntry>) {
        let (store, found) = match &self.place {
            Place::Real(folder) => folder.try_open().unwrap(),
            Place::Memory(disk) => {
                disk.restart();
                open_in(disk, IDENTITY, small()).unwrap()
            }
        };
        let all = store.reader().entries(index(1), index(u64::MAX), usize::MAX).unwrap();
        self.writer = Some(store.into_stepped_writer());
        let report = RecoveryReport { elapsed: std::time::Duration::ZERO, ..found.report };
        let told = (found.hard_state, found.commit_index, found.head, found.entries, report);
        (told, all)
    }

    fn writer(&mut self) -> &mut SteppedWriter {
        self.writer.as_mut().unwrap()
    }

    fn write(&mut self, write: Write) {
        self.ticket += 1;
        let ticket = Ticket::new(self.ticket);
        self.writer().write(Write { ticket, ..write });
        assert!(self.writer().begin());
        assert_eq!(self.writer().finish().unwrap(), Some(Done::Persisted(ticket)));
        run_chores(self.writer()).unwrap();
    }
}

/// A store in both places, and what it should hold.
struct Both {
    homes: [Home; 2],
    log: Log,
    committed: Index,
    hard_state: HardState,
}

impl Both {
    fn new() -> Self {
        let disk = MemoryDisk::new();
        create_in(&disk, IDENTITY, &configuration(), &small()).unwrap();
        let places = [Place::Real(Folder::with_store()), Place::Memory(disk)];
        let (committed, hard_state) = (Index::ZERO, HardState::default());
        let mut both =
            Self { homes: places.map(Home::new), log: Log::new(), committed, hard_state };
        both.start();
        both
    }

    fn start(&mut self) {
        let [real, memory] = &mut self.homes;
        let (found, all) = real.start();
        let sealed = found.2.tip.id.index;
        assert_eq!(memory.start(), (found, all.clone()));
        assert_eq!(all, self.log.entries);
        self.write(&Write { heads: self.log.heads_behind(sealed), ..nothing() });
    }

    fn write(&mut self, write: &Write) {
        for home in &mut self.homes {
            home.write(write.clone());
        }
    }

    fn perform(&mut self, step: Step) {
        let last = self.log.tip().id.index;
        match step {
            Step::Append(sizes) => {
                let entries = sizes.iter().map(|bytes| self.log.add(*bytes)).collect();
                self.write(&Write { entries, ..nothing() });
            }
            Step::Replace(back, sizes) => {
                let from = index(last.get().saturating_sub(back)).max(self.committed).next();
                let term = self.log.tip().id.term.get() + 1;
                self.log.truncate(from.min(last.next()));
                let entries = sizes.iter().map(|bytes| self.log.add_to(0, term, *bytes)).collect();
                self.write(&Write { truncate_from: Some(from), entries, ..nothing() });
            }
            Step::Roll => {
                let heads = self.log.end_segment();
                self.write(&Write { heads, ..nothing() });
            }
            Step::Commit(back) => {
                self.committed = self.committed.max(index(last.get().saturating_sub(back)));
                let committed = self.committed;
                for home in &mut self.homes {
                    home.writer().committed(committed).unwrap();
                    run_chores(home.writer()).unwrap();
                }
            }
            Step::Vote(vote) => {
                self.hard_state.current_term = self.hard_state.current_term.next().unwrap();
                self.hard_state.voted_for = vote.and_then(NodeId::new);
                self.write(&Write { hard_state: Some(self.hard_state), ..nothing() });
            }
            Step::KeepUp => {
                self.homes.iter_mut().for_each(|home| home.writer().keep_up().unwrap());
            }
            Step::Close => {
                for home in &mut self.homes {
                    home.writer.take().unwrap().close().unwrap();
                }
                self.start();
            }
            Step::Crash => {
                self.homes.iter_mut().for_each(|home| home.writer = None);
                self.start();
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_start_finds_the_same_on_a_real_disk_and_on_a_simulated_one(
        steps in prop::collection::vec(step(), 1..25),
    ) {
        let mut both = Both::new();
        for step in steps {
            both.perform(step);
        }
        both.perform(Step::Crash);
    }
}
