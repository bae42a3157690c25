//! Known bugs of other implementations, each a line in the code that it would break.
//!
//! Without the feature `mutants`, which no release has, [`is_on`] is `false` for the compiler, and
//! the line is not there. With it one bug at a time can be chosen, per thread: `annal sim --mutant
//! forget-vote` runs with it, and the simulator has to find it. A check that finds nothing is no check.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// Lists the bugs: a number, which stays a bug's own for ever, a name, and what is wrong, in words.
macro_rules! mutants {
    ($($number:literal $name:ident $what:literal;)*) => {
        /// A known bug.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Mutant {
            $(#[doc = $what] $name = $number,)*
        }

        impl Mutant {
            /// All of them, by number.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// What is wrong, in words.
            pub const fn what(self) -> &'static str {
                match self {
                    $(Self::$name => $what,)*
                }
            }
        }
    };
}

mutants! {
    1 VoteBeforeDisk "a vote is granted before it is on disk";
    2 AcknowledgeBeforeDisk "entries are acknowledged before they are on disk";
    3 CountOwnBeforeDisk "a leader counts its own entry before that is on disk";
    4 AnswerWithLastReceived "a repeated message is answered with the last entry received";
    6 ForgetVote "a vote is forgotten when stepping down within its term";
    7 AnyAnswerIsAVote "an answer to a request for a vote counts, whatever it says";
    8 RepeatedVoteCounts "a repeated vote counts twice";
    14 TruncateAlways "every message truncates, not only a conflict";
    15 CommitUnvouched "a follower commits what the leader has, not what the message vouches for";
    16 ReadBeforeFirstCommit "a read is answered before the first commit of the term";
    17 ReadRoundsShareNumber "rounds of reads share a number";
    20 StuckDiskLeads "a leader whose disk is stuck goes on leading";
    22 HeadLacksClients "a new segment's head lacks the table of clients";
    23 RetryFailedSync "a sync that failed is tried again";
    24 CutDamage "damage to the journal is cut like a torn end";
    25 BelieveForgetful "a node that has forgotten what it promised is believed";
    27 CompareLengthsFirst "an election compares lengths before terms";
    28 SegmentNameUnsynced "the name of a new segment is not synced";
    30 RepeatUnderNewNumber "a client repeats its request under a new number";
    32 PreVoteAlways "a pre-vote is always granted";
    33 DeafLeads "a leader that hears no quorum goes on leading";
    34 CampaignDuringSync "a candidate's time runs while its own vote is being written";
    35 RepeatRefused "a refusal is answered by the same question, at once";
    36 ShowUncommitted "readers are shown all that the log has, committed or not";
    37 WrongClockLeads "a node whose clock is years ahead leads like any other";
    40 BelievePageCache "a start believes the page cache after a sync that failed";
    41 FillForgotten "a restart forgets how full the newest segment is";
    42 RegistryBeforeDisk "the registry answers before its disk has what it was told";
    43 JudgeRunByFirst "a run of requests is judged by its first";
    44 RefuseAtOnce "a condition is refused before that is certain";
    45 ExpectCommitted "an append is taken where it expects the end of what is committed";
    46 GuardsStay "a truncation leaves what its entries said of fences and producers";
    47 FenceCommitted "an append is taken where it names the fence that is committed";
    48 SupersededGoesOn "an older process of a producer goes on";
    50 KeepPatience "a client's patience is kept for the next leader";
    51 ReuseLogNumber "the number of a log that is deleted is given again";
    52 ClosedCommitted "an append is taken where its log is open as far as is committed";
    53 HeadLacksLogs "a new segment's head lacks the catalogue of logs";
    54 LogsShareOffsets "logs share the offsets of an entry";
    55 StartGoesBack "a trim takes a log's beginning back";
    56 ReadTrimmed "what is before a log's beginning is read as long as it is there";
    57 CloseApart "the last records of a log are taken, and the log is not closed with them";
    58 WordGoesBack "a sequence word is taken that is not behind the last";
    59 ExpireEarly "a log expires after a third of its time";
    60 ForgottenGoesOn "a process of a producer that was forgotten goes on";
    61 ServeUnasked "a follower serves a read without asking how far it must see";
    62 ForkSeesSource "a fork has what was appended to its source later";
    63 ForksNeedNothing "what only forks need of a log is taken for dead";
    64 DeletedStays "a log that was kept for its forks stays when the last of them goes";
    65 ForkFromZero "a fork begins where its source did, whatever that has lost";
    68 RevokedComesBack "a token that is revoked is forgotten five seconds before it expires";
    69 HeadLacksRevocations "a new segment's head lacks the tokens that are revoked";
    70 ReleaseLive "a segment is given up although something in it is live";
    71 ReleaseUnheard "a leader gives up what a quorum has, whoever is being filled with it";
    72 DeleteListed "a segment's files go while the list still has it";
    73 TrimEarly "a retention trims half of what it is to keep";
    80 VoteOfAnyStore "a candidate counts the vote of another store under a voter's name";
    90 InstallOverLog "a node begins at a head although it has the entry before it";
    91 HeadLacksMembers "a node that begins at a head keeps the configuration that it had";
    92 ChangeBeforeFirstCommit "members are changed before the first commit of the term";
    93 TwoChangesAtOnce "members are changed while another change is not committed";
    94 RemovedLeaderCounts "a leader that is no voter any more counts itself";
    95 LearnerCounts "what learners have counts like what voters have";
    96 PromoteUnfilled "a learner is made a voter before it is filled";
    97 BeginUnasked "a node that lost its store begins anew whatever the others are";
    98 MendUnproved "a segment that another node sends is not compared with what was sealed";
    99 ForgetDamage "a start forgets which sealed segments are damaged";
}

