//! What the driver lets the rest of the node see of its state.

use std::collections::BTreeMap;

use tokio::sync::watch;

use super::pulse::Pulse;
use crate::address::Address;
use crate::net::Roll;
use crate::replica::{Account, Replica, Revocations};
use crate::types::NodeId;

/// Tells which access tokens hold no more, if that changed.
pub(super) fn publish_revocations(sender: &watch::Sender<Revocations>, replica: &Replica) {
    sender.send_if_modified(|published| {
        let changed = published != replica.revocations();
        if changed {
            published.clone_from(replica.revocations());
        }
        changed
    });
}

/// Tells who the members are, if that changed. Where they are the log says, or else this node's file.
pub(super) fn publish_roll(
    sender: &watch::Sender<Roll>,
    replica: &Replica,
    files: &BTreeMap<NodeId, Address>,
) {
    let raft = replica.raft();
    let newest = raft.log().id_at(raft.log().configuration_index());
    let is_same = {
        let known = sender.borrow();
        (known.as_of, known.newest) == (raft.members_as_of(), newest)
    };
    if !is_same {
        sender.send_replace(roll_of(replica, files));
    }
}

/// Who the members are, and where.
pub(super) fn roll_of(replica: &Replica, files: &BTreeMap<NodeId, Address>) -> Roll {
    let raft = replica.raft();
    let now = raft.log().configuration();
    let address = |node: &NodeId| now.addresses.get(node).or_else(|| files.get(node)).cloned();
    Roll {
        as_of: raft.members_as_of(),
        newest: raft.log().id_at(raft.log().configuration_index()),
        members: raft.possible_members().into_iter().map(|it| (it, address(&it))).collect(),
        belonging: raft.belonging(),
    }
}

/// Tells whoever watches, if anything changed.
pub(super) fn publish(sender: &watch::Sender<Account>, pulse: &Pulse, replica: &Replica) {
    let now = Account::of(replica);
    if now.leader.is_some() {
        pulse.led(now.term);
    }
    sender.send_if_modified(|published| {
        let changed = *published != now;
        *published = now;
        changed
    });
}
