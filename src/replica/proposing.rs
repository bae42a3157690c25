//! Appends: what waits is folded into as few entries as possible, and answered when they are committed.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::border::{Action, AppendToken};
use super::proposals::{Asked, Waiting};
use super::refusals::CONFIRMATION;
use super::replica::{AtHand, Replica};
use super::sessions::{Answers, Verdict};
use crate::command::Command;
use crate::entry::{self, EntryKind, Run, RunHead};
use crate::limits;
use crate::marks::{Mark, hit};
use crate::mutants::{self, Mutant};
use crate::raft::Input;
use crate::types::{ClientId, Index, LogId, LogNumber, Offset, Seq, SeqRange, Term};
use crate::wire::api::{AppendRefusal, AppendRun, Appended};
use crate::wire::conditions::{Obstacle, Unmet};

impl Replica {
    /// Folds the append requests that wait into entries, as far as the pipeline has room and this turn
    /// may last. To be called when no more events are at hand; calling it again is harmless.
    pub fn flush(&mut self) {
        if self.raft.full_node().is_some() {
            self.turn_away();
        }
        self.fold_what_waits();
        if self.refusals.begin_round() {
            self.step_with(Input::Read(CONFIRMATION), AtHand::Nothing);
        }
    }

    fn fold_what_waits(&mut self) {
        let mut judged = 0;
        while self.proposals.has_waiting()
            && self.raft.may_propose()
            && self.pipeline_has_room()
            && judged < limits::TURN_VERDICTS_MAX
        {
            self.fold(&mut judged);
        }
    }

    pub(super) fn pipeline_has_room(&self) -> bool {
        let log = self.raft.log();
        log.last().index.since(log.persisted()) < limits::PROPOSALS_IN_FLIGHT_MAX as u64
    }

    pub(super) fn on_append(&mut self, waiting: Waiting) {
        let asked = (waiting.token, waiting.run.seqs);
        if !self.is_leader() {
            hit(Mark::NotLeader);
            return self.refuse(asked, self.not_leader());
        }
        let is_valid = waiting.run.is_within_limits()
            && (Seq::FIRST..=waiting.run.seqs.first).contains(&waiting.run.first_unanswered);
        if !is_valid {
            return self.refuse(asked, AppendRefusal::Invalid);
        }
        if self.raft.full_node().is_some() && !waiting.frees_space() {
            return self.turn_one_away(&waiting);
        }
        if !self.proposals.admit(waiting, self.options.proposals_bytes_max) {
            hit(Mark::Busy);
            self.refuse(asked, AppendRefusal::Busy);
        }
    }

    /// Folds what waits into one entry, and proposes it. Counts verdicts.
    fn fold(&mut self, judged: &mut usize) {
        let mut room = limits::ENTRY_PAYLOAD_BYTES_MAX - 4;
        let mut folded = Folded {
            index: self.raft.log().last().index.next(),
            runs: vec![],
            answers: BTreeMap::new(),
            next_offsets: BTreeMap::new(),
        };
        while folded.runs.len() < limits::ENTRY_RUNS_MAX && *judged < limits::TURN_VERDICTS_MAX {
            let Some(mut waiting) = self.proposals.next_within(room) else { break };
            let bytes = waiting.payload_bytes();
            let new = self.judge(&waiting, &folded, judged);
            if new.count == 0 {
                continue;
            }
            waiting.skip_to(new);
            let run = self.take_new(waiting, &folded);
            room -= bytes;
            let has_command = !run.command.is_empty();
            folded.push(run);
            if has_command {
                // What comes behind it is judged by what it changes.
                break;
            }
        }
        self.propose(&folded.runs);
    }

    fn propose(&mut self, runs: &[Run]) {
        if runs.is_empty() {
            return;
        }
        if runs.len() > 1 || runs.iter().any(|run| run.head.seqs.count > 1) {
            hit(Mark::Folded);
        }
        self.propose_entry(EntryKind::Records, entry::encode_runs(runs));
    }

    /// Proposes an entry with this payload.
    pub(super) fn propose_entry(&mut self, kind: EntryKind, payload: Bytes) {
        let bytes = u32::try_from(entry::HEADER_BYTES + payload.len()).expect("bounded");
        self.step_with(Input::Propose { bytes }, AtHand::Folded(kind, payload));
    }

