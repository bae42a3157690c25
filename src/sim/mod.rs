//! The simulator: a whole cluster in one thread, out of the lines that run in production.

pub mod history;
pub mod laws;
pub mod model;
