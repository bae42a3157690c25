//! What clients and nodes say to each other.
//!
//! A client opens a stream for each thing it does; the first frame says what. Appends share one
//! long stream: requests go out pipelined, answers come back as their entries commit.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::backup::{Backup, SegmentWanted};
use super::conditions::{Conditions, Unmet};
use super::frame::{self, Frame, FrameError, header_only, kind};
use super::standing::{Inquiry, Standing};
use crate::access::{Grants, TokenId};
use crate::bounded;
use crate::command::Command;
use crate::limits::{
    ADDRESSES_MAX, APPEND_REPLIES_MAX, DAMAGED_TOLD_MAX, NODES_MAX, READ_FRAME_RECORDS_MAX,
    RECORD_BYTES_MAX, REQUEST_BYTES_MAX, REQUEST_RECORDS_MAX,
};
use crate::members::{MemberChange, MemberReply, Members};
use crate::types::{
    ClientId, ClusterId, DiskFull, Incarnation, Index, LogNumber, NodeId, Offset, Seq, SeqRange,
    Term, Timestamp,
};

/// The first frame of a stream that a client opens.
///
/// Its variants are numbered by their order on the wire: a new one goes to the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Who are you, and who leads? Answered by one [`Welcome`].
    Hello,
    /// This stream carries appends: [`AppendRun`] frames follow, answered by [`AppendReplies`].
    Appends,
    /// Answered by [`Records`] frames, the last with `end` set, or one refusal.
    Read(Read),
    /// Crash as leader of this term (admins only). Answered by one [`CrashReply`].
    CrashLeader {
        /// The term that the client believes the node leads.
        term: Term,
    },
    /// For the leader, whom the client does not reach: the node that is asked hands the stream on to
    /// it, if it follows one, and its answers back. One hop: what a node hands on is served where it
    /// arrives. A node that cannot hand it on answers for itself.
    Onward(Onward),
    /// What one node hands on to another: it is served where it arrives, and counted as its client's.
    /// Nobody but a node may speak for others.
    OnBehalf(OnBehalf),
    /// The log as it is (admins only). Answered by frames of [`crate::wire::backup::BackupPart`]s.
    Backup(Backup),
    /// A sealed segment (nodes only, to each other). Answered likewise.
    Segment(SegmentWanted),
    /// How are you? (nodes only, to each other). Answered by one [`Soundness`](super::soundness::Soundness).
    Soundness,
    /// Who are the members? Answered by one [`MembersReply`].
    Members,
    /// Change the members (admins only). Answered by one [`MemberReply`].
    ChangeMembers {
        /// The entry that says who they are, as far as the client has seen: if they were changed since, it
        /// has to look again.
        as_of: Index,
        /// To what.
        change: MemberChange,
    },
}

/// The answer to [`Request::Members`].
///
/// Its variants are numbered by their order on the wire: a new one goes to the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MembersReply {
    /// These.
    Members(Members),
    /// This node does not lead, or not yet for certain.
    NotLeader {
        /// The leader, if known.
        leader: Option<NodeId>,
    },
}

/// What may be handed on to the leader.
///
/// Its variants are numbered by their order on the wire: a new one goes to the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Onward {
    /// As [`Request::Appends`].
    Appends,
    /// As [`Request::Read`].
    Read(Read),
}

/// What a node hands on, and for whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OnBehalf {
    /// The identity that the client's certificate has shown to the node.
    pub identity: String,
    /// The number of the client's connection, by which the node tells it from its others.
    pub connection: u64,
    /// What its certificate is called, if it has a name.
    pub certificate: Option<TokenId>,
    /// What its certificate allows, if that is less than its role does.
    pub grants: Option<Grants>,
    /// What the client asks.
    pub request: Onward,
}

/// A node's account of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// Its cluster.
    pub cluster: ClusterId,
    /// Its name.
    pub node: NodeId,
    /// This start of its process.
    pub incarnation: Incarnation,
    /// Its role.
    pub role: Role,
    /// Its term.
    pub term: Term,
    /// The leader of that term, if it knows one.
    pub leader: Option<NodeId>,
    /// Whether it is a leader whose no-op is committed: then it serves appends and reads.
    pub ready: bool,
    /// Its last index.
    pub last_index: Index,
    /// Its commit index. A new client's `began_at`.
    pub commit_index: Index,
    /// The offset after the last committed record of `main`.
    pub next_offset: Offset,
    /// Its disk is full: it keeps what is left for what must go on, and takes no records as leader.
    pub disk_full: Option<DiskFull>,
    /// How far the time of its newest entry is ahead of its clock, in ms. Later records have that time
    /// until the clock gets there.
    pub log_ahead_ms: u64,
    /// Every member and where it listens, as the log says and as this node is configured; then where members are in fact,
    /// if that is somewhere else.
    #[serde(deserialize_with = "bounded::list::<_, _, ADDRESSES_MAX>")]
    pub nodes: Vec<(NodeId, String)>,
    /// How its process is doing.
    pub vitals: Vitals,
}

