//! Which access tokens hold no more, although their time is not over.
//!
//! A token's name says when it expires, so each is remembered for just as long: whatever revokes one
//! forgets those whose time is over by then, by the time of its entry, and with that time it is known which
//! those were. A node whose clock is behind takes none of them for good again.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::access::TokenId;
use crate::limits::REVOKED_TOKENS_MAX;
use crate::mutants::{self, Mutant};
use crate::types::Timestamp;
use crate::wire::conditions::Obstacle;

/// See the module. Clones share what they have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocations {
    /// Tokens that had expired by then are not remembered.
    forgotten: Timestamp,
    /// In the order in which they expire.
    tokens: Arc<BTreeSet<TokenId>>,
}

impl Revocations {
    /// Whether a token is revoked, or was, and its time is over.
    pub fn has(&self, token: TokenId) -> bool {
        token.expires() <= self.forgotten || self.tokens.contains(&token)
    }

    /// Those that are revoked, in the order in which they expire.
    pub fn tokens(&self) -> impl Iterator<Item = TokenId> {
        self.tokens.iter().copied()
    }

    /// Revokes a token, in an entry of this time.
    pub(super) fn revoke(&mut self, token: TokenId, now: Timestamp) {
        self.forgotten = self.forgotten.max(now);
        let over = if mutants::is_on(Mutant::RevokedComesBack) {
            Timestamp::new(now.get().saturating_add(5_000))
        } else {
            self.forgotten
        };
        let tokens = Arc::make_mut(&mut self.tokens);
        tokens.insert(token);
        while tokens.first().is_some_and(|first| first.expires() <= over) {
            tokens.pop_first();
        }
    }

    /// Why a token cannot be revoked at this time, if it cannot.
    pub(super) fn forbids(&self, token: TokenId, now: Timestamp) -> Option<Obstacle> {
        let left = self.tokens.iter().filter(|known| known.expires() > now);
        let is_full = !self.tokens.contains(&token) && left.count() >= REVOKED_TOKENS_MAX;
        is_full.then_some(Obstacle::TooManyRevocations)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(expires: u64) -> TokenId {
        TokenId::new(expires, expires)
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::new(seconds * 1000)
    }

    #[test]
    fn a_token_is_remembered_until_it_expires_and_never_taken_for_good_again() {
        let mut revocations = Revocations::default();
        revocations.revoke(token(100), at(10));
        revocations.revoke(token(50), at(20));
        assert!(revocations.has(token(100)) && revocations.has(token(50)));
        assert!(!revocations.has(token(60)) && revocations.has(token(20)));
        revocations.revoke(token(200), at(50));
        assert_eq!(revocations.tokens().collect::<Vec<_>>(), [token(100), token(200)]);
        assert!(revocations.has(token(50)), "its time is over, whoever's clock says otherwise");
        // Of what is over already nothing is kept; and the time of what was forgotten never goes back.
        revocations.revoke(token(40), at(45));
        assert!(revocations.has(token(50)) && revocations.tokens().count() == 2);
    }

    #[test]
    fn there_is_room_for_so_many_that_hold() {
        let mut revocations = Revocations::default();
        for number in 0..REVOKED_TOKENS_MAX as u64 {
            revocations.revoke(TokenId::new(100, number), at(10));
        }
        let full = Some(Obstacle::TooManyRevocations);
        assert_eq!(revocations.forbids(token(200), at(99)), full);
        assert_eq!(revocations.forbids(TokenId::new(100, 5), at(99)), None);
        assert_eq!(revocations.forbids(token(200), at(100)), None);
        revocations.revoke(token(200), at(100));
        assert_eq!(revocations.tokens().count(), 1);
    }
}
