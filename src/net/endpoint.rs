//! The socket: dialling, being dialled, and the connections that come of it.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use quinn::congestion::CubicConfig;
use quinn::{
    ClientConfig, EndpointConfig, IdleTimeout, Incoming, MtuDiscoveryConfig, ServerConfig,
    TokioRuntime, TransportConfig, VarInt,
};
use rustix::net::sockopt;
use thiserror::Error;
use tokio::sync::{Mutex, mpsc};
use tokio::task::AbortHandle;
use tokio::time::{interval, sleep, timeout};
use tracing::debug;

use super::audit::Audit;
use super::guests::{Guest, Guests, Width, lingering};
use super::handshakes::{Handshakes, Turn};
use super::names::Names;
use super::problem::{CertificateProblem, Close, Problem};
use super::protocol::Protocol;
use super::refusals::{Refusals, Subject};
use super::sign;
use super::stream::{Stream, StreamError};
use super::tls::{self, CertificateIdentity, CertificateRole, Credentials, SERVER_NAME};
use crate::address::Address;
use crate::limits::{
    CLIENT_CONNECTION_WINDOW_BYTES, CLIENT_IDLE_TIMEOUT, CLIENT_KEEP_ALIVE,
    CLIENT_STREAM_WINDOW_BYTES, CONNECT_TIMEOUT, CONNECTION_WINDOW_BYTES, CONNECTIONS_IN_ALL_MAX,
    HANDSHAKES_MAX, HANDSHAKES_OF_NODES_MAX, HANDSHAKES_UNVALIDATED_MAX, HANDSHAKES_WAITING_MAX,
    INITIAL_ROUND_TRIP, NARROW_WINDOW_BYTES, PEER_IDLE_TIMEOUT, PEER_KEEP_ALIVE, PEER_STREAMS_MAX,
    REFUSALS_TOLD_EVERY, SEND_WINDOW_BYTES, SOCKET_BUFFER_BYTES, STREAM_WINDOW_BYTES,
    STREAMS_PER_CONNECTION_MAX, WIDE_SEND_WINDOW_BYTES, WIDE_WINDOW_BYTES,
};
use crate::remedy;

/// A socket that dials and, if it is a server's, is dialled. Clones are the same socket.
#[derive(Clone, Debug)]
pub struct Endpoint {
    inner: quinn::Endpoint,
    credentials: Credentials,
    names: Names,
    /// Told of by whoever listens.
    audit: Audit,
    /// Connections whose handshake is over; `None` for a socket that only dials.
    listener: Option<Arc<Listener>>,
}

#[derive(Debug)]
struct Listener {
    accepted: Mutex<mpsc::Receiver<Connection>>,
    /// Ends the task that accepts, when the last clone of the endpoint is gone.
    task: AbortHandle,
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A socket could not be had.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BindError {
    /// Another process listens there.
    #[error("{address} is in use by another process")]
    InUse {
        /// The address.
        address: SocketAddr,
    },
    /// The name has no address now.
    #[error("{address} is not found: {reason}")]
    Unresolved {
        /// The name.
        address: Address,
        /// What the system said of it.
        reason: String,
    },
    /// The system refused.
    #[error("{address} cannot be listened on: {source}")]
    Io {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

impl BindError {
    fn new(address: SocketAddr, source: io::Error) -> Self {
        if source.kind() == io::ErrorKind::AddrInUse {
            Self::InUse { address }
        } else {
            Self::Io { address, source }
        }
    }

    /// Whether another process has the address.
    pub fn is_occupied(&self) -> bool {
        matches!(self, Self::InUse { .. })
    }

    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::InUse { .. } => {
                "it may be running already; else choose other ports with `annal init --base-port`"
            }
            Self::Unresolved { .. } => {
                "is the name in `listen` right? an IP address needs no look-up"
            }
            Self::Io { source, .. } => remedy::of(source, "check the address in the configuration"),
        }
    }
}

/// Whom a connection is meant to reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expect {
    /// What it must be.
    pub role: CertificateRole,
    /// Who it must be; `None`: any of that role.
    pub name: Option<String>,
}

