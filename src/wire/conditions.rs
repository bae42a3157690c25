//! What must be so for an append to be taken, and how it is told that it is not.
//!
//! The leader judges a condition against the end of its log, what is not committed included, in the
//! order in which appends get there: so the log holds only what was accepted. A request that is in the
//! log already is answered as ever, whatever its condition says by now.

use serde::{Deserialize, Serialize};

use crate::label::{FenceToken, ProducerName};
use crate::types::{LogId, LogNumber, Offset};

/// What must be so for an append. Empty: nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Conditions {
    /// The log ends here: the first record gets this offset, and each later request of a run the one
    /// where the request before it ends.
    pub expect_offset: Option<Offset>,
    /// This is the log's fence token.
    pub fence: Option<FenceToken>,
    /// The client that asks is this producer, and no newer process is.
    pub producer: Option<ProducerName>,
}

impl Conditions {
    /// Whether nothing must be so.
    pub fn is_empty(&self) -> bool {
        self == &Self::default()
    }

    /// Those of a request that follows after so many records in a run.
    #[must_use]
    pub fn after(&self, records: u64) -> Self {
        // No log gets as far as the last offset that there is.
        let later = |offset: Offset| Offset::new(offset.get().saturating_add(records));
        Self { expect_offset: self.expect_offset.map(later), ..self.clone() }
    }

    /// The stored form: no bytes if nothing must be so.
    pub fn encode(&self) -> Vec<u8> {
        if self.is_empty() {
            return vec![];
        }
        postcard::to_stdvec(self).expect("conditions have no part that postcard refuses")
    }
}

/// A condition that did not hold, for certain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unmet {
    /// The entry with which the log ended then, or in which: those that wait together share one. It is
    /// committed.
    pub as_of: LogId,
    /// What was so instead.
    pub obstacle: Obstacle,
}

/// What was so instead of what was asked for.
///
/// Its variants are numbered by their order on the wire: a new one goes to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Obstacle {
    /// The log ended elsewhere.
    Offset {
        /// The offset of the next record.
        next: Offset,
    },
    /// The log had another fence token.
    Fence {
        /// Which, if it had one.
        present: Option<FenceToken>,
    },
    /// A newer process is the producer.
    Superseded {
        /// How often it was opened.
        epoch: u64,
    },
    /// There is no such producer, or none any more.
    NoProducer,
    /// A new one would be one too many.
    TooManyProducers,
    /// There is no such log any more.
    NoLog,
    /// The log is closed.
    Closed,
    /// There is a log of this name already.
    LogExists {
        /// Which.
        number: LogNumber,
    },
    /// A new one would be one too many.
    TooManyLogs,
    /// The log `main` is for whoever names none: it is neither closed nor deleted.
    MainStays,
    /// The producer's request is in the log already.
    Repeated {
        /// The number of its last that is.
        last: u64,
    },
    /// Requests of the producer are missing before this one.
    OutOfTurn {
        /// The number of the first that is missing.
        expected: u64,
    },
    /// A newer process of a producer begins with request 0.
    EpochBegins,
    /// The log's last sequence word is this one, or behind it.
    WordNotBehind,
    /// What a fork was to begin with was trimmed.
    Trimmed {
        /// Where its source begins.
        start: Offset,
    },
    /// Another fork of that log would be one too many, or the last of too many above each other.
    TooManyForks,
    /// Another token that is revoked would be one too many.
    TooManyRevocations,
}

impl Obstacle {
    /// Whether this append can never be taken, not even by a node that gets it long after: of one that
    /// was sent elsewhere as well, nothing else is certain.
    pub fn is_final(&self, conditions: &Conditions) -> bool {
        match self {
            Self::Offset { next } => conditions.expect_offset.is_some_and(|at| at < *next),
            // It may be set again, or deleted.
            Self::Fence { .. }
            | Self::TooManyProducers
            | Self::LogExists { .. }
            | Self::OutOfTurn { .. }
            | Self::EpochBegins
            | Self::TooManyForks
            | Self::TooManyLogs
            | Self::TooManyRevocations => false,
            // Who opens it again is another client, and what is created again has another number.
            Self::Superseded { .. }
            | Self::NoProducer
            | Self::NoLog
            | Self::Closed
            | Self::Repeated { .. }
            | Self::Trimmed { .. }
            | Self::WordNotBehind
            | Self::MainStays => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_has_gone_past_an_offset_never_comes_back_to_it() {
        let expect =
            |at| Conditions { expect_offset: Some(Offset::new(at)), ..Conditions::default() };
        let obstacle = Obstacle::Offset { next: Offset::new(5) };
        assert!(obstacle.is_final(&expect(4)));
        assert!(!obstacle.is_final(&expect(6)));
        assert_eq!(expect(4).after(3), expect(7));
        assert_eq!(expect(u64::MAX).after(3), expect(u64::MAX));
        assert_eq!(Conditions::default().after(3), Conditions::default());
    }

    #[test]
    fn nothing_is_nothing() {
        assert!(Conditions::default().encode().is_empty());
        let (fence, producer) = ("f".parse().ok(), "p".parse().ok());
        let all = Conditions { expect_offset: Some(Offset::ZERO), fence, producer };
        assert_eq!(all.encode(), b"\x01\x00\x01\x01f\x01\x01p");
    }
}
