//! Changes of the configuration, as a leader makes them: joint consensus (thesis 4.3), and one voter at
//! a time, which needs none (thesis 4.1).
//!
//! **A node that lost its store comes back by itself.** Its new store is another server of the same name
//! (`configuration`), so nobody counts what it says in the place of the former, which votes no more and
//! counts as dead. The leader that hears it makes two changes, by itself and one after the other:
//!
//! ```text
//!   n1 n2 n3 ──▶ n1 n2, learner n3 with its new store ──▶ n1 n2 n3 with its new store
//!          it was heard                        it has what the leader has (thesis 4.2.1)
//! ```
//!
//! Each changes one voter, so any majority before it has a voter in common with any after it. Nothing is
//! remembered of it but the entries: the next leader looks at its own configuration and goes on from there.
//! No change is proposed that could not be committed with those who are heard.
//!
//! A node outside of its configuration answers requests for votes like any other (thesis 4.2.1). It
//! has kept all that its new store promised, and who counts compares the store: a voter that was not
//! told yet that it is one may be who a majority needs.

use std::collections::BTreeSet;

use super::border::{Content, Notice, StepDownReason};
use super::configuration::Configuration;
use super::election::SMALL_ENTRY_BYTES;
use super::machine::Raft;
use super::progress::{Progress, Round};
use crate::marks::{Mark, hit};
use crate::types::{Incarnation, Index, NodeId};

impl Raft {
    pub(super) fn on_propose_configuration(&mut self, configuration: Configuration) {
        assert!(self.may_propose(), "proposed to a {} that may not", self.role.name());
        // One change at a time, and none before the first commit of the term: a change proposed
        // earlier could overlap with one that the leader has not heard of (Ongaro, 2015).
        assert!(self.is_ready_leader(), "a configuration before the first commit of the term");
        assert!(
            self.log.configuration_index() <= self.log.commit_index(),
            "a configuration while another is not committed"
        );
        self.append_configuration(configuration);
    }

    /// Whether what is heard under a node's name comes from the server that the configuration means:
    /// the node with the store that it is a member with.
    pub(super) fn is_meant(&self, node: NodeId) -> bool {
        self.log.configuration().store(node) == self.store_of(node)
    }

    /// The voters that are meant, of those in force.
    pub(super) fn meant_voters(&self) -> BTreeSet<NodeId> {
        let voters = self.log.configuration().voters.iter().copied();
        voters.filter(|node| self.is_meant(*node)).collect()
    }

    /// The store of a node, if it came back with another than it began with.
    fn store_of(&self, node: NodeId) -> Option<Incarnation> {
        if node == self.id() { self.options.store } else { self.stores.get(&node).copied() }
    }

    /// Whether this node, with its store, votes by its newest configuration.
    pub fn is_voter(&self) -> bool {
        self.log.configuration().has_voter(self.id(), self.options.store)
    }

    /// Whether this node, with its store, votes whatever becomes of what is not committed, and has that on its
    /// disk.
    pub fn is_settled_voter(&self) -> bool {
        let configurations = self.log.configurations();
        let votes = |of: &Configuration| of.has_voter(self.id(), self.options.store);
        configurations[0].0 <= self.log.persisted()
            && configurations.iter().all(|(_, it)| votes(it))
    }

    /// Whether this node came back with a new store, and does not vote yet.
    pub fn is_refilling(&self) -> bool {
        self.options.store.is_some() && !self.is_voter()
    }

    /// A tick for what comes back: see the module.
    pub(super) fn tick_refilling(&mut self) {
        self.tick_rounds();
        if let Some(node) = self.to_refill() {
            let store = self.stores[&node];
            let next = self.log.configuration().refilling(node, store);
            if self.may_change_to(&next) {
                self.notice(Notice::Refilling { node });
                self.append_configuration(next);
            }
        } else if let Some(node) = self.to_promote() {
            let next = self.log.configuration().promoted(node);
            if self.may_change_to(&next) {
                hit(Mark::Reinstated);
                self.notice(Notice::Reinstated { node });
                self.append_configuration(next);
            }
        }
    }

