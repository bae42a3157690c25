//! The one binary of integration tests: linking once is cheaper than linking ten times.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod answers;
mod architecture;
mod cli;
mod cluster;
mod dependencies;
mod documents;
mod errors;
mod examples;
mod help;
mod node;
mod one_node;
mod power_cut;
mod program;
mod quorum_tables;
mod raft_cluster;
mod raft_laws;
mod raft_paper;
mod raft_random;
mod raft_scripts;
mod relay;
mod replica_storm;
mod simulation;
mod starved;
mod stateright_model;
mod store_crash;
mod store_rig;
mod thin_volume;
