//! What all that is done for clients shares.

use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc, watch};

use super::caller::Shares;
use super::framing::Framing;
use super::inputs::Command;
use super::leaders::Leaders;
use super::new_sessions::NewSessions;
use super::pulse::Pulse;
use super::tally::Tally;
use crate::members::MemberSettings;
use crate::net::{Audit, Credentials, Peers, Roll};
use crate::replica::{Account, Revocations};
use crate::store::Reader;
use crate::types::{ClusterId, Incarnation, NodeId};

/// What serving a client takes.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) cluster: ClusterId,
    pub(super) node: NodeId,
    pub(super) incarnation: Incarnation,
    /// Who the members are, and where.
    pub(super) roll: watch::Receiver<Roll>,
    /// How this node is set up, as far as all nodes should be set up alike.
    pub(super) settings: MemberSettings,
    pub(super) peers: Peers,
    pub(super) fault_injection: bool,
    pub(super) published: watch::Receiver<Account>,
    /// Access tokens and certificates that hold no more.
    pub(super) revoked: watch::Receiver<Revocations>,
    /// What this node shows of itself.
    pub(super) credentials: Credentials,
    /// How this process is doing.
    pub(super) pulse: Arc<Pulse>,
    /// What it has done.
    #[cfg_attr(not(feature = "http"), expect(dead_code, reason = "only the door asks"))]
    pub(super) tally: Arc<Tally>,
    pub(super) commands: mpsc::Sender<Command>,
    /// What clients may make this node hold.
    pub(super) shares: Shares,
    /// How fast they may begin sessions.
    pub(super) new_sessions: NewSessions,
    pub(super) reader: Reader,
    /// Whose turn it is to make a frame of records.
    pub(super) framing: Framing,
    /// Places for backups.
    pub(super) backups: Semaphore,
    /// Places for segments that other nodes mend.
    pub(super) mends: Semaphore,
    /// Where streams are handed on to the leader.
    pub(super) leaders: Leaders,
    /// Where it is noted what only admins may do.
    pub(super) audit: Audit,
}
