//! How long to wait before a node is troubled again.

use std::time::Duration;

use crate::limits::{BACKOFF_MAX, BACKOFF_MIN};

/// Doublings after which the longest pause is reached in any case.
const DOUBLINGS_MAX: u32 = 8;

/// The pause before the next attempt, after so many pauses in a row: each twice as long as the one
/// before, between [`BACKOFF_MIN`] and [`BACKOFF_MAX`].
pub(super) fn pause_after(pauses: u32) -> Duration {
    (BACKOFF_MIN * 2u32.pow(pauses.min(DOUBLINGS_MAX))).min(BACKOFF_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_are_bounded() {
        assert_eq!(pause_after(0), BACKOFF_MIN);
        assert_eq!(pause_after(1), (BACKOFF_MIN * 2).min(BACKOFF_MAX));
        assert_eq!(pause_after(DOUBLINGS_MAX), BACKOFF_MAX);
        assert_eq!(pause_after(u32::MAX), BACKOFF_MAX);
    }
}
