//! The tests that look at the program from outside. One binary, so that it is linked once.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]
#![allow(clippy::cast_possible_truncation, reason = "fill bytes may wrap")]

mod power_cut;
mod store_crash;
mod store_rig;
