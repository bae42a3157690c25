//! What can go wrong in a run.

use std::collections::BTreeSet;
use std::fmt;

use super::class::Class;
use super::time::Time;
use crate::members::Aim;
use crate::types::NodeId;

/// Something that goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// When.
    pub at: Time,
    /// What.
    pub kind: FaultKind,
}

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// A process is killed, and started again after a while.
    Crash {
        /// Whose.
        node: NodeId,
        /// Until it is started.
        down: Time,
    },
    /// Whoever leads is killed, and started again after a while.
    LeaderCrash {
        /// Until it is started.
        down: Time,
    },
    /// Whoever leads reaches so many others and no more, and hears no more.
    LeaderCut {
        /// How many.
        friends: usize,
        /// How long.
        length: Time,
    },
    /// A process is stopped in order, and started again after a while.
    Stop {
        /// Whose.
        node: NodeId,
        /// Until it is started.
        down: Time,
    },
    /// A process is killed after so many more operations of its disk.
    MidWrite {
        /// Whose.
        node: NodeId,
        /// How many it still does.
        operations: u64,
        /// Whether the power fails with it.
        power: bool,
        /// Until it is started.
        down: Time,
    },
    /// The power fails: what is not synced may be lost, whole or in part.
    PowerCut {
        /// Whose.
        nodes: BTreeSet<NodeId>,
        /// Until they are started, each a little later than the one before.
        down: Time,
    },
    /// A process stands still, and goes on with what has gathered.
    Pause {
        /// Whose.
        node: NodeId,
        /// How long.
        length: Time,
    },
    /// Messages from these to those are lost.
    Cut {
        /// From where.
        from: BTreeSet<NodeId>,
        /// To where.
        to: BTreeSet<NodeId>,
        /// And in the other direction, too.
        both_ways: bool,
        /// How long.
        length: Time,
    },
    /// A link passes nothing, and afterwards all at once.
    Clog {
        /// From whom.
        from: NodeId,
        /// To whom.
        to: NodeId,
        /// How long.
        length: Time,
    },
    /// A disk takes so much longer for what it is asked next.
    Stall {
        /// Whose.
        node: NodeId,
        /// How long.
        length: Time,
    },
    /// A disk has no more than a little space left.
    Full {
        /// Whose.
        node: NodeId,
        /// Bytes that still fit.
        room: u64,
        /// How long.
        length: Time,
    },
    /// The next sync fails, once; what it should have kept is lost.
    SyncFails {
        /// Whose.
        node: NodeId,
    },
    /// Reads or writes fail until the process is started again.
    Io {
        /// Whose.
        node: NodeId,
        /// Writes, not reads.
        writes: bool,
    },
    /// What stands on a disk rots, below what the node knows to be synced.
    Rot {
        /// Whose.
        node: NodeId,
    },
    /// A node's folder goes back to an earlier state.
    PutBack {
        /// Whose.
        node: NodeId,
        /// To which.
        earlier: Earlier,
        /// How long after the copy was made.
        after: Time,
    },
    /// A wall clock jumps.
    ClockJump {
        /// Whose.
        node: NodeId,
        /// To so many milliseconds ahead of the true time.
        ahead_ms: u64,
    },
    /// A node is asked to hand over, if it leads.
    Handover {
        /// Who.
        node: NodeId,
    },
    /// Somebody wants the members to be changed, and asks whoever leads again and again.
    Members {
        /// To what.
        wanted: Wanted,
        /// For how long.
        patience: Time,
        /// How long after that a node that is to join is started, if it ever is.
        starts: Option<Time>,
    },
    /// The registry is killed, in the middle of what its disk does.
    RegistryCrash {
        /// Whether the power fails with it.
        power: bool,
        /// Until it is started.
        down: Time,
    },
    /// The registry's disk fails.
    RegistryDisk {
        /// How.
        failing: RegistryFailing,
    },
    /// A client dies and another takes its place.
    ClientDies {
        /// Which.
        client: usize,
    },
    /// A client's connections pass nothing any more, and nobody is told: others that it makes do.
    FlowsDie {
        /// Which.
        client: usize,
    },
    /// A client does not reach a node for a while.
    ClientCut {
        /// Which.
        client: usize,
        /// Whom; `None`: whoever leads.
        node: Option<NodeId>,
        /// How long.
        length: Time,
    },
    /// A client stands still.
    ClientPause {
        /// Which.
        client: usize,
        /// How long.
        length: Time,
    },
}

