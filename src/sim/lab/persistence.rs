//! Persistence: the power fails, the network lies, and what was acknowledged stays.

use super::{Lab, SERVED, TIMEOUT, in_worlds, in_worlds_of};
use crate::marks::{self, MARKS, Mark};
use crate::sim::options::Options;
use crate::sim::time::Time;
use crate::types::NodeId;

const SEEDS: u64 = 10;

#[test]
fn what_was_acknowledged_is_there_after_the_power_failed_everywhere() {
    let mut spent = Time::ZERO;
    in_worlds(3, SEEDS, |lab| {
        lab.append("one");
        lab.crash_all(&lab.nodes());
        lab.start_all(&lab.nodes());
        lab.agree_on(&["one"]);
        lab.append("two");
        for record in ["three", "four"] {
            let leader = lab.elect_by_all();
            lab.crash(leader);
            let took = lab.append(record);
            assert!(took < TIMEOUT.times(3), "{took} ms without a leader");
            spent = spent + took;
            lab.start(leader);
            lab.agree();
        }
        let leader = lab.elect_by_all();
        let follower = lab.others(leader)[0];
        lab.crash(follower);
        lab.append("five");
        lab.start(follower);
        lab.agree();
        lab.crash_all(&lab.nodes());
        lab.start_all(&lab.nodes());
        lab.agree_on(&["one", "two", "three", "four", "five"]);
    });
    // 206 ms each: the first election timeout of two.
    assert!(spent < TIMEOUT.times(2 * SEEDS), "{spent} ms for {SEEDS} times two");
}

#[test]
fn any_quorum_that_starts_has_everything() {
    in_worlds(5, SEEDS, |lab| {
        for round in 0..5 {
            let leader = lab.elect_by_all();
            let [a, b, c, d] = lab.others(leader)[..] else { unreachable!("five nodes") };
            lab.append(&format!("by five {round}"));
            lab.crash_all(&[a, b]);
            lab.append(&format!("by three {round}"));
            lab.crash_all(&[leader, c, d]);
            lab.start_all(&[a, b]);
            lab.run_for(TIMEOUT.times(2));
            assert_eq!(lab.leader(), None, "two of five elect nobody");
            lab.start(d);
            assert_eq!(lab.elect(), d, "only its log is good enough");
            lab.append(&format!("by three others {round}"));
            lab.start_all(&[leader, c]);
        }
    });
}

#[test]
fn a_leader_that_lost_its_power_brings_back_what_a_stale_follower_lacks() {
    in_worlds(3, SEEDS, |lab| {
        let leader = lab.elect_by_all();
        let [with_it, stale] = lab.others(leader)[..] else { unreachable!("three nodes") };
        lab.append("one");
        lab.agree();
        lab.cut_off(stale);
        lab.append("two");
        lab.crash_all(&[leader, with_it]);
        lab.join(stale);
        lab.start(leader);
        assert_eq!(lab.elect(), leader, "the other one lacks a record");
        lab.append("three");
        lab.start(with_it);
        lab.append("four");
        lab.agree_on(&["one", "two", "three", "four"]);
    });
}

/// What these scenarios are for was there, at least once in all worlds.
#[track_caller]
fn assert_taken(paths: &[Mark]) {
    let taken = marks::take();
    for path in paths {
        let place = MARKS.iter().position(|(mark, _)| mark == path).expect("all are listed");
        assert!(taken[place] > 0, "{path:?} never happened");
    }
}

/// Hands a record to each node that takes itself for the leader, and says which was the last.
fn hand_in_at_leaders(lab: &mut Lab, name: &str) -> Option<NodeId> {
    let leaders: Vec<NodeId> = lab.nodes().into_iter().filter(|node| lab.leads(*node)).collect();
    for leader in &leaders {
        lab.hand_in(*leader, &format!("{name} at {leader}"));
    }
    leaders.last().copied()
}

/// Mostly too short for a quorum to answer, now and then long enough.
fn pause(lab: &mut Lab) {
    let most = if lab.chance.below(10) == 0 { TIMEOUT } else { Time::from_millis(13) };
    let length = lab.chance.below(most.micros());
    lab.run_for(Time::from_micros(length));
}

fn any_of(lab: &mut Lab, choices: &[NodeId]) -> NodeId {
    lab.chance.one_of(choices)
}

/// A network slow enough for messages to come from another age, and one entry a message.
fn slow(nodes: u16) -> Options {
    let mut options = Options::quiet(nodes);
    options.network.latency = Time::from_millis(5);
    options.cluster.append_count_max = 1;
    options
}

