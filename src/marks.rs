//! Coverage marks: rare paths that the simulator must have taken.
//!
//! A test that never reaches a path proves nothing of it. Each path worth a look counts when it is
//! taken; `annal sim --marks` shows the counts, and a regular set of seeds that leaves one at zero
//! fails. The counters belong to the thread: a simulation runs in one. Nothing ever reads them but
//! the simulator, and counting costs a nanosecond.

use std::cell::Cell;

/// Declares the marks with what they stand for.
macro_rules! marks {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// A rare path.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Mark {
            $($(#[doc = $doc])+ $name,)+
        }

        /// All marks, with what they stand for.
        pub const MARKS: &[(Mark, &str)] = &[$((Mark::$name, concat!($($doc),+)),)+];
    };
}

marks! {
    /// a conflict was truncated
    Truncated,
    /// a conflict was truncated below what this node had on disk
    TruncatedPersisted,
    /// a truncation reached into the segment before
    SegmentEndTruncated,
    /// a follower lacked the entry before those sent
    Rejected,
    /// a leader went back past more than one entry at once
    SkippedBack,
    /// a node that lost its store waited, as the others could not do without it
    WaitedToBeginAnew,
    /// entries that were there already came again
    RepeatedEntries,
    /// a message of an older term was answered
    OlderTerm,
    /// a held message was dropped because the term had moved on
    HeldTooLong,
    /// a vote was refused to a log that is behind
    VoteRefusedLog,
    /// a vote was refused because it was given to another
    VoteRefusedGiven,
    /// a request for a vote was ignored because there is a leader
    Disruption,
    /// a pre-vote was refused because there is a leader
    PreVoteRefusedLeader,
    /// an election ran out of time
    ElectionTimedOut,
    /// a pre-candidate voted for another, and gave up standing itself
    StoodBack,
    /// a vote came when the candidate's time had run out, and counted
    LateVote,
    /// a leader stepped down because it heard no quorum
    QuorumLost,
    /// a leader stepped down because its disk was stuck
    DiskStalled,
    /// a node with a stuck disk did not campaign
    StalledNoCampaign,
    /// a leader stepped down because of a higher term
    HigherTerm,
    /// a leader committed before its own disk had the entry
    CommitBeforeDisk,
    /// nothing was committed because the last entry of a quorum is of an older term
    OldTermNotCommitted,
    /// a read waited for the first commit of the term
    ReadWaitedForNoOp,
    /// a read was given up because its leader stepped down
    ReadGivenUp,
    /// a node that does not lead asked its leader how far a read must see
    IndexAsked,
    /// the leader told it, and the read was served from its own disk
    IndexTold,
    /// a client had another node than the leader serve a read of much
    LeaderSpared,
    /// several reads shared a round
    ReadsShared,
    /// entries were read from disk for a follower far behind
    Fetched,
    /// a follower far behind waited for its share, beside what was appended
    FetchPaced,
    /// a node had all of a head that stands for what it lacks, and began there
    Installed,
    /// a head came to a node that has the entry before it
    HeadNotNeeded,
    /// a follower that lacks what was given up was sent the entries behind a head
    FollowedHead,
    /// what was read for a follower was of no more use
    FetchedTooLate,
    /// a follower that is silent was sent a question without entries
    ProbedSilent,
    /// the messages to a follower reached their bound
    InFlightFull,
    /// a node learned that its wall clock is far ahead of the others'
    Reluctant,
    /// a leader handed over
    HandedOver,
    /// a handover was given up
    HandoverGivenUp,
    /// a leader heard that a follower's process is a new one
    FollowerRestarted,
    /// a peer's process has another store than its former
    CameBackAnew,
    /// a vote came from another store than the configuration means
    VoteOfAnotherStore,
    /// a node that was filled was made a voter again
    Reinstated,
    /// a joint configuration was committed and left
    JointLeft,
    /// a leader was no voter any more, and stepped down
    LeaderRemoved,
    /// a change of members was refused because too few of the voters that there would be are heard
    ChangeWithoutMajority,
    /// a change of members was refused because another was under way
    ChangeUnderWay,
    /// an index that is overwritten had a write under way
    OverwrittenUnderWay,
    /// entries were not taken because there is no room for them
    NoRoomForEntries,
    /// entries were not taken because they had changed on the way
    BadEntries,
    /// a repeated request was answered from the table of clients
    AnsweredAgain,
    /// a repetition was cut into other runs than what it repeats
    CutOtherwise,
    /// a repeated request waited for its entry to be committed
    KnownNotCommitted,
    /// a request came before one that it follows
    Gap,
    /// a request was refused because too much waits
    Busy,
    /// a request was refused because a disk is full
    RefusedDiskFull,
    /// a request of a client that is forgotten was refused
    Expired,
    /// a request was refused because this node does not lead
    NotLeader,
    /// requests were left with an unknown outcome by a leader that stepped down
    Abandoned,
    /// a request was refused because its condition did not hold
    Unmet,
    /// a refusal was not certain yet when its leader stepped down
    RefusalAbandoned,
    /// a repeated request with a condition was answered from the table, whatever that said by then
    ConditionKnown,
    /// a client was told that its condition did not hold, of a request that it had sent elsewhere, too
    UnmetElsewhere,
    /// what the tail says of clients was rolled back
    TailRolledBack,
    /// several requests went into one entry
    Folded,
    /// an entry filled a segment
    Rolled,
    /// the journal went on in another file
    JournalFileFull,
    /// a segment was sealed
    Sealed,
    /// a leader found what to trim or to give up
    KeptHouse,
    /// a segment was given up
    Released,
    /// a sealed segment was found damaged
    SegmentDamaged,
    /// a damaged segment was mended
    Mended,
    /// a segment was not given up because somebody lacks it who is getting further
    ReleaseWaits,
    /// a log has expired
    Expires,
    /// a log was deleted and stayed for its forks
    KeptForForks,
    /// a log went with the last of its forks
    WentWithFork,
    /// a read went on from a fork's source to the fork
    LeftSource,
    /// several writes shared a barrier
    GroupCommit,
    /// a start cut a torn end
    TornEnd,
    /// a start took term and vote from the place that had them higher
    HardStateRepaired,
    /// a start found damage and was refused
    DamageFound,
    /// a start followed a stop in order
    CleanStart,
    /// the disk was full
    DiskFull,
    /// a sync failed
    SyncFailed,
    /// the registry refused a lower term
    RegistryLowerTerm,
    /// the registry's disk failed it
    RegistryFailed,
    /// the registry learned of a term that it had missed
    RegistryHistory,
    /// a client asked another node because the leader did not answer
    Hedged,
    /// a client left a node for another that leads
    WentElsewhere,
    /// a client that does not reach the leader went by way of another node
    Detour,
    /// a client took a new name because the cluster had forgotten it
    Renewed,
    /// a client learned that an outcome is unknown
    OutcomeUnknown,
    /// a read asked for what was trimmed
    ReadTrimmed,
    /// an append was repeated by its token and settled
    Settled,
}

const COUNT: usize = MARKS.len();

thread_local! {
    static HITS: [Cell<u64>; COUNT] = const { [const { Cell::new(0) }; COUNT] };
}

/// This path was taken.
pub fn hit(mark: Mark) {
    HITS.with(|hits| {
        let cell = &hits[mark as usize];
        cell.set(cell.get().wrapping_add(1));
    });
}

/// How often each path was taken on this thread since the last call, in the order of [`MARKS`].
pub fn take() -> Vec<u64> {
    HITS.with(|hits| hits.iter().map(|cell| cell.replace(0)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_counted_once_each_and_forgotten_when_taken() {
        take();
        hit(Mark::Truncated);
        hit(Mark::Settled);
        hit(Mark::Settled);
        let hits = take();
        assert_eq!(hits.len(), COUNT);
        assert_eq!((hits[0], hits[COUNT - 1]), (1, 2));
        assert_eq!(take().iter().sum::<u64>(), 0);
        assert!(MARKS.iter().enumerate().all(|(place, (mark, _))| *mark as usize == place));
    }
}
