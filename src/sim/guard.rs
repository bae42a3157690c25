//! What a client of the simulation asks for besides being appended, and what it believes of the log.

use super::random::Random;
use crate::types::Offset;
use crate::wire::api::Appended;
use crate::wire::conditions::{Conditions, Obstacle, Unmet};

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Guard {
    random: Random,
    /// Where it believes that the log ends.
    end: Offset,
}

impl Guard {
    pub(super) fn new(random: Random) -> Self {
        Self { random, end: Offset::ZERO }
    }

    /// What must be so for its next request, when so many of its records are on their way.
    pub(super) fn conditions(&mut self, under_way: u64) -> Conditions {
        let end = self.end.get() + under_way;
        let expect_offset = match self.random.below(8) {
            0 | 1 => None,
            2 => Some(end + self.random.between(1, 3)),
            _ => Some(end),
        };
        Conditions { expect_offset: expect_offset.map(Offset::new) }
    }

    pub(super) fn on_acknowledged(&mut self, appended: &Appended) {
        self.end = self.end.max(appended.offset.plus(u64::from(appended.count)));
    }

    pub(super) fn on_unmet(&mut self, unmet: Unmet) {
        let Obstacle::Offset { next } = unmet.obstacle;
        self.end = self.end.max(next);
    }

    /// The user who takes its place knows nothing.
    pub(super) fn die(&mut self) {
        self.end = Offset::ZERO;
    }
}
