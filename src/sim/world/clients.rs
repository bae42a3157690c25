//! What clients want done, done; and what comes back to them.

use bytes::Bytes;

use super::World;
use crate::client::moment::Moment;
use crate::sim::codec::{CLUSTER, bytes_of, frame_of};
use crate::sim::history::ReadSeen;
use crate::sim::laws::{Given, LawName, What};
use crate::sim::model::RecordHash;
use crate::sim::network::StreamNumber;
use crate::sim::queue::{Asker, Caller, Event};
use crate::sim::sim_client::{ClientAction, Served, Told};
use crate::sim::time::Time;
use crate::types::{LogNumber, Offset};
use crate::wire::api::{AppendReplies, Onward, Records, Request, Welcome};
use crate::wire::registry::Question;

/// How often a client looks at the time.
const POLL: Time = Time::from_millis(10);

impl World {
    pub(super) fn schedule_poll(&mut self, client: usize) {
        let life = self.clients[client].life;
        let after = Time::from_micros(self.chance.below(POLL.micros()) + 1);
        self.queue.push(self.now + after, Event::Poll { client, life });
    }

    pub(super) fn on_poll(&mut self, client: usize, life: u64) {
        let now = self.now;
        let asleep = &mut self.clients[client];
        if asleep.life != life {
            return;
        }
        if asleep.paused_until <= now {
            asleep.poll(now);
        }
        self.act_for_client(client);
        self.queue.push(now + POLL, Event::Poll { client, life });
    }

    /// Does what a client wants done, and what follows from that.
    pub(super) fn act_for_client(&mut self, client: usize) {
        loop {
            let actions = self.clients[client].take_actions();
            if actions.is_empty() {
                return;
            }
            for action in actions {
                self.perform_for_client(client, action);
            }
        }
    }

    fn perform_for_client(&mut self, client: usize, action: ClientAction) {
        let life = self.clients[client].life;
        match action {
            ClientAction::Hello(node, link) => {
                let caller = Caller { client, life, question: 0, node, link, behind: None };
                self.ask(caller, &Request::Hello);
            }
            ClientAction::Read { node, link, question, read, onward } => {
                let caller = Caller { client, life, question, node, link, behind: None };
                let request =
                    if onward { Request::Onward(Onward::Read(read)) } else { Request::Read(read) };
                self.ask(caller, &request);
            }
            ClientAction::AskRegistry => {
                let at = self.now + self.network.delay();
                let bytes = bytes_of(&Question::Leader { cluster: CLUSTER }.to_frame());
                let asker = Asker::Client(client);
                self.queue.push(at, Event::AskRegistry { asker, bytes });
            }
            ClientAction::OpenLane { node, link, lane, onward } => {
                let machine = self.machine(node);
                let incarnation = machine.process.as_ref().map(|process| process.incarnation);
                let stream = incarnation.map(|incarnation| {
                    let place = (node, incarnation);
                    self.network.open(self.now, (client, life), place, (link, onward))
                });
                self.clients[client].lane_opened(self.now, (lane, link), stream);
            }
            ClientAction::Send(stream, bytes) => self.pass(stream, bytes, true),
            ClientAction::CloseLane(stream) => self.network.close(stream),
            ClientAction::Told(told) => self.on_told(client, told),
            ClientAction::TooPatient(quiet) => {
                let what = format!(
                    "client {client} asked nobody though a leader that is new was quiet for {quiet} ms"
                );
                self.violate(LawName::Patience, what);
            }
            ClientAction::Oversleeps(until) => {
                let until = until.map(Moment::from_origin);
                let what =
                    format!("client {client} has something to do, and sleeps until {until:?}");
                self.violate(LawName::Patience, what);
            }
        }
    }

    fn ask(&mut self, caller: Caller, request: &Request) {
        let at = self.now + self.network.delay();
        let Caller { client, node, link, .. } = caller;
        let reaches = self.network.reaches(client, node, link);
        if !self.network.question_is_lost() && reaches {
            let bytes = bytes_of(&request.to_frame());
            self.queue.push(at, Event::Question { caller, node, bytes });
        }
    }

