//! `annal`: a durable, replicated log.
pub mod client;
pub mod entry;
pub mod limits;
pub mod net;
pub mod raft;
pub mod store;
pub mod types;
pub mod wire;
