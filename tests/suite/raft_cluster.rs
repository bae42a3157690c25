//! A cluster of bare cores for scripts and random histories: a network of queues, a disk a node, and
//! the laws after every event. It decides nothing itself: what is delivered, written, lost or
//! crashed, and when, is said by whoever drives it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;

use annal::raft::{
    Configuration, Content, Effect, EntryInfo, HardState, Input, Message, Notice, Options, Persist,
    Raft, ReadToken, RecoveredLog,
};
use annal::types::{Incarnation, Index, LogId, NodeId, Term, Ticket};

use crate::raft_laws::{Disk, Entry, Laws, Seen, chain_at, mix};

/// The nodes, what is between them, and their history.
pub(crate) struct Cluster {
    pub(crate) nodes: BTreeMap<NodeId, Node>,
    /// Messages on their way, by sender and receiver, oldest first.
    pub(crate) links: BTreeMap<(NodeId, NodeId), VecDeque<Envelope>>,
    /// A message sent from the first to the second is lost.
    pub(crate) cut: BTreeSet<(NodeId, NodeId)>,
    pub(crate) laws: Laws,
    /// What happened, in words, unless nobody listens.
    pub(crate) said: Option<String>,
    /// Reads answered: the index, or nothing where there was no leader.
    pub(crate) replies: BTreeMap<ReadToken, Option<Index>>,
    /// How often some things happened.
    pub(crate) counted: Counted,
    initial: Configuration,
    /// The last store that was made in place of a lost one.
    last_store: u64,
    /// What was on disks when they were lost: what their servers had promised, they had kept.
    lost: BTreeMap<(NodeId, Option<Incarnation>), Disk>,
    /// Stands for the bytes of the next entry.
    next_body: u64,
}

/// Events that a random history should have seen.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counted {
    pub(crate) truncations: u64,
    pub(crate) stepped_down: u64,
    pub(crate) transfers: u64,
    pub(crate) fetches: u64,
    pub(crate) reinstated: u64,
}

/// A message with the sealed entries beside it.
#[derive(Clone, Debug)]
pub(crate) struct Envelope {
    pub(crate) message: Message,
    /// The store of its sender.
    store: Option<Incarnation>,
    /// The chain before the first entry.
    previous: u64,
    entries: Vec<Entry>,
}

/// A node: a core if it runs, and a disk in any case.
pub(crate) struct Node {
    pub(crate) options: Options,
    pub(crate) raft: Option<Raft>,
    /// The whole log in memory, as the floor above the core has it.
    pub(crate) log: Vec<Entry>,
    pub(crate) disk: Disk,
    /// Writes under way, oldest first.
    pub(crate) writes: VecDeque<Write>,
    /// The newest write that is on disk without the core having heard of it.
    pub(crate) unreported: Option<Ticket>,
    /// Entries asked of the disk, oldest question first.
    pub(crate) fetches: VecDeque<Fetch>,
    /// The stores of the others, as far as this node's process was told.
    heard: BTreeMap<NodeId, Option<Incarnation>>,
    /// How far this node's segments may be sealed: what is committed *and* known to be on its disk.
    ///
    /// NB: not what is committed alone: the disk may have other entries there, which a write under
    /// way is about to remove.
    pub(crate) sealable: Index,
}

/// A write under way.
#[derive(Clone, Debug)]
pub(crate) struct Write {
    pub(crate) persist: Persist,
    entries: Vec<Entry>,
    commit_index: Index,
}

/// See [`Effect::Fetch`].
#[derive(Clone, Debug)]
pub(crate) struct Fetch {
    to: NodeId,
    prev_log_id: LogId,
    last: Index,
}

/// How much of what is under way a crash leaves on the disk.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Kept {
    /// Whole writes, the oldest ones.
    pub(crate) writes: usize,
    /// Further writes of which only term and vote got there: these are kept in two places.
    pub(crate) hard_states: usize,
}

impl Cluster {
    /// Nodes with empty disks, running. The voters are those of `initial`.
    pub(crate) fn new(options: Vec<Options>, initial: Configuration) -> Self {
        let mut cluster = Self {
            nodes: BTreeMap::new(),
            links: BTreeMap::new(),
            cut: BTreeSet::new(),
            laws: Laws::new(initial.clone()),
            said: None,
            replies: BTreeMap::new(),
            counted: Counted::default(),
            initial,
            last_store: 0,
            lost: BTreeMap::new(),
            next_body: 1,
        };
        for options in options {
            let id = options.id;
            cluster.nodes.insert(id, Node::new(options));
            cluster.restart(id, Index::ZERO, 0);
        }
        cluster
    }

