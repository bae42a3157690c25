//! Who is let in no more although his certificate holds: it was revoked.
//!
//! Which ones are, somebody else knows, who tells an endpoint how to ask. Each connection is asked about when
//! it is made, whoever has dialled, and all of them again whenever more have been revoked.

use std::fmt;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, Weak};

#[cfg(feature = "server")]
use quinn::VarInt;

#[cfg(feature = "server")]
use super::problem::Close;
use crate::access::TokenId;

/// Whether a certificate of this name is revoked.
type IsRevoked = Box<dyn Fn(TokenId) -> bool + Send + Sync>;

/// See the module.
#[derive(Default)]
pub(super) struct Warden {
    is_revoked: OnceLock<IsRevoked>,
    connections: Mutex<Known>,
}

/// The connections that are open, and some that were.
#[derive(Default)]
struct Known {
    all: Vec<(TokenId, Weak<quinn::Connection>)>,
    /// From so many on those that are gone are forgotten.
    crowd: usize,
}

impl fmt::Debug for Warden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Warden")
    }
}

impl Warden {
    /// Asks so from now on. Only the first to say how is heard.
    #[cfg(feature = "server")]
    pub(super) fn ask(&self, is_revoked: impl Fn(TokenId) -> bool + Send + Sync + 'static) {
        let _ = self.is_revoked.set(Box::new(is_revoked));
        self.enforce();
    }

    /// Whether a connection may stay, whose other side has a certificate of this name; and it is asked about
    /// it again later.
    pub(super) fn admits(&self, id: TokenId, connection: Weak<quinn::Connection>) -> bool {
        // First it is known, and then it is asked: what is revoked in between ends it.
        let mut known = self.known();
        known.all.push((id, connection));
        if known.all.len() > known.crowd {
            known.all.retain(|(_, connection)| connection.strong_count() > 0);
            known.crowd = 2 * known.all.len().max(16);
        }
        drop(known);
        !self.is_revoked(id)
    }

    /// Ends the connections of those who have been revoked since.
    #[cfg(feature = "server")]
    pub(super) fn enforce(&self) {
        for (id, connection) in &self.known().all {
            if let Some(connection) = connection.upgrade()
                && self.is_revoked(*id)
            {
                connection.close(VarInt::from_u32(Close::Revoked.code()), &[]);
            }
        }
    }

    fn is_revoked(&self, id: TokenId) -> bool {
        self.is_revoked.get().is_some_and(|is_revoked| is_revoked(id))
    }

    /// A panic ends the process: whoever locks next finds what is whole.
    fn known(&self) -> MutexGuard<'_, Known> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
