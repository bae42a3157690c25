//! Slow disks: a cluster whose syncs take longer than its election timeouts elects and appends, slowly.

use super::{HEARD, Lab, SERVED, TIMEOUT, in_worlds_of};
use crate::sim::options::{Options, Slowness};
use crate::sim::time::Time;
use crate::types::NodeId;

const SEEDS: u64 = 8;

/// Two syncs for the candidate's vote, two for those of the others, one for the first entry, and those
/// of one campaign in which two stood at once.
const SYNCS_TO_ELECT: u64 = 10;

fn slow(sync: Time, node: Option<NodeId>) -> Options {
    let mut options = Options::quiet(3);
    options.disks.slowness = Some(Slowness { sync, node });
    options
}

fn elect(lab: &mut Lab, sync: Time) -> NodeId {
    let within = sync.times(SYNCS_TO_ELECT) + TIMEOUT.times(10);
    lab.wait_until(within, "a leader serves", |lab| lab.leader().is_some());
    lab.leader().expect("there was one a line ago")
}

/// Appends a record and waits until it is acknowledged: a sync for what is under way, one for the
/// record, and once more both if the leader's answer is late and the client asks again.
fn append(lab: &mut Lab, record: &str, sync: Time) {
    lab.ask(Lab::CLERK, record);
    lab.wait_until(SERVED + sync.times(4), record, |lab| lab.is_answered(Lab::CLERK));
}

#[test]
fn with_disks_that_are_all_slow_a_leader_is_elected_and_stays() {
    for sync in [70, 100, 200, 1_500, 4_000].map(Time::from_millis) {
        in_worlds_of(&slow(sync, None), SEEDS, |lab| {
            let leader = elect(lab, sync);
            assert!(lab.term(leader).get() <= 3, "{} campaigns", lab.term(leader));
            let term = lab.term(leader);
            append(lab, "one", sync);
            append(lab, "two", sync);
            lab.run_for(sync.times(6));
            assert_eq!((lab.leader(), lab.term(leader)), (Some(leader), term), "{sync} ms");
        });
    }
}

#[test]
fn a_slow_follower_s_vote_is_waited_for_when_the_leader_dies() {
    for sync in [70, 200, 1_500].map(Time::from_millis) {
        for seed in 1..=SEEDS {
            let mut lab = Lab::new(seed, Options::quiet(3));
            let leader = lab.elect();
            let slow = lab.others(leader)[0];
            lab.slow_down(Slowness { sync, node: Some(slow) });
            let term = lab.term(leader);
            lab.crash(leader);
            let next = elect(&mut lab, sync);
            assert!(lab.term(next).get() <= term.get() + 3, "{} campaigns", lab.term(next));
            append(&mut lab, "one", sync);
            lab.start(leader);
            lab.run_for(HEARD);
            lab.close();
        }
    }
}

#[test]
fn a_leader_whose_disk_alone_takes_seconds_gives_way_to_one_whose_disk_does_not() {
    let sync = Time::from_secs(4);
    for seed in 1..=SEEDS {
        let mut lab = Lab::new(seed, Options::quiet(3));
        let slow = lab.elect();
        lab.slow_down(Slowness { sync, node: Some(slow) });
        lab.ask(Lab::CLERK, "one");
        lab.wait_until(sync.times(SYNCS_TO_ELECT), "another leads", |lab| {
            lab.leader().is_some_and(|leader| leader != slow)
        });
        let leader = lab.leader();
        append(&mut lab, "two", sync);
        lab.run_for(sync.times(6));
        assert_eq!(lab.leader(), leader);
        lab.close();
    }
}
