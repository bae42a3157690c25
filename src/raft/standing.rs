//! Whether a node is what its peers remember of it (not in the thesis, which takes a server's disk
//! for what it was).
//!
//! Raft is safe as long as nobody forgets a vote, a term or an entry that it has vouched for. A
//! folder that was put back from an older copy, made anew under the old name, or copied and started
//! beside the original has forgotten, and does not know it. Its peers can: each remembers of each
//! other what that one has promised to it, and judges by it whoever comes with a hello.
//!
//! - A start is known by a number drawn at random, written down with those before it, before a word
//!   is said to anybody ([`Lineage`]). Two histories of one folder so have two different starts of one
//!   count, and whoever has met the one does not take the other.
//! - Between two starts of one history term, vote and log may only have grown ([`Standing`]). NB: a
//!   log may have become shorter without a loss, but only through a leader of a later term than the
//!   one in which its end was acknowledged. An end that was never acknowledged may be gone.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::border::HardState;
use crate::limits::LINEAGE_STARTS_MAX;
use crate::types::{Incarnation, Index, LogId, NodeId, Term};

/// The starts of one store, as the store itself has them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Lineage {
    /// The start that made the store. A copy of the folder has the same.
    pub store: Incarnation,
    /// How many starts there were.
    pub starts: u64,
    /// The newest of them, the last one last: at most [`LINEAGE_STARTS_MAX`].
    pub recent: Vec<Incarnation>,
}

impl Lineage {
    /// That of a store that has just been made.
    pub fn new(store: Incarnation) -> Self {
        Self { store, starts: 0, recent: vec![] }
    }

    /// The same after another start.
    #[must_use]
    pub fn started(&self, start: Incarnation) -> Self {
        let mut next = self.clone();
        next.starts += 1;
        next.recent.push(start);
        if next.recent.len() > LINEAGE_STARTS_MAX {
            next.recent.remove(0);
        }
        next
    }

    /// The newest start.
    pub fn newest(&self) -> Incarnation {
        self.recent.last().copied().unwrap_or(self.store)
    }

    /// Whether it is of a form that [`Self::started`] makes: others come from hostile peers.
    pub fn is_well_formed(&self) -> bool {
        let kept = self.starts.min(LINEAGE_STARTS_MAX as u64);
        self.recent.len() as u64 == kept && self.starts > 0
    }

    /// The start with this count, from 1 on, if it is still known.
    fn start(&self, count: u64) -> Option<Incarnation> {
        let back = usize::try_from(self.starts.checked_sub(count)?).ok()?;
        self.recent.iter().rev().nth(back).copied()
    }
}

/// What a node shows of itself in its hello: its store as this start found it. It does not change
/// while the process runs, so that it never speaks of what is not on the disk.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Standing {
    /// The store and its starts, this one last.
    pub lineage: Lineage,
    /// Term and vote.
    pub hard_state: HardState,
    /// The last entry.
    pub last: LogId,
}

/// What a node remembers of a peer. On its disk soon after, and never on an append's path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Remembered {
    /// The store.
    pub store: Incarnation,
    /// The count of the newest start that it has had to do with …
    pub starts: u64,
    /// … and that start.
    pub start: Incarnation,
    /// The highest term that the peer has named as its own.
    pub term: Term,
    /// The newest term in which it voted for this node; zero if it never did.
    pub voted_in: Term,
    /// The newest term in which it acknowledged entries to this node; zero if it never did.
    pub acknowledged_in: Term,
    /// In that term, the last of those entries.
    pub acknowledged: Index,
}

impl Remembered {
    /// A peer that has promised nothing yet.
    pub(super) fn of(lineage: &Lineage) -> Self {
        Self {
            store: lineage.store,
            starts: lineage.starts,
            start: lineage.newest(),
            ..Self::default()
        }
    }

    /// Whether a peer that shows this still has what it promised to `me`.
    ///
    /// # Errors
    /// The [`Loss`], if there is one.
    pub fn judge(&self, me: NodeId, shown: &Standing) -> Result<(), Loss> {
        let Remembered { starts, term, .. } = *self;
        let lineage = &shown.lineage;
        if lineage.store != self.store {
            let is_owed = term > Term::ZERO;
            let loss = Loss::MadeAnew { term, acknowledged: self.acknowledged };
            return if is_owed { Err(loss) } else { Ok(()) };
        }
        if lineage.starts < starts {
            return Err(Loss::OlderCopy { shown: lineage.starts, remembered: starts });
        }
        if lineage.start(starts).is_some_and(|start| start != self.start) {
            return Err(Loss::OtherStart { count: starts });
        }
        // The process that was judged before has gone on since.
        if lineage.starts == starts { Ok(()) } else { self.judge_promises(me, shown) }
    }

    fn judge_promises(&self, me: NodeId, shown: &Standing) -> Result<(), Loss> {
        let HardState { current_term, voted_for } = shown.hard_state;
        if current_term < self.term {
            return Err(Loss::LowerTerm { shown: current_term, remembered: self.term });
        }
        let has_voted = self.voted_in > Term::ZERO;
        if has_voted && current_term == self.voted_in && voted_for != Some(me) {
            return Err(Loss::Vote { term: current_term });
        }
        if current_term == self.acknowledged_in && shown.last.index < self.acknowledged {
            let (shown, acknowledged) = (shown.last, self.acknowledged);
            return Err(Loss::Entries { shown, acknowledged });
        }
        Ok(())
    }
}

/// How a node turned out to be less than a peer remembers: what that peer says to it, and what both
/// say to people.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum Loss {
    /// Another store under the same name.
    #[error(
        "its store was made anew, and an earlier one had promised up to term {term} and entry \
         {acknowledged}: the folder was wiped, or put back as `annal init` wrote it"
    )]
    MadeAnew {
        /// The term that the earlier store had reached.
        term: Term,
        /// The last entry that it had acknowledged.
        acknowledged: Index,
    },
    /// Fewer starts than are remembered.
    #[error(
        "this is start {shown} of its folder, and start {remembered} is remembered: the folder was \
         put back from an older copy"
    )]
    OlderCopy {
        /// The count of the start that was shown.
        shown: u64,
        /// The count of the newest that is remembered.
        remembered: u64,
    },
    /// Another history of the same folder.
    #[error(
        "another start {count} of its folder is remembered than it knows of: the folder was put back \
         from an older copy, or is a copy of one that went on elsewhere"
    )]
    OtherStart {
        /// The count that two different starts have.
        count: u64,
    },
    /// A lower term than it was in.
    #[error(
        "it shows term {shown}, and was in term {remembered}: the folder was put back from an older \
         copy"
    )]
    LowerTerm {
        /// The term shown.
        shown: Term,
        /// The term remembered.
        remembered: Term,
    },
    /// A vote is gone.
    #[error("it has forgotten its vote in term {term}: the folder was put back from an older copy")]
    Vote {
        /// The term.
        term: Term,
    },
    /// Entries that it acknowledged are gone.
    #[error(
        "its log ends with {shown}, and it has acknowledged entries up to {acknowledged}: the folder \
         was put back from an older copy"
    )]
    Entries {
        /// The last entry shown.
        shown: LogId,
        /// The last entry acknowledged.
        acknowledged: Index,
    },
    /// Two processes at the same time.
    #[error(
        "another process with its name runs at the address that is configured for it: this one is a \
         copy"
    )]
    Twin,
}
