//! The network: when a message arrives, if it does, and how often.
//!
//! Between nodes messages come in order, urgent ones apart, unless they are lost, repeated, or held
//! up so that others overtake them. That is worse than QUIC's streams, and all that the core is
//! promised. Between clients and nodes a long stream is what QUIC makes of it: in order, without
//! loss, until it is over. Headers do not change on the way, for every packet is authenticated; a
//! byte of an entry may, for its own checksum is there to notice.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{Bytes, BytesMut};

use super::options::Options;
use super::random::Random;
use super::time::Time;
use super::world::bytes_of;
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
    /// When the newest frame in each direction arrives: the next one does so later.
    to_node: Time,
    to_client: Time,
    /// It broke; the client may not know yet.
    pub(super) broken: bool,
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
            rejections: self.rejections - earlier.rejections,
        }
    }

    fn note(&mut self, message: &PeerMessage) {
        self.sent += 1;
        self.entries += message.entries.len() as u64;
        match &message.message {
            Message::PreVote(_)
            | Message::PreVoteResponse(_)
            | Message::RequestVote(_)
            | Message::RequestVoteResponse(_) => self.votes += 1,
            Message::AppendEntries(append) if append.heartbeat => self.heartbeats += 1,
            Message::AppendEntries(_) => self.appends += 1,
            Message::AppendEntriesResponse(response) => match response.result {
                AppendResult::Rejected { .. } => self.rejections += 1,
                AppendResult::Accepted { .. } | AppendResult::Stale => {}
            },
            Message::TimeoutNow(_) => {}
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Network {
    latency: Time,
    loss: u32,
    repeat: u32,
    reorder: u32,
    corrupt: u32,
    stream_break: u32,
    cuts: Vec<Cut>,
    clogs: BTreeMap<(NodeId, NodeId), Time>,
    /// When the newest message arrives on each stream between nodes: urgent ones have their own.
    arrived: BTreeMap<(NodeId, NodeId, bool), Time>,
    streams: BTreeMap<StreamNumber, Stream>,
    opened: u64,
    random: Random,
    pub(super) traffic: Traffic,
}

/// A repeated message may come so much later: from another age.
const MUCH_LATER: Time = Time::from_secs(20);

impl Network {
    pub(super) fn new(options: &Options, random: Random) -> Self {
        Self {
            latency: options.network_latency,
            loss: options.loss,
            repeat: options.repeat,
            reorder: options.reorder,
            corrupt: options.corrupt,
            stream_break: options.stream_break,
            cuts: vec![],
            clogs: BTreeMap::new(),
            arrived: BTreeMap::new(),
            streams: BTreeMap::new(),
            opened: 0,
            random,
            traffic: Traffic::default(),
        }
    }

    /// From now on nothing goes wrong, but for the cuts that are made later.
    pub(super) fn calm(&mut self) {
        self.loss = 0;
        self.repeat = 0;
        self.reorder = 0;
        self.corrupt = 0;
        self.stream_break = 0;
        self.cuts.clear();
        self.clogs.clear();
    }

    /// From now on so many of a million messages between nodes are lost, repeated and overtaken.
    #[cfg(test)]
    pub(super) fn set_rates(&mut self, loss: u32, repeat: u32, reorder: u32) {
        (self.loss, self.repeat, self.reorder) = (loss, repeat, reorder);
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
    }

    pub(super) fn clog(&mut self, from: NodeId, to: NodeId, until: Time) {
        self.clogs.insert((from, to), until);
    }

    fn is_cut(&self, from: NodeId, to: NodeId) -> bool {
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
        let mut arrives = now + Time::from_micros(1) + random.around(self.latency);
        let lost = random.happens(self.loss);
        if random.happens(self.reorder) {
            self.traffic.reordered += 1;
            arrives = arrives + random.around(self.latency.times(20));
        } else {
            // One that is not held up comes after those before it.
            let before = self.arrived.entry((from, to, message.is_urgent())).or_default();
            arrives = arrives.max(*before);
            *before = arrives;
        }
        let repeated = random.happens(self.repeat);
        let later = if random.below(50) == 0 { MUCH_LATER } else { self.latency.times(20) };
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

    /// A frame between nodes, as its bytes arrive.
    pub(super) fn transmit(&mut self, frame: &Frame, has_entries: bool) -> Bytes {
        let mut bytes = BytesMut::from(&bytes_of(frame)[..]);
        self.traffic.bytes += bytes.len() as u64;
        if self.random.happens(self.corrupt) && has_entries {
            self.traffic.corrupted += 1;
            // The end of the frame is the end of its last entry.
            let back = self.random.between(1, (bytes.len() as u64 / 4).clamp(1, 60));
            let place = bytes.len() - usize::try_from(back).expect("a place in memory");
            bytes[place] ^= 1 << self.random.below(8);
        }
        bytes.freeze()
    }

    /// How long something takes between a client, or the registry, and a node.
    pub(super) fn delay(&mut self) -> Time {
        Time::from_micros(1) + self.random.around(self.latency)
    }

    /// How long something takes to the registry: now and then it comes from another age.
    pub(super) fn delay_to_registry(&mut self) -> Time {
        let late = self.random.happens(self.reorder);
        let more = self.random.around(MUCH_LATER);
        if late { self.delay() + more } else { self.delay() }
    }

    /// Whether a client's question, or the answer to it, gets lost with its connection.
    pub(super) fn question_is_lost(&mut self) -> bool {
        self.random.happens(self.stream_break)
    }

    pub(super) fn open(
        &mut self,
        now: Time,
        (client, life): (usize, u64),
        (node, incarnation): (NodeId, Incarnation),
    ) -> StreamNumber {
        self.opened += 1;
        let number = StreamNumber(self.opened);
        let stream =
            Stream { client, life, node, incarnation, to_node: now, to_client: now, broken: false };
        self.streams.insert(number, stream);
        number
    }

    pub(super) fn stream(&self, number: StreamNumber) -> Option<&Stream> {
        self.streams.get(&number)
    }

    pub(super) fn close(&mut self, number: StreamNumber) {
        self.streams.remove(&number);
    }

    /// When a frame on a stream arrives; `None` if the stream is over, or now breaks.
    pub(super) fn pass(&mut self, now: Time, number: StreamNumber, to_node: bool) -> Option<Time> {
        let delay = self.delay();
        let breaks = self.random.happens(self.stream_break);
        let stream = self.streams.get_mut(&number)?;
        if stream.broken {
            return None;
        }
        if breaks {
            stream.broken = true;
            self.traffic.broken += 1;
            return None;
        }
        let last = if to_node { &mut stream.to_node } else { &mut stream.to_client };
        *last = (now + delay).max(*last + Time::from_micros(1));
        Some(*last)
    }

    /// The streams to a process that is no more: they are broken from now on.
    pub(super) fn break_streams_to(&mut self, node: NodeId) -> Vec<StreamNumber> {
        let to_it = self.streams.iter_mut().filter(|(_, s)| s.node == node && !s.broken);
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
