//! The replica: events in, actions out; the effects of the core become actions with bytes.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::arriving::Arriving;
use super::border::{Action, Event, Options, ReadAnswer, RecoverError};
use super::clocks::Clocks;
use super::deadlines::Deadlines;
use super::incoming::{self, BadEntries, Checked, Contents, Contradiction};
use super::proposals::{Proposals, Waiting};
use super::reach::{Reach, ReadEnd};
use super::refusals::{CONFIRMATION, Refusals};
use super::revocations::Revocations;
use super::rolling::Rolling;
use super::state::State;
use super::tail::Tail;
use super::window::Window;
use crate::entry::{Chain, EntryKind, SealedEntry, TermStart, Tip};
use crate::limits;
use crate::log_name::LogName;
use crate::marks::{Mark, hit};
use crate::members::{MemberChange, MemberReply};
use crate::mutants::{self, Mutant};
use crate::raft::{
    AppendEntries, Content, Effect, EntryInfo, HeadInfo, Input, InstallSnapshot, Message, Persist,
    Plan, Raft, ReadToken, RecoveredLog,
};
use crate::store::{Head, Installation, Lacking, Recovered, Write};
use crate::types::{DiskFull, Index, LogId, LogNumber, NodeId, Offset, Timestamp};
use crate::wire::api::ReadRefusal;
use crate::wire::peer::PeerMessage;
use crate::wire::standing::{Inquiry, Standing};

/// The bytes of what an input to the core is about: they are needed in that very step.
pub(super) enum AtHand {
    /// It is about no entries.
    Nothing,
    /// The payload of the entry that is being proposed.
    Folded(EntryKind, Bytes),
    /// The sealed entries of the message that is being handled.
    Received(Vec<Checked>),
    /// The entries read for the follower that is being served, behind this one.
    Fetched(Tip, Vec<SealedEntry>),
}

impl AtHand {
    fn take_folded(&mut self) -> Option<(EntryKind, Bytes)> {
        let Self::Folded(kind, payload) = self else { return None };
        let folded = (*kind, std::mem::take(payload));
        *self = Self::Nothing;
        Some(folded)
    }

    fn take_received(&mut self) -> Vec<Checked> {
        match self {
            Self::Received(entries) => std::mem::take(entries),
            Self::Nothing | Self::Folded(..) | Self::Fetched(..) => vec![],
        }
    }

    fn fetched(&self) -> Option<(&Tip, &[SealedEntry])> {
        match self {
            Self::Fetched(previous, entries) => Some((previous, entries)),
            Self::Nothing | Self::Folded(..) | Self::Received(_) => None,
        }
    }
}

/// One node's state. See the module's chapter.
#[derive(Debug)]
pub struct Replica {
    pub(super) options: Options,
    pub(super) raft: Raft,
    window: Window,
    pub(super) tail: Tail,
    pub(super) proposals: Proposals,
    pub(super) refusals: Refusals,
    /// Where each term in the log begins, oldest first.
    terms: Vec<TermStart>,
    rolling: Rolling,
    /// Those of the segments that begin behind entries which the store was not told of yet.
    heads: Vec<Head>,
    /// The head that followers are sent, if any is.
    offered: Option<(HeadInfo, Bytes)>,
    /// The head that is coming, if one is.
    arriving: Option<Arriving>,
    /// The wall clock, as of the newest event.
    pub(super) now: Timestamp,
    pub(super) clocks: Clocks,
    /// Ticks until it is looked again what may be given up.
    pub(super) ticks_to_house: u32,
    /// The log whose retention was looked at last, if others are left.
    pub(super) looked_at: Option<LogNumber>,
    /// When logs expire, if this node leads.
    pub(super) deadlines: Deadlines,
    pub(super) actions: Vec<Action>,
}

