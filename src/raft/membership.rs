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
//! **People change members** by what they say of how it should be (`Raft::plan`): a node is a member, for this
//! or that; it is none. Whoever is added is a learner that comes with a new store, so that what follows is the
//! same as above. One that is to take another's place does so by a joint configuration (thesis 4.3): neither
//! an even number of voters nor one less has to be enough meanwhile.
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
use crate::address::Address;
use crate::limits::NODES_MAX;
use crate::marks::{Mark, hit};
use crate::members::{Aim, Member, MemberChange, MemberRefusal, Part};
use crate::mutants::{self, Mutant};
use crate::types::{Incarnation, Index, NodeId};

/// What follows from a change that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Nothing: it is so.
    IsSo,
    /// This configuration is to be proposed.
    Configure(Configuration),
    /// This node is to lead first, or at all.
    HandOver(NodeId),
}

/// What a node is itself, by what it knows to be committed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Belonging {
    /// A member, voter or not, with the store that it has.
    Member,
    /// A member of its name is meant, with another store: it came back with a new one, and that is not known
    /// yet; or it reads in the log of what was before it.
    Namesake,
    /// There is no member of its name.
    #[default]
    Nobody,
}

impl Raft {
    pub(super) fn on_propose_configuration(&mut self, configuration: Configuration) {
        assert!(self.may_propose(), "proposed to a {} that may not", self.role.name());
        // One change at a time, and none before the first commit of the term: a change proposed
        // earlier could overlap with one that the leader has not heard of (Ongaro, 2015).
        let (is_early, is_second) = (Mutant::ChangeBeforeFirstCommit, Mutant::TwoChangesAtOnce);
        assert!(
            self.is_ready_leader() || mutants::is_on(is_early),
            "a configuration before the first commit of the term"
        );
        assert!(
            self.log.configuration_index() <= self.log.commit_index() || mutants::is_on(is_second),
            "a configuration while another is not committed"
        );
        self.append_configuration(configuration);
    }

    /// What follows from a change that is asked for by somebody who has seen the members as of an entry.
    ///
    /// # Errors
    /// The refusal: nothing is to be done.
    pub fn plan(&self, as_of: Index, change: &MemberChange) -> Result<Plan, MemberRefusal> {
        if self.role.as_leader().is_none() {
            return Err(MemberRefusal::NotLeader { leader: self.leader() });
        }
        if !self.may_change() {
            hit(Mark::ChangeUnderWay);
            return Err(MemberRefusal::Busy);
        }
        if as_of != self.log.configuration_index() {
            return Err(MemberRefusal::Outdated);
        }
        let planned = match change {
            MemberChange::Add { node, address, aim } => self.plan_to_add(*node, address, *aim)?,
            MemberChange::Remove { node } => self.plan_to_remove(*node)?,
            MemberChange::Move { node, address } => self.plan_to_move(*node, address)?,
            MemberChange::Transfer { to } => return self.plan_to_hand_over(*to),
        };
        match planned {
            Plan::Configure(next) if next == *self.log.configuration() => Ok(Plan::IsSo),
            Plan::Configure(next) => {
                self.check_majority(&next)?;
                Ok(Plan::Configure(next))
            }
            planned => Ok(planned),
        }
    }

    fn plan_to_add(
        &self,
        node: NodeId,
        address: &Address,
        aim: Option<Aim>,
    ) -> Result<Plan, MemberRefusal> {
        let now = self.log.configuration();
        if now.is_voter(node) {
            return Ok(Plan::IsSo);
        }
        if let Some(Aim::Replace(other)) = aim
            && !now.is_voter(other)
        {
            return Err(MemberRefusal::NoVoter { node: other });
        }
        let next = now.with_learner(node, address, aim);
        if next.members().len() > NODES_MAX {
            return Err(MemberRefusal::TooMany);
        }
        check_address(now, node, address)?;
        Ok(Plan::Configure(next))
    }

