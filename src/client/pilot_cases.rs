//! Cases of the decisions of a client: one thing happens, and what is to be done is compared.
//!
//! Among them is each point in which the task of a conversation and the simulator's client once
//! decided differently.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use super::backoff::Jitter;
use super::moment::Moment;
use super::pilot::{Action, Fate, Names, Pilot};
use super::read_options::{Consistency, ReadOptions};
use super::read_pilot::{ReadAction, ReadPilot, Trouble};
use super::route::Leading;
use super::search::{Beliefs, LinkNumber, Question, Search, Silence, Wanted, Word};
use super::session::LaneNumber;
use crate::limits::{
    BACKOFF_MIN, CLIENT_ANSWER_TIMEOUT, CLIENT_DIAL_PATIENCE, CLIENT_HEDGE_AFTER, CLIENT_HEDGE_MAX,
    CROWD_PAUSE_MAX, READ_SPARES_LEADER_RECORDS, REGISTRY_ASK_EVERY,
};
use crate::types::{ClusterId, Incarnation, Index, NodeId, Offset, Seq, SeqRange, Term};
use crate::wire::api::{AppendRefusal, AppendReply, Appended, ReadFrom, Role, Vitals, Welcome};

const FIRST: LaneNumber = LaneNumber::new(1);
const SECOND: LaneNumber = LaneNumber::new(2);
const LINK: LinkNumber = LinkNumber::new(7);
const OTHER_LINK: LinkNumber = LinkNumber::new(8);

fn n(number: u16) -> NodeId {
    NodeId::new(number).unwrap()
}

fn ms(millis: u64) -> Moment {
    Moment::after(Duration::from_millis(millis))
}

fn welcome(node: u16, role: Role, term: u64, leader: Option<u16>) -> Welcome {
    Welcome {
        cluster: ClusterId::new(1),
        node: n(node),
        incarnation: Incarnation::new(1),
        role,
        term: Term::new(term),
        leader: leader.map(n),
        ready: role == Role::Leader,
        last_index: Index::ZERO,
        commit_index: Index::new(5),
        next_offset: Offset::ZERO,
        disk_full: None,
        log_ahead_ms: 0,
        nodes: vec![],
        vitals: Vitals::default(),
    }
}

fn said(link: LinkNumber, welcome: &Welcome) -> Word {
    Word::Welcome(link, Box::new(welcome.clone()))
}

/// A pilot among three nodes, and what it believes.
struct Flight {
    pilot: Pilot,
    beliefs: Beliefs,
}

impl Flight {
    /// Of a client that has met everybody.
    fn new() -> Self {
        let nodes: std::collections::BTreeSet<NodeId> = (1..=3).map(n).collect();
        let beliefs = Beliefs { met: nodes.clone(), nodes, ..Beliefs::default() };
        Self { pilot: Pilot::new(Names::new(1)), beliefs }
    }

    /// One request is on its way to n1, which leads term 1.
    fn sending() -> Self {
        let mut flight = Self::new();
        flight.order(0);
        flight.tick(0);
        flight.welcome(0, LINK, &welcome(1, Role::Leader, 1, Some(1)));
        let open =
            Action::Open { lane: FIRST, node: n(1), onward: false, limit: Duration::from_secs(5) };
        assert_eq!(flight.tick(0), [Action::StopAsking, open]);
        assert!(flight.pilot.on_opened(ms(0), FIRST, LINK));
        assert_eq!(flight.sent(0), [1]);
        flight
    }

    fn order(&mut self, at: u64) {
        let records = vec![Bytes::from_static(b"x")];
        self.pilot.on_order(ms(at), records, ms(at) + Duration::from_secs(5));
    }

    fn tick(&mut self, at: u64) -> Vec<Action> {
        self.pilot.on_time(ms(at), &mut self.beliefs);
        let wake_at = self.pilot.wake_at();
        assert!(wake_at.is_none_or(|wake_at| wake_at > ms(at)), "{wake_at:?} is over at {at} ms");
        self.pilot.take_actions()
    }

    fn sent(&mut self, at: u64) -> Vec<u64> {
        self.pilot.on_time(ms(at), &mut self.beliefs);
        let runs = std::iter::from_fn(|| self.pilot.next_frame());
        runs.flat_map(|out| out.header.seqs.iter()).map(Seq::get).collect()
    }

