//! Scenarios that every Raft has to pass, one by one and by hand.
//!
//! # What it is
//!
//! Random runs find what nobody thought of; these are the cases that everybody has thought of. The
//! list is the one that the labs of MIT's course on distributed systems made common knowledge:
//! elections, agreement while nodes are cut off and come back, restarts, the figure 8 of the paper,
//! networks that lose and reorder. Each is one test whose name says what holds, and each states how
//! long it may take in virtual time and how many messages and bytes it may cost; a slow machine
//! cannot break such a bound.
//!
//! # How it works
//!
//! [`Lab`] drives a `World` in which nothing goes wrong by itself: the scenario cuts nodes off,
//! joins them, fails their power and starts them, appends as a client that looks for the leader
//! does or hands a record to one node without waiting, and looks at what each node knows to be
//! committed. All the laws look on all the time. At the end of each scenario everything is healed:
//! then all nodes must agree, and have each acknowledged record once ([`Lab::close`]).
//!
//! # What it does not do
//!
//! It does not repeat the labs' fourth part: this system takes no snapshots, its segments are never
//! dropped.

mod agreement;
mod driver;
mod elections;
mod figure_eight;
mod full_disks;
mod persistence;
mod slow_disks;

use driver::{ELECTION, HEARD, Lab, SERVED, TIMEOUT, in_worlds, in_worlds_of};