    fn plan_to_remove(&self, node: NodeId) -> Result<Plan, MemberRefusal> {
        let now = self.log.configuration();
        let next = now.without(node);
        if next.voters.is_empty() {
            return Err(MemberRefusal::LastVoter);
        }
        if node == self.id() {
            self.check_majority(&next)?;
            return self.plan_to_hand_over(None);
        }
        Ok(Plan::Configure(next))
    }

    fn plan_to_move(&self, node: NodeId, address: &Address) -> Result<Plan, MemberRefusal> {
        let now = self.log.configuration();
        if !now.members().contains(&node) {
            return Err(MemberRefusal::NoMember { node });
        }
        check_address(now, node, address)?;
        Ok(Plan::Configure(now.moved(node, address)))
    }

    fn plan_to_hand_over(&self, to: Option<NodeId>) -> Result<Plan, MemberRefusal> {
        let voters = self.log.configuration().voters.len();
        match to {
            Some(to) if to == self.id() => Ok(Plan::IsSo),
            Some(node) if !self.log.configuration().is_voter(node) => {
                Err(MemberRefusal::NoVoter { node })
            }
            Some(to) if self.successor(Some(to)).is_none() => {
                Err(MemberRefusal::Unheard { node: to })
            }
            to => {
                let found = self.successor(to);
                let alone = MemberRefusal::NoMajority { voters: counted(voters), heard: 1 };
                found.map(Plan::HandOver).ok_or(alone)
            }
        }
    }

    fn check_majority(&self, next: &Configuration) -> Result<(), MemberRefusal> {
        if next.is_quorum(|node| self.is_heard_as(node, next)) {
            return Ok(());
        }
        hit(Mark::ChangeWithoutMajority);
        let heard = next.voters.iter().filter(|node| self.is_heard_as(**node, next)).count();
        let (voters, heard) = (counted(next.voters.len()), counted(heard));
        Err(MemberRefusal::NoMajority { voters, heard })
    }

    /// A member as this leader sees it; nothing else is known of one but the address that its file says.
    pub fn member(&self, node: NodeId) -> Option<Member> {
        let (now, leader) = (self.log.configuration(), self.role.as_leader()?);
        let part = match () {
            () if now.voters.contains(&node) => Part::Voter,
            () if now.outgoing.contains(&node) => Part::Outgoing,
            () if now.learners.contains(&node) => Part::Learner,
            () => return None,
        };
        let of_other = leader.progress.get(&node).map(|progress| progress.match_index);
        let own = (node == self.id()).then(|| self.log.persisted());
        Some(Member {
            node,
            part,
            aim: now.aims.get(&node).copied(),
            address: now.addresses.get(&node).cloned(),
            store: now.store(node),
            match_index: own.or(of_other).unwrap_or_default(),
            heard: self.is_heard_as(node, now),
        })
    }

