//! `annal`: a durable, replicated log.
pub mod entry;
pub mod limits;
pub mod net;
pub mod raft;
pub mod registry;
pub mod store;
pub mod types;
pub mod wire;
