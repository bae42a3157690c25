//! What the driver acts on, in the order in which it does.

use std::future::{Future as _, pending};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::unconstrained;
use tokio_util::sync::CancellationToken;

use crate::limits;
use crate::log_name::LogName;
use crate::members::{MemberChange, MemberReply, Members};
use crate::net::{Expelled, Held, InboundReceiver, PeerProcess};
use crate::replica::{Reach, ReadAnswer};
use crate::store::Lacking;
use crate::types::{Index, LogId, LogNumber, NodeId, Ticket};
use crate::wire::api::{AppendReply, AppendRun, ReadRefusal};
use crate::wire::peer::PeerMessage;
use crate::wire::soundness::Soundness;
use crate::wire::standing::{Inquiry, Standing};

/// What the node's other tasks ask of the driver.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly all of them are appends")]
pub(super) enum Command {
    /// A client's append requests.
    Append {
        run: AppendRun,
        /// The records, one after the other.
        records: Bytes,
        /// Where the answers go. Its receiver bounds what it has under way.
        reply: mpsc::UnboundedSender<AppendAnswer>,
        /// What the requests take of their client's share, until the last answer is on its way.
        held: Held,
    },
    /// Up to where must a read of this log see?
    Read(LogNumber, oneshot::Sender<ReadAnswer>),
    /// How does the log stand, as far as it is committed?
    Ask(LogNumber, Inquiry, oneshot::Sender<Standing>),
    /// What is a log called?
    Name(LogNumber, oneshot::Sender<Result<LogName, ReadRefusal>>),
    /// How is this node, for one that may have to do without its store? To be told whether all is whole that is on
    /// its disk.
    Soundness(bool, oneshot::Sender<Soundness>),
    /// Who are the members, if this node leads?
    Members(oneshot::Sender<Option<Members>>),
    /// Change them, as somebody asks who has seen them as of an entry.
    ChangeMembers(Index, MemberChange, oneshot::Sender<MemberReply>),
    /// How far does a log reach, from now on?
    Watch(LogNumber, oneshot::Sender<Result<Watched, ReadRefusal>>),
}

/// How far a log reaches, whenever that changes; nothing, once there is no such log any more.
pub(super) type Watched = watch::Receiver<Option<Reach>>;

/// The answer to append requests.
#[derive(Debug)]
pub(super) struct AppendAnswer {
    pub(super) reply: AppendReply,
    /// Held until it is on its way: a client that takes no answers has no more requests under way. It
    /// goes with the last answer to a run.
    pub(super) held: Option<Held>,
}

/// What was read for a follower.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) to: NodeId,
    pub(super) prev_log_id: LogId,
    pub(super) found: Lacking,
}

/// Something that the driver acts on.
#[derive(Debug)]
pub(super) enum DriverInput {
    /// A peer refuses this node for good.
    Expelled(Expelled),
    /// The node is to stop in good order. Said once.
    Stop,
    /// All up to this ticket is on disk.
    Persisted(Ticket),
    /// A message of a peer's process.
    Peer(PeerProcess, PeerMessage),
    /// Entries for a follower.
    Fetched(Fetched),
    /// A task of this node asks for something.
    Command(Command),
}

/// Where the driver's inputs come from.
pub(super) struct Inputs {
    peers: InboundReceiver,
    commands: mpsc::Receiver<Command>,
    /// Set once a peer refuses this node for good.
    expelled: watch::Receiver<Option<Expelled>>,
    /// The newest ticket that is on disk; set by the writer's thread.
    persisted: watch::Receiver<Ticket>,
    /// Asks for an orderly stop.
    stop: CancellationToken,
    was_told_to_stop: bool,
    fetched: (mpsc::Sender<Fetched>, mpsc::Receiver<Fetched>),
}

impl Inputs {
    pub(super) fn new(
        (peers, commands): (InboundReceiver, mpsc::Receiver<Command>),
        expelled: watch::Receiver<Option<Expelled>>,
        persisted: watch::Receiver<Ticket>,
        stop: CancellationToken,
    ) -> Self {
        // One fetch at a time for each follower.
        let fetched = mpsc::channel(limits::NODES_MAX);
        Self { peers, commands, expelled, persisted, stop, was_told_to_stop: false, fetched }
    }

    /// Where entries for followers go in.
    pub(super) fn fetched(&self) -> mpsc::Sender<Fetched> {
        self.fetched.0.clone()
    }

