//! The client: appends, reads, status, and the crash of a leader.
//!
//! # What it is
//!
//! The public Rust API of a cluster, and what the command line is made of. It finds the leader by
//! itself, stays with it, and goes on with the next one when it fails; what it has acknowledged is
//! on the disks of a majority, once and in order.
//!
//! # How it works
//!
//! 1. [`Client::connect`] asks nobody. Connections are made when they are needed, one to each node,
//!    and kept.
//! 2. What a client decides is two pure machines of events and time, [`pilot`] for appends and
//!    [`read_pilot`] for reads; tasks drive them with sockets, the simulator with virtual time.
//! 3. To find the leader everybody is asked at once, each at its own pace: nobody waits for one that
//!    is dead ([`search`]). Only a client that is new asks one after the other, a moment apart. What others say of the leader is a claim that tells
//!    whom to ask; only a node's own word makes it the leader, and the highest term wins ([`route`]).
//! 4. Appends go over one long stream, many in flight. A [`session`] numbers them, keeps each until
//!    its answer is there, and knows what to send again when a node refuses, steps down or falls
//!    silent: the same request under the same number, so that it is taken once. A leader that does
//!    not answer for a moment is not waited for: everybody is asked who leads, and if it is another
//!    the requests go there as well.
//! 5. An append that fails is either certainly not in the log, or it may be: then a [`Token`] names
//!    it, under which it can be repeated until its outcome is known. See [`AppendError::outcome`].
//! 6. A read has a stream of its own and knows the offset that comes next: when its node fails it
//!    goes on there at another, without a gap and without a repetition.
//!
//! Every wait has an end, that of a followed read for new records excepted. Nothing needs the
//! registry.
//!
//! # What it does not do
//!
//! It does not gather lines into requests, print, or choose exit codes beyond [`Outcome`]. It keeps
//! nothing on disk: a process that must repeat an append after its own crash keeps the token.
mod append;
mod append_options;
pub mod ask;
pub mod backoff;
#[cfg(feature = "server")]
mod backup;
mod by_time;
mod connections;
mod conversation;
mod crash;
mod detour;
mod ended_logs;
#[cfg(test)]
mod fake;
pub(crate) mod forks;
mod handle;
mod leader;
mod leader_watch;
mod logs;
#[cfg(feature = "server")]
mod members;
pub mod moment;
pub mod pilot;
#[cfg(test)]
mod pilot_cases;
mod producer;
mod questions;
mod random;
mod read;
mod read_options;
pub mod read_pilot;
pub mod report;
pub mod route;
pub mod search;
mod seq_set;
pub mod session;
#[cfg(test)]
mod session_model;
mod shared;
mod status;
mod tail;
#[cfg(test)]
mod tests;
mod token;
mod unavailable;

pub use crate::outcome::Outcome;
pub use append::{AppendError, AppendReceiver, AppendSender, Appender, check_limits};
pub use append_options::AppendOptions;
#[cfg(feature = "server")]
pub use backup::{BackupError, BackupPiece, BackupSource};
pub use connections::AskError;
pub use crash::{CrashError, Crashed};
pub use handle::{Client, Settings, SetupError};
pub use logs::LogError;
#[cfg(feature = "server")]
pub use members::MembersError;
pub use producer::{OpenError, Producer};
pub use read::{ReadError, Reader, Record, Step};
pub use read_options::{Consistency, ReadOptions};
pub use route::Leading;
pub use status::{NodeStatus, RegistryStatus, Status};
pub use tail::Tail;
pub use token::{Token, TokenError};
pub use unavailable::Unavailable;

pub use crate::wire::standing::{Fork, LogState, ProducerState};

pub use crate::wire::api::{Appended, DiskUse, ReadFrom, Role, Vitals, Welcome};
