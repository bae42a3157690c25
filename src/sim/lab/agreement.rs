//! Agreement: what a quorum has is committed on all, and what it costs.

use super::{HEARD, Lab, SERVED, TIMEOUT, in_worlds, in_worlds_of};
use crate::sim::options::Options;
use crate::sim::time::Time;
use crate::types::NodeId;

const SEEDS: u64 = 10;

/// An append at a leader that is known and well waits for no tick: messages and syncs are all it
/// takes.
const PROMPT: Time = Time::from_millis(25);

/// A network that keeps the order of messages, as a stream does.
fn in_order(nodes: u16) -> Options {
    let mut options = Options::quiet(nodes);
    options.network.latency = Time::ZERO;
    options
}

/// Hands records to a node so that each gets an entry of its own.
fn hand_in_one_by_one(lab: &mut Lab, node: NodeId, name: &str, count: u64) {
    let before = lab.last(node);
    for number in 0..count {
        lab.hand_in(node, &format!("{name} {number}"));
        lab.run_for(Time::from_millis(2));
    }
    let entries = lab.last(node).since(before);
    assert!(entries > count / 2, "{entries} entries of {count} records");
}

fn append_one_by_one(lab: &mut Lab, name: &str, count: u64) {
    for number in 0..count {
        lab.append(&format!("{name} {number}"));
    }
}

#[test]
fn records_are_committed_in_order_on_every_node_and_at_once() {
    let mut spent = Time::ZERO;
    in_worlds(5, SEEDS, |lab| {
        lab.elect_by_all();
        assert!(lab.nodes().iter().all(|node| lab.records(*node).is_empty()));
        lab.append("one");
        for record in ["two", "three", "four"] {
            let took = lab.append(record);
            assert!(took < PROMPT, "{record} took {took} ms");
            spent = spent + took;
        }
        let told = lab.agree();
        assert!(told <= HEARD, "the last node knew {told} ms later");
        lab.agree_on(&["one", "two", "three", "four"]);
    });
    // 1.6 ms each.
    assert!(spent < Time::from_micros(2500).times(3 * SEEDS), "{spent} ms for {SEEDS} times three");
}

#[test]
fn a_record_crosses_the_wire_once_to_each_follower() {
    const COUNT: usize = 10;
    const BYTES: usize = 5000;
    for nodes in [3, 5] {
        in_worlds(nodes, SEEDS, |lab| {
            lab.elect_by_all();
            lab.append("the leader is known");
            lab.agree();
            let cost = lab.cost_of(|lab| {
                for number in 0..COUNT {
                    lab.append(&format!("{number:BYTES$}"));
                }
                lab.agree();
            });
            let followers = usize::from(nodes) - 1;
            assert_eq!(cost.entries, (followers * COUNT) as u64);
            let least = followers * COUNT * BYTES;
            let more = usize::try_from(cost.bytes).unwrap() - least;
            assert!(more < least / 10, "{more} bytes besides the records' {least}");
        });
    }
}

#[test]
fn one_follower_may_fail_and_with_the_second_nothing_is_acknowledged() {
    in_worlds(3, SEEDS, |lab| {
        let leader = lab.elect_by_all();
        let [first, second] = lab.others(leader)[..] else { unreachable!("three nodes") };
        lab.append("by three");
        lab.cut_off(first);
        let took = lab.append("by two");
        assert!(took < PROMPT, "{took} ms");
        lab.run_for(TIMEOUT);
        let took = lab.append("by two, later");
        assert!(took < PROMPT, "{took} ms");
        lab.cut_off(second);
        lab.ask(Lab::CLERK, "by one");
        lab.run_for(TIMEOUT.times(5));
        assert_eq!((lab.holders("by one"), lab.is_answered(Lab::CLERK)), (0, false));
        assert!(!lab.leads(leader), "it hears nobody");
        lab.join(first);
        lab.wait_until(SERVED, "the client has its answer", |lab| lab.is_answered(Lab::CLERK));
        lab.join(second);
        lab.agree_on(&["by three", "by two", "by two, later", "by one"]);
    });
}

#[test]
fn one_leader_may_fail_and_with_the_second_nothing_is_acknowledged() {
    in_worlds(3, SEEDS, |lab| {
        let first = lab.elect_by_all();
        lab.append("by three");
        lab.cut_off(first);
        // The client asks the leader that it knows until that one gives up.
        let took = lab.append("by two");
        assert!(took < TIMEOUT.times(2), "{took} ms");
        let second = lab.elect();
        let took = lab.append("by two, later");
        assert!(took < PROMPT, "{took} ms");
        lab.cut_off(second);
        for node in lab.nodes() {
            lab.hand_in(node, &format!("by {node} alone"));
        }
        lab.run_for(TIMEOUT.times(5));
        for node in lab.nodes() {
            assert_eq!(lab.holders(&format!("by {node} alone")), 0);
            assert!(!lab.leads(node));
        }
    });
}

#[test]
fn a_follower_that_was_away_gets_what_it_missed() {
    in_worlds(3, SEEDS, |lab| {
        let leader = lab.elect_by_all();
        let away = lab.others(leader)[0];
        lab.append("before");
        lab.agree();
        lab.cut_off(away);
        append_one_by_one(lab, "missed", 4);
        lab.run_for(TIMEOUT);
        append_one_by_one(lab, "missed later", 4);
        assert_eq!(lab.records(away), ["before"]);
        lab.join(away);
        let cost = lab.cost_of(|lab| {
            let took = lab.agree();
            assert!(took < TIMEOUT, "{took} ms");
        });
        assert!(cost.appends <= 4 && cost.rejections <= 1, "{cost:?}");
        let took = lab.append("after");
        assert!(took < PROMPT, "{took} ms");
    });
}

