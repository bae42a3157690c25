//! Reads that wait for their leader to be confirmed (ReadIndex, thesis 6.4).
//!
//! One round of heartbeats is under way at a time; reads that come meanwhile share the next. A
//! round's number is never used twice in a term, so a late answer to an older round, or to a
//! repetition of it, confirms nothing newer.

use super::border::ReadToken;
use crate::marks::{Mark, hit};
use crate::mutants::{self, Mutant};
use crate::types::Index;

/// A round of heartbeats with the reads that wait for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Round {
    /// The commit index when the round began: what its reads must see.
    read_index: Index,
    tokens: Vec<ReadToken>,
}

/// The reads of one leader in one term.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Reads {
    /// The number of the newest round.
    round: u64,
    under_way: Option<Round>,
    /// Reads that came after the round began.
    waiting: Vec<ReadToken>,
}

impl Reads {
    /// The number of the newest round, carried by every AppendEntries.
    pub fn round(&self) -> u64 {
        self.round
    }

    /// How many reads wait.
    pub fn len(&self) -> usize {
        self.waiting.len() + self.under_way.as_ref().map_or(0, |round| round.tokens.len())
    }

    /// Whether no read waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn add(&mut self, token: ReadToken) {
        self.waiting.push(token);
    }

    /// Begins a round if there are reads for it and none is under way. Returns whether it did: then
    /// heartbeats are due.
    pub(super) fn begin_round(&mut self, commit_index: Index) -> bool {
        if self.under_way.is_some() || self.waiting.is_empty() {
            return false;
        }
        if !mutants::is_on(Mutant::ReadRoundsShareNumber) {
            self.round += 1;
        }
        if self.waiting.len() > 1 {
            hit(Mark::ReadsShared);
        }
        let tokens = std::mem::take(&mut self.waiting);
        self.under_way = Some(Round { read_index: commit_index, tokens });
        true
    }

    /// Ends the round under way, which a quorum has confirmed.
    pub(super) fn end_round(&mut self) -> (Index, Vec<ReadToken>) {
        let round = self.under_way.take().expect("a round is under way");
        (round.read_index, round.tokens)
    }

    /// Whether a round is under way.
    pub fn is_under_way(&self) -> bool {
        self.under_way.is_some()
    }

    /// All reads, given up.
    pub(super) fn drain(&mut self) -> Vec<ReadToken> {
        let mut tokens = self.under_way.take().map_or_else(Vec::new, |round| round.tokens);
        tokens.append(&mut self.waiting);
        tokens
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_are_counted_until_they_are_answered() {
        let mut reads = Reads::default();
        assert!(reads.is_empty());
        (1..=3).for_each(|token| reads.add(ReadToken(token)));
        assert!(reads.begin_round(Index::new(7)));
        reads.add(ReadToken(4));
        assert_eq!(reads.len(), 4);
        assert!(!reads.begin_round(Index::new(8)), "one round at a time");
        assert_eq!(reads.end_round(), (Index::new(7), (1..=3).map(ReadToken).collect()));
        assert_eq!((reads.len(), reads.is_empty()), (1, false));
    }
}