impl Replica {
    /// A replica as it was found on disk: a follower of nobody.
    ///
    /// # Errors
    /// If what was recovered, though intact, is not of its form: another program wrote it.
    pub fn recover(
        options: Options,
        recovered: &Recovered,
        random: u64,
    ) -> Result<Self, RecoverError> {
        let head = &recovered.head;
        let state = State::decode(&head.sessions).map_err(|_| RecoverError::Table)?;
        let infos = recovered
            .entries
            .iter()
            .map(|entry| incoming::info(entry).map_err(|_| RecoverError::Entry { id: entry.id() }));
        let last = recovered.entries.last().map_or(head.tip.id.index, |entry| entry.id().index);
        // What precedes the oldest segment that is not sealed is committed; a hint may be older,
        // and, where others committed what this node had not yet written, newer than its log.
        let commit_index = recovered.commit_index.max(head.tip.id.index).min(last);
        let log = RecoveredLog {
            terms: head.terms.iter().map(|start| (start.term, start.first_index)).collect(),
            head: head.tip.id,
            configuration: head.configuration.clone(),
            entries: infos.collect::<Result<_, _>>()?,
            commit_index,
        };
        let raft = Raft::recover(options.raft.clone(), recovered.hard_state, log, random);
        let offsets = head.next_offsets.iter().copied().collect::<BTreeMap<_, _>>();
        let tail = Tail::new((head.tip.id.index, state), offsets, options.sessions_max);
        let clocks = Clocks::new(options.raft.id, options.raft.election_timeout_ticks_max);
        let segment_bytes = options.segment_bytes;
        let mut replica = Self {
            options,
            raft,
            window: Window::new(head.tip),
            tail,
            proposals: Proposals::default(),
            refusals: Refusals::default(),
            terms: head.terms.clone(),
            rolling: Rolling::new(head.tip.id.index, head.configuration.clone(), segment_bytes),
            heads: vec![],
            offered: None,
            arriving: None,
            now: Timestamp::default(),
            clocks,
            ticks_to_house: 0,
            looked_at: None,
            deadlines: Deadlines::default(),
            actions: vec![],
        };
        for entry in &recovered.entries {
            let contents = Contents::of(entry);
            let contents = contents.map_err(|_| RecoverError::Entry { id: entry.id() })?;
            replica.take_entry(entry.clone(), contents);
        }
        if mutants::is_on(Mutant::FillForgotten) {
            let configuration = replica.rolling.configuration().clone();
            replica.rolling = Rolling::new(last, configuration, segment_bytes);
        }
        replica.tail.commit(commit_index);
        replica.rolling.commit(commit_index);
        replica.window.evict_before(replica.raft.log().window_first());
        replica.check();
        Ok(replica)
    }

    /// Handles one event. `now` is the wall clock: it is written into entries, and logs expire by it.
    pub fn handle(&mut self, now: Timestamp, event: Event) {
        self.clocks.goes_on(self.now, now);
        self.now = now;
        match event {
            Event::Tick { random } => {
                let has_changed = self.clocks.tick();
                self.maybe_tell_clocks(has_changed);
                self.step(Input::Tick { random });
                self.maybe_expire();
            }
            Event::Peer { from, message } => self.on_peer(from, &message),
            Event::Append { token, run, records } => {
                self.on_append(Waiting { token, run, records });
            }
            Event::Read { token, log } => self.on_read(token, log),
            Event::Persisted(ticket) => self.step(Input::Persisted { ticket }),
            Event::Fetched { to, prev_log_id, found } => match found {
                Lacking::Entries { previous, entries } => {
                    self.on_fetched(to, prev_log_id, (previous, entries));
                }
                Lacking::Head { info: head, form } => {
                    self.offered = Some((head, form));
                    self.step(Input::GivenUp { to, prev_log_id, head });
                }
            },
            Event::Space { free_bytes } => self.on_space(free_bytes),
            Event::Transfer => self.step(Input::Transfer { to: None }),
            Event::Restarted { peer, store } => self.step(Input::Restarted { peer, store }),
        }
    }

    /// Changes the members, as somebody asks who has seen them as of an entry. What follows is done like
    /// whatever follows from an event.
    pub fn change_members(&mut self, as_of: Index, change: &MemberChange) -> MemberReply {
        match self.raft.plan(as_of, change) {
            Ok(Plan::IsSo) => MemberReply::IsSo,
            Ok(Plan::Configure(next)) => {
                self.step(Input::ProposeConfiguration(next));
                MemberReply::Begun { index: self.raft.log().configuration_index() }
            }
            Ok(Plan::HandOver(to)) => {
                self.step(Input::Transfer { to: Some(to) });
                MemberReply::HandsOver { to }
            }
            Err(refusal) => MemberReply::Refused(refusal),
        }
    }

