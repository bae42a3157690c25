//! Handshakes under way, bounded: all together, and those from one address.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};

use crate::limits::{
    HANDSHAKE_TIMEOUT, HANDSHAKE_TIMEOUT_CROWDED, HANDSHAKES_MAX, HANDSHAKES_OF_NODES_MAX,
    HANDSHAKES_PER_ADDRESS_MAX, HANDSHAKES_WAITING_MAX,
};

/// Who is let in, one after the other: nodes in a line of their own, so that no crowd of clients keeps
/// them from each other.
#[derive(Clone, Debug)]
pub(super) struct Handshakes {
    others: Line,
    nodes: Line,
}

/// A line of those who come. Clones are the same.
#[derive(Clone, Debug)]
struct Line {
    places: Arc<Semaphore>,
    /// How many of each address wait or are under way.
    queue: Arc<Mutex<BTreeMap<IpAddr, usize>>>,
    /// How many may, all together and those of one address.
    longest: (usize, usize),
}

/// A turn in a line. Dropped, it is over.
#[derive(Debug)]
pub(super) struct Turn {
    line: Line,
    address: IpAddr,
}

impl Handshakes {
    pub(super) fn new() -> Self {
        let others = (HANDSHAKES_WAITING_MAX, HANDSHAKES_PER_ADDRESS_MAX);
        // All nodes may be on one machine.
        let nodes = (HANDSHAKES_OF_NODES_MAX, HANDSHAKES_OF_NODES_MAX);
        Self {
            others: Line::new(HANDSHAKES_MAX, others),
            nodes: Line::new(HANDSHAKES_OF_NODES_MAX, nodes),
        }
    }

    /// How many wait or are under way in that line.
    pub(super) fn count(&self, is_node: bool) -> usize {
        self.line(is_node).lock().values().sum()
    }

    /// A turn for somebody at this address; none if too many wait already.
    pub(super) fn queue(&self, address: IpAddr, is_node: bool) -> Option<Turn> {
        let line = self.line(is_node);
        let mut queue = line.lock();
        let all: usize = queue.values().sum();
        let of = queue.entry(address).or_default();
        if all >= line.longest.0 || *of >= line.longest.1 {
            // An entry without anybody would stay for ever.
            queue.retain(|_, count| *count > 0);
            return None;
        }
        *of += 1;
        Some(Turn { line: line.clone(), address })
    }

    fn line(&self, is_node: bool) -> &Line {
        if is_node { &self.nodes } else { &self.others }
    }
}

impl Line {
    fn new(places: usize, longest: (usize, usize)) -> Self {
        Self { places: Arc::new(Semaphore::new(places)), queue: Arc::default(), longest }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<IpAddr, usize>> {
        // Nothing that is done under the lock panics half-way.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether all places are taken.
    fn is_full(&self) -> bool {
        self.places.available_permits() == 0
    }
}

impl Turn {
    /// Waits for a place, as long as whoever comes is likely to wait.
    pub(super) async fn place(&self) -> Option<OwnedSemaphorePermit> {
        let place = self.line.places.clone().acquire_owned();
        timeout(HANDSHAKE_TIMEOUT_CROWDED, place).await.ok()?.ok()
    }

    /// Resolves when a handshake that has a place has had its time: [`HANDSHAKE_TIMEOUT`], or, if
    /// others wait for a place, [`HANDSHAKE_TIMEOUT_CROWDED`].
    pub(super) async fn is_over(&self) {
        let mut had = Duration::ZERO;
        while had < HANDSHAKE_TIMEOUT {
            sleep(HANDSHAKE_TIMEOUT_CROWDED).await;
            had += HANDSHAKE_TIMEOUT_CROWDED;
            if self.line.is_full() {
                return;
            }
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut queue = self.line.lock();
        if let Some(count) = queue.get_mut(&self.address) {
            *count -= 1;
        }
        queue.retain(|_, count| *count > 0);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::soon;
    use super::*;

    fn at(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[tokio::test]
    async fn one_address_leaves_places_to_others() {
        let handshakes = Handshakes::new();
        let turns: Vec<Turn> = (0..HANDSHAKES_PER_ADDRESS_MAX)
            .map(|_| handshakes.queue(at(1), false).unwrap())
            .collect();
        assert!(handshakes.queue(at(1), false).is_none());
        let other = handshakes.queue(at(2), false).unwrap();
        assert_eq!(handshakes.count(false), HANDSHAKES_PER_ADDRESS_MAX + 1);
        drop(turns);
        assert!(handshakes.queue(at(1), false).is_some());
        // And all clients together to nodes.
        let crowd: Vec<Option<Turn>> =
            (2..200).map(|from| handshakes.queue(at(from), false)).collect();
        assert!(crowd.iter().any(Option::is_none));
        let node = handshakes.queue(at(2), true).unwrap();
        assert!(soon(node.place()).await.is_some());
        drop((other, crowd));
        assert_eq!(handshakes.count(false), 0);
    }

    #[tokio::test]
    async fn a_slow_handshake_gives_way_where_others_wait() {
        let handshakes = Handshakes::new();
        let turn = handshakes.queue(at(1), false).unwrap();
        let place = turn.place().await.unwrap();
        let mut others = vec![];
        for _ in 1..HANDSHAKES_MAX {
            others.push(turn.place().await.unwrap());
        }
        // Nobody waits for a place in vain for ever.
        assert!(soon(turn.place()).await.is_none());
        let begun = tokio::time::Instant::now();
        soon(turn.is_over()).await;
        assert!(begun.elapsed() >= HANDSHAKE_TIMEOUT_CROWDED);
        drop((place, others));
        assert!(soon(turn.place()).await.is_some());
    }
}
