//! Invariant: what a node has promised is there whenever it starts, or it does not start: nobody
//! repairs a log by leaving out what cannot be read. A node that found damage says nothing more.
//!
//! A database that opens after a flipped bit, says nothing and ends before it makes a node that
//! votes and acknowledges with a log of which it has forgotten the end.
//!
//! Judged at each start, by the last entry that the node accepted or held for committed and on disk,
//! which covers all before it, and by the last term and vote that it spoke of. A truncation in
//! memory takes a promise back: then entries that were on disk are none any more. What is already
//! part of a closed segment is not read at a start, and so not judged at one.
//!
//! A node that begins at a head has that in the place of all that it promised before, if it lacked the entry
//! there: if it has it, or holds anything behind it for committed, it keeps what it has.

use std::collections::{BTreeMap, BTreeSet};

use super::{Law, LawName, Moment, NodeView, What, speech};
use crate::entry::{Chain, SealedEntry, Tip};
use crate::raft::{HardState, Message};
use crate::replica::Replica;
use crate::store::Recovered;
use crate::types::{Index, LogId, NodeId};
use crate::wire::peer::PeerMessage;

/// The last entry that a node must have.
type Entry = (LogId, Chain);

/// What a node has promised.
#[derive(Clone, Copy, Debug, Default)]
struct Promise {
    /// The term that it spoke of, and its vote in that.
    spoken: HardState,
    /// The last entry that it accepted.
    accepted: Option<Entry>,
    /// The last entry that it held for committed and had on disk: nothing takes that back.
    settled: Option<Entry>,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct NoSilentRepair {
    promises: BTreeMap<NodeId, Promise>,
    refused: BTreeSet<NodeId>,
}

impl NoSilentRepair {
    fn on_turn(
        &mut self,
        view: &NodeView<'_>,
        sent: &[(NodeId, PeerMessage)],
    ) -> Result<(), String> {
        if self.refused.contains(&view.id) && !sent.is_empty() {
            return Err(format!("{} found damage, and speaks", view.id));
        }
        let promise = self.promises.entry(view.id).or_default();
        for (to, sent) in sent {
            promise.speak(view.id, *to, &sent.message);
        }
        match view.replica {
            Some(replica) => promise.on_state(replica, sent),
            // It died within the turn: nobody knows what it may have truncated before.
            None => promise.accepted = promise.settled,
        }
        Ok(())
    }

    fn on_installs(&mut self, view: &NodeView<'_>, tip: &Tip) -> Result<(), String> {
        let (node, id) = (view.id, tip.id);
        if view.platter.entry(id.index) == Some((id, tip.chain)) {
            return Err(format!("{node} has {id}, and begins behind it with nothing"));
        }
        let Some(promise) = self.promises.get_mut(&node) else { return Ok(()) };
        let is_further = |entry: &Entry| entry.0.index >= id.index;
        if let Some((settled, _)) = promise.settled.filter(is_further) {
            return Err(format!("{node} holds {settled} for committed, and begins behind {id}"));
        }
        // What it had accepted beyond is of another history than that of its leader.
        promise.accepted = promise.accepted.filter(|entry| !is_further(entry));
        Ok(())
    }

    fn on_started(&mut self, node: NodeId, recovered: &Recovered) -> Result<(), String> {
        self.refused.remove(&node);
        let Some(promise) = self.promises.get(&node) else { return Ok(()) };
        promise.check_vote(node, recovered.hard_state)?;
        let promised = promise.accepted.max_by_index(promise.settled);
        promised.map_or(Ok(()), |entry| check_entry(node, entry, recovered))
    }
}

impl Promise {
    fn speak(&mut self, node: NodeId, to: NodeId, message: &Message) {
        let Some(term) = speech::reached(message) else { return };
        let vote = speech::vote(node, to, message).map(|(_, candidate)| candidate);
        if term > self.spoken.current_term {
            self.spoken = HardState { current_term: term, voted_for: vote };
        } else if term == self.spoken.current_term && vote.is_some() {
            self.spoken.voted_for = vote;
        }
    }

    fn on_state(&mut self, replica: &Replica, sent: &[(NodeId, PeerMessage)]) {
        let at = |index: Index| {
            let term = replica.raft().log().term_at(index).filter(|_| index > Index::ZERO)?;
            Some((LogId::new(index, term), replica.chain_at(index)?))
        };
        let persisted = replica.raft().log().persisted();
        if self.accepted.is_some_and(|(id, _)| id.index > persisted) {
            // Only a truncation makes less of what is on disk.
            self.accepted = at(persisted);
        }
        let term = replica.raft().current_term();
        for (_, sent) in sent {
            let Some((said_in, match_index)) = speech::accepted(&sent.message) else { continue };
            if said_in == term && match_index <= persisted {
                self.accepted = at(match_index).max_by_index(self.accepted);
            }
        }
        self.settled = at(replica.readable()).max_by_index(self.settled);
    }

