//! What travels between processes: frames and the messages in them.
pub mod api;
pub mod registry;
