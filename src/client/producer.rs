//! A named producer: what it appends is in the log once and without a gap, whichever process it is.

use bytes::Bytes;
use thiserror::Error;

use super::append::{AppendError, AppendReceiver, AppendSender, Appender};
use super::read::ReadError;
use crate::outcome::Outcome;
use crate::wire::api::Appended;
use crate::wire::standing::ProducerState;

/// A producer was not opened.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// It was not acknowledged that this process is it.
    #[error("{}", .0.or_unknown("nobody knows whether this process is the producer"))]
    Append(#[from] AppendError),
    /// It could not be learned how far it is.
    #[error("{0}")]
    Read(#[from] ReadError),
}

impl OpenError {
    /// What it means for scripts. That nobody knows whether it was opened changes nothing in the log.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Append(error) => match error.outcome() {
                Outcome::Unknown => Outcome::NoLeader,
                outcome => outcome,
            },
            Self::Read(error) => error.outcome(),
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Append(error) if error.token().is_some() => {
                "nothing was appended: begin again, which does no harm".to_owned()
            }
            Self::Append(error) => error.hint(),
            Self::Read(error) => error.hint().to_owned(),
        }
    }
}

/// A pipeline of requests in order, of a producer that this process has opened: until another one does.
///
/// The records of a producer are numbered from 1 on, over all processes that were it. A program that
/// crashed opens its producer again and goes on behind [`Self::last_seq`], without a gap or a double.
#[derive(Debug)]
pub struct Producer {
    appender: Appender,
    opened: ProducerState,
}

impl Producer {
    pub(super) fn new(appender: Appender, opened: ProducerState) -> Self {
        Self { appender, opened }
    }

    /// How often it was opened, this time included.
    pub fn epoch(&self) -> u64 {
        self.opened.epoch
    }

    /// How many of its records were in the log when it was opened: the next one is the one after.
    pub fn last_seq(&self) -> u64 {
        self.opened.last_seq
    }

    /// As [`Appender::send`].
    ///
    /// # Errors
    /// As there.
    pub async fn send(&mut self, records: Vec<Bytes>) -> Result<(), AppendError> {
        self.appender.send(records).await
    }

    /// As [`Appender::next`]. After an error it is over; whoever opens it again learns how far it is.
    ///
    /// # Errors
    /// As there, and [`AppendError::Superseded`].
    pub async fn next(&mut self) -> Result<Option<Appended>, AppendError> {
        self.appender.next().await
    }

    /// The two halves, for two tasks.
    pub fn split(self) -> (AppendSender, AppendReceiver) {
        self.appender.split()
    }
}
