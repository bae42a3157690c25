//! What is said to and by a registry.
//!
//! One stream a question, one frame each way.

use serde::{Deserialize, Serialize};

use crate::types::{ClusterId, NodeId, Term, Timestamp};

/// A question to a registry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Question {
    /// Which terms of the cluster are known? (nodes only) Answered by [`Answer::Known`].
    Known {
        /// The cluster.
        cluster: ClusterId,
    },
    /// A leader announces itself, and with it older terms that the registry lacks (nodes only).
    /// Answered by [`Answer::Announced`] once that is on disk, or a refusal.
    Announce {
        /// The cluster.
        cluster: ClusterId,
        /// The term that begins, led by the sender.
        current: Announcement,
        /// Terms before it, oldest first, at most 1,000 at a time.
        history: Vec<Announcement>,
    },
    /// Who led last? Answered by [`Answer::Terms`] with at most one.
    Leader {
        /// The cluster.
        cluster: ClusterId,
    },
    /// The terms known, oldest first, after `after`, at most 1,000. Answered by [`Answer::Terms`].
    Terms {
        /// The cluster.
        cluster: ClusterId,
        /// Only terms after this one.
        after: Term,
    },
}

/// `Leader_TermX`: who leads a term.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announcement {
    /// The term.
    pub term: Term,
    /// Its leader.
    pub node: NodeId,
    /// Where the leader listens.
    pub address: String,
    /// The time of the term's no-op.
    pub time: Timestamp,
}

impl Announcement {
    /// The name under which users know it: `Leader_Term2`.
    pub fn name(&self) -> String {
        format!("Leader_Term{}", self.term)
    }
}

/// A registry's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// The terms known, in order.
    Known(Vec<Term>),
    /// It is on disk.
    Announced,
    /// Announcements.
    Terms(Vec<Announcement>),
    /// Refused.
    Refused(Refusal),
}

/// Why a registry refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// A higher term is known.
    LowerTerm {
        /// The highest.
        highest: Term,
    },
    /// Another node is known as the leader of this term: a law of Raft is broken.
    TermTaken {
        /// The term.
        term: Term,
        /// Who is known as its leader.
        node: NodeId,
    },
    /// The certificate does not allow the question: not a node's, not the announced node's, or of
    /// another cluster.
    NotAllowed,
    /// The question breaks a limit.
    Invalid,
}
