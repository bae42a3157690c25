//! What a run comes to.

use std::collections::BTreeMap;

use super::class::Class;
use super::faults::Fault;
use super::laws::Violation;
use super::network::Traffic;
use super::time::Time;

/// What happened in a run, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events.
    pub events: u64,
    /// How often a law looked at a moment.
    pub laws_evaluated: u64,
    /// Faults that struck, by class.
    pub faults: BTreeMap<Class, u64>,
    /// What was done to messages.
    pub traffic: Traffic,
    /// Messages whose entries were not taken, because they had changed on the way.
    pub bad_entries: u64,
    /// Groups of writes that disks finished.
    pub writes: u64,
    /// Entries that were read for followers far behind.
    pub fetched: u64,
    /// Processes that were started.
    pub starts: u64,
    /// Starts that failed and were tried again.
    pub failed_starts: u64,
    /// Processes that were killed.
    pub crashes: u64,
    /// Processes that were stopped in order.
    pub stops: u64,
    /// Disks that lost their power.
    pub power_cuts: u64,
    /// Disks that rotted.
    pub rotten: u64,
    /// Sealed segments that were mended.
    pub mended: u64,
    /// Folders that were put back to an earlier state.
    pub put_back: u64,
    /// Folders that were put back as they were before they rotted.
    pub put_right: u64,
    /// Stores that were set aside, to begin anew.
    pub began_anew: u64,
    /// Nodes that were voters again after that.
    pub reinstated: u64,
    /// Stores that began at a head that another node had sent.
    pub installed: u64,
    /// Nodes that joined with a new store.
    pub joined: u64,
    /// Nodes that ended because they had been removed.
    pub removed: u64,
    /// Nodes that found their store damaged, or were told that it is.
    pub refusals: u64,
    /// Requests that were acknowledged.
    pub acknowledged: u64,
    /// Requests that are certainly not in the log.
    pub rejected: u64,
    /// Requests of which a client did not learn what became of them.
    pub unknown: u64,
    /// Requests refused because their condition did not hold.
    pub unmet: u64,
    /// Reads that were answered.
    pub reads: u64,
    /// Runs that were judged for liveness at their end.
    pub healed: u64,
}

impl Counts {
    pub(super) fn note(&mut self, class: Class) {
        *self.faults.entry(class).or_default() += 1;
    }

    /// Adds those of another run.
    pub fn add(&mut self, other: &Self) {
        for (class, count) in &other.faults {
            *self.faults.entry(*class).or_default() += count;
        }
        let (traffic, more) = (&mut self.traffic, &other.traffic);
        let sums = [
            (&mut self.events, other.events),
            (&mut self.laws_evaluated, other.laws_evaluated),
            (&mut self.bad_entries, other.bad_entries),
            (&mut self.writes, other.writes),
            (&mut self.fetched, other.fetched),
            (&mut self.starts, other.starts),
            (&mut self.failed_starts, other.failed_starts),
            (&mut self.crashes, other.crashes),
            (&mut self.stops, other.stops),
            (&mut self.power_cuts, other.power_cuts),
            (&mut self.rotten, other.rotten),
            (&mut self.mended, other.mended),
            (&mut self.put_back, other.put_back),
            (&mut self.put_right, other.put_right),
            (&mut self.began_anew, other.began_anew),
            (&mut self.installed, other.installed),
            (&mut self.reinstated, other.reinstated),
            (&mut self.joined, other.joined),
            (&mut self.removed, other.removed),
            (&mut self.refusals, other.refusals),
            (&mut self.acknowledged, other.acknowledged),
            (&mut self.rejected, other.rejected),
            (&mut self.unknown, other.unknown),
            (&mut self.unmet, other.unmet),
            (&mut self.reads, other.reads),
            (&mut self.healed, other.healed),
            (&mut traffic.sent, more.sent),
            (&mut traffic.lost, more.lost),
            (&mut traffic.repeated, more.repeated),
            (&mut traffic.reordered, more.reordered),
            (&mut traffic.corrupted, more.corrupted),
            (&mut traffic.broken, more.broken),
            (&mut traffic.bytes, more.bytes),
            (&mut traffic.votes, more.votes),
            (&mut traffic.heartbeats, more.heartbeats),
            (&mut traffic.appends, more.appends),
            (&mut traffic.entries, more.entries),
            (&mut traffic.pieces, more.pieces),
            (&mut traffic.rejections, more.rejections),
        ];
        for (sum, more) in sums {
            *sum += more;
        }
    }
}

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Report {
    /// Its seed.
    pub seed: u64,
    /// The laws that were broken; none if all is well.
    pub violations: Vec<Violation>,
    /// How long it was, in virtual time.
    pub simulated: Time,
    /// What happened.
    pub counts: Counts,
    /// A hash over all events and messages.
    pub trace_hash: String,
    /// A line for everything that happened, if that was asked for.
    pub lines: Vec<String>,
    /// The faults that were scheduled.
    pub faults: Vec<Fault>,
    /// How often each rare path was taken, in the order of [`crate::marks::MARKS`].
    pub marks: Vec<u64>,
}

impl Report {
    /// Whether no law was broken.
    pub fn passed(&self) -> bool {
        self.violations.is_empty()
    }
}
