//! Scenarios that random faults would take long to compose: known ways in which implementations of
//! Raft have failed, with noise on top.

use std::collections::BTreeSet;

use super::faults::{Earlier, Fault, FaultKind, Wanted};
use super::options::{ClusterOptions, Options, Slowness, node};
use super::random::Random;
use super::template::Template;
use super::time::Time;
use crate::members::Aim;
use crate::types::NodeId;

/// The rest of the cluster, while the core recovers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rest {
    Dead,
    Stuck,
    Deaf,
    Dumb,
    CutOff,
}

/// One round of a scenario takes about so long.
const ROUND: Time = Time::from_millis(1_500);

impl Template {
    /// How many nodes it needs.
    fn nodes(self) -> u16 {
        match self {
            Self::Figure8 | Self::Bridge => 5,
            // Of an even number two halves can each lack one.
            Self::Changes => 4,
            Self::DeafLeader
            | Self::Isolated
            | Self::PowerCutOfAll
            | Self::MinorityRot
            | Self::PauseAndKill
            | Self::StaleLeader
            | Self::SlowDisks
            | Self::Trimmed
            | Self::MajorityRot => 3,
        }
    }

    /// Makes the run such that its faults have an effect.
    pub(super) fn prepare(self, options: &mut Options) {
        let Options { cluster, disks, network, workload, faults } = options;
        cluster.nodes = self.nodes();
        match self {
            Self::Figure8 => {
                cluster.append_count_max = 1;
                cluster.tick = Time::from_millis(5);
                network.latency = Time::from_millis(5);
                cluster.election_timeout_ticks = (20, 25);
                workload.think = Time::from_millis(2);
                workload.in_flight_max = 8;
            }
            Self::StaleLeader => {
                // Others may elect long before it gives up.
                cluster.election_timeout_ticks = (20, 120);
                cluster.tick = Time::from_millis(5);
                cluster.heartbeat_ticks = 5;
                network.latency = Time::from_micros(500);
                disks.latency = Time::from_micros(500);
                workload.think = Time::from_millis(2);
                workload.clients = 4;
            }
            Self::SlowDisks => {
                cluster.election_timeout_ticks = (30, 60);
                cluster.tick = Time::from_millis(5);
                disks.slowness = Some(Slowness { sync: Time::from_millis(1_500), node: None });
            }
            Self::Trimmed => {
                // A segment is a few entries, all of which are trimmed or deleted soon.
                cluster.segment_bytes = 4 << 10;
                // All of it at once, or in so many pieces that much is given up meanwhile.
                let is_small = cluster.head_piece_bytes_max < 8 << 10;
                cluster.head_piece_bytes_max = if is_small { 2 } else { 1 << 20 };
                cluster.release_patience = cluster.release_patience.clamp(4, 10);
                cluster.tick = Time::from_millis(5);
                cluster.election_timeout_ticks = (20, 25);
                cluster.window_bytes_max = cluster.window_bytes_max.min(4 << 10);
                cluster.reserve_bytes = cluster.reserve_bytes.min(16 << 10);
                network.latency = Time::from_millis(1);
                disks.latency = disks.latency.min(Time::from_millis(2));
                disks.sealing = Time::from_millis(2);
                (workload.keepers, workload.is_tidy) = (4, true);
                (workload.clients, workload.guarded) = (workload.keepers, 0);
                workload.think = Time::from_millis(5);
            }
            Self::MajorityRot => faults.beyond_the_promise = true,
            Self::Changes => {
                options.let_members_change(2);
                let Options { cluster, network, disks, .. } = options;
                cluster.tick = Time::from_millis(5);
                cluster.election_timeout_ticks = (20, 40);
                network.latency = Time::from_millis(1);
                disks.latency = Time::from_millis(15);
            }
            Self::Bridge
            | Self::DeafLeader
            | Self::Isolated
            | Self::PowerCutOfAll
            | Self::MinorityRot
            | Self::PauseAndKill => {}
        }
    }

    /// What becomes in the end of those that are left out, if it is not to be chance: then the one
    /// that leads is among them.
    pub(super) fn aftermath(self) -> Option<Rest> {
        match self {
            Self::DeafLeader => Some(Rest::Deaf),
            Self::PauseAndKill => Some(Rest::Stuck),
            Self::Isolated => Some(Rest::CutOff),
            Self::SlowDisks => Some(Rest::Dead),
            Self::Figure8
            | Self::Bridge
            | Self::PowerCutOfAll
            | Self::MinorityRot
            | Self::StaleLeader
            | Self::Trimmed
            | Self::MajorityRot
            | Self::Changes => None,
        }
    }

    /// Its faults. Who leads when they strike is not known: they come in rounds, so that some round
    /// hits the leader.
    pub(super) fn faults(self, random: &mut Random, options: &Options) -> Vec<Fault> {
        let mut faults = vec![];
        let mut begin = Time::from_millis(1_000);
        let pause = if self == Self::Figure8 { Time::from_millis(300) } else { ROUND };
        while begin < options.faults.storm {
            let one = options.cluster.any(random);
            let round = self.round(random, &options.cluster, one);
            faults.extend(round.into_iter().map(|(after, kind)| Fault { at: begin + after, kind }));
            begin = begin + pause + random.around(ROUND);
        }
        faults
    }

