//! What an entry can change besides appending records.

use serde::{Deserialize, Serialize};

use crate::label::{FenceToken, ProducerName};
use crate::log_name::LogName;
use crate::log_settings::LogSettings;
use crate::types::Offset;

/// What a request asks for instead of appending records: a client numbers it among its requests, and it
/// is in the log once, as they are.
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
    /// From here on there is such a log. The leader gives it its number, which is that of the run in the
    /// entry.
    Create(Box<NewLog>),
    /// From here on nothing is appended to the log any more.
    Close,
    /// From here on there is no such log: its records are gone, and its name is free.
    Delete,
    /// From here on the log begins at this offset, unless it begins later already: the records before it
    /// are gone.
    Trim(Offset),
}

/// A log that is to be created.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NewLog {
    /// Its name, which no other log has then.
    pub name: LogName,
    /// What it is created with, for ever.
    pub settings: LogSettings,
}

/// One of the default settings.
impl From<LogName> for NewLog {
    fn from(name: LogName) -> Self {
        Self { name, settings: LogSettings::default() }
    }
}

impl Command {
    /// To create this log.
    pub fn create(new: impl Into<NewLog>) -> Self {
        Self::Create(Box::new(new.into()))
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
        assert_eq!(Command::create(name).encode(), b"\x03\x03a/b\x00\x00");
        assert_eq!([Command::Close.encode(), Command::Delete.encode()], [[4], [5]]);
        assert_eq!(Command::Trim(Offset::new(300)).encode(), [6, 0xac, 2]);
        let content_type = format!("a/{}", "x".repeat(CONTENT_TYPE_BYTES_MAX - 2)).parse().ok();
        let expiry = Some(Expiry::Idle { seconds: u64::MAX });
        let settings = LogSettings { content_type, expiry };
        let name = "x".repeat(LOG_NAME_BYTES_MAX).parse().unwrap();
        let longest = Command::create(NewLog { name, settings });
        assert!(longest.encode().len() <= COMMAND_BYTES_MAX);
        assert_eq!(Command::decode(b"\x00\x00!"), None);
        assert_eq!(Command::decode(b"\x09"), None);
    }
}
