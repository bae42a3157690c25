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

use std::collections::BTreeMap;
use std::future::pending;
use std::net::SocketAddr;
use std::sync::{Arc, RwLock, RwLockReadGuard, Weak};

use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{debug, warn};

use super::acquaintance::{Acquaintance, Expelled, SharedMemory, UNPOISONED};
use super::connection::Connection;
use super::endpoint::Endpoint;
use super::history::PeerConnection;
use super::inbound::Inbound;
use super::keeper::{Handle, Keeper};
use super::link::{self, Link, LinkError};
use super::local::LocalNode;
use super::problem::Close;
use super::roll::Roll;
use crate::address::Address;
use crate::limits::PEERS_MAX;
use crate::types::NodeId;
use crate::wire::{PeerMessage, PeerRefusal};

/// Connections to all peers. Clones are the same; when the last is dropped, all end.
#[derive(Clone, Debug)]
pub struct Peers {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    me: Arc<LocalNode>,
    endpoint: Endpoint,
    inbound: Inbound,
    memory: SharedMemory,
    handles: RwLock<BTreeMap<NodeId, Handle>>,
    expel: watch::Sender<Option<Expelled>>,
    expelled: watch::Receiver<Option<Expelled>>,
    stop: CancellationToken,
    _stop_when_dropped: DropGuard,
}

impl Peers {
    /// Begins to dial every other member, as the roll says who they are and where, and goes on until
    /// [`Self::close`], or until nobody takes what they say out of `inbound` any more.
    ///
    /// Connections that come in by [`Endpoint::accept`] for [`super::Protocol::Peer`] must be given
    /// to [`Self::accept`]. Must be called within a tokio runtime.
    pub fn start(
        endpoint: &Endpoint,
        me: LocalNode,
        (inbound, memory): (&Inbound, &SharedMemory),
    ) -> Self {
        let stop = CancellationToken::new();
        let (expel, expelled) = watch::channel(None);
        let roll = me.roll.clone();
        let shared = Arc::new(Shared {
            me: Arc::new(me),
            endpoint: endpoint.clone(),
            inbound: inbound.clone(),
            memory: memory.clone(),
            handles: RwLock::default(),
            expel,
            expelled,
            _stop_when_dropped: stop.clone().drop_guard(),
            stop: stop.clone(),
        });
        shared.follow(&roll.borrow());
        tokio::spawn(stop.run_until_cancelled_owned(follow(Arc::downgrade(&shared), roll)));
        Self { shared }
    }

