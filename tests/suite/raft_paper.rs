//! The binding sentences of the Raft thesis, one small test each: what a single core does with one
//! input. Each test quotes its rule in our own words and says where it stands.
//!
//! The node under test is n1 of n1, n2, n3 unless said otherwise. Ticks: heartbeats every 2,
//! elections after 10 to 19.

use std::collections::BTreeSet;

use annal::raft::{
    AppendEntries, AppendEntriesResponse, AppendResult, Configuration, Effect, EntryInfo,
    HardState, Implausible, Input, Message, Notice, Options, PreVote, PreVoteResponse, Raft,
    ReadToken, RecoveredLog, RequestVote, RequestVoteResponse, Role, StepDownReason, TimeoutNow,
};
use annal::types::{Index, LogId, NodeId, Term, Ticket};

fn n(number: u16) -> NodeId {
    NodeId::new(number).expect("nodes are counted from 1")
}

fn id(index: u64, term: u64) -> LogId {
    LogId::new(Index::new(index), Term::new(term))
}

fn entries(terms: &[u64]) -> Vec<EntryInfo> {
    let info = |term: &u64| EntryInfo { term: Term::new(*term), bytes: 10, configuration: None };
    terms.iter().map(info).collect()
}

/// n1, found on disk with entries of these terms.
fn node_of(configuration: Configuration, terms: &[u64], term: u64, vote: Option<u16>) -> Raft {
    with_options(Options::new(n(1), 2, (10, 19)), configuration, terms, term, vote)
}

/// The same, with options of its own.
fn with_options(
    options: Options,
    configuration: Configuration,
    terms: &[u64],
    term: u64,
    vote: Option<u16>,
) -> Raft {
    let log = RecoveredLog {
        terms: vec![],
        head: LogId::ZERO,
        configuration,
        entries: entries(terms),
        commit_index: Index::ZERO,
    };
    let hard_state = HardState { current_term: Term::new(term), voted_for: vote.map(n) };
    Raft::recover(options, hard_state, log, 0)
}

fn node(terms: &[u64], term: u64) -> Raft {
    node_of(Configuration::of([n(1), n(2), n(3)]), terms, term, None)
}

/// A step with a disk that does everything at once.
fn step(raft: &mut Raft, input: Input) -> Vec<Effect> {
    let mut effects = raft.step(input);
    let mut seen = 0;
    while seen < effects.len() {
        if let Effect::Persist(persist) = &effects[seen] {
            let more = raft.step(Input::Persisted { ticket: persist.ticket });
            effects.extend(more);
        }
        seen += 1;
    }
    effects
}

fn receive(raft: &mut Raft, from: u16, message: Message) -> Vec<Effect> {
    step(raft, Input::Receive { from: n(from), message })
}

/// Ticks; timers armed meanwhile run for the shortest time.
fn tick(raft: &mut Raft, count: u32) -> Vec<Effect> {
    (0..count).flat_map(|_| step(raft, Input::Tick { random: 0 })).collect()
}

fn sent(effects: &[Effect]) -> Vec<(NodeId, Message)> {
    let send = |effect: &Effect| match effect {
        Effect::Send { to, message } => Some((*to, message.clone())),
        _ => None,
    };
    effects.iter().filter_map(send).collect()
}

fn said(effects: &[Effect]) -> Vec<String> {
    sent(effects).iter().map(|(to, message)| format!("{to} {message}")).collect()
}

fn commits(effects: &[Effect]) -> Vec<u64> {
    let commit = |effect: &Effect| match effect {
        Effect::Commit { through } => Some(through.get()),
        _ => None,
    };
    effects.iter().filter_map(commit).collect()
}

fn replies(effects: &[Effect]) -> Vec<(u64, Option<u64>)> {
    let reply = |effect: &Effect| match effect {
        Effect::Reply { token, read_index } => Some((token.0, read_index.map(Index::get))),
        _ => None,
    };
    effects.iter().filter_map(reply).collect()
}

fn ticket(effects: &[Effect]) -> Ticket {
    let persist = |effect: &Effect| match effect {
        Effect::Persist(persist) => Some(persist.ticket),
        _ => None,
    };
    effects.iter().find_map(persist).expect("something is written")
}

fn append(term: u64, prev: LogId, commit: u64, terms: &[u64]) -> Message {
    Message::AppendEntries(AppendEntries {
        term: Term::new(term),
        prev_log_id: prev,
        leader_commit: Index::new(commit),
        round: 0,
        heartbeat: false,
        entries: entries(terms),
    })
}

fn response(term: u64, round: u64, result: AppendResult) -> Message {
    Message::AppendEntriesResponse(AppendEntriesResponse {
        term: Term::new(term),
        round,
        result,
        disk_full: None,
    })
}

fn accepted(term: u64, match_index: u64) -> Message {
    response(term, 0, AppendResult::Accepted { match_index: Index::new(match_index) })
}

fn request_vote(term: u64, last_log_id: LogId) -> Message {
    let term = Term::new(term);
    Message::RequestVote(RequestVote { term, last_log_id, leadership_transfer: false })
}

fn vote(term: u64, vote_granted: bool) -> Message {
    Message::RequestVoteResponse(RequestVoteResponse { term: Term::new(term), vote_granted })
}

fn pre_vote(term: u64, last_log_id: LogId) -> Message {
    Message::PreVote(PreVote { term: Term::new(term), last_log_id })
}

fn pre_vote_granted(term: u64) -> Message {
    let term = Term::new(term);
    Message::PreVoteResponse(PreVoteResponse { term, vote_granted: true })
}

