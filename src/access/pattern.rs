//! Which logs are meant.

use std::str::FromStr;

use thiserror::Error;

use crate::bounded;
use crate::log_name::{LogName, LogNameError};

/// Names logs: one by its name, as `orders/eu`; all below a part, as `orders/*`, however many parts
/// follow; or all that there are and will be, `*`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogPattern(String);

/// What is no pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LogPatternError {
    /// A star stands elsewhere than at the end, behind a `/`.
    #[error("a '*' stands alone, or at the end behind a '/', as in orders/*")]
    Star,
    /// What is left is no name.
    #[error(transparent)]
    Name(#[from] LogNameError),
}

impl LogPattern {
    const STAR: char = '*';

    /// Whether it means a log of this name.
    pub fn matches(&self, name: &LogName) -> bool {
        match self.0.strip_suffix(Self::STAR) {
            Some(prefix) => name.starts_with(prefix),
            None => self.0 == name.as_str(),
        }
    }

    /// Whether it means every log whose name begins so.
    #[cfg(feature = "server")]
    pub fn means_all_with(&self, beginning: &str) -> bool {
        self.0.strip_suffix(Self::STAR).is_some_and(|prefix| beginning.starts_with(prefix))
    }

    /// What the names of all that are meant begin with.
    pub fn prefix(&self) -> &str {
        self.0.trim_end_matches(Self::STAR)
    }

    /// Whether it means all that the other one does.
    pub fn covers(&self, other: &Self) -> bool {
        match self.0.strip_suffix(Self::STAR) {
            Some(prefix) => other.prefix().starts_with(prefix),
            None => self == other,
        }
    }
}

impl FromStr for LogPattern {
    type Err = LogPatternError;

    fn from_str(text: &str) -> Result<Self, LogPatternError> {
        let named = match text.strip_suffix(Self::STAR) {
            Some("") => return Ok(Self(text.to_owned())),
            Some(prefix) => prefix.strip_suffix('/').ok_or(LogPatternError::Star)?,
            None => text,
        };
        if named.contains(Self::STAR) {
            return Err(LogPatternError::Star);
        }
        named.parse::<LogName>()?;
        Ok(Self(text.to_owned()))
    }
}

bounded::checked_text!(LogPattern, "a pattern of logs");

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> LogPattern {
        text.parse().unwrap()
    }

    #[test]
    fn a_pattern_means_what_it_says_and_nothing_beside_it() {
        let means = |text: &str, name: &str| pattern(text).matches(&name.parse().unwrap());
        for (text, name) in
            [("*", "main"), ("*", "a/b"), ("orders/*", "orders/eu/1"), ("orders", "orders")]
        {
            assert!(means(text, name), "{text} {name}");
        }
        for (text, name) in [
            ("orders/*", "orders"),
            ("orders/*", "orders2/eu"),
            ("orders/*", "Orders/eu"),
            ("orders", "orders/eu"),
            ("orders", "order"),
            ("main", "main2"),
        ] {
            assert!(!means(text, name), "{text} {name}");
        }
    }

    #[test]
    fn what_could_mean_more_is_no_pattern() {
        for bad in ["a*", "**", "*/a", "a/*/b", "a/**", "a*/*"] {
            assert_eq!(bad.parse::<LogPattern>(), Err(LogPatternError::Star), "{bad}");
        }
        for bad in ["", "/*", "a//*", "../*", "a/../*", "a b", "a/"] {
            let parsed = bad.parse::<LogPattern>();
            assert!(matches!(parsed, Err(LogPatternError::Name(_))), "{bad}");
        }
    }

    #[test]
    fn a_beginning_is_meant_if_all_that_has_it_is() {
        let means = |text: &str, beginning: &str| pattern(text).means_all_with(beginning);
        assert!(means("*", "") && means("a/*", "a/") && means("a/*", "a/b"));
        assert!(!means("a/*", "") && !means("a/*", "a") && !means("a", "a"));
    }

    #[test]
    fn one_pattern_covers_another() {
        for (more, less) in [("*", "a/*"), ("*", "*"), ("a/*", "a/b/*"), ("a/*", "a/b"), ("a", "a")]
        {
            assert!(pattern(more).covers(&pattern(less)), "{more} {less}");
        }
        for (some, other) in [("a/*", "*"), ("a/*", "a"), ("a", "a/*"), ("a", "b"), ("a/*", "ab")] {
            assert!(!pattern(some).covers(&pattern(other)), "{some} {other}");
        }
    }
}
