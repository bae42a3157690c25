//! (chapter to be written by whoever builds this)
pub mod config;
pub mod init;
pub mod start;
