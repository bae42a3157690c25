//! Where in a log an offset points.
//!
//! An offset of the protocol is a word that a server makes up and a client hands back. Ours has the log's
//! number and the record's offset, so that an offset of another log is known from one of this.

use std::fmt;

use crate::types::{LogNumber, Offset};

/// Digits of each of the two numbers.
const DIGITS: usize = 16;

/// A position in a log, as clients see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) number: LogNumber,
    pub(super) offset: Offset,
}

/// Where a reader wants to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum From {
    Start,
    Now,
    Place(Place),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { number, offset } = self;
        write!(f, "{:0DIGITS$}_{:0DIGITS$}", number.get(), offset.get())
    }
}

impl From {
    /// Of a word that a client hands in; `None` if it was never made here.
    pub(super) fn parse(word: &str) -> Option<Self> {
        match word {
            "-1" => Some(Self::Start),
            "now" => Some(Self::Now),
            word => Place::parse(word).map(Self::Place),
        }
    }
}

impl Place {
    /// Whether it is the start of any log: programs know that word without having been told it.
    pub(super) fn is_any_start(self) -> bool {
        self == Self { number: LogNumber::MAIN, offset: Offset::ZERO }
    }

    fn parse(word: &str) -> Option<Self> {
        let (number, offset) = word.split_once('_')?;
        let is_number =
            |text: &str| text.len() == DIGITS && text.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number(number) || !is_number(offset) {
            return None;
        }
        let number = number.parse::<u64>().ok()?;
        // A number that no log has is of another log.
        let number = LogNumber::new(u32::try_from(number).unwrap_or(u32::MAX));
        Some(Self { number, offset: Offset::new(offset.parse().ok()?) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_words_that_were_made_here_are_offsets() {
        let place = Place { number: LogNumber::new(7), offset: Offset::new(42) };
        let word = place.to_string();
        assert_eq!(word, "0000000000000007_0000000000000042");
        assert_eq!(From::parse(&word), Some(From::Place(place)));
        assert_eq!(From::parse("-1"), Some(From::Start));
        assert_eq!(From::parse("now"), Some(From::Now));
        assert!(From::parse("9999999999999999_9999999999999999").is_some());
        for bad in [
            "",
            "0",
            "-2",
            "NOW",
            "7_42",
            "0000000000000007_0000000000000042\n",
            "0000000000000007_000000000000004x",
            "0000000000000007_00000000000000042",
            "0000000000000007,0000000000000042",
            "+000000000000007_0000000000000042",
            "../../etc",
            "\0",
        ] {
            assert_eq!(From::parse(bad), None, "{bad:?}");
        }
    }
}
