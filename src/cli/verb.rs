//! The verbs of the client: what each comes to, once its words are understood.

use super::append::{self, Typed};
use super::args::{ClientVerb, LogVerb, ProducersVerb};
use super::backup::Backing;
use super::connection::Target;
use super::failure::{End, Failure};
use super::fence::Fencing;
use super::output::Printer;
use super::reach::Reach;
use super::reading::Reading;
use super::{catalogue, producers, registry, state, top};
use crate::client::Leading;
use crate::label::ProducerName;
use crate::log_name::LogName;
use crate::types::Offset;

/// What is to be done, and to which log.
pub(super) struct Verb {
    /// `None`: `main`.
    log: Option<LogName>,
    act: Act,
}

/// What is to be done.
enum Act {
    Append(append::Settings),
    Read(Reading),
    Fence(Fencing),
    Outcome(ProducerName),
    Producers(ProducersVerb),
    Log(LogVerb),
    Trim(Offset),
    Status { watch: bool },
    Top,
    Leader,
    Terms,
    CrashLeader,
    Backup(Backing),
}

impl Verb {
    /// Understands what was typed.
    pub(super) fn of(verb: ClientVerb, typed: Typed) -> Result<Self, Failure> {
        let log = log_of(&verb).cloned();
        Ok(Self { log, act: Act::of(verb, typed)? })
    }

    /// Whether the cluster, as its file describes it, has what is asked for.
    pub(super) fn check(&self, target: &Target) -> Result<(), Failure> {
        match &self.act {
            Act::Read(reading) => reading.check_node(target),
            _ => Ok(()),
        }
    }

    /// Whether it goes on trying until it is told to stop, unless a time is given.
    pub(super) fn has_time(&self) -> bool {
        matches!(&self.act, Act::Append(settings) if settings.is_pipe())
    }

    /// Whether it ends by itself at a signal, with a word about what became of it.
    pub(super) fn hears_signals(&self) -> bool {
        matches!(self.act, Act::Append(_) | Act::Read(_) | Act::Top | Act::Status { watch: true })
    }

    /// Does it, and prints what comes of it. Returns who was found to lead, if that was asked for.
    pub(super) async fn perform(
        self,
        reach: &Reach,
        printer: &mut Printer,
    ) -> Result<Option<Leading>, End> {
        let log = self.log.as_ref();
        match self.act {
            Act::Append(settings) => {
                append::run(&reach.client_of(log).await?, settings, printer).await?;
            }
            Act::Read(reading) => {
                let client = reach.client_to_read(log, reading.consistency()).await?;
                reading.run((&client, log), printer).await?;
            }
            Act::Outcome(name) => {
                producers::outcome(&reach.client_of(log).await?, name, printer).await?;
            }
            Act::Producers(verb) => {
                producers::run(&reach.client_of(log).await?, verb, printer).await?;
            }
            Act::Fence(fencing) => fencing.run(&reach.client_of(log).await?, printer).await?,
            Act::Trim(before) => {
                catalogue::trim(&reach.client_of(log).await?, before).await?;
            }
            Act::Log(verb) => catalogue::run(reach.client()?, verb, printer).await?,
            Act::Status { watch: true } => state::watch(reach.client()?, printer).await?,
            Act::Status { watch: false } => return state::status(reach.client()?, printer).await,
            Act::Top => {
                top::check(printer)?;
                top::run(reach.client()?).await?;
            }
            Act::Leader => return state::leader(reach.client()?, printer).await,
            Act::Terms => registry::print_terms(reach.target(), printer).await?,
            Act::CrashLeader => {
                let admin = reach.admin()?;
                return state::crash_leader(&admin, printer).await;
            }
            Act::Backup(backing) => backing.run(&reach.admin()?, printer).await?,
        }
        Ok(None)
    }
}

/// Which log a verb is about, if it says so.
fn log_of(verb: &ClientVerb) -> Option<&LogName> {
    let of = match verb {
        ClientVerb::Append(args) => &args.of,
        ClientVerb::Read(args) => &args.of,
        ClientVerb::Tail(args) => &args.of,
        ClientVerb::Fence(args) => &args.of,
        ClientVerb::Outcome(args) => &args.of,
        ClientVerb::Producers(args) => &args.of,
        ClientVerb::Trim(args) => &args.of,
        ClientVerb::Log(_)
        | ClientVerb::Status(_)
        | ClientVerb::Top
        | ClientVerb::Leader
        | ClientVerb::Terms
        | ClientVerb::CrashLeader
        | ClientVerb::Backup(_) => return None,
    };
    of.log_name.as_ref()
}

impl Act {
    fn of(verb: ClientVerb, typed: Typed) -> Result<Self, Failure> {
        Ok(match verb {
            ClientVerb::Append(append) => Self::Append(append::settings(append, typed)?),
            ClientVerb::Read(read) => Self::Read(Reading::of_read(read)),
            ClientVerb::Tail(tail) => Self::Read(Reading::of_tail(tail)),
            ClientVerb::Fence(fence) => Self::Fence(Fencing::of(&fence)),
            ClientVerb::Outcome(outcome) => Self::Outcome(outcome.producer),
            ClientVerb::Producers(producers) => Self::Producers(producers.verb),
            ClientVerb::Log(logs) => Self::Log(logs.verb),
            ClientVerb::Trim(trim) => Self::Trim(Offset::new(trim.before)),
            ClientVerb::Status(look) => Self::Status { watch: look.watch },
            ClientVerb::Top => Self::Top,
            ClientVerb::Leader => Self::Leader,
            ClientVerb::Terms => Self::Terms,
            ClientVerb::CrashLeader => Self::CrashLeader,
            ClientVerb::Backup(backup) => Self::Backup(Backing::of(backup)),
        })
    }
}
