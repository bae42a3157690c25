//! Taking in those who dial: their handshake, and a place for each that may come in.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn::Incoming;
use tokio::sync::mpsc;
use tokio::time::{interval, sleep};
use tracing::debug;

use super::audit::Audit;
use super::connection::{Connection, canonical};
use super::guests::{Guests, lingering};
use super::handshakes::{Handshakes, Turn};
use super::problem::{CertificateProblem, Close, Problem};
use super::refusals::{Refusals, Subject};
use super::sign;
use super::warden::Warden;
use crate::limits::{
    CONNECTIONS_IN_ALL_MAX, HANDSHAKES_UNVALIDATED_MAX, INITIAL_ROUND_TRIP, REFUSALS_TOLD_EVERY,
};
use crate::types::ClusterId;

/// Takes in those who dial: one task, and one more for each handshake.
pub(super) struct Reception {
    cluster: ClusterId,
    endpoint: quinn::Endpoint,
    ready: mpsc::Sender<Connection>,
    guests: Guests,
    handshakes: Handshakes,
    refusals: Refusals,
    audit: Audit,
    warden: Arc<Warden>,
}

impl Reception {
    pub(super) fn new(
        cluster: ClusterId,
        endpoint: quinn::Endpoint,
        ready: mpsc::Sender<Connection>,
        (audit, warden): (Audit, Arc<Warden>),
    ) -> Self {
        let (guests, handshakes) = (Guests::new(), Handshakes::new());
        let refusals = Refusals::new(Subject::Connections);
        Self { cluster, endpoint, ready, guests, handshakes, refusals, audit, warden }
    }

    pub(super) async fn run(self) {
        let reception = Arc::new(self);
        let mut tell = interval(REFUSALS_TOLD_EVERY);
        loop {
            tokio::select! {
                incoming = reception.endpoint.accept() => match incoming {
                    Some(incoming) => reception.receive(incoming),
                    None => return,
                },
                _ = tell.tick() => {
                    reception.refusals.summarise();
                    reception.audit.summarise();
                }
            }
        }
    }

    fn receive(self: &Arc<Self>, incoming: Incoming) {
        let is_node = sign::is_on(self.cluster, &incoming.orig_dst_cid());
        let is_crowded = self.handshakes.count(is_node) >= HANDSHAKES_UNVALIDATED_MAX;
        if is_crowded && !incoming.remote_address_validated() {
            // It comes back with a token, if its address is its own.
            let _ = incoming.retry();
            return;
        }
        let address = canonical(incoming.remote_address());
        let is_full = self.endpoint.open_connections() >= CONNECTIONS_IN_ALL_MAX;
        match self.handshakes.queue(address.ip(), is_node).filter(|_| !is_full) {
            Some(turn) => drop(tokio::spawn(self.clone().greet(turn, incoming))),
            None => self.refuse(incoming),
        }
    }

    fn refuse(&self, incoming: Incoming) {
        self.refusals.note(canonical(incoming.remote_address()), "too many handshakes at once");
        incoming.refuse();
    }

    async fn greet(self: Arc<Self>, turn: Turn, incoming: Incoming) {
        let Some(place) = turn.place().await else { return self.refuse(incoming) };
        let address = canonical(incoming.remote_address());
        let mut round_trip = INITIAL_ROUND_TRIP;
        let connection = tokio::select! {
            connection = self.handshake(incoming, &mut round_trip) => connection,
            () = turn.is_over() => {
                self.refusals.note(address, "its handshake was not finished in time");
                Err(Problem::ClosedHere)
            }
        };
        drop(place);
        match connection {
            Ok(connection) => {
                drop(turn);
                // The queue ends with the endpoint; so do its connections.
                drop(self.ready.send(connection).await);
            }
            Err(problem) => {
                self.tell(address, problem);
                // It counts for its address as long as QUIC keeps it.
                sleep(lingering(round_trip)).await;
            }
        }
    }

    fn tell(&self, address: SocketAddr, problem: Problem) {
        match problem {
            Problem::WrongIdentity { found } => {
                self.refusals.note(address, &format!("{found} is not admitted here"));
            }
            problem @ (Problem::TheirCertificate(_) | Problem::Protocol) => {
                self.refusals.note(address, &problem.to_string());
            }
            // It was noted already.
            Problem::ClosedHere => {}
            // The other side gave it up, as nodes do that have dialled each other at once.
            problem => debug!(%address, "a connection did not come about: {problem}"),
        }
    }

    /// Notes how far away the other side is, once that is known.
    async fn handshake(
        &self,
        incoming: Incoming,
        round_trip: &mut Duration,
    ) -> Result<Connection, Problem> {
        let connection = incoming.accept()?.await?;
        *round_trip = connection.rtt();
        let connection = Connection::identified(connection)?;
        let found = connection.identity();
        if found.cluster != self.cluster || !connection.protocol().is_open_to(found.role) {
            connection.close(Close::NotAllowed);
            return Err(Problem::WrongIdentity { found: Box::new(found.clone()) });
        }
        if !connection.is_admitted_by(&self.warden) {
            return Err(Problem::TheirCertificate(CertificateProblem::Revoked));
        }
        let address = connection.remote_address();
        match self.guests.admit(found, address.ip(), connection.protocol()) {
            Ok(guest) => Ok(connection.of_guest(guest)),
            Err(close) => {
                self.refusals.note(address, &format!("{found}: {close}"));
                connection.close(close);
                Err(Problem::ClosedHere)
            }
        }
    }
}
