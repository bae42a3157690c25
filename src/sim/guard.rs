//! What a client of the simulation asks for besides being appended, and what it believes of the log.

use super::random::Random;
use crate::client::ask::Ask;
use crate::command::Command;
use crate::label::FenceToken;
use crate::types::Offset;
use crate::wire::api::Appended;
use crate::wire::conditions::{Conditions, Obstacle, Unmet};

/// Fences that clients set.
const FENCES: [&str; 3] = ["one", "two", "three"];

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Guard {
    random: Random,
    /// Where it believes that the log ends.
    end: Offset,
    /// The fence that it believes the log to have.
    fence: Option<FenceToken>,
}

impl Guard {
    pub(super) fn new(random: Random) -> Self {
        Self { random, end: Offset::ZERO, fence: None }
    }

    /// What it asks for instead of appending these records, or besides, when so many of its records
    /// are on their way.
    pub(super) fn ask(&mut self, records: Vec<bytes::Bytes>, under_way: u64) -> Ask {
        if self.random.below(16) == 0 {
            self.fence = (self.random.below(4) > 0).then(|| self.any_fence());
            return Ask::of(Command::Fence(self.fence));
        }
        let (expect_offset, fence) = (self.expected(under_way), self.named());
        let conditions = Conditions { expect_offset, fence, producer: None };
        Ask { conditions, ..records.into() }
    }

    fn expected(&mut self, under_way: u64) -> Option<Offset> {
        let end = self.end.get() + under_way;
        let expected = match self.random.below(8) {
            0 | 1 => None,
            2 => Some(end + self.random.between(1, 3)),
            _ => Some(end),
        };
        expected.map(Offset::new)
    }

    fn named(&mut self) -> Option<FenceToken> {
        match self.random.below(8) {
            0..4 => None,
            4 => Some(self.any_fence()),
            _ => self.fence,
        }
    }

    fn any_fence(&mut self) -> FenceToken {
        self.random.one_of(&FENCES).parse().expect("it is a word")
    }

    pub(super) fn on_acknowledged(&mut self, appended: &Appended) {
        self.end = self.end.max(appended.offset.plus(u64::from(appended.count)));
    }

    pub(super) fn on_unmet(&mut self, unmet: Unmet) {
        match unmet.obstacle {
            Obstacle::Offset { next } => self.end = self.end.max(next),
            Obstacle::Fence { present } => self.fence = present,
            // It is no producer, and its log stays.
            _ => {}
        }
    }

    /// The user who takes its place knows nothing.
    pub(super) fn die(&mut self) {
        (self.end, self.fence) = (Offset::ZERO, None);
    }
}
