//! What every node and the registry say of themselves.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::connections::AskError;
use super::route::Leading;
use super::shared::Shared;
use super::unavailable::Unavailable;
use crate::address::Address;
use crate::limits::STATUS_TIMEOUT;
use crate::outcome::Outcome;
use crate::types::{ClusterId, NodeId, Offset};
use crate::wire::api::{Role, Welcome};
use crate::wire::registry::Announcement;

/// The state of a cluster, as each of its parts describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// Which.
    pub cluster: ClusterId,
    /// The leader of the highest term that says so itself and can serve.
    pub leader: Option<Leading>,
    /// Every node that is known, in order.
    pub nodes: Vec<NodeStatus>,
    /// The registry, if there is one.
    pub registry: Option<RegistryStatus>,
    /// Why there is no leader, if there is none.
    pub unavailable: Option<Unavailable>,
}

/// One node.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeStatus {
    /// Who.
    pub node: NodeId,
    /// Where.
    pub address: Address,
    /// What it says, or why it says nothing.
    pub said: Result<Welcome, AskError>,
}

/// The registry.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RegistryStatus {
    /// Where.
    pub address: Address,
    /// Who announced itself last, if anybody has; or why it says nothing.
    pub said: Result<Option<Announcement>, AskError>,
}

impl Status {
    /// What it means for scripts: without a leader there is nothing to work with.
    pub fn outcome(&self) -> Outcome {
        if self.leader.is_some() { Outcome::Done } else { Outcome::NoLeader }
    }

    /// How many committed entries a node does not have on its disk; `None` if that is not known.
    ///
    /// What it has, and not what it knows to be committed, which the next heartbeat tells it. Until it
    /// is in the leader's term, the end of its log may be entries that are not the leader's: then only
    /// what it knows to be committed counts.
    pub fn lag(&self, node: &NodeStatus) -> Option<u64> {
        let leader = self.leader?;
        let leads = self.nodes.iter().find(|other| other.node == leader.node)?;
        let committed = leads.said.as_ref().ok()?.commit_index;
        let said = node.said.as_ref().ok()?;
        let has = if said.term == leader.term { said.last_index } else { said.commit_index };
        Some(committed.since(has))
    }

    /// How long ago a node was heard by any other that answers here. `None`: by none, or not known.
    pub fn last_contact(&self, node: NodeId) -> Option<Duration> {
        let heard = self.words().flat_map(|(_, welcome)| &welcome.vitals.heard_ms);
        let of_node = heard.filter_map(|(of, ms)| (*of == node).then_some(*ms));
        of_node.min().map(Duration::from_millis)
    }

    /// Who says that a node leads which does not answer here: a way that only this client lacks is no
    /// reason to think that nobody leads. Empty where the node answers, or a later leader is known.
    pub fn named_by(&self, node: NodeId) -> Vec<NodeId> {
        let named =
            self.words().filter_map(|(by, welcome)| Some((welcome.term, welcome.leader?, by)));
        let Some(term) = named.clone().map(|(term, ..)| term).max() else { return vec![] };
        let is_silent = self.words().all(|(by, _)| by != node);
        let who = |(of, leader, by)| (of == term && leader == node && is_silent).then_some(by);
        named.filter_map(who).collect()
    }

    fn words(&self) -> impl Iterator<Item = (NodeId, &Welcome)> + Clone {
        self.nodes.iter().filter_map(|node| Some((node.node, node.said.as_ref().ok()?)))
    }

    /// The offset after the last committed record, as the leader says.
    pub fn next_offset(&self) -> Option<Offset> {
        let leader = self.leader?.node;
        let leader = self.nodes.iter().find(|node| node.node == leader)?;
        Some(leader.said.as_ref().ok()?.next_offset)
    }
}

/// Asks everybody at once, and then those whom the first answers have named: another node, or the
/// registry. Nobody is waited for longer than [`STATUS_TIMEOUT`].
pub(super) async fn status(shared: &Arc<Shared>) -> Status {
    let mut nodes = vec![];
    let (registry, ()) = tokio::join!(ask_registry(shared), ask_nodes(shared, &mut nodes));
    ask_nodes(shared, &mut nodes).await;
    let leader = nodes.iter().filter_map(leading).max();
    let unavailable = leader.is_none().then(|| shared.unavailable());
    Status { cluster: shared.connections.cluster(), leader, nodes, registry, unavailable }
}

fn leading(node: &NodeStatus) -> Option<Leading> {
    let welcome = node.said.as_ref().ok()?;
    let leads = welcome.role == Role::Leader && welcome.ready;
    leads.then_some(Leading { term: welcome.term, node: node.node })
}