    /// Judges the next run, piece by piece: what is in the log waits for the entry that has it, what
    /// nobody can take is refused. Gives what is new, which goes into the entry that is being folded.
    fn judge(&mut self, waiting: &Waiting, folded: &Folded, judged: &mut usize) -> SeqRange {
        let token = waiting.token;
        let mut left = waiting.run.seqs;
        while left.count > 0 {
            *judged += 1;
            let count = match self.look_up(&waiting.run, left, folded.of(waiting.run.client)) {
                Verdict::New => match self.unmet(&waiting.run, left, folded) {
                    None => return left,
                    Some(unmet) => {
                        self.refuse_for_now((token, left), unmet);
                        left.count
                    }
                },
                Verdict::Known(answers) => {
                    let answers = judged_by_first(answers, left);
                    if answers.seqs.count < left.count {
                        hit(Mark::CutOtherwise);
                    }
                    if !waiting.run.conditions.is_empty() {
                        hit(Mark::ConditionKnown);
                    }
                    self.answer_again(token, answers);
                    answers.seqs.count
                }
                Verdict::Gap { expected } => {
                    hit(Mark::Gap);
                    self.refuse((token, left), AppendRefusal::Gap { expected });
                    left.count
                }
                Verdict::Expired { count } => {
                    hit(Mark::Expired);
                    self.refuse((token, left.take(count)), AppendRefusal::Expired);
                    count
                }
            };
            assert!(count > 0, "a verdict is on one request at least");
            left = left.skip(count);
        }
        left
    }

    /// Which condition does not hold for the requests that are left, at the end of what is folded.
    fn unmet(&self, run: &AppendRun, left: SeqRange, folded: &Folded) -> Option<Unmet> {
        let guarded =
            self.tail.guards().obstacle(run, self.now).filter(|it| !self.is_missed(run, it));
        let of_offsets = || self.beyond_end(run, folded);
        let obstacle =
            guarded.or_else(|| self.other_offset(run, left, folded)).or_else(of_offsets)?;
        Some(Unmet { as_of: self.end_with(folded), obstacle })
    }

    /// With a bug, an obstacle that is not committed is missed.
    fn is_missed(&self, run: &AppendRun, obstacle: &Obstacle) -> bool {
        let missed = match obstacle {
            Obstacle::NoLog | Obstacle::Closed => Mutant::ClosedCommitted,
            _ => Mutant::FenceCommitted,
        };
        mutants::is_on(missed) && self.tail.committed_guards().obstacle(run, self.now).is_none()
    }

    fn other_offset(&self, run: &AppendRun, left: SeqRange, folded: &Folded) -> Option<Obstacle> {
        let before = left.first.since(run.seqs.first) * u64::from(run.each());
        let expected = run.conditions.after(before).expect_offset?;
        let next = self.next_offset(run.log, folded);
        let is_late = mutants::is_on(Mutant::ExpectCommitted)
            && expected == self.tail.committed_offset(run.log);
        (expected != next && !is_late).then_some(Obstacle::Offset { next })
    }

    /// A log cannot begin behind its end, and cannot be forked there.
    fn beyond_end(&self, run: &AppendRun, folded: &Folded) -> Option<Obstacle> {
        let command = run.command.as_ref()?;
        let (log, offset) = match (command, command.origin()) {
            (Command::Trim(before), _) => (run.log, *before),
            (_, Some(origin)) => (origin.source, origin.at),
            _ => return None,
        };
        let next = self.next_offset(log, folded);
        (offset > next).then_some(Obstacle::Offset { next })
    }

    /// What the log ends with as soon as this is proposed.
    fn end_with(&self, folded: &Folded) -> LogId {
        if folded.runs.is_empty() {
            self.raft.log().last()
        } else {
            LogId::new(folded.index, self.raft.current_term())
        }
    }

    /// Holds a refusal back until it is certain.
    fn refuse_for_now(&mut self, asked: Asked, unmet: Unmet) {
        hit(Mark::Unmet);
        if mutants::is_on(Mutant::RefuseAtOnce) {
            return self.refuse(asked, AppendRefusal::Unmet(unmet));
        }
        self.refusals.hold(asked, unmet);
    }

    /// A round of heartbeats has ended that began after refusals were judged.
    pub(super) fn on_confirmed(&mut self, read_index: Option<Index>) {
        // None: this node leads no more, and has abandoned all of them.
        if read_index.is_some() {
            self.refusals.confirm();
            self.answer_refused();
        }
    }

    pub(super) fn answer_refused(&mut self) {
        let committed = self.raft.log().commit_index();
        for (asked, unmet) in self.refusals.take_certain(committed) {
            self.refuse(asked, AppendRefusal::Unmet(unmet));
        }
    }

    fn look_up(&self, run: &AppendRun, left: SeqRange, folded: &VecDeque<Answers>) -> Verdict {
        self.tail.look_up(run.client, left, run.began_at, folded)
    }

    /// Which log a run is about: the number of one that is created is given here.
    fn log_of(&self, run: &AppendRun) -> LogNumber {
        match run.command {
            Some(Command::Create(_)) => self.tail.guards().catalogue.next(),
            _ => run.log,
        }
    }

