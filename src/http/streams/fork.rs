//! Logs that are to begin as others do, as headers ask for it.

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::HeaderMap;

use super::super::answer::complaint;
use super::super::house::House;
use super::PREFIX;
use super::header::{self, word};
use super::kind::Kind;
use super::lineage::is_inherited;
use super::log::name;
use super::place::From;
use super::refusal::Refusal;
use crate::client::{AppendError, Client, LogError, LogState, ReadError, ReadFrom, ReadOptions};
use crate::command::Origin;
use crate::types::{LogNumber, Offset};

/// What is asked for.
pub(super) struct Asked {
    /// How the source stands.
    pub(super) source: LogState,
    pub(super) origin: Origin,
    /// It was said where the fork is to leave its source.
    pub(super) is_exact: bool,
}

/// The name of the log that a fork is to be of, if one is asked for: no word, if that is no stream of this server.
pub(super) fn source(headers: &HeaderMap) -> Option<&str> {
    Some(word(headers, &header::FORKED_FROM)?.strip_prefix(PREFIX).unwrap_or_default())
}

impl Asked {
    /// The fork that these headers ask for, if they do.
    pub(super) async fn of(house: &House, headers: &HeaderMap) -> Result<Option<Self>, Refusal> {
        let Some(source) = source(headers) else {
            let places = [header::FORK_OFFSET, header::FORK_SUB_OFFSET];
            let is_asked = places.iter().any(|place| headers.contains_key(place));
            let refusal = || Err(bad("it is not said of which log that is to be a fork"));
            return if is_asked { refusal() } else { Ok(None) };
        };
        let within = within(headers)?;
        let source = house.client.log_state(&name(source)?).await;
        let source = source.map_err(|error| Refusal::of_log(LogNumber::MAIN, &error))?;
        let said = word(headers, &header::FORK_OFFSET);
        let at = match said {
            None => source.next_offset,
            Some(word) => place(house, &source, word).await?,
        };
        // Of JSON each value is a record.
        let (at, part) = match Kind::of(&source.settings) {
            Kind::Json => (Offset::new(at.get().saturating_add(u64::from(within))), 0),
            Kind::Bytes | Kind::Text => (at, within),
        };
        let origin = Origin { source: source.number, at, part };
        Ok(Some(Self { source, origin, is_exact: said.is_some() }))
    }
}

/// How far behind its offset, within what was appended there, a fork is to leave its source.
fn within(headers: &HeaderMap) -> Result<u32, Refusal> {
    let Some(text) = word(headers, &header::FORK_SUB_OFFSET) else { return Ok(0) };
    // In its one form.
    let number = text.parse::<u32>().ok().filter(|number| number.to_string() == text);
    number.ok_or_else(|| bad("that is no number of bytes, or of values of JSON"))
}

async fn place(house: &House, source: &LogState, word: &str) -> Result<Offset, Refusal> {
    let no_offset = || bad("that is no offset of the log that is to be forked");
    match From::parse(word).ok_or_else(no_offset)? {
        From::Start => Ok(source.start_offset),
        From::Now => Ok(source.next_offset),
        From::Place(place) if place.is_any_start() => Ok(source.start_offset),
        From::Place(place) if place.number == source.number => Ok(place.offset),
        From::Place(place) => {
            let is_there = is_inherited(house, source.fork.as_ref(), place).await?;
            if is_there { Ok(place.offset) } else { Err(no_offset()) }
        }
    }
}

fn bad(sentence: &str) -> Refusal {
    let hint = "stream-forked-from is a path as /v1/stream/orders, stream-fork-offset what an answer said \
                in stream-next-offset, and stream-fork-sub-offset a number";
    complaint(StatusCode::BAD_REQUEST, sentence, hint).into()
}

/// What a fork has of the record of its source at which it leaves that.
pub(super) async fn part_of(
    client: &Client,
    source: &LogState,
    origin: Origin,
) -> Result<Bytes, LogError> {
    let Origin { at, part, .. } = origin;
    let options =
        ReadOptions { from: ReadFrom::Offset(at), limit: Some(1), ..ReadOptions::default() };
    let mut reader = client.about(source.number).read(options);
    let read = match reader.next().await {
        Err(ReadError::Trimmed { start }) => return Err(AppendError::Trimmed { start }.into()),
        read => read?,
    };
    let record = read.into_iter().flatten().next().map(|record| record.bytes);
    let length = usize::try_from(part).unwrap_or(usize::MAX);
    record
        .filter(|record| record.len() >= length)
        .map(|it| it.slice(..length))
        .ok_or_else(|| LogError::NoSuchPart { source_name: source.name.clone(), at, part })
}
