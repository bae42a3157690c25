//! A request's name in one word, so that its append can be repeated by another process.
//!
//! The word is `s1-` and the base-32 digits (lower case, without i, l, o and u) of:
//!
//! ```text
//!  u8 version, 1
//!  16 bytes client · varints: seq, seq − first unanswered seq, began_at, count of records, digest
//!  u32 CRC32C over all before
//! ```
//!
//! Only the word that [`Token`] itself would print is taken back: a typo is refused, never guessed.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::ask::Ask;
use crate::command::Command;
use crate::types::{ClientId, Index, LogNumber, Seq};

const PREFIX: &str = "s1-";
const VERSION: u8 = 1;
const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const BITS_PER_DIGIT: u32 = 5;

/// Characters of the longest token: 1 + 16 + 4 varints of at most 10 bytes + 5 + 4 bytes.
const LENGTH_MAX: usize = PREFIX.len() + (66 * 8usize).div_ceil(BITS_PER_DIGIT as usize);

/// Names one append request for ever: sent again under it, it is the same append.
///
/// It remembers how many records the request has and a digest of them and of its conditions, so that
/// another request under the same name is noticed before it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    client: ClientId,
    seq: Seq,
    behind: u64,
    began_at: Index,
    count: u32,
    digest: u32,
}

impl Token {
    /// The token of request `seq`, which asks for this; the client has the answers of all before
    /// `first_unanswered`, which is at most `seq`.
    pub fn new(
        client: ClientId,
        (first_unanswered, seq): (Seq, Seq),
        began_at: Index,
        ask: &Ask,
    ) -> Self {
        assert!(Seq::FIRST <= first_unanswered, "requests are counted from 1");
        assert!(first_unanswered <= seq, "{first_unanswered} is after {seq}");
        let behind = seq.get() - first_unanswered.get();
        let count = u32::try_from(ask.records.len()).expect("bounded by the limits of a request");
        Self { client, seq, behind, began_at, count, digest: digest(ask) }
    }

    /// Whose request.
    pub fn client(&self) -> ClientId {
        self.client
    }

    /// Which request.
    pub fn seq(&self) -> Seq {
        self.seq
    }

    /// The first request of this client that had no answer then.
    pub fn first_unanswered(&self) -> Seq {
        Seq::new(self.seq.get() - self.behind)
    }

    /// The commit index of a node when the client was new.
    pub fn began_at(&self) -> Index {
        self.began_at
    }

    /// How many records the request has.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Whether these are the request's records and conditions.
    pub fn fits(&self, ask: &Ask) -> bool {
        ask.records.len() == self.count as usize && digest(ask) == self.digest
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        let fields = postcard::to_stdvec(self).expect("a token has no part that postcard refuses");
        bytes.extend(fields);
        let crc = crc32c::crc32c(&bytes);
        bytes.extend(crc.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Result<Self, TokenError> {
        let (covered, crc) = bytes.split_last_chunk::<4>().ok_or(TokenError::Form)?;
        if crc32c::crc32c(covered) != u32::from_le_bytes(*crc) {
            return Err(TokenError::Checksum);
        }
        let (version, fields) = covered.split_first().ok_or(TokenError::Form)?;
        if *version != VERSION {
            return Err(TokenError::Version { found: *version });
        }
        let token: Self = postcard::from_bytes(fields).map_err(|_| TokenError::Form)?;
        let numbers_hold = token.seq >= Seq::FIRST && token.behind < token.seq.get();
        if numbers_hold { Ok(token) } else { Err(TokenError::Form) }
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(PREFIX)?;
        f.write_str(&to_digits(&self.encode()))
    }
}

impl FromStr for Token {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        if text.len() > LENGTH_MAX {
            return Err(TokenError::Form);
        }
        let digits = text.strip_prefix(PREFIX).ok_or(TokenError::Form)?;
        let token = Self::decode(&from_digits(digits).ok_or(TokenError::Form)?)?;
        // Whatever reads as the same token and is not its one form is a typo all the same.
        if token.to_string() == text { Ok(token) } else { Err(TokenError::Form) }
    }
}

/// A word that is not a token.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TokenError {
    /// Not of a token's form at all.
    #[error("this is not a token: it begins with 's1-', then come digits and lower-case letters")]
    Form,
    /// Nearly a token.
    #[error("the token is mistyped or cut short: its checksum does not fit")]
    Checksum,
    /// Of a form that this program does not know.
    #[error("the token is of form {found}, made by a newer version of annal")]
    Version {
        /// The form.
        found: u8,
    },
}

