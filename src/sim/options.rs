//! What a run is like, drawn from its seed (swarm testing): each class of faults is off in half of
//! all runs, for a fault that is always there hides what only shows without it.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use super::random::{Purpose, Random};
use super::templates::Template;
use super::time::Time;
use crate::limits;
use crate::types::NodeId;

/// A class of faults, on or off in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Messages between nodes are lost.
    Loss,
    /// They come twice, or once more much later.
    Repeat,
    /// They overtake each other.
    Reorder,
    /// A byte of an entry changes on the way.
    Corrupt,
    /// Links between nodes are cut: symmetric or one-way, whole or in part, flapping.
    Partition,
    /// A link passes nothing for a while, and then everything.
    Clog,
    /// Clients' streams break.
    Streams,
    /// Processes are killed and started again.
    Crash,
    /// Processes are killed between two operations of their disk.
    MidWrite,
    /// The power fails: of one node, of some, of all.
    Power,
    /// Processes stand still for a while and go on.
    Pause,
    /// A disk takes very long.
    Stall,
    /// Disks take long for every single sync, from the beginning to the end.
    Slow,
    /// A disk is full for a while.
    Full,
    /// A disk says that it failed.
    Io,
    /// What stands on a disk rots.
    Rot,
    /// A node's folder goes back to an earlier whole state.
    PutBack,
    /// Wall clocks jump, and tick clocks drift.
    Clock,
    /// Leaders are asked to hand over.
    Handover,
    /// The registry crashes, and its disk fails.
    Registry,
    /// Clients die with requests on their way, or stand still.
    Clients,
    /// Clients are far away, lose their connections without being told, or do not reach a node.
    Reach,
}

/// All classes, with their names.
pub const CLASSES: &[(Class, &str)] = &[
    (Class::Loss, "loss"),
    (Class::Repeat, "repeat"),
    (Class::Reorder, "reorder"),
    (Class::Corrupt, "corrupt"),
    (Class::Partition, "partition"),
    (Class::Clog, "clog"),
    (Class::Streams, "streams"),
    (Class::Crash, "crash"),
    (Class::MidWrite, "mid-write"),
    (Class::Power, "power"),
    (Class::Pause, "pause"),
    (Class::Stall, "stall"),
    (Class::Slow, "slow"),
    (Class::Full, "full"),
    (Class::Io, "io"),
    (Class::Rot, "rot"),
    (Class::PutBack, "put-back"),
    (Class::Clock, "clock"),
    (Class::Handover, "handover"),
    (Class::Registry, "registry"),
    (Class::Clients, "clients"),
    (Class::Reach, "reach"),
];

/// Those that a coin decides. The others have a chance and a stream of random numbers of their own, so
/// that what a seed meant before them it means still.
const DRAWN: [Class; 19] = [
    Class::Loss,
    Class::Repeat,
    Class::Reorder,
    Class::Corrupt,
    Class::Partition,
    Class::Clog,
    Class::Streams,
    Class::Crash,
    Class::MidWrite,
    Class::Power,
    Class::Pause,
    Class::Stall,
    Class::Full,
    Class::Io,
    Class::Rot,
    Class::Clock,
    Class::Handover,
    Class::Registry,
    Class::Clients,
];

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = CLASSES.iter().find(|(class, _)| class == self);
        f.pad(named.expect("every class has a name").1)
    }
}

impl FromStr for Class {
    type Err = UnknownClass;

    fn from_str(name: &str) -> Result<Self, UnknownClass> {
        let named = CLASSES.iter().find(|(_, other)| *other == name);
        named.map(|(class, _)| *class).ok_or(UnknownClass)
    }
}

/// No class has this name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no class of faults has this name")]
pub struct UnknownClass;

/// Disks that are slow by nature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slowness {
    /// What each of their syncs takes longer.
    pub sync: Time,
    /// Whose disk it is; `None`: everybody's.
    pub node: Option<NodeId>,
}

