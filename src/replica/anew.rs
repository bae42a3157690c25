//! Whether a node that has lost what it promised may begin anew by itself: only while the others can do
//! without what is left of it.
//!
//! Its new store is another server (`raft/configuration.rs`), so the former one is dead from then on, and
//! for good: once a peer has met the new store it refuses the old one, though that be put back whole. A
//! minority of dead servers is what Raft is made for. With a majority of them there is never a leader
//! again, and nobody to fill anybody, whatever the folders still hold.
//!
//! So a node asks all others first, and begins only if those that say that they are sound are a majority of
//! the voters without it.
//!
//! - **Nobody who asks is sound**, from the moment in which it finds its damage until it votes again, by an entry
//!   that is committed and that it has on its disk. So of all that have begun anew and do not vote yet, the one
//!   that found its damage last was told by the others that they are not sound: they are a minority, at
//!   every moment, however many find damage at once.
//! - Sound nodes that are a majority share one with each majority that has ever committed anything, and have all
//!   that they promised. What was acknowledged is with them, and they can elect a leader who has it.
//! - A node whose sealed segments are damaged is not sound until they are mended, though it votes: what is
//!   left of the other one may be the last copy.
//!
//! What it is not for: nodes that fail or are lost after they have said that they are sound. Each of
//! these is one failure more, and asks in its turn.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::replica::Replica;
use crate::address::Address;
use crate::mutants::{self, Mutant};
use crate::raft::quorum;
use crate::types::NodeId;
use crate::wire::soundness::{Condition, Soundness};

/// What a node that would begin anew has heard of the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Poll {
    me: NodeId,
    /// What each says; `None`: nothing.
    others: BTreeMap<NodeId, Option<Soundness>>,
}

impl Soundness {
    /// Of a node that runs. `is_whole` says that nothing is known to be damaged on its disk.
    pub fn of(replica: &Replica, is_whole: bool) -> Self {
        let raft = replica.raft();
        let configurations = raft.log().configurations();
        let voters: BTreeSet<NodeId> = configurations
            .iter()
            .flat_map(|(_, it)| it.voters.iter().chain(&it.outgoing))
            .copied()
            .collect();
        let condition = match (raft.is_settled_voter(), is_whole) {
            (true, true) => Condition::Sound,
            (true, false) => Condition::Damaged,
            (false, _) => Condition::NoVoter,
        };
        let known = configurations.iter().flat_map(|(_, it)| it.addresses.clone());
        let addresses: BTreeMap<_, _> = known.filter(|(node, _)| voters.contains(node)).collect();
        Self {
            condition,
            as_of: configurations[0].0,
            voters: voters.into_iter().collect(),
            addresses: addresses.into_iter().collect(),
        }
    }
}

impl Poll {
    /// What a node heard of these others.
    pub fn new(me: NodeId, others: BTreeMap<NodeId, Option<Soundness>>) -> Self {
        Self { me, others }
    }

    /// Who has not answered, and where it is, as others say: it came later than what this node's file says of
    /// the members, or has moved since.
    pub fn elsewhere(&self) -> BTreeMap<NodeId, Address> {
        let said = self.others.values().flatten().flat_map(|answer| answer.addresses.clone());
        let is_open = |node: NodeId| self.others.get(&node).is_none_or(Option::is_none);
        said.filter(|(node, _)| *node != self.me && is_open(*node)).collect()
    }

    /// Adds what was heard of more.
    pub fn extend(&mut self, more: BTreeMap<NodeId, Option<Soundness>>) {
        self.others.extend(more);
    }

    /// Whether the others can do without this node, whatever it had.
    pub fn can_do_without(&self) -> bool {
        let voters = self.voters();
        quorum::is_majority(self.sound(&voters).len(), voters.len())
            || mutants::is_on(Mutant::BeginUnasked)
    }

    /// Who votes, as whoever has the newest configuration says.
    fn voters(&self) -> BTreeSet<NodeId> {
        let answers = self.others.values().flatten().filter(|answer| !answer.voters.is_empty());
        let newest = answers.max_by_key(|answer| answer.as_of);
        let configured = || self.others.keys().copied().chain([self.me]).collect();
        newest.map_or_else(configured, |answer| answer.voters.iter().copied().collect())
    }

    fn sound(&self, voters: &BTreeSet<NodeId>) -> BTreeSet<NodeId> {
        let is_sound = |node: &NodeId| {
            let answer = self.others.get(node).and_then(Option::as_ref);
            answer.is_some_and(|answer| answer.condition == Condition::Sound)
        };
        voters.iter().copied().filter(is_sound).collect()
    }
}

