//! Headers of the protocol, and how answers say them.

use hyper::header::{HeaderMap, HeaderName, HeaderValue};

use super::place::Place;

pub(super) const NEXT_OFFSET: HeaderName = HeaderName::from_static("stream-next-offset");
pub(super) const UP_TO_DATE: HeaderName = HeaderName::from_static("stream-up-to-date");
pub(super) const CURSOR: HeaderName = HeaderName::from_static("stream-cursor");
pub(super) const CLOSED: HeaderName = HeaderName::from_static("stream-closed");
pub(super) const EXPECT_OFFSET: HeaderName = HeaderName::from_static("stream-expect-offset");
pub(super) const TTL: HeaderName = HeaderName::from_static("stream-ttl");
pub(super) const EXPIRES_AT: HeaderName = HeaderName::from_static("stream-expires-at");
pub(super) const FORKED_FROM: HeaderName = HeaderName::from_static("stream-forked-from");
pub(super) const FORK_OFFSET: HeaderName = HeaderName::from_static("stream-fork-offset");
pub(super) const FORK_SUB_OFFSET: HeaderName = HeaderName::from_static("stream-fork-sub-offset");
pub(super) const SEQUENCE: HeaderName = HeaderName::from_static("stream-seq");
pub(super) const PRODUCER: HeaderName = HeaderName::from_static("producer-id");
pub(super) const PRODUCER_EPOCH: HeaderName = HeaderName::from_static("producer-epoch");
pub(super) const PRODUCER_SEQ: HeaderName = HeaderName::from_static("producer-seq");
pub(super) const EXPECTED_SEQ: HeaderName = HeaderName::from_static("producer-expected-seq");
pub(super) const RECEIVED_SEQ: HeaderName = HeaderName::from_static("producer-received-seq");
pub(super) const ENCODING: HeaderName = HeaderName::from_static("stream-sse-data-encoding");

/// Says something in a header, if a header can say it.
pub(super) fn say(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// Says a number in a header.
pub(super) fn say_number(headers: &mut HeaderMap, name: HeaderName, number: u64) {
    headers.insert(name, number.into());
}

/// What a header says; an empty word if that is no text.
pub(super) fn word<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).map(|value| value.to_str().unwrap_or_default())
}

/// Whether a header says `true`. Any other word than this is none.
pub(super) fn is_true(headers: &HeaderMap, name: &HeaderName) -> bool {
    headers.get(name).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"true"))
}

/// Says where the log goes on, and whether it ends there for ever.
pub(super) fn say_place(headers: &mut HeaderMap, next: Place, is_closed: bool) {
    say(headers, NEXT_OFFSET, &next.to_string());
    if is_closed {
        headers.insert(CLOSED, HeaderValue::from_static("true"));
    }
}
