//! The sealed entry: the one form that an entry has in memory, on the wire and on every disk.
//!
//! A leader seals an entry once; followers check those bytes and store them as received. Index,
//! term, time and chain are for ever those of the leader that made it. The header is a table of
//! fixed little-endian fields:
//!
//! ```text
//!  at  size
//!   0     1  version, 5
//!   1     1  kind: 1 no-op, 2 configuration, 3 records, 4 housekeeping
//!   2     2  zero
//!   4     4  length of the payload in bytes
//!   8     8  index
//!  16     8  term
//!  24     8  the leader's wall clock in ms, never below the previous entry's
//!  32     4  CRC32C over bytes 0 to 32 and the payload
//!  36    32  chain: BLAKE3 over the previous entry's chain, bytes 0 to 36 and the payload
//!  68        payload
//! ```
//!
//! The CRC finds rot in one entry, quickly. The chain makes one comparison of two tips a comparison
//! of everything before them, and ties an entry to its place: an intact entry of another history
//! does not fit. The payload of a records entry lists the runs of requests that it has, then holds
//! their records. A *run* is what a client numbered one after the other, each request with as many
//! records as the others: one item for all of them, on the wire, here and in the table of clients.
//!
//! ```text
//!   u32 runs, then for each:
//!     u32 log · u64 first offset · u128 client · u64 first seq · u64 first unanswered seq
//!     u32 requests · u32 records of each · u32 length of a command · u32 length of each record
//!   the bytes, in the same order: of each run its command, then its records
//! ```
//!
//! A *command* is what a request asks for besides appending its records, of which it may have none
//! ([`Command`]); without one the length is 0. Both happen, or neither. Such a request is a run by itself,
//! and the last of its entry, so that whatever was judged in an entry was judged by what is so before it.

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::command::Command;
use crate::housekeeping::Housekeeping;
use crate::limits::{ENTRY_PAYLOAD_BYTES_MAX, ENTRY_RUNS_MAX, REQUEST_RECORDS_MAX};
use crate::types::{
    ClientId, Index, LogId, LogNumber, NodeId, Offset, Seq, SeqRange, Term, Timestamp,
};

/// Bytes before the payload.
pub const HEADER_BYTES: usize = 68;

const VERSION: u8 = 5;
/// Where the length of the payload stands.
const PAYLOAD_LENGTH_AT: usize = 4;
/// Where the CRC stands, and so the end of what it covers of the header.
const CRC_AT: usize = 32;
/// Where the chain stands, and so the end of what it covers of the header.
const CHAIN_AT: usize = 36;

/// The length of the sealed entry that begins here, as its header says; `None` if that does not say it.
pub fn length_in_header(bytes: &[u8]) -> Option<usize> {
    let field = bytes.get(PAYLOAD_LENGTH_AT..)?.first_chunk().copied()?;
    HEADER_BYTES.checked_add(u32::from_le_bytes(field) as usize)
}

/// Takes the bytes of one entry from the front, as its header says, or all there are.
pub fn split_first(rest: &mut Bytes) -> Bytes {
    let length = length_in_header(rest).unwrap_or(rest.len());
    rest.split_to(length.min(rest.len()))
}

/// The hash that ties an entry to all before it.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Chain([u8; 32]);

impl Chain {
    /// The chain before the first entry.
    pub const START: Self = Self([0; 32]);

    /// Wraps the bytes of a chain.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes of the chain.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl std::fmt::Display for Chain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::fmt::Debug for Chain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Chain({self})")
    }
}

/// What an entry holds. The numbers stand on disk and are never used for anything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum EntryKind {
    /// The first entry of a term; see [`NoOp`].
    NoOp = 1,
    /// The configuration in force from this entry on (thesis 4.1).
    Configuration = 2,
    /// Records of clients; see [`Run`].
    Records = 3,
    /// What the leader does of its own accord; see [`Housekeeping`].
    Housekeeping = 4,
}

impl EntryKind {
    fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::NoOp),
            2 => Some(Self::Configuration),
            3 => Some(Self::Records),
            4 => Some(Self::Housekeeping),
            _ => None,
        }
    }
}

