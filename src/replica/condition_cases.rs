//! Cases of conditions: who is taken, who is refused, and when that is certain.

use bytes::Bytes;

use super::border::{Action, AppendToken, Event};
use super::cases::{
    NOW, RESERVE_BYTES, acknowledged, append, first_of_term, from_leader, heard, leader,
    leader_of_three, node, one, refused,
};
use super::replica::Replica;
use super::state::State;
use crate::command::Command;
use crate::limits;
use crate::raft::{AppendEntriesResponse, AppendResult, Message};
use crate::types::{ClientId, DiskFull, Index, LogId, LogNumber, Offset, Term, Ticket};
use crate::wire::api::{AppendRefusal, Appended};
use crate::wire::conditions::{Conditions, Obstacle, Unmet};
use crate::wire::standing::Inquiry;

fn expecting(offset: u64, event: Event) -> Event {
    let conditions =
        Conditions { expect_offset: Some(Offset::new(offset)), ..Conditions::default() };
    under(conditions, event)
}

pub(super) fn under(conditions: Conditions, event: Event) -> Event {
    let Event::Append { token, mut run, records } = event else { unreachable!() };
    run.conditions = conditions;
    Event::Append { token, run, records }
}

fn other_offset(next: u64, index: u64, term: Term) -> AppendRefusal {
    let as_of = LogId::new(Index::new(index), term);
    let obstacle = Obstacle::Offset { next: Offset::new(next) };
    AppendRefusal::Unmet(Unmet { as_of, obstacle })
}

/// What clients are answered now.
pub(super) fn answers(replica: &mut Replica) -> Vec<Action> {
    let actions = replica.take_actions().into_iter();
    actions.filter(|action| matches!(action, Action::Append { .. })).collect()
}

#[test]
fn of_two_that_expect_one_offset_the_first_is_taken() {
    let (mut replica, ticket) = leader();
    let term = replica.raft().current_term();
    replica.handle(NOW, expecting(0, append(1, 1, "a")));
    // Of the same client, so that it is behind it for certain; in the very entry that is folded.
    replica.handle(NOW, expecting(0, append(2, 2, "b")));
    replica.handle(NOW, expecting(1, append(3, 2, "c")));
    replica.flush();
    // A refusal tells what the log ends with: it waits until that is committed.
    assert_eq!(answers(&mut replica), []);
    replica.handle(NOW, Event::Persisted(Ticket::new(ticket.get() + 1)));
    let expected = [
        acknowledged(1, one(1), 0, 2, term),
        acknowledged(3, one(2), 1, 2, term),
        refused(2, one(2), other_offset(1, 2, term)),
    ];
    assert_eq!(answers(&mut replica), expected);
}

#[test]
fn what_is_repeated_is_not_refused_by_its_own_record() {
    let (mut replica, ticket) = leader();
    let term = replica.raft().current_term();
    replica.handle(NOW, expecting(0, append(1, 1, "a")));
    replica.flush();
    replica.handle(NOW, expecting(0, append(2, 1, "a")));
    replica.flush();
    replica.handle(NOW, Event::Persisted(Ticket::new(ticket.get() + 1)));
    replica.handle(NOW, expecting(0, append(3, 1, "a")));
    replica.flush();
    let expected = [1, 2, 3].map(|token| acknowledged(token, one(1), 0, 2, term));
    assert_eq!(answers(&mut replica), expected);
}

#[test]
fn a_leader_that_nobody_confirms_refuses_nobody() {
    let mut replica = leader_of_three();
    let term = replica.raft().current_term();
    replica.handle(NOW, expecting(5, append(1, 1, "a")));
    replica.flush();
    assert_eq!(answers(&mut replica), []);
    // Its no-op is committed, by an answer to what it sent before the judgement; its vote was its first
    // write.
    replica.handle(NOW, Event::Persisted(Ticket::new(2)));
    let accepted = |round| {
        let result = AppendResult::Accepted { match_index: Index::new(1) };
        let response = AppendEntriesResponse { term, round, result, disk_full: None };
        heard(Message::AppendEntriesResponse(response))
    };
    replica.handle(NOW, accepted(0));
    assert_eq!(replica.raft().log().commit_index(), Index::new(1));
    assert_eq!(answers(&mut replica), []);
    let round = replica.raft().role().as_leader().unwrap().reads.round();
    replica.handle(NOW, accepted(round));
    assert_eq!(answers(&mut replica), [refused(1, one(1), other_offset(0, 1, term))]);
}

