//! Cases of conditions: who is taken, who is refused, and when that is certain.

use super::border::{Action, Event};
use super::cases::{NOW, acknowledged, append, heard, leader, leader_of_three, one, refused};
use super::replica::Replica;
use crate::raft::{AppendEntriesResponse, AppendResult, Message};
use crate::types::{Index, LogId, Offset, Term, Ticket};
use crate::wire::api::AppendRefusal;
use crate::wire::conditions::{Conditions, Obstacle, Unmet};

fn expecting(offset: u64, event: Event) -> Event {
    let conditions = Conditions { expect_offset: Some(Offset::new(offset)) };
    under(conditions, event)
}

fn under(conditions: Conditions, event: Event) -> Event {
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
fn answers(replica: &mut Replica) -> Vec<Action> {
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
