//! Whole clusters of real processes, as a user has them.

mod attacks;
mod bench;
mod conditions;
mod conformance;
mod crashes;
mod crowd;
mod follow;
mod full_disk;
pub(crate) mod harness;
mod histories;
mod http;
mod identity;
mod logs;
mod memory;
mod names;
mod page;
mod pty;
mod reach;
mod refusals;
mod service;
mod shell;
mod slow_disks;
mod space;
mod streams;
mod terminal;
mod terms;
mod together;