/// Bytes that are not an entry, or not the entry that belongs here.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EntryError {
    /// The bytes end before the entry does, or go on after it.
    #[error("an entry of {expected} bytes has {found}")]
    Length {
        /// What the header says.
        expected: usize,
        /// What is there.
        found: usize,
    },
    /// A version that this program does not know.
    #[error("an entry has version {found}; this program knows {VERSION}")]
    Version {
        /// What was found.
        found: u8,
    },
    /// A kind that this program does not know, or a field that must be zero and is not.
    #[error("an entry's header is not of its form")]
    Header,
    /// The bytes are not those that were sealed.
    #[error("entry {id} fails its checksum")]
    Checksum {
        /// What the header says, which may be what is damaged.
        id: LogId,
    },
    /// An intact entry that does not follow on the one before it.
    #[error("entry {id} does not follow on {previous}")]
    Order {
        /// The entry.
        id: LogId,
        /// The one before it.
        previous: LogId,
    },
    /// An intact entry of another history.
    #[error("entry {id} breaks the chain")]
    Chain {
        /// The entry.
        id: LogId,
    },
    /// The payload's list does not describe the payload.
    #[error("the payload of an entry is not of its form")]
    Payload,
}

/// The end of a log: what the next entry has to follow on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Tip {
    /// The last entry.
    pub id: LogId,
    /// Its chain.
    pub chain: Chain,
    /// Its time.
    pub time: Timestamp,
}

/// An entry as it is stored and sent. Cloning shares the bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedEntry {
    bytes: Bytes,
    kind: EntryKind,
    id: LogId,
    time: Timestamp,
    chain: Chain,
}

