//! The loop that owns a node's state: gather inputs, let the replica handle them, do what it says.
//!
//! One task owns the replica; nobody else holds a reference. Each turn takes all that waits, within
//! a bound, so that requests gather into entries and writes into group commits by themselves.
//! Messages are handled before the tick that may have become due meanwhile: a process that was not
//! run for a while first hears what its leader had to say.

use std::collections::BTreeMap;
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::announce::Announcer;
use super::caller;
use super::inputs::{AppendAnswer, Command, DriverInput, Fetched, Inputs};
use super::members;
use super::narrator::Narrator;
use super::published;
use super::pulse::Pulse;
use super::tally::Tally;
use super::watches::Watches;
use crate::address::Address;
use crate::date::wall_clock;
use crate::limits;
use crate::net::{Expelled, Held, PeerProcess, Peers, Roll, SharedMemory};
use crate::raft::{Heard, Memory, ReadToken};
use crate::replica::{
    Account, Action, AppendToken, Contradiction, Event, ReadAnswer, Replica, Revocations,
};
use crate::store::{self, Installation, ReadError, Reader, Writer};
use crate::types::{ClientId, Index, LogId, NodeId, SeqRange};
use crate::wire::api::{AppendRefusal, AppendReply, Appended};
use crate::wire::peer::PeerMessage;
use crate::wire::soundness::Soundness;

/// What the driver acts on.
pub(super) struct Outputs {
    pub(super) peers: Peers,
    /// What is remembered of the peers.
    pub(super) memory: SharedMemory,
    pub(super) writer: Writer,
    pub(super) reader: Reader,
    pub(super) published: watch::Sender<Account>,
    pub(super) revoked: watch::Sender<Revocations>,
    /// Who the members are, and where nodes are by this node's file.
    pub(super) roll: (watch::Sender<Roll>, BTreeMap<NodeId, Address>),
    pub(super) pulse: Arc<Pulse>,
    pub(super) tally: Arc<Tally>,
    pub(super) announcer: Announcer,
    pub(super) narrator: Narrator,
}

/// How a driver ends.
#[derive(Debug)]
pub(super) enum End {
    /// It was asked to stop.
    Stopped,
    /// A peer knows that this node is not what it was: it must not take part.
    Expelled(Expelled),
    /// Another node's log and this one's cannot both be right.
    Contradicted(Contradiction),
    /// It lacks what the others have given up: its store is to begin behind that.
    Installs(Box<Installation>),
    /// It is no member any more, by an entry of its own log or one before.
    Removed(Index),
}

/// Where the answers to a run of append requests go.
struct Waiting {
    client: ClientId,
    /// Requests without an answer.
    left: u32,
    /// Bytes of all their records; 0 once one was refused.
    records_bytes: usize,
    /// What all of the answers take until the last of them is on its way.
    answers_bytes: usize,
    reply: mpsc::UnboundedSender<AppendAnswer>,
    held: Held,
}

/// See the module.
pub(super) struct Driver {
    replica: Replica,
    inputs: Inputs,
    outputs: Outputs,
    tick: Duration,
    next_tick: Instant,
    appends: BTreeMap<AppendToken, Waiting>,
    reads: BTreeMap<ReadToken, oneshot::Sender<ReadAnswer>>,
    watches: Watches,
    next_token: u64,
    /// Set once a stop was asked for: when to give up the handover.
    stopping: Option<Instant>,
    /// Set once this node must not go on.
    end: Option<End>,
}

impl Driver {
    pub(super) fn new(replica: Replica, inputs: Inputs, outputs: Outputs, tick: Duration) -> Self {
        Self {
            replica,
            inputs,
            outputs,
            tick,
            next_tick: Instant::now() + tick,
            appends: BTreeMap::new(),
            reads: BTreeMap::new(),
            watches: Watches::default(),
            next_token: 0,
            stopping: None,
            end: None,
        }
    }

    /// Runs until an orderly stop is done, or until this node must not go on. Returns the writer,
    /// whose store is to be closed.
    pub(super) async fn run(mut self) -> (Writer, End) {
        while !self.has_stopped() {
            self.wait().await;
            self.gather();
            self.replica.flush();
            self.perform();
            if let Some(end) = self.end.take() {
                if let End::Installs(_) = end {
                    // It is taken along.
                    self.write_down_memory();
                }
                return (self.outputs.writer, end);
            }
        }
        self.write_down_memory();
        // Whoever still waits gets no answer, which says what is true: the outcome is unknown.
        (self.outputs.writer, End::Stopped)
    }

