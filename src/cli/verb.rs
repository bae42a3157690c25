//! The verbs of the client: what each comes to, once its words are understood.

use super::append::{self, Typed};
use super::args::{ClientVerb, ProducersVerb};
use super::connection::Target;
use super::failure::{End, Failure};
use super::fence::Fencing;
use super::output::Printer;
use super::reach::Reach;
use super::reading::Reading;
use super::{producers, registry, state, top};
use crate::client::Leading;
use crate::label::ProducerName;

/// What is to be done.
pub(super) enum Verb {
    Append(append::Settings),
    Read(Reading),
    Fence(Fencing),
    Outcome(ProducerName),
    Producers(ProducersVerb),
    Status { watch: bool },
    Top,
    Leader,
    Terms,
    CrashLeader,
}

impl Verb {
    /// Understands what was typed.
    pub(super) fn of(verb: ClientVerb, typed: Typed) -> Result<Self, Failure> {
        Ok(match verb {
            ClientVerb::Append(append) => Self::Append(append::settings(append, typed)?),
            ClientVerb::Read(read) => Self::Read(Reading::of_read(read)),
            ClientVerb::Tail(tail) => Self::Read(Reading::of_tail(tail)),
            ClientVerb::Fence(fence) => Self::Fence(Fencing::of(&fence)),
            ClientVerb::Outcome(outcome) => Self::Outcome(outcome.producer),
            ClientVerb::Producers(producers) => Self::Producers(producers.verb),
            ClientVerb::Status(look) => Self::Status { watch: look.watch },
            ClientVerb::Top => Self::Top,
            ClientVerb::Leader => Self::Leader,
            ClientVerb::Terms => Self::Terms,
            ClientVerb::CrashLeader => Self::CrashLeader,
        })
    }

    /// Whether the cluster, as its file describes it, has what is asked for.
    pub(super) fn check(&self, target: &Target) -> Result<(), Failure> {
        match self {
            Self::Read(reading) => reading.check_node(target),
            _ => Ok(()),
        }
    }

    /// Whether it goes on trying until it is told to stop, unless a time is given.
    pub(super) fn has_time(&self) -> bool {
        matches!(self, Self::Append(settings) if settings.is_pipe())
    }

    /// Whether it ends by itself at a signal, with a word about what became of it.
    pub(super) fn hears_signals(&self) -> bool {
        matches!(self, Self::Append(_) | Self::Read(_) | Self::Top | Self::Status { watch: true })
    }

    /// Does it, and prints what comes of it. Returns who was found to lead, if that was asked for.
    pub(super) async fn perform(
        self,
        reach: &Reach,
        printer: &mut Printer,
    ) -> Result<Option<Leading>, End> {
        match self {
            Self::Append(settings) => append::run(reach.client()?, settings, printer).await?,
            Self::Read(reading) => reading.run(reach.client()?, printer).await?,
            Self::Outcome(name) => producers::outcome(reach.client()?, name, printer).await?,
            Self::Producers(verb) => producers::run(reach.client()?, verb, printer).await?,
            Self::Fence(fencing) => fencing.run(reach.client()?, printer).await?,
            Self::Status { watch: true } => state::watch(reach.client()?, printer).await?,
            Self::Status { watch: false } => return state::status(reach.client()?, printer).await,
            Self::Top => {
                top::check(printer)?;
                top::run(reach.client()?).await?;
            }
            Self::Leader => return state::leader(reach.client()?, printer).await,
            Self::Terms => registry::print_terms(reach.target(), printer).await?,
            Self::CrashLeader => {
                let admin = reach.admin()?;
                return state::crash_leader(&admin, printer).await;
            }
        }
        Ok(None)
    }
}
