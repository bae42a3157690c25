//! What a node's process does: the driver's loop, with events instead of tasks.

use bytes::Bytes;

use super::World;
use crate::entry::SealedEntry;
use crate::limits;
use crate::marks::{Mark, hit};
use crate::raft::{Notice, ReadToken};
use crate::replica::{self, Account, Action, CursorError, Name, ReadNext};
use crate::sim::codec::{CLUSTER, bytes_of, frame_of};
use crate::sim::laws::{LawName, What};
use crate::sim::machine::ProcessId;
use crate::sim::network::{Hop, Passage, StreamNumber};
use crate::sim::queue::{Behind, Caller, Event};
use crate::sim::reading::OngoingRead;
use crate::sim::time::Time;
use crate::store::ReadError;
use crate::types::{Incarnation, Index, LogId, NodeId};
use crate::wire::Frame;
use crate::wire::api::{
    AppendReplies, AppendReply, AppendRun, Onward, Read, ReadRefusal, Records, Request, Vitals,
};
use crate::wire::peer::PeerMessage;

impl World {
    pub(super) fn on_tick(&mut self, node: NodeId, incarnation: Incarnation) {
        let (now, paused) = (self.now, self.is_paused(node));
        let machine = self.machine_mut(node);
        let tick = machine.tick;
        let Some(process) = machine.process_of(incarnation) else { return };
        process.tick_is_due = true;
        self.queue.push(now + tick, Event::Tick { node, incarnation });
        if !paused {
            self.wake(node);
        }
    }

    /// Something has gathered: the process looks at it in a moment.
    pub(super) fn wake(&mut self, node: NodeId) {
        let (now, turn) = (self.now, self.options.cluster.turn);
        let machine = self.machine_mut(node);
        let Some(process) = machine.process.as_mut().filter(|process| !process.wakes) else {
            return;
        };
        process.wakes = true;
        let incarnation = process.incarnation;
        let after = Time::from_micros(machine.random.below(turn.micros() + 1));
        self.queue.push(now + after, Event::Wake { node, incarnation });
    }

    /// An input for a node's replica.
    pub(super) fn input(&mut self, node: NodeId, event: replica::Event) {
        if let Some(process) = &mut self.machine_mut(node).process {
            process.inbox.push(event);
            self.wake(node);
        }
    }

    pub(super) fn is_paused(&self, node: NodeId) -> bool {
        self.machine(node).paused_until.is_some_and(|until| until > self.now)
    }

    pub(super) fn on_wake(&mut self, node: NodeId, incarnation: Incarnation) {
        let paused = self.is_paused(node);
        let machine = self.machine_mut(node);
        let Some(process) = machine.process_of(incarnation) else { return };
        process.wakes = false;
        if !paused {
            self.turn(node);
        }
    }

    pub(super) fn on_resume(&mut self, node: NodeId, incarnation: Incarnation) {
        let machine = self.machine_mut(node);
        machine.paused_until = None;
        if machine.process_of(incarnation).is_some() {
            self.wake(node);
        }
    }

    /// One turn of the loop: all that has gathered, then the tick, then what follows.
    fn turn(&mut self, node: NodeId) {
        let now = self.now;
        let machine = self.machine_mut(node);
        let wall_clock = machine.wall_clock(now);
        let random = machine.random.number();
        let Some(process) = &mut machine.process else { return };
        let replica = &mut process.replica;
        for event in std::mem::take(&mut process.inbox) {
            replica.handle(wall_clock, event);
        }
        let ticks = std::mem::take(&mut process.tick_is_due);
        if ticks {
            let free_bytes = process.writer.free_bytes();
            replica.handle(wall_clock, replica::Event::Space { free_bytes });
            replica.handle(wall_clock, replica::Event::Tick { random });
            replica.keep_house(&process.reader);
        }
        replica.flush();
        let actions = replica.take_actions();
        if ticks {
            self.tick_memory(node);
        }
        let mut sent = vec![];
        for action in actions {
            self.perform(node, action, &mut sent);
        }
        self.serve_reads(node);
        self.announce(node);
        if !self.machine(node).is_up() {
            return; // Its store ended it; what it was about to say is not said.
        }
        self.look_whether_it_votes_again(node);
        self.note_members(node);
        let committed = self.newly_committed(node);
        self.look(What::Turn { node, sent: &sent, committed: &committed });
        for (to, message) in sent {
            self.send(node, to, &message);
        }
        self.end_if_removed(node);
    }

