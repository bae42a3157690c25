//! What an admin and a node say to each other about a backup: the log as it is, from the head of a segment on
//! or from behind an entry. And what nodes say to each other where one mends a segment: the same for that alone.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::frame::{Frame, FrameError, kind};
use crate::types::{Index, NodeId};

/// What is to be backed up: all that was acknowledged before this was asked. Answered by frames of
/// [`BackupPart`]s.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backup {
    /// The entries behind this one, which the client has. `None`: all there are, and before them what
    /// was before.
    pub after: Option<Index>,
}

/// A sealed segment that another node mends, and so a part of a backup of its log: for nodes alone. Answered by
/// frames of [`BackupPart`]s: its head and its entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentWanted {
    /// Its first entry.
    pub first: Index,
    /// Its last entry.
    pub last: Index,
}

/// Header of a frame of a backup. What it is about follows.
///
/// Its variants are numbered by their order on the wire: a new one goes to the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BackupPart {
    /// The first frame: entries up to this one will be sent.
    Begin {
        /// The last entry.
        through: Index,
    },
    /// A piece of the head of the first segment, in the form in which it is kept; all of them come before
    /// the entries, if they come.
    Head,
    /// Entries, one behind the other.
    Entries,
    /// The last frame.
    End,
    /// Nothing more is sent, for this reason.
    Refused(BackupRefusal),
}

/// Why there is no backup, or no more of it.
///
/// Its variants are numbered by their order on the wire: a new one goes to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BackupRefusal {
    /// The certificate is not an admin's.
    NotAdmin,
    /// Another backup is being taken from this node, or it cannot tell now how far the log reaches.
    Busy,
    /// This node follows nobody who could tell how far the log reaches.
    NotLeader {
        /// The leader, if known.
        leader: Option<NodeId>,
    },
    /// Entries from there on are here, and none before.
    Gone {
        /// The first entry that is here.
        first: Index,
    },
    /// The log does not reach so far.
    Beyond {
        /// The last entry that counts.
        last: Index,
    },
    /// The node could not read its store.
    Failed,
}

impl BackupPart {
    /// A frame of it.
    pub fn to_frame(&self, payload: &[Bytes]) -> Frame {
        Frame::new(kind::BACKUP, self, payload)
    }

    /// What is in a received frame.
    ///
    /// # Errors
    /// Whatever is wrong with the frame.
    pub fn from_frame(received: &Frame) -> Result<(Self, Bytes), FrameError> {
        let (part, payload): (Self, Bytes) = received.read(kind::BACKUP)?;
        match part {
            Self::Head | Self::Entries => Ok((part, payload)),
            _ if payload.is_empty() => Ok((part, payload)),
            _ => Err(FrameError::Payload { kind: kind::BACKUP }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::frame::tests::{check_golden, hex, received};
    use super::*;

    #[test]
    fn golden_bytes() {
        check_golden(&[
            (Backup { after: None }, "00"),
            (Backup { after: Some(Index::new(7)) }, "0107"),
        ]);
        check_golden(&[(SegmentWanted { first: Index::new(7), last: Index::new(300) }, "07ac02")]);
        let refused = BackupPart::Refused;
        check_golden(&[
            (BackupPart::Begin { through: Index::new(300) }, "00ac02"),
            (BackupPart::Head, "01"),
            (BackupPart::Entries, "02"),
            (BackupPart::End, "03"),
            (refused(BackupRefusal::NotAdmin), "0400"),
            (refused(BackupRefusal::Busy), "0401"),
            (refused(BackupRefusal::NotLeader { leader: NodeId::new(2) }), "04020102"),
            (refused(BackupRefusal::Gone { first: Index::new(9) }), "040309"),
            (refused(BackupRefusal::Beyond { last: Index::new(9) }), "040409"),
            (refused(BackupRefusal::Failed), "0405"),
        ]);
        let frame = BackupPart::Entries.to_frame(&[Bytes::from_static(b"ab")]);
        assert_eq!(hex(&frame), "0500000001160261 62".replace(' ', ""));
        let got = BackupPart::from_frame(&received(&frame)).unwrap();
        assert_eq!(got, (BackupPart::Entries, Bytes::from_static(b"ab")));
    }

    #[test]
    fn what_has_no_payload_gets_none() {
        let frame = Frame::new(kind::BACKUP, &BackupPart::End, &[Bytes::from_static(b"x")]);
        let error = BackupPart::from_frame(&received(&frame)).unwrap_err();
        assert_eq!(error, FrameError::Payload { kind: kind::BACKUP });
    }
}
