//! TLS under HTTP, with the node's certificate: what the other side is asked for is a token, and no
//! certificate.

use std::io;
use std::time::Duration;

use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::patience::Patience;
use crate::net::Credentials;

/// The node's side of handshakes. Clones are the same.
#[derive(Clone)]
pub(super) struct Tls(TlsAcceptor);

impl Tls {
    pub(super) fn of(credentials: &Credentials) -> Self {
        Self(TlsAcceptor::from(credentials.web_server()))
    }

    /// A handshake, which may take so long.
    pub(super) async fn greet(
        &self,
        stream: Patience,
        longest: Duration,
    ) -> io::Result<TlsStream<Patience>> {
        timeout(longest, self.0.accept(stream)).await?
    }
}
