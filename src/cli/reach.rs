//! A cluster, and the client of it, once there is one.

use std::cell::OnceCell;

use super::connection::{Target, connect_as_admin, connect_as_client};
use super::failure::Failure;
use crate::client::{Client, Consistency};
use crate::log_name::LogName;

/// See the module.
pub(super) struct Reach {
    target: Target,
    client: OnceCell<Client>,
}

impl Reach {
    /// A cluster that nobody has been asked for yet.
    pub(super) fn new(target: Target) -> Self {
        Self { target, client: OnceCell::new() }
    }

    /// Where the cluster is.
    pub(super) fn target(&self) -> &Target {
        &self.target
    }

    /// The client, made when it is asked for first.
    pub(super) fn client(&self) -> Result<&Client, Failure> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let client = connect_as_client(&self.target)?;
        Ok(self.client.get_or_init(|| client))
    }

    /// The client, of this log.
    pub(super) async fn client_of(&self, log: Option<&LogName>) -> Result<Client, Failure> {
        self.client_to_read(log, Consistency::Linearizable).await
    }

    /// The client, of this log, for a read that must reflect so much.
    pub(super) async fn client_to_read(
        &self,
        log: Option<&LogName>,
        consistency: Consistency,
    ) -> Result<Client, Failure> {
        let client = self.client()?;
        let Some(name) = log else { return Ok(client.clone()) };
        // A node that serves a read need not be the one that knows the name.
        let consistency = match consistency {
            Consistency::LinearizableAt { .. } => Consistency::Linearizable,
            other => other,
        };
        Ok(client.log_reflecting(name, consistency).await?)
    }

    /// A client for what only an admin may do.
    pub(super) fn admin(&self) -> Result<Client, Failure> {
        connect_as_admin(&self.target)
    }

    /// The next one to ask gets a new client: one that has given up takes no more.
    pub(super) fn forget_client(&mut self) {
        self.client = OnceCell::new();
    }
}
