//! Invariant: everything that can grow has a bound (`limits`), and keeps it.
//!
//! A queue without a bound is a crash that waits for its load.
//!
//! Judged after each turn by what a node holds and by what it sent. The bounds are those that the
//! node was given; where one thing more may be taken that does not fit, as large as a thing may be,
//! that is added.

use super::{Law, LawName, Moment, What};
use crate::entry::HEADER_BYTES;
use crate::limits::{
    APPEND_ENTRIES_BYTES_MAX, APPEND_ENTRIES_COUNT_MAX, APPEND_ENTRIES_IN_FLIGHT_MAX,
    ENTRY_PAYLOAD_BYTES_MAX, HELD_MESSAGES_MAX, PROPOSALS_BYTES_MAX, READS_WAITING_MAX,
};
use crate::raft::{Leader, State};
use crate::replica::Replica;
use crate::types::{Index, NodeId};
use crate::wire::peer::PeerMessage;

/// The largest entry.
const ENTRY_BYTES_MAX: u64 = (HEADER_BYTES + ENTRY_PAYLOAD_BYTES_MAX) as u64;

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bounded;

impl Law for Bounded {
    fn name(&self) -> LawName {
        LawName::Bounded
    }

    fn look(&mut self, moment: &Moment<'_>) -> Result<(), String> {
        let What::Turn { node, sent, .. } = moment.what else { return Ok(()) };
        sent.iter().try_for_each(|(_, message)| check_message(node, message))?;
        moment.node(node).replica.map_or(Ok(()), |replica| Held::by(replica).check(node))
    }
}

fn check_message(node: NodeId, message: &PeerMessage) -> Result<(), String> {
    let entries = &message.entries;
    let count = entries.len();
    let bytes = entries.iter().map(bytes::Bytes::len).sum::<usize>();
    if count <= APPEND_ENTRIES_COUNT_MAX && (bytes <= APPEND_ENTRIES_BYTES_MAX || count == 1) {
        return Ok(());
    }
    Err(format!("{node} sent {count} entries of {bytes} bytes in one message"))
}

/// How much of something there is, and how much there may be.
#[derive(Clone, Copy, Debug)]
struct Bound {
    what: &'static str,
    has: u64,
    may: u64,
}

/// What a node holds.
#[derive(Clone, Debug)]
struct Held {
    /// Bytes of recent entries.
    window: Bound,
    /// The first of them.
    window_first: Index,
    /// The first that is still needed because it is not committed, or not on disk.
    needed_from: Index,
    /// Everything else.
    others: [Bound; 6],
}

impl Held {
    fn by(replica: &Replica) -> Self {
        let (raft, log) = (replica.raft(), replica.raft().log());
        let (options, leader) = (raft.options(), raft.role().as_leader());
        let reads = leader.map_or(0, |leader| leader.reads.len());
        let uncommitted_max = options.uncommitted_bytes_max + ENTRY_BYTES_MAX;
        let bound = |what, has, may| Bound { what, has, may };
        let count = |what, has: usize, may: usize| bound(what, has as u64, may as u64);
        Self {
            window: bound("bytes of recent entries", log.window_bytes(), options.window_bytes_max),
            window_first: log.window_first(),
            needed_from: log.commit_index().min(log.persisted()),
            others: [
                bound("bytes that are not committed", log.uncommitted_bytes(), uncommitted_max),
                count("messages held back", raft.held_messages(), HELD_MESSAGES_MAX),
                count("reads waiting", reads, READS_WAITING_MAX),
                count(
                    "messages on their way to one follower",
                    leader.map_or(0, most_in_flight),
                    APPEND_ENTRIES_IN_FLIGHT_MAX,
                ),
                count("bytes of waiting requests", replica.waiting_bytes(), PROPOSALS_BYTES_MAX),
                count("clients in its table", replica.clients(), replica.options().sessions_max),
            ],
        }
    }

    fn check(&self, node: NodeId) -> Result<(), String> {
        let Self { window, window_first, needed_from, others } = self;
        if window.has > window.may && window_first < needed_from {
            return Err(format!(
                "{node} keeps {} bytes of entries from {window_first} on, may keep {}, and needs \
                 those from {needed_from} on",
                window.has, window.may
            ));
        }
        match others.iter().find(|bound| bound.has > bound.may) {
            None => Ok(()),
            Some(Bound { what, has, may }) => {
                Err(format!("{node} has {has} {what}, and may have {may}"))
            }
        }
    }
}

