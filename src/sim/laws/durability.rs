//! Invariant: at every moment each acknowledged entry is on the disks of a quorum, on all that would
//! be left of them after a power cut. It is the promise itself.
//!
//! The power fails in the whole building, a majority comes up again without the entry, elects a
//! leader, and fills its place with something else: every node is sure that all is well.
//!
//! Judged against the disks whenever one of them may have changed. The chain of the last entry that
//! was acknowledged covers all before it, so that one look at each disk suffices; so that a hole
//! further down is found as well, each time one older entry is looked up too, in turn. A disk that
//! was destroyed beyond what is promised counts as having everything, and what it says of an entry
//! counts for nothing: a bit of a chain that flipped is seen only by whoever follows the chain. What a node
//! has given up it had; that nothing in it is live another law judges ([`super::LiveKept`]).

use std::collections::BTreeMap;
use std::ops::Bound;

use super::{Law, LawName, Moment, NodeView, What};
use crate::entry::Chain;
use crate::types::{Index, LogId};
use crate::wire::api::Appended;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Durability {
    /// Acknowledged entries.
    acknowledged: BTreeMap<Index, (LogId, Chain)>,
    /// The older entry that was looked up last.
    looked_up: Index,
}

impl Durability {
    /// Takes the chain of an acknowledged entry from an intact disk that has it.
    fn on_acknowledged(&mut self, moment: &Moment<'_>, appended: &Appended) -> Result<(), String> {
        let id = LogId::new(appended.index, appended.term);
        if let Some((first, _)) = self.acknowledged.get(&id.index) {
            return if *first == id {
                Ok(())
            } else {
                Err(format!("both {first} and {id} were acknowledged"))
            };
        }
        let intact = moment.nodes.iter().filter(|node| !node.lost);
        let mut on_disk = intact.filter_map(|node| node.platter.entry(id.index));
        let chain = on_disk.find(|(on_disk, _)| *on_disk == id).map(|(_, chain)| chain);
        match chain {
            Some(chain) => {
                check(moment, id, chain)?;
                self.acknowledged.insert(id.index, (id, chain));
                Ok(())
            }
            // All that had it were destroyed.
            None if moment.may_decide(|node| node.lost) => Ok(()),
            // It is said once more, long after; whether it might be given up is another law's to say.
            None if moment.nodes.iter().any(|node| has_given_up(node, id.index)) => Ok(()),
            None => Err(format!("{id} was acknowledged and is on no disk")),
        }
    }

    fn check(&mut self, moment: &Moment<'_>) -> Result<(), String> {
        let Some((_, (id, chain))) = self.acknowledged.last_key_value() else { return Ok(()) };
        check(moment, *id, *chain)?;
        let after = (Bound::Excluded(self.looked_up), Bound::Unbounded);
        let (index, (id, chain)) = self
            .acknowledged
            .range(after)
            .next()
            .or_else(|| self.acknowledged.first_key_value())
            .expect("there is a last one");
        self.looked_up = *index;
        check(moment, *id, *chain)
    }
}

impl Law for Durability {
    fn name(&self) -> LawName {
        LawName::Durability
    }

    fn look(&mut self, moment: &Moment<'_>) -> Result<(), String> {
        match &moment.what {
            What::Acknowledged { appended, .. } => self.on_acknowledged(moment, appended),
            What::Disk { .. }
            | What::Turn { .. }
            | What::Started { .. }
            | What::Refused { .. }
            | What::Ended { .. } => self.check(moment),
            _ => Ok(()),
        }
    }
}

/// Whether a node had an entry and let it go, because nothing in it is live.
fn has_given_up(node: &NodeView<'_>, index: Index) -> bool {
    !node.lost && node.platter.first() > index
}

