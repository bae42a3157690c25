//! What a leader does of its own accord, without being asked by anybody.

use serde::{Deserialize, Serialize};

use crate::bounded;
use crate::limits::{EXPIRY_LOOKS_MAX, HOUSEKEEPING_TRIMS_MAX};
use crate::types::{Index, LogNumber, Offset};

/// The payload of a housekeeping entry. What it rests on only the leader knows; the entry is the fact, and
/// does the same on every node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Housekeeping {
    /// These logs begin here, unless they begin later already: their retention allows it, by the leader's
    /// clock.
    #[serde(deserialize_with = "bounded::list::<_, _, HOUSEKEEPING_TRIMS_MAX>")]
    pub trims: Vec<(LogNumber, Offset)>,
    /// Every node that votes has this entry on its disk, and in those before it nothing is live: nobody
    /// will ever be asked for them, and they may go.
    pub released: Index,
    /// These logs have expired: there are no such logs from here on.
    #[serde(deserialize_with = "bounded::list::<_, _, EXPIRY_LOOKS_MAX>")]
    pub expired: Vec<LogNumber>,
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
        let trims = vec![(LogNumber::new(1), Offset::new(7))];
        let (released, expired) = (Index::new(300), vec![LogNumber::new(9)]);
        let housekeeping = Housekeeping { trims, released, expired };
        assert_eq!(housekeeping.encode(), [1, 1, 7, 0xac, 2, 1, 9]);
        assert_eq!(Housekeeping::decode(&[1, 1, 7, 0xac, 2, 1, 9]), Some(housekeeping));
        assert_eq!(Housekeeping::decode(&[0, 0, 0]), Some(Housekeeping::default()));
        for bad in [&[1, 1, 7, 0xac, 2, 0, 0][..], &[0], &[], &[0xff, 0xff, 3, 1, 7]] {
            assert_eq!(Housekeeping::decode(bad), None);
        }
    }
}
