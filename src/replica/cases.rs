//! Cases: a replica as it is, one event, the replica after it, and the exact list of what it wants done.

use std::time::Duration;

use bytes::Bytes;

use super::border::{Action, AppendToken, Event, Options, ReadAnswer};
use super::incoming::BadEntries;
use super::replica::Replica;
use crate::entry::{
    ElectionReason, EntryError, EntryKind, NoOp, Request, Run, RunHead, SealedEntry, Tip,
    encode_requests, encode_runs,
};
use crate::limits;
use crate::raft::{
    self, AppendEntries, Configuration, HardState, Message, PreVoteResponse, ReadToken,
    RequestVoteResponse,
};
use crate::store::{Head, Recovered, RecoveryReport, Write};
use crate::types::{
    ClientId, DiskFull, Index, LogId, LogNumber, NodeId, Offset, Seq, SeqRange, Term, Ticket,
    Timestamp,
};
use crate::wire::api::{AppendRefusal, AppendRun, Appended};
use crate::wire::conditions::Conditions;
use crate::wire::peer::PeerMessage;

pub(super) const NOW: Timestamp = Timestamp::new(1_000);
const CLIENT: ClientId = ClientId::new(7);
const PROPOSALS_BYTES_MAX: usize = 1_000;
pub(super) const RESERVE_BYTES: u64 = 100;

pub(super) fn node(number: u16) -> NodeId {
    NodeId::new(number).unwrap()
}

/// Node 1 with an empty log, one of so many voters.
pub(super) fn new_replica(voters: u16) -> Replica {
    let head = Head {
        tip: Tip::default(),
        next_offsets: vec![],
        configuration: Configuration::of((1..=voters).map(node)),
        terms: vec![],
        sessions: Bytes::new(),
    };
    let recovered = Recovered {
        hard_state: HardState::default(),
        commit_index: Index::ZERO,
        head,
        entries: vec![],
        report: RecoveryReport::default(),
    };
    let options = Options {
        raft: raft::Options::new(node(1), 2, (10, 19)),
        segment_bytes: 1 << 20,
        sessions_max: 10,
        proposals_bytes_max: PROPOSALS_BYTES_MAX,
        reserve_bytes: RESERVE_BYTES,
        tick: Duration::from_millis(10),
    };
    Replica::recover(options, &recovered, 0).unwrap()
}

/// The only voter, which leads, with its no-op at index 1 on disk and committed; and its last ticket.
pub(super) fn leader() -> (Replica, Ticket) {
    let mut replica = new_replica(1);
    let mut newest = Ticket::default();
    for _ in 0..100 {
        replica.handle(NOW, Event::Tick { random: 0 });
        loop {
            let written =
                replica.take_actions().into_iter().rev().find_map(|action| match action {
                    Action::Write(write) => Some(write.ticket),
                    _ => None,
                });
            let Some(ticket) = written else { break };
            newest = ticket;
            replica.handle(NOW, Event::Persisted(ticket));
        }
        if replica.raft().is_ready_leader() {
            assert_eq!(replica.tip().id.index, Index::new(1));
            return (replica, newest);
        }
    }
    panic!("nobody is elected");
}

fn reading(token: u64) -> Event {
    Event::Read { token: ReadToken(token), log: LogNumber::MAIN }
}

pub(super) fn append(token: u64, seq: u64, record: &'static str) -> Event {
    append_run(token, SeqRange::one(Seq::new(seq)), &[Bytes::from(record)])
}

/// Requests with a record each.
pub(super) fn append_run(token: u64, seqs: SeqRange, records: &[Bytes]) -> Event {
    let run = AppendRun {
        client: CLIENT,
        seqs,
        first_unanswered: Seq::FIRST,
        began_at: Index::ZERO,
        log: LogNumber::MAIN,
        conditions: Conditions::default(),
        command: None,
        lengths: AppendRun::lengths_of(records),
    };
    Event::Append { token: AppendToken(token), run, records: records.concat().into() }
}

/// The same as it stands in the log.
fn request(seq: u64, offset: u64, record: &'static str) -> Request {
    Request {
        log: LogNumber::MAIN,
        first_offset: Offset::new(offset),
        client: CLIENT,
        seq: Seq::new(seq),
        first_unanswered: Seq::FIRST,
        records: vec![Bytes::from(record)],
        command: None,
    }
}