    fn welcome(&mut self, at: u64, link: LinkNumber, welcome: &Welcome) {
        self.pilot.hear(ms(at), &mut self.beliefs, &said(link, welcome));
    }

    fn reply(&mut self, at: u64, lane: LaneNumber, result: Result<Appended, AppendRefusal>) {
        let reply =
            AppendReply { client: self.pilot.client(), seqs: SeqRange::one(Seq::FIRST), result };
        self.pilot.on_replies(ms(at), &mut self.beliefs, lane, &[reply]);
    }

    /// The nodes that are asked now, and whether over connections of their own.
    fn asks(&mut self, at: u64) -> Vec<(u16, bool)> {
        let asked = |action| match action {
            Action::Ask(Question::Node { node, fresh, .. }) => Some((node.get(), fresh)),
            _ => None,
        };
        let mut asked: Vec<_> = self.tick(at).into_iter().filter_map(asked).collect();
        asked.sort_unstable();
        asked
    }
}

fn appended() -> Appended {
    let (offset, term) = (Offset::ZERO, Term::new(1));
    Appended { offset, count: 1, term, index: Index::new(6), leader: n(1) }
}

#[test]
fn a_client_that_has_met_nobody_asks_one_after_the_other_and_the_leader_at_once() {
    let mut flight = Flight::new();
    flight.beliefs.met.clear();
    flight.order(0);
    let mut order = vec![];
    for at in 0..1_000 {
        order.extend(flight.asks(at).into_iter().map(|(node, fresh)| (at, node, fresh)));
    }
    let times: Vec<u64> = order.iter().map(|(at, ..)| *at).collect();
    assert_eq!(times, [0, 150, 300], "nothing is begun anew within a second");

    let mut flight = Flight::new();
    flight.beliefs.met.clear();
    flight.order(0);
    let (first, _) = flight.asks(0)[0];
    let leader = first % 3 + 1;
    flight.welcome(5, LINK, &welcome(first, Role::Follower, 1, Some(leader)));
    assert_eq!(flight.asks(5), [(leader, false)]);
}

#[test]
fn a_client_asks_everybody_at_once_and_goes_to_whoever_leads_by_its_own_word() {
    let mut flight = Flight::new();
    assert_eq!(flight.asks(0), [], "there is nothing to do");
    flight.order(0);
    assert_eq!(flight.asks(0), [(1, false), (2, false), (3, false)]);
    flight.welcome(1, LINK, &welcome(2, Role::Follower, 1, Some(1)));
    assert!(flight.tick(1).is_empty(), "a claim is no word");
    flight.welcome(2, LINK, &welcome(1, Role::Leader, 1, Some(1)));
    let limit = Duration::from_millis(4_998);
    let open = Action::Open { lane: FIRST, node: n(1), onward: false, limit };
    assert_eq!(flight.tick(2), [Action::StopAsking, open]);
    assert!(flight.sent(2).is_empty(), "the stream is not there yet");
    assert!(flight.pilot.on_opened(ms(3), FIRST, LINK));
    assert_eq!(flight.sent(3), [1]);
    flight.reply(4, FIRST, Ok(appended()));
    assert_eq!(flight.tick(4), [Action::Acknowledge(appended())]);
    assert!(flight.pilot.is_idle());
    assert_eq!(flight.pilot.wake_at(), None);
}

#[test]
fn the_registry_is_asked_seldom_and_ever_more_seldom() {
    let mut flight = Flight::new();
    flight.beliefs.has_registry = true;
    flight.order(0);
    let mut asked = vec![];
    for at in 0..4_000 {
        let is_registry =
            |action: &Action| matches!(action, Action::Ask(Question::Registry { .. }));
        asked.extend(flight.tick(at).iter().filter(|action| is_registry(action)).map(|_| at));
    }
    let first = u64::try_from(CLIENT_HEDGE_AFTER.as_millis()).unwrap();
    let every = u64::try_from(REGISTRY_ASK_EVERY.as_millis()).unwrap();
    assert_eq!(asked, [first, first + every, first + 3 * every]);
}

