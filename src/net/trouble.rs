//! What goes wrong with a socket: it cannot be had, or a connection does not come about.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use thiserror::Error;

use super::problem::Problem;
use crate::address::Address;
use crate::remedy;

/// A socket could not be had.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BindError {
    /// Another process listens there.
    #[error("{address} is in use by another process")]
    InUse {
        /// The address.
        address: SocketAddr,
    },
    /// The name has no address now.
    #[error("{address} is not found: {reason}")]
    Unresolved {
        /// The name.
        address: Address,
        /// What the system said of it.
        reason: String,
    },
    /// The system refused.
    #[error("{address} cannot be listened on: {source}")]
    Io {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

impl BindError {
    pub(super) fn new(address: SocketAddr, source: io::Error) -> Self {
        if source.kind() == io::ErrorKind::AddrInUse {
            Self::InUse { address }
        } else {
            Self::Io { address, source }
        }
    }

    /// Whether another process has the address.
    pub fn is_occupied(&self) -> bool {
        matches!(self, Self::InUse { .. })
    }

    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::InUse { .. } => {
                "it may be running already; else choose other ports with `annal init --base-port`"
            }
            Self::Unresolved { .. } => {
                "is the name in `listen` right? an IP address needs no look-up"
            }
            Self::Io { source, .. } => remedy::of(source, "check the address in the configuration"),
        }
    }
}

/// A connection did not come about.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// Nobody answered: nobody listens there, or the network is down.
    #[error("{address} did not answer within {} ms", after.as_millis())]
    TimedOut {
        /// Who was dialled.
        address: SocketAddr,
        /// How long was waited.
        after: Duration,
    },
    /// Somebody answered, and it came to nothing.
    #[error("{address}: {problem}")]
    Refused {
        /// Who was dialled.
        address: SocketAddr,
        /// Why.
        problem: Problem,
    },
    /// The name has no address now.
    #[error("{address} is not found: {reason}")]
    Unresolved {
        /// Who was to be dialled.
        address: Address,
        /// What the system said of the name.
        reason: String,
    },
    /// The address cannot be dialled from this socket, or the socket is closed.
    #[error("{address} cannot be dialled")]
    Address {
        /// Who was to be dialled.
        address: SocketAddr,
    },
}

impl ConnectError {
    /// What to do about it; empty where there is nothing to say.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::TimedOut { .. } => "check that the process runs and that the address is right",
            Self::Refused { problem, .. } => problem.hint(),
            Self::Unresolved { .. } => "is the name right, and does this machine find others?",
            Self::Address { .. } => "check the address",
        }
    }
}
