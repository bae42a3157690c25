//! Changes of the configuration, as a leader makes them: joint consensus (thesis 4.3).

use super::border::{Content, StepDownReason};
use super::configuration::Configuration;
use super::election::SMALL_ENTRY_BYTES;
use super::machine::Raft;
use super::progress::Progress;
use crate::types::Index;

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