/// A connection did not come about.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// Nobody answered: nobody listens there, or the network is down.
    #[error("{address} did not answer within {} ms", after.as_millis())]
    TimedOut {
        /// Who was dialled.
        address: SocketAddr,
        /// How long was waited.
        after: Duration,
    },
    /// Somebody answered, and it came to nothing.
    #[error("{address}: {problem}")]
    Refused {
        /// Who was dialled.
        address: SocketAddr,
        /// Why.
        problem: Problem,
    },
    /// The name has no address now.
    #[error("{address} is not found: {reason}")]
    Unresolved {
        /// Who was to be dialled.
        address: Address,
        /// What the system said of the name.
        reason: String,
    },
    /// The address cannot be dialled from this socket, or the socket is closed.
    #[error("{address} cannot be dialled")]
    Address {
        /// Who was to be dialled.
        address: SocketAddr,
    },
}

impl ConnectError {
    /// What to do about it; empty where there is nothing to say.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::TimedOut { .. } => "check that the process runs and that the address is right",
            Self::Refused { problem, .. } => problem.hint(),
            Self::Unresolved { .. } => "is the name right, and does this machine find others?",
            Self::Address { .. } => "check the address",
        }
    }
}

impl Endpoint {
    /// A socket at `bind` that accepts connections for `accepts`, and dials as well. Port 0 lets the
    /// system choose; see [`Self::local_address`]. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`BindError`].
    pub fn server(
        bind: SocketAddr,
        credentials: &Credentials,
        accepts: &[Protocol],
    ) -> Result<Self, BindError> {
        let error = |source| BindError::new(bind, source);
        let mut config = ServerConfig::with_crypto(credentials.server_crypto(accepts));
        config
            .transport_config(Arc::new(server_transport()))
            // A client's may change while it is connected: routers forget it and give it another, it
            // goes from one network to the next. A node's does not, see `Connection::moved`.
            .migration(true)
            .max_incoming(HANDSHAKES_WAITING_MAX + HANDSHAKES_OF_NODES_MAX + HANDSHAKES_MAX)
            .incoming_buffer_size(64 << 10)
            .incoming_buffer_size_total(4 << 20);
        let socket = UdpSocket::bind(bind).map_err(error)?;
        let settings = credentials.reset().endpoint_config();
        let inner = open(socket, settings, Some(config)).map_err(error)?;

        let (ready, accepted) = mpsc::channel(HANDSHAKES_MAX);
        let (cluster, audit) = (credentials.identity().cluster, Audit::new());
        let reception = Reception {
            cluster,
            endpoint: inner.clone(),
            ready,
            guests: Guests::new(),
            handshakes: Handshakes::new(),
            refusals: Refusals::new(Subject::Connections),
            audit: audit.clone(),
        };
        let task = tokio::spawn(reception.run()).abort_handle();
        let listener = Listener { accepted: Mutex::new(accepted), task };
        let listener = Some(Arc::new(listener));
        let (credentials, names) = (credentials.clone(), Names::default());
        Ok(Self { inner, credentials, names, audit, listener })
    }

    /// A socket that only dials. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`BindError`].
    pub fn client(credentials: &Credentials) -> Result<Self, BindError> {
        // Both families where the system has both.
        let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
        let any_v4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let error = |source| BindError::new(any_v4, source);
        let socket = UdpSocket::bind(any).or_else(|_| UdpSocket::bind(any_v4)).map_err(error)?;
        let inner = open(socket, EndpointConfig::default(), None).map_err(error)?;
        let names = Names::default();
        let (credentials, audit) = (credentials.clone(), Audit::new());
        Ok(Self { inner, credentials, names, audit, listener: None })
    }

    /// Another socket that only dials, with the same credentials: what a router between here and
    /// there remembers of this one says nothing of that one. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`BindError`].
    pub fn sibling(&self) -> Result<Self, BindError> {
        let other = Self::client(&self.credentials)?;
        Ok(Self { names: self.names.clone(), ..other })
    }

    /// Whether any connection of this socket is open, or being made.
    pub fn is_in_use(&self) -> bool {
        self.inner.open_connections() > 0
    }

    /// Where it listens.
    pub fn local_address(&self) -> SocketAddr {
        self.inner.local_addr().expect("a bound socket has an address")
    }

