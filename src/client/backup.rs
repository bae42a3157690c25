//! Taking the log of a cluster along as it is: an admin's business.
//!
//! Any node can serve it from its own disk, so one that does not lead is asked first, and another one goes on
//! where one has failed.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use thiserror::Error;
use tokio::time::{Instant, sleep, timeout};

use super::handle::Client;
use super::shared::Shared;
use super::status::{NodeStatus, status};
use super::unavailable::Unavailable;
use crate::limits::BACKOFF_MIN;
use crate::net::Stream;
use crate::outcome::Outcome;
use crate::types::{ClusterId, Index, NodeId};
use crate::wire::api::{Request, Role};
use crate::wire::backup::{Backup, BackupPart, BackupRefusal};

/// A backup was not taken, or breaks off.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BackupError {
    /// There was nobody to ask.
    #[error("{0}")]
    Unavailable(Unavailable),
    /// The certificate is not an admin's.
    #[error("only an admin may take a backup, and this certificate is not an admin's")]
    NotAdmin,
    /// What was asked for is not there any more.
    #[error("the log begins with entry {first}: what was before it is gone")]
    Gone {
        /// The first entry that there is.
        first: Index,
    },
    /// What was asked for is not there.
    #[error("the log ends with entry {last}, before what was asked for")]
    Beyond {
        /// The last entry that there is.
        last: Index,
    },
    /// A node could not read its store.
    #[error("{node} could not read its store")]
    Failed {
        /// Who.
        node: NodeId,
    },
    /// Other backups are being taken, or nobody can tell how far the log reaches.
    #[error("{node} is taking another backup, or cannot tell how far the log reaches")]
    Busy {
        /// Who.
        node: NodeId,
    },
    /// A node sent nothing for too long, or the connection to it was lost.
    #[error("{node} sends nothing more")]
    Interrupted {
        /// Who.
        node: NodeId,
    },
}

impl BackupError {
    /// What it means for scripts.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Unavailable(unavailable) => unavailable.outcome(),
            Self::Gone { .. } | Self::Beyond { .. } => Outcome::ConditionNotMet,
            Self::Busy { .. } | Self::Interrupted { .. } => Outcome::TimedOut,
            Self::NotAdmin | Self::Failed { .. } => Outcome::Failed,
        }
    }

    /// What to do about it; empty where there is nothing to say.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Unavailable(unavailable) => unavailable.hint(),
            Self::NotAdmin => "use the certificate `admin` that `annal init` made",
            Self::Gone { .. } => "take a whole one: leave out --from",
            Self::Beyond { .. } => "is the other backup of this cluster?",
            Self::Failed { .. } => "its own log says why; `annal verify --data` looks for damage",
            Self::Busy { .. } => "one at a time is taken from each node: try again in a moment",
            Self::Interrupted { .. } => "see `annal client status`, and try again",
        }
    }

    /// Whether it is of no use to ask anybody again.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::NotAdmin | Self::Beyond { .. })
    }
}

/// What comes of a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BackupPiece {
    /// A piece of the head that it begins with.
    Head(Bytes),
    /// Entries, one behind the other.
    Entries(Bytes),
}

/// A backup that a node is sending.
#[derive(Debug)]
pub struct BackupSource {
    node: NodeId,
    through: Index,
    stream: Stream,
    limit: Duration,
}

impl Client {
    /// The log of the cluster as it is, from behind an entry on or all of it, as a node sends it.
    ///
    /// # Errors
    /// [`BackupError`].
    pub(crate) async fn backup(&self, after: Option<Index>) -> Result<BackupSource, BackupError> {
        begin(&self.shared, after).await
    }

    /// Whose client it is.
    pub(crate) fn cluster(&self) -> ClusterId {
        self.shared.connections.cluster()
    }

    /// How long a wait for something may take.
    pub(crate) fn patience(&self) -> Duration {
        self.shared.timeout
    }
}

/// Finds a node that sends the log from behind an entry on, or all of it; tries as long as the timeout.
async fn begin(shared: &Arc<Shared>, after: Option<Index>) -> Result<BackupSource, BackupError> {
    let until = Instant::now() + shared.timeout;
    loop {
        let error = match begin_somewhere(shared, after).await {
            Ok(source) => return Ok(source),
            Err(error) => error,
        };
        let is_gone = matches!(error, BackupError::Gone { .. });
        if error.is_final() || is_gone || Instant::now() >= until {
            return Err(error);
        }
        sleep(BACKOFF_MIN).await;
    }
}

/// Asks one after the other, the leader last: it has most to do.
async fn begin_somewhere(
    shared: &Arc<Shared>,
    after: Option<Index>,
) -> Result<BackupSource, BackupError> {
    let found = status(shared).await;
    if let Some(unavailable) = found.unavailable {
        return Err(BackupError::Unavailable(unavailable));
    }
    let leads = |node: &&NodeStatus| node.said.as_ref().is_ok_and(|it| it.role == Role::Leader);
    let answered = found.nodes.iter().filter(|node| node.said.is_ok());
    let (leaders, others): (Vec<_>, Vec<_>) = answered.partition(leads);
    let mut error = BackupError::Unavailable(shared.unavailable());
    for node in others.into_iter().chain(leaders) {
        match BackupSource::begin(shared, node.node, after).await {
            Err(found) if !found.is_final() => error = found,
            begun => return begun,
        }
    }
    Err(error)
}

impl BackupSource {
    async fn begin(
        shared: &Arc<Shared>,
        node: NodeId,
        after: Option<Index>,
    ) -> Result<Self, BackupError> {
        let (limit, request) = (shared.timeout, Request::Backup(Backup { after }));
        let opened = shared.connections.open(node, &request, limit).await;
        let (_, stream) = opened.map_err(|_| BackupError::Interrupted { node })?;
        let mut source = Self { node, through: Index::ZERO, stream, limit };
        match source.next_part().await? {
            (BackupPart::Begin { through }, _) => Ok(Self { through, ..source }),
            _ => Err(BackupError::Interrupted { node }),
        }
    }

    /// Who sends it.
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// The last entry that it will have.
    pub fn through(&self) -> Index {
        self.through
    }

    /// What comes next; `None` at the end. What it is, the receiver has to check.
    ///
    /// # Errors
    /// [`BackupError`]; another node may go on with it.
    pub async fn next(&mut self) -> Result<Option<BackupPiece>, BackupError> {
        match self.next_part().await? {
            (BackupPart::Head, piece) => Ok(Some(BackupPiece::Head(piece))),
            (BackupPart::Entries, piece) => Ok(Some(BackupPiece::Entries(piece))),
            (BackupPart::End, _) => Ok(None),
            _ => Err(BackupError::Interrupted { node: self.node }),
        }
    }

    async fn next_part(&mut self) -> Result<(BackupPart, Bytes), BackupError> {
        let node = self.node;
        let frame = timeout(self.limit, self.stream.receiver.next()).await;
        let frame = frame.ok().and_then(|frame| frame.ok().flatten());
        let part = frame.and_then(|frame| BackupPart::from_frame(&frame).ok());
        match part.ok_or(BackupError::Interrupted { node })? {
            (BackupPart::Refused(refusal), _) => Err(match refusal {
                BackupRefusal::NotAdmin => BackupError::NotAdmin,
                BackupRefusal::Busy | BackupRefusal::NotLeader { .. } => BackupError::Busy { node },
                BackupRefusal::Gone { first } => BackupError::Gone { first },
                BackupRefusal::Beyond { last } => BackupError::Beyond { last },
                BackupRefusal::Failed => BackupError::Failed { node },
            }),
            part => Ok(part),
        }
    }
}