/// How a node's process is doing. People read it; nothing is decided by it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vitals {
    /// The version of its program, as `annal version` prints it.
    pub version: String,
    /// How long it has been running, in ms.
    pub uptime_ms: u64,
    /// Terms whose leader it has come to know since it started.
    pub elections: u64,
    /// The disk under its folder, once it has been looked at.
    pub disk: Option<DiskUse>,
    /// How long ago each other node said something last, in ms; without those that have not since it
    /// started.
    #[serde(deserialize_with = "bounded::list::<_, _, NODES_MAX>")]
    pub heard_ms: Vec<(NodeId, u64)>,
    /// Sealed segments that its process has read to find rot.
    pub scrubbed: u64,
    /// Stretches of the log that are damaged on its disk, the first of them: the first and the last index of
    /// each.
    #[serde(deserialize_with = "bounded::list::<_, _, DAMAGED_TOLD_MAX>")]
    pub damaged: Vec<(Index, Index)>,
    /// Until when its certificate holds.
    pub certificate_expires: Option<Timestamp>,
}

/// What a node takes of its disk, as it was a moment ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskUse {
    /// What its folder takes, in bytes.
    pub used_bytes: u64,
    /// What it could have beside that, in bytes.
    pub free_bytes: u64,
}

/// A node's role, as shown to people.
///
/// Its variants are numbered by their order on the wire: a new one goes to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Follows a leader, or waits for one.
    Follower,
    /// Asks whether it would be elected.
    PreCandidate,
    /// Campaigns.
    Candidate,
    /// Leads.
    Leader,
    /// Has a new store in place of one that was lost, and is being filled: it does not vote yet.
    Recovering,
    /// Has lost what it promised, and keeps what is left: the others cannot do without it for now.
    Damaged,
    /// Came later than its cluster, has the log or is being filled, and does not vote.
    Learner,
}

/// Header of a frame with append requests of one client that follow one another, each with as many
/// records as the others; the records' bytes follow, one after the other. It has no more records and no
/// more bytes than one request may have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppendRun {
    /// Who asks (thesis 6.3).
    pub client: ClientId,
    /// The numbers of the requests.
    pub seqs: SeqRange,
    /// The client has the answers of all its requests before this one.
    pub first_unanswered: Seq,
    /// The commit index of the node that greeted the client when it was new.
    pub began_at: Index,
    /// Where to.
    pub log: LogNumber,
    /// What must be so for it.
    pub conditions: Conditions,
    /// What it asks for besides appending records: one request, most often without any.
    pub command: Option<Command>,
    /// The length of each record in bytes; no more than a request may have.
    #[serde(deserialize_with = "bounded::list::<_, _, REQUEST_RECORDS_MAX>")]
    pub lengths: Vec<u32>,
}

/// Header of a frame with answers to append requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppendReplies {
    /// The answers, in no particular order.
    #[serde(deserialize_with = "bounded::list::<_, _, APPEND_REPLIES_MAX>")]
    pub replies: Vec<AppendReply>,
}

/// The answer to append requests that follow one another: those of a run, or some of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppendReply {
    /// Whose requests.
    pub client: ClientId,
    /// Which.
    pub seqs: SeqRange,
    /// What became of them. If they are in the log, this is the first of them: they are side by side
    /// in one entry, each with as many records ([`Appended::later`]).
    pub result: Result<Appended, AppendRefusal>,
}

/// An acknowledged request: on the disks of a majority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Appended {
    /// The offset of its first record.
    pub offset: Offset,
    /// How many records it has.
    pub count: u32,
    /// The term of the entry that holds it.
    pub term: Term,
    /// The index of that entry.
    pub index: Index,
    /// Who acknowledges.
    pub leader: NodeId,
}

