//! Log replication: what a leader sends, what a follower makes of it, and what that commits
//! (thesis 3.5, 3.6.2), with pipelining (10.2.1).

use super::border::{Content, Effect, Notice, StepDownReason};
use super::machine::Raft;
use super::message::{AppendEntries, AppendEntriesResponse, AppendResult, EntryInfo, Message};
use super::progress::{Progress, State};
use super::role::Leader;
use crate::marks::{Mark, hit};
use crate::mutants::{self, Mutant};
use crate::types::{Incarnation, Index, LogId, NodeId};

/// The leader's side.
impl Raft {
    pub(super) fn on_leader_tick(&mut self) {
        let retry_ticks = self.options.election_timeout_ticks_min;
        let last = self.log.last().index;
        let leader = self.leader_mut();
        for progress in leader.progress.values_mut() {
            progress.on_tick(retry_ticks);
            progress.tick_standstill(last);
        }
        leader.heartbeat_elapsed += 1;
        leader.unread_ticks = leader.unread_ticks.map(|ticks| ticks.saturating_add(1));
        self.tick_transfer();
        self.tick_owed();
        self.check_quorum();
        self.tick_pace();
        let Some(leader) = self.role.as_leader_mut() else { return };
        if leader.heartbeat_elapsed >= self.options.heartbeat_ticks {
            self.broadcast_heartbeats();
        }
        self.broadcast_entries();
        self.forget_unread_of_nobody();
        self.maybe_leave_full_disk();
        self.maybe_leave_wrong_clock();
        self.tick_refilling();
    }

    /// There is a pace as long as somebody is so far behind that the disk has to be asked.
    fn tick_pace(&mut self) {
        let window_first = self.log.window_first();
        let bytes_min = self.options.catch_up_bytes_min;
        let Some(leader) = self.role.as_leader_mut() else { return };
        let is_behind = |progress: &&Progress| {
            progress.next_index < window_first || progress.fetching.is_some()
        };
        let behind = leader.progress.values().filter(is_behind).count();
        if behind > 0 {
            leader.pace.get_or_insert_default().on_tick(behind as u64, bytes_min);
        } else {
            leader.pace = None;
        }
    }

    /// Who no longer waits for a read (it was lost, and its follower fell silent) proves nothing.
    fn forget_unread_of_nobody(&mut self) {
        let leader = self.leader_mut();
        if leader.progress.values().all(|progress| progress.fetching.is_none()) {
            leader.unread_ticks = None;
        }
    }

    pub(super) fn on_propose(&mut self, bytes: u32) {
        assert!(self.may_propose(), "proposed to a {} that may not", self.role.name());
        self.append_as_leader(Content::Proposal, bytes);
        self.broadcast_entries();
        self.maybe_commit();
    }

    /// To all followers at once. Heartbeats overtake entries and never wait for a disk.
    pub(super) fn broadcast_heartbeats(&mut self) {
        let term = self.current_term();
        let commit_index = self.log.commit_index();
        let leader = self.role.as_leader_mut().expect("only a leader sends heartbeats");
        leader.heartbeat_elapsed = 0;
        let round = leader.reads.round();
        for (node, progress) in &leader.progress {
            // The follower is known to have this entry, so the answer is never a conflict; and it
            // learns of no commit beyond what the two logs are known to share.
            let prev_log_id = self.log.id_at(progress.match_index);
            let message = AppendEntries {
                term,
                prev_log_id,
                leader_commit: commit_index.min(progress.match_index),
                round,
                heartbeat: true,
                entries: vec![],
            };
            self.outbox.send(*node, Message::AppendEntries(message));
        }
    }

    pub(super) fn broadcast_entries(&mut self) {
        let nodes: Vec<_> = self.leader_mut().progress.keys().copied().collect();
        for node in nodes {
            self.send_entries(node);
        }
    }

