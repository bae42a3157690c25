//! Finding the leader: everybody is asked at once, the first leader's own word counts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use thiserror::Error;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use super::connections::{AskError, Connections, lock};
use super::outcome::Outcome;
use super::route::{Leading, Next, Route};
use crate::limits::{CLIENT_ASK_EVERY, CLIENT_HEDGE_AFTER, NODES_MAX};
use crate::net::Problem;
use crate::raft::DiskFull;
use crate::types::{ByteCount, NodeId};
use crate::wire::api::{Role, Welcome};
use crate::wire::registry::Announcement;

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
            Self::Busy { .. } => "try again in a moment",
            Self::DiskFull { .. } => {
                "make room on that node's disk: appends go on by themselves, and reads never stopped"
            }
            Self::Refused { problem, .. } => problem.hint(),
        }
    }
}

/// What all parts of a client share: its connections, and what it believes.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) connections: Connections,
    /// Every wait that is not a followed read's ends after this time.
    pub(super) timeout: Duration,
    /// Cancelled when nobody wants to wait for appends any more.
    pub(super) given_up: CancellationToken,
    route: Mutex<Route>,
    /// How each node was last found: nothing if it answered.
    census: Mutex<BTreeMap<NodeId, Option<AskError>>>,
}

/// What one who was asked has said.
pub(super) enum Word {
    Of(NodeId, Result<Welcome, AskError>),
    OfRegistry(Announcement),
}

impl Shared {
    pub(super) fn new(connections: Connections, timeout: Duration) -> Self {
        let given_up = CancellationToken::new();
        Self { connections, timeout, given_up, route: Mutex::default(), census: Mutex::default() }
    }

    /// Finds the leader.
    ///
    /// With a suspect, which leads as far as is known and does not answer: finds whoever leads
    /// instead, or the suspect itself if it confirms that it leads and nobody else claims to.
    pub(super) async fn find(
        self: &Arc<Self>,
        suspect: Option<Leading>,
        until: Instant,
    ) -> Result<Leading, Unavailable> {
        if suspect.is_none()
            && let Some(leader) = self.follow_hints(until).await
        {
            return Ok(leader);
        }
        self.ask_all(suspect, until).await
    }

    pub(super) fn refused_by(&self, node: NodeId, leader: Option<NodeId>) {
        lock(&self.route).on_refusal(node, leader);
    }

    pub(super) fn failed(&self, node: NodeId) {
        lock(&self.route).on_failed(node);
    }

    /// Finds any node that answers, the first that does.
    pub(super) async fn any(self: &Arc<Self>, until: Instant) -> Result<NodeId, Unavailable> {
        let mut round = Round::new(self.clone(), CLIENT_ASK_EVERY);
        loop {
            round.invite();
            match timeout_at(until, round.words.recv()).await {
                Ok(Some(Word::Of(node, said))) => {
                    self.on_word(node, said.as_ref());
                    round.heard.insert(node);
                    if said.is_ok() {
                        return Ok(node);
                    }
                }
                Ok(Some(Word::OfRegistry(_))) => {}
                Ok(None) | Err(_) => return Err(self.unavailable()),
            }
            if round.heard.len() >= round.invited.len() && self.all_refuse() {
                return Err(self.unavailable());
            }
        }
    }

    /// Why no leader is found, as things stand.
    pub(super) fn unavailable(&self) -> Unavailable {
        let nodes = self.connections.nodes();
        let known = nodes.len();
        let census = lock(&self.census);
        let state = |node| census.get(node).map(Option::as_ref);
        let answered = nodes.iter().filter(|(node, _)| state(node) == Some(None)).count();
        let refusal = nodes.iter().find_map(|(node, _)| {
            let problem = state(node).flatten().and_then(AskError::refusal)?;
            Some(Unavailable::Refused { node: *node, problem: problem.clone() })
        });
        match (answered, refusal) {
            (0, Some(refusal)) => refusal,
            (0, None) => Unavailable::Unreachable { known },
            _ if answered * 2 <= known => Unavailable::NoQuorum { answered, known },
            _ => Unavailable::NoLeader { answered, known },
        }
    }

    /// Notes what a node answered, or that it did not.
    pub(super) fn on_word(&self, node: NodeId, said: Result<&Welcome, &AskError>) {
        // Slow is not dead: without an answer, nothing that was believed before falls.
        if let Ok(welcome) = said {
            lock(&self.route).on_welcome(welcome);
        }
        lock(&self.census).insert(node, said.err().cloned());
    }

    /// The quick way: the leader that is known, or the node that is said to lead.
    async fn follow_hints(self: &Arc<Self>, until: Instant) -> Option<Leading> {
        // A hint may lead to another, but not in circles.
        for _ in 0..2 {
            let next = lock(&self.route).what_next();
            let node = match next {
                Next::Use(leader) => return Some(leader),
                Next::Ask(node) => node,
                Next::AskAll => return None,
            };
            let patience = until.min(Instant::now() + CLIENT_HEDGE_AFTER);
            match timeout_at(patience, self.connections.hello(node)).await {
                Ok(answer) => {
                    self.on_word(node, answer.as_ref());
                    if answer.is_err() {
                        self.failed(node);
                    }
                }
                Err(_) => self.failed(node),
            }
        }
        lock(&self.route).leader()
    }