    /// Where it is noted what only admins may do.
    pub fn audit(&self) -> &Audit {
        &self.audit
    }

    /// The names that it looks up.
    pub(super) fn names(&self) -> &Names {
        &self.names
    }

    /// Who it is.
    pub fn identity(&self) -> &CertificateIdentity {
        self.credentials.identity()
    }

    /// Dials, bounded by [`CONNECT_TIMEOUT`]; see [`Self::connect_within`].
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn connect(
        &self,
        address: SocketAddr,
        expect: &Expect,
        protocol: Protocol,
    ) -> Result<Connection, ConnectError> {
        self.connect_within(CONNECT_TIMEOUT, address, expect, protocol).await
    }

    /// Dials, bounded by `limit`. An attempt needs a round trip, or two where the other side is
    /// crowded: whoever had no answer within the limit does well to allow more the next time.
    ///
    /// NB: that it succeeds says that the other side is whom we expect. Whether it accepts *us* is
    /// known with the first answer on a stream.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn connect_within(
        &self,
        limit: Duration,
        address: SocketAddr,
        expect: &Expect,
        protocol: Protocol,
    ) -> Result<Connection, ConnectError> {
        let mut config = ClientConfig::new(self.credentials.client_crypto(protocol));
        config.transport_config(Arc::new(client_transport(protocol)));
        if self.dials_as_node(protocol) {
            let cluster = self.identity().cluster;
            config.initial_dst_cid_provider(Arc::new(move || sign::draw(cluster)));
        }
        let connecting = self
            .inner
            .connect_with(config, address, SERVER_NAME)
            .map_err(|_| ConnectError::Address { address })?;
        let refused = |problem| ConnectError::Refused { address, problem };
        let late = || ConnectError::TimedOut { address, after: limit };
        let inner =
            timeout(limit, connecting).await.map_err(|_| late())?.map_err(|error| match error {
                quinn::ConnectionError::TimedOut => late(),
                error => refused(error.into()),
            })?;
        let connection = Connection::identified(inner).map_err(refused)?;
        self.check(&connection, expect).map_err(refused)?;
        Ok(connection)
    }

    /// Whether it dials for the cluster itself, and not on behalf of a client.
    fn dials_as_node(&self, protocol: Protocol) -> bool {
        let is_own = matches!(protocol, Protocol::Peer | Protocol::Registry);
        is_own && self.identity().role == CertificateRole::Node
    }

    fn check(&self, connection: &Connection, expect: &Expect) -> Result<(), Problem> {
        let found = connection.identity();
        let as_expected = found.cluster == self.credentials.identity().cluster
            && found.role == expect.role
            && expect.name.as_ref().is_none_or(|name| *name == found.name);
        if as_expected {
            return Ok(());
        }
        connection.close(Close::NotAllowed);
        Err(Problem::WrongIdentity { found: Box::new(found.clone()) })
    }

    /// The next connection of somebody who may speak the protocol that it asked for. `None` when the
    /// socket is closed, or only dials.
    ///
    /// Handshakes go on whether or not this is being called, up to a bound.
    pub async fn accept(&self) -> Option<Connection> {
        self.listener.as_ref()?.accepted.lock().await.recv().await
    }

    /// Moves to another socket, so that the old one falls silent, as that of a dead process.
    #[cfg(test)]
    pub(super) fn rebind(&self, socket: UdpSocket) {
        self.inner.rebind(socket).unwrap();
    }

    /// Closes all connections and takes no new ones.
    pub fn close(&self) {
        self.inner.close(VarInt::from_u32(Close::Stopping.code()), &[]);
    }

    /// Waits until the other sides have been told of every close, at most `limit`.
    pub async fn closed(&self, limit: Duration) {
        // The other sides find out by themselves if this is cut short.
        let _ = timeout(limit, self.inner.wait_idle()).await;
    }
}

fn open(
    socket: UdpSocket,
    settings: EndpointConfig,
    server: Option<ServerConfig>,
) -> io::Result<quinn::Endpoint> {
    // Best effort: the kernel gives what its administrator allows.
    let _ = sockopt::set_socket_recv_buffer_size(&socket, SOCKET_BUFFER_BYTES);
    let _ = sockopt::set_socket_send_buffer_size(&socket, SOCKET_BUFFER_BYTES);
    quinn::Endpoint::new(settings, server, socket, Arc::new(TokioRuntime))
}

