//! Looking for whom to talk to: whom to ask, when, how often, and when what was said is enough.
//!
//! Everything here is a function of what was heard and of the time; sockets and timers are the
//! driver's. A search begins with what is known and the hints that were given, each of which has a
//! moment to itself; then everybody is asked at once, each again and again at its own pace, so that
//! none waits for one that is dead. Only a client that has met nobody yet asks one after the other, a
//! moment apart, and whoever is named as the leader at once: a handshake costs a node a hundred times
//! what an answer does, and of a crowd that has just come each would make three. The registry is asked
//! when the nodes have not said who leads for a moment.
//!
//! ```text
//!   hint ──── answers: it leads ────────────────────────────► a way
//!     │ silent for CLIENT_HEDGE_AFTER, twice at most           ▲
//!     ▼                                                        │
//!   everybody ── the leader's own word, of the highest term ───┘
//! ```
//!
//! If the leader itself cannot be reached, and others that can be say who it is, one of these is the
//! way: it hands on what it is sent ([`Way::is_detour`]). The leader's own word ends that.
//!
//! A question that is not answered is not begun anew: another one is put beside it, each given twice
//! the time of the one before, so that neither a slow network nor a dead connection is waited for in
//! vain.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::backoff::Jitter;
use super::moment::Moment;
use super::route::{Leading, Next, Route};
use crate::limits::{
    CLIENT_ANSWER_TIMEOUT, CLIENT_DETOUR_AFTER, CLIENT_DIAL_PATIENCE, CLIENT_DIAL_PATIENCE_MAX,
    CLIENT_HEDGE_AFTER, CLIENT_PATIENCE_MAX, CLIENT_QUESTIONS_MAX, REGISTRY_ASK_EVERY,
    REGISTRY_ASK_EVERY_MAX,
};
use crate::types::{Index, NodeId, Offset};
use crate::wire::api::{Role, Welcome};

/// Names a connection to a node. Never used twice by a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkNumber(u64);

impl LinkNumber {
    /// Wraps a number.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// What all parts of a client believe and know.
#[derive(Clone, Debug, Default)]
pub struct Beliefs {
    /// Who leads.
    pub route: Route,
    /// Every node of which an address is known.
    pub nodes: BTreeSet<NodeId>,
    /// Those that have answered this client.
    pub met: BTreeSet<NodeId>,
    /// Where the log ends, at least.
    pub end: Offset,
    /// How long the connection to a node has been asked in vain, in all searches since it last answered.
    pub unanswered: BTreeMap<NodeId, Duration>,
    /// Nodes that had no place for this client since they last answered: how often, and until when they
    /// are left alone.
    pub crowded: BTreeMap<NodeId, (u32, Moment)>,
    /// Whether there is a registry to ask.
    pub has_registry: bool,
}

impl Beliefs {
    /// A node gave an account of itself.
    pub fn on_welcome(&mut self, welcome: &Welcome) {
        self.met.insert(welcome.node);
        self.end = self.end.max(welcome.next_offset);
        self.unanswered.remove(&welcome.node);
        self.crowded.remove(&welcome.node);
        self.route.on_welcome(welcome);
    }

    /// A node had no place. Returns when it may be troubled again.
    fn on_crowded(&mut self, now: Moment, node: NodeId, jitter: &mut Jitter) -> Moment {
        let (refusals, until) = self.crowded.entry(node).or_insert((0, now));
        *until = now + jitter.pause_in_crowd(*refusals);
        *refusals = refusals.saturating_add(1);
        *until
    }
}

/// Something to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// Who are you, and who leads?
    Node {
        /// Whom to ask.
        node: NodeId,
        /// Over a connection of its own: the one that is kept has not answered.
        fresh: bool,
        /// How long its answer is of interest.
        limit: Duration,
    },
    /// Who announced itself last?
    Registry {
        /// How long its answer is of interest.
        limit: Duration,
    },
}

