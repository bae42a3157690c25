//! What nodes say to each other.
//!
//! A connection between two nodes has two streams, both opened by the node that dialled, each
//! beginning with its [`PeerHello`]: first the one for urgent messages, then the one for entries.
//! The other node answers the first with a [`PeerWelcome`]; after that [`PeerMessage`] frames flow
//! both ways on both. Whoever finds the other to be less than it remembers of it closes the connection
//! instead, with a [`PeerRefusal`] as the reason.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::frame::{self, Frame, FrameError, kind};
use crate::bounded;
use crate::entry::{Chain, HEADER_BYTES};
use crate::limits::{ADDRESS_BYTES_MAX, APPEND_ENTRIES_COUNT_MAX, HEAD_PIECE_BYTES_MAX, NODES_MAX};
use crate::raft::{Loss, Message, Standing};
use crate::types::{ClusterId, Incarnation, Index, NodeId, Term, Timestamp};

/// The first frame of each stream between nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerHello {
    /// The cluster that the sender belongs to.
    pub cluster: ClusterId,
    /// The sender: the name in its certificate, or it is refused.
    pub from: NodeId,
    /// Whom it believes to be talking to.
    pub to: NodeId,
    /// What it is.
    pub introduction: Introduction,
}

impl PeerHello {
    /// The message in a frame.
    pub fn to_frame(&self) -> Frame {
        Frame::new(kind::PEER_HELLO, self, &[])
    }

    /// The message in a received frame.
    ///
    /// # Errors
    /// Whatever is wrong with the frame.
    pub fn from_frame(frame: &Frame) -> Result<Self, FrameError> {
        let hello: Self = frame.read_header(kind::PEER_HELLO)?;
        hello.introduction.check(kind::PEER_HELLO)?;
        Ok(hello)
    }
}

/// What a node says of itself to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Introduction {
    /// Its store, as this start of its process found it.
    pub standing: Standing,
    /// The members that its cluster began with, as it is configured, and their addresses; empty, where it
    /// knows none.
    pub founders: BTreeMap<NodeId, String>,
    /// The entry of the newest configuration that it knows to be committed.
    pub as_of: Index,
}

impl Introduction {
    /// This start of the node's process.
    pub fn incarnation(&self) -> Incarnation {
        self.standing.lineage.newest()
    }

    fn check(&self, kind: u8) -> Result<(), FrameError> {
        let is_short = |address: &String| address.len() <= ADDRESS_BYTES_MAX;
        let is_bounded = self.founders.len() <= NODES_MAX && self.founders.values().all(is_short);
        let is_ours = is_bounded && self.standing.lineage.is_well_formed();
        if is_ours { Ok(()) } else { Err(FrameError::Message { kind }) }
    }
}

/// Why a node has nothing to do with another, in the close of their connection.
///
/// Its variants are numbered by their order on the wire: a new one goes to the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Error)]
pub enum PeerRefusal {
    /// The other is less than is remembered of it. It takes no further part.
    #[error("{0}")]
    Lost(Loss),
    /// Another process of the same name is connected from its configured address. It may be gone
    /// soon: it may be the former process of the same node.
    #[error("another process with this name is connected from the configured address")]
    Twin,
    /// The two are configured with different members to begin with.
    #[error(
        "their files name different members: {} here, {} there",
        Names(refusing),
        Names(refused)
    )]
    Members {
        /// Those of the node that refuses.
        refusing: Vec<NodeId>,
        /// Those of the node that is refused.
        refused: Vec<NodeId>,
    },
    /// The two are in terms of which no number of elections can have led from one to the other.
    #[error(
        "it is in term {shown} and this node in term {known}, and no elections lead from one to the \
         other (see `annal node set-term --help`)"
    )]
    Implausible {
        /// The term that it shows.
        shown: Term,
        /// The term of the node that refuses.
        known: Term,
    },
    /// The other is no member, or not yet.
    #[error("it is no member as of entry {as_of}")]
    Stranger {
        /// The entry of the newest configuration that the node that refuses knows to be committed.
        as_of: Index,
    },
}

