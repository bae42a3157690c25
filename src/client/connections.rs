//! The connections that a client keeps, one to each node, and the questions asked on them.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use thiserror::Error;
use tokio::time::{Instant, timeout};

use super::search::LinkNumber;
use crate::address::Address;
use crate::limits::CLIENT_SOCKETS_MAX;
use crate::net::{
    CertificateRole, Close, ConnectError, Connection, Endpoint, Expect, Problem, Protocol, Stream,
    StreamError,
};
use crate::registry::{self, LookupError};
use crate::types::{ClusterId, NodeId};
use crate::wire::api::{Request, Welcome};
use crate::wire::registry::Announcement;
use crate::wire::{Frame, FrameError};

/// A question to a node or the registry had no answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AskError {
    /// There is no connection.
    #[error("{0}")]
    Connect(#[from] ConnectError),
    /// The connection or its stream failed.
    #[error("{0}")]
    Stream(#[from] StreamError),
    /// The answer is not one.
    #[error("the answer was {0}")]
    Frame(#[from] FrameError),
    /// The registry was asked in vain.
    #[error("{0}")]
    Registry(#[from] LookupError),
    /// No address is known for it.
    #[error("no address of {node} is known")]
    NoAddress {
        /// Of whom.
        node: NodeId,
    },
    /// Another node listens at its address.
    #[error("{address} is {found}, not {expected}")]
    OtherNode {
        /// The address.
        address: Address,
        /// Who was thought to be there.
        expected: NodeId,
        /// Who is.
        found: NodeId,
    },
    /// It belongs to another cluster, or refused to speak.
    #[error("it refused the question")]
    Refused,
}

impl AskError {
    /// Why the other side and this one will not speak to each other, however often they try.
    pub fn refusal(&self) -> Option<&Problem> {
        let problem = self.problem()?;
        let for_good = matches!(
            problem,
            Problem::OurCertificate(_)
                | Problem::TheirCertificate(_)
                | Problem::WrongIdentity { .. }
                | Problem::Protocol
                | Problem::Closed(Close::NotAllowed | Close::Revoked)
        );
        for_good.then_some(problem)
    }

    /// Whether the other side has too many connections for now.
    pub fn is_crowded(&self) -> bool {
        self.problem().is_some_and(Problem::is_crowded)
    }

    fn problem(&self) -> Option<&Problem> {
        let (Self::Connect(ConnectError::Refused { problem, .. })
        | Self::Stream(StreamError::Lost(problem))
        | Self::Registry(
            LookupError::Connect(ConnectError::Refused { problem, .. })
            | LookupError::Stream(StreamError::Lost(problem)),
        )) = self
        else {
            return None;
        };
        Some(problem)
    }
}

/// A stream and the connection that carries it, or why there is none.
pub(super) type Opened = Result<(LinkNumber, Stream), AskError>;

/// One connection to each node, made when it is first needed.
#[derive(Debug)]
pub(super) struct Connections {
    cluster: ClusterId,
    /// The sockets that connections go out of; new ones out of the last.
    sockets: Mutex<Vec<Endpoint>>,
    registry: Option<Address>,
    /// Where the nodes listen: as configured, then as they themselves say.
    directory: Mutex<BTreeMap<NodeId, Address>>,
    /// Where other nodes are connected with a node, if that is not where it is in the directory: its
    /// own file may say another address than all the others do.
    elsewhere: Mutex<BTreeMap<NodeId, Address>>,
    slots: Mutex<BTreeMap<NodeId, Arc<Slot>>>,
    /// Connections made so far.
    made: AtomicU64,
}

/// Where the connection to a node is kept.
#[derive(Debug, Default)]
struct Slot {
    kept: Mutex<Option<Link>>,
    /// Locked while one is being made, so that it is made once.
    dialling: tokio::sync::Mutex<()>,
}

impl Slot {
    fn live(&self) -> Option<Link> {
        lock(&self.kept).clone().filter(|link| !link.connection.is_closed())
    }
}

/// A connection and its number, by which it is known from its successor.
#[derive(Clone, Debug)]
struct Link {
    connection: Connection,
    number: LinkNumber,
    /// The port of this side.
    port: u16,
}

impl Connections {
    pub(super) fn new(
        endpoint: Endpoint,
        nodes: impl IntoIterator<Item = (NodeId, Address)>,
        registry: Option<Address>,
    ) -> Self {
        let directory = Mutex::new(nodes.into_iter().collect());
        let cluster = endpoint.identity().cluster;
        let sockets = Mutex::new(vec![endpoint]);
        let (elsewhere, slots) = (Mutex::default(), Mutex::default());
        let made = AtomicU64::new(0);
        Self { cluster, sockets, registry, directory, elsewhere, slots, made }
    }

    /// Every node of which an address is known.
    pub(super) fn nodes(&self) -> Vec<(NodeId, Address)> {
        lock(&self.directory).iter().map(|(node, at)| (*node, at.clone())).collect()
    }

    /// Where a node is, as far as is known by now.
    pub(super) fn address(&self, node: NodeId) -> Option<Address> {
        lock(&self.directory).get(&node).cloned()
    }

    /// Whether others are connected with a node where this client has not looked for it first.
    pub(super) fn is_elsewhere(&self, node: NodeId) -> bool {
        lock(&self.elsewhere).contains_key(&node)
    }

    /// Where the registry listens, if there is one.
    pub(super) fn registry(&self) -> Option<&Address> {
        self.registry.as_ref()
    }

    /// A connection to a node: the one that is kept, else a new one.
    async fn to(&self, node: NodeId, limit: Duration) -> Result<Link, AskError> {
        let slot = self.slot(node);
        if let Some(link) = slot.live() {
            return Ok(link);
        }
        let _turn = slot.dialling.lock().await;
        match slot.live() {
            Some(made_meanwhile) => Ok(made_meanwhile),
            None => self.dial(node, &slot, limit).await,
        }
    }

    /// A new connection to a node, kept from now on instead of the one before. Whoever uses that one
    /// may go on using it.
    async fn dial(&self, node: NodeId, slot: &Slot, limit: Duration) -> Result<Link, AskError> {
        let address = self.address(node).ok_or(AskError::NoAddress { node })?;
        let elsewhere = lock(&self.elsewhere).get(&node).cloned();
        let addresses: Vec<_> = [address.clone()].into_iter().chain(elsewhere).collect();
        // Which node it is, its certificate says: addresses may have been given without names.
        let expect = Expect { role: CertificateRole::Node, name: None };
        let socket = self.socket();
        let connection = socket.reach_any(limit, &addresses, &expect, Protocol::Client).await?;
        let found = connection.identity().node().ok_or(AskError::Refused)?;
        let remote = Address::from(connection.remote_address());
        if found != node {
            let address = self.relabel((address, remote), node, found);
            return Err(AskError::OtherNode { address, expected: node, found });
        }
        self.found_at(node, &remote);
        let number = LinkNumber::new(self.made.fetch_add(1, Ordering::Relaxed));
        let link = Link { connection, number, port: socket.local_address().port() };
        *lock(&slot.kept) = Some(link.clone());
        Ok(link)
    }

    /// Who a node is and what it knows, and over which connection it said so: the one that is kept,
    /// or a fresh one.
    pub(super) async fn hello(
        &self,
        node: NodeId,
        fresh: bool,
        limit: Duration,
    ) -> Result<(LinkNumber, Welcome), AskError> {
        let asking = async {
            let link = if fresh {
                let slot = self.slot(node);
                self.abandon(&slot);
                self.dial(node, &slot, limit).await?
            } else {
                self.to(node, limit).await?
            };
            match ask(&link.connection, &Request::Hello.to_frame(), limit).await {
                Ok(frame) => {
                    let welcome = Welcome::from_frame(&frame)?;
                    self.is_of(&welcome, node).then_some(()).ok_or(AskError::Refused)?;
                    self.learn(&welcome);
                    Ok((link.number, welcome))
                }
                Err(error) => {
                    self.forget(node, &link);
                    Err(error)
                }
            }
        };
        bounded(limit, asking).await
    }

    /// A stream to a node, on which `first` has been sent, and the connection that carries it.
    pub(super) async fn open(&self, node: NodeId, first: &Request, limit: Duration) -> Opened {
        bounded(limit, async {
            let (link, mut stream) = self.open_unsent(node, limit).await?;
            stream.sender.send(&first.to_frame()).await?;
            Ok((link, stream))
        })
        .await
    }

    /// A stream to a node, of which the node knows nothing yet.
    pub(super) async fn open_unsent(&self, node: NodeId, limit: Duration) -> Opened {
        let link = self.to(node, limit).await?;
        let opened = bounded(limit, async { Ok(link.connection.open().await?) }).await;
        if opened.is_err() {
            self.forget(node, &link);
        }
        opened.map(|stream| (link.number, stream))
    }

    /// Who announced itself last at the registry; `None` if nobody has, or there is no registry.
    pub(super) async fn announced(
        &self,
        limit: Duration,
    ) -> Result<Option<Announcement>, AskError> {
        let Some(address) = &self.registry else { return Ok(None) };
        let announcement = registry::leader(&self.socket(), address, self.cluster, limit).await?;
        if let Some(announcement) = &announcement {
            self.add(announcement.node, &announcement.address);
        }
        Ok(announcement)
    }

    /// The kept connection has been silent: nobody is to begin anything on it. What a router between
    /// here and there makes of its port says nothing of another one, which is used from now on.
    fn abandon(&self, slot: &Slot) {
        let silent = lock(&slot.kept).take();
        let socket = self.socket();
        if silent.is_some_and(|link| link.port == socket.local_address().port()) {
            let mut sockets = lock(&self.sockets);
            sockets.retain(Endpoint::is_in_use);
            // Without another, the one that there is has to do.
            match socket.sibling() {
                Ok(sibling) if sockets.len() < CLIENT_SOCKETS_MAX => sockets.push(sibling),
                _ if sockets.is_empty() => sockets.push(socket),
                _ => {}
            }
        }
    }

    /// The socket that new connections go out of.
    fn socket(&self) -> Endpoint {
        lock(&self.sockets).last().expect("there is always one").clone()
    }

    /// Ceases to keep a connection, which whoever uses it may go on using.
    fn forget(&self, node: NodeId, link: &Link) {
        let slot = self.slot(node);
        let mut kept = lock(&slot.kept);
        // Another may have been made meanwhile.
        if kept.as_ref().is_some_and(|kept| kept.number == link.number) {
            *kept = None;
        }
    }

    /// Tells every node that this client is gone, as far as that can be done in `limit`.
    pub(super) async fn close(&self, limit: Duration) {
        let sockets = lock(&self.sockets).clone();
        sockets.iter().for_each(Endpoint::close);
        let until = Instant::now() + limit;
        for socket in &sockets {
            socket.closed(until.saturating_duration_since(Instant::now())).await;
        }
    }

    /// Whose nodes these are.
    pub(super) fn cluster(&self) -> ClusterId {
        self.cluster
    }

    fn is_of(&self, welcome: &Welcome, node: NodeId) -> bool {
        welcome.cluster == self.cluster() && welcome.node == node
    }

    fn slot(&self, node: NodeId) -> Arc<Slot> {
        lock(&self.slots).entry(node).or_default().clone()
    }

    /// Adds the members that were not known.
    fn learn(&self, welcome: &Welcome) {
        for (node, address) in &welcome.nodes {
            self.add(*node, address);
        }
    }

    fn add(&self, node: NodeId, address: &str) {
        let Ok(address) = address.parse::<Address>() else { return };
        let mut directory = lock(&self.directory);
        let known = directory.entry(node).or_insert_with(|| address.clone());
        if *known != address && matches!((&*known, &address), (Address::Ip(_), Address::Ip(_))) {
            lock(&self.elsewhere).insert(node, address);
        }
    }

    /// A node has answered at an address. If that is where others are connected with it, it is
    /// looked for there first from now on.
    fn found_at(&self, node: NodeId, address: &Address) {
        let mut elsewhere = lock(&self.elsewhere);
        if elsewhere.get(&node) == Some(address)
            && let Some(before) = lock(&self.directory).insert(node, address.clone())
        {
            elsewhere.insert(node, before);
        }
    }

    /// Another node than the one that was dialled at `address`, and where others are connected with
    /// it, answered from `remote`. Returns at which of these it is.
    fn relabel(
        &self,
        (address, remote): (Address, Address),
        expected: NodeId,
        found: NodeId,
    ) -> Address {
        // What is said of the configured address is still to be heard: only the other one is wrong.
        let mut elsewhere = lock(&self.elsewhere);
        if remote != address && elsewhere.get(&expected) == Some(&remote) {
            elsewhere.remove(&expected);
            return remote;
        }
        let mut directory = lock(&self.directory);
        if directory.get(&expected) == Some(&address) {
            directory.remove(&expected);
        }
        directory.insert(found, address.clone());
        address
    }
}

/// Asks one question on a stream of its own.
async fn ask(
    connection: &Connection,
    question: &Frame,
    limit: Duration,
) -> Result<Frame, AskError> {
    bounded(limit, async {
        let mut stream = connection.open().await?;
        stream.sender.send(question).await?;
        stream.sender.finish();
        Ok(stream.receiver.answer(limit).await?)
    })
    .await
}

/// Nothing is waited for longer than its limit.
async fn bounded<T>(
    limit: Duration,
    asking: impl Future<Output = Result<T, AskError>>,
) -> Result<T, AskError> {
    let late = StreamError::TimedOut { after: limit };
    timeout(limit, asking).await.unwrap_or(Err(late.into()))
}

/// A lock that is held for a few instructions, none of which can panic half-way.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::testing::Certificates;

    fn node(number: u16) -> NodeId {
        NodeId::new(number).unwrap()
    }

    fn at(port: u16) -> Address {
        format!("127.0.0.1:{port}").parse().unwrap()
    }

    /// A client once took an address from the node that has it because another had answered where
    /// others were said to be connected with it.
    #[tokio::test]
    async fn only_the_address_at_which_another_node_answered_is_given_up() {
        let certificates = Certificates::of(1);
        let nodes = [(node(1), at(1)), (node(2), at(2))];
        let connections = Connections::new(certificates.client("client"), nodes, None);
        connections.add(node(1), "127.0.0.1:9");
        assert!(connections.is_elsewhere(node(1)));
        // n2 answers where n1 was said to be: what is said of the configured address still holds.
        assert_eq!(connections.relabel((at(1), at(9)), node(1), node(2)), at(9));
        assert!(!connections.is_elsewhere(node(1)));
        assert_eq!(connections.address(node(1)), Some(at(1)));
        assert_eq!(connections.address(node(2)), Some(at(2)));
        // It answers at the configured address itself.
        assert_eq!(connections.relabel((at(1), at(1)), node(1), node(2)), at(1));
        assert_eq!(connections.address(node(1)), None);
        assert_eq!(connections.address(node(2)), Some(at(1)));
    }
}