impl Mutant {
    /// Its number.
    pub const fn number(self) -> u8 {
        self as u8
    }
}

/// In kebab-case, as it is named on a command line.
impl fmt::Display for Mutant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut name = String::new();
        for letter in format!("{self:?}").chars() {
            if letter.is_ascii_uppercase() && !name.is_empty() {
                name.push('-');
            }
            name.push(letter.to_ascii_lowercase());
        }
        f.pad(&name)
    }
}

/// No bug has this name or number.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("there is no bug {name}")]
pub struct UnknownMutant {
    name: String,
}

impl FromStr for Mutant {
    type Err = UnknownMutant;

    /// By name or by number.
    fn from_str(text: &str) -> Result<Self, UnknownMutant> {
        let is_meant = |bug: &&Self| bug.to_string() == text || bug.number().to_string() == text;
        let unknown = || UnknownMutant { name: text.to_owned() };
        Self::ALL.iter().find(is_meant).copied().ok_or_else(unknown)
    }
}

#[cfg(feature = "mutants")]
thread_local! {
    static CHOSEN: std::cell::Cell<Option<Mutant>> = const { std::cell::Cell::new(None) };
}

/// Chooses the bug of this thread.
#[cfg(feature = "mutants")]
pub fn choose(bug: Option<Mutant>) {
    CHOSEN.set(bug);
}

/// Whether this bug is wanted.
#[cfg(feature = "mutants")]
pub fn is_on(bug: Mutant) -> bool {
    CHOSEN.get() == Some(bug)
}

/// Whether any bug is wanted: then the code's own assertions leave the judgement to the laws.
#[cfg(feature = "mutants")]
pub fn any() -> bool {
    CHOSEN.get().is_some()
}

/// Whether this bug is wanted: never, in this build.
#[cfg(not(feature = "mutants"))]
#[inline]
pub const fn is_on(_bug: Mutant) -> bool {
    false
}

/// Whether any bug is wanted: never, in this build.
#[cfg(not(feature = "mutants"))]
#[inline]
pub const fn any() -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bug_is_found_by_its_name_and_by_its_number_and_there_is_no_other() {
        for bug in Mutant::ALL {
            assert_eq!(bug.to_string().parse(), Ok(*bug));
            assert_eq!(bug.number().to_string().parse(), Ok(*bug));
        }
        assert_eq!("any-answer-is-a-vote".parse(), Ok(Mutant::AnyAnswerIsAVote));
        assert_eq!(Mutant::AnyAnswerIsAVote.number(), 7);
        assert!("5".parse::<Mutant>().is_err(), "a number is never used again");
    }
}