    fn check_vote(&self, node: NodeId, found: HardState) -> Result<(), String> {
        let HardState { current_term: term, voted_for } = self.spoken;
        if found.current_term < term {
            let found = found.current_term;
            return Err(format!("{node} spoke of term {term}, and started in {found}"));
        }
        match voted_for {
            Some(vote) if found.current_term == term && found.voted_for != Some(vote) => Err(
                format!("{node} voted for {vote} in term {term}, and started without that vote"),
            ),
            _ => Ok(()),
        }
    }
}

/// The later of two entries.
trait MaxByIndex {
    fn max_by_index(self, other: Self) -> Self;
}

impl MaxByIndex for Option<Entry> {
    fn max_by_index(self, other: Self) -> Self {
        self.into_iter().chain(other).max_by_key(|(id, _)| id.index)
    }
}

fn check_entry(node: NodeId, (id, chain): Entry, recovered: &Recovered) -> Result<(), String> {
    let head = recovered.head.tip;
    if id.index < head.id.index {
        return Ok(());
    }
    let place = usize::try_from(id.index.since(head.id.index)).expect("in memory");
    let found = match place.checked_sub(1) {
        None => Some((head.id, head.chain)),
        Some(place) => recovered.entries.get(place).map(|entry| (entry.id(), entry.chain())),
    };
    if found == Some((id, chain)) {
        return Ok(());
    }
    let last = recovered.entries.last().map_or(head.id, SealedEntry::id);
    Err(format!("{node} had promised {id}, and started without it, on a log up to {last}"))
}

impl Law for NoSilentRepair {
    fn name(&self) -> LawName {
        LawName::NoSilentRepair
    }

