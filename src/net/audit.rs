//! Who did what that not everybody may do, or tried to: a line each, for whoever has to ask later.

use std::net::SocketAddr;

use tracing::{info, warn};

/// Notes that the holder of a certificate did something that only admins may do, or was refused.
pub fn audit(who: &str, address: SocketAddr, what: &str, is_allowed: bool) {
    if is_allowed {
        info!(who, %address, what, "audit: {who} at {address} did: {what}");
    } else {
        warn!(who, %address, what, "audit: {who} at {address} was refused: {what}");
    }
}
