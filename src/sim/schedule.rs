//! What goes wrong in a run, and when: a list drawn before it begins.
//!
//! A list, because a list can be shortened: when a law is broken, the faults that are not needed for
//! that are taken out one after the other, and what is left explains it.

use std::collections::BTreeSet;

use super::class::Class;
use super::faults::{Earlier, Fault, FaultKind, RegistryFailing, Wanted};
use super::options::{ClusterOptions, Options};
use super::random::{Purpose, Random};
use super::time::Time;
use crate::members::Aim;
use crate::types::NodeId;

/// At most so many faults in a run.
const FAULTS_MAX: usize = 200;

/// The faults of a seed, in the order of their times: those of its scenario, and noise.
pub(super) fn draw(seed: u64, options: &Options) -> Vec<Fault> {
    let random = &mut Random::new(seed, Purpose::Faults);
    let mut faults = vec![];
    let mut at = Time::from_millis(random.below(1_000));
    while at < options.faults.storm && faults.len() < FAULTS_MAX {
        if let Some(kind) = draw_one(random, options) {
            faults.push(Fault { at, kind });
        }
        at = at + Time::from_micros(1) + random.around(options.faults.every);
    }
    if options.faults.has(Class::Reach) {
        faults.extend(draw_reach(seed, options));
        faults.sort_by_key(|fault| fault.at);
    }
    if let Some(template) = options.faults.template {
        faults.extend(template.faults(random, options));
        faults.sort_by_key(|fault| fault.at);
    }
    if options.faults.has(Class::PutBack) {
        faults.extend(draw_put_backs(seed, options));
        faults.sort_by_key(|fault| fault.at);
    }
    if options.faults.has(Class::Members) {
        faults.extend(draw_changes(seed, options));
        faults.sort_by_key(|fault| fault.at);
    }
    faults
}

/// Changes of members: those that come mostly, so that there is somebody who can go.
fn draw_changes(seed: u64, options: &Options) -> Vec<Fault> {
    let random = &mut Random::new(seed, Purpose::Members);
    let mut faults = vec![];
    let mut at = Time::from_millis(random.below(2_000));
    while at < options.faults.storm && faults.len() < FAULTS_MAX {
        let node = options.cluster.any(random);
        let other = options.cluster.any(random);
        let wanted = match random.below(12) {
            0..=3 => Wanted::Join { node, aim: None },
            4 => Wanted::Join { node, aim: Some(Aim::Stay) },
            5 | 6 => Wanted::Join { node, aim: Some(Aim::Replace(other)) },
            7 | 8 => Wanted::Leave { node: Some(node) },
            9 => Wanted::Leave { node: None },
            10 => Wanted::Move { node },
            _ => Wanted::Lead { node },
        };
        let patience = Time::from_millis(random.spread(50, 10_000));
        let after = Time::from_millis(random.spread(1, 2_000));
        // One that is dead all the time, or until somebody wants it again.
        let starts = (random.below(5) > 0).then_some(after);
        faults.push(Fault { at, kind: FaultKind::Members { wanted, patience, starts } });
        at = at + Time::from_millis(1) + random.around(Time::from_millis(700));
    }
    faults
}

/// Some, one after the other: not all are struck, since enough others have to know better.
fn draw_put_backs(seed: u64, options: &Options) -> Vec<Fault> {
    let random = &mut Random::new(seed, Purpose::PutBack);
    let mut faults = vec![];
    let mut at = Time::from_millis(random.below(2_000));
    while at < options.faults.storm {
        let node = options.cluster.any(random);
        let down = Time::from_millis(random.spread(1, 500));
        let earlier = random.one_of(&[Earlier::New, Earlier::Stopped { down }, Earlier::Running]);
        let after = Time::from_millis(500 + random.spread(50, 6_000));
        faults.push(Fault { at, kind: FaultKind::PutBack { node, earlier, after } });
        at = at + after + Time::from_millis(random.below(1_000));
    }
    faults
}

/// The classes that strike by schedule.
const SCHEDULED: [Class; 14] = [
    Class::Partition,
    Class::Clog,
    Class::Crash,
    Class::MidWrite,
    Class::Power,
    Class::Pause,
    Class::Stall,
    Class::Full,
    Class::Io,
    Class::Rot,
    Class::Clock,
    Class::Handover,
    Class::Registry,
    Class::Clients,
];

