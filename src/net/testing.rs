//! What the tests of this floor and of those above share: clusters on 127.0.0.1, ports from the
//! system, and waits that end.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::timeout;

use super::tls::tests::certificates;
use super::{
    CertificateRole, ConnectError, Connection, Credentials, Endpoint, Expect, Problem, Protocol,
    Stream,
};
use crate::types::ClusterId;
use crate::wire::Frame;
use crate::wire::frame::kind;

#[path = "../../tests/suite/relay.rs"]
pub(crate) mod relay;

/// The end of every wait: generous, since the machine may be busy.
const LIMIT: Duration = Duration::from_mins(1);

/// Awaits something that happens soon, or fails the test.
pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(LIMIT, what).await.expect("it should have happened by now")
}

/// A port of the system's choice.
pub(crate) fn any_port() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

/// The certificates of a cluster, in a folder.
pub(crate) struct Certificates {
    pub(crate) folder: TempDir,
}

impl Certificates {
    pub(crate) fn of(cluster: u128) -> Self {
        Self { folder: certificates(ClusterId::new(cluster)) }
    }

    pub(crate) fn of_holder(&self, name: &str) -> Credentials {
        Credentials::load(self.folder.path(), name).unwrap()
    }

    pub(crate) fn server(&self, name: &str, accepts: &[Protocol]) -> Endpoint {
        Endpoint::server(any_port(), &self.of_holder(name), accepts).unwrap()
    }

    pub(crate) fn client(&self, name: &str) -> Endpoint {
        Endpoint::client(&self.of_holder(name)).unwrap()
    }
}

/// Moves an endpoint to another address: at the old one its process has died without a word.
pub(crate) fn move_away(endpoint: &Endpoint) {
    let elsewhere = UdpSocket::bind(any_port()).unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    endpoint.rebind(elsewhere);
}

/// A process that starts where another one was.
pub(crate) async fn successor(
    address: SocketAddr,
    credentials: &Credentials,
    accepts: Protocol,
) -> Endpoint {
    let bind = async {
        loop {
            // The socket of the former may live for another moment.
            match Endpoint::server(address, credentials, &[accepts]) {
                Ok(endpoint) => return endpoint,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    };
    soon(bind).await
}

/// Expects any node.
pub(crate) fn a_node() -> Expect {
    Expect { role: CertificateRole::Node, name: None }
}

/// Dials until it succeeds: on a busy machine one attempt may run out of time.
pub(crate) async fn connect(
    from: &Endpoint,
    to: &Endpoint,
    expect: &Expect,
    protocol: Protocol,
) -> Connection {
    let dial = async {
        loop {
            if let Ok(connection) = from.connect(to.local_address(), expect, protocol).await {
                return connection;
            }
        }
    };
    soon(dial).await
}

/// Dials until it is refused: on a busy machine one attempt may run out of time.
pub(crate) async fn refused(
    from: &Endpoint,
    to: &Endpoint,
    expect: &Expect,
    protocol: Protocol,
) -> Problem {
    let dial = async {
        loop {
            match from.connect(to.local_address(), expect, protocol).await {
                Err(ConnectError::Refused { problem, address }) => {
                    assert_eq!(address, to.local_address());
                    return problem;
                }
                Err(_) => {}
                Ok(connection) => panic!("not refused: {connection:?}"),
            }
        }
    };
    soon(dial).await
}

/// A frame that holds a number.
pub(crate) fn number(number: u64) -> Frame {
    Frame::new(kind::REQUEST, &number, &[])
}

/// The number in a frame.
pub(crate) fn number_in(frame: &Frame) -> u64 {
    frame.read_header(kind::REQUEST).unwrap()
}

/// Answers every stream of a connection with the frames that come on it.
pub(crate) async fn echo(connection: Connection) {
    while let Some(stream) = connection.accept().await {
        tokio::spawn(async move {
            let Stream { mut sender, mut receiver } = stream;
            while let Ok(Some(frame)) = receiver.next().await {
                if sender.send(&frame).await.is_err() {
                    return;
                }
            }
        });
    }
}

/// Messages between nodes that need no Raft.
#[cfg(feature = "server")]
pub(crate) mod messages {
    use super::super::{Inbound, PeerProcess};
    use crate::entry::{Chain, HEADER_BYTES};
    use crate::raft::{AppendEntries, Message};
    use crate::types::{Incarnation, Index, LogId, NodeId, Term, Timestamp};
    use crate::wire::PeerMessage;

    pub(crate) fn node(number: u16) -> NodeId {
        NodeId::new(number).unwrap()
    }

    pub(crate) fn process(number: u16) -> PeerProcess {
        PeerProcess { node: node(number), start: Incarnation::new(1) }
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

    pub(crate) fn heartbeat(round: u64) -> PeerMessage {
        PeerMessage::bare(append(round, true))
    }

    pub(crate) fn entries(round: u64, bytes: usize) -> PeerMessage {
        PeerMessage {
            message: append(round, false),
            previous_chain: Some(Chain::START),
            entries: vec![vec![7; HEADER_BYTES.max(bytes)].into()],
            clock: Timestamp::new(1),
        }
    }

    /// Has a message come in, as if on the stream for urgent ones.
    pub(crate) async fn come_in(inbound: &Inbound, from: PeerProcess, message: PeerMessage) {
        inbound.put_urgent(from, message).await.unwrap();
    }

    pub(crate) fn round_of(message: &PeerMessage) -> u64 {
        match &message.message {
            Message::AppendEntries(append) => append.round,
            other => panic!("{other:?}"),
        }
    }
}
