//! Invariant: no message leaves a node before everything that it says for certain is on that node's
//! disk: a term, a vote, entries (thesis 3.8; the leader's own entries excepted, 10.2.1).
//!
//! What is said and then forgotten in a power cut is counted by others all the same: a vote makes a
//! second leader, an entry a hole in the majority behind an acknowledgement.
//!
//! Judged by each message as it leaves, against what the disk would keep through a power cut at that
//! very moment. A leader's entries may run ahead of its disk; its term may not, since its own vote
//! was part of its election. A granted pre-vote says nothing of its sender.

use super::{Law, LawName, Moment, NodeView, What, speech};
use crate::raft::Message;
use crate::types::{Index, LogId, NodeId, Term};

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub struct DurableBeforeVisible;

impl Law for DurableBeforeVisible {
    fn name(&self) -> LawName {
        LawName::DurableBeforeVisible
    }

    fn look(&mut self, moment: &Moment<'_>) -> Result<(), String> {
        let What::Turn { node, sent, .. } = moment.what else { return Ok(()) };
        let view = moment.node(node);
        if view.lost {
            // What it said may have been on its disk, before that was destroyed.
            return Ok(());
        }
        sent.iter().try_for_each(|(to, sent)| check(view, *to, &sent.message))
    }
}

fn check(view: &NodeView<'_>, to: NodeId, message: &Message) -> Result<(), String> {
    check_term(view, message)?;
    if let Some((term, candidate)) = speech::vote(view.id, to, message) {
        check_vote(view, term, candidate)?;
    }
    let accepted = speech::accepted(message);
    accepted.map_or(Ok(()), |(term, index)| check_accepted(view, term, index))
}

/// The term that the sender says it has reached.
fn check_term(view: &NodeView<'_>, message: &Message) -> Result<(), String> {
    let Some(claimed) = speech::reached(message) else { return Ok(()) };
    let durable = view.platter.hard_state().current_term;
    if durable >= claimed {
        return Ok(());
    }
    let node = view.id;
    Err(format!("{node} spoke of term {claimed} as its own, and its disk has term {durable}"))
}

fn check_vote(view: &NodeView<'_>, term: Term, candidate: NodeId) -> Result<(), String> {
    let durable = view.platter.hard_state();
    if durable.current_term > term || durable.voted_for == Some(candidate) {
        return Ok(());
    }
    let (node, vote) = (view.id, durable.voted_for.map_or("nobody".into(), |to| to.to_string()));
    Err(format!("{node} gave {candidate} its vote of term {term}, and its disk has {vote}"))
}

