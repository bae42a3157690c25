//! What all parts of a client share, and looking for the leader by itself.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use thiserror::Error;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::backoff::Jitter;
use super::connections::{AskError, Connections, lock};
use super::moment::Moment;
use super::questions::Questions;
use super::route::Leading;
use super::search::{Beliefs, Search, Verdict, Wanted, Way};
use crate::limits::CLIENT_ANSWER_TIMEOUT;
use crate::net::Problem;
use crate::outcome::Outcome;
use crate::types::{ByteCount, DiskFull, Index, NodeId};
use crate::wire::api::Welcome;

/// Nobody could be found who leads.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Unavailable {
    /// No node answered.
    #[error("none of the {known} known nodes answers")]
    Unreachable {
        /// Nodes of which an address is known.
        known: usize,
    },
    /// The nodes have too many connections to take another one.
    #[error("the nodes refuse: too many connections")]
    Crowded,
    /// Fewer nodes answered than a leader needs.
    #[error("no quorum: {answered} of {known} nodes answer")]
    NoQuorum {
        /// Nodes that answered.
        answered: usize,
        /// Nodes of which an address is known.
        known: usize,
    },
    /// Enough nodes answered, and none of them leads.
    #[error("no leader: {answered} of {known} nodes answer, and none of them can serve yet")]
    NoLeader {
        /// Nodes that answered.
        answered: usize,
        /// Nodes of which an address is known.
        known: usize,
    },
    /// Nodes that answer say who leads, and that one does not answer here.
    #[error(
        "according to {} the leader is {} (term {}), and it does not answer here",
        list(by), leading.node, leading.term
    )]
    OutOfReach {
        /// Who leads, as they say.
        leading: Leading,
        /// Who says so.
        by: Vec<NodeId>,
    },
    /// The leader refused all the time because it had too much to do.
    #[error("the leader {node} has too much to do")]
    Busy {
        /// Who.
        node: NodeId,
    },
    /// The leader refused all the time because a disk is full.
    #[error(
        "{node}'s disk is full: {} free, {} needed",
        ByteCount(full.free_bytes), ByteCount(full.needed_bytes)
    )]
    DiskFull {
        /// Whose.
        node: NodeId,
        /// What it has and needs.
        full: DiskFull,
    },
    /// The nodes and this client do not accept each other's certificates.
    #[error("{node}: {problem}")]
    Refused {
        /// One of the nodes.
        node: NodeId,
        /// Why.
        problem: Problem,
    },
}

impl Unavailable {
    /// What it means for scripts.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Refused { .. } => Outcome::Failed,
            _ => Outcome::NoLeader,
        }
    }

    /// What to do about it; empty where there is nothing to say.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => {
                "check that the nodes run (`annal up`) and that --dir or --nodes is right"
            }
            Self::NoQuorum { .. } => "a majority of the nodes must run: start the others",
            Self::NoLeader { .. } => {
                "an election may be under way: try again, or see `annal client status`"
            }
            Self::OutOfReach { .. } => {
                "appends and reads go by way of these nodes; check the way to the leader itself"
            }
            Self::Crowded | Self::Busy { .. } => {
                "try again in a moment, or allow more time with --timeout"
            }
            Self::DiskFull { .. } => {
                "make room on that node's disk: appends go on by themselves, and reads never stopped"
            }
            Self::Refused { problem, .. } => problem.hint(),
        }
    }
}

/// Names side by side: `n1, n2`.
fn list(nodes: &[NodeId]) -> String {
    nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// What all parts of a client share: its connections, and what it believes.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) connections: Connections,
    /// Every wait that is not a followed read's ends after this time.
    pub(super) timeout: Duration,
    /// Cancelled when nobody wants to wait for appends any more.
    pub(super) given_up: CancellationToken,
    beliefs: Mutex<Beliefs>,
    /// How each node was last found: whom it named as the leader, if it answered.
    census: Mutex<BTreeMap<NodeId, Result<Option<Leading>, AskError>>>,
    /// Where the moments of this client begin.
    origin: Instant,
}

impl Shared {
    pub(super) fn new(connections: Connections, timeout: Duration) -> Self {
        let has_registry = connections.registry().is_some();
        let beliefs = Mutex::new(Beliefs { has_registry, ..Beliefs::default() });
        let (given_up, census) = (CancellationToken::new(), Mutex::default());
        let shared =
            Self { connections, timeout, given_up, beliefs, census, origin: Instant::now() };
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

    /// Finds the leader.
    pub(super) async fn find(self: &Arc<Self>, until: Instant) -> Result<Leading, Unavailable> {
        let way = self.find_way(Wanted::Leader { word: false }, until).await?;
        way.leading.ok_or_else(|| self.unavailable())
    }

    /// Finds the leader, and with its word its commit index.
    pub(super) async fn find_commit_index(
        self: &Arc<Self>,
        until: Instant,
    ) -> Result<Index, Unavailable> {
        let way = self.find_way(Wanted::Leader { word: true }, until).await?;
        way.commit_index.ok_or_else(|| self.unavailable())
    }

    async fn find_way(
        self: &Arc<Self>,
        wanted: Wanted,
        until: Instant,
    ) -> Result<Way, Unavailable> {
        let mut jitter = draw_jitter();
        let search = Search::new(self.now(), wanted, None);
        let mut search = search.in_turn(jitter.turn());
        let mut questions = Questions::new(self.clone());
        loop {
            let now = self.now();
            let asked = {
                let mut beliefs = self.beliefs();
                match search.verdict(now, &beliefs) {
                    Some(Verdict::Found(way)) => return Ok(way),
                    Some(_) => return Err(self.unavailable()),
                    None => search.ask(now, &mut beliefs),
                }
            };
            for question in asked {
                questions.ask(question);
            }
            let wake_at = search.wake_at().map_or(until, |at| self.instant(at).min(until));
            tokio::select! {
                word = questions.next() => {
                    let beliefs = &mut self.beliefs();
                    Search::hear(Some(&mut search), self.now(), &word, beliefs, &mut jitter);
                }
                () = sleep_until(wake_at) => {}
            }
            if Instant::now() >= until {
                return Err(self.unavailable());
            }
        }
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

/// A number that nobody else has.
pub(super) fn draw() -> u128 {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("every system that runs this gives out random bytes");
    u128::from_le_bytes(bytes)
}

/// The pauses of one who begins now: others that began at the same time pause for other times.
pub(super) fn draw_jitter() -> Jitter {
    Jitter::new(getrandom::u64().expect("every system that runs this gives out random bytes"))
}