/// What a run is like.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many nodes.
    pub nodes: u16,
    /// How many clients that append and read.
    pub clients: usize,
    /// How long faults strike, before the cluster has to recover.
    pub storm: Time,
    /// The classes of faults that are on.
    pub classes: BTreeSet<Class>,
    /// Whether rot may destroy more than a minority: then the cluster must halt, and never lie.
    pub beyond_the_promise: bool,
    /// The scenario that the run begins with, if any.
    pub template: Option<Template>,
    /// The time between two ticks of a node.
    pub(super) tick: Time,
    pub(super) heartbeat_ticks: u32,
    pub(super) election_timeout_ticks: (u32, u32),
    pub(super) segment_bytes: u64,
    /// Clients that nodes remember.
    pub(super) sessions_max: usize,
    /// Bytes of requests that may wait at a leader.
    pub(super) proposals_bytes_max: usize,
    /// Bytes that one batch of a disk may hold.
    pub(super) batch_bytes_max: usize,
    /// Bytes that nodes want to keep free.
    pub(super) reserve_bytes: u64,
    pub(super) window_bytes_max: u64,
    pub(super) append_count_max: usize,
    pub(super) append_bytes_max: usize,
    pub(super) uncommitted_bytes_max: u64,
    /// How long a disk takes for one group of writes.
    pub(super) disk_latency: Time,
    /// How long a segment takes to be sealed, about.
    pub(super) sealing: Time,
    /// Which disks are slow.
    pub(super) slowness: Option<Slowness>,
    /// How long a message takes.
    pub(super) network_latency: Time,
    /// What it takes longer between clients and nodes, always.
    pub(super) distance: Time,
    /// How long a process lets inputs gather before it handles them.
    pub(super) turn: Time,
    /// Chances in a million, for each message between nodes.
    pub(super) loss: u32,
    pub(super) repeat: u32,
    pub(super) reorder: u32,
    pub(super) corrupt: u32,
    /// Chance in a million that a client's stream breaks with a frame.
    pub(super) stream_break: u32,
    /// How far tick clocks may be off, in parts per thousand.
    pub(super) drift: u64,
    /// The mean time between two faults of the schedule.
    pub(super) fault_every: Time,
    /// The mean pause between two operations of a client.
    pub(super) think: Time,
    /// Requests that a client has on their way, at most.
    pub(super) in_flight_max: u64,
    /// The largest record, in bytes.
    pub(super) record_bytes_max: u64,
    /// How long a client waits for an answer.
    pub(super) patience: Time,
}

/// One in so many runs begins with a scenario.
const TEMPLATE_ONE_IN: u64 = 5;

/// One in so many runs has slow disks.
const SLOW_ONE_IN: u64 = 4;
/// In one of so many runs something is between clients and nodes.
const REACH_ONE_IN: u64 = 4;

/// In one of so many runs folders are put back.
const PUT_BACK_ONE_IN: u64 = 4;

impl Options {
    /// The options of a seed.
    pub fn draw(seed: u64) -> Self {
        let mut options = Self::draw_freely(seed);
        if let Some(template) = options.template {
            template.prepare(&mut options);
        }
        let random = &mut Random::new(seed, Purpose::Slowness);
        if random.below(SLOW_ONE_IN) == 0 {
            options.slow_down(random);
        }
        options.part_clients(seed);
        if Random::new(seed, Purpose::PutBack).below(PUT_BACK_ONE_IN) == 0 {
            options.classes.insert(Class::PutBack);
        }
        options
    }

    /// Makes all disks slow, or one.
    fn slow_down(&mut self, random: &mut Random) {
        let sync = Time::from_millis(random.spread(70, 1_500));
        let one = NodeId::new(u16::try_from(random.between(1, u64::from(self.nodes))).unwrap_or(1));
        self.slowness = Some(Slowness { sync, node: one.filter(|_| random.coin()) });
        self.classes.insert(Class::Slow);
        // Whoever lacks entries gets so many messages for each sync; with tiny ones the run would show
        // nothing but how long catching up takes.
        self.append_count_max = self.append_count_max.max(64);
        self.append_bytes_max = self.append_bytes_max.max(64 << 10);
    }

    /// Puts something between clients and nodes, in some runs.
    fn part_clients(&mut self, seed: u64) {
        let random = &mut Random::new(seed, Purpose::Reach);
        if random.below(REACH_ONE_IN) == 0 {
            self.classes.insert(Class::Reach);
            let distance = Time::from_millis(random.spread(20, 350));
            self.distance = if random.coin() { distance } else { Time::ZERO };
        }
    }

