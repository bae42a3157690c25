//! What a node does for clients: one task a connection, one a stream.
//!
//! A client certificate can ask; it can never speak Raft, for that is another protocol with another
//! certificate. What came and is not handled is bounded by permits: a stream that is not read from
//! is a client that waits.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::timeout;

use super::driver::Command;
use super::published::Published;
use super::reading;
use crate::address::Address;
use crate::limits;
use crate::net::{
    CertificateRole, Close, Connection, Endpoint, FrameReceiver, FrameSender, Peers, Protocol,
    Stream,
};
use crate::store::Reader;
use crate::types::{ClusterId, Incarnation, NodeId, Term};
use crate::wire::api::{
    AppendReplies, AppendReply, AppendRequest, CrashReply, Request, Role, Welcome,
};

/// Answers in one frame, at most.
const REPLIES_PER_FRAME_MAX: usize = 1024;

/// What serving a client takes.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) cluster: ClusterId,
    pub(super) node: NodeId,
    pub(super) incarnation: Incarnation,
    pub(super) members: BTreeMap<NodeId, Address>,
    pub(super) fault_injection: bool,
    pub(super) published: watch::Receiver<Published>,
    pub(super) commands: mpsc::Sender<Command>,
    /// Bytes of append requests that were received and not handled.
    pub(super) inbound_bytes: Arc<Semaphore>,
    pub(super) reader: Reader,
}

impl Service {
    /// Serves a connection until it ends.
    pub(super) async fn serve(self: Arc<Self>, connection: Connection) {
        let role = connection.identity().role;
        if !matches!(role, CertificateRole::Client | CertificateRole::Admin) {
            connection.close(Close::NotAllowed);
            return;
        }
        while let Some(stream) = connection.accept().await {
            tokio::spawn(Arc::clone(&self).serve_stream(stream, role));
        }
    }

    async fn serve_stream(self: Arc<Self>, mut stream: Stream, role: CertificateRole) {
        let Ok(frame) = stream.receiver.answer(limits::FIRST_FRAME_TIMEOUT).await else { return };
        let Ok(request) = Request::from_frame(&frame) else {
            return stream.sender.abandon();
        };
        match request {
            Request::Hello => {
                // A client that is gone misses nothing.
                let _ = stream.sender.send(&self.welcome().to_frame()).await;
            }
            Request::Appends => self.serve_appends(stream).await,
            Request::Read(read) => reading::serve(&self, stream, read).await,
            Request::CrashLeader { term } => self.crash(stream, role, term).await,
        }
    }

    fn welcome(&self) -> Welcome {
        let published = *self.published.borrow();
        let nodes = self.members.iter().map(|(node, address)| (*node, address.to_string()));
        Welcome {
            cluster: self.cluster,
            node: self.node,
            incarnation: self.incarnation,
            role: published.role,
            term: published.term,
            leader: published.leader,
            ready: published.ready,
            last_index: published.last_index,
            commit_index: published.commit_index,
            next_offset: published.next_offset,
            disk_full: published.disk_full,
            nodes: nodes.collect(),
        }
    }

    /// Two halves of one stream: requests go to the driver as they come, answers back as they come.
    async fn serve_appends(&self, stream: Stream) {
        let Stream { sender, receiver } = stream;
        // Bounded all the same: each answer has a permit of `under_way`.
        let (reply, replies) = mpsc::unbounded_channel();
        let under_way = Arc::new(Semaphore::new(limits::CLIENT_IN_FLIGHT_MAX));
        let writing = tokio::spawn(send_replies(sender, replies, Arc::clone(&under_way)));
        self.receive_appends(receiver, &reply, &under_way).await;
        // The answers that are owed still go out: their senders are with the driver.
        drop(reply);
        let _ = writing.await;
    }

