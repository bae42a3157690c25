//! The sign on a node's first packet: by it a server finds a place for a node, however many clients come.
//!
//! Who somebody is, a server knows when the handshake is done; and a crowd of clients would keep nodes
//! out of the places for handshakes, and the cluster without a leader. So a node that dials for Raft or
//! for the registry chooses the first connection id of QUIC, which is otherwise drawn at random, so that
//! whoever knows the cluster recognises it. It is no proof: it gives a place in a line of its own, which
//! is bounded, and nothing else.

use quinn::ConnectionId;

use crate::types::ClusterId;

const NONCE_BYTES: usize = 8;
const SIGN_BYTES: usize = 12;

/// A connection id with the sign of a cluster's nodes.
pub(super) fn draw(cluster: ClusterId) -> ConnectionId {
    let nonce = getrandom::u64().expect("every system that runs this gives out random bytes");
    let nonce = nonce.to_le_bytes();
    let mut bytes = [0; NONCE_BYTES + SIGN_BYTES];
    bytes[..NONCE_BYTES].copy_from_slice(&nonce);
    bytes[NONCE_BYTES..].copy_from_slice(&of(cluster, nonce));
    ConnectionId::new(&bytes)
}

/// Whether it carries the sign of this cluster's nodes.
pub(super) fn is_on(cluster: ClusterId, id: &ConnectionId) -> bool {
    id.split_first_chunk().is_some_and(|(nonce, sign)| *sign == of(cluster, *nonce))
}

fn of(cluster: ClusterId, nonce: [u8; NONCE_BYTES]) -> [u8; SIGN_BYTES] {
    let mut hasher = blake3::Hasher::new_derive_key("annal 2026-11-29 first packet of a node");
    hasher.update(&cluster.get().to_le_bytes()).update(&nonce);
    let mut sign = [0; SIGN_BYTES];
    hasher.finalize_xof().fill(&mut sign);
    sign
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sign_is_known_by_its_own_cluster_only() {
        let (ours, theirs) = (ClusterId::new(1), ClusterId::new(2));
        let id = draw(ours);
        assert!(is_on(ours, &id) && !is_on(theirs, &id));
        assert_ne!(draw(ours), id);
        assert!(!is_on(ours, &ConnectionId::new(&id[..NONCE_BYTES])));
        assert!(!is_on(ours, &ConnectionId::new(&[])));
    }
}
