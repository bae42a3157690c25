//! What a leader tells the registry, in which order, and when again.
//!
//! Pure: whoever drives it asks, hears and waits. An attempt begins by asking which terms are known
//! and goes on with the pieces of history that are not; whatever goes wrong, the next attempt begins
//! anew, after a pause.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use super::error::LookupError;
use crate::entry::TermStart;
use crate::limits::{ANNOUNCE_PAUSE_MAX, BACKOFF_MIN, REGISTRY_PAGE_MAX};
use crate::types::{ClusterId, NodeId, Term};
use crate::wire::registry::{Announcement, Answer, Question};

/// What a leader tells a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leadership {
    /// The cluster.
    pub cluster: ClusterId,
    /// The term that it leads.
    pub current: Announcement,
    /// The terms before that, as its log has them, oldest first.
    pub history: Vec<Announcement>,
}

impl Leadership {
    /// Of the leader of the last of these terms. A former leader whose address is not known any more
    /// is left out; the present one cannot be: then there is nothing to tell.
    pub fn of(
        cluster: ClusterId,
        terms: &[TermStart],
        address: impl Fn(NodeId) -> Option<String>,
    ) -> Option<Self> {
        let announcement = |start: &TermStart| {
            let TermStart { term, leader: node, time, .. } = *start;
            Some(Announcement { term, node, address: address(node)?, time })
        };
        debug_assert!(terms.is_sorted_by(|a, b| a.term < b.term), "as a log has them: {terms:?}");
        let (current, earlier) = terms.split_last()?;
        let current = announcement(current)?;
        Some(Self { cluster, current, history: earlier.iter().filter_map(announcement).collect() })
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Announcing {
    leadership: Leadership,
    /// The pieces of history that were not said yet in this attempt; `None` until it is known what
    /// the registry knows.
    left: Option<VecDeque<Vec<Announcement>>>,
    pause: Duration,
    is_refused: bool,
}

impl Announcing {
    /// Nothing has been said yet.
    pub fn new(leadership: Leadership) -> Self {
        Self { leadership, left: None, pause: BACKOFF_MIN, is_refused: false }
    }

    /// What it tells.
    pub fn leadership(&self) -> &Leadership {
        &self.leadership
    }

    /// The first question of an attempt.
    pub fn begin(&mut self) -> Question {
        self.left = None;
        Question::Known { cluster: self.leadership.cluster }
    }

    /// The question after this answer; `None` if everything was told and is on the registry's disk.
    ///
    /// # Errors
    /// It refuses, or answers something else.
    pub fn on_answer(&mut self, answer: Answer) -> Result<Option<Question>, LookupError> {
        match (answer, &mut self.left) {
            (Answer::Known(known), None) => {
                self.left = Some(missing(&self.leadership.history, known));
                Ok(self.next())
            }
            (Answer::Announced, Some(_)) => Ok(self.next()),
            (Answer::Refused(refusal), _) => Err(LookupError::Refused(refusal)),
            (Answer::Known(_) | Answer::Announced | Answer::Terms(_) | Answer::Forgotten(_), _) => {
                Err(LookupError::Confused)
            }
        }
    }

    fn next(&mut self) -> Option<Question> {
        let history = self.left.as_mut()?.pop_front()?;
        let Leadership { cluster, ref current, .. } = self.leadership;
        Some(Question::Announce { cluster, current: current.clone(), history })
    }

    /// The attempt came to nothing: how long to wait before the next one, twice as long each time.
    /// What was refused may be taken once an admin has had something forgotten, which takes its time.
    pub fn on_failure(&mut self, error: &LookupError) -> Duration {
        if let LookupError::Refused(_) = error {
            (self.is_refused, self.pause) = (true, ANNOUNCE_PAUSE_MAX);
        }
        let pause = self.pause;
        self.pause = (pause * 2).min(ANNOUNCE_PAUSE_MAX);
        pause
    }

    /// Whether it was refused before.
    pub fn is_refused(&self) -> bool {
        self.is_refused
    }
}

/// The terms of a history that are not known, in pieces; at least one, which may be empty.
fn missing(history: &[Announcement], known: Vec<Term>) -> VecDeque<Vec<Announcement>> {
    let known: BTreeSet<Term> = known.into_iter().collect();
    let missing: Vec<Announcement> =
        history.iter().filter(|earlier| !known.contains(&earlier.term)).cloned().collect();
    if missing.is_empty() {
        return [vec![]].into();
    }
    missing.chunks(REGISTRY_PAGE_MAX).map(<[Announcement]>::to_vec).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Index, Timestamp};
    use crate::wire::registry::Refusal;

    fn node(number: u16) -> NodeId {
        NodeId::new(number).unwrap()
    }

    fn start(term: u64, leader: u16) -> TermStart {
        let first_index = Index::new(10 * term);
        let time = Timestamp::new(term);
        TermStart { term: Term::new(term), first_index, leader: node(leader), time }
    }

    /// n3 is no member any more.
    fn address(of: NodeId) -> Option<String> {
        (of != node(3)).then(|| format!("{of}:7101"))
    }

    fn announcement(term: u64, leader: u16) -> Announcement {
        let (node, time) = (node(leader), Timestamp::new(term));
        Announcement { term: Term::new(term), node, address: format!("{node}:7101"), time }
    }

    fn announcing(terms: &[TermStart]) -> Announcing {
        Announcing::new(Leadership::of(ClusterId::new(1), terms, address).unwrap())
    }

    fn history_of(question: Option<Question>) -> Vec<Term> {
        let Some(Question::Announce { history, .. }) = question else { panic!("{question:?}") };
        history.iter().map(|announcement| announcement.term).collect()
    }

    #[test]
    fn a_leader_tells_its_term_and_those_before_it() {
        let cluster = ClusterId::new(1);
        let leadership = Leadership::of(cluster, &[start(1, 1), start(4, 2)], address);
        let history = vec![announcement(1, 1)];
        assert_eq!(leadership, Some(Leadership { cluster, current: announcement(4, 2), history }));
        assert_eq!(Leadership::of(cluster, &[], address), None);
    }

    /// Leaving out the present leader made the one before it the leader of now.
    #[test]
    fn a_leader_without_an_address_is_left_out_of_history_and_never_replaced_by_another() {
        let cluster = ClusterId::new(1);
        let told = Leadership::of(cluster, &[start(1, 3), start(2, 1)], address).unwrap();
        assert_eq!((told.current, told.history), (announcement(2, 1), vec![]));
        assert_eq!(Leadership::of(cluster, &[start(1, 1), start(2, 3)], address), None);
    }

    /// The simulator told the last thousand terms in one message, whatever was known.
    #[test]
    fn only_what_is_missing_is_told_in_pieces() {
        let terms: Vec<_> = (1..=2002).map(|term| start(term, 1)).collect();
        let mut announcing = announcing(&terms);
        assert_eq!(announcing.begin(), Question::Known { cluster: ClusterId::new(1) });
        let first = announcing.on_answer(Answer::Known(vec![Term::new(2)])).unwrap();
        let first = history_of(first);
        assert_eq!((first.len(), first[1]), (1000, Term::new(3)));
        assert_eq!(history_of(announcing.on_answer(Answer::Announced).unwrap()).len(), 1000);
        assert_eq!(announcing.on_answer(Answer::Announced), Ok(None));
    }

    #[test]
    fn a_term_is_announced_even_if_all_before_it_are_known() {
        let mut announcing = announcing(&[start(1, 1), start(2, 1)]);
        announcing.begin();
        let question = announcing.on_answer(Answer::Known(vec![Term::new(1)])).unwrap();
        assert_eq!(history_of(question), []);
        assert_eq!(announcing.on_answer(Answer::Announced), Ok(None));
    }

    #[test]
    fn an_attempt_that_failed_begins_anew() {
        let mut announcing = announcing(&[start(1, 1), start(2, 1)]);
        announcing.begin();
        announcing.on_answer(Answer::Known(vec![])).unwrap();
        announcing.begin();
        let late = announcing.on_answer(Answer::Announced);
        assert_eq!(late, Err(LookupError::Confused), "an answer to nothing that was asked");
    }

    /// The simulator took a refusal for the end, production says it again: an admin may have had a
    /// term forgotten that was in the way.
    #[test]
    fn pauses_double_up_to_a_bound_and_a_refusal_is_far_apart_at_once() {
        let mut announcing = announcing(&[start(1, 1)]);
        let pauses: Vec<_> =
            (0..12).map(|_| announcing.on_failure(&LookupError::Confused)).collect();
        assert_eq!(pauses[..3], [BACKOFF_MIN, BACKOFF_MIN * 2, BACKOFF_MIN * 4]);
        assert_eq!(pauses[11], ANNOUNCE_PAUSE_MAX);
        assert!(!announcing.is_refused());
        let mut announcing = self::announcing(&[start(1, 1)]);
        let refusal = Refusal::LowerTerm { highest: Term::new(9) };
        let refused = announcing.on_answer(Answer::Refused(refusal)).unwrap_err();
        assert_eq!(announcing.on_failure(&refused), ANNOUNCE_PAUSE_MAX);
        assert!(announcing.is_refused());
    }
}
