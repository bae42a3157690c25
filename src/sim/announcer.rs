//! What a leader of the simulation has yet to tell the registry: what is said, and when again, is
//! decided by the lines that every node runs.

use super::time::Time;
use crate::limits;
use crate::registry::{Announcing, Leadership, LookupError};
use crate::types::Term;
use crate::wire::registry::{Answer, Question};

/// What the registry is to be told.
#[derive(Debug, Default)]
pub(super) struct Announcer {
    /// The term that this node leads and has begun to announce.
    pub(super) term: Option<Term>,
    /// What is said until it is on the registry's disk.
    announcing: Option<Announcing>,
    /// Counts the attempts: an answer to a former one answers nothing.
    pub(super) attempt: u64,
    /// An attempt is under way.
    is_asking: bool,
    /// When the attempt has taken too long, or the pause is over.
    until: Time,
}

impl Announcer {
    /// Another term is led, or none.
    pub(super) fn lead(&mut self, now: Time, term: Option<Term>, leadership: Option<Leadership>) {
        let announcing = leadership.map(Announcing::new);
        let attempt = self.attempt + 1;
        *self = Self { term, announcing, attempt, is_asking: false, until: now };
    }

    /// The question that is due, if one is.
    pub(super) fn poll(&mut self, now: Time) -> Option<Question> {
        let announcing = self.announcing.as_mut().filter(|_| now >= self.until)?;
        if self.is_asking {
            let after = limits::ANNOUNCE_TIMEOUT;
            self.fail(now, &LookupError::TimedOut { after });
            return None;
        }
        let question = announcing.begin();
        self.attempt += 1;
        (self.is_asking, self.until) = (true, now + Time::of(limits::ANNOUNCE_TIMEOUT));
        Some(question)
    }

    fn fail(&mut self, now: Time, error: &LookupError) {
        let Some(announcing) = &mut self.announcing else { return };
        self.is_asking = false;
        self.until = now + Time::of(announcing.on_failure(error));
    }

    /// The question after an answer, if there is one.
    ///
    /// # Errors
    /// The answer is a refusal, or not one to the question.
    pub(super) fn on_answer(
        &mut self,
        now: Time,
        (attempt, answer): (u64, Answer),
    ) -> Result<Option<Question>, LookupError> {
        let is_awaited = self.is_asking && self.attempt == attempt;
        let Some(announcing) = self.announcing.as_mut().filter(|_| is_awaited) else {
            return Ok(None);
        };
        match announcing.on_answer(answer) {
            Ok(None) => {
                self.announcing = None;
                Ok(None)
            }
            Ok(question) => Ok(question),
            Err(error) => {
                self.fail(now, &error);
                Err(error)
            }
        }
    }
}
