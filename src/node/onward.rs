//! Handing a client's stream on to the leader, for a client that does not reach it.
//!
//! Frames go through as they are, in both directions, under the client's own session: what the leader
//! answers is what the client hears, so that exactly once stays true, and whatever is lost on the way
//! is as doubtful as on a stream to the leader itself. One hop: what a node hands on is served where
//! it arrives. A stream that cannot be handed on is served here, which refuses what only a leader
//! does; so nothing is in doubt of which nothing was sent.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;

use super::caller::Caller;
use super::service::Service;
use crate::address::Address;
use crate::limits::{FRAME_BYTES_MAX, ONWARD_STREAMS_MAX};
use crate::net::{
    CertificateRole, Connection, Endpoint, Expect, FrameReceiver, FrameSender, Protocol, Stream,
};
use crate::types::NodeId;
use crate::wire::Frame;
use crate::wire::api::{Onward, Request};

/// The connections that streams are handed on over: one to each node that leads or has led.
#[derive(Debug)]
pub(super) struct Ways {
    endpoint: Endpoint,
    kept: Mutex<BTreeMap<NodeId, Connection>>,
    /// A place for each stream that is handed on.
    places: Semaphore,
}

impl Ways {
    pub(super) fn new(endpoint: Endpoint) -> Self {
        Self { endpoint, kept: Mutex::default(), places: Semaphore::new(ONWARD_STREAMS_MAX) }
    }

    /// A stream to the leader, on which `first` has been sent.
    async fn open(&self, leader: NodeId, address: &Address, first: &Frame) -> Option<Stream> {
        let connection = self.connection(leader, address).await?;
        let mut stream = connection.open().await.ok()?;
        stream.sender.send(first).await.ok()?;
        Some(stream)
    }

    async fn connection(&self, leader: NodeId, address: &Address) -> Option<Connection> {
        let kept = |made: Option<&Connection>| {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(made) = made {
                kept.insert(leader, made.clone());
            }
            kept.get(&leader).filter(|connection| !connection.is_closed()).cloned()
        };
        if let Some(connection) = kept(None) {
            return Some(connection);
        }
        let expect = Expect { role: CertificateRole::Node, name: Some(leader.to_string()) };
        let made = self.endpoint.reach(address, &expect, Protocol::Onward).await;
        match made {
            Ok(made) => kept(Some(&made)),
            Err(error) => {
                tracing::debug!(%leader, %error, "a client's stream cannot be handed on");
                None
            }
        }
    }
}

/// Serves a stream of a client that is meant for the leader.
pub(super) async fn serve(service: &Service, stream: Stream, caller: &Arc<Caller>, onward: Onward) {
    let place = service.ways.places.try_acquire().ok();
    let leader = service.published.borrow().leader.filter(|leader| *leader != service.node);
    let address = leader.filter(|_| place.is_some()).and_then(|l| service.members.get(&l));
    if let (Some(leader), Some(address)) = (leader, address) {
        let first = Request::from(onward.clone()).to_frame();
        if let Some(onwards) = service.ways.open(leader, address, &first).await {
            return pass(caller, stream, onwards).await;
        }
    }
    drop(place);
    service.serve_request(stream, caller, onward).await;
}

/// Passes frames in both directions, until one side has enough.
async fn pass(caller: &Caller, client: Stream, leader: Stream) {
    let Stream { sender: mut to_client, receiver: mut from_client } = client;
    from_client.set_bytes_max(FRAME_BYTES_MAX);
    let Stream { sender: mut to_leader, receiver: mut from_leader } = leader;
    let is_over = tokio::select! {
        () = pass_up(caller, &mut from_client, &mut to_leader) => false,
        is_over = pass_down(caller, &mut from_leader, &mut to_client) => is_over,
    };
    if is_over {
        to_client.finish();
    } else {
        // What became of the rest nobody here knows: the client hears no good end.
        to_client.abandon();
    }
}

/// Ends when nothing can be passed any more; not at the end of what the client says, for the answers
/// that are owed still come.
async fn pass_up(caller: &Caller, from: &mut FrameReceiver, to: &mut FrameSender) {
    loop {
        match from.next().await {
            Ok(Some(frame)) => {
                // A frame under way counts as one that was received and is not handled.
                let _held = caller.hold(frame.wire_bytes()).await;
                if to.send(&frame).await.is_err() {
                    return;
                }
            }
            Ok(None) => {
                to.finish();
                return std::future::pending().await;
            }
            Err(_) => return,
        }
    }
}

/// Says whether the leader ended the stream in good order.
async fn pass_down(caller: &Caller, from: &mut FrameReceiver, to: &mut FrameSender) -> bool {
    loop {
        let frame = tokio::select! {
            frame = from.next() => frame,
            () = to.unwanted() => return false,
        };
        match frame {
            Ok(Some(frame)) => {
                if caller.send(to, &frame, || {}).await.is_err() {
                    return false;
                }
            }
            Ok(None) => return true,
            Err(_) => return false,
        }
    }
}
