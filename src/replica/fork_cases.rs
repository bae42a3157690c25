//! Cases of forks: what they have of their sources, what stays for them, and what goes with them.

use super::border::Event;
use super::cases::{NOW, append, leader};
use super::catalogue_cases::{create, logs, obstacle_of, on, with_record};
use super::condition_cases::{commanded, settle};
use super::replica::Replica;
use super::state::State;
use crate::command::{Command, NewLog, Origin};
use crate::limits::FORK_DEPTH_MAX;
use crate::log_name::LogName;
use crate::types::{LogNumber, Offset};
use crate::wire::api::ReadRefusal;
use crate::wire::conditions::Obstacle;

/// A leader, and the number of its client's next request.
struct Led(Replica, u64);

impl Led {
    /// Of a log 1, named `a`, of this many records.
    fn of(records: u64) -> Self {
        let mut led = Self(leader().0, 1);
        led.done(|seq| create(seq, seq, "a"));
        for _ in 0..records {
            led.append(1);
        }
        led
    }

    fn done(&mut self, event: impl Fn(u64) -> Event) {
        assert_eq!(self.refused(event), None);
    }

    fn refused(&mut self, event: impl Fn(u64) -> Event) -> Option<Obstacle> {
        self.0.handle(NOW, event(self.1));
        let found = settle(&mut self.0).remove(0);
        if matches!(found, super::Action::Append { result: Ok(_), .. }) {
            self.1 += 1;
            return None;
        }
        Some(obstacle_of(&found))
    }

    fn append(&mut self, log: u32) {
        self.done(|seq| on(log, append(seq, seq, "x")));
    }

    fn command(&mut self, log: u32, command: &Command) {
        self.done(|seq| on(log, commanded(seq, seq, command.clone())));
    }

    fn fork(&mut self, name: &str, source: u32, at: u64) {
        self.done(|seq| fork(seq, name, source, at));
    }

    /// Of each log its name, where it begins and ends, whether it is deleted, and its forks.
    fn rows(&self) -> Vec<(String, u64, u64, bool, u32)> {
        let all = logs(&self.0, "").into_iter().filter(|log| log.number != LogNumber::MAIN);
        let row = |log: crate::wire::standing::LogState| {
            let (start, next) = (log.start_offset.get(), log.next_offset.get());
            (log.name.to_string(), start, next, log.deleted, log.forks)
        };
        all.map(row).collect()
    }

    /// The first of a log's own records that is live.
    fn live_from(&self, log: u32) -> Option<u64> {
        let catalogue = &self.0.tail.committed_guards().catalogue;
        catalogue.live_from(LogNumber::new(log)).map(Offset::get)
    }

    /// Whose record a log has at an offset.
    fn owner(&self, log: u32, offset: u64) -> u32 {
        let log = LogNumber::new(log);
        let lineage = self.0.reach(log).unwrap().lineage;
        lineage.find(log, Offset::new(offset)).0.get()
    }

    /// What is derived of the catalogue is so after a restart.
    fn check_derived(&self) {
        let encoded = self.0.encoded_clients();
        let state = State::decode(&encoded).unwrap();
        assert_eq!(state.guards.catalogue, self.0.tail.guards().catalogue);
    }
}

fn fork(seq: u64, name: &str, source: u32, at: u64) -> Event {
    let origin = Some(Origin { source: LogNumber::new(source), at: Offset::new(at), part: 0 });
    let new = NewLog { origin, ..NewLog::from(name.parse::<LogName>().unwrap()) };
    on(source, commanded(seq, seq, Command::create(new)))
}

fn row(
    name: &str,
    (start, next): (u64, u64),
    deleted: bool,
    forks: u32,
) -> (String, u64, u64, bool, u32) {
    (name.to_owned(), start, next, deleted, forks)
}

#[test]
fn a_fork_goes_on_with_its_sources_offsets_and_is_a_log_of_its_own() {
    let mut led = Led::of(4);
    led.fork("b", 1, 3);
    led.append(1);
    led.done(|seq| with_record("body", fork(seq, "c", 1, 4)));
    led.append(2);
    assert_eq!(
        led.rows(),
        [row("a", (0, 5), false, 2), row("b", (0, 4), false, 0), row("c", (0, 5), false, 0)]
    );
    let owners = |led: &Led, log| (0..6).map(|at| led.owner(log, at)).collect::<Vec<_>>();
    assert_eq!(owners(&led, 2), [1, 1, 1, 2, 2, 2]);
    assert_eq!(owners(&led, 3), [1, 1, 1, 1, 3, 3]);
    assert_eq!(owners(&led, 1), [1; 6]);
    // A fork of a fork, before it left its source, and behind that.
    led.fork("d", 2, 2);
    led.fork("e", 2, 4);
    assert_eq!(owners(&led, 4), [1, 1, 4, 4, 4, 4]);
    assert_eq!(owners(&led, 5), [1, 1, 1, 2, 5, 5]);
    led.check_derived();
}

