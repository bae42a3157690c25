//! What every node and the registry say of themselves.

use std::sync::Arc;

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
}
