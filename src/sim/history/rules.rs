//! Each rule, broken by hand, and the nearest history that keeps it.

use super::{FinalLog, History, ReadSeen, Rule, TailSeen};
use crate::sim::model::{Placed, RecordHash};
use crate::types::{ClientId, Index, LogId, LogNumber, NodeId, Offset, Seq, Term};
use crate::wire::api::{Appended, Read, ReadFrom};

fn records(client: u128, seq: u64, count: u64) -> Vec<RecordHash> {
    (0..count).map(|n| RecordHash::of(format!("{client}/{seq}/{n}").as_bytes())).collect()
}

/// A log, and what clients saw of it.
#[derive(Clone)]
struct Case {
    history: History,
    log: Vec<Placed>,
    whole: bool,
}

impl Case {
    /// A log with these requests, two records each.
    fn of(requests: &[(u128, u64)]) -> Self {
        let placed = |(number, (client, seq)): (u64, &(u128, u64))| Placed {
            entry: LogId::new(Index::new(number / 2 + 1), Term::new(1)),
            log: LogNumber::MAIN,
            client: ClientId::new(*client),
            seq: Seq::new(*seq),
            offset: Offset::new(2 * number),
            records: records(*client, *seq, 2),
            command: None,
            fence: None,
        };
        let log = (0..).zip(requests).map(placed).collect();
        Self { history: History::default(), log, whole: true }
    }

    fn asked(mut self, client: u128, seq: u64, at: u64) -> Self {
        let id = (ClientId::new(client), Seq::new(seq));
        self.history.append(at, id, records(client, seq, 2));
        self
    }

    /// An acknowledgement of what stands at this place of the log.
    fn told(mut self, client: u128, seq: u64, at: u64, place: u64) -> Self {
        let appended = Appended {
            offset: Offset::new(2 * place),
            count: 2,
            term: Term::new(1),
            index: Index::new(place / 2 + 1),
            leader: NodeId::new(1).unwrap(),
        };
        self.history.acknowledged(at, (ClientId::new(client), Seq::new(seq)), appended);
        self
    }

    /// Asked and acknowledged, as the log has it.
    fn done(self, client: u128, seq: u64, (asked, told): (u64, u64)) -> Self {
        let place = self
            .log
            .iter()
            .position(|p| (p.client, p.seq) == (ClientId::new(client), Seq::new(seq)));
        self.asked(client, seq, asked).told(client, seq, told, place.unwrap() as u64)
    }

    /// A read from an offset on that shows so many records of the log.
    fn read(mut self, times: (u64, u64), from: u64, count: usize) -> Self {
        let first = usize::try_from(from).unwrap();
        let all = self.log.iter().flat_map(|placed| placed.records.clone());
        let records = all.skip(first).take(count).collect();
        self.history.read(read(times, ReadFrom::Offset(Offset::new(from)), from, records));
        self
    }

    fn tail(mut self, (invoked, returned): (u64, u64), linearizable: bool, end: u64) -> Self {
        let end = Offset::new(end);
        self.history.tail(TailSeen { invoked, returned, session: None, linearizable, end });
        self
    }

