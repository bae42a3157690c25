//! Crashing the leader on purpose, and measuring how long the cluster is without one.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};

use super::connections::AskError;
use super::leader;
use super::route::Leading;
use super::shared::Shared;
use super::unavailable::Unavailable;
use crate::limits::{
    BACKOFF_MIN, CLIENT_ANSWER_TIMEOUT, CRASH_ASK_EVERY, CRASH_SILENCE, NODES_MAX,
};
use crate::outcome::Outcome;
use crate::types::{Incarnation, NodeId, Term};
use crate::wire::api::{CrashReply, Request, Role, Welcome};

/// A leader that crashed, and the one after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Crashed {
    /// Who crashed.
    pub node: NodeId,
    /// The term that it led.
    pub term: Term,
    /// The start of its process that ended.
    pub incarnation: Incarnation,
    /// Who leads now.
    pub new_leader: NodeId,
    /// The term that it leads.
    pub new_term: Term,
    /// From the crashing leader's answer to a leader whose first entry is committed.
    pub failover: Duration,
}

/// The leader was not crashed, or not replaced.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CrashError {
    /// There was no leader to crash.
    #[error("{0}")]
    Unavailable(Unavailable),
    /// The certificate is not an admin's.
    #[error("only an admin may crash the leader, and this certificate is not an admin's")]
    NotAdmin,
    /// The cluster does not allow it.
    #[error("this cluster was created without fault injection")]
    NotAllowed,
    /// The leader was asked and gave no answer: it may have crashed.
    #[error("{node} was asked to crash and gave no answer: it may have crashed")]
    Unknown {
        /// Who.
        node: NodeId,
        /// The term that it led.
        term: Term,
    },
    /// The leader said that it would crash, and still answers.
    #[error("{node} said that it would crash, and still runs")]
    StillRunning {
        /// Who.
        node: NodeId,
        /// The term that it led.
        term: Term,
    },
    /// It crashed, and within the timeout no other leader was ready.
    #[error("{node} crashed, and no other leader was ready within {} ms", after.as_millis())]
    NoSuccessor {
        /// Who crashed.
        node: NodeId,
        /// The term that it led.
        term: Term,
        /// The timeout.
        after: Duration,
    },
}

impl CrashError {
    /// What it means for scripts.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Unavailable(unavailable) => unavailable.outcome(),
            Self::NotAdmin | Self::NotAllowed | Self::StillRunning { .. } => Outcome::Failed,
            Self::Unknown { .. } => Outcome::Unknown,
            Self::NoSuccessor { .. } => Outcome::TimedOut,
        }
    }

    /// What to do about it; empty where there is nothing to say.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Unavailable(unavailable) => unavailable.hint(),
            Self::NotAdmin => "use the certificate `admin` that `annal init` made",
            Self::NotAllowed => {
                "a cluster made with `annal init --production` does not crash on demand"
            }
            Self::Unknown { .. } | Self::StillRunning { .. } => "see `annal client status`",
            Self::NoSuccessor { .. } => {
                "a majority of the nodes must run: see `annal client status`"
            }
        }
    }
}

/// The leader's own words before it crashed.
#[derive(Clone, Copy)]
struct Victim {
    leading: Leading,
    incarnation: Incarnation,
    answered: Instant,
}

/// Crashes the leader and waits for the next.
pub(super) async fn crash_leader(shared: &Arc<Shared>) -> Result<Crashed, CrashError> {
    let until = Instant::now() + shared.timeout;
    let victim = crash(shared, until).await?;
    shared.failed(victim.leading.node);
    watch(shared, victim, until).await
}

