//! Invariant: what must only grow only grows. A term, in memory and on disk, over restarts; a vote,
//! which once given is not changed within its term; a commit index, as long as the process lives;
//! and nothing is held for committed beyond the end of the log (thesis 3.3, 3.8, figure 3.1).
//!
//! A term that goes back is a second election in it.
//!
//! Judged by two moments of the same node, one after the other: its state after each turn, its disk
//! whenever that changes. A node starts with at least what its disk had, and knows as committed at
//! least what it had noted. A disk that was destroyed may have anything.

use std::collections::BTreeMap;

use super::{Law, LawName, Moment, NodeView, What};
use crate::entry::SealedEntry;
use crate::raft::HardState;
use crate::store::Recovered;
use crate::types::{Index, NodeId, Term};

/// What was last seen of a node.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    /// On its disk.
    platter: HardState,
    /// In its memory. Zero while no process runs.
    term: Term,
    commit_index: Index,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Monotonic {
    nodes: BTreeMap<NodeId, Seen>,
}

impl Monotonic {
    fn check_platter(&mut self, view: &NodeView<'_>) -> Result<(), String> {
        let seen = self.nodes.entry(view.id).or_default();
        let now = view.platter.hard_state();
        let before = std::mem::replace(&mut seen.platter, now);
        if view.lost || !goes_back(before, now) {
            return Ok(());
        }
        let (node, before, now) = (view.id, told(before), told(now));
        Err(format!("the disk of {node} had {before} and has {now}"))
    }

    fn on_started(&mut self, view: &NodeView<'_>, recovered: &Recovered) -> Result<(), String> {
        let node = view.id;
        let seen = self.nodes.entry(node).or_default();
        let (before, now) = (seen.platter, recovered.hard_state);
        if !view.lost && goes_back(before, now) {
            let (before, now) = (told(before), told(now));
            return Err(format!("{node} started with {now}, and its disk had {before}"));
        }
        let last = recovered.entries.last().map_or(recovered.head.tip.id, SealedEntry::id).index;
        let noted = recovered.commit_index;
        if noted > last {
            return Err(format!("{node} recovered commit index {noted} of a log up to {last}"));
        }
        (seen.term, seen.commit_index) = (now.current_term, noted);
        Ok(())
    }

    fn check_memory(&mut self, view: &NodeView<'_>) -> Result<(), String> {
        let Some(replica) = view.replica else { return Ok(()) };
        let (node, raft) = (view.id, replica.raft());
        let seen = self.nodes.entry(node).or_default();
        let term = std::mem::replace(&mut seen.term, raft.current_term());
        if raft.current_term() < term {
            return Err(format!("{node} was in term {term} and is in {}", raft.current_term()));
        }
        let now = raft.log().commit_index();
        let before = std::mem::replace(&mut seen.commit_index, now);
        if now < before {
            return Err(format!("{node} knew {before} to be committed and knows {now}"));
        }
        let last = raft.log().last().index;
        if now > last || replica.readable() > now {
            let readable = replica.readable();
            return Err(format!("{node} has commit index {now}, last {last}, readable {readable}"));
        }
        Ok(())
    }

    fn check_committed(&self, node: NodeId, committed: &[SealedEntry]) -> Result<(), String> {
        let known = self.nodes.get(&node).map_or(Index::ZERO, |seen| seen.commit_index);
        let indexes = || committed.iter().map(|entry| entry.id().index);
        let in_order = indexes().zip(indexes().skip(1)).all(|(one, next)| one.next() == next);
        if in_order && indexes().next_back().is_none_or(|last| last <= known) {
            return Ok(());
        }
        let reported: Vec<_> = committed.iter().map(|entry| entry.id().to_string()).collect();
        Err(format!("{node} reported {} and knows {known} to be committed", reported.join(", ")))
    }
}

/// Whether term or vote are less than before.
fn goes_back(before: HardState, now: HardState) -> bool {
    now.current_term < before.current_term
        || now.current_term == before.current_term
            && before.voted_for.is_some()
            && now.voted_for != before.voted_for
}

fn told(hard_state: HardState) -> String {
    let vote = hard_state.voted_for.map_or("nobody".into(), |node| node.to_string());
    format!("term {} with a vote for {vote}", hard_state.current_term)
}

impl Law for Monotonic {
    fn name(&self) -> LawName {
        LawName::Monotonic
    }

