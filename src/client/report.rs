//! What a program reads of a cluster, by `--json` and over HTTP alike: its state, and what a crash came to.

use serde::Serialize;

use super::crash::Crashed;
use super::status::{NodeStatus, Status};
use crate::types::{ClusterId, DiskFull, Index, NodeId, Offset, Term, Timestamp};
use crate::wire::api::Role;

/// A leader that crashed as asked, and the one after it.
#[derive(Debug, Serialize)]
pub struct CrashRow {
    /// Who crashed.
    pub crashed: NodeId,
    /// The term that it led.
    pub term: Term,
    /// Who leads now, if anybody.
    pub new_leader: Option<NodeId>,
    /// In which term.
    pub new_term: Option<Term>,
    /// The time without a leader in ms.
    pub failover_ms: Option<u64>,
}

impl From<&Crashed> for CrashRow {
    fn from(crashed: &Crashed) -> Self {
        Self {
            crashed: crashed.node,
            term: crashed.term,
            new_leader: Some(crashed.new_leader),
            new_term: Some(crashed.new_term),
            failover_ms: Some(u64::try_from(crashed.failover.as_millis()).unwrap_or(u64::MAX)),
        }
    }
}

/// The state of a cluster.
#[derive(Debug, Serialize)]
pub struct StatusRow {
    /// Which.
    pub cluster: ClusterId,
    /// Who leads, if anybody.
    pub leader: Option<NodeId>,
    /// In which term.
    pub term: Option<Term>,
    /// The offset after the last committed record.
    pub next_offset: Option<Offset>,
    /// Why nobody leads, if nobody does and that is not said elsewhere.
    #[serde(skip)]
    pub reason: Option<String>,
    /// Every node.
    pub nodes: Vec<NodeRow>,
    /// The registry.
    pub registry: RegistryRow,
}

/// The state of a node, in a [`StatusRow`]. What a node out of reach would say is `null`.
#[derive(Debug, Serialize)]
pub struct NodeRow {
    /// Its name.
    pub node: NodeId,
    /// Where it listens.
    pub address: String,
    /// Its role.
    pub role: Option<Role>,
    /// Its term.
    pub term: Option<Term>,
    /// Its last index.
    pub last_index: Option<Index>,
    /// Its commit index.
    pub commit_index: Option<Index>,
    /// The offset after its last committed record.
    pub next_offset: Option<Offset>,
    /// How many entries it lacks that the leader has.
    pub lag: Option<u64>,
    /// Whether it answered.
    pub reachable: bool,
    /// What its disk has and needs, if that is too little.
    pub disk_full: Option<DiskFull>,
    /// How far the time of its log is ahead of its clock, in ms.
    pub log_ahead_ms: Option<u64>,
    /// The version of its program.
    pub version: Option<String>,
    /// How long it has been running, in ms.
    pub uptime_ms: Option<u64>,
    /// How long ago others heard it, in ms.
    pub last_contact_ms: Option<u64>,
    /// Terms whose leader it has met since it started.
    pub elections: Option<u64>,
    /// What it takes of its disk.
    pub disk_used_bytes: Option<u64>,
    /// What it could have beside that.
    pub disk_free_bytes: Option<u64>,
    /// Until when its certificate holds, in ms since 1970.
    pub certificate_expires_ms: Option<u64>,
    /// Who says that it leads, though it does not answer here.
    pub leads_according_to: Vec<NodeId>,
    /// Entries that are damaged on its disk, the first and the last of each stretch.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub damaged: Vec<(Index, Index)>,
}

/// What the registry says, in a [`StatusRow`].
#[derive(Debug, Serialize)]
pub struct RegistryRow {
    /// Whether it answered.
    pub reachable: bool,
    /// Who led last, as it knows.
    pub leader: Option<NodeId>,
    /// In which term.
    pub term: Option<Term>,
}

impl StatusRow {
    /// What each part said, in one.
    pub fn of(status: &Status) -> Self {
        status_row(status)
    }
}

fn status_row(status: &Status) -> StatusRow {
    let announced = status.registry.as_ref().and_then(|registry| registry.said.as_ref().ok());
    let last = announced.and_then(Option::as_ref);
    StatusRow {
        cluster: status.cluster,
        leader: status.leader.map(|leading| leading.node),
        term: status.leader.map(|leading| leading.term),
        next_offset: status.next_offset(),
        reason: None,
        nodes: status.nodes.iter().map(|node| node_row(status, node)).collect(),
        registry: RegistryRow {
            reachable: announced.is_some(),
            leader: last.map(|announcement| announcement.node),
            term: last.map(|announcement| announcement.term),
        },
    }
}

fn node_row(status: &Status, node: &NodeStatus) -> NodeRow {
    let said = node.said.as_ref().ok();
    let vitals = said.map(|welcome| &welcome.vitals);
    // One that does not know what it has says nothing of that.
    let has = said.filter(|welcome| welcome.role != Role::Damaged);
    let disk = vitals.and_then(|vitals| vitals.disk);
    NodeRow {
        node: node.node,
        address: node.address.to_string(),
        role: said.map(|welcome| welcome.role),
        term: has.map(|welcome| welcome.term),
        last_index: has.map(|welcome| welcome.last_index),
        commit_index: has.map(|welcome| welcome.commit_index),
        next_offset: has.map(|welcome| welcome.next_offset),
        lag: has.and_then(|_| status.lag(node)),
        reachable: said.is_some(),
        disk_full: said.and_then(|welcome| welcome.disk_full),
        log_ahead_ms: said.map(|welcome| welcome.log_ahead_ms),
        version: vitals.map(|vitals| vitals.version.clone()),
        uptime_ms: vitals.map(|vitals| vitals.uptime_ms),
        last_contact_ms: status
            .last_contact(node.node)
            .and_then(|ago| ago.as_millis().try_into().ok()),
        elections: vitals.map(|vitals| vitals.elections),
        disk_used_bytes: disk.map(|disk| disk.used_bytes),
        disk_free_bytes: disk.map(|disk| disk.free_bytes),
        certificate_expires_ms: vitals
            .and_then(|vitals| vitals.certificate_expires)
            .map(Timestamp::get),
        leads_according_to: status.named_by(node.node),
        damaged: vitals.map(|vitals| vitals.damaged.clone()).unwrap_or_default(),
    }
}
