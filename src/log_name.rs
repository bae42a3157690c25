//! The names of logs.

use std::borrow::Borrow;
use std::str::FromStr;
use std::sync::Arc;

use thiserror::Error;

use crate::bounded;
use crate::limits::LOG_NAME_BYTES_MAX;

/// The name of a log: parts of letters and digits of ASCII, `.`, `_` and `-`, with `/` between them, as
/// `eu/orders-2`; 255 characters at most. No part is `.` or `..`, so that a name is the same as a path.
///
/// Cloning shares the text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogName(Arc<str>);

impl LogName {
    /// That of the log which is there from the beginning.
    pub const MAIN: &str = "main";

    /// Wraps [`Self::MAIN`].
    pub fn main() -> Self {
        Self(Self::MAIN.into())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it begins with this text.
    pub fn starts_with(&self, prefix: &str) -> bool {
        self.0.starts_with(prefix)
    }
}

/// What is no name of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LogNameError {
    /// It has no character, or too many.
    #[error("a log's name has 1 to {LOG_NAME_BYTES_MAX} characters, and this has {found}")]
    Length {
        /// How many there are.
        found: usize,
    },
    /// One of its characters is none of those that it may have.
    #[error("a log's name has letters and digits of ASCII, '.', '_', '-', and '/' between parts")]
    Character,
    /// A part is empty, or `.` or `..`.
    #[error("each part of a log's name has a character at least, and is neither '.' nor '..'")]
    Part,
}

impl FromStr for LogName {
    type Err = LogNameError;

    fn from_str(text: &str) -> Result<Self, LogNameError> {
        if text.is_empty() || text.len() > LOG_NAME_BYTES_MAX {
            return Err(LogNameError::Length { found: text.chars().count() });
        }
        if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-/".contains(&byte)) {
            return Err(LogNameError::Character);
        }
        if text.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(LogNameError::Part);
        }
        Ok(Self(text.into()))
    }
}

/// Names are sorted as their texts are.
impl Borrow<str> for LogName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

bounded::checked_text!(LogName, "the name of a log");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_path_of_plain_parts() {
        let name = |text: &str| text.parse::<LogName>();
        let longest = "x".repeat(LOG_NAME_BYTES_MAX);
        for good in ["main", "eu/orders-2", "a.b_C", "...", "x/.hidden", &longest] {
            assert_eq!(name(good).unwrap().as_str(), good);
        }
        let longer = format!("{longest}x");
        for (text, found) in [("", 0), (&longer, LOG_NAME_BYTES_MAX + 1)] {
            assert_eq!(name(text), Err(LogNameError::Length { found }));
        }
        for bad in ["a b", "ä", "a\n", "a\0", "a*", "a%2f"] {
            assert_eq!(name(bad), Err(LogNameError::Character), "{bad:?}");
        }
        for bad in ["/a", "a/", "a//b", ".", "..", "a/../b", "./a"] {
            assert_eq!(name(bad), Err(LogNameError::Part), "{bad:?}");
        }
    }

    #[test]
    fn nothing_else_is_taken_for_a_name() {
        let bytes = postcard::to_stdvec(&"a/b".parse::<LogName>().unwrap()).unwrap();
        assert_eq!(bytes, b"\x03a/b");
        assert_eq!(postcard::from_bytes::<LogName>(&bytes).unwrap().as_str(), "a/b");
        for bad in [&b"\x00"[..], b"\x02a/", b"\x01 "] {
            assert!(postcard::from_bytes::<LogName>(bad).is_err());
        }
    }
}
