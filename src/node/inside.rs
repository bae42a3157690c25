//! What the node's door for HTTP sees of it.

use std::time::Duration;

use super::shared::Service;
use crate::access::TokenId;
use crate::http::{Counts, Inside};
use crate::wire::api::Welcome;

impl Inside for Service {
    fn welcome(&self) -> Welcome {
        Self::welcome(self)
    }

    fn counts(&self) -> Counts {
        self.tally.counts()
    }

    fn is_revoked(&self, token: TokenId) -> bool {
        self.revoked.borrow().has(token)
    }

    fn still_for(&self) -> Duration {
        self.pulse.still_for()
    }
}