    /// Waits until there is anything to do.
    async fn wait(&mut self) {
        tokio::select! {
            biased;
            input = self.inputs.next() => self.on_input(input),
            () = tokio::time::sleep_until(self.next_tick) => {}
        }
    }

    /// Takes what else waits, and the tick last.
    fn gather(&mut self) {
        for _ in 0..limits::TURN_INPUTS_MAX {
            let Some(input) = self.inputs.try_next() else { break };
            self.on_input(input);
        }
        let now = Instant::now();
        if now >= self.next_tick {
            // Ticks that were missed are not made up for: time this process did not run in is no
            // proof of anybody's silence.
            self.next_tick = (self.next_tick + self.tick).max(now);
            self.outputs.pulse.turned();
            self.handle(Event::Space { free_bytes: self.outputs.writer.free_bytes() });
            self.watches.note_use(&mut self.replica);
            self.handle(Event::Tick { random: random() });
            self.replica.keep_house(&self.outputs.reader);
            self.tick_memory();
            let peers = &self.outputs.peers;
            self.outputs.narrator.on_tick(&self.replica, |node| peers.connection(node).is_some());
        }
    }

    fn on_input(&mut self, input: DriverInput) {
        match input {
            DriverInput::Expelled(expelled) => self.end = Some(End::Expelled(expelled)),
            DriverInput::Stop => self.begin_stop(),
            DriverInput::Persisted(ticket) => {
                self.outputs.tally.persisted(ticket);
                self.handle(Event::Persisted(ticket));
            }
            DriverInput::Peer(from, message) => self.on_peer(from, message),
            DriverInput::Fetched(Fetched { to, prev_log_id, found }) => {
                self.handle(Event::Fetched { to, prev_log_id, found });
            }
            DriverInput::Command(command) => self.on_command(command),
        }
    }

    fn tick_memory(&mut self) {
        let peers = &self.outputs.peers;
        let stands = |node, start| {
            peers.connection(node).is_some_and(|connection| connection.incarnation == start)
        };
        self.memory().tick(self.replica.raft().current_term(), stands);
        self.write_down_memory();
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.outputs.memory.lock().expect("a panic ends the process")
    }

    fn write_down_memory(&self) {
        self.outputs.writer.remember(self.memory().take_changes());
    }

    fn on_peer(&mut self, from: PeerProcess, message: PeerMessage) {
        let PeerProcess { node: from, start } = from;
        self.outputs.pulse.heard(from);
        let claimed = self.replica.raft().claimed(&message.message);
        let heard = self.memory().hear(from, start, claimed);
        match heard {
            Heard::Former => return,
            Heard::First => {
                let store = self.memory().new_store(from);
                self.handle(Event::Restarted { peer: from, store });
            }
            Heard::Again => {}
        }
        self.outputs.narrator.on_peer(&message);
        self.handle(Event::Peer { from, message });
    }

    fn on_command(&mut self, command: Command) {
        self.next_token += 1;
        match command {
            Command::Append { run, records, reply, held } => {
                let token = AppendToken(self.next_token);
                let (client, left) = (run.client, run.seqs.count);
                let answers_bytes = caller::answers_bytes(&run);
                let records_bytes = records.len();
                let waiting = Waiting { client, left, records_bytes, answers_bytes, reply, held };
                self.appends.insert(token, waiting);
                self.handle(Event::Append { token, run, records });
            }
            Command::Read(log, reply) => {
                let token = ReadToken(self.next_token);
                self.reads.insert(token, reply);
                self.handle(Event::Read { token, log });
            }
            // Whoever asked may have gone.
            Command::Ask(log, inquiry, reply) => {
                let _ = reply.send(self.replica.standing(log, inquiry));
            }
            Command::Name(log, reply) => {
                let _ = reply.send(self.replica.name(log).cloned());
            }
            Command::Soundness(is_whole, reply) => {
                let _ = reply.send(Soundness::of(&self.replica, is_whole));
            }
            Command::Members(reply) => {
                let _ = reply.send(members::members(&self.replica, &self.outputs.roll.0.borrow()));
            }
            Command::ChangeMembers(as_of, change, reply) => {
                let _ = reply.send(self.replica.change_members(as_of, &change));
            }
            Command::Watch(log, reply) => {
                let _ = reply.send(self.watches.watch(&self.replica, log));
            }
        }
    }

    fn handle(&mut self, event: Event) {
        // It goes into entries for people to read; nothing is decided by it.
        self.replica.handle(wall_clock(), event);
    }