    fn perform(&mut self, node: NodeId, action: Action, sent: &mut Vec<(NodeId, PeerMessage)>) {
        // A process that has just died does nothing more.
        let Some(process) = &mut self.machine_mut(node).process else { return };
        match action {
            Action::Write(write) => {
                process.writer.write(write);
                self.begin_write(node);
            }
            Action::Send { to, message } => sent.push((to, message)),
            Action::Fetch { to, prev_log_id, last } => {
                let incarnation = process.incarnation;
                let at = self.now + self.disk_time(node);
                self.queue.push(at, Event::Fetched { node, incarnation, to, prev_log_id, last });
            }
            Action::Append { token, seqs, result } => {
                let Some((stream, client, left)) = process.appends.remove(&token) else { return };
                if left > seqs.count {
                    process.appends.insert(token, (stream, client, left - seqs.count));
                }
                let replies = AppendReplies { replies: vec![AppendReply { client, seqs, result }] };
                let bytes = bytes_of(&replies.to_frame());
                self.pass(stream, bytes, false);
            }
            Action::Read { token, answer } => {
                let leader = process.replica.raft().leader();
                let Some(reading) = process.reads_without_index.remove(&token) else { return };
                match answer.next(&reading.read, leader.filter(|leader| *leader != node)) {
                    ReadNext::See(index) => process.reads_with_index.push(reading.must_see(index)),
                    ReadNext::Ask(leader) => self.ask_index((node, leader), reading),
                    ReadNext::Refuse(refusal) => {
                        self.answer(reading.caller, &OngoingRead::refused(refusal));
                    }
                }
            }
            Action::Committed(through) => match process.writer.committed(through) {
                Ok(()) => self.begin_chore(node),
                Err(error) => self.on_store_error(node, &error),
            },
            Action::Release(before) => {
                process.writer.release_before(before);
                self.begin_chore(node);
            }
            Action::Install(installation) => self.install(node, &installation),
            Action::Contradiction(found) => self.on_contradiction(node, &found),
            Action::BadEntries { .. } => self.counts.bad_entries += 1,
            Action::Notice(notice) => self.on_notice(node, &notice),
        }
    }

    /// Nobody lies here: a message that is refused because no node can have sent it was sent by a bug.
    fn on_notice(&mut self, node: NodeId, notice: &Notice) {
        self.trace.notice(self.now, node, notice);
        if let Notice::Refused { .. } = notice {
            self.violate(LawName::Assertion, format!("{node} {notice}"));
        }
    }

    /// The entries that the laws have not been shown, now committed and on this node's disk.
    fn newly_committed(&mut self, node: NodeId) -> Vec<SealedEntry> {
        let machine = self.machine_mut(node);
        let Some(process) = &machine.process else { return vec![] };
        // What was given up meanwhile was shown by whoever gave it up first.
        let told = machine.told.max(process.reader.first().previous());
        let readable = process.replica.readable();
        if readable <= told {
            return vec![];
        }
        let read = process.reader.entries(told.next(), readable, usize::MAX);
        // A disk that cannot be read is found out by whoever needs it.
        let entries = read.unwrap_or_default();
        machine.told = entries.last().map_or(told, |entry| entry.id().index);
        entries
    }

