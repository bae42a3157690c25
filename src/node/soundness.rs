//! How a node is, as one is told that may have to do without what it has: what is asked, and what is answered.

use std::collections::BTreeMap;

use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::inputs::Command;
use super::shared::Service;
use crate::address::Address;
use crate::config::NodeConfig;
use crate::limits::{CONNECT_TIMEOUT, FIRST_FRAME_BYTES_MAX, SOUNDNESS_TIMEOUT};
use crate::net::{CertificateRole, Endpoint, Expect, Protocol, Stream};
use crate::replica::Poll;
use crate::types::NodeId;
use crate::wire::api::Request;
use crate::wire::soundness::Soundness;

/// Answers how this node is. One that is being stopped says nothing.
pub(super) async fn tell(service: &Service, mut stream: Stream) {
    let (reply, answer) = oneshot::channel();
    let is_whole = service.reader.damaged().is_empty();
    if service.commands.send(Command::Soundness(is_whole, reply)).await.is_err() {
        return stream.sender.abandon();
    }
    match answer.await {
        Ok(soundness) => send(stream, &soundness).await,
        Err(_) => stream.sender.abandon(),
    }
}

/// Sends an answer. Who takes none asks again.
pub(super) async fn send(mut stream: Stream, soundness: &Soundness) {
    let _ = timeout(SOUNDNESS_TIMEOUT, stream.sender.send(&soundness.to_frame())).await;
}

/// Asks all others: those that this node's file names, and then those that it does not know of. Nobody is waited
/// for longer than [`SOUNDNESS_TIMEOUT`].
pub(super) async fn ask(endpoint: &Endpoint, config: &NodeConfig) -> Poll {
    let mut poll = Poll::new(config.node, ask_all(endpoint, config.peers.clone()).await);
    poll.extend(ask_all(endpoint, poll.elsewhere()).await);
    poll
}

/// Asks these at once.
async fn ask_all(
    endpoint: &Endpoint,
    nodes: BTreeMap<NodeId, Address>,
) -> BTreeMap<NodeId, Option<Soundness>> {
    let mut questions = JoinSet::new();
    for (node, address) in nodes {
        let endpoint = endpoint.clone();
        questions.spawn(async move {
            let asked = timeout(SOUNDNESS_TIMEOUT, ask_one(&endpoint, node, &address)).await;
            (node, asked.ok().flatten())
        });
    }
    questions.join_all().await.into_iter().collect()
}

async fn ask_one(endpoint: &Endpoint, node: NodeId, address: &Address) -> Option<Soundness> {
    let expect = Expect { role: CertificateRole::Node, name: Some(node.to_string()) };
    let at = std::slice::from_ref(address);
    let reached = endpoint.reach_any(CONNECT_TIMEOUT, at, &expect, Protocol::Onward).await;
    let mut stream = reached.ok()?.open().await.ok()?;
    stream.sender.send(&Request::Soundness.to_frame()).await.ok()?;
    stream.sender.finish();
    stream.receiver.set_bytes_max(FIRST_FRAME_BYTES_MAX);
    let frame = stream.receiver.answer(SOUNDNESS_TIMEOUT).await.ok()?;
    Soundness::from_frame(&frame).ok()
}
