//! Takes away from a run what is not needed to break its law: classes of faults, the scenario,
//! single faults, clients. What is left explains it.
//!
//! Faults are taken from the list, not from the randomness: the rest of the run stays as close to
//! what it was as it can. Each attempt is a whole run, and their number is bounded.

use std::collections::BTreeSet;

use super::class::CLASSES;
use super::laws::LawName;
use super::report::Report;
use super::run::{Plan, run};

/// Runs that one shrinking may take.
const RUNS_MAX: u32 = 300;

/// A plan that was shrunk, and what it comes to.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// What is left.
    pub plan: Plan,
    /// Its report: it breaks the same law.
    pub report: Report,
    /// How many runs it took.
    pub runs: u32,
}

/// Shrinks a plan that breaks a law.
pub fn shrink(plan: Plan, report: Report) -> Shrunk {
    let law = report.violations.first().expect("a run that broke a law").law;
    let mut shrinker = Shrinker { law, best: Shrunk { plan, report, runs: 0 } };
    shrinker.drop_classes();
    shrinker.drop_faults();
    shrinker.drop_clients();
    shrinker.drop_classes();
    shrinker.best
}

struct Shrinker {
    law: LawName,
    best: Shrunk,
}

impl Shrinker {
    /// Tries a smaller plan; takes it if it still breaks the law.
    fn attempt(&mut self, plan: Plan) -> bool {
        if self.best.runs >= RUNS_MAX {
            return false;
        }
        self.best.runs += 1;
        let report = run(&plan);
        let breaks = report.violations.iter().any(|violation| violation.law == self.law);
        if breaks {
            self.best.plan = plan;
            self.best.report = report;
        }
        breaks
    }

    fn drop_classes(&mut self) {
        for (class, _) in CLASSES {
            if self.best.plan.options.faults.has(*class) {
                let mut plan = self.best.plan.clone();
                plan.switch_off(*class);
                self.attempt(plan);
            }
        }
    }

    /// Delta debugging: first large pieces of the list, then smaller ones, then single faults.
    fn drop_faults(&mut self) {
        let mut piece = self.best.plan.numbers.len().div_ceil(2).max(1);
        loop {
            let mut begin = 0;
            while begin < self.best.plan.numbers.len() {
                let mut plan = self.best.plan.clone();
                let end = (begin + piece).min(plan.numbers.len());
                let numbers = &self.best.plan.numbers;
                let keep: BTreeSet<usize> =
                    numbers[..begin].iter().chain(&numbers[end..]).copied().collect();
                plan.keep_faults(&keep);
                if !self.attempt(plan) {
                    begin = end;
                }
            }
            if piece == 1 {
                return;
            }
            piece = piece.div_ceil(2);
        }
    }

    fn drop_clients(&mut self) {
        while self.best.plan.options.workload.clients > 1 {
            let mut plan = self.best.plan.clone();
            plan.options.workload.clients -= 1;
            if !self.attempt(plan) {
                return;
            }
        }
    }
}

impl Shrunk {
    /// The flags that give this plan, behind `annal sim --seed N`.
    pub fn flags(&self) -> String {
        let Plan { seed, options, numbers, .. } = &self.plan;
        let drawn = Plan::of(*seed);
        let missing =
            |list: Vec<String>| if list.is_empty() { "none".to_owned() } else { list.join(",") };
        let mut flags = String::new();
        let off = drawn.options.faults.classes.difference(&options.faults.classes);
        let off: Vec<String> = off.map(ToString::to_string).collect();
        if !off.is_empty() {
            flags.push_str(" --off ");
            flags.push_str(&off.join(","));
        }
        if drawn.numbers != *numbers {
            flags.push_str(" --faults ");
            flags.push_str(&missing(numbers.iter().map(usize::to_string).collect()));
        }
        if drawn.options.workload.clients != options.workload.clients {
            flags.push_str(" --clients ");
            flags.push_str(&options.workload.clients.to_string());
        }
        flags
    }
}
