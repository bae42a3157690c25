//! A leader announces itself to the registry when its no-op is committed, and repeats it until it
//! is answered: the registry is a hint and a witness, and nothing here ever waits for it.

use std::collections::BTreeMap;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::address::Address;
use crate::entry::TermStart;
use crate::limits;
use crate::net::{Endpoint, Roll};
use crate::registry::{self, Announcing, Leadership, LookupError};
use crate::replica::Replica;
use crate::types::{ClusterId, NodeId, Term};

/// The driver's end.
#[derive(Debug)]
pub(super) struct Announcer {
    sender: watch::Sender<Option<Vec<TermStart>>>,
    announced: Option<Term>,
}

/// Where and for whom to announce.
pub(super) struct AnnounceTo {
    pub(super) endpoint: Endpoint,
    pub(super) address: Address,
    pub(super) cluster: ClusterId,
    /// Where nodes are by this node's file.
    pub(super) nodes: BTreeMap<NodeId, Address>,
    /// Where the members are.
    pub(super) roll: watch::Receiver<Roll>,
}

impl Announcer {
    /// Starts the task that announces; without a registry it only takes note.
    pub(super) fn start(registry: Option<AnnounceTo>, stop: CancellationToken) -> Self {
        let (sender, receiver) = watch::channel(None);
        if let Some(registry) = registry {
            tokio::spawn(stop.run_until_cancelled_owned(run(registry, receiver)));
        }
        Self { sender, announced: None }
    }

    /// Announces the term that this node now leads, if that is new; stops if it leads no more.
    pub(super) fn update(&mut self, replica: &Replica) {
        let ready = replica.raft().ready_term();
        if ready == self.announced {
            return;
        }
        self.announced = ready;
        self.sender.send_replace(ready.map(|_| replica.terms().to_vec()));
    }
}

async fn run(registry: AnnounceTo, mut terms: watch::Receiver<Option<Vec<TermStart>>>) {
    loop {
        let job = terms.borrow_and_update().clone();
        if let Some(starts) = job {
            tokio::select! {
                () = announce(&registry, &starts) => {}
                changed = terms.changed() => {
                    if changed.is_err() { return }
                    // What changed is looked at anew.
                    terms.mark_changed();
                }
            }
        }
        if terms.changed().await.is_err() {
            return;
        }
    }
}

/// Repeats until it is answered.
async fn announce(registry: &AnnounceTo, starts: &[TermStart]) {
    let members = registry.roll.borrow().addresses();
    let address = |node| members.get(&node).or(registry.nodes.get(&node)).map(Address::to_string);
    let Some(leadership) = Leadership::of(registry.cluster, starts, address) else { return };
    let name = leadership.current.name();
    let mut announcing = Announcing::new(leadership);
    loop {
        let (endpoint, address) = (&registry.endpoint, &registry.address);
        let attempt =
            registry::announce(endpoint, address, &mut announcing, limits::ANNOUNCE_TIMEOUT);
        let Err(error) = attempt.await else { return tracing::info!("announced as {name}") };
        match &error {
            // Said once. A term that was made up may be in the way, which an admin has forgotten.
            LookupError::Refused(_) if announcing.is_refused() => {}
            LookupError::Refused(_) => tracing::error!(%error, "{name} was refused"),
            _ => tracing::debug!(%error, "{name} is not announced yet"),
        }
        tokio::time::sleep(announcing.on_failure(&error)).await;
    }
}
