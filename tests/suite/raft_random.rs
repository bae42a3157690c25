//! (random histories, below)
