//! What a node remembers of its peers: see [`super::standing`].
//!
//! A start is *met* when its hello was judged, and *counts* from its first claim on, or once it has
//! stood for a while. Until then it leaves no trace: a copy that another peer knows better, and that
//! so ends at once, must not keep the right folder out when that is put back.

use std::collections::BTreeMap;

use super::message::Message;
use super::standing::{Lineage, Loss, Remembered, Standing};
use crate::types::{Incarnation, Index, NodeId, Term};

/// What is known of all peers.
#[derive(Clone, Debug)]
pub struct Memory {
    me: NodeId,
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
    /// What was found on disk.
    pub fn new(me: NodeId, remembered: &BTreeMap<NodeId, Remembered>, count_after: u32) -> Self {
        let known =
            |remembered: &Remembered| Known { remembered: Some(*remembered), ..Known::default() };
        let peers = remembered.iter().map(|(peer, row)| (*peer, known(row))).collect();
        Self { me, count_after, peers }
    }

    /// Whether a peer that shows this has kept what it promised.
    ///
    /// # Errors
    /// The [`Loss`], if not. A start that was met and does not count yet is held against nobody.
    pub fn judge(&self, peer: NodeId, shown: &Standing) -> Result<(), Loss> {
        let remembered = self.peers.get(&peer).and_then(|known| known.remembered.as_ref());
        remembered.map_or(Ok(()), |remembered| remembered.judge(self.me, shown))
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

    /// Notes what a message claims, if it is believed: see `Raft::believed`. Says whose it is.
    pub fn hear(&mut self, from: NodeId, start: Incarnation, message: Option<&Message>) -> Heard {
        if !self.has_met(from, start) {
            return Heard::Former;
        }
        let known = self.peers.get_mut(&from).expect("it was met");
        let claim = message.map(Claim::of).filter(|claim| claim.term > Term::ZERO);
        if let Some(claim) = claim {
            known.note(&claim);
        }
        let met = known.met.as_mut().expect("it was met");
        if std::mem::replace(&mut met.heard, true) { Heard::Again } else { Heard::First }
    }

    /// A tick has passed. `stands` says whether this start of a peer is still there.
    pub fn tick(&mut self, stands: impl Fn(NodeId, Incarnation) -> bool) {
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
        let of_store = self.remembered.filter(|remembered| remembered.store == new.store);
        let Remembered { store, starts, start, .. } = new;
        self.remembered = Some(Remembered { store, starts, start, ..of_store.unwrap_or(new) });
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

/// What a message says that its sender has on disk.
struct Claim {
    term: Term,
    voted: bool,
    acknowledged: Option<Index>,
}

impl Claim {
    fn of(message: &Message) -> Self {
        // A pre-vote and its answer name a term that somebody may reach.
        let names = matches!(message, Message::PreVote(_) | Message::PreVoteResponse(_));
        let voted = matches!(message, Message::RequestVoteResponse(m) if m.vote_granted);
        let term = if names { Term::ZERO } else { message.term() };
        Self { term, voted, acknowledged: message.accepted() }
    }
}

#[cfg(test)]
mod tests {
    use super::super::message::{PreVote, RequestVoteResponse};
    use super::*;

    #[test]
    fn what_is_not_believed_is_not_remembered() {
        let (peer, start) = (NodeId::new(2).unwrap(), Incarnation::new(7));
        let mut memory = Memory::new(NodeId::new(1).unwrap(), &BTreeMap::new(), 10);
        memory.meet(peer, &Lineage::new(Incarnation::new(6)).started(start));
        assert_eq!(memory.hear(peer, start, None), Heard::First, "it was heard all the same");
        assert_eq!(memory.take_changes(), []);
        let term = Term::new(u64::MAX);
        let names = Message::PreVote(PreVote { term, last_log_id: crate::types::LogId::ZERO });
        assert_eq!(memory.hear(peer, start, Some(&names)), Heard::Again);
        assert_eq!(memory.take_changes(), [], "it names a term that it is not in");
        let term = Term::new(3);
        let vote = Message::RequestVoteResponse(RequestVoteResponse { term, vote_granted: true });
        memory.hear(peer, start, Some(&vote));
        let [(_, row)] = memory.take_changes()[..] else { panic!("a vote is remembered") };
        assert_eq!((row.term, row.voted_in, row.start), (term, term, start));
    }
}
