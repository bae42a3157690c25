//! What can happen, and from where: the starts, with their bounds, and the actions.

use std::fmt;
use std::sync::Arc;

use annal::raft::{EntryInfo, HardState, Input, Message, Role};
use annal::types::{Index, NodeId, Term};
use stateright::{Model, Property};

use super::properties;
use super::state::{
    Budget, Committed, Disk, ELECTION_TICKS, Hashed, History, NODES, Place, Sent, State, id_of,
};

/// Nothing may happen.
pub(super) const NOTHING: Budget = Budget {
    last_term: Term::ZERO,
    timeouts: 0,
    doubts: 0,
    waits: 0,
    proposals: 0,
    reads: 0,
    transfers: 0,
    crashes: 0,
};

/// Rounds of messages that a start takes at most.
const START_ROUNDS: usize = 20;

/// Where the histories begin, and how far they go.
#[derive(Clone)]
pub(super) struct Bounds {
    pub(super) starts: Vec<State>,
    /// Entries in one message.
    pub(super) append_count_max: usize,
    /// Votes are kept when they should do nothing any more, to see whether they do nothing.
    pub(super) keeps_votes: bool,
    /// What `sometimes` must be seen; the laws are judged always.
    pub(super) sights: fn() -> Vec<Property<Bounds>>,
}

impl Bounds {
    pub(super) fn of(starts: Vec<State>, sights: fn() -> Vec<Property<Bounds>>) -> Self {
        Self { starts, append_count_max: usize::MAX, keeps_votes: false, sights }
    }
}

/// One thing that happens.
#[derive(Clone, PartialEq)]
pub(super) enum Action {
    Deliver(Arc<Hashed<Sent>>),
    Persist(Place),
    TimeOut(Place),
    Doubt(Place),
    Wait(Place),
    Propose(Place),
    Read(Place),
    Transfer(Place),
    Crash { place: Place, kept: usize, hard_state: bool },
}

impl Model for Bounds {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        self.starts.clone()
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.history.broken.is_some() {
            return;
        }
        actions.extend(state.deliverable().map(|sent| Action::Deliver(Arc::clone(sent))));
        for place in 0..NODES {
            state.actions_of(place, actions);
        }
    }

    fn next_state(&self, before: &State, action: Action) -> Option<State> {
        let mut state = before.clone();
        match action {
            Action::Deliver(sent) => state.deliver(&sent),
            Action::Persist(place) => state.persist(place),
            Action::TimeOut(place) => {
                state.left.timeouts -= 1;
                state.time_out(place);
            }
            Action::Doubt(place) => {
                state.left.doubts -= 1;
                state.tick(place, ELECTION_TICKS.0);
            }
            Action::Wait(place) => {
                state.left.waits -= 1;
                state.tick(place, ELECTION_TICKS.0);
            }
            Action::Propose(place) => {
                state.left.proposals -= 1;
                state.step(place, Input::Propose { bytes: 1 });
            }
            Action::Read(place) => {
                state.left.reads -= 1;
                state.read(place);
            }
            Action::Transfer(place) => {
                state.left.transfers -= 1;
                state.step(place, Input::Transfer { to: None });
            }
            Action::Crash { place, kept, hard_state } => {
                state.left.crashes -= 1;
                state.crash(place, kept, hard_state, self.append_count_max);
            }
        }
        state.forget_messages(self.keeps_votes);
        (state != *before).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = properties::laws();
        properties.extend((self.sights)());
        properties
    }
}

impl State {
    /// What the node may do of itself.
    fn actions_of(&self, place: Place, actions: &mut Vec<Action>) {
        let node = self.node(place);
        let left = &self.left;
        if !node.writes.is_empty() {
            actions.push(Action::Persist(place));
        }
        if left.crashes > 0 {
            self.crash_actions(place, actions);
        }
        match node.raft.role() {
            Role::Leader(_) => self.leader_actions(place, actions),
            Role::Follower(follower) => {
                if follower.leader.is_some() && follower.timer.elapsed == 0 && left.doubts > 0 {
                    actions.push(Action::Doubt(place));
                }
                self.time_out_action(place, actions);
            }
            Role::PreCandidate(_) | Role::Candidate(_) => self.time_out_action(place, actions),
        }
    }

    /// Where some disk is slow, only what is on its way there makes a crash worth looking at.
    fn crash_actions(&self, place: Place, actions: &mut Vec<Action>) {
        let writes = &self.node(place).writes;
        if self.slow.is_none() {
            actions.push(Action::Crash { place, kept: 0, hard_state: false });
        }
        for (kept, write) in writes.iter().enumerate() {
            actions.push(Action::Crash { place, kept, hard_state: false });
            if write.persist.hard_state.is_some() && write.persist.range.is_some() {
                actions.push(Action::Crash { place, kept, hard_state: true });
            }
        }
    }

    fn time_out_action(&self, place: Place, actions: &mut Vec<Action>) {
        let term = self.node(place).raft.current_term();
        if self.left.timeouts > 0 && term < self.left.last_term {
            actions.push(Action::TimeOut(place));
        }
    }

    fn leader_actions(&self, place: Place, actions: &mut Vec<Action>) {
        let left = &self.left;
        if left.waits > 0 {
            actions.push(Action::Wait(place));
        }
        if left.proposals > 0 && self.node(place).raft.may_propose() {
            actions.push(Action::Propose(place));
        }
        if left.reads > 0 {
            actions.push(Action::Read(place));
        }
        if left.transfers > 0 {
            actions.push(Action::Transfer(place));
        }
    }

