//! Cases: a head that stands for what was given up, as it comes to a follower and as a leader sends it.

use bytes::Bytes;

use super::border::{Action, Event};
use super::cases::{NOW, first_of_term, from_leader, leader_of_three, new_replica, node};
use super::incoming::{BadEntries, Contradiction};
use super::replica::Replica;
use crate::entry::{Chain, TermStart, Tip};
use crate::raft::{
    AppendEntriesResponse, AppendResult, Configuration, HardState, HeadInfo, InstallSnapshot,
    InstallSnapshotResponse, Message,
};
use crate::store::{Head, Installation, Lacking};
use crate::types::{Index, LogId, Term, Timestamp};
use crate::wire::peer::PeerMessage;

const TERM: Term = Term::new(9);

fn id(index: u64, term: u64) -> LogId {
    LogId::new(Index::new(index), Term::new(term))
}

/// The head behind an entry, and how it is announced.
fn head_behind(tip: Tip) -> (Head, Bytes, HeadInfo) {
    let LogId { index: first_index, term } = tip.id;
    let start = TermStart { term, first_index, leader: node(2), time: NOW };
    let head = Head {
        tip,
        next_offsets: vec![],
        configuration: Configuration::of((1..=5).map(node)),
        terms: vec![start],
        sessions: Bytes::new(),
    };
    let form: Bytes = postcard::to_stdvec(&head).unwrap().into();
    let hash = *blake3::hash(&form).as_bytes();
    let info = HeadInfo { id: tip.id, bytes: form.len() as u64, hash };
    (head, form, info)
}

fn far() -> Tip {
    Tip { id: id(40, 7), chain: Chain::new([4; 32]), time: Timestamp::new(5) }
}

/// Node 2, which leads term 9, sends a piece of this form.
fn piece(head: HeadInfo, form: &Bytes, from: usize, length: usize) -> Event {
    let header = InstallSnapshot { term: TERM, head, offset: from as u64, received: 0 };
    let entries = vec![form.slice(from..form.len().min(from + length))];
    let message = PeerMessage { entries, ..PeerMessage::bare(Message::InstallSnapshot(header)) };
    Event::Peer { from: node(2), message }
}

/// What a replica has said so far, once its disk has all that it wrote.
fn said(replica: &mut Replica) -> (Vec<Message>, Vec<Action>) {
    let (mut messages, mut others) = (vec![], vec![]);
    loop {
        let actions = replica.take_actions();
        if actions.is_empty() {
            return (messages, others);
        }
        for action in actions {
            match action {
                Action::Write(write) => replica.handle(NOW, Event::Persisted(write.ticket)),
                Action::Send { message, .. } => messages.push(message.message),
                Action::Notice(_) => {}
                other => others.push(other),
            }
        }
    }
}

fn has(head: HeadInfo, offset: u64, received: u64) -> Message {
    let response = InstallSnapshotResponse { term: TERM, head: head.id, offset, received };
    Message::InstallSnapshotResponse(response)
}

#[test]
fn a_node_begins_at_a_head_when_all_of_it_has_come_and_promises_nothing_before() {
    let (head, form, info) = head_behind(far());
    let mut replica = new_replica(3);
    for (from, received) in [(0, 20), (20, 40), (0, 40), (45, 40)] {
        replica.handle(NOW, piece(info, &form, from, 20));
        // A piece that is not the next is answered by what there is.
        assert_eq!(said(&mut replica), (vec![has(info, from as u64, received)], vec![]));
    }
    replica.handle(NOW, piece(info, &form, 40, 1 << 20));
    let hard_state = HardState { current_term: TERM, voted_for: None };
    let installation = Box::new(Installation { head, hard_state });
    assert_eq!(said(&mut replica), (vec![], vec![Action::Install(installation)]));
    assert_eq!((replica.tip(), replica.readable()), (Tip::default(), Index::ZERO));
}