/// What both sides of every connection have in common. Nothing is left to quinn's defaults whose
/// change would change us.
fn transport(idle: Duration, keep_alive: Option<Duration>) -> TransportConfig {
    let mut path = MtuDiscoveryConfig::default();
    path.upper_bound(1452).interval(Duration::from_mins(10));
    let idle = IdleTimeout::try_from(idle).expect("a few seconds fit");
    let mut transport = TransportConfig::default();
    transport
        .initial_rtt(INITIAL_ROUND_TRIP)
        .max_idle_timeout(Some(idle))
        .keep_alive_interval(keep_alive)
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .send_window(SEND_WINDOW_BYTES)
        .send_fairness(true)
        .initial_mtu(1200)
        .min_mtu(1200)
        .mtu_discovery_config(Some(path))
        .ack_frequency_config(None)
        .congestion_controller_factory(Arc::new(CubicConfig::default()))
        .enable_segmentation_offload(true);
    transport
}

/// For those who are dialled. Which protocol it will be is not known before the handshake: the
/// dialling side sets the shorter idle timeout between nodes, and keeps alive.
fn server_transport() -> TransportConfig {
    let mut transport = transport(CLIENT_IDLE_TIMEOUT, None);
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(PEER_STREAMS_MAX))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES))
        // Wider once it is known who has dialled.
        .receive_window(VarInt::from_u32(NARROW_WINDOW_BYTES));
    transport
}

/// For those who dial. Only they open streams.
fn client_transport(protocol: Protocol) -> TransportConfig {
    let (mut transport, stream_window, connection_window) = match protocol {
        Protocol::Peer => {
            let transport = transport(PEER_IDLE_TIMEOUT, Some(PEER_KEEP_ALIVE));
            (transport, STREAM_WINDOW_BYTES, CONNECTION_WINDOW_BYTES)
        }
        // To a leader that is gone nothing is handed on for long.
        Protocol::Onward => {
            let transport = transport(PEER_IDLE_TIMEOUT, Some(PEER_KEEP_ALIVE));
            (transport, CLIENT_STREAM_WINDOW_BYTES, CLIENT_CONNECTION_WINDOW_BYTES)
        }
        Protocol::Client | Protocol::Registry => {
            let transport = transport(CLIENT_IDLE_TIMEOUT, Some(CLIENT_KEEP_ALIVE));
            (transport, CLIENT_STREAM_WINDOW_BYTES, CLIENT_CONNECTION_WINDOW_BYTES)
        }
    };
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .stream_receive_window(VarInt::from_u32(stream_window))
        .receive_window(VarInt::from_u32(connection_window));
    transport
}

/// Takes in those who dial: one task, and one more for each handshake.
struct Reception {
    cluster: crate::types::ClusterId,
    endpoint: quinn::Endpoint,
    ready: mpsc::Sender<Connection>,
    guests: Guests,
    handshakes: Handshakes,
    refusals: Refusals,
    audit: Audit,
}

impl Reception {
    async fn run(self) {
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
        if found.cluster != self.cluster || !connection.protocol.is_open_to(found.role) {
            connection.close(Close::NotAllowed);
            return Err(Problem::WrongIdentity { found: Box::new(found.clone()) });
        }
        let address = connection.remote_address();
        match self.guests.admit(found, address.ip(), connection.protocol) {
            Ok(guest) => Ok(connection.of_guest(guest)),
            Err(close) => {
                self.refusals.note(address, &format!("{found}: {close}"));
                connection.close(close);
                Err(Problem::ClosedHere)
            }
        }
    }
}

/// An address as people write it.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// A connection between two holders of certificates. Clones are the same connection; it closes when
/// the last clone and the last stream are dropped.
#[derive(Clone, Debug)]
pub struct Connection {
    pub(super) inner: quinn::Connection,
    identity: Arc<CertificateIdentity>,
    protocol: Protocol,
    /// The place that it has at a server; `None` on the side that dialled.
    guest: Option<Arc<Guest>>,
    /// Where the other side was when the connection was made.
    origin: SocketAddr,
}

