//! Whole clusters in the simulator: the seeds that once failed, a fixed set that must take every
//! rare path, and fresh ones that are others for every commit.
//!
//! A fresh seed that fails is a bug of the project, not of the commit: it goes into
//! `tests/sim/seeds.txt`, with a line why.

use std::ops::ControlFlow;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use annal::marks::MARKS;
use annal::sim::{self, Plan, Report};

/// The fixed set. It is large enough to take every rare path.
const REGULAR: u64 = 900;

/// How long fresh seeds are run; at least one is.
const FRESH_FOR: Duration = Duration::from_secs(45);

/// Two: the machines of this project have so many processors, and they are shared.
const JOBS: usize = 2;

fn describe(report: &Report) -> String {
    let (seed, violations) = (report.seed, &report.violations);
    format!("`cargo run --release -- sim --seed {seed}` repeats it: {violations:?}")
}

#[test]
fn every_seed_that_ever_failed_passes() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sim/seeds.txt");
    let text = std::fs::read_to_string(path).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    for line in lines {
        let seed =
            line.split_whitespace().next().unwrap().parse().expect("a line begins with a seed");
        let report = sim::run(&Plan::of(seed));
        assert!(report.passed(), "{line}: {}", describe(&report));
    }
}

#[test]
fn the_regular_seeds_pass_and_take_every_rare_path() {
    let mut hits = vec![0; MARKS.len()];
    let mut failed = None;
    sim::run_all(1..REGULAR + 1, JOBS, None, Plan::of, |_, report| {
        hits.iter_mut().zip(&report.marks).for_each(|(sum, more)| *sum += more);
        if report.passed() {
            return ControlFlow::Continue(());
        }
        failed = Some(describe(&report));
        ControlFlow::Break(())
    });
    assert_eq!(failed, None);
    let missed: Vec<_> = MARKS.iter().zip(&hits).filter(|(_, hits)| **hits == 0).collect();
    assert!(missed.is_empty(), "paths that no regular seed takes: {missed:?}");
}

#[test]
fn fresh_seeds_pass() {
    let first = seed_of_commit();
    let began = Instant::now();
    let mut count = 0;
    let mut failed = None;
    sim::run_all(first..u64::MAX, JOBS, None, Plan::of, |_, report| {
        count += 1;
        if !report.passed() {
            failed = Some(describe(&report));
        }
        if failed.is_some() || began.elapsed() > FRESH_FOR {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    });
    assert_eq!(failed, None);
    println!("{count} fresh seeds from {first} on");
}

/// A seed that is another for every commit; without a repository, always the same.
fn seed_of_commit() -> u64 {
    let root = env!("CARGO_MANIFEST_DIR");
    let said = Command::new("git").args(["-C", root, "rev-parse", "HEAD"]).output();
    let hash = said.ok().and_then(|said| String::from_utf8(said.stdout).ok()).unwrap_or_default();
    // Twelve digits: short enough to be typed.
    u64::from_str_radix(hash.get(..12).unwrap_or("1000000"), 16).expect("a hash is hexadecimal")
}

#[test]
fn a_seed_gives_the_same_run_every_time_and_another_one_another() {
    let hash = |seed| sim::run(&Plan::of(seed)).trace_hash;
    assert_eq!(hash(42), hash(42));
    assert_ne!(hash(42), hash(43));
    let mut plan = Plan::of(42);
    plan.with_lines = true;
    let report = sim::run(&plan);
    assert_eq!(report.trace_hash, hash(42), "looking changes nothing");
    assert!(!report.lines.is_empty());
}
