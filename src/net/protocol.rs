//! The four protocols, and who may speak them.

use super::identity::CertificateRole;

/// What a connection is for; agreed on in the handshake (ALPN).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// Raft, between nodes.
    Peer,
    /// Appends and reads, from a client to a node.
    Client,
    /// Questions to a registry.
    Registry,
    /// What a node hands on to the leader for a client that does not reach it.
    Onward,
}

impl Protocol {
    /// Every protocol.
    pub const ALL: [Self; 4] = [Self::Peer, Self::Client, Self::Registry, Self::Onward];

    /// Its name in the handshake. A change that old programs would misread takes a new number.
    pub const fn alpn(self) -> &'static [u8] {
        match self {
            Self::Peer => b"annal-peer/5",
            Self::Client => b"annal-client/8",
            Self::Registry => b"annal-registry/1",
            Self::Onward => b"annal-onward/8",
        }
    }

    pub(super) fn from_alpn(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|protocol| protocol.alpn() == name)
    }

    /// Whether the holder of a certificate with this role may open a connection.
    ///
    /// A client can never speak Raft. A node is a client of the others for those who come to its door.
    pub const fn is_open_to(self, role: CertificateRole) -> bool {
        use CertificateRole::{Admin, Client, Node, Registry};
        match (self, role) {
            (Self::Peer | Self::Onward, Node)
            | (Self::Client, Node | Client | Admin)
            | (Self::Registry, Node | Client | Admin | Registry) => true,
            (Self::Peer | Self::Onward, Client | Admin | Registry) | (Self::Client, Registry) => {
                false
            }
        }
    }
}