#[test]
fn what_cannot_be_forked_is_refused_and_leaves_nothing_behind() {
    let mut led = Led::of(4);
    led.command(1, &Command::Trim(Offset::new(2)));
    let before = led.rows();
    let next = Offset::new(4);
    assert_eq!(led.refused(|seq| fork(seq, "b", 1, 5)), Some(Obstacle::Offset { next }));
    let start = Offset::new(2);
    assert_eq!(led.refused(|seq| fork(seq, "b", 1, 1)), Some(Obstacle::Trimmed { start }));
    assert_eq!(led.refused(|seq| fork(seq, "b", 9, 0)), Some(Obstacle::NoLog));
    let number = LogNumber::new(1);
    assert_eq!(led.refused(|seq| fork(seq, "a", 1, 3)), Some(Obstacle::LogExists { number }));
    assert_eq!(led.rows(), before);
    led.command(1, &Command::Delete);
    assert_eq!(led.rows(), [], "no fork of it was left");
    // So many above each other and no more.
    led.done(|seq| create(seq, seq, "0"));
    for depth in 1..=FORK_DEPTH_MAX {
        let source = u32::try_from(depth).unwrap() + 1;
        led.fork(&depth.to_string(), source, 0);
    }
    let last = u32::try_from(FORK_DEPTH_MAX).unwrap() + 2;
    assert_eq!(led.refused(|seq| fork(seq, "x", last, 0)), Some(Obstacle::TooManyForks));
    led.check_derived();
}

#[test]
fn what_a_fork_has_is_live_however_its_source_was_trimmed() {
    let mut led = Led::of(9);
    led.command(1, &Command::Trim(Offset::new(2)));
    led.fork("b", 1, 6);
    assert_eq!(led.rows()[1], row("b", (2, 6), false, 0), "it never had what its source has lost");
    led.command(1, &Command::Trim(Offset::new(8)));
    assert_eq!([led.live_from(1), led.live_from(2)], [Some(2), Some(6)]);
    // A fork of the fork keeps more than that does by then.
    led.fork("c", 2, 5);
    led.command(2, &Command::Trim(Offset::new(4)));
    assert_eq!(led.live_from(1), Some(2));
    led.command(3, &Command::Trim(Offset::new(3)));
    assert_eq!(led.live_from(1), Some(3));
    led.command(2, &Command::Trim(Offset::new(6)));
    assert_eq!([led.live_from(1), led.live_from(2)], [Some(3), Some(6)]);
    led.command(3, &Command::Trim(Offset::new(5)));
    assert_eq!([1, 2, 3].map(|log| led.live_from(log)), [Some(8), Some(6), Some(5)]);
    led.check_derived();
}

#[test]
fn a_log_that_is_deleted_stays_for_its_forks_and_goes_with_the_last() {
    let mut led = Led::of(4);
    led.fork("b", 1, 3);
    led.append(2);
    led.fork("c", 2, 4);
    led.fork("d", 2, 2);
    led.command(1, &Command::Delete);
    led.command(2, &Command::Delete);
    let both = [row("a", (0, 4), true, 1), row("b", (0, 4), true, 2)];
    assert_eq!(led.rows()[..2], both);
    assert_eq!([1, 2].map(|log| led.live_from(log)), [Some(0), Some(3)]);
    // Nobody can use it, and its name is taken.
    assert_eq!(led.0.reach(LogNumber::new(1)), Err(ReadRefusal::UnknownLog));
    assert_eq!(led.refused(|seq| on(1, append(seq, seq, "x"))), Some(Obstacle::NoLog));
    assert_eq!(led.refused(|seq| fork(seq, "e", 1, 3)), Some(Obstacle::NoLog));
    let number = LogNumber::new(1);
    assert_eq!(led.refused(|seq| create(seq, seq, "a")), Some(Obstacle::LogExists { number }));
    led.command(4, &Command::Delete);
    assert_eq!(led.rows()[..2], [row("a", (0, 4), true, 1), row("b", (0, 4), true, 1)]);
    // What the last one has no need of is needed by nobody.
    led.command(3, &Command::Trim(Offset::new(4)));
    assert_eq!([1, 2, 3].map(|log| led.live_from(log)), [None, None, Some(4)]);
    assert_eq!(led.rows().len(), 3);
    led.check_derived();
    led.command(3, &Command::Delete);
    assert_eq!(led.rows(), []);
    led.done(|seq| create(seq, seq, "a"));
    led.check_derived();
}

#[test]
fn what_is_cut_of_forks_was_never_there() {
    let mut led = Led::of(4);
    led.fork("b", 1, 3);
    let cut = |led: &mut Led, events: &[Event]| {
        let (before, from) = (led.0.encoded_clients(), led.0.tip().id.index.next());
        let offsets = led.0.tail.offsets();
        for event in events {
            led.0.handle(NOW, event.clone());
            led.0.flush();
        }
        assert_ne!(led.0.encoded_clients(), before);
        let mut tail = led.0.tail.clone();
        tail.truncate(from);
        assert_eq!((tail.state_with_tail().encode(), tail.offsets()), (before, offsets));
        let derived = State::decode(&tail.state_with_tail().encode()).unwrap().guards.catalogue;
        assert_eq!(derived, tail.guards().catalogue);
        settle(&mut led.0);
        led.1 += events.len() as u64;
    };
    let seq = led.1;
    let delete = |log, seq| on(log, commanded(seq, seq, Command::Delete));
    cut(&mut led, &[fork(seq, "c", 2, 2), on(3, append(seq + 1, seq + 1, "x"))]);
    let seq = led.1;
    cut(&mut led, &[delete(1, seq)]);
    let seq = led.1;
    cut(&mut led, &[delete(3, seq), delete(2, seq + 1)]);
    assert_eq!(led.rows(), []);
}
