//! What a POST comes to.

use bytes::Bytes;
use hyper::StatusCode;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderMap};
use hyper::http::request::Parts;

use super::super::answer::{Answer, complaint};
use super::super::house::House;
use super::body;
use super::header;
use super::log::Log;
use super::manage;
use super::place::From;
use super::refusal::{Refusal, check_headers, not_here};
use crate::client::{AppendError, AppendOptions, Appended};
use crate::log_settings::ContentType;
use crate::types::Offset;

/// Types that programs send who do not say any: to a log of which no type was said they are bytes.
const UNSAID: [&str; 2] = ["application/x-www-form-urlencoded", "text/plain"];

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
    let mut log = Log::find(house, name).await?;
    check_headers(&parts.headers, &NOT_HERE)?;
    let asked = options(&log, &parts.headers)?;
    let is_last = is_last(&parts.headers);
    let (bytes, _held) = body::take(&house.rooms.bodies, body).await?;
    match (is_last, bytes.is_empty()) {
        (true, true) => return manage::close(house, &log).await,
        (true, false) => return Err(not_here("appending and closing in one step")),
        (false, true) => return Err(nothing()),
        (false, false) => check_type(&log, &parts.headers)?,
    }
    let mut records = records(&log, &bytes)?;
    let mut appended = append(&log, records.clone(), asked.as_ref()).await;
    if let Err(AppendError::UnknownLog) = appended {
        // Another may have its name by now.
        house.rooms.logs.forget(log.number);
        log = Log::look(house, name).await?;
        // What was asked of the former one is not asked of this one.
        let asked = options(&log, &parts.headers)?;
        check_type(&log, &parts.headers)?;
        records = self::records(&log, &bytes)?;
        appended = append(&log, records, asked.as_ref()).await;
    }
    match appended {
        Ok(Appended { offset, count, .. }) => {
            let next = Offset::new(offset.get() + u64::from(count));
            Ok(manage::at(log.place(next), false))
        }
        Err(AppendError::LogClosed) => manage::closed(house, &log).await,
        Err(error) => Err(Refusal::of_append(log.number, &error)),
    }
}

async fn append(
    log: &Log,
    records: Vec<Bytes>,
    options: Option<&AppendOptions>,
) -> Result<Appended, AppendError> {
    match options {
        None => log.client.append(records).await,
        Some(options) => log.client.append_with(records, options).await,
    }
}

fn nothing() -> Refusal {
    let hint = "a record over HTTP has a byte at least, and a list a value";
    complaint(StatusCode::BAD_REQUEST, "there is nothing to append", hint).into()
}

/// Whether nothing is to come behind it. Any other word than this is none.
fn is_last(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CLOSED);
    value.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"true"))
}

fn check_type(log: &Log, headers: &HeaderMap) -> Result<(), Refusal> {
    let Some(kind) = headers.get(CONTENT_TYPE) else {
        let hint = format!("say `content-type: {}`", log.content_type());
        let sentence = "it is not said of what type the body is";
        return Err(complaint(StatusCode::BAD_REQUEST, sentence, &hint).into());
    };
    let kind = kind.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    let own = log.settings.content_type.as_ref();
    let is_own = kind.eq_ignore_ascii_case(own.map_or(ContentType::BYTES, ContentType::media_type));
    let is_unsaid = || UNSAID.iter().any(|known| known.eq_ignore_ascii_case(kind));
    if is_own || own.is_none() && is_unsaid() {
        return Ok(());
    }
    let sentence = format!("the log is of {}, not of {kind}", log.content_type());
    let hint = "a log's type is said when it is made, for ever";
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

/// The records of a body, of which there are some.
fn records(log: &Log, bytes: &Bytes) -> Result<Vec<Bytes>, Refusal> {
    let records = log.kind().records(bytes)?;
    if records.is_empty() { Err(nothing()) } else { Ok(records) }
}
