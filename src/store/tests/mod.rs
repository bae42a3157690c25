//! The store as a whole: write, seal, truncate, stop, start, and every kind of damage.

mod conformance;
mod crash_points;
mod damage;
mod faults;
mod histories;
mod installing;
mod matrix;
mod memory;
mod mending;
mod recycling;
mod refusals;
mod releasing;
mod restoring;
mod rolling;
mod rot;
mod scrubbing;
mod sealing;
mod space;
mod storms;
mod tearing;
mod torn;
mod witness;
mod writing;

use proptest::prelude::*;

/// Of the records of a write: small ones, and now and then one of several parts.
fn sizes() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(prop_oneof![4 => 0..300_usize, 1 => 0..300_000_usize], 0..5)
}
