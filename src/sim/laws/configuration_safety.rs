//! Invariant: two configurations that can both decide have a voter in common in any two quorums of
//! theirs; a log has at most one configuration that is not committed; nobody is no electorate
//! (thesis 4.1 to 4.3, and Ongaro's correction of 2015 on changes before the first commit of a term).
//!
//! Two disjoint majorities are two clusters with one name.
//!
//! Judged after each turn by the configurations of the node's log that may still matter: the newest
//! committed one and those after it. Each must overlap the one before it. Whether one is committed
//! is judged by the highest commit index known to anybody: a new leader may not know yet what its
//! predecessor committed. So it is judged, too, whether a leader has committed something of its term when it
//! makes one.

use std::collections::BTreeSet;

use super::{Law, LawName, Moment, What};
use crate::raft::{Configuration, Raft};
use crate::types::{Index, NodeId};

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct ConfigurationSafety {
    /// The highest index that anybody knows to be committed.
    committed: Index,
}

impl ConfigurationSafety {
    fn check(&self, node: NodeId, all: &[(Index, Configuration)]) -> Result<(), String> {
        if let Some((index, _)) = all.iter().find(|(_, one)| one.voters.is_empty()) {
            return Err(format!("{node} has a configuration without voters at {index}"));
        }
        let open: Vec<_> = all.iter().filter(|(index, _)| *index > self.committed).collect();
        if let [(first, _), (second, _), ..] = open.as_slice() {
            let committed = self.committed;
            return Err(format!(
                "{node} has configurations at {first} and {second}, and {committed} is committed"
            ));
        }
        for ((first, one), (second, other)) in all.iter().zip(all.iter().skip(1)) {
            if !overlap(one, other) {
                return Err(format!(
                    "{node} has configurations at {first} and {second} that can decide without \
                     each other"
                ));
            }
        }
        Ok(())
    }
}

/// A leader that changes the configuration has committed something of its term.
fn check_term(node: NodeId, raft: &Raft) -> Result<(), String> {
    let (term, log) = (Some(raft.current_term()), raft.log());
    let (newest, committed) = (log.configuration_index(), log.commit_index());
    let is_early = log.term_at(newest) == term && log.term_at(committed) != term;
    if raft.role().as_leader().is_some() && is_early {
        return Err(format!(
            "{node} leads, has made a configuration at {newest} and committed nothing of its term: \
             {committed} is committed"
        ));
    }
    Ok(())
}

/// Whether any quorum of one has a voter in common with any quorum of the other, because a majority
/// that both need does.
fn overlap(one: &Configuration, other: &Configuration) -> bool {
    let majorities = |c: &Configuration| {
        [c.voters.clone(), c.outgoing.clone()].into_iter().filter(|voters| !voters.is_empty())
    };
    majorities(one).any(|one| majorities(other).any(|other| majorities_overlap(&one, &other)))
}

/// Whether no majority of one is disjoint from a majority of the other. The best attempt takes first
/// those who vote in one of them only.
fn majorities_overlap(one: &BTreeSet<NodeId>, other: &BTreeSet<NodeId>) -> bool {
    let common = one.intersection(other).count();
    let from_common =
        |voters: &BTreeSet<NodeId>| (voters.len() / 2 + 1).saturating_sub(voters.len() - common);
    from_common(one) + from_common(other) > common
}

impl Law for ConfigurationSafety {
    fn name(&self) -> LawName {
        LawName::ConfigurationSafety
    }

