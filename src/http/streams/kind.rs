//! What the type of a log's records means for how they come and go.
//!
//! Bytes are taken and given as they are. Of JSON each value is a record of its own: a list is taken apart, once,
//! and put together again for whoever reads.

use bytes::{Bytes, BytesMut};
use hyper::StatusCode;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::super::answer::complaint;
use super::batch::Batch;
use super::refusal::Refusal;
use crate::base64::base64;
use crate::bounded;
use crate::limits::{RECORD_BYTES_MAX, REQUEST_RECORDS_MAX};
use crate::log_settings::{ContentType, LogSettings};

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Anything: events carry it in base64.
    Bytes,
    /// Text: events carry it line by line.
    Text,
    /// A list of values.
    Json,
}

/// The values of a list, as they were written.
#[derive(Deserialize)]
struct Values<'a>(
    #[serde(borrow, deserialize_with = "bounded::list::<_, _, REQUEST_RECORDS_MAX>")]
    Vec<&'a RawValue>,
);

impl Kind {
    /// That of a log with these settings.
    pub(super) fn of(settings: &LogSettings) -> Self {
        let kind =
            settings.content_type.as_ref().map_or(ContentType::BYTES, ContentType::media_type);
        let kind = kind.to_ascii_lowercase();
        if kind == "application/json" {
            Self::Json
        } else if kind.starts_with("text/") {
            Self::Text
        } else {
            Self::Bytes
        }
    }

    /// The records that a body has: of a list without values none.
    pub(super) fn records(self, body: &Bytes) -> Result<Vec<Bytes>, Refusal> {
        match self {
            Self::Bytes | Self::Text => Ok(cut(body.clone())),
            Self::Json => values(body),
        }
    }

    /// The records of a batch as a reader gets them.
    pub(super) fn show(self, batch: &Batch) -> Bytes {
        match self {
            Self::Bytes | Self::Text => batch.bytes(),
            Self::Json => list(batch),
        }
    }

    /// The same in an event: text as it is, anything else as text that stands for it.
    pub(super) fn show_as_text(self, batch: &Batch) -> String {
        let shown = self.show(batch);
        match self {
            Self::Bytes => base64(&shown),
            Self::Text | Self::Json => String::from_utf8_lossy(&shown).into_owned(),
        }
    }
}

/// Cuts what is larger than a record, and no character of a text.
fn cut(mut bytes: Bytes) -> Vec<Bytes> {
    let mut records = vec![];
    while bytes.len() > RECORD_BYTES_MAX {
        let goes_on = |at: &usize| bytes.get(*at).is_some_and(|byte| byte & 0xc0 == 0x80);
        // A character has four bytes at most; what has more that go on is no text.
        let back = (RECORD_BYTES_MAX - 3..=RECORD_BYTES_MAX).rev().find(|at| !goes_on(at));
        records.push(bytes.split_to(back.unwrap_or(RECORD_BYTES_MAX)));
    }
    if !bytes.is_empty() {
        records.push(bytes);
    }
    records
}

fn values(body: &Bytes) -> Result<Vec<Bytes>, Refusal> {
    let refuse = |status, sentence: String, hint| Err(complaint(status, sentence, hint).into());
    let read = std::str::from_utf8(body).ok().map(serde_json::from_str::<&RawValue>);
    let value = match read {
        Some(Ok(value)) => value,
        Some(Err(error)) => {
            let hint = "a value, or a list of values, each of which is a record";
            return refuse(StatusCode::BAD_REQUEST, format!("that is not JSON: {error}"), hint);
        }
        None => {
            let hint = "send it in UTF-8";
            return refuse(StatusCode::BAD_REQUEST, "that is not JSON: it is no text".into(), hint);
        }
    };
    if !value.get().starts_with('[') {
        return Ok(vec![body.slice_ref(value.get().as_bytes())]);
    }
    // It is JSON: only its length can be wrong.
    let Ok(Values(values)) = serde_json::from_str(value.get()) else {
        let sentence = format!("a request has at most {REQUEST_RECORDS_MAX} values");
        return refuse(StatusCode::PAYLOAD_TOO_LARGE, sentence, "send it in several");
    };
    Ok(values.iter().map(|value| body.slice_ref(value.get().as_bytes())).collect())
}

