//! One connection between two nodes, from its hello to its end.
//!
//! The node that dials opens two streams, each beginning with its hello: first the one for urgent
//! messages, then the one for entries. The other answers on the first, if it has nothing against the
//! one that dialled; nor does that one send anything before it has judged the answer. Then four tasks
//! carry messages, one for each direction of each stream, so that nothing urgent waits for entries.

use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::connection::Connection;
use super::endpoint::{Endpoint, Expect};
use super::identity::CertificateRole;
use super::inbound::{Inbound, PeerProcess};
use super::local::LocalNode;
use super::outbox::{PeerOutbox, Priority};
use super::problem::{Close, Problem};
use super::protocol::Protocol;
use super::stream::{FrameReceiver, FrameSender, Stream, StreamError};
use super::trouble::ConnectError;
use crate::address::Address;
use crate::limits::HANDSHAKE_TIMEOUT;
use crate::types::NodeId;
use crate::wire::{
    Frame, FrameError, Introduction, PeerHello, PeerMessage, PeerRefusal, PeerWelcome,
};

/// The priority of the stream for urgent messages; the other has QUIC's 0.
const URGENT_PRIORITY: i32 = 1;

/// A connection whose hello is over.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) connection: Connection,
    /// What the other end says of itself.
    pub(super) introduction: Introduction,
    urgent: Stream,
    entries: Stream,
    /// What the other side still waits for, if it dialled.
    welcome: Option<PeerWelcome>,
}

