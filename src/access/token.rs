//! Access tokens: what somebody may do, signed.
//!
//! A token says of which cluster it is, what it is called, until when it holds and what it allows; a
//! node needs nothing but the public key to believe it. Its text is `annal1_`, so that those who look for
//! lost secrets know it, and in Base64 for addresses (RFC 4648, section 5, without padding) the fields in
//! postcard and 64 bytes of signature. What is signed begins with words that nothing else begins with
//! which the key signs.

use std::fmt;

use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::grants::Grants;
use super::keys::{PublicKeys, SIGNATURE_BYTES, SigningKey};
use super::token_id::TokenId;
use crate::label::Label;
use crate::limits::{TOKEN_BYTES_MAX, TOKEN_CLOCKS_APART, TOKEN_LIFE_MAX};
use crate::types::{ClusterId, Timestamp};

/// What a token's text begins with: its version.
const MARK: &str = "annal1_";
/// What is signed begins with this.
const SIGNED: &[u8] = b"annal access token 1\0";

/// What a token says.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessToken {
    /// Of which cluster it is.
    pub cluster: ClusterId,
    /// What it is called, and until when it holds.
    pub id: TokenId,
    /// When it was made, in seconds since 1970.
    pub made: u64,
    /// What its maker calls it.
    pub name: Option<Label<64>>,
    /// What it allows.
    pub grants: Grants,
}

/// A text that is no token of this cluster: nobody is told what is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("that is no token of this cluster")]
pub struct Forged;

/// Why a token does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Stale {
    /// It was made later than now.
    #[error("the token is not valid yet: a clock is wrong")]
    NotYet,
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
    /// It would hold longer than any may.
    #[error("the token would hold for longer than any may")]
    TooLong,
}

/// A token that says more than a header has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the token would have {found} characters, and has at most {TOKEN_BYTES_MAX}")]
pub struct LongToken {
    /// Its characters.
    pub found: usize,
}

/// Its name, not its text: whoever sees that has it.
impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AccessToken({})", self.id)
    }
}

impl AccessToken {
    /// The token's text.
    ///
    /// # Errors
    /// It would be too long.
    pub fn sign(&self, key: &SigningKey) -> Result<String, LongToken> {
        let fields = postcard::to_stdvec(self).expect("a token has no part that postcard refuses");
        let signature = key.sign(&signed(&fields));
        let text = format!("{MARK}{}", BASE64URL_NOPAD.encode(&[&fields[..], &signature].concat()));
        if text.len() > TOKEN_BYTES_MAX {
            return Err(LongToken { found: text.len() });
        }
        Ok(text)
    }

    /// The token of this text, if one of these keys has signed it for this cluster. Whether it holds now is
    /// for [`Self::stale_at`] to say.
    ///
    /// # Errors
    /// [`Forged`].
    pub fn open(text: &str, keys: &PublicKeys, cluster: ClusterId) -> Result<Self, Forged> {
        let digits = text.strip_prefix(MARK).filter(|_| text.len() <= TOKEN_BYTES_MAX);
        // One token has one text: bits that mean nothing are refused, not passed over.
        let bytes = BASE64URL_NOPAD.decode(digits.ok_or(Forged)?.as_bytes()).map_err(|_| Forged)?;
        let (fields, signature) = bytes.split_last_chunk::<SIGNATURE_BYTES>().ok_or(Forged)?;
        if !keys.have_signed(&signed(fields), signature) {
            return Err(Forged);
        }
        let (token, rest) = postcard::take_from_bytes::<Self>(fields).map_err(|_| Forged)?;
        if rest.is_empty() && token.cluster == cluster { Ok(token) } else { Err(Forged) }
    }

    /// Why it does not hold at this time, if it does not.
    pub fn stale_at(&self, now: Timestamp) -> Option<Stale> {
        let now = now.get() / 1000;
        let expires = self.id.expires_seconds();
        if self.made > now.saturating_add(TOKEN_CLOCKS_APART.as_secs()) {
            return Some(Stale::NotYet);
        }
        if expires > self.made.saturating_add(TOKEN_LIFE_MAX.as_secs()) {
            return Some(Stale::TooLong);
        }
        (expires <= now).then_some(Stale::Expired)
    }
}