#[test]
fn what_came_of_another_head_or_is_not_what_was_announced_is_of_no_use() {
    let (_, form, info) = head_behind(far());
    let (_, later, later_info) = head_behind(Tip { id: id(60, 8), ..far() });
    let mut replica = new_replica(3);
    replica.handle(NOW, piece(info, &form, 0, 20));
    replica.handle(NOW, piece(later_info, &later, 0, 7));
    let (messages, _) = said(&mut replica);
    assert_eq!(messages, [has(info, 0, 20), has(later_info, 0, 7)]);
    let mut changed = later.to_vec();
    *changed.last_mut().unwrap() ^= 1;
    let (changed, all) = (Bytes::from(changed), later.len());
    replica.handle(NOW, piece(later_info, &changed, 7, all));
    let error = BadEntries::Head { id: later_info.id };
    let bad = || Action::BadEntries { from: node(2), error: error.clone() };
    assert_eq!(said(&mut replica), (vec![], vec![bad()]));
    // More than was announced, and what is no head.
    let short = HeadInfo { bytes: 10, ..later_info };
    replica.handle(NOW, piece(short, &later, 0, 11));
    let none = Bytes::from_static(&[0xff; 30]);
    let hash = *blake3::hash(&none).as_bytes();
    replica.handle(NOW, piece(HeadInfo { bytes: 30, hash, ..later_info }, &none, 0, 30));
    assert_eq!(said(&mut replica), (vec![], vec![bad(), bad()]));
    // It begins again, and is taken.
    replica.handle(NOW, piece(later_info, &later, 0, all));
    assert!(matches!(&said(&mut replica).1[..], [Action::Install(_)]));
}

#[test]
fn a_node_that_has_the_entry_before_a_head_keeps_what_it_has() {
    let mut replica = new_replica(3);
    let first = first_of_term(4);
    let event = from_leader(4, std::slice::from_ref(&first));
    let Event::Peer { from, mut message } = event else { unreachable!() };
    let Message::AppendEntries(header) = &mut message.message else { unreachable!() };
    header.leader_commit = Index::ZERO;
    replica.handle(NOW, Event::Peer { from, message });
    said(&mut replica);
    let (_, form, info) = head_behind(first.tip());
    replica.handle(NOW, piece(info, &form, 0, form.len()));
    let result = AppendResult::Accepted { match_index: Index::new(1) };
    let response = AppendEntriesResponse { term: TERM, round: 0, result, disk_full: None };
    assert_eq!(said(&mut replica), (vec![Message::AppendEntriesResponse(response)], vec![]));
    assert_eq!(replica.tip(), first.tip());
    // That the entry is committed it has not heard.
    assert_eq!(replica.readable(), Index::ZERO);

    // An entry of another history at that index is no proof: that the log is long enough says nothing.
    let (_, form, info) = head_behind(Tip { id: id(1, 5), ..far() });
    replica.handle(NOW, piece(info, &form, 0, form.len()));
    assert!(matches!(&said(&mut replica).1[..], [Action::Install(_)]));
}

#[test]
fn a_head_that_contradicts_what_is_committed_ends_the_node() {
    let mut replica = new_replica(3);
    replica.handle(NOW, from_leader(4, &[first_of_term(4)]));
    said(&mut replica);
    let (_, form, info) = head_behind(Tip { id: id(1, 5), ..far() });
    replica.handle(NOW, piece(info, &form, 0, form.len()));
    let (from, id, ours) = (node(2), info.id, first_of_term(4).id());
    let found = Contradiction::NotCommitted { from, id, ours };
    assert_eq!(said(&mut replica), (vec![], vec![Action::Contradiction(found)]));
}

#[test]
fn a_head_that_nobody_waits_for_is_not_kept() {
    let mut replica = leader_of_three();
    let (_, form, info) = head_behind(replica.tip());
    let found = Lacking::Head { info, form };
    replica.handle(NOW, Event::Fetched { to: node(2), prev_log_id: LogId::ZERO, found });
    assert!(!replica.raft().sends_head());
    assert!(!replica.offers_head());
}
