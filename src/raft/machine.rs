//! The state machine: what a node is, and the table of what it does with each message.

use std::collections::{BTreeMap, BTreeSet};

use super::border::{Content, Effect, HardState, Input, Notice, StepDownReason};
use super::log::{RaftLog, RecoveredLog};
use super::message::{AppendEntriesResponse, AppendResult, Message, RequestVoteResponse};
use super::outbox::Outbox;
use super::role::{ElectionTimer, Follower, Role};
use crate::limits;
use crate::marks::{Mark, hit};
use crate::mutants::{self, Mutant};
use crate::types::{DiskFull, Incarnation, Index, NodeId, Term};

/// What a core is told once and keeps. Times are in ticks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Options {
    /// Who this node is.
    pub id: NodeId,
    /// Its store, if that was made in place of one that was lost.
    pub store: Option<Incarnation>,
    /// That store is its first: the node came later than its cluster, and has lost nothing.
    pub joins: bool,
    /// The shortest time without a leader after which an election is held.
    pub election_timeout_ticks_min: u32,
    /// The longest.
    pub election_timeout_ticks_max: u32,
    /// The longest after campaigns that came to nothing, each of which doubles it; never less than
    /// `election_timeout_ticks_max`.
    pub election_timeout_ticks_widest: u32,
    /// The time between two heartbeats.
    pub heartbeat_ticks: u32,
    /// A node whose oldest write has been under way for this long does not campaign, and does not
    /// lead either if others' disks are faster.
    pub disk_stall_ticks: u32,
    /// A leader whose disk has owed for this long what it was asked for a follower steps down.
    pub read_stall_ticks: u32,
    /// Bytes of recent entries kept at hand.
    pub window_bytes_max: u64,
    /// Bytes in a tick that followers who are far behind get in any case.
    pub catch_up_bytes_min: u64,
    /// Entries in one AppendEntries.
    pub append_count_max: usize,
    /// Bytes in one AppendEntries, unless its only entry is larger.
    pub append_bytes_max: usize,
    /// Bytes that may be proposed and not committed.
    pub uncommitted_bytes_max: u64,
    /// Bytes of a head in one InstallSnapshot.
    pub head_piece_bytes_max: u64,
    /// A follower that has not got further for so long is not waited for when space is given back.
    pub release_patience_ticks: u32,
}

impl Options {
    /// Options for node `id` with everything that is not time as `limits` has it.
    pub fn new(id: NodeId, heartbeat_ticks: u32, election_timeout_ticks: (u32, u32)) -> Self {
        let (min, max) = election_timeout_ticks;
        let disk_stall_ticks = max.saturating_mul(limits::DISK_STALL_ELECTION_TIMEOUTS);
        Self {
            id,
            store: None,
            joins: false,
            election_timeout_ticks_min: min,
            election_timeout_ticks_max: max,
            election_timeout_ticks_widest: max.saturating_mul(limits::ELECTION_TIMEOUT_WIDENED),
            heartbeat_ticks,
            disk_stall_ticks,
            // Whoever opens files for a read sets more.
            read_stall_ticks: disk_stall_ticks,
            window_bytes_max: limits::WINDOW_BYTES_MAX as u64,
            catch_up_bytes_min: limits::CATCH_UP_BYTES_PER_TICK_MIN,
            append_count_max: limits::APPEND_ENTRIES_COUNT_MAX,
            append_bytes_max: limits::APPEND_ENTRIES_BYTES_MAX,
            uncommitted_bytes_max: limits::UNCOMMITTED_BYTES_MAX as u64,
            head_piece_bytes_max: limits::HEAD_PIECE_BYTES_MAX,
            release_patience_ticks: max.saturating_mul(limits::RELEASE_PATIENCE_ELECTION_TIMEOUTS),
        }
    }

    fn check(&self) {
        assert!(self.heartbeat_ticks > 0, "a heartbeat takes time");
        assert!(
            self.heartbeat_ticks < self.election_timeout_ticks_min,
            "heartbeats every {} ticks, elections after {}",
            self.heartbeat_ticks,
            self.election_timeout_ticks_min
        );
        assert!(self.election_timeout_ticks_min <= self.election_timeout_ticks_max);
        assert!(self.election_timeout_ticks_max <= self.election_timeout_ticks_widest);
        assert!(self.append_count_max > 0 && self.head_piece_bytes_max > 0);
    }
}