/// Why a question has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    /// None came, or no connection came about.
    Failed,
    /// It has too many connections, or too many are being made.
    Crowded,
    /// The two will not speak to each other, however often they try.
    Refused,
    /// Nobody listens there, or another node: it is not to be asked any more.
    Gone,
}

/// What came of a question.
#[derive(Clone, Debug)]
pub enum Word {
    /// A node said who it is, over this connection.
    Welcome(LinkNumber, Box<Welcome>),
    /// A node said nothing.
    Silence(NodeId, Silence),
    /// The registry said something, or nothing: what it said is believed already.
    OfRegistry,
}

/// For whom a search is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// For the leader. With `word`, one who has said in this search that it leads: its commit index
    /// is needed as well.
    Leader {
        /// See there.
        word: bool,
    },
    /// For any node that answers.
    Anybody,
    /// For this one.
    Node(NodeId),
}

impl Wanted {
    /// Whether this node is to be asked.
    fn concerns(self, node: NodeId) -> bool {
        !matches!(self, Self::Node(wanted) if wanted != node)
    }
}

/// Who serves so far and has fallen silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suspect {
    /// Whom the stream goes to.
    pub node: NodeId,
    /// Who leads, as far as is known, if that was asked.
    pub leading: Option<Leading>,
    /// The connection that carries the stream; `None` while it is being made.
    pub link: Option<LinkNumber>,
}

/// Where a stream may be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// To whom.
    pub node: NodeId,
    /// Who leads, if that was asked.
    pub leading: Option<Leading>,
    /// The node's commit index, if it has said one in this search.
    pub commit_index: Option<Index>,
}

impl Way {
    /// Whether it leads to the leader by way of another node.
    pub fn is_detour(&self) -> bool {
        self.leading.is_some_and(|leading| leading.node != self.node)
    }
}

/// What a search has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There is a way.
    Found(Way),
    /// The suspect serves, over the connection that it has; it has nothing to say yet.
    Confirmed,
    /// Every node refuses this client for good.
    Refused,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Search {
    wanted: Wanted,
    suspect: Option<Suspect>,
    began: Moment,
    /// Who is asked alone, and until when.
    hint: Option<(NodeId, Moment)>,
    hints_left: u32,
    asks_all: bool,
    /// The suspect has said that it still is what it was.
    confirmed: Option<Confirmed>,
    /// Another number, another order: of those who are asked one after the other, and of detours.
    turn: u32,
    /// Whether the client had met nobody when it first asked.
    is_first_contact: Option<bool>,
    asked: BTreeMap<NodeId, Asked>,
    registry_at: Moment,
    registry_pause: Duration,
    /// When it was last seen to what is due.
    seen_at: Moment,
    wake_at: Option<Moment>,
}

/// Over which connections the suspect confirmed itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Confirmed {
    ByItsOwn,
    ByAnother,
}

/// A node in a search.
#[derive(Clone, Debug)]
struct Asked {
    /// Until when each question without an answer may still be answered.
    open: Vec<Moment>,
    next_at: Moment,
    /// How long the next question may go unanswered before another one is put beside it.
    patience: Option<Duration>,
    /// Questions in a row that failed.
    failures: u32,
    silence: Option<Silence>,
    heard: bool,
    commit_index: Option<Index>,
    /// Whom else it named as the leader.
    names: Option<Leading>,
}

impl Search {
    /// A search that begins now. With a suspect it is for whoever serves instead, or for the word of
    /// the suspect itself, if nobody else claims to lead.
    pub fn new(now: Moment, wanted: Wanted, suspect: Option<Suspect>) -> Self {
        Self {
            wanted,
            suspect,
            began: now,
            hint: None,
            // A hint may lead to another, but not in circles.
            hints_left: 2,
            asks_all: suspect.is_some() || !matches!(wanted, Wanted::Leader { .. }),
            confirmed: None,
            turn: 0,
            is_first_contact: None,
            asked: BTreeMap::new(),
            registry_at: now + CLIENT_HEDGE_AFTER,
            registry_pause: REGISTRY_ASK_EVERY,
            seen_at: now,
            wake_at: None,
        }
    }

