//! What no history of a cluster may show, judged from outside the cores: from the entries that were
//! sealed, the messages that were sent, and the disks (thesis, figure 3.2).
//!
//! Each law looks only at what the last event changed. That is enough, since an entry carries a
//! chain over all entries before it: two logs that agree in one chain agree up to it.

use std::collections::BTreeMap;

use annal::raft::{AppendResult, Configuration, HardState, Message, Raft, ReadToken};
use annal::types::{Incarnation, Index, LogId, NodeId, Term};

/// An entry as the floor above the core holds it, with a hash in place of its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) id: LogId,
    pub(crate) bytes: u32,
    pub(crate) configuration: Option<Configuration>,
    /// Covers this entry and all before it.
    pub(crate) chain: u64,
}

/// The chain before the first entry.
pub(crate) const CHAIN_START: u64 = 0;

impl Entry {
    /// Makes an entry behind `previous`. `body` stands for its bytes.
    pub(crate) fn seal(id: LogId, previous: u64, bytes: u32, body: u64) -> Self {
        let chain = [id.index.get(), id.term.get(), u64::from(bytes), body]
            .into_iter()
            .fold(previous, |chain, word| mix(chain ^ mix(word)));
        Self { id, bytes, configuration: None, chain }
    }
}

/// One round of splitmix64: a good hash of one word.
pub(crate) fn mix(word: u64) -> u64 {
    let mut z = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// What is on a node's disk, and survives whatever happens to the node.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    pub(crate) hard_state: HardState,
    pub(crate) entries: Vec<Entry>,
    /// The commit index as it was known with the last write.
    pub(crate) commit_index: Index,
}

/// The chain of a log at `index`, if it reaches so far.
pub(crate) fn chain_at(entries: &[Entry], index: Index) -> Option<u64> {
    let position = usize::try_from(index.get()).expect("a position in memory");
    match position.checked_sub(1) {
        None => Some(CHAIN_START),
        Some(position) => entries.get(position).map(|entry| entry.chain),
    }
}

/// An entry that some leader has declared committed.
#[derive(Clone, Debug)]
struct Committed {
    id: LogId,
    chain: u64,
    /// The term of the leader that did.
    by: Term,
}

/// The history of a cluster, as far as the laws need it.
#[derive(Clone, Debug)]
pub(crate) struct Laws {
    /// The configuration before the first entry.
    initial: Configuration,
    sealed: BTreeMap<LogId, u64>,
    leaders: BTreeMap<Term, NodeId>,
    /// A node with its store votes once in a term.
    votes: BTreeMap<(NodeId, Option<Incarnation>, Term), NodeId>,
    /// In the order of their indexes, from 1.
    committed: Vec<Committed>,
    /// Up to where each node has reported commits since it started.
    reported: BTreeMap<NodeId, Index>,
    /// What was committed when a read was asked for.
    reads: BTreeMap<ReadToken, (NodeId, Index)>,
}

/// One node as the laws see it.
pub(crate) struct Seen<'a> {
    pub(crate) raft: &'a Raft,
    pub(crate) log: &'a [Entry],
    pub(crate) disk: &'a Disk,
}

impl Laws {
    /// Nothing has happened yet.
    pub(crate) fn new(initial: Configuration) -> Self {
        Self {
            initial,
            sealed: BTreeMap::new(),
            leaders: BTreeMap::new(),
            votes: BTreeMap::new(),
            committed: vec![],
            reported: BTreeMap::new(),
            reads: BTreeMap::new(),
        }
    }

    /// The configuration that a node with this log is in: the newest in it (thesis 4.1).
    pub(crate) fn configuration_of<'a>(&'a self, log: &'a [Entry]) -> &'a Configuration {
        log.iter().rev().find_map(|entry| entry.configuration.as_ref()).unwrap_or(&self.initial)
    }

    /// How many entries are committed.
    pub(crate) fn committed(&self) -> Index {
        Index::new(self.committed.len() as u64)
    }

    /// How many reads wait for an answer.
    pub(crate) fn reads_waiting(&self) -> usize {
        self.reads.len()
    }

    /// The highest term that had a leader.
    pub(crate) fn last_term_led(&self) -> Term {
        self.leaders.last_key_value().map_or(Term::ZERO, |(term, _)| *term)
    }

    /// One entry an id (thesis 3.5): a leader makes at most one entry with an index in its term.
    pub(crate) fn on_sealed(&mut self, entry: &Entry) {
        let known = self.sealed.insert(entry.id, entry.chain);
        assert!(known.is_none(), "broken law: entry {} was made twice", entry.id);
    }

