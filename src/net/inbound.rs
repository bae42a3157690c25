//! What has been received from peers and not been handled yet, bounded.

use std::sync::Arc;

use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::limits::{INBOUND_BYTES_MAX, INBOUND_MESSAGES_MAX};
use crate::types::{Incarnation, NodeId};
use crate::wire::PeerMessage;

/// A process of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerProcess {
    /// Whose.
    pub node: NodeId,
    /// Which: what a former one said counts for nothing once a newer one has come.
    pub start: Incarnation,
}

/// Where messages from peers go in. Clones lead to the same [`InboundReceiver`].
///
/// Urgent messages have a queue of their own and are taken first. The others hold as many bytes of
/// a common bound as they have; where there are none left, their stream is not read any further.
#[derive(Clone, Debug)]
pub struct Inbound {
    urgent: Sender<Received>,
    entries: Sender<Received>,
    bytes: Arc<Semaphore>,
}

/// Where messages from peers come out.
#[derive(Debug)]
pub struct InboundReceiver {
    urgent: Receiver<Received>,
    entries: Receiver<Received>,
}

#[derive(Debug)]
struct Received {
    from: PeerProcess,
    message: PeerMessage,
    /// Its bytes, given back when the message is taken.
    _bytes: Option<OwnedSemaphorePermit>,
}

/// The node that received the messages is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gone;

impl Inbound {
    /// Both ends of a new queue.
    pub fn new() -> (Self, InboundReceiver) {
        Self::with_bytes(INBOUND_BYTES_MAX)
    }

    pub(super) fn with_bytes(bytes: usize) -> (Self, InboundReceiver) {
        let (urgent, urgent_receiver) = mpsc::channel(INBOUND_MESSAGES_MAX);
        let (entries, entries_receiver) = mpsc::channel(INBOUND_MESSAGES_MAX);
        let bytes = Arc::new(Semaphore::new(bytes));
        let receiver = InboundReceiver { urgent: urgent_receiver, entries: entries_receiver };
        (Self { urgent, entries, bytes }, receiver)
    }

    /// Puts an urgent message in. Waits only behind [`INBOUND_MESSAGES_MAX`] others like it.
    pub(super) async fn put_urgent(
        &self,
        from: PeerProcess,
        message: PeerMessage,
    ) -> Result<(), Gone> {
        debug_assert!(message.is_urgent(), "it would overtake what was sent before it");
        let received = Received { from, message, _bytes: None };
        self.urgent.send(received).await.map_err(|_| Gone)
    }

    /// Puts a message with entries in. Waits while too many bytes have not been handled yet.
    pub(super) async fn put_entries(
        &self,
        from: PeerProcess,
        message: PeerMessage,
    ) -> Result<(), Gone> {
        debug_assert!(!message.is_urgent(), "it would wait for entries");
        let bytes = u32::try_from(message.queue_bytes()).expect("a message fits into a frame");
        let permit = self.bytes.clone().acquire_many_owned(bytes).await.map_err(|_| Gone)?;
        let received = Received { from, message, _bytes: Some(permit) };
        self.entries.send(received).await.map_err(|_| Gone)
    }
}

impl InboundReceiver {
    /// The next message and who sent it; urgent ones first. `None` when every [`Inbound`] is gone.
    ///
    /// May be dropped before it is done: nothing is lost.
    pub async fn recv(&mut self) -> Option<(PeerProcess, PeerMessage)> {
        let received = tokio::select! {
            biased;
            Some(received) = self.urgent.recv() => received,
            Some(received) = self.entries.recv() => received,
            else => return None,
        };
        Some((received.from, received.message))
    }

    #[cfg(test)]
    pub(super) async fn recv_urgent(&mut self) -> Option<PeerMessage> {
        self.urgent.recv().await.map(|received| received.message)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::messages::{entries, heartbeat, process, round_of};
    use super::super::testing::soon;
    use super::*;

    #[tokio::test]
    async fn urgent_messages_come_out_first() {
        let (inbound, mut receiver) = Inbound::new();
        inbound.put_entries(process(2), entries(1, 100)).await.unwrap();
        inbound.put_urgent(process(3), heartbeat(2)).await.unwrap();
        inbound.put_urgent(process(2), heartbeat(3)).await.unwrap();
        for expected in [(process(3), 2), (process(2), 3), (process(2), 1)] {
            let (from, message) = soon(receiver.recv()).await.unwrap();
            assert_eq!((from, round_of(&message)), expected);
        }
        drop(inbound);
        assert_eq!(soon(receiver.recv()).await, None);
    }

    #[tokio::test]
    async fn entries_wait_for_room_and_urgent_messages_do_not() {
        let message = entries(1, 1000);
        let (inbound, mut receiver) = Inbound::with_bytes(2 * message.queue_bytes());
        for _ in 0..2 {
            soon(inbound.put_entries(process(2), message.clone())).await.unwrap();
        }
        let third = tokio::spawn({
            let inbound = inbound.clone();
            async move { inbound.put_entries(process(2), message).await }
        });
        soon(inbound.put_urgent(process(2), heartbeat(2))).await.unwrap();
        assert_eq!(soon(receiver.recv()).await.map(|(_, m)| round_of(&m)), Some(2));
        assert!(!third.is_finished());
        assert_eq!(soon(receiver.recv()).await.map(|(_, m)| round_of(&m)), Some(1));
        assert_eq!(soon(third).await.unwrap(), Ok(()));
    }
}
