//! Making and deleting logs: PUT and DELETE; and how one stands.

use bytes::Bytes;
use hyper::StatusCode;
use hyper::body::Incoming;
use hyper::header::LOCATION;
use hyper::http::request::Parts;

use super::super::answer::{Answer, complaint, no_content};
use super::super::house::House;
use super::body;
use super::fork;
use super::header;
use super::kind::Kind;
use super::log::{Log, name};
use super::place::Place;
use super::refusal::{Refusal, busy};
use super::settings;
use crate::client::forks::{inherited, is_from};
use crate::client::{LogError, LogState};
use crate::command::NewLog;
use crate::log_name::LogName;
use crate::log_settings::LogSettings;
use crate::types::LogNumber;

/// Makes a log with what it is to have, unless there is one that was made so: that one is as good.
pub(super) async fn put(
    house: &House,
    parts: &Parts,
    body: Incoming,
    text: &str,
) -> Result<Answer, Refusal> {
    let name = name(text)?;
    let failed = |error: LogError| Refusal::of_log(LogNumber::MAIN, &error);
    let mut settings = settings::of(&parts.headers)?;
    let fork = fork::Asked::of(house, &parts.headers).await?;
    if let Some(fork) = &fork {
        settings = inherited(&settings, &fork.source).map_err(failed)?;
    }
    let closed = header::is_true(&parts.headers, &header::CLOSED);
    let (body, _held) = body::take(&house.rooms.bodies, body).await?;
    let records = if body.is_empty() { vec![] } else { Kind::of(&settings).records(&body)? };
    let origin = fork.as_ref().map(|fork| fork.origin);
    let new = NewLog { name, settings, closed, origin };
    let (status, state) = make(house, (&new, fork.as_ref()), records).await?;
    let mut answer = at(end_of(&state), state.closed);
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    settings::say(headers, &state.settings);
    let location = format!("{}{}", house.base(&parts.headers), parts.uri.path());
    header::say(headers, LOCATION, &location);
    Ok(answer)
}

/// Whether it was made, and how it stands.
async fn make(
    house: &House,
    (new, fork): (&NewLog, Option<&fork::Asked>),
    mut records: Vec<Bytes>,
) -> Result<(StatusCode, LogState), Refusal> {
    if let Some(found) = found(house, &new.name).await? {
        return Ok((StatusCode::OK, as_asked(found, (new, fork))?));
    }
    if let Some(fork::Asked { source, origin, .. }) = fork {
        if source.deleted {
            return Err(is_deleted(source.name.clone()));
        }
        if origin.part > 0 {
            let part = fork::part_of(&house.client, source, *origin).await;
            records.insert(0, part.map_err(|error| Refusal::of_log(source.number, &error))?);
        }
    }
    let made = house.client.make_log(new.clone(), records).await;
    let is_made = made.map_err(|error| Refusal::of_append(LogNumber::MAIN, &error))?;
    match found(house, &new.name).await? {
        Some(state) if is_made => Ok((StatusCode::CREATED, state)),
        // Somebody else was faster.
        Some(state) => Ok((StatusCode::OK, as_asked(state, (new, fork))?)),
        None => Err(busy("the log was made, and is gone already")),
    }
}

async fn found(house: &House, name: &LogName) -> Result<Option<LogState>, Refusal> {
    match house.client.log_state(name).await {
        Ok(state) => Ok(Some(state)),
        Err(LogError::Unknown { .. }) => Ok(None),
        Err(error) => Err(Refusal::of_log(LogNumber::MAIN, &error)),
    }
}

/// The log that there is, if it is what is asked for.
fn as_asked(
    found: LogState,
    (new, fork): (&NewLog, Option<&fork::Asked>),
) -> Result<LogState, Refusal> {
    if found.deleted {
        return Err(is_deleted(found.name));
    }
    // How much of it is kept is not said over HTTP, and may be changed.
    let retention = found.settings.retention;
    let asked = LogSettings { retention, ..new.settings.clone() };
    let is_exact = fork.is_some_and(|fork| fork.is_exact);
    if !asked.is_same_as(&found.settings) || !is_from(&found, new.origin, is_exact) {
        let (found, name) = (Box::new(found), new.name.clone());
        let error = LogError::OtherSettings { found, name };
        return Err(Refusal::of_log(LogNumber::MAIN, &error));
    }
    if new.closed == found.closed {
        return Ok(found);
    }
    let word = if found.closed { "closed" } else { "open" };
    let sentence = format!("there is one, and it is {word}");
    let hint = "deleted, it can be made again";
    Err(complaint(StatusCode::CONFLICT, sentence, hint).into())
}

/// Its name is taken, and nobody can use it.
fn is_deleted(name: LogName) -> Refusal {
    let error = LogError::Deleted { name };
    complaint(StatusCode::CONFLICT, &error, &error.hint()).into()
}

/// Deletes a log.
pub(super) async fn delete(house: &House, text: &str) -> Result<Answer, Refusal> {
    let name = name(text)?;
    let failed = |error: LogError| Refusal::of_log(LogNumber::MAIN, &error);
    let log = house.client.log(&name).await.map_err(failed)?;
    log.delete_log().await.map_err(failed)?;
    Ok(no_content())
}

/// It is as it was asked for already: how the log stands.
pub(super) async fn there(house: &House, log: &Log) -> Result<Answer, Refusal> {
    let state = state(house, log).await?;
    Ok(at(end_of(&state), state.closed))
}

/// Where a closed log ends.
pub(super) async fn closed(house: &House, log: &Log) -> Result<Answer, Refusal> {
    let state = state(house, log).await?;
    let hint = "what it has can still be read";
    let mut answer = complaint(StatusCode::CONFLICT, "the log is closed", hint);
    header::say_place(answer.headers_mut(), end_of(&state), true);
    Ok(answer)
}

async fn state(house: &House, log: &Log) -> Result<LogState, Refusal> {
    let state = house.client.log_state(&log.name).await;
    state.map_err(|error| Refusal::of_log(log.number, &error))
}

/// It is done, and this is where the log ends now.
pub(super) fn at(next: Place, is_closed: bool) -> Answer {
    let mut answer = no_content();
    header::say_place(answer.headers_mut(), next, is_closed);
    answer
}

/// Where a log goes on.
pub(super) fn end_of(state: &LogState) -> Place {
    Place { number: state.number, offset: state.next_offset }
}
