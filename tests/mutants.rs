//! Known bugs, one at a time, put into the code: the simulator must find each, by the law that is
//! there for it, within its number of seeds; and the same seeds must pass without the bug.
//!
//! `cargo test --features mutants --test mutants -- --nocapture` prints a table.

#![cfg(feature = "mutants")]

use std::ops::ControlFlow;
use std::time::Instant;

use annal::mutants::MUTANTS;
use annal::sim::{self, Plan, Report, Template};

/// How a bug is to be found.
struct Hunt {
    mutant: u8,
    /// The laws that are there for it: one of these breaks first.
    laws: &'static [&'static str],
    /// Seeds within which it must be found.
    seeds: u64,
    /// The scenario that it needs, if random faults would take too long.
    template: Option<Template>,
}

const fn hunt(mutant: u8, laws: &'static [&'static str], seeds: u64) -> Hunt {
    Hunt { mutant, laws, seeds, template: None }
}

const fn hunt_in(
    mutant: u8,
    laws: &'static [&'static str],
    seeds: u64,
    template: Template,
) -> Hunt {
    Hunt { mutant, laws, seeds, template: Some(template) }
}

/// Prefixes of laws' names.
const HUNTS: &[Hunt] = &[
    hunt(1, &["I14"], 20),
    hunt(2, &["I14"], 20),
    hunt(3, &["I7"], 50),
    hunt(4, &["I7", "I14", "I18"], 100),
    hunt(6, &["I2", "I12"], 50),
    // Or the replica that hears of two histories of one term says so first.
    hunt(7, &["I1 ", "assertion"], 100),
    hunt_in(8, &["I1 ", "I3", "I5"], 300, Template::Bridge),
    hunt(14, &["I14", "I7"], 50),
    hunt_in(15, &["I6"], 100, Template::Figure8),
    hunt_in(16, &["I9"], 200, Template::StaleLeader),
    hunt_in(17, &["I9"], 200, Template::StaleLeader),
    hunt_in(20, &["I18"], 100, Template::PauseAndKill),
    hunt(22, &["I17"], 100),
    // Or the next start, which does not believe the page cache, misses what was said to be synced.
    hunt(23, &["I7", "I14", "I15"], 100),
    hunt_in(24, &["I7", "I15"], 200, Template::MinorityRot),
    hunt_in(27, &["I5", "I6"], 200, Template::StaleLeader),
    hunt(28, &["I14", "I7"], 20),
    hunt(30, &["I8"], 50),
    hunt_in(32, &["I18"], 300, Template::Isolated),
    hunt_in(33, &["I18"], 100, Template::DeafLeader),
    hunt_in(34, &["I18"], 300, Template::SlowDisks),
    hunt(35, &["I21"], 100),
    hunt(36, &["I10"], 100),
    hunt(37, &["I18"], 100),
    hunt(40, &["I14"], 50),
    hunt(41, &["reads"], 50),
    hunt(42, &["I11", "I15"], 100),
    hunt(50, &["I20"], 100),
];

/// Both processors.
const JOBS: usize = 2;

fn plan_of(hunt: &Hunt, seed: u64) -> Plan {
    match hunt.template {
        Some(template) => Plan::of_template(seed, template),
        None => Plan::of(seed),
    }
}

/// The first report that breaks a law, and how many seeds it took.
fn first_failure(hunt: &Hunt, mutant: u8, seeds: u64) -> (u64, Option<Report>) {
    let (mut tried, mut found) = (0, None);
    sim::run_all(
        1..seeds + 1,
        JOBS,
        mutant,
        |seed| plan_of(hunt, seed),
        |_, report| {
            tried += 1;
            if report.passed() {
                return ControlFlow::Continue(());
            }
            found = Some(report);
            ControlFlow::Break(())
        },
    );
    (tried, found)
}

#[test]
fn every_bug_has_a_hunt() {
    let hunted: Vec<u8> = HUNTS.iter().map(|hunt| hunt.mutant).collect();
    let known: Vec<u8> = MUTANTS.iter().map(|(number, _)| *number).collect();
    assert_eq!(hunted, known);
    assert!(hunted.len() >= 20);
}

#[test]
fn each_bug_is_found_by_its_law_and_the_code_without_it_passes() {
    let mut complaints = vec![];
    let mut needed = vec![];
    let only: Option<u8> = std::env::var("ANNAL_HUNT").ok().and_then(|number| number.parse().ok());
    for (hunt, (number, what)) in HUNTS.iter().zip(MUTANTS) {
        if only.is_some_and(|only| only != *number) {
            continue;
        }
        let began = Instant::now();
        let (tried, found) = first_failure(hunt, *number, hunt.seeds);
        let seconds = began.elapsed().as_secs_f64();
        let Some(report) = found else {
            complaints.push(format!("bug {number} ({what}) is not found in {tried} seeds"));
            println!("{number:>3}  -     not found in {tried} seeds, {seconds:.1} s: {what}");
            continue;
        };
        let violation = &report.violations[0];
        println!("{number:>3}  {tried:>5} seeds, {seconds:>5.1} s  {:<28} {what}", violation.law);
        needed.push(tried);
        if !hunt.laws.iter().any(|law| violation.law.starts_with(law)) {
            let (seed, law, saw) = (report.seed, violation.law, &violation.what);
            complaints.push(format!("bug {number} ({what}) breaks {law} at seed {seed}: {saw}"));
        }
        let (_, without) = first_failure(hunt, 0, tried);
        if let Some(report) = without {
            complaints
                .push(format!("seed {} fails without a bug: {:?}", report.seed, report.violations));
        }
    }
    needed.sort_unstable();
    let median = needed.get(needed.len() / 2).copied().unwrap_or_default();
    println!("{} of {} found, median {median} seeds", needed.len(), HUNTS.len());
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}
