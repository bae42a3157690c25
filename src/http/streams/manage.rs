//! Making, closing and deleting logs: PUT, DELETE, and a POST that says that it is the last.

use hyper::StatusCode;
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderMap, LOCATION};
use hyper::http::request::Parts;

use super::super::answer::{Answer, complaint, no_content};
use super::super::house::House;
use super::header;
use super::log::{Log, content_type, name};
use super::place::Place;
use super::refusal::{Refusal, check_headers, not_here};
use crate::client::{LogError, LogState};
use crate::log_settings::{ContentType, LogSettings};
use crate::types::LogNumber;

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
    let settings = settings(&parts.headers)?;
    if !body.is_end_stream() {
        return Err(not_here("making a log and appending to it in one step"));
    }
    let failed = |error: LogError| Refusal::of_log(LogNumber::MAIN, &error);
    let (status, state) = match house.client.log_state(&name).await {
        Ok(state) if settings.is_same_as(&state.settings) => (StatusCode::OK, state),
        Ok(found) => {
            let found = Box::new(found);
            return Err(failed(LogError::OtherSettings { found, name }));
        }
        Err(LogError::Unknown { .. }) => {
            let made = house.client.create_log_with(&name, settings).await;
            (StatusCode::CREATED, made.map_err(failed)?)
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
    header::say(headers, CONTENT_TYPE, content_type(&state.settings));
    let location = format!("http://{}{}", house.address, parts.uri.path());
    header::say(headers, LOCATION, &location);
    Ok(answer)
}

/// What a log is to be made with.
fn settings(headers: &HeaderMap) -> Result<LogSettings, Refusal> {
    let Some(kind) = headers.get(CONTENT_TYPE) else { return Ok(LogSettings::default()) };
    let parsed = kind.to_str().unwrap_or_default().parse::<ContentType>();
    let content_type = parsed.map_err(|error| {
        complaint(StatusCode::BAD_REQUEST, error, "without one it is application/octet-stream")
    })?;
    Ok(LogSettings { content_type: Some(content_type), ..LogSettings::default() })
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
