//! Who comes in, and who attends to them.

use std::sync::Arc;

use super::behalf;
use super::shared::Service;
use crate::net::{Close, Endpoint, Peers, Protocol};

/// Accepts connections until the endpoint closes.
pub(super) async fn accept(endpoint: Endpoint, peers: Peers, service: Arc<Service>) {
    while let Some(connection) = endpoint.accept().await {
        match connection.protocol() {
            Protocol::Peer => peers.accept(connection),
            Protocol::Client => drop(tokio::spawn(Arc::clone(&service).serve(connection))),
            Protocol::Onward => drop(tokio::spawn(behalf::serve(service.clone(), connection))),
            Protocol::Registry => connection.close(Close::NotAllowed),
        }
    }
}