    fn change(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    fn last_read(&mut self) -> &mut ReadSeen {
        self.history.reads.last_mut().unwrap()
    }

    #[track_caller]
    fn holds(self) -> Self {
        let log = FinalLog { requests: &self.log, whole: self.whole };
        self.history.check(log).unwrap();
        self
    }

    #[track_caller]
    fn breaks(self, rule: Rule, expected: &str) {
        let log = FinalLog { requests: &self.log, whole: self.whole };
        let anomaly = self.history.check(log).expect_err("nothing wrong was seen");
        assert_eq!(anomaly.rule, rule, "{anomaly}");
        assert!(anomaly.to_string().contains(expected), "{anomaly}");
    }
}

fn read(
    (invoked, returned): (u64, u64),
    from: ReadFrom,
    first: u64,
    records: Vec<RecordHash>,
) -> ReadSeen {
    let log = LogNumber::MAIN;
    let read = Read { log, from, limit: None, linearizable: true, follow: false, inquiry: None };
    ReadSeen { invoked, returned, session: None, read, first: Offset::new(first), records }
}

/// Two requests, one after the other, and a third of another client beside both.
fn three() -> Case {
    Case::of(&[(1, 1), (2, 1), (1, 2)]).done(1, 1, (0, 10)).done(2, 1, (5, 25)).done(1, 2, (20, 30))
}

#[test]
fn a1_the_log_has_nothing_twice_and_no_gap() {
    let twice = |case: &mut Case| {
        let mut again = case.log[0].clone();
        again.offset = Offset::new(6);
        case.log.push(again);
    };
    three().holds().change(twice).breaks(Rule::A1, "is at offset 0 and at offset 6");
    let gap = |case: &mut Case| case.log[2].offset = Offset::new(5);
    three().change(gap).breaks(Rule::A1, "is at offset 5, and 4 is next");
    let overlap = |case: &mut Case| case.log[1].offset = Offset::new(1);
    three().change(overlap).breaks(Rule::A1, "is at offset 1, and 2 is next");
    let empty = |case: &mut Case| case.log[2].records.clear();
    three().change(empty).breaks(Rule::A1, "is at offset 4, and 4 is next");
}

#[test]
fn a2_what_was_acknowledged_is_where_that_said() {
    three().told(1, 1, 40, 0).holds();
    three().told(1, 1, 40, 1).breaks(Rule::A2, "was acknowledged at offsets 0 to 2");
    let elsewhere = Case::of(&[(1, 1), (2, 1)]).asked(1, 1, 0).asked(2, 1, 0);
    elsewhere.clone().told(2, 1, 10, 1).holds();
    elsewhere.told(2, 1, 10, 0).breaks(Rule::A2, "and is at offsets 2 to 4 in entry 1@1");
    let lost = Case::of(&[(1, 1)]).done(1, 1, (0, 10)).asked(2, 1, 0);
    lost.clone().holds().told(2, 1, 10, 1).breaks(Rule::A2, "and is not in the log");
    let other_entry = |case: &mut Case| case.log[2].entry = LogId::new(Index::new(9), Term::new(1));
    three().change(other_entry).breaks(Rule::A2, "and is at offsets 4 to 6 in entry 9@1");
}

#[test]
fn a3_what_failed_for_certain_is_not_there() {
    let id = (ClientId::new(2), Seq::FIRST);
    let failed = |case: &mut Case| case.history.rejected(id);
    Case::of(&[]).asked(2, 1, 0).change(failed).holds();
    let there = Case::of(&[(2, 1)]).asked(2, 1, 0).holds();
    there.change(failed).breaks(Rule::A3, "failed for certain, and is at offset 0");
    three().change(failed).breaks(Rule::A3, "was acknowledged, and failed for certain");
}

#[test]
fn a4_what_is_there_was_asked_for() {
    Case::of(&[(1, 1)]).breaks(Rule::A4, "is at offset 0, and nobody asked for it");
    Case::of(&[(1, 1)]).asked(1, 1, 0).holds();
    let other = |case: &mut Case| case.log[0].records = records(1, 9, 2);
    Case::of(&[(1, 1)]).asked(1, 1, 0).change(other).breaks(Rule::A4, "with other records");
}

#[test]
fn a5_a_read_shows_a_run_of_the_log() {
    let whole = || three().read((50, 60), 1, 5).holds();
    let gap = |case: &mut Case| {
        case.last_read().records.remove(1);
    };
    whole().change(gap).breaks(Rule::A5, "shows another record at offset 2");
    let twice = |case: &mut Case| {
        let first = case.last_read().records[0];
        case.last_read().records.insert(0, first);
    };
    whole().change(twice).breaks(Rule::A5, "shows more than there is: the end is 6");
    let elsewhere = |case: &mut Case| case.last_read().first = Offset::new(2);
    whole().change(elsewhere).breaks(Rule::A5, "was to begin at 1");
    let limited = |limit| move |case: &mut Case| case.last_read().read.limit = Some(limit);
    whole().change(limited(5)).holds();
    whole().change(limited(4)).breaks(Rule::A5, "shows 5 records, and 4 were asked for");
    let torn = three().read((12, 22), 0, 3);
    torn.clone().breaks(Rule::A5, "saw the end at 3, in the middle of a request");
    torn.change(limited(3)).holds();
    three().tail((12, 22), true, 3).breaks(Rule::A5, "saw the end at 3, in the middle");
    three().tail((50, 60), true, 8).breaks(Rule::A5, "saw the end at 8, and it is 6");
}

#[test]
fn a5_the_last_records_are_the_last() {
    let last = |wanted, first, count| {
        three().read((50, 60), first, count).change(move |case| {
            case.last_read().read.from = ReadFrom::Last(wanted);
        })
    };
    last(3, 3, 3).holds();
    last(9, 0, 6).holds();
    last(3, 3, 2).breaks(Rule::A5, "does not show the last 3");
    last(3, 0, 6).breaks(Rule::A5, "does not show the last 3");
    last(2, 3, 2).breaks(Rule::A5, "saw the end at 5, in the middle of a request");
    last(2, 2, 2).breaks(Rule::C, "stands at 4 at most");
}

#[test]
fn a6_an_append_whose_outcome_is_unknown_may_be_there_or_not() {
    let unknown = |log: &[(u128, u64)]| Case::of(log).asked(1, 1, 0).asked(2, 1, 20);
    unknown(&[]).read((0, 30), 0, 0).holds();
    unknown(&[(2, 1), (1, 1)]).holds();
    // Once it is there it has a place in time: after it was asked for, and before it was seen.
    let seen = unknown(&[(1, 1), (2, 1)]).read((5, 10), 0, 2);
    seen.holds();
    let seen_early = unknown(&[(2, 1), (1, 1)]).read((5, 10), 0, 2);
    seen_early.breaks(Rule::C, "request 1 of client");
    let later = unknown(&[(2, 1), (1, 1)]).read((50, 60), 0, 2);
    later.clone().holds().read((70, 80), 0, 4).holds();
}

#[test]
fn c_what_begins_after_an_answer_stands_behind_it() {
    let two = |second| Case::of(&[(2, 1), (1, 1)]).done(1, 1, (0, 10)).done(2, 1, second);
    two((10, 20)).holds();
    two((11, 20)).breaks(Rule::C, "stands at 2 at most and began at 11 us");
    three().read((25, 60), 0, 4).holds();
    three().read((26, 60), 0, 4).holds();
    three().read((31, 60), 0, 4).breaks(Rule::C, "a read of 0 to 4 (31 to 60 us) stands at 4");
    three().read((30, 60), 0, 4).holds();
    let reads = |second| three().read((21, 28), 0, 6).read(second, 0, 4);
    reads((28, 60)).holds();
    reads((29, 60)).breaks(Rule::C, "when a read of 0 to 6 (21 to 28 us) had been answered");
    three().tail((25, 26), true, 6).tail((27, 28), true, 4).breaks(Rule::C, "a look at the end");
    // An append that begins where a read has looked goes behind it.
    Case::of(&[(1, 1)]).asked(1, 1, 5).read((0, 4), 0, 2).breaks(Rule::C, "stands at 2 at most");
    Case::of(&[(1, 1)]).asked(1, 1, 4).read((0, 4), 0, 2).holds();
    // Nothing at or after 2: whatever was answered before must be at most there.
    Case::of(&[(1, 1)]).done(1, 1, (0, 10)).read((20, 30), 2, 0).holds();
    three().read((31, 40), 4, 0).breaks(Rule::C, "stands at 4 at most");
}

#[test]
fn c_a_repeated_request_is_told_again_and_not_made_again() {
    let repeated = three().asked(1, 1, 40).told(1, 1, 50, 0);
    repeated.holds();
}

#[test]
fn d_nothing_stands_behind_what_was_asked_for_later() {
    use super::check::{Layout, check_future, check_real_time, operations};
    let future = |case: &Case| {
        let layout = Layout::of(FinalLog { requests: &case.log, whole: true }).unwrap();
        let operations = operations(&case.history, &layout);
        let (c, d) = (check_real_time(&operations), check_future(&operations));
        assert!(d.is_ok() || c.is_err(), "D follows from C");
        d.err().map(|anomaly| anomaly.to_string())
    };
    assert_eq!(future(&three()), None);
    let read = Case::of(&[(1, 1)]).asked(1, 1, 5).read((0, 4), 0, 2);
    let found = future(&read).unwrap();
    assert!(found.starts_with("D: a read of 0 to 2 (0 to 4 us) was answered at 4 us"), "{found}");
    assert_eq!(future(&Case::of(&[(1, 1)]).asked(1, 1, 5).read((0, 5), 0, 2)), None);
    let append = Case::of(&[(2, 1), (1, 1)]).done(1, 1, (0, 10)).done(2, 1, (11, 20));
    let found = future(&append).unwrap();
    assert!(found.contains("which was asked for at 11 us"), "{found}");
}

#[test]
fn stale_reads_show_the_past_and_never_the_future() {
    let stale = |times, count| {
        three().read(times, 0, count).change(|case| case.last_read().read.linearizable = false)
    };
    stale((50, 60), 0).holds();
    stale((50, 60), 2).holds();
    stale((0, 19), 4).holds();
    stale((0, 19), 6).breaks(Rule::C, "request 2 of client");
    // It shows what is in the log by then, so whoever asks for the newest must see it too.
    stale((26, 27), 6).tail((28, 29), true, 4).breaks(Rule::C, "a look at the end");
    stale((26, 27), 6).tail((28, 29), false, 4).holds();
}

#[test]
fn within_a_session_no_read_shows_less_than_one_before_it() {
    let second = |session, begins| {
        let stale = |case: &mut Case, session| {
            case.last_read().read.linearizable = false;
            case.last_read().session = session;
        };
        three()
            .read((40, 50), 0, 4)
            .change(|case| stale(case, Some(1)))
            .read((begins, 60), 0, 2)
            .change(|case| stale(case, session))
    };
    second(Some(2), 51).holds();
    second(None, 51).holds();
    second(Some(1), 50).holds();
    second(Some(1), 51).breaks(Rule::Session, "shows less than a read of 0 to 4 (40 to 50 us)");
}

#[test]
fn what_lies_beyond_a_log_that_is_not_whole_is_not_judged() {
    let part = || {
        three().read((50, 60), 1, 5).tail((50, 60), true, 6).change(|case| {
            case.log.truncate(2);
            case.whole = false;
        })
    };
    part().holds();
    part().change(|case| case.whole = true).breaks(Rule::A2, "and is not in the log");
    let other = |case: &mut Case| case.last_read().records[1] = RecordHash::of(b"other");
    part().change(other).breaks(Rule::A5, "shows another record at offset 2");
    part().read((50, 60), 0, 2).breaks(Rule::C, "a read of 0 to 2");
}
