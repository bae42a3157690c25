//! The store as a whole: write, roll, truncate, stop, start, and every kind of damage.

mod conformance;
mod crash_points;
mod damage;
mod faults;
mod histories;
mod memory;
mod refusals;
mod rolling;
mod storms;
mod witness;
mod writing;
