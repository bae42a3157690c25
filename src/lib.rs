//! `annal`: a durable, replicated log.
pub mod cli;
pub mod client;
pub mod entry;
pub mod limits;
pub mod net;
pub mod node;
pub mod raft;
pub mod replica;
pub mod store;
pub mod types;
pub mod wire;
