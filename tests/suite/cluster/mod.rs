//! Whole clusters of real processes, as a user has them.

mod bench;
mod crashes;
pub(crate) mod harness;
mod names;
mod refusals;
mod service;
mod terminal;
mod together;