/// Asks the nodes that are known and have not been asked.
async fn ask_nodes(shared: &Arc<Shared>, nodes: &mut Vec<NodeStatus>) {
    let until = Instant::now() + STATUS_TIMEOUT.min(shared.timeout);
    // Who does not answer may be where the others have it.
    nodes.retain(|known| known.said.is_ok() || !shared.connections.is_elsewhere(known.node));
    let mut tasks = JoinSet::new();
    for (node, address) in shared.connections.nodes() {
        if nodes.iter().all(|known| known.node != node) {
            let shared = shared.clone();
            tasks.spawn(async move {
                let limit = until.saturating_duration_since(Instant::now());
                let asked = shared.connections.hello(node, false, limit).await;
                let said = asked.map(|(_, welcome)| welcome);
                shared.on_word(node, said.as_ref());
                let address = shared.connections.address(node).unwrap_or(address);
                NodeStatus { node, address, said }
            });
        }
    }
    nodes.extend(tasks.join_all().await);
    // One may not be who it was thought to be.
    let known = shared.connections.nodes();
    nodes.retain(|status| known.contains(&(status.node, status.address.clone())));
    nodes.sort_by_key(|status| status.node);
}

async fn ask_registry(shared: &Arc<Shared>) -> Option<RegistryStatus> {
    let address = shared.connections.registry()?;
    let limit = STATUS_TIMEOUT.min(shared.timeout);
    let said = shared.connections.announced(limit).await;
    Some(RegistryStatus { address: address.clone(), said })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Incarnation, Index, Term};
    use crate::wire::api::Vitals;

    fn node(number: u16, (term, role): (u64, Role), last: u64, commit: u64) -> NodeStatus {
        let node = NodeId::new(number).unwrap();
        let said = Welcome {
            cluster: ClusterId::new(1),
            node,
            incarnation: Incarnation::new(1),
            role,
            term: Term::new(term),
            leader: None,
            ready: true,
            last_index: Index::new(last),
            commit_index: Index::new(commit),
            next_offset: Offset::new(commit * 2),
            disk_full: None,
            log_ahead_ms: 0,
            nodes: vec![],
            vitals: Vitals::default(),
        };
        NodeStatus { node, address: "127.0.0.1:1".parse().unwrap(), said: Ok(said) }
    }

    #[test]
    fn what_a_node_has_on_its_disk_it_does_not_lack() {
        let leader = Leading { term: Term::new(3), node: NodeId::new(1).unwrap() };
        let nodes = vec![
            node(1, (3, Role::Leader), 12, 10),
            // It has them all, and has not been told yet what of them is committed.
            node(2, (3, Role::Follower), 12, 7),
            node(3, (3, Role::Follower), 8, 7),
            // Its last entries may be of a leader that lost them.
            node(4, (2, Role::Follower), 15, 7),
        ];
        let (leader, registry, unavailable) = (Some(leader), None, None);
        let status = Status { cluster: ClusterId::new(1), leader, nodes, registry, unavailable };
        let lags: Vec<_> = status.nodes.iter().map(|node| status.lag(node)).collect();
        assert_eq!(lags, [Some(0), Some(0), Some(2), Some(3)]);
        assert_eq!(status.next_offset(), Some(Offset::new(20)));
    }

    #[test]
    fn who_does_not_answer_here_and_leads_according_to_others_is_known() {
        let n = |number| NodeId::new(number).unwrap();
        let says = |number, term, leader, heard_ms: &[(u16, u64)]| {
            let mut said = node(number, (term, Role::Follower), 5, 5);
            let welcome = said.said.as_mut().unwrap();
            welcome.leader = Some(n(leader));
            welcome.vitals.heard_ms = heard_ms.iter().map(|(of, ms)| (n(*of), *ms)).collect();
            said
        };
        let mut silent = node(1, (3, Role::Leader), 5, 5);
        silent.said = Err(AskError::NoAddress { node: n(1) });
        let nodes = vec![
            silent,
            says(2, 3, 1, &[(1, 40), (3, 9)]),
            says(3, 3, 1, &[(1, 30), (2, 8)]),
            // It has not heard of the new one.
            says(4, 2, 2, &[(1, 90_000)]),
        ];
        let (registry, unavailable) = (None, None);
        let status =
            Status { cluster: ClusterId::new(1), leader: None, nodes, registry, unavailable };
        assert_eq!(status.named_by(n(1)), [n(2), n(3)]);
        assert_eq!(status.named_by(n(2)), [], "an older leader, which answers");
        assert_eq!(status.last_contact(n(1)), Some(Duration::from_millis(30)));
        assert_eq!(status.last_contact(n(4)), None);
    }
}
