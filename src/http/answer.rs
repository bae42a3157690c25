//! How an answer looks.

use std::fmt::Display;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, combinators::BoxBody};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};
use serde::Serialize;

use crate::limits::HTTP_RETRY_AFTER_SECONDS;

/// A body, of one piece or of many.
pub(super) type Body = BoxBody<Bytes, std::io::Error>;

/// What a visitor gets.
pub(super) type Answer = Response<Body>;

pub(super) const TEXT: &str = "text/plain; charset=utf-8";
pub(super) const JSON: &str = "application/json";

/// A body of one piece.
pub(super) fn whole(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed()
}

/// An answer of one piece, which nobody keeps.
pub(super) fn answer(status: StatusCode, kind: &'static str, bytes: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(whole(bytes));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// Something as JSON that has a form there: numbers and words.
pub(super) fn json(row: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(row).expect("numbers and words are JSON")
}

/// It is done, and headers say the rest.
pub(super) fn no_content() -> Answer {
    let mut answer = Response::new(whole(""));
    *answer.status_mut() = StatusCode::NO_CONTENT;
    answer
}

/// Something is wrong, in a sentence, and what to do about it.
pub(super) fn complaint(status: StatusCode, sentence: impl Display, hint: &str) -> Answer {
    answer(status, TEXT, format!("{sentence}\nhint: {hint}\n"))
}

/// As [`complaint`], of what may be different in a moment.
pub(super) fn not_now(sentence: impl Display, hint: &str) -> Answer {
    let mut answer = complaint(StatusCode::SERVICE_UNAVAILABLE, sentence, hint);
    answer.headers_mut().insert(RETRY_AFTER, HTTP_RETRY_AFTER_SECONDS.into());
    answer
}

/// What every answer says to browsers: it is what it says it is, and other sites' pages get nothing of it.
pub(super) fn close_to_others(answer: &mut Answer) {
    let said = [
        ("x-content-type-options", "nosniff"),
        ("cross-origin-resource-policy", "same-origin"),
        ("referrer-policy", "no-referrer"),
    ];
    for (name, value) in said {
        let name = HeaderName::from_static(name);
        answer.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
}
