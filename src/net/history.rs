//! The processes of a peer that were heard of, and which of two connections is used.

use std::collections::VecDeque;

use super::problem::Close;
use crate::limits::PEER_INCARNATIONS_REMEMBERED;
use crate::types::{Incarnation, NodeId};

/// A connection to a peer, as it stands now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerConnection {
    /// The peer's process.
    pub incarnation: Incarnation,
    /// Which of the two dialled.
    pub dialled_by: NodeId,
}

/// The processes of a peer that were heard of.
#[derive(Debug, Default)]
pub(super) struct History {
    newest: Option<Incarnation>,
    /// Those before it, the last one last.
    retired: VecDeque<Incarnation>,
}

/// What becomes of a new connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// It is used; the one used so far, if any, is closed for this reason.
    Take {
        instead: Option<Close>,
    },
    Refuse(Close),
}

impl History {
    pub(super) fn judge(
        &mut self,
        current: Option<PeerConnection>,
        offer: PeerConnection,
    ) -> Choice {
        let is_newest = |current: PeerConnection| self.newest == Some(current.incarnation);
        assert!(current.is_none_or(is_newest), "{current:?} is in use, and {:?}", self.newest);
        if self.retired.contains(&offer.incarnation) {
            return Choice::Refuse(Close::Superseded);
        }
        self.remember(offer.incarnation);
        match current {
            None => Choice::Take { instead: None },
            Some(old) if old.incarnation != offer.incarnation => {
                Choice::Take { instead: Some(Close::Superseded) }
            }
            // The same side dials anew only when it has lost the old one.
            Some(old) if offer.dialled_by <= old.dialled_by => {
                Choice::Take { instead: Some(Close::Duplicate) }
            }
            Some(_) => Choice::Refuse(Close::Duplicate),
        }
    }

    fn remember(&mut self, incarnation: Incarnation) {
        if let Some(former) = self.newest.replace(incarnation)
            && former != incarnation
        {
            self.retired.push_back(former);
            if self.retired.len() > PEER_INCARNATIONS_REMEMBERED {
                self.retired.pop_front();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::messages::node;
    use super::*;

    fn connection(incarnation: u64, dialled_by: u16) -> PeerConnection {
        PeerConnection { incarnation: Incarnation::new(incarnation), dialled_by: node(dialled_by) }
    }

    #[test]
    fn of_two_connections_that_of_the_smaller_node_is_kept() {
        let duplicate = Choice::Take { instead: Some(Close::Duplicate) };
        let mut history = History::default();
        assert_eq!(history.judge(None, connection(1, 2)), Choice::Take { instead: None });
        assert_eq!(history.judge(Some(connection(1, 2)), connection(1, 1)), duplicate);
        let refused = Choice::Refuse(Close::Duplicate);
        assert_eq!(history.judge(Some(connection(1, 1)), connection(1, 2)), refused);
        assert_eq!(history.judge(Some(connection(1, 1)), connection(1, 1)), duplicate);
    }

    #[test]
    fn a_new_process_is_taken_at_once_and_the_old_one_never_again() {
        let mut history = History::default();
        history.judge(None, connection(1, 1));
        let superseded = Choice::Take { instead: Some(Close::Superseded) };
        assert_eq!(history.judge(Some(connection(1, 1)), connection(2, 2)), superseded);
        let stale = Choice::Refuse(Close::Superseded);
        assert_eq!(history.judge(Some(connection(2, 2)), connection(1, 1)), stale);
        assert_eq!(history.judge(None, connection(1, 1)), stale);
        assert_eq!(history.judge(None, connection(2, 1)), Choice::Take { instead: None });
        for incarnation in 3..100 {
            history.judge(None, connection(incarnation, 1));
        }
        assert_eq!(history.retired.len(), PEER_INCARNATIONS_REMEMBERED);
    }

    proptest! {
        /// Two connections made at once, seen by the two sides in any order.
        #[test]
        fn both_sides_keep_the_same_connection(first in 1_u16..3, second in 1_u16..3) {
            let seen = |order: [u16; 2]| {
                let mut history = History::default();
                let mut current = None;
                for dialled_by in order {
                    let offer = connection(1, dialled_by);
                    if let Choice::Take { .. } = history.judge(current, offer) {
                        current = Some(offer);
                    }
                }
                current
            };
            prop_assert_eq!(seen([first, second]), seen([second, first]));
        }
    }
}
