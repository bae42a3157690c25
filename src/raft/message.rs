//! What nodes say to each other (thesis, figures 3.1 and 3.10).
//!
//! Every message carries its sender's term. A message names entries by their ids only: the sealed
//! bytes travel beside it, put there and checked by the floor above.

use serde::{Deserialize, Serialize};

use super::configuration::Configuration;
use crate::bounded;
use crate::types::{DiskFull, Index, LogId, NodeId, Term};

/// One message between two nodes.
///
/// Its variants are numbered by their order on the wire: a new one goes to the end.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Message {
    /// "Would you vote for me?" Changes nothing on either side (thesis 9.6).
    PreVote(PreVote),
    /// The answer.
    PreVoteResponse(PreVoteResponse),
    /// "Vote for me" (thesis 3.4).
    RequestVote(RequestVote),
    /// The answer.
    RequestVoteResponse(RequestVoteResponse),
    /// Entries to append; without any, a heartbeat (thesis 3.5).
    AppendEntries(AppendEntries),
    /// The answer.
    AppendEntriesResponse(AppendEntriesResponse),
    /// "Start an election now" (thesis 3.10).
    TimeoutNow(TimeoutNow),
    /// A piece of what stands for entries that the leader has given up (thesis 5).
    InstallSnapshot(InstallSnapshot),
    /// The answer, until all of it is there.
    InstallSnapshotResponse(InstallSnapshotResponse),
}

impl Message {
    /// The sender's term. For a pre-vote, the term it would campaign in.
    pub fn term(&self) -> Term {
        match self {
            Self::PreVote(m) => m.term,
            Self::PreVoteResponse(m) => m.term,
            Self::RequestVote(m) => m.term,
            Self::RequestVoteResponse(m) => m.term,
            Self::AppendEntries(m) => m.term,
            Self::AppendEntriesResponse(m) => m.term,
            Self::TimeoutNow(m) => m.term,
            Self::InstallSnapshot(m) => m.term,
            Self::InstallSnapshotResponse(m) => m.term,
        }
    }

    /// Whether its term is one that its sender has reached; a pre-vote, asked for or granted, only names
    /// one that the candidate may reach.
    pub fn is_claim(&self) -> bool {
        match self {
            Self::PreVote(_) => false,
            Self::PreVoteResponse(m) => !m.vote_granted,
            Self::RequestVote(_)
            | Self::RequestVoteResponse(_)
            | Self::AppendEntries(_)
            | Self::AppendEntriesResponse(_)
            | Self::TimeoutNow(_)
            | Self::InstallSnapshot(_)
            | Self::InstallSnapshotResponse(_) => true,
        }
    }

    /// The term that its sender leads by saying this.
    pub fn led_term(&self) -> Option<Term> {
        match self {
            Self::AppendEntries(_) | Self::TimeoutNow(_) | Self::InstallSnapshot(_) => {
                Some(self.term())
            }
            Self::PreVote(_)
            | Self::PreVoteResponse(_)
            | Self::RequestVote(_)
            | Self::RequestVoteResponse(_)
            | Self::AppendEntriesResponse(_)
            | Self::InstallSnapshotResponse(_) => None,
        }
    }

    /// The index up to which its sender vouches for having the leader's entries on disk.
    pub fn accepted(&self) -> Option<Index> {
        match self {
            Self::AppendEntriesResponse(m) => match m.result {
                AppendResult::Accepted { match_index } => Some(match_index),
                AppendResult::Rejected { .. } | AppendResult::Stale => None,
            },
            Self::PreVote(_)
            | Self::PreVoteResponse(_)
            | Self::RequestVote(_)
            | Self::RequestVoteResponse(_)
            | Self::AppendEntries(_)
            | Self::TimeoutNow(_)
            | Self::InstallSnapshot(_)
            | Self::InstallSnapshotResponse(_) => None,
        }
    }

    /// Whether it goes ahead of bulk traffic: everything that carries neither entries nor a piece of a head.
    pub fn is_urgent(&self) -> bool {
        match self {
            Self::AppendEntries(m) => m.heartbeat,
            Self::InstallSnapshot(_) => false,
            _ => true,
        }
    }
}

/// See [`Message::PreVote`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PreVote {
    /// The term that the sender would campaign in: the one after its own.
    pub term: Term,
    /// The end of its log.
    pub last_log_id: LogId,
}

/// See [`Message::PreVoteResponse`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PreVoteResponse {
    /// The term asked for, if granted; else the sender's own.
    pub term: Term,
    /// Whether the sender would vote so.
    pub vote_granted: bool,
}