fn records_entry(after: &Tip, requests: &[Request]) -> SealedEntry {
    let payload = encode_requests(requests);
    SealedEntry::seal(after, EntryKind::Records, after.id.term, NOW, &payload)
}

fn write_of(entry: SealedEntry, before: Ticket, commit_index: u64) -> Action {
    Action::Write(Write {
        ticket: Ticket::new(before.get() + 1),
        hard_state: None,
        commit_index: Index::new(commit_index),
        truncate_from: None,
        entries: vec![entry],
        heads: vec![],
    })
}

/// That these requests, with a record each, are in the log, the first at this offset.
pub(super) fn acknowledged(
    token: u64,
    seqs: SeqRange,
    offset: u64,
    index: u64,
    term: Term,
) -> Action {
    let (offset, index) = (Offset::new(offset), Index::new(index));
    let appended = Appended { offset, count: 1, term, index, leader: node(1) };
    Action::Append { token: AppendToken(token), seqs, result: Ok(appended) }
}

pub(super) fn refused(token: u64, seqs: SeqRange, refusal: AppendRefusal) -> Action {
    Action::Append { token: AppendToken(token), seqs, result: Err(refusal) }
}

pub(super) fn one(seq: u64) -> SeqRange {
    SeqRange::one(Seq::new(seq))
}

fn range(first: u64, count: u32) -> SeqRange {
    SeqRange { first: Seq::new(first), count }
}

#[test]
fn what_waits_is_folded_into_one_entry_and_written() {
    let (mut replica, ticket) = leader();
    let before = replica.tip();
    replica.handle(NOW, append(1, 1, "a"));
    replica.handle(NOW, append(2, 2, "b"));
    assert_eq!(replica.take_actions(), []);
    replica.flush();
    let entry = records_entry(&before, &[request(1, 0, "a"), request(2, 1, "b")]);
    assert_eq!((replica.tip(), replica.waiting_bytes()), (entry.tip(), 0));
    assert_eq!(replica.take_actions(), [write_of(entry, ticket, 1)]);
}

#[test]
fn what_is_on_a_quorum_of_disks_is_acknowledged() {
    let (mut replica, ticket) = leader();
    replica.handle(NOW, append(1, 1, "a"));
    replica.flush();
    replica.take_actions();
    replica.handle(NOW, Event::Persisted(Ticket::new(ticket.get() + 1)));
    let term = replica.raft().current_term();
    assert_eq!(replica.committed_offset(LogNumber::MAIN), Offset::new(1));
    let committed = Action::Committed(Index::new(2));
    assert_eq!(replica.take_actions(), [acknowledged(1, one(1), 0, 2, term), committed]);
}

#[test]
fn what_is_repeated_is_answered_as_before_and_not_written_again() {
    let (mut replica, ticket) = leader();
    replica.handle(NOW, append(1, 1, "a"));
    replica.flush();
    replica.handle(NOW, Event::Persisted(Ticket::new(ticket.get() + 1)));
    replica.take_actions();
    let before = replica.tip();
    replica.handle(NOW, append(2, 1, "a"));
    replica.flush();
    assert_eq!(replica.tip(), before);
    let term = before.id.term;
    assert_eq!(replica.take_actions(), [acknowledged(2, one(1), 0, 2, term)]);
}