/// How somebody wants the members to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// This node is one, with a new store if it was none.
    Join {
        /// Which.
        node: NodeId,
        /// What it is for, if not to vote.
        aim: Option<Aim>,
    },
    /// This node is none.
    Leave {
        /// Which; `None`: whoever leads.
        node: Option<NodeId>,
    },
    /// This node is somewhere else.
    Move {
        /// Which.
        node: NodeId,
    },
    /// This node leads.
    Lead {
        /// Which.
        node: NodeId,
    },
}

/// What the registry's disk fails to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegistryFailing {
    /// The next sync, once; what it should have kept is lost.
    Sync,
    /// Every write, until it is started again.
    Writes,
    /// It has no space left.
    Full {
        /// How long.
        length: Time,
    },
}

/// An earlier state of a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Earlier {
    /// What a new node has.
    New,
    /// A copy that was made while the process was stopped for it.
    Stopped {
        /// How long.
        down: Time,
    },
    /// A copy that was made while the process ran, or what a disk had when it began to lie.
    Running,
}

impl FaultKind {
    /// The class that it belongs to.
    pub fn class(&self) -> Class {
        match self {
            Self::Crash { .. } | Self::LeaderCrash { .. } | Self::Stop { .. } => Class::Crash,
            Self::MidWrite { .. } => Class::MidWrite,
            Self::PowerCut { .. } => Class::Power,
            Self::Pause { .. } => Class::Pause,
            Self::Cut { .. } | Self::LeaderCut { .. } => Class::Partition,
            Self::Clog { .. } => Class::Clog,
            Self::Stall { .. } => Class::Stall,
            Self::Full { .. } => Class::Full,
            Self::SyncFails { .. } | Self::Io { .. } => Class::Io,
            Self::Rot { .. } => Class::Rot,
            Self::PutBack { .. } => Class::PutBack,
            Self::ClockJump { .. } => Class::Clock,
            Self::Handover { .. } => Class::Handover,
            Self::Members { .. } => Class::Members,
            Self::RegistryCrash { .. } | Self::RegistryDisk { .. } => Class::Registry,
            Self::ClientDies { .. } | Self::ClientPause { .. } => Class::Clients,
            Self::FlowsDie { .. } | Self::ClientCut { .. } => Class::Reach,
        }
    }
}