    /// The core of a node that runs.
    pub(crate) fn raft(&self, id: NodeId) -> &Raft {
        self.nodes[&id].raft.as_ref().expect("the node runs")
    }

    /// Whether a node runs.
    pub(crate) fn runs(&self, id: NodeId) -> bool {
        self.nodes.get(&id).is_some_and(|node| node.raft.is_some())
    }

    /// Gives a node that is down a log from elsewhere: an entry for each term.
    pub(crate) fn load(&mut self, id: NodeId, terms: &[u64], hard_state: HardState) {
        let mut entries: Vec<Entry> = vec![];
        for (index, term) in (1..).zip(terms) {
            let id = LogId::new(Index::new(index), Term::new(*term));
            let previous = chain_at(&entries, id.index.previous()).expect("it goes so far");
            let entry = Entry::seal(id, previous, 10, 0);
            self.laws.on_loaded(&entry);
            entries.push(entry);
        }
        let node = self.nodes.get_mut(&id).expect("a node of the cluster");
        assert!(node.raft.is_none(), "{id} runs");
        node.disk = Disk { hard_state, entries, commit_index: Index::ZERO };
    }

    /// Starts a node from its disk; the log up to `head` is in sealed segments.
    pub(crate) fn restart(&mut self, id: NodeId, head: Index, random: u64) {
        let node = self.nodes.get_mut(&id).expect("a node of the cluster");
        assert!(node.raft.is_none(), "{id} runs");
        let split = usize::try_from(head.get()).expect("in memory");
        let (sealed, open) = node.disk.entries.split_at(split);
        let mut terms: Vec<(Term, Index)> = vec![];
        for entry in sealed {
            if terms.last().is_none_or(|(term, _)| *term < entry.id.term) {
                terms.push((entry.id.term, entry.id.index));
            }
        }
        let recovered = RecoveredLog {
            terms,
            head: sealed.last().map_or(LogId::ZERO, |entry| entry.id),
            configuration: sealed
                .iter()
                .rev()
                .find_map(|entry| entry.configuration.clone())
                .unwrap_or_else(|| self.initial.clone()),
            entries: open.iter().map(Entry::info).collect(),
            commit_index: node.disk.commit_index,
        };
        node.log = node.disk.entries.clone();
        let raft = Raft::recover(node.options.clone(), node.disk.hard_state, recovered, random);
        self.laws.on_started(id, raft.log().commit_index());
        node.raft = Some(raft);
        self.check_shape(id);
    }

    /// Ends a node without warning. Of the writes under way the disk keeps what `kept` says.
    pub(crate) fn crash(&mut self, id: NodeId, kept: Kept) {
        for _ in 0..kept.writes {
            self.write_oldest(id);
        }
        let node = self.nodes.get_mut(&id).expect("a node of the cluster");
        let ahead = node.writes.iter().take(kept.hard_states);
        if let Some(hard_state) = ahead.filter_map(|write| write.persist.hard_state).next_back() {
            Laws::check_hard_state(id, node.disk.hard_state, hard_state);
            node.disk.hard_state = hard_state;
        }
        node.raft = None;
        node.log.clear();
        node.writes.clear();
        node.fetches.clear();
        node.unreported = None;
        node.heard.clear();
        self.laws.on_crashed(id);
    }

    /// The oldest write gets onto the disk; the core does not hear of it yet.
    pub(crate) fn write_oldest(&mut self, id: NodeId) {
        let node = self.nodes.get_mut(&id).expect("a node of the cluster");
        let Some(write) = node.writes.pop_front() else { return };
        if let Some(from) = write.persist.truncate_from {
            let keep = usize::try_from(from.previous().get()).expect("in memory");
            let removed = node.disk.entries.split_off(keep.min(node.disk.entries.len()));
            self.laws.on_truncated(&format!("the disk of {id}"), &removed);
        }
        for entry in write.entries {
            assert_eq!(entry.id.index.get(), node.disk.entries.len() as u64 + 1, "a hole on disk");
            node.disk.entries.push(entry);
        }
        if let Some(hard_state) = write.persist.hard_state {
            Laws::check_hard_state(id, node.disk.hard_state, hard_state);
            node.disk.hard_state = hard_state;
        }
        node.disk.commit_index = write.commit_index;
        node.unreported = Some(write.persist.ticket);
    }

