//! Invariant: an entry that was committed in a term is in the log of every leader of a later term
//! (thesis 3.4 and 3.6.3, Leader Completeness).
//!
//! A leader without it fills its place with something else, and no follower objects.
//!
//! Judged when a node first leads a term: it must have the last entry that was known to be committed
//! in an earlier term, with its chain, and so all before it. A leader that comes late, in an older
//! term than that, need not have it: it will find no majority. The term in which an entry was known
//! to be committed is that of the first node that knew, after the turn in which it did.

use std::collections::{BTreeMap, BTreeSet};

use super::{Law, LawName, Led, Moment, What};
use crate::entry::Chain;
use crate::replica::Replica;
use crate::types::{Index, LogId, Term};

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct LeaderCompleteness {
    /// The last entry known to be committed in each term or in one before it. Only terms in which
    /// there was a later one than in all before them.
    committed: BTreeMap<Term, (LogId, Chain)>,
    leaders: BTreeSet<Led>,
}

impl LeaderCompleteness {
    fn on_leader(&mut self, led: Led, replica: &Replica) -> Result<(), String> {
        let (term, node) = led;
        let is_first = self.leaders.insert(led);
        let before = self.committed.range(..term).next_back();
        let Some((known_in, (id, chain))) = before.filter(|_| is_first) else { return Ok(()) };
        let has_chain = replica.chain_at(id.index).is_none_or(|at| at == *chain);
        if replica.raft().log().has(*id) && has_chain {
            return Ok(());
        }
        Err(format!(
            "{node} leads term {term} without {id}, which was committed in term {known_in}"
        ))
    }

    fn on_commit(&mut self, term: Term, replica: &Replica) {
        let log = replica.raft().log();
        let index = log.commit_index();
        let known = self.committed.range(..=term).next_back();
        if index <= known.map_or(Index::ZERO, |(_, (id, _))| id.index) {
            return;
        }
        let Some(chain) = replica.chain_at(index) else { return };
        self.committed.insert(term, (log.id_at(index), chain));
        self.committed.retain(|other, (id, _)| *other <= term || id.index > index);
    }
}

impl Law for LeaderCompleteness {
    fn name(&self) -> LawName {
        LawName::LeaderCompleteness
    }

    fn look(&mut self, moment: &Moment<'_>) -> Result<(), String> {
        let What::Turn { node, .. } = moment.what else { return Ok(()) };
        let Some(replica) = moment.node(node).replica else { return Ok(()) };
        let term = replica.raft().current_term();
        if replica.raft().role().as_leader().is_some() {
            self.on_leader((term, node), replica)?;
        }
        self.on_commit(term, replica);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    fn shows(
        stage: &mut Stage,
        law: &mut LeaderCompleteness,
        replica: Replica,
    ) -> Result<(), String> {
        let number = replica.raft().id().get();
        stage.run(replica, &[]);
        stage.turns(law, number)
    }

    #[test]
    fn a_leader_without_a_committed_entry_is_found() {
        let mut law = LeaderCompleteness::default();
        let mut stage = Stage::new();
        let log = Log::of(&[1, 1, 1]);
        shows(&mut stage, &mut law, follower(1, &log, 2, 2)).unwrap();
        shows(&mut stage, &mut law, leader(3, &Log::of(&[1, 1]), 3, 0)).unwrap();
        shows(&mut stage, &mut law, follower(2, &log, 4, 3)).unwrap();
        let found = shows(&mut stage, &mut law, leader(3, &Log::of(&[1, 1, 4]), 5, 0));
        assert_broken(found, "n3 leads term 5 without 3@1, which was committed in term 4");
    }

    #[test]
    fn a_leader_with_another_history_is_found() {
        let mut law = LeaderCompleteness::default();
        let mut stage = Stage::new();
        let mut other = Log::of(&[1]).salted("!");
        other.extend(&[1, 1]);
        shows(&mut stage, &mut law, follower(1, &Log::of(&[1, 1, 1]), 2, 3)).unwrap();
        let found = shows(&mut stage, &mut law, leader(3, &other, 3, 0));
        assert_broken(found, "n3 leads term 3 without 3@1");
    }

    #[test]
    fn a_leader_of_an_older_term_may_come_late() {
        let mut law = LeaderCompleteness::default();
        let mut stage = Stage::new();
        shows(&mut stage, &mut law, follower(1, &Log::of(&[1, 1, 4]), 4, 3)).unwrap();
        shows(&mut stage, &mut law, leader(3, &Log::of(&[1, 1]), 4, 0)).unwrap();
        shows(&mut stage, &mut law, leader(2, &Log::of(&[1, 1]), 3, 0)).unwrap();
        let found = shows(&mut stage, &mut law, leader(2, &Log::of(&[1, 1]), 5, 0));
        assert_broken(found, "n2 leads term 5 without 3@4");
    }

    #[test]
    fn what_was_committed_in_an_older_term_counts_though_a_newer_one_knew_less() {
        let mut law = LeaderCompleteness::default();
        let mut stage = Stage::new();
        let log = Log::of(&[1, 1, 1, 1]);
        shows(&mut stage, &mut law, follower(1, &log, 6, 2)).unwrap();
        shows(&mut stage, &mut law, follower(2, &log, 4, 3)).unwrap();
        assert_eq!(law.committed.len(), 1);
        shows(&mut stage, &mut law, leader(3, &Log::of(&[1, 1]), 4, 0)).unwrap();
        let found = shows(&mut stage, &mut law, leader(3, &Log::of(&[1, 1]), 5, 0));
        assert_broken(found, "n3 leads term 5 without 3@1, which was committed in term 4");
    }
}
