//! Why a connection did not come about, or ended: one sentence each.

use quinn::{ConnectionError, TransportErrorCode};
use thiserror::Error;

use super::identity::CertificateIdentity;

/// Why a connection did not come about, or ended.
///
/// NB: nothing that the other side wrote is quoted, save the identity that its certificate proves.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Problem {
    /// The other side does not accept who we are.
    #[error("the other side refused our certificate ({0})")]
    OurCertificate(CertificateProblem),
    /// We do not accept who the other side is.
    #[error("the other side's certificate is refused ({0})")]
    TheirCertificate(CertificateProblem),
    /// The other side is of our authority, but not whom we meant to reach.
    #[error("the other side is {found}, which is not whom we meant to reach")]
    WrongIdentity {
        /// Who it is.
        found: Box<CertificateIdentity>,
    },
    /// The two have no protocol in common.
    #[error("the other side does not speak this protocol here")]
    Protocol,
    /// The other side closed the connection and said why.
    #[error("{0}")]
    Closed(Close),
    /// This process closed the connection.
    #[error("the connection was closed here")]
    ClosedHere,
    /// Nothing was heard for the idle timeout.
    #[error("nothing was heard from the other side any more")]
    Silent,
    /// The other side does not know the connection: its process is a new one.
    #[error("the other side has been restarted")]
    Restarted,
    /// The other side takes no more connections for now.
    #[error("too many connections")]
    Busy,
    /// QUIC itself failed.
    #[error("the connection broke (QUIC error {code:#x})")]
    Quic {
        /// The transport error code, RFC 9000 section 20.1.
        code: u64,
    },
}

/// What is wrong with a certificate, as far as TLS tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CertificateProblem {
    /// It is not of the authority that the refusing side trusts.
    #[error("unknown CA")]
    UnknownAuthority,
    /// It has expired or is not valid yet, by the refusing side's clock.
    #[error("expired, or not valid yet")]
    NotValidNow,
    /// There was none.
    #[error("none was shown")]
    Missing,
    /// It does not allow this use.
    #[error("not for this use")]
    Purpose,
    /// It names no holder, in the form of ours.
    #[error("it does not say who its holder is")]
    NoIdentity,
    /// It was revoked.
    #[error("it was revoked")]
    Revoked,
    /// Another reason.
    #[error("TLS alert {alert}")]
    Other {
        /// The alert, RFC 8446 section 6.
        alert: u8,
    },
}

/// Why an application closes a connection. The numbers travel and are never used anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Close {
    /// There is nothing more to say.
    #[error("the other side closed the connection")]
    Done = 0,
    /// What came was no frame, or not the frame that was to come.
    #[error("the other side could not understand what we sent")]
    Malformed = 1,
    /// The certificate does not allow what was asked.
    #[error("the other side refused our certificate (its role or cluster is not admitted here)")]
    NotAllowed = 2,
    /// Of two connections between two nodes the other is kept.
    #[error("another connection to the same node is in use")]
    Duplicate = 3,
    /// A newer process of the same node has connected.
    #[error("a newer process of this node has connected")]
    Superseded = 4,
    /// The process is being stopped.
    #[error("the other side is being stopped")]
    Stopping = 5,
    /// Too many connections.
    #[error("too many connections")]
    Busy = 6,
    /// The hello was meant for another node, or came from one that is no member.
    #[error("the other side did not expect this node")]
    WrongHello = 7,
    /// Nothing came in time.
    #[error("the other side waited too long for us")]
    TimedOut = 8,
    /// Too many connections of this identity or from this address.
    #[error("too many connections with this certificate or from this address")]
    Share = 9,
    /// Nothing was asked on the connection, and its place was needed.
    #[error("the other side needed the place of this idle connection")]
    Idle = 10,
    /// The other node is not what is remembered of it, or of another cluster than it believes.
    #[error("the other side refuses this node")]
    Refused = 11,
    /// The certificate was revoked.
    #[error("the other side refused our certificate: it was revoked")]
    Revoked = 12,
}

impl Close {
    const ALL: [Self; 13] = [
        Self::Done,
        Self::Malformed,
        Self::NotAllowed,
        Self::Duplicate,
        Self::Superseded,
        Self::Stopping,
        Self::Busy,
        Self::WrongHello,
        Self::TimedOut,
        Self::Share,
        Self::Idle,
        Self::Refused,
        Self::Revoked,
    ];

    /// The number that travels.
    pub(super) const fn code(self) -> u32 {
        self as u32
    }