impl AppendReply {
    /// Whether it is an answer that a node can give: to requests that a client can have, whose records
    /// lie where there are offsets.
    pub fn is_valid(&self) -> bool {
        let ends = |appended: &Appended| {
            let records = u64::from(self.seqs.count) * u64::from(appended.count);
            appended.offset.get().checked_add(records).is_some()
        };
        self.seqs.is_valid() && self.result.as_ref().map_or(true, ends)
    }
}

impl Appended {
    /// The request `number` after this one in its run.
    #[must_use]
    pub fn later(self, number: u64) -> Self {
        Self { offset: self.offset.plus(number * u64::from(self.count)), ..self }
    }
}

/// Why an append request was not acknowledged.
///
/// Its variants are numbered by their order on the wire: a new one goes to the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AppendRefusal {
    /// Not taken: this node does not lead. Try the leader.
    NotLeader {
        /// The leader, if known.
        leader: Option<NodeId>,
    },
    /// Not taken: too much is waiting. Try again.
    Busy,
    /// Not taken: requests before it are missing. Send them again, in order, from this one on.
    Gap {
        /// The number that the node expects next.
        expected: Seq,
    },
    /// Outcome unknown for ever: the table of clients no longer remembers.
    Expired,
    /// Outcome unknown: the node had taken it and stepped down. Send the same again elsewhere.
    Unknown,
    /// Not taken: it breaks a limit, or names a log that does not exist.
    Invalid,
    /// Not taken: there is too little room on a disk. Try again, here or wherever the leader is by
    /// then.
    DiskFull {
        /// Whose disk.
        node: NodeId,
        /// What it has and needs.
        full: DiskFull,
    },
    /// Not taken: what was asked for is not so. Of requests that follow one another this is said of the
    /// first; the others were not taken with it.
    Unmet(Unmet),
    /// Not taken: only an admin may ask for it.
    NotAdmin,
    /// Not taken: the certificate does not allow it.
    Forbidden,
}

/// What to read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Read {
    /// From which log.
    pub log: LogNumber,
    /// Where to begin.
    pub from: ReadFrom,
    /// At most so many records; `None`: all up to the end.
    pub limit: Option<u64>,
    /// Whether the answer must reflect everything acknowledged before (thesis 6.4), which only the
    /// leader can tell: another node asks it. Else it is this node's committed prefix.
    pub linearizable: bool,
    /// Whether to go on with what is committed later, until the client closes the stream.
    pub follow: bool,
    /// What is asked instead of records.
    pub inquiry: Option<Inquiry>,
}

impl Read {
    /// What a node asks its leader that serves a read of this log itself. It is answered with
    /// [`Records::index`].
    pub fn of_index(log: LogNumber) -> Self {
        Self {
            log: LogNumber::MAIN,
            from: ReadFrom::Offset(Offset::ZERO),
            limit: Some(0),
            linearizable: true,
            follow: false,
            inquiry: Some(Inquiry::Index(log)),
        }
    }

    /// Whose records are to be read by it: who asks how a log stands does not use it.
    pub fn used(&self) -> LogNumber {
        match &self.inquiry {
            None => self.log,
            Some(Inquiry::Index(log)) => *log,
            Some(_) => LogNumber::MAIN,
        }
    }
}

/// Where a read begins.
///
/// Its variants are numbered by their order on the wire: a new one goes to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReadFrom {
    /// At this offset.
    Offset(Offset),
    /// So many records before the end.
    Last(u64),
    /// At the first record that there is.
    Start,
}

/// Header of a frame with records; their bytes follow, one after the other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Records {
    /// The offset of the first record; the others follow without a gap.
    pub first_offset: Offset,
    /// Records of one entry, side by side: how many, and the entry's term, index and time.
    #[serde(deserialize_with = "bounded::list::<_, _, READ_FRAME_RECORDS_MAX>")]
    pub spans: Vec<EntrySpan>,
    /// The length of each record in bytes.
    #[serde(deserialize_with = "bounded::list::<_, _, READ_FRAME_RECORDS_MAX>")]
    pub lengths: Vec<u32>,
    /// Set in the last frame of a read that does not follow.
    pub end: bool,
    /// Why there is nothing, if the read was refused.
    pub refusal: Option<ReadRefusal>,
    /// The answer to a question, in the only frame.
    pub standing: Option<Standing>,
}

