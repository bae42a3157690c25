//! What the driver lets the rest of the node see of its state.

use tokio::sync::watch;

use super::pulse::Pulse;
use crate::replica::{Account, Replica, Revocations};

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
