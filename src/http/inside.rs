//! What the door sees of the node behind it without asking.

use std::time::Duration;

use crate::access::TokenId;
use crate::limits::PERSIST_BOUNDS_MS;
use crate::wire::api::Welcome;

/// The node, as its door sees it.
pub trait Inside: Send + Sync + 'static {
    /// What it says of itself.
    fn welcome(&self) -> Welcome;

    /// What it has counted since it started.
    fn counts(&self) -> Counts;

    /// Whether an access token holds no more, as far as the node has heard.
    fn is_revoked(&self, token: TokenId) -> bool;

    /// How long ago its driver turned last.
    fn still_for(&self) -> Duration;
}

/// What a node has counted since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests to append that it has acknowledged.
    pub acknowledged_requests: u64,
    /// Bytes of the records in them.
    pub acknowledged_bytes: u64,
    /// Requests to append that it has refused.
    pub refused_requests: u64,
    /// Writes that were on disk within each of [`PERSIST_BOUNDS_MS`], those of the bounds before left
    /// out; and behind them those that took longer.
    pub persisted: [u64; PERSIST_BOUNDS_MS.len() + 1],
    /// What they took together, in microseconds.
    pub persisted_micros: u64,
}