    fn send(&mut self, from: NodeId, to: NodeId, message: &PeerMessage) {
        let Some(process) = self.process(from) else { return };
        let incarnation = process.incarnation;
        let frame = message.to_frame();
        for at in self.network.arrivals(self.now, (from, to), message) {
            let last_bytes = message.entries.last().map_or(0, Bytes::len);
            let bytes = self.network.transmit(&frame, last_bytes);
            self.trace.sent(self.now, (from, to), at, message);
            self.queue.push(at, Event::Peer { from: (from, incarnation), to, bytes });
        }
    }

    pub(super) fn on_peer(&mut self, from: ProcessId, to: NodeId, bytes: &Bytes) {
        let Some(frame) = frame_of(bytes) else {
            return self
                .violate(LawName::Codec, "a frame cannot be cut from its own bytes".to_owned());
        };
        match PeerMessage::from_frame(&frame) {
            Ok(message) if self.hears(from, to, &message.message) => {
                self.input(to, replica::Event::Peer { from: from.0, message });
            }
            Ok(_) => {}
            Err(_) => self.counts.bad_entries += 1,
        }
    }

    pub(super) fn on_fetched(
        &mut self,
        (node, incarnation): (NodeId, Incarnation),
        to: NodeId,
        prev_log_id: LogId,
        last: Index,
    ) {
        let machine = self.machine_mut(node);
        let Some(process) = machine.process_of(incarnation) else { return };
        match process.reader.for_follower(prev_log_id, last) {
            Ok(found) => {
                self.counts.fetched += 1;
                self.input(node, replica::Event::Fetched { to, prev_log_id, found });
            }
            Err(ReadError::Store(error)) if error.is_damage() => self.on_store_error(node, &error),
            Err(_) => {}
        }
    }

    /// A frame on a client's stream, in either direction.
    pub(super) fn pass(&mut self, stream: StreamNumber, bytes: Bytes, to_node: bool) {
        let now = self.now;
        match self.network.pass(now, stream, to_node) {
            Passage::Arrives(at) if to_node => {
                self.queue.push(at, Event::ToNode { stream, bytes });
            }
            Passage::Arrives(at) => self.queue.push(at, Event::ToClient { stream, bytes }),
            Passage::Broken => self.end_stream(stream),
            Passage::FallsSilent => {
                // At last QUIC says so.
                let at = now + Time::of(limits::CLIENT_IDLE_TIMEOUT);
                self.queue.push(at, Event::StreamEnds { stream });
            }
            Passage::Lost => {}
        }
    }

    /// A client is about to notice that a stream is over.
    fn end_stream(&mut self, stream: StreamNumber) {
        let at = self.now + self.network.delay();
        self.queue.push(at, Event::StreamEnds { stream });
    }

    pub(super) fn on_frame_to_node(&mut self, number: StreamNumber, bytes: &Bytes) {
        let Some(stream) = self.network.stream(number) else { return };
        let (node, incarnation) = (stream.node, stream.incarnation);
        if stream.hop == Hop::Wanted {
            let hop = self.hop_from(node, incarnation);
            self.network.settle(number, hop);
        }
        let Some(stream) = self.network.stream(number) else { return };
        if let Hop::To(..) = stream.hop {
            let (stream, bytes) = (number, bytes.clone());
            match self.network.hand_on(self.now, number) {
                Some(at) => self.queue.push(at, Event::ToLeader { stream, bytes }),
                None if self.network.break_stream(number) => self.end_stream(number),
                None => {}
            }
            return;
        }
        self.take_append((node, incarnation), number, bytes);
    }

    /// Where a node hands on what is meant for the leader: nowhere, if it does not reach one.
    fn hop_from(&mut self, node: NodeId, incarnation: Incarnation) -> Hop {
        let process = self.machine_mut(node).process_of(incarnation);
        let leader = process.and_then(|process| process.replica.raft().leader());
        let Some(leader) = leader.filter(|leader| self.hands_on(node, *leader)) else {
            return Hop::None;
        };
        let process = self.machine_mut(leader).process.as_ref();
        process.map_or(Hop::None, |process| Hop::To(leader, process.incarnation))
    }

