//! Invariant: a leader never removes or replaces an entry of its own log (thesis 3.5, Leader
//! Append-Only).
//!
//! What a leader has counted as its own part of a majority must stay where it is.
//!
//! Judged by the end of the log after each turn: as long as the node leads the same term, the next
//! turn's log must still have that entry, with its chain if it is among the recent ones.

use std::collections::BTreeMap;

use super::{Law, LawName, Led, Moment, What};
use crate::entry::Tip;
use crate::replica::Replica;
use crate::types::{NodeId, Term};

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct LeaderAppendOnly {
    /// The end of each leader's log after its last turn, and the term that it leads.
    leaders: BTreeMap<NodeId, (Term, Tip)>,
}

impl LeaderAppendOnly {
    fn on_turn(&mut self, (term, node): Led, replica: &Replica) -> Result<(), String> {
        let Some((_, tip)) = self.leaders.insert(node, (term, replica.tip())) else {
            return Ok(());
        };
        let has_id = replica.raft().log().has(tip.id);
        let has_chain = replica.chain_at(tip.id.index).is_none_or(|chain| chain == tip.chain);
        if has_id && has_chain {
            return Ok(());
        }
        Err(format!("{node} leads term {term}, and has lost {} of its own log", tip.id))
    }
}

impl Law for LeaderAppendOnly {
    fn name(&self) -> LawName {
        LawName::LeaderAppendOnly
    }

    fn look(&mut self, moment: &Moment<'_>) -> Result<(), String> {
        match moment.what {
            What::Started { node, .. } | What::Refused { node } | What::Ended { node } => {
                self.leaders.remove(&node);
                Ok(())
            }
            What::Turn { node, .. } => {
                let replica = moment.node(node).replica;
                let leads = replica.filter(|replica| replica.raft().role().as_leader().is_some());
                let term = leads.map(|replica| replica.raft().current_term());
                if self.leaders.get(&node).is_some_and(|(led, _)| Some(*led) != term) {
                    self.leaders.remove(&node);
                }
                leads
                    .zip(term)
                    .map_or(Ok(()), |(replica, term)| self.on_turn((term, node), replica))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    fn shows(
        stage: &mut Stage,
        law: &mut LeaderAppendOnly,
        replica: Replica,
    ) -> Result<(), String> {
        stage.run(replica, &[]);
        stage.turns(law, 1)
    }

    #[test]
    fn a_leader_that_lost_its_last_entry_is_found() {
        let mut law = LeaderAppendOnly::default();
        let mut stage = Stage::new();
        let (log, shorter) = (Log::of(&[1, 1, 1]), Log::of(&[1, 1]));
        shows(&mut stage, &mut law, leader(1, &shorter, 3, 0)).unwrap();
        shows(&mut stage, &mut law, leader(1, &shorter, 3, 0)).unwrap();
        let found = shows(&mut stage, &mut law, leader(1, &log, 3, 0));
        assert_broken(found, "n1 leads term 3, and has lost 3@3 of its own log");
    }

    #[test]
    fn a_leader_with_another_history_is_found() {
        let mut law = LeaderAppendOnly::default();
        let mut stage = Stage::new();
        let mut other = Log::of(&[1]).salted("!");
        other.extend(&[1]);
        shows(&mut stage, &mut law, leader(1, &Log::of(&[1, 1]), 3, 0)).unwrap();
        let found = shows(&mut stage, &mut law, leader(1, &other, 3, 0));
        assert_broken(found, "n1 leads term 3, and has lost 3@3");
    }

    #[test]
    fn what_was_a_leader_may_lose_its_end_in_another_term_or_life() {
        let mut law = LeaderAppendOnly::default();
        let mut stage = Stage::new();
        let (log, shorter) = (Log::of(&[1, 1, 1]), Log::of(&[1, 1]));
        shows(&mut stage, &mut law, leader(1, &log, 3, 0)).unwrap();
        shows(&mut stage, &mut law, leader(1, &shorter, 4, 0)).unwrap();
        shows(&mut stage, &mut law, follower(1, &Log::of(&[1]), 5, 0)).unwrap();
        shows(&mut stage, &mut law, leader(1, &log, 6, 0)).unwrap();
        stage.show(&mut law, What::Ended { node: node(1) }).unwrap();
        shows(&mut stage, &mut law, leader(1, &shorter, 6, 0)).unwrap();
    }
}
