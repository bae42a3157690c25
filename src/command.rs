//! What an entry can change besides appending records.

use serde::{Deserialize, Serialize};

use crate::access::TokenId;
use crate::label::{FenceToken, ProducerName, SequenceWord};
use crate::limits::TURN_MAX;
use crate::log_name::LogName;
use crate::log_settings::LogSettings;
use crate::retention::Retention;
use crate::types::{LogNumber, Offset};

/// What a request asks for besides appending records: a client numbers it among its requests, and it
/// is in the log once, as they are. Most go without records; with some, both happen or neither.
///
/// Its variants are numbered by their order, on the wire and on disk: a new one goes to the end.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Command {
    /// From here on the log's fence token is this one, or there is none.
    Fence(Option<FenceToken>),
    /// From here on the client that asks is this producer; whoever was it before is not any more.
    Open(ProducerName),
    /// This producer is forgotten, and its place is free.
    Forget(ProducerName),
    /// From here on there is such a log, with these records. The leader gives it its number, which is that
    /// of the run in the entry.
    Create(Box<NewLog>),
    /// These records, if there are some, are the log's last: from here on nothing is appended to it.
    Close(Box<Stamp>),
    /// From here on there is no such log: its records are gone, and its name is free.
    Delete,
    /// From here on the log begins at this offset, unless it begins later already: the records before it
    /// are gone.
    Trim(Offset),
    /// These records are appended under a stamp.
    Append(Box<Stamp>),
    /// From here on so much of the log is kept.
    Configure(Retention),
    /// From here on this access token holds no more. It is about no log.
    Revoke(TokenId),
}

/// A log that is to be created.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NewLog {
    /// Its name, which no other log has then.
    pub name: LogName,
    /// What it is created with, for ever.
    pub settings: LogSettings,
    /// The records that it is created with are all that it will have.
    pub closed: bool,
    /// Where it comes from, if it is a fork.
    pub origin: Option<Origin>,
}

/// Where a fork leaves its source: it begins with the source's records before an offset, and goes on at that
/// offset with its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Origin {
    /// The log that it is a fork of.
    pub source: LogNumber,
    /// The offset of its own first record.
    pub at: Offset,
    /// Its own first record is the beginning of the source's at that offset: so many bytes of it. 0: it begins
    /// between two records.
    pub part: u32,
}

/// One of the default settings.
impl From<LogName> for NewLog {
    fn from(name: LogName) -> Self {
        Self { name, settings: LogSettings::default(), closed: false, origin: None }
    }
}

/// What a request is known by, besides its client's number: a program that has no session, and repeats
/// what it has no answer to, is told by it what is there already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Stamp {
    /// Of a log, each request that has such a word has one behind all before it.
    pub word: Option<SequenceWord>,
    /// Which request of which producer it is.
    pub turn: Option<Turn>,
}

/// Which request of a producer this is, as the producer itself counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Turn {
    /// Whose.
    pub producer: ProducerName,
    /// Which process of the producer has it: a newer one takes a higher number, and older ones are refused
    /// from then on.
    pub epoch: u64,
    /// Its number among the requests of that process, counted from 0.
    pub seq: u64,
}

impl Command {
    /// To create this log.
    pub fn create(new: impl Into<NewLog>) -> Self {
        Self::Create(Box::new(new.into()))
    }

    /// The fork that it is to create, if it is one.
    pub fn origin(&self) -> Option<Origin> {
        match self {
            Self::Create(new) => new.origin,
            _ => None,
        }
    }

    /// Whether a client may ask for it along with so many records.
    pub fn is_sound(&self, records: usize) -> bool {
        match self {
            Self::Append(stamp) => records > 0 && stamp.is_sound(),
            Self::Close(stamp) => stamp.is_sound(),
            // What it has of a record of its source comes along.
            Self::Create(new) => records > 0 || new.origin.is_none_or(|origin| origin.part == 0),
            _ => records == 0,
        }
    }