    fn hands_on(&self, node: NodeId, leader: NodeId) -> bool {
        let parted = self.network.is_cut(node, leader) || self.network.is_cut(leader, node);
        leader != node && !parted
    }

    pub(super) fn on_frame_to_leader(&mut self, number: StreamNumber, bytes: &Bytes) {
        let Some(stream) = self.network.stream(number).filter(|stream| !stream.broken) else {
            return;
        };
        if let Hop::To(leader, incarnation) = stream.hop {
            self.take_append((leader, incarnation), number, bytes);
        }
    }

    /// An append arrives where it is handled.
    fn take_append(
        &mut self,
        (node, incarnation): (NodeId, Incarnation),
        number: StreamNumber,
        bytes: &Bytes,
    ) {
        let run = frame_of(bytes).and_then(|frame| AppendRun::from_frame(&frame).ok());
        let Some((run, records)) = run else {
            return self
                .violate(LawName::Codec, "an append cannot be cut from its own bytes".to_owned());
        };
        let machine = self.machine_mut(node);
        let Some(process) = machine.process_of(incarnation) else { return };
        let token = replica::AppendToken(process.token());
        process.appends.insert(token, (number, run.client, run.seqs.count));
        self.input(node, replica::Event::Append { token, run, records });
    }

    /// A question of a client arrives: who are you, or a read.
    pub(super) fn on_question(&mut self, caller: Caller, node: NodeId, bytes: &Bytes) {
        let now = self.now;
        let request = frame_of(bytes).and_then(|frame| Request::from_frame(&frame).ok());
        if self.is_paused(node) {
            // It waits in the socket's buffer; the client gives up long before that is full.
            return;
        }
        let clock = self.machine_mut(node).wall_clock(now);
        let Some(process) = &mut self.machine_mut(node).process else { return };
        match request {
            Some(Request::Hello) => {
                let name = Name { cluster: CLUSTER, node, incarnation: process.incarnation };
                // Its clients know where the members are, and nobody looks at its disk.
                let (nodes, vitals) = (vec![], Vitals::default());
                let welcome = Account::of(&process.replica).welcome(name, clock, nodes, vitals);
                self.answer(caller, &welcome.to_frame());
            }
            Some(Request::Onward(Onward::Read(read)))
                if process.replica.raft().leader().is_some_and(|l| l != node) =>
            {
                self.hand_on_read(caller, node, read);
            }
            Some(Request::Read(read) | Request::Onward(Onward::Read(read))) => {
                let (linearizable, log) = (read.linearizable, read.used());
                let reading = OngoingRead::new(caller, read, now);
                if linearizable {
                    let token = ReadToken(process.token());
                    process.reads_without_index.insert(token, reading);
                    self.input(node, replica::Event::Read { token, log });
                } else {
                    process.reads_with_index.push(reading);
                    self.wake(node);
                }
            }
            Some(
                Request::Appends
                | Request::CrashLeader { .. }
                | Request::Onward(Onward::Appends)
                | Request::OnBehalf(_)
                | Request::Backup(_)
                | Request::Segment(_)
                | Request::Soundness
                | Request::Members
                | Request::ChangeMembers { .. },
            )
            | None => {
                self.violate(
                    LawName::Codec,
                    "a question cannot be cut from its own bytes".to_owned(),
                );
            }
        }
    }

    /// A read that is meant for the leader is handed on to it, once.
    fn hand_on_read(&mut self, caller: Caller, node: NodeId, read: Read) {
        let process = self.machine_mut(node).process.as_ref();
        let leader = process.and_then(|process| process.replica.raft().leader());
        if let Some(leader) = leader.filter(|leader| self.hands_on(node, *leader)) {
            let at = self.now + self.network.delay();
            let bytes = bytes_of(&Request::Read(read).to_frame());
            self.queue.push(at, Event::Question { caller, node: leader, bytes });
        } else {
            self.answer(caller, &OngoingRead::refused(ReadRefusal::NotLeader { leader }));
        }
    }

