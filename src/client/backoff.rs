//! How long to wait before a node is troubled again.

use std::time::Duration;

use crate::limits::{BACKOFF_MAX, BACKOFF_MIN, CLIENT_ASK_EVERY, CROWD_PAUSE_MAX, CROWD_PAUSE_MIN};

/// Doublings after which the longest pause is reached in any case.
const DOUBLINGS_MAX: u32 = 8;

/// A search asks again after this part of the time that it has lasted: however long nobody leads,
/// asking costs little, and to find out takes a tenth longer at most.
const PART_OF_SEARCH: u32 = 10;

/// The longest pause before the next attempt, after so many pauses in a row: each twice as long as
/// the one before, between [`BACKOFF_MIN`] and [`BACKOFF_MAX`].
fn pause_after(pauses: u32) -> Duration {
    doubled(BACKOFF_MIN, pauses, BACKOFF_MAX)
}

fn doubled(first: Duration, times: u32, longest: Duration) -> Duration {
    (first * 2u32.pow(times.min(DOUBLINGS_MAX))).min(longest)
}

/// Draws the pauses of one client, so that many that were refused at once do not come back at once.
///
/// The numbers follow from a seed: the same client in the same run waits the same time.
#[derive(Clone, Debug)]
pub struct Jitter(u64);

impl Jitter {
    /// The pauses of a seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The pause before the next attempt, after so many pauses in a row.
    pub fn pause(&mut self, pauses: u32) -> Duration {
        self.shorten(pause_after(pauses))
    }

    /// The same, if a node refused because too many came at once: they are not to come back together,
    /// and not all of them at once.
    pub fn pause_in_crowd(&mut self, pauses: u32) -> Duration {
        self.shorten(doubled(CROWD_PAUSE_MIN, pauses, CROWD_PAUSE_MAX))
    }

    /// The pause before a node that has answered is asked again, in a search that has lasted so long.
    pub fn between_questions(&mut self, lasted: Duration) -> Duration {
        let part = (lasted / PART_OF_SEARCH).min(BACKOFF_MAX);
        if part <= CLIENT_ASK_EVERY { CLIENT_ASK_EVERY } else { self.shorten(part) }
    }

    /// Which of several to go to first.
    pub fn turn(&mut self) -> u32 {
        u32::try_from(self.number() >> 32).unwrap_or_default()
    }

    /// From half of a time to all of it.
    fn shorten(&mut self, longest: Duration) -> Duration {
        let half = longest / 2;
        let range = u64::try_from(half.as_micros()).unwrap_or(u64::MAX).max(1);
        half + Duration::from_micros(self.number() % range)
    }

    /// splitmix64: good enough to keep clients apart.
    fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
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

    #[test]
    fn clients_of_other_seeds_come_back_at_other_times() {
        let pauses: Vec<Duration> = (0..50).map(|seed| Jitter::new(seed).pause(9)).collect();
        assert!(pauses.iter().all(|pause| (BACKOFF_MAX / 2..=BACKOFF_MAX).contains(pause)));
        let (first, last) = (pauses.iter().min().unwrap(), pauses.iter().max().unwrap());
        assert!(*last > *first + BACKOFF_MAX / 4, "{first:?} to {last:?}");
        assert_eq!(Jitter::new(7).pause(3), Jitter::new(7).pause(3));
    }

    #[test]
    fn a_long_search_asks_seldom() {
        let mut jitter = Jitter::new(1);
        assert_eq!(jitter.between_questions(Duration::from_millis(150)), CLIENT_ASK_EVERY);
        let later = jitter.between_questions(Duration::from_secs(2));
        assert!((Duration::from_millis(100)..=Duration::from_millis(200)).contains(&later));
        assert!(jitter.between_questions(Duration::from_hours(2)) <= BACKOFF_MAX);
    }
}
