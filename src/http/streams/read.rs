//! What a GET comes to, and HEAD.

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH,
};
use hyper::http::request::Parts;

use super::super::answer::{Answer, whole};
use super::super::house::House;
use super::batch::Batch;
use super::cursor::cursor;
use super::events;
use super::header;
use super::kind::Kind;
use super::live;
use super::log::{self, Log};
use super::manage;
use super::place::{From, Place};
use super::query::{Live, Query};
use super::refusal::Refusal;
use super::settings;
use crate::client::Consistency;
use crate::types::Offset;

/// A line of JSON for each record, instead of their bytes.
const LINES: &str = "application/x-ndjson";

/// Reads what there is, or waits for news.
pub(super) async fn get(house: &House, parts: &Parts, name: &str) -> Result<Answer, Refusal> {
    let log = Log::look(house, name).await?;
    let query = Query::parse(parts.uri.query())?;
    let from = begin(house, &log, query.from.unwrap_or(From::Start)).await?;
    let form = Form::of(&log, &parts.headers);
    match query.live {
        None if query.from == Some(From::Now) => {
            let batch = Batch {
                next: from,
                is_at_tail: true,
                is_closed: log.is_closed,
                ..Batch::default()
            };
            Ok(form.show(&log, &batch, form.bytes(&batch)))
        }
        None => catch_up(house, &log, from, &parts.headers).await,
        Some(Live::LongPoll) => {
            let _waiting = house.rooms.wait()?;
            let found = live::news(house, &log, from).await?;
            let cursor = cursor(query.cursor);
            let mut answer = match &found {
                Some(batch) if !batch.records.is_empty() => form.answer(house, &log, batch).await?,
                found => {
                    let is_closed = found.as_ref().is_some_and(|batch| batch.is_closed);
                    nothing_yet(log.place(from), is_closed)
                }
            };
            header::say(answer.headers_mut(), header::CURSOR, &cursor.to_string());
            Ok(answer)
        }
        Some(Live::Events) => events::begin(house, log, from, query.cursor),
    }
}

/// What a log is, without what is in it: who asks that does not use it.
pub(super) async fn head(house: &House, name: &str) -> Result<Answer, Refusal> {
    let state = log::state(house, &log::name(name)?).await?;
    let mut answer = Answer::new(whole(""));
    let headers = answer.headers_mut();
    settings::say(headers, &state.settings);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    header::say_place(headers, manage::end_of(&state), state.closed);
    Ok(answer)
}

async fn begin(house: &House, log: &Log, from: From) -> Result<Offset, Refusal> {
    match from {
        From::Start => start(log).await,
        From::Now => Batch::tail(log).await.map_err(|error| Refusal::of_read(&error)),
        From::Place(place) if place.is_any_start() => start(log).await,
        From::Place(place) => log.own(house, place).await,
    }
}

async fn start(log: &Log) -> Result<Offset, Refusal> {
    let start = log.client.start_offset(Consistency::Linearizable).await;
    start.map_err(|error| Refusal::of_read(&error))
}

async fn catch_up(
    house: &House,
    log: &Log,
    from: Offset,
    headers: &HeaderMap,
) -> Result<Answer, Refusal> {
    let batch = live::turn(&house.rooms, log, from).await?;
    let form = Form::of(log, headers);
    let closed = if batch.is_closed { "closed" } else { "open" };
    let tag = format!("\"{}-{from}-{}-{closed}-{form:?}\"", log.number.get(), batch.next);
    let is_known = |known: &HeaderValue| known.as_bytes() == tag.as_bytes();
    let mut answer = if headers.get_all(IF_NONE_MATCH).iter().any(is_known) {
        let mut answer = form.show(log, &batch, Bytes::new());
        *answer.status_mut() = StatusCode::NOT_MODIFIED;
        answer
    } else {
        form.answer(house, log, &batch).await?
    };
    let headers = answer.headers_mut();
    header::say(headers, ETAG, &tag);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(answer)
}

/// How records are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// As it is the log's.
    Own(Kind),
    Lines,
}

impl Form {
    fn of(log: &Log, headers: &HeaderMap) -> Self {
        let is_asked = headers.get(ACCEPT).is_some_and(|value| value == LINES);
        if is_asked { Self::Lines } else { Self::Own(Kind::of(&log.settings)) }
    }

    fn bytes(self, batch: &Batch) -> Bytes {
        match self {
            Self::Own(kind) => kind.show(batch),
            Self::Lines => batch.lines(),
        }
    }

    async fn answer(self, house: &House, log: &Log, batch: &Batch) -> Result<Answer, Refusal> {
        let making = house.rooms.bodies.make(batch.size(), || self.bytes(batch));
        Ok(self.show(log, batch, making.await?))
    }

    /// With these bytes, which show the batch.
    fn show(self, log: &Log, batch: &Batch, bytes: Bytes) -> Answer {
        let mut answer = Answer::new(whole(bytes));
        let headers = answer.headers_mut();
        let kind = if self == Self::Lines { LINES } else { log.content_type() };
        header::say(headers, CONTENT_TYPE, kind);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        header::say_place(headers, log.place(batch.next), batch.is_closed);
        if batch.is_at_tail {
            headers.insert(header::UP_TO_DATE, HeaderValue::from_static("true"));
        }
        answer
    }
}

/// Nothing came while somebody waited, or nothing will.
fn nothing_yet(place: Place, is_closed: bool) -> Answer {
    let mut answer = manage::at(place, is_closed);
    let headers = answer.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::UP_TO_DATE, HeaderValue::from_static("true"));
    answer
}