    async fn ask_all(
        self: &Arc<Self>,
        suspect: Option<Leading>,
        until: Instant,
    ) -> Result<Leading, Unavailable> {
        let began = Instant::now();
        let mut round = Round::new(self.clone(), CLIENT_ASK_EVERY);
        let mut confirmed = false;
        loop {
            round.invite();
            let Ok(Some(word)) = timeout_at(until, round.words.recv()).await else {
                return Err(self.unavailable());
            };
            match word {
                Word::Of(node, said) => {
                    confirmed |= suspect.is_some_and(|suspect| confirms(suspect, said.as_ref()));
                    self.on_word(node, said.as_ref());
                    round.heard.insert(node);
                }
                Word::OfRegistry(announcement) => {
                    lock(&self.route).on_announcement(&announcement);
                }
            }
            let leader = lock(&self.route).leader();
            let all_heard = round.heard.len() >= round.invited.len();
            match (leader, suspect) {
                (Some(leader), None) => return Ok(leader),
                (Some(leader), Some(suspect)) if leader != suspect => return Ok(leader),
                (Some(leader), Some(_)) => {
                    let patient = all_heard || began.elapsed() >= CLIENT_HEDGE_AFTER;
                    if confirmed && patient {
                        return Ok(leader);
                    }
                }
                (None, _) => {}
            }
            if all_heard && self.all_refuse() {
                return Err(self.unavailable());
            }
        }
    }

    /// Whether every node refuses this client for good.
    fn all_refuse(&self) -> bool {
        let refuses =
            |error: &Option<AskError>| error.as_ref().and_then(AskError::refusal).is_some();
        let nodes = self.connections.nodes();
        let census = lock(&self.census);
        !nodes.is_empty() && nodes.iter().all(|(node, _)| census.get(node).is_some_and(refuses))
    }
}

fn confirms(suspect: Leading, said: Result<&Welcome, &AskError>) -> bool {
    said.is_ok_and(|welcome| {
        let same = welcome.node == suspect.node && welcome.term == suspect.term;
        same && welcome.role == Role::Leader && welcome.ready
    })
}

/// Everybody who is being asked, each again and again at its own pace, so that none waits for one
/// that is dead. Dropped, it asks no more.
pub(super) struct Round {
    shared: Arc<Shared>,
    every: Duration,
    invited: BTreeSet<NodeId>,
    heard: BTreeSet<NodeId>,
    says: mpsc::Sender<Word>,
    pub(super) words: mpsc::Receiver<Word>,
    tasks: JoinSet<()>,
}

impl Round {
    pub(super) fn new(shared: Arc<Shared>, every: Duration) -> Self {
        let (says, words) = mpsc::channel(NODES_MAX + 1);
        let tasks = JoinSet::new();
        let (invited, heard) = (BTreeSet::new(), BTreeSet::new());
        let mut round = Self { shared, every, invited, heard, says, words, tasks };
        round.invite_registry();
        round
    }

    /// Asks every node that is known by now and not yet asked.
    pub(super) fn invite(&mut self) {
        let known: BTreeSet<NodeId> =
            self.shared.connections.nodes().into_iter().map(|(node, _)| node).collect();
        self.invited.retain(|node| known.contains(node));
        self.heard.retain(|node| known.contains(node));
        for node in known {
            if self.invited.insert(node) {
                self.tasks.spawn(question_node(
                    self.shared.clone(),
                    node,
                    self.every,
                    self.says.clone(),
                ));
            }
        }
    }

    fn invite_registry(&mut self) {
        if self.shared.connections.registry().is_some() {
            self.tasks.spawn(question_registry(self.shared.clone(), self.says.clone()));
        }
    }
}

async fn question_node(
    shared: Arc<Shared>,
    node: NodeId,
    every: Duration,
    says: mpsc::Sender<Word>,
) {
    loop {
        let said = shared.connections.hello(node).await;
        let gone = matches!(said, Err(AskError::NoAddress { .. } | AskError::OtherNode { .. }));
        if says.send(Word::Of(node, said)).await.is_err() || gone {
            return;
        }
        sleep(every).await;
    }
}

/// The registry is asked now and then only: it is a hint, and the nodes know better.
async fn question_registry(shared: Arc<Shared>, says: mpsc::Sender<Word>) {
    loop {
        if let Ok(Some(announcement)) = shared.connections.announced().await
            && says.send(Word::OfRegistry(announcement)).await.is_err()
        {
            return;
        }
        sleep(CLIENT_HEDGE_AFTER * 4).await;
    }
}
