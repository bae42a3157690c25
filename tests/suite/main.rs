//! The one binary of integration tests: linking once is cheaper than linking ten times.

mod architecture;
mod cli;
mod program;
mod raft_cluster;
mod raft_laws;
mod raft_scripts;
mod replica_storm;
