//! The laws: what must hold at every moment of a run, one file each.
//!
//! A law sees [`Moment`]s, one after each event, and keeps what it needs to compare two of them. It
//! judges from outside: from what nodes sent, from what their disks would keep through a power cut,
//! from what clients were told. A law never changes anything, and never asks the core whether the
//! core is right.

mod bounded;
mod catalogues;
mod conditional;
mod configuration_safety;
mod durability;
mod durable_before_visible;
mod election_safety;
mod exactly_once;
mod filled_first;
mod leader_append_only;
mod leader_completeness;
mod linearizable;
mod live_kept;
mod log_matching;
mod monotonic;
mod name;
mod no_silent_repair;
mod producers;
mod refusals;
mod registry_monotonic;
mod retentions;
mod revocations;
mod segments_equal;
mod speech;
mod state_machine_safety;
mod subscriptions;
#[cfg(test)]
pub(super) mod testing;
mod traffic;
mod vote_once;

use crate::entry::{Chain, SealedEntry, Tip};
use crate::raft::{Configuration, HardState};
use crate::replica::Replica;
use crate::sim::history::History;
use crate::sim::model::RecordHash;
use crate::store::{Recovered, SealedSegment};
use crate::types::{ClientId, Index, LogId, LogNumber, NodeId, Offset, Seq, Term};
use crate::wire::api::Appended;
use crate::wire::conditions::{Conditions, Unmet};
use crate::wire::peer::PeerMessage;
use crate::wire::registry::Announcement;

pub use bounded::Bounded;
pub use catalogues::{Catalogues, Given};
pub use conditional::Conditional;
pub use configuration_safety::ConfigurationSafety;
pub use durability::Durability;
pub use durable_before_visible::DurableBeforeVisible;
pub use election_safety::ElectionSafety;
pub use exactly_once::ExactlyOnce;
pub use filled_first::FilledFirst;
pub use leader_append_only::LeaderAppendOnly;
pub use leader_completeness::LeaderCompleteness;
pub use linearizable::Linearizable;
pub use live_kept::LiveKept;
pub use log_matching::LogMatching;
pub use monotonic::Monotonic;
pub use name::LawName;
pub use no_silent_repair::NoSilentRepair;
pub use producers::Producers;
pub use refusals::Refusals;
pub use registry_monotonic::RegistryMonotonic;
pub use retentions::Retentions;
pub use revocations::Revocations;
pub use segments_equal::SegmentsEqual;
pub use state_machine_safety::StateMachineSafety;
pub use subscriptions::Subscriptions;
pub use traffic::Traffic;
pub use vote_once::VoteOnce;

/// What a node's disk would keep if the power failed now and everything unsynced were lost.
pub trait Platter {
    /// Term and vote.
    fn hard_state(&self) -> HardState;
    /// The entry at an index, if it is there and whole.
    fn entry(&self, index: Index) -> Option<(LogId, Chain)>;
    /// The first entry: those before it were given up.
    fn first(&self) -> Index;
    /// The last entry.
    fn last(&self) -> Index;
    /// The sealed segments behind this entry, in order.
    fn sealed_after(&self, index: Index) -> Vec<SealedSegment>;
}

/// One machine, as it is after an event.
#[derive(Clone, Copy)]
pub struct NodeView<'a> {
    /// Which.
    pub id: NodeId,
    /// Its state, if its process runs (or is paused).
    pub replica: Option<&'a Replica>,
    /// Its disk.
    pub platter: &'a dyn Platter,
    /// Its disk was damaged beyond what is promised, and it is no voter again yet: it counts as lost.
    pub lost: bool,
}

