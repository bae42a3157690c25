//! What the driver lets the rest of the node see of its state.

use tokio::sync::watch;

use crate::replica::{Account, Replica};

/// Tells whoever watches, if anything changed.
pub(super) fn publish(sender: &watch::Sender<Account>, replica: &Replica) {
    let now = Account::of(replica);
    sender.send_if_modified(|published| {
        let changed = *published != now;
        *published = now;
        changed
    });
}