    /// Where a log goes on behind what is folded.
    fn next_offset(&self, log: LogNumber, folded: &Folded) -> Offset {
        if mutants::is_on(Mutant::LogsShareOffsets)
            && let Some((_, offset)) = folded.next_offsets.last_key_value()
        {
            return *offset;
        }
        folded.next_offsets.get(&log).copied().unwrap_or_else(|| self.tail.next_offset(log))
    }

    /// The run goes into the entry that is being folded.
    fn take_new(&mut self, waiting: Waiting, folded: &Folded) -> Run {
        let log = self.log_of(&waiting.run);
        let origin = waiting.run.command.as_ref().and_then(Command::origin);
        let first_offset = origin.map_or_else(|| self.next_offset(log, folded), |origin| origin.at);
        let index = folded.index;
        let each = waiting.run.each();
        let Waiting { token, run, records } = waiting;
        let AppendRun { client, seqs, first_unanswered, lengths, command, .. } = run;
        let head = RunHead { log, first_offset, client, seqs, each, first_unanswered };
        self.proposals.wait_for_commit(token, Answers::of(&head, index));
        Run::of_records(head, lengths, records).asking(command.as_ref())
    }

    /// Of requests that are in the log: held until their entry is committed; if it is, answered in
    /// this very step.
    fn answer_again(&mut self, token: AppendToken, answers: Answers) {
        let is_committed = answers.index <= self.raft.log().commit_index();
        hit(if is_committed { Mark::AnsweredAgain } else { Mark::KnownNotCommitted });
        self.proposals.wait_for_commit(token, answers);
        self.answer_committed();
    }

    pub(super) fn answer_committed(&mut self) {
        let through = self.raft.log().commit_index();
        for (token, answers) in self.proposals.committed(through) {
            let appended = Appended {
                offset: answers.offset,
                count: answers.each,
                term: self.raft.log().id_at(answers.index).term,
                index: answers.index,
                leader: self.raft.id(),
            };
            let seqs = answers.seqs;
            self.actions.push(Action::Append { token, seqs, result: Ok(appended) });
        }
    }

    fn refuse(&mut self, (token, seqs): Asked, refusal: AppendRefusal) {
        self.actions.push(Action::Append { token, seqs, result: Err(refusal) });
    }

    fn not_leader(&self) -> AppendRefusal {
        AppendRefusal::NotLeader { leader: self.raft.leader() }
    }

    /// Nothing new is taken: whatever waits is answered.
    fn turn_away(&mut self) {
        for waiting in self.proposals.take_all_but(Waiting::frees_space) {
            self.turn_one_away(&waiting);
        }
    }

    /// What is in the log is answered as ever; anything else has to wait until there is room.
    fn turn_one_away(&mut self, waiting: &Waiting) {
        let Some((node, full)) = self.raft.full_node() else { return };
        let token = waiting.token;
        let mut left = waiting.run.seqs;
        while left.count > 0 {
            let count = match self.look_up(&waiting.run, left, &VecDeque::new()) {
                Verdict::Known(answers) => {
                    self.answer_again(token, answers);
                    answers.seqs.count
                }
                Verdict::New | Verdict::Gap { .. } | Verdict::Expired { .. } => {
                    hit(Mark::RefusedDiskFull);
                    self.refuse((token, left), AppendRefusal::DiskFull { node, full });
                    left.count
                }
            };
            left = left.skip(count);
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
        let refused = self.refusals.abandon();
        if !refused.is_empty() {
            hit(Mark::RefusalAbandoned);
        }
        for asked in never.into_iter().chain(refused) {
            self.refuse(asked, not_leader.clone());
        }
        for asked in proposed {
            hit(Mark::Abandoned);
            self.refuse(asked, AppendRefusal::Unknown);
        }
    }
}

/// What goes into one entry.
struct Folded {
    /// The entry's index.
    index: Index,
    runs: Vec<Run>,
    /// Their answers, by client.
    answers: BTreeMap<ClientId, VecDeque<Answers>>,
    /// Where the logs go on that it has records of.
    next_offsets: BTreeMap<LogNumber, Offset>,
}

/// Nothing, for clients of which nothing is folded.
static NONE: VecDeque<Answers> = VecDeque::new();

impl Folded {
    fn of(&self, client: ClientId) -> &VecDeque<Answers> {
        self.answers.get(&client).unwrap_or(&NONE)
    }

    fn push(&mut self, run: Run) {
        let answers = Answers::of(&run.head, self.index);
        self.next_offsets.insert(run.head.log, run.head.next_offset());
        self.answers.entry(run.head.client).or_default().push_back(answers);
        self.runs.push(run);
    }
}

/// The answers to the first of these requests; with the bug, to all of them.
fn judged_by_first(answers: Answers, seqs: SeqRange) -> Answers {
    if mutants::is_on(Mutant::JudgeRunByFirst) { Answers { seqs, ..answers } } else { answers }
}