#[test]
fn without_a_quorum_nothing_is_committed_and_with_it_all_agree_again() {
    in_worlds(5, SEEDS, |lab| {
        let leader = lab.elect_by_all();
        lab.append("by five");
        let away = lab.others(leader)[..3].to_vec();
        lab.cut_off_all(&away);
        lab.hand_in(leader, "by two");
        let last = lab.last(leader);
        lab.run_for(TIMEOUT.times(5));
        assert!(lab.last(leader) > last, "it was taken");
        assert_eq!(lab.holders("by two"), 0);
        lab.join_all(&away);
        lab.elect_by_all();
        lab.append("by five again");
        lab.agree();
        assert!(matches!(lab.holders("by two"), 0 | 5), "all or none have what was doubtful");
    });
}

#[test]
fn appends_that_come_together_are_all_committed_and_share_their_cost() {
    const CLERKS: u64 = 5;
    in_worlds_of(&in_order(3), SEEDS, |lab| {
        lab.elect_by_all();
        let clerks: Vec<usize> = (0..CLERKS).map(|_| lab.hire()).collect();
        for clerk in &clerks {
            lab.ask(*clerk, &format!("to know the leader {clerk}"));
        }
        let all = |lab: &Lab| clerks.iter().all(|clerk| lab.is_answered(*clerk));
        lab.wait_until(SERVED, "all know the leader", all);
        lab.agree();
        let (term, last) = (lab.common_term(), lab.last(lab.nodes()[0]));
        let cost = lab.cost_of(|lab| {
            for clerk in &clerks {
                lab.ask(*clerk, &format!("at once {clerk}"));
            }
            lab.wait_until(PROMPT, "all are acknowledged", all);
        });
        lab.agree();
        let entries = lab.last(lab.nodes()[0]).since(last);
        assert!(entries < CLERKS, "{CLERKS} appends, {entries} entries");
        assert_eq!((cost.appends, cost.entries), (2 * entries, 2 * entries), "{cost:?}");
        assert_eq!(lab.common_term(), term);
    });
}

#[test]
fn a_leader_that_comes_back_gives_up_what_only_it_had() {
    in_worlds(3, SEEDS, |lab| {
        let first = lab.elect_by_all();
        lab.append("one");
        lab.cut_off(first);
        hand_in_one_by_one(lab, first, "only the first has it", 3);
        lab.append("two");
        let second = lab.elect();
        lab.cut_off(second);
        lab.join(first);
        lab.append("three");
        lab.join(second);
        lab.append("four");
        lab.agree_on(&["one", "two", "three", "four"]);
    });
}

#[test]
fn fifty_wrong_entries_cost_a_few_messages() {
    const COUNT: u64 = 50;
    in_worlds(5, SEEDS, |lab| {
        let first = lab.elect_by_all();
        let [with_it, ref rest @ ..] = lab.others(first)[..] else { unreachable!("five nodes") };
        lab.append("all");
        lab.cut_off_all(rest);
        hand_in_one_by_one(lab, first, "of the first", COUNT);
        lab.cut_off_all(&[first, with_it]);
        lab.join_all(rest);
        let second = lab.elect();
        append_one_by_one(lab, "kept", COUNT);
        let away = *rest.iter().find(|node| **node != second).unwrap();
        lab.agree();
        lab.cut_off(away);
        hand_in_one_by_one(lab, second, "of the second", COUNT);
        lab.cut_off_all(rest);
        // Two have fifty wrong entries of the first, and the one that leads them has none.
        lab.join_all(&[first, with_it, away]);
        let cost = lab.cost_of(|lab| {
            assert_eq!(lab.elect_by_all(), away, "only its log is good enough");
            let took = lab.agree();
            assert!(took < TIMEOUT);
        });
        assert!(cost.rejections <= 4 && cost.appends <= 12, "{cost:?}");
        append_one_by_one(lab, "kept as well", COUNT);
        // And two have fifty wrong entries of the second.
        let cost = lab.cost_of(|lab| {
            lab.join_all(rest);
            let took = lab.agree();
            assert!(took < TIMEOUT);
        });
        assert!(cost.rejections <= 4 && cost.appends <= 12, "{cost:?}");
        let records = lab.records(first);
        assert_eq!(records.len() as u64, 1 + 2 * COUNT);
        assert!(records.iter().all(|record| record == "all" || record.starts_with("kept")));
    });
}

#[test]
fn elections_appends_and_idle_time_cost_few_messages() {
    in_worlds_of(&in_order(3), SEEDS, |lab| {
        let cost = lab.cost_of(|lab| {
            lab.elect_by_all();
        });
        // Asked whether they would, asked whether they do, told who leads: with the answers. Twice
        // if two ask at once.
        assert!((10..=24).contains(&cost.sent), "to elect: {cost:?}");
        lab.append("the leader is known");
        lab.agree();
        let cost = lab.cost_of(|lab| append_one_by_one(lab, "one by one", 10));
        assert!(cost.appends == 20 && cost.entries == 20, "{cost:?}");
        lab.agree();
        let cost = lab.cost_of(|lab| {
            (0..10).for_each(|number| lab.ask(Lab::CLERK, &format!("at once {number}")));
            lab.wait_until(PROMPT, "acknowledged", |lab| lab.is_answered(Lab::CLERK));
        });
        assert!(cost.appends <= 10 && cost.entries == cost.appends, "they share entries: {cost:?}");
        lab.agree();
        let cost = lab.cost_of(|lab| lab.run_for(Time::from_secs(1)));
        // A heartbeat to each follower every 25 ms, and its answer.
        assert!((152..=168).contains(&cost.sent) && cost.appends == 0, "{cost:?}");
        assert!(cost.bytes < 40 * cost.sent, "{cost:?}");
    });
}
