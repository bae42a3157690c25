//! The registry: who led which term, so that clients find the leader.
//!
//! # What it is
//!
//! A small process that keeps `Leader_Term1`, `Leader_Term2`, … of its cluster. It is a hint and a
//! witness, never an authority: a cluster commits with every registry down, and no client waits for
//! one alone. The truth is in the log, whose first entry of each term says who leads it.
//!
//! # How it works
//!
//! 1. A leader whose no-op is committed announces itself ([`announce`]), and with it the earlier
//!    terms that the registry lacks. It repeats that until it is answered ([`Announcing`]).
//! 2. [`LeaderTable`] holds the rules, without IO: an announcement of a lower term than the highest
//!    known is refused; so is a second leader of a term, which is moreover recorded and logged as a broken
//!    law; the earlier terms fill gaps, and saying the same twice changes nothing.
//! 3. [`Server`] answers over QUIC. Anybody with a certificate of the cluster may ask; only a node
//!    may announce, and only itself. What is announced is on disk before the answer leaves.
//! 4. [`leader`] and [`terms`] are the questions. Terms that rise as no elections make them rise are
//!    refused, and what got in all the same an admin has forgotten with [`forget`].
//!
//! # What it does not do
//!
//! It does not watch leaders: the one last announced may be dead. It keeps the newest
//! [`crate::limits::REGISTRY_TERMS_MAX`] terms only.
mod announcing;
mod error;
mod lookup;
#[cfg(feature = "server")]
mod server;
#[cfg(feature = "server")]
mod table;

pub use announcing::{Announcing, Leadership};
pub use error::LookupError;
pub use lookup::{announce, forget, leader, terms};
#[cfg(feature = "server")]
pub use server::{Server, ServerError};
#[cfg(feature = "server")]
pub use table::{Judgement, LeaderTable, Row, TableError};
