//! Taking turns at what holds the thread of a node.

use tokio::sync::Semaphore;

/// Whose turn it is to make a frame. An entry may hold half a million records, which take
/// milliseconds of the one thread of the node: between two frames, whoever's they are, everything
/// else has its turn.
#[derive(Debug)]
pub(super) struct Framing {
    turn: Semaphore,
}

impl Framing {
    pub(super) fn new() -> Self {
        Self { turn: Semaphore::new(1) }
    }

    /// Makes a frame when nobody else does, and lets everything else have its turn after.
    pub(super) async fn in_turn<T>(&self, make: impl FnOnce() -> T) -> T {
        let _turn = self.turn.acquire().await;
        let frame = make();
        tokio::task::yield_now().await;
        frame
    }
}