/// What was accepted is on disk as it is in memory. If the node has moved on to another term within
/// the turn, its memory may have changed since.
fn check_accepted(view: &NodeView<'_>, term: Term, accepted: Index) -> Result<(), String> {
    if accepted < view.platter.first() {
        return Ok(()); // It was on the disk, and was given up since.
    }
    let node = view.id;
    let Some((id, chain)) = view.platter.entry(accepted) else {
        let last = view.platter.last();
        return Err(format!("{node} accepted entries up to {accepted}, and its disk has {last}"));
    };
    if id.term > term {
        return Err(format!("{node} accepted {accepted} in term {term}, and its disk has {id}"));
    }
    let Some(replica) = view.replica.filter(|r| r.raft().current_term() == term) else {
        return Ok(());
    };
    let in_memory = replica.raft().log().term_at(accepted).map(|term| LogId::new(accepted, term));
    let same_chain = replica.chain_at(accepted).is_none_or(|in_memory| in_memory == chain);
    if in_memory == Some(id) && same_chain {
        return Ok(());
    }
    let in_memory = in_memory.map_or("nothing".into(), |id| id.to_string());
    Err(format!("{node} accepted {in_memory}, and its disk has {id} of another history there"))
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::raft::{HardState, PreVote, PreVoteResponse};
    use crate::wire::peer::PeerMessage;

    fn law() -> DurableBeforeVisible {
        DurableBeforeVisible
    }

    fn stage() -> Stage {
        let mut stage = Stage::new();
        let log = Log::of(&[1, 1, 1]);
        stage.run(follower(1, &log, 4, 0), &log.entries);
        stage
    }

    fn says(stage: &Stage, message: PeerMessage) -> Result<(), String> {
        stage.sends(&mut law(), 1, &[(node(2), message)])
    }

    #[test]
    fn a_vote_is_on_disk_before_it_is_given() {
        let mut stage = stage();
        let given = || vote(Term::new(4), true);
        assert_broken(says(&stage, given()), "n1 gave n2 its vote of term 4");
        assert_broken(says(&stage, candidacy(4, LogId::ZERO)), "n1 gave n1 its vote");
        stage.platter(1).hard_state.voted_for = Some(node(2));
        says(&stage, given()).unwrap();
        assert_broken(says(&stage, candidacy(4, LogId::ZERO)), "n1 gave n1 its vote");
        stage.platter(1).hard_state.voted_for = Some(node(1));
        says(&stage, candidacy(4, LogId::ZERO)).unwrap();
        assert_broken(says(&stage, given()), "and its disk has n1");
        stage.platter(1).hard_state = HardState { current_term: Term::new(5), voted_for: None };
        says(&stage, given()).unwrap();
    }

    #[test]
    fn a_term_is_on_disk_before_it_is_spoken_of() {
        let stage = stage();
        let asks = |term| {
            let term = Term::new(term);
            PeerMessage::bare(Message::PreVote(PreVote { term, last_log_id: LogId::ZERO }))
        };
        let answers = |term, vote_granted| {
            let term = Term::new(term);
            PeerMessage::bare(Message::PreVoteResponse(PreVoteResponse { term, vote_granted }))
        };
        says(&stage, vote(Term::new(4), false)).unwrap();
        says(&stage, heartbeat(4, LogId::ZERO)).unwrap();
        says(&stage, asks(5)).unwrap();
        says(&stage, answers(4, false)).unwrap();
        says(&stage, answers(9, true)).unwrap();
        let expected = "n1 spoke of term 5 as its own, and its disk has term 4";
        assert_broken(says(&stage, vote(Term::new(5), false)), expected);
        assert_broken(says(&stage, heartbeat(5, LogId::ZERO)), expected);
        assert_broken(says(&stage, asks(6)), expected);
        assert_broken(says(&stage, answers(5, false)), expected);
        assert_broken(says(&stage, accepted(5, 0)), expected);
    }

    #[test]
    fn entries_are_on_disk_before_they_are_accepted() {
        let mut stage = stage();
        says(&stage, accepted(4, 3)).unwrap();
        says(&stage, accepted(4, 0)).unwrap();
        assert_broken(says(&stage, accepted(4, 4)), "accepted entries up to 4, and its disk has 3");
        stage.platter(1).entries.pop();
        assert_broken(says(&stage, accepted(4, 3)), "accepted entries up to 3, and its disk has 2");
        says(&stage, accepted(4, 2)).unwrap();
        stage.lost.push(node(1));
        says(&stage, accepted(4, 3)).unwrap();
    }

    #[test]
    fn entries_on_disk_are_those_that_were_accepted() {
        let mut stage = stage();
        let mut other = Log::of(&[1]).salted("!");
        other.extend(&[1, 1]);
        stage.platter(1).entries = other.entries;
        says(&stage, accepted(4, 1)).unwrap();
        assert_broken(
            says(&stage, accepted(4, 3)),
            "accepted 3@1, and its disk has 3@1 of another",
        );
        // Said earlier in the turn; meanwhile the node has moved on, and so may its log have.
        says(&stage, accepted(3, 3)).unwrap();
        stage.platter(1).entries = Log::of(&[1, 1, 4]).entries;
        assert_broken(says(&stage, accepted(4, 3)), "accepted 3@1, and its disk has 3@4");
        assert_broken(says(&stage, accepted(3, 3)), "accepted 3 in term 3, and its disk has 3@4");
    }
}
