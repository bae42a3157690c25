//! The socket: dialling and being dialled.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use quinn::{ClientConfig, EndpointConfig, ServerConfig, TokioRuntime, VarInt};
use rustix::net::sockopt;
use tokio::sync::{Mutex, mpsc};
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::audit::Audit;
use super::connection::Connection;
use super::identity::{CertificateIdentity, CertificateRole};
use super::names::HostNames;
use super::problem::{CertificateProblem, Close, Problem};
use super::protocol::Protocol;
use super::reception::Reception;
use super::sign;
use super::tls::{Credentials, SERVER_NAME};
use super::transport::{client_transport, server_transport};
use super::trouble::{BindError, ConnectError};
use super::warden::Warden;
#[cfg(feature = "server")]
use crate::access::TokenId;
use crate::limits::{
    CONNECT_TIMEOUT, HANDSHAKES_MAX, HANDSHAKES_OF_NODES_MAX, HANDSHAKES_WAITING_MAX,
    SOCKET_BUFFER_BYTES,
};

/// A socket that dials and, if it is a server's, is dialled. Clones are the same socket.
#[derive(Clone, Debug)]
pub struct Endpoint {
    inner: quinn::Endpoint,
    credentials: Credentials,
    names: HostNames,
    /// Told of by whoever listens.
    audit: Audit,
    /// Who is let in no more.
    warden: Arc<Warden>,
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

/// Whom a connection is meant to reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expect {
    /// What it must be.
    pub role: CertificateRole,
    /// Who it must be; `None`: any of that role.
    pub name: Option<String>,
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
        let audit = Audit::new();
        let cluster = credentials.identity().cluster;
        let warden = Arc::<Warden>::default();
        let told = (audit.clone(), warden.clone());
        let reception = Reception::new(cluster, inner.clone(), ready, told);
        let task = tokio::spawn(reception.run()).abort_handle();
        let listener = Listener { accepted: Mutex::new(accepted), task };
        let listener = Some(Arc::new(listener));
        let (credentials, names) = (credentials.clone(), HostNames::default());
        Ok(Self { inner, credentials, names, audit, warden, listener })
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
        let names = HostNames::default();
        let (credentials, audit) = (credentials.clone(), Audit::new());
        let warden = Arc::default();
        Ok(Self { inner, credentials, names, audit, warden, listener: None })
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
    pub(super) fn names(&self) -> &HostNames {
        &self.names
    }

    /// Lets nobody in whose certificate is revoked, as this says from now on, and nobody stay.
    #[cfg(feature = "server")]
    pub fn refuse_revoked(&self, is_revoked: impl Fn(TokenId) -> bool + Send + Sync + 'static) {
        self.warden.ask(is_revoked);
    }

    /// More certificates have been revoked: ends the connections of their holders.
    #[cfg(feature = "server")]
    pub fn end_revoked(&self) {
        self.warden.enforce();
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
        if self.listener.is_none() {
            self.credentials.reload_now_and_then();
        }
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
        if !connection.is_admitted_by(&self.warden) {
            return Err(refused(Problem::TheirCertificate(CertificateProblem::Revoked)));
        }
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

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use tokio::runtime::Builder;

    use super::super::stream::StreamError;
    use super::super::testing::relay::Relay;
    use super::super::testing::{
        Certificates, a_node, any_port, connect, echo, number, number_in, refused, soon, successor,
    };
    use super::super::tls::tests::expired_certificates;
    use super::*;
    use crate::limits::HANDSHAKES_UNVALIDATED_MAX;
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
            ("n2", Protocol::Client, true),
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
    async fn who_is_revoked_is_let_in_no_more_and_does_not_stay() {
        let certificates = Certificates::of(1);
        let server = serving(&certificates.of_holder("n1"), &[Protocol::Client]);
        let (client, other) = (certificates.client("client"), certificates.client("admin"));
        let revoked = Arc::new(std::sync::Mutex::new(vec![]));
        let known = revoked.clone();
        server.refuse_revoked(move |id| known.lock().unwrap().contains(&id));
        let kept = connect(&client, &server, &a_node(), Protocol::Client).await;
        let others = connect(&other, &server, &a_node(), Protocol::Client).await;
        assert_eq!(soon(first_answer(&kept)).await, Ok(7));
        assert_eq!(soon(first_answer(&others)).await, Ok(7));
        let id_in = |name: &str| {
            let file = certificates.folder.path().join(name);
            crate::net::Certificate::read(&file).unwrap().id.unwrap()
        };
        revoked.lock().unwrap().push(id_in("client.crt"));
        server.end_revoked();
        assert_eq!(soon(kept.closed()).await, Problem::Closed(Close::Revoked));
        let again = connect(&client, &server, &a_node(), Protocol::Client).await;
        let refused_for_good = lost(Problem::Closed(Close::Revoked));
        assert_eq!(soon(first_answer(&again)).await, refused_for_good);
        assert_eq!(soon(first_answer(&others)).await, Ok(7));
        // Who dials asks as well.
        let of_server = id_in("n1.crt");
        other.refuse_revoked(move |id| id == of_server);
        let problem = refused(&other, &server, &a_node(), Protocol::Client).await;
        assert_eq!(problem, Problem::TheirCertificate(CertificateProblem::Revoked));
        assert!(others.is_closed());
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
