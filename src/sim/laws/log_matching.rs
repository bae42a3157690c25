//! Invariant: two logs that have an entry of the same index and term have the same entries up to
//! there (thesis 3.5, Log Matching).
//!
//! Everything else rests on it: a follower that has the entry before is taken to have all before.
//!
//! Judged by one map of entries to chains for the whole run. After each turn a node's log is walked
//! back from its end to the first entry that is known with this chain, for then so is all before
//! it; so each entry is looked at once a node. A disk is compared at its end, whenever it changes.

use std::collections::BTreeMap;

use super::{Law, LawName, Moment, NodeView, What};
use crate::entry::Chain;
use crate::replica::Replica;
use crate::types::{Index, LogId, NodeId};

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct LogMatching {
    /// The chain of each entry that was in anybody's log, and in whose first.
    known: BTreeMap<LogId, (Chain, NodeId)>,
}

impl LogMatching {
    fn walk(&mut self, node: NodeId, replica: &Replica) -> Result<(), String> {
        let log = replica.raft().log();
        let mut index = log.last().index;
        while index > Index::ZERO
            && let Some(chain) = replica.chain_at(index)
            && self.is_new(node, log.id_at(index), chain)?
        {
            index = index.previous();
        }
        Ok(())
    }

    /// Whether nobody had the entry before.
    fn is_new(&mut self, node: NodeId, id: LogId, chain: Chain) -> Result<bool, String> {
        match self.known.get(&id) {
            Some((known, _)) if *known == chain => Ok(false),
            Some((_, first)) => {
                Err(format!("{first} and {node} both had {id}, after different histories"))
            }
            None => {
                self.known.insert(id, (chain, node));
                Ok(true)
            }
        }
    }

    /// The end of a disk. An entry that was in a log for the middle of a turn only is not known.
    fn check_disk(&self, view: &NodeView<'_>) -> Result<(), String> {
        let Some((id, chain)) = view.platter.entry(view.platter.last()) else { return Ok(()) };
        match self.known.get(&id) {
            Some((known, first)) if *known != chain && !view.lost => {
                let node = view.id;
                Err(format!("{first} had {id}, and the disk of {node} has it of another history"))
            }
            _ => Ok(()),
        }
    }
}

impl Law for LogMatching {
    fn name(&self) -> LawName {
        LawName::LogMatching
    }

    fn look(&mut self, moment: &Moment<'_>) -> Result<(), String> {
        match moment.what {
            What::Turn { node, .. } | What::Started { node, .. } => {
                moment.node(node).replica.map_or(Ok(()), |replica| self.walk(node, replica))
            }
            What::Disk { node } => self.check_disk(moment.node(node)),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::replica::{Action, Contradiction};
    use crate::types::Term;

    /// Two logs with the same terms and, from the second entry on, different records.
    fn twins() -> (Log, Log) {
        let mut other = Log::of(&[1]).salted("!");
        other.extend(&[1, 1]);
        (Log::of(&[1, 1, 1]), other)
    }

    #[test]
    fn what_nobody_can_have_said_is_no_contradiction() {
        let contradicts = |term| {
            let mut replica = follower(1, &Log::of(&[1, 1]), 2, 2);
            let other = LogId::new(Index::new(2), Term::new(2));
            hear(&mut replica, node(2), heartbeat(term, other).message);
            let actions = replica.take_actions();
            actions.iter().any(|action| matches!(action, Action::Contradiction(_)))
        };
        assert!(contradicts(3));
        assert!(!contradicts(u64::MAX));
    }

    /// To go on would be to choose whose acknowledged records are lost: the node ends, and not by a panic.
    #[test]
    fn a_node_that_hears_of_two_leaders_of_a_term_is_told_to_end() {
        let log = Log::of(&[1, 1]);
        let mut followed = follower(1, &log, 2, 2);
        hear(&mut followed, node(3), heartbeat(2, log.tip().id).message);
        for (mut replica, known) in [(followed, 3), (leader(1, &log, 2, 2), 1)] {
            replica.take_actions();
            hear(&mut replica, node(2), heartbeat(2, log.tip().id).message);
            let (from, leader, term) = (node(2), node(known), Term::new(2));
            let expected = Contradiction::TwoLeaders { from, leader, term };
            let actions = replica.take_actions();
            let [Action::Contradiction(found)] = &actions[..] else { panic!("{actions:?}") };
            assert_eq!(*found, expected);
        }
    }

    #[test]
    fn logs_that_part_with_different_terms_match() {
        let mut law = LogMatching::default();
        let mut stage = Stage::new();
        for (number, terms) in [(1, &[1, 1, 2][..]), (2, &[1, 1, 3, 3]), (3, &[1])] {
            let log = Log::of(terms);
            stage.run(follower(number, &log, 3, 0), &log.entries);
            stage.turns(&mut law, number).unwrap();
            stage.show(&mut law, What::Disk { node: node(number) }).unwrap();
        }
        assert_eq!(law.known.len(), 5);
    }

    #[test]
    fn one_entry_after_two_histories_is_found() {
        let mut law = LogMatching::default();
        let mut stage = Stage::new();
        let (one, other) = twins();
        stage.run(follower(1, &one, 3, 0), &one.entries);
        stage.run(follower(2, &other, 3, 0), &other.entries);
        stage.turns(&mut law, 1).unwrap();
        let found = stage.turns(&mut law, 2);
        assert_broken(found, "n1 and n2 both had 3@1, after different histories");
    }

    #[test]
    fn an_entry_that_is_not_the_last_of_either_log_counts() {
        let mut law = LogMatching::default();
        let mut stage = Stage::new();
        let (mut one, mut other) = twins();
        one.extend(&[2]);
        other.extend(&[3, 3]);
        stage.run(follower(1, &one, 3, 0), &one.entries);
        stage.run(follower(2, &other, 3, 0), &other.entries);
        stage.turns(&mut law, 1).unwrap();
        assert_broken(stage.turns(&mut law, 2), "both had 3@1");
    }

    #[test]
    fn a_disk_with_another_history_is_found_unless_it_was_destroyed() {
        let mut law = LogMatching::default();
        let mut stage = Stage::new();
        let (one, other) = twins();
        stage.run(follower(1, &one, 3, 0), &one.entries);
        stage.turns(&mut law, 1).unwrap();
        stage.platter(2).entries = other.entries;
        let disk = What::Disk { node: node(2) };
        assert_broken(stage.show(&mut law, disk), "n1 had 3@1, and the disk of n2 has it");
        stage.lost.push(node(2));
        stage.show(&mut law, What::Disk { node: node(2) }).unwrap();
    }
}
