//! Known bugs of other implementations, each a line in the code that it would break.
//!
//! Without the feature `mutants`, which no release has, [`is_on`] is `false` for the compiler, and
//! the line is not there. With it one bug at a time can be chosen, per thread: `annal sim --mutant 5`
//! runs with it, and the simulator has to find it. A check that finds nothing is no check.

/// The bugs, by number: what is wrong, in words.
pub const MUTANTS: &[(u8, &str)] = &[
    (1, "a vote is granted before it is on disk"),
    (2, "entries are acknowledged before they are on disk"),
    (3, "a leader counts its own entry before that is on disk"),
    (4, "a repeated message is answered with the last entry received"),
    (6, "a vote is forgotten when stepping down within its term"),
    (7, "an answer to a request for a vote counts, whatever it says"),
    (8, "a repeated vote counts twice"),
    (14, "every message truncates, not only a conflict"),
    (15, "a follower commits what the leader has, not what the message vouches for"),
    (16, "a read is answered before the first commit of the term"),
    (17, "rounds of reads share a number"),
    (20, "a leader whose disk is stuck goes on leading"),
    (22, "a new segment's head lacks the table of clients"),
    (23, "a sync that failed is tried again"),
    (24, "damage below the floor is cut like a torn end"),
    (27, "an election compares lengths before terms"),
    (28, "the name of a new segment is not synced"),
    (30, "a client repeats its request under a new number"),
    (32, "a pre-vote is always granted"),
    (33, "a leader that hears no quorum goes on leading"),
    (34, "a candidate's time runs while its own vote is being written"),
    (35, "a refusal is answered by the same question, at once"),
    (36, "readers are shown all that the log has, committed or not"),
    (37, "a node whose clock is years ahead leads like any other"),
    (40, "a start believes the page cache after a sync that failed"),
    (41, "a segment that is being sealed is taken for the end of the log"),
    (42, "the registry answers before its disk has what it was told"),
    (50, "a client's patience is kept for the next leader"),
];

#[cfg(feature = "mutants")]
thread_local! {
    static CHOSEN: std::cell::Cell<u8> = const { std::cell::Cell::new(0) };
}

/// Chooses the bug of this thread; 0 for none.
#[cfg(feature = "mutants")]
pub fn choose(number: u8) {
    CHOSEN.set(number);
}

/// Whether this bug is wanted.
#[cfg(feature = "mutants")]
pub fn is_on(number: u8) -> bool {
    CHOSEN.get() == number
}

/// Whether any bug is wanted: then the code's own assertions leave the judgement to the laws.
#[cfg(feature = "mutants")]
pub fn any() -> bool {
    CHOSEN.get() != 0
}

/// Whether this bug is wanted: never, in this build.
#[cfg(not(feature = "mutants"))]
#[inline]
pub const fn is_on(_number: u8) -> bool {
    false
}

/// Whether any bug is wanted: never, in this build.
#[cfg(not(feature = "mutants"))]
#[inline]
pub const fn any() -> bool {
    false
}
