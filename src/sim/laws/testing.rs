//! What the tests of the laws share: a few machines that show a law whatever a test wants to show.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use super::{Law, Moment, NodeView, Platter, What};
use crate::entry::{
    Chain, ElectionReason, EntryKind, NoOp, Request, SealedEntry, Tip, encode_requests,
};
use crate::housekeeping::Housekeeping;
use crate::raft::{
    self, AppendEntriesResponse, AppendResult, Configuration, HardState, Message, PreVoteResponse,
    RequestVote, RequestVoteResponse,
};
use crate::replica::{Action, Event, Options, Replica};
use crate::store::{Head, Recovered, RecoveryReport, SealedSegment};
use crate::types::{ClientId, Index, LogId, LogNumber, NodeId, Offset, Seq, Term, Timestamp};
use crate::wire::conditions::Conditions;
use crate::wire::peer::PeerMessage;

/// Every machine of these tests has so many fellows, itself included.
const NODES: u16 = 3;

pub(super) fn node(number: u16) -> NodeId {
    NodeId::new(number).unwrap()
}

pub(in crate::sim) fn id(index: u64, term: u64) -> LogId {
    LogId::new(Index::new(index), Term::new(term))
}

/// A disk that holds what a test puts there: entries from index 1 on.
#[derive(Clone, Debug, Default)]
pub(super) struct FakePlatter {
    pub(super) hard_state: HardState,
    pub(super) entries: Vec<SealedEntry>,
    pub(super) sealed: Vec<SealedSegment>,
    /// So many entries, from the first on, were given up.
    pub(super) given_up: u64,
}

impl Platter for FakePlatter {
    fn hard_state(&self) -> HardState {
        self.hard_state
    }

    fn entry(&self, index: Index) -> Option<(LogId, Chain)> {
        let position = usize::try_from(index.get().checked_sub(1)?).unwrap();
        if index < self.first() {
            return None;
        }
        self.entries.get(position).map(|entry| (entry.id(), entry.chain()))
    }

    fn first(&self) -> Index {
        Index::new(self.given_up + 1)
    }

    fn last(&self) -> Index {
        Index::new(self.entries.len() as u64)
    }

    fn sealed_after(&self, index: Index) -> Vec<SealedSegment> {
        self.sealed.iter().filter(|segment| segment.first > index).copied().collect()
    }
}

/// The machines.
pub(super) struct Stage {
    pub(super) replicas: BTreeMap<NodeId, Replica>,
    pub(super) platters: Vec<FakePlatter>,
    pub(super) lost: Vec<NodeId>,
    pub(super) now: u64,
}

impl Stage {
    /// All of them stopped, with empty disks.
    pub(super) fn new() -> Self {
        let platters = vec![FakePlatter::default(); usize::from(NODES)];
        Self { replicas: BTreeMap::new(), platters, lost: vec![], now: 1 }
    }

    pub(super) fn platter(&mut self, number: u16) -> &mut FakePlatter {
        &mut self.platters[usize::from(number) - 1]
    }

    /// A machine's process runs, with this state, and all of that is on its disk.
    pub(super) fn run(&mut self, replica: Replica, entries: &[SealedEntry]) {
        let number = replica.raft().id().get();
        self.platter(number).hard_state = replica.raft().hard_state();
        self.platter(number).entries = entries.to_vec();
        self.replicas.insert(replica.raft().id(), replica);
    }

    /// Shows a law that something has happened.
    pub(super) fn show(&self, law: &mut dyn Law, what: What<'_>) -> Result<(), String> {
        let view = |number: u16| NodeView {
            id: node(number),
            replica: self.replicas.get(&node(number)),
            platter: &self.platters[usize::from(number) - 1],
            lost: self.lost.contains(&node(number)),
        };
        let nodes: Vec<_> = (1..=NODES).map(view).collect();
        let configuration = &Configuration::of((1..=NODES).map(node));
        law.look(&Moment { now: self.now, what, nodes: &nodes, configuration, changing: false })
    }

    /// Shows a law that a client asks for its first request, of `main`, on these conditions; with the number
    /// of its first record, if it is a producer's.
    pub(super) fn asks(
        &self,
        law: &mut dyn Law,
        client: u128,
        conditions: &Conditions,
        sequence: Option<u64>,
    ) {
        let (client, seq, log) = (ClientId::new(client), Seq::FIRST, LogNumber::MAIN);
        self.show(law, What::Asked { client, seq, log, conditions, sequence }).unwrap();
    }