#[test]
fn a_leader_that_steps_down_has_refused_nobody() {
    let mut replica = leader_of_three();
    replica.handle(NOW, expecting(5, append(1, 1, "a")));
    replica.flush();
    replica.take_actions();
    let later = Term::new(replica.raft().current_term().get() + 1);
    let result = AppendResult::Stale;
    let response = AppendEntriesResponse { term: later, round: 0, result, disk_full: None };
    replica.handle(NOW, heard(Message::AppendEntriesResponse(response)));
    let leader = replica.raft().leader();
    assert_eq!(answers(&mut replica), [refused(1, one(1), AppendRefusal::NotLeader { leader })]);
}

/// An append that names this fence.
fn naming(fence: &str, event: Event) -> Event {
    let fence = Some(fence.parse().unwrap());
    under(Conditions { fence, ..Conditions::default() }, event)
}

pub(super) fn commanded(token: u64, seq: u64, command: Command) -> Event {
    let Event::Append { token, mut run, .. } = append(token, seq, "") else { unreachable!() };
    (run.command, run.lengths) = (Some(command), vec![]);
    Event::Append { token, run, records: Bytes::new() }
}

fn fence(token: u64, seq: u64, word: &str) -> Event {
    commanded(token, seq, Command::Fence(Some(word.parse().unwrap())))
}

/// That a command is in the log.
pub(super) fn done(token: u64, seq: u64, offset: u64, index: u64, term: Term) -> Action {
    let (offset, index) = (Offset::new(offset), Index::new(index));
    let appended = Appended { offset, count: 0, term, index, leader: node(1) };
    Action::Append { token: AppendToken(token), seqs: one(seq), result: Ok(appended) }
}

#[test]
fn what_stands_behind_a_fence_names_it_or_none() {
    let (mut replica, ticket) = leader();
    let term = replica.raft().current_term();
    replica.handle(NOW, fence(1, 1, "w1"));
    replica.handle(NOW, naming("w1", append(2, 2, "a")));
    replica.handle(NOW, naming("w2", append(3, 3, "b")));
    replica.handle(NOW, append(4, 3, "c"));
    replica.handle(NOW, fence(5, 4, "w2"));
    replica.handle(NOW, naming("w1", append(6, 5, "d")));
    replica.handle(NOW, naming("w2", append(7, 5, "e")));
    // A command ends its entry: what comes behind it goes into the next one.
    replica.flush();
    assert_eq!(replica.tip().id.index, Index::new(4));
    for written in 1..=3 {
        replica.handle(NOW, Event::Persisted(Ticket::new(ticket.get() + written)));
    }
    let named = |word: &str, index| {
        let as_of = LogId::new(Index::new(index), term);
        let obstacle = Obstacle::Fence { present: Some(word.parse().unwrap()) };
        AppendRefusal::Unmet(Unmet { as_of, obstacle })
    };
    let mut found = answers(&mut replica);
    found.sort_by_key(|action| match action {
        Action::Append { token, .. } => token.0,
        _ => unreachable!(),
    });
    let expected = [
        done(1, 1, 0, 2, term),
        acknowledged(2, one(2), 0, 3, term),
        refused(3, one(3), named("w1", 3)),
        acknowledged(4, one(3), 1, 3, term),
        done(5, 4, 2, 3, term),
        refused(6, one(5), named("w2", 3)),
        acknowledged(7, one(5), 2, 4, term),
    ];
    assert_eq!(found, expected);
    let standing = replica.standing(LogNumber::MAIN, Inquiry::Fence);
    assert_eq!(standing.fence, Some("w2".parse().unwrap()));
}

#[test]
fn a_fence_is_cut_with_its_entry() {
    let mut replica = leader_of_three();
    let before = replica.encoded_clients();
    replica.handle(NOW, fence(1, 1, "w1"));
    replica.flush();
    assert_ne!(replica.encoded_clients(), before);
    replica.take_actions();
    replica.handle(NOW, from_leader(9, &[first_of_term(9)]));
    assert_eq!(replica.encoded_clients(), before);
}

#[test]
fn a_command_with_records_is_invalid() {
    let (mut replica, _) = leader();
    let Event::Append { token, mut run, records } = append(1, 1, "a") else { unreachable!() };
    run.command = Some(Command::Fence(None));
    replica.handle(NOW, Event::Append { token, run, records });
    assert_eq!(answers(&mut replica), [refused(1, one(1), AppendRefusal::Invalid)]);
}

