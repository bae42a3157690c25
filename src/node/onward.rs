//! Handing a client's stream on to the leader, for a client that does not reach it.
//!
//! Frames go through as they are, in both directions, under the client's own session: what the leader
//! answers is what the client hears, so that exactly once stays true, and whatever is lost on the way
//! is as doubtful as on a stream to the leader itself. One hop: what a node hands on is served where
//! it arrives (`behalf`), and counted there as the client's. A stream that cannot be handed on is
//! served here, which refuses what only a leader does; so nothing is in doubt of which nothing was
//! sent.

use std::sync::Arc;

use tokio::time::timeout;

use super::caller::Caller;
use super::shared::Service;
use crate::address::Address;
use crate::limits::{FRAME_BYTES_MAX, ONWARD_TIMEOUT, READABLE_TIMEOUT};
use crate::net::{FrameReceiver, FrameSender, Stream};
use crate::types::{Index, LogNumber, NodeId};
use crate::wire::api::{OnBehalf, Onward, Read, Records, Request};

/// Hands a stream of a client that is meant for the leader on to it, until it ends. Gives it back if
/// that cannot be done: nothing has come of it.
pub(super) async fn hand_on(
    service: &Service,
    stream: Stream,
    caller: &Arc<Caller>,
    request: &Onward,
) -> Option<Stream> {
    let Some(_place) = caller.onward.try_take(1) else { return Some(stream) };
    let leader = service.published.borrow().leader.filter(|leader| *leader != service.node);
    let Some(leader) = leader else { return Some(stream) };
    let opened = tokio::select! {
        opened = open(service, caller, leader, request.clone()) => opened,
        () = stream.sender.unwanted() => return None,
    };
    match opened {
        Some(onwards) => pass(caller, stream, onwards, request).await,
        None => return Some(stream),
    }
    None
}

/// Asks the leader, for a client, up to where a read must see that begins now. `None` if it does not
/// say, be it that it does not lead.
pub(super) async fn ask_index(
    service: &Service,
    caller: &Caller,
    leader: NodeId,
    log: LogNumber,
) -> Option<Index> {
    let _place = caller.onward.try_take(1)?;
    let request = Onward::Read(Read::of_index(log));
    let mut stream = open(service, caller, leader, request).await?;
    stream.sender.finish();
    let frame = stream.receiver.answer(READABLE_TIMEOUT).await.ok()?;
    let (header, _) = Records::from_frame(&frame).ok()?;
    header.index()
}

/// Opens a stream to the leader that carries this for a client.
async fn open(
    service: &Service,
    caller: &Caller,
    leader: NodeId,
    request: Onward,
) -> Option<Stream> {
    let first = on_behalf(caller, request).to_frame();
    let at = addresses(service, leader);
    let opening = service.leaders.open(leader, &at, &first);
    timeout(ONWARD_TIMEOUT, opening).await.ok().flatten()
}

/// The leader counts it as the client's, not as this node's.
fn on_behalf(caller: &Caller, request: Onward) -> Request {
    let (identity, connection) = (caller.identity.clone(), caller.connection);
    let grants = caller.allowance.as_ref().map(|allowance| allowance.grants.clone());
    let certificate = caller.certificate;
    Request::OnBehalf(OnBehalf { identity, connection, certificate, grants, request })
}

/// Where a node may be: as the log or the file says, and where it is connected with this node.
pub(super) fn addresses(service: &Service, leader: NodeId) -> Vec<Address> {
    let configured = service.roll.borrow().members.get(&leader).cloned().flatten();
    let seen = service.peers.address(leader).map(Address::from);
    let seen = seen.filter(|seen| configured.as_ref() != Some(seen));
    configured.into_iter().chain(seen).collect()
}

/// Passes frames in both directions, until one side has enough.
async fn pass(caller: &Caller, client: Stream, leader: Stream, onward: &Onward) {
    let Stream { sender: mut to_client, receiver: mut from_client } = client;
    from_client.set_bytes_max(FRAME_BYTES_MAX);
    let Stream { sender: mut to_leader, receiver: mut from_leader } = leader;
    let upwards = async {
        match onward {
            Onward::Appends => pass_up(caller, &mut from_client, &mut to_leader).await,
            // Nothing follows: what nobody reads must not fill what all that is handed on shares.
            Onward::Read(_) => {
                from_client.stop();
                to_leader.finish();
                std::future::pending::<()>().await;
            }
        }
    };
    let is_over = tokio::select! {
        () = upwards => false,
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
                if caller.send(to, &frame, || {}).await.is_err() {
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
