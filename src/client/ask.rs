//! What a request asks for.

use bytes::Bytes;

use crate::wire::conditions::Conditions;

/// What a request asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ask {
    /// What is to be appended.
    pub records: Vec<Bytes>,
    /// What must be so for it.
    pub conditions: Conditions,
}

impl Ask {
    /// Bytes of its records.
    pub fn bytes(&self) -> usize {
        self.records.iter().map(Bytes::len).sum()
    }
}

/// To append these, whatever is so.
impl From<Vec<Bytes>> for Ask {
    fn from(records: Vec<Bytes>) -> Self {
        Self { records, ..Self::default() }
    }
}
