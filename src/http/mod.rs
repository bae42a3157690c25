//! A node's door for everybody: HTTP for programs, people and monitors.
//!
//! The door is a guest of its node. It has a thread of its own, so that no visitor holds up a heartbeat;
//! what it does with the log it does as any client ([`crate::client::Client`]), with the node's
//! certificate: found leaders, exactly once, and everything else that a client has is not done a second
//! time here. What the node tells of itself it sees without asking ([`Inside`]).
//!
//! - `door`: listens, counts connections, ends with the node; `patience`: who takes nothing is let go;
//! - `tls`: what is spoken where others than this machine's programs get to it;
//! - `guard`: who is not heard at all: other hosts' names, other sites' pages, tricks with paths;
//! - `gate`: who may come in, where tokens are asked for;
//! - `routes`: the one table of what there is; `house`: what answering takes; `answer`: how it looks;
//! - `health` and `metrics`: what a monitor asks;
//! - `page`: what a person sees, with the `chronicle` of who led, and `crash` where that is allowed;
//! - `streams`: the logs themselves.
//!
//! On this machine's loopback it asks nobody who they are, unless it is told to, and answers only under
//! the names that this has: a page that a browser has from elsewhere cannot use it. Anywhere else it
//! speaks TLS and asks for a token (`config`).

mod answer;
mod chronicle;
mod crash;
mod door;
mod gate;
#[cfg(test)]
mod gate_cases;
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
mod tls;

pub use door::{Door, Plan};
pub use inside::{Counts, Inside};
