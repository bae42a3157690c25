//! Invariant: at most one node ever acts as leader in a term (thesis 3.4, Election Safety).
//!
//! Two leaders of one term would each have a majority behind entries of the same index and term
//! that differ, and nobody could ever tell them apart again.
//!
//! Judged by a map of terms for the whole run. A node acts as leader if it says so itself at the end
//! of a turn, or if it sends what only a leader sends, were it only for the middle of one.

use std::collections::BTreeMap;

use super::{Law, LawName, Moment, What};
use crate::raft::Message;
use crate::replica::Replica;
use crate::types::{NodeId, Term};

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct ElectionSafety {
    leaders: BTreeMap<Term, NodeId>,
}

impl ElectionSafety {
    /// Who led a term, as far as was seen.
    pub fn leader_of(&self, term: Term) -> Option<NodeId> {
        self.leaders.get(&term).copied()
    }

    fn note(&mut self, term: Term, node: NodeId) -> Result<(), String> {
        let first = *self.leaders.entry(term).or_insert(node);
        if first == node { Ok(()) } else { Err(format!("{first} and {node} both led term {term}")) }
    }
}

impl Law for ElectionSafety {
    fn name(&self) -> LawName {
        LawName::ElectionSafety
    }

    fn look(&mut self, moment: &Moment<'_>) -> Result<(), String> {
        let What::Turn { node, sent, .. } = moment.what else { return Ok(()) };
        let raft = moment.node(node).replica.map(Replica::raft);
        if let Some(raft) = raft.filter(|raft| raft.role().as_leader().is_some()) {
            self.note(raft.current_term(), node)?;
        }
        let led = sent.iter().filter_map(|(_, sent)| match &sent.message {
            Message::AppendEntries(message) => Some(message.term),
            Message::TimeoutNow(message) => Some(message.term),
            Message::InstallSnapshot(message) => Some(message.term),
            _ => None,
        });
        led.into_iter().try_for_each(|term| self.note(term, node))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::types::LogId;

    #[test]
    fn two_leaders_of_one_term_are_found_and_of_two_terms_are_not() {
        let mut law = ElectionSafety::default();
        let mut stage = Stage::new();
        let log = Log::of(&[1, 1]);
        stage.run(leader(1, &log, 2, 0), &log.entries);
        stage.run(leader(2, &log, 3, 0), &log.entries);
        stage.run(leader(3, &log, 2, 0), &log.entries);
        stage.turns(&mut law, 1).unwrap();
        stage.turns(&mut law, 1).unwrap();
        stage.turns(&mut law, 2).unwrap();
        assert_eq!(law.leader_of(Term::new(3)), Some(node(2)));
        assert_broken(stage.turns(&mut law, 3), "n1 and n3 both led term 2");
    }

    #[test]
    fn who_sends_entries_leads_even_if_it_has_stepped_down_within_the_turn() {
        let mut law = ElectionSafety::default();
        let stage = Stage::new();
        let beat = [(node(3), heartbeat(4, LogId::ZERO))];
        stage.sends(&mut law, 1, &beat).unwrap();
        stage.sends(&mut law, 2, &[(node(3), heartbeat(5, LogId::ZERO))]).unwrap();
        stage.sends(&mut law, 2, &[(node(3), accepted(4, 1))]).unwrap();
        assert_broken(stage.sends(&mut law, 2, &beat), "n1 and n2 both led term 4");
    }
}
