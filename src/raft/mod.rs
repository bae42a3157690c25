//! The pure core of consensus.
mod border;
mod configuration;
mod message;
pub mod quorum;

pub use border::{Content, Effect, HardState, Input, Notice, Persist, ReadToken, StepDownReason};
pub use configuration::Configuration;
pub use message::{
    Addressed, AppendEntries, AppendEntriesResponse, AppendResult, EntryInfo, Message, PreVote,
    PreVoteResponse, RequestVote, RequestVoteResponse, TimeoutNow,
};
