//! One machine: a disk, and maybe a process on it.

use std::cell::{RefCell, RefMut};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::announcer::Announcer;
use super::network::StreamNumber;
use super::options::{ClusterOptions, Options};
use super::random::{Purpose, Random};
use super::reading::OngoingRead;
use super::time::Time;
use crate::entry::Chain;
use crate::limits;
use crate::raft::{self, HardState, Memory, ReadToken, Standing};
use crate::replica::{self, AppendToken, Replica};
use crate::sim::laws::Platter;
use crate::store::{MemoryDisk, Reader, SealedSegment, SteppedWriter};
use crate::types::{ClientId, Incarnation, Index, LogId, NodeId, Timestamp};

/// When the story of a run begins, for those who read wall clocks.
pub(super) const EPOCH_MS: u64 = 1_767_225_600_000;

/// A process of a node.
pub(super) type ProcessId = (NodeId, Incarnation);

/// See the module.
#[expect(clippy::struct_excessive_bools, reason = "each is a question of its own")]
pub(super) struct Machine {
    pub(super) id: NodeId,
    pub(super) disk: Disk,
    pub(super) process: Option<Process>,
    /// Its disk was hurt beyond what is promised.
    pub(super) lost: bool,
    /// A copy of its folder, to be put back.
    pub(super) kept: Option<MemoryDisk>,
    /// Its folder was put back to an earlier state.
    pub(super) is_put_back: bool,
    /// Sealed segments that have rotted, by their first entry, if nothing else has.
    pub(super) rotten: BTreeSet<Index>,
    /// What was on its disk before it rotted, as long as no process has run on it since.
    pub(super) before_rot: Option<MemoryDisk>,
    /// Its store was found to be lost, and is to be replaced by one that the others fill.
    pub(super) begins_anew: bool,
    /// It has such a store, and is no voter yet.
    pub(super) is_refilling: bool,
    /// It is no member, by all that it knows: nobody starts it.
    pub(super) is_out: bool,
    /// The newest order to start it; older ones are void.
    pub(super) start_at: Option<Time>,
    pub(super) paused_until: Option<Time>,
    /// Processes that were started here.
    pub(super) starts: u64,
    /// Entries up to here were shown to the laws as committed.
    pub(super) told: Index,
    pub(super) clock_ahead_ms: u64,
    /// Its disk is about to fail, or fails; a new start finds it repaired.
    pub(super) disk_fails: bool,
    /// Its next start is killed after so many operations of its disk.
    pub(super) dies_at_start: Option<u64>,
    /// Its disk never finishes anything.
    pub(super) is_stuck: bool,
    /// The next thing its disk is asked takes so much longer.
    pub(super) stall: Time,
    pub(super) random: Random,
    /// The time between two of its ticks, with the drift of its clock.
    pub(super) tick: Time,
}

/// A disk, as laws see it. They look more often than it changes, so what was read is kept.
pub(super) struct Disk {
    pub(super) memory: MemoryDisk,
    read: RefCell<Read>,
}

/// What was read off a platter since it last changed.
#[derive(Default)]
struct Read {
    /// The disk's operations by then.
    operations: u64,
    hard_state: Option<HardState>,
    entries: BTreeMap<Index, Option<(LogId, Chain)>>,
}

impl Disk {
    fn new(memory: MemoryDisk) -> Self {
        Self { memory, read: RefCell::default() }
    }

    /// It was changed by something else than its own operations.
    pub(super) fn changed(&self) {
        self.read.take();
    }

    fn read(&self) -> RefMut<'_, Read> {
        let mut read = self.read.borrow_mut();
        let operations = self.memory.operations();
        if read.operations != operations {
            *read = Read { operations, ..Read::default() };
        }
        read
    }
}

impl Platter for Disk {
    fn hard_state(&self) -> HardState {
        *self.read().hard_state.get_or_insert_with(|| self.memory.durable_hard_state())
    }

    fn entry(&self, index: Index) -> Option<(LogId, Chain)> {
        let read = || self.memory.durable_entry(index);
        *self.read().entries.entry(index).or_insert_with(read)
    }

    fn first(&self) -> Index {
        self.memory.durable_first()
    }

    fn last(&self) -> Index {
        self.memory.durable_last()
    }

    fn sealed_after(&self, index: Index) -> Vec<SealedSegment> {
        self.memory.sealed_after(index)
    }
}

