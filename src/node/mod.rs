//! One node as a process: configuration, start, the loop that owns its state, an orderly end.
//!
//! - [`init`]: writes a new cluster's files, whole or not at all; [`folders`]: what each part's folder has;
//!   [`certificates`]: more certificates for a cluster that is there;
//! - [`join`]: writes what a node needs that joins a cluster;
//! - [`start`]: what has to be true before a node starts;
//! - [`privacy`]: nobody else reads what is kept;
//! - `process`: opens the store, wires the tasks together, closes in the reverse order;
//! - `refused`: the mark of a folder whose node was refused by its peers; [`anew`]: how such a node comes
//!   back; [`waiting`]: not before the others can do without it, which say by `soundness` how they are;
//! - `driver`: the loop: gather `inputs`, let the replica handle them, do what it says; `watches`: who is
//!   told how far a log reaches;
//! - `accepting`: who comes in, and who attends to them;
//! - `service` and `reading`: what is done for clients, a task a stream, with what is `shared`;
//!   `framing`: whose turn it is; `caller` and `new_sessions`: what each may make the node hold,
//!   `allowance`: what it may do, if its certificate says so;
//! - `onward` and `behalf`: what is handed on to the leader for clients that do not reach it, on this
//!   side and on that; `leaders`: over what;
//! - `members`: who they are, and changes of them;
//! - `announce`: tells the registry who leads;
//! - `tally` counts for monitors; `inside`: what the door for HTTP sees of the node;
//! - `published`, `pulse`, `narrator`: what others see, of the replica and of the process; what people
//!   read, with `company`: who is connected.
//!
//! The driver is the one owner of the replica. Everything else talks to it over bounded channels and
//! sees what it publishes; readers read entries from the store themselves. Nothing here decides
//! about consensus: the replica says what to do, in what order only where it matters (writes).

mod accepting;
mod allowance;
pub mod anew;
mod announce;
mod backup;
mod behalf;
mod caller;
pub mod certificates;
mod company;
mod driver;
pub mod folders;
mod framing;
pub mod init;
mod inputs;
#[cfg(feature = "http")]
mod inside;
pub mod join;
mod leaders;
mod members;
mod mending;
mod narrator;
mod new_sessions;
mod onward;
pub mod ports;
pub mod privacy;
mod process;
mod published;
mod pulse;
mod reading;
mod refused;
pub mod restore;
mod service;
mod shared;
mod soundness;
pub mod start;
mod tally;
pub mod waiting;
mod watches;

pub use narrator::ELECTIONS;
pub use process::{Ended, RunError, Settings, run};
