//! What a supervisor asks: does it run, and is it of use?

use std::time::Duration;

use hyper::StatusCode;

use super::answer::{Answer, TEXT, answer, not_now};
use super::house::House;
use crate::limits::HTTP_STILL_MAX;
use crate::wire::api::{Role, Welcome};

/// It is at work. The door has a thread of its own: that it answers says nothing of the node behind it.
pub(super) fn live(house: &House) -> Answer {
    match stillness(house.inside.still_for()) {
        None => answer(StatusCode::OK, TEXT, "live\n"),
        Some(reason) => not_now(reason, "its log says what it did last"),
    }
}

/// It can serve its clients.
pub(super) fn ready(house: &House) -> Answer {
    let still = stillness(house.inside.still_for());
    match still.or_else(|| reason(&house.inside.welcome())) {
        None => answer(StatusCode::OK, TEXT, "ready\n"),
        Some(reason) => not_now(reason, "`annal status` shows who is missing"),
    }
}

fn stillness(still_for: Duration) -> Option<&'static str> {
    (still_for > HTTP_STILL_MAX).then_some("the node behind this door has not moved for a while")
}

/// Why it cannot; `None` if it can. Who leads or is led is in touch with a majority: without one a
/// leader steps down, and a node that is not led any more looks for votes.
fn reason(welcome: &Welcome) -> Option<&'static str> {
    match (welcome.role, welcome.leader) {
        (Role::Leader, _) if welcome.ready => None,
        (Role::Leader, _) => Some("not ready: it leads, and nothing of its term is committed yet"),
        (Role::Follower | Role::Learner, Some(_)) => None,
        (Role::Recovering, _) => Some("not ready: its store was lost, and is being filled"),
        (Role::Damaged, _) => Some("not ready: its store is damaged"),
        (Role::Follower | Role::Learner | Role::PreCandidate | Role::Candidate, _) => {
            Some("not ready: nobody leads that it knows of")
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::types::{ClusterId, Incarnation, Index, NodeId, Offset, Term};
    use crate::wire::api::Vitals;

    pub(crate) fn welcome(role: Role, leader: Option<u16>, ready: bool) -> Welcome {
        Welcome {
            cluster: ClusterId::new(1),
            node: NodeId::new(2).unwrap(),
            incarnation: Incarnation::new(1),
            role,
            term: Term::new(3),
            leader: leader.and_then(NodeId::new),
            ready,
            last_index: Index::new(9),
            commit_index: Index::new(8),
            next_offset: Offset::new(70),
            disk_full: None,
            log_ahead_ms: 0,
            nodes: vec![],
            vitals: Vitals::default(),
        }
    }

    #[test]
    fn a_node_that_stands_still_is_not_live() {
        assert_eq!(stillness(Duration::from_secs(1)), None);
        assert!(stillness(HTTP_STILL_MAX + Duration::from_millis(1)).is_some());
    }

    #[test]
    fn who_leads_or_is_led_is_ready() {
        assert_eq!(reason(&welcome(Role::Leader, Some(2), true)), None);
        assert_eq!(reason(&welcome(Role::Follower, Some(1), false)), None);
        for (role, leader) in [
            (Role::Leader, Some(2)),
            (Role::Follower, None),
            (Role::PreCandidate, Some(1)),
            (Role::Candidate, None),
        ] {
            assert!(reason(&welcome(role, leader, false)).is_some(), "{role:?} {leader:?}");
        }
    }
}
