//! The classes of faults, by which a run is composed, reported and shrunk.

use std::fmt;
use std::str::FromStr;

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
    /// Members come and go, one takes the place of another, and leaders are chosen; two ask at once.
    Members,
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
    (Class::Members, "members"),
    (Class::Registry, "registry"),
    (Class::Clients, "clients"),
    (Class::Reach, "reach"),
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
