//! How long a client goes on by way of a node that brings nothing.
//!
//! A node that hears the leader and is not heard by it names it all the same. So another way is tried
//! after a while, each time with more patience: the network may only be slow.

use std::time::Duration;

use super::moment::Moment;
use crate::limits::{CLIENT_DETOUR_PATIENCE, CLIENT_DETOUR_PATIENCE_MAX};

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(super) struct Detour {
    /// Since when the way of now has brought nothing.
    since: Moment,
    /// How long it may go on so.
    patience: Duration,
}

impl Detour {
    pub(super) const fn new() -> Self {
        Self { since: Moment::ORIGIN, patience: CLIENT_DETOUR_PATIENCE }
    }

    /// Something is waited for from now on, or by another way.
    pub(super) fn wait(&mut self, now: Moment) {
        self.since = now;
    }

    /// Something has come.
    pub(super) fn bring(&mut self, now: Moment) {
        *self = Self { since: now, ..Self::new() };
    }

    /// Whether it has brought nothing for longer than that may take.
    pub(super) fn is_in_vain(&self, now: Moment) -> bool {
        now.since(self.since) >= self.patience
    }

    /// Another way is tried, with more patience.
    pub(super) fn give_up(&mut self) {
        self.patience = (self.patience * 2).min(CLIENT_DETOUR_PATIENCE_MAX);
    }
}
