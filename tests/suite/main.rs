//! The one binary of integration tests: linking once is cheaper than linking ten times.

mod architecture;
mod cli;
mod program;
mod replica_storm;
