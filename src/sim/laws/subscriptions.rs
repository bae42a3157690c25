//! Invariant: who follows the log is shown every record once, in order, and none that is not
//! committed.
//!
//! A follower that misses a record, or acts on one that is then taken back, is wrong for ever.
//!
//! Judged by the offsets of what each follower was shown, the end of one run being the beginning of
//! the next, and by the commit index known to anybody at that time. What the records say is for the
//! checker of histories to compare.

use std::collections::BTreeMap;

use super::{Law, LawName, Moment, NodeView, What};
use crate::entry::SealedEntry;
use crate::sim::model::Model;
use crate::types::{Index, LogNumber, Offset};

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Subscriptions {
    model: Model,
    /// The highest index that anybody knows to be committed.
    committed: Index,
    /// The highest index that a process may have known to be committed when it ended, maybe in the
    /// middle of a turn, without being seen to know it: by then a quorum had it on disk.
    maybe_committed: Index,
    /// What each follower is to be shown next.
    next: BTreeMap<u64, Offset>,
}

impl Subscriptions {
    fn on_turn(&mut self, committed: &[SealedEntry], commit_index: Option<Index>) {
        // What is wrong with the log itself is another law's to say.
        let _ = self.model.catch_up(committed);
        let reported = committed.last().map(|entry| entry.id().index);
        self.committed = self.committed.max(commit_index.max(reported).unwrap_or_default());
    }

    /// A process is no more: what it showed last is on a quorum of disks now, and no other entry that
    /// comes there later is excused by its end.
    fn on_ended(&mut self, moment: &Moment<'_>) {
        let last = |node: &NodeView<'_>| {
            if node.lost { Index::new(u64::MAX) } else { node.platter.last() }
        };
        let mut lasts: Vec<Index> = moment.nodes.iter().map(last).collect();
        lasts.sort_unstable();
        let may_be = |index: &&Index| moment.may_decide(|node| last(node) >= **index);
        let on_quorum = lasts.iter().rev().find(may_be).copied().unwrap_or_default();
        self.maybe_committed = self.maybe_committed.max(on_quorum);
    }

    /// Whether the entries up to `through` can be committed.
    fn may_be_committed(&self, through: Index) -> bool {
        through <= self.committed.max(self.maybe_committed)
    }

    fn on_shown(
        &mut self,
        (follower, first, count): (u64, Offset, u64),
        through: Index,
    ) -> Result<(), String> {
        let end = first.plus(count);
        let next = self.next.insert(follower, end).unwrap_or(first);
        if first != next {
            return Err(format!(
                "follower {follower} had been shown all before offset {next}, and was shown {first}"
            ));
        }
        if !self.may_be_committed(through) {
            return Err(format!(
                "follower {follower} was shown entry {through}, and {} is committed",
                self.committed
            ));
        }
        let limit = self.model.next_offset_at(LogNumber::MAIN, through);
        if through <= self.model.applied() && end > limit {
            return Err(format!(
                "follower {follower} was shown records up to offset {end} of entries up to \
                 {through}, which end at {limit}"
            ));
        }
        Ok(())
    }
}

impl Law for Subscriptions {
    fn name(&self) -> LawName {
        LawName::Subscriptions
    }

    fn look(&mut self, moment: &Moment<'_>) -> Result<(), String> {
        match moment.what {
            What::Turn { node, committed, .. } => {
                let replica = moment.node(node).replica;
                self.on_turn(committed, replica.map(|replica| replica.raft().log().commit_index()));
                Ok(())
            }
            What::Shown { subscription, first, count, through } => {
                self.on_shown((subscription, first, count), through)
            }
            What::Ended { .. } | What::Refused { .. } => {
                self.on_ended(moment);
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

    /// After a no-op, entries with two records each, three of which are committed.
    fn law() -> Subscriptions {
        let mut log = Log::of(&[1]);
        for _ in 0..3 {
            log.records(1, &[(1, 2)]);
        }
        let mut stage = Stage::new();
        let mut law = Subscriptions::default();
        stage.run(follower(1, &log, 1, 3), &log.entries);
        stage.commits(&mut law, 1, &log.entries[..3]).unwrap();
        law
    }

    fn shown(law: &mut Subscriptions, first: u64, count: u64, through: u64) -> Result<(), String> {
        let (first, through) = (Offset::new(first), Index::new(through));
        Stage::new().show(law, What::Shown { subscription: 7, first, count, through })
    }

    #[test]
    fn gaps_and_repetitions_are_found() {
        let mut law = law();
        shown(&mut law, 0, 1, 2).unwrap();
        shown(&mut law, 1, 2, 3).unwrap();
        shown(&mut law, 3, 0, 3).unwrap();
        let expected = "follower 7 had been shown all before offset 3, and was shown";
        assert_broken(shown(&mut law.clone(), 2, 1, 3), expected);
        assert_broken(shown(&mut law.clone(), 4, 0, 3), expected);
        shown(&mut law, 3, 1, 3).unwrap();
    }

    #[test]
    fn each_follower_has_its_own_beginning() {
        let mut law = law();
        shown(&mut law, 2, 1, 3).unwrap();
        let (first, through) = (Offset::new(1), Index::new(3));
        let other = What::Shown { subscription: 8, first, count: 1, through };
        Stage::new().show(&mut law, other).unwrap();
        shown(&mut law, 3, 1, 3).unwrap();
    }

    #[test]
    fn what_is_not_committed_is_not_shown() {
        let mut law = law();
        shown(&mut law, 0, 4, 3).unwrap();
        let early = shown(&mut law.clone(), 4, 2, 4);
        assert_broken(early, "follower 7 was shown entry 4, and 3 is committed");
        // A process ended; it may have been the first to know.
        let mut stage = Stage::new();
        stage.platter(1).entries = Log::of(&[1, 1, 1, 1]).entries;
        stage.show(&mut law, What::Ended { node: node(1) }).unwrap();
        let (first, count, through) = (Offset::new(4), 2, Index::new(4));
        let shown = || What::Shown { subscription: 7, first, count, through };
        // What gets onto a quorum of disks later it cannot have known.
        stage.platter(2).entries = Log::of(&[1, 1, 1, 1]).entries;
        let early = stage.show(&mut law.clone(), shown());
        assert_broken(early, "follower 7 was shown entry 4, and 3 is committed");
        stage.show(&mut law, What::Ended { node: node(2) }).unwrap();
        stage.show(&mut law, shown()).unwrap();
    }

    #[test]
    fn records_do_not_come_from_entries_after_those_named() {
        let mut law = law();
        let found = shown(&mut law, 0, 3, 2);
        assert_broken(found, "up to offset 3 of entries up to 2, which end at 2");
    }
}