/// A process: what is gone when it is killed.
pub(super) struct Process {
    pub(super) incarnation: Incarnation,
    pub(super) replica: Replica,
    /// What it shows of itself.
    pub(super) standing: Standing,
    /// What it remembers of the others.
    pub(super) memory: Memory,
    pub(super) writer: SteppedWriter,
    pub(super) reader: Reader,
    /// What has gathered.
    pub(super) inbox: Vec<replica::Event>,
    pub(super) tick_is_due: bool,
    /// A wake-up is scheduled.
    pub(super) wakes: bool,
    /// Its disk is at work.
    pub(super) disk_is_busy: bool,
    /// Groups of writes that it has begun.
    pub(super) writes: u64,
    /// The upkeep of its store, one chore at a time: no append waits for it.
    pub(super) upkeep: UpkeepState,
    /// Where the answers to a run of appends go, and how many requests have none.
    pub(super) appends: BTreeMap<AppendToken, (StreamNumber, ClientId, u32)>,
    /// Reads that wait to learn how far they must see.
    pub(super) reads_without_index: BTreeMap<ReadToken, OngoingRead>,
    /// Reads that know, and wait for this node's own disk.
    pub(super) reads_with_index: Vec<OngoingRead>,
    pub(super) next_token: u64,
    pub(super) announcer: Announcer,
    /// The process dies within its disk's next operations; whether the power fails then, and for
    /// how long it is down.
    pub(super) dies_mid_write: Option<(bool, Time)>,
}

/// What the upkeep of a process's store is about.
#[derive(Debug, Default)]
pub(super) struct UpkeepState {
    /// It seals, makes files, or writes down what is to be remembered.
    pub(super) is_busy: bool,
    /// Things that it has begun.
    pub(super) chores: u64,
    /// What is done twice a second is to be done.
    pub(super) is_due: bool,
}

impl Machine {
    pub(super) fn new(seed: u64, id: NodeId, disk: MemoryDisk, options: &Options) -> Self {
        let mut random = Random::new(seed, Purpose::Node(id.get()));
        let off = random.below(2 * options.faults.drift + 1);
        let tick = options.cluster.tick.micros() * (1000 - options.faults.drift + off) / 1000;
        Self {
            id,
            disk: Disk::new(disk),
            process: None,
            lost: false,
            kept: None,
            is_put_back: false,
            rotten: BTreeSet::new(),
            before_rot: None,
            begins_anew: false,
            is_refilling: false,
            is_out: id.get() > options.cluster.nodes,
            start_at: None,
            paused_until: None,
            starts: 0,
            told: Index::ZERO,
            clock_ahead_ms: 0,
            disk_fails: false,
            dies_at_start: None,
            is_stuck: false,
            stall: Time::ZERO,
            random,
            tick: Time::from_micros(tick),
        }
    }

    /// Whether it runs, and knows that a segment of its has rotted.
    pub(super) fn knows_of_rot(&self) -> bool {
        let process = self.process.as_ref();
        let knows = process.is_some_and(|process| !process.reader.damaged().is_empty());
        knows && !self.rotten.is_empty()
    }

    /// Its wall clock.
    pub(super) fn wall_clock(&self, now: Time) -> Timestamp {
        Timestamp::new(EPOCH_MS + now.millis() + self.clock_ahead_ms)
    }

    /// Its process, if that is the one meant.
    pub(super) fn process_of(&mut self, incarnation: Incarnation) -> Option<&mut Process> {
        self.process.as_mut().filter(|process| process.incarnation == incarnation)
    }

    /// Whether a process runs, be it one that stands still.
    pub(super) fn is_up(&self) -> bool {
        self.process.is_some()
    }

    /// Ticks after which a peer's start counts.
    pub(super) fn count_after(&self) -> u32 {
        let ticks = Time::of(limits::PEER_COUNTS_AFTER).micros() / self.tick.micros();
        u32::try_from(ticks).expect("a few hundred ticks")
    }

    /// How its replicas are set up.
    pub(super) fn replica_options(&self, options: &ClusterOptions) -> replica::Options {
        let timeouts = options.election_timeout_ticks;
        let mut raft = raft::Options::new(self.id, options.heartbeat_ticks, timeouts);
        raft.election_timeout_ticks_widest = options.widest_election_timeout_ticks();
        raft.window_bytes_max = options.window_bytes_max;
        raft.catch_up_bytes_min = options.window_bytes_max;
        raft.append_count_max = options.append_count_max;
        raft.append_bytes_max = options.append_bytes_max;
        raft.uncommitted_bytes_max = options.uncommitted_bytes_max;
        raft.head_piece_bytes_max = options.head_piece_bytes_max;
        raft.release_patience_ticks = timeouts.1 * options.release_patience;
        let ClusterOptions {
            segment_bytes, sessions_max, proposals_bytes_max, reserve_bytes, ..
        } = *options;
        let tick = Duration::from_micros(options.tick.micros());
        replica::Options {
            raft,
            segment_bytes,
            sessions_max,
            proposals_bytes_max,
            reserve_bytes,
            tick,
        }
    }
}

impl Process {
    pub(super) fn token(&mut self) -> u64 {
        self.next_token += 1;
        self.next_token
    }
}
