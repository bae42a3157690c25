//! Taking turns at what holds the thread of a node, and its disk.

use tokio::sync::Semaphore;

use crate::limits::LOADS_AT_ONCE_MAX;

/// Whose turn it is to make a frame. An entry may hold half a million records, which take
/// milliseconds of the one thread of the node: between two frames, whoever's they are, everything
/// else has its turn.
#[derive(Debug)]
pub(super) struct Framing {
    turn: Semaphore,
    /// Whoever reads entries from the disk: each may have a sealed segment open, with its pages.
    loads: Semaphore,
}

impl Framing {
    pub(super) fn new() -> Self {
        Self { turn: Semaphore::new(1), loads: Semaphore::new(LOADS_AT_ONCE_MAX) }
    }

    /// Reads from the disk, beside the thread of the node, when few others do.
    pub(super) async fn load<T: Send + 'static>(
        &self,
        read: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        let _turn = self.loads.acquire().await;
        tokio::task::spawn_blocking(read).await.expect("a panic ends the process")
    }

    /// Makes a frame when nobody else does, and lets everything else have its turn after.
    pub(super) async fn in_turn<T>(&self, make: impl FnOnce() -> T) -> T {
        let _turn = self.turn.acquire().await;
        let frame = make();
        tokio::task::yield_now().await;
        frame
    }
}