    /// The core hears of all that is on its disk.
    pub(crate) fn report_written(&mut self, id: NodeId) {
        let node = self.nodes.get_mut(&id).expect("a node of the cluster");
        if let Some(ticket) = node.unreported.take() {
            self.step(id, Input::Persisted { ticket }, &[]);
        }
    }

    /// The disk answers the oldest question for entries, with at most `count_max` of them.
    pub(crate) fn fetch_oldest(&mut self, id: NodeId, count_max: usize) {
        let node = self.nodes.get_mut(&id).expect("a node of the cluster");
        let Some(Fetch { to, prev_log_id, last }) = node.fetches.pop_front() else { return };
        let first = usize::try_from(prev_log_id.index.get()).expect("in memory");
        let last = usize::try_from(last.get()).expect("in memory");
        assert!(last <= node.disk.entries.len(), "{id} asks its disk for what is not there");
        let found = &node.disk.entries[first..last.min(first + count_max)];
        let entries = found.iter().map(Entry::info).collect();
        self.step(id, Input::Fetched { to, prev_log_id, entries }, &[]);
    }

    /// Hands over the message at `position` of a link; lost if the receiver is down.
    pub(crate) fn deliver(&mut self, from: NodeId, to: NodeId, position: usize) {
        let queue = self.links.get_mut(&(from, to)).expect("a message is on its way");
        let envelope = queue.remove(position).expect("a message is on its way");
        if !self.runs(to) {
            return self
                .say(format_args!("{from} -> {to} {} lost: {to} is down", envelope.message));
        }
        // What a store left behind counts for nothing once its successor was heard.
        let node = self.nodes.get_mut(&to).expect("a node of the cluster");
        let heard = node.heard.get(&from).copied().flatten();
        if envelope.store < heard {
            return self
                .say(format_args!("{from} -> {to} {} is of a former store", envelope.message));
        }
        node.heard.insert(from, envelope.store);
        if envelope.store != heard {
            self.step(to, Input::Restarted { peer: from, store: envelope.store }, &[]);
        }
        self.receive(from, to, envelope);
    }

    /// A node's disk is gone, and the node with it; it can be started with a new store.
    pub(crate) fn wipe(&mut self, id: NodeId) {
        if self.runs(id) {
            self.crash(id, Kept::default());
        }
        self.last_store += 1;
        let node = self.nodes.get_mut(&id).expect("a node of the cluster");
        let lost = (id, node.options.store.replace(Incarnation::new(self.last_store)));
        self.lost.insert(lost, std::mem::take(&mut node.disk));
        node.sealable = Index::ZERO;
    }

    /// The floors above the core check what came and rebuild what the wire leaves out.
    fn receive(&mut self, from: NodeId, to: NodeId, envelope: Envelope) {
        let Envelope { mut message, previous, entries, .. } = envelope;
        if let Message::AppendEntries(append) = &mut message {
            append.entries = entries.iter().map(Entry::info).collect();
            let node = &self.nodes[&to];
            let core = node.raft.as_ref().expect("the node runs");
            assert!(
                !core.log().has(append.prev_log_id)
                    || chain_at(&node.log, append.prev_log_id.index) == Some(previous),
                "broken law: Log Matching: {to} has another {}",
                append.prev_log_id
            );
        }
        self.step(to, Input::Receive { from, message }, &entries);
    }

    /// Gives a core an input and does what it says.
    pub(crate) fn step(&mut self, id: NodeId, input: Input, beside: &[Entry]) {
        if let Input::Read(token) = input {
            self.laws.on_read(id, token);
        }
        let node = self.nodes.get_mut(&id).expect("a node of the cluster");
        let effects = node.raft.as_mut().expect("the node runs").step(input);
        for effect in &effects {
            if let Effect::Persist(persist) = effect {
                self.take_entries(id, persist, beside);
            }
        }
        for effect in effects {
            self.perform(id, effect);
        }
        self.check_shape(id);
        let node = self.nodes.get_mut(&id).expect("a node of the cluster");
        let log = node.raft.as_ref().expect("the node runs").log();
        node.sealable = node.sealable.max(log.commit_index().min(log.persisted()));
    }

