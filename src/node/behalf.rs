//! What another node hands on for its clients.
//!
//! It comes on one connection for all of them, and is counted as theirs: each has the shares that its
//! identity has here, so that no client takes another's by going round by a node, nor gets a second
//! share so. Whose it is the other node says: it has seen the client's certificate, as this one has
//! seen that node's. Only nodes get this far. For itself a node asks here for a segment that it mends, and
//! how this one is.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::backup;
use super::caller::Caller;
use super::shared::Service;
use super::soundness;
use crate::limits;
use crate::net::{CertificateIdentity, CertificateRole, Close, Connection, Stream};
use crate::wire::api::{OnBehalf, Request};

/// The clients behind one node, as long as they have a stream open.
struct Behind {
    /// Where that node is, and who.
    address: SocketAddr,
    node: CertificateIdentity,
    clients: Mutex<BTreeMap<(String, u64), Weak<Caller>>>,
}

/// Serves a connection of a node until it ends.
pub(super) async fn serve(service: Arc<Service>, connection: Connection) {
    if connection.identity().role != CertificateRole::Node {
        connection.close(Close::NotAllowed);
        return;
    }
    let (address, node) = (connection.remote_address(), connection.identity().clone());
    let behind = Arc::new(Behind { address, node, clients: Mutex::default() });
    while let Some(stream) = connection.accept().await {
        tokio::spawn(serve_stream(service.clone(), behind.clone(), stream));
    }
}

async fn serve_stream(service: Arc<Service>, behind: Arc<Behind>, mut stream: Stream) {
    stream.receiver.set_bytes_max(limits::FIRST_FRAME_BYTES_MAX);
    let Ok(frame) = stream.receiver.answer(limits::FIRST_FRAME_TIMEOUT).await else { return };
    match Request::from_frame(&frame) {
        Ok(Request::OnBehalf(on_behalf)) => match behind.caller(&service, &on_behalf) {
            Some(caller) => service.serve_request(stream, &caller, on_behalf.request).await,
            None => stream.sender.abandon(),
        },
        Ok(Request::Segment(wanted)) => {
            let caller = service.shares.open_behind(&behind.node, behind.address, None);
            backup::serve_segment(&service, &caller, stream, wanted).await;
        }
        Ok(Request::Soundness) => soundness::tell(&service, stream).await,
        _ => stream.sender.abandon(),
    }
}

impl Behind {
    /// Whom a stream is for; `None` if that can be no client of this cluster.
    fn caller(&self, service: &Service, on_behalf: &OnBehalf) -> Option<Arc<Caller>> {
        let identity: CertificateIdentity = on_behalf.identity.parse().ok()?;
        let is_client = match identity.role {
            CertificateRole::Client | CertificateRole::Admin => true,
            // For those who come to its own door.
            CertificateRole::Node => identity == self.node,
            CertificateRole::Registry => false,
        };
        // That node may be behind.
        let is_revoked = |id| service.revoked.borrow().has(id);
        let is_refused = on_behalf.certificate.is_some_and(is_revoked);
        if !is_client || identity.cluster != service.cluster || is_refused {
            return None;
        }
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (on_behalf.identity.clone(), on_behalf.connection);
        if let Some(caller) = clients.get(&key).and_then(Weak::upgrade) {
            return Some(caller);
        }
        clients.retain(|_, caller| caller.strong_count() > 0);
        let caller =
            Arc::new(service.shares.open_behind(&identity, self.address, on_behalf.grants.clone()));
        clients.insert(key, Arc::downgrade(&caller));
        Some(caller)
    }
}