fn draw_one(random: &mut Random, options: &Options) -> Option<FaultKind> {
    let classes: Vec<Class> =
        SCHEDULED.iter().copied().filter(|class| options.faults.has(*class)).collect();
    if classes.is_empty() {
        return None;
    }
    let node = options.cluster.any(random);
    let down = Time::from_millis(random.spread(1, 5_000));
    let length = Time::from_millis(random.spread(5, 5_000));
    let client = usize::try_from(random.below(options.workload.clients as u64)).expect("small");
    Some(match random.one_of(&classes) {
        Class::Partition if random.below(3) == 0 => {
            let friends = usize::from(random.coin());
            FaultKind::LeaderCut { friends, length }
        }
        Class::Partition => draw_cut(random, &options.cluster, length),
        Class::Clog => FaultKind::Clog { from: node, to: options.cluster.any(random), length },
        Class::Crash if random.below(3) == 0 => FaultKind::LeaderCrash { down },
        Class::Crash if random.below(4) == 0 => FaultKind::Stop { node, down },
        Class::Crash => FaultKind::Crash { node, down },
        Class::MidWrite => {
            let operations = random.below(24);
            FaultKind::MidWrite { node, operations, power: random.coin(), down }
        }
        Class::Power => FaultKind::PowerCut { nodes: some_nodes(random, &options.cluster), down },
        Class::Pause => FaultKind::Pause { node, length },
        Class::Stall => {
            FaultKind::Stall { node, length: Time::from_millis(random.spread(50, 20_000)) }
        }
        Class::Full => {
            let room = random.below(2 * options.cluster.reserve_bytes);
            FaultKind::Full { node, room: if random.below(3) == 0 { 0 } else { room }, length }
        }
        Class::Io if random.coin() => FaultKind::SyncFails { node },
        Class::Io => FaultKind::Io { node, writes: random.coin() },
        // Rot is for ever: rarely more than one node can be spared.
        Class::Rot if random.below(4) > 0 => FaultKind::Crash { node, down },
        Class::Rot => FaultKind::Rot { node },
        Class::Clock => FaultKind::ClockJump { node, ahead_ms: random.spread(1, 1 << 40) },
        Class::Handover => FaultKind::Handover { node },
        Class::Registry if random.coin() => FaultKind::RegistryCrash { power: random.coin(), down },
        Class::Registry => {
            let full = RegistryFailing::Full { length };
            let all = [RegistryFailing::Sync, RegistryFailing::Sync, RegistryFailing::Writes, full];
            FaultKind::RegistryDisk { failing: random.one_of(&all) }
        }
        Class::Clients if random.coin() => FaultKind::ClientDies { client },
        Class::Clients => FaultKind::ClientPause { client, length },
        // These are rates, or drawn apart.
        Class::Loss
        | Class::Repeat
        | Class::Reorder
        | Class::Corrupt
        | Class::Streams
        | Class::Slow
        | Class::PutBack
        | Class::Members
        | Class::Reach => unreachable!("not scheduled"),
    })
}

/// What goes wrong between clients and nodes.
fn draw_reach(seed: u64, options: &Options) -> Vec<Fault> {
    let random = &mut Random::new(seed, Purpose::Reach);
    let mut faults = vec![];
    let mut at = Time::from_millis(random.below(1_000));
    while at < options.faults.storm && faults.len() < FAULTS_MAX {
        let client = usize::try_from(random.below(options.workload.clients as u64)).expect("small");
        let length = Time::from_millis(random.spread(50, 10_000));
        let kind = match random.below(3) {
            0 => FaultKind::FlowsDie { client },
            1 => FaultKind::ClientCut { client, node: None, length },
            _ => FaultKind::ClientCut { client, node: Some(options.cluster.any(random)), length },
        };
        faults.push(Fault { at, kind });
        at = at + Time::from_millis(1) + random.around(Time::from_secs(2));
    }
    faults
}

/// A partition: two halves, one node alone, a bridge, or a ring; symmetric or one-way.
fn draw_cut(random: &mut Random, cluster: &ClusterOptions, length: Time) -> FaultKind {
    let all = cluster.all();
    let one = cluster.any(random);
    let (from, to) = match random.below(4) {
        0 => {
            let side: BTreeSet<NodeId> = all.iter().copied().filter(|_| random.coin()).collect();
            (side.clone(), all.difference(&side).copied().collect())
        }
        1 => (BTreeSet::from([one]), cluster.all_but(one)),
        2 => {
            // A bridge: one node hears both sides, which do not hear each other.
            let side: BTreeSet<NodeId> =
                all.iter().copied().filter(|node| *node != one && random.coin()).collect();
            let rest = all.iter().copied().filter(|n| *n != one && !side.contains(n)).collect();
            (side, rest)
        }
        _ => (BTreeSet::from([one]), BTreeSet::from([cluster.any(random)])),
    };
    FaultKind::Cut { from, to, both_ways: random.below(3) > 0, length }
}

fn some_nodes(random: &mut Random, cluster: &ClusterOptions) -> BTreeSet<NodeId> {
    let all = cluster.all();
    match random.below(3) {
        0 => all,
        1 => BTreeSet::from([cluster.any(random)]),
        _ => all.into_iter().filter(|_| random.coin()).collect(),
    }
}