impl SealedEntry {
    /// Seals `payload` as the entry after `previous`.
    ///
    /// The entry's time is `now`, or the previous entry's if the clock went back.
    pub fn seal(
        previous: &Tip,
        kind: EntryKind,
        term: Term,
        now: Timestamp,
        payload: &[u8],
    ) -> Self {
        assert!(term >= previous.id.term, "term {term} after {}", previous.id);
        assert!(payload.len() <= ENTRY_PAYLOAD_BYTES_MAX, "a payload of {}", payload.len());
        let id = LogId::new(previous.id.index.next(), term);
        let time = now.max(previous.time);
        let length = u32::try_from(payload.len()).expect("a payload's bound is below 4 GiB");

        let mut bytes = BytesMut::with_capacity(HEADER_BYTES + payload.len());
        bytes.put_u8(VERSION);
        bytes.put_u8(kind as u8);
        bytes.put_u16_le(0);
        bytes.put_u32_le(length);
        bytes.put_u64_le(id.index.get());
        bytes.put_u64_le(id.term.get());
        bytes.put_u64_le(time.get());
        let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes), payload);
        bytes.put_u32_le(crc);
        let chain = chain_of(&previous.chain, &bytes, payload);
        bytes.put_slice(chain.as_bytes());
        bytes.put_slice(payload);
        assert_eq!(bytes.len(), HEADER_BYTES + payload.len());
        Self { bytes: bytes.freeze(), kind, id, time, chain }
    }

    /// Reads an entry and checks its form and its CRC; the chain needs [`Self::check_follows`].
    ///
    /// # Errors
    /// Whatever is wrong with the bytes.
    pub fn parse(bytes: Bytes) -> Result<Self, EntryError> {
        let length_error = |expected| EntryError::Length { expected, found: bytes.len() };
        let Some((header, payload)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
            return Err(length_error(HEADER_BYTES));
        };
        let [version, kind, zero_low, zero_high, rest @ ..] = *header;
        if version != VERSION {
            return Err(EntryError::Version { found: version });
        }
        if [zero_low, zero_high] != [0, 0] {
            return Err(EntryError::Header);
        }
        let kind = EntryKind::from_number(kind).ok_or(EntryError::Header)?;

        let mut fields = Fields { rest: &rest };
        let payload_length = fields.u32()? as usize;
        let id = LogId::new(Index::new(fields.u64()?), Term::new(fields.u64()?));
        let time = Timestamp::new(fields.u64()?);
        let crc = fields.u32()?;
        let chain = Chain(fields.array()?);
        if payload.len() != payload_length {
            return Err(length_error(HEADER_BYTES.saturating_add(payload_length)));
        }
        let (covered, _) = header.split_at(CRC_AT);
        if crc32c::crc32c_append(crc32c::crc32c(covered), payload) != crc {
            return Err(EntryError::Checksum { id });
        }
        Ok(Self { bytes, kind, id, time, chain })
    }

    /// Checks that this entry is the one after `previous`: index, term order, time and chain.
    ///
    /// # Errors
    /// [`EntryError::Order`] or [`EntryError::Chain`].
    pub fn check_follows(&self, previous: &Tip) -> Result<(), EntryError> {
        let in_order = self.id.index == previous.id.index.next()
            && self.id.term >= previous.id.term
            && self.time >= previous.time;
        if !in_order {
            return Err(EntryError::Order { id: self.id, previous: previous.id });
        }
        self.check_chain(&previous.chain)
    }

    /// Checks this entry's chain alone, where no more of the previous entry is known.
    ///
    /// # Errors
    /// [`EntryError::Chain`].
    pub fn check_chain(&self, previous: &Chain) -> Result<(), EntryError> {
        let (covered, _) = self.bytes.split_at(CHAIN_AT);
        if chain_of(previous, covered, self.payload_slice()) != self.chain {
            return Err(EntryError::Chain { id: self.id });
        }
        Ok(())
    }

    /// All bytes, header and payload.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// What the entry holds.
    pub fn kind(&self) -> EntryKind {
        self.kind
    }

    /// Index and term.
    pub fn id(&self) -> LogId {
        self.id
    }

    /// The wall clock of the leader that made it.
    pub fn time(&self) -> Timestamp {
        self.time
    }

    /// The chain up to and including this entry.
    pub fn chain(&self) -> Chain {
        self.chain
    }

    /// The end of a log whose last entry is this one.
    pub fn tip(&self) -> Tip {
        Tip { id: self.id, chain: self.chain, time: self.time }
    }

    /// The payload, sharing the entry's bytes.
    pub fn payload(&self) -> Bytes {
        self.bytes.slice(HEADER_BYTES..)
    }

    fn payload_slice(&self) -> &[u8] {
        self.bytes.split_at(HEADER_BYTES).1
    }

    /// The requests of a records entry, one by one; none for an entry of another kind.
    ///
    /// # Errors
    /// [`EntryError::Payload`] if the list does not describe the payload.
    pub fn requests(&self) -> Result<Vec<Request>, EntryError> {
        if self.kind == EntryKind::Records { decode_requests(self.payload()) } else { Ok(vec![]) }
    }

    /// The runs without their records: most who ask want to know what is where.
    ///
    /// # Errors
    /// Those of [`Self::requests`].
    pub fn runs(&self) -> Result<Vec<RunHead>, EntryError> {
        if self.kind != EntryKind::Records {
            return Ok(vec![]);
        }
        let (listed, _) = list_runs(self.payload_slice())?;
        let heads = listed.into_iter().map(|listed| listed.head);
        Ok(heads.filter(|head| head.records() > 0).collect())
    }

    /// The runs without their records, and the commands among them.
    ///
    /// # Errors
    /// Those of [`Self::requests`].
    pub fn logged(&self) -> Result<Vec<Logged>, EntryError> {
        if self.kind != EntryKind::Records {
            return Ok(vec![]);
        }
        let (listed, records) = list_runs(self.payload_slice())?;
        logged(&listed, records)
    }

    /// Shows `take` the records of a log from an offset on, with their offsets, until it wants no more.
    /// An entry may hold half a million of them: none gets a handle.
    ///
    /// # Errors
    /// Those of [`Self::requests`].
    pub fn visit_records(
        &self,
        log: LogNumber,
        from: Offset,
        mut take: impl FnMut(Offset, &[u8]) -> bool,
    ) -> Result<(), EntryError> {
        if self.kind != EntryKind::Records {
            return Ok(());
        }
        let (listed, mut records) = list_runs(self.payload_slice())?;
        for Listed { head, command_bytes, lengths } in listed {
            records = records.split_at_checked(command_bytes).ok_or(EntryError::Payload)?.1;
            if head.log != log || head.next_offset() <= from {
                let bytes = lengths.iter().map(|length| length_of(*length)).sum();
                records = records.split_at_checked(bytes).ok_or(EntryError::Payload)?.1;
                continue;
            }
            let mut offset = head.first_offset;
            for length in lengths {
                let (record, rest) =
                    records.split_at_checked(length_of(*length)).ok_or(EntryError::Payload)?;
                records = rest;
                if offset >= from && !take(offset, record) {
                    return Ok(());
                }
                offset = offset.plus(1);
            }
        }
        Ok(())
    }

    /// The no-op of a no-op entry; none for an entry of another kind.
    ///
    /// # Errors
    /// [`EntryError::Payload`] if the payload is not a no-op.
    pub fn no_op(&self) -> Result<Option<NoOp>, EntryError> {
        if self.kind != EntryKind::NoOp {
            return Ok(None);
        }
        postcard::from_bytes(self.payload_slice()).map(Some).map_err(|_| EntryError::Payload)
    }

    /// What a housekeeping entry says; none for an entry of another kind.
    ///
    /// # Errors
    /// [`EntryError::Payload`] if the payload is nothing of the kind.
    pub fn housekeeping(&self) -> Result<Option<Housekeeping>, EntryError> {
        if self.kind != EntryKind::Housekeeping {
            return Ok(None);
        }
        Housekeeping::decode(self.payload_slice()).map(Some).ok_or(EntryError::Payload)
    }
}

