//! A client of the simulation that has a log of its own: it creates it, or finds that somebody else has,
//! appends and reads, now and then as a producer that counts itself, closes it, deletes it, and begins again.

use super::machine::EPOCH_MS;
use super::random::Random;
use crate::access::TokenId;
use crate::command::{Command, NewLog, Origin, Stamp, Turn};
use crate::log_name::LogName;
use crate::log_settings::{Expiry, LogSettings};
use crate::retention::Retention;
use crate::types::{LogNumber, Offset, Timestamp};
use crate::wire::api::Appended;
use crate::wire::conditions::{Obstacle, Unmet};
use crate::wire::standing::Standing;

/// Names of logs: fewer than there are keepers now and then, so that they get into each other's way.
const NAMES: [&str; 4] = ["a", "b", "c/d", "e"];

/// Types of logs that are created: whoever finds another's takes it as it is.
const TYPES: [Option<&str>; 3] = [None, Some("text/plain"), Some("application/json; a=b")];

/// How far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Stage {
    /// It has none.
    None,
    /// It has asked for one of this name.
    Creating(LogName),
    /// There is one, and it asks which.
    Asking(LogName),
    /// This is it.
    Having { number: LogNumber, closed: bool, end: Offset },
    /// It has asked for its end.
    Leaving,
}

/// What is to be done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Nothing,
    Ask(LogName),
    Append(LogNumber),
    Read(LogNumber),
    /// Only when nothing else is on its way.
    Command(LogNumber, Command),
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Keeper {
    random: Random,
    /// It keeps nothing: what it has appended to its log it trims.
    is_tidy: bool,
    stage: Stage,
    /// The epoch and the number of its next request, as the producer that all keepers are.
    turn: (u64, u64),
    /// The number of which its next sequence word is made.
    word: u64,
}

impl Keeper {
    pub(super) fn new(random: Random, is_tidy: bool) -> Self {
        Self { random, is_tidy, stage: Stage::None, turn: (0, 0), word: 0 }
    }

    pub(super) fn next(&mut self) -> Next {
        if self.random.below(64) == 0 {
            return Next::Command(LogNumber::MAIN, Command::Revoke(self.token()));
        }
        match self.stage {
            Stage::None => {
                let is_fork = self.random.below(4) == 0 && !self.is_tidy;
                let end = Offset::new(self.random.below(40));
                self.create(is_fork.then_some((LogNumber::MAIN, end)))
            }
            Stage::Creating(_) | Stage::Leaving => Next::Nothing,
            Stage::Asking(ref name) => Next::Ask(name.clone()),
            Stage::Having { number, closed: false, end } if self.is_tidy => {
                match self.random.below(4) {
                    0 => Next::Command(number, Command::Trim(end)),
                    _ => Next::Append(number),
                }
            }
            Stage::Having { number, closed, end } => match self.random.below(32) {
                2 | 3 => {
                    let before = self.random.below(end.get() + 2);
                    Next::Command(number, Command::Trim(Offset::new(before)))
                }
                0 if self.random.coin() => Next::Command(number, Command::Delete),
                // It turns to another log, and may find this one again.
                0 => {
                    self.stage = Stage::None;
                    Next::Nothing
                }
                8 => self.create(Some((number, end))),
                4 => Next::Command(number, Command::Configure(self.retention())),
                1 if !closed => Next::Command(number, Command::Close(self.stamp().into())),
                5..8 if !closed => Next::Command(number, Command::Append(self.stamp().into())),
                // Now and then it does not believe that a log is closed.
                9.. if !closed || self.random.coin() => Next::Append(number),
                _ => Next::Read(number),
            },
        }
    }

    /// Creates a log, or forks one that ends there: at its end, before it, or a little behind it.
    fn create(&mut self, source: Option<(LogNumber, Offset)>) -> Next {
        let name = self.random.one_of(&NAMES).parse().expect("it is a name");
        let content_type = self.random.one_of(&TYPES).and_then(|it| it.parse().ok());
        let expiry = self.random.coin().then(|| self.expiry());
        let settings = LogSettings { content_type, expiry, retention: self.retention() };
        let closed = self.random.below(8) == 0;
        let origin = source.map(|(source, end)| {
            let before = self.random.below(end.get() + 2);
            let at = if self.random.coin() { end } else { Offset::new(before) };
            Origin { source, at, part: u32::from(self.random.below(4) == 0) }
        });
        let new = NewLog { name, settings, closed, origin };
        // What is said against a fork is said of its source.
        Next::Command(source.map_or(LogNumber::MAIN, |(log, _)| log), Command::create(new))
    }