/// Requests that follow one another, with a record each, as they stand in the log.
fn run(first: u64, offset: u64, records: &[&'static str]) -> Run {
    let each: Vec<_> = (first..)
        .zip(offset..)
        .zip(records)
        .map(|((seq, at), record)| Run::from(&request(seq, at, record)))
        .collect();
    let seqs = range(first, u32::try_from(records.len()).unwrap());
    let head = RunHead { seqs, ..each[0].head };
    let lengths = each.iter().flat_map(|run| run.lengths.clone()).collect();
    Run::of_records(head, lengths, records.concat().into())
}

fn runs_entry(after: &Tip, runs: &[Run]) -> SealedEntry {
    SealedEntry::seal(after, EntryKind::Records, after.id.term, NOW, &encode_runs(runs))
}

fn bytes(records: &[&'static str]) -> Vec<Bytes> {
    records.iter().map(|record| Bytes::from(*record)).collect()
}

#[test]
fn a_run_is_one_item_and_has_one_answer() {
    let (mut replica, ticket) = leader();
    let before = replica.tip();
    replica.handle(NOW, append_run(1, range(1, 3), &bytes(&["a", "b", "c"])));
    replica.flush();
    let entry = runs_entry(&before, &[run(1, 0, &["a", "b", "c"])]);
    assert_eq!(replica.take_actions(), [write_of(entry, ticket, 1)]);
    replica.handle(NOW, Event::Persisted(Ticket::new(ticket.get() + 1)));
    let term = before.id.term;
    let expected = [acknowledged(1, range(1, 3), 0, 2, term), Action::Committed(Index::new(2))];
    assert_eq!(replica.take_actions(), expected);
}

#[test]
fn a_repetition_that_is_cut_otherwise_is_taken_from_where_it_is_new() {
    let (mut replica, ticket) = leader();
    let term = replica.tip().id.term;
    replica.handle(NOW, append_run(1, range(1, 3), &bytes(&["a", "b", "c"])));
    replica.flush();
    replica.handle(NOW, Event::Persisted(Ticket::new(ticket.get() + 1)));
    replica.take_actions();
    let before = replica.tip();
    replica.handle(NOW, append_run(2, range(2, 4), &bytes(&["b", "c", "d", "e"])));
    replica.flush();
    let entry = runs_entry(&before, &[run(4, 3, &["d", "e"])]);
    let written = write_of(entry, Ticket::new(ticket.get() + 1), 2);
    assert_eq!(replica.take_actions(), [acknowledged(2, range(2, 2), 1, 2, term), written]);
    replica.handle(NOW, Event::Persisted(Ticket::new(ticket.get() + 2)));
    let expected = [acknowledged(2, range(4, 2), 3, 3, term), Action::Committed(Index::new(3))];
    assert_eq!(replica.take_actions(), expected);
}

#[test]
fn a_repetition_is_known_in_the_very_entry_that_is_being_folded() {
    let (mut replica, ticket) = leader();
    let before = replica.tip();
    replica.handle(NOW, append_run(1, range(1, 2), &bytes(&["a", "b"])));
    replica.handle(NOW, append_run(2, range(2, 2), &bytes(&["b", "c"])));
    replica.handle(NOW, append_run(3, range(5, 2), &bytes(&["e", "f"])));
    replica.flush();
    let entry = runs_entry(&before, &[run(1, 0, &["a", "b"]), run(3, 2, &["c"])]);
    let gap = refused(3, range(5, 2), AppendRefusal::Gap { expected: Seq::new(4) });
    assert_eq!(replica.take_actions(), [gap, write_of(entry, ticket, 1)]);
    replica.handle(NOW, Event::Persisted(Ticket::new(ticket.get() + 1)));
    let term = before.id.term;
    let expected = [
        acknowledged(1, range(1, 2), 0, 2, term),
        acknowledged(2, range(2, 1), 1, 2, term),
        acknowledged(2, range(3, 1), 2, 2, term),
        Action::Committed(Index::new(2)),
    ];
    assert_eq!(replica.take_actions(), expected);
}

#[test]
fn a_number_left_out_is_a_gap() {
    let (mut replica, _) = leader();
    let before = replica.tip();
    replica.handle(NOW, append(1, 1, "a"));
    replica.handle(NOW, append(2, 3, "c"));
    replica.flush();
    let actions = replica.take_actions();
    let entry = records_entry(&before, &[request(1, 0, "a")]);
    assert_eq!(replica.tip(), entry.tip());
    assert_eq!(actions[0], refused(2, one(3), AppendRefusal::Gap { expected: Seq::new(2) }));
    assert!(matches!(&actions[1..], [Action::Write(write)] if write.entries == [entry]));
}

#[test]
fn who_does_not_lead_sends_clients_and_readers_elsewhere() {
    let mut replica = new_replica(3);
    replica.handle(NOW, append(1, 1, "a"));
    replica.handle(NOW, reading(2));
    replica.flush();
    assert_eq!(replica.waiting_bytes(), 0);
    let read = Action::Read { token: ReadToken(2), answer: ReadAnswer::NotLeader };
    let expected = [refused(1, one(1), AppendRefusal::NotLeader { leader: None }), read];
    assert_eq!(replica.take_actions(), expected);
}

#[test]
fn a_request_that_contradicts_itself_is_invalid() {
    let (mut replica, _) = leader();
    let Event::Append { token, mut run, records } = append(1, 1, "a") else { unreachable!() };
    // A record for two requests.
    run.seqs.count += 1;
    replica.handle(NOW, Event::Append { token, run, records });
    assert_eq!(replica.waiting_bytes(), 0);
    assert_eq!(replica.take_actions(), [refused(1, range(1, 2), AppendRefusal::Invalid)]);
}

#[test]
fn more_than_may_wait_is_told_to_come_again() {
    let (mut replica, _) = leader();
    let mut admitted = 0;
    while replica.take_actions().is_empty() {
        admitted = replica.waiting_bytes();
        replica.handle(NOW, append(1, 1, "about two dozen bytes .."));
    }
    assert_eq!(replica.waiting_bytes(), admitted);
    replica.handle(NOW, append(2, 1, "about two dozen bytes .."));
    assert_eq!(replica.take_actions(), [refused(2, one(1), AppendRefusal::Busy)]);
    assert!(admitted <= PROPOSALS_BYTES_MAX && admitted > PROPOSALS_BYTES_MAX / 2);
}

#[test]
fn a_full_disk_takes_nothing_new() {
    let (mut replica, _) = leader();
    replica.handle(NOW, Event::Space { free_bytes: RESERVE_BYTES - 1 });
    replica.take_actions();
    let full = DiskFull { free_bytes: RESERVE_BYTES - 1, needed_bytes: RESERVE_BYTES };
    assert_eq!(replica.raft().disk_full(), Some(full));
    let before = replica.tip();
    replica.handle(NOW, append(1, 1, "a"));
    replica.flush();
    assert_eq!(replica.tip(), before);
    let expected = refused(1, one(1), AppendRefusal::DiskFull { node: node(1), full });
    assert_eq!(replica.take_actions(), [expected]);
}

#[test]
fn the_only_voter_knows_at_once_up_to_where_a_read_must_see() {
    let (mut replica, _) = leader();
    replica.handle(NOW, reading(1));
    let answer = ReadAnswer::At(Index::new(1));
    assert_eq!(replica.take_actions(), [Action::Read { token: ReadToken(1), answer }]);
}

#[test]
fn damaged_entries_are_not_taken() {
    let mut replica = new_replica(3);
    let start = Tip::default();
    let entry = records_entry(&start, &[request(1, 0, "a")]);
    let mut bytes = entry.bytes().to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    let header = AppendEntries {
        term: Term::new(1),
        prev_log_id: LogId::ZERO,
        leader_commit: Index::ZERO,
        round: 0,
        heartbeat: false,
        entries: vec![],
    };
    let message = PeerMessage {
        previous_chain: Some(start.chain),
        entries: vec![bytes.into()],
        ..PeerMessage::bare(Message::AppendEntries(header))
    };
    replica.handle(NOW, Event::Peer { from: node(2), message });
    assert_eq!(replica.tip(), start);
    let actions = replica.take_actions();
    let error = BadEntries::Entry(EntryError::Checksum { id: entry.id() });
    assert_eq!(actions, [Action::BadEntries { from: node(2), error }]);
}

pub(super) fn heard(message: Message) -> Event {
    Event::Peer { from: node(2), message: PeerMessage::bare(message) }
}

/// The leader of three, elected by node 2, with its no-op at index 1, which nobody else has.
pub(super) fn leader_of_three() -> Replica {
    let mut replica = new_replica(3);
    for _ in 0..100 {
        replica.handle(NOW, Event::Tick { random: 0 });
        for action in replica.take_actions() {
            let answer = match action {
                Action::Write(write) => Event::Persisted(write.ticket),
                Action::Send { to, message } if to == node(2) => match message.message {
                    Message::PreVote(asked) => heard(Message::PreVoteResponse(PreVoteResponse {
                        term: asked.term,
                        vote_granted: true,
                    })),
                    Message::RequestVote(asked) => {
                        heard(Message::RequestVoteResponse(RequestVoteResponse {
                            term: asked.term,
                            vote_granted: true,
                        }))
                    }
                    _ => continue,
                },
                _ => continue,
            };
            replica.handle(NOW, answer);
        }
        if replica.raft().role().as_leader().is_some() {
            assert_eq!(replica.tip().id.index, Index::new(1));
            replica.take_actions();
            return replica;
        }
    }
    panic!("nobody is elected");
}

/// The no-op with which node 2 begins to lead this term on an empty log.
pub(super) fn first_of_term(term: u64) -> SealedEntry {
    let no_op = NoOp { leader: node(2), reason: ElectionReason::Timeout, voters: vec![node(2)] };
    SealedEntry::seal(&Tip::default(), EntryKind::NoOp, Term::new(term), NOW, &no_op.encode())
}

/// What the leader of this term sends of an empty log: these entries, all of them committed.
pub(super) fn from_leader(term: u64, entries: &[SealedEntry]) -> Event {
    let header = AppendEntries {
        term: Term::new(term),
        prev_log_id: LogId::ZERO,
        leader_commit: entries.last().map_or(Index::ZERO, |entry| entry.id().index),
        round: 0,
        heartbeat: false,
        entries: vec![],
    };
    let message = PeerMessage {
        previous_chain: Some(Tip::default().chain),
        entries: entries.iter().map(|entry| entry.bytes().clone()).collect(),
        ..PeerMessage::bare(Message::AppendEntries(header))
    };
    Event::Peer { from: node(2), message }
}

#[test]
fn what_a_deposed_leader_had_proposed_is_not_acknowledged_by_what_replaces_it() {
    let mut replica = leader_of_three();
    replica.handle(NOW, append(1, 1, "a"));
    replica.flush();
    replica.take_actions();
    // One message cuts the request and commits another entry at its index.
    let first = first_of_term(9);
    let second = records_entry(&first.tip(), &[request(1, 0, "b")]);
    replica.handle(NOW, from_leader(9, &[first, second]));
    let answers = replica.take_actions().into_iter();
    let answers: Vec<_> =
        answers.filter(|action| matches!(action, Action::Append { .. })).collect();
    assert_eq!(answers, [refused(1, one(1), AppendRefusal::Unknown)]);
}

#[test]
fn an_entry_that_is_older_than_the_one_before_it_is_not_taken() {
    let mut replica = new_replica(3);
    let first = records_entry(&Tip::default(), &[request(1, 0, "a")]);
    replica.handle(NOW, from_leader(1, std::slice::from_ref(&first)));
    replica.take_actions();
    assert_eq!(replica.tip(), first.tip());
    // Sealed by a leader that breaks the law: the chain fits, and the time does not.
    let before = Tip { time: Timestamp::default(), ..first.tip() };
    let payload = encode_requests(&[request(2, 1, "b")]);
    let (kind, early) = (EntryKind::Records, Timestamp::new(NOW.get() - 1));
    let older = SealedEntry::seal(&before, kind, Term::new(1), early, &payload);
    let header = AppendEntries {
        term: Term::new(1),
        prev_log_id: first.id(),
        leader_commit: Index::ZERO,
        round: 0,
        heartbeat: false,
        entries: vec![],
    };
    let message = PeerMessage {
        previous_chain: Some(first.chain()),
        entries: vec![older.bytes().clone()],
        ..PeerMessage::bare(Message::AppendEntries(header))
    };
    replica.handle(NOW, Event::Peer { from: node(2), message });
    assert_eq!(replica.tip(), first.tip());
    let error = BadEntries::Order { id: older.id(), previous: first.id() };
    assert_eq!(replica.take_actions(), [Action::BadEntries { from: node(2), error }]);
}

#[test]
fn a_repetition_in_a_thousand_pieces_does_not_hold_up_a_turn() {
    let (mut replica, _) = leader();
    let pieces = u32::try_from(limits::REQUEST_RECORDS_MAX).unwrap();
    let nothing = vec![Bytes::new(); limits::REQUEST_RECORDS_MAX];
    for seq in 1..=u64::from(pieces) {
        replica.handle(NOW, append(seq, seq, ""));
        replica.flush();
        for action in replica.take_actions() {
            if let Action::Write(write) = action {
                replica.handle(NOW, Event::Persisted(write.ticket));
            }
        }
    }
    replica.take_actions();
    replica.options.proposals_bytes_max = 1 << 30;
    for token in 0..9 {
        replica.handle(NOW, append_run(10_000 + token, range(1, pieces), &nothing));
    }
    let mut answered = vec![];
    while replica.waiting_bytes() > 0 {
        replica.flush();
        answered.push(replica.take_actions().len());
    }
    assert_eq!(answered.iter().sum::<usize>(), 9 * pieces as usize);
    let most = limits::TURN_VERDICTS_MAX + pieces as usize;
    assert!(answered.len() > 1 && answered.iter().all(|count| *count <= most), "{answered:?}");
}
