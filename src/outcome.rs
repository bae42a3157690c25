//! What an operation or a command came to, as scripts see it.

/// How an operation ended: the meaning of the process's exit code. The numbers never change.
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

    /// Its name for programs, which never changes either.
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Usage => "usage",
            Self::NoLeader => "no-leader",
            Self::ConditionNotMet => "condition-not-met",
            Self::Unknown => "outcome-unknown",
            Self::Damage => "damage",
            Self::TimedOut => "timed-out",
        }
    }

    /// What a process of this program says by its exit code; another number is a failure.
    pub const fn of_exit_code(code: u8) -> Self {
        match code {
            0 => Self::Done,
            2 => Self::Usage,
            3 => Self::NoLeader,
            4 => Self::ConditionNotMet,
            5 => Self::Unknown,
            6 => Self::Damage,
            124 => Self::TimedOut,
            _ => Self::Failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_code_says_the_outcome_and_never_changes() {
        let codes = [0, 1, 2, 3, 4, 5, 6, 124];
        assert_eq!(codes.map(|code| Outcome::of_exit_code(code).exit_code()), codes);
        assert_eq!(Outcome::of_exit_code(5), Outcome::Unknown);
        assert_eq!(Outcome::of_exit_code(101), Outcome::Failed, "a panic");
    }
}
