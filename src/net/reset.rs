//! What lets a process end the connections that the one before it had accepted.
//!
//! A process that was killed says nothing, and its successor has no keys for the connections that it
//! left. QUIC's answer is the stateless reset (RFC 9000, section 10.3): whoever gets a packet for a
//! connection that it does not know answers with a token, which the other side was told when the
//! connection was made. It takes a secret that outlives the process. Ours comes from the private
//! key of the certificate, so that nobody else has it and nobody has to keep another.
//!
//! Connections that the former process had dialled are not among them: who dials gives no token.
//!
//! NB: only those who listen may have it. Processes that share a certificate, as clients do, would
//! give out each other's tokens (section 21.11).

use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::{CryptoError, HmacKey};
use quinn::{ConnectionId, ConnectionIdGenerator, EndpointConfig};
use quinn_proto::InvalidCid;

/// Derived from a private key; the same for every process that holds it.
#[derive(Clone)]
pub(super) struct ResetSecret([u8; 32]);

impl ResetSecret {
    pub(super) fn of(private_key: &[u8]) -> Self {
        Self(blake3::derive_key("annal 2026-11-23 QUIC stateless reset", private_key))
    }

    /// The settings of an endpoint that knows the connections of the processes before it.
    pub(super) fn endpoint_config(&self) -> EndpointConfig {
        let mut config = EndpointConfig::new(Arc::new(self.clone()));
        let ids = Self(blake3::derive_key("annal 2026-11-23 QUIC connection IDs", &self.0));
        config.cid_generator(move || Box::new(KnownIds(ids.clone())));
        // Only ours are answered, with less than came; a crowd of clients should not have to wait.
        config.min_reset_interval(Duration::from_millis(1));
        config
    }

    fn tag(&self, data: &[u8]) -> [u8; 32] {
        *blake3::keyed_hash(&self.0, data).as_bytes()
    }
}

impl HmacKey for ResetSecret {
    fn sign(&self, data: &[u8], signature_out: &mut [u8]) {
        signature_out.copy_from_slice(&self.tag(data));
    }

    fn signature_len(&self) -> usize {
        32
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        // BLAKE3's own comparison takes the same time wherever they differ.
        let expected = blake3::Hash::from_bytes(self.tag(data));
        let is_right = signature.try_into().is_ok_and(|given: [u8; 32]| expected == given);
        if is_right { Ok(()) } else { Err(CryptoError) }
    }
}

/// Makes connection IDs that it knows again, and that nobody else can make: who could would be
/// given the tokens of connections that are not theirs.
struct KnownIds(ResetSecret);

const RANDOM_BYTES: usize = 8;
const TAG_BYTES: usize = 8;

impl ConnectionIdGenerator for KnownIds {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut id = [0; RANDOM_BYTES + TAG_BYTES];
        let (random, tag) = id.split_at_mut(RANDOM_BYTES);
        getrandom::fill(random).expect("every system that runs this gives out random bytes");
        tag.copy_from_slice(&self.0.tag(random)[..TAG_BYTES]);
        ConnectionId::new(&id)
    }

    fn validate(&self, id: &ConnectionId) -> Result<(), InvalidCid> {
        let (random, tag) = id.split_at_checked(RANDOM_BYTES).ok_or(InvalidCid)?;
        if self.0.tag(random)[..TAG_BYTES] == *tag { Ok(()) } else { Err(InvalidCid) }
    }

    fn cid_len(&self) -> usize {
        RANDOM_BYTES + TAG_BYTES
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_known_by_whoever_has_the_secret() {
        let mut ids = KnownIds(ResetSecret::of(b"a key"));
        let id = ids.generate_cid();
        assert_ne!(id, ids.generate_cid());
        assert!(KnownIds(ResetSecret::of(b"a key")).validate(&id).is_ok());
        assert!(KnownIds(ResetSecret::of(b"another")).validate(&id).is_err());
        assert!(ids.validate(&ConnectionId::new(&id[..RANDOM_BYTES])).is_err());
        assert!(ids.validate(&ConnectionId::new(&[])).is_err());
    }

    #[test]
    fn a_tag_is_that_of_its_key_and_its_data() {
        let secret = ResetSecret::of(b"a key");
        let mut tag = [0; 32];
        secret.sign(b"data", &mut tag);
        assert!(ResetSecret::of(b"a key").verify(b"data", &tag).is_ok());
        assert!(ResetSecret::of(b"another").verify(b"data", &tag).is_err());
        assert!(secret.verify(b"other data", &tag).is_err());
        assert!(secret.verify(b"data", &tag[..31]).is_err());
    }
}