fn most_in_flight(leader: &Leader) -> usize {
    let in_flight = leader.progress.values().map(|progress| match &progress.state {
        State::Probe { outstanding } => usize::from(outstanding.is_some()),
        State::Replicate { in_flight } => in_flight.len(),
        State::Snapshot { outstanding, .. } => usize::from(*outstanding),
    });
    in_flight.max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::testing::*;
    use super::*;
    use crate::raft::ReadToken;
    use crate::replica::{AppendToken, Event};
    use crate::types::{ClientId, LogId, LogNumber, Seq, SeqRange, Timestamp};
    use crate::wire::api::AppendRun;
    use crate::wire::conditions::Conditions;

    #[test]
    fn messages_are_small_unless_they_carry_one_entry() {
        let sends = |lengths: &[usize]| {
            let entries = lengths.iter().map(|length| Bytes::from(vec![0; *length])).collect();
            let message = PeerMessage { entries, ..heartbeat(1, LogId::ZERO) };
            Stage::new().sends(&mut Bounded, 1, &[(node(2), message)])
        };
        sends(&[1; APPEND_ENTRIES_COUNT_MAX]).unwrap();
        sends(&[APPEND_ENTRIES_BYTES_MAX - 1, 1]).unwrap();
        sends(&[2 * APPEND_ENTRIES_BYTES_MAX]).unwrap();
        let many = [1; APPEND_ENTRIES_COUNT_MAX + 1];
        assert_broken(sends(&many), "n1 sent 257 entries of 257 bytes in one message");
        assert_broken(sends(&[APPEND_ENTRIES_BYTES_MAX, 1]), "n1 sent 2 entries of 1048577 bytes");
    }

    /// A leader that holds something of everything.
    fn busy() -> Replica {
        let mut replica = leader(1, &Log::of(&[1, 1]), 2, 1);
        let records = [Bytes::from_static(b"record")];
        let run = AppendRun {
            client: ClientId::new(1),
            seqs: SeqRange::one(Seq::new(2)),
            first_unanswered: Seq::FIRST,
            began_at: Index::ZERO,
            log: LogNumber::MAIN,
            conditions: Conditions::default(),
            command: None,
            lengths: AppendRun::lengths_of(&records),
        };
        let append = Event::Append { token: AppendToken(1), run, records: records.concat().into() };
        replica.handle(Timestamp::new(1), append);
        for token in 0..10 {
            replica.handle(
                Timestamp::new(1),
                Event::Read { token: ReadToken(token), log: LogNumber::MAIN },
            );
        }
        replica
    }

    #[test]
    fn each_bound_is_held_up_to_its_end_and_not_beyond() {
        let held = Held::by(&busy());
        for place in 0..held.others.len() {
            let mut held = held.clone();
            let bound = &mut held.others[place];
            bound.has = bound.may;
            held.check(node(1)).unwrap();
            let bound = &mut held.others[place];
            bound.has += 1;
            let expected = format!("n1 has {} {}, and may have", bound.has, bound.what);
            assert_broken(held.check(node(1)), &expected);
        }
    }

    #[test]
    fn recent_entries_go_when_they_are_not_needed() {
        let mut held = Held::by(&busy());
        held.window.has = held.window.may + 1;
        (held.window_first, held.needed_from) = (Index::new(5), Index::new(5));
        held.check(node(1)).unwrap();
        held.needed_from = Index::new(6);
        assert_broken(held.check(node(1)), "on, may keep 33554432, and needs those from 6 on");
        held.window.has -= 1;
        held.check(node(1)).unwrap();
    }

    #[test]
    fn what_a_node_holds_is_counted() {
        let mut replica = busy();
        let held = |replica: &Replica| Held::by(replica).others.map(|bound| bound.has);
        let [uncommitted, messages, reads, in_flight, waiting, clients] = held(&replica);
        assert!(uncommitted > 0 && waiting > 0, "{uncommitted}, {waiting}");
        assert_eq!((messages, reads, in_flight, clients), (0, 10, 1, 0));
        // Another's candidacy, in a term that is not on disk.
        hear(&mut replica, node(2), candidacy(9, LogId::ZERO).message);
        assert_eq!(held(&replica)[1..5], [0, 10, 1, waiting], "a leader is believed in");
        let mut replica = follower(1, &Log::of(&[1, 1]), 2, 2);
        hear(&mut replica, node(2), candidacy(9, LogId::ZERO).message);
        assert_eq!(held(&replica), [0, 1, 0, 0, 0, 1]);
        let mut stage = Stage::new();
        stage.run(replica, &[]);
        stage.turns(&mut Bounded, 1).unwrap();
    }
}