/// Brings n1 to campaign in the term after its own.
fn candidate(terms: &[u64], term: u64) -> Raft {
    let mut raft = node(terms, term);
    tick(&mut raft, 10);
    receive(&mut raft, 2, pre_vote_granted(term + 1));
    assert_eq!(raft.role().name(), "candidate");
    raft
}

/// Brings n1 to lead the term after its own.
fn leader(terms: &[u64], term: u64) -> Raft {
    let mut raft = candidate(terms, term);
    receive(&mut raft, 2, vote(term + 1, true));
    assert_eq!(raft.role().name(), "leader");
    raft
}

/// A leader whose no-op, at index 1, is committed; both followers have it.
fn ready_leader() -> Raft {
    let mut raft = leader(&[], 0);
    receive(&mut raft, 2, accepted(1, 1));
    receive(&mut raft, 3, accepted(1, 1));
    assert!(raft.is_ready_leader());
    raft
}

// ---------------------------------------------------------------- all servers

/// If a message carries a higher term, take that term and become a follower (3.3, figure 3.1).
#[test]
fn a_higher_term_makes_everybody_a_follower() {
    for mut raft in [node(&[], 1), candidate(&[], 1), leader(&[], 1)] {
        receive(&mut raft, 3, append(7, LogId::ZERO, 0, &[]));
        assert_eq!(raft.current_term(), Term::new(7));
        assert_eq!(raft.role().name(), "follower");
        assert_eq!(raft.leader(), Some(n(3)));
    }
}

/// A server that gets a request with an older term refuses it (3.3).
#[test]
fn requests_of_an_older_term_are_refused_with_the_newer_term() {
    let mut raft = node(&[1, 2], 5);
    let effects = receive(&mut raft, 2, append(4, id(2, 2), 2, &[4]));
    assert_eq!(said(&effects), ["n2 AppendEntriesResponse@5 stale"]);
    let effects = receive(&mut raft, 2, request_vote(4, id(9, 4)));
    assert_eq!(said(&effects), ["n2 RequestVoteResponse@5 refused"]);
    let effects = receive(&mut raft, 2, pre_vote(4, id(9, 4)));
    assert_eq!(said(&effects), ["n2 PreVoteResponse@5 refused"]);
    assert_eq!(raft.log().last(), id(2, 2));
    assert_eq!(raft.log().commit_index(), Index::ZERO);
}

/// Answers of an older term are not looked at (3.3).
#[test]
fn answers_of_an_older_term_are_ignored() {
    let mut raft = candidate(&[], 4);
    assert_eq!(receive(&mut raft, 2, vote(4, true)), []);
    assert_eq!(raft.role().name(), "candidate");
    let mut raft = leader(&[], 4);
    assert_eq!(receive(&mut raft, 2, accepted(4, 1)), []);
    assert_eq!(raft.log().commit_index(), Index::ZERO);
}

/// Term and vote are on stable storage before a request is answered (figure 3.1, 3.8).
#[test]
fn a_vote_is_written_before_it_is_said() {
    let mut raft = node(&[], 0);
    let message = request_vote(1, LogId::ZERO);
    let effects = raft.step(Input::Receive { from: n(2), message });
    assert_eq!(said(&effects), Vec::<String>::new());
    let ticket = ticket(&effects);
    let effects = raft.step(Input::Persisted { ticket });
    assert_eq!(said(&effects), ["n2 RequestVoteResponse@1 granted"]);
}

/// A candidate's request for votes rests on its term and its own vote, too (3.8).
#[test]
fn a_campaign_is_written_before_it_is_said() {
    let mut raft = node(&[], 0);
    tick(&mut raft, 10);
    let message = pre_vote_granted(1);
    let effects = raft.step(Input::Receive { from: n(2), message });
    assert_eq!(said(&effects), Vec::<String>::new());
    let ticket = ticket(&effects);
    let effects = raft.step(Input::Persisted { ticket });
    assert_eq!(said(&effects), ["n2 RequestVote@1 last=0@0", "n3 RequestVote@1 last=0@0"]);
}

/// Entries are on stable storage before they are acknowledged (figure 3.1, 3.8).
#[test]
fn entries_are_written_before_they_are_acknowledged() {
    let mut raft = node(&[1], 1);
    let message = append(1, id(1, 1), 0, &[1, 1]);
    let effects = raft.step(Input::Receive { from: n(2), message });
    assert_eq!(said(&effects), Vec::<String>::new());
    let ticket = ticket(&effects);
    let effects = raft.step(Input::Persisted { ticket });
    assert_eq!(said(&effects), ["n2 AppendEntriesResponse@1 accepted match=3"]);
}

// ---------------------------------------------------------------- elections

/// A follower that hears nothing for an election timeout begins an election (3.4), by asking
/// whether it would win it (9.6).
#[test]
fn a_follower_without_a_leader_asks_for_an_election() {
    let mut raft = node(&[1], 1);
    assert_eq!(tick(&mut raft, 9), []);
    let effects = tick(&mut raft, 1);
    assert_eq!(said(&effects), ["n2 PreVote@2 last=1@1", "n3 PreVote@2 last=1@1"]);
}

/// Hearing the leader, and giving a vote, put the election off (figure 3.1, followers).
#[test]
fn a_heartbeat_and_a_vote_put_the_election_off() {
    let mut raft = node(&[], 1);
    tick(&mut raft, 9);
    receive(&mut raft, 2, append(1, LogId::ZERO, 0, &[]));
    assert_eq!(sent(&tick(&mut raft, 9)), []);
    let mut raft = node(&[], 1);
    tick(&mut raft, 9);
    receive(&mut raft, 2, request_vote(1, LogId::ZERO));
    assert_eq!(sent(&tick(&mut raft, 9)), []);
}