    /// Lets everything happen that is on its way, and forgets the messages.
    fn settled(mut self) -> Self {
        for _ in 0..START_ROUNDS {
            let before = self.clone();
            for place in 0..NODES {
                while !self.node(place).writes.is_empty() {
                    self.persist(place);
                }
            }
            for sent in self.sent.iter().cloned().collect::<Vec<_>>() {
                self.deliver(&sent);
            }
            if self == before {
                self.sent = Arc::new(vec![]);
                return self;
            }
        }
        panic!("the nodes never come to rest");
    }
}

/// Three nodes that have never run.
pub(super) fn blank(left: Budget, slow: Option<Place>) -> State {
    State::of(Default::default(), usize::MAX, left, slow)
}

/// n1 leads term 1, and its first entry is committed and known to be so everywhere. The others have
/// not heard it lately.
pub(super) fn led(left: Budget, slow: Option<Place>) -> State {
    let mut state = blank(left, slow);
    state.time_out(0);
    state = state.settled();
    state.tick(0, 1);
    state = state.settled();
    state.tick(1, ELECTION_TICKS.0);
    state.tick(2, ELECTION_TICKS.0);
    state
}

/// The same, and n1 has two more entries, of which it has told nobody.
pub(super) fn led_in_vain(left: Budget) -> State {
    let mut state = led(left, None);
    state.step(0, Input::Propose { bytes: 1 });
    state.step(0, Input::Propose { bytes: 1 });
    state.sent = Arc::new(vec![]);
    state
}

/// The same, and n1 leads no longer, since it has heard nobody.
pub(super) fn given_up(left: Budget) -> State {
    let mut state = led_in_vain(left);
    state.tick(0, 2 * ELECTION_TICKS.0);
    state.sent = Arc::new(vec![]);
    state
}

/// n1 leads term 2 as it led term 1, and what it said in term 1 for a read has not come to n2 yet.
pub(super) fn led_twice(left: Budget) -> State {
    let mut state = led(left, None);
    state.read(0);
    let said = state.sent.iter().filter(|sent| sent.value.is_between(0, 1));
    let said = Arc::new(said.cloned().collect());
    state.tick(0, 2 * ELECTION_TICKS.0);
    state.sent = Arc::new(vec![]);
    state.time_out(0);
    state = state.settled();
    state.tick(1, ELECTION_TICKS.0);
    state.tick(2, ELECTION_TICKS.0);
    let history = History { read: None, ..state.history };
    State { sent: said, history, ..state }
}

/// n1 has campaigned in term 1, and all votes are for it, and on their way.
pub(super) fn campaigned(left: Budget) -> State {
    let mut state = blank(left, None);
    state.time_out(0);
    for _ in 0..START_ROUNDS {
        let said = Arc::clone(&state.sent);
        for sent in said.iter() {
            if !matches!(sent.value.message, Message::RequestVoteResponse(_)) {
                state.deliver(sent);
            }
        }
    }
    state
}

/// Figure 8 of the Raft paper, after (b): n1 has an entry of term 2 behind the common first one, n2
/// has one of term 3 there, n3 has neither, and n1 has just been elected again, by n3. What it said to n2
/// is lost.
pub(super) fn figure_8(left: Budget) -> State {
    let entry = |term| EntryInfo { term: Term::new(term), bytes: 1, configuration: None };
    let disk = |terms: &[u64], vote: Option<NodeId>| Disk {
        hard_state: HardState { current_term: Term::new(3), voted_for: vote },
        entries: terms.iter().copied().map(entry).collect(),
        commit_index: Index::new(1),
    };
    let n2 = Some(id_of(1));
    let disks = [disk(&[1, 2], None), disk(&[1, 3], n2), disk(&[1], n2)];
    let mut state = State::of(disks, 1, left, None);
    state.history.committed = vec![Committed { term: Term::new(1), by: Term::new(1) }];
    state.time_out(0);
    for _ in 0..START_ROUNDS {
        let between = state.sent.iter().filter(|sent| sent.value.is_between(0, 2));
        for sent in between.cloned().collect::<Vec<_>>() {
            if state.node(0).raft.role().as_leader().is_none() {
                state.deliver(&sent);
            }
        }
    }
    let between = state.sent.iter().filter(|sent| sent.value.is_between(0, 2));
    state.sent = Arc::new(between.cloned().collect());
    state
}

impl fmt::Debug for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deliver(sent) => write!(f, "deliver {}", sent.value),
            Self::Persist(place) => write!(f, "{} has its oldest write on disk", id_of(*place)),
            Self::TimeOut(place) => write!(f, "{} times out", id_of(*place)),
            Self::Doubt(place) => write!(f, "{} has not heard its leader lately", id_of(*place)),
            Self::Wait(place) => write!(f, "{} leads and waits", id_of(*place)),
            Self::Propose(place) => write!(f, "{} takes a proposal", id_of(*place)),
            Self::Read(place) => write!(f, "{} is asked for a read", id_of(*place)),
            Self::Transfer(place) => write!(f, "{} is to hand over", id_of(*place)),
            Self::Crash { place, kept, hard_state } => {
                let hard = if *hard_state { " and one term and vote" } else { "" };
                write!(f, "{} crashes with {kept} of its writes{hard} kept", id_of(*place))
            }
        }
    }
}
