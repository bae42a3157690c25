//! What a node knows of the wall clocks of the others.
//!
//! Every message between nodes carries its sender's clock. That is late by the time that the message
//! took, which may have been lost in a queue for seconds: so of all that a node said within a while what
//! makes its clock the latest counts. Only nodes that were heard lately count, and a node is ahead if it is ahead of the one in the middle, the earlier of
//! two: where there are only two opinions, the later one does harm.

use std::collections::{BTreeMap, BTreeSet};

use crate::limits::{
    CLOCK_AHEAD_MAX, CLOCK_LEAP, CLOCK_REMEMBERED_ELECTION_TIMEOUTS,
    CLOCK_RENEWED_ELECTION_TIMEOUTS,
};
use crate::types::{NodeId, Timestamp};

/// See the module.
#[derive(Debug)]
pub(super) struct Clocks {
    me: NodeId,
    /// How far each other clock is ahead of this node's, in ms, and how many ticks ago it said so.
    others: BTreeMap<NodeId, (i128, u32)>,
    /// The longest election timeout. After some of them a message counts that makes a clock earlier;
    /// after some more without a message a clock does not count any more.
    timeout_ticks: u32,
    /// Who is far ahead.
    ahead: BTreeSet<NodeId>,
    /// How far the clock in the middle is ahead of this node's, in ms.
    middle: i128,
    /// How far this node's clock has leapt ahead, in ms, and for how many ticks that is doubted: by then the
    /// others have been heard anew, and the one in the middle tells.
    doubted: (i128, u32),
}

impl Clocks {
    pub(super) fn new(me: NodeId, timeout_ticks: u32) -> Self {
        let (others, ahead) = (BTreeMap::new(), BTreeSet::new());
        Self { me, others, timeout_ticks, ahead, middle: 0, doubted: (0, 0) }
    }

    /// This node's clock goes on from one time to another.
    pub(super) fn goes_on(&mut self, from: Timestamp, to: Timestamp) {
        let leap = i128::from(to.get()) - i128::from(from.get());
        if leap > i128::try_from(CLOCK_LEAP.as_millis()).unwrap_or(i128::MAX) {
            let renewed = self.timeout_ticks.saturating_mul(CLOCK_RENEWED_ELECTION_TIMEOUTS + 1);
            self.doubted = (self.doubted.0 + leap, renewed);
        }
    }

    /// Another node's message came: its clock and this node's. Says whether somebody else is ahead now.
    pub(super) fn heard(&mut self, from: NodeId, clock: Timestamp, now: Timestamp) -> bool {
        if clock == Timestamp::default() {
            return false;
        }
        let difference = i128::from(clock.get()) - i128::from(now.get());
        let renewed = self.timeout_ticks.saturating_mul(CLOCK_RENEWED_ELECTION_TIMEOUTS);
        let known = self.others.get(&from).filter(|(_, age)| *age < renewed);
        if known.is_some_and(|(known, _)| difference < *known) {
            return false; // It may have been long on its way.
        }
        self.others.insert(from, (difference, 0));
        self.compare()
    }

    /// A tick has passed. Says whether somebody else is ahead now.
    pub(super) fn tick(&mut self) -> bool {
        let before = self.others.len();
        self.doubted = match self.doubted {
            (_, 0 | 1) => (0, 0),
            (leap, ticks) => (leap, ticks - 1),
        };
        let remembered = self.timeout_ticks.saturating_mul(CLOCK_REMEMBERED_ELECTION_TIMEOUTS);
        self.others.retain(|_, (_, age)| {
            *age = age.saturating_add(1);
            *age < remembered
        });
        self.others.len() != before && self.compare()
    }

    /// Who is far ahead of the others.
    pub(super) fn ahead(&self) -> &BTreeSet<NodeId> {
        &self.ahead
    }

    /// This node's clock, or the one in the middle if that is behind: what is old by it is old by most. What the
    /// clock has leapt ahead counts when the others can have been heard since.
    pub(super) fn cautious(&self, now: Timestamp) -> Timestamp {
        let cautious = i128::from(now.get()) + self.middle.min(0) - self.doubted.0;
        Timestamp::new(u64::try_from(cautious).unwrap_or_default())
    }

