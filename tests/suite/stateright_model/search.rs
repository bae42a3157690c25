//! The searches: a start, what may happen behind it, and what must have been seen in the end.

use std::fmt::Write as _;
use std::time::Instant;

use annal::types::Term;
use stateright::{Checker, Expectation, HasDiscoveries, Model};

use super::model::{Bounds, NOTHING, blank, figure_8, led};
use super::properties;
use super::state::Budget;

const N1: usize = 0;
const N2: usize = 1;

/// Two candidates in one term, while the disk of one of the three is slow and loses what is on its
/// way there. All three are alike before the first timeout, so it is n1's.
#[test]
fn one_term_with_a_slow_disk() {
    let left = Budget { last_term: Term::new(1), timeouts: 2, crashes: 1, ..NOTHING };
    let sights = properties::sights_of_elections;
    search(Bounds { starts: vec![blank(left, Some(N1))], append_count_max: 9, sights }, 12_000);
}

/// Elections in two terms, the first entries of their leaders, and a crash.
#[test]
fn two_terms_from_nothing() {
    let left = Budget { last_term: Term::new(2), timeouts: 2, crashes: 1, ..NOTHING };
    let sights = properties::sights_of_two_terms;
    search(Bounds { starts: vec![blank(left, None)], append_count_max: 9, sights }, 90_000);
}

/// Entries under a leader and under the one after it.
#[test]
fn entries_under_two_leaders() {
    let left = Budget { last_term: Term::new(2), timeouts: 1, proposals: 1, ..NOTHING };
    let starts = vec![
        led(Budget { proposals: 2, ..left }, None),
        led(Budget { timeouts: 2, crashes: 1, ..left }, None),
        led(Budget { crashes: 1, ..left }, Some(N1)),
        led(Budget { crashes: 1, ..left }, Some(N2)),
        led(Budget { timeouts: 0, waits: 2, ..left }, None),
        led(Budget { proposals: 0, waits: 1, ..left }, None),
    ];
    let sights = properties::sights_of_entries;
    search(Bounds { starts, append_count_max: 9, sights }, 150_000);
}

/// A read, while the leader changes once or twice.
#[test]
fn reads_while_the_leader_changes() {
    let left = Budget { last_term: Term::new(3), timeouts: 2, reads: 1, ..NOTHING };
    let one_change = Budget { last_term: Term::new(2), timeouts: 1, ..left };
    let starts = vec![
        led(left, None),
        led(Budget { proposals: 1, ..one_change }, None),
        led(Budget { crashes: 1, ..one_change }, None),
    ];
    let sights = properties::sights_of_reads;
    search(Bounds { starts, append_count_max: 9, sights }, 65_000);
}

/// Figure 8 of the Raft paper, with an entry a message, so that an old one can be on a majority
/// before the new leader's first.
#[test]
fn figure_8_of_the_paper() {
    let left = Budget { last_term: Term::new(5), timeouts: 2, doubts: 1, ..NOTHING };
    let sights = properties::sights_of_figure_8;
    search(Bounds { starts: vec![figure_8(left, None)], append_count_max: 1, sights }, 38_000);
}

/// Leadership is handed over, while there is a proposal, and a read, or a slow disk.
#[test]
fn handovers() {
    let left = Budget { last_term: Term::new(2), transfers: 1, proposals: 1, ..NOTHING };
    let starts =
        vec![led(Budget { crashes: 1, ..left }, Some(N1)), led(Budget { reads: 1, ..left }, None)];
    let sights = properties::sights_of_handovers;
    search(Bounds { starts, append_count_max: 9, sights }, 46_000);
}

/// Looks at every state within the bounds. One thread, so that a counterexample is the shortest.
fn search(bounds: Bounds, states_min: usize) {
    let begun = Instant::now();
    let checker = bounds.checker().finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let states = checker.unique_state_count();
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
