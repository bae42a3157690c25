//! The simulator: a whole cluster in one thread, out of the lines that run in production.
//!
//! # What it is
//!
//! A run is a cluster of nodes, clients and a registry in a world where time, the network and the
//! disks are ours. The core of Raft, the replica, the store with its recovery, the table of the
//! registry, every decision of a client (its pilots, session and routing), and the codec of every
//! message are the production lines; what is simulated is what lies beneath them. One number, the seed, decides everything
//! that happens: the same seed gives the same run, event by event, on every machine and in every
//! build, and so the same bug.
//!
//! # How it works
//!
//! 1. [`Options`] are drawn from the seed: how many nodes, how slow the disks, which classes of
//!    faults are on. Half of them are off in each run (swarm testing). One run in five begins with
//!    a known scenario ([`Template`]).
//! 2. A list of [`Fault`]s is drawn: what goes wrong, and when.
//! 3. The `world` lets time pass: one heap of events in the order of virtual time. Messages are
//!    encoded and decoded at each hop; processes die between any two operations of their disk.
//! 4. After each event every one of the [`laws`] looks at what happened.
//! 5. When the storm is over a majority is healed and must serve again within a bound (`world/calm.rs`),
//!    then all must agree, and what the clients saw must be linearizable (`history`).
//! 6. If a law was broken, [`shrink()`] takes away what is not needed to break it.
//!
//! # What it does not do
//!
//! It does not simulate QUIC, TLS and sockets (`net`), nor the tasks of a process (`node`) and of a
//! client; tests on real processes do. It does not simulate sled: a memory disk
//! stands in for it, and a conformance suite and real power cuts keep that honest. In runs in which members
//! come and go no disk rots and no folder is put back: a destroyed disk counts as having had everything.

mod announcer;
mod batch;
mod class;
mod codec;
pub mod faults;
mod guard;
pub mod history;
mod keeper;
#[cfg(test)]
mod lab;
pub mod laws;
mod machine;
mod maker;
pub mod model;
mod network;
mod options;
mod panics;
mod queue;
mod random;
mod reading;
mod registrar;
mod report;
mod run;
mod scenarios;
mod schedule;
mod shrink;
mod sim_client;
mod swarm;
mod template;
mod time;
mod trace;
mod world;

pub use batch::{choose, run_all, run_checked};
pub use class::{CLASSES, Class, UnknownClass};
pub use faults::{Fault, FaultKind, Wanted};
pub use network::Traffic;
pub use options::{
    ClusterOptions, DiskOptions, FaultOptions, NetworkOptions, Options, Slowness, WorkloadOptions,
};
pub use report::{Counts, Report};
pub use run::{Plan, run};
pub use shrink::{Shrunk, shrink};
pub use template::Template;
pub use time::Time;