pub(super) fn of(client: u128, event: Event) -> Event {
    let Event::Append { token, mut run, records } = event else { unreachable!() };
    // It is new, whatever was forgotten before.
    (run.client, run.began_at) = (ClientId::new(client), Index::new(1 << 40));
    Event::Append { token, run, records }
}

fn producing(event: Event) -> Event {
    under(Conditions { producer: "p".parse().ok(), ..Conditions::default() }, event)
}

fn open(token: u64, client: u128) -> Event {
    of(client, commanded(token, 1, Command::Open("p".parse().unwrap())))
}

/// Folds what waits, and has it committed.
pub(super) fn settle(replica: &mut Replica) -> Vec<Action> {
    let mut all = vec![];
    for _ in 0..5 {
        replica.flush();
        for action in replica.take_actions() {
            match action {
                Action::Write(write) => replica.handle(NOW, Event::Persisted(write.ticket)),
                Action::Append { .. } => all.push(action),
                _ => {}
            }
        }
    }
    all
}

fn superseded(token: u64, seq: u64, epoch: u64, index: u64, term: Term) -> Action {
    let as_of = LogId::new(Index::new(index), term);
    let unmet = Unmet { as_of, obstacle: Obstacle::Superseded { epoch } };
    refused(token, one(seq), AppendRefusal::Unmet(unmet))
}

/// Epoch, last seq and the offset of that one.
fn state(replica: &Replica) -> Option<(u64, u64, Option<u64>)> {
    let standing = replica.standing(LogNumber::MAIN, Inquiry::Producer("p".parse().unwrap()));
    let state = standing.producers.first()?;
    Some((state.epoch, state.last_seq, state.offset.map(Offset::get)))
}

#[test]
fn whoever_opens_a_producer_is_it_and_nobody_before() {
    let (mut replica, _) = leader();
    let term = replica.raft().current_term();
    assert_eq!(state(&replica), None);
    replica.handle(NOW, open(1, 1));
    replica.handle(NOW, of(1, producing(append(2, 2, "a"))));
    assert_eq!(settle(&mut replica).len(), 2);
    assert_eq!(state(&replica), Some((1, 1, Some(0))));
    replica.handle(NOW, open(3, 2));
    // Another process of it, whose last words come late: what was taken is answered, and nothing more is.
    replica.handle(NOW, of(1, producing(append(4, 2, "a"))));
    replica.handle(NOW, of(1, producing(append(5, 3, "b"))));
    replica.handle(NOW, of(2, producing(append(6, 2, "b"))));
    let answered = settle(&mut replica);
    assert!(answered.contains(&acknowledged(4, one(2), 0, 3, term)), "{answered:?}");
    assert!(answered.contains(&superseded(5, 3, 2, 4, term)), "{answered:?}");
    assert!(answered.contains(&acknowledged(6, one(2), 1, 5, term)), "{answered:?}");
    assert_eq!(state(&replica), Some((2, 2, Some(1))));
    replica.handle(NOW, of(2, commanded(7, 3, Command::Forget("p".parse().unwrap()))));
    settle(&mut replica);
    assert_eq!(state(&replica), None);
}

#[test]
fn a_producer_outlives_the_clients_that_come_after_it() {
    let (mut replica, _) = leader();
    let term = replica.raft().current_term();
    replica.handle(NOW, open(1, 1));
    replica.handle(NOW, of(1, producing(append(2, 2, "a"))));
    settle(&mut replica);
    // The table remembers ten.
    for client in 10..30 {
        replica.handle(NOW, of(client, append(1, 1, "x")));
        settle(&mut replica);
    }
    replica.handle(NOW, of(1, producing(append(3, 2, "a"))));
    replica.handle(NOW, of(1, producing(append(4, 3, "b"))));
    let answered = settle(&mut replica);
    assert_eq!(answered[0], acknowledged(3, one(2), 0, 3, term));
    assert!(matches!(&answered[1], Action::Append { result: Ok(_), .. }), "{answered:?}");
    assert_eq!(state(&replica), Some((1, 2, Some(21))));
    // It survives the head of a segment.
    let bytes = replica.encoded_clients();
    assert_eq!(State::decode(&bytes).unwrap().encode(), bytes);
}