/// Election timeouts are drawn at random from a fixed interval, each time anew (3.4).
#[test]
fn election_timeouts_are_drawn_anew_from_the_whole_interval() {
    let timeouts: BTreeSet<u32> = (0..100)
        .map(|random| {
            let mut raft = node(&[], 1);
            raft.step(Input::Tick { random });
            let message = append(1, LogId::ZERO, 0, &[]);
            raft.step(Input::Receive { from: n(2), message });
            match raft.role() {
                Role::Follower(follower) => follower.timer.timeout,
                other => panic!("a {} after a heartbeat", other.name()),
            }
        })
        .collect();
    assert_eq!(timeouts, (10..=19).collect());
}

/// A candidate has a new term and has voted for itself (3.4).
#[test]
fn a_candidate_is_in_a_new_term_and_votes_for_itself() {
    let raft = candidate(&[1], 1);
    let expected = HardState { current_term: Term::new(2), voted_for: Some(n(1)) };
    assert_eq!(raft.hard_state(), expected);
}

/// A candidate with votes from a majority leads (3.4). The same vote twice is one vote.
#[test]
fn a_majority_of_different_voters_elects() {
    let five = Configuration::of((1..=5).map(n));
    let mut raft = node_of(five, &[], 0, None);
    tick(&mut raft, 10);
    receive(&mut raft, 2, pre_vote_granted(1));
    receive(&mut raft, 2, pre_vote_granted(1));
    assert_eq!(raft.role().name(), "pre-candidate");
    receive(&mut raft, 3, pre_vote_granted(1));
    assert_eq!(raft.role().name(), "candidate");
    receive(&mut raft, 4, vote(1, true));
    receive(&mut raft, 4, vote(1, true));
    receive(&mut raft, 5, vote(1, false));
    assert_eq!(raft.role().name(), "candidate");
    receive(&mut raft, 2, vote(1, true));
    assert_eq!(raft.role().name(), "leader");
}

/// The votes of nodes that are not in the configuration do not count (3.4, 4.2.1).
#[test]
fn strangers_do_not_elect() {
    let mut raft = candidate(&[], 0);
    receive(&mut raft, 7, vote(1, true));
    assert_eq!(raft.role().name(), "candidate");
}

/// A vote for somebody else, seen in a refusal of a higher term, is no vote (openraft #1220).
#[test]
fn a_refusal_of_a_higher_term_is_followed_and_not_counted() {
    let mut raft = candidate(&[], 0);
    receive(&mut raft, 2, vote(9, false));
    let expected = HardState { current_term: Term::new(9), voted_for: None };
    assert_eq!((raft.role().name(), raft.hard_state()), ("follower", expected));
}

/// A candidate that hears the leader of its term follows it (3.4).
#[test]
fn a_candidate_follows_the_leader_of_its_term() {
    let mut raft = candidate(&[], 0);
    receive(&mut raft, 3, append(1, LogId::ZERO, 0, &[]));
    assert_eq!(raft.leader(), Some(n(3)));
    assert_eq!(raft.hard_state().voted_for, Some(n(1)), "a vote given stays given");
}

/// A candidate whose election comes to nothing begins another (3.4).
#[test]
fn a_candidate_that_does_not_win_begins_again() {
    let mut raft = candidate(&[], 0);
    let effects = tick(&mut raft, 10);
    assert_eq!(said(&effects), ["n2 PreVote@2 last=0@0", "n3 PreVote@2 last=0@0"]);
}

/// At most one vote in a term, first come, first served; who asks again is answered again (3.4).
#[test]
fn one_vote_a_term_first_come_first_served() {
    let mut raft = node(&[], 0);
    let effects = receive(&mut raft, 2, request_vote(1, LogId::ZERO));
    assert_eq!(said(&effects), ["n2 RequestVoteResponse@1 granted"]);
    let effects = receive(&mut raft, 3, request_vote(1, LogId::ZERO));
    assert_eq!(said(&effects), ["n3 RequestVoteResponse@1 refused"]);
    let effects = receive(&mut raft, 2, request_vote(1, LogId::ZERO));
    assert_eq!(said(&effects), ["n2 RequestVoteResponse@1 granted"]);
    let mut raft = node_of(Configuration::of([1, 2, 3].map(n)), &[], 1, Some(2));
    let effects = receive(&mut raft, 3, request_vote(1, LogId::ZERO));
    assert_eq!(said(&effects), ["n3 RequestVoteResponse@1 refused"], "after a restart as well");
}

/// A voter refuses a candidate whose log is less up to date: the last terms decide, and if they
/// are equal the lengths (3.6.1).
#[test]
fn a_vote_goes_to_a_log_that_is_at_least_as_up_to_date() {
    let cases = [
        (id(3, 2), "granted"),
        (id(2, 2), "refused"),
        (id(9, 1), "refused"),
        (id(1, 3), "granted"),
        (id(4, 2), "granted"),
    ];
    for (last, expected) in cases {
        let mut raft = node(&[1, 1, 2], 2);
        let effects = receive(&mut raft, 2, request_vote(4, last));
        assert_eq!(said(&effects), [format!("n2 RequestVoteResponse@4 {expected}")], "{last}");
        let mut raft = node(&[1, 1, 2], 2);
        let effects = receive(&mut raft, 2, pre_vote(4, last));
        assert!(said(&effects)[0].ends_with(expected), "{last}");
    }
}