    /// An entry that was in the log when a script began.
    pub(crate) fn on_loaded(&mut self, entry: &Entry) {
        let known = *self.sealed.entry(entry.id).or_insert(entry.chain);
        assert_eq!(known, entry.chain, "the script gives {} two histories", entry.id);
    }

    /// Log Matching (thesis 3.5): whoever has this id has this entry, and all before it.
    pub(crate) fn on_appended(&self, node: NodeId, previous: u64, entry: &Entry, log: &[Entry]) {
        assert_eq!(
            self.sealed.get(&entry.id),
            Some(&entry.chain),
            "broken law: Log Matching: {node} has another {}",
            entry.id
        );
        let before = entry.id.index.previous();
        assert_eq!(
            chain_at(log, before),
            Some(previous),
            "broken law: Log Matching: {node} appends {} to another history",
            entry.id
        );
    }

    /// State Machine Safety (thesis 3.6.3): what is committed leaves no log and no disk.
    pub(crate) fn on_truncated(&self, place: &str, removed: &[Entry]) {
        for entry in removed {
            let position = usize::try_from(entry.id.index.get()).expect("in memory") - 1;
            let committed = self.committed.get(position);
            assert!(
                committed.is_none_or(|committed| committed.chain != entry.chain),
                "broken law: committed {} is removed from {place}",
                entry.id
            );
        }
    }

    /// Election Safety and Leader Completeness (thesis 3.4, 3.6.3).
    pub(crate) fn on_leader(&mut self, term: Term, node: NodeId, seen: &Seen<'_>) {
        let leader = *self.leaders.entry(term).or_insert(node);
        assert_eq!(leader, node, "broken law: Election Safety: two leaders in term {term}");
        if let Some(last) = self.committed.iter().rfind(|committed| committed.by < term) {
            assert_eq!(
                chain_at(seen.log, last.id.index),
                Some(last.chain),
                "broken law: Leader Completeness: {node} leads term {term} without {}",
                last.id
            );
        }
    }

    /// A disk never forgets a term or a vote.
    pub(crate) fn check_hard_state(node: NodeId, before: HardState, after: HardState) {
        let same_vote = before.voted_for.is_none() || before.voted_for == after.voted_for;
        assert!(
            after.current_term > before.current_term
                || (after.current_term == before.current_term && same_vote),
            "broken law: the disk of {node} goes from {before} to {after}"
        );
    }

    /// A node starts anew and knows of commits what its disk does.
    pub(crate) fn on_started(&mut self, node: NodeId, commit_index: Index) {
        self.reported.insert(node, commit_index);
    }

    /// A node is gone, and the reads that waited in it.
    pub(crate) fn on_crashed(&mut self, node: NodeId) {
        self.reads.retain(|_, (at, _)| *at != node);
    }

    /// State Machine Safety, and the promise to clients: an entry is called committed only by a
    /// leader, through an entry of its own term (thesis 3.6.2), when it is on the disks of a
    /// quorum. `disk_of` gives the chain that a node's disk has at `through`.
    pub(crate) fn on_committed(
        &mut self,
        node: NodeId,
        through: Index,
        seen: &Seen<'_>,
        disk_of: &dyn Fn(NodeId) -> Option<u64>,
    ) {
        let reported = self.reported.entry(node).or_default();
        assert!(through > *reported, "broken law: {node} commits {through} after {reported}");
        let first_new = reported.next();
        *reported = through;
        for index in (first_new.get()..=through.get()).map(Index::new) {
            let chain = chain_at(seen.log, index).expect("a node commits what it has");
            let position = usize::try_from(index.get()).expect("in memory") - 1;
            if let Some(committed) = self.committed.get(position) {
                assert_eq!(
                    committed.chain, chain,
                    "broken law: State Machine Safety: {node} commits another {}",
                    committed.id
                );
                continue;
            }
            let by = seen.raft.current_term();
            assert_eq!(
                self.leaders.get(&by),
                Some(&node),
                "broken law: {node}, not the leader, is the first to commit {index}"
            );
            self.committed.push(Committed { id: seen.log[position].id, chain, by });
            if index == through {
                self.check_first_commit(node, seen, &seen.log[position], disk_of);
            }
        }
    }

    fn check_first_commit(
        &self,
        node: NodeId,
        seen: &Seen<'_>,
        entry: &Entry,
        disk_of: &dyn Fn(NodeId) -> Option<u64>,
    ) {
        assert_eq!(
            entry.id.term,
            seen.raft.current_term(),
            "broken law: {node} counts copies of {}, an entry of an older term",
            entry.id
        );
        assert!(
            self.configuration_of(seen.log).is_quorum(|voter| disk_of(voter) == Some(entry.chain)),
            "broken law: {node} commits {}, which is not on the disks of a quorum",
            entry.id
        );
    }

