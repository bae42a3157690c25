//! What the other side of a connection may make this node hold.

use std::net::SocketAddr;

use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use crate::limits::{self, RECORD_OVERHEAD_BYTES, REQUEST_OVERHEAD_BYTES, REQUEST_RECORDS_MAX};
use crate::net::{
    self, Account, Budget, CertificateRole, Connection, FrameSender, Held, StreamError,
};
use crate::wire::Frame;
use crate::wire::api::AppendRequest;

/// Bytes that this node holds for all clients together.
#[derive(Debug)]
pub(super) struct Shares {
    /// Append requests that are not answered.
    inbound: Budget,
    /// Entries that reads have in memory.
    loaded: Budget,
    /// Frames that are being sent.
    sent: Budget,
}

/// Who is at the other side of a connection, and its part of the shares.
#[derive(Debug)]
pub(super) struct Caller {
    pub(super) identity: String,
    pub(super) role: CertificateRole,
    pub(super) address: SocketAddr,
    inbound: Account,
    pub(super) loaded: Account,
    pub(super) sent: Account,
    /// Places for streams that carry appends.
    pub(super) append_streams: Semaphore,
}

impl Shares {
    pub(super) fn new() -> Self {
        Self {
            inbound: Budget::new(net::Shares {
                total: limits::INBOUND_BYTES_MAX,
                per_identity: limits::INBOUND_BYTES_PER_IDENTITY,
                per_connection: limits::INBOUND_BYTES_PER_CONNECTION,
            }),
            loaded: Budget::new(net::Shares {
                total: limits::READ_LOADED_BYTES_MAX,
                per_identity: limits::READ_LOADED_BYTES_PER_IDENTITY,
                per_connection: limits::READ_LOADED_BYTES_PER_CONNECTION,
            }),
            sent: Budget::new(net::Shares {
                total: limits::READ_SENT_BYTES_MAX,
                per_identity: limits::READ_SENT_BYTES_PER_IDENTITY,
                per_connection: limits::READ_SENT_BYTES_PER_CONNECTION,
            }),
        }
    }

    /// The part of a new connection.
    pub(super) fn open(&self, connection: &Connection) -> Caller {
        let identity = connection.identity().to_string();
        // One connection carries what a node hands on for many clients.
        let streams_max = match connection.identity().role {
            CertificateRole::Node => limits::ONWARD_STREAMS_MAX,
            _ => limits::APPEND_STREAMS_PER_CONNECTION_MAX,
        };
        Caller {
            role: connection.identity().role,
            address: connection.remote_address(),
            inbound: self.inbound.open(&identity),
            loaded: self.loaded.open(&identity),
            sent: self.sent.open(&identity),
            append_streams: Semaphore::new(streams_max),
            identity,
        }
    }
}

impl Caller {
    /// Room for so many bytes of requests, once there is some.
    pub(super) async fn hold(&self, bytes: usize) -> Held {
        self.inbound.take(bytes).await
    }

    /// Takes a request out of its frame, once there is room for what it comes to. `None` if it is
    /// none.
    pub(super) async fn take_request(
        &self,
        frame: &Frame,
    ) -> Option<(AppendRequest, Vec<Bytes>, Held)> {
        let cost = |records: usize| {
            frame.wire_bytes() + REQUEST_OVERHEAD_BYTES + records * RECORD_OVERHEAD_BYTES
        };
        // A record takes a byte of the frame at least.
        let mut held = self.inbound.take(cost(frame.wire_bytes().min(REQUEST_RECORDS_MAX))).await;
        let (request, records) = AppendRequest::from_frame(frame).ok()?;
        held.shrink_to(cost(records.len()));
        Some((request, records, held))
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
