//! The one case in which a majority is not enough (figure 8 of the paper, 3.7 of the thesis).
//!
//! ```text
//!            a        b        c          d        e
//!   first    old      old      old *      gone     old *
//!   second   old      old      old *      gone     old *
//!   third    .        .        old        new      old *
//!   fourth   .        .        .          new      .
//!   fifth    .        new      new        new      gone
//!                                    * followed by an entry of the newest term
//! ```
//!
//! In c the old entry is on three disks of five. It is of an older term, so that does not commit it:
//! the fifth node may still win and overwrite it (d). Only when a majority has an entry of the newest
//! term behind it the fifth node cannot win any more, and both are committed (e).

use super::{ELECTION, Lab, TIMEOUT, in_worlds_of};
use crate::sim::options::Options;
use crate::sim::time::Time;
use crate::types::{Index, NodeId};

const SEEDS: u64 = 10;

/// In so many of them chance must not get in the way.
const REACHED_MIN: u64 = 5;

/// A few messages and syncs.
const A_WHILE: Time = Time::from_millis(80);

/// The nodes, and the index of the old entry.
struct Histories {
    first: NodeId,
    second: NodeId,
    third: NodeId,
    fourth: NodeId,
    fifth: NodeId,
    old: Index,
}

/// Five nodes, one entry a message, and a network slow enough to step in between two of them.
fn options() -> Options {
    let mut options = Options::quiet(5);
    options.cluster.append_count_max = 1;
    options.network.latency = Time::from_millis(10);
    options
}

/// The one of three that all three vote for, before it knows.
fn elected(lab: &Lab, three: &[NodeId]) -> Option<NodeId> {
    let votes = |node: NodeId| lab.vote(node).map(|vote| (lab.term(node), vote));
    let all_for = |node: NodeId| {
        let own = Some((lab.term(node), node));
        !lab.leads(node) && three.iter().all(|voter| votes(*voter) == own)
    };
    three.iter().copied().find(|node| all_for(*node))
}

/// From a to b: two nodes have an entry of an old term, one has another of a newer term, at the same
/// place. `None` if a message came too early.
fn two_histories(lab: &mut Lab) -> Option<Histories> {
    let first = lab.elect_by_all();
    lab.append("base");
    lab.agree();
    let [second, ref three @ ..] = lab.others(first)[..] else { unreachable!("five nodes") };
    lab.cut_off_all(three);
    let base = lab.last(first);
    lab.hand_in(first, "old");
    lab.wait_until(TIMEOUT, "two have the old entry", |lab| {
        lab.persisted(first) > base && lab.persisted(second) > base
    });
    lab.crash(first);
    lab.cut_off(second);
    lab.join_all(three);
    lab.wait_until(ELECTION, "one has all three votes", |lab| {
        elected(lab, three).is_some() || lab.leader().is_some()
    });
    let fifth = elected(lab, three)?;
    let [third, fourth] =
        three.iter().copied().filter(|node| *node != fifth).collect::<Vec<_>>()[..]
    else {
        unreachable!("two of three")
    };
    lab.mute(fifth, &[third, fourth]);
    lab.run_for(A_WHILE);
    lab.hand_in(fifth, "new");
    lab.run_for(A_WHILE);
    let is_alone = lab.last(third) == base && lab.last(fourth) == base;
    if !is_alone || lab.persisted(fifth) < base.plus(2) {
        return None;
    }
    lab.crash(fifth);
    lab.unmute(fifth);
    Some(Histories { first, second, third, fourth, fifth, old: base.next() })
}

/// To c: one of the first two leads again, and has just sent the third the old entry.
fn old_on_a_majority(lab: &mut Lab, histories: &Histories) -> Option<NodeId> {
    let Histories { first, second, third, fourth, old, .. } = *histories;
    lab.cut_off(fourth);
    lab.join(second);
    lab.start(first);
    lab.wait_until(ELECTION.times(2), "the third has the old entry", |lab| lab.last(third) >= old);
    let heir = [first, second].into_iter().find(|node| lab.leads(*node))?;
    lab.mute(heir, &[third]);
    lab.run_for(A_WHILE);
    let is_told = lab.matched(heir, third) == old && lab.last(third) == old;
    is_told.then_some(heir)
}

#[test]
fn an_old_entry_on_a_majority_is_not_committed_and_may_be_overwritten() {
    let mut reached = 0;
    in_worlds_of(&options(), SEEDS, |lab| {
        let Some(histories) = two_histories(lab) else { return };
        let Some(heir) = old_on_a_majority(lab, &histories) else { return };
        reached += 1;
        let Histories { first, second, third, fourth, fifth, old } = histories;
        let on_disk = [first, second, third].iter().all(|node| lab.persisted(*node) >= old);
        assert!(on_disk, "three of five have it");
        assert!(lab.nodes().iter().all(|node| !lab.is_up(*node) || lab.commit_index(*node) < old));
        lab.crash_all(&[first, second]);
        lab.unmute(heir);
        lab.join(fourth);
        lab.start(fifth);
        lab.wait_until(ELECTION.times(2), "a leader", |lab| lab.leader() == Some(fifth));
        lab.agree_on(&["base", "new"]);
        lab.start_all(&[first, second]);
        lab.agree_on(&["base", "new"]);
    });
    assert!(reached >= REACHED_MIN, "the figure was played {reached} times of {SEEDS}");
}

#[test]
fn an_old_entry_below_a_new_one_on_a_majority_is_committed_for_ever() {
    let mut reached = 0;
    in_worlds_of(&options(), SEEDS, |lab| {
        let Some(histories) = two_histories(lab) else { return };
        reached += 1;
        let Histories { first, second, third, fourth, fifth, .. } = histories;
        lab.cut_off(fourth);
        lab.join(second);
        lab.start(first);
        lab.wait_until(ELECTION.times(2), "it is committed", |lab| lab.holders("old") > 0);
        let heir = lab.leader().expect("somebody committed it");
        lab.crash(heir);
        lab.join(fourth);
        lab.start(fifth);
        let [other] = [first, second].into_iter().filter(|n| *n != heir).collect::<Vec<_>>()[..]
        else {
            unreachable!("one of two")
        };
        lab.wait_until(ELECTION.times(2), "a leader", |lab| lab.leader().is_some());
        assert!([third, other].contains(&lab.leader().unwrap()), "others lack what is committed");
        lab.agree_on(&["base", "old"]);
    });
    assert!(reached >= REACHED_MIN, "the figure was played {reached} times of {SEEDS}");
}
