//! What entries come to, for those that follow: the table of clients, which logs there are, and who may
//! append to them.

use serde::{Deserialize, Serialize};

use super::catalogue::Catalogue;
use super::guards::Guards;
use super::sessions::Table;
use super::volumes::Volumes;
use crate::entry::Logged;
use crate::housekeeping::Housekeeping;
use crate::types::{Index, Timestamp};

/// The version of the stored form.
const VERSION: u8 = 8;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    pub(super) table: Table,
    pub(super) guards: Guards,
    pub(super) volumes: Volumes,
}

impl State {
    /// Takes in a committed run of an entry of this time.
    pub(super) fn apply(&mut self, logged: &Logged, (index, time): (Index, Timestamp)) {
        self.table.apply(&logged.head, index);
        self.volumes.apply(logged, time);
        // It is committed: nothing of it is ever put back.
        let _ = self.guards.apply(logged, (index, time));
    }

    /// Does what a committed entry says besides.
    pub(super) fn keep_house(&mut self, housekeeping: &Housekeeping) {
        let _ = self.guards.keep_house(housekeeping);
        self.volumes.keep_house(housekeeping);
    }

    /// The same, but for the table of clients: a bug.
    pub(super) fn without_clients(self) -> Self {
        Self { table: Table::default(), ..self }
    }

    /// The same, but for the catalogue of logs: a bug.
    pub(super) fn without_logs(mut self) -> Self {
        self.guards.catalogue = Catalogue::default();
        self
    }

    /// The same, but for the tokens that are revoked: a bug.
    pub(super) fn without_revocations(mut self) -> Self {
        self.guards.forget_revocations();
        self
    }

    /// The stored form: a byte of version, and postcard. Equal states have equal bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        bytes.extend(postcard::to_stdvec(self).expect("a state has no part that postcard refuses"));
        bytes
    }

    /// Reads the stored form; no bytes are the state of an empty log.
    ///
    /// # Errors
    /// If the bytes are not a state, or of another version.
    pub fn decode(bytes: &[u8]) -> Result<Self, postcard::Error> {
        let Some((version, fields)) = bytes.split_first() else { return Ok(Self::default()) };
        if *version != VERSION {
            return Err(postcard::Error::DeserializeBadEncoding);
        }
        let mut state: Self = postcard::from_bytes(fields)?;
        state.table.derive();
        state.guards.derive();
        Ok(state)
    }
}
