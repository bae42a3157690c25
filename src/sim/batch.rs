//! Many seeds, on as many threads as there are processors; results in the order of the seeds.

use std::collections::BTreeMap;
use std::ops::{ControlFlow, Range};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;

use super::laws::{LawName, Violation};
use super::report::Report;
use super::run::{Plan, run};
use crate::mutants::{self, Mutant};

/// One seed in so many is run twice, and must be the same both times ([`LawName::Determinism`]).
const TWICE_ONE_IN: u64 = 100;

/// Runs a plan; now and then twice.
pub fn run_checked(plan: &Plan) -> Report {
    let mut report = run(plan);
    if plan.seed.is_multiple_of(TWICE_ONE_IN) && report.passed() {
        let again = run(plan);
        if again.trace_hash != report.trace_hash {
            let what =
                format!("the trace was {}, and then {}", report.trace_hash, again.trace_hash);
            report.violations.push(Violation { law: LawName::Determinism, what });
        }
    }
    report
}

/// How many seeds are run ahead of the one whose turn it is, for each thread.
const AHEAD: u64 = 64;

/// Runs all seeds, each as `plan_of` has it, with a bug if one is chosen, and gives each report to
/// `take` in the order of the seeds until that breaks off.
pub fn run_all(
    seeds: Range<u64>,
    jobs: usize,
    mutant: Option<Mutant>,
    plan_of: impl Fn(u64) -> Plan + Sync,
    mut take: impl FnMut(Plan, Report) -> ControlFlow<()>,
) {
    let (next, taken, over) =
        (AtomicU64::new(seeds.start), AtomicU64::new(seeds.start), AtomicBool::new(false));
    let (done, results) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..jobs {
            let (done, next, taken, over) = (done.clone(), &next, &taken, &over);
            let (plan_of, seeds) = (&plan_of, &seeds);
            scope.spawn(move || {
                choose(mutant);
                while !over.load(Ordering::Acquire) {
                    let seed = next.fetch_add(1, Ordering::AcqRel);
                    if seed >= seeds.end {
                        return;
                    }
                    while seed > taken.load(Ordering::Acquire) + AHEAD * jobs as u64 {
                        if over.load(Ordering::Acquire) {
                            return;
                        }
                        thread::yield_now();
                    }
                    let plan = plan_of(seed);
                    let report = run_checked(&plan);
                    if done.send((plan, report)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(done);
        let mut early = BTreeMap::new();
        for (plan, report) in results {
            early.insert(plan.seed, (plan, report));
            while let Some((plan, report)) = early.remove(&taken.load(Ordering::Acquire)) {
                taken.fetch_add(1, Ordering::AcqRel);
                if take(plan, report).is_break() {
                    over.store(true, Ordering::Release);
                    return;
                }
            }
        }
    });
}

/// Chooses the bug of this thread, in builds that have any.
pub fn choose(mutant: Option<Mutant>) {
    #[cfg(feature = "mutants")]
    mutants::choose(mutant);
    #[cfg(not(feature = "mutants"))]
    assert!(mutant.is_none() && !mutants::any(), "this build has no bugs to choose from");
}
