//! A node's door for everybody: HTTP for this machine's programs, people and monitors.
//!
//! The door is a guest of its node. It has a thread of its own, so that no visitor holds up a heartbeat;
//! what it does with the log it does as any client ([`crate::client::Client`]), with the node's
//! certificate: found leaders, exactly once, and everything else that a client has is not done a second
//! time here. What the node tells of itself it sees without asking ([`Inside`]).
//!
//! - `door`: listens, counts connections, ends with the node; `patience`: who takes nothing is let go;
//! - `guard`: who is not heard at all: other hosts' names, other sites' pages, tricks with paths;
//! - `routes`: the one table of what there is; `house`: what answering takes; `answer`: how it looks;
//! - `health` and `metrics`: what a monitor asks;
//! - `page`: what a person sees, with the `chronicle` of who led, and `crash` where that is allowed;
//! - `streams`: the logs themselves.
//!
//! It asks nobody who they are. So it listens on this machine's loopback alone (`config`), and answers
//! only under the names that this has: a page that a browser has from elsewhere cannot use it.

mod answer;
mod chronicle;
mod crash;
mod door;
mod guard;
mod health;
mod house;
mod inside;
mod metrics;
mod page;
mod patience;
mod routes;
mod streams;
#[cfg(test)]
mod tests;

pub use door::{Door, Plan};
pub use inside::{Counts, Inside};