    /// What a write names and the leader of this node sent becomes part of the log in memory.
    fn take_entries(&mut self, id: NodeId, persist: &Persist, beside: &[Entry]) {
        let node = self.nodes.get_mut(&id).expect("a node of the cluster");
        if let Some(from) = persist.truncate_from {
            let keep = usize::try_from(from.previous().get()).expect("in memory");
            let removed = node.log.split_off(keep);
            self.laws.on_truncated(&format!("{id}"), &removed);
        }
        let Some((first, last)) = persist.range else { return };
        for entry in beside.iter().filter(|e| e.id.index >= first && e.id.index <= last) {
            assert_eq!(entry.id.index.get(), node.log.len() as u64 + 1, "a hole in the log");
            let previous = node.log.last().map_or(0, |entry| entry.chain);
            node.log.push(entry.clone());
            self.laws.on_appended(id, previous, entry, &node.log);
        }
    }

    fn perform(&mut self, id: NodeId, effect: Effect) {
        self.say_effect(id, &effect);
        match effect {
            Effect::Seal { log_id, content } => self.seal(id, log_id, content),
            Effect::Persist(persist) => self.begin_write(id, persist),
            Effect::Send { to, message } => self.send(id, to, message),
            Effect::Fetch { to, prev_log_id, last } => {
                self.counted.fetches += 1;
                let node = self.nodes.get_mut(&id).expect("a node of the cluster");
                node.fetches.push_back(Fetch { to, prev_log_id, last });
            }
            Effect::Install { head } => panic!("nobody gives up what is before {}", head.id),
            Effect::Commit { through } => self.on_commit(id, through),
            Effect::Reply { token, read_index } => {
                self.laws.on_reply(token, read_index);
                self.replies.insert(token, read_index);
            }
            Effect::Notice(Notice::BecameLeader { term, .. }) => {
                let node = &self.nodes[&id];
                self.laws.on_leader(term, id, &node.seen());
            }
            Effect::Notice(Notice::Truncated { .. }) => self.counted.truncations += 1,
            Effect::Notice(Notice::SteppedDown { .. }) => self.counted.stepped_down += 1,
            Effect::Notice(Notice::TransferStarted { .. }) => self.counted.transfers += 1,
            Effect::Notice(Notice::Reinstated { .. }) => self.counted.reinstated += 1,
            Effect::Notice(_) => {}
        }
    }

    fn seal(&mut self, id: NodeId, log_id: LogId, content: Content) {
        let node = self.nodes.get_mut(&id).expect("a node of the cluster");
        let raft = node.raft.as_ref().expect("the node runs");
        assert_eq!(log_id.index.get(), node.log.len() as u64 + 1, "an entry made out of order");
        let previous = node.log.last().map_or(0, |entry| entry.chain);
        let bytes = raft.log().info_at(log_id.index).bytes;
        let mut entry = Entry::seal(log_id, previous, bytes, mix(self.next_body));
        self.next_body += 1;
        if let Content::Configuration(configuration) = content {
            entry.configuration = Some(configuration);
        }
        self.laws.on_sealed(&entry);
        node.log.push(entry);
    }

    fn begin_write(&mut self, id: NodeId, persist: Persist) {
        let node = self.nodes.get_mut(&id).expect("a node of the cluster");
        let commit_index = node.raft.as_ref().expect("the node runs").log().commit_index();
        let entries = persist.range.map_or_else(Vec::new, |(first, last)| {
            let range = usize::try_from(first.get() - 1).expect("in memory")
                ..usize::try_from(last.get()).expect("in memory");
            node.log[range].to_vec()
        });
        node.writes.push_back(Write { persist, entries, commit_index });
    }

    fn send(&mut self, id: NodeId, to: NodeId, message: Message) {
        let node = &self.nodes[&id];
        self.laws.on_sent(id, to, &message, &node.seen());
        self.check_promise(to, &message, node);
        let (previous, entries) = match &message {
            Message::AppendEntries(append) => {
                let first = usize::try_from(append.prev_log_id.index.get()).expect("in memory");
                let entries = node.log[first..first + append.entries.len()].to_vec();
                let same = |(a, b): (&EntryInfo, &Entry)| a.term == b.id.term && a.bytes == b.bytes;
                assert!(append.entries.iter().zip(&entries).all(same), "{message} is not the log");
                let previous = chain_at(&node.log, append.prev_log_id.index);
                (previous.expect("it is in the log"), entries)
            }
            _ => (0, vec![]),
        };
        if !self.cut.contains(&(id, to)) {
            let store = self.nodes[&id].options.store;
            let envelope = Envelope { message, store, previous, entries };
            self.links.entry((id, to)).or_default().push_back(envelope);
        }
    }