/// The simulator's client once began with 40 ms.
#[test]
fn the_first_pause_after_busy_is_the_shortest_there_is() {
    let mut flight = Flight::sending();
    flight.reply(10, FIRST, Err(AppendRefusal::Busy));
    assert!(flight.sent(10).is_empty());
    let until = flight.pilot.wake_at().unwrap();
    assert!((BACKOFF_MIN / 2..=BACKOFF_MIN).contains(&until.since(ms(10))), "{until:?}");
    assert_eq!(flight.sent(10 + 21), [1]);
    // Busy to the end: who it was is told.
    flight.reply(40, FIRST, Err(AppendRefusal::Busy));
    let fate = Action::Fail(Fate::Busy(n(1)));
    assert!(flight.tick(5_001).contains(&fate));
}

/// The task of a conversation once kept it, up to a second.
#[test]
fn the_patience_that_a_slow_leader_was_granted_is_not_kept_for_the_next() {
    let mut flight = Flight::sending();
    let hedge = u64::try_from(CLIENT_HEDGE_AFTER.as_millis()).unwrap();
    assert_eq!(flight.asks(hedge - 1), []);
    assert_eq!(flight.asks(hedge).len(), 3);
    // It confirms itself, again and again.
    for node in 1..=3 {
        let role = if node == 1 { Role::Leader } else { Role::Follower };
        flight.welcome(hedge + 1, LINK, &welcome(node, role, 1, Some(1)));
    }
    assert_eq!(flight.tick(hedge + 1), [Action::StopAsking]);
    let again = ms(hedge + 1) + CLIENT_HEDGE_AFTER * 2;
    assert_eq!(flight.pilot.wake_at(), Some(again), "it is granted twice the time");
    assert!(CLIENT_HEDGE_AFTER * 2 < CLIENT_HEDGE_MAX);
    // Another takes over.
    let hint = Some(n(2));
    flight.reply(200, FIRST, Err(AppendRefusal::NotLeader { leader: hint }));
    assert_eq!(flight.asks(200), [(2, false)], "a hint has a moment to itself");
    flight.welcome(201, LINK, &welcome(2, Role::Leader, 2, Some(2)));
    flight.tick(201);
    assert!(flight.pilot.on_opened(ms(202), SECOND, LINK));
    assert_eq!(flight.sent(202), [1], "under the same number");
    assert_eq!(flight.pilot.wake_at(), Some(ms(202) + CLIENT_HEDGE_AFTER));
}

/// The simulator's client once believed the first word of the suspect, whatever the others said.
#[test]
fn a_quiet_leader_is_confirmed_when_nobody_else_claims_to_lead_for_a_moment() {
    let mut flight = Flight::sending();
    assert_eq!(flight.asks(150).len(), 3);
    flight.welcome(151, LINK, &welcome(1, Role::Leader, 1, Some(1)));
    assert_eq!(flight.asks(151), [], "the others may know better");
    let later = 150 + 149;
    assert_eq!(flight.asks(later), [(1, false)], "it goes on asking");
    assert_eq!(flight.tick(later + 1), [Action::StopAsking], "enough: it leads");

    let mut flight = Flight::sending();
    flight.asks(150);
    flight.welcome(151, LINK, &welcome(1, Role::Leader, 1, Some(1)));
    flight.welcome(152, LINK, &welcome(3, Role::Leader, 2, Some(3)));
    let actions = flight.tick(152);
    assert!(matches!(actions[..], [Action::StopAsking, Action::Open { node, .. }] if node == n(3)));
}

#[test]
fn a_lane_does_not_stay_on_a_connection_that_is_dead() {
    let mut flight = Flight::sending();
    assert_eq!(flight.asks(150), [(1, false), (2, false), (3, false)]);
    // The kept connections say nothing: others are made beside them.
    let late = 150 + u64::try_from(CLIENT_ANSWER_TIMEOUT.as_millis()).unwrap();
    assert_eq!(flight.asks(late - 1), []);
    assert_eq!(flight.asks(late), [(1, true), (2, true), (3, true)]);
    flight.welcome(late + 5, OTHER_LINK, &welcome(1, Role::Leader, 1, Some(1)));
    let actions = flight.tick(late + 5);
    assert!(
        matches!(actions[..], [Action::StopAsking, Action::Open { lane: SECOND, node, .. }] if node == n(1)),
        "{actions:?}"
    );
    assert!(flight.pilot.on_opened(ms(late + 6), SECOND, OTHER_LINK));
    assert_eq!(flight.sent(late + 6), [1], "the same request under the same number");
    flight.reply(late + 7, SECOND, Ok(appended()));
    let closed = [Action::Acknowledge(appended()), Action::Close(FIRST)];
    assert_eq!(flight.tick(late + 7), closed, "it owes nothing any more");
}

