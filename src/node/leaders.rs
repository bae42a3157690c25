//! The connections to other nodes that streams of clients are handed on over.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::address::Address;
use crate::limits::CONNECT_TIMEOUT;
use crate::net::{CertificateRole, Connection, Endpoint, Expect, Protocol, Stream};
use crate::types::NodeId;
use crate::wire::Frame;

/// The connections that streams are handed on over: one to each node that leads or has led.
#[derive(Debug)]
pub(super) struct Leaders {
    endpoint: Endpoint,
    kept: Mutex<BTreeMap<NodeId, Arc<LeaderConnection>>>,
}

/// The connection to a node, locked while one is being made: it is made once, however many wait.
type LeaderConnection = tokio::sync::Mutex<Option<Connection>>;

impl Leaders {
    pub(super) fn new(endpoint: Endpoint) -> Self {
        Self { endpoint, kept: Mutex::default() }
    }

    /// A stream to the leader, on which `first` has been sent.
    pub(super) async fn open(
        &self,
        leader: NodeId,
        at: &[Address],
        first: &Frame,
    ) -> Option<Stream> {
        let connection = self.connection(leader, at).await?;
        let mut stream = connection.open().await.ok()?;
        stream.sender.send(first).await.ok()?;
        Some(stream)
    }

    async fn connection(&self, leader: NodeId, at: &[Address]) -> Option<Connection> {
        let place = self.place(leader);
        let mut kept = place.lock().await;
        if let Some(connection) = kept.as_ref().filter(|connection| !connection.is_closed()) {
            return Some(connection.clone());
        }
        let expect = Expect { role: CertificateRole::Node, name: Some(leader.to_string()) };
        match self.endpoint.reach_any(CONNECT_TIMEOUT, at, &expect, Protocol::Onward).await {
            Ok(made) => kept.insert(made).clone().into(),
            Err(error) => {
                tracing::debug!(%leader, %error, "a client's stream cannot be handed on");
                None
            }
        }
    }

    fn place(&self, leader: NodeId) -> Arc<LeaderConnection> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.entry(leader).or_default().clone()
    }
}