/// Records of one entry, side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntrySpan {
    /// How many records.
    pub count: u32,
    /// The term of their entry.
    pub term: Term,
    /// The index of their entry.
    pub index: Index,
    /// The time of their entry.
    pub time: Timestamp,
}

/// Why a read was refused.
///
/// Its variants are numbered by their order on the wire: a new one goes to the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReadRefusal {
    /// This node does not lead, or ceased to while the read waited. Try the leader.
    NotLeader {
        /// The leader, if known.
        leader: Option<NodeId>,
    },
    /// Too many reads wait. Try again.
    Busy,
    /// The log does not exist.
    UnknownLog,
    /// The node could not read its store.
    Failed,
    /// What is before this offset was trimmed.
    Trimmed {
        /// The offset of the first record that there is.
        start: Offset,
    },
    /// The certificate does not allow it.
    Forbidden,
}

/// The answer to [`Request::CrashLeader`].
///
/// Its variants are numbered by their order on the wire: a new one goes to the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CrashReply {
    /// It aborts as soon as this has arrived.
    Crashing {
        /// Who.
        node: NodeId,
        /// The term that it led.
        term: Term,
        /// The start of its process that ends with this.
        incarnation: Incarnation,
    },
    /// It does not lead that term.
    NotLeader {
        /// Its term.
        term: Term,
        /// The leader, if known.
        leader: Option<NodeId>,
    },
    /// The certificate is not an admin's.
    NotAdmin,
    /// The cluster was created without fault injection.
    NotAllowed,
}

header_only!(Request, kind::REQUEST);
header_only!(Welcome, kind::WELCOME);
header_only!(AppendReplies, kind::APPEND_REPLIES);
header_only!(CrashReply, kind::CRASH_REPLY);
header_only!(MembersReply, kind::MEMBERS);
header_only!(MemberReply, kind::MEMBER_REPLY);

impl AppendRun {
    /// The requests in a frame, with their records, which are not copied.
    ///
    /// `lengths` must be theirs: [`Self::lengths_of`].
    pub fn to_frame(&self, records: &[Bytes]) -> Frame {
        assert_eq!(self.lengths, frame::lengths_of(records), "lengths of other records");
        Frame::new(kind::APPEND, self, records)
    }

    /// The requests in a received frame, and their records, one after the other. More records than a
    /// request may have are no run; whether it keeps the other limits is for
    /// [`Self::is_within_limits`] to say: that is answered, not cut off.
    ///
    /// # Errors
    /// Whatever is wrong with the frame.
    pub fn from_frame(received: &Frame) -> Result<(Self, Bytes), FrameError> {
        let (run, records): (Self, Bytes) = received.read(kind::APPEND)?;
        frame::check_lengths(kind::APPEND, &records, &run.lengths)?;
        Ok((run, records))
    }

    /// What to put into `lengths`.
    pub fn lengths_of(records: &[Bytes]) -> Vec<u32> {
        frame::lengths_of(records)
    }

    /// How many records each request has. There must be requests.
    pub fn each(&self) -> u32 {
        u32::try_from(self.lengths.len()).expect("a bounded list") / self.seqs.count
    }

    /// Whether each of its requests asks for something, with as many records as the others, and all of them
    /// together no more and no larger ones than a request may have.
    pub fn is_within_limits(&self) -> bool {
        let mut lengths = self.lengths.iter().map(|length| *length as usize);
        let is_sound = match &self.command {
            Some(command) => self.seqs.count == 1 && command.is_sound(self.lengths.len()),
            None => !self.lengths.is_empty(),
        };
        self.seqs.is_valid()
            && is_sound
            && self.lengths.len() <= REQUEST_RECORDS_MAX
            && self.lengths.len().is_multiple_of(self.seqs.count as usize)
            && lengths.clone().all(|length| length <= RECORD_BYTES_MAX)
            && lengths.try_fold(0_usize, usize::checked_add).is_some_and(|b| b <= REQUEST_BYTES_MAX)
    }
}

impl Records {
    /// A frame without records, of a read that goes on.
    pub fn empty(first_offset: Offset) -> Self {
        Self {
            first_offset,
            spans: vec![],
            lengths: vec![],
            end: false,
            refusal: None,
            standing: None,
        }
    }

    /// A frame that refuses the read: nothing else follows.
    pub fn refused(refusal: ReadRefusal) -> Self {
        Self { end: true, refusal: Some(refusal), ..Self::empty(Offset::ZERO) }
    }

