//! Refusals of conditions, held until they are certain.
//!
//! What a leader judges against may be cut, and who believes to lead may be deposed. So a refusal goes
//! out when the entry that the log ended with is committed, and when a round of heartbeats that began
//! after the judgement has shown that this node led then (thesis 6.4): until then a newer leader may
//! have committed, and told somebody, what makes the refusal wrong.
//!
//! ```text
//!   judged ──the next round begins──► asked ──it ends──► confirmed ──committed──► answered
//! ```

use super::proposals::Asked;
use crate::raft::ReadToken;
use crate::types::Index;
use crate::wire::conditions::Unmet;

/// The round of heartbeats that shows that this node led when it refused. No driver counts so far.
pub(super) const CONFIRMATION: ReadToken = ReadToken(u64::MAX);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Judged,
    Asked,
    Confirmed,
}

#[derive(Clone, Debug)]
struct Held {
    asked: Asked,
    unmet: Unmet,
    stage: Stage,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Refusals {
    held: Vec<Held>,
}

impl Refusals {
    /// Holds the refusal of these requests.
    pub(super) fn hold(&mut self, asked: Asked, unmet: Unmet) {
        self.held.push(Held { asked, unmet, stage: Stage::Judged });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Whether a round is to begin now, for all that were judged: one at a time.
    pub(super) fn begin_round(&mut self) -> bool {
        let is_at = |stage| move |held: &&mut Held| held.stage == stage;
        if self.held.iter_mut().any(|held| held.stage == Stage::Asked) {
            return false;
        }
        let judged = self.held.iter_mut().filter(is_at(Stage::Judged));
        judged.map(|held| held.stage = Stage::Asked).count() > 0
    }

    /// The round has ended: this node led when it began.
    pub(super) fn confirm(&mut self) {
        for held in self.held.iter_mut().filter(|held| held.stage == Stage::Asked) {
            held.stage = Stage::Confirmed;
        }
    }

    /// Those that are certain, when so much is committed.
    pub(super) fn take_certain(&mut self, committed: Index) -> Vec<(Asked, Unmet)> {
        if self.held.is_empty() {
            return vec![];
        }
        let is_certain =
            |held: &mut Held| held.stage == Stage::Confirmed && held.unmet.as_of.index <= committed;
        self.held.extract_if(.., is_certain).map(|held| (held.asked, held.unmet)).collect()
    }

    /// All of them, because this node leads no more: nothing of it was taken.
    pub(super) fn abandon(&mut self) -> Vec<Asked> {
        std::mem::take(&mut self.held).into_iter().map(|held| held.asked).collect()
    }
}
