//! How fast one identity may begin new sessions.
//!
//! The table of clients is a function of the log: it is evicted by counting entries, on every node
//! alike, so it cannot know whose certificate a session came with. What keeps one identity from
//! pushing out everybody else's sessions is therefore decided before anything is proposed.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crate::limits::{SESSIONS_BEGUN_AT_ONCE, SESSIONS_BEGUN_PER_SECOND};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct NewSessions {
    buckets: Mutex<BTreeMap<String, Bucket>>,
}

/// What an identity may still begin, in thousandths of a session.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    left: u64,
    at: Instant,
}

const FULL: u64 = SESSIONS_BEGUN_AT_ONCE * 1000;

impl NewSessions {
    /// Whether this identity may begin a session now.
    pub(super) fn allow(&self, identity: &str) -> bool {
        self.allow_at(identity, Instant::now())
    }

    fn allow_at(&self, identity: &str, now: Instant) -> bool {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        // Whose bucket is full again is as good as new: there are no more than were busy lately.
        buckets.retain(|name, bucket| name == identity || bucket.refilled(now).left < FULL);
        let bucket = buckets.entry(identity.to_owned()).or_insert(Bucket { left: FULL, at: now });
        *bucket = bucket.refilled(now);
        let is_allowed = bucket.left >= 1000;
        bucket.left -= if is_allowed { 1000 } else { 0 };
        is_allowed
    }
}

impl Bucket {
    fn refilled(self, now: Instant) -> Self {
        let passed = now.saturating_duration_since(self.at).as_millis();
        let passed = u64::try_from(passed).unwrap_or(u64::MAX);
        let more = passed.saturating_mul(SESSIONS_BEGUN_PER_SECOND);
        // Less than a millisecond is not lost: the time stays.
        let at = if passed == 0 { self.at } else { now };
        Self { left: self.left.saturating_add(more).min(FULL), at }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn one_identity_begins_so_many_sessions_and_another_as_many() {
        let (new_sessions, now) = (NewSessions::default(), Instant::now());
        let begun = |name, at| (0..2000).filter(|_| new_sessions.allow_at(name, at)).count() as u64;
        assert_eq!(begun("a", now), SESSIONS_BEGUN_AT_ONCE);
        assert_eq!(begun("a", now), 0);
        assert_eq!(begun("b", now), SESSIONS_BEGUN_AT_ONCE);
        let later = now + Duration::from_secs(2);
        assert_eq!(begun("a", later), 2 * SESSIONS_BEGUN_PER_SECOND);
        let much_later = now + Duration::from_mins(10);
        assert_eq!(begun("a", much_later), SESSIONS_BEGUN_AT_ONCE);
        assert_eq!(new_sessions.buckets.lock().unwrap().len(), 1, "who is quiet is forgotten");
    }
}
