//! `annal sim`: whole clusters in a simulation, judged by laws.

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::thread;
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use serde::Serialize;

use super::args;
use super::failure::{End, Failure};
use super::output::{Printer, Row, talk};
use super::progress;
use crate::marks::MARKS;
use crate::mutants::{Mutant, UnknownMutant};
use crate::outcome::Outcome;
use crate::sim::{self, Counts, Plan, Report, Shrunk, Time};

/// Runs the seeds and says what they came to.
pub(super) fn run(args: &args::Sim, printer: &mut Printer) -> Result<(), End> {
    let mutant = chosen_mutant(args.mutant.as_deref())?;
    let jobs = args.jobs.unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from));
    let jobs = jobs.clamp(1, usize::try_from(args.seeds).unwrap_or(usize::MAX));
    let end = args.seed.checked_add(args.seeds).ok_or_else(|| {
        let sentence = "there are no seeds beyond 18446744073709551615";
        Failure::new(Outcome::Usage, sentence, "choose a lower --seed or fewer --seeds")
    })?;
    let progress = Progress::new(args.seeds);
    let is_alone = args.seeds == 1;
    let total = Total::default();
    let mut runs = Runs { printer, is_alone, total, failed: None, closed: None };
    sim::run_all(
        args.seed..end,
        jobs,
        mutant,
        |seed| plan_of(args, seed),
        |plan, report| {
            let flow = runs.take(plan, report);
            progress.show(&runs.total);
            flow
        },
    );
    progress.end();
    runs.end(args, mutant)
}

/// The bug to run with, by its name or its number; 0 is none.
fn chosen_mutant(bug: Option<&str>) -> Result<Option<Mutant>, Failure> {
    let Some(bug) = bug.filter(|bug| *bug != "0") else { return Ok(None) };
    if !cfg!(feature = "mutants") {
        let hint = "build it with `cargo build --release --features mutants`";
        return Err(Failure::new(Outcome::Usage, "this build has no known bugs to run with", hint));
    }
    bug.parse().map(Some).map_err(|error: UnknownMutant| {
        let known: Vec<String> = Mutant::ALL.iter().map(Mutant::to_string).collect();
        Failure::new(Outcome::Usage, error.to_string(), format!("these are: {}", known.join(", ")))
    })
}

/// The plan of a seed, with what the flags take away.
fn plan_of(args: &args::Sim, seed: u64) -> Plan {
    let mut plan = match args.scenario {
        Some(scenario) => Plan::of_template(seed, scenario),
        None => Plan::of(seed),
    };
    args.off.iter().for_each(|class| plan.switch_off(*class));
    if let Some(faults) = &args.faults {
        plan.keep_faults(&faults.0);
    }
    let clients = &mut plan.options.workload.clients;
    *clients = args.clients.unwrap_or(*clients).min(*clients);
    plan.with_lines = args.trace;
    plan
}

/// What all runs came to so far.
#[derive(Default)]
struct Total {
    seeds: u64,
    simulated: Time,
    counts: Counts,
    marks: Vec<u64>,
}

impl Total {
    fn add(&mut self, report: &Report) {
        self.seeds += 1;
        self.simulated = self.simulated + report.simulated;
        self.counts.add(&report.counts);
        self.marks.resize(report.marks.len(), 0);
        self.marks.iter_mut().zip(&report.marks).for_each(|(sum, more)| *sum += more);
    }
}

struct Runs<'a> {
    printer: &'a mut Printer,
    /// There is only one seed.
    is_alone: bool,
    total: Total,
    failed: Option<(Plan, Report)>,
    closed: Option<End>,
}

impl Runs<'_> {
    /// Prints a verdict. The first run that breaks a law is the last.
    fn take(&mut self, plan: Plan, mut report: Report) -> ControlFlow<()> {
        self.total.add(&report);
        let lines = std::mem::take(&mut report.lines);
        let is_worth_a_line = self.is_alone || self.printer.is_json() || !report.passed();
        let printed = lines
            .into_iter()
            .try_for_each(|line| self.printer.print(&TraceRow { line }))
            .and_then(|()| {
                if is_worth_a_line { self.printer.print_now(&SimRow::of(&report)) } else { Ok(()) }
            });
        if let Err(closed) = printed {
            self.closed = Some(closed.into());
            return ControlFlow::Break(());
        }
        if report.passed() {
            return ControlFlow::Continue(());
        }
        self.failed = Some((plan, report));
        ControlFlow::Break(())
    }

    fn end(self, args: &args::Sim, mutant: Option<Mutant>) -> Result<(), End> {
        if let Some(closed) = self.closed {
            return Err(closed);
        }
        if args.marks {
            let longest = self.total.marks.iter().max().map_or(1, |most| most.to_string().len());
            for ((_, what), count) in MARKS.iter().zip(&self.total.marks) {
                talk(format_args!("{count:>longest$} {}", what.trim()));
            }
        }
        let Some((plan, report)) = self.failed else {
            if args.seeds > 1 && !self.printer.is_json() {
                talk(Summary(&self.total));
            }
            return Ok(());
        };
        Err(explain(plan, report, mutant, !args.no_shrink).into())
    }
}