    async fn receive_appends(
        &self,
        mut receiver: FrameReceiver,
        reply: &mpsc::UnboundedSender<AppendReply>,
        under_way: &Semaphore,
    ) {
        while let Ok(Some(frame)) = receiver.next().await {
            let Ok((request, records)) = AppendRequest::from_frame(&frame) else {
                return receiver.stop();
            };
            let Ok(permit) = under_way.acquire().await else { return };
            // Given back when the answer goes out.
            permit.forget();
            let bytes = u32::try_from(frame.wire_bytes()).expect("a frame's bound is below 4 GiB");
            let inbound = Arc::clone(&self.inbound_bytes);
            let Ok(permit) = inbound.acquire_many_owned(bytes).await else { return };
            let command = Command::Append { request, records, reply: reply.clone(), permit };
            if self.commands.send(command).await.is_err() {
                return; // The node is stopping.
            }
        }
    }

    /// Crashes as the leader of `term`, if that is what this node is: no flush, no goodbye.
    async fn crash(&self, mut stream: Stream, role: CertificateRole, term: Term) {
        let published = *self.published.borrow();
        let leads = published.role == Role::Leader && published.term == term;
        let reply = if role != CertificateRole::Admin {
            CrashReply::NotAdmin
        } else if !self.fault_injection {
            CrashReply::NotAllowed
        } else if !leads {
            CrashReply::NotLeader { term: published.term, leader: published.leader }
        } else {
            CrashReply::Crashing { node: self.node, term, incarnation: self.incarnation }
        };
        let crashing = matches!(reply, CrashReply::Crashing { .. });
        let sent = stream.sender.send(&reply.to_frame()).await;
        if crashing {
            tracing::error!(node = %self.node, %term, "crashing as asked");
            // Whether or not its last words arrive, it was asked to crash.
            let _ = stream.sender.finished(limits::LAST_WORDS_TIMEOUT).await;
            std::process::abort();
        }
        if let Err(error) = sent {
            tracing::debug!(%error, "a refusal to crash was not heard");
        }
    }
}

async fn send_replies(
    mut sender: FrameSender,
    mut replies: mpsc::UnboundedReceiver<AppendReply>,
    under_way: Arc<Semaphore>,
) {
    let mut batch = Vec::new();
    while replies.recv_many(&mut batch, REPLIES_PER_FRAME_MAX).await > 0 {
        under_way.add_permits(batch.len());
        let frame = AppendReplies { replies: std::mem::take(&mut batch) }.to_frame();
        if sender.send(&frame).await.is_err() {
            break; // The client is gone; it asks again elsewhere.
        }
    }
    // Whoever waits for a place on a stream that gives no more answers waits in vain.
    under_way.close();
    sender.finish();
}

/// Accepts connections until the endpoint closes.
pub(super) async fn accept(endpoint: Endpoint, peers: Peers, service: Arc<Service>) {
    let places = Arc::new(Semaphore::new(limits::CONNECTIONS_MAX));
    while let Some(connection) = endpoint.accept().await {
        match connection.protocol() {
            Protocol::Peer => peers.accept(connection),
            Protocol::Client => {
                let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                    connection.close(Close::Busy);
                    continue;
                };
                let service = Arc::clone(&service);
                tokio::spawn(async move {
                    service.serve(connection).await;
                    drop(place);
                });
            }
            Protocol::Registry => connection.close(Close::NotAllowed),
        }
    }
}

/// Waits, within a bound, until what is committed is on this node's disk as well. Returns the state
/// as of when its commit index was reached.
pub(super) async fn until_readable(
    published: &mut watch::Receiver<Published>,
    at_least: crate::types::Index,
) -> Option<Published> {
    let wait = async {
        let committed = *published.wait_for(|now| now.commit_index >= at_least).await.ok()?;
        published.wait_for(|now| now.readable >= committed.commit_index).await.ok()?;
        Some(committed)
    };
    timeout(limits::READABLE_TIMEOUT, wait).await.ok().flatten()
}