impl std::fmt::Debug for SealedEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SealedEntry({} {:?}, {} bytes)", self.id, self.kind, self.bytes.len())
    }
}

fn chain_of(previous: &Chain, header: &[u8], payload: &[u8]) -> Chain {
    assert_eq!(header.len(), CHAIN_AT, "the chain covers the header up to itself");
    let mut hasher = blake3::Hasher::new();
    hasher.update(previous.as_bytes()).update(header).update(payload);
    Chain(*hasher.finalize().as_bytes())
}

/// Why an election was held: kept in the no-op of the term that it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ElectionReason {
    /// The log was empty: the cluster's first election.
    FirstStart,
    /// No leader was heard for an election timeout (thesis 3.4).
    Timeout,
    /// The leader handed over (thesis 3.10).
    Transfer,
}

impl std::fmt::Display for ElectionReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::FirstStart => "first start",
            Self::Timeout => "no leader heard",
            Self::Transfer => "handed over",
        })
    }
}

/// The payload of the first entry of each term: the truth of which the registry holds a copy.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NoOp {
    /// Who was elected.
    pub leader: NodeId,
    /// Why there was an election.
    pub reason: ElectionReason,
    /// Who voted for the leader, itself included.
    pub voters: Vec<NodeId>,
}

impl NoOp {
    /// The payload.
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_stdvec(self).expect("a no-op has no part that postcard refuses")
    }
}

/// Where a term begins: what its no-op says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TermStart {
    /// The term.
    pub term: Term,
    /// The index of its no-op.
    pub first_index: Index,
    /// Who was elected.
    pub leader: NodeId,
    /// The time of the no-op.
    pub time: Timestamp,
}

/// One client's append request: all of its records or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The log that it appends to.
    pub log: LogNumber,
    /// The offset of its first record.
    pub first_offset: Offset,
    /// Who asked.
    pub client: ClientId,
    /// The number of the request, counted by the client.
    pub seq: Seq,
    /// The client has the answers of all requests before this one.
    pub first_unanswered: Seq,
    /// The records; with a command there may be none.
    pub records: Vec<Bytes>,
    /// What it asks for besides.
    pub command: Option<Command>,
}

impl Request {
    /// How many records it has.
    pub fn count(&self) -> u64 {
        self.records.len() as u64
    }

    /// The offset after its last record.
    pub fn next_offset(&self) -> Offset {
        self.first_offset.plus(self.count())
    }
}

/// Requests of one client that follow one another, with as many records each, as they stand in an
/// entry: without the records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunHead {
    /// The log that they append to.
    pub log: LogNumber,
    /// The offset of the first record.
    pub first_offset: Offset,
    /// Who asked.
    pub client: ClientId,
    /// The numbers of the requests, counted by the client.
    pub seqs: SeqRange,
    /// How many records each request has. With a command it may be none.
    pub each: u32,
    /// The client has the answers of all requests before this one.
    pub first_unanswered: Seq,
}

impl RunHead {
    /// How many records all of its requests have.
    pub fn records(&self) -> u64 {
        u64::from(self.seqs.count) * u64::from(self.each)
    }

    /// The offset after its last record.
    pub fn next_offset(&self) -> Offset {
        self.first_offset.plus(self.records())
    }
}

/// A run as it stands in the log, without its records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    /// All but that.
    pub head: RunHead,
    /// Bytes of all its records.
    pub bytes: u64,
    /// Its command, if it has one. Few have.
    pub command: Option<Box<Command>>,
}

impl From<RunHead> for Logged {
    fn from(head: RunHead) -> Self {
        Self { head, bytes: 0, command: None }
    }
}

/// A run with its records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// All but the records.
    pub head: RunHead,
    /// The stored form of its command; no bytes if it has none.
    pub command: Bytes,
    /// The length of each record in bytes.
    pub lengths: Vec<u32>,
    /// The records, one after the other.
    pub records: Bytes,
}

impl Run {
    /// A run without a command.
    pub fn of_records(head: RunHead, lengths: Vec<u32>, records: Bytes) -> Self {
        Self { head, command: Bytes::new(), lengths, records }
    }

    /// The same with a command, if it asks for one.
    #[must_use]
    pub fn asking(self, command: Option<&Command>) -> Self {
        assert!(command.is_none() || self.head.seqs.count == 1, "{:?}", self.head);
        Self { command: command.map(Command::encode).unwrap_or_default().into(), ..self }
    }

