//! The network: when a message arrives, if it does, and how often.
//!
//! Between nodes messages come in order, urgent ones apart, unless they are lost, repeated, or held
//! up so that others overtake them. That is worse than QUIC's streams, and all that the core is
//! promised. Between clients and nodes a long stream is what QUIC makes of it: in order, without
//! loss, until it is over. Headers do not change on the way, for every packet is authenticated; a
//! byte of an entry may, for its own checksum is there to notice.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{Bytes, BytesMut};

use super::codec::bytes_of;
use super::options::NetworkOptions;
use super::random::Random;
use super::time::Time;
use crate::raft::{AppendResult, Message};
use crate::types::{Incarnation, NodeId};
use crate::wire::Frame;
use crate::wire::peer::PeerMessage;

/// Names a long stream between a client and a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct StreamNumber(pub(super) u64);

/// A long stream between a client and a node.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) client: usize,
    /// The client's life that it belongs to.
    pub(super) life: u64,
    pub(super) node: NodeId,
    pub(super) incarnation: Incarnation,
    /// The client's connection that carries it.
    link: u64,
    pub(super) hop: Hop,
    /// When the newest frame in each direction arrives: the next one does so later.
    to_node: Time,
    to_client: Time,
    to_leader: Time,
    /// It broke; the client may not know yet.
    pub(super) broken: bool,
    /// Nothing passes any more, and nobody is told.
    silent: bool,
}

/// Where the frames of a stream are handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hop {
    /// By the node that it was opened to.
    None,
    /// They are to be handed on to the leader; nothing has come yet.
    Wanted,
    /// They are handed on to this node's process.
    To(NodeId, Incarnation),
}

/// What becomes of a frame on a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Passage {
    Arrives(Time),
    /// The stream is over, or now breaks.
    Broken,
    /// From this one on nothing passes, and nobody is told.
    FallsSilent,
    Lost,
}

/// Messages that go from some nodes to some others are lost.
#[derive(Debug)]
struct Cut {
    fault: usize,
    from: BTreeSet<NodeId>,
    to: BTreeSet<NodeId>,
    both_ways: bool,
}

/// What was done to messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Messages that nodes sent to each other.
    pub sent: u64,
    /// Those that were lost.
    pub lost: u64,
    /// Those that came once more.
    pub repeated: u64,
    /// Those that were held up so that others overtook them.
    pub reordered: u64,
    /// Those that were changed on the way.
    pub corrupted: u64,
    /// Clients' streams that broke.
    pub broken: u64,
    /// Bytes that nodes sent to each other.
    pub bytes: u64,
    /// Messages of elections: questions and answers.
    pub votes: u64,
    /// Heartbeats.
    pub heartbeats: u64,
    /// Messages for entries, be they questions without any.
    pub appends: u64,
    /// Entries that were in them.
    pub entries: u64,
    /// Pieces of heads.
    pub pieces: u64,
    /// Answers that the entry before those is not there.
    pub rejections: u64,
}

impl Traffic {
    /// What was done since it was as it was `earlier`.
    #[cfg(test)]
    pub(super) fn since(&self, earlier: &Self) -> Self {
        Self {
            sent: self.sent - earlier.sent,
            lost: self.lost - earlier.lost,
            repeated: self.repeated - earlier.repeated,
            reordered: self.reordered - earlier.reordered,
            corrupted: self.corrupted - earlier.corrupted,
            broken: self.broken - earlier.broken,
            bytes: self.bytes - earlier.bytes,
            votes: self.votes - earlier.votes,
            heartbeats: self.heartbeats - earlier.heartbeats,
            appends: self.appends - earlier.appends,
            entries: self.entries - earlier.entries,
            pieces: self.pieces - earlier.pieces,
            rejections: self.rejections - earlier.rejections,
        }
    }

