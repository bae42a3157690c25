//! Invariant: once any node has said that an entry is committed at an index, no node ever says that
//! another one is (thesis 3.6.3, State Machine Safety).
//!
//! Otherwise two clients read two logs, and each is sure of its own.
//!
//! Judged by what nodes report as committed, and by the end of what they hold for committed, which
//! may be ahead of what they report. The first report of an entry is checked as a link of the chain;
//! after that one comparison of chains compares all that comes before.

use std::collections::BTreeMap;

use super::{Law, LawName, Moment, What};
use crate::entry::{Chain, SealedEntry};
use crate::types::{Index, LogId, NodeId};

/// What is committed at an index.
#[derive(Clone, Copy, Debug)]
struct Committed {
    id: LogId,
    chain: Chain,
    /// Who said so first.
    by: NodeId,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct StateMachineSafety {
    committed: BTreeMap<Index, Committed>,
    /// The entries up to here were checked as links of the chain.
    linked: Index,
}

impl StateMachineSafety {
    fn note(&mut self, by: NodeId, id: LogId, chain: Chain) -> Result<(), String> {
        let first = *self.committed.entry(id.index).or_insert(Committed { id, chain, by });
        if (first.id, first.chain) == (id, chain) {
            return Ok(());
        }
        let history = if first.id == id { " of another history" } else { "" };
        let Committed { id: first_id, by: first_by, .. } = first;
        Err(format!("{first_by} said that {first_id} is committed, and {by} says {id}{history}"))
    }

    /// The entry continues the chain of what is committed before it.
    fn link(&mut self, node: NodeId, entry: &SealedEntry) -> Result<(), String> {
        if entry.id().index != self.linked.next() {
            return Ok(());
        }
        let before = self.committed.get(&self.linked).map_or(Chain::START, |before| before.chain);
        entry
            .check_chain(&before)
            .map_err(|error| format!("{node} reported as committed: {error}"))?;
        self.linked = entry.id().index;
        Ok(())
    }
}

impl Law for StateMachineSafety {
    fn name(&self) -> LawName {
        LawName::StateMachineSafety
    }

    fn look(&mut self, moment: &Moment<'_>) -> Result<(), String> {
        let What::Turn { node, committed, .. } = moment.what else { return Ok(()) };
        for entry in committed {
            self.link(node, entry)?;
            self.note(node, entry.id(), entry.chain())?;
        }
        let Some(replica) = moment.node(node).replica else { return Ok(()) };
        let index = replica.raft().log().commit_index();
        match replica.chain_at(index) {
            Some(chain) if index > Index::ZERO => {
                self.note(node, replica.raft().log().id_at(index), chain)
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    #[test]
    fn two_nodes_that_commit_the_same_are_right() {
        let mut law = StateMachineSafety::default();
        let stage = Stage::new();
        let log = Log::of(&[1, 1, 2, 2]);
        stage.commits(&mut law, 1, &log.entries[..3]).unwrap();
        stage.commits(&mut law, 2, &log.entries[..1]).unwrap();
        stage.commits(&mut law, 2, &log.entries[1..]).unwrap();
        stage.commits(&mut law, 1, &log.entries[3..]).unwrap();
    }

    #[test]
    fn another_entry_at_a_committed_index_is_found() {
        let mut law = StateMachineSafety::default();
        let stage = Stage::new();
        stage.commits(&mut law, 1, &Log::of(&[1, 1, 2]).entries).unwrap();
        let other = stage.commits(&mut law, 2, &Log::of(&[1, 1, 3]).entries);
        assert_broken(other, "n1 said that 3@2 is committed, and n2 says 3@3");
    }

    #[test]
    fn another_history_of_the_same_entry_is_found() {
        let mut law = StateMachineSafety::default();
        let stage = Stage::new();
        let mut other = Log::of(&[1]).salted("!");
        other.extend(&[1, 2]);
        stage.commits(&mut law, 1, &Log::of(&[1, 1, 2]).entries[2..]).unwrap();
        let other = stage.commits(&mut law, 2, &other.entries[2..]);
        assert_broken(other, "and n2 says 3@2 of another history");
    }

    #[test]
    fn an_entry_that_does_not_continue_the_chain_is_found() {
        let mut law = StateMachineSafety::default();
        let stage = Stage::new();
        let mut other = Log::of(&[1]).salted("!");
        other.extend(&[1, 2]);
        stage.commits(&mut law, 1, &Log::of(&[1, 1]).entries).unwrap();
        let broken = stage.commits(&mut law, 1, &other.entries[2..]);
        assert_broken(broken, "n1 reported as committed: entry 3@2 breaks the chain");
    }

    #[test]
    fn what_a_node_holds_for_committed_counts_before_it_is_reported() {
        let mut law = StateMachineSafety::default();
        let mut stage = Stage::new();
        let log = Log::of(&[1, 1, 2]);
        stage.run(follower(1, &log, 2, 3), &log.entries);
        stage.turns(&mut law, 1).unwrap();
        stage.commits(&mut law, 2, &log.entries).unwrap();
        let other = stage.commits(&mut law, 3, &Log::of(&[1, 1, 3]).entries);
        assert_broken(other, "n1 said that 3@2 is committed, and n3 says 3@3");
    }
}
