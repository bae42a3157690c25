//! The one binary of integration tests: linking once is cheaper than linking ten times.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod architecture;
mod cli;
mod program;
mod replica_storm;