    fn note(&mut self, message: &PeerMessage) {
        self.sent += 1;
        if !matches!(message.message, Message::InstallSnapshot(_)) {
            self.entries += message.entries.len() as u64;
        }
        match &message.message {
            Message::PreVote(_)
            | Message::PreVoteResponse(_)
            | Message::RequestVote(_)
            | Message::RequestVoteResponse(_) => self.votes += 1,
            Message::AppendEntries(append) if append.heartbeat => self.heartbeats += 1,
            Message::AppendEntries(_) => self.appends += 1,
            Message::InstallSnapshot(_) => self.pieces += 1,
            Message::AppendEntriesResponse(response) => match response.result {
                AppendResult::Rejected { .. } => self.rejections += 1,
                AppendResult::Accepted { .. } | AppendResult::Stale => {}
            },
            Message::TimeoutNow(_) | Message::InstallSnapshotResponse(_) => {}
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Network {
    options: NetworkOptions,
    cuts: Vec<Cut>,
    clogs: BTreeMap<(NodeId, NodeId), Time>,
    /// When the newest message arrives on each stream between nodes: urgent ones have their own.
    arrived: BTreeMap<(NodeId, NodeId, bool), Time>,
    streams: BTreeMap<StreamNumber, Stream>,
    opened: u64,
    /// Clients that do not reach a node, by the fault that is the reason.
    client_cuts: Vec<(usize, usize, NodeId)>,
    /// Up to which of its connections those of a client to a node pass nothing any more.
    dead_links: BTreeMap<(usize, NodeId), u64>,
    random: Random,
    pub(super) traffic: Traffic,
}

/// A repeated message may come so much later: from another age.
const MUCH_LATER: Time = Time::from_secs(20);

impl Network {
    pub(super) fn new(options: NetworkOptions, random: Random) -> Self {
        Self {
            options,
            cuts: vec![],
            clogs: BTreeMap::new(),
            arrived: BTreeMap::new(),
            streams: BTreeMap::new(),
            opened: 0,
            client_cuts: vec![],
            dead_links: BTreeMap::new(),
            random,
            traffic: Traffic::default(),
        }
    }

    /// From now on nothing goes wrong, but for the cuts that are made later.
    pub(super) fn calm(&mut self) {
        let NetworkOptions { latency, distance, .. } = self.options;
        self.options = NetworkOptions { latency, distance, ..NetworkOptions::quiet() };
        self.cuts.clear();
        self.clogs.clear();
        self.client_cuts.clear();
    }

    /// From now on so many of a million messages between nodes are lost, repeated and overtaken.
    #[cfg(test)]
    pub(super) fn set_rates(&mut self, loss: u32, repeat: u32, reorder: u32) {
        self.options = NetworkOptions { loss, repeat, reorder, ..self.options.clone() };
    }

    pub(super) fn cut(
        &mut self,
        fault: usize,
        from: BTreeSet<NodeId>,
        to: BTreeSet<NodeId>,
        both_ways: bool,
    ) {
        self.cuts.push(Cut { fault, from, to, both_ways });
    }

    pub(super) fn heal(&mut self, fault: usize) {
        self.cuts.retain(|cut| cut.fault != fault);
        self.client_cuts.retain(|(by, ..)| *by != fault);
    }

    /// A client reaches a node no more.
    pub(super) fn cut_client(&mut self, fault: usize, client: usize, node: NodeId) {
        self.client_cuts.push((fault, client, node));
    }

    /// A client's connections to a node, up to this one, pass nothing any more. Nobody is told.
    pub(super) fn kill_links(&mut self, client: usize, node: NodeId, through: u64) {
        self.dead_links.insert((client, node), through);
    }

    /// Whether anything passes between a client and a node on this connection.
    pub(super) fn reaches(&self, client: usize, node: NodeId, link: u64) -> bool {
        let is_cut = self.client_cuts.iter().any(|(_, who, from)| (*who, *from) == (client, node));
        let dead = self.dead_links.get(&(client, node)).is_some_and(|through| link <= *through);
        !is_cut && !dead
    }

    pub(super) fn clog(&mut self, from: NodeId, to: NodeId, until: Time) {
        self.clogs.insert((from, to), until);
    }

    pub(super) fn is_cut(&self, from: NodeId, to: NodeId) -> bool {
        self.cuts.iter().any(|cut| {
            cut.from.contains(&from) && cut.to.contains(&to)
                || cut.both_ways && cut.from.contains(&to) && cut.to.contains(&from)
        })
    }

    /// When a message from one node to another arrives: not at all, once, or more often.
    pub(super) fn arrivals(
        &mut self,
        now: Time,
        (from, to): (NodeId, NodeId),
        message: &PeerMessage,
    ) -> Vec<Time> {
        self.traffic.note(message);
        let random = &mut self.random;
        let mut arrives = now + Time::from_micros(1) + random.around(self.options.latency);
        let lost = random.happens(self.options.loss);
        if random.happens(self.options.reorder) {
            self.traffic.reordered += 1;
            arrives = arrives + random.around(self.options.latency.times(20));
        } else {
            // One that is not held up comes after those before it.
            let before = self.arrived.entry((from, to, message.is_urgent())).or_default();
            arrives = arrives.max(*before);
            *before = arrives;
        }
        let repeated = random.happens(self.options.repeat);
        let later = if random.below(50) == 0 { MUCH_LATER } else { self.options.latency.times(20) };
        let again = arrives + random.around(later);
        if lost || self.is_cut(from, to) {
            self.traffic.lost += 1;
            return vec![];
        }
        let clogged = self.clogs.get(&(from, to)).copied().unwrap_or_default();
        let mut times = vec![arrives.max(clogged)];
        if repeated {
            self.traffic.repeated += 1;
            times.push(again.max(clogged));
        }
        times
    }

    /// A frame between nodes, as its bytes arrive. It ends with an entry, or a piece of a head, of so many
    /// bytes.
    pub(super) fn transmit(&mut self, frame: &Frame, last_bytes: usize) -> Bytes {
        let mut bytes = BytesMut::from(&bytes_of(frame)[..]);
        self.traffic.bytes += bytes.len() as u64;
        if self.random.happens(self.options.corrupt) && last_bytes > 0 {
            self.traffic.corrupted += 1;
            // Only that: the rest of a frame is QUIC's to look after.
            let most = (bytes.len() / 4).clamp(1, 60).min(last_bytes);
            let back = self.random.between(1, most as u64);
            let place = bytes.len() - usize::try_from(back).expect("a place in memory");
            bytes[place] ^= 1 << self.random.below(8);
        }
        bytes.freeze()
    }

    /// How long something takes between a client, or the registry, and a node.
    pub(super) fn delay(&mut self) -> Time {
        self.options.distance + Time::from_micros(1) + self.random.around(self.options.latency)
    }

    /// When a frame that a node hands on to the leader arrives there; `None` if the two do not reach
    /// each other.
    pub(super) fn hand_on(&mut self, now: Time, number: StreamNumber) -> Option<Time> {
        let delay = Time::from_micros(1) + self.random.around(self.options.latency);
        let stream = self.streams.get(&number)?;
        let Hop::To(leader, _) = stream.hop else { return None };
        if self.is_cut(stream.node, leader) || self.is_cut(leader, stream.node) {
            return None;
        }
        let stream = self.streams.get_mut(&number)?;
        stream.to_leader = (now + delay).max(stream.to_leader + Time::from_micros(1));
        Some(stream.to_leader)
    }

    /// Where the frames of a stream are handled is settled.
    pub(super) fn settle(&mut self, number: StreamNumber, hop: Hop) {
        if let Some(stream) = self.streams.get_mut(&number) {
            stream.hop = hop;
        }
    }

    /// A stream breaks. Says whether it was whole.
    pub(super) fn break_stream(&mut self, number: StreamNumber) -> bool {
        let stream = self.streams.get_mut(&number);
        stream.is_some_and(|stream| !std::mem::replace(&mut stream.broken, true))
    }

    /// How long something takes to the registry: now and then it comes from another age.
    pub(super) fn delay_to_registry(&mut self) -> Time {
        let late = self.random.happens(self.options.reorder);
        let more = self.random.around(MUCH_LATER);
        if late { self.delay() + more } else { self.delay() }
    }

    /// Whether a client's question, or the answer to it, gets lost with its connection.
    pub(super) fn question_is_lost(&mut self) -> bool {
        self.random.happens(self.options.stream_break)
    }

    pub(super) fn open(
        &mut self,
        now: Time,
        (client, life): (usize, u64),
        (node, incarnation): (NodeId, Incarnation),
        (link, onward): (u64, bool),
    ) -> StreamNumber {
        self.opened += 1;
        let number = StreamNumber(self.opened);
        let stream = Stream {
            client,
            life,
            node,
            incarnation,
            link,
            hop: if onward { Hop::Wanted } else { Hop::None },
            to_node: now,
            to_client: now,
            to_leader: now,
            broken: false,
            silent: false,
        };
        self.streams.insert(number, stream);
        number
    }

    pub(super) fn stream(&self, number: StreamNumber) -> Option<&Stream> {
        self.streams.get(&number)
    }

    pub(super) fn close(&mut self, number: StreamNumber) {
        self.streams.remove(&number);
    }

    /// What becomes of a frame on a stream, and when it arrives.
    pub(super) fn pass(&mut self, now: Time, number: StreamNumber, to_node: bool) -> Passage {
        let delay = self.delay();
        let breaks = self.random.happens(self.options.stream_break);
        let Some(stream) = self.streams.get(&number) else { return Passage::Broken };
        let reaches = self.reaches(stream.client, stream.node, stream.link);
        let is_parted =
            matches!(stream.hop, Hop::To(leader, _) if self.is_cut(leader, stream.node));
        let Some(stream) = self.streams.get_mut(&number) else { return Passage::Broken };
        if stream.broken {
            return Passage::Broken;
        }
        if breaks || is_parted {
            stream.broken = true;
            self.traffic.broken += 1;
            return Passage::Broken;
        }
        if !reaches || stream.silent {
            // Nothing of a stream is ever missing in its middle.
            let before = std::mem::replace(&mut stream.silent, true);
            return if before { Passage::Lost } else { Passage::FallsSilent };
        }
        let last = if to_node { &mut stream.to_node } else { &mut stream.to_client };
        *last = (now + delay).max(*last + Time::from_micros(1));
        Passage::Arrives(*last)
    }

    /// The streams to a process that is no more: they are broken from now on.
    pub(super) fn break_streams_to(&mut self, node: NodeId) -> Vec<StreamNumber> {
        let is_on_it = |stream: &Stream| {
            stream.node == node || matches!(stream.hop, Hop::To(leader, _) if leader == node)
        };
        let to_it = self.streams.iter_mut().filter(|(_, s)| is_on_it(s) && !s.broken);
        to_it
            .map(|(number, stream)| {
                stream.broken = true;
                *number
            })
            .collect()
    }

    /// The streams of a client's life that is over.
    pub(super) fn close_streams_of(&mut self, client: usize) {
        self.streams.retain(|_, stream| stream.client != client);
    }
}