/// `of 3 voters 2 have to be sound without it, and 1 is: n2 is damaged, n3 does not answer`.
impl fmt::Display for Poll {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let voters = self.voters();
        let sound = self.sound(&voters).len();
        let needed = voters.len() / 2 + 1;
        write!(f, "of {} voters {needed} have to be sound without it, and {sound} ", voters.len())?;
        f.write_str(if sound == 1 { "is" } else { "are" })?;
        let mut before = ": ";
        for (node, answer) in &self.others {
            let what = match answer.as_ref().map(|answer| answer.condition) {
                Some(Condition::Sound) => continue,
                Some(Condition::Damaged) => "is damaged",
                Some(Condition::NoVoter) => "does not vote",
                None => "does not answer",
            };
            write!(f, "{before}{node} {what}")?;
            before = ", ";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Index;

    fn node(number: u16) -> NodeId {
        NodeId::new(number).unwrap()
    }

    fn says(condition: Condition, as_of: u64, voters: &[u16]) -> Soundness {
        let voters = voters.iter().map(|number| node(*number)).collect();
        Soundness { condition, as_of: Index::new(as_of), voters, addresses: vec![] }
    }

    fn poll(others: &[(u16, Option<Soundness>)]) -> Poll {
        Poll::new(node(1), others.iter().map(|(of, said)| (node(*of), said.clone())).collect())
    }

    #[test]
    fn a_node_begins_anew_only_where_a_majority_is_sound_without_it() {
        let sound = || Some(says(Condition::Sound, 1, &[1, 2, 3]));
        assert!(poll(&[(2, sound()), (3, sound())]).can_do_without());
        for (other, why) in [
            (Some(Soundness::damaged()), "n3 is damaged"),
            (Some(says(Condition::NoVoter, 1, &[1, 2, 3])), "n3 does not vote"),
            (None, "n3 does not answer"),
        ] {
            let poll = poll(&[(2, sound()), (3, other)]);
            assert!(!poll.can_do_without());
            let begins = "of 3 voters 2 have to be sound without it, and 1 is: ";
            assert_eq!(poll.to_string(), begins.to_owned() + why);
        }
        let nobody = poll(&[(2, None), (3, Some(Soundness::damaged()))]);
        assert!(!nobody.can_do_without());
        assert_eq!(
            nobody.to_string(),
            "of 3 voters 2 have to be sound without it, and 0 are: n2 does not answer, n3 is damaged"
        );
    }

    #[test]
    fn two_of_five_may_be_lost_and_of_two_or_four_not_half() {
        let of = |voters: &[u16], sound: &[u16]| {
            let says = |of: &u16| {
                let is_sound = sound.contains(of);
                (*of, is_sound.then(|| says(Condition::Sound, 1, voters)))
            };
            let others: Vec<_> = voters.iter().filter(|of| **of != 1).map(says).collect();
            poll(&others).can_do_without()
        };
        assert!(of(&[1, 2, 3, 4, 5], &[3, 4, 5]));
        assert!(!of(&[1, 2, 3, 4, 5], &[4, 5]));
        assert!(!of(&[1, 2, 3, 4], &[3, 4]));
        assert!(!of(&[1, 2], &[2]));
        assert!(!of(&[1], &[]));
    }

    #[test]
    fn who_came_later_is_asked_where_the_others_say_that_it_is() {
        let at: Address = "n4:7104".parse().unwrap();
        let addresses = [(1, "n1:7101"), (3, "n3:7103"), (4, "n4:7104")];
        let addresses = addresses.map(|(of, at)| (node(of), at.parse().unwrap())).to_vec();
        let of = |of| Some(Soundness { addresses: addresses.clone(), ..of });
        let sound = || says(Condition::Sound, 9, &[1, 3, 4]);
        let mut poll = poll(&[(2, None), (3, of(sound()))]);
        assert_eq!(poll.elsewhere(), [(node(4), at)].into());
        assert!(!poll.can_do_without());
        poll.extend([(node(4), Some(sound()))].into());
        assert!(poll.elsewhere().is_empty() && poll.can_do_without());
    }

    #[test]
    fn who_votes_the_newest_configuration_says() {
        // By its file there are three; by now n2, n3 and n4 vote.
        let newer = || Some(says(Condition::Sound, 9, &[2, 3, 4]));
        assert!(poll(&[(2, newer()), (3, newer())]).can_do_without());
        // One that is none of them does not count, whatever it believes.
        let older = Some(says(Condition::Sound, 1, &[1, 2, 5]));
        assert!(!poll(&[(2, newer()), (5, older)]).can_do_without());
    }
}