    /// Its stamp, if it has one.
    pub fn stamp(&self) -> Option<&Stamp> {
        match self {
            Self::Append(stamp) | Self::Close(stamp) => Some(stamp),
            _ => None,
        }
    }

    /// The stored form.
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_stdvec(self).expect("a command has no part that postcard refuses")
    }

    /// Reads the stored form.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (command, rest) = postcard::take_from_bytes(bytes).ok()?;
        rest.is_empty().then_some(command)
    }
}

impl Stamp {
    /// Whether its numbers can be counted on from.
    fn is_sound(&self) -> bool {
        self.turn.is_none_or(|turn| turn.epoch <= TURN_MAX && turn.seq <= TURN_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{COMMAND_BYTES_MAX, CONTENT_TYPE_BYTES_MAX, LOG_NAME_BYTES_MAX};
    use crate::log_settings::Expiry;

    #[test]
    fn golden_bytes() {
        let fence = Command::Fence(Some("a1".parse().unwrap()));
        assert_eq!(fence.encode(), b"\x00\x01\x02a1");
        assert_eq!(Command::decode(b"\x00\x01\x02a1"), Some(fence));
        assert_eq!(Command::Fence(None).encode(), [0, 0]);
        assert_eq!(Command::Open("p".parse().unwrap()).encode(), b"\x01\x01p");
        assert_eq!(Command::Forget("p".parse().unwrap()).encode(), b"\x02\x01p");
        let name: LogName = "a/b".parse().unwrap();
        assert_eq!(Command::create(name).encode(), b"\x03\x03a/b\x00\x00\x00\x00\x00\x00\x00");
        let origin = Some(Origin { source: LogNumber::new(1), at: Offset::new(300), part: 3 });
        let fork = NewLog { origin, ..NewLog::from("a".parse::<LogName>().unwrap()) };
        let of_fork = Command::create(fork);
        assert_eq!(of_fork.encode(), b"\x03\x01a\x00\x00\x00\x00\x00\x00\x01\x01\xac\x02\x03");
        assert!(of_fork.is_sound(1) && !of_fork.is_sound(0), "a part of a record is a record");
        assert_eq!(Command::Close(Box::default()).encode(), [4, 0, 0]);
        assert_eq!(Command::Delete.encode(), [5]);
        let turn = Some(Turn { producer: "p".parse().unwrap(), epoch: 2, seq: 300 });
        let stamp = Stamp { word: "w".parse().ok(), turn };
        assert_eq!(Command::Append(stamp.into()).encode(), b"\x07\x01\x01w\x01\x01p\x02\xac\x02");
        assert_eq!(Command::Trim(Offset::new(300)).encode(), [6, 0xac, 2]);
        let content_type = format!("a/{}", "x".repeat(CONTENT_TYPE_BYTES_MAX - 2)).parse().ok();
        let expiry = Some(Expiry::Idle { seconds: u64::MAX });
        let most = Some(u64::MAX);
        let retention = Retention { age_ms: most, bytes: most, records: most };
        let settings = LogSettings { content_type, expiry, retention };
        let name = "x".repeat(LOG_NAME_BYTES_MAX).parse().unwrap();
        let origin =
            Some(Origin { source: LogNumber::LAST, at: Offset::new(u64::MAX), part: u32::MAX });
        let longest = Command::create(NewLog { name, settings, closed: true, origin });
        assert!(longest.encode().len() <= COMMAND_BYTES_MAX);
        assert_eq!(Command::decode(b"\x00\x00!"), None);
        let retention = Retention { records: Some(300), ..Retention::ALL };
        assert_eq!(Command::Configure(retention).encode(), [8, 0, 0, 1, 0xac, 2]);
        assert_eq!(Command::Revoke(TokenId::new(300, 7)).encode(), [9, 0xac, 2, 7]);
        assert_eq!(Command::decode(b"\x0b"), None);
    }
}
