//! One connection to each other node, whatever happens to either.
//!
//! A dead process says nothing: no close comes from it, and its successor at the same address knows
//! nothing of what was meant for it. So every node dials all its peers, again and again, and each hello
//! carries the *incarnation* of the process that says it:
//!
//! - Before anything else both sides judge whether the other is what they remember: see
//!   `acquaintance`.
//! - A new incarnation ends the connection with the old one at once.
//! - Of two connections with one incarnation, that dialled by the node with the smaller number is
//!   kept. Both sides come to that by themselves.

use std::collections::{BTreeMap, VecDeque};
use std::future::{Future, pending};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, info, warn};

use super::acquaintance::{Acquaintance, Expelled, SharedMemory};
use super::endpoint::{Connection, Endpoint};
use super::inbound::{Inbound, PeerProcess};
use super::link::{self, Link, LinkError};
use super::outbox::PeerOutbox;
use super::problem::Close;
use crate::address::Address;
use crate::limits::{
    BACKOFF_MAX, BACKOFF_MIN, CONNECT_TIMEOUT, CONNECT_TIMEOUT_MAX, PEER_INCARNATIONS_REMEMBERED,
    PEER_OFFERS_MAX,
};
use crate::types::{ClusterId, Incarnation, NodeId};
use crate::wire::{Introduction, PeerMessage};

/// Who this process is to its peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalNode {
    /// The cluster that it belongs to.
    pub cluster: ClusterId,
    /// Its name.
    pub node: NodeId,
    /// What it says of itself.
    pub introduction: Introduction,
}

/// A connection to a peer, as it stands now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerConnection {
    /// The peer's process.
    pub incarnation: Incarnation,
    /// Which of the two dialled.
    pub dialled_by: NodeId,
}

/// Connections to all peers. Clones are the same; when the last is dropped, all end.
#[derive(Clone, Debug)]
pub struct Peers {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    me: Arc<LocalNode>,
    handles: BTreeMap<NodeId, Handle>,
    expelled: watch::Receiver<Option<Expelled>>,
    stop: CancellationToken,
    _stop_when_dropped: DropGuard,
}

/// What the rest of the node holds of a peer's task.
#[derive(Debug)]
struct Handle {
    outbox: Arc<PeerOutbox>,
    offers: mpsc::Sender<Link>,
    state: watch::Receiver<Option<PeerConnection>>,
    /// Where the peer is, as the connection in use has it.
    seen_at: watch::Receiver<Option<SocketAddr>>,
}

impl Peers {
    /// Begins to dial every peer, and goes on until [`Self::close`], or until nobody takes what they
    /// say out of `inbound` any more.
    ///
    /// Connections that come in by [`Endpoint::accept`] for [`super::Protocol::Peer`] must be given
    /// to [`Self::accept`]. Must be called within a tokio runtime.
    pub fn start(
        endpoint: &Endpoint,
        me: LocalNode,
        peers: &BTreeMap<NodeId, Address>,
        (inbound, memory): (&Inbound, &SharedMemory),
    ) -> Self {
        let stop = CancellationToken::new();
        let me = Arc::new(me);
        let (expel, expelled) = watch::channel(None);
        let mut handles = BTreeMap::new();
        for (peer, address) in peers.iter().filter(|(peer, _)| **peer != me.node) {
            let (offers, offered) = mpsc::channel(PEER_OFFERS_MAX);
            let (state, state_receiver) = watch::channel(None);
            let (seen_sender, seen_at) = watch::channel(None);
            let outbox = Arc::new(PeerOutbox::default());
            let acquaintance =
                Acquaintance::new(me.clone(), (*peer, address), memory.clone(), expel.clone());
            let keeper = Keeper {
                me: me.clone(),
                peer: *peer,
                address: address.clone(),
                endpoint: endpoint.clone(),
                inbound: inbound.clone(),
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
            tokio::spawn(keeper.run(stop.clone()));
            handles.insert(*peer, Handle { outbox, offers, state: state_receiver, seen_at });
        }
        let guard = stop.clone().drop_guard();
        Self { shared: Arc::new(Shared { me, handles, expelled, stop, _stop_when_dropped: guard }) }
    }

    /// Sends a message, if there is a connection and room; else it is lost. Never waits.
    pub fn send(&self, to: NodeId, message: PeerMessage) {
        if let Some(handle) = self.shared.handles.get(&to) {
            handle.outbox.put(message);
        }
    }

    /// Takes in a connection that a peer dialled. Returns at once; the hello is heard in a task.
    pub fn accept(&self, connection: Connection) {
        let shared = self.shared.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = shared.stop.cancelled() => connection.close(Close::Stopping),
                () = shared.greet(connection.clone()) => {}
            }
        });
    }

    /// The connection to a peer as it stands now; `None` if there is none.
    pub fn connection(&self, peer: NodeId) -> Option<PeerConnection> {
        self.shared.handles.get(&peer).and_then(|handle| *handle.state.borrow())
    }

    /// Where a peer is, if there is a connection to it: where it was dialled, or came from.
    pub fn address(&self, peer: NodeId) -> Option<SocketAddr> {
        self.shared.handles.get(&peer).and_then(|handle| *handle.seen_at.borrow())
    }

    /// Waits until the connection to a peer is another than it was when this was called, and gives
    /// it. Waits for ever for a node that is no peer.
    pub async fn changed(&self, peer: NodeId) -> Option<PeerConnection> {
        let Some(handle) = self.shared.handles.get(&peer) else { return pending().await };
        let mut state = handle.state.clone();
        match state.changed().await {
            Ok(()) => *state.borrow(),
            // The peer's task has ended.
            Err(_) => None,
        }
    }

    /// Set once a peer refuses this node for good: it must not take part any more.
    pub fn expelled(&self) -> watch::Receiver<Option<Expelled>> {
        self.shared.expelled.clone()
    }

    /// Ends all connections and dials no more. Extra calls are harmless.
    pub fn close(&self) {
        self.shared.stop.cancel();
    }
}

