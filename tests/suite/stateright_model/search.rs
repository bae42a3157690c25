//! The searches: a start, what may happen behind it, and what must have been seen in the end.

use std::fmt::Write as _;
use std::time::Instant;

use annal::types::Term;
use stateright::{Checker, Expectation, HasDiscoveries, Model};

use super::model::{
    Bounds, NOTHING, blank, campaigned, figure_8, given_up, led, led_in_vain, led_twice,
};
use super::properties;
use super::state::Budget;

const N1: usize = 0;
const N2: usize = 1;

/// Two candidates in one term, while the disk of one of the three is slow and loses what is on its
/// way there. All three are alike before the first timeout, so it is n1's.
#[test]
fn one_term_with_a_slow_disk() {
    let left = Budget { last_term: Term::new(1), timeouts: 2, crashes: 1, ..NOTHING };
    let starts = vec![blank(left, Some(N1))];
    search(Bounds::of(starts, properties::sights_of_elections), 12_000);
}

/// Elections in two terms, the first entries of their leaders, and a crash.
#[test]
fn two_terms_from_nothing() {
    let left = Budget { last_term: Term::new(2), timeouts: 2, crashes: 1, ..NOTHING };
    let starts = vec![blank(left, None)];
    search(Bounds::of(starts, properties::sights_of_two_terms), 70_000);
}

/// Votes of the first term are heard in the second.
#[test]
fn votes_that_come_late() {
    let left = Budget { last_term: Term::new(2), timeouts: 2, ..NOTHING };
    let bounds = Bounds::of(vec![campaigned(left)], properties::sights_of_late_votes);
    search(Bounds { keeps_votes: true, ..bounds }, 70_000);
}

/// Entries under a leader and under those after it.
#[test]
fn entries_under_two_leaders() {
    let left = Budget { last_term: Term::new(2), timeouts: 1, proposals: 1, ..NOTHING };
    let no_proposal = Budget { proposals: 0, ..left };
    let starts = vec![
        led(Budget { proposals: 2, ..left }, None),
        led(Budget { timeouts: 2, crashes: 1, ..left }, None),
        led(Budget { crashes: 1, ..left }, Some(N1)),
        led(Budget { crashes: 1, ..left }, Some(N2)),
        led(Budget { timeouts: 0, waits: 2, ..left }, None),
        led_in_vain(Budget { waits: 1, ..no_proposal }),
    ];
    search(Bounds::of(starts, properties::sights_of_entries), 170_000);
}

/// A long log of term 1 and a short one of term 2 are to be led in term 3.
#[test]
fn logs_of_two_terms() {
    let left = Budget { last_term: Term::new(3), timeouts: 2, doubts: 1, ..NOTHING };
    search(Bounds::of(vec![given_up(left)], properties::sights_of_three_terms), 40_000);
}

/// A read, while the leader changes once or twice, perhaps back to the first.
#[test]
fn reads_while_the_leader_changes() {
    let left = Budget { last_term: Term::new(3), timeouts: 2, reads: 1, ..NOTHING };
    let one_change = Budget { last_term: Term::new(2), timeouts: 1, ..left };
    let starts = vec![
        led(left, None),
        led(Budget { proposals: 1, ..one_change }, None),
        led(Budget { crashes: 1, ..one_change }, None),
        led_twice(Budget { timeouts: 1, ..left }),
    ];
    search(Bounds::of(starts, properties::sights_of_reads), 65_000);
}

/// Figure 8 of the Raft paper, with an entry a message, so that an old one can be on a majority
/// before the new leader's first.
#[test]
fn figure_8_of_the_paper() {
    let left = Budget { last_term: Term::new(5), timeouts: 2, doubts: 1, ..NOTHING };
    let bounds = Bounds::of(vec![figure_8(left)], properties::sights_of_figure_8);
    search(Bounds { append_count_max: 1, ..bounds }, 38_000);
}

/// Leadership is handed over, while there is a proposal, and a read, or a slow disk.
#[test]
fn handovers() {
    let left = Budget { last_term: Term::new(2), transfers: 1, proposals: 1, ..NOTHING };
    let starts =
        vec![led(Budget { crashes: 1, ..left }, Some(N1)), led(Budget { reads: 1, ..left }, None)];
    search(Bounds::of(starts, properties::sights_of_handovers), 46_000);
}

/// More than any search takes: a core that lets states differ without end is broken.
const STEPS_MAX: usize = 3_000_000;

/// Looks at every state within the bounds. One thread, so that a counterexample is the shortest.
fn search(bounds: Bounds, states_min: usize) {
    let begun = Instant::now();
    let checker = bounds.checker().finish_when(HasDiscoveries::AnyFailures);
    let checker = checker.target_state_count(STEPS_MAX).spawn_bfs().join();
    let states = checker.unique_state_count();
    assert!(checker.state_count() < STEPS_MAX, "there is no end to the states");
    let (steps, took) = (checker.state_count(), begun.elapsed());
    #[expect(clippy::print_stdout, reason = "figures for who asks with --nocapture")]
    {
        println!("{states} states, {steps} steps, {took:?}");
    }
    let mut found = checker.discoveries();
    for property in checker.model().properties() {
        let path = found.remove(property.name);
        if property.expectation == Expectation::Sometimes {
            assert!(path.is_some(), "never seen in {states} states: {}", property.name);
        } else if let Some(path) = path {
            let broken = path.last_state().history.broken.clone();
            let mut story = String::new();
            for action in path.into_actions() {
                writeln!(story, "  {action:?}").unwrap();
            }
            panic!("broken law: {}\n{story}{broken:?}", property.name);
        }
    }
    assert!(states >= states_min, "only {states} states");
}