    fn from_code(code: u64) -> Self {
        Self::ALL.into_iter().find(|known| u64::from(known.code()) == code).unwrap_or(Self::Done)
    }
}

impl CertificateProblem {
    fn from_alert(alert: u8) -> Self {
        match alert {
            // certificate_expired, which TLS also uses for "not yet".
            45 => Self::NotValidNow,
            // unknown_ca; decrypt_error is what another CA of the same name amounts to.
            48 | 51 => Self::UnknownAuthority,
            // unsupported_certificate
            43 => Self::Purpose,
            // certificate_required
            116 => Self::Missing,
            alert => Self::Other { alert },
        }
    }
}

/// The alert `no_application_protocol`.
const ALERT_NO_PROTOCOL: u8 = 120;

impl From<ConnectionError> for Problem {
    fn from(error: ConnectionError) -> Self {
        match error {
            ConnectionError::ApplicationClosed(close) => {
                Self::Closed(Close::from_code(close.error_code.into_inner()))
            }
            ConnectionError::ConnectionClosed(close) => {
                Self::from_transport(close.error_code, Self::OurCertificate)
            }
            ConnectionError::TransportError(error) => {
                Self::from_transport(error.code, Self::TheirCertificate)
            }
            ConnectionError::TimedOut => Self::Silent,
            ConnectionError::Reset => Self::Restarted,
            ConnectionError::LocallyClosed => Self::ClosedHere,
            ConnectionError::VersionMismatch => Self::Protocol,
            ConnectionError::CidsExhausted => Self::Busy,
        }
    }
}

impl Problem {
    /// A TLS alert is an error code between 0x100 and 0x1ff (RFC 9001, section 4.8).
    fn from_transport(code: TransportErrorCode, refusal: fn(CertificateProblem) -> Self) -> Self {
        if code == TransportErrorCode::CONNECTION_REFUSED {
            return Self::Busy;
        }
        let code = u64::from(code);
        match u8::try_from(code ^ 0x100) {
            Ok(ALERT_NO_PROTOCOL) => Self::Protocol,
            Ok(alert) => refusal(CertificateProblem::from_alert(alert)),
            Err(_) => Self::Quic { code },
        }
    }

    /// Whether there was no place: whoever tries again later may get one.
    pub fn is_crowded(&self) -> bool {
        matches!(self, Self::Busy | Self::Closed(Close::Busy | Close::Share))
    }

    /// What to do about it; empty where there is nothing to say.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::OurCertificate(CertificateProblem::UnknownAuthority)
            | Self::TheirCertificate(CertificateProblem::UnknownAuthority)
            | Self::WrongIdentity { .. }
            | Self::Closed(Close::NotAllowed) => {
                "use the certs/ that `annal init` made for this cluster"
            }
            Self::OurCertificate(CertificateProblem::NotValidNow)
            | Self::TheirCertificate(CertificateProblem::NotValidNow) => {
                "compare the clocks of the two machines; if they are right, a certificate has expired, \
                 and `annal cert renew` where ca.key is makes another"
            }
            Self::Closed(Close::Revoked) => "`annal cert issue` where ca.key is makes another",
            Self::OurCertificate(_) | Self::TheirCertificate(_) => {
                "check which certificates the two sides use"
            }
            Self::Protocol => {
                "check that the address is that of a node, or of the registry, and that both sides \
                 are of one version: `annal --version`"
            }
            Self::Silent
            | Self::Restarted
            | Self::Busy
            | Self::Closed(Close::Busy | Close::Share | Close::Idle) => "try again in a moment",
            Self::Closed(_) | Self::ClosedHere | Self::Quic { .. } => "",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_codes_are_written_down() {
        for (code, close) in Close::ALL.into_iter().enumerate() {
            assert_eq!(close.code() as usize, code);
            assert_eq!(Close::from_code(code as u64), close);
        }
        assert_eq!(Close::from_code(u64::MAX), Close::Done);
    }

    #[test]
    fn alerts_become_sentences() {
        let closed =
            Problem::from_transport(TransportErrorCode::crypto(48), Problem::OurCertificate);
        assert_eq!(closed.to_string(), "the other side refused our certificate (unknown CA)");
        let no_protocol =
            Problem::from_transport(TransportErrorCode::crypto(120), Problem::OurCertificate);
        assert_eq!(no_protocol, Problem::Protocol);
        let other = Problem::from_transport(
            TransportErrorCode::PROTOCOL_VIOLATION,
            Problem::OurCertificate,
        );
        assert_eq!(other, Problem::Quic { code: 0xa });
    }
}
