//! The registry in its world: questions, answers, and how it fails.

use bytes::Bytes;

use super::World;
use crate::marks::{Mark, hit};
use crate::registry::Leadership;
use crate::sim::codec::{CLUSTER, bytes_of, frame_of};
use crate::sim::laws::{LawName, What};
use crate::sim::queue::{Asker, Event};
use crate::sim::time::Time;
use crate::store::StoreError;
use crate::types::{Incarnation, NodeId};
use crate::wire::registry::{Answer, Question};

/// How long the registry's disk takes.
const REGISTRY_SYNC: Time = Time::from_millis(2);

/// A registry that its disk ended is started again after so long.
const REGISTRY_RESTART: Time = Time::from_millis(500);

impl World {
    /// A leader whose no-op is committed tells the registry, until it is answered.
    pub(super) fn announce(&mut self, node: NodeId) {
        let now = self.now;
        let Some(process) = &mut self.machine_mut(node).process else { return };
        let incarnation = process.incarnation;
        let ready = process.replica.raft().ready_term();
        if process.announcer.term != ready {
            let address = |node| Some(format!("{node}:7101"));
            let leadership = || Leadership::of(CLUSTER, process.replica.terms(), address);
            process.announcer.lead(now, ready, ready.and_then(|_| leadership()));
        }
        if let Some(question) = process.announcer.poll(now) {
            let attempt = process.announcer.attempt;
            self.ask_registry(Asker::Node(node, incarnation, attempt), &question);
        }
    }

    fn ask_registry(&mut self, asker: Asker, question: &Question) {
        let at = self.now + self.network.delay_to_registry();
        let bytes = bytes_of(&question.to_frame());
        self.queue.push(at, Event::AskRegistry { asker, bytes });
    }

    /// The registry has answered a leader.
    pub(super) fn on_registry_hears(
        &mut self,
        (node, incarnation): (NodeId, Incarnation),
        attempt: u64,
        answer: Answer,
    ) {
        let now = self.now;
        let Some(process) = self.machine_mut(node).process_of(incarnation) else { return };
        match process.announcer.on_answer(now, (attempt, answer)) {
            Ok(Some(question)) => {
                self.ask_registry(Asker::Node(node, incarnation, attempt), &question);
            }
            Ok(None) => {}
            Err(error) => self.trace.text(now, node, || error.to_string()),
        }
    }

    pub(super) fn on_ask_registry(&mut self, asker: Asker, bytes: &Bytes) {
        let question = frame_of(bytes).and_then(|frame| Question::from_frame(&frame).ok());
        let Some(question) = question else {
            return self
                .violate(LawName::Codec, "a question cannot be cut from its own bytes".to_owned());
        };
        let (answer, writes) = self.registrar.ask(asker, question);
        if writes {
            let start = self.registrar.start;
            let at = self.now + self.chance.around(REGISTRY_SYNC);
            self.queue.push(at, Event::RegistrySynced { start });
        }
        if let Some(answer) = answer {
            self.look_at_registry();
            self.answer_from_registry(asker, &answer);
        }
    }

    pub(super) fn on_registry_synced(&mut self, start: u64) {
        if self.registrar.start != start {
            return;
        }
        match self.registrar.store_next() {
            Ok(Some((asker, answer))) => {
                self.answer_from_registry(asker, &answer);
                self.look_at_registry();
            }
            Ok(None) => {}
            Err(error) => self.on_registry_error(&error),
        }
    }

    /// Shows the laws whom it names as the leader.
    fn look_at_registry(&mut self) {
        let leader = self.registrar.leader(CLUSTER).cloned();
        self.look(What::Announced { leader: leader.as_ref() });
    }

    /// It starts, and says what it knows: what it has once said it says again.
    pub(super) fn start_registry(&mut self) {
        if self.registrar.is_up() {
            return;
        }
        match self.registrar.start() {
            Ok(()) => self.look_at_registry(),
            Err(error) => self.on_registry_error(&error),
        }
    }

    /// It cannot go on. Whoever runs it starts it again; but damage was done by nobody.
    fn on_registry_error(&mut self, error: &StoreError) {
        self.trace.note(self.now, || format!("the registry cannot go on: {error}"));
        hit(Mark::RegistryFailed);
        if error.is_damage() {
            let what = format!("the registry finds damage where none was done: {error}");
            self.violate(LawName::NoSilentRepair, what);
        }
        self.queue.push(self.now + REGISTRY_RESTART, Event::RegistryStarts);
    }

    /// It is killed, perhaps with the power.
    pub(super) fn kill_registry(&mut self, power: bool, down: Time) {
        let operations = self.chance.below(16);
        self.registrar.kill(operations);
        if power {
            let chance = &mut self.chance;
            self.registrar.disk.power_cut(&mut |bound| chance.below(bound));
        }
        self.queue.push(self.now + down, Event::RegistryStarts);
    }

    fn answer_from_registry(&mut self, asker: Asker, answer: &Answer) {
        let at = self.now + self.network.delay();
        let bytes = bytes_of(&answer.to_frame());
        self.queue.push(at, Event::RegistryAnswers { asker, bytes });
    }

    pub(super) fn on_registry_answers(&mut self, asker: Asker, bytes: &Bytes) {
        let answer = frame_of(bytes).and_then(|frame| Answer::from_frame(&frame).ok());
        match (asker, answer) {
            (Asker::Node(node, incarnation, attempt), Some(answer)) => {
                self.on_registry_hears((node, incarnation), attempt, answer);
            }
            (Asker::Client(client), Some(Answer::Terms(terms))) => {
                if let Some(announcement) = terms.first() {
                    self.clients[client].on_announcement(self.now, announcement);
                    self.act_for_client(client);
                }
            }
            (
                Asker::Client(_),
                Some(
                    Answer::Known(_)
                    | Answer::Announced
                    | Answer::Refused(_)
                    | Answer::Forgotten(_),
                ),
            ) => {}
            (_, None) => {
                self.violate(
                    LawName::Codec,
                    "an answer cannot be cut from its own bytes".to_owned(),
                );
            }
        }
    }
}