/// Nodes side by side: `n1, n3`.
struct Names<'a>(&'a [NodeId]);

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, node) in self.0.iter().enumerate() {
            write!(f, "{}{node}", if place == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

impl PeerRefusal {
    /// Its bytes as the reason of a close. They fit into one packet.
    pub fn to_bytes(&self) -> Vec<u8> {
        postcard::to_stdvec(self).expect("a refusal is plain data")
    }

    /// What [`Self::to_bytes`] made, or `None`.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        postcard::from_bytes(bytes).ok()
    }
}

/// The answer to a [`PeerHello`]: from here on messages may flow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerWelcome {
    /// Who answers.
    pub node: NodeId,
    /// What it is.
    pub introduction: Introduction,
}

impl PeerWelcome {
    /// The message in a frame.
    pub fn to_frame(&self) -> Frame {
        Frame::new(kind::PEER_WELCOME, self, &[])
    }

    /// The message in a received frame.
    ///
    /// # Errors
    /// Whatever is wrong with the frame.
    pub fn from_frame(frame: &Frame) -> Result<Self, FrameError> {
        let welcome: Self = frame.read_header(kind::PEER_WELCOME)?;
        welcome.introduction.check(kind::PEER_WELCOME)?;
        Ok(welcome)
    }
}

/// A message of Raft with the sealed entries that it speaks of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerMessage {
    /// The message. `AppendEntries::entries` does not travel: it is empty in what was received.
    pub message: Message,
    /// The chain at `prev_log_id`; there whenever there are entries.
    pub previous_chain: Option<Chain>,
    /// Sealed entries, in order, or one piece of a head; not yet looked into.
    pub entries: Vec<Bytes>,
    /// The sender's wall clock: nothing is decided by it but who had better not lead. Zero says nothing.
    pub clock: Timestamp,
}

/// The header of a [`PeerMessage`] on the wire; the entries' bytes follow.
#[derive(Serialize, Deserialize)]
struct PeerHeader<'a> {
    message: Cow<'a, Message>,
    previous_chain: Option<Chain>,
    #[serde(deserialize_with = "bounded::list::<_, _, APPEND_ENTRIES_COUNT_MAX>")]
    lengths: Vec<u32>,
    clock: Timestamp,
}

impl PeerMessage {
    /// A message without entries.
    pub fn bare(message: Message) -> Self {
        Self { message, previous_chain: None, entries: vec![], clock: Timestamp::default() }
    }

    /// Whether it goes on the stream for urgent messages.
    pub fn is_urgent(&self) -> bool {
        self.message.is_urgent()
    }

    /// Bytes of its entries, and a little for the rest: what queues count.
    pub fn queue_bytes(&self) -> usize {
        const MESSAGE_BYTES: usize = 256;
        MESSAGE_BYTES + self.entries.iter().map(|entry| 8 + entry.len()).sum::<usize>()
    }

    /// The message in a frame. The entries' bytes are not copied.
    pub fn to_frame(&self) -> Frame {
        assert!(self.is_well_formed(), "{:?}", self.message);
        let lengths = frame::lengths_of(&self.entries);
        let header = PeerHeader {
            message: without_entries(&self.message),
            previous_chain: self.previous_chain,
            lengths,
            clock: self.clock,
        };
        Frame::new(kind::PEER_MESSAGE, &header, &self.entries)
    }

