//! Full disks: what has room goes on, what has none stays, and nothing dies of it.

use super::{Lab, SERVED, TIMEOUT, in_worlds};
use crate::limits;
use crate::sim::time::Time;
use crate::types::NodeId;

const SEEDS: u64 = 10;

/// Less than a node wants to keep free, and enough to take what its leader has.
const LITTLE: u64 = 200 << 10;

/// Less than half of that, and enough for the first entries of terms.
const VERY_LITTLE: u64 = 100 << 10;

/// Enough for votes, and for nothing else.
const NEXT_TO_NOTHING: u64 = 20 << 10;

/// A node has looked at its disk, and its leader has heard what it saw.
const NOTICED: Time = Time::from_millis(700);

#[test]
fn while_a_quorum_has_room_the_others_stay_behind_and_catch_up_by_themselves() {
    in_worlds(3, SEEDS, |lab| {
        assert!(NOTICED > Time::of(limits::UPKEEP_INTERVAL));
        let leader = lab.elect_by_all();
        let full = lab.others(leader)[0];
        lab.append("one");
        lab.agree();
        lab.leave_room(full, NEXT_TO_NOTHING);
        lab.run_for(NOTICED);
        let last = lab.last(full);
        for number in 0..100 {
            lab.append(&format!("{number} {}", "x".repeat(2000)));
        }
        assert!(lab.is_full(full) && lab.follows(full, leader), "it follows as ever");
        assert_eq!(lab.last(full), last, "it takes nothing");
        assert_eq!(lab.starts(full), 1, "it lives");
        lab.make_room(full);
        lab.agree();
    });
}

#[test]
fn a_leader_without_room_makes_way_for_one_with_room() {
    in_worlds(3, SEEDS, |lab| {
        let leader = lab.elect_by_all();
        lab.append("one");
        lab.leave_room(leader, LITTLE);
        lab.wait_until(NOTICED + TIMEOUT.times(2), "another leads", |lab| {
            lab.leader().is_some_and(|new| new != leader)
        });
        let successor = lab.elect_by_all();
        let took = lab.append("two");
        assert!(took < TIMEOUT, "{took} ms");
        lab.run_for(TIMEOUT.times(3));
        assert_eq!(lab.leader(), Some(successor), "and it stays so");
    });
}

#[test]
fn without_room_nothing_is_taken_and_all_else_goes_on() {
    in_worlds(3, SEEDS, |lab| {
        let successor = fill_and_lose_the_leader(lab, LITTLE);
        assert!(lab.others(successor).iter().all(|node| lab.follows(*node, successor)));
        let lucky = lab.others(successor)[0];
        lab.make_room(lucky);
        refuses(lab, successor);
        lab.make_room(successor);
        lab.wait_until(SERVED, "a quorum has room", |lab| lab.is_answered(Lab::CLERK));
        let starts: u64 = lab.nodes().into_iter().map(|node| lab.starts(node)).sum();
        assert_eq!(starts, 4, "nobody died of it");
    });
}

#[test]
fn with_less_than_half_of_the_reserve_a_new_leader_is_ready() {
    in_worlds(3, SEEDS, |lab| {
        fill_and_lose_the_leader(lab, VERY_LITTLE);
        lab.nodes().into_iter().for_each(|node| lab.make_room(node));
        lab.wait_until(SERVED, "there is room", |lab| lab.is_answered(Lab::CLERK));
    });
}

/// All disks have so little room that nothing is taken; votes, the entry of a new leader, reads, and a
/// start go on. Returns who leads after all that.
fn fill_and_lose_the_leader(lab: &mut Lab, room: u64) -> NodeId {
    lab.append("one");
    lab.agree();
    for node in lab.nodes() {
        lab.leave_room(node, room);
    }
    // Who notices first may hand over to one that is about to notice.
    lab.run_for(NOTICED + TIMEOUT);
    let leader = lab.elect_by_all();
    lab.ask(Lab::CLERK, "two");
    refuses(lab, leader);
    lab.crash(leader);
    let successor = lab.elect_by_all();
    assert_ne!(successor, leader);
    refuses(lab, successor);
    lab.start(leader);
    refuses(lab, successor);
    successor
}

/// An append waits, a read does not.
fn refuses(lab: &mut Lab, leader: NodeId) {
    lab.run_for(NOTICED);
    let last = lab.last(leader);
    lab.read();
    lab.run_for(NOTICED);
    assert!(!lab.is_answered(Lab::CLERK), "there is no room for it");
    assert_eq!((lab.leader(), lab.last(leader)), (Some(leader), last));
}
