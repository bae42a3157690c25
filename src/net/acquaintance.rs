//! Whether a peer's process is the one that this node knows, and what becomes of a node that is not.
//!
//! Both sides judge at the hello, before anything else is said. Whoever remembers more than the other
//! shows refuses it; the one that is refused takes no further part.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::sync::watch;
use tokio::time::Instant;
use tracing::warn;

use super::local::LocalNode;
use crate::address::Address;
use crate::limits::TWIN_PATIENCE;
use crate::raft::{Loss, Memory};
use crate::types::{Incarnation, NodeId};
use crate::wire::{Introduction, PeerRefusal};

/// What this node remembers of the others: the driver hears what they promise, connections ask.
pub type SharedMemory = Arc<Mutex<Memory>>;

pub(super) const UNPOISONED: &str = "a panic ends the process";

/// A peer has refused this node for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expelled {
    /// Who.
    pub by: NodeId,
    /// Why.
    pub loss: Loss,
}

/// What this node has with one peer.
pub(super) struct Acquaintance {
    me: Arc<LocalNode>,
    peer: NodeId,
    /// Where the peer is, by the configuration: if that has a name, where it was last reached.
    home: Option<SocketAddr>,
    memory: SharedMemory,
    expelled: watch::Sender<Option<Expelled>>,
    /// Since when the peer has been saying that this process has a twin.
    twin_since: Option<Instant>,
    /// Why the peer was last refused: the same is not said twice.
    told: Option<PeerRefusal>,
    /// It was said that the two have different addresses in their files.
    told_addresses: bool,
}

impl Acquaintance {
    pub(super) fn new(
        me: Arc<LocalNode>,
        (peer, address): (NodeId, Option<&Address>),
        memory: SharedMemory,
        expelled: watch::Sender<Option<Expelled>>,
    ) -> Self {
        let (twin_since, told, told_addresses) = (None, None, false);
        let home = home_at(address);
        Self { me, peer, home, memory, expelled, twin_since, told, told_addresses }
    }

    /// The peer is somewhere else from now on.
    pub(super) fn moved(&mut self, address: Option<&Address>) {
        self.home = home_at(address);
    }

    /// Whether a process is taken for the peer that is at this address, and whether it was dialled;
    /// `current` is the process that is connected.
    pub(super) fn judge(
        &mut self,
        introduction: &Introduction,
        (address, dialled): (SocketAddr, bool),
        current: Option<Incarnation>,
    ) -> Result<(), PeerRefusal> {
        if dialled {
            self.home = Some(address);
        }
        let judged = self.find_fault(introduction, address, current);
        if let Err(refusal) = &judged
            && self.told.as_ref() != Some(refusal)
        {
            self.told = Some(refusal.clone());
            warn!(peer = %self.peer, %address, "{} is refused: {refusal}", self.peer);
        }
        judged
    }

    fn find_fault(
        &self,
        introduction: &Introduction,
        address: SocketAddr,
        current: Option<Incarnation>,
    ) -> Result<(), PeerRefusal> {
        let names = |founders: &BTreeMap<NodeId, String>| founders.keys().copied().collect();
        let (ours, theirs): (BTreeSet<_>, BTreeSet<_>) =
            (names(&self.me.founders), names(&introduction.founders));
        if ours != theirs {
            let (refusing, refused) = (ours.into_iter().collect(), theirs.into_iter().collect());
            return Err(PeerRefusal::Members { refusing, refused });
        }
        let roll = self.me.roll.borrow();
        if roll.is_stranger(self.peer, introduction.as_of) {
            return Err(PeerRefusal::Stranger { as_of: roll.as_of });
        }
        drop(roll);
        let memory = self.memory.lock().expect(UNPOISONED);
        if !memory.is_plausible(&introduction.standing) {
            let (shown, known) = (introduction.standing.hard_state.current_term, memory.term());
            return Err(PeerRefusal::Implausible { shown, known });
        }
        // NB: a node may well come from elsewhere than it is configured, through a NAT say. Only
        // beside another process that stays connected it is one too many. Where that one is proves
        // nothing: a peer that always dials is never seen at its home.
        let is_other = current.is_some_and(|current| current != introduction.incarnation());
        let is_twin = is_other && Some(address) != self.home;
        // First of all that: a copy beside its original has lost nothing, and must not begin anew in the
        // other's place.
        if is_twin {
            return Err(PeerRefusal::Twin);
        }
        memory.judge(self.peer, &introduction.standing).map_err(PeerRefusal::Lost)
    }

    /// A connection with this process is now in use.
    pub(super) fn meet(&mut self, introduction: &Introduction) {
        self.twin_since = None;
        let lineage = &introduction.standing.lineage;
        self.memory.lock().expect(UNPOISONED).meet(self.peer, lineage);
        self.compare_addresses(introduction);
    }

    fn compare_addresses(&mut self, introduction: &Introduction) {
        if self.told_addresses {
            return;
        }
        // What the log says of an address counts more than all files do.
        for (node, theirs) in &introduction.founders {
            let ours = self.me.founders.get(node).filter(|ours| *ours != theirs);
            let is_known = |ours: &&String| !ours.is_empty() && !theirs.is_empty();
            if let Some(ours) = ours.filter(is_known) {
                self.told_addresses = true;
                let peer = self.peer;
                warn!(%peer, "{peer} is configured with {node} at {theirs}, this node at {ours}");
            }
        }
    }

    /// The peer has refused this node.
    pub(super) fn refused(&mut self, refusal: &PeerRefusal) {
        match refusal {
            PeerRefusal::Lost(loss) => self.on_lost(loss),
            PeerRefusal::Twin => {
                let since = *self.twin_since.get_or_insert_with(Instant::now);
                if since.elapsed() >= TWIN_PATIENCE {
                    self.expel(Loss::Twin);
                }
            }
            // Somebody corrects one of the files, or repairs a term.
            PeerRefusal::Members { .. } | PeerRefusal::Implausible { .. } => {}
            // One that is to join waits for somebody to add it.
            PeerRefusal::Stranger { as_of } => {
                if self.me.roll.borrow().is_removed_by(*as_of) {
                    self.expel(Loss::Removed { as_of: *as_of });
                }
            }
        }
    }

    /// This node takes no peer's mere word for it: that word has to be of what this node has shown.
    fn on_lost(&self, loss: &Loss) {
        let by = self.peer;
        if self.me.standing.can_lack(by, loss) {
            self.expel(loss.clone());
        } else {
            warn!(peer = %by, "{by} refuses this node for what is not true of it: {loss}");
        }
    }

    fn expel(&self, loss: Loss) {
        let by = self.peer;
        self.expelled.send_if_modified(|expelled| {
            let is_first = expelled.is_none();
            expelled.get_or_insert(Expelled { by, loss });
            is_first
        });
    }
}

/// Where a peer is, if its address is not a name.
fn home_at(address: Option<&Address>) -> Option<SocketAddr> {
    match address {
        Some(Address::Ip(address)) => Some(*address),
        Some(Address::Name { .. }) | None => None,
    }
}