/// Tells requests apart: CRC32C over each record's length and bytes, the conditions, the command, and the
/// number of the log.
fn digest(ask: &Ask) -> u32 {
    let of_records = ask.records.iter().fold(0, |crc, record| {
        let length = record.len() as u64;
        crc32c::crc32c_append(crc32c::crc32c_append(crc, &length.to_le_bytes()), record)
    });
    let of_conditions = crc32c::crc32c_append(of_records, &ask.conditions.encode());
    let command = ask.command.as_ref().map(Command::encode).unwrap_or_default();
    let of_command = crc32c::crc32c_append(of_conditions, &command);
    // Of `main` there are no bytes, as there are none of no conditions.
    if ask.log == LogNumber::MAIN {
        return of_command;
    }
    crc32c::crc32c_append(of_command, &ask.log.get().to_le_bytes())
}

fn to_digits(bytes: &[u8]) -> String {
    let mut digits = String::new();
    let (mut held, mut bits) = (0u32, 0u32);
    let digit = |five_bits: u32| char::from(DIGITS[(five_bits & 31) as usize]);
    for byte in bytes {
        held = (held << 8 | u32::from(*byte)) & 0xffff;
        bits += 8;
        while bits >= BITS_PER_DIGIT {
            bits -= BITS_PER_DIGIT;
            digits.push(digit(held >> bits));
        }
    }
    if bits > 0 {
        digits.push(digit(held << (BITS_PER_DIGIT - bits)));
    }
    digits
}

/// The bytes of these digits; bits that are left over are dropped. `None` if one is not a digit.
fn from_digits(digits: &str) -> Option<Vec<u8>> {
    let mut bytes = vec![];
    let (mut held, mut bits) = (0u32, 0u32);
    for digit in digits.bytes() {
        let value = DIGITS.iter().position(|known| *known == digit)?;
        held = (held << BITS_PER_DIGIT | u32::try_from(value).ok()?) & 0xffff;
        bits += BITS_PER_DIGIT;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from(held >> bits & 0xff).ok()?);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use proptest::prelude::*;

    fn records(texts: &[&'static str]) -> Ask {
        let bytes = |text: &&'static str| Bytes::from_static(text.as_bytes());
        texts.iter().map(bytes).collect::<Vec<_>>().into()
    }

    fn token() -> Token {
        let client = ClientId::new(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
        Token::new(client, (Seq::new(15), Seq::new(17)), Index::new(300), &records(&["a", "b"]))
    }

    #[test]
    fn golden_word() {
        assert_eq!(token().to_string(), GOLDEN);
        assert_eq!(GOLDEN.parse::<Token>().unwrap(), token());
    }

    const GOLDEN: &str = "s1-07qwvaw9cx2j60ffspnrjst54c0h20nc081asq67t82p38rwd4";

    #[test]
    fn other_records_do_not_fit() {
        assert!(token().fits(&records(&["a", "b"])));
        for other in [&["a"][..], &["ab"], &["ab", ""], &["b", "a"], &["a", "b", ""], &[]] {
            assert!(!token().fits(&records(other)), "{other:?} was taken for the same records");
        }
        let elsewhere = records(&["a", "b"]).on(LogNumber::new(1));
        assert!(!token().fits(&elsewhere), "another log was taken for the same");
    }

    #[test]
    fn every_typo_is_refused() {
        let word = token().to_string();
        for at in 0..word.len() {
            for typed in "0123456789abcdefghijklmnopqrstuvwxyzA-_ ".chars() {
                let mut typo: Vec<char> = word.chars().collect();
                if typo[at] == typed {
                    continue;
                }
                typo[at] = typed;
                let typo: String = typo.into_iter().collect();
                assert!(typo.parse::<Token>().is_err(), "{typo} was taken for {word}");
            }
            assert!(word[..at].parse::<Token>().is_err());
            assert!(format!("{}{}", &word[..at], &word[at + 1..]).parse::<Token>().is_err());
        }
        assert!(format!("{word}0").parse::<Token>().is_err());
        assert!(format!(" {word}").parse::<Token>().is_err());
        assert!(word.to_uppercase().parse::<Token>().is_err());
    }

    proptest! {
        #[test]
        fn tokens_survive_the_round_trip(
            client: u128, seq in 1..=u64::MAX, behind: u64, began_at: u64, record: Vec<u8>,
        ) {
            let first = Seq::new(seq - behind % seq);
            let records = vec![Bytes::from(record)].into();
            let token =
                Token::new(ClientId::new(client), (first, Seq::new(seq)), Index::new(began_at), &records);
            let word = token.to_string();
            prop_assert!(word.len() <= LENGTH_MAX);
            prop_assert_eq!(token.first_unanswered(), first);
            prop_assert_eq!(word.parse::<Token>().unwrap(), token);
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,200}") {
            let _ = text.parse::<Token>();
            let _ = format!("s1-{text}").parse::<Token>();
        }
    }
}