/// A connection that did not become a link, or ceased to be one.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(super) enum LinkError {
    #[error("{0}")]
    Connect(#[from] ConnectError),
    #[error("{0}")]
    Stream(#[from] StreamError),
    #[error("the other side sent {0}")]
    Frame(#[from] FrameError),
    #[error("a message came on the wrong stream")]
    WrongStream,
    #[error("its certificate is that of another node than its hello names")]
    Impostor,
    #[error("its hello is meant for another node or cluster, or from one that is no member")]
    WrongHello,
    #[error("no hello came in time")]
    NoHello,
    #[error("it speaks from another address than at first")]
    Moved,
    #[error("it refuses this node: {0}")]
    Refused(PeerRefusal),
    #[error("this node is being stopped")]
    Stopped,
}

impl LinkError {
    /// What the other side is told.
    pub(super) fn close(&self) -> Close {
        match self {
            Self::Frame(_) | Self::WrongStream | Self::Stream(StreamError::Frame(_)) => {
                Close::Malformed
            }
            Self::Impostor | Self::Moved => Close::NotAllowed,
            Self::WrongHello => Close::WrongHello,
            Self::NoHello | Self::Stream(StreamError::TimedOut { .. }) => Close::TimedOut,
            Self::Stopped => Close::Stopping,
            Self::Connect(_) | Self::Stream(_) | Self::Refused(_) => Close::Done,
        }
    }

    /// Whether this process closed its connections: it is on its way out, and nobody else is to blame.
    pub(super) fn is_own_end(&self) -> bool {
        let own = Problem::ClosedHere;
        matches!(self, Self::Connect(ConnectError::Refused { problem, .. }) if *problem == own)
    }

    /// Whether more time might have helped.
    pub(super) fn is_late(&self) -> bool {
        matches!(
            self,
            Self::Connect(ConnectError::TimedOut { .. })
                | Self::Stream(StreamError::TimedOut { .. })
        )
    }
}

/// Dials a peer and says hello. Bounded by `limit` for each step.
pub(super) async fn dial(
    endpoint: Endpoint,
    me: Arc<LocalNode>,
    (peer, address): (NodeId, Address),
    limit: Duration,
) -> Result<Link, LinkError> {
    let expect = Expect { role: CertificateRole::Node, name: Some(peer.to_string()) };
    let connection = endpoint.reach_within(limit, &address, &expect, Protocol::Peer).await?;
    let introduced = introduce(connection.clone(), &me, peer, limit).await;
    introduced.map_err(|error| why(&connection, error))
}

/// What the other side said when it closed the connection tells more than that it broke.
fn why(connection: &Connection, error: LinkError) -> LinkError {
    let said = connection.refusal().and_then(|bytes| PeerRefusal::from_bytes(&bytes));
    said.map_or(error, LinkError::Refused)
}

async fn introduce(
    connection: Connection,
    me: &LocalNode,
    peer: NodeId,
    limit: Duration,
) -> Result<Link, LinkError> {
    let introduction = me.introduction();
    let hello = PeerHello { cluster: me.cluster, from: me.node, to: peer, introduction };
    let mut urgent = open(&connection, &hello).await?;
    urgent.sender.set_priority(URGENT_PRIORITY);
    let entries = open(&connection, &hello).await?;

    let welcome = PeerWelcome::from_frame(&urgent.receiver.answer(limit).await?)?;
    if welcome.node != peer {
        connection.close(Close::WrongHello);
        return Err(LinkError::WrongHello);
    }
    let introduction = welcome.introduction;
    Ok(Link { connection, introduction, urgent, entries, welcome: None })
}

async fn open(connection: &Connection, hello: &PeerHello) -> Result<Stream, StreamError> {
    let mut stream = connection.open().await?;
    stream.sender.send(&hello.to_frame()).await?;
    Ok(stream)
}

/// Hears the hello of a peer that dialled, within [`HANDSHAKE_TIMEOUT`]. Its welcome is sent when the
/// link runs. Gives the peer's name, which is that in its certificate.
pub(super) async fn greet(
    connection: Connection,
    me: &LocalNode,
) -> Result<(NodeId, Link), LinkError> {
    let hellos = async {
        let urgent = hear(&connection).await?;
        let entries = hear(&connection).await?;
        Ok::<_, LinkError>((urgent, entries))
    };
    let ((hello, mut urgent), (second, entries)) =
        timeout(HANDSHAKE_TIMEOUT, hellos).await.map_err(|_| LinkError::NoHello)??;
    check(&hello, connection.identity().node(), me)?;
    if second != hello {
        return Err(LinkError::WrongHello);
    }
    urgent.sender.set_priority(URGENT_PRIORITY);
    let welcome = Some(PeerWelcome { node: me.node, introduction: me.introduction() });
    let introduction = hello.introduction;
    Ok((hello.from, Link { connection, introduction, urgent, entries, welcome }))
}

async fn hear(connection: &Connection) -> Result<(PeerHello, Stream), LinkError> {
    let mut stream = connection.accept().await.ok_or(LinkError::NoHello)?;
    let frame = stream.receiver.answer(HANDSHAKE_TIMEOUT).await?;
    Ok((PeerHello::from_frame(&frame)?, stream))
}

fn check(hello: &PeerHello, certificate: Option<NodeId>, me: &LocalNode) -> Result<(), LinkError> {
    if certificate != Some(hello.from) {
        return Err(LinkError::Impostor);
    }
    if hello.cluster != me.cluster || hello.to != me.node || hello.from == me.node {
        return Err(LinkError::WrongHello);
    }
    Ok(())
}

impl Link {
    /// Carries messages until something fails, and says what. Dropped, it closes the connection.
    pub(super) async fn run(
        self,
        from: PeerProcess,
        outbox: Arc<PeerOutbox>,
        inbound: Inbound,
    ) -> LinkError {
        let Self { connection, urgent, entries, welcome, .. } = self;
        let mut tasks = JoinSet::new();
        tasks.spawn(receive(urgent.receiver, Priority::Urgent, from, inbound.clone()));
        tasks.spawn(receive(entries.receiver, Priority::Entries, from, inbound));
        tasks.spawn(send(entries.sender, Priority::Entries, outbox.clone(), None));
        tasks.spawn(send(urgent.sender, Priority::Urgent, outbox, welcome));
        let error = tokio::select! {
            ended = tasks.join_next() => match ended {
                Some(Ok(error)) => error,
                // A task of ours was ended from outside: only the runtime's end does that.
                Some(Err(_)) | None => LinkError::Stopped,
            },
            () = connection.moved() => LinkError::Moved,
        };
        let error = why(&connection, error);
        connection.close(error.close());
        error
    }
}

async fn send(
    mut sender: FrameSender,
    priority: Priority,
    outbox: Arc<PeerOutbox>,
    welcome: Option<PeerWelcome>,
) -> LinkError {
    if let Some(welcome) = welcome
        && let Err(error) = sender.send(&welcome.to_frame()).await
    {
        return error.into();
    }
    loop {
        let messages = outbox.take(priority).await;
        // On the wrong stream it would end the link.
        debug_assert!(messages.iter().all(|message| Priority::of(message) == priority));
        let frames: Vec<Frame> = messages.iter().map(PeerMessage::to_frame).collect();
        if let Err(error) = sender.send_all(&frames).await {
            return error.into();
        }
    }
}

async fn receive(
    mut receiver: FrameReceiver,
    priority: Priority,
    from: PeerProcess,
    inbound: Inbound,
) -> LinkError {
    loop {
        if let Err(error) = receive_one(&mut receiver, priority, from, &inbound).await {
            return error;
        }
    }
}

async fn receive_one(
    receiver: &mut FrameReceiver,
    priority: Priority,
    from: PeerProcess,
    inbound: &Inbound,
) -> Result<(), LinkError> {
    let frame = receiver.next().await?.ok_or(StreamError::Abandoned)?;
    let message = PeerMessage::from_frame(&frame)?;
    if Priority::of(&message) != priority {
        return Err(LinkError::WrongStream);
    }
    let put = match priority {
        Priority::Urgent => inbound.put_urgent(from, message).await,
        Priority::Entries => inbound.put_entries(from, message).await,
    };
    put.map_err(|_| LinkError::Stopped)
}
