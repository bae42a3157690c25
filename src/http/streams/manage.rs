//! Making, closing and deleting logs: PUT, DELETE, and a POST that says that it is the last.

use hyper::StatusCode;
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue, LOCATION};
use hyper::http::request::Parts;

use super::super::answer::{Answer, complaint, no_content};
use super::super::house::House;
use super::header;
use super::log::{Log, name};
use super::place::Place;
use super::refusal::{Refusal, check_headers, not_here};
use crate::client::{LogError, LogState};
use crate::types::LogNumber;

/// The type of every log.
pub(super) const BYTES: &str = "application/octet-stream";

/// Headers whose promise is not kept here.
const NOT_HERE: [&str; 5] = [
    "stream-ttl",
    "stream-expires-at",
    "stream-closed",
    "stream-forked-from",
    "stream-fork-offset",
];

/// Makes a log, unless there is one: that one is as good.
pub(super) async fn put(
    house: &House,
    parts: &Parts,
    body: &Incoming,
    text: &str,
) -> Result<Answer, Refusal> {
    let name = name(text)?;
    check_headers(&parts.headers, &NOT_HERE)?;
    let is_bytes = |kind: &HeaderValue| kind.as_bytes().eq_ignore_ascii_case(BYTES.as_bytes());
    if !parts.headers.get_all(CONTENT_TYPE).iter().all(is_bytes) {
        return Err(not_here(format!("a log of another type than {BYTES}")));
    }
    if !body.is_end_stream() {
        return Err(not_here("making a log and appending to it in one step"));
    }
    let failed = |error: LogError| Refusal::of_log(LogNumber::MAIN, &error);
    let (status, state) = match house.client.log_state(&name).await {
        Ok(state) => (StatusCode::OK, state),
        Err(LogError::Unknown { .. }) => {
            (StatusCode::CREATED, house.client.create_log(&name).await.map_err(failed)?)
        }
        Err(error) => return Err(failed(error)),
    };
    if state.closed {
        let hint = "it can be read; deleted, it can be made again";
        return Err(complaint(StatusCode::CONFLICT, "there is one, and it is closed", hint).into());
    }
    let mut answer = at(end_of(&state), false);
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(BYTES));
    let location = format!("http://{}{}", house.address, parts.uri.path());
    header::say(headers, LOCATION, &location);
    Ok(answer)
}

/// Deletes a log.
pub(super) async fn delete(house: &House, text: &str) -> Result<Answer, Refusal> {
    let name = name(text)?;
    let failed = |error: LogError| Refusal::of_log(LogNumber::MAIN, &error);
    let log = house.client.log(&name).await.map_err(failed)?;
    log.delete_log().await.map_err(failed)?;
    Ok(no_content())
}

/// Closes a log. To close one that is closed is no fault.
pub(super) async fn close(house: &House, log: &Log) -> Result<Answer, Refusal> {
    let failed = |error: LogError| Refusal::of_log(log.number, &error);
    house.client.about(log.number).close_log().await.map_err(failed)?;
    let state = house.client.log_state(&log.name).await.map_err(failed)?;
    Ok(at(end_of(&state), state.closed))
}

/// Where a closed log ends.
pub(super) async fn closed(house: &House, log: &Log) -> Result<Answer, Refusal> {
    let state = house.client.log_state(&log.name).await;
    let state = state.map_err(|error| Refusal::of_log(log.number, &error))?;
    let hint = "what it has can still be read";
    let mut answer = complaint(StatusCode::CONFLICT, "the log is closed", hint);
    header::say_place(answer.headers_mut(), end_of(&state), true);
    Ok(answer)
}

/// It is done, and this is where the log ends now.
pub(super) fn at(next: Place, is_closed: bool) -> Answer {
    let mut answer = no_content();
    header::say_place(answer.headers_mut(), next, is_closed);
    answer
}

/// Where a log goes on.
fn end_of(state: &LogState) -> Place {
    Place { number: state.number, offset: state.next_offset }
}
