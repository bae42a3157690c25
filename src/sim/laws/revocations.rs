//! Invariant: a token that was revoked is revoked on every node that has that entry, until it expires and
//! not a moment less; and no other token is.
//!
//! Who has lost a token relies on it that nobody gets in with it any more.
//!
//! Judged by a list of its own, made of committed entries, against what each node has behind the same
//! entry.

use std::collections::BTreeMap;

use super::{Law, LawName, Moment, What, behind};
use crate::access::TokenId;
use crate::command::Command;
use crate::entry::SealedEntry;
use crate::types::{Index, NodeId, Timestamp};

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Revocations {
    /// The last entry that was applied.
    applied: Index,
    /// Each entry that revokes a token, with its time.
    revoked: BTreeMap<Index, (TokenId, Timestamp)>,
    /// Up to where each node was looked at.
    seen: BTreeMap<NodeId, Index>,
}

impl Revocations {
    fn apply(&mut self, entry: &SealedEntry) {
        self.applied = entry.id().index;
        // An entry has one command.
        let requests = entry.requests().unwrap_or_default();
        if let Some(Command::Revoke(token)) = requests.into_iter().find_map(|it| it.command) {
            self.revoked.insert(self.applied, (token, entry.time()));
        }
    }

    /// What holds no more behind this entry.
    fn behind(&self, index: Index) -> Vec<TokenId> {
        let all: Vec<_> = self.revoked.range(..=index).map(|(_, it)| *it).collect();
        let newest = all.last().map_or(Timestamp::default(), |(_, time)| *time);
        let holds = all.iter().map(|(token, _)| *token).filter(|token| token.expires() > newest);
        let mut tokens: Vec<_> = holds.collect();
        tokens.sort_unstable();
        tokens.dedup();
        tokens
    }

    fn compare(&mut self, moment: &Moment<'_>) -> Result<(), String> {
        for node in moment.nodes {
            let Some(replica) = node.replica.filter(|_| !node.lost) else { continue };
            let index = replica.raft().log().commit_index();
            // What nobody has reported yet is looked at later.
            if index > self.applied || self.seen.get(&node.id) == Some(&index) {
                continue;
            }
            self.seen.insert(node.id, index);
            let found: Vec<_> = replica.committed_revocations().tokens().collect();
            let expected = self.behind(index);
            if found != expected {
                let node = node.id;
                return Err(format!(
                    "behind entry {index} {node} has {found:?} revoked, and {expected:?} are"
                ));
            }
            if let Some(token) = expected.iter().find(|it| !replica.revocations().has(**it)) {
                let node = node.id;
                return Err(format!(
                    "behind entry {index} {node} would take {token}, which is revoked"
                ));
            }
        }
        Ok(())
    }
}

impl Law for Revocations {
    fn name(&self) -> LawName {
        LawName::Revocations
    }

    fn look(&mut self, moment: &Moment<'_>) -> Result<(), String> {
        let What::Turn { committed, .. } = moment.what else { return Ok(()) };
        for entry in behind(self.applied, committed) {
            self.apply(entry);
        }
        self.compare(moment)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::entry::Request;

    /// A log that revokes tokens which expire at these seconds; the entries are of the first.
    fn log_of(expires: &[u64]) -> Log {
        let mut log = Log::of(&[1]);
        for (seq, expires) in (1..).zip(expires) {
            let command = Some(Command::Revoke(TokenId::new(*expires, 1)));
            log.requests(1, &[Request { records: vec![], command, ..request(1, seq, 0, 0, "") }]);
        }
        log
    }

    /// A node has the one log, and the entries are the other's.
    fn judged(has: &Log, entries: &Log) -> Result<(), String> {
        let mut stage = Stage::new();
        let last = has.entries.len() as u64;
        stage.run(follower(1, has, 1, last), &has.entries);
        let mut law = Revocations::default();
        stage.turns(&mut law, 1).unwrap();
        stage.commits(&mut law, 1, &entries.entries)
    }

    #[test]
    fn a_node_with_other_tokens_revoked_than_the_entries_say_is_found() {
        let log = log_of(&[10, 5, 10]);
        judged(&log, &log).unwrap();
        assert_broken(judged(&log_of(&[10, 5, 9]), &log), "behind entry 4 n1 has");
        assert_broken(judged(&log, &log_of(&[10, 10, 10])), "[00000005");
        // One whose time was over already is not remembered.
        judged(&log_of(&[10, 0]), &log_of(&[10, 0])).unwrap();
        assert_broken(judged(&log_of(&[10, 0]), &log_of(&[10, 5])), "behind entry 3");
    }
}