impl Connection {
    /// A connection whose other side has shown a certificate with an identity.
    fn identified(inner: quinn::Connection) -> Result<Self, Problem> {
        let protocol = tls::protocol_of(inner.handshake_data());
        let identity = tls::identity_of(inner.peer_identity());
        let refuse = |problem| {
            inner.close(VarInt::from_u32(Close::NotAllowed.code()), &[]);
            problem
        };
        let protocol = protocol.ok_or_else(|| refuse(Problem::Protocol))?;
        let identity = identity
            .map_err(|_| refuse(Problem::TheirCertificate(CertificateProblem::NoIdentity)))?;
        let origin = inner.remote_address();
        Ok(Self { inner, identity: Arc::new(identity), protocol, guest: None, origin })
    }

    /// The connection of somebody who has a place here.
    fn of_guest(mut self, guest: Guest) -> Self {
        let (receive, send, streams) = match guest.width {
            Width::Peer => (CONNECTION_WINDOW_BYTES, SEND_WINDOW_BYTES, PEER_STREAMS_MAX),
            Width::Wide => (WIDE_WINDOW_BYTES, WIDE_SEND_WINDOW_BYTES, STREAMS_PER_CONNECTION_MAX),
            Width::Narrow => {
                let narrow = NARROW_WINDOW_BYTES;
                (narrow, u64::from(narrow), STREAMS_PER_CONNECTION_MAX)
            }
        };
        self.inner.set_receive_window(VarInt::from_u32(receive));
        self.inner.set_send_window(send);
        self.inner.set_max_concurrent_bi_streams(VarInt::from_u32(streams));
        self.guest = Some(Arc::new(guest.of(&self.inner)));
        self
    }

    /// Who the other side is, as its certificate proves.
    pub fn identity(&self) -> &CertificateIdentity {
        &self.identity
    }

    /// What the two speak.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Where the other side is.
    pub fn remote_address(&self) -> SocketAddr {
        canonical(self.inner.remote_address())
    }

    /// Resolves when the other side speaks from another address than at first, which only one that
    /// has dialled can. Clients may; between nodes it is not to be trusted: whoever sits in between
    /// could lead a link wherever he likes. Noticed within [`PEER_KEEP_ALIVE`].
    pub async fn moved(&self) {
        while self.inner.remote_address() == self.origin {
            sleep(PEER_KEEP_ALIVE).await;
        }
    }

    /// Opens a stream; only the side that dialled may. The other side learns of it with the first
    /// frame. Waits while as many are open as may be, at most [`CONNECT_TIMEOUT`].
    ///
    /// # Errors
    /// [`StreamError::Lost`] or [`StreamError::TimedOut`].
    pub async fn open(&self) -> Result<Stream, StreamError> {
        match timeout(CONNECT_TIMEOUT, self.inner.open_bi()).await {
            Ok(opened) => Ok(Stream::new(opened.map_err(Problem::from)?)),
            Err(_) => Err(StreamError::TimedOut { after: CONNECT_TIMEOUT }),
        }
    }

    /// The next stream that the other side opened, in the order in which it did; `None` when the
    /// connection is gone, or its place is needed for another.
    pub async fn accept(&self) -> Option<Stream> {
        let Some(guest) = &self.guest else {
            return self.inner.accept_bi().await.ok().map(Stream::new);
        };
        tokio::select! {
            opened = self.inner.accept_bi() => opened.ok().map(|both| Stream::of_guest(both, guest)),
            () = guest.asked_to_leave() => {
                self.close(Close::Idle);
                None
            }
        }
    }

    /// Closes the connection and says why. What is under way is lost. Extra calls are harmless.
    pub fn close(&self, why: Close) {
        self.inner.close(VarInt::from_u32(why.code()), &[]);
    }

    /// Waits for the end of the connection and says why.
    pub async fn closed(&self) -> Problem {
        self.inner.closed().await.into()
    }

