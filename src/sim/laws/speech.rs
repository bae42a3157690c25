//! What a node says of itself in a message, as the laws read it: never as the core does.

use crate::raft::{AppendResult, Message};
use crate::types::{Index, NodeId, Term};

/// Who has the vote of the node that says this, and in which term.
pub(super) fn vote(node: NodeId, to: NodeId, message: &Message) -> Option<(Term, NodeId)> {
    match message {
        Message::RequestVoteResponse(m) if m.vote_granted => Some((m.term, to)),
        Message::RequestVote(m) => Some((m.term, node)),
        _ => None,
    }
}

/// The term that the node says it has reached; none in a granted pre-vote, which only names one.
pub(super) fn reached(message: &Message) -> Option<Term> {
    match message {
        Message::PreVote(m) => Some(Term::new(m.term.get() - 1)),
        Message::PreVoteResponse(m) if m.vote_granted => None,
        _ => Some(message.term()),
    }
}

/// The index up to which the node says it has its leader's entries on disk, and in which term.
pub(super) fn accepted(message: &Message) -> Option<(Term, Index)> {
    let Message::AppendEntriesResponse(m) = message else { return None };
    let AppendResult::Accepted { match_index } = m.result else { return None };
    Some((m.term, match_index))
}
