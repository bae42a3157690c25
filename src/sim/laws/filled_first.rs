//! Invariant: a learner is made a voter when it has about what the others have (thesis 4.2.1).
//!
//! One that lacks most of the log cannot acknowledge anything new before it has the old: when it is needed
//! for a majority, nothing is committed for as long as that takes.
//!
//! Judged when a leader's log has a configuration with a voter that the one before had as a learner: the
//! voter's disk has to have what was known to be committed a while before. A round of replication ends within
//! the shortest election timeout, so that nothing older than that can be missing.

use std::collections::VecDeque;

use super::{Law, LawName, Moment, What};
use crate::types::Index;

/// What was committed so long ago, in microseconds, has to be there.
const LAG_MAX_MICROS: u64 = 2_000_000;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct FilledFirst {
    /// How far anybody knew the log to be committed, and since when.
    committed: VecDeque<(u64, Index)>,
    /// The newest configuration that was judged.
    judged: Index,
}

impl FilledFirst {
    fn note(&mut self, now: u64, committed: Index) {
        if self.committed.back().is_none_or(|(_, index)| *index < committed) {
            self.committed.push_back((now, committed));
        }
        while self.committed.get(1).is_some_and(|(since, _)| since + LAG_MAX_MICROS <= now) {
            self.committed.pop_front();
        }
    }

    /// What was committed a while ago.
    fn expected(&self, now: u64) -> Index {
        let oldest = self.committed.front().filter(|(since, _)| since + LAG_MAX_MICROS <= now);
        oldest.map_or(Index::ZERO, |(_, index)| *index)
    }
}

impl Law for FilledFirst {
    fn name(&self) -> LawName {
        LawName::FilledFirst
    }

    fn look(&mut self, moment: &Moment<'_>) -> Result<(), String> {
        let What::Turn { node, .. } = moment.what else { return Ok(()) };
        let Some(replica) = moment.node(node).replica else { return Ok(()) };
        let (raft, log) = (replica.raft(), replica.raft().log());
        self.note(moment.now, log.commit_index());
        let (is_leader, newest) = (raft.role().as_leader().is_some(), log.configuration_index());
        let [.., (_, before), (_, after)] = log.configurations() else { return Ok(()) };
        if !is_leader || newest <= self.judged {
            return Ok(());
        }
        self.judged = newest;
        let expected = self.expected(moment.now);
        for voter in after.voters.intersection(&before.learners) {
            let last = moment.node(*voter).platter.last();
            if last < expected {
                return Err(format!(
                    "{voter} is made a voter by entry {newest} with entries up to {last}, and {expected} \
                     was committed {LAG_MAX_MICROS} µs before"
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::raft::Configuration;

    #[test]
    fn a_learner_without_what_was_committed_is_no_voter() {
        let mut learns = Configuration::of([node(1), node(2)]);
        learns.learners.insert(node(3));
        let mut log = Log::of(&[1]);
        log.configuration(1, &learns);
        log.extend(&[1, 1]);
        let promoted = |log: &Log| {
            let mut log = log.clone();
            log.configuration(1, &learns.promoted(node(3)));
            log
        };
        let shows = |law: &mut FilledFirst, has: &Log| {
            let (mut stage, log) = (Stage::new(), promoted(&log));
            stage.run(follower(1, &log, 1, 4), &log.entries);
            stage.turns(law, 1).unwrap();
            stage.now += LAG_MAX_MICROS;
            stage.platter(3).entries.clone_from(&has.entries);
            stage.run(leader(1, &log, 2, 4), &log.entries);
            stage.turns(law, 1)
        };
        shows(&mut FilledFirst::default(), &log).unwrap();
        let found = shows(&mut FilledFirst::default(), &Log::of(&[1]));
        assert_broken(
            found,
            "n3 is made a voter by entry 5 with entries up to 1, and 4 was committed",
        );
    }
}
