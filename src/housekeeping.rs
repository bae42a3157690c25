//! What a leader does of its own accord, without being asked by anybody.

use serde::{Deserialize, Serialize};

use crate::types::Index;

/// The payload of a housekeeping entry. What it rests on only the leader knows; the entry is the fact, and
/// does the same on every node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Housekeeping {
    /// Every node that votes has this entry on its disk, and in those before it nothing is live: nobody
    /// will ever be asked for them, and they may go.
    pub released: Index,
}

impl Housekeeping {
    /// The stored form.
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_stdvec(self).expect("housekeeping has no part that postcard refuses")
    }

    /// Reads the stored form.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (found, rest) = postcard::take_from_bytes(bytes).ok()?;
        rest.is_empty().then_some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_bytes() {
        let housekeeping = Housekeeping { released: Index::new(300) };
        assert_eq!(housekeeping.encode(), [0xac, 2]);
        assert_eq!(Housekeeping::decode(&[0xac, 2]), Some(housekeeping));
        assert_eq!(Housekeeping::decode(&[0xac, 2, 0]), None);
        assert_eq!(Housekeeping::decode(&[]), None);
    }
}
