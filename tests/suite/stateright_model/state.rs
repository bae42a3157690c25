//! A state of the model: three real cores, their disks, every message ever sent, and the little
//! history that the laws need.

use std::collections::VecDeque;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use annal::raft::{
    AppendEntriesResponse, AppendResult, Configuration, Effect, EntryInfo, HardState, Input,
    Message, Notice, Options, Persist, Raft, ReadToken, RecoveredLog, Role,
};
use annal::types::{Index, LogId, NodeId, Term};

/// Ticks. A leader speaks in each of its ticks; a follower that hears nobody for two believes in no
/// leader any more, and campaigns with the third.
const HEARTBEAT_TICKS: u32 = 1;
pub(super) const ELECTION_TICKS: (u32, u32) = (2, 3);
/// Draws the longer of both timeouts.
pub(super) const RANDOM: u64 = 1;

/// Where in `nodes` a node is.
pub(super) type Place = usize;

pub(super) const NODES: usize = 3;

pub(super) fn id_of(place: Place) -> NodeId {
    NodeId::new(u16::try_from(place + 1).unwrap()).unwrap()
}

fn place_of(id: NodeId) -> Place {
    usize::from(id.get()) - 1
}

/// A state. Clones share what a step leaves alone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct State {
    pub(super) nodes: [Arc<Hashed<Node>>; NODES],
    /// Every message ever sent, in the order of their hashes: a network that may lose, repeat,
    /// delay and reorder is one that keeps all, and hands over any of them at any time, or never.
    /// Only what can have no effect any more is taken out.
    pub(super) sent: Arc<Vec<Arc<Hashed<Sent>>>>,
    pub(super) history: History,
    pub(super) left: Budget,
    /// The node whose disk is slow, and which may crash; the others write at once. A write that is
    /// slow on two nodes is, but for a crash, a message that is late.
    pub(super) slow: Option<Place>,
}

/// A value and its hash, which is computed once.
#[derive(Debug)]
pub(super) struct Hashed<T> {
    pub(super) value: T,
    hash: u64,
}

/// A message, and between whom.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Sent {
    pub(super) from: Place,
    pub(super) to: Place,
    pub(super) message: Message,
}

/// A node: its core, its disk, and the writes on their way there, oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Node {
    pub(super) raft: Raft,
    pub(super) disk: Disk,
    pub(super) writes: VecDeque<Write>,
    /// What it heard since its disk last did something, while there are writes: not to be heard
    /// again. Each answer would be held back once more, without end.
    heard: Vec<Arc<Hashed<Sent>>>,
}

/// What survives a crash.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Disk {
    pub(super) hard_state: HardState,
    pub(super) entries: Vec<EntryInfo>,
    /// The commit index as it was known with the newest write.
    pub(super) commit_index: Index,
}

/// A write on its way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Write {
    pub(super) persist: Persist,
    entries: Vec<EntryInfo>,
    commit_index: Index,
}

/// What a state does not show of how it came about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct History {
    /// All that was ever called committed, from index 1.
    pub(super) committed: Vec<Committed>,
    pub(super) read: Option<Read>,
    /// A node has removed entries that its leader does not have.
    pub(super) truncated: bool,
    /// The first law that a step was seen to break. Nothing happens behind it.
    pub(super) broken: Option<Broken>,
}

/// An entry that was called committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Committed {
    pub(super) term: Term,
    /// The term of the leader that was the first to call it so.
    pub(super) by: Term,
}

/// The one read of a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Read {
    /// How many entries were committed when it was asked for.
    pub(super) must_see: Index,
    /// What it was told to see.
    pub(super) answer: Option<Index>,
}

/// What can be seen only while a step is made.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Broken {
    /// An assertion of the core failed.
    Assertion(String),
    /// A message promises what is not on the sender's disk.
    SaidTooEarly(String),
    /// A follower says it has what its leader does not have.
    VouchedWrongly(String),
    /// Whoever called an entry committed was no leader, or made none of its own term so.
    WronglyCommitted(LogId),
    /// A disk went from one term and vote to others that it must not have after them.
    VoteForgotten(HardState, HardState),
}

/// What may still happen, of that which could happen for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Budget {
    /// No node campaigns beyond this term.
    pub(super) last_term: Term,
    /// Election timers that run out.
    pub(super) timeouts: u8,
    /// Followers that stop to believe in their leader.
    pub(super) doubts: u8,
    /// Leaders that wait for a shortest election timeout: heartbeats, and repetitions of what is not
    /// answered; those who hear nobody step down the second time.
    pub(super) waits: u8,
    pub(super) proposals: u8,
    pub(super) reads: u8,
    pub(super) transfers: u8,
    pub(super) crashes: u8,
}

