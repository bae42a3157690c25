//! What is asked of every peer, and what it answers.

use std::time::Duration;

use anyhow::Result;

/// Three servers on this machine, and what clients do to them. Dropping it kills the servers.
pub(crate) trait Peer {
    /// Appends for a while, and measures.
    async fn load(&mut self, work: &Work) -> Result<Load>;

    /// Kills the leader as `kill -9` does: the time until the first acknowledgement of an append
    /// that began after the kill. All three servers are up again when it returns.
    async fn failover(&mut self) -> Result<Duration>;

    /// Kills the servers and removes their data.
    fn clear(&mut self) -> Result<()>;
}

/// A load: so many requests in flight at every moment, from one process that is connected to the
/// leader.
#[derive(Clone, Copy)]
pub(crate) struct Work {
    /// Requests in flight.
    pub(crate) in_flight: usize,
    /// Entries in a request; with more than one it is acknowledged as a whole.
    pub(crate) batch: usize,
    /// Bytes of an entry.
    pub(crate) size: usize,
    /// How long the load goes on before anything is measured.
    pub(crate) warm_up: Duration,
    /// How long it is measured.
    pub(crate) duration: Duration,
}

/// What a load came to.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    pub(crate) entries_per_s: f64,
    /// Of a request, from the call to the acknowledgement.
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    /// CPU seconds of all server processes for 1000 entries.
    pub(crate) cpu_s_per_1000: f64,
    /// Requests that were not acknowledged.
    pub(crate) errors: u64,
}
