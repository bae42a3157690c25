//! Invariant: segments are a function of the log: two that begin with the same entry end with the same,
//! and hold the same, head and all, whichever nodes made them and whatever they were told together.
//!
//! On this stands that a node may be given a segment by any other that has it, and that one hash tells
//! whether two copies agree.
//!
//! Judged by what the disks list, as soon as they do. What is sealed is committed, so it is never
//! another later.

use std::collections::BTreeMap;

use super::{Law, LawName, Moment, What};
use crate::store::SealedSegment;
use crate::types::{Index, NodeId};

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct SegmentsEqual {
    /// By their first index: who listed it first, and what.
    segments: BTreeMap<Index, (NodeId, SealedSegment)>,
    /// The last entry of each node that is in a segment which was compared.
    seen: BTreeMap<NodeId, Index>,
}

impl Law for SegmentsEqual {
    fn name(&self) -> LawName {
        LawName::SegmentsEqual
    }

    fn look(&mut self, moment: &Moment<'_>) -> Result<(), String> {
        let What::Disk { node } = moment.what else { return Ok(()) };
        let view = moment.node(node);
        if view.lost {
            return Ok(()); // What its disk lists may have rotted.
        }
        let seen = self.seen.entry(node).or_default();
        for segment in view.platter.sealed_after(*seen) {
            *seen = segment.last;
            let (other, first) = *self.segments.entry(segment.first).or_insert((node, segment));
            if first.last != segment.last {
                let (first, one, two) = (segment.first, first.last, segment.last);
                return Err(format!(
                    "the segment from {first} on ends with {one} on {other} and with {two} on {node}"
                ));
            }
            if first.content != segment.content {
                let first = segment.first;
                return Err(format!("the segment from {first} on differs on {other} and {node}"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    fn segment(first: u64, last: u64, content: u8) -> SealedSegment {
        SealedSegment { first: Index::new(first), last: Index::new(last), content: [content; 32] }
    }

    fn seal(
        stage: &mut Stage,
        law: &mut SegmentsEqual,
        number: u16,
        segment: SealedSegment,
    ) -> Result<(), String> {
        stage.platter(number).sealed.push(segment);
        stage.show(law, What::Disk { node: node(number) })
    }

    #[test]
    fn segments_that_differ_are_found_and_equal_ones_are_not() {
        let (mut stage, mut law) = (Stage::new(), SegmentsEqual::default());
        seal(&mut stage, &mut law, 1, segment(1, 4, 7)).unwrap();
        seal(&mut stage, &mut law, 2, segment(1, 4, 7)).unwrap();
        seal(&mut stage, &mut law, 1, segment(5, 9, 8)).unwrap();
        let found = seal(&mut stage, &mut law.clone(), 2, segment(5, 8, 8));
        assert_broken(found, "the segment from 5 on ends with 9 on n1 and with 8 on n2");
        stage.platter(2).sealed.pop();
        let found = seal(&mut stage, &mut law, 2, segment(5, 9, 1));
        assert_broken(found, "the segment from 5 on differs on n1 and n2");
    }
}