/// One node's part in consensus.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Raft {
    pub(super) options: Options,
    pub(super) hard_state: HardState,
    pub(super) log: RaftLog,
    pub(super) role: Role,
    pub(super) outbox: Outbox,
    /// The entropy of the newest tick.
    pub(super) random: u64,
    /// Its disk is full, as far as it was told.
    pub(super) disk_full: Option<DiskFull>,
    /// Nodes whose wall clocks are far ahead, as far as it was told.
    pub(super) clocks_ahead: BTreeSet<NodeId>,
    /// This node has been a member since it was started, or has the store that it began with.
    pub(super) belonged: bool,
    /// For so many ticks it has been none: see [`Raft::was_removed`].
    pub(super) nobody_ticks: u32,
    /// Campaigns that came to nothing since a leader was last heard.
    pub(super) fruitless: u32,
    /// The stores of peers that came back with a new one, as far as they were heard.
    pub(super) stores: BTreeMap<NodeId, Incarnation>,
}

impl Raft {
    /// A node as it was found on disk: a follower of nobody.
    pub fn recover(
        options: Options,
        hard_state: HardState,
        log: RecoveredLog,
        random: u64,
    ) -> Self {
        options.check();
        let log = RaftLog::recover(log);
        assert!(log.last().term <= hard_state.current_term, "an entry of a term never seen");
        let timer = ElectionTimer { elapsed: 0, timeout: options.election_timeout_ticks_max };
        let role = Role::Follower(Follower { leader: None, timer });
        let belonged = options.store.is_none();
        let mut raft = Self {
            options,
            hard_state,
            log,
            role,
            outbox: Outbox::new(),
            random,
            disk_full: None,
            clocks_ahead: BTreeSet::new(),
            belonged,
            nobody_ticks: 0,
            fruitless: 0,
            stores: BTreeMap::new(),
        };
        raft.role = Role::Follower(Follower { leader: None, timer: raft.armed_timer() });
        raft.log.trim_window(raft.options.window_bytes_max);
        raft.check();
        raft
    }

    /// Handles one input, and says what has to be done.
    pub fn step(&mut self, input: Input) -> Vec<Effect> {
        #[cfg(debug_assertions)]
        let before = self.observed();
        match input {
            Input::Tick { random } => self.on_tick(random),
            Input::Receive { from, message } => self.on_message(from, message),
            Input::Propose { bytes } => self.on_propose(bytes),
            Input::ProposeConfiguration(configuration) => {
                self.on_propose_configuration(configuration);
            }
            Input::Read(token) => self.on_read(token),
            Input::Persisted { ticket } => self.on_persisted(ticket),
            Input::Fetched { to, prev_log_id, entries } => {
                self.on_fetched(to, prev_log_id, entries);
            }
            Input::GivenUp { to, prev_log_id, head } => self.on_given_up(to, prev_log_id, head),
            Input::Space { disk_full } => self.on_space(disk_full),
            Input::Clocks { ahead } => self.on_clocks(ahead),
            Input::Transfer { to } => self.on_transfer(to),
            Input::Restarted { peer, store } => self.on_restarted(peer, store),
        }
        self.log.trim_window(self.options.window_bytes_max);
        let effects = self.outbox.finish(self.log.persisted(), self.current_term());
        #[cfg(debug_assertions)]
        {
            if !mutants::any() {
                self.check();
                before.check_step(self);
            }
        }
        effects
    }

    /// Who this node is.
    pub fn id(&self) -> NodeId {
        self.options.id
    }

    /// What it was told once.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// How many messages it holds back until its disk has what they say.
    pub fn held_messages(&self) -> usize {
        self.outbox.held_messages()
    }

    /// Its term and vote, as they are in memory.
    pub fn hard_state(&self) -> HardState {
        self.hard_state
    }

    /// Its term.
    pub fn current_term(&self) -> Term {
        self.hard_state.current_term
    }

