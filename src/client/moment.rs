//! Time, as the decisions of a client see it.

use std::ops::Add;
use std::time::Duration;

/// A point in time: so long after an origin of its driver's choice. A task counts from when it
/// began, the simulator from the start of its run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(Duration);

impl Moment {
    /// The origin.
    pub const ORIGIN: Self = Self(Duration::ZERO);

    /// So long after the origin.
    pub const fn after(length: Duration) -> Self {
        Self(length)
    }

    /// How long after the origin.
    pub const fn from_origin(self) -> Duration {
        self.0
    }

    /// The time from `earlier` to this one; none if that is later.
    pub const fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, length: Duration) -> Self {
        Self(self.0.saturating_add(length))
    }
}