fn list(batch: &Batch) -> Bytes {
    let mut all = BytesMut::from(&b"["[..]);
    for (at, record) in batch.records.iter().enumerate() {
        if at > 0 {
            all.extend_from_slice(b",");
        }
        // What was appended elsewhere may be anything: it is a text then.
        if serde_json::from_slice::<IgnoredAny>(&record.bytes).is_ok() {
            all.extend_from_slice(&record.bytes);
        } else {
            let text = String::from_utf8_lossy(&record.bytes);
            let quoted = serde_json::to_string(&text).expect("a text is JSON");
            all.extend_from_slice(quoted.as_bytes());
        }
    }
    all.extend_from_slice(b"]");
    all.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Record;
    use crate::types::{Index, Offset, Term, Timestamp};

    fn kind(text: &str) -> Kind {
        Kind::of(&LogSettings { content_type: text.parse().ok(), ..LogSettings::default() })
    }

    fn taken(body: &'static [u8]) -> Option<Vec<String>> {
        let records = Kind::Json.records(&Bytes::from_static(body)).ok()?;
        Some(records.iter().map(|it| String::from_utf8(it.to_vec()).unwrap()).collect())
    }

    fn batch(records: &[&'static [u8]]) -> Batch {
        let record = |bytes: &&'static [u8]| Record {
            offset: Offset::ZERO,
            term: Term::ZERO,
            index: Index::ZERO,
            time: Timestamp::new(0),
            bytes: Bytes::from_static(bytes),
        };
        Batch { records: records.iter().map(record).collect(), ..Batch::default() }
    }

    #[test]
    fn a_type_says_how_records_come_and_go() {
        assert_eq!(kind("application/JSON; charset=utf-8"), Kind::Json);
        assert_eq!(kind("Text/html"), Kind::Text);
        assert_eq!(kind("application/jsonl"), Kind::Bytes);
        assert_eq!(Kind::of(&LogSettings::default()), Kind::Bytes);
    }

    #[test]
    fn a_list_is_taken_apart_once_and_every_other_value_is_a_record() {
        for (body, expected) in [
            (
                &b" [1, {\"b\": 2,\"a\":[ ]} , [2,3]]\n"[..],
                &["1", "{\"b\": 2,\"a\":[ ]}", "[2,3]"][..],
            ),
            (b"[[1,2]]", &["[1,2]"]),
            (b"[]", &[]),
            (b"[[]]", &["[]"]),
            (b" null", &["null"]),
            (b"12345678901234567890.10", &["12345678901234567890.10"]),
            ("\"\u{1f600}\"".as_bytes(), &["\"\u{1f600}\""]),
        ] {
            assert_eq!(taken(body).unwrap(), expected, "{body:?}");
        }
        for bad in [&b""[..], b"[1,]", b"[1] 2", b"{a:1}", b"\"\xff\"", b"nul"] {
            assert_eq!(taken(bad), None, "{bad:?}");
        }
        let many = format!("[{}0]", "0,".repeat(REQUEST_RECORDS_MAX)).into();
        assert!(Kind::Json.records(&many).is_err());
    }

    #[test]
    fn readers_get_a_list_whatever_was_appended() {
        assert_eq!(Kind::Json.show(&batch(&[])), "[]");
        assert_eq!(Kind::Json.show(&batch(&[b"1", b"{}"])), "[1,{}]");
        assert_eq!(Kind::Json.show(&batch(&[b"a\"b", b""])), "[\"a\\\"b\",\"\"]");
        assert_eq!(Kind::Text.show_as_text(&batch(&[b"a\n", b"b"])), "a\nb");
        assert_eq!(Kind::Bytes.show_as_text(&batch(&[b"\xff"])), "/w==");
    }

    #[test]
    fn no_character_is_cut() {
        let text: Bytes = "\u{20ac}".repeat(RECORD_BYTES_MAX).into();
        let records = Kind::Text.records(&text).unwrap();
        assert_eq!(records.len(), 4);
        assert!(records.iter().all(|it| std::str::from_utf8(it).is_ok()));
        assert_eq!(records.concat(), text);
        let bytes: Bytes = vec![0x80; RECORD_BYTES_MAX + 1].into();
        assert_eq!(Kind::Bytes.records(&bytes).unwrap().concat(), bytes);
        assert_eq!(Kind::Bytes.records(&Bytes::new()).unwrap().len(), 0);
    }
}
