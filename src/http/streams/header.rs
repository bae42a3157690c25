//! Headers of the protocol, and how answers say them.

use hyper::header::{HeaderMap, HeaderName, HeaderValue};

use super::place::Place;

pub(super) const NEXT_OFFSET: HeaderName = HeaderName::from_static("stream-next-offset");
pub(super) const UP_TO_DATE: HeaderName = HeaderName::from_static("stream-up-to-date");
pub(super) const CURSOR: HeaderName = HeaderName::from_static("stream-cursor");
pub(super) const CLOSED: HeaderName = HeaderName::from_static("stream-closed");
pub(super) const EXPECT_OFFSET: HeaderName = HeaderName::from_static("stream-expect-offset");
pub(super) const ENCODING: HeaderName = HeaderName::from_static("stream-sse-data-encoding");

/// Says something in a header, if a header can say it.
pub(super) fn say(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// Says where the log goes on, and whether it ends there for ever.
pub(super) fn say_place(headers: &mut HeaderMap, next: Place, is_closed: bool) {
    say(headers, NEXT_OFFSET, &next.to_string());
    if is_closed {
        headers.insert(CLOSED, HeaderValue::from_static("true"));
    }
}