    /// The same in another order: see the field.
    #[must_use]
    pub fn in_turn(self, turn: u32) -> Self {
        Self { turn, ..self }
    }

    /// What is to be asked now. Extra calls are harmless.
    pub fn ask(&mut self, now: Moment, beliefs: &mut Beliefs) -> Vec<Question> {
        let passed = now.since(std::mem::replace(&mut self.seen_at, now));
        for (node, _) in self.asked.iter().filter(|(_, asked)| !asked.open.is_empty()) {
            *beliefs.unanswered.entry(*node).or_default() += passed;
        }
        let questions = self.due(now, beliefs);
        self.wake_at = self.next_due(now, beliefs);
        assert!(self.wake_at.is_none_or(|at| at > now), "whoever wakes has something to do");
        questions
    }

    fn due(&mut self, now: Moment, beliefs: &mut Beliefs) -> Vec<Question> {
        let mut questions = vec![];
        if !self.asks_all {
            self.follow_hints(now, beliefs, &mut questions);
        }
        if !self.asks_all {
            return questions;
        }
        self.asked.retain(|node, _| beliefs.nodes.contains(node));
        let is_first_contact = *self.is_first_contact.get_or_insert(beliefs.met.is_empty());
        for (place, node) in (0..).zip(self.in_order(beliefs)) {
            let wait = if is_first_contact { CLIENT_HEDGE_AFTER * place } else { Duration::ZERO };
            let first_at = if is_first_contact { self.began + wait } else { now };
            let asked = self.asked.entry(node).or_insert_with(|| Asked::new(first_at));
            questions.extend(asked.question(now, node, beliefs));
        }
        let is_first = self.registry_pause == REGISTRY_ASK_EVERY;
        let is_due = self.registry_at <= now || (is_first && beliefs.nodes.is_empty());
        if self.asks_registry(beliefs) && is_due {
            let limit = self.registry_pause;
            self.registry_at = now + limit;
            self.registry_pause = (limit * 2).min(REGISTRY_ASK_EVERY_MAX);
            questions.push(Question::Registry { limit });
        }
        questions
    }

    /// When [`Self::ask`] has something to do again, or there may be another verdict, if nothing is
    /// heard until then. Never a time at which it was asked already.
    pub fn wake_at(&self) -> Option<Moment> {
        self.wake_at
    }

    /// Of all times at which something will be done, the next one. What could not be done when its
    /// time came is not waited for: it comes with what is heard.
    fn next_due(&self, now: Moment, beliefs: &Beliefs) -> Option<Moment> {
        let is_asked = |node: &NodeId| self.asks_all && self.wanted.concerns(*node);
        let nodes = self.asked.iter().filter(|(node, _)| is_asked(node));
        let hint = self.hint.map(|(_, until)| until);
        let confirmed = self.confirmed.map(|_| self.began + self.patience());
        let detour = self.wants_leader().then_some(self.began + CLIENT_DETOUR_AFTER);
        let registry = self.asks_registry(beliefs).then_some(self.registry_at);
        let others = [hint, confirmed, detour, registry].into_iter().flatten();
        let all = nodes.filter_map(|(_, asked)| asked.wake_at()).chain(others);
        all.filter(|at| *at > now).min()
    }

    fn wants_leader(&self) -> bool {
        matches!(self.wanted, Wanted::Leader { .. })
    }

    fn asks_registry(&self, beliefs: &Beliefs) -> bool {
        self.asks_all && beliefs.has_registry && self.wants_leader()
    }

