//! What is said to and by a registry.
//!
//! One stream a question, one frame each way.

use serde::{Deserialize, Serialize};

use super::frame::{header_only, kind};
use crate::bounded;
use crate::limits::{REGISTRY_PAGE_MAX, REGISTRY_TERMS_MAX};
use crate::types::{ClusterId, NodeId, Term, Timestamp};

/// A question to a registry.
///
/// Its variants are numbered by their order on the wire: a new one goes to the end.
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
        #[serde(deserialize_with = "bounded::list::<_, _, REGISTRY_PAGE_MAX>")]
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
    /// Forget who led a term (admins only): what was announced is not so. Answered by
    /// [`Answer::Forgotten`] once that is on disk.
    Forget {
        /// The cluster.
        cluster: ClusterId,
        /// The term.
        term: Term,
        /// All later terms as well.
        and_later: bool,
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
///
/// Its variants are numbered by their order on the wire: a new one goes to the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// The terms known, in order.
    Known(#[serde(deserialize_with = "bounded::list::<_, _, REGISTRY_TERMS_MAX>")] Vec<Term>),
    /// It is on disk.
    Announced,
    /// Announcements.
    Terms(
        #[serde(deserialize_with = "bounded::list::<_, _, REGISTRY_PAGE_MAX>")] Vec<Announcement>,
    ),
    /// Refused.
    Refused(Refusal),
    /// So many terms are forgotten.
    Forgotten(u32),
}

/// Why a registry refused.
///
/// Its variants are numbered by their order on the wire: a new one goes to the end.
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
    /// The term is too far above what is known: it was made up.
    Implausible {
        /// The highest that is known.
        highest: Term,
    },
}

header_only!(Question, kind::QUESTION);
header_only!(Answer, kind::ANSWER);

#[cfg(test)]
mod tests {
    use super::super::frame::tests::{hex, received};
    use super::*;

    #[test]
    fn golden_bytes() {
        let cluster = ClusterId::new(1);
        let of = "01000000000000000000000000000000";
        let announcement = |term| Announcement {
            term: Term::new(term),
            node: NodeId::new(2).unwrap(),
            address: "h:1".to_owned(),
            time: Timestamp::new(3),
        };
        assert_eq!(announcement(4).name(), "Leader_Term4");
        for (question, bytes) in [
            (Question::Known { cluster }, format!("13000000012000{of}")),
            (
                Question::Announce {
                    cluster,
                    current: announcement(5),
                    history: vec![announcement(4)],
                },
                format!("22000000012001{of}050203683a310301040203683a3103"),
            ),
            (Question::Leader { cluster }, format!("13000000012002{of}")),
            (Question::Terms { cluster, after: Term::new(7) }, format!("14000000012003{of}07")),
            (
                Question::Forget { cluster, term: Term::new(7), and_later: true },
                format!("15000000012004{of}0701"),
            ),
        ] {
            assert_eq!(hex(&question.to_frame()), bytes);
            assert_eq!(Question::from_frame(&received(&question.to_frame())).unwrap(), question);
        }
        let taken = Refusal::TermTaken { term: Term::new(4), node: NodeId::new(2).unwrap() };
        for (answer, bytes) in [
            (Answer::Known(vec![Term::new(1), Term::new(300)]), "070000000121000201ac02"),
            (Answer::Announced, "03000000012101"),
            (Answer::Terms(vec![announcement(4)]), "0b00000001210201040203683a3103"),
            (Answer::Refused(Refusal::LowerTerm { highest: Term::new(9) }), "050000000121030009"),
            (Answer::Refused(taken), "06000000012103010402"),
            (Answer::Refused(Refusal::NotAllowed), "0400000001210302"),
            (Answer::Refused(Refusal::Invalid), "0400000001210303"),
            (Answer::Refused(Refusal::Implausible { highest: Term::new(9) }), "050000000121030409"),
            (Answer::Forgotten(300), "05000000012104ac02"),
        ] {
            assert_eq!(hex(&answer.to_frame()), bytes);
            assert_eq!(Answer::from_frame(&received(&answer.to_frame())).unwrap(), answer);
        }
    }
}
