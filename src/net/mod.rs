//! QUIC with mutual TLS: who may connect, and how frames travel.
//!
//! # What it is
//!
//! The only floor that knows quinn, rustls (in [`tls`]) and rcgen (in `issue`). Above it there are connections between two holders of certificates, and streams of frames on them.
//!
//! # How it works
//!
//! 1. [`tls`] loads certificates, and [`Authority`] makes them. Each says who its holder is, as
//!    `annal://<cluster>/<role>/<name>`; only those of our own authority count.
//! 2. [`Endpoint`] is a socket. It dials ([`Endpoint::connect`], which checks that the other side is
//!    whom we expect; [`Endpoint::reach`] looks up a name first) and is dialled ([`Endpoint::accept`], which gives only connections whose
//!    holder may speak the protocol that it asked for). Whatever goes wrong becomes a [`Problem`]:
//!    one sentence.
//! 3. A [`Connection`] carries [`Stream`]s, and those carry [`crate::wire::Frame`]s. Nothing is read
//!    ahead without a bound, and nothing waits for ever: a silent connection is gone after its idle
//!    timeout, and one that a killed process had accepted as soon as its successor hears of it
//!    (`reset.rs`). Who may connect how often, and what it may make a server hold, is in `guests.rs`
//!    and `budget.rs`: shares by connection, identity and address.
//! 4. [`Peers`] keeps one connection to each other member, whatever happens to either, as its log names
//!    members ([`Roll`]), and delivers Raft's messages: urgent ones on a stream of their own, so that a heartbeat never waits for
//!    entries. Messages may be lost; Raft sends them again.
//!
//! NB: in TLS 1.3 the side that connects is done before the other has judged its certificate. So a
//! connection proves itself only by the first answer on it, and whoever opens one asks something
//! first. A refusal reaches that first question as a [`StreamError::Lost`] which says why.
//!
//! # What it does not do
//!
//! It does not understand messages beyond the hello between nodes. It never resumes a TLS session
//! and sends nothing before the handshake is over (0-RTT), since that could be replayed. A
//! certificate that expires while its connection lives is noticed at the next connection.
#[cfg(feature = "server")]
mod acquaintance;
mod audit;
mod budget;
mod certificate;
mod connection;
mod endpoint;
mod guests;
mod handshakes;
#[cfg(feature = "server")]
mod history;
mod identity;
#[cfg(feature = "server")]
mod inbound;
#[cfg(feature = "server")]
mod issue;
#[cfg(feature = "server")]
mod keeper;
#[cfg(feature = "server")]
mod link;
#[cfg(feature = "server")]
mod local;
mod names;
#[cfg(feature = "server")]
mod outbox;
#[cfg(feature = "server")]
mod peers;
mod problem;
mod protocol;
mod reach;
mod reception;
mod refusals;
mod reset;
#[cfg(feature = "server")]
mod roll;
mod sign;
mod stream;
#[cfg(test)]
pub(crate) mod testing;
pub mod tls;
mod transport;
mod trouble;
mod warden;

#[cfg(feature = "server")]
pub use acquaintance::{Expelled, SharedMemory};
pub use audit::Audit;
pub use budget::{Budget, BudgetLimits, Held, Share};
pub use certificate::Certificate;
pub use connection::Connection;
pub use endpoint::{Endpoint, Expect};
#[cfg(feature = "server")]
pub use history::PeerConnection;
pub use identity::{CertificateIdentity, CertificateRole, IdentityError};
#[cfg(feature = "server")]
pub use inbound::{Inbound, InboundReceiver, PeerProcess};
#[cfg(feature = "server")]
pub use issue::{Authority, CertificateFile, Holder, IssueError};
#[cfg(feature = "server")]
pub use local::LocalNode;
#[cfg(feature = "server")]
pub use peers::Peers;
pub use problem::{CertificateProblem, Close, Problem};
pub use protocol::Protocol;
pub use reach::listen;
#[cfg(feature = "server")]
pub use roll::Roll;
pub use stream::{FrameReceiver, FrameSender, Stream, StreamError};
pub use tls::Credentials;
pub use trouble::{BindError, ConnectError};
