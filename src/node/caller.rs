//! What the other side of a connection may make this node hold.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout};

use super::allowance::Allowance;
use crate::access::{Grants, TokenId};
use crate::limits::{self, RECORD_OVERHEAD_BYTES, REQUEST_OVERHEAD_BYTES, REQUEST_RECORDS_MAX};
use crate::net::{
    self, Budget, CertificateIdentity, CertificateRole, Connection, FrameSender, Held, Share,
    StreamError,
};
use crate::wire::Frame;
use crate::wire::api::AppendRun;

/// Bytes that this node holds for all clients together.
#[derive(Debug)]
pub(super) struct Shares {
    /// Append requests that are not answered.
    inbound: Budget,
    /// Entries that reads have in memory.
    loaded: Budget,
    /// Frames that are being sent.
    sent: Budget,
    /// Streams that are handed on to the leader, one each.
    onward: Budget,
    /// Connections so far.
    connections: AtomicU64,
}

/// Who asks, over a connection or by way of another node, and its part of the shares.
#[derive(Debug)]
pub(super) struct Caller {
    pub(super) identity: String,
    /// This node's number for the connection.
    pub(super) connection: u64,
    pub(super) role: CertificateRole,
    pub(super) address: SocketAddr,
    inbound: Share,
    pub(super) loaded: Share,
    pub(super) sent: Share,
    pub(super) onward: Share,
    /// Another node hands on what it asks, on a connection that others share: nothing of it may wait
    /// there for room in a share of its own.
    is_behind_node: bool,
    /// What its certificate is called.
    pub(super) certificate: Option<TokenId>,
    /// What it may do; `None`: all that its role may.
    pub(super) allowance: Option<Allowance>,
    /// Places for streams that carry appends.
    pub(super) append_streams: Semaphore,
}

impl Shares {
    pub(super) fn new() -> Self {
        Self {
            inbound: Budget::new(net::BudgetLimits {
                total: limits::INBOUND_BYTES_MAX,
                per_identity: limits::INBOUND_BYTES_PER_IDENTITY,
                per_connection: limits::INBOUND_BYTES_PER_CONNECTION,
            }),
            loaded: Budget::new(net::BudgetLimits {
                total: limits::READ_LOADED_BYTES_MAX,
                per_identity: limits::READ_LOADED_BYTES_PER_IDENTITY,
                per_connection: limits::READ_LOADED_BYTES_PER_CONNECTION,
            }),
            sent: Budget::new(net::BudgetLimits {
                total: limits::READ_SENT_BYTES_MAX,
                per_identity: limits::READ_SENT_BYTES_PER_IDENTITY,
                per_connection: limits::READ_SENT_BYTES_PER_CONNECTION,
            }),
            onward: Budget::new(net::BudgetLimits {
                total: limits::ONWARD_STREAMS_MAX,
                per_identity: limits::ONWARD_STREAMS_PER_IDENTITY,
                per_connection: limits::ONWARD_STREAMS_PER_CONNECTION,
            }),
            connections: AtomicU64::new(0),
        }
    }

    /// The part of a new connection.
    pub(super) fn open(&self, connection: &Connection) -> Caller {
        let allowance = connection.certificate().grants.clone().map(Allowance::from);
        let caller = self.open_for(connection.identity(), connection.remote_address());
        Caller { certificate: connection.certificate().id, allowance, ..caller }
    }

    /// The part of a connection that a client has to the node at `address`, which hands on what comes
    /// on it.
    pub(super) fn open_behind(
        &self,
        identity: &CertificateIdentity,
        address: SocketAddr,
        grants: Option<Grants>,
    ) -> Caller {
        let allowance = grants.map(Allowance::from);
        Caller { is_behind_node: true, allowance, ..self.open_for(identity, address) }
    }

    fn open_for(&self, identity: &CertificateIdentity, address: SocketAddr) -> Caller {
        let role = identity.role;
        let identity = identity.to_string();
        Caller {
            role,
            address,
            connection: self.connections.fetch_add(1, Ordering::Relaxed),
            inbound: self.inbound.open(&identity),
            loaded: self.loaded.open(&identity),
            sent: self.sent.open(&identity),
            onward: self.onward.open(&identity),
            is_behind_node: false,
            certificate: None,
            allowance: None,
            append_streams: Semaphore::new(limits::APPEND_STREAMS_PER_CONNECTION_MAX),
            identity,
        }
    }
}

/// Answers that a run can have: one for each request, and one if it is none.
fn answers(run: &AppendRun) -> usize {
    (run.seqs.count as usize).min(run.lengths.len()).max(1)
}

/// Bytes of memory that those take.
pub(super) fn answers_bytes(run: &AppendRun) -> usize {
    answers(run) * REQUEST_OVERHEAD_BYTES
}

impl Caller {
    /// Room for so many bytes of requests, once there is some.
    pub(super) async fn hold(&self, bytes: usize) -> Held {
        self.inbound.take(bytes).await
    }

    /// Takes a run of requests, and its records, out of its frame, once there is room for what it comes
    /// to, and without any if that is not to be waited for. `None` if it is none.
    pub(super) async fn take_run(&self, frame: &Frame) -> Option<(AppendRun, Bytes, Option<Held>)> {
        let cost = |requests: usize, records: usize| {
            frame.wire_bytes() + requests * REQUEST_OVERHEAD_BYTES + records * RECORD_OVERHEAD_BYTES
        };
        // A record takes a byte of the frame at least, and a request that counts has one.
        let records_most = frame.wire_bytes().min(REQUEST_RECORDS_MAX);
        let most = cost(records_most, records_most);
        let mut held = if self.is_behind_node {
            self.inbound.take_in_share(most).await
        } else {
            Some(self.inbound.take(most).await)
        };
        let (run, records) = AppendRun::from_frame(frame).ok()?;
        if let Some(held) = &mut held {
            held.shrink_to(cost(answers(&run), run.lengths.len()));
        }
        Some((run, records, held))
    }

    /// Places for requests that are not answered, out of those of their stream.
    pub(super) async fn may_ask(&self, under_way: &Semaphore, requests: u32) -> bool {
        let permits = if self.is_behind_node {
            under_way.try_acquire_many(requests).ok()
        } else {
            under_way.acquire_many(requests).await.ok()
        };
        // Given back when the answers go out.
        permits.map(SemaphorePermit::forget).is_some()
    }

    /// Sends a frame to somebody who may not read it: `on_stall` is called when it is not taken at
    /// once, and after a time the stream is given up.
    ///
    /// # Errors
    /// [`StreamError`].
    pub(super) async fn send(
        &self,
        sender: &mut FrameSender,
        frame: &Frame,
        on_stall: impl FnOnce(),
    ) -> Result<(), StreamError> {
        if let Ok(sent) = timeout(limits::STALL_UNLOAD, sender.send(frame)).await {
            return sent;
        }
        on_stall();
        let (begun, mut moved, mut left) = (Instant::now(), Instant::now(), usize::MAX);
        loop {
            if sender.pending_bytes() < left {
                (moved, left) = (Instant::now(), sender.pending_bytes());
            }
            let is_stuck = moved.elapsed() >= limits::STALL_TIMEOUT_WANTED
                && (self.sent.is_wanted() || self.inbound.is_wanted());
            if is_stuck || begun.elapsed() >= limits::STALL_TIMEOUT {
                sender.abandon();
                return Err(StreamError::TimedOut { after: begun.elapsed() });
            }
            if let Ok(sent) = timeout(limits::STALL_UNLOAD, sender.flush()).await {
                return sent;
            }
        }
    }
}
