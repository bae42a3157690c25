//! Logs over HTTP, in the words of the Durable Streams protocol: a log is a stream, at a path of its own.
//!
//! - `log`: which log a path means; `lineage`: what of others is a fork's; `kind`: what the type of its records
//!   means; `place`: where in it an offset points; `query`: what a reader asks for;
//! - `manage`: making and deleting; `settings`: what a log is made with; `fork`: of which log it is a fork;
//!   `append`: what a POST comes to, with a `stamp` that says which request of whose it is; `body`: how much of
//!   one is taken;
//! - `read`: what a GET comes to, and HEAD; `batch`: records as they go out;
//! - `live`: readers that wait for news, with a `cursor`; `tails`: one followed read for all that wait at one log;
//! - `events`: those of them that stay, with server-sent events; `drawn`: a body that is made as it is taken;
//! - `list`: which there are;
//! - `header`: how answers say where a log goes on; `refusal`: why not.

mod append;
mod batch;
mod body;
mod cursor;
mod drawn;
mod events;
mod fork;
mod header;
mod kind;
mod lineage;
mod list;
mod live;
mod log;
mod manage;
mod place;
mod query;
mod read;
mod refusal;
mod settings;
mod stamp;
mod tails;

use std::sync::{Mutex, MutexGuard, PoisonError};

use hyper::Method;
use hyper::body::Incoming;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, HeaderName, HeaderValue,
};
use hyper::http::request::Parts;

use super::answer::{Answer, no_content};
use super::gate::{Need, Visitor};
use super::house::House;
use crate::access::Right;

pub(super) use list::PATH as LIST;
pub(super) use tails::Rooms;

/// Where streams are; behind it comes a log's name.
pub(super) const PREFIX: &str = "/v1/stream/";

const METHODS: &str = "GET, HEAD, POST, PUT, DELETE, OPTIONS";
const ALLOWED: &str = "content-type, authorization, if-none-match, stream-expect-offset, stream-closed, \
     stream-seq, stream-ttl, stream-expires-at, producer-id, producer-epoch, producer-seq, \
     stream-forked-from, stream-fork-offset, stream-fork-sub-offset";
const EXPOSED: &str = "stream-next-offset, stream-cursor, stream-up-to-date, stream-closed, \
     stream-earliest-offset, stream-ttl, stream-expires-at, stream-sse-data-encoding, producer-epoch, producer-seq, \
     producer-expected-seq, producer-received-seq, etag, content-type, location, vary, retry-after, www-authenticate";

/// What a request for a stream needs, where tokens are asked for.
pub(super) fn need<'a>(parts: &'a Parts, name: &'a str) -> Need<'a> {
    let right = match parts.method {
        // Browsers send no token with this, and are told the same of every stream.
        Method::OPTIONS => return Need::Nothing,
        Method::GET | Method::HEAD => Right::Read,
        Method::POST => Right::Append,
        Method::PUT | Method::DELETE => Right::Manage,
        _ => return Need::Token,
    };
    let closes = right == Right::Append && header::is_true(&parts.headers, &header::CLOSED);
    let mut needed = vec![(right, name)];
    needed.extend(closes.then_some((Right::Manage, name)));
    // Who reads a fork reads what it has of its source. One that is no stream's path is no log's name.
    let source = fork::source(&parts.headers);
    needed.extend(source.map(|source| (Right::Read, source)));
    Need::Logs(needed)
}

/// Answers who asks which streams there are.
pub(super) async fn attend_list(house: &House, visitor: &Visitor, parts: &Parts) -> Answer {
    let listed = match parts.method {
        Method::OPTIONS => Ok(no_content()),
        Method::GET | Method::HEAD => list::list(house, visitor.grants(), parts).await,
        _ => Err(refusal::no_such_verb("GET, HEAD, OPTIONS")),
    };
    open_to_pages(listed.unwrap_or_else(Answer::from))
}

/// Answers whatever is asked of a stream.
pub(super) async fn attend(house: &House, parts: &Parts, body: Incoming, name: &str) -> Answer {
    let attended = match parts.method {
        // What a browser asks before it sends what forms cannot send.
        Method::OPTIONS => Ok(no_content()),
        Method::GET => read::get(house, parts, name).await,
        Method::HEAD => read::head(house, name).await,
        Method::PUT => manage::put(house, parts, body, name).await,
        Method::DELETE => manage::delete(house, name).await,
        Method::POST => append::post(house, parts, body, name).await,
        _ => Err(refusal::no_such_verb(METHODS)),
    };
    open_to_pages(attended.unwrap_or_else(Answer::from))
}

/// Pages of this machine may use streams: of others the guard has let none through.
pub(super) fn open_to_pages(mut answer: Answer) -> Answer {
    let said = [
        (ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (ACCESS_CONTROL_ALLOW_METHODS, METHODS),
        (ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED),
        (ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED),
        (HeaderName::from_static("cross-origin-resource-policy"), "cross-origin"),
    ];
    for (name, value) in said {
        answer.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    answer
}

/// A panic ends the process: whoever locks next finds what is whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
