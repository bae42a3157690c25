//! What travels between processes: frames, and the messages in them.
//!
//! # What it is
//!
//! Every stream carries frames and nothing else. A frame is
//!
//! ```text
//!   u32 little-endian: bytes of all that follows (at least 2, at most FRAME_BYTES_MAX)
//!   u8  version: 1
//!   u8  kind: one of `kind`, each number given out once and never again
//!       header: a message, in postcard
//!       payload: raw bytes, for the kinds that have any (sealed entries, records)
//! ```
//!
//! # How it works
//!
//! 1. [`frame`] cuts a stream of bytes into frames and refuses what cannot be one before it makes
//!    room for it.
//! 2. [`peer`], [`api`] and [`registry`] turn frames into messages: between nodes, between a client
//!    and a node, and with a registry. Each has a `to_frame` and a `from_frame`; the latter checks
//!    form and bounds, so that what it returns can be trusted to be *a* message, not to be true.
//!
//! Payloads are never copied into a header: a sealed entry goes from the leader's window to the
//! socket, and from the follower's buffer to its store, as the same slice.
//!
//! # What it does not do
//!
//! It opens no socket and knows no certificate (see `net`). It does not look into sealed
//! entries: whoever stores them checks their CRC and chain. Postcard headers have no field names,
//! so a message's form changes only with the number of its protocol (`net/protocol.rs`), on which both
//! sides agree before the first frame.
pub mod api;
pub mod backup;
pub mod conditions;
pub mod frame;
#[cfg(feature = "server")]
pub mod peer;
pub mod registry;
pub mod soundness;
pub mod standing;

pub use frame::{Frame, FrameError};
#[cfg(feature = "server")]
pub use peer::{Introduction, PeerHello, PeerMessage, PeerRefusal, PeerWelcome};