    /// Sends what the follower's progress allows; nothing to one that is no member (any more).
    pub(super) fn send_entries(&mut self, to: NodeId) {
        loop {
            let last = self.log.last().index;
            let window_first = self.log.window_first();
            let silent = self.options.election_timeout_ticks_min;
            let Some(progress) = self.leader_mut().progress.get(&to) else { return };
            let next = progress.next_index;
            let probing = matches!(progress.state, State::Probe { .. });
            let is_silent = progress.silent_ticks >= silent;
            if progress.may_send_openings() {
                let through = self.openings_end(next);
                return through.into_iter().for_each(|through| self.send_batch(to, through));
            }
            if let Some((head, offset)) = progress.next_piece() {
                return self.send_piece(to, head, offset);
            }
            if !progress.may_send() || (next > last && !probing) {
                return;
            }
            if next > last || (probing && is_silent) {
                // A question without entries: a dead follower is not sent megabytes.
                if is_silent {
                    hit(Mark::ProbedSilent);
                }
                return self.send_batch(to, next.previous());
            }
            if next < window_first {
                return self.fetch_at_pace(to, next, window_first.previous());
            }
            let count_max = self.options.append_count_max;
            let through = self.log.batch_end(next, count_max, self.options.append_bytes_max);
            self.send_batch(to, through);
        }
    }

    /// Sends the entries from the follower's next index up to `through`, which are at hand.
    fn send_batch(&mut self, to: NodeId, through: Index) {
        let first = self.leader_mut().progress[&to].next_index;
        let entries = (first.get()..=through.get())
            .map(|index| self.log.info_at(Index::new(index)))
            .collect();
        self.send_append_entries(to, self.log.id_at(first.previous()), entries);
    }

    fn send_append_entries(&mut self, to: NodeId, prev_log_id: LogId, entries: Vec<EntryInfo>) {
        let through = prev_log_id.index.plus(entries.len() as u64);
        let last = self.log.last();
        assert!(self.log.has(prev_log_id) && through <= last.index, "{prev_log_id} of {last}");
        let (term, leader_commit) = (self.current_term(), self.log.commit_index());
        let leader = self.leader_mut();
        let round = leader.reads.round();
        leader.progress.get_mut(&to).expect("a member").on_sent(through);
        let message =
            AppendEntries { term, prev_log_id, leader_commit, round, heartbeat: false, entries };
        self.outbox.send(to, Message::AppendEntries(message));
    }

    fn fetch_at_pace(&mut self, to: NodeId, first: Index, last: Index) {
        let pace = self.leader_mut().pace.get_or_insert_default();
        if pace.may_fetch() {
            self.fetch(to, first, last);
        } else {
            hit(Mark::FetchPaced);
        }
    }

    fn fetch(&mut self, to: NodeId, first: Index, last: Index) {
        let prev_log_id = self.log.id_at(first.previous());
        hit(Mark::Fetched);
        let leader = self.leader_mut();
        leader.unread_ticks.get_or_insert(0);
        leader.progress.get_mut(&to).expect("a member").on_fetch(prev_log_id);
        self.outbox.emit(Effect::Fetch { to, prev_log_id, last });
    }

    pub(super) fn on_fetched(&mut self, to: NodeId, prev_log_id: LogId, entries: Vec<EntryInfo>) {
        let Some(leader) = self.role.as_leader_mut() else { return };
        // The disk answers; what else it owes will be asked for again.
        leader.unread_ticks = None;
        let Some(progress) = leader.progress.get_mut(&to) else { return };
        if progress.fetching != Some(prev_log_id) {
            return; // Asked for before the follower's progress changed.
        }
        progress.fetching = None;
        if entries.is_empty() {
            return; // Asked again with the next tick.
        }
        let bytes = entries.iter().map(|entry| u64::from(entry.bytes)).sum();
        leader.pace.get_or_insert_default().on_fetched(bytes);
        // The follower may have got further meanwhile; then they are of no use.
        let is_next = progress.next_index == prev_log_id.index.next();
        if !is_next {
            hit(Mark::FetchedTooLate);
        }
        if is_next && progress.may_send() {
            self.send_append_entries(to, prev_log_id, entries);
        }
        self.send_entries(to);
    }

