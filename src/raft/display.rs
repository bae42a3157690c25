//! How messages, effects and notices read: one line each, the same in logs, traces and scripts.
//!
//! A message is its name, `@` and its term, then what it says: `AppendEntries@3 prev=17@3 commit=12
//! entries=18@3..20@3`. A notice is the end of a sentence that begins with the node's name: `became
//! leader of term 3, no-op at 18`.

use std::collections::BTreeSet;
use std::fmt::{Display, Formatter, Result};

use super::border::{
    Content, Effect, HardState, Implausible, Notice, Persist, ReadToken, StepDownReason,
};
use super::configuration::Configuration;
use super::message::{
    AppendEntries, AppendEntriesResponse, AppendResult, InstallSnapshot, InstallSnapshotResponse,
    Message, PreVote, PreVoteResponse, RequestVote, RequestVoteResponse, TimeoutNow,
};
use crate::members::Aim;
use crate::types::{DiskFull, LogId, NodeId};

impl Display for Message {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::PreVote(m) => m.fmt(f),
            Self::PreVoteResponse(m) => m.fmt(f),
            Self::RequestVote(m) => m.fmt(f),
            Self::RequestVoteResponse(m) => m.fmt(f),
            Self::AppendEntries(m) => m.fmt(f),
            Self::AppendEntriesResponse(m) => m.fmt(f),
            Self::TimeoutNow(m) => m.fmt(f),
            Self::InstallSnapshot(m) => m.fmt(f),
            Self::InstallSnapshotResponse(m) => m.fmt(f),
        }
    }
}

impl Display for PreVote {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "PreVote@{} last={}", self.term, self.last_log_id)
    }
}

impl Display for PreVoteResponse {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "PreVoteResponse@{} {}", self.term, granted(self.vote_granted))
    }
}

impl Display for RequestVote {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "RequestVote@{} last={}", self.term, self.last_log_id)?;
        if self.leadership_transfer { f.write_str(" transfer") } else { Ok(()) }
    }
}

impl Display for RequestVoteResponse {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "RequestVoteResponse@{} {}", self.term, granted(self.vote_granted))
    }
}

impl Display for AppendEntries {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "AppendEntries@{}", self.term)?;
        if self.heartbeat {
            f.write_str(" heartbeat")?;
        }
        write!(f, " prev={} commit={}", self.prev_log_id, self.leader_commit)?;
        if self.round > 0 {
            write!(f, " round={}", self.round)?;
        }
        let id = |offset: usize| {
            let index = self.prev_log_id.index.plus(offset as u64 + 1);
            self.entries.get(offset).map(|entry| LogId::new(index, entry.term))
        };
        match (id(0), id(self.entries.len().saturating_sub(1))) {
            (Some(first), Some(last)) if first == last => write!(f, " entries={first}"),
            (Some(first), Some(last)) => write!(f, " entries={first}..{last}"),
            (None, _) | (_, None) => Ok(()),
        }
    }
}

impl Display for AppendEntriesResponse {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "AppendEntriesResponse@{} {}", self.term, self.result)?;
        if self.round > 0 {
            write!(f, " round={}", self.round)?;
        }
        if let Some(full) = &self.disk_full { write!(f, " {full}") } else { Ok(()) }
    }
}

impl Display for DiskFull {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "full={}/{}", self.free_bytes, self.needed_bytes)
    }
}

impl Display for AppendResult {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Accepted { match_index } => write!(f, "accepted match={match_index}"),
            Self::Rejected { prev_log_id, hint } => {
                write!(f, "rejected prev={prev_log_id} hint={hint}")
            }
            Self::Stale => f.write_str("stale"),
        }
    }
}

impl Display for TimeoutNow {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "TimeoutNow@{}", self.term)
    }
}

impl Display for InstallSnapshot {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let Self { term, head, offset, .. } = self;
        write!(f, "InstallSnapshot@{term} head={} from={offset} of={}", head.id, head.bytes)
    }
}

impl Display for InstallSnapshotResponse {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let Self { term, head, received, .. } = self;
        write!(f, "InstallSnapshotResponse@{term} head={head} received={received}")
    }
}