    fn round(
        self,
        random: &mut Random,
        cluster: &ClusterOptions,
        one: NodeId,
    ) -> Vec<(Time, FaultKind)> {
        let others = cluster.all_but(one);
        let cut = |from: BTreeSet<NodeId>, to: BTreeSet<NodeId>, both_ways| FaultKind::Cut {
            from,
            to,
            both_ways,
            length: ROUND,
        };
        let alone = BTreeSet::from([one]);
        let half = Time::from_micros(ROUND.micros() / 2);
        match self {
            Self::Figure8 => {
                // It reaches one other at most, and dies before it reaches more.
                let die = Time::from_millis(random.between(20, 600));
                let down = Time::from_millis(random.between(100, 900));
                let friends = usize::from(random.coin());
                let length = die + Time::from_millis(random.below(300));
                vec![
                    (Time::ZERO, FaultKind::LeaderCut { friends, length }),
                    (die, FaultKind::LeaderCrash { down }),
                ]
            }
            Self::Bridge => {
                let left: BTreeSet<NodeId> = [node(1), node(2)].into();
                let right: BTreeSet<NodeId> = [node(4), node(5)].into();
                vec![(Time::ZERO, cut(left, right, true))]
            }
            Self::DeafLeader => vec![(Time::ZERO, cut(others, alone, false))],
            Self::Isolated => vec![(Time::ZERO, cut(alone, others, true))],
            Self::StaleLeader => {
                // When it comes back, the one that was elected meanwhile is gone.
                let crash = FaultKind::LeaderCrash { down: half };
                vec![
                    (Time::ZERO, FaultKind::LeaderCut { friends: 0, length: ROUND }),
                    (ROUND, crash),
                ]
            }
            Self::PowerCutOfAll => {
                let down = Time::from_millis(random.spread(1, 500));
                vec![(half, FaultKind::PowerCut { nodes: cluster.all(), down })]
            }
            Self::SlowDisks => {
                vec![(Time::ZERO, FaultKind::LeaderCrash { down: ROUND })]
            }
            Self::Trimmed => {
                // Longer than anybody is waited for.
                let patience = cluster.election_timeout().times(cluster.release_patience.into());
                let length = patience.min(ROUND.times(2)) + ROUND;
                let kind = match random.below(3) {
                    0 => FaultKind::Crash { node: one, down: length },
                    1 => FaultKind::Cut { from: alone, to: others, both_ways: true, length },
                    _ => {
                        let (earlier, after) = (Earlier::New, Time::ZERO);
                        FaultKind::PutBack { node: one, earlier, after }
                    }
                };
                vec![(Time::ZERO, kind)]
            }
            Self::Changes => {
                // Asked of one leader, who reaches one other at most soon; then of the next.
                let mut ask = |at: Time| {
                    let wanted = change(random, cluster);
                    let starts = Some(Time::from_millis(random.spread(1, 300)));
                    (at, FaultKind::Members { wanted, patience: ROUND, starts })
                };
                let (first, second) = (ask(Time::ZERO), ask(Time::from_millis(100)));
                let soon = Time::from_millis(random.spread(1, 300));
                let friends = usize::from(random.coin());
                let cut = FaultKind::LeaderCut { friends, length: ROUND };
                let crash = FaultKind::LeaderCrash { down: half };
                let later = half + Time::from_millis(random.spread(1, 300));
                vec![first, (soon, cut), second, (later, crash)]
            }
            Self::MinorityRot => {
                let down = Time::from_millis(random.spread(1, 500));
                vec![
                    (Time::ZERO, FaultKind::Rot { node: node(1) }),
                    (half, FaultKind::Crash { node: one, down }),
                ]
            }
            Self::MajorityRot => {
                // Before the first finds its damage, or while it waits.
                let after = Time::from_millis(random.spread(1, 600));
                let rot = |node| FaultKind::Rot { node };
                let mut times = [Time::ZERO, after].into_iter();
                let others = others.into_iter().take(1).chain([one]);
                others.filter_map(|node| Some((times.next()?, rot(node)))).collect()
            }
            Self::PauseAndKill => {
                let other = others.iter().next().copied().unwrap_or(one);
                vec![
                    (Time::ZERO, FaultKind::Pause { node: one, length: ROUND }),
                    (half, FaultKind::Crash { node: other, down: half }),
                ]
            }
        }
    }
}

/// A change of members that makes one voter more or less, or exchanges one.
fn change(random: &mut Random, cluster: &ClusterOptions) -> Wanted {
    let (node, other) = (cluster.any(random), cluster.any(random));
    match random.below(4) {
        0 => Wanted::Leave { node: Some(node) },
        1 => Wanted::Join { node, aim: Some(Aim::Replace(other)) },
        _ => Wanted::Join { node, aim: None },
    }
}