/// Shrinks a run that broke a law, and says how to repeat it.
fn explain(mut plan: Plan, report: Report, mutant: Option<Mutant>, wanted: bool) -> Failure {
    plan.with_lines = false;
    let seed = plan.seed;
    let violation = report.violations.first().cloned().expect("a run that broke a law");
    let with = mutant.map(|bug| format!(" --mutant {bug}")).unwrap_or_default();
    let law = violation.law;
    let sentence = format!("seed {seed} breaks {law}: {}", violation.what);
    let hint = "this is a bug of annal: please report it, with these commands";
    let mut failure = Failure::new(Outcome::Failed, sentence, hint);
    failure.commands = vec![format!("annal sim --seed {seed}{with}")];
    if !wanted {
        return failure;
    }
    talk(format_args!("shrinking seed {seed} …"));
    sim::choose(mutant);
    let shrunk = sim::shrink(plan, report);
    let Shrunk { plan, runs, .. } = &shrunk;
    let count = plan.faults.len();
    talk(format_args!("it takes {count} faults ({runs} runs to find out):"));
    for (number, fault) in plan.numbers.iter().zip(&plan.faults) {
        talk(format_args!("  {number:>3} {fault}"));
    }
    failure.commands.push(format!("annal sim --seed {seed}{with}{} --trace", shrunk.flags()));
    failure
}

/// The verdict on one seed.
#[derive(Serialize)]
struct SimRow {
    seed: u64,
    outcome: &'static str,
    events: u64,
    simulated_ms: u64,
    violations: Vec<ViolationRow>,
    trace_hash: String,
}

#[derive(Serialize)]
struct ViolationRow {
    law: &'static str,
    what: String,
}

impl SimRow {
    fn of(report: &Report) -> Self {
        let violations = report.violations.iter().map(|violation| ViolationRow {
            law: violation.law.words(),
            what: violation.what.clone(),
        });
        Self {
            seed: report.seed,
            outcome: if report.passed() { "pass" } else { "fail" },
            events: report.counts.events,
            simulated_ms: report.simulated.millis(),
            violations: violations.collect(),
            trace_hash: report.trace_hash.clone(),
        }
    }
}

impl Row for SimRow {
    fn human(&self, out: &mut dyn Write) -> io::Result<()> {
        let Self { seed, outcome, events, simulated_ms, trace_hash, .. } = self;
        let seconds = Duration::from_millis(*simulated_ms).as_secs_f64();
        writeln!(
            out,
            "seed {seed}: {outcome}, {events} events in {seconds:.1} simulated seconds, trace {trace_hash}"
        )?;
        for ViolationRow { law, what } in &self.violations {
            writeln!(out, "  {law}: {what}")?;
        }
        Ok(())
    }
}

/// One line of a trace.
#[derive(Serialize)]
struct TraceRow {
    line: String,
}

impl Row for TraceRow {
    fn human(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{}", self.line)
    }
}

/// What many runs came to, in a few lines.
struct Summary<'a>(&'a Total);

impl std::fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Total { seeds, simulated, counts, .. } = self.0;
        let traffic = &counts.traffic;
        let hours = Duration::from_millis(simulated.millis()).as_secs_f64() / 3600.0;
        writeln!(
            f,
            "{seeds} seeds passed: {hours:.2} simulated hours, {} events, {} looks of laws",
            counts.events, counts.laws_evaluated
        )?;
        writeln!(
            f,
            "clients: {} appends acknowledged, {} refused for certain, {} for a condition, {} unknown, {} reads",
            counts.acknowledged, counts.rejected, counts.unmet, counts.unknown, counts.reads
        )?;
        writeln!(
            f,
            "messages: {} sent, {} lost, {} repeated, {} held up, {} changed; {} streams broken",
            traffic.sent,
            traffic.lost,
            traffic.repeated,
            traffic.reordered,
            traffic.corrupted,
            traffic.broken
        )?;
        writeln!(
            f,
            "processes: {} killed, {} stopped in order, {} power cuts, {} disks rotten, {} segments mended, {} put back, \
             {} put right, {} refused, {} begun anew, {} voters again",
            counts.crashes,
            counts.stops,
            counts.power_cuts,
            counts.rotten,
            counts.mended,
            counts.put_back,
            counts.put_right,
            counts.refusals,
            counts.began_anew,
            counts.reinstated
        )?;
        write!(f, "faults by class:")?;
        for (class, count) in &counts.faults {
            write!(f, " {class} {count}")?;
        }
        Ok(())
    }
}

/// How far it is, on a terminal.
struct Progress {
    bar: ProgressBar,
    began: Instant,
}

impl Progress {
    fn new(seeds: u64) -> Self {
        let template = "{bar:40} {pos}/{len} seeds, {eta} left, {msg}";
        let bar = if seeds > 1 { progress::bar(seeds, template) } else { ProgressBar::hidden() };
        Self { bar, began: Instant::now() }
    }

    fn show(&self, total: &Total) {
        self.bar.set_position(total.seeds);
        let millis = self.began.elapsed().as_millis().max(1);
        let per_millisecond = u128::from(total.counts.events) / millis;
        self.bar.set_message(format!("{per_millisecond} k events/s"));
    }

    fn end(&self) {
        self.bar.finish_and_clear();
    }
}