/// A question before an election changes no term and no vote, on neither side, and is answered no
/// by who has heard a leader lately (9.6).
#[test]
fn a_pre_vote_changes_nothing_and_is_refused_while_a_leader_is_heard() {
    let mut raft = node(&[], 1);
    let before = raft.hard_state();
    let effects = receive(&mut raft, 2, pre_vote(2, LogId::ZERO));
    assert_eq!(said(&effects), ["n2 PreVoteResponse@2 granted"]);
    assert_eq!(raft.hard_state(), before);
    receive(&mut raft, 3, append(1, LogId::ZERO, 0, &[]));
    let effects = receive(&mut raft, 2, pre_vote(2, LogId::ZERO));
    assert_eq!(said(&effects), ["n2 PreVoteResponse@1 refused"]);
    tick(&mut raft, 10);
    assert_eq!(raft.hard_state(), before, "to ask changes nothing either");
}

/// A request for a vote within the shortest election timeout of hearing a leader changes neither
/// term nor vote (4.2.3) …
#[test]
fn a_request_for_a_vote_is_ignored_while_a_leader_is_heard() {
    let mut raft = node(&[], 1);
    receive(&mut raft, 3, append(1, LogId::ZERO, 0, &[]));
    tick(&mut raft, 9);
    assert_eq!(receive(&mut raft, 2, request_vote(5, id(9, 4))), []);
    assert_eq!(raft.current_term(), Term::new(1));
}

/// The belief in a leader ends with the shortest election timeout, whatever this node has drawn.
#[test]
fn a_leader_is_believed_in_for_the_shortest_election_timeout() {
    let mut raft = node(&[], 1);
    step(&mut raft, Input::Tick { random: 9 });
    receive(&mut raft, 3, append(1, LogId::ZERO, 0, &[]));
    for (ticks, answer) in
        [(9, "n2 PreVoteResponse@1 refused"), (1, "n2 PreVoteResponse@2 granted")]
    {
        (0..ticks).for_each(|_| drop(step(&mut raft, Input::Tick { random: 9 })));
        let effects = receive(&mut raft, 2, pre_vote(2, LogId::ZERO));
        assert_eq!(said(&effects), [answer]);
    }
}

/// A request of the leader's own term is no disturbance: it is answered like any other.
#[test]
fn a_request_of_the_leaders_term_is_answered() {
    let mut raft = node(&[], 1);
    receive(&mut raft, 3, append(1, LogId::ZERO, 0, &[]));
    let effects = receive(&mut raft, 2, request_vote(1, id(9, 1)));
    assert_eq!(said(&effects), ["n2 RequestVoteResponse@1 granted"]);
}

/// An answer to an older question is none to the newer one.
#[test]
fn a_late_pre_vote_does_not_count() {
    let mut raft = node_of(Configuration::of((1..=5).filter_map(NodeId::new)), &[], 0, None);
    tick(&mut raft, 10);
    receive(&mut raft, 2, pre_vote_granted(1));
    receive(&mut raft, 3, pre_vote_granted(1));
    assert_eq!((raft.role().name(), raft.current_term()), ("candidate", Term::new(1)));
    tick(&mut raft, 10);
    assert_eq!(raft.role().name(), "pre-candidate");
    receive(&mut raft, 4, pre_vote_granted(1));
    receive(&mut raft, 5, pre_vote_granted(1));
    assert_eq!(raft.role().name(), "pre-candidate", "that was asked for term 1");
    receive(&mut raft, 4, pre_vote_granted(2));
    receive(&mut raft, 5, pre_vote_granted(2));
    assert_eq!(raft.role().name(), "candidate");
}

/// … unless the leader itself has asked for the election (4.2.3, 3.10).
#[test]
fn a_request_at_the_leaders_wish_is_not_ignored() {
    let mut raft = node(&[], 1);
    receive(&mut raft, 3, append(1, LogId::ZERO, 0, &[]));
    let message = Message::RequestVote(RequestVote {
        term: Term::new(2),
        last_log_id: LogId::ZERO,
        leadership_transfer: true,
    });
    let effects = receive(&mut raft, 2, message);
    assert_eq!(said(&effects), ["n2 RequestVoteResponse@2 granted"]);
}

/// A leader that cannot reach a majority for an election timeout steps down (6.2).
#[test]
fn a_leader_without_a_majority_steps_down() {
    let mut raft = ready_leader();
    tick(&mut raft, 18);
    assert_eq!(raft.role().name(), "leader");
    let effects = tick(&mut raft, 1);
    let reason = StepDownReason::QuorumLost;
    let stepped_down = Effect::Notice(Notice::SteppedDown { term: Term::new(1), reason });
    assert!(effects.contains(&stepped_down), "{effects:?}");
}

// ---------------------------------------------------------------- replication

/// A new leader speaks up at once, before any timeout (3.4), with an entry of its term (6.4).
#[test]
fn a_new_leader_sends_a_no_op_to_all() {
    let mut raft = candidate(&[1], 1);
    let effects = receive(&mut raft, 3, vote(2, true));
    let expected = [
        "n2 AppendEntries@2 prev=1@1 commit=0 entries=2@2",
        "n3 AppendEntries@2 prev=1@1 commit=0 entries=2@2",
    ];
    assert_eq!(said(&effects), expected);
}

/// A leader repeats heartbeats while nothing else is to be said (figure 3.1, leaders).
#[test]
fn a_leader_sends_heartbeats() {
    let mut raft = ready_leader();
    let expected = [
        "n2 AppendEntries@1 heartbeat prev=1@1 commit=1",
        "n3 AppendEntries@1 heartbeat prev=1@1 commit=1",
    ];
    assert_eq!(said(&tick(&mut raft, 2)), expected);
    assert_eq!(said(&tick(&mut raft, 2)), expected);
}