impl<T: Hash> Hashed<T> {
    fn new(value: T) -> Arc<Self> {
        let mut hasher = DefaultHasher::new();
        value.hash(&mut hasher);
        Arc::new(Self { hash: hasher.finish(), value })
    }
}

impl<T> Hash for Hashed<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.hash.hash(state);
    }
}

impl<T: PartialEq> PartialEq for Hashed<T> {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash && self.value == other.value
    }
}

impl<T: Eq> Eq for Hashed<T> {}

impl Node {
    /// A node as its disk has it.
    pub(super) fn recover(place: Place, disk: Disk, append_count_max: usize) -> Self {
        let mut options = Options::new(id_of(place), HEARTBEAT_TICKS, ELECTION_TICKS);
        options.append_count_max = append_count_max;
        options.disk_stall_ticks = u32::MAX;
        options.read_stall_ticks = u32::MAX;
        let log = RecoveredLog {
            terms: vec![],
            head: LogId::ZERO,
            configuration: Configuration::of((0..NODES).map(id_of)),
            entries: disk.entries.clone(),
            commit_index: disk.commit_index.min(Index::new(disk.entries.len() as u64)),
        };
        let raft = Raft::recover(options, disk.hard_state, log, RANDOM);
        Self { raft, disk, writes: VecDeque::new(), heard: vec![] }
    }

    /// The ids of the entries in memory.
    pub(super) fn terms(&self) -> Vec<Term> {
        let last = self.raft.log().last().index.get();
        (1..=last).map(|index| self.raft.log().id_at(Index::new(index)).term).collect()
    }

    fn write_oldest(&mut self) -> Input {
        let write = self.writes.pop_front().expect("a write is on its way");
        let ticket = write.persist.ticket;
        self.disk.take(write);
        self.heard.clear();
        Input::Persisted { ticket }
    }
}

impl Disk {
    /// The ids of the entries on it.
    pub(super) fn terms(&self) -> Vec<Term> {
        self.entries.iter().map(|entry| entry.term).collect()
    }

    fn take(&mut self, write: Write) {
        if let Some(from) = write.persist.truncate_from {
            self.entries.truncate(usize::try_from(from.previous().get()).unwrap());
        }
        if let Some((first, _)) = write.persist.range {
            assert_eq!(first.get(), self.entries.len() as u64 + 1, "a hole on disk");
        }
        self.entries.extend(write.entries);
        self.hard_state = write.persist.hard_state.unwrap_or(self.hard_state);
        self.commit_index = write.commit_index;
    }
}

impl State {
    /// Nodes as these disks have them, with nothing between them.
    pub(super) fn of(
        disks: [Disk; NODES],
        append_count_max: usize,
        left: Budget,
        slow: Option<Place>,
    ) -> Self {
        let mut place = 0;
        let nodes = disks.map(|disk| {
            let node = Node::recover(place, disk, append_count_max);
            place += 1;
            Hashed::new(node)
        });
        Self { nodes, sent: Arc::new(vec![]), history: History::default(), left, slow }
    }

    pub(super) fn node(&self, place: Place) -> &Node {
        &self.nodes[place].value
    }

    /// Hands a message over. It stays where it was, to be handed over again.
    pub(super) fn deliver(&mut self, sent: &Arc<Hashed<Sent>>) {
        let Sent { from, to, message } = sent.value.clone();
        self.step(to, Input::Receive { from: id_of(from), message });
        if !self.node(to).writes.is_empty() {
            let mut node = self.node(to).clone();
            node.heard.push(Arc::clone(sent));
            node.heard.sort_by_key(|sent| sent.hash);
            self.nodes[to] = Hashed::new(node);
        }
    }

    /// The messages that may be handed over.
    pub(super) fn deliverable(&self) -> impl Iterator<Item = &Arc<Hashed<Sent>>> {
        self.sent.iter().filter(|sent| !self.node(sent.value.to).heard.contains(sent))
    }

    /// The oldest write gets onto the disk, and the core hears of it.
    pub(super) fn persist(&mut self, place: Place) {
        let mut node = self.node(place).clone();
        let before = node.disk.hard_state;
        let input = node.write_oldest();
        self.check_hard_state(before, node.disk.hard_state);
        self.nodes[place] = Hashed::new(node);
        self.step(place, input);
    }

    /// Ticks until a timer of the node's role has run out.
    pub(super) fn tick(&mut self, place: Place, count: u32) {
        for _ in 0..count {
            self.step(place, Input::Tick { random: RANDOM });
        }
    }