impl Shared {
    async fn greet(&self, connection: Connection) {
        match link::greet(connection.clone(), &self.me).await {
            Ok((peer, link)) => match self.handles.get(&peer) {
                Some(handle) if handle.offers.try_send(link).is_ok() => {}
                Some(_) => connection.close(Close::Busy),
                None => refuse(&connection, &LinkError::WrongHello),
            },
            Err(error) => refuse(&connection, &error),
        }
    }
}

fn refuse(connection: &Connection, error: &LinkError) {
    connection.close(error.close());
    let address = connection.remote_address();
    let who = connection.identity();
    match error {
        LinkError::Impostor | LinkError::WrongHello | LinkError::Frame(_) => {
            warn!(%address, %who, "a connection from a node was refused: {error}");
        }
        _ => debug!(%address, %who, "a connection from a node came to nothing: {error}"),
    }
}

/// The task of one peer: the only one that decides which connection to it is used.
struct Keeper {
    me: Arc<LocalNode>,
    peer: NodeId,
    address: Address,
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
    async fn run(mut self, stop: CancellationToken) {
        let mut dial: Option<Dial> = None;
        loop {
            let may_dial = self.current.is_none() && dial.is_none();
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
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
                    let (endpoint, to) = (self.endpoint.clone(), (self.peer, self.address.clone()));
                    let me = self.me.clone();
                    dial = Some(Box::pin(link::dial(endpoint, me, to, self.patience)));
                }
            }
        }
        if let Some(current) = self.current {
            current.connection.close(Close::Stopping);
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
            Verdict::Take { instead } => {
                if let (Some(old), Some(close)) = (self.current.take(), instead) {
                    old.connection.close(close);
                }
                self.take(link, offer);
                true
            }
            Verdict::Refuse(close) => {
                debug!(peer = %self.peer, ?offer, ?close, "a connection is not needed");
                link.connection.close(close);
                false
            }
        }
    }

    fn take(&mut self, link: Link, is: PeerConnection) {
        info!(peer = %self.peer, incarnation = %is.incarnation, dialled_by = %is.dialled_by, "connected");
        self.acquaintance.meet(&link.introduction);
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
        info!(peer = %self.peer, "connection lost: {error}");
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
        if self.last_failure.as_ref() == Some(&error) {
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

/// The processes of a peer that were heard of.
#[derive(Debug, Default)]
struct History {
    newest: Option<Incarnation>,
    /// Those before it, the last one last.
    retired: VecDeque<Incarnation>,
}

/// What becomes of a new connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// It is used; the one used so far, if any, is closed for this reason.
    Take {
        instead: Option<Close>,
    },
    Refuse(Close),
}

impl History {
    fn judge(&mut self, current: Option<PeerConnection>, offer: PeerConnection) -> Verdict {
        if self.retired.contains(&offer.incarnation) {
            return Verdict::Refuse(Close::Superseded);
        }
        self.remember(offer.incarnation);
        match current {
            None => Verdict::Take { instead: None },
            Some(old) if old.incarnation != offer.incarnation => {
                Verdict::Take { instead: Some(Close::Superseded) }
            }
            // The same side dials anew only when it has lost the old one.
            Some(old) if offer.dialled_by <= old.dialled_by => {
                Verdict::Take { instead: Some(Close::Duplicate) }
            }
            Some(_) => Verdict::Refuse(Close::Duplicate),
        }
    }

    fn remember(&mut self, incarnation: Incarnation) {
        if let Some(former) = self.newest.replace(incarnation)
            && former != incarnation
        {
            self.retired.push_back(former);
            if self.retired.len() > PEER_INCARNATIONS_REMEMBERED {
                self.retired.pop_front();
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::net::UdpSocket;
    use std::sync::Mutex;

    use proptest::prelude::*;

    use super::super::inbound::InboundReceiver;
    use super::super::testing::relay::Relay;
    use super::super::testing::{Certificates, any_port, move_away, soon, successor};
    use super::super::{CertificateRole, Expect, Problem, Protocol, Stream};
    use super::*;
    use crate::entry::{Chain, HEADER_BYTES};
    use crate::limits::{PEER_IDLE_TIMEOUT, STREAM_WINDOW_BYTES};
    use crate::raft::{AppendEntries, Message};
    use crate::raft::{HardState, Lineage, Memory, Standing};
    use crate::types::{Index, LogId, Term};
    use crate::wire::{Frame, PeerHello, PeerWelcome, Refusal};

    pub(in super::super) fn node(number: u16) -> NodeId {
        NodeId::new(number).unwrap()
    }

    pub(in super::super) fn process(number: u16) -> PeerProcess {
        PeerProcess { node: node(number), start: Incarnation::new(1) }
    }

    /// What the start with this number says of itself; of two, the larger is the later.
    fn introduction(start: u64) -> Introduction {
        let lineage = (1..=start)
            .map(Incarnation::new)
            .fold(Lineage::new(Incarnation::new(1)), |lineage, start| lineage.started(start));
        let hard_state = HardState::default();
        let standing = Standing { lineage, hard_state, last: LogId::ZERO };
        let members = [1, 2].map(|number| (node(number), format!("n{number}:7100")));
        Introduction { standing, members: members.into() }
    }

    fn append(round: u64, heartbeat: bool) -> Message {
        Message::AppendEntries(AppendEntries {
            term: Term::new(1),
            prev_log_id: LogId::ZERO,
            leader_commit: Index::ZERO,
            round,
            heartbeat,
            entries: vec![],
        })
    }

    pub(in super::super) fn heartbeat(round: u64) -> PeerMessage {
        PeerMessage::bare(append(round, true))
    }

    pub(in super::super) fn entries(round: u64, bytes: usize) -> PeerMessage {
        PeerMessage {
            message: append(round, false),
            previous_chain: Some(Chain::START),
            entries: vec![vec![7; HEADER_BYTES.max(bytes)].into()],
            clock: crate::types::Timestamp::new(1),
        }
    }

    pub(in super::super) fn round_of(message: &PeerMessage) -> u64 {
        match &message.message {
            Message::AppendEntries(append) => append.round,
            other => panic!("{other:?}"),
        }
    }

    fn connection(incarnation: u64, dialled_by: u16) -> PeerConnection {
        PeerConnection { incarnation: Incarnation::new(incarnation), dialled_by: node(dialled_by) }
    }

    #[test]
    fn of_two_connections_that_of_the_smaller_node_is_kept() {
        let duplicate = Verdict::Take { instead: Some(Close::Duplicate) };
        let mut history = History::default();
        assert_eq!(history.judge(None, connection(1, 2)), Verdict::Take { instead: None });
        assert_eq!(history.judge(Some(connection(1, 2)), connection(1, 1)), duplicate);
        let refused = Verdict::Refuse(Close::Duplicate);
        assert_eq!(history.judge(Some(connection(1, 1)), connection(1, 2)), refused);
        assert_eq!(history.judge(Some(connection(1, 1)), connection(1, 1)), duplicate);
    }

    #[test]
    fn a_new_process_is_taken_at_once_and_the_old_one_never_again() {
        let mut history = History::default();
        history.judge(None, connection(1, 1));
        let superseded = Verdict::Take { instead: Some(Close::Superseded) };
        assert_eq!(history.judge(Some(connection(1, 1)), connection(2, 2)), superseded);
        let stale = Verdict::Refuse(Close::Superseded);
        assert_eq!(history.judge(Some(connection(2, 2)), connection(1, 1)), stale);
        assert_eq!(history.judge(None, connection(1, 1)), stale);
        assert_eq!(history.judge(None, connection(2, 1)), Verdict::Take { instead: None });
        for incarnation in 3..100 {
            history.judge(None, connection(incarnation, 1));
        }
        assert_eq!(history.retired.len(), PEER_INCARNATIONS_REMEMBERED);
    }

    proptest! {
        /// Two connections made at once, seen by the two sides in any order.
        #[test]
        fn both_sides_keep_the_same_connection(first in 1_u16..3, second in 1_u16..3) {
            let seen = |order: [u16; 2]| {
                let mut history = History::default();
                let mut current = None;
                for dialled_by in order {
                    let offer = connection(1, dialled_by);
                    if let Verdict::Take { .. } = history.judge(current, offer) {
                        current = Some(offer);
                    }
                }
                current
            };
            prop_assert_eq!(seen([first, second]), seen([second, first]));
        }
    }

    /// A node as its peers see it.
    struct Running {
        endpoint: Endpoint,
        peers: Peers,
        receiver: InboundReceiver,
    }

    /// Sockets for nodes 1 and 2, whose addresses are known before either runs.
    fn sockets(certificates: &Certificates) -> (Endpoint, Endpoint) {
        let of = |name| certificates.server(name, &[Protocol::Peer]);
        (of("n1"), of("n2"))
    }

    fn run_with(
        endpoint: Endpoint,
        incarnation: u64,
        other: (u16, SocketAddr),
        (inbound, receiver): (Inbound, InboundReceiver),
    ) -> Running {
        let identity = endpoint.identity();
        let me = LocalNode {
            cluster: identity.cluster,
            node: identity.node().unwrap(),
            introduction: introduction(incarnation),
        };
        let memory = Memory::new((me.node, Term::new(1)), &BTreeMap::new(), u32::MAX);
        let addresses = BTreeMap::from([(node(other.0), other.1), (me.node, any_port())]);
        let addresses = addresses.into_iter().map(|(node, at)| (node, at.into())).collect();
        let memory = Arc::new(Mutex::new(memory));
        let peers = Peers::start(&endpoint, me, &addresses, (&inbound, &memory));
        let (accepting, accepted) = (peers.clone(), endpoint.clone());
        tokio::spawn(async move {
            while let Some(connection) = accepted.accept().await {
                accepting.accept(connection);
            }
        });
        Running { endpoint, peers, receiver }
    }

    fn run(endpoint: Endpoint, incarnation: u64, other: (u16, SocketAddr)) -> Running {
        run_with(endpoint, incarnation, other, Inbound::new())
    }

    /// Nodes 1 (incarnation 11) and 2 (incarnation 12), connected by the connection that stays.
    async fn pair(certificates: &Certificates) -> (Running, Running) {
        let (first, second) = sockets(certificates);
        let (to_first, to_second) = (first.local_address(), second.local_address());
        let first = run(first, 11, (2, to_second));
        let second = run(second, 12, (1, to_first));
        becomes(&first.peers, 2, connection(12, 1)).await;
        becomes(&second.peers, 1, connection(11, 1)).await;
        (first, second)
    }

    /// Waits until the connection to a peer is this one.
    async fn becomes(peers: &Peers, peer: u16, expected: PeerConnection) {
        let mut state = peers.shared.handles[&node(peer)].state.clone();
        soon(state.wait_for(|state| *state == Some(expected))).await.unwrap();
    }

    async fn received(running: &mut Running) -> (NodeId, u64) {
        let (from, message) = soon(running.receiver.recv()).await.unwrap();
        (from.node, round_of(&message))
    }

    #[tokio::test]
    async fn peers_find_each_other_and_speak_on_both_streams() {
        let certificates = Certificates::of(1);
        // Both dial at once; one connection remains, that of n1.
        let (mut first, mut second) = pair(&certificates).await;
        for round in 1..=3 {
            first.peers.send(node(2), heartbeat(round));
            assert_eq!(received(&mut second).await, (node(1), round));
            second.peers.send(node(1), entries(round, 100_000));
            assert_eq!(received(&mut first).await, (node(2), round));
            first.peers.send(node(2), entries(round, 100));
            assert_eq!(received(&mut second).await, (node(1), round));
            second.peers.send(node(1), heartbeat(round));
            assert_eq!(received(&mut first).await, (node(2), round));
        }
        // To oneself or to a stranger: dropped.
        first.peers.send(node(1), heartbeat(9));
        first.peers.send(node(3), heartbeat(9));
        assert_eq!(first.peers.connection(node(3)), None);
    }

    #[tokio::test]
    async fn entries_arrive_in_order() {
        let certificates = Certificates::of(1);
        let (first, mut second) = pair(&certificates).await;
        for round in 0..200 {
            first.peers.send(node(2), entries(round, 20_000));
        }
        for round in 0..200 {
            assert_eq!(received(&mut second).await, (node(1), round));
        }
    }

    #[tokio::test]
    async fn a_peer_that_starts_late_is_found() {
        let certificates = Certificates::of(1);
        let (first, second) = sockets(&certificates);
        let (to_first, to_second) = (first.local_address(), second.local_address());
        let first = run(first, 11, (2, to_second));
        let mut second = run(second, 12, (1, to_first));
        becomes(&first.peers, 2, connection(12, 1)).await;
        first.peers.send(node(2), heartbeat(1));
        assert_eq!(received(&mut second).await, (node(1), 1));
    }

    #[tokio::test]
    async fn a_stopped_peer_is_missed_and_found_again() {
        let certificates = Certificates::of(1);
        let (first, second) = pair(&certificates).await;
        let address = second.endpoint.local_address();
        second.peers.close();
        let mut state = first.peers.shared.handles[&node(2)].state.clone();
        soon(state.wait_for(Option::is_none)).await.unwrap();
        second.endpoint.close();
        soon(second.endpoint.closed(PEER_IDLE_TIMEOUT)).await;
        drop(second);
        let again = successor(address, &certificates.of_holder("n2"), Protocol::Peer).await;
        let mut again = run(again, 13, (1, first.endpoint.local_address()));
        becomes_incarnation(&first.peers, 13).await;
        first.peers.send(node(2), heartbeat(1));
        assert_eq!(received(&mut again).await, (node(1), 1));
    }

    #[tokio::test]
    async fn peers_that_are_far_away_find_each_other() {
        let certificates = Certificates::of(1);
        let (first, second) = sockets(&certificates);
        // A round trip takes longer than the first attempt may, and less than the idle timeout.
        let one_way = CONNECT_TIMEOUT / 5 * 4;
        let to_first = Relay::new(first.local_address(), one_way);
        let to_second = Relay::new(second.local_address(), one_way);
        let first = run(first, 11, (2, to_second.address()));
        let mut second = run(second, 12, (1, to_first.address()));
        becomes_incarnation(&first.peers, 12).await;
        // The other side's connection may still take the place of this one, and lose what was sent.
        let send = async {
            loop {
                first.peers.send(node(2), heartbeat(1));
                tokio::time::sleep(one_way).await;
            }
        };
        tokio::select! {
            () = send => {}
            received = received(&mut second) => assert_eq!(received, (node(1), 1)),
        }
    }

    async fn becomes_incarnation(peers: &Peers, incarnation: u64) {
        let expected = Some(Incarnation::new(incarnation));
        let mut state = peers.shared.handles[&node(2)].state.clone();
        let is = |state: &Option<PeerConnection>| state.map(|state| state.incarnation) == expected;
        soon(state.wait_for(is)).await.unwrap();
    }

    #[tokio::test]
    async fn a_restarted_peer_is_reconnected_before_its_old_connection_is_missed() {
        let certificates = Certificates::of(1);
        let (mut first, second) = pair(&certificates).await;
        let address = second.endpoint.local_address();
        move_away(&second.endpoint);
        let again = successor(address, &certificates.of_holder("n2"), Protocol::Peer).await;
        let begun = Instant::now();
        let again = run(again, 13, (1, first.endpoint.local_address()));
        becomes_incarnation(&first.peers, 13).await;
        assert!(begun.elapsed() < PEER_IDLE_TIMEOUT / 2, "{:?}", begun.elapsed());
        again.peers.send(node(1), heartbeat(5));
        assert_eq!(received(&mut first).await, (node(2), 5));
    }

    #[tokio::test]
    async fn a_connection_that_fell_silent_is_replaced() {
        let certificates = Certificates::of(1);
        let (mut first, second) = pair(&certificates).await;
        // n2 is cut off at its address, and reaches others from another one. n1 cannot know before
        // its idle timeout: the other connection comes from the same process.
        move_away(&second.endpoint);
        becomes(&first.peers, 2, connection(12, 2)).await;
        becomes(&second.peers, 1, connection(11, 2)).await;
        second.peers.send(node(1), heartbeat(1));
        assert_eq!(received(&mut first).await, (node(2), 1));
    }

    #[tokio::test]
    async fn a_heartbeat_overtakes_entries_that_nobody_takes() {
        let certificates = Certificates::of(1);
        let (first, second) = sockets(&certificates);
        let (to_first, to_second) = (first.local_address(), second.local_address());
        let first = run(first, 11, (2, to_second));
        let room = Inbound::with_bytes(1 << 20);
        let mut second = run_with(second, 12, (1, to_first), room);
        becomes(&first.peers, 2, connection(12, 1)).await;
        becomes(&second.peers, 1, connection(11, 1)).await;
        // More than the receiver, the stream's window and the queue can hold together.
        let outbox = first.peers.shared.handles[&node(2)].outbox.clone();
        let size = 500_000;
        let fill = async {
            loop {
                first.peers.send(node(2), entries(0, size));
                if outbox.is_full() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        };
        soon(fill).await;
        assert!(STREAM_WINDOW_BYTES as usize > size);
        for round in 1..=20 {
            first.peers.send(node(2), heartbeat(round));
            let message = soon(second.receiver.recv_urgent()).await.unwrap();
            assert_eq!(round_of(&message), round);
            first.peers.send(node(2), entries(round, size));
        }
        assert!(outbox.is_full());
    }

    /// Dials node 1 with a certificate and says these hellos.
    async fn say(
        certificates: &Certificates,
        to: &Running,
        name: &str,
        hellos: &[PeerHello],
    ) -> (Connection, Vec<Stream>) {
        say_from(&certificates.client(name), to, hellos).await
    }

    async fn say_from(
        from: &Endpoint,
        to: &Running,
        hellos: &[PeerHello],
    ) -> (Connection, Vec<Stream>) {
        let expect = Expect { role: CertificateRole::Node, name: Some("n1".to_owned()) };
        let connection =
            super::super::testing::connect(from, &to.endpoint, &expect, Protocol::Peer).await;
        let mut streams = Vec::new();
        for hello in hellos {
            let mut stream = connection.open().await.unwrap();
            stream.sender.send(&hello.to_frame()).await.unwrap();
            streams.push(stream);
        }
        (connection, streams)
    }

    /// Node 1 alone; node 2 is dialled at an address where nobody is.
    fn lonely(certificates: &Certificates) -> (Running, UdpSocket) {
        let nobody = UdpSocket::bind(any_port()).unwrap();
        let endpoint = certificates.server("n1", &[Protocol::Peer]);
        (run(endpoint, 11, (2, nobody.local_addr().unwrap())), nobody)
    }

    fn hello(from: u16) -> PeerHello {
        PeerHello {
            cluster: ClusterId::new(1),
            from: node(from),
            to: node(1),
            introduction: introduction(7),
        }
    }

    #[tokio::test]
    async fn nobody_speaks_for_another() {
        let certificates = Certificates::of(1);
        let (first, _nobody) = lonely(&certificates);
        let other_cluster = PeerHello { cluster: ClusterId::new(2), ..hello(2) };
        let other_target = PeerHello { to: node(3), ..hello(2) };
        let other_process = PeerHello { introduction: introduction(8), ..hello(2) };
        for (name, hellos, close) in [
            ("n2", [hello(3), hello(3)], Close::NotAllowed),
            ("n3", [hello(2), hello(2)], Close::NotAllowed),
            ("n2", [hello(2), hello(3)], Close::WrongHello),
            ("n2", [hello(2), other_process], Close::WrongHello),
            ("n2", [other_cluster.clone(), other_cluster], Close::WrongHello),
            ("n2", [other_target.clone(), other_target], Close::WrongHello),
            // Its certificate is in order, but it is no member.
            ("n3", [hello(3), hello(3)], Close::WrongHello),
        ] {
            let (connection, _stream) = say(&certificates, &first, name, &hellos).await;
            assert_eq!(soon(connection.closed()).await, Problem::Closed(close), "{hellos:?}");
        }
        assert_eq!(first.peers.connection(node(2)), None);
    }

    #[tokio::test]
    async fn a_peer_that_says_nothing_or_nonsense_is_dropped() {
        let certificates = Certificates::of(1);
        let (first, _nobody) = lonely(&certificates);
        let (silent, _stream) = say(&certificates, &first, "n2", &[hello(2)]).await;
        let (nonsense, mut streams) = say(&certificates, &first, "n2", &[hello(2), hello(2)]).await;
        let welcome = soon(streams[0].receiver.next()).await.unwrap().unwrap();
        assert_eq!(PeerWelcome::from_frame(&welcome).unwrap().node, node(1));
        // Entries on the stream for urgent messages would be in the way of heartbeats.
        streams[0].sender.send(&entries(1, 100).to_frame()).await.unwrap();
        assert_eq!(soon(nonsense.closed()).await, Problem::Closed(Close::Malformed));
        let (nonsense, mut streams) = say(&certificates, &first, "n2", &[hello(2), hello(2)]).await;
        streams[0].sender.send(&Frame::new(99, &0_u8, &[])).await.unwrap();
        assert_eq!(soon(nonsense.closed()).await, Problem::Closed(Close::Malformed));
        assert_eq!(soon(silent.closed()).await, Problem::Closed(Close::TimedOut));
    }

    /// The two hellos of a process of node 2.
    fn hellos_of(incarnation: u64) -> [PeerHello; 2] {
        let hello = PeerHello { introduction: introduction(incarnation), ..hello(2) };
        [hello.clone(), hello]
    }

    #[tokio::test]
    async fn a_second_process_takes_over_and_the_first_stays_out() {
        let certificates = Certificates::of(1);
        let (first, nobody) = lonely(&certificates);
        let address = nobody.local_addr().unwrap();
        drop(nobody);
        let home = Endpoint::server(address, &certificates.of_holder("n2"), &[Protocol::Peer]);
        let home = home.unwrap();
        let (old, _old_stream) = say_from(&home, &first, &hellos_of(21)).await;
        becomes(&first.peers, 2, connection(21, 2)).await;
        let (new, _new_stream) = say_from(&home, &first, &hellos_of(22)).await;
        becomes(&first.peers, 2, connection(22, 2)).await;
        let superseded = Problem::Closed(Close::Superseded);
        assert_eq!(soon(old.closed()).await, superseded);
        let (straggler, _stream) = say_from(&home, &first, &hellos_of(21)).await;
        assert_eq!(soon(straggler.closed()).await, superseded);
        assert!(!new.is_closed());
        first.peers.close();
        assert_eq!(soon(new.closed()).await, Problem::Closed(Close::Stopping));
    }

    #[tokio::test]
    async fn beside_one_that_is_connected_another_has_to_come_from_home() {
        let certificates = Certificates::of(1);
        let (first, _nobody) = lonely(&certificates);
        let (old, _old_stream) = say(&certificates, &first, "n2", &hellos_of(21)).await;
        becomes(&first.peers, 2, connection(21, 2)).await;
        let (twin, _twin_stream) = say(&certificates, &first, "n2", &hellos_of(22)).await;
        soon(twin.closed()).await;
        let told = twin.refusal().and_then(|bytes| Refusal::from_bytes(&bytes));
        assert_eq!(told, Some(Refusal::Twin));
        assert!(!old.is_closed());
        // Once that one is gone, anywhere is good enough.
        old.close(Close::Done);
        let mut state = first.peers.shared.handles[&node(2)].state.clone();
        soon(state.wait_for(Option::is_none)).await.unwrap();
        let _new = say(&certificates, &first, "n2", &hellos_of(22)).await;
        becomes(&first.peers, 2, connection(22, 2)).await;
    }
}