/// A command goes to the leader's log, and in parallel to the others and to its own disk (3.5,
/// 10.2.1).
#[test]
fn a_proposal_is_sent_before_it_is_on_the_leaders_disk() {
    let mut raft = ready_leader();
    let effects = raft.step(Input::Propose { bytes: 10 });
    let expected = [
        "n2 AppendEntries@1 prev=1@1 commit=1 entries=2@1",
        "n3 AppendEntries@1 prev=1@1 commit=1 entries=2@1",
    ];
    assert_eq!(said(&effects), expected);
}

/// The leader may commit what a majority has on disk although its own disk does not (10.2.1); its
/// own copy counts only when it is on disk.
#[test]
fn a_leader_counts_itself_when_its_disk_is_done() {
    let mut raft = ready_leader();
    let ticket = ticket(&raft.step(Input::Propose { bytes: 10 }));
    let from = |from, message| Input::Receive { from: n(from), message };
    assert_eq!(commits(&raft.step(from(2, accepted(1, 2)))), [0_u64; 0]);
    let mut slow = raft.clone();
    assert_eq!(commits(&raft.step(Input::Persisted { ticket })), [2]);
    assert_eq!(commits(&slow.step(from(3, accepted(1, 2)))), [2]);
}

/// Messages with entries are sent without waiting for answers to those before (10.2.1).
#[test]
fn appends_are_pipelined() {
    let mut raft = ready_leader();
    let first = step(&mut raft, Input::Propose { bytes: 10 });
    let second = step(&mut raft, Input::Propose { bytes: 10 });
    assert_eq!(said(&first)[0], "n2 AppendEntries@1 prev=1@1 commit=1 entries=2@1");
    assert_eq!(said(&second)[0], "n2 AppendEntries@1 prev=2@1 commit=1 entries=3@1");
}

/// A follower refuses entries that do not follow on what it has (3.5), and says where the logs may
/// agree.
#[test]
fn entries_without_their_predecessor_are_refused() {
    let cases = [(id(5, 2), id(3, 2)), (id(3, 1), id(2, 1)), (id(3, 3), id(3, 2))];
    for (prev, hint) in cases {
        let mut raft = node(&[1, 1, 2], 3);
        let effects = receive(&mut raft, 2, append(3, prev, 0, &[3]));
        let expected = format!("n2 AppendEntriesResponse@3 rejected prev={prev} hint={hint}");
        assert_eq!(said(&effects), [expected]);
        assert_eq!(raft.log().last(), id(3, 2));
    }
}

/// An entry that conflicts with a new one, and all that follow it, are removed (figure 3.1).
#[test]
fn a_conflict_removes_the_entry_and_all_behind_it() {
    let mut raft = node(&[1, 1, 2, 2, 2], 3);
    let effects = receive(&mut raft, 2, append(3, id(2, 1), 0, &[3]));
    assert_eq!(raft.log().last(), id(3, 3));
    assert_eq!(said(&effects), ["n2 AppendEntriesResponse@3 accepted match=3"]);
}

/// Entries that the follower has already are left alone, with all behind them (figure 3.1): the
/// message may be old.
#[test]
fn entries_that_are_there_stay_with_all_behind_them() {
    let mut raft = node(&[1, 1, 2, 2], 2);
    let effects = receive(&mut raft, 2, append(2, id(1, 1), 0, &[1]));
    assert_eq!(raft.log().last(), id(4, 2));
    assert_eq!(said(&effects), ["n2 AppendEntriesResponse@2 accepted match=2"]);
}

/// A follower commits up to the leader's commit index, but no further than the last entry of the
/// message (figure 3.1).
#[test]
fn a_follower_commits_the_smaller_of_both() {
    let cases = [(0, vec![]), (2, vec![2]), (3, vec![3]), (9, vec![3])];
    for (leader_commit, expected) in cases {
        let mut raft = node(&[1, 1, 1, 1, 1], 2);
        let effects = receive(&mut raft, 2, append(2, id(2, 1), leader_commit, &[1]));
        assert_eq!(commits(&effects), expected, "leader commit {leader_commit}");
    }
}

/// After a refusal the leader goes back and tries again (3.5), to where the logs may agree.
#[test]
fn a_refused_leader_goes_back() {
    let mut raft = leader(&[1, 1, 1], 1);
    let prev_log_id = id(3, 1);
    let refusal = AppendResult::Rejected { prev_log_id, hint: id(1, 1) };
    let effects = receive(&mut raft, 2, response(2, 0, refusal));
    assert_eq!(said(&effects), ["n2 AppendEntries@2 prev=1@1 commit=0 entries=2@1..4@2"]);
}

/// A leader sends again and again what is not answered (3.5).
#[test]
fn what_is_not_answered_is_sent_again() {
    let mut raft = ready_leader();
    step(&mut raft, Input::Propose { bytes: 10 });
    receive(&mut raft, 3, accepted(1, 2));
    let effects = tick(&mut raft, 10);
    let again = "n2 AppendEntries@1 prev=1@1 commit=2".to_string();
    assert!(said(&effects).iter().any(|line| line.starts_with(&again)), "{:?}", said(&effects));
}

