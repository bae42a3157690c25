//! Points in time as they are shown and read: RFC 3339. And what this machine's clock says.

use std::time::{SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;

use crate::types::Timestamp;

/// The form: in UTC, to the millisecond.
pub(crate) const FORM: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

/// What this machine's clock says.
pub(crate) fn wall_clock() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::new(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// In UTC, to the millisecond; `None` behind the year 9999.
pub(crate) fn rfc3339(time: Timestamp) -> Option<String> {
    let nanoseconds = i128::from(time.get()) * 1_000_000;
    OffsetDateTime::from_unix_timestamp_nanos(nanoseconds).ok()?.format(FORM).ok()
}

/// Of any zone, which it must name; `None` before 1970, and for what cannot be shown again.
pub(crate) fn parse_rfc3339(text: &str) -> Option<Timestamp> {
    let zoned = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    let time = u64::try_from(zoned.unix_timestamp_nanos() / 1_000_000).ok().map(Timestamp::new);
    time.filter(|time| rfc3339(*time).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_read() {
        let time = Timestamp::new(1_769_860_800_123);
        let text = rfc3339(time).unwrap();
        assert_eq!(text, "2026-01-31T12:00:00.123Z");
        assert_eq!(parse_rfc3339(&text), Some(time));
        assert_eq!(parse_rfc3339("2026-01-31T13:00:00.123+01:00"), Some(time));
        for bad in ["", "2026-01-31", "2026-01-31T12:00:00", "1969-12-31T00:00:00Z", "soon"] {
            assert_eq!(parse_rfc3339(bad), None, "{bad}");
        }
        assert_eq!(rfc3339(Timestamp::new(u64::MAX)), None);
        assert_eq!(parse_rfc3339("9999-12-31T23:59:59-01:00"), None);
    }
}
