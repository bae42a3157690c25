//! What a request asks for.

use bytes::Bytes;

use crate::command::Command;
use crate::types::LogNumber;
use crate::wire::conditions::Conditions;

/// What a request asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ask {
    /// Of which log.
    pub log: LogNumber,
    /// What is to be appended.
    pub records: Vec<Bytes>,
    /// What must be so for it.
    pub conditions: Conditions,
    /// What is to be done besides.
    pub command: Option<Command>,
}

impl Ask {
    /// To do this to `main`.
    pub fn of(command: Command) -> Self {
        Self { command: Some(command), ..Self::default() }
    }

    /// The same, of this log.
    #[must_use]
    pub fn on(self, log: LogNumber) -> Self {
        Self { log, ..self }
    }

    /// Whether it asks for something, and for nothing that cannot be done at once.
    pub fn is_sound(&self) -> bool {
        let records = self.records.len();
        self.command.as_ref().map_or(records > 0, |command| command.is_sound(records))
    }

    /// Whether it can be asked together with another that stands so many records before it.
    pub fn follows(&self, before: &Self, records: u64) -> bool {
        self.command.is_none()
            && before.command.is_none()
            && self.log == before.log
            && self.records.len() == before.records.len()
            && self.conditions == before.conditions.after(records)
    }

    /// Bytes of its records.
    pub fn bytes(&self) -> usize {
        self.records.iter().map(Bytes::len).sum()
    }
}

/// To append these to `main`, whatever is so.
impl From<Vec<Bytes>> for Ask {
    fn from(records: Vec<Bytes>) -> Self {
        Self { records, ..Self::default() }
    }
}
