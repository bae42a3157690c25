//! What a node remembers of its peers: see [`super::standing`].
//!
//! A start is *met* when its hello was judged, and *counts* from its first claim on, or once it has
//! stood for a while. Until then it leaves no trace: a copy that another peer knows better, and that
//! so ends at once, must not keep the right folder out when that is put back.

use std::collections::BTreeMap;

use super::machine::Raft;
use super::message::Message;
use super::plausible::is_plausible_term;
use super::standing::{Lineage, Loss, Remembered, Standing};
#[cfg(feature = "mutants")]
use crate::mutants::{self, Mutant};
use crate::types::{Incarnation, Index, NodeId, Term};

/// What is known of all peers.
#[derive(Clone, Debug)]
pub struct Memory {
    me: NodeId,
    /// This node's own term, as of the last tick.
    term: Term,
    /// Ticks after which a start counts that has claimed nothing.
    count_after: u32,
    peers: BTreeMap<NodeId, Known>,
}

/// What is known of one.
#[derive(Clone, Debug, Default)]
struct Known {
    remembered: Option<Remembered>,
    /// Something is remembered that was not handed out by [`Memory::take_changes`] yet.
    changed: bool,
    met: Option<Met>,
}

/// The newest start of a peer that was met.
#[derive(Clone, Debug)]
struct Met {
    lineage: Lineage,
    /// A message of it was heard.
    heard: bool,
    /// It counts.
    counts: bool,
    /// Ticks for which it has stood.
    ticks: u32,
}

/// Whose a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// The newest start's, which was heard before.
    Again,
    /// The first of a new start: what was believed of the former is to be forgotten.
    First,
    /// A former start's, or that of somebody unknown: it counts for nothing any more.
    Former,
}

impl Memory {
    /// What was found on disk, by a node in `term`.
    pub fn new(
        (me, term): (NodeId, Term),
        remembered: &BTreeMap<NodeId, Remembered>,
        count_after: u32,
    ) -> Self {
        let known =
            |remembered: &Remembered| Known { remembered: Some(*remembered), ..Known::default() };
        let peers = remembered.iter().map(|(peer, row)| (*peer, known(row))).collect();
        Self { me, term, count_after, peers }
    }

    /// Whether a peer that shows this has kept what it promised.
    ///
    /// # Errors
    /// The [`Loss`], if not. A start that was met and does not count yet is held against nobody.
    pub fn judge(&self, peer: NodeId, shown: &Standing) -> Result<(), Loss> {
        let remembered = self.peers.get(&peer).and_then(|known| known.remembered.as_ref());
        match remembered.map_or(Ok(()), |remembered| remembered.judge(self.me, shown)) {
            // The bug leaves out what a store promised, and not whose it is.
            #[cfg(feature = "mutants")]
            Err(loss) if mutants::is_on(Mutant::BelieveForgetful) && loss.is_promise() => Ok(()),
            judged => judged,
        }
    }

    /// This node's own term, by which it is told what nobody can have reached.
    pub fn term(&self) -> Term {
        self.term
    }

    /// Whether this node and one that shows this can be in the terms that they name. Else they are not
    /// to meet: the messages of one of them would be refused one by one.
    pub fn is_plausible(&self, shown: &Standing) -> bool {
        let shown = shown.hard_state.current_term;
        is_plausible_term(self.term, shown) && is_plausible_term(shown, self.term)
    }

    /// Notes a start whose hello was judged.
    pub fn meet(&mut self, peer: NodeId, lineage: &Lineage) {
        let known = self.peers.entry(peer).or_default();
        let is_met = known.met.as_ref().is_some_and(|met| met.lineage == *lineage);
        if !is_met {
            let counts =
                known.remembered.is_some_and(|remembered| remembered.start == lineage.newest());
            known.met = Some(Met { lineage: lineage.clone(), heard: false, counts, ticks: 0 });
        }
    }

    /// Whether this start of a peer was met, and none after it.
    pub fn has_met(&self, peer: NodeId, start: Incarnation) -> bool {
        let met = self.peers.get(&peer).and_then(|known| known.met.as_ref());
        met.is_some_and(|met| met.lineage.newest() == start)
    }

    /// The store of a peer that was met, if that was made in place of one that was lost.
    pub fn new_store(&self, peer: NodeId) -> Option<Incarnation> {
        self.peers.get(&peer)?.met.as_ref()?.lineage.new_store()
    }

    /// Notes what a message claims, as far as that counts: see `Raft::claimed`. Says whose it is.
    pub fn hear(&mut self, from: NodeId, start: Incarnation, claim: Option<Claim>) -> Heard {
        if !self.has_met(from, start) {
            return Heard::Former;
        }
        let known = self.peers.get_mut(&from).expect("it was met");
        if let Some(claim) = claim.filter(|claim| claim.term > Term::ZERO) {
            known.note(&claim);
        }
        let met = known.met.as_mut().expect("it was met");
        if std::mem::replace(&mut met.heard, true) { Heard::Again } else { Heard::First }
    }

    /// A tick has passed, and this node is in `term`. `stands` says whether this start of a peer is
    /// still there.
    pub fn tick(&mut self, term: Term, stands: impl Fn(NodeId, Incarnation) -> bool) {
        self.term = term;
        for (peer, known) in &mut self.peers {
            let Some(met) = known.met.as_mut().filter(|met| !met.counts) else { continue };
            if stands(*peer, met.lineage.newest()) {
                met.ticks += 1;
            }
            if met.ticks >= self.count_after {
                known.count();
            }
        }
    }