    /// Shows a turn in which a node sent these messages.
    pub(super) fn sends(
        &self,
        law: &mut dyn Law,
        number: u16,
        sent: &[(NodeId, PeerMessage)],
    ) -> Result<(), String> {
        self.show(law, What::Turn { node: node(number), sent, committed: &[] })
    }

    /// Shows a turn in which a node learnt that these entries are committed.
    pub(super) fn commits(
        &self,
        law: &mut dyn Law,
        number: u16,
        committed: &[SealedEntry],
    ) -> Result<(), String> {
        self.show(law, What::Turn { node: node(number), sent: &[], committed })
    }

    /// Shows a turn in which a node neither sent nor committed anything.
    pub(super) fn turns(&self, law: &mut dyn Law, number: u16) -> Result<(), String> {
        self.sends(law, number, &[])
    }
}

/// Asserts that a law was broken, and what it said of it.
#[track_caller]
pub(super) fn assert_broken(result: Result<(), String>, expected: &str) {
    let what = result.expect_err("the law saw nothing wrong");
    assert!(what.contains(expected), "it said: {what}");
}

/// Makes logs. Two with the same `salt` and the same terms are equal.
#[derive(Clone)]
pub(in crate::sim) struct Log {
    salt: &'static str,
    offset: u64,
    seqs: BTreeMap<u128, u64>,
    pub(in crate::sim) entries: Vec<SealedEntry>,
}

impl Log {
    pub(in crate::sim) fn new() -> Self {
        Self { salt: "", offset: 0, seqs: BTreeMap::new(), entries: vec![] }
    }

    /// A log whose entries have these terms.
    pub(in crate::sim) fn of(terms: &[u64]) -> Self {
        let mut log = Self::new();
        log.extend(terms);
        log
    }

    /// The same log, whose later entries will be of another history.
    pub(super) fn salted(mut self, salt: &'static str) -> Self {
        self.salt = salt;
        self
    }

    pub(in crate::sim) fn extend(&mut self, terms: &[u64]) {
        for term in terms {
            if self.tip().id.term == Term::new(*term) {
                self.records(*term, &[(1, 1)]);
            } else {
                let no_op = NoOp {
                    leader: node(1),
                    reason: ElectionReason::Timeout,
                    voters: vec![node(1), node(2)],
                };
                self.seal(EntryKind::NoOp, *term, &no_op.encode());
            }
        }
    }

    /// An entry with requests: whose, and how many records.
    pub(in crate::sim) fn records(&mut self, term: u64, requests: &[(u128, u64)]) {
        let requests: Vec<_> = requests
            .iter()
            .map(|(client, count)| {
                let seq = self.seqs.entry(*client).or_default();
                *seq += 1;
                let request = request(*client, *seq, self.offset, *count, self.salt);
                self.offset += count;
                request
            })
            .collect();
        self.requests(term, &requests);
    }

    /// An entry with these very requests.
    pub(in crate::sim) fn requests(&mut self, term: u64, requests: &[Request]) {
        self.seal(EntryKind::Records, term, &encode_requests(requests));
    }

    pub(super) fn configuration(&mut self, term: u64, configuration: &Configuration) {
        let payload = postcard::to_stdvec(configuration).unwrap();
        self.seal(EntryKind::Configuration, term, &payload);
    }

    pub(super) fn housekeeping(&mut self, term: u64, housekeeping: &Housekeeping) {
        self.seal(EntryKind::Housekeeping, term, &housekeeping.encode());
    }

    fn seal(&mut self, kind: EntryKind, term: u64, payload: &[u8]) {
        let time = Timestamp::new(1 + self.salt.len() as u64);
        self.entries.push(SealedEntry::seal(&self.tip(), kind, Term::new(term), time, payload));
    }

    pub(super) fn tip(&self) -> Tip {
        self.entries.last().map(SealedEntry::tip).unwrap_or_default()
    }
}

