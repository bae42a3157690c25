//! Messages that wait to be sent to one peer, bounded. What does not fit is dropped: Raft sends it
//! again.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::limits::{PEER_BATCH_BYTES_MAX, PEER_PRIORITY_QUEUE_MAX, PEER_QUEUE_BYTES_MAX};
use crate::wire::PeerMessage;

/// One of the two streams between two nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Priority {
    /// Votes, heartbeats, answers.
    Urgent,
    /// Entries.
    Entries,
}

impl Priority {
    pub(super) fn of(message: &PeerMessage) -> Self {
        if message.is_urgent() { Self::Urgent } else { Self::Entries }
    }
}

/// The queues of the two priorities to one peer.
#[derive(Debug, Default)]
pub(super) struct PeerOutbox {
    queues: Mutex<Queues>,
    urgent_ready: Notify,
    entries_ready: Notify,
}

#[derive(Debug, Default)]
struct Queues {
    /// While there is no connection only the newest urgent message is kept, to be the first on the
    /// next one: whatever else would be stale by then.
    connected: bool,
    urgent: VecDeque<PeerMessage>,
    entries: VecDeque<PeerMessage>,
    entries_bytes: usize,
}

impl PeerOutbox {
    /// Puts a message into its queue; never waits. Of urgent ones the newest are kept, of the others
    /// the oldest, since each continues the one before.
    pub(super) fn put(&self, message: PeerMessage) {
        let mut queues = self.queues();
        match Priority::of(&message) {
            Priority::Urgent => {
                queues.put_urgent(message);
                self.urgent_ready.notify_one();
            }
            Priority::Entries => {
                queues.put_entries(message);
                self.entries_ready.notify_one();
            }
        }
    }

    /// There is a connection.
    pub(super) fn open(&self) {
        self.queues().connected = true;
    }

    /// There is none any more: what waits is forgotten.
    pub(super) fn close(&self) {
        *self.queues() = Queues::default();
    }

    /// Waits for messages of a priority, and takes as many as go well in one write. Only one task may
    /// wait for a priority. May be dropped before it is done: nothing is lost.
    pub(super) async fn take(&self, priority: Priority) -> Vec<PeerMessage> {
        loop {
            let batch = self.queues().take(priority);
            if !batch.is_empty() {
                return batch;
            }
            // A message that came in between has left its mark there.
            match priority {
                Priority::Urgent => self.urgent_ready.notified().await,
                Priority::Entries => self.entries_ready.notified().await,
            }
        }
    }

    fn queues(&self) -> MutexGuard<'_, Queues> {
        // Nothing that is done under the lock panics half-way.
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(super) fn is_full(&self) -> bool {
        self.queues().entries_bytes > PEER_QUEUE_BYTES_MAX - (2 << 20)
    }
}

impl Queues {
    fn put_urgent(&mut self, message: PeerMessage) {
        let most = if self.connected { PEER_PRIORITY_QUEUE_MAX } else { 1 };
        if self.urgent.len() >= most {
            self.urgent.pop_front();
        }
        self.urgent.push_back(message);
    }

    fn put_entries(&mut self, message: PeerMessage) {
        let bytes = self.entries_bytes + message.queue_bytes();
        if self.connected && bytes <= PEER_QUEUE_BYTES_MAX {
            self.entries_bytes = bytes;
            self.entries.push_back(message);
        }
    }

    fn take(&mut self, priority: Priority) -> Vec<PeerMessage> {
        let queue = match priority {
            Priority::Urgent => &mut self.urgent,
            Priority::Entries => &mut self.entries,
        };
        let mut batch = Vec::new();
        let mut bytes = 0;
        while let Some(message) = queue.pop_front_if(|next| {
            bytes += next.queue_bytes();
            batch.is_empty() || bytes <= PEER_BATCH_BYTES_MAX
        }) {
            batch.push(message);
        }
        if priority == Priority::Entries {
            self.entries_bytes -= batch.iter().map(PeerMessage::queue_bytes).sum::<usize>();
            assert!(!self.entries.is_empty() || self.entries_bytes == 0, "{}", self.entries_bytes);
        }
        batch
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::messages::{entries, heartbeat, round_of};
    use super::super::testing::soon;
    use super::*;

    fn rounds(batch: &[PeerMessage]) -> Vec<u64> {
        batch.iter().map(round_of).collect()
    }

    #[tokio::test]
    async fn small_messages_leave_together_and_large_ones_alone() {
        let outbox = PeerOutbox::default();
        outbox.open();
        for round in 0..3 {
            outbox.put(heartbeat(round));
        }
        outbox.put(entries(3, 100));
        outbox.put(entries(4, PEER_BATCH_BYTES_MAX));
        outbox.put(entries(5, 100));
        assert_eq!(rounds(&soon(outbox.take(Priority::Urgent)).await), [0, 1, 2]);
        assert_eq!(rounds(&soon(outbox.take(Priority::Entries)).await), [3]);
        assert_eq!(rounds(&soon(outbox.take(Priority::Entries)).await), [4]);
        assert_eq!(rounds(&soon(outbox.take(Priority::Entries)).await), [5]);
        assert_eq!(outbox.queues().entries_bytes, 0);
    }

    #[tokio::test]
    async fn a_full_queue_keeps_the_newest_urgent_messages_and_the_oldest_entries() {
        let outbox = PeerOutbox::default();
        outbox.open();
        let size = 1 << 20;
        let fit = (PEER_QUEUE_BYTES_MAX / entries(0, size).queue_bytes()) as u64;
        let most = PEER_PRIORITY_QUEUE_MAX as u64;
        for round in 0..most + 2 {
            outbox.put(heartbeat(round));
            outbox.put(entries(round, size));
        }
        assert!(outbox.is_full());
        assert_eq!(soon(outbox.take(Priority::Urgent)).await.first().map(round_of), Some(2));
        let queued: Vec<u64> = outbox.queues().entries.iter().map(round_of).collect();
        assert_eq!(queued, (0..fit).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn without_a_connection_only_the_newest_urgent_message_is_kept() {
        let outbox = PeerOutbox::default();
        outbox.put(heartbeat(1));
        outbox.put(entries(2, 100));
        outbox.put(heartbeat(3));
        outbox.open();
        outbox.put(heartbeat(4));
        assert_eq!(rounds(&soon(outbox.take(Priority::Urgent)).await), [3, 4]);
        assert!(outbox.queues().entries.is_empty());
        outbox.put(entries(5, 100));
        outbox.close();
        assert!(outbox.queues().entries.is_empty());
    }
}
