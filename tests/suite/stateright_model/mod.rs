//! Every state that three real cores can get into within some bounds, by `stateright`.
//!
//! Scripts show what was thought of and random histories what chance comes upon; this looks at all
//! of it, in a small world. A state is three [`annal::raft::Raft`]s, as they are: a step of the model
//! is a step of the core, and its assertions are on. Around them:
//!
//! - **The network** is the set of all messages ever sent. Any of them is handed over at any time,
//!   any number of times, or never: that is loss, repetition, delay and reordering in one. Only what
//!   could do nothing any more is taken out, so that states which differ in nothing else are one.
//! - **Disks** take the writes in order. One node's disk is slow in some searches: each of its writes
//!   is an event of its own, and a crash keeps any number of them, or of the next one only term and
//!   vote. The disks of the others take a write at once; but for a crash that is no loss, since a
//!   promise that waits for a disk looks like a message that is late. While a write is on its way, the
//!   same message is not heard twice: each answer would be held back again, without end.
//! - **Time** goes in jumps: a follower's timer runs out; a follower has not heard its leader for the
//!   shortest timeout, and its vote is free; a leader waits as long, repeats itself, and steps down
//!   the second time. Counters of ticks thus have two or three values and need no blurring.
//! - **A crash** and the start that follows are one event: the network makes any pause.
//!
//! `state` is that world, `model` what may happen in it and from where, `properties` the laws and what
//! a search must have seen to be worth anything, `search` the searches with their bounds. They begin
//! where the interesting part does, since terms and entries are dear:
//!
//! ```text
//! search                           begins with           bounds                            states
//! one_term_with_a_slow_disk        nothing               2 timeouts, a crash, n1 slow      15,000
//! two_terms_from_nothing           nothing               2 timeouts, 2 terms, a crash     113,000
//! entries_under_two_leaders        a leader of term 1    1 or 2 timeouts, 2 terms, 1 or   189,000
//!                                                        2 entries, a crash, n1 or n2
//!                                                        slow, 1 or 2 waits
//! reads_while_the_leader_changes   a leader of term 1    a read, 1 or 2 timeouts, up to    82,000
//!                                                        3 terms, an entry or a crash
//! figure_8_of_the_paper            figure 8 (c)          2 timeouts, a doubt, terms 4, 5   48,000
//! handovers                        a leader of term 1    a handover, an entry, a read or   58,000
//!                                                        a crash with n1 slow
//! ```
//!
//! Some 500,000 states and 1,900,000 steps, in about twelve seconds of one core. A law that is broken is told as
//! the shortest story that breaks it.

mod model;
mod properties;
mod search;
mod state;