    /// A member that is heard with another store than the configuration means.
    fn to_refill(&self) -> Option<NodeId> {
        let members = self.log.configuration().members();
        let mut anew = self.stores.keys().copied().filter(|node| members.contains(node));
        anew.find(|node| !self.is_meant(*node) && self.is_heard(*node))
    }

    /// A learner that was filled in a round which was short enough.
    fn to_promote(&self) -> Option<NodeId> {
        let patience = self.options.election_timeout_ticks_min;
        let leader = self.role.as_leader()?;
        let is_filled = |node: NodeId| {
            let Some(progress) = leader.progress.get(&node) else { return false };
            let is_done = progress
                .round
                .is_some_and(|it| progress.match_index >= it.through && it.ticks <= patience);
            is_done && progress.disk_full.is_none()
        };
        self.filled_learners().find(|node| self.is_heard(*node) && is_filled(*node))
    }

    /// Those that came back and are being filled.
    fn filled_learners(&self) -> impl Iterator<Item = NodeId> {
        let configuration = self.log.configuration();
        let learners = configuration.learners.iter().copied();
        learners.filter(|node| configuration.is_refilling(*node) && self.is_meant(*node))
    }

    /// A tick for the rounds in which learners are filled.
    fn tick_rounds(&mut self) {
        let patience = self.options.election_timeout_ticks_min;
        let last = self.log.last().index;
        let filled: BTreeSet<_> = self.filled_learners().collect();
        for (node, progress) in &mut self.leader_mut().progress {
            if !filled.contains(node) {
                progress.round = None;
                continue;
            }
            let round = progress.round.get_or_insert(Round { through: last, ticks: 0 });
            round.ticks = round.ticks.saturating_add(1);
            if progress.match_index >= round.through && round.ticks > patience {
                // It took so long that as much may be missing again.
                *round = Round { through: last, ticks: 0 };
            }
        }
    }

    /// Whether the configuration may be changed to this one now, and could be committed by those who are
    /// heard.
    fn may_change_to(&self, next: &Configuration) -> bool {
        let is_settled = self.is_ready_leader()
            && self.log.configuration_index() <= self.log.commit_index()
            && !self.log.configuration().is_joint();
        let is_heard = |node| {
            node == self.id() || next.store(node) == self.store_of(node) && self.is_heard(node)
        };
        is_settled && self.may_propose() && !next.voters.is_empty() && next.is_quorum(is_heard)
    }

    fn is_heard(&self, node: NodeId) -> bool {
        let patience = self.options.election_timeout_ticks_min;
        let progress = self.role.as_leader().and_then(|leader| leader.progress.get(&node));
        progress.is_some_and(|progress| progress.silent_ticks < patience)
    }

    fn append_configuration(&mut self, configuration: Configuration) {
        let content = Content::Configuration(configuration);
        let index = self.append_as_leader(content, SMALL_ENTRY_BYTES);
        self.update_members(index);
        self.broadcast_entries();
        self.maybe_commit();
    }

    /// A committed joint configuration is left for the new one alone; a leader outside of a
    /// committed configuration steps down (thesis 4.2.2, 4.3).
    pub(super) fn on_configuration_committed(&mut self) {
        if self.log.configuration_index() > self.log.commit_index() {
            return;
        }
        let configuration = self.log.configuration();
        if configuration.is_joint() {
            let mut incoming = configuration.clone();
            incoming.outgoing.clear();
            self.append_configuration(incoming);
        } else if !configuration.is_voter(self.id()) {
            self.become_follower(self.current_term(), None, StepDownReason::Removed);
        }
    }

    /// Takes the members of the configuration in force as those to replicate to.
    pub(super) fn update_members(&mut self, next: Index) {
        let id = self.id();
        let members = self.log.configuration().members();
        let leader = self.role.as_leader_mut().expect("only a leader replicates");
        leader.progress.retain(|node, _| members.contains(node));
        for node in members.into_iter().filter(|node| *node != id) {
            leader.progress.entry(node).or_insert_with(|| Progress::new(next));
        }
    }
}
