//! How much of a log is kept, and how long.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What of a log is kept at least; more may go as soon as one of these allows it. Where nothing is said
/// everything is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Retention {
    /// Records that are younger, in ms.
    pub age_ms: Option<u64>,
    /// The newest records that come to so many bytes, from when this was set on.
    pub bytes: Option<u64>,
    /// So many of the newest records.
    pub records: Option<u64>,
}

impl Retention {
    /// All is kept.
    pub const ALL: Self = Self { age_ms: None, bytes: None, records: None };

    /// Records that are older than this may go.
    pub fn age(&self) -> Option<Duration> {
        self.age_ms.map(Duration::from_millis)
    }

    /// Whether all is kept.
    pub fn is_all(&self) -> bool {
        *self == Self::ALL
    }
}
