//! Who did what that not everybody may do, or tried to, for whoever has to ask later.
//!
//! What was done is a line each. What was refused is counted as refused connections are: who tries a
//! thousand times a second must not fill the log.

use std::net::SocketAddr;
use std::sync::Arc;

use tracing::info;

use super::refusals::{Refusals, Subject};

/// See the module. Clones are the same.
#[derive(Clone, Debug)]
pub struct Audit {
    refused: Arc<Refusals>,
}

impl Audit {
    pub(super) fn new() -> Self {
        Self { refused: Arc::new(Refusals::new(Subject::Actions)) }
    }

    /// Notes that somebody has done, or is about to do, what only admins may.
    pub fn did(&self, who: &str, address: SocketAddr, what: &str) {
        info!(who, %address, what, "audit: {who} at {address} did: {what}");
    }

    /// Notes that somebody was refused what only admins may do.
    pub fn refused(&self, who: &str, address: SocketAddr, what: &str) {
        self.refused.note(address, &format!("{who}: {what}"));
    }

    /// Tells what was refused since the last time, if anything was.
    pub(super) fn summarise(&self) {
        self.refused.summarise();
    }
}