    /// Whether it is gone.
    pub fn is_closed(&self) -> bool {
        self.inner.close_reason().is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use tokio::runtime::Builder;

    use super::super::testing::relay::Relay;
    use super::super::testing::{
        Certificates, a_node, any_port, connect, echo, number, number_in, refused, soon, successor,
    };
    use super::super::tls::tests::expired_certificates;
    use super::*;
    use crate::types::ClusterId;

    /// What somebody learns who asks a first question on a connection.
    async fn first_answer(connection: &Connection) -> Result<u64, StreamError> {
        let mut stream = connection.open().await?;
        stream.sender.send(&number(7)).await?;
        Ok(number_in(&stream.receiver.next().await?.ok_or(StreamError::Abandoned)?))
    }

    fn lost(problem: Problem) -> Result<u64, StreamError> {
        Err(StreamError::Lost(problem))
    }

    /// Takes in connections until the endpoint ends, and echoes.
    fn serve(endpoint: &Endpoint) {
        let endpoint = endpoint.clone();
        tokio::spawn(async move {
            while let Some(connection) = endpoint.accept().await {
                tokio::spawn(echo(connection));
            }
        });
    }

    fn serving(credentials: &Credentials, accepts: &[Protocol]) -> Endpoint {
        let endpoint = Endpoint::server(any_port(), credentials, accepts).unwrap();
        serve(&endpoint);
        endpoint
    }

    #[tokio::test]
    async fn both_sides_know_each_other() {
        let certificates = Certificates::of(1);
        let server = certificates.server("n1", &[Protocol::Client]);
        let client = certificates.client("client");
        let dialled = connect(&client, &server, &a_node(), Protocol::Client).await;
        let accepted = soon(server.accept()).await.unwrap();
        assert_eq!(dialled.identity().to_string().rsplit('/').next(), Some("n1"));
        assert_eq!(accepted.identity().role, CertificateRole::Client);
        assert_eq!(accepted.protocol(), Protocol::Client);
        assert_eq!(dialled.remote_address(), server.local_address());
        tokio::spawn(echo(accepted));
        assert_eq!(soon(first_answer(&dialled)).await, Ok(7));
        assert!(!dialled.is_closed());
        server.close();
        let stopping = Problem::Closed(Close::Stopping);
        assert_eq!(soon(dialled.closed()).await, stopping);
        assert_eq!(soon(first_answer(&dialled)).await, lost(stopping));
        assert!(soon(server.accept()).await.is_none());
    }

    #[tokio::test]
    async fn a_server_of_another_authority_is_refused() {
        let (ours, theirs) = (Certificates::of(1), Certificates::of(1));
        let server = serving(&theirs.of_holder("n1"), &[Protocol::Client]);
        let client = ours.client("client");
        let problem = refused(&client, &server, &a_node(), Protocol::Client).await;
        assert_eq!(problem, Problem::TheirCertificate(CertificateProblem::UnknownAuthority));
        assert!(!problem.hint().is_empty());
    }

    #[tokio::test]
    async fn a_client_of_another_authority_is_refused() {
        let (ours, theirs) = (Certificates::of(1), Certificates::of(1));
        let server = serving(&ours.of_holder("n1"), &[Protocol::Client]);
        let stranger = theirs.of_holder("client").trusting(ours.folder.path());
        let stranger = Endpoint::client(&stranger).unwrap();
        let connection = connect(&stranger, &server, &a_node(), Protocol::Client).await;
        let answer = soon(first_answer(&connection)).await;
        let unknown = CertificateProblem::UnknownAuthority;
        assert_eq!(answer, lost(Problem::OurCertificate(unknown)));
        let sentence = answer.unwrap_err().to_string();
        assert_eq!(sentence, "the other side refused our certificate (unknown CA)");
    }

    #[tokio::test]
    async fn an_expired_certificate_is_refused() {
        let ours = Certificates::of(1);
        let expired = expired_certificates(ClusterId::new(1));
        let server = ours.of_holder("n1").trusting(expired.path());
        let server = serving(&server, &[Protocol::Client]);
        let client = Credentials::load_unchecked(expired.path(), "client");
        let client = Endpoint::client(&client.trusting(ours.folder.path())).unwrap();
        let connection = connect(&client, &server, &a_node(), Protocol::Client).await;
        let expected = Problem::OurCertificate(CertificateProblem::NotValidNow);
        assert_eq!(soon(first_answer(&connection)).await, lost(expected));
    }

    #[tokio::test]
    async fn another_cluster_is_refused_even_if_its_authority_were_trusted() {
        let (ours, theirs) = (Certificates::of(1), Certificates::of(2));
        let server = ours.of_holder("n1").trusting(theirs.folder.path());
        let server = serving(&server, &[Protocol::Client]);
        let client = theirs.of_holder("client").trusting(ours.folder.path());
        let endpoint = Endpoint::client(&client).unwrap();
        let problem = refused(&endpoint, &server, &a_node(), Protocol::Client).await;
        let Problem::WrongIdentity { found } = problem else { panic!("{problem}") };
        assert_eq!(found.cluster, ClusterId::new(1));
        // The server refuses as well.
        let config = ClientConfig::new(client.client_crypto(Protocol::Client));
        assert_eq!(refusal_of(&server, config).await, Problem::Closed(Close::NotAllowed));
    }

    /// Why the server ends a connection that was made with a configuration of our own.
    async fn refusal_of(server: &Endpoint, config: ClientConfig) -> Problem {
        let client = quinn::Endpoint::client(any_port()).unwrap();
        let connecting = client.connect_with(config, server.local_address(), SERVER_NAME).unwrap();
        soon(async {
            match connecting.await {
                Ok(connection) => connection.closed().await.into(),
                Err(error) => error.into(),
            }
        })
        .await
    }

    #[tokio::test]
    async fn a_client_without_certificate_or_protocol_is_refused() {
        let certificates = Certificates::of(1);
        let server = serving(&certificates.of_holder("n1"), &[Protocol::Client]);
        let credentials = certificates.of_holder("client");
        let config = |protocols: &[&[u8]]| {
            ClientConfig::new(credentials.client_crypto_without_certificate(protocols))
        };
        let refusal = refusal_of(&server, config(&[Protocol::Client.alpn()])).await;
        assert_eq!(refusal, Problem::OurCertificate(CertificateProblem::Missing));
        assert_eq!(refusal_of(&server, config(&[])).await, Problem::Protocol);
        assert_eq!(refusal_of(&server, config(&[b"h3"])).await, Problem::Protocol);
    }

    #[tokio::test]
    async fn each_protocol_is_open_to_its_roles_only() {
        let certificates = Certificates::of(1);
        let server = serving(&certificates.of_holder("n1"), &Protocol::ALL);
        for (name, protocol, open) in [
            ("n2", Protocol::Peer, true),
            ("client", Protocol::Peer, false),
            ("admin", Protocol::Peer, false),
            ("registry", Protocol::Peer, false),
            ("client", Protocol::Client, true),
            ("admin", Protocol::Client, true),
            ("n2", Protocol::Client, false),
            ("registry", Protocol::Client, false),
            ("client", Protocol::Registry, true),
            ("n2", Protocol::Onward, true),
            ("client", Protocol::Onward, false),
            ("admin", Protocol::Onward, false),
            ("registry", Protocol::Onward, false),
        ] {
            let client = certificates.client(name);
            let connection = connect(&client, &server, &a_node(), protocol).await;
            let expected = if open { Ok(7) } else { lost(Problem::Closed(Close::NotAllowed)) };
            assert_eq!(soon(first_answer(&connection)).await, expected, "{name} {protocol:?}");
        }
    }

    #[tokio::test]
    async fn a_server_that_is_not_whom_we_meant_is_refused() {
        let certificates = Certificates::of(1);
        let server = serving(&certificates.of_holder("n1"), &[Protocol::Client]);
        let client = certificates.client("client");
        for expect in [
            Expect { role: CertificateRole::Node, name: Some("n2".to_owned()) },
            Expect { role: CertificateRole::Registry, name: None },
        ] {
            let problem = refused(&client, &server, &expect, Protocol::Client).await;
            assert!(problem.to_string().contains("node/n1"), "{problem}");
        }
        let problem = refused(&client, &server, &a_node(), Protocol::Registry).await;
        assert_eq!(problem, Problem::Protocol);
    }

    #[tokio::test]
    async fn a_client_certificate_cannot_serve() {
        let certificates = Certificates::of(1);
        let server = serving(&certificates.of_holder("client"), &[Protocol::Client]);
        let admin = certificates.client("admin");
        let problem = refused(&admin, &server, &a_node(), Protocol::Client).await;
        assert_eq!(problem, Problem::TheirCertificate(CertificateProblem::Purpose));
    }

    #[tokio::test]
    async fn a_crowd_gets_in() {
        let certificates = Certificates::of(1);
        let server = serving(&certificates.of_holder("n1"), &[Protocol::Client]);
        let client = certificates.client("client");
        let mut crowd = tokio::task::JoinSet::new();
        for _ in 0..3 * HANDSHAKES_UNVALIDATED_MAX {
            let (client, server) = (client.clone(), server.clone());
            crowd.spawn(async move {
                let connection = connect(&client, &server, &a_node(), Protocol::Client).await;
                (first_answer(&connection).await, connection)
            });
        }
        for (answer, _connection) in soon(crowd.join_all()).await {
            assert_eq!(answer, Ok(7));
        }
    }

    #[tokio::test]
    async fn a_dead_port_is_given_up() {
        let silent = UdpSocket::bind(any_port()).unwrap();
        let address = silent.local_addr().unwrap();
        let client = Certificates::of(1).client("client");
        let begun = Instant::now();
        let error = soon(client.connect(address, &a_node(), Protocol::Client)).await.unwrap_err();
        assert_eq!(error, ConnectError::TimedOut { address, after: CONNECT_TIMEOUT });
        assert!(begun.elapsed() >= CONNECT_TIMEOUT);
    }

    #[tokio::test]
    async fn a_process_ends_the_connections_of_the_one_before_it() {
        let certificates = Certificates::of(1);
        let process = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let former = {
            let _in_process = process.enter();
            serving(&certificates.of_holder("n1"), &[Protocol::Client])
        };
        let client = certificates.client("client");
        let kept = connect(&client, &former, &a_node(), Protocol::Client).await;
        assert_eq!(soon(first_answer(&kept)).await, Ok(7));
        // It dies without a word.
        let address = former.local_address();
        process.shutdown_background();
        drop(former);
        let credentials = certificates.of_holder("n1");
        let _successor = successor(address, &credentials, Protocol::Client).await;
        // Long before it would be gone as silent.
        assert_eq!(soon(first_answer(&kept)).await, lost(Problem::Restarted));
    }

    #[tokio::test]
    async fn a_clients_connection_outlives_its_address_and_the_node_notices() {
        let certificates = Certificates::of(1);
        let server = certificates.server("n1", &[Protocol::Client]);
        let relay = Relay::new(server.local_address(), Duration::ZERO);
        let client = certificates.client("client");
        let expect = a_node();
        let dialling = client.connect(relay.address(), &expect, Protocol::Client);
        let dialled = soon(dialling).await.unwrap();
        let accepted = soon(server.accept()).await.unwrap();
        tokio::spawn(echo(accepted.clone()));
        assert_eq!(soon(first_answer(&dialled)).await, Ok(7));
        let still = timeout(Duration::ZERO, accepted.moved()).await;
        assert!(still.is_err(), "it is where it was");
        relay.forget();
        assert_eq!(soon(first_answer(&dialled)).await, Ok(7));
        soon(accepted.moved()).await;
    }

    #[tokio::test]
    async fn a_port_in_use_is_said_to_be() {
        let certificates = Certificates::of(1);
        let server = certificates.server("n1", &[Protocol::Client]);
        let address = server.local_address();
        let error = Endpoint::server(address, &certificates.of_holder("n1"), &[Protocol::Client])
            .unwrap_err();
        assert!(matches!(error, BindError::InUse { .. }), "{error}");
    }

    #[tokio::test]
    async fn only_the_side_that_dialled_opens_streams() {
        let certificates = Certificates::of(1);
        let server = certificates.server("n1", &[Protocol::Client]);
        let client = certificates.client("client");
        let dialled = connect(&client, &server, &a_node(), Protocol::Client).await;
        let accepted = soon(server.accept()).await.unwrap();
        let refused = soon(accepted.open()).await.unwrap_err();
        assert_eq!(refused, StreamError::TimedOut { after: CONNECT_TIMEOUT });
        drop(dialled);
        assert_eq!(soon(accepted.closed()).await, Problem::Closed(Close::Done));
    }
}
