//! What entries say of a log besides its records: who may append.
//!
//! A function of the log, as the table of clients is: equal on all nodes at equal indexes, and in the
//! heads of segments.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::command::Command;
use crate::entry::Logged;
use crate::label::FenceToken;
use crate::types::{Index, LogNumber};
use crate::wire::api::AppendRun;
use crate::wire::conditions::Obstacle;
use crate::wire::standing::{Inquiry, Standing};

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guards {
    fences: BTreeMap<LogNumber, FenceToken>,
}

/// What was so before an entry changed it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Before {
    Fence(LogNumber, Option<FenceToken>),
}

impl Guards {
    /// Does what a run of an entry says. Gives what is to be put back if the entry is cut.
    pub(super) fn apply(&mut self, logged: &Logged) -> Option<Before> {
        let log = logged.head.log;
        match logged.command.as_deref()? {
            Command::Fence(token) => Some(Before::Fence(log, self.set_fence(log, *token))),
        }
    }

    /// Puts back what was so before.
    pub(super) fn undo(&mut self, before: Before) {
        match before {
            Before::Fence(log, token) => drop(self.set_fence(log, token)),
        }
    }

    fn set_fence(&mut self, log: LogNumber, token: Option<FenceToken>) -> Option<FenceToken> {
        match token {
            Some(token) => self.fences.insert(log, token),
            None => self.fences.remove(&log),
        }
    }

    fn fence(&self, log: LogNumber) -> Option<FenceToken> {
        self.fences.get(&log).copied()
    }

    /// What keeps new requests out, if something does.
    pub(super) fn obstacle(&self, run: &AppendRun) -> Option<Obstacle> {
        let present = self.fence(run.log);
        let is_fenced = run.conditions.fence.is_some_and(|named| Some(named) != present);
        is_fenced.then_some(Obstacle::Fence { present })
    }

    /// The answer to a question, as of this entry.
    pub(super) fn standing(&self, as_of: Index, log: LogNumber, inquiry: Inquiry) -> Standing {
        match inquiry {
            Inquiry::Fence => Standing { as_of, fence: self.fence(log) },
        }
    }
}