/// What is read from the disk for a follower that is far behind, a MiB at a time, in so many ticks: each
/// time one of the followers acknowledges an append, if there are any, and the other what it was sent.
fn megabytes_read(ticks: u32, is_live: bool) -> usize {
    const ENTRIES: u64 = 2000;
    let options = Options { window_bytes_max: 100, ..Options::new(n(1), 2, (10, 19)) };
    let configuration = Configuration::of([n(1), n(2), n(3)]);
    let mut raft = with_options(options, configuration, &[1; 2000], 1, None);
    tick(&mut raft, 10);
    receive(&mut raft, 2, pre_vote_granted(2));
    receive(&mut raft, 2, vote(2, true));
    receive(&mut raft, 2, accepted(2, ENTRIES + 1));
    let nothing = AppendResult::Rejected { prev_log_id: id(ENTRIES, 1), hint: LogId::ZERO };
    let mut effects = receive(&mut raft, 3, response(2, 0, nothing));
    let (mut last, mut has, mut read) = (ENTRIES + 1, 0, 0);
    for _ in 0..ticks {
        for _ in 0..10 {
            let is_fetch =
                |effect: &Effect| matches!(effect, Effect::Fetch { to, .. } if *to == n(3));
            if !effects.iter().any(is_fetch) {
                break;
            }
            let prev_log_id = id(has, u64::from(has > 0));
            let entry = EntryInfo { bytes: 1 << 20, ..entries(&[1]).remove(0) };
            let fetched = Input::Fetched { to: n(3), prev_log_id, entries: vec![entry] };
            effects = step(&mut raft, fetched);
            (has, read) = (has + 1, read + 1);
            effects.extend(receive(&mut raft, 3, accepted(2, has)));
        }
        if is_live {
            step(&mut raft, Input::Propose { bytes: 100 });
            last += 1;
        }
        receive(&mut raft, 2, accepted(2, last));
        effects.extend(tick(&mut raft, 1));
    }
    read
}

/// A follower that is far behind gets its share beside what is appended, and all there is where nothing
/// is.
#[test]
fn catching_up_makes_way_for_appends() {
    let beside_appends = megabytes_read(400, true);
    assert!((45..=60).contains(&beside_appends), "a MiB each eight ticks: {beside_appends}");
    assert!(megabytes_read(150, false) > 1000);
}

/// A leader never removes or changes what is in its log (3.5): a second leader in its term is no reason
/// to truncate.
#[test]
fn a_leader_never_gives_up_its_entries_in_its_term() {
    let mut raft = ready_leader();
    let last = raft.log().last();
    let effects = receive(&mut raft, 2, append(1, LogId::ZERO, 0, &[1, 1]));
    let [Effect::Notice(Notice::Refused { what: Implausible::SecondLeader, .. })] = effects[..]
    else {
        panic!("{effects:?}")
    };
    assert!(raft.role().as_leader().is_some());
    assert_eq!(raft.log().last(), last);
}

// ---------------------------------------------------------------- commitment

/// An entry is committed when a majority has it, and with it all before it (3.5).
#[test]
fn a_majority_commits_an_entry_and_all_before_it() {
    let mut raft = leader(&[1, 1], 1);
    assert_eq!(commits(&receive(&mut raft, 3, accepted(2, 3))), [3]);
}

/// Only entries of the leader's term are committed by counting (3.6.2).
#[test]
fn an_entry_of_an_older_term_is_not_committed_by_counting() {
    let mut raft = leader(&[1, 1], 1);
    assert_eq!(commits(&receive(&mut raft, 2, accepted(2, 2))), [0_u64; 0]);
    assert_eq!(commits(&receive(&mut raft, 3, accepted(2, 2))), [0_u64; 0]);
}

/// A follower learns of a commit from the next message (3.5), a heartbeat at the latest.
#[test]
fn a_heartbeat_carries_the_commit_index() {
    let mut raft = ready_leader();
    step(&mut raft, Input::Propose { bytes: 10 });
    receive(&mut raft, 2, accepted(1, 2));
    let effects = tick(&mut raft, 2);
    let expected = [
        "n2 AppendEntries@1 heartbeat prev=2@1 commit=2",
        "n3 AppendEntries@1 heartbeat prev=1@1 commit=1",
    ];
    assert_eq!(said(&effects), expected, "and no more than the follower is known to have");
}

// ---------------------------------------------------------------- configurations

fn joint(voters: &[u16], outgoing: &[u16]) -> Configuration {
    let mut configuration = Configuration::of(voters.iter().copied().map(n));
    configuration.outgoing = outgoing.iter().copied().map(n).collect();
    configuration
}

/// A node uses the newest configuration in its log, committed or not (4.1).
#[test]
fn a_configuration_is_in_force_from_the_moment_it_is_in_the_log() {
    let mut raft = ready_leader();
    let next = joint(&[1, 2, 4], &[1, 2, 3]);
    let effects = step(&mut raft, Input::ProposeConfiguration(next.clone()));
    assert_eq!(raft.log().configuration(), &next);
    let to: BTreeSet<_> = sent(&effects).into_iter().map(|(to, _)| to).collect();
    assert_eq!(to, [n(2), n(3), n(4)].into());
}

/// While a change is under way both majorities have to agree, on entries and on leaders (4.3).
#[test]
fn a_joint_configuration_needs_both_majorities() {
    let configuration = joint(&[1, 4, 5], &[1, 2, 3]);
    let mut raft = node_of(configuration, &[], 0, None);
    tick(&mut raft, 10);
    receive(&mut raft, 4, pre_vote_granted(1));
    receive(&mut raft, 5, pre_vote_granted(1));
    assert_eq!(raft.role().name(), "pre-candidate");
    receive(&mut raft, 2, pre_vote_granted(1));
    assert_eq!(raft.role().name(), "candidate");
    receive(&mut raft, 2, vote(1, true));
    receive(&mut raft, 3, vote(1, true));
    assert_eq!(raft.role().name(), "candidate");
    receive(&mut raft, 5, vote(1, true));
    assert_eq!(raft.role().name(), "leader");
    assert_eq!(commits(&receive(&mut raft, 4, accepted(1, 1))), [0_u64; 0]);
    assert_eq!(commits(&receive(&mut raft, 3, accepted(1, 1))), [1]);
}