    /// Ticks until the node's election timer has run out.
    pub(super) fn time_out(&mut self, place: Place) {
        let timer = match self.node(place).raft.role() {
            Role::Follower(follower) => follower.timer,
            Role::PreCandidate(candidate) => candidate.timer,
            Role::Candidate(candidate) => candidate.timer,
            Role::Leader(_) => unreachable!("a leader has no election timer"),
        };
        self.tick(place, timer.timeout - timer.elapsed);
    }

    pub(super) fn read(&mut self, place: Place) {
        let must_see = Index::new(self.history.committed.len() as u64);
        self.history.read = Some(Read { must_see, answer: None });
        self.step(place, Input::Read(ReadToken(1)));
    }

    /// The node stops with `kept` of its writes on disk, of the next perhaps only term and vote, and
    /// starts again. How long it was away makes no difference that the network does not make.
    pub(super) fn crash(&mut self, place: Place, kept: usize, hard_state: bool, count_max: usize) {
        let mut node = self.node(place).clone();
        let before = node.disk.hard_state;
        for _ in 0..kept {
            node.write_oldest();
        }
        if let Some(write) = node.writes.front().filter(|_| hard_state) {
            node.disk.hard_state = write.persist.hard_state.expect("it carries one");
        }
        self.check_hard_state(before, node.disk.hard_state);
        self.nodes[place] = Hashed::new(Node::recover(place, node.disk, count_max));
    }

    /// Gives a core an input, and does what it says.
    pub(super) fn step(&mut self, place: Place, input: Input) {
        if self.history.broken.is_some() {
            return;
        }
        let mut node = self.node(place).clone();
        let effects = match catch_unwind(AssertUnwindSafe(|| node.raft.step(input))) {
            Ok(effects) => effects,
            Err(panic) => {
                let said = panic.downcast_ref::<String>().cloned();
                let said = said.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
                self.history.broken = Some(Broken::Assertion(said.unwrap_or_default()));
                return;
            }
        };
        for effect in effects {
            match effect {
                Effect::Persist(persist) => node.begin_write(persist),
                Effect::Send { to, message } => self.send(place, &node, place_of(to), message),
                Effect::Commit { through } => self.on_commit(&node, through),
                Effect::Reply { read_index, .. } => {
                    let read = self.history.read.as_mut().expect("it was asked for");
                    read.answer = read_index;
                }
                Effect::Notice(Notice::Truncated { .. }) => self.history.truncated = true,
                Effect::Fetch { .. } | Effect::Install { .. } => {
                    unreachable!("all is in the window")
                }
                Effect::Seal { .. } | Effect::Notice(_) => {}
            }
        }
        let is_idle = node.writes.is_empty();
        self.nodes[place] = Hashed::new(node);
        if self.slow != Some(place) && !is_idle {
            self.persist(place);
        }
    }

    /// One vote a term, over crashes (thesis 3.4), as far as it is on disk. Together with
    /// `Node::may_say`, one vote a term that is ever said.
    fn check_hard_state(&mut self, before: HardState, after: HardState) {
        let same_vote = before.voted_for.is_none() || before.voted_for == after.voted_for;
        let is_newer = after.current_term > before.current_term
            || (after.current_term == before.current_term && same_vote);
        if !is_newer {
            self.history.broken = Some(Broken::VoteForgotten(before, after));
        }
    }

    /// Takes out the messages that can do nothing, whatever else happens. Terms on disks never go
    /// back, so they are what is asked.
    pub(super) fn forget_messages(&mut self, keeps_votes: bool) {
        let is_vote = |sent: &Sent| matches!(sent.message, Message::RequestVoteResponse(_));
        let is_spent = |sent: &Arc<Hashed<Sent>>| {
            self.is_spent(&sent.value) && !(keeps_votes && is_vote(&sent.value))
        };
        if self.sent.iter().any(is_spent) {
            let kept = self.sent.iter().filter(|sent| !is_spent(sent)).cloned().collect();
            self.sent = Arc::new(kept);
        }
    }

    fn is_spent(&self, sent: &Sent) -> bool {
        let receiver = self.node(sent.to);
        let (here, there) = (self.disk_term(sent.to), self.disk_term(sent.from));
        let term = sent.message.term();
        match &sent.message {
            // Questions: the receiver would only say its term, to one that has moved on as well.
            Message::PreVote(_) => there >= term,
            Message::RequestVote(_) | Message::AppendEntries(_) => here > term && there > term,
            Message::TimeoutNow(_) => here > term,
            Message::InstallSnapshot(_) | Message::InstallSnapshotResponse(_) => {
                unreachable!("all is in the window")
            }
            // Answers: the receiver's role that waits for them is over.
            Message::PreVoteResponse(_) => here >= term,
            Message::RequestVoteResponse(_) => {
                let waits = matches!(receiver.raft.role(), Role::Candidate(_));
                here > term || (here == term && !waits)
            }
            Message::AppendEntriesResponse(_) => {
                here > term || (here == term && receiver.raft.role().as_leader().is_none())
            }
        }
    }

