//! What all parts of a client share: its connections, and what it believes.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::connections::{AskError, Connections, lock};
use super::ended_logs::EndedLogs;
use super::moment::Moment;
use super::route::Leading;
use super::search::Beliefs;
use super::unavailable::Unavailable;
use crate::limits::CLIENT_ANSWER_TIMEOUT;
use crate::types::NodeId;
use crate::wire::api::Welcome;

/// What all parts of a client share: its connections, and what it believes.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) connections: Connections,
    /// Every wait that is not a followed read's ends after this time.
    pub(super) timeout: Duration,
    /// Cancelled when nobody wants to wait for appends any more.
    pub(super) given_up: CancellationToken,
    beliefs: Mutex<Beliefs>,
    ended_logs: Mutex<EndedLogs>,
    /// How each node was last found: whom it named as the leader, if it answered.
    census: Mutex<BTreeMap<NodeId, Result<Option<Leading>, AskError>>>,
    /// Where the moments of this client begin.
    origin: Instant,
}

impl Shared {
    pub(super) fn new(connections: Connections, timeout: Duration) -> Self {
        let has_registry = connections.registry().is_some();
        let beliefs = Mutex::new(Beliefs { has_registry, ..Beliefs::default() });
        let shared = Self {
            connections,
            timeout,
            given_up: CancellationToken::new(),
            beliefs,
            ended_logs: Mutex::default(),
            census: Mutex::default(),
            origin: Instant::now(),
        };
        shared.count_nodes();
        shared
    }

    /// Now, as the decisions see it.
    pub(super) fn now(&self) -> Moment {
        Moment::after(self.origin.elapsed())
    }

    /// When a moment comes.
    pub(super) fn instant(&self, moment: Moment) -> Instant {
        self.origin + moment.from_origin()
    }

    /// What is believed, locked: for a decision, which takes microseconds.
    pub(super) fn beliefs(&self) -> MutexGuard<'_, Beliefs> {
        lock(&self.beliefs)
    }

    /// Which logs take no records any more, locked: for a moment.
    pub(super) fn ended_logs(&self) -> MutexGuard<'_, EndedLogs> {
        lock(&self.ended_logs)
    }

    pub(super) fn refused_by(&self, node: NodeId, leader: Option<NodeId>) {
        self.beliefs().route.on_refusal(node, leader);
    }

    pub(super) fn failed(&self, node: NodeId) {
        self.beliefs().route.on_failed(node);
    }

    /// Notes which nodes are known by now.
    pub(super) fn count_nodes(&self) {
        self.beliefs().nodes = self.connections.nodes().into_iter().map(|(node, _)| node).collect();
    }

    /// Notes what a node answered, or that it did not.
    pub(super) fn on_word(&self, node: NodeId, said: Result<&Welcome, &AskError>) {
        self.count_nodes();
        // Slow is not dead: without an answer, nothing that was believed before falls.
        if let Ok(welcome) = said {
            self.beliefs().on_welcome(welcome);
        }
        let named = |welcome: &Welcome| Some(Leading { term: welcome.term, node: welcome.leader? });
        lock(&self.census).insert(node, said.map(named).map_err(Clone::clone));
    }

    /// Why no leader is found, as things stand.
    pub(super) fn unavailable(&self) -> Unavailable {
        let nodes = self.connections.nodes();
        let known = nodes.len();
        let unanswered = self.beliefs().unanswered.clone();
        let census = lock(&self.census);
        let state = |node| census.get(node);
        // What one said before it fell silent is not what it says now.
        let is_heard = |node| unanswered.get(node).is_none_or(|vain| *vain < CLIENT_ANSWER_TIMEOUT);
        let word =
            |node| state(node).and_then(|said| said.as_ref().ok()).filter(|_| is_heard(node));
        let words = || nodes.iter().filter_map(|(node, _)| Some((*node, *word(node)?)));
        let answered = words().count();
        let refusal = nodes.iter().find_map(|(node, _)| {
            let problem = state(node)?.as_ref().err().and_then(AskError::refusal)?;
            Some(Unavailable::Refused { node: *node, problem: problem.clone() })
        });
        let is_crowded =
            |node| state(node).is_some_and(|said| said.as_ref().is_err_and(AskError::is_crowded));
        let crowded = nodes.iter().any(|(node, _)| is_crowded(node));
        // Who leads according to others, if it says nothing itself.
        let leading = words().filter_map(|(_, named)| named).max();
        let leading = leading.filter(|leading| words().all(|(node, _)| node != leading.node));
        if let Some(leading) = leading {
            let names = |(node, named): (NodeId, _)| (named == Some(leading)).then_some(node);
            return Unavailable::OutOfReach { leading, by: words().filter_map(names).collect() };
        }
        match (answered, refusal) {
            (0, Some(refusal)) => refusal,
            (0, None) if crowded => Unavailable::Crowded,
            (0, None) => Unavailable::Unreachable { known },
            _ if answered * 2 <= known => Unavailable::NoQuorum { answered, known },
            _ => Unavailable::NoLeader { answered, known },
        }
    }
}
