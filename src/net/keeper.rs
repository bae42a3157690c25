//! The task of one peer: dials it again and again, and decides which connection to it is used.

use std::future::{Future, pending};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, warn};

use super::acquaintance::Acquaintance;
use super::connection::Connection;
use super::endpoint::Endpoint;
use super::history::{Choice, History, PeerConnection};
use super::inbound::{Inbound, PeerProcess};
use super::link::{self, Link, LinkError};
use super::local::LocalNode;
use super::outbox::PeerOutbox;
use super::problem::Close;
use crate::address::Address;
use crate::limits::{
    BACKOFF_MAX, BACKOFF_MIN, CONNECT_TIMEOUT, CONNECT_TIMEOUT_MAX, PEER_OFFERS_MAX,
};
use crate::types::{Index, NodeId};
use crate::wire::PeerRefusal;

/// What the rest of the node holds of a peer's task.
#[derive(Debug)]
pub(super) struct Handle {
    pub(super) outbox: Arc<PeerOutbox>,
    pub(super) offers: mpsc::Sender<Link>,
    pub(super) state: watch::Receiver<Option<PeerConnection>>,
    /// Where the peer is, as the connection in use has it.
    pub(super) seen_at: watch::Receiver<Option<SocketAddr>>,
    /// Where it is dialled; nowhere, if that is not known.
    pub(super) address: watch::Sender<Option<Address>>,
    /// Up to which entry it knew who the members are, when it said hello last.
    pub(super) as_of: watch::Receiver<Index>,
    /// Set when the two have no business with each other any more, and why.
    pub(super) dismissed: watch::Sender<Option<PeerRefusal>>,
}

/// The task of one peer: the only one that decides which connection to it is used.
pub(super) struct Keeper {
    me: Arc<LocalNode>,
    peer: NodeId,
    /// Where it is dialled, if that is known.
    address: watch::Receiver<Option<Address>>,
    dismissed: watch::Receiver<Option<PeerRefusal>>,
    as_of: watch::Sender<Index>,
    endpoint: Endpoint,
    inbound: Inbound,
    outbox: Arc<PeerOutbox>,
    /// Connections that the peer dialled, past their hello.
    offered: mpsc::Receiver<Link>,
    /// What others may know of `current`.
    state: watch::Sender<Option<PeerConnection>>,
    seen_sender: watch::Sender<Option<SocketAddr>>,
    current: Option<Current>,
    acquaintance: Acquaintance,
    history: History,
    /// The pause after the next failure.
    backoff: Duration,
    /// When to dial, if there is no connection by then.
    dial_at: Instant,
    /// How long each step of the next attempt may take.
    patience: Duration,
    /// What was last logged of a failure: the same is not said twice.
    last_failure: Option<LinkError>,
}

/// The connection in use.
struct Current {
    is: PeerConnection,
    connection: Connection,
    since: Instant,
    /// Carries the messages. Dropped, it ends.
    task: AbortOnDropHandle<LinkError>,
}

type Dial = Pin<Box<dyn Future<Output = Result<Link, LinkError>> + Send>>;

impl Keeper {
    /// Begins to dial, until `stop`, or until nobody takes what the peer says out of the inbound
    /// queue any more.
    pub(super) fn start(
        (endpoint, me, inbound): (Endpoint, Arc<LocalNode>, Inbound),
        (peer, address): (NodeId, Option<Address>),
        acquaintance: Acquaintance,
        stop: CancellationToken,
    ) -> Handle {
        let (offers, offered) = mpsc::channel(PEER_OFFERS_MAX);
        let (state, state_receiver) = watch::channel(None);
        let (seen_sender, seen_at) = watch::channel(None);
        let (address, address_receiver) = watch::channel(address);
        let (dismissed, dismissed_receiver) = watch::channel(None);
        let (as_of, as_of_receiver) = watch::channel(Index::ZERO);
        let outbox = Arc::new(PeerOutbox::default());
        let keeper = Self {
            me,
            peer,
            address: address_receiver,
            dismissed: dismissed_receiver,
            as_of,
            endpoint,
            inbound,
            outbox: outbox.clone(),
            offered,
            state,
            seen_sender,
            current: None,
            acquaintance,
            history: History::default(),
            backoff: BACKOFF_MIN,
            dial_at: Instant::now(),
            patience: CONNECT_TIMEOUT,
            last_failure: None,
        };
        tokio::spawn(keeper.run(stop));
        let (state, as_of) = (state_receiver, as_of_receiver);
        Handle { outbox, offers, state, seen_at, address, as_of, dismissed }
    }

