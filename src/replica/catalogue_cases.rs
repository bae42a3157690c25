//! Cases of logs: which there are, what each takes, and that nothing of one is another's.

use bytes::Bytes;

use super::border::{Action, Event, ReadAnswer};
use super::cases::{
    NOW, acknowledged, append, first_of_term, from_leader, leader, leader_of_three, one, refused,
};
use super::condition_cases::{commanded, done, of, settle, under};
use super::replica::Replica;
use super::state::State;
use crate::command::{Command, NewLog, Stamp, Turn};
use crate::limits::LOGS_PAGE;
use crate::log_name::LogName;
use crate::log_settings::{Expiry, LogSettings};
use crate::raft::ReadToken;
use crate::types::{Index, LogId, LogNumber, Offset, Timestamp};
use crate::wire::api::{AppendRefusal, ReadRefusal};
use crate::wire::conditions::{Conditions, Obstacle, Unmet};
use crate::wire::standing::{Inquiry, LogState};

pub(super) fn on(log: u32, event: Event) -> Event {
    let Event::Append { token, mut run, records } = event else { unreachable!() };
    run.log = LogNumber::new(log);
    Event::Append { token, run, records }
}

pub(super) fn create(token: u64, seq: u64, name: &str) -> Event {
    commanded(token, seq, Command::create(name.parse::<LogName>().unwrap()))
}

pub(super) fn logs(replica: &Replica, prefix: &str) -> Vec<LogState> {
    let inquiry = Inquiry::Logs { prefix: prefix.to_owned(), after: None };
    replica.standing(LogNumber::MAIN, inquiry).logs
}

/// Name, number and next offset of each log.
fn rows(replica: &Replica) -> Vec<(String, u32, u64)> {
    let row = |log: LogState| (log.name.to_string(), log.number.get(), log.next_offset.get());
    logs(replica, "").into_iter().map(row).collect()
}

fn row(name: &str, number: u32, next_offset: u64) -> (String, u32, u64) {
    (name.to_owned(), number, next_offset)
}

