//! What stands behind the question mark.

use hyper::StatusCode;

use super::super::answer::complaint;
use super::place::From;
use super::refusal::Refusal;

/// What a reader asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Query {
    pub(super) from: Option<From>,
    pub(super) live: Option<Live>,
    /// Where the reader's cursor is, a number that grows with time.
    pub(super) cursor: Option<u64>,
}

/// How a reader waits for news.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Live {
    LongPoll,
    Events,
}

impl Query {
    /// Of the text behind the question mark. Words that nobody knows are passed over.
    pub(super) fn parse(text: Option<&str>) -> Result<Self, Refusal> {
        let mut query = Self::default();
        let mut seen = 0;
        for (name, value) in pairs(text.unwrap_or_default()) {
            match name {
                "offset" => {
                    seen += 1;
                    let word = plain(value).and_then(|word| From::parse(&word));
                    query.from = Some(word.filter(|_| seen == 1).ok_or_else(no_offset)?);
                }
                "live" => query.live = Some(live(value)?),
                "cursor" => query.cursor = value.parse().ok(),
                _ => {}
            }
        }
        if query.live.is_some() && query.from.is_none() {
            return Err(bad(
                "who waits for news has to say where it is",
                "offset=now, or offset=-1",
            ));
        }
        Ok(query)
    }
}

fn live(value: &str) -> Result<Live, Refusal> {
    match value {
        "long-poll" => Ok(Live::LongPoll),
        "sse" => Ok(Live::Events),
        _ => Err(bad("that is no way to wait", "live=long-poll, or live=sse")),
    }
}

fn no_offset() -> Refusal {
    let hint = "offset is -1, now, or what an answer said in stream-next-offset";
    bad("that is no offset", hint)
}

fn bad(sentence: &str, hint: &str) -> Refusal {
    complaint(StatusCode::BAD_REQUEST, sentence, hint).into()
}

/// The names and values of a query, as they stand.
pub(super) fn pairs(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

/// A value without its percent signs; `None` if these make no sense.
pub(super) fn plain(value: &str) -> Option<String> {
    let mut bytes = vec![];
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        let (high, low) = (digit(rest.next())?, digit(rest.next())?);
        bytes.push(u8::try_from(high * 16 + low).ok()?);
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_says_where_and_how() {
        let parse = |text| Query::parse(Some(text)).ok();
        assert_eq!(Query::parse(None).ok(), Some(Query::default()));
        let query = parse("offset=%2D1&x=y&live=sse&cursor=12").unwrap();
        let expected =
            Query { from: Some(From::Start), live: Some(Live::Events), cursor: Some(12) };
        assert_eq!(query, expected);
        for bad in [
            "offset=",
            "offset",
            "offset=-1&offset=-1",
            "offset=%0",
            "offset=%zz",
            "offset=now%0a",
            "offset=a%20b",
            "live=sse",
            "offset=now&live=",
            "offset=now&live=SSE",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