/// Nodes side by side: `n1,n3`.
struct Names<'a>(&'a BTreeSet<NodeId>);

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(if names.is_empty() { "nobody" } else { "" })?;
        f.write_str(&names.join(","))
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Crash { node, down } => write!(f, "{node} crashes for {} ms", down.millis()),
            Self::LeaderCrash { down } => {
                write!(f, "whoever leads crashes for {} ms", down.millis())
            }
            Self::LeaderCut { friends, length } => {
                let length = length.millis();
                write!(f, "whoever leads reaches {friends} others for {length} ms")
            }
            Self::Stop { node, down } => write!(f, "{node} is stopped for {} ms", down.millis()),
            Self::MidWrite { node, operations, power, down } => {
                let how = if *power { "loses power" } else { "crashes" };
                let down = down.millis();
                write!(f, "{node} {how} after {operations} disk operations, for {down} ms")
            }
            Self::PowerCut { nodes, down } => {
                write!(f, "power cut of {} for {} ms", Names(nodes), down.millis())
            }
            Self::Pause { node, length } => {
                write!(f, "{node} stands still for {} ms", length.millis())
            }
            Self::Cut { from, to, both_ways, length } => {
                let arrow = if *both_ways { "and" } else { "to" };
                let length = length.millis();
                write!(f, "cut from {} {arrow} {} for {length} ms", Names(from), Names(to))
            }
            Self::Clog { from, to, length } => {
                write!(f, "clog from {from} to {to} for {} ms", length.millis())
            }
            Self::Stall { node, length } => {
                write!(f, "the disk of {node} stalls for {} ms", length.millis())
            }
            Self::Full { node, room, length } => {
                let length = length.millis();
                write!(f, "the disk of {node} has {room} bytes left for {length} ms")
            }
            Self::SyncFails { node } => write!(f, "a sync of {node} fails"),
            Self::Io { node, writes: true } => write!(f, "writes of {node} fail"),
            Self::Io { node, writes: false } => write!(f, "reads of {node} fail"),
            Self::Rot { node } => write!(f, "rot on the disk of {node}"),
            Self::PutBack { node, earlier, after } => {
                let how = match earlier {
                    Earlier::New => "made anew",
                    Earlier::Stopped { .. } => "copied while it is stopped, and put back",
                    Earlier::Running => "copied while it runs, and put back",
                };
                write!(f, "the folder of {node} is {how} after {} ms", after.millis())
            }
            Self::ClockJump { node, ahead_ms } => {
                write!(f, "the wall clock of {node} jumps {ahead_ms} ms ahead")
            }
            Self::Handover { node } => write!(f, "{node} is asked to hand over"),
            Self::Members { wanted, patience, starts } => {
                write!(f, "somebody wants that {wanted}, for {} ms", patience.millis())?;
                match (wanted, starts) {
                    (Wanted::Join { .. }, Some(after)) => {
                        write!(f, "; it is started after {} ms", after.millis())
                    }
                    (Wanted::Join { .. }, None) => f.write_str("; it is never started"),
                    _ => Ok(()),
                }
            }
            Self::RegistryCrash { power, down } => {
                let how = if *power { "loses power" } else { "crashes" };
                write!(f, "the registry {how} for {} ms", down.millis())
            }
            Self::RegistryDisk { failing: RegistryFailing::Sync } => {
                f.write_str("a sync of the registry fails")
            }
            Self::RegistryDisk { failing: RegistryFailing::Writes } => {
                f.write_str("writes of the registry fail")
            }
            Self::RegistryDisk { failing: RegistryFailing::Full { length } } => {
                write!(f, "the disk of the registry is full for {} ms", length.millis())
            }
            Self::FlowsDie { client } => {
                write!(f, "the connections of client {client} die without a word")
            }
            Self::ClientCut { client, node, length } => {
                let whom = node.map_or("whoever leads".to_owned(), |node| node.to_string());
                write!(f, "client {client} does not reach {whom} for {} ms", length.millis())
            }
            Self::ClientDies { client } => write!(f, "client {client} dies"),
            Self::ClientPause { client, length } => {
                write!(f, "client {client} stands still for {} ms", length.millis())
            }
        }
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Join { node, aim: None } => write!(f, "{node} joins"),
            Self::Join { node, aim: Some(Aim::Stay) } => write!(f, "{node} is a learner"),
            Self::Join { node, aim: Some(Aim::Replace(other)) } => {
                write!(f, "{node} takes the place of {other}")
            }
            Self::Leave { node: Some(node) } => write!(f, "{node} leaves"),
            Self::Leave { node: None } => f.write_str("whoever leads leaves"),
            Self::Move { node } => write!(f, "{node} moves"),
            Self::Lead { node } => write!(f, "{node} leads"),
        }
    }
}

/// As one line of a list of faults: `12 at 3456 ms: n2 crashes for 17 ms`.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at {} ms: {}", self.at.millis(), self.kind)
    }
}