    /// A frame that answers a question: nothing else follows.
    pub fn answered(standing: Standing) -> Self {
        Self { end: true, standing: Some(standing), ..Self::empty(Offset::ZERO) }
    }

    /// Up to where a read must see, as the leader answered [`Read::of_index`]; `None` if it refused.
    pub fn index(&self) -> Option<Index> {
        self.standing.as_ref().map(|standing| standing.as_of)
    }

    /// The header in a frame, with the records, which are not copied.
    ///
    /// `lengths` must be theirs ([`AppendRun::lengths_of`]) and `spans` must cover them.
    pub fn to_frame(&self, records: &[Bytes]) -> Frame {
        assert_eq!(self.lengths, frame::lengths_of(records), "lengths of other records");
        assert!(self.is_well_formed(), "{:?}", self.spans);
        Frame::new(kind::RECORDS, self, records)
    }

    /// The header in a frame, with the records one after the other: as [`Self::to_frame`], without a
    /// handle on each.
    pub fn to_frame_of(&self, records: Bytes) -> Frame {
        let bytes: u64 = self.lengths.iter().map(|length| u64::from(*length)).sum();
        assert_eq!(bytes, records.len() as u64, "lengths of other records");
        assert!(self.is_well_formed(), "{:?}", self.spans);
        Frame::new(kind::RECORDS, self, &[records])
    }

    /// The header in a received frame, and the records.
    ///
    /// # Errors
    /// Whatever is wrong with the frame.
    pub fn from_frame(received: &Frame) -> Result<(Self, Vec<Bytes>), FrameError> {
        let (header, payload): (Self, Bytes) = received.read(kind::RECORDS)?;
        let records = frame::cut(kind::RECORDS, payload, &header.lengths)?;
        if header.is_well_formed() {
            Ok((header, records))
        } else {
            Err(FrameError::Message { kind: kind::RECORDS })
        }
    }

