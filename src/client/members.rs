//! Members: asking the leader who they are, and changing them.

use std::sync::Arc;

use thiserror::Error;
use tokio::time::{Instant, sleep, timeout_at};

use super::connections::AskError;
use super::handle::Client;
use super::leader;
use super::shared::Shared;
use super::unavailable::Unavailable;
use crate::limits::BACKOFF_MIN;
use crate::members::{MemberChange, MemberReply, Members};
use crate::outcome::Outcome;
use crate::types::{Index, NodeId};
use crate::wire::Frame;
use crate::wire::api::{MembersReply, Request};

/// Nobody has said who the members are, or what became of a change.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum MembersError {
    /// There is no leader.
    #[error("{0}")]
    Unavailable(Unavailable),
    /// The leader gave no answer.
    #[error("{node} gave no answer")]
    Unanswered {
        /// Who.
        node: NodeId,
    },
}

impl MembersError {
    /// What it means for scripts. To ask again does no harm.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Unavailable(unavailable) => unavailable.outcome(),
            Self::Unanswered { .. } => Outcome::TimedOut,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Unavailable(unavailable) => unavailable.hint(),
            Self::Unanswered { .. } => "ask again: what was begun is gone on with",
        }
    }
}

impl Client {
    /// Who the members are, as the leader sees them.
    ///
    /// # Errors
    /// [`MembersError`].
    pub(crate) async fn members(&self) -> Result<Members, MembersError> {
        let until = Instant::now() + self.shared.timeout;
        loop {
            let (node, frame) = ask_leader(&self.shared, &Request::Members, until).await?;
            match MembersReply::from_frame(&frame) {
                Ok(MembersReply::Members(members)) => return Ok(members),
                Ok(MembersReply::NotLeader { leader }) => self.shared.refused_by(node, leader),
                Err(_) => return Err(MembersError::Unanswered { node }),
            }
            if Instant::now() >= until {
                return Err(MembersError::Unavailable(self.shared.unavailable()));
            }
            sleep(BACKOFF_MIN).await;
        }
    }

    /// Asks the leader once to change the members, as somebody who has seen them as of an entry. Needs an
    /// admin's certificate.
    ///
    /// # Errors
    /// [`MembersError`]: it may have been begun.
    pub(crate) async fn change_members(
        &self,
        as_of: Index,
        change: MemberChange,
    ) -> Result<MemberReply, MembersError> {
        let until = Instant::now() + self.shared.timeout;
        let request = Request::ChangeMembers { as_of, change };
        let (node, frame) = ask_leader(&self.shared, &request, until).await?;
        MemberReply::from_frame(&frame).map_err(|_| MembersError::Unanswered { node })
    }
}

/// Finds the leader and asks it one thing.
async fn ask_leader(
    shared: &Arc<Shared>,
    request: &Request,
    until: Instant,
) -> Result<(NodeId, Frame), MembersError> {
    let node = leader::find(shared, until).await.map_err(MembersError::Unavailable)?.node;
    let asking = async {
        let left = until.saturating_duration_since(Instant::now());
        let (_, mut stream) = shared.connections.open(node, request, left).await?;
        stream.sender.finish();
        Ok::<Frame, AskError>(stream.receiver.answer(left).await?)
    };
    if let Ok(Ok(frame)) = timeout_at(until, asking).await {
        return Ok((node, frame));
    }
    shared.failed(node);
    Err(MembersError::Unanswered { node })
}
