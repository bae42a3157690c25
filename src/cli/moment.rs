//! Points in time as people type them, and see them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::date::{parse_rfc3339, rfc3339};
use crate::types::Timestamp;

/// Understands a date, a date with a time, or how long ago. What names no zone is UTC, as all times that
/// are shown.
pub(super) fn moment(text: &str) -> Result<Timestamp, String> {
    since_epoch(text, SystemTime::now()).ok_or_else(|| {
        "a time is a date, as 2026-01-31 or 2026-01-31T12:00:00Z, or how long ago, as 10m or 2h30m"
            .to_owned()
    })
}

fn since_epoch(text: &str, now: SystemTime) -> Option<Timestamp> {
    if let Ok(ago) = humantime::parse_duration(text) {
        return Some(timestamp(now.duration_since(UNIX_EPOCH).ok()?.saturating_sub(ago)));
    }
    if let Some(zoned) = parse_rfc3339(text) {
        return Some(zoned);
    }
    // A date alone, or with hours and minutes only, is filled up.
    ["", ":00", " 00:00:00"].iter().find_map(|rest| {
        let found = humantime::parse_rfc3339_weak(&format!("{text}{rest}")).ok()?;
        Some(timestamp(found.duration_since(UNIX_EPOCH).ok()?))
    })
}

/// As people see it.
pub(super) fn shown(time: Timestamp) -> String {
    rfc3339(time).unwrap_or_else(|| "never".to_owned())
}

fn timestamp(since_epoch: Duration) -> Timestamp {
    Timestamp::new(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_date_or_how_long_ago() {
        const NOON: u64 = 1_769_860_800_000;
        let now = UNIX_EPOCH + Duration::from_millis(NOON);
        for (text, milliseconds) in [
            ("2026-01-31T12:00:00Z", NOON),
            ("2026-01-31T12:00:00.123Z", 1_769_860_800_123),
            ("2026-01-31T13:00:00+01:00", 1_769_860_800_000),
            ("2026-01-31 12:00:00", 1_769_860_800_000),
            ("2026-01-31T12:00", 1_769_860_800_000),
            ("2026-01-31", 1_769_817_600_000),
            ("10m", 1_769_860_200_000),
            ("1h 30m", 1_769_855_400_000),
            ("100ms", 1_769_860_799_900),
            ("100000years", 0),
        ] {
            assert_eq!(since_epoch(text, now), Some(Timestamp::new(milliseconds)), "{text}");
        }
        for bad in ["", "yesterday", "5", "2026", "2026-13-01", "12:00", "1969-12-31"] {
            assert_eq!(since_epoch(bad, now), None, "{bad}");
        }
    }
}