    pub(super) fn on_append_response(&mut self, from: NodeId, message: &AppendEntriesResponse) {
        assert_eq!(message.term, self.current_term(), "other terms were dealt with before");
        if message.result == AppendResult::Stale {
            // NB: it answers a message of an older term, perhaps this leader's own. Its round is of
            // that term and confirms nothing in this one.
            return;
        }
        let last = self.log.last().index;
        let Some(progress) = self.leader_mut().progress.get_mut(&from) else { return };
        progress.on_heard();
        progress.disk_full = message.disk_full;
        progress.acked_round = progress.acked_round.max(message.round);
        match message.result {
            AppendResult::Accepted { match_index } => {
                // Invariant: nobody vouches in this term for what its leader does not have.
                assert!(
                    mutants::any() || match_index <= last,
                    "{from} accepted {match_index}, the last is {last}"
                );
                progress.on_accepted(match_index.min(last));
            }
            AppendResult::Rejected { prev_log_id, hint } => {
                self.note_forgotten(from, hint);
                let agree = self.log.last_possible_match(hint).index;
                let agree = agree.min(prev_log_id.index.previous());
                if agree < prev_log_id.index.previous() {
                    hit(Mark::SkippedBack);
                }
                let progress = self.leader_mut().progress.get_mut(&from).expect("looked up above");
                if mutants::is_on(Mutant::RepeatRefused) {
                    // The same question again, at once.
                    progress.state = State::Probe { outstanding: None };
                } else {
                    progress.on_rejected(prev_log_id, agree);
                }
            }
            AppendResult::Stale => unreachable!("looked at above"),
        }
        self.maybe_commit();
        self.maybe_confirm_reads();
        if self.role.as_leader().is_some() {
            self.send_entries(from);
            self.maybe_hand_over();
        }
    }

    /// A follower's process is a new one. What it vouched for before it has to vouch for again: only so
    /// is nothing counted that its disk has lost.
    ///
    /// With another store it is another server: it owes nothing that the former had acknowledged.
    pub(super) fn on_restarted(&mut self, peer: NodeId, store: Option<Incarnation>) {
        let before = match store {
            Some(store) => self.stores.insert(peer, store),
            None => self.stores.remove(&peer),
        };
        let is_same = before == store;
        if !is_same {
            hit(Mark::CameBackAnew);
        }
        let next = self.log.last().index.next();
        let Some(leader) = self.role.as_leader_mut() else { return };
        let Some(progress) = leader.progress.get_mut(&peer) else { return };
        hit(Mark::FollowerRestarted);
        progress.on_restarted(next, is_same);
        self.send_entries(peer);
    }

    /// A refusal by a process whose predecessor acknowledged more than it can have proves a loss.
    ///
    /// NB: `hint` is the last entry of the follower that this log may share. One that has all that was
    /// acknowledged in this term has nothing before that to be taken back.
    fn note_forgotten(&mut self, follower: NodeId, hint: LogId) {
        let progress = self.leader_mut().progress.get_mut(&follower).expect("a member");
        if let Some(acknowledged) = progress.forgot(hint.index) {
            let from = hint.index.next();
            self.notice(Notice::Forgot { follower, from, acknowledged });
        }
    }

    /// Commits what a quorum has on disk, if its last entry is of the current term (thesis 3.6.2):
    /// an older one, even on a majority, may still be overwritten (figure 3.7).
    pub(super) fn maybe_commit(&mut self) {
        let Some(leader) = self.role.as_leader() else { return };
        let persisted = if mutants::is_on(Mutant::CountOwnBeforeDisk) {
            self.log.last().index
        } else {
            self.log.persisted()
        };
        let reached = |node| {
            if !self.is_meant(node) {
                return Index::ZERO;
            }
            if node == self.options.id {
                return persisted;
            }
            leader.progress.get(&node).map_or(Index::ZERO, |progress| progress.match_index)
        };
        let mut quorum_index = self.log.configuration().quorum_index(reached);
        if mutants::is_on(Mutant::RemovedLeaderCounts)
            && !self.log.configuration().is_voter(self.id())
        {
            quorum_index = self.counting_itself(quorum_index, persisted);
        }
        if quorum_index <= self.log.commit_index() {
            return;
        }
        if self.log.term_at(quorum_index) != Some(self.current_term()) {
            hit(Mark::OldTermNotCommitted);
            return;
        }
        if quorum_index > self.log.persisted() {
            hit(Mark::CommitBeforeDisk);
        }
        self.commit_to(quorum_index);
        self.on_leader_known();
        self.maybe_confirm_reads();
        self.on_configuration_committed();
    }

