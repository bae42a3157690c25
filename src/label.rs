//! Short words that people give to things: compared byte by byte, printed as they are.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use crate::bounded;

/// From 1 to `MAX` printable characters of ASCII, no space among them. Held in place, so that it can
/// stand in errors and verdicts that are copied.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label<const MAX: usize> {
    /// NB: unused bytes are zero, so that equal words are equal, and words sort as their texts do.
    bytes: [u8; MAX],
    length: u8,
}

/// The word that an append names to show that it may still come: see [`crate::AppendOptions::fence`].
pub type FenceToken = Label<36>;

/// The name of a producer: see [`crate::Client::producer`].
pub type ProducerName = Label<64>;

/// The word that a request has, which is behind the words of all before it, byte by byte.
pub type SequenceWord = Label<64>;

impl<const MAX: usize> Label<MAX> {
    /// The word.
    pub fn as_str(&self) -> &str {
        let (word, _) = self.bytes.split_at(usize::from(self.length));
        std::str::from_utf8(word).expect("only ASCII is taken")
    }
}

/// What is no word of its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LabelError {
    /// It has no character, or too many.
    #[error("it has 1 to {most} characters, and this has {found}")]
    Length {
        /// How many it may have.
        most: usize,
        /// How many there are.
        found: usize,
    },
    /// One of its characters is a space, is not printable, or not ASCII.
    #[error("it has printable ASCII characters only, and no space")]
    Character,
}

impl<const MAX: usize> FromStr for Label<MAX> {
    type Err = LabelError;

    fn from_str(text: &str) -> Result<Self, LabelError> {
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(LabelError::Character);
        }
        let error = LabelError::Length { most: MAX, found: text.len() };
        let length = u8::try_from(text.len()).ok().filter(|length| *length > 0).ok_or(error)?;
        let mut bytes = [0; MAX];
        bytes.get_mut(..text.len()).ok_or(error)?.copy_from_slice(text.as_bytes());
        Ok(Self { bytes, length })
    }
}

impl<const MAX: usize> fmt::Display for Label<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl<const MAX: usize> fmt::Debug for Label<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl<const MAX: usize> Serialize for Label<MAX> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de, const MAX: usize> Deserialize<'de> for Label<MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        bounded::parsed(deserializer, format_args!("a word of at most {MAX} characters"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_printable_and_not_too_long() {
        type Word = Label<4>;
        let word = |text: &str| text.parse::<Word>();
        assert_eq!(word("a~!4").unwrap().to_string(), "a~!4");
        assert_eq!(word(""), Err(LabelError::Length { most: 4, found: 0 }));
        assert_eq!(word("12345"), Err(LabelError::Length { most: 4, found: 5 }));
        for text in ["a b", "\n", "ü", "\u{1b}[0", "a\0"] {
            assert_eq!(word(text), Err(LabelError::Character), "{text:?}");
        }
        assert!(
            word("a").unwrap() < word("aa").unwrap() && word("aa").unwrap() < word("b").unwrap()
        );
    }

    #[test]
    fn a_word_survives_the_round_trip_and_nothing_else_is_taken_for_one() {
        let token: FenceToken = "writer-7".parse().unwrap();
        let bytes = postcard::to_stdvec(&token).unwrap();
        assert_eq!(bytes, b"\x08writer-7");
        assert_eq!(postcard::from_bytes::<FenceToken>(&bytes).unwrap(), token);
        assert!(postcard::from_bytes::<FenceToken>(b"\x00").is_err());
        assert!(postcard::from_bytes::<Label<7>>(&bytes).is_err());
        assert!(postcard::from_bytes::<FenceToken>(b"\x01 ").is_err());
    }
}