    /// How much of its log is kept; most often all.
    fn retention(&mut self) -> Retention {
        let random = &mut self.random;
        let mut drawn = |least, most| (random.below(4) == 0).then(|| random.spread(least, most));
        let (age_ms, bytes, records) = (drawn(100, 5_000), drawn(100, 50_000), drawn(1, 100));
        Retention { age_ms, bytes, records }
    }

    /// When a log is to expire: soon, as these runs go.
    fn expiry(&mut self) -> Expiry {
        if self.random.below(4) == 0 {
            return Expiry::At(Timestamp::new(EPOCH_MS + self.random.below(20_000)));
        }
        Expiry::Idle { seconds: self.random.between(1, 3) }
    }

    /// A token that somebody has lost: it expires soon, as these runs go, or has expired.
    fn token(&mut self) -> TokenId {
        let expires = EPOCH_MS / 1000 + self.random.below(30);
        TokenId::new(expires, self.random.below(4))
    }

    /// What its next request may be known by.
    fn stamp(&mut self) -> Stamp {
        let (epoch, seq) = self.turn;
        let producer = "p".parse().expect("it is a name");
        let turn = self.random.coin().then_some(Turn { producer, epoch, seq });
        // Now and then one that was there already.
        self.word += self.random.below(3);
        let word = self.random.coin().then(|| format!("{:06}", self.word));
        Stamp { word: word.and_then(|word| word.parse().ok()), turn }
    }

    /// A command is on its way.
    pub(super) fn begins(&mut self, command: &Command) {
        match command {
            Command::Create(new) => self.stage = Stage::Creating(new.name.clone()),
            Command::Delete => self.stage = Stage::Leaving,
            _ => {}
        }
    }

    /// This is in the log.
    pub(super) fn on_acknowledged(&mut self, command: Option<&Command>, appended: &Appended) {
        if let Stage::Having { end, .. } = &mut self.stage {
            *end = appended.offset.plus(u64::from(appended.count));
        }
        if command.and_then(Command::stamp).is_some_and(|stamp| stamp.turn.is_some()) {
            self.turn.1 += 1;
        }
        match (command, &mut self.stage) {
            (Some(Command::Create(new)), stage) => *stage = Stage::Asking(new.name.clone()),
            (Some(Command::Close(_)), Stage::Having { closed, .. }) => *closed = true,
            (Some(Command::Delete), stage) => *stage = Stage::None,
            _ => {}
        }
    }

    pub(super) fn on_unmet(&mut self, unmet: Unmet) {
        match unmet.obstacle {
            Obstacle::OutOfTurn { expected } => self.turn.1 = expected,
            Obstacle::Repeated { last } => self.turn.1 = last + 1,
            Obstacle::Superseded { epoch } => self.turn = (epoch + self.random.below(2), 0),
            Obstacle::EpochBegins => self.turn.1 = 0,
            Obstacle::WordNotBehind => self.word += 10,
            _ => {}
        }
        match (unmet.obstacle, &mut self.stage) {
            (Obstacle::LogExists { .. }, stage) => {
                if let Stage::Creating(name) = stage {
                    *stage = Stage::Asking(name.clone());
                }
            }
            (Obstacle::Closed, Stage::Having { closed, .. }) => *closed = true,
            // Who has a log goes on with it.
            (Obstacle::Offset { .. } | Obstacle::Trimmed { .. }, stage @ Stage::Creating(_))
            | (Obstacle::NoLog, stage) => *stage = Stage::None,
            _ => {}
        }
    }

    pub(super) fn on_standing(&mut self, standing: &Standing) {
        self.stage = match standing.logs.first() {
            Some(log) if log.deleted => Stage::None,
            Some(log) => {
                Stage::Having { number: log.number, closed: log.closed, end: log.next_offset }
            }
            None => Stage::None,
        };
    }

    /// A request has failed: it may be in the log, or not.
    pub(super) fn on_failed(&mut self) {
        if matches!(self.stage, Stage::Creating(_) | Stage::Leaving) {
            self.stage = Stage::None;
        }
    }

    /// Its log is gone; or the user who takes its place knows of none.
    pub(super) fn begin_again(&mut self) {
        self.stage = Stage::None;
    }
}
