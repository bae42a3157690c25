//! The tests that look at the program from outside. One binary, so that it is linked once.

mod power_cut;
mod store_crash;
mod store_rig;
