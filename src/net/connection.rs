//! A connection between two holders of certificates, and the streams on it.

use std::net::SocketAddr;
use std::sync::Arc;

use quinn::VarInt;
use tokio::time::{sleep, timeout};

use super::certificate::Certificate;
use super::guests::{Guest, Width};
use super::identity::CertificateIdentity;
use super::problem::{CertificateProblem, Close, Problem};
use super::protocol::Protocol;
use super::stream::{Stream, StreamError};
use super::tls;
use super::warden::Warden;
use crate::limits::{
    CONNECT_TIMEOUT, CONNECTION_WINDOW_BYTES, NARROW_WINDOW_BYTES, PEER_KEEP_ALIVE,
    PEER_STREAMS_MAX, SEND_WINDOW_BYTES, STREAMS_PER_CONNECTION_MAX, WIDE_SEND_WINDOW_BYTES,
    WIDE_WINDOW_BYTES,
};

/// A connection between two holders of certificates. Clones are the same connection; it closes when
/// the last clone and the last stream are dropped.
#[derive(Clone, Debug)]
pub struct Connection {
    inner: Arc<quinn::Connection>,
    /// What the other side has shown.
    certificate: Arc<Certificate>,
    protocol: Protocol,
    /// The place that it has at a server; `None` on the side that dialled.
    guest: Option<Arc<Guest>>,
    /// Where the other side was when the connection was made.
    origin: SocketAddr,
}

impl Connection {
    /// A connection whose other side has shown a certificate with an identity.
    pub(super) fn identified(inner: quinn::Connection) -> Result<Self, Problem> {
        let protocol = tls::protocol_of(inner.handshake_data());
        let certificate = tls::certificate_of(inner.peer_identity());
        let refuse = |problem| {
            inner.close(VarInt::from_u32(Close::NotAllowed.code()), &[]);
            problem
        };
        let protocol = protocol.ok_or_else(|| refuse(Problem::Protocol))?;
        let certificate = certificate
            .map_err(|_| refuse(Problem::TheirCertificate(CertificateProblem::NoIdentity)))?;
        let origin = inner.remote_address();
        let inner = Arc::new(inner);
        Ok(Self { inner, certificate: Arc::new(certificate), protocol, guest: None, origin })
    }

    /// The connection of somebody who has a place here.
    pub(super) fn of_guest(mut self, guest: Guest) -> Self {
        assert!(self.guest.is_none(), "one place for a connection");
        let (receive, send, streams) = match guest.width {
            Width::Peer => (CONNECTION_WINDOW_BYTES, SEND_WINDOW_BYTES, PEER_STREAMS_MAX),
            Width::Wide => (WIDE_WINDOW_BYTES, WIDE_SEND_WINDOW_BYTES, STREAMS_PER_CONNECTION_MAX),
            Width::Narrow => {
                let narrow = NARROW_WINDOW_BYTES;
                (narrow, u64::from(narrow), STREAMS_PER_CONNECTION_MAX)
            }
        };
        self.inner.set_receive_window(VarInt::from_u32(receive));
        self.inner.set_send_window(send);
        self.inner.set_max_concurrent_bi_streams(VarInt::from_u32(streams));
        self.guest = Some(Arc::new(guest.of(&self.inner)));
        self
    }

    /// Who the other side is, as its certificate proves.
    pub fn identity(&self) -> &CertificateIdentity {
        &self.certificate.identity
    }

    /// What the other side's certificate says.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// What the two speak.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Where the other side is.
    pub fn remote_address(&self) -> SocketAddr {
        canonical(self.inner.remote_address())
    }

    /// Resolves when the other side speaks from another address than at first, which only one that
    /// has dialled can. Clients may; between nodes it is not to be trusted: whoever sits in between
    /// could lead a link wherever he likes. Noticed within [`PEER_KEEP_ALIVE`].
    pub async fn moved(&self) {
        while self.inner.remote_address() == self.origin {
            sleep(PEER_KEEP_ALIVE).await;
        }
    }

    /// Opens a stream; only the side that dialled may. The other side learns of it with the first
    /// frame. Waits while as many are open as may be, at most [`CONNECT_TIMEOUT`].
    ///
    /// # Errors
    /// [`StreamError::Lost`] or [`StreamError::TimedOut`].
    pub async fn open(&self) -> Result<Stream, StreamError> {
        match timeout(CONNECT_TIMEOUT, self.inner.open_bi()).await {
            Ok(opened) => Ok(Stream::new(opened.map_err(Problem::from)?)),
            Err(_) => Err(StreamError::TimedOut { after: CONNECT_TIMEOUT }),
        }
    }

    /// The next stream that the other side opened, in the order in which it did; `None` when the
    /// connection is gone, or its place is needed for another.
    pub async fn accept(&self) -> Option<Stream> {
        let Some(guest) = &self.guest else {
            return self.inner.accept_bi().await.ok().map(Stream::new);
        };
        tokio::select! {
            opened = self.inner.accept_bi() => opened.ok().map(|both| Stream::of_guest(both, guest)),
            () = guest.asked_to_leave() => {
                self.close(Close::Idle);
                None
            }
        }
    }

    /// Whether it may stay, as far as the other side's certificate is not revoked. If not it is closed.
    pub(super) fn is_admitted_by(&self, warden: &Warden) -> bool {
        let admits = |id| warden.admits(id, Arc::downgrade(&self.inner));
        let is_admitted = self.certificate.id.is_none_or(admits);
        if !is_admitted {
            self.close(Close::Revoked);
        }
        is_admitted
    }

    /// Closes the connection and says why. What is under way is lost. Extra calls are harmless.
    pub fn close(&self, why: Close) {
        self.inner.close(VarInt::from_u32(why.code()), &[]);
    }

    /// Waits for the end of the connection and says why.
    pub async fn closed(&self) -> Problem {
        self.inner.closed().await.into()
    }

    /// Whether it is gone.
    pub fn is_closed(&self) -> bool {
        self.inner.close_reason().is_some()
    }

    /// Closes the connection because the other side is not what it should be, and says how.
    #[cfg(feature = "server")]
    pub(super) fn refuse(&self, how: &[u8]) {
        self.inner.close(VarInt::from_u32(Close::Refused.code()), how);
    }

    /// What the other side said with [`Self::refuse`], if it did.
    #[cfg(feature = "server")]
    pub(super) fn refusal(&self) -> Option<bytes::Bytes> {
        match self.inner.close_reason()? {
            quinn::ConnectionError::ApplicationClosed(close)
                if close.error_code == VarInt::from_u32(Close::Refused.code()) =>
            {
                Some(close.reason)
            }
            _ => None,
        }
    }
}

/// An address as people write it.
pub(super) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
