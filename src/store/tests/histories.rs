//! Random histories beside a model.

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
    Close,
    Crash,
    Locate(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => sizes().prop_map(Step::Append),
        4 => (1..8_u64, sizes()).prop_map(|(back, sizes)| Step::Replace(back, sizes)),
        4 => Just(Step::Roll),
        3 => (0..8_u64).prop_map(Step::Commit),
        2 => prop::option::of(1..4_u16).prop_map(Step::Vote),
        1 => Just(Step::Close),
        2 => Just(Step::Crash),
        3 => (0..40_u64).prop_map(Step::Locate),
    ]
}

/// The store beside a vector.
struct Model {
    // NB: dropped before the folder that it writes to.
    running: Option<Running>,
    folder: Folder,
    committed: Index,
    hard_state: HardState,
}

impl Model {
    fn running(&mut self) -> &mut Running {
        self.running.as_mut().unwrap()
    }

    fn perform(&mut self, step: Step) {
        let last = self.running().log.tip().id.index;
        match step {
            Step::Append(sizes) => self.running().append(&sizes),
            Step::Replace(back, sizes) => {
                let from = last.get().saturating_sub(back).max(self.committed.get()) + 1;
                self.running().replace(from, &sizes);
            }
            Step::Roll => self.running().roll(),
            Step::Commit(back) => {
                self.committed = self.committed.max(index(last.get().saturating_sub(back)));
                let committed = self.committed;
                self.running().writer.committed(committed);
            }
            Step::Vote(vote) => {
                self.hard_state.current_term = self.hard_state.current_term.next().unwrap();
                self.hard_state.voted_for = vote.and_then(NodeId::new);
                let hard_state = Some(self.hard_state);
                self.running().write(Write { hard_state, ..nothing() });
            }
            Step::Close => {
                let log = self.running.take().unwrap().close();
                self.start(log);
            }
            Step::Crash => {
                let log = self.running.take().unwrap().crash();
                self.start(log);
            }
            Step::Locate(offset) => self.locate(Offset::new(offset)),
        }
        let running = self.running();
        assert_eq!(running.all(), running.log.entries);
    }

    fn start(&mut self, log: Log) {
        let (running, recovered) = self.folder.open_with(log);
        assert!(recovered.head.tip.id.index <= self.committed, "only what is committed is sealed");
        assert_eq!(recovered.hard_state, self.hard_state);
        assert!(recovered.commit_index <= self.committed);
        self.running = Some(running);
    }

    fn locate(&mut self, offset: Offset) {
        let running = self.running();
        let holds = |entry: &&SealedEntry| {
            entry
                .requests()
                .unwrap()
                .iter()
                .any(|request| (request.first_offset..request.next_offset()).contains(&offset))
        };
        let expected = running.log.entries.iter().find(holds).map(|entry| entry.id().index);
        assert_eq!(running.reader.locate(LogNumber::MAIN, offset).unwrap(), expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn any_history_leaves_what_a_vector_would_hold(steps in prop::collection::vec(step(), 1..30)) {
        let folder = Folder::with_store();
        let running = Some(folder.open().0);
        let mut model =
            Model { folder, running, committed: Index::ZERO, hard_state: HardState::default() };
        for step in steps {
            model.perform(step);
        }
        let log = model.running.take().unwrap().crash();
        model.start(log);
    }
}