impl Display for HardState {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "term={}", self.current_term)?;
        match self.voted_for {
            Some(candidate) => write!(f, " vote={candidate}"),
            None => Ok(()),
        }
    }
}

impl Display for ReadToken {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        self.0.fmt(f)
    }
}

/// The voters; `from` and the outgoing ones while a change is under way; the learners, if any; the stores
/// of those that came back with another, what learners are for, and addresses: `n2,n3 from n1,n2 learners n4
/// stores n4:7, n4 for n2`.
impl Display for Configuration {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        list(f, &self.voters)?;
        if self.is_joint() {
            f.write_str(" from ")?;
            list(f, &self.outgoing)?;
        }
        if !self.learners.is_empty() {
            f.write_str(" learners ")?;
            list(f, &self.learners)?;
        }
        for (position, (node, store)) in self.stores.iter().enumerate() {
            let between = if position == 0 { " stores " } else { "," };
            write!(f, "{between}{node}:{store}")?;
        }
        for (node, aim) in &self.aims {
            match aim {
                Aim::Stay => write!(f, ", {node} stays")?,
                Aim::Replace(other) => write!(f, ", {node} for {other}")?,
            }
        }
        for (node, address) in &self.addresses {
            write!(f, ", {node} at {address}")?;
        }
        Ok(())
    }
}

impl Display for Effect {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Seal { log_id, content } => write!(f, "Seal {log_id} {content}"),
            Self::Persist(persist) => persist.fmt(f),
            Self::Send { to, message } => write!(f, "Send {to} {message}"),
            Self::Fetch { to, prev_log_id, last } => {
                write!(f, "Fetch {to} prev={prev_log_id} last={last}")
            }
            Self::Install { head } => write!(f, "Install head={}", head.id),
            Self::Commit { through } => write!(f, "Commit {through}"),
            Self::Reply { token, read_index: Some(index) } => {
                write!(f, "Reply {token} index={index}")
            }
            Self::Reply { token, read_index: None } => write!(f, "Reply {token} not the leader"),
            Self::Notice(notice) => write!(f, "Notice {notice}"),
        }
    }
}

impl Display for Content {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::NoOp(no_op) => write!(f, "no-op ({})", no_op.reason),
            Self::Configuration(configuration) => write!(f, "configuration {configuration}"),
            Self::Proposal => f.write_str("proposal"),
        }
    }
}

impl Display for Persist {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "Persist #{}", self.ticket)?;
        if let Some(hard_state) = self.hard_state {
            write!(f, " {hard_state}")?;
        }
        if let Some(from) = self.truncate_from {
            write!(f, " truncate={from}")?;
        }
        match self.range {
            Some((first, last)) if first == last => write!(f, " entries={first}"),
            Some((first, last)) => write!(f, " entries={first}..{last}"),
            None => Ok(()),
        }
    }
}

impl Display for Notice {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::BecamePreCandidate { term } => {
                write!(f, "asks whether it would be elected in term {term}")
            }
            Self::BecameCandidate { term } => write!(f, "campaigns in term {term}"),
            Self::BecameLeader { term, no_op } => {
                write!(f, "became leader of term {term}, no-op at {no_op}")
            }
            Self::BecameFollower { term, leader: Some(leader) } => {
                write!(f, "follows {leader} in term {term}")
            }
            Self::BecameFollower { term, leader: None } => {
                write!(f, "follows nobody yet in term {term}")
            }
            Self::SteppedDown { term, reason } => {
                write!(f, "stepped down as leader of term {term}: {reason}")
            }
            Self::Voted { term, candidate } => write!(f, "voted for {candidate} in term {term}"),
            Self::Truncated { from } => {
                write!(f, "drops its entries from {from} on, which the leader does not have")
            }
            Self::Forgot { follower, from, acknowledged } => write!(
                f,
                "{follower} has forgotten entries {from} to {acknowledged}, which it had acknowledged"
            ),
            Self::SendsHead { to, head } => write!(
                f,
                "sends {to} what entries up to {} come to: they were given up, and it lacks some of them",
                head.index
            ),
            Self::Refilling { node } => {
                write!(f, "{node} came back with a new store: it is a learner until it is filled")
            }
            Self::Reinstated { node } => write!(f, "{node} is filled: it is a voter again"),
            Self::TransferStarted { to } => write!(f, "hands over to {to}"),
            Self::Refused { from, term, what } => {
                write!(f, "refuses a message of {from} in term {term}: {what}")
            }
            Self::NoTermLeft => f.write_str("cannot stand for election: no term is left"),
            Self::DiskSlow { ticks } => write!(f, "waited {ticks} ticks for its disk to write"),
            Self::DiskStuck { ticks } => {
                write!(f, "has waited {ticks} ticks for its disk to write, and still waits")
            }
        }
    }
}