#[test]
fn a_leader_out_of_reach_is_reached_by_way_of_others_until_its_own_word_comes() {
    let mut flight = Flight::new();
    flight.order(0);
    flight.tick(0);
    for node in [2, 3] {
        flight.welcome(1, LINK, &welcome(node, Role::Follower, 1, Some(1)));
    }
    let is_open = |action: &Action| matches!(action, Action::Open { .. });
    assert!(!(2..1_000).any(|at| flight.tick(at).iter().any(is_open)), "it is tried itself first");
    let actions = flight.tick(1_000);
    let detour = |action: &Action| match action {
        Action::Open { lane, node, onward: true, .. } => Some((*lane, *node)),
        _ => None,
    };
    let (lane, first) = actions.iter().find_map(detour).unwrap();
    assert_eq!(flight.beliefs.route.leader(), None);
    assert!(flight.pilot.on_opened(ms(1_001), lane, LINK));
    assert_eq!(flight.sent(1_001), [1]);
    // That one does not hand it on: the next time another is asked to.
    flight.reply(1_010, lane, Err(AppendRefusal::NotLeader { leader: Some(n(1)) }));
    let mut opened = None;
    for at in 1_010..4_000 {
        for action in flight.tick(at) {
            if let Action::Ask(Question::Node { node, .. }) = action
                && node != n(1)
            {
                flight.welcome(at, LINK, &welcome(node.get(), Role::Follower, 1, Some(1)));
            }
            opened = opened.or(detour(&action).map(|(lane, node)| (at, lane, node)));
        }
        if opened.is_some() {
            break;
        }
    }
    let (at, lane, second) = opened.unwrap();
    assert_ne!(first, second);
    assert!(flight.pilot.on_opened(ms(at), lane, LINK));
    assert_eq!(flight.sent(at), [1]);
    // It is quiet, and everybody is asked again: the leader itself answers now.
    assert!(flight.asks(at + 200).iter().any(|(node, _)| *node == 1));
    flight.welcome(at + 201, OTHER_LINK, &welcome(1, Role::Leader, 1, Some(1)));
    let actions = flight.tick(at + 201);
    let direct = |action: &Action| matches!(action, Action::Open { node, onward: false, .. } if *node == n(1));
    assert!(actions.iter().any(direct), "{actions:?}");
}

/// A node that hears the leader and is not heard by it says that it follows, over connections old and
/// new, and hands nothing on. Of two that say so one does.
#[test]
fn a_detour_that_brings_nothing_is_left_for_another() {
    for far in [0, 700] {
        let mut flight = Flight::new();
        flight.pilot.on_order(ms(0), vec![Bytes::from_static(b"x")], ms(20_000));
        let mut answers: BTreeMap<(u64, LinkNumber), u16> = BTreeMap::new();
        let (mut opened, mut links) = (vec![], 0);
        for at in 0..12_000_u64 {
            while let Some(answer) = answers.first_entry().filter(|first| first.key().0 <= at) {
                let ((_, link), node) = answer.remove_entry();
                flight.welcome(at, link, &welcome(node, Role::Follower, 1, Some(1)));
            }
            for action in flight.tick(at) {
                match action {
                    Action::Ask(Question::Node { node, fresh, .. }) if node != n(1) => {
                        links += 2 * u64::from(fresh);
                        let link = LinkNumber::new(links + u64::from(node == n(3)));
                        answers.insert((at + 2 * far, link), node.get());
                    }
                    Action::Open { lane, node, onward: true, .. } => {
                        opened.push((at, node));
                        let link = LinkNumber::new(links + u64::from(node == n(3)));
                        flight.pilot.on_opened(ms(at), lane, link);
                    }
                    _ => {}
                }
            }
            flight.sent(at);
        }
        let (began, first) = opened[0];
        let other = opened.iter().find(|(_, node)| *node != first);
        let (left, _) = other.unwrap_or_else(|| panic!("{opened:?} at {far} ms"));
        assert!(left - began >= 2_000, "it was given time: {opened:?}");
    }
}

