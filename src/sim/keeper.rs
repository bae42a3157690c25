//! A client of the simulation that has a log of its own: it creates it, or finds that somebody else has,
//! appends and reads, closes it, deletes it, and begins again.

use super::random::Random;
use crate::command::{Command, NewLog};
use crate::log_name::LogName;
use crate::log_settings::LogSettings;
use crate::types::{LogNumber, Offset};
use crate::wire::api::Appended;
use crate::wire::conditions::{Obstacle, Unmet};
use crate::wire::standing::Standing;

/// Names of logs: fewer than there are keepers now and then, so that they get into each other's way.
const NAMES: [&str; 3] = ["a", "b", "c/d"];

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
    stage: Stage,
}

impl Keeper {
    pub(super) fn new(random: Random) -> Self {
        Self { random, stage: Stage::None }
    }

    pub(super) fn next(&mut self) -> Next {
        match self.stage {
            Stage::None => {
                let name = self.random.one_of(&NAMES).parse().expect("it is a name");
                let content_type = self.random.one_of(&TYPES).and_then(|it| it.parse().ok());
                let settings = LogSettings { content_type, ..LogSettings::default() };
                Next::Command(LogNumber::MAIN, Command::create(NewLog { name, settings }))
            }
            Stage::Creating(_) | Stage::Leaving => Next::Nothing,
            Stage::Asking(ref name) => Next::Ask(name.clone()),
            Stage::Having { number, closed, end } => match self.random.below(32) {
                2 | 3 => {
                    let before = self.random.below(end.get() + 2);
                    Next::Command(number, Command::Trim(Offset::new(before)))
                }
                0 => Next::Command(number, Command::Delete),
                1 if !closed => Next::Command(number, Command::Close),
                // Now and then it does not believe that a log is closed.
                8.. if !closed || self.random.coin() => Next::Append(number),
                _ => Next::Read(number),
            },
        }
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
        match (command, &mut self.stage) {
            (Some(Command::Create(new)), stage) => *stage = Stage::Asking(new.name.clone()),
            (Some(Command::Close), Stage::Having { closed, .. }) => *closed = true,
            (Some(Command::Delete), stage) => *stage = Stage::None,
            _ => {}
        }
    }

    pub(super) fn on_unmet(&mut self, unmet: Unmet) {
        match (unmet.obstacle, &mut self.stage) {
            (Obstacle::LogExists { .. }, stage) => {
                if let Stage::Creating(name) = stage {
                    *stage = Stage::Asking(name.clone());
                }
            }
            (Obstacle::Closed, Stage::Having { closed, .. }) => *closed = true,
            (Obstacle::NoLog, stage) => *stage = Stage::None,
            _ => {}
        }
    }

    pub(super) fn on_standing(&mut self, standing: &Standing) {
        self.stage = match standing.logs.first() {
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
