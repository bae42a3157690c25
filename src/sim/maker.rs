//! A client of the simulation that is a named producer: it opens it, asks how far it is, and goes on.

use super::time::Time;
use crate::label::ProducerName;
use crate::types::Index;
use crate::wire::standing::Standing;

/// The producer that all of them are, in turn.
const NAME: &str = "p";

/// How far a process of the producer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It is not the producer, and opens it after this.
    Closed { until: Time },
    /// It has asked to be.
    Opening,
    /// It is, since this entry, and asks how far the producer is.
    Asking { opened_at: Index },
    /// Its next record has this number.
    Going { next: u64 },
}

/// What is to be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Nothing,
    Open,
    Ask,
    Append { first: u64 },
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Maker {
    pub(super) name: ProducerName,
    stage: Stage,
}

impl Maker {
    pub(super) fn new() -> Self {
        let name = NAME.parse().expect("it is a word");
        Self { name, stage: Stage::Closed { until: Time::ZERO } }
    }

    pub(super) fn next(&self, now: Time) -> Next {
        match self.stage {
            Stage::Closed { until } if until <= now => Next::Open,
            Stage::Closed { .. } | Stage::Opening => Next::Nothing,
            Stage::Asking { .. } => Next::Ask,
            Stage::Going { next } => Next::Append { first: next },
        }
    }

    pub(super) fn begins_to_open(&mut self) {
        self.stage = Stage::Opening;
    }

    /// It asks for the producer to be forgotten.
    pub(super) fn forgets(&mut self, now: Time) {
        self.stage = Stage::Closed { until: now };
    }

    /// A request is in the log, which may be the one that opens it.
    pub(super) fn on_acknowledged(&mut self, index: Index) {
        if self.stage == Stage::Opening {
            self.stage = Stage::Asking { opened_at: index };
        }
    }

    /// So many records are on their way.
    pub(super) fn appends(&mut self, records: u64) {
        if let Stage::Going { next } = &mut self.stage {
            *next += records;
        }
    }

    pub(super) fn on_standing(&mut self, now: Time, standing: &Standing) {
        let Stage::Asking { opened_at } = self.stage else { return };
        let state = standing.producers.first().filter(|state| state.opened_at == opened_at);
        self.stage = match state {
            Some(state) => Stage::Going { next: state.last_seq + 1 },
            None => Stage::Closed { until: now },
        };
    }

    /// A request has failed: what was on its way may be in the log, or not.
    pub(super) fn on_failed(&mut self, now: Time, pause: Time) {
        self.stage = Stage::Closed { until: now + pause };
    }
}