    fn compare(&mut self) -> bool {
        let mine = (self.me, 0);
        let all: Vec<(NodeId, i128)> =
            self.others.iter().map(|(node, (ahead, _))| (*node, *ahead)).chain([mine]).collect();
        let mut sorted: Vec<i128> = all.iter().map(|(_, ahead)| *ahead).collect();
        sorted.sort_unstable();
        let middle = sorted.get((sorted.len() - 1) / 2).copied().unwrap_or_default();
        let most = i128::try_from(CLOCK_AHEAD_MAX.as_millis()).unwrap_or(i128::MAX);
        let is_far = |(_, ahead): &&(NodeId, i128)| ahead - middle > most;
        let ahead: BTreeSet<NodeId> = all.iter().filter(is_far).map(|(node, _)| *node).collect();
        self.middle = middle;
        let has_changed = ahead != self.ahead;
        self.ahead = ahead;
        has_changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_000_000_000;

    fn node(number: u16) -> NodeId {
        NodeId::new(number).unwrap()
    }

    /// Who is ahead when n1 hears these nodes, so many seconds ahead of itself.
    fn ahead(others: &[(u16, i64)]) -> Vec<u16> {
        let mut clocks = Clocks::new(node(1), 10);
        for (number, seconds) in others {
            let clock = Timestamp::new(NOW.checked_add_signed(seconds * 1000).unwrap());
            clocks.heard(node(*number), clock, Timestamp::new(NOW));
        }
        clocks.ahead().iter().map(|node| node.get()).collect()
    }

    #[test]
    fn a_leap_ahead_is_doubted_until_the_others_can_have_been_heard() {
        let at = |hours: u64| Timestamp::new(NOW + hours * 3_600_000);
        let mut clocks = Clocks::new(node(1), 10);
        clocks.goes_on(at(0), at(0));
        clocks.heard(node(2), at(0), at(0));
        clocks.heard(node(3), at(0), at(0));
        clocks.goes_on(at(0), at(1));
        let mut seen = vec![];
        for _ in 0..100 {
            clocks.heard(node(2), at(0), at(1));
            clocks.heard(node(3), at(0), at(1));
            seen.push(clocks.cautious(at(1)));
            clocks.tick();
        }
        assert!(seen.iter().all(|seen| *seen <= at(0)), "it was never an hour later");
        assert_eq!(seen.last(), Some(&at(0)));
        // If all of them say so, it is later.
        for _ in 0..100 {
            clocks.heard(node(2), at(1), at(1));
            clocks.heard(node(3), at(1), at(1));
            clocks.tick();
        }
        assert_eq!(clocks.cautious(at(1)), at(1));
    }

    #[test]
    fn who_is_ahead_of_the_one_in_the_middle_is_ahead() {
        assert!(ahead(&[]).is_empty());
        assert!(ahead(&[(2, 1), (3, -9)]).is_empty());
        assert_eq!(ahead(&[(2, -20), (3, -20)]), [1]);
        assert_eq!(ahead(&[(2, 20), (3, 0)]), [2]);
        assert!(ahead(&[(2, -20), (3, 0)]).is_empty(), "one that is behind does no harm");
        assert_eq!(ahead(&[(2, -20)]), [1], "of two the later one");
        assert_eq!(ahead(&[(2, 20)]), [2]);
        assert_eq!(ahead(&[(2, 20), (3, 20), (4, 0), (5, 0)]), [2, 3]);
    }

    #[test]
    fn what_was_said_long_ago_does_not_count() {
        let mut clocks = Clocks::new(node(1), 3);
        let behind = Timestamp::new(NOW - 60_000);
        assert!(clocks.heard(node(2), behind, Timestamp::new(NOW)));
        assert!(!clocks.heard(node(2), behind, Timestamp::new(NOW)), "that is no news");
        for _ in 1..3 * CLOCK_REMEMBERED_ELECTION_TIMEOUTS {
            assert!(!clocks.tick());
        }
        assert!(clocks.tick());
        assert!(clocks.ahead().is_empty());
    }

    #[test]
    fn a_message_that_was_long_on_its_way_is_no_wrong_clock() {
        let mut clocks = Clocks::new(node(1), 3);
        let (now, late) = (Timestamp::new(NOW), Timestamp::new(NOW - 60_000));
        clocks.heard(node(2), now, now);
        assert!(!clocks.heard(node(2), late, now));
        for _ in 0..3 * CLOCK_RENEWED_ELECTION_TIMEOUTS {
            assert!(!clocks.heard(node(2), late, now));
            clocks.tick();
        }
        assert!(clocks.heard(node(2), late, now), "it says nothing else any more");
        assert_eq!(clocks.ahead().iter().copied().collect::<Vec<_>>(), [node(1)]);
        assert!(clocks.heard(node(2), now, now), "and what makes it later counts at once");
    }
}