    /// Whether a change may begin.
    fn may_change(&self) -> bool {
        let is_ready = self.is_ready_leader() || mutants::is_on(Mutant::ChangeBeforeFirstCommit);
        let is_settled = self.log.configuration_index() <= self.log.commit_index()
            && !self.log.configuration().is_joint()
            || mutants::is_on(Mutant::TwoChangesAtOnce);
        is_ready && is_settled && self.may_propose()
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

    /// Whether this node came, or came back, with a new store, and does not vote yet.
    pub fn is_refilling(&self) -> bool {
        self.options.store.is_some() && !self.is_voter()
    }

    /// The entry of the newest configuration that is known to be committed.
    pub fn members_as_of(&self) -> Index {
        self.log.configurations()[0].0
    }

    /// All that are members of a configuration that may be in force.
    pub fn possible_members(&self) -> BTreeSet<NodeId> {
        self.log.configurations().iter().flat_map(|(_, it)| it.members()).collect()
    }

    /// Whether another node, which knows the members as of an entry, has no business here: it is no member,
    /// and has heard of no later change than this node.
    ///
    /// NB: one that has heard of more is heard, member or not: it may lead by a configuration that this node
    /// was not told of (thesis 4.2.1). A voter knows that to be committed by which it came.
    pub fn is_stranger(&self, node: NodeId, as_of: Index) -> bool {
        let is_member = |(_, it): &(Index, Configuration)| it.members().contains(&node);
        as_of <= self.members_as_of() && !self.log.configurations().iter().any(is_member)
    }

    /// What it is itself, by the newest configuration that it knows to be committed. A member that is a
    /// stranger to somebody who knows of a later change was removed.
    pub fn belonging(&self) -> Belonging {
        let configuration = &self.log.configurations()[0].1;
        if !configuration.members().contains(&self.id()) {
            Belonging::Nobody
        } else if configuration.store(self.id()) == self.options.store {
            Belonging::Member
        } else {
            Belonging::Namesake
        }
    }

    /// Whether this node was removed: it has been a member since it was started, or has the store that it
    /// began with, and has been nobody for a while. In that time its last words go out, and one that was
    /// taken in again reads so in what it is sent.
    pub fn was_removed(&self) -> bool {
        self.nobody_ticks >= self.options.election_timeout_ticks_max
    }

    /// A tick for what this node is itself. One that is being filled reads of times when it was nobody yet.
    pub(super) fn tick_belonging(&mut self) {
        match self.belonging() {
            Belonging::Nobody if self.belonged => {
                self.nobody_ticks = self.nobody_ticks.saturating_add(1);
            }
            belonging => {
                self.belonged |= belonging == Belonging::Member;
                self.nobody_ticks = 0;
            }
        }
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
            (is_done || mutants::is_on(Mutant::PromoteUnfilled)) && progress.disk_full.is_none()
        };
        self.filled_learners().find(|node| self.is_heard(*node) && is_filled(*node))
    }