    fn look(&mut self, moment: &Moment<'_>) -> Result<(), String> {
        match moment.what {
            What::Turn { node, sent, .. } => self.on_turn(moment.node(node), sent),
            // What was taken from it by force it cannot know by itself.
            What::Started { node, .. } if moment.node(node).lost => Ok(()),
            What::Started { node, recovered } => self.on_started(node, recovered),
            What::Refused { node } => {
                self.refused.insert(node);
                Ok(())
            }
            What::Installs { node, .. } if moment.node(node).lost => Ok(()),
            What::Installs { node, tip } => self.on_installs(moment.node(node), tip),
            What::BegunAnew { node } => {
                self.refused.remove(&node);
                self.promises.remove(&node);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::types::Term;

    fn starts(stage: &Stage, law: &NoSilentRepair, recovered: &Recovered) -> Result<(), String> {
        stage.show(&mut law.clone(), What::Started { node: node(1), recovered })
    }

    /// The node has shown itself with this log and sent this.
    fn after(log: &Log, commit_index: u64, sent: &PeerMessage) -> (Stage, NoSilentRepair) {
        let (mut stage, mut law) = (Stage::new(), NoSilentRepair::default());
        stage.run(follower(1, log, 4, commit_index), &log.entries);
        stage.sends(&mut law, 1, &[(node(2), sent.clone())]).unwrap();
        (stage, law)
    }

    #[test]
    fn a_start_without_what_was_accepted_is_found() {
        let log = Log::of(&[1, 1, 1, 1]);
        let (stage, law) = after(&log, 0, &accepted(4, 3));
        starts(&stage, &law, &recovered(&log.entries, 4, 0)).unwrap();
        starts(&stage, &law, &recovered(&log.entries[..3], 4, 0)).unwrap();
        let found = starts(&stage, &law, &recovered(&log.entries[..2], 4, 0));
        assert_broken(found, "n1 had promised 3@1, and started without it, on a log up to 2@1");
        let mut other = Log::of(&[1]).salted("!");
        other.extend(&[1, 1]);
        let found = starts(&stage, &law, &recovered(&other.entries, 4, 0));
        assert_broken(found, "n1 had promised 3@1, and started without it, on a log up to 3@1");
    }

    #[test]
    fn a_start_without_what_was_committed_is_found() {
        let log = Log::of(&[1, 1, 1, 1]);
        let (stage, law) = after(&log, 2, &accepted(4, 0));
        starts(&stage, &law, &recovered(&log.entries[..2], 4, 0)).unwrap();
        let found = starts(&stage, &law, &recovered(&log.entries[..1], 4, 0));
        assert_broken(found, "n1 had promised 2@1, and started without it");
    }

    #[test]
    fn a_closed_segment_stands_for_what_is_in_it() {
        let log = Log::of(&[1, 1, 1, 1]);
        let (stage, law) = after(&log, 0, &accepted(4, 3));
        let mut found = recovered(&log.entries[3..], 4, 0);
        found.head.tip = log.entries[2].tip();
        starts(&stage, &law, &found).unwrap();
        found.head.tip.chain = Chain::START;
        assert_broken(starts(&stage, &law, &found), "n1 had promised 3@1, and started without it");
    }

    #[test]
    fn a_truncation_takes_back_what_was_accepted_and_not_what_was_committed() {
        let log = Log::of(&[1, 1, 1, 1]);
        let (mut stage, mut law) = after(&log, 1, &accepted(4, 4));
        let shorter = Log::of(&[1, 1, 2]);
        stage.replicas.insert(node(1), follower(1, &Log::of(&[1, 1]), 4, 1));
        stage.turns(&mut law, 1).unwrap();
        starts(&stage, &law, &recovered(&shorter.entries, 4, 0)).unwrap();
        let found = starts(&stage, &law, &recovered(&log.entries[..1], 4, 0));
        assert_broken(found, "n1 had promised 2@1");
        stage.replicas.remove(&node(1));
        stage.turns(&mut law, 1).unwrap();
        starts(&stage, &law, &recovered(&log.entries[..1], 4, 0)).unwrap();
        assert_broken(starts(&stage, &law, &recovered(&[], 4, 0)), "n1 had promised 1@1");
    }

    #[test]
    fn a_start_without_a_term_or_a_vote_that_was_spoken_of_is_found() {
        let log = Log::of(&[1]);
        let with_vote = |term, vote| {
            let mut found = recovered(&log.entries, term, 0);
            found.hard_state.voted_for = Some(node(vote));
            found
        };
        let (stage, law) = after(&log, 0, &vote(Term::new(4), true));
        let found = starts(&stage, &law, &recovered(&log.entries, 3, 0));
        assert_broken(found, "n1 spoke of term 4, and started in 3");
        let expected = "n1 voted for n2 in term 4, and started without that vote";
        assert_broken(starts(&stage, &law, &recovered(&log.entries, 4, 0)), expected);
        assert_broken(starts(&stage, &law, &with_vote(4, 3)), expected);
        starts(&stage, &law, &with_vote(4, 2)).unwrap();
        starts(&stage, &law, &recovered(&log.entries, 5, 0)).unwrap();
        let (stage, law) = after(&log, 0, &candidacy(4, LogId::ZERO));
        assert_broken(starts(&stage, &law, &with_vote(4, 2)), "n1 voted for n1 in term 4");
        let (stage, law) = after(&log, 0, &vote(Term::new(4), false));
        starts(&stage, &law, &with_vote(4, 2)).unwrap();
    }

    #[test]
    fn a_node_begins_at_a_head_only_if_it_lacks_the_entry_before_it() {
        let log = Log::of(&[1, 1, 1, 1]);
        let (mut stage, law) = after(&log, 2, &accepted(4, 3));
        let installs = |stage: &Stage, law: &mut NoSilentRepair, tip: &Tip| {
            stage.show(law, What::Installs { node: node(1), tip })
        };
        let found = installs(&stage, &mut law.clone(), &log.tip());
        assert_broken(found, "n1 has 4@1, and begins behind it with nothing");
        // What was committed stays, whatever is said of what is on the disk.
        let other =
            |index, term| Tip { id: LogId::new(Index::new(index), Term::new(term)), ..log.tip() };
        let found = installs(&stage, &mut law.clone(), &other(2, 2));
        assert_broken(found, "n1 holds 2@1 for committed, and begins behind 2@2");
        // What it had accepted beyond is taken back by a head of another history.
        let mut taken_back = law.clone();
        installs(&stage, &mut taken_back, &other(3, 2)).unwrap();
        let mut begun = recovered(&[], 4, 0);
        begun.head.tip = other(3, 2);
        starts(&stage, &taken_back, &begun).unwrap();
        assert_broken(starts(&stage, &law, &begun), "n1 had promised 3@1");
        installs(&stage, &mut law.clone(), &other(9, 2)).unwrap();
        stage.lost.push(node(1));
        installs(&stage, &mut law.clone(), &log.tip()).unwrap();
    }

    #[test]
    fn a_node_that_found_damage_is_silent() {
        let log = Log::of(&[1]);
        let (stage, mut law) = after(&log, 0, &accepted(4, 1));
        stage.show(&mut law, What::Refused { node: node(1) }).unwrap();
        stage.turns(&mut law, 1).unwrap();
        let speaks = [(node(2), vote(Term::new(4), false))];
        assert_broken(stage.sends(&mut law.clone(), 1, &speaks), "n1 found damage, and speaks");
        stage.sends(&mut law.clone(), 2, &speaks).unwrap();
        let whole = recovered(&log.entries, 4, 0);
        stage.show(&mut law, What::Started { node: node(1), recovered: &whole }).unwrap();
        stage.sends(&mut law, 1, &speaks).unwrap();
    }
}
