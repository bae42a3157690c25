//! Readers that stay: server-sent events.
//!
//! Each batch is an event `data`, text as it is and anything else in base64, and an event `control` that says
//! where to go on. The spaces are the protocol's: one behind `event:`, none behind `data:`.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::super::answer::Answer;
use super::super::house::House;
use super::batch::Batch;
use super::cursor::cursor;
use super::drawn::Drawn;
use super::header;
use super::kind::Kind;
use super::live;
use super::log::Log;
use super::refusal::Refusal;
use super::tails::{Rooms, Tail};
use crate::limits::{HTTP_EVENTS_TIMEOUT, HTTP_LINE_BYTES};
use crate::types::Offset;

/// A reader, and where it is.
struct Reader {
    rooms: Arc<Rooms>,
    log: Log,
    next: Offset,
    /// The cursor that it has had.
    known: Option<u64>,
    tail: Option<Tail>,
    /// The log ends there for ever, and it has been told.
    is_over: bool,
    until: Instant,
    stop: CancellationToken,
    _place: OwnedSemaphorePermit,
}

/// What a reader is told behind its data.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Control {
    stream_next_offset: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_cursor: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    up_to_date: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    stream_closed: bool,
}

/// Begins to tell a reader what there is and what comes.
pub(super) fn begin(
    house: &House,
    log: Log,
    from: Offset,
    known: Option<u64>,
) -> Result<Answer, Refusal> {
    let is_in_base64 = Kind::of(&log.settings) == Kind::Bytes;
    let reader = Reader {
        rooms: house.rooms.clone(),
        log,
        next: from,
        known,
        tail: None,
        is_over: false,
        until: Instant::now() + HTTP_EVENTS_TIMEOUT,
        stop: house.stop.clone(),
        _place: house.rooms.wait()?,
    };
    let body = Drawn::new(reader, |reader: Reader| Box::pin(reader.tell()));
    let mut answer = Answer::new(body.boxed());
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if is_in_base64 {
        headers.insert(header::ENCODING, HeaderValue::from_static("base64"));
    }
    Ok(answer)
}

impl Reader {
    /// What comes next, once it comes; `None`: it has stayed long enough, or the log cannot be read.
    async fn tell(mut self) -> Option<(Bytes, Self)> {
        if self.is_over {
            return None;
        }
        let stop = self.stop.clone();
        let until = self.until;
        let batch = tokio::select! {
            batch = timeout_at(until, self.batch()) => batch.ok()?.ok()?,
            () = stop.cancelled() => return None,
        };
        self.next = batch.next;
        self.is_over = batch.is_closed;
        // Of a text every character may be a line.
        let factor = if Kind::of(&self.log.settings) == Kind::Bytes { 1 } else { 4 };
        let most = batch.size() * factor + 2 * HTTP_LINE_BYTES;
        let bytes = self.rooms.bodies.make(most, || self.events(&batch).into()).await.ok()?;
        Some((bytes, self))
    }

    async fn batch(&mut self) -> Result<Batch, Refusal> {
        if let Some(tail) = &mut self.tail {
            return live::next(&self.rooms, &self.log, tail, self.next).await;
        }
        let batch = live::turn(&self.rooms, &self.log, self.next).await?;
        if batch.is_at_tail {
            self.tail = Some(self.rooms.tails.follow(&self.log, batch.next)?);
        }
        Ok(batch)
    }

    fn events(&self, batch: &Batch) -> String {
        let control = Control {
            stream_next_offset: self.log.place(batch.next).to_string(),
            stream_cursor: (!batch.is_closed).then(|| cursor(self.known).to_string()),
            up_to_date: batch.is_at_tail && !batch.is_closed,
            stream_closed: batch.is_closed,
        };
        let control = serde_json::to_string(&control).expect("numbers and words are JSON");
        let data = if batch.records.is_empty() {
            String::new()
        } else {
            event("data", &Kind::of(&self.log.settings).show_as_text(batch))
        };
        data + &event("control", &control)
    }
}

/// An event with a line for each of the data, however these end.
fn event(name: &str, data: &str) -> String {
    let mut event = format!("event: {name}\n");
    for line in data.replace("\r\n", "\n").split(['\n', '\r']) {
        // One space is taken off who reads.
        let space = if line.starts_with(' ') { " " } else { "" };
        event.extend(["data:", space, line, "\n"]);
    }
    event + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_an_event_stays_in_it() {
        assert_eq!(event("data", "a"), "event: data\ndata:a\n\n");
        let forged = event("data", " a\r\n\nevent: control\rdata:x\n");
        assert_eq!(
            forged,
            "event: data\ndata:  a\ndata:\ndata:event: control\ndata:data:x\ndata:\n\n"
        );
    }
}
