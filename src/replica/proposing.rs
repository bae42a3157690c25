//! Appends: what waits is folded into as few entries as possible, and answered when they are committed.

use super::border::{Action, AppendToken};
use super::proposals::Waiting;
use super::replica::{AtHand, Replica};
use super::sessions::{Answer, Verdict};
use crate::entry::{self, Request};
use crate::limits;
use crate::marks::{Mark, hit};
use crate::raft::Input;
use crate::types::{Index, LogNumber, Offset, Seq, Term};
use crate::wire::api::{AppendRefusal, AppendRequest, Appended};

impl Replica {
    /// Folds the append requests that wait into entries, as far as the pipeline has room. To be
    /// called when no more events are at hand; calling it again is harmless.
    pub fn flush(&mut self) {
        if self.raft.full_node().is_some() {
            return self.turn_away();
        }
        while self.proposals.has_waiting() && self.raft.may_propose() && self.pipeline_has_room() {
            self.fold();
        }
    }

    fn pipeline_has_room(&self) -> bool {
        let log = self.raft.log();
        log.last().index.since(log.persisted()) < limits::PROPOSALS_IN_FLIGHT_MAX as u64
    }

    pub(super) fn on_append(&mut self, waiting: Waiting) {
        let token = waiting.token;
        if !self.is_leader() {
            hit(Mark::NotLeader);
            return self.refuse(token, self.not_leader());
        }
        let is_valid = waiting.request.log == LogNumber::MAIN
            && waiting.request.is_within_limits()
            && (Seq::FIRST..=waiting.request.seq).contains(&waiting.request.first_unanswered)
            && waiting.request.lengths.len() == waiting.records.len();
        if !is_valid {
            return self.refuse(token, AppendRefusal::Invalid);
        }
        if self.raft.full_node().is_some() {
            return self.turn_one_away(&waiting);
        }
        if let Err(token) = self.proposals.admit(waiting, self.options.proposals_bytes_max) {
            hit(Mark::Busy);
            self.refuse(token, AppendRefusal::Busy);
        }
    }

    /// Folds what waits into one entry, and proposes it.
    fn fold(&mut self) {
        let index = self.raft.log().last().index.next();
        let mut room = limits::ENTRY_PAYLOAD_BYTES_MAX - 4;
        let mut requests: Vec<Request> = vec![];
        let mut next_offset = self.tail.next_offset(LogNumber::MAIN);
        while requests.len() < limits::ENTRY_REQUESTS_MAX {
            let Some(waiting) = self.proposals.next_within(room) else { break };
            let bytes = waiting.payload_bytes();
            let Some(request) = self.judge(waiting, index, next_offset, &requests) else {
                continue;
            };
            next_offset = request.next_offset();
            room -= bytes;
            requests.push(request);
        }
        if requests.is_empty() {
            return;
        }
        if requests.len() > 1 {
            hit(Mark::Folded);
        }
        let payload = entry::encode_requests(&requests);
        let bytes = u32::try_from(entry::HEADER_BYTES + payload.len()).expect("bounded");
        self.step_with(Input::Propose { bytes }, AtHand::Folded(payload));
    }

    /// Judges the next request: it goes into the entry at `index`, or waits for the entry that has
    /// it, or is refused.
    fn judge(
        &mut self,
        waiting: Waiting,
        index: Index,
        offset: Offset,
        folded: &[Request],
    ) -> Option<Request> {
        let Waiting { token, request, records } = waiting;
        let count = u32::try_from(records.len()).expect("bounded by the limits");
        let verdict = Self::look_up_folded(&request, index, folded)
            .unwrap_or_else(|| self.tail.look_up(request.client, request.seq, request.began_at));
        match verdict {
            Verdict::New => {
                let answer = Answer { seq: request.seq, index, offset, count };
                self.proposals.wait_for_commit(token, answer);
                return Some(Request {
                    log: request.log,
                    first_offset: offset,
                    client: request.client,
                    seq: request.seq,
                    first_unanswered: request.first_unanswered,
                    records,
                });
            }
            Verdict::Known(answer) => self.answer_again(token, answer),
            Verdict::Gap { expected } => {
                hit(Mark::Gap);
                self.refuse(token, AppendRefusal::Gap { expected });
            }
            Verdict::Expired => {
                hit(Mark::Expired);
                self.refuse(token, AppendRefusal::Expired);
            }
        }
        None
    }

    /// Of a request that is in the log: held until its entry is committed; if it is, answered in this
    /// very step.
    fn answer_again(&mut self, token: AppendToken, answer: Answer) {
        let is_committed = answer.index <= self.raft.log().commit_index();
        hit(if is_committed { Mark::AnsweredAgain } else { Mark::KnownNotCommitted });
        self.proposals.wait_for_commit(token, answer);
        self.answer_committed();
    }

    /// Judges a request by those of the same client that go into the same entry, if there are any.
    fn look_up_folded(
        request: &AppendRequest,
        index: Index,
        folded: &[Request],
    ) -> Option<Verdict> {
        let of_client = || folded.iter().filter(|other| other.client == request.client);
        let expected = of_client().next_back()?.seq.next();
        if request.seq == expected {
            return Some(Verdict::New);
        }
        if request.seq > expected {
            return Some(Verdict::Gap { expected });
        }
        let same = of_client().find(|other| other.seq == request.seq)?;
        let count = u32::try_from(same.count()).expect("bounded by the limits");
        let Request { seq, first_offset: offset, .. } = *same;
        Some(Verdict::Known(Answer { seq, index, offset, count }))
    }

    pub(super) fn answer_committed(&mut self) {
        let through = self.raft.log().commit_index();
        for (token, answer) in self.proposals.committed(through) {
            let appended = Appended {
                offset: answer.offset,
                count: answer.count,
                term: self.raft.log().id_at(answer.index).term,
                index: answer.index,
                leader: self.raft.id(),
            };
            self.actions.push(Action::Append { token, result: Ok(appended) });
        }
    }

    fn refuse(&mut self, token: AppendToken, refusal: AppendRefusal) {
        self.actions.push(Action::Append { token, result: Err(refusal) });
    }

    fn not_leader(&self) -> AppendRefusal {
        AppendRefusal::NotLeader { leader: self.raft.leader() }
    }

    /// Nothing new is taken: whatever waits is answered.
    fn turn_away(&mut self) {
        while let Some(waiting) = self.proposals.next_within(usize::MAX) {
            self.turn_one_away(&waiting);
        }
    }

    /// What is in the log is answered as ever; anything else has to wait until there is room.
    fn turn_one_away(&mut self, waiting: &Waiting) {
        let Some((node, full)) = self.raft.full_node() else { return };
        let Waiting { token, request, .. } = waiting;
        match self.tail.look_up(request.client, request.seq, request.began_at) {
            Verdict::Known(answer) => self.answer_again(*token, answer),
            Verdict::New | Verdict::Gap { .. } | Verdict::Expired => {
                hit(Mark::RefusedDiskFull);
                self.refuse(*token, AppendRefusal::DiskFull { node, full });
            }
        }
    }

    /// A leader that stepped down owes its clients an answer: those that it never proposed go
    /// elsewhere, of the others it does not know.
    pub(super) fn abandon_unless_leader_of(&mut self, term: Term) {
        if self.is_leader() && self.raft.current_term() == term {
            return;
        }
        let (never, proposed) = self.proposals.abandon();
        let not_leader = self.not_leader();
        for token in never {
            self.refuse(token, not_leader.clone());
        }
        for token in proposed {
            hit(Mark::Abandoned);
            self.refuse(token, AppendRefusal::Unknown);
        }
    }
}
