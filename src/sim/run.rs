//! One run, from its plan to its report.

use std::collections::BTreeSet;

use super::class::Class;
use super::faults::Fault;
use super::laws::{LawName, Violation};
use super::options::Options;
use super::panics::caught;
use super::report::Report;
use super::schedule;
use super::template::Template;
use super::time::Time;
use super::trace::Trace;
use super::world::World;
use crate::marks;

/// What a run is to be: its seed, and what is drawn from it, maybe with something taken away.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The seed of all randomness.
    pub seed: u64,
    /// What the run is like.
    pub options: Options,
    /// What goes wrong.
    pub faults: Vec<Fault>,
    /// The numbers of `faults` among those that the seed draws.
    pub numbers: Vec<usize>,
    /// Whether a line is kept for everything that happens.
    pub with_lines: bool,
}

impl Plan {
    /// The plan of a seed.
    pub fn of(seed: u64) -> Self {
        Self::with_options(seed, Options::draw(seed))
    }

    /// The plan of a seed with options that were changed.
    pub fn with_options(seed: u64, options: Options) -> Self {
        let faults = schedule::draw(seed, &options);
        let numbers = (0..faults.len()).collect();
        Self { seed, options, faults, numbers, with_lines: false }
    }

    /// The plan of a seed, with this scenario.
    pub fn of_template(seed: u64, template: Template) -> Self {
        let mut options = Options::draw_for_scenario(seed);
        options.faults.template = Some(template);
        template.prepare(&mut options);
        Self::with_options(seed, options)
    }

    /// Takes a class of faults away.
    pub fn switch_off(&mut self, class: Class) {
        self.options.switch_off(class);
        let keep: BTreeSet<usize> = self
            .numbers
            .iter()
            .zip(&self.faults)
            .filter(|(_, fault)| fault.kind.class() != class)
            .map(|(number, _)| *number)
            .collect();
        self.keep_faults(&keep);
    }

    /// Takes all faults away but these, by their numbers among those that the seed draws.
    pub fn keep_faults(&mut self, keep: &BTreeSet<usize>) {
        let both =
            std::mem::take(&mut self.numbers).into_iter().zip(std::mem::take(&mut self.faults));
        (self.numbers, self.faults) = both.filter(|(number, _)| keep.contains(number)).unzip();
    }
}

/// Runs a plan.
pub fn run(plan: &Plan) -> Report {
    let Plan { seed, options, faults, with_lines, .. } = plan.clone();
    let scheduled = faults.clone();
    marks::take();
    let begun = caught(|| World::new(seed, options, faults, Trace::new(with_lines)));
    let mut world = match begun {
        Ok(world) => world,
        Err(what) => return stillborn(plan, what),
    };
    if let Err(what) = caught(|| world.run()) {
        world.violate(LawName::Assertion, what);
    }
    Report { faults: scheduled, marks: marks::take(), ..world.into_report() }
}

fn stillborn(plan: &Plan, what: String) -> Report {
    Report {
        seed: plan.seed,
        violations: vec![Violation { law: LawName::Assertion, what }],
        simulated: Time::ZERO,
        counts: super::report::Counts::default(),
        trace_hash: String::new(),
        lines: vec![],
        faults: plan.faults.clone(),
        marks: marks::take(),
    }
}