#[test]
fn a_slow_network_is_given_ever_more_time_and_no_answer_is_cut_off() {
    let mut flight = Flight::new();
    flight.order(0);
    let mut limits = vec![];
    for at in 0..4_000 {
        for action in flight.tick(at) {
            if let Action::Ask(Question::Node { node, fresh, limit }) = action
                && node == n(1)
            {
                limits.push((at, fresh, limit.as_millis()));
            }
        }
    }
    let expected =
        [(0, false, 2_000), (500, true, 4_000), (1_500, true, 8_000), (3_500, true, 8_000)];
    assert_eq!(limits, expected);
}

#[test]
fn nodes_that_refuse_are_troubled_ever_more_seldom_and_all_refusing_for_good_is_the_end() {
    let mut flight = Flight::new();
    flight.order(0);
    let mut asked = 0;
    for at in 0..4_000 {
        for (node, _) in flight.asks(at) {
            asked += 1;
            let node = n(node);
            flight.pilot.hear(ms(at), &mut flight.beliefs, &Word::Silence(node, Silence::Failed));
        }
    }
    assert!((15..60).contains(&asked), "{asked} questions in four seconds");
    for node in 1..=3 {
        let beliefs = &mut flight.beliefs;
        flight.pilot.hear(ms(4_001), beliefs, &Word::Silence(n(node), Silence::Refused));
    }
    let actions = flight.tick(4_001);
    assert_eq!(actions, [Action::Fail(Fate::Nobody), Action::StopAsking]);
}

#[test]
fn what_was_sent_is_unknown_and_what_was_not_is_certain_when_time_runs_out() {
    let mut flight = Flight::sending();
    flight.pilot.on_closed(ms(10), &mut flight.beliefs, FIRST);
    flight.order(20);
    let actions = flight.tick(5_000);
    let fates: Vec<&Fate> = actions
        .iter()
        .filter_map(|action| if let Action::Fail(fate) = action { Some(fate) } else { None })
        .collect();
    assert!(matches!(fates[..], [Fate::Unknown(_), Fate::Ended]), "{fates:?}");
    assert!(flight.pilot.is_idle());
}

#[test]
fn a_leader_that_is_known_is_used_at_once_and_left_when_its_stream_ends() {
    let mut flight = Flight::sending();
    flight.reply(10, FIRST, Ok(appended()));
    flight.tick(10);
    flight.pilot.on_closed(ms(20), &mut flight.beliefs, FIRST);
    assert_eq!(flight.beliefs.route.leader(), None);
    flight.order(30);
    flight.welcome(30, LINK, &welcome(1, Role::Leader, 1, Some(1)));
    let believed = Some(Leading { term: Term::new(1), node: n(1) });
    assert_eq!(flight.beliefs.route.leader(), believed);
    let actions = flight.tick(30);
    assert!(matches!(actions[..], [.., Action::Open { node, .. }] if node == n(1)), "{actions:?}");
}

/// It was waited for again and again, with no pause.
#[test]
fn a_suspect_that_takes_its_word_back_is_not_waited_for() {
    let mut flight = Flight::sending();
    flight.asks(150);
    flight.welcome(151, LINK, &welcome(1, Role::Leader, 1, Some(1)));
    flight.welcome(152, LINK, &welcome(1, Role::Follower, 2, Some(3)));
    for at in 152..3_000 {
        flight.tick(at);
    }
}