    /// Its log.
    pub fn log(&self) -> &RaftLog {
        &self.log
    }

    /// Its role.
    pub fn role(&self) -> &Role {
        &self.role
    }

    /// The leader of its term, if it knows one.
    pub fn leader(&self) -> Option<NodeId> {
        match &self.role {
            Role::Follower(follower) => follower.leader,
            Role::PreCandidate(_) | Role::Candidate(_) => None,
            Role::Leader(_) => Some(self.id()),
        }
    }

    /// Whether this node leads and its no-op is committed.
    pub fn is_ready_leader(&self) -> bool {
        self.role.as_leader().is_some_and(|leader| self.log.commit_index() >= leader.no_op)
    }

    /// The term that it leads and can serve in, if there is one.
    pub fn ready_term(&self) -> Option<Term> {
        self.is_ready_leader().then(|| self.current_term())
    }

    /// Whether [`Input::Propose`] is welcome: it leads, does not hand over, and not too much is
    /// waiting to be committed.
    pub fn may_propose(&self) -> bool {
        self.role.as_leader().is_some_and(|leader| leader.transfer.is_none())
            && self.log.uncommitted_bytes() < self.options.uncommitted_bytes_max
    }

    fn on_tick(&mut self, random: u64) {
        self.random = random;
        self.outbox.on_tick();
        self.tick_belonging();
        self.maybe_tell_of_stuck_disk();
        let has_asked =
            self.outbox.hard_state_is_persisted() || mutants::is_on(Mutant::CampaignDuringSync);
        let timed_out = match &mut self.role {
            Role::Follower(Follower { timer, .. }) => timer.tick(),
            Role::PreCandidate(candidate) => candidate.timer.tick(),
            Role::Candidate(candidate) => candidate.timer.tick() && has_asked,
            Role::Leader(_) => return self.on_leader_tick(),
        };
        if timed_out {
            self.on_election_timeout();
        } else if has_asked {
            self.maybe_ask_again();
        }
    }

    fn on_message(&mut self, from: NodeId, message: Message) {
        assert_ne!(from, self.id(), "a message from this node to itself");
        if self.is_refused(from, &message) {
            return;
        }
        if message.term() < self.current_term() {
            return self.on_older_term(from, &message);
        }
        if self.is_disruption(&message) {
            hit(Mark::Disruption);
            return;
        }
        if message.term() > self.current_term() && message.is_claim() {
            self.become_follower(message.term(), None, StepDownReason::HigherTerm);
        }
        self.dispatch(from, message);
    }

