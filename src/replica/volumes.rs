//! What logs with a retention hold: as much of it as says what may go.
//!
//! For each such log a few *marks* are kept, each an offset with the time and the bytes of what comes before
//! it. A mark is made when an eighth of what is to be kept has come since the last one. So what is trimmed is
//! never more than the retention allows, and what is left is at most an eighth more, and what comes until
//! somebody looks. A function of the entries, equal on all nodes at equal indexes, and in the heads of
//! segments.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use crate::command::Command;
use crate::entry::Logged;
use crate::housekeeping::Housekeeping;
use crate::limits::{RETENTION_MARKS_MAX, RETENTION_PARTS};
use crate::mutants::{self, Mutant};
use crate::retention::Retention;
use crate::types::{LogNumber, Offset, Timestamp};

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Volumes {
    of_logs: BTreeMap<LogNumber, Volume>,
}

/// What a log holds, as far as its retention asks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Volume {
    retention: Retention,
    /// Behind its last record.
    end: Mark,
    marks: VecDeque<Mark>,
}

/// The records before an offset: none of them came later, and so many bytes of them were counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    offset: Offset,
    time: Timestamp,
    bytes: u64,
}

impl Volumes {
    /// Takes in a run of an entry of this time.
    pub(super) fn apply(&mut self, Logged { head, bytes, command }: &Logged, time: Timestamp) {
        match command.as_deref() {
            Some(Command::Create(new)) => {
                self.set(head.log, new.settings.retention, (head.first_offset, time));
            }
            Some(Command::Configure(retention)) => {
                self.set(head.log, *retention, (head.first_offset, time));
            }
            Some(Command::Delete) => self.forget(head.log),
            Some(Command::Trim(before)) => self.trim(head.log, *before),
            _ => {}
        }
        if let Some(volume) = self.of_logs.get_mut(&head.log)
            && head.records() > 0
        {
            volume.append(head.next_offset(), *bytes, time);
        }
    }

    /// Takes in what a leader has found to be done.
    pub(super) fn keep_house(&mut self, housekeeping: &Housekeeping) {
        housekeeping.trims.iter().for_each(|(log, start)| self.trim(*log, *start));
        housekeeping.expired.iter().for_each(|log| self.forget(*log));
    }

    /// A log that goes on at `next` is kept like this from now on.
    fn set(&mut self, log: LogNumber, retention: Retention, (next, now): (Offset, Timestamp)) {
        if retention.is_all() {
            self.forget(log);
            return;
        }
        let end = Mark { offset: next, time: now, bytes: 0 };
        let volume = self.of_logs.entry(log).or_insert_with(|| Volume { end, ..Volume::default() });
        volume.retention = retention;
    }

    /// A log is deleted, or all of it is kept.
    fn forget(&mut self, log: LogNumber) {
        self.of_logs.remove(&log);
    }

    /// A log begins here.
    fn trim(&mut self, log: LogNumber, start: Offset) {
        if let Some(volume) = self.of_logs.get_mut(&log) {
            volume.marks.retain(|mark| mark.offset >= start);
        }
    }

    /// Of the logs behind this one, so many of them, those of which something may go, with where they may
    /// begin. And the last that was looked at, unless that was the last of all.
    pub(super) fn due(
        &self,
        after: Option<LogNumber>,
        count: usize,
        now: Timestamp,
        start: impl Fn(LogNumber) -> Option<Offset>,
    ) -> (Vec<(LogNumber, Offset)>, Option<LogNumber>) {
        let from = after.map_or(LogNumber::MAIN, LogNumber::next);
        let mut logs = self.of_logs.range(from..).peekable();
        let (mut due, mut last) = (vec![], None);
        for _ in 0..count {
            let Some((log, volume)) = logs.next() else { break };
            due.extend(start(*log).and_then(|start| Some((*log, volume.due(start, now)?))));
            last = logs.peek().map(|_| *log);
        }
        (due, last)
    }
}