impl Display for Implausible {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str(match self {
            Self::Term => "nobody can have reached that term",
            Self::Entries => "it speaks of entries that cannot be",
            Self::Head => "it speaks of a head that cannot be",
            Self::SecondLeader => "another node leads that term",
        })
    }
}

impl Display for StepDownReason {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str(match self {
            Self::HigherTerm => "a higher term was heard",
            Self::QuorumLost => "no quorum was heard for an election timeout",
            Self::DiskStalled => "its disk has been stuck for too long",
            Self::Removed => "it is not a voter of the committed configuration",
        })
    }
}

fn granted(vote_granted: bool) -> &'static str {
    if vote_granted { "granted" } else { "refused" }
}

fn list(f: &mut Formatter<'_>, nodes: &BTreeSet<NodeId>) -> Result {
    for (position, node) in nodes.iter().enumerate() {
        let comma = if position == 0 { "" } else { "," };
        write!(f, "{comma}{node}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::EntryInfo;
    use crate::types::{Incarnation, Index, Term, Ticket};

    fn append(entries: &[u64], heartbeat: bool) -> Message {
        Message::AppendEntries(AppendEntries {
            term: Term::new(3),
            prev_log_id: LogId::new(Index::new(17), Term::new(2)),
            leader_commit: Index::new(12),
            round: u64::from(heartbeat) * 5,
            heartbeat,
            entries: entries
                .iter()
                .map(|term| EntryInfo { term: Term::new(*term), bytes: 1, configuration: None })
                .collect(),
        })
    }

    #[test]
    fn an_append_names_its_first_and_last_entry() {
        let cases = [
            (append(&[], false), "AppendEntries@3 prev=17@2 commit=12"),
            (append(&[3], false), "AppendEntries@3 prev=17@2 commit=12 entries=18@3"),
            (append(&[2, 2, 3], false), "AppendEntries@3 prev=17@2 commit=12 entries=18@2..20@3"),
            (append(&[], true), "AppendEntries@3 heartbeat prev=17@2 commit=12 round=5"),
        ];
        for (message, expected) in cases {
            assert_eq!(message.to_string(), expected);
        }
    }

    #[test]
    fn a_configuration_names_who_comes_and_who_goes() {
        let node = |number| NodeId::new(number).unwrap();
        let mut configuration = Configuration::of([node(2), node(3)]);
        assert_eq!(configuration.to_string(), "n2,n3");
        configuration.outgoing = [node(1), node(2)].into();
        configuration.learners = [node(4)].into();
        assert_eq!(configuration.to_string(), "n2,n3 from n1,n2 learners n4");
        configuration.stores =
            [(node(2), Incarnation::new(7)), (node(4), Incarnation::new(9))].into();
        assert_eq!(configuration.to_string(), "n2,n3 from n1,n2 learners n4 stores n2:7,n4:9");
    }

    #[test]
    fn a_write_names_all_that_is_in_it() {
        let persist = Persist {
            ticket: Ticket::new(4),
            hard_state: Some(HardState { current_term: Term::new(3), voted_for: NodeId::new(1) }),
            truncate_from: Some(Index::new(5)),
            range: Some((Index::new(5), Index::new(7))),
        };
        let expected = "Persist #4 term=3 vote=n1 truncate=5 entries=5..7";
        assert_eq!(Effect::Persist(persist).to_string(), expected);
    }
}