    /// What a follower says it has on disk, its leader has as well, if that still leads.
    fn check_promise(&self, to: NodeId, message: &Message, node: &Node) {
        let Message::AppendEntriesResponse(response) = message else { return };
        let annal::raft::AppendResult::Accepted { match_index } = response.result else { return };
        let Some(leader) = self.nodes[&to].raft.as_ref() else { return };
        if leader.role().as_leader().is_some() && leader.current_term() == response.term {
            assert_eq!(
                chain_at(&node.disk.entries, match_index),
                chain_at(&self.nodes[&to].log, match_index),
                "broken law: {message}, and the disk has other entries than the leader {to}"
            );
        }
    }

    fn on_commit(&mut self, id: NodeId, through: Index) {
        let before = self.laws.committed();
        let node = &self.nodes[&id];
        let configuration = node.raft.as_ref().expect("the node runs").log().configuration();
        let disk_of = |id: NodeId| {
            let meant = configuration.store(id);
            let node = self.nodes.get(&id).filter(|node| node.options.store == meant);
            let disk = node.map(|node| &node.disk).or_else(|| self.lost.get(&(id, meant)));
            chain_at(&disk?.entries, through)
        };
        self.laws.on_committed(id, through, &node.seen(), &disk_of);
        if self.laws.committed() > before {
            for (other, node) in self.nodes.iter().filter(|(_, node)| node.raft.is_some()) {
                self.laws.check_newer_leader(*other, &node.seen());
            }
        }
    }

    /// The core's log has the shape of the log that it speaks of.
    fn check_shape(&self, id: NodeId) {
        let node = &self.nodes[&id];
        let log = node.raft.as_ref().expect("the node runs").log();
        let last = node.log.last().map_or(LogId::ZERO, |entry| entry.id);
        assert_eq!(log.last(), last, "{id} has another last entry than its core believes");
        let configuration = self.laws.configuration_of(&node.log);
        assert_eq!(log.configuration(), configuration, "{id} is in the newest configuration");
    }

    /// Checks at leisure what each event has checked in part.
    pub(crate) fn check_all(&self) {
        for (id, node) in &self.nodes {
            for pair in node.log.windows(2) {
                assert!(pair[0].id < pair[1].id, "{id} has its log in disorder");
            }
            if node.raft.is_some() {
                self.laws.check_known_commit(*id, &node.seen());
            }
        }
    }

    pub(crate) fn say(&mut self, line: std::fmt::Arguments<'_>) {
        if let Some(said) = &mut self.said {
            writeln!(said, "{line}").expect("a string takes all");
        }
    }

    fn say_effect(&mut self, id: NodeId, effect: &Effect) {
        if self.said.is_none() {
            return;
        }
        match effect {
            Effect::Seal { log_id, content } => {
                self.say(format_args!("{id} makes {log_id}: {content}"));
            }
            Effect::Persist(persist) => self.say(format_args!("{id} {persist}")),
            Effect::Send { to, message } => {
                let lost = if self.cut.contains(&(id, *to)) { " lost: no way" } else { "" };
                self.say(format_args!("{id} -> {to} {message}{lost}"));
            }
            Effect::Fetch { .. }
            | Effect::Install { .. }
            | Effect::Commit { .. }
            | Effect::Reply { .. } => {
                self.say(format_args!("{id} {effect}"));
            }
            Effect::Notice(notice) => self.say(format_args!("{id} {notice}")),
        }
    }
}

impl Node {
    fn new(options: Options) -> Self {
        Self {
            options,
            raft: None,
            log: vec![],
            disk: Disk::default(),
            writes: VecDeque::new(),
            unreported: None,
            fetches: VecDeque::new(),
            heard: BTreeMap::new(),
            sealable: Index::ZERO,
        }
    }

    /// This node as the laws see it.
    pub(crate) fn seen(&self) -> Seen<'_> {
        Seen { raft: self.raft.as_ref().expect("the node runs"), log: &self.log, disk: &self.disk }
    }
}

impl Entry {
    /// What the core knows of it.
    pub(crate) fn info(&self) -> EntryInfo {
        EntryInfo {
            term: self.id.term,
            bytes: self.bytes,
            configuration: self.configuration.clone(),
        }
    }
}