/// A tail without a leader: neither the registry nor whoever leads has to do with it.
#[test]
fn a_quiet_follower_is_asked_now_and_then_and_not_all_the_time() {
    for has_registry in [false, true] {
        let mut flight = Flight::new();
        flight.beliefs.has_registry = has_registry;
        let (beliefs, consistency) = (&mut flight.beliefs, Consistency::Stale { node: None });
        let options = ReadOptions { consistency, follow: true, ..ReadOptions::default() };
        let mut jitter = Jitter::new(1);
        let mut pilot = ReadPilot::new(options, Duration::from_secs(5), Jitter::new(2));
        pilot.on_wait(ms(0));
        let (mut turns, mut at, mut asked) = (0, ms(0), 0);
        while at < ms(20_000) {
            pilot.on_time(at, beliefs);
            for action in pilot.take_actions() {
                match action {
                    ReadAction::Ask(Question::Node { node, .. }) => {
                        asked += 1;
                        let leader = 1 + u16::try_from(jitter.turn() % 3).unwrap();
                        let word = welcome(node.get(), Role::Follower, 1, Some(leader));
                        pilot.hear(at, beliefs, &said(LINK, &word));
                    }
                    ReadAction::Open { source, .. } => {
                        pilot.on_opened(at, source, LINK);
                    }
                    _ => {}
                }
            }
            pilot.on_time(at, beliefs);
            let wake_at = pilot.wake_at().unwrap();
            assert!(wake_at > at, "{wake_at:?} is over at {at:?}");
            (at, turns) = (wake_at, turns + 1);
        }
        assert!(asked > 2 && turns < 200, "{asked} questions, {turns} turns");
    }
}

/// Whom a read goes to that ends, of a log that has so many records; and then, if that one says nothing.
fn served_by(records: u64, options: ReadOptions) -> Vec<u16> {
    let mut flight = Flight::new();
    let beliefs = &mut flight.beliefs;
    let mut pilot = ReadPilot::new(options, Duration::from_secs(5), Jitter::new(2));
    pilot.on_wait(ms(0));
    let mut opened = vec![];
    for at in 0..1_000 {
        pilot.on_time(ms(at), beliefs);
        for action in pilot.take_actions() {
            match action {
                ReadAction::Ask(Question::Node { node, .. }) if node == n(1) => {
                    let next_offset = Offset::new(records);
                    let word = Welcome { next_offset, ..welcome(1, Role::Leader, 1, Some(1)) };
                    pilot.hear(ms(at), beliefs, &said(LINK, &word));
                }
                ReadAction::Open { source, node, read, onward, .. } => {
                    assert!(read.linearizable && !onward);
                    opened.push(node.get());
                    pilot.on_opened(ms(at), source, LINK);
                }
                _ => {}
            }
        }
    }
    opened
}

#[test]
fn a_read_of_much_spares_the_leader_unless_nobody_else_is_there() {
    let whole = ReadOptions::default();
    let opened = served_by(READ_SPARES_LEADER_RECORDS, whole);
    assert!(matches!(opened[..], [2 | 3, 1]), "{opened:?}");
    let from = ReadFrom::Last(READ_SPARES_LEADER_RECORDS);
    let opened = served_by(1 << 40, ReadOptions { from, ..whole });
    assert!(matches!(opened[..], [2 | 3, 1]), "{opened:?}");
    // What is little, or goes on, is the leader's.
    assert_eq!(served_by(READ_SPARES_LEADER_RECORDS - 1, whole), [1]);
    for (from, limit, follow) in [(0, Some(10), false), (1 << 39, None, true)] {
        let from = ReadFrom::Offset(Offset::new(from));
        assert_eq!(served_by(1 << 40, ReadOptions { from, limit, follow, ..whole }), [1]);
    }
}