    /// Something came of a question. It is believed whether or not somebody still searches.
    pub fn hear(
        search: Option<&mut Self>,
        now: Moment,
        word: &Word,
        beliefs: &mut Beliefs,
        jitter: &mut Jitter,
    ) {
        if let Word::Welcome(_, welcome) = word {
            beliefs.on_welcome(welcome);
        }
        let Some(search) = search else { return };
        match word {
            Word::Welcome(link, welcome) => search.on_welcome(now, *link, welcome, jitter),
            Word::Silence(node, silence) => {
                search.on_silence(now, (*node, *silence), beliefs, jitter);
            }
            Word::OfRegistry => {}
        }
    }

    /// A node answered.
    pub(super) fn on_welcome(
        &mut self,
        now: Moment,
        link: LinkNumber,
        welcome: &Welcome,
        jitter: &mut Jitter,
    ) {
        let node = welcome.node;
        self.hint = self.hint.filter(|(hinted, _)| *hinted != node);
        let pause = jitter.between_questions(now.since(self.began));
        let asked = self.asked.entry(node).or_insert_with(|| Asked::new(now));
        asked.on_answer(now + pause, welcome);
        if let Some(leader) = welcome.leader.filter(|leader| *leader != node) {
            let asked = self.asked.entry(leader).or_insert_with(|| Asked::new(now));
            asked.hasten(now);
        }
        if let Some(suspect) = self.suspect.filter(|suspect| suspect.is_confirmed_by(welcome)) {
            let own = suspect.link == Some(link);
            let before = self.confirmed == Some(Confirmed::ByItsOwn);
            self.confirmed =
                Some(if own || before { Confirmed::ByItsOwn } else { Confirmed::ByAnother });
        }
    }

    /// The suspect's stream is there.
    pub fn on_opened(&mut self, link: LinkNumber) {
        if let Some(suspect) = &mut self.suspect {
            suspect.link = Some(link);
        }
    }

    /// A question to a node came to nothing.
    pub(super) fn on_silence(
        &mut self,
        now: Moment,
        (node, silence): (NodeId, Silence),
        beliefs: &mut Beliefs,
        jitter: &mut Jitter,
    ) {
        if self.hint.is_some_and(|(hinted, _)| hinted == node) {
            self.hint = None;
            beliefs.route.on_failed(node);
        }
        let asked = self.asked.entry(node).or_insert_with(|| Asked::new(now));
        asked.on_silence(now, silence, jitter);
        if silence == Silence::Crowded {
            asked.next_at = asked.next_at.max(beliefs.on_crowded(now, node, jitter));
        }
    }

    /// What it has come to by now.
    pub fn verdict(&self, now: Moment, beliefs: &Beliefs) -> Option<Verdict> {
        self.found(now, beliefs).or_else(|| {
            let concerned = || beliefs.nodes.iter().filter(|node| self.wanted.concerns(**node));
            let refuses = |node: &NodeId| self.silence_of(*node) == Some(Silence::Refused);
            let all = concerned().next().is_some() && concerned().all(refuses);
            all.then_some(Verdict::Refused)
        })
    }

    fn found(&self, now: Moment, beliefs: &Beliefs) -> Option<Verdict> {
        let way = match self.wanted {
            Wanted::Leader { word } => {
                let believed = beliefs.route.leader();
                let leader =
                    believed.filter(|leading| !word || self.commit_of(leading.node).is_some());
                let direct = leader.map(|leading| self.way(leading.node, Some(leading)));
                return direct
                    .and_then(|way| self.judge(now, way, beliefs))
                    .or_else(|| self.judge(now, self.detour(now)?, beliefs));
            }
            Wanted::Anybody | Wanted::Node(_) => {
                let heard = self
                    .asked
                    .iter()
                    .find(|(node, asked)| asked.heard && self.wanted.concerns(**node))?;
                self.way(*heard.0, None)
            }
        };
        self.judge(now, way, beliefs)
    }