    /// A node asks its leader how far a read must see that it serves itself.
    fn ask_index(&mut self, (node, leader): (NodeId, NodeId), reading: OngoingRead) {
        let reaches = self.hands_on(node, leader);
        let at = self.now + self.network.delay();
        let Some(process) = &mut self.machine_mut(node).process else { return };
        if !reaches {
            let refusal = ReadRefusal::NotLeader { leader: Some(leader) };
            return self.answer(reading.caller, &OngoingRead::refused(refusal));
        }
        let (token, incarnation) = (ReadToken(process.token()), process.incarnation);
        let behind = Some(Behind { node, incarnation, token });
        let caller = Caller { behind, ..reading.caller };
        let bytes = bytes_of(&Request::Read(Read::of_index(reading.read.log)).to_frame());
        process.reads_without_index.insert(token, reading);
        self.queue.push(at, Event::Question { caller, node: leader, bytes });
    }

    /// The leader's answer to that.
    pub(super) fn on_index(&mut self, behind: Behind, bytes: &Bytes) {
        let Behind { node, incarnation, token } = behind;
        if self.is_paused(node) {
            return;
        }
        let process = self.machine_mut(node).process.as_mut();
        let Some(process) = process.filter(|it| it.incarnation == incarnation) else { return };
        let Some(reading) = process.reads_without_index.remove(&token) else { return };
        let told = frame_of(bytes).and_then(|frame| Records::from_frame(&frame).ok());
        if let Some(index) = told.and_then(|(header, _)| header.index()) {
            hit(Mark::IndexTold);
            process.reads_with_index.push(reading.must_see(index));
            self.wake(node);
        } else {
            let refusal = ReadRefusal::NotLeader { leader: None };
            self.answer(reading.caller, &OngoingRead::refused(refusal));
        }
    }

    fn answer(&mut self, caller: Caller, frame: &Frame) {
        let at = self.now + self.network.delay();
        if let Some(behind) = caller.behind {
            if !self.network.question_is_lost() {
                let bytes = bytes_of(frame);
                self.queue.push(at, Event::Index { behind, bytes });
            }
            return;
        }
        let reaches = self.network.reaches(caller.client, caller.node, caller.link);
        if !self.network.question_is_lost() && reaches {
            let bytes = bytes_of(frame);
            self.queue.push(at, Event::Answer { caller, bytes });
        }
    }

    /// Serves the reads that can be served now.
    fn serve_reads(&mut self, node: NodeId) {
        let now = self.now;
        let Some(process) = &mut self.machine_mut(node).process else { return };
        let reads = std::mem::take(&mut process.reads_with_index);
        for mut reading in reads {
            let Some(process) = &mut self.machine_mut(node).process else { return };
            if reading.is_over(now) {
                self.answer(reading.caller, &OngoingRead::refused(ReadRefusal::Busy));
                continue;
            }
            match reading.is_ready(&process.replica) {
                Err(refusal) => self.answer(reading.caller, &OngoingRead::refused(refusal)),
                Ok(false) => process.reads_with_index.push(reading),
                Ok(true) => match reading.serve(&process.replica, &process.reader) {
                    Ok(frame) => self.answer(reading.caller, &frame),
                    Err(CursorError::Store(ReadError::Store(error))) => {
                        self.on_store_error(node, &error);
                    }
                    Err(CursorError::Store(_)) => {
                        self.answer(reading.caller, &OngoingRead::refused(ReadRefusal::Failed));
                    }
                    Err(error) => {
                        self.violate(LawName::Reads, format!("{node} cannot read: {error}"));
                    }
                },
            }
        }
    }
}
