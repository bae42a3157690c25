//! Known bugs, one at a time, put into the code: the simulator must find each, by the law that is
//! there for it, within its number of seeds; and the same seeds must pass without the bug.
//!
//! `cargo test --features mutants --test mutants -- --nocapture` prints a table.

#![cfg(feature = "mutants")]

use std::ops::ControlFlow;
use std::time::Instant;

use annal::mutants::Mutant;
use annal::sim::laws::LawName;
use annal::sim::{self, Plan, Report, Template};

/// How a bug is to be found.
struct Hunt {
    mutant: Mutant,
    /// The laws that are there for it: one of these breaks first.
    laws: &'static [LawName],
    /// Seeds within which it must be found.
    seeds: u64,
    /// The scenario that it needs, if random faults would take too long.
    template: Option<Template>,
}

const fn hunt(mutant: Mutant, laws: &'static [LawName], seeds: u64) -> Hunt {
    Hunt { mutant, laws, seeds, template: None }
}

const fn hunt_in(mutant: Mutant, laws: &'static [LawName], seeds: u64, template: Template) -> Hunt {
    Hunt { mutant, laws, seeds, template: Some(template) }
}

/// Where each is to be found.
const HUNTS: &[Hunt] = &[
    hunt(Mutant::VoteBeforeDisk, &[LawName::DurableBeforeVisible], 20),
    hunt(Mutant::AcknowledgeBeforeDisk, &[LawName::DurableBeforeVisible], 20),
    hunt(Mutant::CountOwnBeforeDisk, &[LawName::Durability], 50),
    hunt(
        Mutant::AnswerWithLastReceived,
        &[LawName::Durability, LawName::DurableBeforeVisible, LawName::Liveness],
        100,
    ),
    hunt(Mutant::ForgetVote, &[LawName::VoteOnce, LawName::Monotonic], 50),
    // Or the replica that hears of two histories of one term says so first.
    hunt(Mutant::AnyAnswerIsAVote, &[LawName::ElectionSafety, LawName::Assertion], 100),
    hunt_in(
        Mutant::RepeatedVoteCounts,
        &[LawName::ElectionSafety, LawName::LogMatching, LawName::LeaderCompleteness],
        300,
        Template::Bridge,
    ),
    hunt(Mutant::TruncateAlways, &[LawName::DurableBeforeVisible, LawName::Durability], 50),
    hunt_in(Mutant::CommitUnvouched, &[LawName::StateMachineSafety], 100, Template::Figure8),
    hunt_in(Mutant::ReadBeforeFirstCommit, &[LawName::Linearizable], 200, Template::StaleLeader),
    hunt_in(Mutant::ReadRoundsShareNumber, &[LawName::Linearizable], 200, Template::StaleLeader),
    hunt_in(Mutant::StuckDiskLeads, &[LawName::Liveness], 100, Template::PauseAndKill),
    // Not by a doubled record: for that a client's first request has to be asked for again when its
    // segment is full and every node was started since. That the tables differ is seen long before.
    // Or a request that was answered is taken once more.
    hunt(Mutant::HeadLacksClients, &[LawName::Determinism, LawName::ExactlyOnce], 100),
    // Or the next start, which does not believe the page cache, misses what was said to be synced.
    hunt(
        Mutant::RetryFailedSync,
        &[LawName::Durability, LawName::DurableBeforeVisible, LawName::NoSilentRepair],
        100,
    ),
    hunt_in(
        Mutant::CutDamage,
        &[LawName::LeaderCompleteness, LawName::Durability, LawName::NoSilentRepair],
        1000,
        Template::MinorityRot,
    ),
    hunt(Mutant::BelieveForgetful, &[LawName::Identity], 200),
    hunt_in(
        Mutant::CompareLengthsFirst,
        &[LawName::LeaderCompleteness, LawName::StateMachineSafety],
        200,
        Template::StaleLeader,
    ),
    hunt(Mutant::SegmentNameUnsynced, &[LawName::DurableBeforeVisible, LawName::Durability], 20),
    hunt(Mutant::RepeatUnderNewNumber, &[LawName::ExactlyOnce], 50),
    hunt_in(Mutant::PreVoteAlways, &[LawName::Liveness], 300, Template::Isolated),
    hunt_in(Mutant::DeafLeads, &[LawName::Liveness], 100, Template::DeafLeader),
    hunt_in(Mutant::CampaignDuringSync, &[LawName::Liveness], 4000, Template::SlowDisks),
    hunt(Mutant::RepeatRefused, &[LawName::Traffic], 100),
    hunt(Mutant::ShowUncommitted, &[LawName::Subscriptions], 100),
    hunt(Mutant::WrongClockLeads, &[LawName::Liveness], 100),
    // Or what was believed is gone after a power cut.
    hunt(Mutant::BelievePageCache, &[LawName::DurableBeforeVisible, LawName::NoSilentRepair], 50),
    hunt(Mutant::FillForgotten, &[LawName::SegmentsEqual], 50),
    hunt(Mutant::RegistryBeforeDisk, &[LawName::RegistryMonotonic, LawName::NoSilentRepair], 100),
    hunt(Mutant::JudgeRunByFirst, &[LawName::ExactlyOnce], 50),
    hunt(Mutant::RefuseAtOnce, &[LawName::Refusals], 100),
    hunt(Mutant::ExpectCommitted, &[LawName::Conditional], 50),
    hunt(
        Mutant::GuardsStay,
        &[LawName::SegmentsEqual, LawName::Determinism, LawName::Conditional, LawName::Producers],
        200,
    ),
    // What is committed is asked for more than the fence: a log may be created twice, too.
    hunt(Mutant::FenceCommitted, &[LawName::Conditional, LawName::Catalogues], 200),
    hunt(Mutant::SupersededGoesOn, &[LawName::Producers], 200),
    hunt(Mutant::KeepPatience, &[LawName::Patience], 100),
    hunt(Mutant::ReuseLogNumber, &[LawName::Catalogues], 50),
    hunt(Mutant::ClosedCommitted, &[LawName::Catalogues], 100),
    hunt(Mutant::HeadLacksLogs, &[LawName::Catalogues], 50),
    // Or the leader's own tail says that it does not continue the log.
    hunt(
        Mutant::LogsShareOffsets,
        &[LawName::Refusals, LawName::Conditional, LawName::Catalogues, LawName::Assertion],
        50,
    ),
    hunt(Mutant::StartGoesBack, &[LawName::Catalogues], 50),
    hunt(Mutant::ReadTrimmed, &[LawName::Catalogues], 100),
    hunt(Mutant::CloseApart, &[LawName::Catalogues], 100),
    hunt(Mutant::WordGoesBack, &[LawName::Catalogues], 100),
    hunt(Mutant::ExpireEarly, &[LawName::Catalogues], 150),
    hunt(Mutant::ForgottenGoesOn, &[LawName::Producers], 300),
    hunt(Mutant::ServeUnasked, &[LawName::Linearizable], 50),
    // Or the source has nothing there, and the read cannot go on.
    hunt(Mutant::ForkSeesSource, &[LawName::Catalogues, LawName::Reads], 50),
    hunt(Mutant::ForksNeedNothing, &[LawName::LiveKept], 200),
    hunt(Mutant::DeletedStays, &[LawName::Catalogues], 50),
    hunt(Mutant::ForkFromZero, &[LawName::Catalogues], 50),
    hunt(Mutant::RevokedComesBack, &[LawName::Revocations], 50),
    hunt(Mutant::HeadLacksRevocations, &[LawName::Revocations], 100),
    hunt(Mutant::ReleaseLive, &[LawName::LiveKept], 50),
    hunt_in(Mutant::ReleaseUnheard, &[LawName::Liveness], 50, Template::Trimmed),
    // Or a start finds a list that names what is gone.
    hunt(Mutant::DeleteListed, &[LawName::Durability, LawName::NoSilentRepair], 100),
    hunt(Mutant::TrimEarly, &[LawName::Retentions], 50),
    hunt(Mutant::VoteOfAnyStore, &[LawName::LeaderCompleteness, LawName::ElectionSafety], 200),
    hunt_in(Mutant::InstallOverLog, &[LawName::NoSilentRepair], 200, Template::Trimmed),
    // What it seals has another head than what the others seal.
    hunt_in(Mutant::HeadLacksMembers, &[LawName::SegmentsEqual], 100, Template::Trimmed),
    hunt_in(
        Mutant::ChangeBeforeFirstCommit,
        &[LawName::ConfigurationSafety],
        100,
        Template::Changes,
    ),
    hunt_in(Mutant::TwoChangesAtOnce, &[LawName::ConfigurationSafety], 50, Template::Changes),
    // Or those that stay never hear of the change, and wait for who is gone.
    hunt_in(
        Mutant::RemovedLeaderCounts,
        &[LawName::Durability, LawName::Liveness],
        100,
        Template::Changes,
    ),
    hunt(Mutant::LearnerCounts, &[LawName::Durability], 100),
    hunt(Mutant::PromoteUnfilled, &[LawName::FilledFirst], 100),
    hunt_in(Mutant::BeginUnasked, &[LawName::MajorityKept], 20, Template::MajorityRot),
    hunt(Mutant::MendUnproved, &[LawName::SegmentsEqual], 300),
    hunt(Mutant::ForgetDamage, &[LawName::NoSilentRepair], 300),
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
fn first_failure(hunt: &Hunt, mutant: Option<Mutant>, seeds: u64) -> (u64, Option<Report>) {
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
    let hunted: Vec<Mutant> = HUNTS.iter().map(|hunt| hunt.mutant).collect();
    assert_eq!(hunted, Mutant::ALL);
    assert!(hunted.len() >= 20);
}

#[test]
fn each_bug_is_found_by_its_law_and_the_code_without_it_passes() {
    let mut complaints = vec![];
    let mut needed = vec![];
    let only: Option<Mutant> = std::env::var("ANNAL_HUNT").ok().and_then(|bug| bug.parse().ok());
    for hunt in HUNTS {
        let (bug, what) = (hunt.mutant, hunt.mutant.what());
        if only.is_some_and(|only| only != bug) {
            continue;
        }
        let began = Instant::now();
        let (tried, found) = first_failure(hunt, Some(bug), hunt.seeds);
        let seconds = began.elapsed().as_secs_f64();
        let Some(report) = found else {
            complaints.push(format!("bug {bug} ({what}) is not found in {tried} seeds"));
            println!("{bug:<26}  -     not found in {tried} seeds, {seconds:.1} s: {what}");
            continue;
        };
        let violation = &report.violations[0];
        println!("{bug:<26}  {tried:>5} seeds, {seconds:>5.1} s  {:<28} {what}", violation.law);
        needed.push(tried);
        if !hunt.laws.contains(&violation.law) {
            let (seed, law, saw) = (report.seed, violation.law, &violation.what);
            complaints.push(format!("bug {bug} ({what}) breaks {law} at seed {seed}: {saw}"));
        }
        let (_, without) = first_failure(hunt, None, tried);
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