impl Volume {
    /// Records were appended: it goes on at `next`.
    fn append(&mut self, next: Offset, bytes: u64, time: Timestamp) {
        let Self { retention, end, marks } = self;
        if marks.back().is_none_or(|last| is_step(*retention, *last, *end)) {
            marks.push_back(*end);
        }
        if marks.len() > RETENTION_MARKS_MAX {
            let mut stays = false;
            marks.retain(|_| {
                stays = !stays;
                stays
            });
        }
        *end = Mark { offset: next, time, bytes: end.bytes + bytes };
    }

    /// Where it may begin, if that is behind where it begins.
    fn due(&self, start: Offset, now: Timestamp) -> Option<Offset> {
        let Self { end, marks, .. } = self;
        let retention = self.kept();
        let marks = || marks.iter().rev();
        let by_age = retention.age_ms.and_then(|age| {
            let is_old = |mark: &&Mark| mark.time.get().saturating_add(age) <= now.get();
            [end].into_iter().chain(marks()).find(is_old)
        });
        let by_bytes =
            retention.bytes.and_then(|bytes| marks().find(|mark| end.bytes - mark.bytes >= bytes));
        let by_count = retention.records.and_then(|count| {
            let most = count.saturating_add(count / RETENTION_PARTS);
            let is_more = end.offset.get() - start.get() > most;
            is_more.then(|| Offset::new(end.offset.get() - count))
        });
        let of_marks = [by_age, by_bytes].into_iter().flatten().map(|mark| mark.offset);
        of_marks.chain(by_count).max().filter(|due| *due > start)
    }
}

impl Volume {
    /// What is kept at least; with a bug, less.
    fn kept(&self) -> Retention {
        let Retention { age_ms, bytes, records } = self.retention;
        if !mutants::is_on(Mutant::TrimEarly) {
            return self.retention;
        }
        let [age_ms, bytes, records] = [age_ms, bytes, records].map(|kept| kept.map(|it| it / 2));
        Retention { age_ms, bytes, records }
    }
}

