//! What an operation came to, as scripts see it.

/// How an operation ended: the meaning of the process's exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// It was done.
    Done,
    /// It was not, for a reason that trying again will not change.
    Failed,
    /// It was asked for in a way that makes no sense.
    Usage,
    /// There is no leader or no quorum. Nothing of it is in the log.
    NoLeader,
    /// A condition that was asked for does not hold.
    ConditionNotMet,
    /// A leader may have taken it; no answer came.
    Unknown,
    /// Damage was found.
    Damage,
    /// A wait without an effect on the log ran out.
    TimedOut,
}

impl Outcome {
    /// The process's exit code.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::NoLeader => 3,
            Self::ConditionNotMet => 4,
            Self::Unknown => 5,
            Self::Damage => 6,
            Self::TimedOut => 124,
        }
    }
}