/// A request whose records tell where they are.
pub(in crate::sim) fn request(
    client: u128,
    seq: u64,
    offset: u64,
    count: u64,
    salt: &str,
) -> Request {
    let record = |number| Bytes::from(format!("{client}/{seq}/{number}{salt}"));
    Request {
        log: LogNumber::MAIN,
        first_offset: Offset::new(offset),
        client: ClientId::new(client),
        seq: Seq::new(seq),
        first_unanswered: Seq::FIRST,
        records: (0..count).map(record).collect(),
        command: None,
    }
}

/// What a store finds that holds these entries.
pub(super) fn recovered(entries: &[SealedEntry], term: u64, commit_index: u64) -> Recovered {
    let hard_state = HardState { current_term: Term::new(term), voted_for: None };
    Recovered {
        hard_state,
        commit_index: Index::new(commit_index),
        head: Head {
            tip: Tip::default(),
            next_offsets: vec![],
            configuration: Configuration::of((1..=NODES).map(node)),
            terms: vec![],
            sessions: Bytes::new(),
        },
        entries: entries.to_vec(),
        report: RecoveryReport::default(),
    }
}

pub(super) fn options(number: u16) -> Options {
    let raft = raft::Options::new(node(number), 2, (10, 10));
    let (sessions_max, proposals_bytes_max) = (crate::limits::SESSIONS_MAX, 1 << 20);
    Options {
        raft,
        segment_bytes: 1 << 20,
        sessions_max,
        proposals_bytes_max,
        reserve_bytes: 0,
        tick: Duration::from_millis(10),
    }
}

/// A follower with this log, in this term.
pub(super) fn follower(number: u16, log: &Log, term: u64, commit_index: u64) -> Replica {
    Replica::recover(options(number), &recovered(&log.entries, term, commit_index), 0).unwrap()
}

/// A node with this log that was just elected in this term: its no-op follows.
pub(super) fn leader(number: u16, log: &Log, term: u64, commit_index: u64) -> Replica {
    let mut replica = follower(number, log, term - 1, commit_index);
    let voter = node(number % NODES + 1);
    for _ in 0..10 {
        replica.handle(Timestamp::new(1), Event::Tick { random: 0 });
    }
    let term = Term::new(term);
    hear(&mut replica, voter, granted_pre_vote(term));
    persist(&mut replica);
    hear(&mut replica, voter, vote(term, true).message);
    assert!(replica.raft().role().as_leader().is_some(), "{:?}", replica.raft().role());
    assert_eq!(replica.raft().current_term(), term);
    replica
}

/// Does all that a replica wants written.
pub(super) fn persist(replica: &mut Replica) {
    let tickets = replica.take_actions().into_iter().filter_map(|action| match action {
        Action::Write(write) => Some(write.ticket),
        _ => None,
    });
    if let Some(ticket) = tickets.last() {
        replica.handle(Timestamp::new(1), Event::Persisted(ticket));
    }
}

pub(super) fn hear(replica: &mut Replica, from: NodeId, message: Message) {
    let event = Event::Peer { from, message: PeerMessage::bare(message) };
    replica.handle(Timestamp::new(1), event);
}

fn granted_pre_vote(term: Term) -> Message {
    Message::PreVoteResponse(PreVoteResponse { term, vote_granted: true })
}

pub(super) fn vote(term: Term, vote_granted: bool) -> PeerMessage {
    let response = RequestVoteResponse { term, vote_granted };
    PeerMessage::bare(Message::RequestVoteResponse(response))
}

pub(super) fn candidacy(term: u64, last_log_id: LogId) -> PeerMessage {
    let request = RequestVote { term: Term::new(term), last_log_id, leadership_transfer: false };
    PeerMessage::bare(Message::RequestVote(request))
}

pub(super) fn accepted(term: u64, match_index: u64) -> PeerMessage {
    let result = AppendResult::Accepted { match_index: Index::new(match_index) };
    let response =
        AppendEntriesResponse { term: Term::new(term), round: 1, result, disk_full: None };
    PeerMessage::bare(Message::AppendEntriesResponse(response))
}

pub(super) fn heartbeat(term: u64, prev_log_id: LogId) -> PeerMessage {
    PeerMessage::bare(Message::AppendEntries(raft::AppendEntries {
        term: Term::new(term),
        prev_log_id,
        leader_commit: Index::ZERO,
        round: 1,
        heartbeat: true,
        entries: vec![],
    }))
}
