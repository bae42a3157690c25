//! Who to ask next: what a client believes about who leads.
//!
//! Only a node's own word makes it the leader here: a [`Welcome`] with the role of a leader whose
//! no-op is committed. What others say (the registry, followers, refusals) are *claims*: they say
//! whom to ask. Of two claims, as of two leaders, the higher term wins. A claim that failed is
//! refuted, and the same or an older one about that node is not believed again, so that no stale
//! hint is followed for ever; when there is none left, everybody is asked.

use std::collections::BTreeMap;

use crate::types::{NodeId, Term};
use crate::wire::api::{Role, Welcome};
use crate::wire::registry::Announcement;

/// A leader by its own word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Leading {
    /// The term that it leads.
    pub term: Term,
    /// Who.
    pub node: NodeId,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// This is the leader.
    Use(Leading),
    /// Ask this node: it is said to lead.
    Ask(NodeId),
    /// Ask all nodes and the registry at once.
    AskAll,
}

/// What a client believes about who leads.
#[derive(Clone, Debug, Default)]
pub struct Route {
    leader: Option<Leading>,
    /// The best claim that has not failed.
    claim: Option<Leading>,
    /// Named in a refusal, which tells no term. Asked once.
    hint: Option<NodeId>,
    /// For each node the highest term that it is known not to lead.
    refuted: BTreeMap<NodeId, Term>,
}

impl Route {
    /// Nothing is known yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The leader, if one is known.
    pub fn leader(&self) -> Option<Leading> {
        self.leader
    }

    /// What to do next. A hint from a refusal is given out once.
    pub fn what_next(&mut self) -> Next {
        if let Some(leader) = self.leader {
            return Next::Use(leader);
        }
        match self.hint.take().or(self.claim.map(|claim| claim.node)) {
            Some(node) => Next::Ask(node),
            None => Next::AskAll,
        }
    }

    /// A node gave an account of itself.
    pub fn on_welcome(&mut self, welcome: &Welcome) {
        let own = Leading { term: welcome.term, node: welcome.node };
        match welcome.role {
            Role::Leader if welcome.ready => self.lead(own),
            // It leads and cannot serve yet: ask it again.
            Role::Leader => {
                self.outlive(own);
                self.claim = self.claim.max(Some(own));
            }
            Role::Candidate => self.refute(own.node, Term::new(own.term.get().saturating_sub(1))),
            Role::Follower
            | Role::PreCandidate
            | Role::Recovering
            | Role::Damaged
            | Role::Learner => {
                self.refute(own.node, own.term);
            }
        }
        if let Some(node) = welcome.leader.filter(|node| *node != welcome.node) {
            self.on_claim(Leading { term: welcome.term, node });
        }
    }

    /// The registry named the leader that announced itself last.
    pub fn on_announcement(&mut self, announcement: &Announcement) {
        self.on_claim(Leading { term: announcement.term, node: announcement.node });
    }

    /// A node refused what only the leader does, and named the leader if it knew.
    pub fn on_refusal(&mut self, by: NodeId, leader: Option<NodeId>) {
        self.drop_node(by);
        self.hint = leader.filter(|node| *node != by);
    }

    /// A node did not answer, or its connection broke.
    pub fn on_failed(&mut self, node: NodeId) {
        self.drop_node(node);
    }

    /// A node's own word stands even against what was refuted: the connection may have broken and
    /// the leader not.
    fn lead(&mut self, own: Leading) {
        self.outlive(own);
        self.leader = self.leader.max(Some(own));
        self.claim = self.claim.filter(|claim| claim.term > own.term);
        if self.refuted.get(&own.node).is_some_and(|through| *through >= own.term) {
            self.refuted.remove(&own.node);
        }
    }

    fn on_claim(&mut self, claim: Leading) {
        self.outlive(claim);
        let refuted = self.refuted.get(&claim.node).is_some_and(|through| *through >= claim.term);
        let known = self.leader.is_some_and(|leader| leader.term >= claim.term);
        if !refuted && !known {
            self.claim = self.claim.max(Some(claim));
        }
    }