#[test]
fn leaders_that_lose_their_power_with_records_half_told_lose_nothing_acknowledged() {
    let mut committed = 0;
    in_worlds_of(&slow(5), 4, |lab| {
        for round in 0..1000 {
            let leader = hand_in_at_leaders(lab, &round.to_string());
            pause(lab);
            if let Some(leader) = leader {
                lab.crash(leader);
            }
            let down: Vec<NodeId> = lab.nodes().into_iter().filter(|n| !lab.is_up(*n)).collect();
            if down.len() > 2 {
                let node = any_of(lab, &down);
                lab.start(node);
            }
        }
        lab.start_all(&lab.nodes());
        lab.append("after all");
        committed += lab.records(lab.leader().unwrap()).len();
    });
    assert!(committed > 100, "only {committed} records were committed: that shows little");
    assert_taken(&[Mark::Truncated, Mark::OldTermNotCommitted]);
}

#[test]
fn all_agree_though_one_message_in_ten_is_lost() {
    const CLERKS: usize = 5;
    in_worlds(5, 4, |lab| {
        lab.be_unreliable(100_000, 50_000, 100_000);
        let clerks: Vec<usize> = (0..CLERKS).map(|_| lab.hire()).collect();
        for round in 0..50 {
            for clerk in &clerks {
                lab.ask(*clerk, &format!("{round} of {clerk}"));
            }
            lab.wait_until(SERVED, "all are acknowledged", |lab| {
                clerks.iter().all(|clerk| lab.is_answered(*clerk))
            });
        }
    });
}

#[test]
fn leaders_cut_off_with_records_half_told_on_a_lying_network_lose_nothing_acknowledged() {
    let mut committed = 0;
    in_worlds_of(&slow(5), 4, |lab| {
        lab.be_unreliable(100_000, 50_000, 0);
        for round in 0..1000 {
            if round == 200 {
                lab.be_unreliable(100_000, 100_000, 600_000);
            }
            let leader = hand_in_at_leaders(lab, &round.to_string());
            pause(lab);
            if let Some(leader) = leader.filter(|_| lab.chance.coin()) {
                lab.cut_off(leader);
            }
            let away: Vec<NodeId> =
                lab.nodes().into_iter().filter(|node| lab.is_cut_off(*node)).collect();
            if away.len() > 2 {
                let node = any_of(lab, &away);
                lab.join(node);
            }
        }
        lab.be_reliable();
        lab.join_all(&lab.nodes());
        lab.append("after all");
        committed += lab.records(lab.leader().unwrap()).len();
    });
    assert!(committed > 100, "only {committed} records were committed: that shows little");
    assert_taken(&[Mark::Truncated, Mark::OldTermNotCommitted, Mark::SkippedBack]);
}

/// Clients append all the time while nodes are cut off, lose their power and come back.
fn churn(lab: &mut Lab) -> usize {
    let clerks: Vec<usize> = (0..3).map(|_| lab.hire()).collect();
    let mut asked = 0;
    for _ in 0..60 {
        let nodes = lab.nodes();
        if lab.chance.below(10) < 2 {
            let node = any_of(lab, &nodes);
            lab.cut_off(node);
        }
        if lab.chance.below(10) < 5 {
            let node = any_of(lab, &nodes);
            lab.start(node);
            lab.join(node);
        }
        if lab.chance.below(10) < 2 {
            let node = any_of(lab, &nodes);
            lab.crash(node);
        }
        for _ in 0..10 {
            for clerk in &clerks {
                if lab.is_answered(*clerk) {
                    asked += 1;
                    lab.ask(*clerk, &format!("{asked} of {clerk}"));
                }
            }
            lab.run_for(Time::from_millis(20));
        }
    }
    asked
}

#[track_caller]
fn assert_busy(asked: usize) {
    assert!(asked > 400, "only {asked} records were asked for: that shows little");
}

#[test]
fn clients_lose_nothing_while_nodes_come_and_go() {
    let mut asked = 0;
    in_worlds(5, 4, |lab| asked += churn(lab));
    assert_busy(asked);
}

#[test]
fn clients_lose_nothing_while_nodes_come_and_go_on_a_lying_network() {
    let mut asked = 0;
    in_worlds_of(&slow(5), 4, |lab| {
        lab.be_unreliable(100_000, 50_000, 100_000);
        asked += churn(lab);
    });
    assert_busy(asked);
}