    /// The table of roles and messages: one line a cell, all cells in sight.
    #[deny(clippy::wildcard_enum_match_arm)]
    #[expect(clippy::match_same_arms, reason = "a line a cell is the point of the table")]
    fn dispatch(&mut self, from: NodeId, message: Message) {
        use Message as M;
        match (&self.role, message) {
            (Role::Follower(_), M::PreVote(m)) => self.on_pre_vote(from, &m),
            // Too late: it campaigns no more.
            (Role::Follower(_), M::PreVoteResponse(_)) => {}
            (Role::Follower(_), M::RequestVote(m)) => self.on_request_vote(from, &m),
            // Too late, as before.
            (Role::Follower(_), M::RequestVoteResponse(_)) => {}
            (Role::Follower(_), M::AppendEntries(m)) => self.on_append_entries(from, m),
            // Too late: it led, and has stepped down.
            (Role::Follower(_), M::AppendEntriesResponse(_)) => {}
            (Role::Follower(_), M::TimeoutNow(_)) => self.on_timeout_now(from),
            (Role::Follower(_), M::InstallSnapshot(m)) => self.on_install_snapshot(from, &m),
            // Too late: it led, and has stepped down.
            (Role::Follower(_), M::InstallSnapshotResponse(_)) => {}

            (Role::PreCandidate(_), M::PreVote(m)) => self.on_pre_vote(from, &m),
            (Role::PreCandidate(_), M::PreVoteResponse(m)) => {
                self.on_pre_vote_response(from, &m);
            }
            (Role::PreCandidate(_), M::RequestVote(m)) => self.on_request_vote(from, &m),
            (Role::PreCandidate(_), M::RequestVoteResponse(m)) => {
                self.on_request_vote_response(from, &m);
            }
            (Role::PreCandidate(_), M::AppendEntries(m)) => self.on_append_entries(from, m),
            // Too late: it led, and has stepped down.
            (Role::PreCandidate(_), M::AppendEntriesResponse(_)) => {}
            // It has begun to campaign by itself.
            (Role::PreCandidate(_), M::TimeoutNow(_)) => {}
            (Role::PreCandidate(_), M::InstallSnapshot(m)) => self.on_install_snapshot(from, &m),
            // Too late: it led, and has stepped down.
            (Role::PreCandidate(_), M::InstallSnapshotResponse(_)) => {}

            (Role::Candidate(_), M::PreVote(m)) => self.on_pre_vote(from, &m),
            // Too late: the pre-vote is won.
            (Role::Candidate(_), M::PreVoteResponse(_)) => {}
            (Role::Candidate(_), M::RequestVote(m)) => self.on_request_vote(from, &m),
            (Role::Candidate(_), M::RequestVoteResponse(m)) => {
                self.on_request_vote_response(from, &m);
            }
            (Role::Candidate(_), M::AppendEntries(m)) => self.on_append_entries(from, m),
            // Too late: it answers what this node said as the leader of an older term.
            (Role::Candidate(_), M::AppendEntriesResponse(_)) => {}
            // It campaigns already; whoever leads this term will be heard.
            (Role::Candidate(_), M::TimeoutNow(_)) => {}
            (Role::Candidate(_), M::InstallSnapshot(m)) => self.on_install_snapshot(from, &m),
            // Too late: it answers what this node said as the leader of an older term.
            (Role::Candidate(_), M::InstallSnapshotResponse(_)) => {}

            (Role::Leader(_), M::PreVote(m)) => self.on_pre_vote(from, &m),
            // Too late: it is elected.
            (Role::Leader(_), M::PreVoteResponse(_)) => {}
            (Role::Leader(_), M::RequestVote(m)) => self.on_request_vote(from, &m),
            // Too late, as before.
            (Role::Leader(_), M::RequestVoteResponse(_)) => {}
            (Role::Leader(_), M::AppendEntries(_)) => self.refuse_second_leader(from),
            (Role::Leader(_), M::AppendEntriesResponse(m)) => self.on_append_response(from, &m),
            (Role::Leader(_), M::TimeoutNow(_)) => self.refuse_second_leader(from),
            (Role::Leader(_), M::InstallSnapshot(_)) => self.refuse_second_leader(from),
            (Role::Leader(_), M::InstallSnapshotResponse(m)) => {
                self.on_install_snapshot_response(from, &m);
            }
        }
    }

    /// The sender is behind: say so, where it waits for an answer; the answer's term tells it.
    fn on_older_term(&mut self, from: NodeId, message: &Message) {
        let term = self.current_term();
        match message {
            Message::AppendEntries(m) => self.answer_older_term(from, m.round),
            Message::InstallSnapshot(_) => self.answer_older_term(from, 0),
            Message::RequestVote(_) => {
                let response = RequestVoteResponse { term, vote_granted: false };
                self.outbox.send(from, Message::RequestVoteResponse(response));
            }
            Message::PreVote(m) => self.on_pre_vote(from, m),
            Message::PreVoteResponse(_)
            | Message::RequestVoteResponse(_)
            | Message::AppendEntriesResponse(_)
            | Message::TimeoutNow(_)
            | Message::InstallSnapshotResponse(_) => {}
        }
    }

    fn answer_older_term(&mut self, from: NodeId, round: u64) {
        hit(Mark::OlderTerm);
        let (term, result, disk_full) = (self.current_term(), AppendResult::Stale, self.disk_full);
        let response = AppendEntriesResponse { term, round, result, disk_full };
        self.outbox.send(from, Message::AppendEntriesResponse(response));
    }