    /// The message in a received frame. Its entries are cut apart, not checked.
    ///
    /// # Errors
    /// Whatever is wrong with the frame.
    pub fn from_frame(frame: &Frame) -> Result<Self, FrameError> {
        const KIND: u8 = kind::PEER_MESSAGE;
        let (header, payload): (PeerHeader<'static>, Bytes) = frame.read(KIND)?;
        let entries = frame::cut(KIND, payload, &header.lengths)?;
        let message = header.message.into_owned();
        let no_infos = !matches!(&message, Message::AppendEntries(m) if !m.entries.is_empty());
        let PeerHeader { previous_chain, clock, .. } = header;
        let received = Self { message, previous_chain, entries, clock };
        if no_infos && received.is_well_formed() {
            Ok(received)
        } else {
            Err(FrameError::Message { kind: KIND })
        }
    }

    /// Entries and chain travel with AppendEntries only, a heartbeat has no entries, no entry is
    /// shorter than its header, and entries come with the chain that they continue. A piece of a head is
    /// alone, and no more than may be sent at once.
    fn is_well_formed(&self) -> bool {
        if let Message::InstallSnapshot(install) = &self.message {
            let [piece] = &self.entries[..] else { return false };
            let is_piece = !piece.is_empty() && piece.len() as u64 <= HEAD_PIECE_BYTES_MAX;
            return is_piece && install.received == 0 && self.previous_chain.is_none();
        }
        let Message::AppendEntries(append) = &self.message else {
            return self.entries.is_empty() && self.previous_chain.is_none();
        };
        if append.heartbeat || self.entries.is_empty() {
            return self.entries.is_empty();
        }
        self.previous_chain.is_some()
            && self.entries.len() <= APPEND_ENTRIES_COUNT_MAX
            && self.entries.iter().all(|entry| entry.len() >= HEADER_BYTES)
    }
}

/// The message as it travels: what `entries` says stands in the sealed entries, too.
fn without_entries(message: &Message) -> Cow<'_, Message> {
    match message {
        Message::AppendEntries(append) if !append.entries.is_empty() => {
            let mut append = append.clone();
            append.entries.clear();
            Cow::Owned(Message::AppendEntries(append))
        }
        Message::AppendEntries(_)
        | Message::PreVote(_)
        | Message::PreVoteResponse(_)
        | Message::RequestVote(_)
        | Message::RequestVoteResponse(_)
        | Message::AppendEntriesResponse(_)
        | Message::TimeoutNow(_)
        | Message::InstallSnapshot(_)
        | Message::InstallSnapshotResponse(_) => Cow::Borrowed(message),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::frame::tests::{check_golden, hex, received};
    use super::*;
    use crate::raft::{
        AppendEntries, AppendEntriesResponse, AppendResult, EntryInfo, HardState, HeadInfo,
        InstallSnapshot, InstallSnapshotResponse, Lineage, PreVote, PreVoteResponse, RequestVote,
        RequestVoteResponse, TimeoutNow,
    };
    use crate::types::{DiskFull, Index, LogId};

    fn node(number: u16) -> NodeId {
        NodeId::new(number).unwrap()
    }

    fn append(heartbeat: bool) -> Message {
        Message::AppendEntries(AppendEntries {
            term: Term::new(3),
            prev_log_id: LogId::new(Index::new(17), Term::new(2)),
            leader_commit: Index::new(16),
            round: 5,
            heartbeat,
            entries: vec![],
        })
    }

    #[test]
    fn golden_bytes_of_hello_and_welcome() {
        let hello = PeerHello {
            cluster: ClusterId::new(0xab),
            from: node(1),
            to: node(2),
            introduction: introduction(),
        };
        let said = "070002020609".to_owned() + "030105" + "1102" + "02010161" + "02026262" + "04";
        let hello_begins = "280000000101ab0000000000000000000000000000000102";
        assert_eq!(hex(&hello.to_frame()), hello_begins.to_owned() + &said);
        assert_eq!(PeerHello::from_frame(&received(&hello.to_frame())).unwrap(), hello);
        let welcome = PeerWelcome { node: node(2), introduction: introduction() };
        assert_eq!(hex(&welcome.to_frame()), "17000000010202".to_owned() + &said);
        assert_eq!(PeerWelcome::from_frame(&received(&welcome.to_frame())).unwrap(), welcome);
    }

    fn introduction() -> Introduction {
        let lineage = Lineage::new(Incarnation::new(7));
        let lineage = lineage.started(Incarnation::new(6)).started(Incarnation::new(9));
        let hard_state = HardState { current_term: Term::new(3), voted_for: Some(node(5)) };
        let last = LogId::new(Index::new(17), Term::new(2));
        let members = [(node(1), "a".to_owned()), (node(2), "bb".to_owned())];
        let standing = Standing { lineage, hard_state, last };
        Introduction { standing, founders: members.into(), as_of: Index::new(4) }
    }

    #[test]
    fn an_introduction_is_bounded() {
        let refused = Err(FrameError::Message { kind: kind::PEER_WELCOME });
        let read = |introduction| {
            let welcome = PeerWelcome { node: node(2), introduction };
            PeerWelcome::from_frame(&received(&welcome.to_frame()))
        };
        let mut long = introduction();
        long.founders.insert(node(3), "x".repeat(ADDRESS_BYTES_MAX + 1));
        assert_eq!(read(long), refused);
        let mut many = introduction();
        many.founders.extend((1..=16).map(|number| (node(number), String::new())));
        assert_eq!(read(many), refused);
        for starts in [0, 1, 3, u64::MAX] {
            let mut crooked = introduction();
            crooked.standing.lineage.starts = starts;
            assert_eq!(read(crooked), refused);
        }
        assert!(read(introduction()).is_ok());
    }

    #[test]
    fn refusals_survive_the_round_trip_and_fit_into_a_packet() {
        let all: Vec<NodeId> = (1..=15).map(|number| node(u16::MAX - number)).collect();
        let refusals = [
            PeerRefusal::Lost(Loss::OlderCopy { shown: u64::MAX, remembered: u64::MAX }),
            PeerRefusal::Twin,
            PeerRefusal::Members { refusing: all.clone(), refused: all },
            PeerRefusal::Implausible { shown: Term::new(u64::MAX), known: Term::new(u64::MAX) },
        ];
        for refusal in refusals {
            let bytes = refusal.to_bytes();
            assert!(bytes.len() < 1000, "{} bytes", bytes.len());
            assert_eq!(PeerRefusal::from_bytes(&bytes), Some(refusal));
        }
        assert_eq!(PeerRefusal::from_bytes(&[]), None);
    }

    #[test]
    fn golden_bytes_of_messages() {
        let vote = PeerMessage::bare(Message::RequestVote(RequestVote {
            term: Term::new(3),
            last_log_id: LogId::new(Index::new(17), Term::new(2)),
            leadership_transfer: false,
        }));
        assert_eq!(hex(&vote.to_frame()), "0a00000001030203110200000000");
        let entries = PeerMessage {
            message: append(false),
            previous_chain: Some(Chain::new([0xcc; 32])),
            entries: vec![vec![0xee; HEADER_BYTES].into()],
            clock: Timestamp::new(9),
        };
        let expected = format!(
            "{}{}{}{}{}",
            "72000000",
            "0103",
            "0403110210050000",
            "01".to_owned() + &"cc".repeat(32) + "014409",
            "ee".repeat(HEADER_BYTES)
        );
        assert_eq!(hex(&entries.to_frame()), expected);
    }

    #[test]
    fn golden_bytes_of_every_variant() {
        let (term, last_log_id) = (Term::new(3), LogId::new(Index::new(17), Term::new(2)));
        let response = |result, disk_full| {
            Message::AppendEntriesResponse(AppendEntriesResponse {
                term,
                round: 5,
                result,
                disk_full,
            })
        };
        let rejected = AppendResult::Rejected { prev_log_id: last_log_id, hint: LogId::ZERO };
        let full = DiskFull { free_bytes: 7, needed_bytes: 8 };
        let vote = RequestVote { term, last_log_id, leadership_transfer: true };
        let granted = RequestVoteResponse { term, vote_granted: true };
        let pre_granted = PreVoteResponse { term, vote_granted: false };
        check_golden(&[
            (Message::PreVote(PreVote { term, last_log_id }), "00031102"),
            (Message::PreVoteResponse(pre_granted), "010300"),
            (Message::RequestVote(vote), "0203110201"),
            (Message::RequestVoteResponse(granted), "030301"),
            (append(true), "0403110210050100"),
            (response(AppendResult::Accepted { match_index: Index::new(9) }, None), "050305000900"),
            (response(rejected, Some(full)), "0503050111020000010708"),
            (response(AppendResult::Stale, None), "0503050200"),
            (Message::TimeoutNow(TimeoutNow { term }), "0603"),
            (
                Message::InstallSnapshotResponse(InstallSnapshotResponse {
                    term,
                    head: last_log_id,
                    offset: 300,
                    received: 9,
                }),
                "08031102ac0209",
            ),
        ]);
        let install = PeerMessage { entries: vec![vec![0xee; 3].into()], ..install(300, 0) };
        let hash = "cc".repeat(32);
        let expected = format!("31000000010307031102ac03{hash}ac0200010300eeeeee");
        assert_eq!(hex(&install.to_frame()), expected);
        assert_eq!(PeerMessage::from_frame(&received(&install.to_frame())), Ok(install));
    }

    /// A piece of a head, without its bytes.
    fn install(offset: u64, received: u64) -> PeerMessage {
        let id = LogId::new(Index::new(17), Term::new(2));
        let head = HeadInfo { id, bytes: 428, hash: [0xcc; 32] };
        let term = Term::new(3);
        PeerMessage::bare(Message::InstallSnapshot(InstallSnapshot {
            term,
            head,
            offset,
            received,
        }))
    }

    #[test]
    fn a_piece_of_a_head_is_one_and_not_too_large() {
        let message = Err(FrameError::Message { kind: kind::PEER_MESSAGE });
        let of = |chain, lengths: Vec<u32>| {
            let payload = lengths.iter().sum::<u32>() as usize;
            hostile(install(0, 0).message, chain, lengths, payload)
        };
        let most = u32::try_from(HEAD_PIECE_BYTES_MAX).unwrap();
        assert!(of(None, vec![most]).is_ok());
        for lengths in [vec![], vec![0], vec![1, 1], vec![most + 1]] {
            assert_eq!(of(None, lengths), message);
        }
        assert_eq!(of(Some(Chain::START), vec![1]), message);
        // How much has come is nobody's to say but the receiver's.
        let said = hostile(install(0, 7).message, None, vec![1], 1).unwrap();
        assert_eq!(said.message, install(0, 0).message);
    }

    #[test]
    fn golden_bytes_of_every_refusal() {
        let lost = PeerRefusal::Lost;
        let (term, acknowledged) = (Term::new, Index::new(9));
        check_golden(&[
            (lost(Loss::MadeAnew { term: term(2), acknowledged }), "00000209"),
            (lost(Loss::OlderCopy { shown: 2, remembered: 3 }), "00010203"),
            (lost(Loss::OtherStart { count: 4 }), "000204"),
            (lost(Loss::LowerTerm { shown: term(2), remembered: term(3) }), "00030203"),
            (lost(Loss::Vote { term: term(2) }), "000402"),
            (lost(Loss::Entries { shown: LogId::ZERO, acknowledged }), "0005000009"),
            (lost(Loss::Twin), "0006"),
            (lost(Loss::Replaced), "0007"),
            (lost(Loss::Removed { as_of: Index::new(9) }), "000809"),
            (PeerRefusal::Twin, "01"),
            (
                PeerRefusal::Members { refusing: vec![node(1)], refused: vec![node(2), node(3)] },
                "020101020203",
            ),
            (PeerRefusal::Stranger { as_of: Index::new(9) }, "0409"),
        ]);
    }

    #[test]
    fn what_the_core_knows_of_entries_does_not_travel() {
        let Message::AppendEntries(mut with_infos) = append(false) else { unreachable!() };
        with_infos.entries = vec![EntryInfo { term: Term::new(3), bytes: 68, configuration: None }];
        let sent = PeerMessage {
            message: Message::AppendEntries(with_infos),
            previous_chain: Some(Chain::START),
            entries: vec![vec![1; HEADER_BYTES].into()],
            clock: Timestamp::new(1),
        };
        let got = PeerMessage::from_frame(&received(&sent.to_frame())).unwrap();
        assert_eq!(got.message, append(false));
        assert_eq!(got.entries, sent.entries);
    }

    /// A frame as a faulty or hostile peer might make it.
    fn hostile(
        message: Message,
        previous_chain: Option<Chain>,
        lengths: Vec<u32>,
        payload: usize,
    ) -> Result<PeerMessage, FrameError> {
        let clock = Timestamp::default();
        let header = PeerHeader { message: Cow::Owned(message), previous_chain, lengths, clock };
        let payload = Bytes::from(vec![1; payload]);
        PeerMessage::from_frame(&received(&Frame::new(kind::PEER_MESSAGE, &header, &[payload])))
    }

    #[test]
    fn contradictions_are_refused() {
        let chain = Some(Chain::START);
        let message = Err(FrameError::Message { kind: kind::PEER_MESSAGE });
        let payload = Err(FrameError::Payload { kind: kind::PEER_MESSAGE });
        assert!(hostile(append(false), chain, vec![68, 70], 138).is_ok());
        assert!(hostile(append(false), chain, vec![], 0).is_ok());
        assert_eq!(hostile(append(false), chain, vec![68, 70], 137), payload);
        assert_eq!(hostile(append(false), chain, vec![68], 69), payload);
        assert_eq!(hostile(append(false), chain, vec![u32::MAX; 3], 68), payload);
        assert_eq!(hostile(append(false), None, vec![68], 68), message);
        assert_eq!(hostile(append(false), chain, vec![67], 67), message);
        assert_eq!(hostile(append(true), chain, vec![68], 68), message);
        let header = Err(FrameError::Header { kind: kind::PEER_MESSAGE });
        assert_eq!(hostile(append(false), chain, vec![68; 257], 257 * 68), header);
        let vote = Message::RequestVote(RequestVote {
            term: Term::new(3),
            last_log_id: LogId::ZERO,
            leadership_transfer: false,
        });
        assert_eq!(hostile(vote.clone(), None, vec![68], 68), message);
        assert_eq!(hostile(vote, chain, vec![], 0), message);
        let Message::AppendEntries(mut with_infos) = append(false) else { unreachable!() };
        with_infos.entries = vec![EntryInfo { term: Term::new(3), bytes: 68, configuration: None }];
        assert_eq!(hostile(Message::AppendEntries(with_infos), chain, vec![68], 68), header);
    }

    #[test]
    fn every_cut_of_a_message_is_refused() {
        let whole = PeerMessage {
            message: append(false),
            previous_chain: Some(Chain::START),
            entries: vec![vec![1; HEADER_BYTES].into()],
            clock: Timestamp::new(1),
        };
        let body = frame::encode_all(&[whole.to_frame()]).concat();
        for length in 6..body.len() {
            let mut cut = bytes::BytesMut::from(&body[..length]);
            cut[..4].copy_from_slice(&u32::try_from(length - 4).unwrap().to_le_bytes());
            let frame = Frame::split_from(&mut cut).unwrap().unwrap();
            assert!(PeerMessage::from_frame(&frame).is_err(), "{length} bytes were taken for all");
        }
    }

    proptest! {
        #[test]
        fn messages_survive_the_round_trip(
            term in any::<u64>(), index in any::<u64>(), round in any::<u64>(),
            granted in any::<bool>(),
            entries in prop::collection::vec(prop::collection::vec(any::<u8>(), 68..300), 0..5),
        ) {
            let id = LogId::new(Index::new(index), Term::new(term));
            let response = PeerMessage::bare(Message::AppendEntriesResponse(AppendEntriesResponse {
                term: Term::new(term),
                round,
                result: if granted {
                    AppendResult::Accepted { match_index: Index::new(index) }
                } else {
                    AppendResult::Rejected { prev_log_id: id, hint: LogId::ZERO }
                },
                disk_full: granted.then_some(DiskFull { free_bytes: index, needed_bytes: term }),
            }));
            prop_assert_eq!(PeerMessage::from_frame(&received(&response.to_frame())).unwrap(), response);
            let append = PeerMessage {
                message: Message::AppendEntries(AppendEntries {
                    term: Term::new(term),
                    prev_log_id: id,
                    leader_commit: Index::new(index),
                    round,
                    heartbeat: false,
                    entries: vec![],
                }),
                previous_chain: Some(Chain::new([7; 32])),
                entries: entries.into_iter().map(Bytes::from).collect(),
                clock: Timestamp::new(index),
            };
            prop_assert_eq!(PeerMessage::from_frame(&received(&append.to_frame())).unwrap(), append);
        }

        #[test]
        fn arbitrary_bodies_never_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let length = u32::try_from(body.len() + 2).unwrap().to_le_bytes();
            let wire = [&length[..], &[1, kind::PEER_MESSAGE], &body].concat();
            let frame = Frame::split_from(&mut wire.as_slice().into()).unwrap().unwrap();
            let _ = PeerMessage::from_frame(&frame);
        }
    }
}