    /// Sends a message, if there is a connection and room; else it is lost. Never waits.
    pub fn send(&self, to: NodeId, message: PeerMessage) {
        if let Some(handle) = self.shared.handles().get(&to) {
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
        self.shared.handles().get(&peer).and_then(|handle| *handle.state.borrow())
    }

    /// Where a peer is, if there is a connection to it: where it was dialled, or came from.
    pub fn address(&self, peer: NodeId) -> Option<SocketAddr> {
        self.shared.handles().get(&peer).and_then(|handle| *handle.seen_at.borrow())
    }

    /// Waits until the connection to a peer is another than it was when this was called, and gives
    /// it. Waits for ever for a node that is no peer.
    pub async fn changed(&self, peer: NodeId) -> Option<PeerConnection> {
        let state = self.shared.handles().get(&peer).map(|handle| handle.state.clone());
        let Some(mut state) = state else { return pending().await };
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

/// Dials those who come, and lets go of those who are members no more.
async fn follow(shared: Weak<Shared>, mut roll: watch::Receiver<Roll>) {
    while roll.changed().await.is_ok() {
        let Some(shared) = shared.upgrade() else { return };
        shared.follow(&roll.borrow_and_update());
    }
}

impl Shared {
    fn handles(&self) -> RwLockReadGuard<'_, BTreeMap<NodeId, Handle>> {
        self.handles.read().expect(UNPOISONED)
    }

    fn follow(&self, roll: &Roll) {
        let mut handles = self.handles.write().expect(UNPOISONED);
        handles.retain(|peer, handle| {
            // One that knows of a later change may be a member by that.
            let is_stranger = roll.is_stranger(*peer, *handle.as_of.borrow());
            if is_stranger {
                let refusal = PeerRefusal::Stranger { as_of: roll.as_of };
                handle.dismissed.send_replace(Some(refusal));
            }
            !is_stranger
        });
        for (peer, address) in roll.members.iter().filter(|(peer, _)| **peer != self.me.node) {
            match handles.get(peer) {
                Some(handle) => {
                    handle.address.send_if_modified(|known| {
                        let has_moved = known != address;
                        known.clone_from(address);
                        has_moved
                    });
                }
                None => drop(handles.insert(*peer, self.keep(*peer, address.clone()))),
            }
        }
    }

    /// Begins to keep a connection to a peer, which is dialled if its address is known.
    fn keep(&self, peer: NodeId, address: Option<Address>) -> Handle {
        let (me, memory, expel) = (self.me.clone(), self.memory.clone(), self.expel.clone());
        let acquaintance = Acquaintance::new(me, (peer, address.as_ref()), memory, expel);
        let from_here = (self.endpoint.clone(), self.me.clone(), self.inbound.clone());
        Keeper::start(from_here, (peer, address), acquaintance, self.stop.clone())
    }

    async fn greet(&self, connection: Connection) {
        match link::greet(connection.clone(), &self.me).await {
            Ok((peer, link)) => self.take_in(&connection, peer, link),
            Err(error) => refuse(&connection, &error),
        }
    }

    /// Gives a connection that a peer dialled to its keeper. A peer that is no member, and knows of a later
    /// change than this node, may be one by that, and gets a keeper.
    fn take_in(&self, connection: &Connection, peer: NodeId, link: Link) {
        let roll = self.me.roll.borrow().clone();
        if roll.is_stranger(peer, link.introduction.as_of) {
            return connection.refuse(&PeerRefusal::Stranger { as_of: roll.as_of }.to_bytes());
        }
        let mut handles = self.handles.write().expect(UNPOISONED);
        if !handles.contains_key(&peer) && handles.len() >= PEERS_MAX {
            return connection.close(Close::Busy);
        }
        let handle = handles.entry(peer).or_insert_with(|| self.keep(peer, None));
        if handle.offers.try_send(link).is_err() {
            connection.close(Close::Busy);
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

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::sync::Mutex;

    use tokio::time::Instant;

    use super::super::inbound::InboundReceiver;
    use super::super::testing::messages::{entries, heartbeat, node, round_of};
    use super::super::testing::relay::Relay;
    use super::super::testing::{Certificates, any_port, move_away, soon, successor};
    use super::super::{CertificateRole, Expect, Problem, Protocol, Stream};
    use super::*;
    use crate::limits::{CONNECT_TIMEOUT, PEER_IDLE_TIMEOUT, STREAM_WINDOW_BYTES};
    use crate::raft::Loss;
    use crate::raft::{Belonging, HardState, Lineage, Memory, Standing};
    use crate::types::{ClusterId, Incarnation, Index, LogId, Term};
    use crate::wire::{Frame, Introduction, PeerHello, PeerRefusal, PeerWelcome};

    /// What the start with this number says of itself; of two, the larger is the later.
    fn introduction(start: u64) -> Introduction {
        let lineage = (1..=start)
            .map(Incarnation::new)
            .fold(Lineage::new(Incarnation::new(1)), |lineage, start| lineage.started(start));
        let hard_state = HardState::default();
        let standing = Standing { lineage, hard_state, last: LogId::ZERO };
        let members = [1, 2].map(|number| (node(number), format!("n{number}:7100")));
        Introduction { standing, founders: members.into(), as_of: Index::new(9) }
    }

    fn connection(incarnation: u64, dialled_by: u16) -> PeerConnection {
        PeerConnection { incarnation: Incarnation::new(incarnation), dialled_by: node(dialled_by) }
    }

    /// A node as its peers see it.
    struct Running {
        endpoint: Endpoint,
        peers: Peers,
        receiver: InboundReceiver,
        roll: watch::Sender<Roll>,
    }

    /// The members as of an entry: this node, which is one, and another.
    fn roll_of(as_of: u64, me: NodeId, other: Option<(u16, SocketAddr)>) -> Roll {
        let others = other.map(|(other, at)| (node(other), Some(at.into())));
        let members = others.into_iter().chain([(me, None)]).collect();
        Roll { as_of: Index::new(as_of), members, belonging: Belonging::Member, ..Roll::default() }
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
        let id = identity.node().unwrap();
        let (roll, rolled) = watch::channel(roll_of(9, id, Some(other)));
        let Introduction { standing, founders, .. } = introduction(incarnation);
        let me =
            LocalNode { cluster: identity.cluster, node: id, standing, founders, roll: rolled };
        let memory = Memory::new((me.node, Term::new(1)), &BTreeMap::new(), u32::MAX);
        let memory = Arc::new(Mutex::new(memory));
        let peers = Peers::start(&endpoint, me, (&inbound, &memory));
        let (accepting, accepted) = (peers.clone(), endpoint.clone());
        tokio::spawn(async move {
            while let Some(connection) = accepted.accept().await {
                accepting.accept(connection);
            }
        });
        Running { endpoint, peers, receiver, roll }
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
        let is_there = async {
            while !peers.shared.handles().contains_key(&node(peer)) {
                tokio::task::yield_now().await;
            }
        };
        soon(is_there).await;
        let mut state = peers.shared.handles()[&node(peer)].state.clone();
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
        let mut state = first.peers.shared.handles()[&node(2)].state.clone();
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
        let mut state = peers.shared.handles()[&node(2)].state.clone();
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
        let outbox = first.peers.shared.handles()[&node(2)].outbox.clone();
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
        ] {
            let (connection, _stream) = say(&certificates, &first, name, &hellos).await;
            assert_eq!(soon(connection.closed()).await, Problem::Closed(close), "{hellos:?}");
        }
        assert_eq!(first.peers.connection(node(2)), None);
    }

    #[tokio::test]
    async fn one_that_is_no_member_is_heard_if_it_knows_of_a_later_change() {
        let certificates = Certificates::of(1);
        let (first, _nobody) = lonely(&certificates);
        let (stranger, _streams) = say(&certificates, &first, "n3", &[hello(3), hello(3)]).await;
        soon(stranger.closed()).await;
        let told = stranger.refusal().and_then(|bytes| PeerRefusal::from_bytes(&bytes));
        assert_eq!(told, Some(PeerRefusal::Stranger { as_of: Index::new(9) }));
        let mut later = hello(3);
        later.introduction.as_of = Index::new(10);
        let (_link, mut streams) = say(&certificates, &first, "n3", &[later.clone(), later]).await;
        let welcome = soon(streams[0].receiver.next()).await.unwrap().unwrap();
        assert_eq!(PeerWelcome::from_frame(&welcome).unwrap().node, node(1));
        becomes(&first.peers, 3, connection(7, 3)).await;
    }

    #[tokio::test]
    async fn one_that_was_removed_is_told_and_one_that_was_not_heard_of_yet_is_not() {
        let certificates = Certificates::of(1);
        let (first, second) = pair(&certificates).await;
        let mut expelled = second.peers.expelled();
        // It knows as much as n1 does: it is refused, and takes nobody's word for that.
        let without = |as_of| roll_of(as_of, node(1), None);
        first.roll.send_replace(without(9));
        let mut state = second.peers.shared.handles()[&node(1)].state.clone();
        soon(state.wait_for(Option::is_none)).await.unwrap();
        assert_eq!(*expelled.borrow(), None);
        first.roll.send_replace(without(10));
        soon(expelled.wait_for(Option::is_some)).await.unwrap();
        let loss = Loss::Removed { as_of: Index::new(10) };
        assert_eq!(*expelled.borrow(), Some(Expelled { by: node(1), loss }));
    }

    #[tokio::test]
    async fn who_has_moved_is_dialled_where_it_is() {
        let certificates = Certificates::of(1);
        let (first, _nobody) = lonely(&certificates);
        let second = certificates.server("n2", &[Protocol::Peer]);
        let at = second.local_address();
        let nobody = UdpSocket::bind(any_port()).unwrap();
        let mut second = run(second, 12, (1, nobody.local_addr().unwrap()));
        assert_eq!(first.peers.connection(node(2)), None);
        first.roll.send_replace(roll_of(10, node(1), Some((2, at))));
        becomes(&first.peers, 2, connection(12, 1)).await;
        first.peers.send(node(2), heartbeat(1));
        assert_eq!(received(&mut second).await, (node(1), 1));
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
        let told = twin.refusal().and_then(|bytes| PeerRefusal::from_bytes(&bytes));
        assert_eq!(told, Some(PeerRefusal::Twin));
        assert!(!old.is_closed());
        // Once that one is gone, anywhere is good enough.
        old.close(Close::Done);
        let mut state = first.peers.shared.handles()[&node(2)].state.clone();
        soon(state.wait_for(Option::is_none)).await.unwrap();
        let _new = say(&certificates, &first, "n2", &hellos_of(22)).await;
        becomes(&first.peers, 2, connection(22, 2)).await;
    }
}