    fn on_persisted(&mut self, ticket: crate::types::Ticket) {
        let owed_promise = !self.outbox.hard_state_is_persisted();
        self.maybe_tell_of_slow_disk(ticket);
        let through = self.outbox.on_persisted(ticket);
        self.log.persisted_to(through.max(self.log.persisted()));
        if owed_promise && self.outbox.hard_state_is_persisted() {
            self.on_promise_kept();
        }
        if matches!(self.role, Role::Leader(_)) {
            self.maybe_commit();
        }
    }

    /// Every change of term or vote, so that none is forgotten to be written.
    pub(super) fn set_hard_state(&mut self, hard_state: HardState) {
        let now = self.hard_state;
        assert!(hard_state.current_term >= now.current_term, "{hard_state:?} after {now:?}");
        assert!(
            hard_state.current_term > now.current_term || now.voted_for.is_none(),
            "a second vote in term {}",
            now.current_term
        );
        self.hard_state = hard_state;
        self.outbox.stage_hard_state(hard_state);
    }

    /// Becomes, or stays, a follower in `term`. A vote given in the same term stays given.
    pub(super) fn become_follower(
        &mut self,
        term: Term,
        leader: Option<NodeId>,
        reason: StepDownReason,
    ) {
        assert!(term >= self.current_term(), "term {term} after {}", self.current_term());
        assert_ne!(leader, Some(self.id()), "a node follows another");
        let same_follower = term == self.current_term() && matches!(self.role, Role::Follower(_));
        if self.role.as_leader().is_some() {
            self.step_down(reason);
        }
        if term > self.current_term() {
            self.set_hard_state(HardState { current_term: term, voted_for: None });
        } else if mutants::is_on(Mutant::ForgetVote) && !same_follower {
            self.hard_state.voted_for = None;
            self.outbox.stage_hard_state(self.hard_state);
        }
        let unchanged = same_follower && self.leader() == leader;
        self.role = Role::Follower(Follower { leader, timer: self.armed_timer() });
        if !unchanged {
            self.notice(Notice::BecameFollower { term, leader });
        }
    }

    fn step_down(&mut self, reason: StepDownReason) {
        let term = self.current_term();
        let leader = self.role.as_leader_mut().expect("only a leader steps down");
        for token in leader.reads.drain() {
            hit(Mark::ReadGivenUp);
            self.outbox.emit(Effect::Reply { token, read_index: None });
        }
        match reason {
            StepDownReason::HigherTerm => hit(Mark::HigherTerm),
            StepDownReason::QuorumLost => hit(Mark::QuorumLost),
            StepDownReason::DiskStalled => hit(Mark::DiskStalled),
            StepDownReason::Removed => {}
        }
        self.notice(Notice::SteppedDown { term, reason });
    }

    pub(super) fn armed_timer(&self) -> ElectionTimer {
        let (min, max) = self.election_timeout_ticks();
        let spread = u64::from(max - min) + 1;
        let extra = u32::try_from(self.random % spread).expect("below a number of ticks");
        let timeout = min.saturating_add(extra).saturating_add(self.reluctance_ticks());
        ElectionTimer { elapsed: 0, timeout }
    }

    pub(super) fn notice(&mut self, notice: Notice) {
        self.outbox.emit(Effect::Notice(notice));
    }

    /// Appends as leader: the entry goes to the log, to be sealed, and to disk.
    pub(super) fn append_as_leader(&mut self, content: Content, bytes: u32) -> Index {
        assert!(self.role.as_leader().is_some(), "only a leader appends");
        let configuration = match &content {
            Content::Configuration(configuration) => Some(configuration.clone()),
            Content::NoOp(_) | Content::Proposal => None,
        };
        let term = self.current_term();
        if let Some(pace) = &mut self.leader_mut().pace {
            pace.on_appended(bytes);
        }
        let info = super::message::EntryInfo { term, bytes, configuration };
        let index = self.log.append(info);
        self.outbox.stage_entry(index);
        self.outbox.emit(Effect::Seal { log_id: self.log.last(), content });
        index
    }
}

impl ElectionTimer {
    /// Counts a tick; whether it was the one that ran out.
    fn tick(&mut self) -> bool {
        self.elapsed = self.elapsed.saturating_add(1);
        self.elapsed >= self.timeout
    }
}