/// What happened, as far as laws care.
pub enum What<'a> {
    /// A node's process started and was recovered from its disk.
    Started {
        /// Which node.
        node: NodeId,
        /// What its store found.
        recovered: &'a Recovered,
    },
    /// A node refused to start: its store is damaged (exit 6).
    Refused {
        /// Which node.
        node: NodeId,
    },
    /// A node has set aside its store, and made one that the others fill: another server, of the same name.
    BegunAnew {
        /// Which node.
        node: NodeId,
    },
    /// A node is about to begin its log behind this entry: its process is no more, its disk is as it was.
    Installs {
        /// Which node.
        node: NodeId,
        /// The entry.
        tip: &'a Tip,
    },
    /// A node's process handled what waited: one turn of its loop.
    Turn {
        /// Which node.
        node: NodeId,
        /// What it sent in this turn, before the wire.
        sent: &'a [(NodeId, PeerMessage)],
        /// The entries that this node newly knows to be committed AND has on its own disk, in order, as sealed.
        committed: &'a [SealedEntry],
    },
    /// A node's disk finished, lost or changed something (a sync, a power cut, damage).
    Disk {
        /// Which node.
        node: NodeId,
    },
    /// A node's process ended.
    Ended {
        /// Which node.
        node: NodeId,
    },
    /// A client asks for a request to be appended.
    Asked {
        /// Who.
        client: ClientId,
        /// Which request. The number of one that was refused for its condition may come again.
        seq: Seq,
        /// Of which log.
        log: LogNumber,
        /// What must be so.
        conditions: &'a Conditions,
        /// The number of its first record, if it is a producer's.
        sequence: Option<u64>,
    },
    /// A client was told for certain that what must be so for its request is not.
    Unmet {
        /// Who.
        client: ClientId,
        /// Which request.
        seq: Seq,
        /// Its records.
        records: &'a [RecordHash],
        /// What it was told.
        unmet: Unmet,
    },
    /// A client was told that its request is in the log.
    Acknowledged {
        /// Who.
        client: ClientId,
        /// Which request.
        seq: Seq,
        /// Where it is.
        appended: Appended,
    },
    /// A client was told for certain that its request is not in the log, and will never be.
    Rejected {
        /// Who.
        client: ClientId,
        /// Which request.
        seq: Seq,
    },
    /// A follower of the log was shown a run of records: the offset of the first, how many, and the
    /// index up to which all was committed when it was shown.
    Shown {
        /// Which follower of the log.
        subscription: u64,
        /// The offset of the first record.
        first: Offset,
        /// How many.
        count: u64,
        /// The index of the last entry that they came from.
        through: Index,
    },
    /// A client was given records of another log than `main`.
    Given(Given<'a>),
    /// A client was told that there is no such log any more.
    SaidGone {
        /// Which.
        log: LogNumber,
    },
    /// The registry answered who leads.
    Announced {
        /// Its answer.
        leader: Option<&'a Announcement>,
    },
    /// The run is over.
    Finished {
        /// What clients did and were told.
        history: &'a History,
        /// Whether all that was ever committed has been reported. It has if the nodes agreed in the
        /// end; if too many were lost for that, what nobody reported is not judged.
        whole: bool,
    },
    /// Anything else.
    Other,
}

/// One moment of a run.
pub struct Moment<'a> {
    /// Virtual time since the start, in microseconds.
    pub now: u64,
    /// What has just happened.
    pub what: What<'a>,
    /// All machines, in the order of their ids.
    pub nodes: &'a [NodeView<'a>],
    /// The newest configuration that anybody knows to be committed.
    pub configuration: &'a Configuration,
    /// Whether members are changed in this run: then a later configuration may be in force that nobody knows to
    /// be committed.
    pub changing: bool,
}

/// Of entries that a node has committed, in order, those that come behind the last that was applied: none, if
/// some are missing between.
fn behind(applied: Index, committed: &[SealedEntry]) -> &[SealedEntry] {
    let next = committed.iter().position(|entry| entry.id().index == applied.next());
    next.map_or(&[], |next| &committed[next..])
}

impl Moment<'_> {
    /// Whether the nodes of which something is true can have decided: they are a quorum. By a configuration
    /// that is one voter away from the known one they may be half of that: no quorum is without one of them.
    pub fn may_decide(&self, agrees: impl Fn(&NodeView<'_>) -> bool) -> bool {
        let agrees = |node| agrees(self.node(node));
        if self.changing {
            !self.configuration.is_quorum(|node| !agrees(node))
        } else {
            self.configuration.is_quorum(agrees)
        }
    }

    /// The machine of a node.
    pub fn node(&self, id: NodeId) -> &NodeView<'_> {
        &self.nodes[usize::from(id.get()) - 1]
    }
}

/// A law that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub law: LawName,
    /// What was seen, in a sentence.
    pub what: String,
}

/// One law.
pub trait Law {
    /// Its name.
    fn name(&self) -> LawName;

    /// Looks at the next moment.
    ///
    /// # Errors
    /// What breaks the law, in a sentence.
    fn look(&mut self, moment: &Moment<'_>) -> Result<(), String>;
}

/// The laws that look at every moment. Others are judged where what they are about happens.
pub fn all() -> Vec<Box<dyn Law>> {
    vec![
        Box::<ElectionSafety>::default(),
        Box::<VoteOnce>::default(),
        Box::<LogMatching>::default(),
        Box::<SegmentsEqual>::default(),
        Box::<LeaderAppendOnly>::default(),
        Box::<LeaderCompleteness>::default(),
        Box::<StateMachineSafety>::default(),
        Box::<Durability>::default(),
        Box::<LiveKept>::default(),
        Box::<Catalogues>::default(),
        Box::<Retentions>::default(),
        Box::<Revocations>::default(),
        Box::<ExactlyOnce>::default(),
        Box::<Conditional>::default(),
        Box::<Producers>::default(),
        Box::<Refusals>::default(),
        Box::<Linearizable>::default(),
        Box::<Subscriptions>::default(),
        Box::<RegistryMonotonic>::default(),
        Box::<Monotonic>::default(),
        Box::<ConfigurationSafety>::default(),
        Box::<FilledFirst>::default(),
        Box::<DurableBeforeVisible>::default(),
        Box::<NoSilentRepair>::default(),
        Box::<Bounded>::default(),
        Box::<Traffic>::default(),
    ]
}

/// A term, for laws that speak of leaders.
pub type Led = (Term, NodeId);
