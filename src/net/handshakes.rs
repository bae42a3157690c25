//! Handshakes under way, bounded: all together, and those from one address.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};

use crate::limits::{
    CONNECT_TIMEOUT, HANDSHAKE_TIMEOUT, HANDSHAKES_MAX, HANDSHAKES_PER_ADDRESS_MAX,
    HANDSHAKES_WAITING_MAX,
};

/// Who is let in, one after the other. Clones are the same.
#[derive(Clone, Debug)]
pub(super) struct Handshakes {
    places: Arc<Semaphore>,
    /// How many of each address wait or are under way.
    queue: Arc<Mutex<BTreeMap<IpAddr, usize>>>,
}

/// A turn in the queue. Dropped, it is over.
#[derive(Debug)]
pub(super) struct Turn {
    handshakes: Handshakes,
    address: IpAddr,
}

impl Handshakes {
    pub(super) fn new() -> Self {
        Self { places: Arc::new(Semaphore::new(HANDSHAKES_MAX)), queue: Arc::default() }
    }

    /// How many wait or are under way.
    pub(super) fn count(&self) -> usize {
        self.lock().values().sum()
    }

    /// A turn for somebody at this address; none if too many wait already.
    pub(super) fn queue(&self, address: IpAddr) -> Option<Turn> {
        let mut queue = self.lock();
        let all: usize = queue.values().sum();
        let of = queue.entry(address).or_default();
        if all >= HANDSHAKES_WAITING_MAX || *of >= HANDSHAKES_PER_ADDRESS_MAX {
            // An entry without anybody would stay for ever.
            queue.retain(|_, count| *count > 0);
            return None;
        }
        *of += 1;
        Some(Turn { handshakes: self.clone(), address })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<IpAddr, usize>> {
        // Nothing that is done under the lock panics half-way.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether all places are taken.
    fn are_full(&self) -> bool {
        self.places.available_permits() == 0
    }
}

impl Turn {
    /// Waits for a place, as long as whoever comes is likely to wait.
    pub(super) async fn place(&self) -> Option<OwnedSemaphorePermit> {
        let place = self.handshakes.places.clone().acquire_owned();
        timeout(CONNECT_TIMEOUT, place).await.ok()?.ok()
    }

    /// Resolves when a handshake that has a place has had its time: [`HANDSHAKE_TIMEOUT`], or, if
    /// others wait for a place, [`CONNECT_TIMEOUT`].
    pub(super) async fn is_over(&self) {
        let mut had = Duration::ZERO;
        while had < HANDSHAKE_TIMEOUT {
            sleep(CONNECT_TIMEOUT).await;
            had += CONNECT_TIMEOUT;
            if self.handshakes.are_full() {
                return;
            }
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut queue = self.handshakes.lock();
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
        let turns: Vec<Turn> =
            (0..HANDSHAKES_PER_ADDRESS_MAX).map(|_| handshakes.queue(at(1)).unwrap()).collect();
        assert!(handshakes.queue(at(1)).is_none());
        let other = handshakes.queue(at(2)).unwrap();
        assert_eq!(handshakes.count(), HANDSHAKES_PER_ADDRESS_MAX + 1);
        drop(turns);
        assert!(handshakes.queue(at(1)).is_some());
        drop(other);
        assert_eq!(handshakes.count(), 0);
    }

    #[tokio::test]
    async fn a_slow_handshake_gives_way_where_others_wait() {
        let handshakes = Handshakes::new();
        let turn = handshakes.queue(at(1)).unwrap();
        let place = turn.place().await.unwrap();
        let mut others = vec![];
        for _ in 1..HANDSHAKES_MAX {
            others.push(turn.place().await.unwrap());
        }
        // Nobody waits for a place in vain for ever.
        assert!(soon(turn.place()).await.is_none());
        let begun = tokio::time::Instant::now();
        soon(turn.is_over()).await;
        assert!(begun.elapsed() >= CONNECT_TIMEOUT);
        drop((place, others));
        assert!(soon(turn.place()).await.is_some());
    }
}
