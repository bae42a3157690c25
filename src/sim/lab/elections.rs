//! Elections: one leader, soon, and no more of them than needed.

use super::{ELECTION, HEARD, Lab, TIMEOUT, in_worlds};
use crate::sim::time::Time;
use crate::types::NodeId;

const SEEDS: u64 = 10;

/// While time passes, nobody takes itself for the leader.
#[track_caller]
fn assert_nobody_leads_for(lab: &mut Lab, length: Time) {
    let end = lab.now() + length;
    while lab.now() < end {
        lab.run_for(Time::from_millis(5));
        let leaders: Vec<NodeId> = lab.nodes().into_iter().filter(|n| lab.leads(*n)).collect();
        assert_eq!(leaders, []);
    }
}

/// While time passes, the leader and the term stay what they are.
#[track_caller]
fn assert_stable_for(lab: &mut Lab, length: Time) {
    let (leader, term) = (lab.leader(), lab.common_term());
    assert_ne!(leader, None);
    lab.run_for(length);
    assert_eq!((lab.leader(), lab.common_term()), (leader, term));
}

#[test]
fn a_new_cluster_elects_one_leader_and_keeps_it_while_nothing_fails() {
    for nodes in [1, 2, 3, 5, 7] {
        let mut spent = Time::ZERO;
        in_worlds(nodes, SEEDS, |lab| {
            lab.elect_by_all();
            spent = spent + lab.now();
            lab.run_for(HEARD);
            let cost = lab.cost_of(|lab| assert_stable_for(lab, TIMEOUT.times(10)));
            assert_eq!(cost.votes, 0, "nobody asks for votes while there is a leader");
        });
        // As a rule the first to wake up wins.
        assert!(spent < TIMEOUT.times(SEEDS), "{nodes} nodes: {spent} ms in {SEEDS} worlds");
    }
}

#[test]
fn a_leader_that_is_cut_off_steps_down_is_replaced_and_follows_on_its_return() {
    for nodes in [3, 5] {
        let mut spent = Time::ZERO;
        in_worlds(nodes, SEEDS, |lab| {
            let old = lab.elect_by_all();
            let term = lab.common_term();
            lab.cut_off(old);
            let cut_at = lab.now();
            lab.wait_until(TIMEOUT + HEARD, "the old leader steps down", |lab| !lab.leads(old));
            let new = lab.elect();
            spent = spent + lab.now().since(cut_at);
            assert_eq!(lab.term(old), term, "alone it uses up no terms");
            lab.run_for(TIMEOUT.times(5));
            assert!(lab.common_term() > term);
            assert_eq!((lab.leader(), lab.leads(old)), (Some(new), false));
            lab.join(old);
            lab.wait_until(HEARD, "the old leader follows", |lab| lab.follows(old, new));
            assert_stable_for(lab, TIMEOUT.times(5));
        });
        // It steps down before others ask for votes, or soon after: that comes to a timeout.
        assert!(spent < TIMEOUT.times(2 * SEEDS), "{spent} ms in {SEEDS} worlds");
    }
}

#[test]
fn without_a_quorum_nobody_leads_and_no_term_is_used_up() {
    in_worlds(3, SEEDS, |lab| {
        let old = lab.elect_by_all();
        let term = lab.common_term();
        let other = lab.others(old)[0];
        lab.cut_off(old);
        lab.cut_off(other);
        lab.wait_until(TIMEOUT + HEARD, "the old leader steps down", |lab| !lab.leads(old));
        assert_nobody_leads_for(lab, TIMEOUT.times(10));
        assert!(lab.nodes().iter().all(|node| lab.term(*node) == term));
        lab.join(other);
        let new = lab.elect_by_all();
        lab.join(old);
        lab.wait_until(HEARD, "the last one follows", |lab| lab.follows(old, new));
        assert_stable_for(lab, TIMEOUT.times(5));
    });
}

#[test]
fn a_follower_that_was_away_changes_nothing_when_it_is_back() {
    in_worlds(5, SEEDS, |lab| {
        let leader = lab.elect_by_all();
        let term = lab.common_term();
        let away = lab.others(leader)[1];
        lab.cut_off(away);
        lab.append("without it");
        lab.run_for(TIMEOUT.times(10));
        lab.join(away);
        lab.wait_until(HEARD, "it follows again", |lab| lab.follows(away, leader));
        assert_stable_for(lab, TIMEOUT.times(5));
        assert_eq!(lab.common_term(), term);
    });
}

#[test]
fn seven_nodes_have_a_leader_whichever_three_are_cut_off() {
    const ROUNDS: u64 = 10;
    in_worlds(7, 4, |lab| {
        lab.elect_by_all();
        let first_term = lab.common_term();
        for _ in 0..ROUNDS {
            let before = lab.leader();
            let mut away = lab.nodes();
            while away.len() > 3 {
                let leave = lab.chance.below(away.len() as u64);
                away.remove(usize::try_from(leave).unwrap());
            }
            lab.cut_off_all(&away);
            if before.is_some_and(|leader| away.contains(&leader)) {
                lab.elect();
            }
            lab.run_for(TIMEOUT.times(2));
            assert!(lab.leader().is_some());
            let unharmed = before.is_some_and(|leader| !away.contains(&leader));
            assert!(!unharmed || lab.leader() == before, "the leader was never cut off");
            lab.join_all(&away);
            lab.wait_until(ELECTION, "all follow", Lab::has_leader_of_all);
        }
        let terms = lab.common_term().get() - first_term.get();
        assert!(terms <= 2 * ROUNDS, "{terms} terms for {ROUNDS} elections at most");
    });
}
