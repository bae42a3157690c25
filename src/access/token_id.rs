//! What an access token is called, or a certificate.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize, Serializer};
use thiserror::Error;

use crate::types::Timestamp;

/// Names an access token, or a certificate, and is no secret: when it expires, and a number that was drawn at random. So
/// whoever revokes one by its name says how long that is to be remembered. Sorted by that time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
pub struct TokenId {
    /// In seconds since 1970.
    expires: u64,
    number: u64,
}

/// What is no name of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a token's id is as 6a1f3c20-9f8e7d6c5b4a3f21")]
pub struct TokenIdError;

impl TokenId {
    /// Of a token that expires at this time, in seconds since 1970.
    pub const fn new(expires: u64, number: u64) -> Self {
        Self { expires, number }
    }

    /// When it expires, in seconds since 1970.
    pub const fn expires_seconds(self) -> u64 {
        self.expires
    }

    /// The number that was drawn.
    #[cfg(feature = "server")]
    pub(crate) const fn number(self) -> u64 {
        self.number
    }

    /// From when on it is of no use.
    pub const fn expires(self) -> Timestamp {
        Timestamp::new(self.expires.saturating_mul(1000))
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}-{:016x}", self.expires, self.number)
    }
}

impl fmt::Debug for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for TokenId {
    type Err = TokenIdError;

    fn from_str(text: &str) -> Result<Self, TokenIdError> {
        let (expires, number) = text.split_once('-').ok_or(TokenIdError)?;
        let parse = |digits| u64::from_str_radix(digits, 16).map_err(|_| TokenIdError);
        let id = Self::new(parse(expires)?, parse(number)?);
        // One name, one form.
        if id.to_string() == text { Ok(id) } else { Err(TokenIdError) }
    }
}

/// As text where people read it.
impl Serialize for TokenId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return serializer.collect_str(self);
        }
        (self.expires, self.number).serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_one_form() {
        let id = TokenId::new(0x6a1f_3c20, 7);
        assert_eq!(id.to_string(), "6a1f3c20-0000000000000007");
        assert_eq!("6a1f3c20-0000000000000007".parse(), Ok(id));
        assert_eq!(id.expires(), Timestamp::new(0x6a1f_3c20 * 1000));
        for bad in ["", "-", "6A1F3C20-0000000000000007", "+6a1f3c2-0000000000000007", "6a1f3c20-7"]
        {
            assert_eq!(bad.parse::<TokenId>(), Err(TokenIdError), "{bad}");
        }
        let bytes = postcard::to_stdvec(&TokenId::new(300, 7)).unwrap();
        assert_eq!(bytes, [0xac, 2, 7]);
        assert_eq!(postcard::from_bytes::<TokenId>(&bytes).unwrap(), TokenId::new(300, 7));
    }

    #[test]
    fn who_expires_first_is_first() {
        assert!(TokenId::new(1, 9) < TokenId::new(2, 0));
    }
}