    /// Bytes that a run without a command takes in an entry's payload.
    pub fn payload_bytes(lengths: &[u32], records: &Bytes) -> usize {
        RUN_FIXED_BYTES + lengths.len() * 4 + records.len()
    }
}

impl From<&Request> for Run {
    fn from(request: &Request) -> Self {
        let head = RunHead {
            log: request.log,
            first_offset: request.first_offset,
            client: request.client,
            seqs: SeqRange::one(request.seq),
            each: small(request.records.len()),
            first_unanswered: request.first_unanswered,
        };
        let lengths = request.records.iter().map(|record| small(record.len())).collect();
        let run = Self::of_records(head, lengths, request.records.concat().into());
        run.asking(request.command.as_ref())
    }
}

/// Bytes of a run in the list, without its records' lengths.
const RUN_FIXED_BYTES: usize = 4 + 8 + 16 + 8 + 8 + 4 + 4 + 4;

/// The payload of a records entry.
pub fn encode_runs(runs: &[Run]) -> Bytes {
    assert!(!runs.is_empty() && runs.len() <= ENTRY_RUNS_MAX, "{}", runs.len());
    let size_of = |run: &Run| Run::payload_bytes(&run.lengths, &run.records) + run.command.len();
    let size: usize = runs.iter().map(size_of).sum();
    let mut payload = BytesMut::with_capacity(4 + size);
    payload.put_u32_le(small(runs.len()));
    for Run { head, command, lengths, .. } in runs {
        assert_eq!(lengths.len() as u64, head.records(), "lengths of other records");
        payload.put_u32_le(head.log.get());
        payload.put_u64_le(head.first_offset.get());
        payload.put_u128_le(head.client.get());
        payload.put_u64_le(head.seqs.first.get());
        payload.put_u64_le(head.first_unanswered.get());
        payload.put_u32_le(head.seqs.count);
        payload.put_u32_le(head.each);
        payload.put_u32_le(small(command.len()));
        for length in lengths {
            payload.put_u32_le(*length);
        }
    }
    for run in runs {
        payload.put_slice(&run.command);
        payload.put_slice(&run.records);
    }
    assert_eq!(payload.len(), 4 + size);
    payload.freeze()
}

/// The payload of a records entry in which each request is a run of its own.
pub fn encode_requests(requests: &[Request]) -> Bytes {
    encode_runs(&requests.iter().map(Run::from).collect::<Vec<_>>())
}

fn small(count: usize) -> u32 {
    u32::try_from(count).expect("bounded by the limits of a request")
}

fn decode_requests(mut payload: Bytes) -> Result<Vec<Request>, EntryError> {
    let whole = payload.clone();
    let (listed, records) = list_runs(&whole)?;
    let mut records = payload.split_off(payload.len() - records.len());
    let mut requests = vec![];
    for Listed { head, command_bytes, lengths } in listed {
        let mut first_offset = head.first_offset;
        let command = decode_command(&records.split_to(command_bytes))?;
        let each = head.each as usize;
        for (at, seq) in head.seqs.iter().enumerate() {
            let lengths = lengths.get(at * each..(at + 1) * each).ok_or(EntryError::Payload)?;
            let request = Request {
                log: head.log,
                first_offset,
                client: head.client,
                seq,
                first_unanswered: head.first_unanswered,
                records: lengths.iter().map(|bytes| records.split_to(length_of(*bytes))).collect(),
                command: command.clone(),
            };
            first_offset = request.next_offset();
            requests.push(request);
        }
    }
    Ok(requests)
}

/// The list, with the commands among it.
fn logged(listed: &[Listed<'_>], mut records: &[u8]) -> Result<Vec<Logged>, EntryError> {
    let mut all = Vec::with_capacity(listed.len());
    for Listed { head, command_bytes, lengths } in listed {
        let bytes: usize = lengths.iter().map(|length| length_of(*length)).sum();
        let (own, rest) =
            records.split_at_checked(*command_bytes + bytes).ok_or(EntryError::Payload)?;
        records = rest;
        let command = own.get(..*command_bytes).ok_or(EntryError::Payload)?;
        let command = decode_command(command)?.map(Box::new);
        all.push(Logged { head: *head, bytes: bytes as u64, command });
    }
    Ok(all)
}

fn decode_command(bytes: &[u8]) -> Result<Option<Command>, EntryError> {
    if bytes.is_empty() {
        return Ok(None);
    }
    Command::decode(bytes).map(Some).ok_or(EntryError::Payload)
}

/// A run in the list of a payload, and the lengths of its command and of its records.
struct Listed<'a> {
    head: RunHead,
    command_bytes: usize,
    lengths: &'a [[u8; 4]],
}