    fn look(&mut self, moment: &Moment<'_>) -> Result<(), String> {
        let What::Turn { node, .. } = moment.what else { return Ok(()) };
        let Some(replica) = moment.node(node).replica else { return Ok(()) };
        let log = replica.raft().log();
        self.committed = self.committed.max(log.commit_index());
        self.check(node, log.configurations())?;
        check_term(node, replica.raft())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    fn voters(numbers: &[u16]) -> BTreeSet<NodeId> {
        numbers.iter().map(|number| node(*number)).collect()
    }

    fn simple(numbers: &[u16]) -> Configuration {
        Configuration::of(voters(numbers))
    }

    fn joint(incoming: &[u16], outgoing: &[u16]) -> Configuration {
        Configuration { outgoing: voters(outgoing), ..simple(incoming) }
    }

    /// A node whose log has these configurations from its second entry on, after the first three.
    fn shows(
        law: &mut ConfigurationSafety,
        configurations: &[Configuration],
        commit_index: u64,
    ) -> Result<(), String> {
        let mut log = Log::of(&[1]);
        for one in configurations {
            log.configuration(1, one);
        }
        let mut stage = Stage::new();
        stage.run(follower(1, &log, 1, commit_index), &log.entries);
        stage.turns(law, 1)
    }

    #[test]
    fn disjoint_majorities_are_found() {
        let overlaps = |one: &[u16], other: &[u16]| {
            let found = majorities_overlap(&voters(one), &voters(other));
            assert_eq!(found, majorities_overlap(&voters(other), &voters(one)));
            found
        };
        assert!(overlaps(&[1, 2, 3], &[1, 2, 3]));
        assert!(overlaps(&[1, 2, 3], &[1, 2, 3, 4]));
        assert!(overlaps(&[1, 2, 3, 4], &[1, 2, 3]));
        assert!(overlaps(&[1], &[1, 2]));
        assert!(!overlaps(&[1], &[1, 2, 3]));
        assert!(!overlaps(&[1, 2, 3], &[1, 2, 3, 4, 5]));
        assert!(!overlaps(&[1, 2, 3], &[3, 4, 5]));
        assert!(!overlaps(&[1, 2], &[3, 4]));
    }

    /// Every pair of electorates of up to four of five nodes, against all pairs of their subsets.
    #[test]
    fn majorities_are_counted_right() {
        let of =
            |set: u32| (1..=5).filter(|n| set >> n & 1 == 1).map(node).collect::<BTreeSet<_>>();
        let is_majority =
            |part: u32, set: u32| part & !set == 0 && part.count_ones() > set.count_ones() / 2;
        for (one, other) in
            (2..64_u32).step_by(2).flat_map(|a| (2..64).step_by(2).map(move |b| (a, b)))
        {
            let disjoint = (0..64).any(|part| {
                is_majority(part, one) && (0..64).any(|p| p & part == 0 && is_majority(p, other))
            });
            assert_eq!(majorities_overlap(&of(one), &of(other)), !disjoint, "{one:b} {other:b}");
        }
    }

    #[test]
    fn a_change_by_a_joint_configuration_is_right_and_a_leap_is_not() {
        let (old, new) = ([1, 2, 3], [3, 4, 5]);
        let law = ConfigurationSafety::default;
        shows(&mut law(), &[simple(&[1, 2, 3, 4])], 1).unwrap();
        shows(&mut law(), &[joint(&new, &old)], 1).unwrap();
        let leap = shows(&mut law(), &[simple(&new)], 1);
        assert_broken(leap, "n1 has configurations at 0 and 2 that can decide without each other");
        let mut knows = law();
        shows(&mut knows, &[joint(&new, &old)], 2).unwrap();
        shows(&mut knows, &[joint(&new, &old), simple(&new)], 1).unwrap();
        let leap = shows(&mut knows, &[joint(&new, &old), simple(&[6, 7, 8])], 1);
        assert_broken(leap, "n1 has configurations at 2 and 3 that can decide");
    }

    #[test]
    fn a_second_configuration_before_the_first_is_committed_is_found() {
        let mut law = ConfigurationSafety::default();
        let two = [simple(&[1, 2, 3, 4]), simple(&[1, 2, 3])];
        let found = shows(&mut law, &two, 1);
        assert_broken(found, "n1 has configurations at 2 and 3, and 1 is committed");
        shows(&mut law, &two, 2).unwrap();
    }

    #[test]
    fn a_configuration_of_nobody_is_found() {
        let nobody = Configuration { voters: BTreeSet::new(), ..simple(&[1]) };
        let law = ConfigurationSafety::default();
        let found = law.check(node(1), &[(Index::ZERO, simple(&[1])), (Index::new(4), nobody)]);
        assert_broken(found, "n1 has a configuration without voters at 4");
    }
}