fn signed(fields: &[u8]) -> Vec<u8> {
    [SIGNED, fields].concat()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::access::{Grant, Right, Rights};

    const CLUSTER: ClusterId = ClusterId::new(7);
    const MADE: u64 = 1_800_000_000;

    fn token(life: u64) -> AccessToken {
        let rights = Rights::of([Right::Read]).unwrap();
        let grants = Grants {
            logs: vec![Grant { logs: "orders/*".parse().unwrap(), rights }],
            observe: true,
        };
        let id = TokenId::new(MADE + life, 9);
        AccessToken { cluster: CLUSTER, id, made: MADE, name: "shop".parse().ok(), grants }
    }

    fn open(text: &str, key: &SigningKey) -> Result<AccessToken, Forged> {
        AccessToken::open(text, &key.public(), CLUSTER)
    }

    #[test]
    fn a_token_says_what_was_signed() {
        let (key, _) = SigningKey::generate().unwrap();
        let text = token(60).sign(&key).unwrap();
        assert_eq!(open(&text, &key), Ok(token(60)));
        assert!(text.len() < 200 && !format!("{:?}", token(60)).contains(&text), "{text}");
        let (other, _) = SigningKey::generate().unwrap();
        assert_eq!(open(&text, &other), Err(Forged));
        assert_eq!(AccessToken::open(&text, &key.public(), ClusterId::new(8)), Err(Forged));
    }

    /// Each bit of each character, and every shorter and longer text.
    #[test]
    fn a_token_with_anything_changed_is_none() {
        let (key, _) = SigningKey::generate().unwrap();
        let text = token(60).sign(&key).unwrap();
        for at in 0..text.len() {
            for bit in 0..8 {
                let mut changed = text.clone().into_bytes();
                changed[at] ^= 1 << bit;
                let Ok(changed) = String::from_utf8(changed) else { continue };
                assert_eq!(open(&changed, &key), Err(Forged), "{changed}");
            }
            assert_eq!(open(&text[..at], &key), Err(Forged));
        }
        for longer in
            [format!("{text}A"), format!("{text}="), format!(" {text}"), format!("{text}\n")]
        {
            assert_eq!(open(&longer, &key), Err(Forged), "{longer}");
        }
    }

    #[test]
    fn what_the_key_signs_for_another_purpose_is_no_token() {
        let (key, _) = SigningKey::generate().unwrap();
        let fields = postcard::to_stdvec(&token(60)).unwrap();
        let longer = [&fields[..], b"x"].concat();
        for (fields, signature) in
            [(&fields, key.sign(&fields)), (&longer, key.sign(&signed(&longer)))]
        {
            let bytes = [&fields[..], &signature].concat();
            let text = format!("{MARK}{}", BASE64URL_NOPAD.encode(&bytes));
            assert_eq!(open(&text, &key), Err(Forged));
        }
    }

    #[test]
    fn a_token_holds_for_its_time_and_no_longer() {
        let at = |seconds: u64| Timestamp::new(seconds * 1000);
        let most = TOKEN_LIFE_MAX.as_secs();
        assert_eq!(token(60).stale_at(at(MADE)), None);
        assert_eq!(token(60).stale_at(at(MADE + 59)), None);
        assert_eq!(token(60).stale_at(at(MADE + 60)), Some(Stale::Expired));
        assert_eq!(token(most).stale_at(at(MADE + most - 1)), None);
        assert_eq!(token(most + 1).stale_at(at(MADE)), Some(Stale::TooLong));
        let apart = TOKEN_CLOCKS_APART.as_secs();
        assert_eq!(token(60).stale_at(at(MADE - apart)), None);
        assert_eq!(token(60).stale_at(at(MADE - apart - 1)), Some(Stale::NotYet));
        assert!(TOKEN_LIFE_MAX > Duration::from_hours(24));
    }

    #[test]
    fn a_token_that_no_header_has_room_for_is_not_made() {
        let (key, _) = SigningKey::generate().unwrap();
        let mut long = token(60);
        let rights = Rights::of([Right::Read]).unwrap();
        let logs = "x".repeat(250).parse().unwrap();
        long.grants.logs = vec![Grant { logs, rights }; 16];
        assert!(matches!(long.sign(&key), Err(LongToken { found }) if found > TOKEN_BYTES_MAX));
    }
}