    /// What has to be done, in order. Empty after.
    pub fn take_actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    /// The core.
    pub fn raft(&self) -> &Raft {
        &self.raft
    }

    /// Where each term in the log begins, oldest first.
    pub fn terms(&self) -> &[TermStart] {
        &self.terms
    }

    /// The offset after the last committed record of a log.
    pub fn committed_offset(&self, log: LogNumber) -> Offset {
        self.tail.committed_offset(log)
    }

    /// Up to where entries are both committed and on this node's own disk: what readers may see.
    pub fn readable(&self) -> Index {
        self.raft.log().commit_index().min(self.raft.log().persisted())
    }

    /// The end of a read of this log that begins now: the commit index, and the offset after its last
    /// record.
    pub fn end_of_reads(&self, log: LogNumber) -> ReadEnd {
        let raft_log = self.raft.log();
        let (commit_index, next_offset) = if mutants::is_on(Mutant::ShowUncommitted) {
            (raft_log.last().index, self.tail.next_offset(log))
        } else {
            (raft_log.commit_index(), self.committed_offset(log))
        };
        ReadEnd { commit_index, next_offset }
    }

    /// How far a log reaches now.
    ///
    /// # Errors
    /// The refusal of a read of it: there is no such log any more, or this node has not heard of it yet.
    pub fn reach(&self, log: LogNumber) -> Result<Reach, ReadRefusal> {
        let catalogue = &self.tail.committed_guards().catalogue;
        match catalogue.is_closed(log) {
            Some(is_closed) => {
                let (start, end) = (catalogue.start(log), self.end_of_reads(log));
                Ok(Reach { start, end, is_closed, lineage: catalogue.lineage(log) })
            }
            None if catalogue.may_exist(log) => Err(ReadRefusal::Busy),
            None => Err(ReadRefusal::UnknownLog),
        }
    }

    /// The name of a log, which it has for ever, as far as is committed.
    ///
    /// # Errors
    /// As [`Self::reach`].
    pub fn name(&self, log: LogNumber) -> Result<&LogName, ReadRefusal> {
        let catalogue = &self.tail.committed_guards().catalogue;
        match catalogue.name(log) {
            Some(name) => Ok(name),
            None if catalogue.may_exist(log) => Err(ReadRefusal::Busy),
            None => Err(ReadRefusal::UnknownLog),
        }
    }

    /// The logs that were changed by what was committed since this was asked last.
    pub fn take_changed_logs(&mut self) -> BTreeSet<LogNumber> {
        self.tail.take_changed()
    }

    /// Up to where readers are shown entries.
    pub fn shown(&self) -> Index {
        if mutants::is_on(Mutant::ShowUncommitted) {
            self.raft.log().persisted()
        } else {
            self.readable()
        }
    }

    /// What it was told once.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Bytes of the append requests that wait to be folded into an entry.
    pub fn waiting_bytes(&self) -> usize {
        self.proposals.waiting_bytes()
    }

    /// How many clients its table remembers.
    pub fn clients(&self) -> usize {
        self.tail.clients()
    }

    /// The table of clients, and who may append, at the end of the log, as it goes into the head of a
    /// segment.
    pub fn encoded_clients(&self) -> Vec<u8> {
        self.tail.state_with_tail().encode()
    }

    /// The answer to a question about what is committed.
    pub fn standing(&self, log: LogNumber, inquiry: Inquiry) -> Standing {
        let as_of = self.raft.log().commit_index();
        let offset = |log| self.committed_offset(log);
        self.tail.committed_guards().standing((as_of, &offset), log, inquiry)
    }

    /// Access tokens that hold no more, by all that this node has: one whose revocation is not committed yet
    /// is not taken either.
    pub fn revocations(&self) -> &Revocations {
        self.tail.guards().revocations()
    }

    /// Those of them whose revocation is committed.
    pub fn committed_revocations(&self) -> &Revocations {
        self.tail.committed_guards().revocations()
    }

    /// The end of the log, with its chain.
    pub fn tip(&self) -> Tip {
        self.window.tip()
    }

