//! Virtual time.

use std::fmt;
use std::ops::Add;
use std::time::Duration;

use crate::client::moment::Moment;

/// A point in virtual time since the start of a run, or a length of it, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(u64);

impl Time {
    /// The start, or no time at all.
    pub const ZERO: Self = Self(0);

    /// So many microseconds.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// So many milliseconds.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis * 1000)
    }

    /// So many seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds * 1_000_000)
    }

    /// A duration of the real world.
    pub fn of(duration: Duration) -> Self {
        Self(u64::try_from(duration.as_micros()).expect("the durations of this project are short"))
    }

    /// As a duration of the real world.
    pub const fn length(self) -> Duration {
        Duration::from_micros(self.0)
    }

    /// As the decisions of a client see it: they count from the start of the run.
    pub(super) const fn moment(self) -> Moment {
        Moment::after(self.length())
    }

    /// In microseconds.
    pub const fn micros(self) -> u64 {
        self.0
    }

    /// In milliseconds, rounded down.
    pub const fn millis(self) -> u64 {
        self.0 / 1000
    }

    /// The time from `earlier` to this one; none if that is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Self {
        Self(self.0.saturating_sub(earlier.0))
    }

    /// So many times this length.
    #[must_use]
    pub const fn times(self, count: u64) -> Self {
        Self(self.0 * count)
    }
}

impl Add for Time {
    type Output = Self;

    fn add(self, length: Self) -> Self {
        Self(self.0 + length.0)
    }
}

/// In milliseconds with three places: `1234.567`.
impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{}.{:03}", self.0 / 1000, self.0 % 1000);
        f.pad(&text)
    }
}
