//! The pure core of consensus: Raft as Ongaro's thesis has it.
//!
//! The core is a function. [`Raft::step`] takes an [`Input`] and returns [`Effect`]s; it does no IO,
//! reads no clock, draws no randomness, spawns nothing and logs nothing. The same inputs give the
//! same outputs, so every bug replays, and the simulator runs these very lines.
//!
//! How to read it, in this order:
//!
//! - [`border`]: everything that goes in and comes out, on a page, with the driver's duty;
//! - [`message`]: what nodes say to each other;
//! - `machine`: the state, and the table of roles and messages;
//! - `role`, `election`, `replication`: what each does;
//! - `install`: what becomes of a follower that lacks what the leader has given up;
//! - `read_index` and `reads`, `handover`, `membership`: what a leader does besides;
//! - `progress` and `log`: how far a follower is, how the log is shaped;
//! - `space`: what a node with a full disk still takes;
//! - `disk`, `clocks`: what slow disks and wrong clocks mean for who leads;
//! - `plausible`: what is refused because nobody can have said it;
//! - `outbox`: how nothing is promised before it is on disk;
//! - `configuration` and `quorum`: who votes, and how many are enough;
//! - `standing` and `memory`: whether a peer still is what is remembered of it;
//! - `display`: how all of it reads in logs, traces and scripts;
//! - `invariants`: the laws, checked after every step in debug builds.
//!
//! What it does: pre-vote and check-quorum (9.6, 6.2), elections with a timeout drawn anew each time,
//! pipelined replication with conflict hints (3.5, 10.2.1), commitment by counting in the current
//! term only (3.6.2), a no-op at the start of each term, ReadIndex (6.4), handover (3.10), and joint
//! configurations (4.3). A message says what is true on disk; the one exception is the leader's own
//! AppendEntries. A node that lost its store comes back by itself, as another server under its name:
//! first as a learner, then as a voter. Members are added, removed and replaced in the same way, when somebody
//! asks for it (`membership`).
//!
//! What it does not do: it holds no payloads (it names entries and heads, the floor above has their bytes),
//! and it offers no leases.

pub mod border;
mod clocks;
mod configuration;
mod disk;
mod display;
mod election;
mod handover;
mod install;
pub mod invariants;
mod log;
mod machine;
mod membership;
mod memory;
pub mod message;
mod outbox;
mod pace;
mod plausible;
mod progress;
pub mod quorum;
mod read_index;
mod reads;
mod replication;
mod role;
mod space;
mod standing;

pub use border::{
    Content, Effect, HardState, Implausible, Input, Notice, Persist, ReadToken, StepDownReason,
};
pub use configuration::Configuration;
pub use log::{RaftLog, RecoveredLog};
pub use machine::{Options, Raft};
pub use membership::{Belonging, Plan};
pub use memory::{Claim, Heard, Memory};
pub use message::{
    Addressed, AppendEntries, AppendEntriesResponse, AppendResult, EntryInfo, HeadInfo,
    InstallSnapshot, InstallSnapshotResponse, Message, PreVote, PreVoteResponse, RequestVote,
    RequestVoteResponse, TimeoutNow,
};
pub use plausible::is_plausible_term;
pub use progress::{Progress, Round, State};
pub use reads::Reads;
pub use role::{
    Candidate, ElectionTimer, Follower, Leader, LeadershipTransfer, Owed, PreCandidate, Role,
};
pub use standing::{Lineage, Loss, Remembered, Standing};
