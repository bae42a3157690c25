//! One node's state: consensus, the bytes it is about, and what clients were promised.
//!
//! The core below decides about entries that it knows by name; this floor has their bytes. It is
//! synchronous, owns no disk and no socket, and reads no clock: [`Replica::handle`] takes an
//! [`Event`], [`Replica::flush`] folds what waits into an entry, and [`Replica::take_actions`] says
//! what has to be done. The driver and the simulator run the same lines.
//!
//! - `account`: what a node tells of itself;
//! - `anew`: whether a node that lost what it promised may begin anew;
//! - `border`: what can happen to a replica, and what it wants done;
//! - `derived`: what the entries of a log come to, for whoever reads one that no node runs on;
//! - `cursor`: a read on its way over the log;
//! - `reach`: how far logs reach, for those who read them;
//! - `refusals`: those of appends whose condition does not hold, until they are certain;
//! - `replica`: the verbs, and how effects of the core become actions with bytes;
//! - `catalogue`: which logs there are, and which are forks of others;
//! - `guards`: what entries say besides records: which logs there are, and who may append;
//! - `state`: table and guards, as the head of a segment holds them;
//! - `revocations`: which access tokens hold no more;
//! - `expiry`: logs that expire; `deadlines`: when they are due;
//! - `house`: what a node gives up, and what its leader finds to be done;
//! - `volumes`: what logs with a retention hold;
//! - `window`: the newest sealed entries, ready to be sent;
//! - `incoming`: what is checked of entries from a leader before the core hears of them;
//! - `proposing`: append requests are folded into as few entries as possible, and answered;
//! - `proposals`: those that wait;
//! - `rolling`: when the log takes a new segment;
//! - `sessions`: the table of clients that makes appends happen once (thesis 6.3);
//! - `tail`: what the entries say that are not committed yet, so that a truncation rolls it back.
//!
//! What the replica does not do: it neither reads nor writes entries on disk, and it serves no reads; it
//! says up to where a read must see and up to where entries can be read.

mod account;
mod anew;
mod arriving;
mod border;
#[cfg(test)]
mod cases;
mod catalogue;
#[cfg(test)]
mod catalogue_cases;
mod clocks;
#[cfg(test)]
mod condition_cases;
mod cursor;
mod deadlines;
mod derived;
mod expiry;
#[cfg(test)]
mod fork_cases;
mod guards;
#[cfg(test)]
mod head_cases;
mod house;
#[cfg(test)]
mod house_cases;
mod incoming;
mod proposals;
mod proposing;
mod reach;
mod refusals;
#[expect(clippy::module_inception, reason = "the file of the floor's one main type")]
mod replica;
mod revocations;
mod rolling;
mod sessions;
mod state;
mod tail;
mod volumes;
mod window;

pub use account::{Account, Name};
pub use anew::Poll;
pub use border::{Action, AppendToken, Event, Options, ReadAnswer, ReadNext, RecoverError};
pub use cursor::{Cursor, CursorError, Horizon, RecordBatch, end_of_read};
pub use derived::Derived;
pub use guards::Guards;
pub use incoming::{BadEntries, Contradiction};
pub use reach::{Lineage, Reach, ReadEnd};
pub use replica::Replica;
pub use revocations::Revocations;
pub use sessions::{Answers, Table, Verdict};
pub use state::State;