    /// What it amounts to that this is the way.
    fn judge(&self, now: Moment, way: Way, beliefs: &Beliefs) -> Option<Verdict> {
        assert!(way.leading.is_some() || !self.wants_leader(), "{way:?} leads to no leader");
        match self.suspect {
            Some(suspect) if suspect.is_on(&way) => self.after_confirmation(now, way, beliefs),
            _ => Some(Verdict::Found(way)),
        }
    }

    /// The way by another node: that of the highest term among those who name a leader that has
    /// itself been silent for long enough.
    fn detour(&self, now: Moment) -> Option<Way> {
        if !self.is_on_detour() && now.since(self.began) < CLIENT_DETOUR_AFTER {
            return None;
        }
        let heard = || self.asked.iter().filter(|(_, asked)| asked.silence.is_none());
        let named = || heard().filter_map(|(node, asked)| Some((asked.names?, *node)));
        let is_silent = |leading: &Leading| self.commit_of(leading.node).is_none();
        let leading = named().map(|(leading, _)| leading).filter(is_silent).max()?;
        let nodes: Vec<NodeId> =
            named().filter(|(named, _)| *named == leading).map(|(_, node)| node).collect();
        let suspected = self.suspect.map(|suspect| suspect.node);
        let next = nodes.get(self.turn as usize % nodes.len()).copied();
        let node = suspected.filter(|suspected| nodes.contains(suspected)).or(next)?;
        Some(self.way(node, Some(leading)))
    }

    fn is_on_detour(&self) -> bool {
        self.suspect.is_some_and(|suspect| suspect.is_detour())
    }

    /// How long others are given to say better. A leader that could not be reached gets more.
    fn patience(&self) -> Duration {
        if self.is_on_detour() { CLIENT_DETOUR_AFTER } else { CLIENT_HEDGE_AFTER }
    }

    /// The suspect is still the one. Others are given a moment to claim that they lead; then, if its
    /// word came only over another connection than the one it is silent on, that one is dead.
    fn after_confirmation(&self, now: Moment, way: Way, beliefs: &Beliefs) -> Option<Verdict> {
        let confirmed = self.confirmed?;
        let patient = now.since(self.began) >= self.patience();
        let heard = |node: &NodeId| self.asked.get(node).is_some_and(|asked| asked.heard);
        let mut concerned = beliefs.nodes.iter().filter(|node| self.wanted.concerns(**node));
        let enough = patient || concerned.all(heard);
        enough.then_some(match confirmed {
            Confirmed::ByItsOwn => Verdict::Confirmed,
            Confirmed::ByAnother => Verdict::Found(way),
        })
    }

    /// The quick way: the leader that is known, or the node that is said to lead.
    fn follow_hints(&mut self, now: Moment, beliefs: &mut Beliefs, questions: &mut Vec<Question>) {
        while let Some((node, until)) = self.hint {
            if until > now {
                return;
            }
            // It may be slow and not dead: then its own word stands against this.
            beliefs.route.on_failed(node);
            self.hint = None;
        }
        if self.hints_left == 0 {
            self.asks_all = true;
            return;
        }
        match beliefs.route.what_next() {
            Next::Use(Leading { node, .. }) | Next::Ask(node) => {
                self.hints_left -= 1;
                self.hint = Some((node, now + CLIENT_HEDGE_AFTER));
                let asked = self.asked.entry(node).or_insert_with(|| Asked::new(now));
                asked.next_at = asked.next_at.min(now);
                questions.extend(asked.question(now, node, beliefs));
            }
            Next::AskAll => self.asks_all = true,
        }
    }

    /// Those to ask, each client beginning with another.
    fn in_order(&self, beliefs: &Beliefs) -> Vec<NodeId> {
        let concerned = beliefs.nodes.iter().copied();
        let mut nodes: Vec<NodeId> = concerned.filter(|node| self.wanted.concerns(*node)).collect();
        let turn = self.turn as usize % nodes.len().max(1);
        nodes.rotate_left(turn);
        nodes
    }