pub(super) fn obstacle_of(action: &Action) -> Obstacle {
    match action {
        Action::Append { result: Err(AppendRefusal::Unmet(unmet)), .. } => unmet.obstacle,
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_log_has_offsets_and_conditions_of_its_own_within_one_entry() {
    let (mut replica, _) = leader();
    let term = replica.raft().current_term();
    replica.handle(NOW, create(1, 1, "a"));
    assert_eq!(settle(&mut replica), [done(1, 1, 0, 2, term)]);
    let expecting = |offset, event| {
        let expect_offset = Some(Offset::new(offset));
        under(Conditions { expect_offset, ..Conditions::default() }, event)
    };
    replica.handle(NOW, append(2, 2, "x"));
    replica.handle(NOW, on(1, append(3, 3, "y")));
    replica.handle(NOW, append(4, 4, "x"));
    replica.handle(NOW, expecting(1, on(1, append(5, 5, "y"))));
    let found = settle(&mut replica);
    let expected = [(2, 2, 0), (3, 3, 0), (4, 4, 1), (5, 5, 1)]
        .map(|(token, seq, offset)| acknowledged(token, one(seq), offset, 3, term));
    assert_eq!(found, expected);
    assert_eq!(rows(&replica), [row("a", 1, 2), row("main", 0, 2)]);
    assert_eq!(replica.reach(LogNumber::new(1)).unwrap().end.next_offset, Offset::new(2));
    assert_eq!(
        replica.take_changed_logs().into_iter().map(LogNumber::get).collect::<Vec<_>>(),
        [0, 1]
    );
}

#[test]
fn a_log_that_is_closed_or_deleted_takes_nothing_and_its_number_is_never_given_again() {
    let (mut replica, _) = leader();
    replica.handle(NOW, create(1, 1, "a"));
    replica.handle(NOW, on(1, append(2, 2, "x")));
    settle(&mut replica);
    replica.handle(NOW, on(1, commanded(3, 3, Command::Close(Box::default()))));
    // Before the closing is committed, too.
    replica.handle(NOW, on(1, append(4, 4, "y")));
    let found = settle(&mut replica);
    assert_eq!(obstacle_of(&found[1]), Obstacle::Closed);
    assert!(logs(&replica, "a")[0].closed);
    replica.handle(NOW, on(1, commanded(5, 4, Command::Delete)));
    replica.handle(NOW, on(1, append(6, 5, "z")));
    let found = settle(&mut replica);
    assert_eq!(obstacle_of(&found[1]), Obstacle::NoLog);
    assert_eq!(replica.reach(LogNumber::new(1)), Err(ReadRefusal::UnknownLog));
    // One that was not given yet may come.
    assert_eq!(replica.reach(LogNumber::new(2)), Err(ReadRefusal::Busy));
    replica.handle(NOW, create(7, 5, "a"));
    settle(&mut replica);
    assert_eq!(rows(&replica), [row("a", 2, 0), row("main", 0, 0)]);
    assert_eq!(replica.reach(LogNumber::new(1)), Err(ReadRefusal::UnknownLog));
}

fn trim(token: u64, seq: u64, before: u64) -> Event {
    on(1, commanded(token, seq, Command::Trim(Offset::new(before))))
}

#[test]
fn a_log_begins_where_it_was_trimmed_to_and_never_before_that() {
    let (mut replica, _) = leader();
    replica.handle(NOW, create(1, 1, "a"));
    settle(&mut replica);
    for seq in 2..6 {
        replica.handle(NOW, on(1, append(seq, seq, "x")));
    }
    // Judged by what stands before it in its entry.
    replica.handle(NOW, trim(6, 6, 3));
    settle(&mut replica);
    let start = |replica: &Replica| replica.reach(LogNumber::new(1)).unwrap().start.get();
    assert_eq!((start(&replica), rows(&replica)[0].2), (3, 4));
    replica.handle(NOW, trim(7, 7, 2));
    settle(&mut replica);
    assert_eq!(start(&replica), 3);
    replica.handle(NOW, trim(8, 8, 5));
    let beyond = obstacle_of(&settle(&mut replica)[0]);
    assert_eq!(beyond, Obstacle::Offset { next: Offset::new(4) });
    // It may have nothing left, also when it is closed; and its offsets go on.
    replica.handle(NOW, on(1, commanded(9, 8, Command::Close(Box::default()))));
    settle(&mut replica);
    let (before, from) = (replica.encoded_clients(), replica.tip().id.index.next());
    replica.handle(NOW, trim(10, 9, 4));
    replica.flush();
    replica.tail.truncate(from);
    assert_eq!(replica.encoded_clients(), before);
}

#[test]
fn a_name_that_is_taken_is_refused_with_its_number_and_main_stays() {
    let (mut replica, _) = leader();
    let term = replica.raft().current_term();
    replica.handle(NOW, create(1, 1, "a"));
    replica.handle(NOW, create(2, 2, "a"));
    let found = settle(&mut replica);
    let as_of = LogId::new(Index::new(2), term);
    let obstacle = Obstacle::LogExists { number: LogNumber::new(1) };
    let refusal = AppendRefusal::Unmet(Unmet { as_of, obstacle });
    assert_eq!(found, [done(1, 1, 0, 2, term), refused(2, one(2), refusal)]);
    for command in [Command::Close(Box::default()), Command::Delete] {
        replica.handle(NOW, commanded(3, 2, command));
        assert_eq!(obstacle_of(&settle(&mut replica)[0]), Obstacle::MainStays);
    }
    replica.handle(NOW, on(9, append(4, 2, "x")));
    assert_eq!(obstacle_of(&settle(&mut replica)[0]), Obstacle::NoLog);
}

/// An append with a command beside its record.
pub(super) fn with_record(record: &'static str, event: Event) -> Event {
    let Event::Append { token, mut run, .. } = event else { unreachable!() };
    run.lengths = vec![u32::try_from(record.len()).unwrap()];
    Event::Append { token, run, records: Bytes::from_static(record.as_bytes()) }
}

fn stamped(token: u64, seq: u64, stamp: Stamp) -> Event {
    with_record("x", on(1, commanded(token, seq, Command::Append(stamp.into()))))
}

#[test]
fn a_log_is_made_with_records_and_closed_with_its_last() {
    let (mut replica, _) = leader();
    let term = replica.raft().current_term();
    replica.handle(NOW, with_record("a", create(1, 1, "a")));
    assert_eq!(settle(&mut replica), [acknowledged(1, one(1), 0, 2, term)]);
    let (before, from) = (replica.encoded_clients(), replica.tip().id.index.next());
    let close =
        |token, seq| with_record("z", on(1, commanded(token, seq, Command::Close(Box::default()))));
    replica.handle(NOW, close(2, 2));
    replica.flush();
    assert_eq!(replica.tail.next_offset(LogNumber::new(1)), Offset::new(2));
    replica.tail.truncate(from);
    assert_eq!(replica.encoded_clients(), before);
    assert_eq!(replica.tail.next_offset(LogNumber::new(1)), Offset::new(1));
    let (mut replica, _) = leader();
    replica.handle(NOW, with_record("a", create(1, 1, "a")));
    replica.handle(NOW, close(2, 2));
    replica.handle(NOW, on(1, append(3, 3, "late")));
    let found = settle(&mut replica);
    assert_eq!(found[1], acknowledged(2, one(2), 1, 3, term));
    assert_eq!(obstacle_of(&found[2]), Obstacle::Closed);
    let closed = NewLog { closed: true, ..NewLog::from("b".parse::<LogName>().unwrap()) };
    replica.handle(NOW, commanded(4, 3, Command::create(closed)));
    settle(&mut replica);
    assert_eq!(rows(&replica), [row("a", 1, 2), row("b", 2, 0), row("main", 0, 0)]);
    assert!(logs(&replica, "a")[0].closed && logs(&replica, "b")[0].closed);
}

#[test]
fn a_sequence_word_is_behind_the_last_and_a_producers_request_is_there_once() {
    let (mut replica, _) = leader();
    replica.handle(NOW, create(1, 1, "a"));
    settle(&mut replica);
    let mut next = 1;
    let mut ask = |word: Option<&str>, turn: Option<(u64, u64)>| {
        let turn = turn.map(|(epoch, seq)| {
            let producer = "p".parse().unwrap();
            Turn { producer, epoch, seq }
        });
        let word = word.map(|word| word.parse().unwrap());
        next += 1;
        replica.handle(NOW, stamped(next, next, Stamp { word, turn }));
        match settle(&mut replica).remove(0) {
            Action::Append { result: Ok(_), .. } => None,
            refused => {
                // Its number was not taken.
                next -= 1;
                Some(obstacle_of(&refused))
            }
        }
    };
    let not_behind = Some(Obstacle::WordNotBehind);
    let asked =
        [Some("09"), Some("10"), Some("10"), Some("1"), None, Some("2")].map(|it| ask(it, None));
    assert_eq!(asked, [None, None, not_behind, not_behind, None, None]);
    let out_of_turn = |expected| Some(Obstacle::OutOfTurn { expected });
    let repeated = |last| Some(Obstacle::Repeated { last });
    for (turn, expected) in [
        ((3, 1), out_of_turn(0)),
        ((3, 0), None),
        ((3, 0), repeated(0)),
        ((3, 2), out_of_turn(1)),
        ((3, 1), None),
        ((3, 0), repeated(1)),
        ((2, 2), Some(Obstacle::Superseded { epoch: 3 })),
        ((5, 2), Some(Obstacle::EpochBegins)),
        ((5, 0), None),
        ((3, 2), Some(Obstacle::Superseded { epoch: 5 })),
    ] {
        assert_eq!(ask(None, Some(turn)), expected, "{turn:?}");
    }
    // What is there already is there, whatever word it has.
    assert_eq!(ask(Some("2"), Some((5, 0))), repeated(0));
    assert_eq!(ask(Some("2"), Some((5, 1))), not_behind);
    let offset = |_| Offset::ZERO;
    let inquiry = Inquiry::Producer("p".parse().unwrap());
    let as_of = (Index::ZERO, &offset as &dyn Fn(LogNumber) -> Offset);
    let known = replica.tail.guards().standing(as_of, LogNumber::new(1), inquiry).producers;
    assert_eq!((known[0].epoch, known[0].last_seq, known[0].offset), (5, 1, Some(Offset::new(6))));
}

fn expiring(token: u64, seq: u64, name: &str, expiry: Expiry) -> Event {
    let settings = LogSettings { expiry: Some(expiry), ..LogSettings::default() };
    let new = NewLog { settings, ..NewLog::from(name.parse::<LogName>().unwrap()) };
    with_record("x", commanded(token, seq, Command::create(new)))
}

/// Lets ticks pass, until the leader proposes something of its own accord.
fn ticks_until_expiry(replica: &mut Replica, now: Timestamp) -> u64 {
    let last = replica.tip().id.index;
    for tick in 1..1000 {
        replica.handle(now, Event::Tick { random: 0 });
        if replica.tip().id.index > last {
            return tick;
        }
    }
    panic!("nothing expires");
}

#[test]
fn a_log_is_gone_by_an_entry_when_nobody_has_used_it() {
    let (mut replica, _) = leader();
    replica.handle(NOW, expiring(1, 1, "a", Expiry::Idle { seconds: 1 }));
    settle(&mut replica);
    let log = LogNumber::new(1);
    // A tick takes 10 ms.
    for _ in 0..99 {
        replica.handle(NOW, Event::Tick { random: 0 });
    }
    let read = |token| Event::Read { token: ReadToken(token), log };
    replica.handle(NOW, read(1));
    settle(&mut replica);
    let (before, from) = (replica.encoded_clients(), replica.tip().id.index.next());
    assert_eq!(ticks_until_expiry(&mut replica, NOW), 101);
    // It takes nothing, and who wants to read it waits for what comes of it.
    replica.take_actions();
    replica.handle(NOW, read(2));
    let busy = Action::Read { token: ReadToken(2), answer: ReadAnswer::Busy };
    assert_eq!(replica.take_actions(), [busy]);
    replica.handle(NOW, on(1, append(2, 2, "late")));
    replica.flush();
    assert_eq!(replica.tail.next_offset(log), Offset::ZERO);
    let mut cut = replica.tail.clone();
    cut.truncate(from);
    assert_eq!((cut.next_offset(log), cut.state_with_tail().encode()), (Offset::new(1), before));
}

#[test]
fn what_has_expired_is_gone_for_everybody_and_its_name_is_free() {
    let (mut replica, _) = leader();
    let soon = Timestamp::new(NOW.get() + 300);
    replica.handle(NOW, expiring(1, 1, "a", Expiry::At(soon)));
    settle(&mut replica);
    replica.take_changed_logs();
    for _ in 0..50 {
        // Time of day does not pass with ticks.
        replica.handle(NOW, Event::Tick { random: 0 });
    }
    settle(&mut replica);
    assert_eq!(rows(&replica), [row("a", 1, 1), row("main", 0, 0)]);
    ticks_until_expiry(&mut replica, soon);
    settle(&mut replica);
    assert_eq!(rows(&replica), [row("main", 0, 0)]);
    assert_eq!(replica.reach(LogNumber::new(1)), Err(ReadRefusal::UnknownLog));
    assert!(replica.take_changed_logs().contains(&LogNumber::new(1)));
    replica.handle(NOW, create(2, 2, "a"));
    settle(&mut replica);
    assert_eq!(rows(&replica), [row("a", 2, 0), row("main", 0, 0)]);
}

#[test]
fn a_log_that_is_created_and_cut_was_never_there() {
    let mut replica = leader_of_three();
    replica.handle(NOW, create(1, 1, "a"));
    replica.flush();
    replica.handle(NOW, on(1, append(2, 2, "x")));
    replica.flush();
    assert_ne!(replica.encoded_clients(), State::default().encode());
    replica.take_actions();
    replica.handle(NOW, from_leader(9, &[first_of_term(9)]));
    assert_eq!(replica.encoded_clients(), State::default().encode());
}

#[test]
fn what_is_known_of_a_log_goes_with_it_and_comes_back_with_a_cut() {
    let (mut replica, _) = leader();
    replica.handle(NOW, create(1, 1, "a"));
    replica.handle(NOW, on(1, commanded(2, 2, Command::Fence("f".parse().ok()))));
    settle(&mut replica);
    replica.handle(NOW, on(1, of(8, commanded(3, 1, Command::Open("p".parse().unwrap())))));
    replica.handle(NOW, on(1, of(8, append(4, 2, "x"))));
    settle(&mut replica);
    let (before, from) = (replica.tail.clone(), replica.tip().id.index.next());
    let known = |replica: &Replica| {
        let (guards, offset) = (replica.tail.guards(), |_| Offset::ZERO);
        let inquire = |it| guards.standing((Index::ZERO, &offset), LogNumber::new(1), it);
        (inquire(Inquiry::Producers).producers.len(), inquire(Inquiry::Fence).fence.is_some())
    };
    assert_eq!(known(&replica), (1, true));
    replica.handle(NOW, on(1, commanded(5, 3, Command::Delete)));
    replica.flush();
    assert_eq!(known(&replica), (0, false));
    assert_eq!(replica.tail.next_offset(LogNumber::new(1)), Offset::ZERO);
    let state = State::decode(&replica.encoded_clients()).unwrap();
    assert_eq!(state.encode(), replica.encoded_clients());
    replica.tail.truncate(from);
    assert_eq!(known(&replica), (1, true));
    assert_eq!(replica.tail.next_offset(LogNumber::new(1)), Offset::new(1));
    assert_eq!(replica.encoded_clients(), before.state_with_tail().encode());
}

#[test]
fn logs_are_listed_by_name_a_page_at_a_time() {
    let (mut replica, _) = leader();
    for number in 0..LOGS_PAGE as u64 {
        replica.handle(NOW, create(1, number + 1, &format!("x/{number:04}")));
        settle(&mut replica);
    }
    let page = |prefix: &str, after: Option<&str>| {
        let after = after.map(|name| name.parse().unwrap());
        let inquiry = Inquiry::Logs { prefix: prefix.to_owned(), after };
        let logs = replica.standing(LogNumber::MAIN, inquiry).logs;
        let ends = logs.first().zip(logs.last());
        (logs.len(), ends.map(|(first, last)| (first.name.to_string(), last.name.to_string())))
    };
    let ends = |first: &str, last: &str| Some((first.to_owned(), last.to_owned()));
    assert_eq!(page("", None), (LOGS_PAGE, ends("main", "x/0998")));
    assert_eq!(page("", Some("x/0998")), (1, ends("x/0999", "x/0999")));
    assert_eq!(page("x/001", None), (10, ends("x/0010", "x/0019")));
    assert_eq!(page("x/001", Some("x/0015")), (4, ends("x/0016", "x/0019")));
    assert_eq!(page("x/001", Some("a")), (10, ends("x/0010", "x/0019")));
    assert_eq!(page("y", None), (0, None));
}

#[test]
fn the_head_of_a_segment_has_the_logs_and_golden_bytes() {
    let (mut replica, _) = leader();
    replica.handle(NOW, create(1, 1, "a/b"));
    replica.handle(NOW, on(1, commanded(2, 2, Command::Close(Box::default()))));
    settle(&mut replica);
    let state = State::decode(&replica.encoded_clients()).unwrap();
    let bytes = postcard::to_stdvec(&state.guards.catalogue).unwrap();
    assert_eq!(
        bytes,
        b"\x02\x00\x04main\x00\x00\x00\x00\x00\x00\x00\x00\x00\
          \x01\x03a/b\x00\x00\x00\x00\x00\x01\x00\x00\x00\x02"
    );
    assert_eq!(
        State::default().encode(),
        b"\x08\x00\x00\x01\x00\x04main\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00"
    );
}