/// Whether an eighth of what is to be kept has come between two marks.
fn is_step(retention: Retention, last: Mark, end: Mark) -> bool {
    let part = |kept: u64| (kept / RETENTION_PARTS).max(1);
    let of_age = retention.age_ms.is_some_and(|age| end.time.get() - last.time.get() >= part(age));
    of_age || retention.bytes.is_some_and(|bytes| end.bytes - last.bytes >= part(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::RunHead;
    use crate::types::{ClientId, Seq, SeqRange};

    const LOG: LogNumber = LogNumber::new(7);

    /// A log that was created at time 0, to which a record of 10 bytes is appended in each ms.
    struct Grown {
        volumes: Volumes,
        next: u64,
        start: u64,
    }

    impl Grown {
        fn of(retention: Retention) -> Self {
            let mut volumes = Volumes::default();
            volumes.set(LOG, retention, (Offset::ZERO, Timestamp::new(0)));
            Self { volumes, next: 0, start: 0 }
        }

        fn append(&mut self) {
            let head = RunHead {
                log: LOG,
                first_offset: Offset::new(self.next),
                client: ClientId::new(1),
                seqs: SeqRange::one(Seq::FIRST),
                each: 1,
                first_unanswered: Seq::FIRST,
            };
            self.next += 1;
            let logged = Logged { head, bytes: 10, command: None };
            self.volumes.apply(&logged, Timestamp::new(self.next));
        }

        fn due(&self, now: u64) -> Option<u64> {
            let (due, last) =
                self.volumes.due(None, 9, Timestamp::new(now), |_| Some(Offset::new(self.start)));
            assert_eq!(last, None);
            due.first().map(|(log, start)| {
                assert_eq!(*log, LOG);
                start.get()
            })
        }

        /// Trims what is due. Says how many records are left.
        fn trim(&mut self) -> u64 {
            if let Some(start) = self.due(self.next) {
                assert!(start > self.start);
                self.start = start;
                self.volumes.trim(LOG, Offset::new(start));
            }
            self.next - self.start
        }
    }

    /// How many records are left at least and at most, once there are many.
    fn left(retention: Retention, look_every: u64) -> (u64, u64) {
        let mut grown = Grown::of(retention);
        let mut bounds = (u64::MAX, 0);
        for count in 1..5_000 {
            grown.append();
            if count % look_every == 0 {
                let left = grown.trim();
                if count > 2_500 {
                    bounds = (bounds.0.min(left), bounds.1.max(left));
                }
            }
            let marks = grown.volumes.of_logs[&LOG].marks.len();
            assert!(marks <= RETENTION_MARKS_MAX, "{marks} marks");
        }
        bounds
    }

    #[test]
    fn so_much_is_left_and_an_eighth_more_at_most() {
        let all = Retention::ALL;
        let bytes = Retention { bytes: Some(8_000), ..all };
        let (least, most) = left(bytes, 1);
        assert!(least >= 800 && most <= 901, "{least} to {most}");
        let age = Retention { age_ms: Some(800), ..all };
        let (least, most) = left(age, 1);
        assert!(least >= 799 && most <= 901, "{least} to {most}");
        let records = Retention { records: Some(800), ..all };
        assert_eq!(left(records, 1), (800, 900));
        // What comes until somebody looks is left as well, and of two limits the closer one counts.
        let (least, most) = left(bytes, 100);
        assert!(least >= 800 && most <= 1_001, "{least} to {most}");
        let (least, most) = left(Retention { bytes: Some(8_000), records: Some(1_600), ..all }, 1);
        assert!(least >= 800 && most <= 901, "{least} to {most}");
    }

    #[test]
    fn the_last_records_get_old_too_and_nothing_goes_early() {
        let mut grown = Grown::of(Retention { age_ms: Some(100), ..Retention::ALL });
        grown.append();
        assert_eq!([100, 101].map(|now| grown.due(now)), [None, Some(1)]);
        grown.start = 1;
        assert_eq!(grown.due(1_000), None);
    }

    #[test]
    fn what_was_there_before_is_as_old_as_the_retention() {
        let mut volumes = Volumes::default();
        let now = |ms| Timestamp::new(ms);
        volumes.set(
            LOG,
            Retention { age_ms: Some(10), ..Retention::ALL },
            (Offset::new(5), now(3)),
        );
        let due = |volumes: &Volumes, ms| {
            volumes.due(None, 9, now(ms), |_| Some(Offset::ZERO)).0.first().map(|it| it.1.get())
        };
        assert_eq!([12, 13].map(|ms| due(&volumes, ms)), [None, Some(5)]);
        volumes.set(
            LOG,
            Retention { records: Some(2), ..Retention::ALL },
            (Offset::new(5), now(4)),
        );
        assert_eq!(due(&volumes, 4), Some(3));
        volumes.set(LOG, Retention::ALL, (Offset::new(5), now(4)));
        assert_eq!(volumes, Volumes::default());
    }

    #[test]
    fn logs_are_looked_at_in_turn() {
        let mut volumes = Volumes::default();
        let retention = Retention { records: Some(1), ..Retention::ALL };
        let log = LogNumber::new;
        for number in [0, 3, 4, 9] {
            volumes.set(log(number), retention, (Offset::new(2), Timestamp::new(1)));
        }
        let due = |after, count| {
            let start = |of| (of != log(3)).then_some(Offset::ZERO);
            let (due, last) = volumes.due(after, count, Timestamp::new(1), start);
            (due.into_iter().map(|(log, _)| log).collect::<Vec<_>>(), last)
        };
        assert_eq!(due(None, 2), (vec![log(0)], Some(log(3))));
        assert_eq!(due(Some(log(3)), 1), (vec![log(4)], Some(log(4))));
        assert_eq!(due(Some(log(4)), 2), (vec![log(9)], None));
    }
}