    /// Somebody leads this term: whoever led a lower one does not lead any more.
    fn outlive(&mut self, newer: Leading) {
        self.leader = self.leader.filter(|leader| leader.term >= newer.term);
    }

    /// A node does not lead this term nor any before it.
    fn refute(&mut self, node: NodeId, through: Term) {
        let highest = self.refuted.entry(node).or_default();
        *highest = through.max(*highest);
        let through = *highest;
        let stands = |leading: &Leading| leading.node != node || leading.term > through;
        self.leader = self.leader.filter(stands);
        self.claim = self.claim.filter(stands);
    }

    /// Whatever was believed of this node has failed.
    fn drop_node(&mut self, node: NodeId) {
        let believed = [self.leader, self.claim].into_iter().flatten();
        let through = believed.filter(|leading| leading.node == node).map(|l| l.term).max();
        if let Some(through) = through {
            self.refute(node, through);
        }
        self.hint = self.hint.filter(|hinted| *hinted != node);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{ClusterId, Incarnation, Index, Offset, Timestamp};
    use crate::wire::api::Vitals;
    use proptest::prelude::*;

    fn n(number: u16) -> NodeId {
        NodeId::new(number).unwrap()
    }

    fn leading(term: u64, node: u16) -> Leading {
        Leading { term: Term::new(term), node: n(node) }
    }

    fn welcome(node: u16, role: Role, term: u64, leader: Option<u16>) -> Welcome {
        Welcome {
            cluster: ClusterId::new(1),
            node: n(node),
            incarnation: Incarnation::new(1),
            role,
            term: Term::new(term),
            leader: leader.map(n),
            ready: role == Role::Leader,
            last_index: Index::ZERO,
            commit_index: Index::ZERO,
            next_offset: Offset::ZERO,
            disk_full: None,
            log_ahead_ms: 0,
            nodes: vec![],
            vitals: Vitals::default(),
        }
    }

    fn announcement(term: u64, node: u16) -> Announcement {
        let (address, time) = (String::new(), Timestamp::new(0));
        Announcement { term: Term::new(term), node: n(node), address, time }
    }

    #[test]
    fn a_claim_is_asked_and_the_leaders_own_word_is_used() {
        let mut route = Route::new();
        assert_eq!(route.what_next(), Next::AskAll);
        route.on_welcome(&welcome(2, Role::Follower, 3, Some(1)));
        assert_eq!(route.what_next(), Next::Ask(n(1)));
        route.on_welcome(&welcome(1, Role::Leader, 3, Some(1)));
        assert_eq!(route.what_next(), Next::Use(leading(3, 1)));
    }

    #[test]
    fn the_registrys_dead_leader_is_asked_once() {
        let mut route = Route::new();
        route.on_announcement(&announcement(3, 1));
        assert_eq!(route.what_next(), Next::Ask(n(1)));
        route.on_failed(n(1));
        route.on_announcement(&announcement(3, 1));
        assert_eq!(route.what_next(), Next::AskAll);
        route.on_announcement(&announcement(4, 1));
        assert_eq!(route.what_next(), Next::Ask(n(1)), "a newer term is news");
    }

    #[test]
    fn the_higher_term_wins_whatever_comes_first() {
        let (old, new) =
            (welcome(1, Role::Leader, 3, Some(1)), welcome(2, Role::Leader, 4, Some(2)));
        for order in [[&old, &new], [&new, &old]] {
            let mut route = Route::new();
            for welcome in order {
                route.on_welcome(welcome);
            }
            assert_eq!(route.what_next(), Next::Use(leading(4, 2)));
        }
    }

    #[test]
    fn a_higher_term_with_a_leader_ends_the_one_before() {
        let mut route = Route::new();
        route.on_welcome(&welcome(1, Role::Leader, 3, Some(1)));
        route.on_welcome(&welcome(3, Role::Candidate, 5, None));
        assert_eq!(route.what_next(), Next::Use(leading(3, 1)), "a candidate is not a leader");
        route.on_welcome(&welcome(3, Role::Follower, 5, Some(2)));
        assert_eq!(route.what_next(), Next::Ask(n(2)));
    }

    #[test]
    fn a_refusal_ends_the_leader_and_its_hint_is_asked_once() {
        let mut route = Route::new();
        route.on_welcome(&welcome(1, Role::Leader, 3, Some(1)));
        route.on_refusal(n(1), Some(n(2)));
        assert_eq!(route.what_next(), Next::Ask(n(2)));
        assert_eq!(route.what_next(), Next::AskAll);
        route.on_refusal(n(1), Some(n(1)));
        assert_eq!(route.what_next(), Next::AskAll, "who refuses does not lead");
    }

    #[test]
    fn a_leader_whose_connection_broke_may_come_back() {
        let mut route = Route::new();
        route.on_welcome(&welcome(1, Role::Leader, 3, Some(1)));
        route.on_failed(n(1));
        route.on_welcome(&welcome(2, Role::Follower, 3, Some(1)));
        assert_eq!(route.what_next(), Next::AskAll);
        route.on_welcome(&welcome(1, Role::Leader, 3, Some(1)));
        assert_eq!(route.what_next(), Next::Use(leading(3, 1)));
    }

    #[test]
    fn a_leader_that_is_not_ready_is_asked_again_and_not_used() {
        let mut route = Route::new();
        route.on_welcome(&Welcome { ready: false, ..welcome(1, Role::Leader, 3, Some(1)) });
        assert_eq!(route.what_next(), Next::Ask(n(1)));
        assert_eq!(route.what_next(), Next::Ask(n(1)));
    }

    #[derive(Clone, Debug)]
    enum Event {
        Welcome { node: u16, role: Role, term: u64, leader: Option<u16> },
        Announced { term: u64, node: u16 },
        Refused { node: u16, hint: Option<u16> },
        Failed { node: u16 },
    }

    fn event() -> impl Strategy<Value = Event> {
        let node = || 1..=3u16;
        let role = prop_oneof![
            Just(Role::Follower),
            Just(Role::PreCandidate),
            Just(Role::Candidate),
            Just(Role::Leader)
        ];
        prop_oneof![
            (node(), role, 1..9u64, proptest::option::of(node()))
                .prop_map(|(node, role, term, leader)| Event::Welcome { node, role, term, leader }),
            (1..9u64, node()).prop_map(|(term, node)| Event::Announced { term, node }),
            (node(), proptest::option::of(node()))
                .prop_map(|(node, hint)| Event::Refused { node, hint }),
            node().prop_map(|node| Event::Failed { node }),
        ]
    }

    proptest! {
        /// Whatever was said before: once the claims that are left have each failed, everybody is
        /// asked, and the one leader's own word is then believed.
        #[test]
        fn no_belief_lasts_against_the_facts(events in proptest::collection::vec(event(), 0..40)) {
            let mut route = Route::new();
            for event in events {
                match event {
                    Event::Welcome { node, role, term, leader } => {
                        route.on_welcome(&welcome(node, role, term, leader));
                    }
                    Event::Announced { term, node } => {
                        route.on_announcement(&announcement(term, node));
                    }
                    Event::Refused { node, hint } => route.on_refusal(n(node), hint.map(n)),
                    Event::Failed { node } => route.on_failed(n(node)),
                }
            }
            let mut asked = 0;
            loop {
                match route.what_next() {
                    Next::Use(leader) => route.on_failed(leader.node),
                    Next::Ask(node) => route.on_failed(node),
                    Next::AskAll => break,
                }
                asked += 1;
                prop_assert!(asked <= 8, "stale beliefs are followed for ever");
            }
            route.on_welcome(&welcome(2, Role::Leader, 9, Some(2)));
            prop_assert_eq!(route.what_next(), Next::Use(leading(9, 2)));
        }
    }
}