/// The list of a payload, and the bytes behind it: those of commands and records, all of them and no more.
fn list_runs(payload: &[u8]) -> Result<(Vec<Listed<'_>>, &[u8]), EntryError> {
    let mut fields = Fields { rest: payload };
    let count = fields.u32()? as usize;
    if count == 0 || count > ENTRY_RUNS_MAX {
        return Err(EntryError::Payload);
    }
    let mut listed = Vec::with_capacity(count);
    let mut bytes = 0;
    for _ in 0..count {
        let head = fields.run_head()?;
        let command_bytes = fields.u32()? as usize;
        let has_command = command_bytes > 0;
        let is_in_bounds = head.records() <= REQUEST_RECORDS_MAX as u64
            && (head.records() > 0 || has_command)
            && (head.seqs.count == 1 || !has_command)
            && head.seqs.is_valid()
            && head.first_offset.get().checked_add(head.records()).is_some();
        if !is_in_bounds {
            return Err(EntryError::Payload);
        }
        let count = usize::try_from(head.records()).expect("bounded just before");
        let lengths = fields.arrays(count)?;
        bytes += command_bytes + lengths.iter().map(|length| length_of(*length)).sum::<usize>();
        listed.push(Listed { head, command_bytes, lengths });
    }
    if fields.rest.len() == bytes { Ok((listed, fields.rest)) } else { Err(EntryError::Payload) }
}

fn length_of(length: [u8; 4]) -> usize {
    u32::from_le_bytes(length) as usize
}