/// A tail whose leader steps down, or falls silent on a connection that does not end.
#[test]
fn a_tail_that_nobody_serves_says_so_after_its_timeout_and_when_somebody_does_again() {
    for steps_down in [false, true] {
        let mut flight = Flight::new();
        let beliefs = &mut flight.beliefs;
        let options = ReadOptions { follow: true, ..ReadOptions::default() };
        let mut pilot = ReadPilot::new(options, Duration::from_secs(1), Jitter::new(2));
        pilot.on_look(ms(0));
        let (mut opened, mut told) = (None, vec![]);
        for at in (0..6_000).step_by(10) {
            let leads = !(1_000..4_000).contains(&at);
            pilot.on_time(ms(at), beliefs);
            for action in pilot.take_actions() {
                match action {
                    ReadAction::Ask(Question::Node { node, .. }) if node == n(1) && leads => {
                        let word = welcome(1, Role::Leader, 1, Some(1));
                        pilot.hear(ms(at), beliefs, &said(LINK, &word));
                    }
                    ReadAction::Ask(Question::Node { node, .. }) if node == n(1) && steps_down => {
                        let word = welcome(1, Role::Follower, 1, None);
                        pilot.hear(ms(at), beliefs, &said(LINK, &word));
                    }
                    ReadAction::Open { source, .. } => {
                        assert_eq!(opened.replace(source), None, "its stream is whole");
                        pilot.on_opened(ms(at), source, LINK);
                    }
                    ReadAction::Fail(trouble) => told.push((at, Some(trouble))),
                    ReadAction::GoesOn => told.push((at, None)),
                    _ => {}
                }
            }
        }
        let words: Vec<_> = told.iter().map(|(_, trouble)| *trouble).collect();
        assert_eq!(words, [Some(Trouble::Nobody), None], "{told:?}");
        assert!((2_000..4_000).contains(&told[0].0) && told[1].0 >= 4_000, "{told:?}");
    }
}

/// Each search is too short for the patience with one that was never met, and all together are not.
#[test]
fn a_dead_connection_is_found_out_however_short_the_searches_are() {
    let nodes: std::collections::BTreeSet<NodeId> = (1..=3).map(n).collect();
    let mut beliefs = Beliefs { nodes, ..Beliefs::default() };
    let mut jitter = Jitter::new(1);
    let mut fresh_at = None;
    for round in 0..20 {
        let begins = round * 500;
        let mut search = Search::new(ms(begins), Wanted::Leader { word: false }, None);
        for at in (begins..begins + 400).step_by(10) {
            for question in search.ask(ms(at), &mut beliefs) {
                match question {
                    Question::Node { node, fresh, .. } if node == n(3) && fresh => {
                        fresh_at.get_or_insert(at);
                    }
                    Question::Node { node, .. } if node != n(3) => {
                        let word = welcome(node.get(), Role::Follower, 1, None);
                        beliefs.on_welcome(&word);
                        search.on_welcome(ms(at), LINK, &word, &mut jitter);
                    }
                    _ => {}
                }
            }
        }
    }
    let patience = u64::try_from(CLIENT_DIAL_PATIENCE.as_millis()).unwrap();
    let found = fresh_at.expect("it is found out");
    assert!((patience..patience * 3).contains(&found), "{found}");
}

/// One that had no place is left alone ever longer, whatever search it is; the others are asked on.
#[test]
fn a_crowded_node_is_left_alone_ever_longer_until_it_answers() {
    let nodes: std::collections::BTreeSet<NodeId> = (1..=2).map(n).collect();
    let mut beliefs = Beliefs { met: nodes.clone(), nodes, ..Beliefs::default() };
    let mut jitter = Jitter::new(3);
    let mut asked = vec![];
    for begins in (0..60_000).step_by(1_000) {
        let mut search = Search::new(ms(begins), Wanted::Leader { word: false }, None);
        for at in (begins..begins + 1_000).step_by(10) {
            for question in search.ask(ms(at), &mut beliefs) {
                let Question::Node { node, .. } = question else { continue };
                asked.push((node, at));
                let crowded = (node, Silence::Crowded);
                if node == n(1) {
                    search.on_silence(ms(at), crowded, &mut beliefs, &mut jitter);
                } else {
                    let word = welcome(2, Role::Follower, 1, None);
                    beliefs.on_welcome(&word);
                    search.on_welcome(ms(at), LINK, &word, &mut jitter);
                }
            }
        }
    }
    let times = |of: u16| asked.iter().filter(move |(node, _)| *node == n(of)).map(|(_, at)| *at);
    let longest = u64::try_from(CROWD_PAUSE_MAX.as_millis()).unwrap();
    let first: Vec<u64> = times(1).collect();
    let pauses: Vec<u64> = first.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(pauses.iter().all(|pause| *pause <= longest + 20), "{pauses:?}");
    assert!(pauses.iter().rev().take(3).all(|pause| *pause >= longest / 2), "{pauses:?}");
    assert!(times(2).count() > 10 * first.len(), "{asked:?}");

    beliefs.on_welcome(&welcome(1, Role::Follower, 1, None));
    assert!(beliefs.crowded.is_empty(), "it answered");
}