    async fn run(mut self, stop: CancellationToken) {
        let mut dial: Option<Dial> = None;
        loop {
            let to = self.address.borrow_and_update().clone();
            let may_dial = self.current.is_none() && dial.is_none() && to.is_some();
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Ok(()) = self.dismissed.changed() => return self.dismiss(),
                Ok(()) = self.address.changed() => {
                    let address = self.address.borrow().clone();
                    self.acquaintance.moved(address.as_ref());
                    (self.backoff, self.dial_at, dial) = (BACKOFF_MIN, Instant::now(), None);
                }
                Some(link) = self.offered.recv() => {
                    let taken = self.consider(link, self.peer);
                    // Our own attempt could only lose against that one; the other way round it is
                    // the one that both sides will keep.
                    if taken && self.peer < self.me.node {
                        dial = None;
                    }
                }
                error = ended(&mut self.current) => {
                    self.on_ended(&error);
                    // Nobody takes in what peers say any more: the node is on its way out.
                    if error == LinkError::Stopped {
                        break;
                    }
                }
                dialled = finished(&mut dial) => {
                    dial = None;
                    match dialled {
                        Ok(link) => {
                            // One that is refused must not be dialled again without a pause.
                            if !self.consider(link, self.me.node) {
                                self.back_off();
                            }
                        }
                        Err(error) => self.on_failed(error),
                    }
                }
                () = sleep_until(self.dial_at), if may_dial => {
                    let (endpoint, me) = (self.endpoint.clone(), self.me.clone());
                    let to = to.map(|address| (self.peer, address));
                    let dialling = to.map(|to| link::dial(endpoint, me, to, self.patience));
                    dial = dialling.map(|dialling| Box::pin(dialling) as Dial);
                }
            }
        }
        if let Some(current) = self.current {
            current.connection.close(Close::Stopping);
        }
    }

    /// The peer is no member any more: it is told so.
    fn dismiss(self) {
        if let (Some(current), Some(refusal)) = (self.current, &*self.dismissed.borrow()) {
            current.connection.refuse(&refusal.to_bytes());
        }
    }

    /// Takes a new connection into use, or closes it. Says which.
    fn consider(&mut self, link: Link, dialled_by: NodeId) -> bool {
        let from = link.connection.remote_address();
        let from = (from, dialled_by == self.me.node);
        let connected = self.current.as_ref().map(|current| current.is.incarnation);
        if let Err(refusal) = self.acquaintance.judge(&link.introduction, from, connected) {
            link.connection.refuse(&refusal.to_bytes());
            return false;
        }
        let offer = PeerConnection { incarnation: link.introduction.incarnation(), dialled_by };
        let current = self.current.as_ref().map(|current| current.is);
        match self.history.judge(current, offer) {
            Choice::Take { instead } => {
                assert_eq!(current.is_some(), instead.is_some(), "who is replaced is told why");
                if let (Some(old), Some(close)) = (self.current.take(), instead) {
                    old.connection.close(close);
                }
                self.take(link, offer);
                true
            }
            Choice::Refuse(close) => {
                debug!(peer = %self.peer, ?offer, ?close, "a connection is not needed");
                link.connection.close(close);
                false
            }
        }
    }

    fn take(&mut self, link: Link, is: PeerConnection) {
        assert!(self.current.is_none(), "one connection to a peer at a time");
        debug!(peer = %self.peer, incarnation = %is.incarnation, dialled_by = %is.dialled_by, "connected");
        self.acquaintance.meet(&link.introduction);
        self.as_of.send_replace(link.introduction.as_of);
        self.outbox.open();
        self.last_failure = None;
        self.patience = CONNECT_TIMEOUT;
        let connection = link.connection.clone();
        let from = PeerProcess { node: self.peer, start: is.incarnation };
        let task = tokio::spawn(link.run(from, self.outbox.clone(), self.inbound.clone()));
        let task = AbortOnDropHandle::new(task);
        self.current = Some(Current { is, connection, since: Instant::now(), task });
        self.seen_sender
            .send_replace(self.current.as_ref().map(|now| now.connection.remote_address()));
        self.state.send_replace(Some(is));
    }

    fn on_ended(&mut self, error: &LinkError) {
        debug!(peer = %self.peer, "connection lost: {error}");
        self.note_refusal(error);
        let lived = self.current.take().map(|current| current.since.elapsed());
        self.outbox.close();
        self.seen_sender.send_replace(None);
        self.state.send_replace(None);
        // One that ends as soon as it begins must not be dialled without a pause.
        if lived.is_some_and(|lived| lived >= BACKOFF_MAX) {
            self.backoff = BACKOFF_MIN;
        }
        self.back_off();
    }

    fn note_refusal(&mut self, error: &LinkError) {
        if let LinkError::Refused(refusal) = error {
            self.acquaintance.refused(refusal);
        }
    }

    fn on_failed(&mut self, error: LinkError) {
        self.note_refusal(&error);
        if error.is_late() {
            // It may be far away: the next attempt gets the time of more round trips.
            self.patience = (self.patience * 2).min(CONNECT_TIMEOUT_MAX);
        }
        let is_same = |last: &LinkError| *last == error || last.is_late() && error.is_late();
        if error.is_own_end() || self.last_failure.as_ref().is_some_and(is_same) {
            debug!(peer = %self.peer, "still not connected: {error}");
        } else {
            warn!(peer = %self.peer, "not connected: {error}");
            self.last_failure = Some(error);
        }
        self.back_off();
    }

    fn back_off(&mut self) {
        self.dial_at = Instant::now() + self.backoff;
        self.backoff = (self.backoff * 2).min(BACKOFF_MAX);
    }
}

/// Waits for the end of the connection in use, if there is one.
async fn ended(current: &mut Option<Current>) -> LinkError {
    match current {
        // It is never ended from outside while it is awaited, and a panic ends the process.
        Some(current) => (&mut current.task).await.unwrap_or(LinkError::Stopped),
        None => pending().await,
    }
}

/// Waits for the end of an attempt to dial, if there is one.
async fn finished(dial: &mut Option<Dial>) -> Result<Link, LinkError> {
    match dial {
        Some(dial) => dial.await,
        None => pending().await,
    }
}