    /// How far the time of the newest entry is ahead of the clock, as of the newest event, in ms. Later
    /// entries have that time until the clock gets there.
    pub fn log_ahead_ms(&self) -> u64 {
        self.tip().time.get().saturating_sub(self.now.get())
    }

    /// The chain up to an index, if that is among the recent entries.
    pub fn chain_at(&self, index: Index) -> Option<Chain> {
        self.window.chain_at(index)
    }

    pub(super) fn is_leader(&self) -> bool {
        self.raft.role().as_leader().is_some()
    }
}

/// Space and reads.
impl Replica {
    fn on_space(&mut self, free_bytes: u64) {
        let needed_bytes = self.options.reserve_bytes;
        let full = DiskFull { free_bytes, needed_bytes };
        let disk_full = (free_bytes < needed_bytes).then_some(full);
        if disk_full != self.raft.disk_full() {
            self.step(Input::Space { disk_full });
        }
    }

    fn on_read(&mut self, token: ReadToken, log: LogNumber) {
        let waiting = self.raft.role().as_leader().map_or(0, |leader| leader.reads.len());
        self.use_log(log);
        // One place is for the confirmation of refusals.
        let is_full = waiting + 1 >= limits::READS_WAITING_MAX;
        if is_full || self.is_leader() && self.is_leaving(log) {
            self.actions.push(Action::Read { token, answer: ReadAnswer::Busy });
        } else {
            self.step(Input::Read(token));
        }
    }
}

/// Why a message was not given to the core.
enum Refused {
    Bad(BadEntries),
    Contradiction(Contradiction),
}

impl From<BadEntries> for Refused {
    fn from(error: BadEntries) -> Self {
        Self::Bad(error)
    }
}

impl From<Contradiction> for Refused {
    fn from(found: Contradiction) -> Self {
        Self::Contradiction(found)
    }
}

/// Messages of other nodes.
impl Replica {
    fn on_peer(&mut self, from: NodeId, message: &PeerMessage) {
        if self.raft.believed(&message.message).is_none() {
            // The core refuses it, and says so.
            return self.step(Input::Receive { from, message: message.message.clone() });
        }
        let has_changed = self.clocks.heard(from, message.clock, self.now);
        self.maybe_tell_clocks(has_changed);
        let checked = match &message.message {
            Message::InstallSnapshot(header) => self.with_piece(from, header, message),
            _ => self.with_entries(from, message),
        };
        match checked {
            Ok((message, at_hand)) => self.step_with(Input::Receive { from, message }, at_hand),
            Err(Refused::Bad(error)) => {
                hit(Mark::BadEntries);
                self.actions.push(Action::BadEntries { from, error });
            }
            Err(Refused::Contradiction(found)) => self.actions.push(Action::Contradiction(found)),
        }
    }

    fn maybe_tell_clocks(&mut self, has_changed: bool) {
        if has_changed {
            let ahead = self.clocks.ahead().clone();
            self.step(Input::Clocks { ahead });
        }
    }

    /// The message for the core, and its entries, which are checked.
    fn with_entries(
        &self,
        from: NodeId,
        message: &PeerMessage,
    ) -> Result<(Message, AtHand), Refused> {
        let Message::AppendEntries(header) = &message.message else {
            incoming::check_leader(&self.raft, from, &message.message, &[])?;
            return Ok((message.message.clone(), AtHand::Nothing));
        };
        let entries = incoming::check(header, message)?;
        let infos = entries.iter().map(|checked| incoming::info(&checked.entry));
        let infos: Vec<EntryInfo> = infos.collect::<Result<_, _>>()?;
        incoming::check_time(&self.window, header.prev_log_id, &entries)?;
        incoming::check_history(&self.window, (from, header), message, &entries)?;
        incoming::check_leader(&self.raft, from, &message.message, &entries)?;
        let header = AppendEntries { entries: infos, ..header.clone() };
        Ok((Message::AppendEntries(header), AtHand::Received(entries)))
    }