/// Asks leaders to crash until one says that it does.
async fn crash(shared: &Arc<Shared>, until: Instant) -> Result<Victim, CrashError> {
    loop {
        let leading = leader::find(shared, until).await.map_err(CrashError::Unavailable)?;
        let Leading { node, term } = leading;
        let request = Request::CrashLeader { term };
        let left = until.saturating_duration_since(Instant::now());
        let Ok((_, mut stream)) = shared.connections.open_unsent(node, left).await else {
            // Nothing was asked of it.
            shared.failed(node);
            sleep(BACKOFF_MIN).await;
            continue;
        };
        let asking = async {
            stream.sender.send(&request.to_frame()).await?;
            let frame = stream.receiver.next().await?.ok_or(AskError::Refused)?;
            Ok::<CrashReply, AskError>(CrashReply::from_frame(&frame)?)
        };
        // NB: without an answer it may have crashed. Asking another would crash two.
        let unknown = CrashError::Unknown { node, term };
        let Ok(Ok(reply)) = timeout_at(until, asking).await else { return Err(unknown) };
        match reply {
            CrashReply::Crashing { incarnation, .. } => {
                return Ok(Victim { leading, incarnation, answered: Instant::now() });
            }
            CrashReply::NotLeader { leader, .. } => {
                shared.refused_by(node, leader);
                sleep(BACKOFF_MIN.min(until.saturating_duration_since(Instant::now()))).await;
            }
            CrashReply::NotAdmin => return Err(CrashError::NotAdmin),
            CrashReply::NotAllowed => return Err(CrashError::NotAllowed),
        }
    }
}

/// Asks all nodes, every few milliseconds, until one is the new leader and the old one is gone.
async fn watch(
    shared: &Arc<Shared>,
    victim: Victim,
    until: Instant,
) -> Result<Crashed, CrashError> {
    let Leading { node, term } = victim.leading;
    let mut round = Round::new(shared.clone());
    let mut last_seen = victim.answered;
    let mut successor: Option<(Leading, Duration)> = None;
    loop {
        round.invite();
        let now = Instant::now();
        let silent_at = last_seen + CRASH_SILENCE;
        match successor {
            Some((new, failover)) if now >= silent_at => {
                let (new_leader, new_term) = (new.node, new.term);
                let incarnation = victim.incarnation;
                return Ok(Crashed { node, term, incarnation, new_leader, new_term, failover });
            }
            Some(_) if now >= until => return Err(CrashError::StillRunning { node, term }),
            None if now >= until => {
                return Err(CrashError::NoSuccessor { node, term, after: shared.timeout });
            }
            Some(_) | None => {}
        }
        let wake_at = if successor.is_some() { until.min(silent_at) } else { until };
        let Ok(Some(welcome)) = timeout_at(wake_at, round.words.recv()).await else { continue };
        if welcome.incarnation == victim.incarnation {
            last_seen = Instant::now();
        } else if successor.is_none() && succeeds(&welcome, term) {
            let leading = Leading { term: welcome.term, node: welcome.node };
            successor = Some((leading, victim.answered.elapsed()));
        }
    }
}

fn succeeds(welcome: &Welcome, term: Term) -> bool {
    welcome.role == Role::Leader && welcome.ready && welcome.term > term
}

/// Everybody is asked, each again and again at its own pace, so that the time of a failover is known
/// to a few milliseconds. Dropped, it asks no more.
struct Round {
    shared: Arc<Shared>,
    invited: BTreeSet<NodeId>,
    says: mpsc::Sender<Welcome>,
    words: mpsc::Receiver<Welcome>,
    tasks: JoinSet<()>,
}

impl Round {
    fn new(shared: Arc<Shared>) -> Self {
        let (says, words) = mpsc::channel(NODES_MAX);
        Self { shared, invited: BTreeSet::new(), says, words, tasks: JoinSet::new() }
    }

    /// Asks every node that is known by now and not yet asked.
    fn invite(&mut self) {
        for (node, _) in self.shared.connections.nodes() {
            if self.invited.insert(node) {
                self.tasks.spawn(question(self.shared.clone(), node, self.says.clone()));
            }
        }
    }
}

async fn question(shared: Arc<Shared>, node: NodeId, says: mpsc::Sender<Welcome>) {
    loop {
        let said = shared.connections.hello(node, false, CLIENT_ANSWER_TIMEOUT).await;
        let gone = matches!(said, Err(AskError::NoAddress { .. } | AskError::OtherNode { .. }));
        let said = said.map(|(_, welcome)| welcome);
        shared.on_word(node, said.as_ref());
        if gone {
            return;
        }
        if let Ok(welcome) = said
            && says.send(welcome).await.is_err()
        {
            return;
        }
        sleep(CRASH_ASK_EVERY).await;
    }
}