    fn perform(&mut self) {
        let mut release_before = None;
        for action in self.replica.take_actions() {
            if self.end.is_some() {
                return; // What it was about to say is not said.
            }
            match action {
                Action::Write(write) => {
                    self.outputs.tally.wrote(write.ticket);
                    self.outputs.writer.write(write);
                }
                Action::Send { to, message } => self.outputs.peers.send(to, message),
                Action::Fetch { to, prev_log_id, last } => self.fetch(to, prev_log_id, last),
                Action::Append { token, seqs, result } => self.answer(token, seqs, result),
                Action::Read { token, answer } => {
                    let reply = self.reads.remove(&token);
                    // As above.
                    let _ = reply.map(|reply| reply.send(answer));
                }
                Action::Committed(through) => self.outputs.writer.committed(through),
                Action::Release(before) => release_before = Some(before),
                Action::Contradiction(found) => self.end = Some(End::Contradicted(found)),
                Action::Install(installation) => self.end = Some(End::Installs(installation)),
                Action::BadEntries { from, error } => {
                    tracing::error!(%from, %error, "entries were not taken");
                }
                Action::Notice(notice) => self.outputs.narrator.tell(&notice, &self.replica),
            }
        }
        // First how far each log reaches: whoever sees what is committed finds it there.
        self.watches.tell(&mut self.replica);
        // What is given up nobody asks for any more: all have been told where their log begins.
        if let Some(before) = release_before {
            self.outputs.writer.release_before(before);
        }
        published::publish_revocations(&self.outputs.revoked, &self.replica);
        published::publish_roll(&self.outputs.roll.0, &self.replica, &self.outputs.roll.1);
        if self.replica.raft().was_removed() {
            self.end = Some(End::Removed(self.replica.raft().members_as_of()));
        }
        published::publish(&self.outputs.published, &self.outputs.pulse, &self.replica);
        self.outputs.announcer.update(&self.replica);
    }

    fn answer(
        &mut self,
        token: AppendToken,
        seqs: SeqRange,
        result: Result<Appended, AppendRefusal>,
    ) {
        let Some(mut waiting) = self.appends.remove(&token) else { return };
        self.outputs.tally.answered(seqs.count, result.is_ok());
        waiting.records_bytes *= usize::from(result.is_ok());
        let reply = AppendReply { client: waiting.client, seqs, result };
        waiting.left -= seqs.count;
        // A client that is gone asks again elsewhere.
        if waiting.left > 0 {
            let _ = waiting.reply.send(AppendAnswer { reply, held: None });
            self.appends.insert(token, waiting);
        } else {
            self.outputs.tally.took_bytes(waiting.records_bytes);
            let Waiting { reply: sender, answers_bytes, mut held, .. } = waiting;
            // The records are in the log, or nowhere. Those before this one may still be on their way.
            held.shrink_to(answers_bytes);
            let _ = sender.send(AppendAnswer { reply, held: Some(held) });
        }
    }

    /// Reads entries for a follower that is far behind, beside the loop.
    fn fetch(&self, to: NodeId, prev_log_id: LogId, last: Index) {
        let reader = self.outputs.reader.clone();
        let sender = self.inputs.fetched();
        tokio::task::spawn_blocking(move || {
            match reader.for_follower(prev_log_id, last) {
                // If the driver is gone, so is the need.
                Ok(found) => drop(sender.blocking_send(Fetched { to, prev_log_id, found })),
                Err(ReadError::Store(error)) if error.is_damage() => store::end_at_damage(&error),
                // Somebody has said so once (`mending`), and the core asks again.
                Err(ReadError::Damaged { .. }) => (),
                // The core asks again.
                Err(error) => tracing::error!(%to, %error, "cannot read entries for a follower"),
            }
        });
    }

    fn begin_stop(&mut self) {
        tracing::info!("stopping");
        self.handle(Event::Transfer);
        let is_leader = self.replica.raft().role().as_leader().is_some();
        let patience = if is_leader { limits::HANDOVER_TIMEOUT } else { Duration::ZERO };
        self.stopping = Some(Instant::now() + patience);
    }

    /// A leader that stops first hands over, within a bound: it is done when it has heard its
    /// successor, for until then its own vote may be what the successor waits for. If nobody is
    /// connected there is nobody to hand over to.
    fn has_stopped(&self) -> bool {
        let Some(until) = self.stopping else { return false };
        let raft = self.replica.raft();
        let has_successor = raft.leader().is_some_and(|leader| leader != raft.id());
        let mut voters = raft.log().configuration().voters.iter();
        let is_alone = !voters.any(|node| self.outputs.peers.connection(*node).is_some());
        has_successor || is_alone || Instant::now() >= until
    }
}

/// Entropy for the core.
pub(super) fn random() -> u64 {
    getrandom::u64().expect("the system has entropy")
}
