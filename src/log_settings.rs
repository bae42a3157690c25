//! What a log was created with, besides its name.

use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::bounded;
use crate::limits::CONTENT_TYPE_BYTES_MAX;
use crate::retention::Retention;
use crate::types::Timestamp;

/// What a log was created with: the default is bytes, for ever. Said as in
/// `LogSettings { content_type, ..LogSettings::default() }`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LogSettings {
    /// Of what type its records are; `None`: [`ContentType::BYTES`]. Nodes keep it and look at none of
    /// them.
    pub content_type: Option<ContentType>,
    /// When it is deleted by itself, if it is.
    pub expiry: Option<Expiry>,
    /// How much of it is kept.
    pub retention: Retention,
}

/// When a log is deleted by itself. Never before, and a moment later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Expiry {
    /// When nobody has appended to it or read it for so many seconds.
    Idle {
        /// How many.
        seconds: u64,
    },
    /// At this time, by the leader's clock.
    At(Timestamp),
}

impl LogSettings {
    /// Whether a log that has the others is what these ask for.
    pub fn is_same_as(&self, other: &Self) -> bool {
        let bytes = ContentType::BYTES;
        let types = [self, other].map(|it| it.content_type.as_ref());
        let [one, another] = types.map(|it| it.map_or(bytes, ContentType::media_type));
        one.eq_ignore_ascii_case(another)
            && self.expiry == other.expiry
            && self.retention == other.retention
    }
}

/// Of what type records are, as `text/plain; charset=utf-8`: a media type, with parameters if it has some.
/// Kept as it was given. Cloning shares the text.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ContentType(Arc<str>);

impl ContentType {
    /// That of a log which says none.
    pub const BYTES: &str = "application/octet-stream";

    /// As it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same without parameters. Compared without regard to case.
    pub fn media_type(&self) -> &str {
        self.0.split(';').next().unwrap_or_default().trim_end()
    }
}

/// What is no type of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ContentTypeError {
    /// It has no character, or too many.
    #[error("a content type has 1 to {CONTENT_TYPE_BYTES_MAX} characters, and this has {found}")]
    Length {
        /// How many there are.
        found: usize,
    },
    /// It is not of the form `type/subtype`, with printable ASCII behind that.
    #[error("a content type is like text/plain or application/json")]
    Form,
}

impl FromStr for ContentType {
    type Err = ContentTypeError;

    fn from_str(text: &str) -> Result<Self, ContentTypeError> {
        let text = text.trim();
        if text.is_empty() || text.len() > CONTENT_TYPE_BYTES_MAX {
            return Err(ContentTypeError::Length { found: text.chars().count() });
        }
        let it = Self(text.into());
        let is_word = |word: &str| {
            !word.is_empty() && word.bytes().all(|c| c.is_ascii_graphic() && !b",;\"/".contains(&c))
        };
        let is_type = it
            .media_type()
            .split_once('/')
            .is_some_and(|(kind, sub)| is_word(kind) && is_word(sub));
        let is_printable = text.bytes().all(|c| c.is_ascii_graphic() || c == b' ');
        if is_type && is_printable { Ok(it) } else { Err(ContentTypeError::Form) }
    }
}

bounded::checked_text!(ContentType, "a content type");

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(text: &str) -> LogSettings {
        LogSettings { content_type: Some(text.parse().unwrap()), ..LogSettings::default() }
    }

    #[test]
    fn a_content_type_is_kept_as_given_and_compared_by_what_it_means() {
        let json: ContentType = " Application/JSON; charset=utf-8 ".parse().unwrap();
        assert_eq!(json.as_str(), "Application/JSON; charset=utf-8");
        assert_eq!(json.media_type(), "Application/JSON");
        assert!(typed(json.as_str()).is_same_as(&typed("application/json")));
        assert!(!typed("text/plain").is_same_as(&typed("application/json")));
        assert!(typed("application/octet-stream").is_same_as(&LogSettings::default()));
        let idle = |seconds| LogSettings { expiry: Some(Expiry::Idle { seconds }), ..typed("a/b") };
        assert!(idle(3).is_same_as(&idle(3)) && !idle(3).is_same_as(&idle(4)));
        assert!(!idle(3).is_same_as(&typed("a/b")));
    }

    #[test]
    fn what_is_no_content_type_is_refused() {
        let longest = format!("a/{}", "x".repeat(CONTENT_TYPE_BYTES_MAX - 2));
        assert!(longest.parse::<ContentType>().is_ok());
        for bad in
            ["", " ", &format!("{longest}x"), "text", "/plain", "text/", "a b/c", "a/b\n;c", "ä/b"]
        {
            assert!(bad.parse::<ContentType>().is_err(), "{bad:?}");
        }
        assert!(postcard::from_bytes::<ContentType>(b"\x02a/").is_err());
    }

    #[test]
    fn golden_bytes() {
        let bytes = |settings: &LogSettings| postcard::to_stdvec(settings).unwrap();
        assert_eq!(bytes(&LogSettings::default()), [0, 0, 0, 0, 0]);
        let expiry = Some(Expiry::Idle { seconds: 300 });
        assert_eq!(
            bytes(&LogSettings { expiry, ..typed("a/b") }),
            b"\x01\x03a/b\x01\x00\xac\x02\x00\x00\x00"
        );
        let expiry = Some(Expiry::At(Timestamp::new(5)));
        let at = LogSettings { expiry, ..LogSettings::default() };
        assert_eq!(bytes(&at), [0, 1, 1, 5, 0, 0, 0]);
        assert_eq!(postcard::from_bytes::<LogSettings>(&[0, 1, 1, 5, 0, 0, 0]).unwrap(), at);
        let retention = Retention { age_ms: Some(1), bytes: Some(2), records: Some(300) };
        let kept = LogSettings { retention, ..LogSettings::default() };
        assert_eq!(bytes(&kept), [0, 0, 1, 1, 1, 2, 1, 0xac, 2]);
        assert!(!kept.is_same_as(&LogSettings::default()));
    }
}
