//! What lets a process end the connections of the one before it.
//!
//! A process that was killed says nothing, and its successor has no keys for the connections that it
//! left. QUIC's answer is the stateless reset (RFC 9000, section 10.3): whoever gets a packet for a
//! connection that it does not know answers with a token, which the other side was told when the
//! connection was made. It takes a secret that outlives the process. Ours comes from the private
//! key of the certificate, so that nobody else has it and nobody has to keep another.
//!
//! NB: only those who listen may have it. Processes that share a certificate, as clients do, would
//! give out each other's tokens (section 21.11).

use std::sync::Arc;

use quinn::EndpointConfig;
use quinn::crypto::{CryptoError, HmacKey};
use quinn_proto::HashedConnectionIdGenerator;

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
        // Without this, packets of former processes are dropped before a reset is thought of.
        let derived = blake3::derive_key("annal 2026-11-23 QUIC connection IDs", &self.0);
        let key = u64::from_le_bytes(*derived.first_chunk().expect("it is longer"));
        config.cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(key)));
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

#[cfg(test)]
mod tests {
    use super::*;

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
