//! What a client can ask of a log besides its records, and the answer.

use serde::{Deserialize, Serialize};

use crate::access::TokenId;
use crate::bounded;
use crate::label::{FenceToken, ProducerName};
use crate::limits::{LOGS_PAGE, PRODUCERS_MAX, REVOKED_TOKENS_MAX};
use crate::log_name::LogName;
use crate::log_settings::LogSettings;
use crate::types::{Index, LogNumber, Offset};

/// What is asked. The answer comes as that of a read does: in a frame that ends it, without records.
///
/// Its variants are numbered by their order on the wire: a new one goes to the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Inquiry {
    /// Which fence token it has.
    Fence,
    /// How this producer stands.
    Producer(ProducerName),
    /// How all of them stand.
    Producers,
    /// How the log of this name stands, whichever log is asked.
    Log(LogName),
    /// How the logs stand whose names begin so, by name, so many as there is room for.
    Logs {
        /// What their names begin with.
        prefix: String,
        /// Only those behind this one.
        after: Option<LogName>,
    },
    /// Nothing but up to where a read of this log must see that begins now: a node asks its leader, and
    /// serves the read from its own disk.
    Index(LogNumber),
    /// Which access tokens are revoked, whichever log is asked.
    Revocations,
}

/// How a log stands, as far as it was asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// The last entry that it reflects.
    pub as_of: Index,
    /// Its fence token.
    pub fence: Option<FenceToken>,
    /// The producers that were asked for, as far as there are such, by name.
    #[serde(deserialize_with = "bounded::list::<_, _, PRODUCERS_MAX>")]
    pub producers: Vec<ProducerState>,
    /// The logs that were asked for, as far as there are such, by name.
    #[serde(deserialize_with = "bounded::list::<_, _, LOGS_PAGE>")]
    pub logs: Vec<LogState>,
    /// The access tokens that are revoked, if that was asked for, in the order in which they expire.
    #[serde(deserialize_with = "bounded::list::<_, _, REVOKED_TOKENS_MAX>")]
    pub revoked: Vec<TokenId>,
}

/// How a log stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LogState {
    /// Its name.
    pub name: LogName,
    /// Its number, which no other log has or ever had: who deletes it and creates it again gets another.
    pub number: LogNumber,
    /// What it was created with.
    pub settings: LogSettings,
    /// The offset of its first record: what was before it was trimmed.
    pub start_offset: Offset,
    /// The offset after its last record.
    pub next_offset: Offset,
    /// Nothing is appended to it any more.
    pub closed: bool,
    /// It is deleted, and keeps its name and some of its records for its forks alone.
    pub deleted: bool,
    /// Where it comes from, if it is a fork.
    pub fork: Option<Fork>,
    /// How many forks it has.
    pub forks: u32,
}

/// Where a fork comes from: what it has before an offset are its source's records.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Fork {
    /// The log that it is a fork of.
    pub source: LogName,
    /// The number of that one.
    pub number: LogNumber,
    /// The offset of its own first record.
    pub at: Offset,
    /// If its own first record is the beginning of the source's at that offset: how many bytes of it. Else 0.
    pub part: u32,
}

/// How a producer stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ProducerState {
    /// Its name.
    pub name: ProducerName,
    /// How often it was opened: an older process of it is refused.
    pub epoch: u64,
    /// The entry in which it was opened last.
    pub opened_at: Index,
    /// How many records it has in the log: the number of its last one, counted from 1.
    pub last_seq: u64,
    /// The offset of that one.
    pub offset: Option<Offset>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_bytes() {
        let name = "p".parse().unwrap();
        let log: LogName = "l".parse().unwrap();
        let inquiries = [
            Inquiry::Fence,
            Inquiry::Producer(name),
            Inquiry::Producers,
            Inquiry::Log(log.clone()),
            Inquiry::Logs { prefix: "l/".to_owned(), after: Some(log.clone()) },
            Inquiry::Index(LogNumber::new(3)),
            Inquiry::Revocations,
        ];
        let bytes: Vec<_> = inquiries.iter().map(|it| postcard::to_stdvec(it).unwrap()).collect();
        let expected = [
            &b"\x00"[..],
            b"\x01\x01p",
            b"\x02",
            b"\x03\x01l",
            b"\x04\x02l/\x01\x01l",
            b"\x05\x03",
            b"\x06",
        ];
        assert_eq!(bytes, expected);
        let (opened_at, offset) = (Index::new(3), Some(Offset::new(9)));
        let producers = vec![ProducerState { name, epoch: 2, opened_at, last_seq: 4, offset }];
        let (number, start_offset) = (LogNumber::new(2), Offset::new(4));
        let next_offset = Offset::new(5);
        let settings = LogSettings::default();
        let fork =
            Fork { source: log.clone(), number: LogNumber::new(1), at: Offset::new(3), part: 8 };
        let log = LogState {
            name: log,
            number,
            settings,
            start_offset,
            next_offset,
            closed: true,
            deleted: false,
            fork: Some(fork),
            forks: 6,
        };
        let logs = vec![log];
        let (fence, revoked) = ("f".parse().ok(), vec![TokenId::new(6, 8)]);
        let standing = Standing { as_of: Index::new(7), fence, producers, logs, revoked };
        let bytes = postcard::to_stdvec(&standing).unwrap();
        assert_eq!(
            bytes,
            b"\x07\x01\x01f\x01\x01p\x02\x03\x04\x01\x09\x01\x01l\x02\x00\x00\x00\x00\x00\x04\x05\x01\
            \x00\x01\x01l\x01\x03\x08\x06\x01\x06\x08"
        );
        assert_eq!(postcard::from_bytes::<Standing>(&bytes).unwrap(), standing);
    }
}