    fn look(&mut self, moment: &Moment<'_>) -> Result<(), String> {
        match moment.what {
            What::Turn { node, committed, .. } => {
                let view = moment.node(node);
                self.check_platter(view)?;
                self.check_memory(view)?;
                // The state of a process that died within the turn is not known.
                view.replica.map_or(Ok(()), |_| self.check_committed(node, committed))
            }
            What::Started { node, recovered } => {
                self.on_started(moment.node(node), recovered)?;
                self.check_platter(moment.node(node))?;
                self.check_memory(moment.node(node))
            }
            What::Ended { node } | What::Refused { node } => {
                let seen = self.nodes.entry(node).or_default();
                (seen.term, seen.commit_index) = (Term::ZERO, Index::ZERO);
                self.check_platter(moment.node(node))
            }
            What::Disk { node } => self.check_platter(moment.node(node)),
            What::BegunAnew { node } => {
                self.nodes.remove(&node);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    fn state(term: u64, vote: Option<u16>) -> HardState {
        HardState { current_term: Term::new(term), voted_for: vote.map(node) }
    }

    fn disk(stage: &mut Stage, law: &mut Monotonic, hard_state: HardState) -> Result<(), String> {
        stage.platter(1).hard_state = hard_state;
        stage.show(law, What::Disk { node: node(1) })
    }

    fn starts(stage: &Stage, law: &mut Monotonic, recovered: &Recovered) -> Result<(), String> {
        stage.show(law, What::Started { node: node(1), recovered })
    }

    #[test]
    fn a_disk_that_forgets_a_term_or_a_vote_is_found() {
        let mut law = Monotonic::default();
        let mut stage = Stage::new();
        for lawful in [(3, None), (3, Some(2)), (3, Some(2)), (4, None), (5, Some(1))] {
            disk(&mut stage, &mut law, state(lawful.0, lawful.1)).unwrap();
        }
        let wrong = [(4, None), (5, None), (5, Some(2)), (4, Some(1))];
        for (term, vote) in wrong {
            let found = disk(&mut stage, &mut law.clone(), state(term, vote));
            let expected = "the disk of n1 had term 5 with a vote for n1 and has term";
            assert_broken(found, expected);
        }
        stage.lost.push(node(1));
        disk(&mut stage, &mut law, state(1, None)).unwrap();
    }

    #[test]
    fn a_start_with_less_than_the_disk_had_is_found() {
        let mut law = Monotonic::default();
        let mut stage = Stage::new();
        let log = Log::of(&[1, 1]);
        disk(&mut stage, &mut law, state(5, None)).unwrap();
        let older = starts(&stage, &mut law.clone(), &recovered(&log.entries, 4, 0));
        assert_broken(
            older,
            "n1 started with term 4 with a vote for nobody, and its disk had term 5",
        );
        starts(&stage, &mut law.clone(), &recovered(&log.entries, 5, 2)).unwrap();
        let beyond = starts(&stage, &mut law, &recovered(&log.entries, 5, 3));
        assert_broken(beyond, "n1 recovered commit index 3 of a log up to 2");
    }

    #[test]
    fn a_term_or_a_commit_index_that_goes_back_within_a_life_is_found() {
        let log = Log::of(&[1, 1, 1]);
        let mut stage = Stage::new();
        let mut law = Monotonic::default();
        stage.run(follower(1, &log, 4, 2), &log.entries);
        stage.turns(&mut law, 1).unwrap();
        stage.replicas.insert(node(1), follower(1, &log, 3, 2));
        assert_broken(stage.turns(&mut law.clone(), 1), "n1 was in term 4 and is in 3");
        stage.replicas.insert(node(1), follower(1, &log, 4, 1));
        assert_broken(stage.turns(&mut law.clone(), 1), "n1 knew 2 to be committed and knows 1");
        stage.show(&mut law, What::Ended { node: node(1) }).unwrap();
        starts(&stage, &mut law, &recovered(&log.entries, 4, 1)).unwrap();
        stage.turns(&mut law, 1).unwrap();
    }

    #[test]
    fn a_replica_that_knows_less_than_was_recovered_is_found() {
        let log = Log::of(&[1, 1, 1]);
        let mut stage = Stage::new();
        stage.run(follower(1, &log, 4, 1), &log.entries);
        let mut law = Monotonic::default();
        let found = starts(&stage, &mut law, &recovered(&log.entries, 4, 2));
        assert_broken(found, "n1 knew 2 to be committed and knows 1");
    }

    #[test]
    fn what_is_reported_as_committed_is_known_to_be_and_without_a_gap() {
        let log = Log::of(&[1, 1, 1]);
        let mut stage = Stage::new();
        stage.run(follower(1, &log, 4, 2), &log.entries);
        let mut law = Monotonic::default();
        stage.commits(&mut law, 1, &log.entries[..2]).unwrap();
        let beyond = stage.commits(&mut law, 1, &log.entries[1..]);
        assert_broken(beyond, "n1 reported 2@1, 3@1 and knows 2 to be committed");
        stage.replicas.insert(node(1), follower(1, &log, 4, 3));
        let gap = [log.entries[0].clone(), log.entries[2].clone()];
        assert_broken(stage.commits(&mut law, 1, &gap), "n1 reported 1@1, 3@1 and knows 3");
    }
}
