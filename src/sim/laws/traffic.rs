//! Invariant: a node does not send another more than a few messages for each thing that happens.
//!
//! Every message may be harmless and all of them together a livelock: a refusal that is answered by the
//! same question, and that by the same refusal, takes two processors and the network, breaks no other
//! law, and gets nowhere.
//!
//! Judged for each pair of nodes by what was sent unasked: answers are as many as questions. A bucket of
//! so many messages runs empty as time passes, and faster with all that changes on either side: entries
//! that come, get on disk or are committed, terms, rounds of reads. A bucket that runs over is a pair that
//! is busy with itself.

use std::collections::BTreeMap;

use super::{Law, LawName, Moment, What};
use crate::raft::{Message, Raft};
use crate::types::NodeId;

/// What a bucket holds: more than four thousand seeds came to, and as much as a pair that is busy with
/// itself sends within a second or two.
///
/// A thousand seeds came to 584 at most (seed 540; few others to 100), and one of four thousand more to
/// over 1,200 (seed 6000133). A leader may have 32 messages on their way to a
/// follower. Where these overtake each other, each may be refused for one before it that is still to come,
/// and for whatever is refused all behind it is sent again: while a link reorders, some 300 ms, much more
/// is sent than gets anywhere. Then it ends, since each round of it brings some entries. Between real
/// nodes all entries go over one stream, which keeps their order: there this does not happen, and so the
/// leader does not tell apart refusals of what it has sent again since.
const MESSAGES_MAX: u64 = 4_000;

/// One message more every so often, whatever happens: a heartbeat takes ten times as long.
const MICROS_PER_MESSAGE: u64 = 2_000;

/// Messages for one thing that changed: sent, sent again, and told of.
const MESSAGES_PER_CHANGE: u64 = 4;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Traffic {
    buckets: BTreeMap<(NodeId, NodeId), Bucket>,
    seen: BTreeMap<NodeId, [u64; 5]>,
}

/// What one node has sent another.
#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    /// Messages that nothing accounts for, in microseconds' worth.
    level: u64,
    /// When it was looked at last.
    at: u64,
}

impl Bucket {
    /// Time passes, and things happen.
    fn drain(&mut self, now: u64, changes: u64) {
        let excused = changes.saturating_mul(MESSAGES_PER_CHANGE * MICROS_PER_MESSAGE);
        let passed = now.saturating_sub(self.at);
        self.level = self.level.saturating_sub(passed.saturating_add(excused));
        self.at = now;
    }
}

impl Traffic {
    /// How much has changed of a node since it was last looked at.
    fn changes(&mut self, node: NodeId, raft: &Raft) -> u64 {
        let log = raft.log();
        let round = raft.role().as_leader().map_or(0, |leader| leader.reads.round());
        let now = [
            log.last().index.get(),
            log.persisted().get(),
            log.commit_index().get(),
            raft.current_term().get(),
            round,
        ];
        let before = self.seen.insert(node, now).unwrap_or_default();
        now.iter().zip(before).map(|(now, before)| now.abs_diff(before)).sum()
    }

    fn on_turn(
        &mut self,
        now: u64,
        node: NodeId,
        changes: u64,
        sent: impl Iterator<Item = NodeId>,
    ) -> Result<(), String> {
        let ours = |pair: &(NodeId, NodeId)| pair.0 == node || pair.1 == node;
        for (_, bucket) in self.buckets.iter_mut().filter(|(pair, _)| ours(pair)) {
            bucket.drain(now, changes);
        }
        for to in sent {
            let bucket = self.buckets.entry((node, to)).or_insert(Bucket { level: 0, at: now });
            bucket.level += MICROS_PER_MESSAGE;
            if bucket.level > MESSAGES_MAX * MICROS_PER_MESSAGE {
                return Err(format!(
                    "{node} has sent {to} more than {MESSAGES_MAX} messages for nothing that happened"
                ));
            }
        }
        Ok(())
    }
}

/// Whether it is no answer.
fn is_unasked(message: &Message) -> bool {
    match message {
        Message::PreVote(_)
        | Message::RequestVote(_)
        | Message::AppendEntries(_)
        | Message::TimeoutNow(_) => true,
        // Each piece but the first follows on an answer.
        Message::InstallSnapshot(m) => m.offset == 0,
        Message::PreVoteResponse(_)
        | Message::RequestVoteResponse(_)
        | Message::AppendEntriesResponse(_)
        | Message::InstallSnapshotResponse(_) => false,
    }
}

impl Law for Traffic {
    fn name(&self) -> LawName {
        LawName::Traffic
    }

    fn look(&mut self, moment: &Moment<'_>) -> Result<(), String> {
        let What::Turn { node, sent, .. } = moment.what else { return Ok(()) };
        let raft = moment.node(node).replica.map(crate::replica::Replica::raft);
        let changes = raft.map_or(0, |raft| self.changes(node, raft));
        let unasked = sent.iter().filter(|(_, message)| is_unasked(&message.message));
        self.on_turn(moment.now, node, changes, unasked.map(|(to, _)| *to))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::types::LogId;
    use crate::wire::peer::PeerMessage;

    const EXPECTED: &str = "n1 has sent n2 more than 4000 messages for nothing that happened";

    fn say(stage: &Stage, law: &mut Traffic, message: PeerMessage) -> Result<(), String> {
        stage.sends(law, 1, &[(node(2), message)])
    }

    fn stage() -> Stage {
        let mut stage = Stage::new();
        let log = Log::of(&[1, 1]);
        stage.run(follower(1, &log, 4, 0), &log.entries);
        stage
    }

    #[test]
    fn messages_now_and_then_may_go_on_for_ever() {
        let (mut stage, mut law) = (stage(), Traffic::default());
        for _ in 0..10 * MESSAGES_MAX {
            stage.now += MICROS_PER_MESSAGE;
            say(&stage, &mut law, heartbeat(4, LogId::ZERO)).unwrap();
        }
    }

    #[test]
    fn a_question_that_is_put_again_at_once_and_for_nothing_is_found() {
        let (mut stage, mut law) = (stage(), Traffic::default());
        let mut ask = || {
            stage.now += 100;
            say(&stage, &mut law, heartbeat(4, LogId::ZERO))
        };
        let found = (0..2 * MESSAGES_MAX).find_map(|_| ask().err());
        assert_broken(found.map_or(Ok(()), Err), EXPECTED);
    }

    #[test]
    fn answers_and_messages_for_what_happened_are_not_counted() {
        let (stage, mut law) = (stage(), Traffic::default());
        for _ in 0..2 * MESSAGES_MAX {
            say(&stage, &mut law, accepted(4, 1)).unwrap();
        }
        for _ in 0..2 * MESSAGES_MAX {
            law.on_turn(stage.now, node(1), 1, std::iter::once(node(2))).unwrap();
        }
    }

    #[test]
    fn each_pair_is_counted_for_itself() {
        let (stage, mut law) = (stage(), Traffic::default());
        let mut send = |to| stage.sends(&mut law, 1, &[(node(to), heartbeat(4, LogId::ZERO))]);
        for _ in 0..MESSAGES_MAX - 1 {
            send(2).unwrap();
            send(3).unwrap();
        }
        send(2).unwrap();
        assert_broken(send(2), EXPECTED);
    }
}