/// See [`Message::RequestVote`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RequestVote {
    /// The candidate's term.
    pub term: Term,
    /// The end of its log.
    pub last_log_id: LogId,
    /// The leader asked for this election, so its recent heartbeat is no reason to refuse
    /// (thesis 4.2.3).
    pub leadership_transfer: bool,
}

/// See [`Message::RequestVoteResponse`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RequestVoteResponse {
    /// The sender's term.
    pub term: Term,
    /// Whether the sender has voted so, and has that on disk.
    pub vote_granted: bool,
}

/// What the core knows of an entry: everything but its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct EntryInfo {
    /// The term of the leader that made it.
    pub term: Term,
    /// Its sealed size in bytes.
    pub bytes: u32,
    /// What it holds, if that is a configuration.
    pub configuration: Option<Configuration>,
}

/// See [`Message::AppendEntries`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AppendEntries {
    /// The leader's term.
    pub term: Term,
    /// The entry before the first of these. In a heartbeat, an entry the follower is known to have.
    pub prev_log_id: LogId,
    /// The leader's commit index; in a heartbeat, at most `prev_log_id`.
    pub leader_commit: Index,
    /// The round of heartbeats that the leader is in, for ReadIndex (thesis 6.4).
    pub round: u64,
    /// Sent for its own sake, on a stream of its own; it may overtake entries.
    pub heartbeat: bool,
    /// The entries from `prev_log_id.index + 1` on. Left empty on the wire, where the sealed
    /// entries beside the message say the same.
    #[serde(deserialize_with = "bounded::list::<_, _, 0>")]
    pub entries: Vec<EntryInfo>,
}

/// See [`Message::AppendEntriesResponse`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AppendEntriesResponse {
    /// The sender's term.
    pub term: Term,
    /// The round of the message that this answers.
    pub round: u64,
    /// Whether the entries fit.
    pub result: AppendResult,
    /// The sender's disk is full: it may have taken fewer entries than were sent.
    pub disk_full: Option<DiskFull>,
}

/// Whether entries fitted.
///
/// Its variants are numbered by their order on the wire: a new one goes to the end.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum AppendResult {
    /// The follower has all entries up to here on disk, equal to the leader's.
    Accepted {
        /// The last index for which the answered message vouches.
        match_index: Index,
    },
    /// The follower has no such `prev_log_id`.
    Rejected {
        /// The one that it does not have.
        prev_log_id: LogId,
        /// The last entry of the follower that the leader might have: at most at that index, and
        /// of no higher term. The leader goes on from there (thesis 3.5, "a better way").
        hint: LogId,
    },
    /// The message was of an older term, which the answer's term says.
    Stale,
}

/// See [`Message::TimeoutNow`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TimeoutNow {
    /// The leader's term.
    pub term: Term,
}

/// The head of a segment, as the core knows it: what the entries before that segment come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct HeadInfo {
    /// The entry before the segment's first.
    pub id: LogId,
    /// Bytes of its form.
    pub bytes: u64,
    /// BLAKE3 of its form.
    pub hash: [u8; 32],
}

/// See [`Message::InstallSnapshot`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct InstallSnapshot {
    /// The leader's term.
    pub term: Term,
    /// The head of the first segment that the leader has. Everything up to it is committed.
    pub head: HeadInfo,
    /// Where in its form the piece begins that travels beside the message.
    pub offset: u64,
    /// How many bytes of it the receiver has, with this piece: filled in there, by the floor above.
    #[serde(skip)]
    pub received: u64,
}

/// See [`Message::InstallSnapshotResponse`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct InstallSnapshotResponse {
    /// The sender's term.
    pub term: Term,
    /// The head, by the entry before it.
    pub head: LogId,
    /// Where the piece began that this answers.
    pub offset: u64,
    /// How many bytes of the head the sender has in memory: nothing is promised by it.
    pub received: u64,
}

/// A message and whom it is for or from.
pub type Addressed = (NodeId, Message);

#[cfg(test)]
mod tests {
    use super::*;

    fn append(heartbeat: bool) -> Message {
        Message::AppendEntries(AppendEntries {
            term: Term::new(1),
            prev_log_id: LogId::ZERO,
            leader_commit: Index::ZERO,
            round: 0,
            heartbeat,
            entries: vec![],
        })
    }

    #[test]
    fn entries_wait_for_everything_else() {
        let vote = RequestVoteResponse { term: Term::new(1), vote_granted: true };
        assert!(append(true).is_urgent());
        assert!(!append(false).is_urgent());
        assert!(Message::RequestVoteResponse(vote).is_urgent());
    }
}
