//! Invariant: what is appended under a condition stands where that holds. A request that expects an
//! offset is there: so of two that expect one offset one is taken. A request that names a fence stands
//! behind the setting of that fence, and before any other: so nothing passes a fence.
//!
//! Whoever reads, decides, and appends on the condition that nobody came in between relies on it.
//!
//! Judged by the reference model, which is fed by whichever node is furthest, and by what clients
//! asked for. A client asks before anybody can commit.

use std::collections::BTreeMap;

use super::{Law, LawName, Moment, What};
use crate::entry::SealedEntry;
use crate::sim::model::{Model, Placed};
use crate::types::{ClientId, Seq};
use crate::wire::conditions::Conditions;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Conditional {
    model: Model,
    asked: BTreeMap<(ClientId, Seq), Conditions>,
}

impl Conditional {
    fn on_committed(&mut self, committed: &[SealedEntry]) -> Result<(), String> {
        let known = self.model.requests().len();
        self.model.catch_up(committed)?;
        self.model.requests().iter().skip(known).try_for_each(|placed| self.check(placed))
    }

    fn check(&self, placed: &Placed) -> Result<(), String> {
        let Placed { client, seq, offset, .. } = placed;
        let Some(asked) = self.asked.get(&(*client, *seq)) else { return Ok(()) };
        let it = format!("request {seq} of client {client} in {}", placed.entry);
        if let Some(expected) = asked.expect_offset.filter(|expected| expected != offset) {
            return Err(format!("{it} expects offset {expected}, and is at {offset}"));
        }
        match asked.fence {
            Some(named) if placed.fence != Some(named) => {
                Err(format!("{it} names fence {named}, and passes {:?}", placed.fence))
            }
            _ => Ok(()),
        }
    }
}

impl Law for Conditional {
    fn name(&self) -> LawName {
        LawName::Conditional
    }

    fn look(&mut self, moment: &Moment<'_>) -> Result<(), String> {
        match moment.what {
            What::Turn { committed, .. } => self.on_committed(committed),
            What::Asked { client, seq, conditions, .. } => {
                self.asked.insert((client, seq), conditions.clone());
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
    use crate::command::Command;
    use crate::entry::Request;
    use crate::types::Offset;

    #[test]
    fn what_stands_elsewhere_than_was_expected_is_found() {
        let mut log = Log::of(&[1]);
        log.records(1, &[(1, 2), (2, 1)]);
        let asked = |law: &mut Conditional, client, expected| {
            let conditions =
                Conditions { expect_offset: Some(Offset::new(expected)), ..Conditions::default() };
            Stage::new().asks(law, client, &conditions, None);
        };
        let mut law = Conditional::default();
        asked(&mut law, 2, 2);
        let mut other = law.clone();
        Stage::new().commits(&mut law, 1, &log.entries).unwrap();
        asked(&mut other, 1, 1);
        let commits = Stage::new().commits(&mut other, 1, &log.entries);
        assert_broken(commits, "in 2@1 expects offset 1, and is at 0");
    }
    #[test]
    fn what_passes_a_fence_is_found() {
        let fence = |word: &str, seq, offset| Request {
            records: vec![],
            command: Some(Command::Fence(word.parse().ok())),
            ..request(1, seq, offset, 0, "")
        };
        let names = |law: &mut Conditional, client, word: &str| {
            let conditions = Conditions { fence: word.parse().ok(), ..Conditions::default() };
            Stage::new().asks(law, client, &conditions, None);
        };
        let mut log = Log::of(&[1]);
        log.requests(1, &[fence("a", 1, 0)]);
        log.requests(1, &[request(2, 1, 0, 1, ""), fence("b", 2, 1)]);
        let mut law = Conditional::default();
        names(&mut law, 2, "a");
        Stage::new().commits(&mut law, 1, &log.entries).unwrap();
        for word in ["b", "c"] {
            let mut law = Conditional::default();
            names(&mut law, 2, word);
            let commits = Stage::new().commits(&mut law, 1, &log.entries);
            assert_broken(commits, &format!("in 3@1 names fence {word}, and passes Some(\"a\")"));
        }
    }
}
