//! What a run is like: its cluster, disks, network, clients, and what goes wrong.

use std::collections::BTreeSet;

use super::class::Class;
use super::random::Random;
use super::template::Template;
use super::time::Time;
use crate::limits;
use crate::raft::Configuration;
use crate::types::NodeId;

/// What a run is like.
#[derive(Clone, Debug)]
pub struct Options {
    /// The nodes, and how they are set up.
    pub cluster: ClusterOptions,
    /// Their disks.
    pub disks: DiskOptions,
    /// What is between them, and between them and clients.
    pub network: NetworkOptions,
    /// What clients do.
    pub workload: WorkloadOptions,
    /// What goes wrong, and for how long.
    pub faults: FaultOptions,
}

/// The nodes, and how they are set up.
#[derive(Clone, Debug)]
pub struct ClusterOptions {
    /// How many nodes it begins with, all of them voters.
    pub nodes: u16,
    /// How many more there are, that may become members.
    pub(super) spares: u16,
    /// The time between two ticks of a node.
    pub(super) tick: Time,
    /// How long a process lets inputs gather before it handles them.
    pub(super) turn: Time,
    pub(super) heartbeat_ticks: u32,
    pub(super) election_timeout_ticks: (u32, u32),
    pub(super) segment_bytes: u64,
    /// Clients that nodes remember.
    pub(super) sessions_max: usize,
    /// Bytes of requests that may wait at a leader.
    pub(super) proposals_bytes_max: usize,
    /// Bytes that nodes want to keep free.
    pub(super) reserve_bytes: u64,
    pub(super) window_bytes_max: u64,
    pub(super) append_count_max: usize,
    pub(super) append_bytes_max: usize,
    pub(super) uncommitted_bytes_max: u64,
    pub(super) head_piece_bytes_max: u64,
    /// Longest election timeouts for which a follower that stands still is waited for.
    pub(super) release_patience: u32,
}

/// The disks of nodes.
#[derive(Clone, Debug)]
pub struct DiskOptions {
    /// How long a disk takes for one group of writes.
    pub(super) latency: Time,
    /// How long a segment takes to be sealed, about.
    pub(super) sealing: Time,
    /// Bytes of a file of the journal.
    pub(super) journal_file_bytes: u64,
    /// Which disks are slow.
    pub(super) slowness: Option<Slowness>,
}

/// Disks that are slow by nature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slowness {
    /// What each of their syncs takes longer.
    pub sync: Time,
    /// Whose disk it is; `None`: everybody's.
    pub node: Option<NodeId>,
}

/// The network. Chances are in a million.
#[derive(Clone, Debug)]
pub struct NetworkOptions {
    /// How long a message takes.
    pub(super) latency: Time,
    /// What it takes longer between clients and nodes, always.
    pub(super) distance: Time,
    /// Chances for each message between nodes.
    pub(super) loss: u32,
    pub(super) repeat: u32,
    pub(super) reorder: u32,
    pub(super) corrupt: u32,
    /// Chance that a client's stream breaks with a frame.
    pub(super) stream_break: u32,
}

/// What clients do.
#[derive(Clone, Debug)]
pub struct WorkloadOptions {
    /// How many clients that append and read.
    pub clients: usize,
    /// How many of them, the first ones, append under conditions.
    pub(super) guarded: usize,
    /// How many of them, the last ones, have logs of their own.
    pub(super) keepers: usize,
    /// These keep nothing of what they append.
    pub(super) is_tidy: bool,
    /// The mean pause between two operations of a client.
    pub(super) think: Time,
    /// Requests that a client has on their way, at most.
    pub(super) in_flight_max: u64,
    /// The largest record, in bytes.
    pub(super) record_bytes_max: u64,
    /// How long a client waits for an answer.
    pub(super) patience: Time,
}

/// What goes wrong, and for how long.
#[derive(Clone, Debug)]
pub struct FaultOptions {
    /// How long faults strike, before the cluster has to recover.
    pub storm: Time,
    /// The classes of faults that are on.
    pub classes: BTreeSet<Class>,
    /// Whether rot may destroy more than a minority: then the cluster must halt, and never lie.
    pub beyond_the_promise: bool,
    /// The scenario that the run begins with, if any.
    pub template: Option<Template>,
    /// The mean time between two faults of the schedule.
    pub(super) every: Time,
    /// How far tick clocks may be off, in parts per thousand.
    pub(super) drift: u64,
}

impl Options {
    /// A cluster in which nothing goes wrong by itself: a fast network, healthy disks, the settings
    /// of production, and no clients.
    pub(super) fn quiet(nodes: u16) -> Self {
        Self {
            cluster: ClusterOptions::quiet(nodes),
            disks: DiskOptions {
                latency: Time::from_micros(500),
                sealing: Time::from_millis(1),
                journal_file_bytes: 256 << 10,
                slowness: None,
            },
            network: NetworkOptions::quiet(),
            workload: WorkloadOptions {
                clients: 0,
                guarded: 0,
                keepers: 0,
                is_tidy: false,
                think: Time::from_millis(10),
                in_flight_max: 64,
                record_bytes_max: 100,
                patience: Time::from_secs(3600),
            },
            faults: FaultOptions {
                storm: Time::ZERO,
                classes: BTreeSet::new(),
                beyond_the_promise: false,
                template: None,
                every: Time::from_secs(1),
                drift: 0,
            },
        }
    }