    /// The next one, once there is one: the one list of what there can be. May be dropped before it
    /// is done: nothing is lost.
    pub(super) async fn next(&mut self) -> DriverInput {
        tokio::select! {
            biased;
            Ok(()) = self.expelled.changed() => {
                let expelled = self.expelled.borrow_and_update().clone();
                DriverInput::Expelled(expelled.expect("it changes from nothing to somebody's refusal"))
            }
            () = self.stop.cancelled(), if !self.was_told_to_stop => {
                self.was_told_to_stop = true;
                DriverInput::Stop
            }
            Ok(()) = self.persisted.changed() => {
                DriverInput::Persisted(*self.persisted.borrow_and_update())
            }
            Some((from, message)) = self.peers.recv() => DriverInput::Peer(from, message),
            Some(fetched) = self.fetched.1.recv() => DriverInput::Fetched(fetched),
            Some(command) = self.commands.recv() => DriverInput::Command(command),
            else => pending().await,
        }
    }

    /// The next one, if there is one already.
    pub(super) fn try_next(&mut self) -> Option<DriverInput> {
        // It waits for nothing, so it takes nothing of what the task may do before others have a turn.
        let next = pin!(unconstrained(self.next()));
        match next.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(input) => Some(input),
            Poll::Pending => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::Tip;
    use crate::net::Inbound;
    use crate::net::testing::messages::{come_in, heartbeat, node, process};
    use crate::net::testing::soon;
    use crate::raft::Loss;

    /// The other ends.
    struct Sources {
        inbound: Inbound,
        commands: mpsc::Sender<Command>,
        expelled: watch::Sender<Option<Expelled>>,
        persisted: watch::Sender<Ticket>,
        stop: CancellationToken,
    }

    fn inputs() -> (Inputs, Sources) {
        let (inbound, peers) = Inbound::new();
        let (commands, receiver) = mpsc::channel(2);
        let (expelled, expelled_receiver) = watch::channel(None);
        let (persisted, persisted_receiver) = watch::channel(Ticket::default());
        let stop = CancellationToken::new();
        let inputs =
            Inputs::new((peers, receiver), expelled_receiver, persisted_receiver, stop.clone());
        (inputs, Sources { inbound, commands, expelled, persisted, stop })
    }

    /// One of each, those that are taken last first.
    async fn all_at_once(inputs: &Inputs, sources: &Sources) {
        sources.commands.send(Command::Read(LogNumber::MAIN, oneshot::channel().0)).await.unwrap();
        let found = Lacking::Entries { previous: Tip::default(), entries: vec![] };
        let fetched = Fetched { to: node(2), prev_log_id: LogId::ZERO, found };
        inputs.fetched().send(fetched).await.unwrap();
        come_in(&sources.inbound, process(2), heartbeat(1)).await;
        sources.persisted.send_replace(Ticket::new(7));
        sources.stop.cancel();
        sources.expelled.send_replace(Some(Expelled { by: node(2), loss: Loss::Twin }));
    }

    fn name(input: &DriverInput) -> &'static str {
        match input {
            DriverInput::Expelled(_) => "expelled",
            DriverInput::Stop => "stop",
            DriverInput::Persisted(_) => "persisted",
            DriverInput::Peer(..) => "peer",
            DriverInput::Fetched(_) => "fetched",
            DriverInput::Command(_) => "command",
        }
    }

    const ORDER: [&str; 6] = ["expelled", "stop", "persisted", "peer", "fetched", "command"];

    #[tokio::test]
    async fn whether_or_not_it_is_waited_for_each_comes_once_and_in_the_same_order() {
        let (mut inputs, sources) = inputs();
        all_at_once(&inputs, &sources).await;
        for expected in ORDER {
            assert_eq!(name(&soon(inputs.next()).await), expected);
        }
        assert!(inputs.try_next().is_none());

        let (mut inputs, sources) = self::inputs();
        assert!(inputs.try_next().is_none());
        all_at_once(&inputs, &sources).await;
        for expected in ORDER {
            assert_eq!(inputs.try_next().as_ref().map(name), Some(expected));
        }
        assert!(inputs.try_next().is_none());
    }

    #[tokio::test]
    async fn a_turn_takes_more_than_tokio_lets_a_task_do_at_once() {
        let (mut inputs, sources) = inputs();
        for round in 0..1000 {
            come_in(&sources.inbound, process(2), heartbeat(round)).await;
        }
        let taken = std::iter::from_fn(|| inputs.try_next()).count();
        assert_eq!(taken, 1000);
    }

    #[tokio::test]
    async fn looking_for_what_is_not_there_loses_no_wake_up() {
        let (mut inputs, sources) = inputs();
        assert!(inputs.try_next().is_none());
        let waiting = tokio::spawn(async move { name(&inputs.next().await) });
        tokio::task::yield_now().await;
        sources.stop.cancel();
        assert_eq!(soon(waiting).await.unwrap(), "stop");
    }
}
