//! Who led when, as this node has seen it since its door opened.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::inside::Inside;
use crate::date::wall_clock;
use crate::limits::{HTTP_LOOK_EVERY, HTTP_TURNS_MAX};
use crate::types::{NodeId, Term};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Chronicle {
    turns: Mutex<VecDeque<Turn>>,
}

/// From here on somebody leads, or nobody does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Turn {
    /// When that was seen, in ms since 1970.
    at: u64,
    term: Term,
    leader: Option<NodeId>,
}

impl Chronicle {
    /// Looks now and then, until the node is to stop.
    pub(super) async fn keep(self: Arc<Self>, inside: Arc<dyn Inside>, stop: CancellationToken) {
        let keep = async {
            loop {
                let seen = inside.welcome();
                self.note(Turn { at: now(), term: seen.term, leader: seen.leader });
                sleep(HTTP_LOOK_EVERY).await;
            }
        };
        stop.run_until_cancelled(keep).await;
    }

    /// Notes a turn, if it is one. That nobody leads is one turn, however many terms that takes.
    fn note(&self, turn: Turn) {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = turns.back().is_none_or(|last| match (last.leader, turn.leader) {
            (None, None) => false,
            (before, now) => (last.term, before) != (turn.term, now),
        });
        if is_new {
            turns.push_back(turn);
        }
        while turns.len() > HTTP_TURNS_MAX {
            turns.pop_front();
        }
    }

    /// All that is remembered, in order.
    pub(super) fn turns(&self) -> Vec<Turn> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect()
    }
}

/// What this machine's clock says, in ms since 1970.
pub(super) fn now() -> u64 {
    wall_clock().get()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_is_noted_once_and_a_time_without_a_leader_is_one() {
        let chronicle = Chronicle::default();
        let turn = |at, term, leader| Turn {
            at,
            term: Term::new(term),
            leader: Option::and_then(leader, NodeId::new),
        };
        for (at, term, leader) in [
            (1, 0, None),
            (2, 1, Some(2)),
            (3, 1, Some(2)),
            (4, 1, None),
            (5, 2, None),
            (6, 3, Some(1)),
            (7, 4, Some(1)),
        ] {
            chronicle.note(turn(at, term, leader));
        }
        let seen: Vec<_> = chronicle.turns().iter().map(|turn| turn.at).collect();
        assert_eq!(seen, [1, 2, 4, 6, 7]);
        for term in 0..1000 {
            chronicle.note(turn(8, term, Some(3)));
        }
        assert_eq!(chronicle.turns().len(), HTTP_TURNS_MAX);
    }
}