/// Little-endian fields, read one after the other from bytes that may end early.
struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// So many fields of a length.
    fn arrays<const N: usize>(&mut self, count: usize) -> Result<&'a [[u8; N]], EntryError> {
        let (fields, rest) = self.rest.split_at_checked(count * N).ok_or(EntryError::Payload)?;
        self.rest = rest;
        Ok(fields.as_chunks().0)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], EntryError> {
        let (field, rest) = self.rest.split_first_chunk::<N>().ok_or(EntryError::Payload)?;
        self.rest = rest;
        Ok(*field)
    }

    fn run_head(&mut self) -> Result<RunHead, EntryError> {
        let log = LogNumber::new(self.u32()?);
        let first_offset = Offset::new(self.u64()?);
        let client = ClientId::new(u128::from_le_bytes(self.array()?));
        let (first, first_unanswered) = (Seq::new(self.u64()?), Seq::new(self.u64()?));
        let seqs = SeqRange { first, count: self.u32()? };
        let each = self.u32()?;
        Ok(RunHead { log, first_offset, client, seqs, each, first_unanswered })
    }

    fn u32(&mut self) -> Result<u32, EntryError> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, EntryError> {
        self.array().map(u64::from_le_bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    fn request(records: &[&'static [u8]]) -> Request {
        Request {
            log: LogNumber::MAIN,
            first_offset: Offset::new(5),
            client: ClientId::new(7),
            seq: Seq::new(3),
            first_unanswered: Seq::new(2),
            records: records.iter().map(|record| Bytes::from_static(record)).collect(),
            command: None,
        }
    }

    fn sealed(requests: &[Request]) -> SealedEntry {
        let payload = encode_requests(requests);
        let now = Timestamp::new(1_000);
        SealedEntry::seal(&Tip::default(), EntryKind::Records, Term::new(1), now, &payload)
    }

    #[test]
    fn records_are_visited_from_an_offset_on_until_enough_is_seen() {
        let request = |log, first_offset, lengths: &[usize]| Request {
            log: LogNumber::new(log),
            first_offset: Offset::new(first_offset),
            client: ClientId::new(1),
            seq: Seq::FIRST,
            first_unanswered: Seq::FIRST,
            records: lengths.iter().map(|length| Bytes::from(vec![7; *length])).collect(),
            command: None,
        };
        let requests = [request(0, 5, &[1, 0, 3]), request(9, 0, &[4, 4]), request(0, 8, &[5])];
        let payload = encode_requests(&requests);
        let (kind, now) = (EntryKind::Records, Timestamp::new(1));
        let entry = SealedEntry::seal(&Tip::default(), kind, Term::new(1), now, &payload);
        let seen = |log, from, most: usize| {
            let mut seen = vec![];
            let take = |offset: Offset, record: &[u8]| {
                seen.push((offset.get(), record.len()));
                seen.len() < most
            };
            entry.visit_records(LogNumber::new(log), Offset::new(from), take).unwrap();
            seen
        };
        assert_eq!(seen(0, 0, 9), [(5, 1), (6, 0), (7, 3), (8, 5)]);
        assert_eq!(seen(0, 7, 9), [(7, 3), (8, 5)]);
        assert_eq!(seen(0, 8, 9), [(8, 5)]);
        assert_eq!(seen(0, 6, 2), [(6, 0), (7, 3)]);
        assert_eq!(seen(9, 1, 9), [(1, 4)]);
        assert_eq!(seen(0, 9, 9), []);
    }

    #[test]
    fn an_entry_survives_the_round_trip() {
        let requests = [request(&[b"one", b"", b"three"]), request(&[b"four"])];
        let entry = sealed(&requests);
        let read = SealedEntry::parse(entry.bytes().clone()).unwrap();
        assert_eq!(read, entry);
        assert_eq!(read.requests().unwrap(), requests);
        let heads: Vec<_> = requests.iter().map(|request| Run::from(request).head).collect();
        assert_eq!(read.runs().unwrap(), heads);
        let ends: Vec<_> = requests.iter().map(Request::next_offset).collect();
        assert_eq!(heads.iter().map(RunHead::next_offset).collect::<Vec<_>>(), ends);
        read.check_follows(&Tip::default()).unwrap();
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02x}").unwrap();
            hex
        })
    }

    /// Seven records: of requests 3 to 5 of client 7, two each, and of a request of client 8.
    fn runs() -> [Run; 2] {
        let head = RunHead {
            log: LogNumber::MAIN,
            first_offset: Offset::new(5),
            client: ClientId::new(7),
            seqs: SeqRange { first: Seq::new(3), count: 3 },
            each: 2,
            first_unanswered: Seq::new(2),
        };
        let of_another = RunHead {
            first_offset: Offset::new(11),
            client: ClientId::new(8),
            seqs: SeqRange::one(Seq::new(3)),
            each: 1,
            ..head
        };
        let records = Bytes::from_static(b"abcdefg");
        [
            Run::of_records(head, vec![1, 2, 0, 1, 3, 0], records),
            Run::of_records(of_another, vec![1], Bytes::from_static(b"h")),
        ]
    }

    #[test]
    fn the_requests_of_a_run_are_told_apart() {
        let (term, now) = (Term::new(1), Timestamp::new(1));
        let payload = encode_runs(&runs());
        let entry = SealedEntry::seal(&Tip::default(), EntryKind::Records, term, now, &payload);
        assert_eq!(entry.runs().unwrap(), runs().map(|run| run.head));
        let told = |request: &Request| {
            let records = request.records.iter().map(|record| record.to_vec()).collect::<Vec<_>>();
            (request.client.get(), request.seq.get(), request.first_offset.get(), records)
        };
        let of = |records: &[&[u8]]| records.iter().map(|record| record.to_vec()).collect();
        let requests = entry.requests().unwrap();
        assert_eq!(
            requests.iter().map(told).collect::<Vec<_>>(),
            [
                (7, 3, 5, of(&[b"a", b"bc"])),
                (7, 4, 7, of(&[b"", b"d"])),
                (7, 5, 9, of(&[b"efg", b""])),
                (8, 3, 11, of(&[b"h"])),
            ]
        );
        let mut seen = vec![];
        let take = |offset: Offset, record: &[u8]| {
            seen.push((offset.get(), record.len()));
            true
        };
        entry.visit_records(LogNumber::MAIN, Offset::new(8), take).unwrap();
        assert_eq!(seen, [(8, 1), (9, 3), (10, 0), (11, 1)]);
    }

    #[test]
    fn golden_bytes_of_runs() {
        let payload = encode_runs(&runs()[..1]);
        let hex = hex(&payload);
        let fixed = "00000000050000000000000007000000000000000000000000000000\
                     03000000000000000200000000000000";
        let lengths = "010000000200000000000000010000000300000000000000";
        assert_eq!(hex, format!("01000000{fixed}030000000200000000000000{lengths}61626364656667"));
    }

    #[test]
    fn a_command_stands_with_its_records_or_without_any() {
        let of_command = |seq| Request {
            seq: Seq::new(seq),
            records: vec![],
            command: Some(Command::Fence(Some("w1".parse().unwrap()))),
            first_offset: Offset::new(7),
            ..request(&[])
        };
        let before = Request { first_offset: Offset::new(5), ..request(&[b"one", b"two"]) };
        let entry = sealed(&[before.clone(), of_command(9)]);
        assert_eq!(entry.requests().unwrap(), [before.clone(), of_command(9)]);
        assert_eq!(entry.runs().unwrap(), [Run::from(&before).head]);
        let logged = entry.logged().unwrap();
        let commands: Vec<_> = logged.iter().map(|logged| logged.command.as_deref()).collect();
        assert_eq!(commands, [None, of_command(9).command.as_ref()]);
        let mut seen = vec![];
        let take = |offset: Offset, record: &[u8]| {
            seen.push((offset.get(), record.len()));
            true
        };
        entry.visit_records(LogNumber::MAIN, Offset::ZERO, take).unwrap();
        assert_eq!(seen, [(5, 3), (6, 3)]);
        let hex = hex(&encode_requests(&[of_command(9)]));
        let (requests, each, length) = ("01000000", "00000000", "05000000");
        let with_record = Request { records: vec!["x".into()], ..of_command(9) };
        let entry = sealed(&[before, with_record.clone()]);
        assert_eq!(entry.requests().unwrap()[1], with_record);
        assert_eq!(entry.logged().unwrap()[1].head.next_offset(), Offset::new(8));
        assert!(hex.ends_with(&format!("{requests}{each}{length}0001027731")), "{hex}");
        // Two of them cannot be one item.
        let mut two = Run::from(&of_command(9));
        two.head.seqs.count = 2;
        assert_eq!(decode_requests(encode_runs(&[two])), Err(EntryError::Payload));
    }

    #[test]
    fn golden_bytes() {
        let no_op = NoOp {
            leader: NodeId::new(1).unwrap(),
            reason: ElectionReason::FirstStart,
            voters: vec![NodeId::new(1).unwrap(), NodeId::new(2).unwrap()],
        };
        let entry = SealedEntry::seal(
            &Tip::default(),
            EntryKind::NoOp,
            Term::new(1),
            Timestamp::new(2),
            &no_op.encode(),
        );
        let hex = hex(entry.bytes());
        let (header, rest) = hex.split_at(64);
        assert_eq!(header, "0501000005000000010000000000000001000000000000000200000000000000");
        assert!(rest.ends_with("0100020102"), "{rest}");
        assert_eq!(entry.no_op().unwrap(), Some(no_op));
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let entry = sealed(&[request(&[b"one", b"two"])]);
        for bit in 0..entry.bytes().len() * 8 {
            let mut bytes = entry.bytes().to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let found = SealedEntry::parse(bytes.into())
                .and_then(|damaged| damaged.check_follows(&Tip::default()));
            assert!(found.is_err(), "bit {bit} was flipped and nobody noticed");
        }
    }

    #[test]
    fn cut_and_extended_entries_are_refused() {
        let entry = sealed(&[request(&[b"one"])]);
        for length in 0..entry.bytes().len() {
            assert!(SealedEntry::parse(entry.bytes().slice(..length)).is_err());
        }
        let mut longer = entry.bytes().to_vec();
        longer.push(0);
        assert!(SealedEntry::parse(longer.into()).is_err());
    }

    #[test]
    fn an_entry_of_another_history_breaks_the_chain() {
        let first = sealed(&[request(&[b"one"])]);
        let other = sealed(&[request(&[b"two"])]);
        let now = Timestamp::new(1_000);
        let next = SealedEntry::seal(&first.tip(), EntryKind::NoOp, Term::new(1), now, &[]);
        next.check_follows(&first.tip()).unwrap();
        assert_eq!(next.check_follows(&other.tip()), Err(EntryError::Chain { id: next.id() }));
    }

    #[test]
    fn time_never_goes_back() {
        let first = sealed(&[request(&[b"one"])]);
        let early = Timestamp::new(1);
        let next = SealedEntry::seal(&first.tip(), EntryKind::NoOp, Term::new(1), early, &[]);
        assert_eq!(next.time(), first.time());
    }

    #[test]
    fn a_list_that_does_not_describe_the_payload_is_refused() {
        let payload = encode_requests(&[request(&[b"one"])]);
        for length in 0..payload.len() {
            assert_eq!(decode_requests(payload.slice(..length)), Err(EntryError::Payload));
        }
        let mut many = payload.to_vec();
        many[..4].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(decode_requests(many.into()), Err(EntryError::Payload));
        let longer = [&payload[..], b"!"].concat();
        assert_eq!(decode_requests(longer.into()), Err(EntryError::Payload));
        let [_, mut run] = runs();
        run.head.seqs.first = Seq::new(u64::MAX);
        assert_eq!(decode_requests(encode_runs(&[run.clone()])), Err(EntryError::Payload));
        run.head.seqs = SeqRange { first: Seq::FIRST, count: 0 };
        run.lengths.clear();
        assert_eq!(decode_requests(encode_runs(&[run])), Err(EntryError::Payload));
    }
}