    /// Those that are being filled, to vote then.
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
        self.may_change()
            && !next.voters.is_empty()
            && next.is_quorum(|node| self.is_heard_as(node, next))
    }

    /// Whether a node is heard, with the store that a configuration means.
    fn is_heard_as(&self, node: NodeId, configuration: &Configuration) -> bool {
        let is_same = configuration.store(node) == self.store_of(node);
        node == self.id() || is_same && self.is_heard(node)
    }

    fn is_heard(&self, node: NodeId) -> bool {
        let patience = self.options.election_timeout_ticks_min;
        let progress = self.role.as_leader().and_then(|leader| leader.progress.get(&node));
        progress.is_some_and(|it| it.has_answered && it.silent_ticks < patience)
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
            hit(Mark::JointLeft);
            self.append_configuration(configuration.left());
        } else if !configuration.is_voter(self.id()) {
            hit(Mark::LeaderRemoved);
            self.name_successor();
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

/// No member is where another one is said to be.
fn check_address(
    now: &Configuration,
    node: NodeId,
    address: &Address,
) -> Result<(), MemberRefusal> {
    let mut others = now.addresses.iter().filter(|(other, at)| **other != node && *at == address);
    match others.next() {
        Some((node, _)) => Err(MemberRefusal::SameAddress { node: *node }),
        None => Ok(()),
    }
}

fn counted(voters: usize) -> u16 {
    u16::try_from(voters).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use std::slice;

    use super::super::border::{Effect, HardState, Input, Persist};
    use super::super::log::RecoveredLog;
    use super::super::machine::Options;
    use super::super::message::{
        AppendEntries, AppendEntriesResponse, AppendResult, EntryInfo, Message, PreVoteResponse,
        RequestVoteResponse,
    };
    use super::*;
    use crate::types::{LogId, Term, Ticket};

    fn node(number: u16) -> NodeId {
        NodeId::new(number).unwrap()
    }

    fn at(number: u16) -> Address {
        format!("10.0.0.{number}:7101").parse().unwrap()
    }

    fn add(number: u16, aim: Option<Aim>) -> MemberChange {
        MemberChange::Add { node: node(number), address: at(number), aim }
    }

    fn remove(number: u16) -> MemberChange {
        MemberChange::Remove { node: node(number) }
    }

    fn hear(raft: &mut Raft, from: u16, message: Message) -> Vec<Effect> {
        raft.step(Input::Receive { from: node(from), message })
    }

    fn persist(raft: &mut Raft, ticket: u64) {
        raft.step(Input::Persisted { ticket: Ticket::new(ticket) });
    }

    fn accept(raft: &mut Raft, from: u16, match_index: u64) -> Vec<Effect> {
        let result = AppendResult::Accepted { match_index: Index::new(match_index) };
        let term = raft.current_term();
        let response = AppendEntriesResponse { term, round: 0, result, disk_full: None };
        hear(raft, from, Message::AppendEntriesResponse(response))
    }

    /// n1, just elected by n2 in a cluster of three.
    fn elected() -> Raft {
        let log = RecoveredLog {
            terms: vec![],
            head: LogId::ZERO,
            configuration: Configuration::of([node(1), node(2), node(3)]),
            entries: vec![],
            commit_index: Index::ZERO,
        };
        let options = Options::new(node(1), 2, (10, 10));
        let mut raft = Raft::recover(options, HardState::default(), log, 0);
        (0..10).for_each(|_| drop(raft.step(Input::Tick { random: 0 })));
        let term = Term::new(1);
        let answer = PreVoteResponse { term, vote_granted: true };
        hear(&mut raft, 2, Message::PreVoteResponse(answer));
        persist(&mut raft, 1);
        let vote = RequestVoteResponse { term, vote_granted: true };
        hear(&mut raft, 2, Message::RequestVoteResponse(vote));
        assert!(raft.role().as_leader().is_some());
        raft
    }

    /// The same when its no-op is committed, and everybody has it.
    fn ready() -> Raft {
        let mut raft = elected();
        persist(&mut raft, 2);
        accept(&mut raft, 2, 1);
        accept(&mut raft, 3, 1);
        assert!(raft.is_ready_leader());
        raft
    }

    fn propose(raft: &mut Raft, change: &MemberChange) -> Configuration {
        let as_of = raft.log().configuration_index();
        let Ok(Plan::Configure(next)) = raft.plan(as_of, change) else { panic!("{change:?}") };
        raft.step(Input::ProposeConfiguration(next.clone()));
        next
    }

    #[test]
    fn one_change_at_a_time_and_none_before_the_first_commit_of_the_term() {
        let raft = elected();
        assert_eq!(raft.plan(Index::ZERO, &add(4, None)), Err(MemberRefusal::Busy));
        let mut raft = ready();
        propose(&mut raft, &add(4, None));
        assert_eq!(raft.plan(Index::new(2), &add(5, None)), Err(MemberRefusal::Busy));
        persist(&mut raft, 3);
        accept(&mut raft, 2, 2);
        // Somebody who has not seen it has to look again.
        assert_eq!(raft.plan(Index::ZERO, &add(5, None)), Err(MemberRefusal::Outdated));
        assert!(matches!(raft.plan(Index::new(2), &add(5, None)), Ok(Plan::Configure(_))));
        assert_eq!(raft.plan(Index::new(2), &add(4, None)), Ok(Plan::IsSo));
        let other = add(4, Some(Aim::Stay));
        assert!(matches!(raft.plan(Index::new(2), &other), Ok(Plan::Configure(_))));
    }

    #[test]
    fn a_learner_does_not_count() {
        let mut raft = ready();
        let next = propose(&mut raft, &add(4, None));
        assert!(next.learners.contains(&node(4)) && !next.voters.contains(&node(4)));
        persist(&mut raft, 3);
        accept(&mut raft, 4, 2);
        assert_eq!(raft.log().commit_index(), Index::new(1));
        accept(&mut raft, 3, 2);
        assert_eq!(raft.log().commit_index(), Index::new(2));
    }

    #[test]
    fn who_is_left_has_to_be_a_majority_that_is_heard() {
        let mut raft = ready();
        for _ in 0..9 {
            raft.step(Input::Tick { random: 0 });
            accept(&mut raft, 2, 1);
        }
        raft.step(Input::Tick { random: 0 });
        accept(&mut raft, 2, 1);
        let refusal = MemberRefusal::NoMajority { voters: 2, heard: 1 };
        assert_eq!(raft.plan(Index::ZERO, &remove(2)), Err(refusal));
        assert!(matches!(raft.plan(Index::ZERO, &remove(3)), Ok(Plan::Configure(_))));
        assert_eq!(
            raft.plan(Index::ZERO, &remove(1)),
            Err(MemberRefusal::NoMajority { voters: 2, heard: 1 })
        );
        let to = |to| MemberChange::Transfer { to: Some(node(to)) };
        assert_eq!(raft.plan(Index::ZERO, &to(2)), Ok(Plan::HandOver(node(2))));
        assert_eq!(raft.plan(Index::ZERO, &to(3)), Err(MemberRefusal::Unheard { node: node(3) }));
        assert_eq!(raft.plan(Index::ZERO, &to(4)), Err(MemberRefusal::NoVoter { node: node(4) }));
        assert_eq!(raft.plan(Index::ZERO, &to(1)), Ok(Plan::IsSo));
    }

    #[test]
    fn a_leader_that_is_to_go_hands_over_first() {
        let raft = ready();
        assert!(matches!(raft.plan(Index::ZERO, &remove(1)), Ok(Plan::HandOver(_))));
        assert_eq!(raft.plan(Index::ZERO, &remove(9)), Ok(Plan::IsSo));
        let none = add(4, Some(Aim::Replace(node(9))));
        assert_eq!(raft.plan(Index::ZERO, &none), Err(MemberRefusal::NoVoter { node: node(9) }));
    }

    #[test]
    fn who_takes_a_place_does_so_in_one_step_once_it_is_filled() {
        let mut raft = ready();
        propose(&mut raft, &add(4, Some(Aim::Replace(node(3)))));
        persist(&mut raft, 3);
        accept(&mut raft, 2, 2);
        // It comes with a store of its own, which the next entry names.
        let store = Incarnation::new(7);
        raft.step(Input::Restarted { peer: node(4), store: Some(store) });
        raft.step(Input::Tick { random: 0 });
        assert_eq!(raft.log().configuration().store(node(4)), None, "it has not answered");
        accept(&mut raft, 4, 0);
        raft.step(Input::Tick { random: 0 });
        assert_eq!(raft.log().configuration().store(node(4)), Some(store));
        persist(&mut raft, 4);
        accept(&mut raft, 2, 3);
        accept(&mut raft, 4, 3);
        raft.step(Input::Tick { random: 0 });
        let joint = raft.log().configuration().clone();
        assert_eq!(joint.voters, [1, 2, 4].map(node).into());
        assert_eq!(joint.outgoing, [1, 2, 3].map(node).into());
        persist(&mut raft, 5);
        // n1 and n2 are a majority of both: n3 may be dead.
        accept(&mut raft, 2, 4);
        let alone = raft.log().configuration().clone();
        assert!(!alone.is_joint() && alone.aims.is_empty() && !alone.members().contains(&node(3)));
    }

    /// A leader may remember a store of a process that another one, with a newer store, has followed since.
    #[test]
    fn a_store_counts_as_heard_once_it_has_answered_in_the_term() {
        let mut raft = elected();
        persist(&mut raft, 2);
        raft.step(Input::Restarted { peer: node(3), store: Some(Incarnation::new(7)) });
        accept(&mut raft, 2, 1);
        assert!(raft.is_ready_leader());
        raft.step(Input::Tick { random: 0 });
        assert_eq!(raft.log().configuration().store(node(3)), None);
        accept(&mut raft, 3, 0);
        raft.step(Input::Tick { random: 0 });
        assert_eq!(raft.log().configuration().store(node(3)), Some(Incarnation::new(7)));
    }

    #[test]
    fn a_learner_votes_once_it_is_filled_with_whatever_store_it_has() {
        let mut raft = ready();
        propose(&mut raft, &add(4, None));
        persist(&mut raft, 3);
        accept(&mut raft, 2, 2);
        accept(&mut raft, 4, 2);
        raft.step(Input::Tick { random: 0 });
        assert!(raft.log().configuration().is_voter(node(4)));
    }

    #[test]
    fn a_learner_that_is_to_stay_one_does() {
        let mut raft = ready();
        propose(&mut raft, &add(4, Some(Aim::Stay)));
        persist(&mut raft, 3);
        accept(&mut raft, 2, 2);
        accept(&mut raft, 4, 2);
        raft.step(Input::Tick { random: 0 });
        assert!(!raft.log().configuration().is_voter(node(4)));
    }

    /// A follower of a log whose first entries are these configurations, one committed after the other, and
    /// ticks after each of them.
    fn removed_by(store: Option<Incarnation>, configurations: &[Configuration]) -> bool {
        let log = RecoveredLog {
            terms: vec![],
            head: LogId::ZERO,
            configuration: Configuration::of([node(1), node(2), node(9)]),
            entries: vec![],
            commit_index: Index::ZERO,
        };
        let options = Options { store, ..Options::new(node(9), 2, (10, 10)) };
        let mut raft = Raft::recover(options, HardState::default(), log, 0);
        let term = Term::new(1);
        for (index, configuration) in (1..).zip(configurations) {
            let index = Index::new(index);
            let before = if index == Index::new(1) { Term::ZERO } else { term };
            let configuration = Some(configuration.clone());
            let message = AppendEntries {
                term,
                prev_log_id: LogId { index: index.previous(), term: before },
                leader_commit: index,
                round: 0,
                heartbeat: false,
                entries: vec![EntryInfo { term, bytes: SMALL_ENTRY_BYTES, configuration }],
            };
            for effect in hear(&mut raft, 1, Message::AppendEntries(message)) {
                if let Effect::Persist(Persist { ticket, .. }) = effect {
                    raft.step(Input::Persisted { ticket });
                }
            }
            (0..10).for_each(|_| drop(raft.step(Input::Tick { random: 0 })));
        }
        raft.was_removed()
    }

    #[test]
    fn only_who_is_nobody_and_was_somebody_was_removed() {
        let (without, with) = ([1, 2].map(node), [1, 2, 9].map(node));
        let (without, with) = (Configuration::of(without), Configuration::of(with));
        let joined = with.refilling(node(9), Incarnation::new(7));
        let (founder, joins) = (None, Some(Incarnation::new(7)));
        assert!(removed_by(founder, slice::from_ref(&without)));
        assert!(!removed_by(founder, &[without.clone(), with.clone()]), "it was taken in again");
        assert!(!removed_by(joins, slice::from_ref(&without)), "it reads of times before it came");
        assert!(!removed_by(joins, &[joined.clone(), with]), "another store is meant for now");
        assert!(removed_by(joins, &[joined, without]));
    }

    #[test]
    fn a_stranger_that_knows_of_a_later_change_is_heard() {
        let mut raft = ready();
        assert!(raft.is_stranger(node(4), Index::ZERO));
        assert!(!raft.is_stranger(node(4), Index::new(2)), "it may lead");
        assert!(!raft.is_stranger(node(3), Index::ZERO));
        propose(&mut raft, &remove(3));
        assert!(!raft.is_stranger(node(3), Index::ZERO), "it is not committed");
        persist(&mut raft, 3);
        accept(&mut raft, 2, 2);
        assert!(raft.is_stranger(node(3), Index::ZERO));
        assert_eq!(raft.belonging(), Belonging::Member);
    }
}
