//! Invariant: in each term a node gives its vote to at most one candidate, over all its restarts
//! (thesis 3.4; the vote must be on disk before it is given, 3.8).
//!
//! A node that forgets a vote in a power cut and votes again helps to elect two leaders of one term.
//!
//! Judged by what was sent, before the wire: a granted vote, and a request for votes, which is a
//! vote for oneself. What was sent and lost was still given.

use std::collections::BTreeMap;

use super::{Law, LawName, Moment, What, speech};
use crate::types::{NodeId, Term};

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct VoteOnce {
    votes: BTreeMap<(NodeId, Term), NodeId>,
}

impl Law for VoteOnce {
    fn name(&self) -> LawName {
        LawName::VoteOnce
    }

    fn look(&mut self, moment: &Moment<'_>) -> Result<(), String> {
        if let What::BegunAnew { node } = moment.what {
            // Another server: what it says counts for itself.
            self.votes.retain(|(voter, _), _| *voter != node);
        }
        let What::Turn { node, sent, .. } = moment.what else { return Ok(()) };
        if moment.node(node).lost {
            return Ok(()); // What it forgot was taken from it by force.
        }
        for (to, sent) in sent {
            let said = speech::vote(node, *to, &sent.message);
            let Some((term, candidate)) = said else { continue };
            let first = *self.votes.entry((node, term)).or_insert(candidate);
            if first != candidate {
                return Err(format!("{node} voted for {first} and for {candidate} in term {term}"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::types::LogId;

    fn votes_for(candidate: u16, term: u64) -> [(NodeId, crate::wire::peer::PeerMessage); 1] {
        [(node(candidate), vote(Term::new(term), true))]
    }

    #[test]
    fn a_second_vote_is_found_and_a_repeated_one_is_not() {
        let mut law = VoteOnce::default();
        let stage = Stage::new();
        stage.sends(&mut law, 1, &votes_for(2, 4)).unwrap();
        stage.sends(&mut law, 1, &votes_for(2, 4)).unwrap();
        stage.sends(&mut law, 1, &votes_for(3, 5)).unwrap();
        stage.sends(&mut law, 1, &[(node(3), vote(Term::new(4), false))]).unwrap();
        stage.sends(&mut law, 2, &votes_for(3, 4)).unwrap();
        stage.show(&mut law, What::Ended { node: node(1) }).unwrap();
        let second = stage.sends(&mut law, 1, &votes_for(3, 4));
        assert_broken(second, "n1 voted for n2 and for n3 in term 4");
    }

    #[test]
    fn a_candidate_has_voted_for_itself() {
        let mut law = VoteOnce::default();
        let stage = Stage::new();
        let asks = [(node(2), candidacy(4, LogId::ZERO)), (node(3), candidacy(4, LogId::ZERO))];
        stage.sends(&mut law, 1, &asks).unwrap();
        stage.sends(&mut law, 1, &votes_for(2, 3)).unwrap();
        let second = stage.sends(&mut law, 1, &votes_for(2, 4));
        assert_broken(second, "n1 voted for n1 and for n2 in term 4");
    }
}
