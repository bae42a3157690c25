//! What a POST comes to.

use bytes::Bytes;
use hyper::StatusCode;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::http::request::Parts;

use super::super::answer::{Answer, complaint, whole};
use super::super::house::House;
use super::body;
use super::header;
use super::log::Log;
use super::place::{From, Place};
use super::refusal::{Refusal, not_here};
use crate::client::AppendOptions;
use crate::limits::RECORD_BYTES_MAX;
use crate::types::Offset;

/// Types of what is appended: bytes, said so, or what programs send that do not say it.
const TYPES: [&str; 3] =
    ["application/octet-stream", "application/x-www-form-urlencoded", "text/plain"];

/// Headers whose promise is not kept here.
const NOT_HERE: [&str; 6] = [
    "producer-id",
    "producer-epoch",
    "producer-seq",
    "stream-seq",
    "stream-ttl",
    "stream-expires-at",
];

/// Appends a body: one record, or as many as it takes where it is larger than a record may be.
pub(super) async fn post(
    house: &House,
    parts: &Parts,
    body: Incoming,
    name: &str,
) -> Result<Answer, Refusal> {
    let log = Log::find(house, name)?;
    check_headers(&parts.headers)?;
    let options = options(&log, &parts.headers)?;
    let (bytes, _held) = body::take(&house.rooms.bodies, body).await?;
    if bytes.is_empty() {
        let hint = "a record over HTTP has a byte at least";
        return Err(complaint(StatusCode::BAD_REQUEST, "there is nothing to append", hint).into());
    }
    let records = records(bytes);
    let appended = match options {
        None => log.client.append(records).await,
        Some(options) => log.client.append_with(records, &options).await,
    };
    let appended = appended.map_err(|error| Refusal::of_append(log.number, &error))?;
    let next = Offset::new(appended.offset.get() + u64::from(appended.count));
    Ok(no_content(log.place(next)))
}

fn check_headers(headers: &HeaderMap) -> Result<(), Refusal> {
    if let Some(name) = NOT_HERE.iter().find(|name| headers.contains_key(**name)) {
        return Err(not_here(format!("what the header {name} asks for")));
    }
    let is_closing = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"true");
    if headers.get(header::CLOSED).is_some_and(is_closing) {
        let hint = "it is the log of whoever names none";
        return Err(complaint(StatusCode::CONFLICT, "the log main is never closed", hint).into());
    }
    let Some(kind) = headers.get(CONTENT_TYPE) else {
        let hint = "say `content-type: application/octet-stream`";
        let sentence = "it is not said of what type the body is";
        return Err(complaint(StatusCode::BAD_REQUEST, sentence, hint).into());
    };
    let kind = kind.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if TYPES.iter().any(|known| known.eq_ignore_ascii_case(kind)) {
        return Ok(());
    }
    let sentence = format!("the log is of application/octet-stream, not of {kind}");
    let hint = "its records are bytes: say so, and they may be anything";
    Err(complaint(StatusCode::CONFLICT, sentence, hint).into())
}

/// What must be so, if anything must.
fn options(log: &Log, headers: &HeaderMap) -> Result<Option<AppendOptions>, Refusal> {
    let Some(word) = headers.get(header::EXPECT_OFFSET) else { return Ok(None) };
    let Some(From::Place(place)) = word.to_str().ok().and_then(From::parse) else {
        let hint = "it is what an answer said in stream-next-offset";
        let sentence = "that is no offset to expect";
        return Err(complaint(StatusCode::BAD_REQUEST, sentence, hint).into());
    };
    let expect_offset = Some(log.own(place)?);
    Ok(Some(AppendOptions { expect_offset, ..AppendOptions::default() }))
}

fn records(mut bytes: Bytes) -> Vec<Bytes> {
    let mut records = vec![];
    while bytes.len() > RECORD_BYTES_MAX {
        records.push(bytes.split_to(RECORD_BYTES_MAX));
    }
    records.push(bytes);
    records
}

/// It is done, and this is where the log ends now.
fn no_content(next: Place) -> Answer {
    let mut answer = Answer::new(whole(""));
    *answer.status_mut() = StatusCode::NO_CONTENT;
    if let Ok(next) = HeaderValue::from_str(&next.to_string()) {
        answer.headers_mut().insert(header::NEXT_OFFSET, next);
    }
    answer
}
