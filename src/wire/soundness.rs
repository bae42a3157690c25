//! What nodes say to each other where one has lost what it had, and asks whether the others can do without.

use serde::{Deserialize, Serialize};

use super::frame::{header_only, kind};
use crate::address::Address;
use crate::bounded;
use crate::limits::NODES_MAX;
use crate::types::{Index, NodeId};

/// How a node is, for another that may have to rely on it. The answer to
/// [`Request::Soundness`](super::api::Request::Soundness).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Soundness {
    /// In a word.
    pub condition: Condition,
    /// The entry of the newest configuration that it knows to be committed.
    pub as_of: Index,
    /// Who votes by that, or by a later one that may be in force.
    #[serde(deserialize_with = "bounded::list::<_, _, { 2 * NODES_MAX }>")]
    pub voters: Vec<NodeId>,
    /// Where those of them are that came later or have moved: files may not say it.
    #[serde(deserialize_with = "bounded::list::<_, _, { 2 * NODES_MAX }>")]
    pub addresses: Vec<(NodeId, Address)>,
}

/// How a node is.
///
/// Its variants are numbered by their order on the wire: a new one goes to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Condition {
    /// It runs, votes, and has all that it promised.
    Sound,
    /// It knows that something is damaged that it has.
    Damaged,
    /// It does not vote, or not for certain yet.
    NoVoter,
}

header_only!(Soundness, kind::SOUNDNESS);

impl Soundness {
    /// Of a node that has lost its store, and does not run.
    pub fn damaged() -> Self {
        let (voters, addresses) = (vec![], vec![]);
        Self { condition: Condition::Damaged, as_of: Index::ZERO, voters, addresses }
    }
}

#[cfg(test)]
mod tests {
    use super::super::frame::tests::{check_golden, hex, received};
    use super::*;

    #[test]
    fn golden_bytes() {
        check_golden(&[
            (Condition::Sound, "00"),
            (Condition::Damaged, "01"),
            (Condition::NoVoter, "02"),
        ]);
        let voters = vec![NodeId::new(1).unwrap(), NodeId::new(3).unwrap()];
        let sound = Soundness { as_of: Index::new(300), voters, ..Soundness::damaged() };
        let sound = Soundness { condition: Condition::Sound, ..sound };
        assert_eq!(hex(&sound.to_frame()), "09000000011900ac0202010300");
        assert_eq!(Soundness::from_frame(&received(&sound.to_frame())).unwrap(), sound);
    }

    #[test]
    fn more_voters_than_there_can_be_are_refused() {
        let voters = vec![NodeId::new(1).unwrap(); 2 * NODES_MAX + 1];
        let crowd = Soundness { voters, ..Soundness::damaged() };
        assert!(Soundness::from_frame(&received(&crowd.to_frame())).is_err());
        let known = ("n9:7109".parse().unwrap(), NodeId::new(9).unwrap());
        let addresses = vec![(known.1, known.0); 2 * NODES_MAX + 1];
        let crowd = Soundness { addresses, ..Soundness::damaged() };
        assert!(Soundness::from_frame(&received(&crowd.to_frame())).is_err());
    }
}