    fn on_told(&mut self, number: usize, told: Told) {
        let now = self.now;
        match told {
            Told::Begins { client, seq, ask, sequence } => {
                let hashes = RecordHash::of_all(&ask.records);
                if ask.command.is_some() || ask.log != LogNumber::MAIN {
                    self.history.unseen((client, seq), hashes);
                } else {
                    self.history.append(now.micros(), (client, seq), hashes);
                }
                let (log, conditions) = (ask.log, &ask.conditions);
                self.look(What::Asked { client, seq, log, conditions, sequence });
            }
            Told::Unmet { client, seq, unmet } => {
                self.counts.unmet += 1;
                let records = self.history.taken_back((client, seq));
                self.trace.client(now, number, || format!("{client} {seq}: {unmet:?}"));
                self.look(What::Unmet { client, seq, records: &records, unmet });
            }
            Told::Acknowledged { client, seq, appended } => {
                self.counts.acknowledged += 1;
                self.history.acknowledged(now.micros(), (client, seq), appended);
                self.trace
                    .client(now, number, || format!("{client} {seq} is at {}", appended.offset));
                self.look(What::Acknowledged { client, seq, appended });
            }
            Told::Rejected { client, seq } => {
                self.counts.rejected += 1;
                self.history.rejected((client, seq));
                self.trace
                    .client(now, number, || format!("{client} {seq} is certainly not in the log"));
                self.look(What::Rejected { client, seq });
            }
            Told::SaidGone { log } => self.look(What::SaidGone { log }),
            Told::Unknown { client, seq } => {
                self.counts.unknown += 1;
                self.trace.client(now, number, || format!("{client} {seq}: nobody knows"));
            }
        }
    }

    pub(super) fn on_frame_to_client(&mut self, number: StreamNumber, bytes: &Bytes) {
        let Some(stream) = self.network.stream(number) else { return };
        let (client, life, now) = (stream.client, stream.life, self.now);
        let replies = frame_of(bytes).and_then(|frame| AppendReplies::from_frame(&frame).ok());
        let Some(replies) = replies else {
            return self
                .violate(LawName::Codec, "answers cannot be cut from their own bytes".to_owned());
        };
        if self.clients[client].life != life {
            return;
        }
        #[cfg(test)]
        self.heard.extend(replies.replies.iter().cloned());
        self.clients[client].on_replies(now, number, &replies.replies);
        self.act_for_client(client);
    }

    pub(super) fn on_stream_ends(&mut self, number: StreamNumber) {
        let Some(stream) = self.network.stream(number) else { return };
        let (client, life, now) = (stream.client, stream.life, self.now);
        self.network.close(number);
        if self.clients[client].life == life {
            self.clients[client].on_stream_end(now, number);
            self.act_for_client(client);
        }
    }

    /// An answer to a question arrives at a client.
    pub(super) fn on_answer(&mut self, caller: Caller, bytes: &Bytes) {
        let Caller { client, life, question, link, .. } = caller;
        if self.clients[client].life != life {
            return;
        }
        let Some(frame) = frame_of(bytes) else {
            return self
                .violate(LawName::Codec, "an answer cannot be cut from its own bytes".to_owned());
        };
        if let Ok(welcome) = Welcome::from_frame(&frame) {
            self.clients[client].on_welcome(self.now, link, &welcome);
        } else if let Ok((header, records)) = Records::from_frame(&frame) {
            self.on_records((client, question), &header, &records);
        } else {
            self.violate(LawName::Codec, "an answer is none".to_owned());
        }
        self.act_for_client(client);
    }

    /// Records of another log than `main`, of which the history tells nothing.
    fn on_given(&mut self, served: &Served, first: Offset, records: &[Bytes]) {
        let (log, linearizable) = (served.read.log, served.read.linearizable);
        let (invoked, records) = (served.began.micros(), &RecordHash::of_all(records));
        self.look(What::Given(Given { log, invoked, linearizable, first, records }));
    }

    fn on_records(
        &mut self,
        (client, question): (usize, u64),
        header: &Records,
        records: &[Bytes],
    ) {
        let now = self.now;
        let reader = &mut self.clients[client];
        // An answer that came after the client gave up answers nothing.
        let Some(served) = reader.on_records(now, question, header, records.len()) else {
            return;
        };
        if served.read.log != LogNumber::MAIN {
            return self.on_given(&served, header.first_offset, records);
        }
        let followed = reader.followed;
        let end = header.first_offset.plus(records.len() as u64);
        if header.first_offset == followed {
            reader.followed = end;
        }
        self.counts.reads += 1;
        self.history.read(ReadSeen {
            invoked: served.began.micros(),
            returned: now.micros(),
            // Clients go from node to node: nothing is promised between stale reads.
            session: None,
            read: served.read,
            first: header.first_offset,
            records: RecordHash::of_all(records),
        });
        self.trace.client(now, client, || format!("reads {} to {end}", header.first_offset));
        if header.first_offset == followed && !records.is_empty() {
            let through = header.spans.last().map(|span| span.index).unwrap_or_default();
            let (first, count) = (followed, records.len() as u64);
            let subscription = client as u64;
            self.look(What::Shown { subscription, first, count, through });
        }
    }
}