    /// The bug of a leader that is on its way out and counts itself: one voter less has to have it.
    fn counting_itself(&self, found: Index, persisted: Index) -> Index {
        let voters = &self.log.configuration().voters;
        let leader = self.role.as_leader().expect("only a leader counts");
        let matches = |node: &NodeId| leader.progress.get(node).map(|it| it.match_index);
        let mut reached: Vec<Index> = voters.iter().filter_map(matches).collect();
        reached.sort_unstable();
        if let Some(slowest) = reached.first_mut() {
            *slowest = persisted.max(*slowest);
        }
        if reached.is_empty() { found } else { super::quorum::majority_index(reached) }
    }

    fn commit_to(&mut self, through: Index) {
        self.log.commit_to(through);
        self.outbox.emit(Effect::Commit { through });
    }

    pub(super) fn leader_mut(&mut self) -> &mut Leader {
        self.role.as_leader_mut().expect("called as leader only")
    }
}

/// The follower's side.
impl Raft {
    /// The sender leads this node's current term.
    pub(super) fn on_append_entries(&mut self, from: NodeId, message: AppendEntries) {
        assert_eq!(message.term, self.current_term(), "other terms were dealt with before");
        if self.leader().is_some_and(|leader| leader != from) {
            return self.refuse_second_leader(from);
        }
        self.on_leader_known();
        self.become_follower(message.term, Some(from), StepDownReason::HigherTerm);
        let AppendEntries { term, prev_log_id, leader_commit, round, entries, .. } = message;
        let result = if self.log.has(prev_log_id) {
            #[cfg(feature = "mutants")]
            self.maybe_truncate_unasked(message.heartbeat, prev_log_id.index.next());
            let entries = self.within_space(prev_log_id, entries);
            let vouched = prev_log_id.index.plus(entries.len() as u64);
            self.take_entries(prev_log_id.index, entries);
            let last = self.log.last().index;
            assert!(mutants::any() || vouched <= last, "it vouches for {vouched}, and has {last}");
            let match_index =
                if mutants::is_on(Mutant::AnswerWithLastReceived) { last } else { vouched };
            // NB: the leader's commit index may lie beyond what this message vouches for.
            let commit_index = leader_commit.min(if mutants::is_on(Mutant::CommitUnvouched) {
                last
            } else {
                vouched
            });
            if commit_index > self.log.commit_index() {
                self.commit_to(commit_index);
            }
            AppendResult::Accepted { match_index }
        } else {
            hit(Mark::Rejected);
            AppendResult::Rejected { prev_log_id, hint: self.log.last_possible_match(prev_log_id) }
        };
        let disk_full = self.disk_full;
        let response = AppendEntriesResponse { term, round, result, disk_full };
        self.outbox.send(from, Message::AppendEntriesResponse(response));
    }

    /// Appends what is missing; truncates only on a conflict: a message that has been overtaken
    /// takes nothing away (thesis 3.5).
    fn take_entries(&mut self, prev: Index, entries: Vec<EntryInfo>) {
        for (index, entry) in (prev.next().get()..).map(Index::new).zip(entries) {
            match self.log.term_at(index) {
                Some(term) if term == entry.term => {
                    hit(Mark::RepeatedEntries);
                    continue;
                }
                Some(_) => self.truncate(index),
                None => {}
            }
            let appended = self.log.append(entry);
            assert_eq!(appended, index, "entries are appended without a gap");
            self.outbox.stage_entry(index);
        }
    }

    /// The bug of truncating without a conflict, as far as a log can be cut at all.
    #[cfg(feature = "mutants")]
    fn maybe_truncate_unasked(&mut self, heartbeat: bool, from: Index) {
        let is_possible = from > self.log.commit_index() && from >= self.log.window_first();
        let is_wanted = mutants::is_on(Mutant::TruncateAlways) && !heartbeat;
        if is_wanted && is_possible && from <= self.log.last().index {
            self.log.truncate(from);
            self.outbox.stage_truncation(from);
        }
    }

    fn truncate(&mut self, from: Index) {
        // Invariant (State Machine Safety, thesis 3.6.3): what is committed is never taken back.
        assert!(from > self.log.commit_index(), "broken law: conflict at committed {from}");
        hit(Mark::Truncated);
        if from <= self.log.persisted() {
            hit(Mark::TruncatedPersisted);
        }
        if self.outbox.has_writes() {
            hit(Mark::OverwrittenUnderWay);
        }
        self.notice(Notice::Truncated { from: self.log.id_at(from) });
        self.log.truncate(from);
        self.outbox.stage_truncation(from);
    }
}
