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
//! - A store that was made in place of one that was lost says so, and promises nothing in its name: it is
//!   taken for what it is, another server. From then on the former one, wherever it comes from, is
//!   refused: what it is asked to promise next, nobody would compare with what it had promised.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::border::HardState;
use crate::limits::{FORMER_STORES_MAX, LINEAGE_STARTS_MAX};
use crate::types::{Incarnation, Index, LogId, NodeId, Term};

/// The starts of one store, as the store itself has them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Lineage {
    /// The start that made the store. A copy of the folder has the same.
    pub store: Incarnation,
    /// Whether it was made in place of a store of this node that was lost, to be filled by the others.
    pub in_place: bool,
    /// How many starts there were.
    pub starts: u64,
    /// The newest of them, the last one last: at most [`LINEAGE_STARTS_MAX`].
    pub recent: Vec<Incarnation>,
}

impl Lineage {
    /// That of a store that has just been made.
    pub fn new(store: Incarnation) -> Self {
        Self { store, in_place: false, starts: 0, recent: vec![] }
    }

    /// That of a store that has just been made in place of one that was lost.
    pub fn in_place(store: Incarnation) -> Self {
        Self { in_place: true, ..Self::new(store) }
    }

    /// The store, if it was made in place of one that was lost: with it the node is another server.
    pub fn new_store(&self) -> Option<Incarnation> {
        self.in_place.then_some(self.store)
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

impl Standing {
    /// Whether the node that shows this can be what `by` says that it is: less than it was. NB: which
    /// stores there were under its name before, it cannot know.
    pub fn can_lack(&self, by: NodeId, loss: &Loss) -> bool {
        let HardState { current_term, voted_for } = self.hard_state;
        match *loss {
            Loss::MadeAnew { term, .. } => term > Term::ZERO,
            Loss::Replaced => true,
            Loss::OlderCopy { shown, remembered } => {
                shown == self.lineage.starts && shown < remembered
            }
            Loss::OtherStart { count } => self.lineage.start(count).is_some(),
            Loss::LowerTerm { shown, remembered } => shown == current_term && shown < remembered,
            Loss::Vote { term } => term == current_term && voted_for != Some(by),
            Loss::Entries { shown, acknowledged } => {
                shown == self.last && shown.index < acknowledged
            }
            // These are judged while the node runs, and not by what it shows.
            Loss::Twin | Loss::Removed { .. } => false,
        }
    }
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
    /// The stores that this one came in place of, the newest first.
    pub former: [Option<Incarnation>; FORMER_STORES_MAX],
}

impl Remembered {
    /// The same when the peer has come with another store in its place.
    pub(super) fn replaced_by(&self, lineage: &Lineage) -> Self {
        let mut former = self.former;
        former.rotate_right(1);
        former[0] = Some(self.store);
        Self { former, ..Self::of(lineage) }
    }

    /// A peer that has promised nothing yet.
    pub(super) fn of(lineage: &Lineage) -> Self {
        Self {
            store: lineage.store,
            starts: lineage.starts,
            start: lineage.newest(),
            ..Self::default()
        }
    }

    /// Forgets the terms of a peer of which one was impossible. That its store had promised something is
    /// remembered: another one under its name is refused as before.
    pub fn forget_terms(&mut self) {
        self.term = self.term.min(Term::new(1));
        (self.voted_in, self.acknowledged_in) = (Term::ZERO, Term::ZERO);
    }

    /// Whether a peer that shows this still has what it promised to `me`.
    ///
    /// # Errors
    /// The [`Loss`], if there is one.
    pub fn judge(&self, me: NodeId, shown: &Standing) -> Result<(), Loss> {
        let Remembered { starts, term, .. } = *self;
        let lineage = &shown.lineage;
        if lineage.store != self.store {
            if self.former.contains(&Some(lineage.store)) {
                return Err(Loss::Replaced);
            }
            if lineage.in_place {
                return Ok(());
            }
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
///
/// Its variants are numbered by their order on the wire: a new one goes to the end.
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
    /// A store that another has come in place of.
    #[error(
        "the node has come back with another store since: this folder is one that it had before, and what \
         has been promised under its name meanwhile is not in it"
    )]
    Replaced,
    /// It is no member any more, and had not heard of that. Nothing is lost, and nothing is left to do.
    #[error("it was removed from the cluster by entry {as_of} or before")]
    Removed {
        /// The entry of the newest configuration that whoever says so knows to be committed.
        as_of: Index,
    },
}

impl Loss {
    /// Whether it is something that the store had promised, in a history that is otherwise its own.
    #[cfg(feature = "mutants")]
    pub(super) fn is_promise(&self) -> bool {
        matches!(self, Self::LowerTerm { .. } | Self::Vote { .. } | Self::Entries { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: NodeId = NodeId::new(1).unwrap();
    const OTHER: NodeId = NodeId::new(3).unwrap();

    fn start(number: u64) -> Incarnation {
        Incarnation::new(number)
    }

    fn lineage(store: u64, starts: u64) -> Lineage {
        let new = Lineage::new(start(store));
        (1..=starts).fold(new, |lineage, count| lineage.started(start(store + count)))
    }

    /// After start 3 of store 100: in term 5, where it voted for me and acknowledged entry 8.
    fn remembered() -> Remembered {
        let five = Term::new(5);
        Remembered {
            term: five,
            voted_in: five,
            acknowledged_in: five,
            acknowledged: Index::new(8),
            ..Remembered::of(&lineage(100, 3))
        }
    }

    fn shown(lineage: Lineage, term: u64, voted_for: Option<NodeId>, last: (u64, u64)) -> Standing {
        let hard_state = HardState { current_term: Term::new(term), voted_for };
        let last = LogId::new(Index::new(last.0), Term::new(last.1));
        Standing { lineage, hard_state, last }
    }

    #[test]
    fn a_node_that_has_kept_its_promises_is_welcome() {
        let starts = |count| lineage(100, count);
        for (what, standing) in [
            ("the same start, whose hello is older than its promises", {
                shown(starts(3), 4, None, (2, 2))
            }),
            ("a crash right after the start", shown(starts(4), 5, Some(ME), (8, 5))),
            ("starts that nobody noticed", shown(starts(9), 5, Some(ME), (8, 5))),
            ("more starts than are shown", shown(starts(99), 5, Some(ME), (8, 5))),
            ("an end torn off that was never acknowledged", {
                shown(starts(4), 5, Some(ME), (8, 5))
            }),
            ("a log that grew", shown(starts(4), 5, Some(ME), (12, 5))),
            ("a later term, with another vote", shown(starts(4), 6, Some(OTHER), (8, 5))),
            ("truncated by a leader of a later term", shown(starts(4), 6, None, (6, 6))),
        ] {
            assert_eq!(remembered().judge(ME, &standing), Ok(()), "{what}");
        }
        let never_voted = Remembered { voted_in: Term::ZERO, ..remembered() };
        let elsewhere = shown(starts(4), 5, Some(OTHER), (8, 5));
        assert_eq!(never_voted.judge(ME, &elsewhere), Ok(()));
        // A store that never promised anything may be replaced.
        let idle = Remembered::of(&lineage(100, 3));
        assert_eq!(idle.judge(ME, &shown(lineage(200, 1), 0, None, (0, 0))), Ok(()));
    }

    #[test]
    fn each_loss_is_found_and_only_what_was_shown_can_be_it() {
        let (five, eight) = (Term::new(5), Index::new(8));
        let (voted, end) = (Some(ME), (8, 5));
        let mut branch = lineage(100, 2).started(start(999));
        let here = shown(branch.clone(), 5, voted, end);
        branch = branch.started(start(1000));
        for (standing, loss) in [
            (
                shown(lineage(200, 9), 9, voted, (9, 9)),
                Loss::MadeAnew { term: five, acknowledged: eight },
            ),
            (shown(lineage(100, 2), 9, voted, (9, 9)), Loss::OlderCopy { shown: 2, remembered: 3 }),
            (here, Loss::OtherStart { count: 3 }),
            (shown(branch, 9, voted, (9, 9)), Loss::OtherStart { count: 3 }),
            (
                shown(lineage(100, 4), 4, voted, end),
                Loss::LowerTerm { shown: Term::new(4), remembered: five },
            ),
            (shown(lineage(100, 4), 5, None, end), Loss::Vote { term: five }),
            (shown(lineage(100, 4), 5, Some(OTHER), end), Loss::Vote { term: five }),
            (
                shown(lineage(100, 4), 5, voted, (7, 5)),
                Loss::Entries { shown: LogId::new(Index::new(7), five), acknowledged: eight },
            ),
        ] {
            assert_eq!(remembered().judge(ME, &standing), Err(loss.clone()));
            assert!(standing.can_lack(ME, &loss), "{loss}");
            let honest = shown(lineage(100, 1), 7, voted, (20, 7));
            let knows = matches!(loss, Loss::MadeAnew { .. });
            assert_eq!(honest.can_lack(ME, &loss), knows, "a lie about it: {loss}");
        }
    }

    #[test]
    fn a_store_in_the_place_of_a_lost_one_is_welcome_and_the_lost_one_never_again() {
        let [old, wiped] = [100, 300].map(|store| lineage(store, 3));
        let new = |store| Lineage::in_place(start(store)).started(start(store + 1));
        let shows = |lineage: &Lineage| shown(lineage.clone(), 0, None, (0, 0));
        let row = remembered();
        assert_eq!(row.judge(ME, &shows(&new(200))), Ok(()));
        let row = row.replaced_by(&new(200));
        assert_eq!((row.store, row.term), (start(200), Term::ZERO));
        assert_eq!(row.judge(ME, &shows(&new(200))), Ok(()));
        assert_eq!(row.judge(ME, &shown(old.clone(), 5, Some(ME), (9, 5))), Err(Loss::Replaced));
        assert_eq!(row.judge(ME, &shows(&wiped)), Ok(()), "it has promised nothing yet");
        let row = Remembered { term: Term::new(6), ..row };
        let loss = row.judge(ME, &shows(&wiped)).unwrap_err();
        assert!(matches!(loss, Loss::MadeAnew { .. }), "{loss}");
        let row = row.replaced_by(&new(400));
        for former in [&old, &new(200)] {
            assert_eq!(row.judge(ME, &shows(former)), Err(Loss::Replaced));
            assert!(shows(former).can_lack(ME, &Loss::Replaced));
        }
        assert_eq!(new(200).new_store(), Some(start(200)));
        assert_eq!(old.new_store(), None);
    }

    #[test]
    fn forgotten_terms_are_not_held_against_a_mended_node_and_its_store_is_known() {
        let mut row = remembered();
        row.forget_terms();
        let mended = shown(lineage(100, 4), 1, None, (0, 0));
        assert_eq!(row.judge(ME, &mended), Ok(()));
        assert!(row.judge(ME, &shown(lineage(200, 1), 0, None, (0, 0))).is_err());
        assert!(row.judge(ME, &shown(lineage(100, 2), 9, None, (9, 9))).is_err());
    }
}