    /// A leader of an older term may commit late: whoever leads a newer one must have it all.
    pub(crate) fn check_newer_leader(&self, node: NodeId, seen: &Seen<'_>) {
        let term = seen.raft.current_term();
        if seen.raft.role().as_leader().is_none() {
            return;
        }
        if let Some(last) = self.committed.last().filter(|last| last.by < term) {
            assert_eq!(
                chain_at(seen.log, last.id.index),
                Some(last.chain),
                "broken law: Leader Completeness: {node} leads term {term} without {}",
                last.id
            );
        }
    }

    /// What a node takes for committed is what was committed.
    pub(crate) fn check_known_commit(&self, node: NodeId, seen: &Seen<'_>) {
        let known = seen.raft.log().commit_index();
        let Some(position) = usize::try_from(known.get()).expect("in memory").checked_sub(1) else {
            return;
        };
        let committed = self.committed.get(position).map(|committed| committed.chain);
        assert!(
            committed.is_some() && committed == chain_at(seen.log, known),
            "broken law: State Machine Safety: {node} takes {known} for committed"
        );
    }

    /// A read is asked for: it must see all that is committed now.
    pub(crate) fn on_read(&mut self, node: NodeId, token: ReadToken) {
        let known = self.reads.insert(token, (node, self.committed()));
        assert!(known.is_none(), "the token {token} is used twice");
    }

    /// Reads are linearizable (thesis 6.4), and each is answered once.
    pub(crate) fn on_reply(&mut self, token: ReadToken, read_index: Option<Index>) {
        let Some((node, committed)) = self.reads.remove(&token) else {
            panic!("broken law: read {token} is answered twice");
        };
        let Some(read_index) = read_index else { return };
        assert!(
            read_index >= committed,
            "broken law: {node} lets read {token} see {read_index} when {committed} is committed"
        );
        assert!(read_index <= self.committed(), "broken law: read {token} sees what is not yet");
    }

    /// The one contract: no message rests on what is not on the sender's disk. Judged by the disk,
    /// whatever the core believes is on it.
    pub(crate) fn on_sent(&mut self, node: NodeId, to: NodeId, message: &Message, seen: &Seen<'_>) {
        let disk = seen.disk;
        let term_on_disk = disk.hard_state.current_term;
        let claimed = match message {
            Message::PreVote(m) => Term::new(m.term.get() - 1),
            Message::PreVoteResponse(m) if m.vote_granted => Term::ZERO,
            other => other.term(),
        };
        assert!(
            claimed <= term_on_disk,
            "broken law: {node} says {message} with term {term_on_disk} on its disk"
        );
        match message {
            Message::RequestVote(m) => self.on_vote_said(node, node, m.term, seen),
            Message::RequestVoteResponse(m) if m.vote_granted => {
                self.on_vote_said(node, to, m.term, seen);
            }
            Message::AppendEntriesResponse(m) => {
                if let AppendResult::Accepted { match_index } = m.result {
                    assert!(
                        chain_at(&disk.entries, match_index).is_some()
                            && chain_at(&disk.entries, match_index)
                                == chain_at(seen.log, match_index),
                        "broken law: {node} says {message}, which its disk does not have"
                    );
                }
            }
            Message::AppendEntries(m) => {
                assert_eq!(
                    self.leaders.get(&m.term),
                    Some(&node),
                    "broken law: {node} says {message} and was not elected"
                );
                assert!(m.leader_commit <= seen.raft.log().commit_index());
            }
            Message::PreVote(_)
            | Message::PreVoteResponse(_)
            | Message::RequestVoteResponse(_)
            | Message::TimeoutNow(_)
            | Message::InstallSnapshot(_)
            | Message::InstallSnapshotResponse(_) => {}
        }
    }

    /// One vote a term, over restarts, as the others heard it; and it is on disk.
    fn on_vote_said(&mut self, node: NodeId, candidate: NodeId, term: Term, seen: &Seen<'_>) {
        let (disk, store) = (seen.disk, seen.raft.options().store);
        let said = *self.votes.entry((node, store, term)).or_insert(candidate);
        assert_eq!(said, candidate, "broken law: {node} votes twice in term {term}");
        let HardState { current_term, voted_for } = disk.hard_state;
        assert!(
            current_term > term || (current_term == term && voted_for == Some(candidate)),
            "broken law: {node} votes for {candidate} in term {term} with {} on its disk",
            disk.hard_state
        );
    }
}