#[test]
fn a_producer_too_many_is_refused_and_none_is_forgotten() {
    let (mut replica, _) = leader();
    replica.options.proposals_bytes_max = 1 << 20;
    let opens = |number: usize, seq: u64| {
        let name = format!("p{number}").parse().unwrap();
        of(number as u128, commanded(1, seq, Command::Open(name)))
    };
    for number in 0..limits::PRODUCERS_MAX {
        replica.handle(NOW, opens(number, 1));
        let answered = settle(&mut replica);
        assert!(matches!(&answered[..], [Action::Append { result: Ok(_), .. }]), "{answered:?}");
    }
    replica.handle(NOW, opens(limits::PRODUCERS_MAX, 1));
    let answered = settle(&mut replica);
    let Action::Append { result: Err(AppendRefusal::Unmet(unmet)), .. } = &answered[0] else {
        panic!("{answered:?}");
    };
    assert_eq!(unmet.obstacle, Obstacle::TooManyProducers);
    let all = replica.standing(LogNumber::MAIN, Inquiry::Producers).producers;
    assert_eq!(all.len(), limits::PRODUCERS_MAX);
    assert!(all.iter().all(|state| state.epoch == 1));
}

#[test]
fn what_a_producer_did_is_cut_with_its_entry() {
    let mut replica = leader_of_three();
    let before = replica.encoded_clients();
    replica.handle(NOW, open(1, 1));
    replica.flush();
    replica.handle(NOW, of(1, producing(append(2, 2, "a"))));
    replica.handle(NOW, open(3, 2));
    replica.flush();
    assert_ne!(replica.encoded_clients(), before);
    replica.take_actions();
    replica.handle(NOW, from_leader(9, &[first_of_term(9)]));
    assert_eq!(replica.encoded_clients(), before);
}

#[test]
fn what_a_producer_has_done_is_not_done_again_however_many_clients_came_since() {
    let (mut replica, _) = leader();
    let term = replica.raft().current_term();
    replica.handle(NOW, open(1, 1));
    assert_eq!(settle(&mut replica), [done(1, 1, 0, 2, term)]);
    // The table remembers ten.
    for client in 10..30 {
        replica.handle(NOW, of(client, append(1, 1, "x")));
        settle(&mut replica);
    }
    replica.handle(NOW, open(2, 1));
    assert_eq!(settle(&mut replica), [done(2, 1, 0, 2, term)]);
    assert_eq!(state(&replica), Some((1, 0, None)), "it was opened once");
}

#[test]
fn a_producer_is_opened_by_nobody_who_is_fenced_out() {
    let (mut replica, _) = leader();
    let term = replica.raft().current_term();
    replica.handle(NOW, of(1, fence(1, 1, "w1")));
    settle(&mut replica);
    replica.handle(NOW, of(2, naming("w2", commanded(2, 1, Command::Open("p".parse().unwrap())))));
    let as_of = LogId::new(Index::new(2), term);
    let unmet = Unmet { as_of, obstacle: Obstacle::Fence { present: "w1".parse().ok() } };
    assert_eq!(settle(&mut replica), [refused(2, one(1), AppendRefusal::Unmet(unmet))]);
    assert_eq!(state(&replica), None);
}

/// It would be in the head of a segment, and there of this node alone.
#[test]
fn a_log_whose_first_records_were_cut_has_no_place_among_the_offsets() {
    let mut replica = leader_of_three();
    replica.handle(NOW, append(1, 1, "a"));
    replica.flush();
    assert_eq!(replica.tail.offsets(), [(LogNumber::MAIN, Offset::new(1))]);
    replica.take_actions();
    replica.handle(NOW, from_leader(9, &[first_of_term(9)]));
    assert_eq!(replica.tail.offsets(), []);
}

/// Else a disk that is full could never be emptied.
#[test]
fn a_full_disk_takes_what_gives_space_back_and_nothing_that_waits_with_it() {
    let (mut replica, _) = leader();
    replica.handle(NOW, append(1, 1, "waits"));
    replica.handle(NOW, Event::Space { free_bytes: RESERVE_BYTES - 1 });
    let before = replica.tip().id.index;
    replica.handle(NOW, commanded(2, 1, Command::Trim(Offset::ZERO)));
    replica.flush();
    assert_eq!(replica.tip().id.index, before.next());
    let full = DiskFull { free_bytes: RESERVE_BYTES - 1, needed_bytes: RESERVE_BYTES };
    let expected = refused(1, one(1), AppendRefusal::DiskFull { node: node(1), full });
    let actions = replica.take_actions();
    assert!(actions.contains(&expected), "{actions:?}");
    let is_refused = |it: &Action| matches!(it, Action::Append { token: AppendToken(2), .. });
    assert!(!actions.iter().any(is_refused), "{actions:?}");
}