    /// The message for the core, which hears how much of the head is there.
    fn with_piece(
        &mut self,
        from: NodeId,
        header: &InstallSnapshot,
        message: &PeerMessage,
    ) -> Result<(Message, AtHand), Refused> {
        incoming::check_leader(&self.raft, from, &message.message, &[])?;
        let mut header = header.clone();
        if header.term >= self.raft.current_term() && !self.raft.has_head(header.head.id) {
            let arriving = self.arriving.take().filter(|it| it.is_of(&header.head));
            let arriving = arriving.unwrap_or_else(|| Arriving::of(header.head));
            let piece = message.entries.first().cloned().unwrap_or_default();
            let arriving = arriving.with(header.offset, &piece)?;
            header.received = arriving.received();
            self.arriving = Some(arriving);
        }
        Ok((Message::InstallSnapshot(header), AtHand::Nothing))
    }

    fn on_fetched(
        &mut self,
        to: NodeId,
        prev_log_id: LogId,
        (previous, entries): (Tip, Vec<SealedEntry>),
    ) {
        let in_order = entries.is_empty() || previous.id == prev_log_id;
        assert!(in_order, "entries after {prev_log_id} were asked for");
        let infos = entries.iter().map(incoming::info).collect::<Result<_, _>>();
        let entries_info = infos.expect("an entry in the store was checked when it came");
        let input = Input::Fetched { to, prev_log_id, entries: entries_info };
        self.step_with(input, AtHand::Fetched(previous, entries));
    }
}

/// The core's effects become actions with bytes.
impl Replica {
    fn step(&mut self, input: Input) {
        self.step_with(input, AtHand::Nothing);
    }

    /// A step of the core, with the bytes of what the input is about.
    pub(super) fn step_with(&mut self, input: Input, mut at_hand: AtHand) {
        let led = self.is_leader().then(|| self.raft.current_term());
        let readable = self.readable();
        let effects = self.raft.step(input);
        // Before anything else: what follows may cut what was proposed, and commit others in its place.
        if let Some(term) = led {
            self.abandon_unless_leader_of(term);
        }
        // First what makes bytes of names, then everything that may speak of them.
        let (first, then): (Vec<_>, Vec<_>) = effects
            .into_iter()
            .partition(|effect| matches!(effect, Effect::Seal { .. } | Effect::Persist(_)));
        first.into_iter().chain(then).for_each(|effect| self.perform(effect, &mut at_hand));
        assert!(!matches!(at_hand, AtHand::Folded(..)), "the core sealed what was proposed");
        self.window.evict_before(self.raft.log().window_first());
        if self.offered.is_some() && !self.raft.sends_head() {
            self.offered = None;
        }
        assert!(self.readable() >= readable, "broken law: {readable} was readable");
        self.check_step();
    }

    /// What is so after every step, whatever it was about.
    fn check_step(&self) {
        let log = self.raft.log();
        let (commit_index, last) = (log.commit_index(), log.last());
        assert_eq!(self.window.tip().id, last, "the window ends where the log does");
        assert_eq!(self.tail.ends(), (commit_index, last.index), "the tail is what may be cut");
        let nobody_waits = self.proposals.is_empty() && self.refusals.is_empty();
        assert!(self.is_leader() || nobody_waits, "requests wait at a leader alone");
    }

    fn perform(&mut self, effect: Effect, at_hand: &mut AtHand) {
        match effect {
            Effect::Seal { log_id, content } => self.seal(log_id, content, at_hand),
            Effect::Persist(persist) => self.persist(&persist, at_hand),
            Effect::Send { to, message } => {
                let message = self.with_bytes(message, at_hand);
                self.actions.push(Action::Send { to, message });
            }
            Effect::Fetch { to, prev_log_id, last } => {
                self.actions.push(Action::Fetch { to, prev_log_id, last });
            }
            Effect::Install { head } => self.install(head),
            Effect::Commit { through } => {
                self.tail.commit(through);
                self.rolling.commit(through);
                self.answer_committed();
                self.answer_refused();
                // The store is told of no more than is on its disk: beyond, it may have entries that
                // a write under way is about to replace.
                self.actions.push(Action::Committed(self.readable()));
            }
            Effect::Reply { token: CONFIRMATION, read_index } => self.on_confirmed(read_index),
            Effect::Reply { token, read_index } => {
                let commit_index = self.raft.log().commit_index();
                assert!(read_index <= Some(commit_index), "a read would see what may be cut");
                let answer = read_index.map_or(ReadAnswer::NotLeader, ReadAnswer::At);
                self.actions.push(Action::Read { token, answer });
            }
            Effect::Notice(notice) => self.actions.push(Action::Notice(notice)),
        }
    }