/// When the joint configuration is committed the leader goes on to the new one (4.3), also if it is
/// another leader than the one that began.
#[test]
fn a_committed_joint_configuration_is_left() {
    let mut raft = node_of(joint(&[1, 2], &[1, 2, 3]), &[], 0, None);
    tick(&mut raft, 10);
    receive(&mut raft, 2, pre_vote_granted(1));
    receive(&mut raft, 2, vote(1, true));
    let effects = receive(&mut raft, 2, accepted(1, 1));
    assert_eq!(commits(&effects), [1]);
    assert_eq!(raft.log().configuration(), &Configuration::of([n(1), n(2)]));
    assert_eq!(raft.log().last(), id(2, 1));
}

/// A leader that is not in the new configuration steps down when that is committed, and does not
/// count itself for it (4.2.2).
#[test]
fn a_removed_leader_steps_down_at_the_commit() {
    let mut raft = ready_leader();
    let next = joint(&[2, 3], &[1, 2, 3]);
    step(&mut raft, Input::ProposeConfiguration(next));
    receive(&mut raft, 2, accepted(1, 2));
    receive(&mut raft, 3, accepted(1, 2));
    assert_eq!(raft.log().configuration(), &Configuration::of([n(2), n(3)]));
    assert_eq!(commits(&receive(&mut raft, 2, accepted(1, 3))), [0_u64; 0]);
    assert_eq!(commits(&receive(&mut raft, 3, accepted(1, 3))), [3]);
    assert_eq!(raft.role().name(), "follower");
}

/// One change at a time, and none before the leader has committed in its term (4.1; Ongaro's note
/// of 2015).
#[test]
#[should_panic(expected = "before the first commit of the term")]
fn no_change_of_configuration_before_the_first_commit() {
    let mut raft = leader(&[], 0);
    step(&mut raft, Input::ProposeConfiguration(joint(&[1, 2], &[1, 2, 3])));
}

/// Learners receive the log and have no vote (4.2.1).
#[test]
fn a_learner_neither_campaigns_nor_counts() {
    let mut configuration = Configuration::of([n(2), n(3)]);
    configuration.learners = [n(1)].into();
    let mut raft = node_of(configuration, &[], 0, None);
    assert_eq!(sent(&tick(&mut raft, 40)), []);
    let mut configuration = Configuration::of([n(1), n(2)]);
    configuration.learners = [n(3)].into();
    let mut raft = node_of(configuration, &[], 0, None);
    tick(&mut raft, 10);
    receive(&mut raft, 3, pre_vote_granted(1));
    assert_eq!(raft.role().name(), "pre-candidate");
    receive(&mut raft, 2, pre_vote_granted(1));
    receive(&mut raft, 2, vote(1, true));
    assert_eq!(commits(&receive(&mut raft, 3, accepted(1, 1))), [0_u64; 0]);
}

// ---------------------------------------------------------------- reads and handover

/// A read waits until the leader has committed in its term (6.4, step 1).
#[test]
fn a_read_waits_for_the_no_op() {
    let mut raft = leader(&[1], 1);
    assert_eq!(step(&mut raft, Input::Read(ReadToken(1))), []);
    let effects = receive(&mut raft, 2, accepted(2, 2));
    assert_eq!(replies(&effects), [], "that answer is older than the read's round");
    let round_1 = response(2, 1, AppendResult::Accepted { match_index: Index::new(2) });
    assert_eq!(replies(&receive(&mut raft, 3, round_1)), [(1, Some(2))]);
}

/// A read is answered when a majority has confirmed the leader since (6.4, step 3), with the commit
/// index of when it came (step 2).
#[test]
fn a_read_is_confirmed_by_a_majority_and_sees_what_was_committed_when_it_came() {
    let mut raft = ready_leader();
    step(&mut raft, Input::Propose { bytes: 10 });
    assert_eq!(replies(&step(&mut raft, Input::Read(ReadToken(1)))), []);
    assert_eq!(replies(&receive(&mut raft, 2, accepted(1, 2))), []);
    assert_eq!(raft.log().commit_index(), Index::new(2));
    let round_1 = response(1, 1, AppendResult::Accepted { match_index: Index::new(1) });
    assert_eq!(replies(&receive(&mut raft, 2, round_1)), [(1, Some(1))]);
}

/// An answer to an older round confirms no newer one (6.4).
#[test]
fn an_older_round_confirms_nothing() {
    let mut raft = ready_leader();
    let round = |round| response(1, round, AppendResult::Accepted { match_index: Index::new(1) });
    step(&mut raft, Input::Read(ReadToken(1)));
    step(&mut raft, Input::Read(ReadToken(2)));
    assert_eq!(replies(&receive(&mut raft, 2, round(0))), []);
    assert_eq!(replies(&receive(&mut raft, 2, round(1))), [(1, Some(1))]);
    assert_eq!(replies(&receive(&mut raft, 3, round(1))), []);
    assert_eq!(replies(&receive(&mut raft, 3, round(2))), [(2, Some(1))]);
}

/// Who does not lead, or no longer, answers no read (6.4).
#[test]
fn reads_are_given_back_where_nobody_leads() {
    let mut raft = node(&[], 1);
    assert_eq!(replies(&step(&mut raft, Input::Read(ReadToken(1)))), [(1, None)]);
    let mut raft = ready_leader();
    step(&mut raft, Input::Read(ReadToken(1)));
    step(&mut raft, Input::Read(ReadToken(2)));
    let effects = receive(&mut raft, 3, append(9, LogId::ZERO, 0, &[]));
    assert_eq!(replies(&effects), [(1, None), (2, None)]);
}