    /// What is to be written down of what was noted since the last call.
    pub fn take_changes(&mut self) -> Vec<(NodeId, Remembered)> {
        let changed = self.peers.iter_mut().filter(|(_, known)| known.changed);
        let taken = changed.filter_map(|(peer, known)| {
            known.changed = false;
            Some((*peer, known.remembered?))
        });
        taken.collect()
    }
}

impl Known {
    /// Lets the start that was met count.
    fn count(&mut self) {
        let met = self.met.as_mut().expect("it was met");
        if met.counts {
            return;
        }
        met.counts = true;
        self.changed = true;
        let new = Remembered::of(&met.lineage);
        let Remembered { store, starts, start, .. } = new;
        self.remembered = Some(match self.remembered {
            Some(row) if row.store == store => Remembered { starts, start, ..row },
            Some(row) if met.lineage.in_place => row.replaced_by(&met.lineage),
            _ => new,
        });
    }

    fn note(&mut self, claim: &Claim) {
        self.count();
        let remembered = self.remembered.as_mut().expect("it counts");
        let before = *remembered;
        remembered.term = before.term.max(claim.term);
        if claim.voted {
            remembered.voted_in = before.voted_in.max(claim.term);
        }
        if let Some(index) = claim.acknowledged {
            if claim.term > before.acknowledged_in {
                (remembered.acknowledged_in, remembered.acknowledged) = (claim.term, index);
            } else if claim.term == before.acknowledged_in {
                remembered.acknowledged = before.acknowledged.max(index);
            }
        }
        self.changed |= *remembered != before;
    }
}

impl Raft {
    /// What is to be remembered of what a message says. An acknowledgement counts if this node leads
    /// its term: nobody else can tell whether what was acknowledged is there.
    pub fn claimed(&self, message: &Message) -> Option<Claim> {
        let claim = Claim::of(self.believed(message)?);
        let is_mine = self.leads(message.term());
        Some(if is_mine { claim } else { claim.acknowledging_nothing() })
    }
}

/// What a message says that its sender has on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    term: Term,
    voted: bool,
    acknowledged: Option<Index>,
}

impl Claim {
    pub(super) fn of(message: &Message) -> Self {
        // A pre-vote and its answer name a term that somebody may reach.
        let names = matches!(message, Message::PreVote(_) | Message::PreVoteResponse(_));
        let voted = matches!(message, Message::RequestVoteResponse(m) if m.vote_granted);
        let term = if names { Term::ZERO } else { message.term() };
        Self { term, voted, acknowledged: message.accepted() }
    }

    /// The same without an acknowledgement.
    pub(super) fn acknowledging_nothing(self) -> Self {
        Self { acknowledged: None, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::super::border::HardState;
    use super::super::message::{PreVote, RequestVoteResponse};
    use super::*;
    use crate::limits::TERM_JUMP_MAX;
    use crate::types::LogId;

    #[test]
    fn what_is_not_believed_is_not_remembered() {
        let (peer, start) = (NodeId::new(2).unwrap(), Incarnation::new(7));
        let me = (NodeId::new(1).unwrap(), Term::new(1));
        let mut memory = Memory::new(me, &BTreeMap::new(), 10);
        memory.meet(peer, &Lineage::new(Incarnation::new(6)).started(start));
        assert_eq!(memory.hear(peer, start, None), Heard::First, "it was heard all the same");
        assert_eq!(memory.take_changes(), []);
        let term = Term::new(u64::MAX);
        let names = Message::PreVote(PreVote { term, last_log_id: LogId::ZERO });
        assert_eq!(memory.hear(peer, start, Some(Claim::of(&names))), Heard::Again);
        assert_eq!(memory.take_changes(), [], "it names a term that it is not in");
        let term = Term::new(3);
        let vote = Message::RequestVoteResponse(RequestVoteResponse { term, vote_granted: true });
        memory.hear(peer, start, Some(Claim::of(&vote)));
        let [(_, row)] = memory.take_changes()[..] else { panic!("a vote is remembered") };
        assert_eq!((row.term, row.voted_in, row.start), (term, term, start));
    }
    #[test]
    fn a_term_that_nobody_can_have_reached_is_seen_at_the_hello() {
        let mut memory = Memory::new((NodeId::new(1).unwrap(), Term::new(3)), &BTreeMap::new(), 10);
        let shows = |term| Standing {
            lineage: Lineage::new(Incarnation::new(6)).started(Incarnation::new(7)),
            hard_state: HardState { current_term: Term::new(term), voted_for: None },
            last: LogId::ZERO,
        };
        assert!(memory.is_plausible(&shows(0)) && memory.is_plausible(&shows(3 + TERM_JUMP_MAX)));
        assert!(!memory.is_plausible(&shows(4 + TERM_JUMP_MAX)));
        memory.tick(Term::new(4), |_, _| true);
        assert!(memory.is_plausible(&shows(4 + TERM_JUMP_MAX)));
        assert!(!memory.is_plausible(&shows(u64::MAX)));
        memory.tick(Term::new(u64::MAX), |_, _| true);
        assert!(!memory.is_plausible(&shows(4)), "nor does it go the other way");
    }
}