    /// All of a head has come: the node begins there.
    fn install(&mut self, info: HeadInfo) {
        let arrived = self.arriving.take().filter(|it| it.is_of(&info));
        let mut head =
            arrived.and_then(Arriving::into_head).expect("the core was told that it is whole");
        if mutants::is_on(Mutant::HeadLacksMembers) {
            head.configuration = self.raft.log().configuration().clone();
        }
        let hard_state = self.raft.hard_state();
        self.actions.push(Action::Install(Box::new(Installation { head, hard_state })));
    }

    fn seal(&mut self, log_id: LogId, content: Content, at_hand: &mut AtHand) {
        let (kind, payload) = match content {
            Content::NoOp(no_op) => (EntryKind::NoOp, no_op.encode().into()),
            Content::Configuration(configuration) => {
                let bytes = postcard::to_stdvec(&configuration);
                (EntryKind::Configuration, bytes.expect("a configuration is plain data").into())
            }
            Content::Proposal => at_hand.take_folded().expect("a proposal was folded"),
        };
        assert_eq!(log_id.term, self.raft.current_term(), "a leader seals in its own term");
        let entry = SealedEntry::seal(&self.window.tip(), kind, log_id.term, self.now, &payload);
        assert_eq!(entry.id(), log_id, "sealed where the core appended");
        let contents = Contents::of(&entry).expect("an entry sealed here is of its form");
        self.take_entry(entry, contents);
    }

    fn persist(&mut self, persist: &Persist, at_hand: &mut AtHand) {
        if let Some(from) = persist.truncate_from {
            self.truncate(from);
        }
        if let Some((first, last)) = persist.range {
            self.take_received(first, last, at_hand.take_received());
        }
        let entries = persist.range.map_or_else(Vec::new, |(first, last)| {
            self.window.range(first, last).cloned().collect()
        });
        let is_whole = persist.range.is_none_or(|(_, last)| last == self.window.tip().id.index);
        assert!(is_whole, "a write ends where the log does: {:?}", persist.range);
        let write = Write {
            ticket: persist.ticket,
            hard_state: persist.hard_state,
            commit_index: self.raft.log().commit_index(),
            truncate_from: persist.truncate_from,
            entries,
            heads: std::mem::take(&mut self.heads),
        };
        self.actions.push(Action::Write(write));
    }

    /// Puts the received entries from `first` to `last` behind the log, but for those that are there
    /// because this node sealed them itself.
    fn take_received(&mut self, first: Index, last: Index, received: Vec<Checked>) {
        let missing = first.max(self.window.tip().id.index.next());
        for Checked { entry, previous, contents } in received {
            if entry.id().index < missing || entry.id().index > last {
                continue;
            }
            // It was compared with the one before it when it came: what is left to see is that this
            // is the one which this log ends with.
            assert_eq!(previous, self.window.tip().chain, "broken law: checked when it came");
            self.take_entry(entry, contents);
        }
        assert_eq!(self.window.tip().id.index, last, "all entries of a write are at hand");
    }

    fn take_entry(&mut self, entry: SealedEntry, contents: Contents) {
        let id = entry.id();
        if let Some(start) = contents.term_start(&entry) {
            assert!(self.terms.last().is_none_or(|last| last.term < id.term), "broken law: {id}");
            self.terms.push(start);
        }
        if entry.kind() == EntryKind::Configuration {
            let info = incoming::info(&entry).expect("it was taken by the core");
            self.rolling.push_configuration(info.configuration.expect("its kind says so"));
        }
        let (bytes, time) = (entry.bytes().len(), entry.time());
        if self.is_leader() {
            contents.runs.iter().for_each(|logged| self.note_use(logged));
        }
        self.tail.push((id.index, time), contents.runs, contents.housekeeping);
        self.window.push(entry);
        if self.rolling.push(bytes) {
            self.heads.push(self.head());
        }
    }