    fn disk_term(&self, place: Place) -> Term {
        self.node(place).disk.hard_state.current_term
    }

    fn send(&mut self, from: Place, node: &Node, to: Place, message: Message) {
        let sent = Hashed::new(Sent { from, to, message });
        if !node.may_say(to, &sent.value.message) {
            self.history.broken = Some(Broken::SaidTooEarly(sent.value.to_string()));
        }
        if !self.may_vouch(node, &sent.value) {
            self.history.broken = Some(Broken::VouchedWrongly(sent.value.to_string()));
        }
        let position = self.sent.partition_point(|other| other.hash < sent.hash);
        let known = self.sent.get(position).is_some_and(|other| other.hash == sent.hash);
        if !known {
            Arc::make_mut(&mut self.sent).insert(position, sent);
        }
    }

    /// What a follower says it has, its leader has as well, if that still leads.
    fn may_vouch(&self, node: &Node, sent: &Sent) -> bool {
        let Message::AppendEntriesResponse(AppendEntriesResponse { term, result, .. }) =
            &sent.message
        else {
            return true;
        };
        let AppendResult::Accepted { match_index } = result else { return true };
        let leader = self.node(sent.to);
        if leader.raft.role().as_leader().is_none() || leader.raft.current_term() != *term {
            return true;
        }
        let count = usize::try_from(match_index.get()).unwrap();
        leader.terms().get(..count).is_some_and(|entries| entries == &node.disk.terms()[..count])
    }

    fn on_commit(&mut self, node: &Node, through: Index) {
        let by = node.raft.current_term();
        let log = node.raft.log();
        let known = self.history.committed.len() as u64;
        if through.get() <= known {
            return;
        }
        if node.raft.role().as_leader().is_none() || log.id_at(through).term != by {
            self.history.broken = Some(Broken::WronglyCommitted(log.id_at(through)));
        }
        for index in (known + 1..=through.get()).map(Index::new) {
            let term = log.id_at(index).term;
            self.history.committed.push(Committed { term, by });
        }
    }
}

impl Node {
    fn begin_write(&mut self, persist: Persist) {
        let log = self.raft.log();
        let entries = persist.range.map_or_else(Vec::new, |(first, last)| {
            (first.get()..=last.get()).map(|index| log.info_at(Index::new(index))).collect()
        });
        let commit_index = log.commit_index();
        self.writes.push_back(Write { persist, entries, commit_index });
    }

    /// Whether the disk bears the message out; judged without asking the core what is on it.
    fn may_say(&self, to: Place, message: &Message) -> bool {
        let HardState { current_term, voted_for } = self.disk.hard_state;
        let votes = |candidate, term| current_term == term && voted_for == Some(candidate);
        match message {
            // It names the term after the sender's, or grants one that nobody has reached.
            Message::PreVote(m) => Some(m.term) <= current_term.next(),
            Message::PreVoteResponse(m) => m.vote_granted || m.term <= current_term,
            Message::RequestVote(m) => votes(self.raft.id(), m.term),
            Message::RequestVoteResponse(m) if m.vote_granted => votes(id_of(to), m.term),
            Message::AppendEntriesResponse(m) => match m.result {
                AppendResult::Accepted { match_index } => {
                    let count = usize::try_from(match_index.get()).unwrap();
                    let on_disk = self.disk.terms();
                    m.term <= current_term
                        && on_disk.get(..count).is_some_and(|e| e == &self.terms()[..count])
                }
                AppendResult::Rejected { .. } | AppendResult::Stale => m.term <= current_term,
            },
            Message::RequestVoteResponse(_)
            | Message::AppendEntries(_)
            | Message::TimeoutNow(_)
            | Message::InstallSnapshot(_)
            | Message::InstallSnapshotResponse(_) => message.term() <= current_term,
        }
    }
}

impl Sent {
    pub(super) fn is_between(&self, a: Place, b: Place) -> bool {
        (self.from, self.to) == (a, b) || (self.from, self.to) == (b, a)
    }
}

impl fmt::Display for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {} {}", id_of(self.from), id_of(self.to), self.message)
    }
}
