//! The client.
pub mod route;
pub mod session;
#[cfg(test)]
mod session_model;
pub mod token;
