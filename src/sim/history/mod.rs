//! Judges what clients saw: is there one order of all that they did in which every answer is right,
//! and which does not contradict any clock?
//!
//! # The question
//!
//! A history is *linearizable* if each operation can be thought to happen at one moment between its
//! call and its answer, such that the answers are those of a single log that does one thing after
//! the other. For a register that is hard to find out; for a log whose answers say where in it they
//! are, it takes one sort and a few passes, because the final log says in which order the appends
//! must have happened.
//!
//! # The rules
//!
//! ```text
//! A. Content
//!    A1  the final log has no request twice, and no gap between offsets
//!    A2  an acknowledged append is in it where every acknowledgement said
//!    A3  an append that failed for certain is not in it
//!    A4  what is in it was asked for, and is what was asked for
//!    A5  a read shows exactly a run of it: no gap, nothing twice, nothing else
//!    A6  an append whose outcome is unknown may be in it, or not; then it is as if never asked for
//! B. Places: an append stands at the offset after its last record, a read at the end of the log
//!    that it saw
//! C. Real time: whatever begins after an answer stands behind it: an append strictly, a read or a
//!    tail may stand at the same place
//! D. No future: whatever stands at a place was answered after all that stands before was asked for
//! ```
//!
//! A and C together are exact: if they hold, then to order everything by place, and what stands at
//! one place by its call, gives a legal order. D follows from C; it is computed another way, and so
//! checks the first computation. That all of this is true is not argued here but tried: `brute`
//! compares it with a search through all orders.
//!
//! # Reads that need not be the newest
//!
//! A stale read shows the log as it was at some moment before the answer, however long ago. It is
//! bound to what comes after it, not to what came before; except within a *session*, where no read
//! shows less than one that was answered before it began.

#[cfg(test)]
mod brute;
mod check;
mod record;
#[cfg(test)]
mod rules;

pub use check::{Anomaly, FinalLog, Rule};
pub use record::{Extent, History, ReadSeen, TailSeen};