    fn truncate(&mut self, from: Index) {
        self.window.truncate(from);
        let last = self.window.tip().id.index;
        assert_eq!(last.next(), from, "what is cut reaches to the end of the log");
        if self.tail.reaches(from) {
            hit(Mark::TailRolledBack);
        }
        self.tail.truncate(from);
        self.terms.retain(|start| start.first_index < from);
        self.rolling.truncate(from);
        self.heads.retain(|head| head.tip.id.index < from);
    }

    /// Whether it keeps a head at hand that it sends.
    #[cfg(test)]
    pub(super) fn offers_head(&self) -> bool {
        self.offered.is_some()
    }

    /// The head of a segment that begins behind the last entry: a function of the log up to there.
    fn head(&self) -> Head {
        Head {
            tip: self.window.tip(),
            next_offsets: self.tail.offsets(),
            configuration: self.rolling.configuration().clone(),
            terms: self.terms.clone(),
            sessions: self.state_for_head().encode().into(),
        }
    }

    fn state_for_head(&self) -> State {
        let state = self.tail.state_with_tail();
        if mutants::is_on(Mutant::HeadLacksClients) {
            return state.without_clients();
        }
        if mutants::is_on(Mutant::HeadLacksRevocations) {
            return state.without_revocations();
        }
        if mutants::is_on(Mutant::HeadLacksLogs) { state.without_logs() } else { state }
    }

    /// The message with this node's clock and the sealed entries that it speaks of.
    fn with_bytes(&self, message: Message, at_hand: &AtHand) -> PeerMessage {
        let message = match &message {
            Message::InstallSnapshot(header) => {
                let entries = vec![self.piece_of(header)];
                PeerMessage { entries, ..PeerMessage::bare(message) }
            }
            _ => self.with_entries_of(message, at_hand.fetched()),
        };
        PeerMessage { clock: self.now, ..message }
    }

    /// The bytes beside a message that carries a piece of a head.
    fn piece_of(&self, header: &InstallSnapshot) -> Bytes {
        let offered = self.offered.as_ref().filter(|(info, _)| *info == header.head);
        let (info, form) = offered.expect("the core sends the head that it was given last");
        let most = self.options.raft.head_piece_bytes_max;
        let end = header.offset.saturating_add(most).min(info.bytes);
        let place = |at| usize::try_from(at).expect("a place in memory");
        form.slice(place(header.offset)..place(end))
    }

    fn with_entries_of(
        &self,
        message: Message,
        fetched: Option<(&Tip, &[SealedEntry])>,
    ) -> PeerMessage {
        let Message::AppendEntries(header) = &message else { return PeerMessage::bare(message) };
        let prev = header.prev_log_id;
        if header.entries.is_empty() {
            let previous_chain = self.window.chain_at(prev.index);
            return PeerMessage { previous_chain, ..PeerMessage::bare(message) };
        }
        let first = prev.index.next();
        let last = prev.index.plus(header.entries.len() as u64);
        if let Some(chain) = self.window.chain_at(prev.index) {
            let entries = self.window.bytes(first, last);
            return PeerMessage {
                previous_chain: Some(chain),
                entries,
                ..PeerMessage::bare(message)
            };
        }
        let (previous, fetched) = fetched.expect("what is not in the window was fetched");
        let sent = |entry: &&SealedEntry| entry.id().index >= first && entry.id().index <= last;
        let entries: Vec<_> =
            fetched.iter().filter(sent).map(|entry| entry.bytes().clone()).collect();
        assert_eq!(entries.len(), header.entries.len(), "entries from {first} are at hand");
        assert_eq!(previous.id, prev, "the entry before {first} is at hand");
        let previous_chain = Some(previous.chain);
        PeerMessage { previous_chain, entries, ..PeerMessage::bare(message) }
    }

    /// Checks that what this floor keeps agrees with the core.
    pub fn check(&self) {
        self.raft.check();
        self.check_step();
        let log = self.raft.log();
        assert!(self.window.first() <= log.window_first(), "the window holds what the core needs");
        let starts = self.terms.iter().map(|start| (start.term, start.first_index));
        assert!(starts.eq(log.terms().iter().copied()), "the terms are those of the log");
    }
}