    fn way(&self, node: NodeId, leading: Option<Leading>) -> Way {
        Way { node, leading, commit_index: self.commit_of(node) }
    }

    fn commit_of(&self, node: NodeId) -> Option<Index> {
        self.asked.get(&node)?.commit_index
    }

    fn silence_of(&self, node: NodeId) -> Option<Silence> {
        self.asked.get(&node)?.silence
    }
}

impl Suspect {
    /// Whether this way leads to where the suspect is.
    fn is_on(&self, way: &Way) -> bool {
        self.node == way.node && self.leading == way.leading
    }

    fn is_detour(&self) -> bool {
        self.leading.is_some_and(|leading| leading.node != self.node)
    }

    fn is_confirmed_by(&self, welcome: &Welcome) -> bool {
        let still = |leading: Leading| {
            let leads = welcome.role == Role::Leader && welcome.ready;
            let follows = welcome.leader == Some(leading.node);
            welcome.term == leading.term && if self.is_detour() { follows } else { leads }
        };
        welcome.node == self.node && self.leading.is_none_or(still)
    }
}

impl Asked {
    fn new(now: Moment) -> Self {
        Self {
            open: vec![],
            next_at: now,
            patience: None,
            failures: 0,
            silence: None,
            heard: false,
            commit_index: None,
            names: None,
        }
    }

    /// The next question, if its time has come.
    fn question(&mut self, now: Moment, node: NodeId, beliefs: &mut Beliefs) -> Option<Question> {
        if self.next_at > now || self.silence == Some(Silence::Gone) {
            return None;
        }
        let left_alone = beliefs.crowded.get(&node).map(|(_, until)| *until);
        if let Some(until) = left_alone.filter(|until| *until > now) {
            self.next_at = until;
            return None;
        }
        self.open.retain(|until| *until > now);
        // With one whom nobody has met a connection is being made, which goes on trying by itself.
        let met = beliefs.met.contains(&node);
        let first = if met { CLIENT_ANSWER_TIMEOUT } else { CLIENT_DIAL_PATIENCE };
        let patience = self.patience.unwrap_or(first);
        // However many searches it took: what was asked in vain for so long is not asked any more.
        let waited = beliefs.unanswered.get(&node).copied().unwrap_or_default();
        let fresh = !self.open.is_empty() || waited >= patience;
        let rest = if fresh {
            beliefs.unanswered.remove(&node);
            patience
        } else {
            patience.saturating_sub(waited)
        };
        let limit = patience * CLIENT_QUESTIONS_MAX;
        self.open.push(now + limit);
        self.next_at = now + rest;
        let longest = if met { CLIENT_PATIENCE_MAX } else { CLIENT_DIAL_PATIENCE_MAX };
        self.patience = Some((patience * 2).min(longest));
        Some(Question::Node { node, fresh, limit })
    }

    /// Asks it now, if it is not being asked.
    fn hasten(&mut self, now: Moment) {
        if self.open.is_empty() && !self.heard {
            self.next_at = self.next_at.min(now);
        }
    }

    fn wake_at(&self) -> Option<Moment> {
        (self.silence != Some(Silence::Gone)).then_some(self.next_at)
    }

    fn on_answer(&mut self, next_at: Moment, welcome: &Welcome) {
        self.open.clear();
        self.next_at = next_at;
        self.failures = 0;
        self.silence = None;
        self.heard = true;
        self.commit_index = Some(welcome.commit_index);
        let named = welcome.leader.filter(|node| *node != welcome.node);
        self.names = named.map(|node| Leading { term: welcome.term, node });
    }

    fn on_silence(&mut self, now: Moment, silence: Silence, jitter: &mut Jitter) {
        self.silence = Some(silence);
        self.heard = true;
        if !self.open.is_empty() {
            self.open.remove(0);
        }
        if self.open.is_empty() {
            self.next_at = now + jitter.pause(self.failures);
        }
        self.failures = self.failures.saturating_add(1);
    }
}