/// A leader that hands over takes no proposals, brings its successor up to date, and then asks it
/// to campaign (3.10).
#[test]
fn a_successor_is_asked_when_it_has_everything() {
    let mut raft = ready_leader();
    step(&mut raft, Input::Propose { bytes: 10 });
    receive(&mut raft, 2, accepted(1, 2));
    step(&mut raft, Input::Propose { bytes: 10 });
    let started = Effect::Notice(Notice::TransferStarted { to: n(2) });
    assert!(
        step(&mut raft, Input::Transfer { to: None }).contains(&started),
        "to the most advanced"
    );
    assert!(!raft.may_propose());
    let effects = receive(&mut raft, 2, accepted(1, 3));
    assert!(said(&effects).contains(&"n2 TimeoutNow@1".into()), "{:?}", said(&effects));
}

/// Who is asked to take over campaigns at once, and says that the leader wished it (3.10).
#[test]
fn who_is_asked_to_take_over_campaigns_at_once() {
    let mut raft = node(&[], 1);
    receive(&mut raft, 3, append(1, LogId::ZERO, 0, &[]));
    let message = Message::TimeoutNow(TimeoutNow { term: Term::new(1) });
    let effects = receive(&mut raft, 3, message);
    assert_eq!(said(&effects)[0], "n2 RequestVote@2 last=0@0 transfer");
}

/// Only the leader's word counts, and only with somebody who votes.
#[test]
fn nobody_else_is_told_to_take_over() {
    let message = || Message::TimeoutNow(TimeoutNow { term: Term::new(1) });
    let mut raft = node(&[], 1);
    receive(&mut raft, 3, append(1, LogId::ZERO, 0, &[]));
    receive(&mut raft, 2, message());
    assert_eq!(raft.role().name(), "follower");
    let mut configuration = Configuration::of([n(2), n(3)]);
    configuration.learners = [n(1)].into();
    let mut raft = node_of(configuration, &[], 1, None);
    receive(&mut raft, 3, append(1, LogId::ZERO, 0, &[]));
    receive(&mut raft, 3, message());
    assert_eq!(raft.role().name(), "follower");
}

/// A disk that stands still for so many ticks is stuck: one tick less, and it is slow.
#[test]
fn a_disk_is_stuck_at_its_bound_and_not_before() {
    let stalled = |ticks: u32| {
        let mut options = Options::new(n(1), 2, (10, 19));
        options.disk_stall_ticks = 30;
        let mut raft = with_options(options, Configuration::of([n(1), n(2), n(3)]), &[], 1, None);
        // An entry that never gets to the disk.
        raft.step(Input::Receive { from: n(3), message: append(1, LogId::ZERO, 0, &[1]) });
        for _ in 0..ticks {
            raft.step(Input::Tick { random: 0 });
            raft.step(Input::Receive { from: n(3), message: append(1, id(1, 1), 0, &[]) });
        }
        raft
    };
    let message = || Message::TimeoutNow(TimeoutNow { term: Term::new(1) });
    for (ticks, role) in [(29, "candidate"), (30, "follower")] {
        let mut raft = stalled(ticks);
        raft.step(Input::Receive { from: n(3), message: message() });
        assert_eq!(raft.role().name(), role, "after {ticks} ticks");
        assert!(raft.held_messages() > 1, "what it would say waits for the disk");
    }
    // The tenth tick without a leader is an election timeout.
    for (ticks, role) in [(29, "pre-candidate"), (30, "follower")] {
        let mut raft = stalled(ticks - 10);
        (0..10).for_each(|_| drop(raft.step(Input::Tick { random: 0 })));
        assert_eq!(raft.role().name(), role, "after {ticks} ticks");
    }
}

#[test]
fn proposals_are_welcome_up_to_the_bound() {
    let mut options = Options::new(n(1), 2, (10, 19));
    options.uncommitted_bytes_max = 100;
    let mut raft = with_options(options, Configuration::of([n(1), n(2), n(3)]), &[], 0, None);
    tick(&mut raft, 10);
    receive(&mut raft, 2, pre_vote_granted(1));
    receive(&mut raft, 2, vote(1, true));
    receive(&mut raft, 2, accepted(1, 1));
    assert!(raft.may_propose());
    let bytes = 99 - u32::try_from(raft.log().uncommitted_bytes()).unwrap();
    step(&mut raft, Input::Propose { bytes });
    assert!(raft.may_propose(), "a byte is left");
    step(&mut raft, Input::Propose { bytes: 1 });
    assert!(!raft.may_propose());
}

/// Who has been silent for an election timeout may be dead, and is not handed anything.
#[test]
fn a_successor_was_heard_within_the_shortest_election_timeout() {
    for (silent, hands_over) in [(9, true), (10, false)] {
        let mut raft = ready_leader();
        tick(&mut raft, silent);
        step(&mut raft, Input::Transfer { to: None });
        assert_eq!(!raft.may_propose(), hands_over, "after {silent} ticks");
    }
}

/// A handover that does not succeed within an election timeout is given up (3.10).
#[test]
fn a_handover_ends() {
    let mut raft = ready_leader();
    step(&mut raft, Input::Transfer { to: None });
    for _ in 0..2 {
        tick(&mut raft, 9);
        receive(&mut raft, 2, accepted(1, 1));
    }
    assert!(!raft.may_propose());
    tick(&mut raft, 1);
    assert!(raft.may_propose());
}
