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
use super::kind::Kind;
use super::log::Log;
use super::manage;
use super::place::From;
use super::refusal::Refusal;
use super::stamp;
use crate::client::{AppendError, AppendOptions, Appended};
use crate::command::{Stamp, Turn};
use crate::log_settings::ContentType;
use crate::types::Offset;

/// Types that programs send who do not say any: to a log of which no type was said they are bytes.
const UNSAID: [&str; 2] = ["application/x-www-form-urlencoded", "text/plain"];

/// A request as it came.
struct Post<'a> {
    headers: &'a HeaderMap,
    body: Bytes,
    /// Nothing is to come behind it.
    closes: bool,
    stamp: Stamp,
}

/// What is asked of a log.
struct Asked {
    records: Vec<Bytes>,
    options: Option<AppendOptions>,
}

/// Appends a body, closes the log, or both in one step.
pub(super) async fn post(
    house: &House,
    parts: &Parts,
    body: Incoming,
    name: &str,
) -> Result<Answer, Refusal> {
    let mut log = Log::find(house, name).await?;
    let (headers, stamp) = (&parts.headers, stamp::stamp(&parts.headers)?);
    let closes = header::is_true(headers, &header::CLOSED);
    let (body, _held) = body::take(&house.rooms.bodies, body).await?;
    let post = Post { headers, body, closes, stamp };
    let asked = post.of(house, &log).await?;
    let mut appended = post.append_to(&log, &asked).await;
    if let Err(AppendError::UnknownLog | AppendError::LogClosed) = appended {
        // Another may have its name by now: what was asked of the former one is not asked of this one.
        house.rooms.logs.forget(&log.name);
        let present = Log::look(house, name).await?;
        if present.number != log.number {
            log = present;
            appended = post.append_to(&log, &post.of(house, &log).await?).await;
        }
    }
    match appended {
        Ok(appended) => Ok(post.done(&log, &appended)),
        Err(error) => post.refused(house, &log, &error).await,
    }
}

impl Post<'_> {
    /// What it asks of this log.
    async fn of(&self, house: &House, log: &Log) -> Result<Asked, Refusal> {
        let options = options(house, log, self.headers).await?;
        if self.body.is_empty() && self.closes {
            return Ok(Asked { records: vec![], options });
        }
        if self.body.is_empty() {
            return Err(nothing());
        }
        check_type(log, self.headers)?;
        let records = Kind::of(&log.settings).records(&self.body)?;
        if records.is_empty() { Err(nothing()) } else { Ok(Asked { records, options }) }
    }

    async fn append_to(&self, log: &Log, asked: &Asked) -> Result<Appended, AppendError> {
        let Asked { records, options } = asked;
        let records = records.clone();
        if self.closes || self.stamp != Stamp::default() {
            let options = options.clone().unwrap_or_default();
            return log.client.append_stamped(records, &options, (self.stamp, self.closes)).await;
        }
        match options {
            None => log.client.append(records).await,
            Some(options) => log.client.append_with(records, options).await,
        }
    }

    /// It is in the log.
    fn done(&self, log: &Log, appended: &Appended) -> Answer {
        let next = Offset::new(appended.offset.get() + u64::from(appended.count));
        let mut answer = manage::at(log.place(next), self.closes);
        if let Some(turn) = self.stamp.turn {
            say_turn(&mut answer, &turn, turn.seq);
            if appended.count > 0 {
                *answer.status_mut() = StatusCode::OK;
            }
        }
        answer
    }

    /// It is not in the log, or was there already.
    async fn refused(
        &self,
        house: &House,
        log: &Log,
        error: &AppendError,
    ) -> Result<Answer, Refusal> {
        let is_closing = self.closes && self.body.is_empty() && self.stamp.turn.is_none();
        let refusal = || Refusal::of_append(log.number, error);
        match (error, self.stamp.turn) {
            // To close a log that is closed is no fault.
            (AppendError::LogClosed, _) if is_closing => manage::there(house, log).await,
            (AppendError::LogClosed, _) => manage::closed(house, log).await,
            (AppendError::Repeated { last }, Some(turn)) => {
                let mut answer = manage::there(house, log).await?;
                say_turn(&mut answer, &turn, *last);
                Ok(answer)
            }
            (AppendError::Superseded { epoch, .. }, Some(_)) => {
                let mut answer = Answer::from(refusal());
                *answer.status_mut() = StatusCode::FORBIDDEN;
                header::say_number(answer.headers_mut(), header::PRODUCER_EPOCH, *epoch);
                Ok(answer)
            }
            (AppendError::OutOfTurn { expected }, Some(turn)) => {
                let mut answer = Answer::from(refusal());
                let headers = answer.headers_mut();
                header::say_number(headers, header::EXPECTED_SEQ, *expected);
                header::say_number(headers, header::RECEIVED_SEQ, turn.seq);
                Ok(answer)
            }
            _ => Err(refusal()),
        }
    }
}

/// Says which of a producer's requests is the last.
fn say_turn(answer: &mut Answer, turn: &Turn, last: u64) {
    header::say_number(answer.headers_mut(), header::PRODUCER_EPOCH, turn.epoch);
    header::say_number(answer.headers_mut(), header::PRODUCER_SEQ, last);
}

fn nothing() -> Refusal {
    let hint = "a record over HTTP has a byte at least, and a list a value";
    complaint(StatusCode::BAD_REQUEST, "there is nothing to append", hint).into()
}

fn check_type(log: &Log, headers: &HeaderMap) -> Result<(), Refusal> {
    let Some(kind) = header::word(headers, &CONTENT_TYPE) else {
        let hint = format!("say `content-type: {}`", log.content_type());
        let sentence = "it is not said of what type the body is";
        return Err(complaint(StatusCode::BAD_REQUEST, sentence, &hint).into());
    };
    let kind = kind.split(';').next().unwrap_or_default().trim();
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
async fn options(
    house: &House,
    log: &Log,
    headers: &HeaderMap,
) -> Result<Option<AppendOptions>, Refusal> {
    let Some(word) = headers.get(header::EXPECT_OFFSET) else { return Ok(None) };
    let Some(From::Place(place)) = word.to_str().ok().and_then(From::parse) else {
        let hint = "it is what an answer said in stream-next-offset";
        let sentence = "that is no offset to expect";
        return Err(complaint(StatusCode::BAD_REQUEST, sentence, hint).into());
    };
    let expect_offset = Some(log.own(house, place).await?);
    Ok(Some(AppendOptions { expect_offset, ..AppendOptions::default() }))
}