    /// Takes a class of faults away.
    pub fn switch_off(&mut self, class: Class) {
        self.faults.classes.remove(&class);
        match class {
            Class::Loss => self.network.loss = 0,
            Class::Repeat => self.network.repeat = 0,
            Class::Reorder => self.network.reorder = 0,
            Class::Corrupt => self.network.corrupt = 0,
            Class::Streams => self.network.stream_break = 0,
            Class::Clock => self.faults.drift = 0,
            Class::Slow => self.disks.slowness = None,
            Class::Reach => self.network.distance = Time::ZERO,
            // These strike by schedule alone.
            Class::Partition
            | Class::Clog
            | Class::Crash
            | Class::MidWrite
            | Class::Power
            | Class::Pause
            | Class::Stall
            | Class::Full
            | Class::Io
            | Class::Rot
            | Class::PutBack
            | Class::Handover
            | Class::Members
            | Class::Registry
            | Class::Clients => {}
        }
    }
}

impl ClusterOptions {
    fn quiet(nodes: u16) -> Self {
        Self {
            nodes,
            spares: 0,
            tick: Time::from_millis(5),
            turn: Time::from_micros(50),
            heartbeat_ticks: 5,
            election_timeout_ticks: (30, 60),
            segment_bytes: 256 << 10,
            sessions_max: limits::SESSIONS_MAX,
            proposals_bytes_max: limits::PROPOSALS_BYTES_MAX,
            reserve_bytes: 256 << 10,
            window_bytes_max: limits::WINDOW_BYTES_MAX as u64,
            append_count_max: limits::APPEND_ENTRIES_COUNT_MAX,
            append_bytes_max: limits::APPEND_ENTRIES_BYTES_MAX,
            uncommitted_bytes_max: limits::UNCOMMITTED_BYTES_MAX as u64,
            head_piece_bytes_max: limits::HEAD_PIECE_BYTES_MAX,
            release_patience: limits::RELEASE_PATIENCE_ELECTION_TIMEOUTS,
        }
    }

    /// How many of the nodes that it begins with decide.
    pub fn quorum(&self) -> usize {
        usize::from(self.nodes) / 2 + 1
    }

    /// Those that it begins with.
    pub(super) fn founders(&self) -> Configuration {
        Configuration::of((1..=self.nodes).map(node))
    }

    /// All nodes, members or not.
    pub(super) fn all(&self) -> BTreeSet<NodeId> {
        (1..=self.nodes + self.spares).map(node).collect()
    }

    /// All but one.
    pub(super) fn all_but(&self, one: NodeId) -> BTreeSet<NodeId> {
        self.all().into_iter().filter(|node| *node != one).collect()
    }

    /// Any node.
    pub(super) fn any(&self, random: &mut Random) -> NodeId {
        let nodes = u64::from(self.nodes + self.spares);
        node(u16::try_from(random.between(1, nodes)).expect("a node's number"))
    }

    /// The longest election timeout after campaigns that came to nothing, as in production.
    pub(super) fn widest_election_timeout_ticks(&self) -> u32 {
        let ticks = Time::of(limits::ELECTION_TIMEOUT_WIDEST).micros() / self.tick.micros();
        u32::try_from(ticks).unwrap_or(u32::MAX).max(self.election_timeout_ticks.1)
    }

    /// The longest election timeout.
    pub(super) fn election_timeout(&self) -> Time {
        self.tick.times(u64::from(self.election_timeout_ticks.1))
    }
}

impl DiskOptions {
    /// What a sync of this node's disk takes longer than others.
    pub(super) fn slowness_of(&self, node: NodeId) -> Time {
        let slow = self.slowness.filter(|slow| slow.node.is_none_or(|only| only == node));
        slow.map_or(Time::ZERO, |slow| slow.sync)
    }

    /// What the slowest disk's syncs take longer.
    pub(super) fn slowest_sync(&self) -> Time {
        self.slowness.map_or(Time::ZERO, |slow| slow.sync)
    }
}

impl NetworkOptions {
    /// A fast network that loses nothing.
    pub(super) fn quiet() -> Self {
        Self {
            latency: Time::from_micros(200),
            distance: Time::ZERO,
            loss: 0,
            repeat: 0,
            reorder: 0,
            corrupt: 0,
            stream_break: 0,
        }
    }
}

impl FaultOptions {
    /// Whether a class of faults is on.
    pub fn has(&self, class: Class) -> bool {
        self.classes.contains(&class)
    }
}

/// A node by its number.
pub(super) fn node(number: u16) -> NodeId {
    NodeId::new(number).expect("nodes are counted from 1")
}