    fn draw_freely(seed: u64) -> Self {
        let random = &mut Random::new(seed, Purpose::Options);
        let template = (random.below(TEMPLATE_ONE_IN) == 0).then(|| Template::draw(random));
        let classes: BTreeSet<Class> = DRAWN.iter().copied().filter(|_| random.coin()).collect();
        let rate = |random: &mut Random, class, most| {
            let drawn = u32::try_from(random.spread(100, most)).expect("at most a million");
            if classes.contains(&class) { drawn } else { 0 }
        };
        let loss = rate(random, Class::Loss, 300_000);
        let repeat = rate(random, Class::Repeat, 500_000);
        let reorder = rate(random, Class::Reorder, 500_000);
        let corrupt = rate(random, Class::Corrupt, 50_000);
        let stream_break = rate(random, Class::Streams, 20_000);
        let drift = if classes.contains(&Class::Clock) { random.below(200) } else { 0 };
        let drawn = random.one_of(&[1, 2, 3, 3, 3, 3, 3, 4, 5, 5, 5, 7]);
        let heartbeat_ticks = random.one_of(&[5, 5, 5, 2]);
        let election = random.one_of(&[(30, 60), (30, 60), (20, 25), (60, 120)]);
        Self {
            nodes: drawn,
            clients: usize::try_from(random.between(1, 4)).expect("a small number"),
            storm: Time::from_secs(random.between(4, 20)),
            beyond_the_promise: random.below(20) == 0,
            template,
            tick: Time::from_millis(random.one_of(&[5, 5, 5, 10])),
            heartbeat_ticks,
            election_timeout_ticks: election,
            segment_bytes: random.spread(4 << 10, 256 << 10),
            proposals_bytes_max: random.one_of(&[16 << 10, 32 << 20]),
            batch_bytes_max: random.one_of(&[1, 1 << 10, 4 << 20]),
            reserve_bytes: random.spread(16 << 10, 512 << 10),
            sessions_max: random.one_of(&[2, 8, 10_000, 10_000]),
            window_bytes_max: random.spread(1 << 10, 4 << 20),
            append_count_max: random.one_of(&[1, 2, 16, 256, 256]),
            append_bytes_max: random.one_of(&[1, 4 << 10, 1 << 20]),
            uncommitted_bytes_max: random.one_of(&[2 << 10, 64 << 10, 64 << 20]),
            disk_latency: Time::from_micros(random.spread(100, 20_000)),
            slowness: None,
            network_latency: Time::from_micros(random.spread(50, 10_000)),
            distance: Time::ZERO,
            turn: Time::from_micros(random.spread(1, 2_000)),
            loss,
            repeat,
            reorder,
            corrupt,
            stream_break,
            drift,
            fault_every: Time::from_millis(random.spread(50, 3_000)),
            think: Time::from_micros(random.spread(500, 200_000)),
            in_flight_max: random.one_of(&[1, 2, 8, 64]),
            record_bytes_max: random.one_of(&[16, 100, 100, 2_000]),
            patience: Time::from_millis(random.one_of(&[300, 2_000, 5_000])),
            sealing: Time::from_micros(random.spread(100, 3_000_000)),
            classes,
        }
    }

    /// A cluster in which nothing goes wrong by itself: a fast network, healthy disks, the settings
    /// of production, and no clients.
    #[cfg(test)]
    pub(super) fn quiet(nodes: u16) -> Self {
        Self {
            nodes,
            clients: 0,
            storm: Time::ZERO,
            classes: BTreeSet::new(),
            beyond_the_promise: false,
            template: None,
            tick: Time::from_millis(5),
            heartbeat_ticks: 5,
            election_timeout_ticks: (30, 60),
            segment_bytes: 256 << 10,
            sessions_max: limits::SESSIONS_MAX,
            proposals_bytes_max: limits::PROPOSALS_BYTES_MAX,
            reserve_bytes: 256 << 10,
            batch_bytes_max: limits::GROUP_COMMIT_BYTES_MAX,
            window_bytes_max: limits::WINDOW_BYTES_MAX as u64,
            append_count_max: limits::APPEND_ENTRIES_COUNT_MAX,
            append_bytes_max: limits::APPEND_ENTRIES_BYTES_MAX,
            uncommitted_bytes_max: limits::UNCOMMITTED_BYTES_MAX as u64,
            disk_latency: Time::from_micros(500),
            sealing: Time::from_millis(1),
            slowness: None,
            network_latency: Time::from_micros(200),
            distance: Time::ZERO,
            turn: Time::from_micros(50),
            loss: 0,
            repeat: 0,
            reorder: 0,
            corrupt: 0,
            stream_break: 0,
            drift: 0,
            fault_every: Time::from_secs(1),
            think: Time::from_millis(10),
            in_flight_max: 64,
            record_bytes_max: 100,
            patience: Time::from_secs(3600),
        }
    }

    /// Takes a class of faults away.
    pub fn switch_off(&mut self, class: Class) {
        self.classes.remove(&class);
        match class {
            Class::Loss => self.loss = 0,
            Class::Repeat => self.repeat = 0,
            Class::Reorder => self.reorder = 0,
            Class::Corrupt => self.corrupt = 0,
            Class::Streams => self.stream_break = 0,
            Class::Clock => self.drift = 0,
            Class::Slow => self.slowness = None,
            Class::Reach => self.distance = Time::ZERO,
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
            | Class::Registry
            | Class::Clients => {}
        }
    }

    /// How many nodes decide.
    pub fn quorum(&self) -> usize {
        usize::from(self.nodes) / 2 + 1
    }

    /// What a sync of this node's disk takes longer than others.
    pub(super) fn slowness_of(&self, node: NodeId) -> Time {
        let slow = self.slowness.filter(|slow| slow.node.is_none_or(|only| only == node));
        slow.map_or(Time::ZERO, |slow| slow.sync)
    }

    /// What the slowest disk's syncs take longer.
    pub(super) fn slowest_sync(&self) -> Time {
        self.slowness.map_or(Time::ZERO, |slow| slow.sync)
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
