//! What readers that wait hand back, so that what stands between them and the door asks once for many.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::limits::HTTP_CURSOR_INTERVAL;

/// 2024-10-09, in seconds since 1970: where cursors begin.
const CURSORS_BEGIN: u64 = 1_728_432_000;

/// Which of the protocol's intervals this is, or the one after the reader's: what is between may merge the
/// questions of many who have the same.
pub(super) fn cursor(known: Option<u64>) -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let since = since.saturating_sub(Duration::from_secs(CURSORS_BEGIN));
    let now = since.as_secs() / HTTP_CURSOR_INTERVAL.as_secs();
    known.map_or(now, |known| now.max(known.saturating_add(1)))
}
