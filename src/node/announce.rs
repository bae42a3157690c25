//! A leader announces itself to the registry when its no-op is committed, and repeats it until it
//! is answered: the registry is a hint and a witness, and nothing here ever waits for it.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::address::Address;
use crate::entry::TermStart;
use crate::limits;
use crate::net::Endpoint;
use crate::registry::{self, Leadership, LookupError};
use crate::replica::Replica;
use crate::types::{ClusterId, NodeId, Term};
use crate::wire::registry::Announcement;

/// How long one attempt may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// The pause between two attempts, at most.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// The driver's end.
#[derive(Debug)]
pub(super) struct Announcer {
    sender: watch::Sender<Option<Vec<TermStart>>>,
    announced: Option<Term>,
}

/// Where and for whom to announce.
pub(super) struct Registry {
    pub(super) endpoint: Endpoint,
    pub(super) address: Address,
    pub(super) cluster: ClusterId,
    pub(super) nodes: BTreeMap<NodeId, Address>,
}

impl Announcer {
    /// Starts the task that announces; without a registry it only takes note.
    pub(super) fn start(registry: Option<Registry>, stop: CancellationToken) -> Self {
        let (sender, receiver) = watch::channel(None);
        if let Some(registry) = registry {
            tokio::spawn(stop.run_until_cancelled_owned(run(registry, receiver)));
        }
        Self { sender, announced: None }
    }

    /// Announces the term that this node now leads, if that is new; stops if it leads no more.
    pub(super) fn update(&mut self, replica: &Replica) {
        let raft = replica.raft();
        let ready = raft.is_ready_leader().then(|| raft.current_term());
        if ready == self.announced {
            return;
        }
        self.announced = ready;
        self.sender.send_replace(ready.map(|_| replica.terms().to_vec()));
    }
}

async fn run(registry: Registry, mut terms: watch::Receiver<Option<Vec<TermStart>>>) {
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
async fn announce(registry: &Registry, starts: &[TermStart]) {
    let announcements: Vec<_> = starts
        .iter()
        .filter_map(|start| {
            let address = registry.nodes.get(&start.leader)?.to_string();
            Some(Announcement { term: start.term, node: start.leader, address, time: start.time })
        })
        .collect();
    let mut history = announcements;
    let Some(current) = history.pop() else { return };
    let name = current.name();
    let leadership = Leadership { cluster: registry.cluster, current, history };
    let mut pause = limits::BACKOFF_MIN;
    let mut is_refused = false;
    loop {
        let (endpoint, address) = (&registry.endpoint, &registry.address);
        match registry::announce(endpoint, address, &leadership, ANSWER_TIMEOUT).await {
            Ok(()) => return tracing::info!("announced as {name}"),
            // Said once. A term that was made up may be in the way, which an admin has forgotten.
            Err(error @ LookupError::Refused(_)) => {
                if !is_refused {
                    tracing::error!(%error, "{name} was refused");
                }
                (is_refused, pause) = (true, PAUSE_MAX);
            }
            Err(error) => tracing::debug!(%error, "{name} is not announced yet"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}