    /// Every record belongs to a span, none of which is empty, and a refusal has no records.
    fn is_well_formed(&self) -> bool {
        let in_spans: u64 = self.spans.iter().map(|span| u64::from(span.count)).sum();
        in_spans == self.lengths.len() as u64
            && self.spans.iter().all(|span| span.count > 0)
            && (self.refusal.is_none() || self.lengths.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::frame::tests::{check_golden, hex, received};
    use super::*;
    use crate::types::LogId;
    use crate::wire::conditions::Obstacle;

    fn n1() -> NodeId {
        NodeId::new(1).unwrap()
    }

    #[test]
    fn golden_bytes_of_requests() {
        for (request, bytes) in [
            (Request::Hello, "03000000011000"),
            (Request::Appends, "03000000011001"),
            (
                Request::Read(Read {
                    log: LogNumber::MAIN,
                    from: ReadFrom::Offset(Offset::new(5)),
                    limit: Some(2),
                    linearizable: true,
                    follow: false,
                    inquiry: None,
                }),
                "0b0000000110020000050102010000",
            ),
            (Request::CrashLeader { term: Term::new(3) }, "0400000001100303"),
            (Request::Onward(Onward::Appends), "0400000001100400"),
            (
                Request::OnBehalf(OnBehalf {
                    identity: "a".to_owned(),
                    connection: 7,
                    certificate: None,
                    grants: None,
                    request: Onward::Appends,
                }),
                "09000000011005016107000000",
            ),
            (Request::Backup(Backup { after: None }), "0400000001100600"),
            (
                Request::Segment(SegmentWanted { first: Index::new(7), last: Index::new(9) }),
                "050000000110070709",
            ),
            (Request::Soundness, "03000000011008"),
            (Request::Members, "03000000011009"),
            (
                Request::ChangeMembers {
                    as_of: Index::new(9),
                    change: MemberChange::Transfer { to: Some(n1()) },
                },
                "0700000001100a09030101",
            ),
        ] {
            assert_eq!(hex(&request.to_frame()), bytes);
            assert_eq!(Request::from_frame(&received(&request.to_frame())).unwrap(), request);
        }
    }

    #[test]
    fn golden_bytes_of_every_variant() {
        let read = |from| Read {
            log: LogNumber::MAIN,
            from,
            limit: None,
            linearizable: false,
            follow: true,
            inquiry: None,
        };
        check_golden(&[
            (Request::Hello, "00"),
            (Request::Appends, "01"),
            (Request::Read(read(ReadFrom::Last(5))), "0200010500000100"),
            (Request::CrashLeader { term: Term::new(3) }, "0303"),
            (Request::Onward(Onward::Appends), "0400"),
            (
                Request::Onward(Onward::Read(read(ReadFrom::Offset(Offset::new(5))))),
                "040100000500000100",
            ),
        ]);
        check_golden(&[
            (Role::Follower, "00"),
            (Role::PreCandidate, "01"),
            (Role::Candidate, "02"),
            (Role::Leader, "03"),
            (Role::Recovering, "04"),
            (Role::Damaged, "05"),
            (Role::Learner, "06"),
        ]);
        let full = DiskFull { free_bytes: 7, needed_bytes: 8 };
        let as_of = LogId::new(Index::new(3), Term::new(2));
        let unmet = |obstacle| AppendRefusal::Unmet(Unmet { as_of, obstacle });
        check_golden(&[
            (AppendRefusal::NotLeader { leader: Some(n1()) }, "000101"),
            (AppendRefusal::Busy, "01"),
            (AppendRefusal::Gap { expected: Seq::new(8) }, "0208"),
            (AppendRefusal::Expired, "03"),
            (AppendRefusal::Unknown, "04"),
            (AppendRefusal::Invalid, "05"),
            (AppendRefusal::DiskFull { node: n1(), full }, "06010708"),
            (unmet(Obstacle::Offset { next: Offset::new(5) }), "0703020005"),
            (unmet(Obstacle::Fence { present: "f".parse().ok() }), "07030201010166"),
            (unmet(Obstacle::Superseded { epoch: 4 }), "0703020204"),
            (unmet(Obstacle::NoProducer), "07030203"),
            (unmet(Obstacle::TooManyProducers), "07030204"),
            (AppendRefusal::NotAdmin, "08"),
            (AppendRefusal::Forbidden, "09"),
        ]);
        check_golden(&[
            (ReadRefusal::NotLeader { leader: None }, "0000"),
            (ReadRefusal::Busy, "01"),
            (ReadRefusal::UnknownLog, "02"),
            (ReadRefusal::Failed, "03"),
            (ReadRefusal::Forbidden, "05"),
        ]);
        let (term, incarnation) = (Term::new(2), Incarnation::new(3));
        check_golden(&[
            (CrashReply::Crashing { node: n1(), term, incarnation }, "00010203"),
            (CrashReply::NotLeader { term, leader: Some(n1()) }, "01020101"),
            (CrashReply::NotAdmin, "02"),
            (CrashReply::NotAllowed, "03"),
        ]);
    }

    #[test]
    fn golden_bytes_of_a_welcome() {
        let welcome = Welcome {
            cluster: ClusterId::new(1),
            node: n1(),
            incarnation: Incarnation::new(2),
            role: Role::Leader,
            term: Term::new(3),
            leader: Some(n1()),
            ready: true,
            last_index: Index::new(4),
            commit_index: Index::new(5),
            next_offset: Offset::new(6),
            disk_full: Some(DiskFull { free_bytes: 7, needed_bytes: 8 }),
            log_ahead_ms: 9,
            nodes: vec![(n1(), "h:1".to_owned())],
            vitals: Vitals {
                version: "1".to_owned(),
                uptime_ms: 10,
                elections: 11,
                disk: Some(DiskUse { used_bytes: 12, free_bytes: 13 }),
                heard_ms: vec![(n1(), 14)],
                scrubbed: 15,
                damaged: vec![(Index::new(16), Index::new(17))],
                certificate_expires: Some(Timestamp::new(18)),
            },
        };
        let expected = "360000000111010000000000000000000000000000000102030301010104050601070809010103683a31\
             01310a0b010c0d01010e0f0110110112";
        assert_eq!(hex(&welcome.to_frame()), expected);
        assert_eq!(Welcome::from_frame(&received(&welcome.to_frame())).unwrap(), welcome);
    }

    /// A client once refused what a node of a large cluster said, if a router was before each.
    #[test]
    fn every_member_may_be_where_its_file_does_not_say() {
        let members = || (1..16).map(|number| NodeId::new(number).unwrap());
        let at =
            |network: u8| move |node: NodeId| (node, format!("10.0.{network}.{}:7101", node.get()));
        let welcome = Welcome {
            cluster: ClusterId::new(1),
            node: n1(),
            incarnation: Incarnation::new(2),
            role: Role::Follower,
            term: Term::new(3),
            leader: None,
            ready: false,
            last_index: Index::ZERO,
            commit_index: Index::ZERO,
            next_offset: Offset::ZERO,
            disk_full: None,
            log_ahead_ms: 0,
            nodes: members().map(at(1)).chain(members().map(at(2))).collect(),
            vitals: Vitals::default(),
        };
        assert_eq!(welcome.nodes.len(), ADDRESSES_MAX);
        assert_eq!(Welcome::from_frame(&received(&welcome.to_frame())).unwrap(), welcome);
        let more = members().map(at(3)).take(1);
        let nodes = welcome.nodes.iter().cloned().chain(more).collect();
        assert!(Welcome::from_frame(&received(&Welcome { nodes, ..welcome }.to_frame())).is_err());
    }

    #[test]
    fn golden_bytes_of_appends_and_their_answers() {
        let records = [Bytes::from_static(b"a"), Bytes::new(), Bytes::from_static(b"bc")];
        let seqs = SeqRange { first: Seq::new(3), count: 3 };
        let run = AppendRun {
            client: ClientId::new(7),
            seqs,
            first_unanswered: Seq::new(2),
            began_at: Index::new(9),
            log: LogNumber::MAIN,
            conditions: Conditions::default(),
            command: None,
            lengths: AppendRun::lengths_of(&records),
        };
        let frame = run.to_frame(&records);
        assert_eq!(
            hex(&frame),
            "2200000001120700000000000000000000000000000003030209000000000003010002616263"
        );
        let got = AppendRun::from_frame(&received(&frame)).unwrap();
        assert_eq!(got, (run.clone(), Bytes::from_static(b"abc")));
        assert!(run.is_within_limits());
        assert_eq!(run.each(), 1);

        let result = |result| AppendReply { client: ClientId::new(7), seqs, result };
        let appended = Appended {
            offset: Offset::new(1),
            count: 2,
            term: Term::new(4),
            index: Index::new(5),
            leader: n1(),
        };
        assert_eq!(appended.later(2), Appended { offset: Offset::new(5), ..appended });
        let replies = AppendReplies {
            replies: vec![
                result(Ok(appended)),
                result(Err(AppendRefusal::NotLeader { leader: None })),
                result(Err(AppendRefusal::Gap { expected: Seq::new(8) })),
            ],
        };
        let client = "07000000000000000000000000000000";
        assert_eq!(
            hex(&replies.to_frame()),
            format!("45000000011303{client}0303000102040501{client}0303010000{client}0303010208")
        );
        assert_eq!(AppendReplies::from_frame(&received(&replies.to_frame())).unwrap(), replies);
    }

    fn records_header(lengths: Vec<u32>, counts: &[u32]) -> Records {
        let span = |count: &u32| EntrySpan {
            count: *count,
            term: Term::new(2),
            index: Index::new(3),
            time: Timestamp::new(4),
        };
        Records {
            first_offset: Offset::new(1),
            spans: counts.iter().map(span).collect(),
            lengths,
            end: true,
            refusal: None,
            standing: None,
        }
    }

    #[test]
    fn golden_bytes_of_records_and_of_a_crash() {
        let header = records_header(vec![1, 2], &[2]);
        let frame = header.to_frame(&[Bytes::from_static(b"a"), Bytes::from_static(b"bc")]);
        assert_eq!(hex(&frame), "110000000114010102020304020102010000616263");
        assert_eq!(Records::from_frame(&received(&frame)).unwrap().0, header);
        let refused = Records::refused(ReadRefusal::Busy).to_frame(&[]);
        assert_eq!(hex(&refused), "09000000011400000001010100");
        let crashing = CrashReply::Crashing {
            node: n1(),
            term: Term::new(2),
            incarnation: Incarnation::new(3),
        };
        assert_eq!(hex(&crashing.to_frame()), "06000000011500010203");
        assert_eq!(CrashReply::from_frame(&received(&crashing.to_frame())).unwrap(), crashing);
    }

    #[test]
    fn records_that_contradict_their_header_are_refused() {
        let refuse = |header: &Records, payload: usize| {
            let payload = Bytes::from(vec![1; payload]);
            let frame = received(&Frame::new(kind::RECORDS, header, &[payload]));
            Records::from_frame(&frame).unwrap_err()
        };
        let message = FrameError::Message { kind: kind::RECORDS };
        let payload = FrameError::Payload { kind: kind::RECORDS };
        assert_eq!(refuse(&records_header(vec![1, 2], &[2]), 2), payload);
        assert_eq!(refuse(&records_header(vec![1, 2], &[2]), 4), payload);
        assert_eq!(refuse(&records_header(vec![u32::MAX, u32::MAX], &[2]), 4), payload);
        assert_eq!(refuse(&records_header(vec![1, 2], &[1]), 3), message);
        assert_eq!(refuse(&records_header(vec![1, 2], &[2, 0]), 3), message);
        assert_eq!(refuse(&records_header(vec![1, 2], &[u32::MAX]), 3), message);
        let mut refused = records_header(vec![1, 2], &[2]);
        refused.refusal = Some(ReadRefusal::Failed);
        assert_eq!(refuse(&refused, 3), message);
    }

    #[test]
    fn requests_beyond_the_limits_are_told_apart() {
        let of = |requests: u32, lengths: Vec<u32>| AppendRun {
            client: ClientId::new(7),
            seqs: SeqRange { first: Seq::FIRST, count: requests },
            first_unanswered: Seq::FIRST,
            began_at: Index::ZERO,
            log: LogNumber::MAIN,
            conditions: Conditions::default(),
            command: None,
            lengths,
        };
        let record = u32::try_from(RECORD_BYTES_MAX).unwrap();
        assert!(of(1, vec![record; 4]).is_within_limits());
        assert!(of(1, vec![0; REQUEST_RECORDS_MAX]).is_within_limits());
        assert!(of(2, vec![1; 6]).is_within_limits());
        assert!(!of(1, vec![]).is_within_limits());
        assert!(!of(0, vec![1]).is_within_limits(), "a record of no request");
        assert!(!of(4, vec![1; 6]).is_within_limits(), "requests of different lengths");
        assert!(!of(7, vec![1; 6]).is_within_limits(), "a request without records");
        assert!(!of(1, vec![record + 1]).is_within_limits());
        assert!(!of(1, vec![record, record, record, record, 1]).is_within_limits());
        assert!(!of(1, vec![0; REQUEST_RECORDS_MAX + 1]).is_within_limits());
        assert!(!of(1, vec![u32::MAX; 3]).is_within_limits());
        let mut last = of(1, vec![1]);
        last.seqs.first = Seq::new(u64::MAX);
        assert!(!last.is_within_limits(), "no number after it");
    }

    proptest! {
        #[test]
        fn appends_survive_the_round_trip(
            client in any::<u128>(), seq in any::<u64>(), count in any::<u32>(), began_at in any::<u64>(),
            records in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..9),
        ) {
            let records: Vec<Bytes> = records.into_iter().map(Bytes::from).collect();
            let run = AppendRun {
                client: ClientId::new(client),
                seqs: SeqRange { first: Seq::new(seq), count },
                first_unanswered: Seq::new(seq),
                began_at: Index::new(began_at),
                log: LogNumber::MAIN,
                conditions: Conditions::default(),
                command: None,
                lengths: AppendRun::lengths_of(&records),
            };
            let got = AppendRun::from_frame(&received(&run.to_frame(&records))).unwrap();
            prop_assert_eq!(got, (run, Bytes::from(records.concat())));
        }

        #[test]
        fn arbitrary_bodies_never_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let length = u32::try_from(body.len() + 2).unwrap().to_le_bytes();
            for kind in [kind::REQUEST, kind::WELCOME, kind::APPEND, kind::APPEND_REPLIES,
                kind::RECORDS, kind::CRASH_REPLY, kind::BACKUP, kind::QUESTION, kind::ANSWER]
            {
                let wire = [&length[..], &[1, kind], &body].concat();
                let frame = Frame::split_from(&mut wire.as_slice().into()).unwrap().unwrap();
                let _ = Request::from_frame(&frame);
                let _ = Welcome::from_frame(&frame);
                let _ = AppendRun::from_frame(&frame);
                let _ = AppendReplies::from_frame(&frame);
                let _ = Records::from_frame(&frame);
                let _ = CrashReply::from_frame(&frame);
                let _ = crate::wire::backup::BackupPart::from_frame(&frame);
                let _ = crate::wire::registry::Question::from_frame(&frame);
                let _ = crate::wire::registry::Answer::from_frame(&frame);
            }
        }
    }
}