fn check(moment: &Moment<'_>, id: LogId, chain: Chain) -> Result<(), String> {
    let has = |entry: Option<_>| entry == Some((id, chain));
    let holds = |node: &NodeView<'_>| {
        node.lost || has(node.platter.entry(id.index)) || has_given_up(node, id.index)
    };
    if moment.may_decide(holds) {
        return Ok(());
    }
    let holders = moment.nodes.iter().filter(|node| holds(node));
    let names: Vec<_> = holders.map(|node| node.id.to_string()).collect();
    let names = if names.is_empty() { "nobody".into() } else { names.join(", ") };
    let voters = moment.configuration;
    Err(format!("acknowledged {id} is on the disks of {names}, no quorum of {voters}"))
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::types::{ClientId, Offset, Seq, Term};

    fn acknowledge(
        stage: &Stage,
        law: &mut Durability,
        index: u64,
        term: u64,
    ) -> Result<(), String> {
        let appended = Appended {
            offset: Offset::ZERO,
            count: 1,
            term: Term::new(term),
            index: Index::new(index),
            leader: node(1),
        };
        let (client, seq) = (ClientId::new(1), Seq::FIRST);
        stage.show(law, What::Acknowledged { client, seq, appended })
    }

    fn disk(stage: &Stage, law: &mut Durability) -> Result<(), String> {
        stage.show(law, What::Disk { node: node(1) })
    }

    /// Three nodes: the first two have three entries, the last has none.
    fn stage() -> Stage {
        let mut stage = Stage::new();
        stage.platter(1).entries = Log::of(&[1, 1, 1]).entries;
        stage.platter(2).entries = Log::of(&[1, 1, 1]).entries;
        stage
    }

    #[test]
    fn an_acknowledgement_needs_a_quorum_of_disks() {
        let mut law = Durability::default();
        let mut stage = stage();
        acknowledge(&stage, &mut law, 3, 1).unwrap();
        stage.platter(2).entries.pop();
        let expected = "acknowledged 3@1 is on the disks of n1, no quorum of n1,n2,n3";
        assert_broken(disk(&stage, &mut law), expected);
        assert_broken(stage.turns(&mut law, 3), expected);
        assert_broken(acknowledge(&stage, &mut Durability::default(), 3, 1), expected);
        acknowledge(&stage, &mut Durability::default(), 2, 1).unwrap();
        let nowhere = acknowledge(&stage, &mut Durability::default(), 3, 2);
        assert_broken(nowhere, "3@2 was acknowledged and is on no disk");
    }

    #[test]
    fn another_history_on_the_second_disk_does_not_count() {
        let mut law = Durability::default();
        let mut stage = stage();
        let mut other = Log::of(&[1]).salted("!");
        other.extend(&[1, 1]);
        acknowledge(&stage, &mut law, 3, 1).unwrap();
        stage.platter(2).entries = other.entries;
        assert_broken(disk(&stage, &mut law), "is on the disks of n1,");
    }

    #[test]
    fn a_destroyed_disk_counts_as_having_it() {
        let mut law = Durability::default();
        let mut stage = stage();
        acknowledge(&stage, &mut law, 3, 1).unwrap();
        stage.platter(2).entries.clear();
        stage.lost.push(node(2));
        disk(&stage, &mut law).unwrap();
        stage.platter(1).entries.clear();
        assert_broken(disk(&stage, &mut law), "is on the disks of n2,");
        stage.lost.push(node(1));
        disk(&stage, &mut law).unwrap();
        acknowledge(&stage, &mut law, 4, 1).unwrap();
    }

    #[test]
    fn what_a_destroyed_disk_says_is_not_what_others_are_measured_by() {
        let mut stage = stage();
        stage.platter(3).entries = Log::of(&[1, 1, 1]).entries;
        stage.platter(1).entries = Log::of(&[1, 1, 1]).salted("rot").entries;
        stage.lost.push(node(1));
        acknowledge(&stage, &mut Durability::default(), 3, 1).unwrap();
        stage.platter(2).entries.clear();
        stage.platter(3).entries.clear();
        let gone = acknowledge(&stage, &mut Durability::default(), 3, 1);
        assert_broken(gone, "3@1 was acknowledged and is on no disk");
    }

    #[test]
    fn the_last_entry_covers_what_was_acknowledged_before_it_and_a_hole_is_found_in_time() {
        let mut law = Durability::default();
        let mut stage = stage();
        for index in [3, 1, 2] {
            acknowledge(&stage, &mut law, index, 1).unwrap();
        }
        let kept = stage.platter(2).entries.clone();
        stage.platter(2).entries.truncate(2);
        assert_broken(disk(&stage, &mut law), "acknowledged 3@1");
        stage.platter(2).entries = kept;
        stage.platter(2).entries[0] = Log::of(&[2]).entries.remove(0);
        let found: Vec<_> = (0..3).filter_map(|_| disk(&stage, &mut law).err()).collect();
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains("acknowledged 1@1 is on the disks of n1,"), "{found:?}");
    }

    #[test]
    fn what_was_given_up_was_there() {
        let mut law = Durability::default();
        let mut stage = stage();
        acknowledge(&stage, &mut law, 2, 1).unwrap();
        stage.platter(1).given_up = 2;
        stage.platter(2).given_up = 1;
        disk(&stage, &mut law).unwrap();
        acknowledge(&stage, &mut Durability::default(), 2, 1).unwrap();
        stage.platter(2).entries.clear();
        stage.platter(2).given_up = 0;
        assert_broken(disk(&stage, &mut law), "acknowledged 2@1 is on the disks of n1,");
    }

    #[test]
    fn two_acknowledged_entries_of_one_index_are_found() {
        let mut law = Durability::default();
        let stage = stage();
        acknowledge(&stage, &mut law, 3, 1).unwrap();
        acknowledge(&stage, &mut law, 3, 1).unwrap();
        let second = acknowledge(&stage, &mut law, 3, 2);
        assert_broken(second, "both 3@1 and 3@2 were acknowledged");
    }
}
