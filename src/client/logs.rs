//! Which logs there are: creating, finding, closing and deleting them.

use bytes::Bytes;
use thiserror::Error;

use super::append::AppendError;
use super::ask::Ask;
use super::handle::Client;
use super::read::ReadError;
use super::read_options::Consistency;
use crate::command::{Command, NewLog};
use crate::log_name::LogName;
use crate::log_settings::LogSettings;
use crate::outcome::Outcome;
use crate::retention::Retention;
use crate::types::{LogNumber, Offset};
use crate::wire::standing::{Inquiry, LogState};

/// Something was not done about a log.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LogError {
    /// There is no log of this name, as of everything that was acknowledged before.
    #[error("there is no log {name}")]
    Unknown {
        /// Which was meant.
        name: LogName,
    },
    /// There is a log of this name, which was created with other settings.
    #[error("there is a log {name} already, with other settings")]
    OtherSettings {
        /// How it stands.
        found: Box<LogState>,
        /// Its name.
        name: LogName,
    },
    /// The log of this name is deleted, and keeps its name until its last fork is.
    #[error("log {name} is deleted, and its name is kept for its forks")]
    Deleted {
        /// Its name.
        name: LogName,
    },
    /// A fork has the type of its source, and another one was asked for.
    #[error("log {source_name} is of {found}, and so are its forks")]
    OtherType {
        /// The source.
        source_name: LogName,
        /// Its type.
        found: String,
    },
    /// The source has no record at the fork's offset of which it could have so much.
    #[error("log {source_name} has no record at offset {at} of {part} bytes or more")]
    NoSuchPart {
        /// The source.
        source_name: LogName,
        /// Where the fork was to leave it.
        at: Offset,
        /// How many bytes of that record it was to have.
        part: u32,
    },
    /// It was not acknowledged that it is done.
    #[error("{}", .0.or_unknown("it may be done, or may still be done"))]
    Append(#[from] AppendError),
    /// It could not be learned how it stands.
    #[error("{0}")]
    Read(#[from] ReadError),
}

impl LogError {
    /// What it means for scripts.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Unknown { .. }
            | Self::OtherSettings { .. }
            | Self::Deleted { .. }
            | Self::OtherType { .. }
            | Self::NoSuchPart { .. } => Outcome::ConditionNotMet,
            Self::Append(error) => error.outcome(),
            Self::Read(error) => error.outcome(),
        }
    }

    /// What to do about it; empty where there is nothing to say.
    pub fn hint(&self) -> String {
        match self {
            Self::Unknown { name } => {
                format!(
                    "`annal log create {name}` makes it; `annal log list` shows which there are"
                )
            }
            Self::OtherSettings { name, .. } => {
                format!("`annal log describe {name}` shows them; take these, or another name")
            }
            Self::Deleted { .. } => {
                "`annal log list` shows its forks; with the last of them it is gone".to_owned()
            }
            Self::OtherType { .. } => "say no type, and the fork has it".to_owned(),
            Self::NoSuchPart { .. } => "take another offset, or less of its record".to_owned(),
            Self::Append(error) if error.token().is_some() => {
                "`annal log describe NAME` shows whether it was done; another number is another log"
                    .to_owned()
            }
            Self::Append(error) => error.hint(),
            Self::Read(error) => error.hint().to_owned(),
        }
    }
}

/// Named logs.
impl Client {
    /// The same client, of the log of this name: whatever it appends, reads, fences or produces is that
    /// log's. Its [`Client::append`]s share one session with those of this one.
    ///
    /// It is about the log that has the name now. If that is deleted, and another one created under its
    /// name, this client is refused, and never led to the other.
    ///
    /// ```
    /// # mod one_node { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/suite/one_node.rs")); }
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// #   let cluster = one_node::OneNode::start();
    /// #   let client = annal::Client::connect(annal::Settings::from_dir(cluster.directory())?)?;
    /// let name = "eu/orders".parse()?;
    /// client.create_log(&name).await?;
    /// let orders = client.log(&name).await?;
    /// let appended = orders.append(vec!["one pair of shoes".into()]).await?;
    /// assert_eq!(appended.offset.get(), 0);
    /// #   cluster.stop().await;
    /// #   Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`LogError`].
    pub async fn log(&self, name: &LogName) -> Result<Self, LogError> {
        self.log_reflecting(name, Consistency::Linearizable).await
    }

    /// As [`Self::log`], for a read of this consistency: for a stale one the name is looked up as stale,
    /// which needs no leader.
    ///
    /// # Errors
    /// [`LogError`].
    pub async fn log_reflecting(
        &self,
        name: &LogName,
        consistency: Consistency,
    ) -> Result<Self, LogError> {
        // It is always there, and always the first.
        if name.as_str() == LogName::MAIN {
            return Ok(self.about(LogNumber::MAIN));
        }
        let state = self.state_reflecting(name, consistency).await?;
        Ok(self.about(usable(state)?.number))
    }

    /// Creates a log of the default settings. As [`Self::create_log_with`].
    ///
    /// # Errors
    /// [`LogError`]. If nobody knows what became of it, it can be done again.
    pub async fn create_log(&self, name: &LogName) -> Result<LogState, LogError> {
        self.create_log_with(name, LogSettings::default()).await
    }

    /// Creates a log, unless there is one of this name that was created with these settings: that one is
    /// as good.
    ///
    /// # Errors
    /// [`LogError`], with [`LogError::OtherSettings`] among it. If nobody knows what became of it, it can
    /// be done again.
    pub async fn create_log_with(
        &self,
        name: &LogName,
        settings: LogSettings,
    ) -> Result<LogState, LogError> {
        let new = NewLog { settings, ..NewLog::from(name.clone()) };
        self.make_log(new.clone(), vec![]).await?;
        as_asked(self.usable_state(name).await?, &new.settings, |found| found.fork.is_none())
    }

    /// Makes a log with these records, unless there is one of its name. Says whether it did.
    pub(crate) async fn make_log(
        &self,
        new: NewLog,
        records: Vec<Bytes>,
    ) -> Result<bool, AppendError> {
        let main = self.about(LogNumber::MAIN);
        match main.alone(Ask { records, ..Ask::of(Command::create(new)) }).await {
            Ok(_) => Ok(true),
            Err(AppendError::LogExists { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// As [`Self::log_state`], of one that is not deleted.
    pub(crate) async fn usable_state(&self, name: &LogName) -> Result<LogState, LogError> {
        usable(self.log_state(name).await?)
    }

    /// How a log stands, as of everything that was acknowledged before. One that is deleted and has forks
    /// says so ([`LogState::deleted`]).
    ///
    /// # Errors
    /// [`LogError`].
    pub async fn log_state(&self, name: &LogName) -> Result<LogState, LogError> {
        self.state_reflecting(name, Consistency::Linearizable).await
    }

    async fn state_reflecting(
        &self,
        name: &LogName,
        consistency: Consistency,
    ) -> Result<LogState, LogError> {
        let main = self.about(LogNumber::MAIN);
        let logs = main.answer_reflecting(Inquiry::Log(name.clone()), consistency).await?.logs;
        logs.into_iter().next().ok_or_else(|| LogError::Unknown { name: name.clone() })
    }

    /// How all logs stand whose names begin so, by name. Those that are created or deleted meanwhile may
    /// be among them or not.
    ///
    /// # Errors
    /// [`LogError`].
    pub async fn logs(&self, prefix: &str) -> Result<Vec<LogState>, LogError> {
        let mut all: Vec<LogState> = vec![];
        loop {
            let after = all.last().map(|log| log.name.clone());
            let page = self.logs_behind(prefix.to_owned(), after.clone()).await?;
            // A node that makes no sense is not asked for ever.
            let goes_on = page.first().is_some_and(|first| Some(&first.name) > after.as_ref());
            if !goes_on {
                return Ok(all);
            }
            all.extend(page);
        }
    }

    /// Those of them that come behind this one, as many as an answer has.
    pub(crate) async fn logs_behind(
        &self,
        prefix: String,
        after: Option<LogName>,
    ) -> Result<Vec<LogState>, ReadError> {
        let main = self.about(LogNumber::MAIN);
        Ok(main.answer(Inquiry::Logs { prefix, after }).await?.logs)
    }

    /// Closes this client's log: nothing is appended to it any more, and what it has can be read. One
    /// that is closed stays so.
    ///
    /// # Errors
    /// [`LogError`]. If nobody knows what became of it, it can be done again.
    pub async fn close_log(&self) -> Result<(), LogError> {
        match self.alone(Ask::of(Command::Close(Box::default()))).await {
            Ok(_) | Err(AppendError::LogClosed) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Lets so much of this client's log be kept from now on. Bytes are counted from here on, and what is
    /// there already is as old as this, unless the log had a retention before.
    ///
    /// # Errors
    /// [`LogError`]. If nobody knows what became of it, it can be done again.
    pub async fn configure_log(&self, retention: Retention) -> Result<(), LogError> {
        self.alone(Ask::of(Command::Configure(retention))).await?;
        Ok(())
    }

    /// Deletes this client's log: its records are gone, and its name is free. If it has forks, it keeps its
    /// name and what they need of it until the last of them is deleted.
    ///
    /// # Errors
    /// [`LogError`]. If nobody knows what became of it, it can be done again, with this same client: one
    /// that looks the name up anew may be led to another log, which somebody has created meanwhile.
    pub async fn delete_log(&self) -> Result<(), LogError> {
        self.alone(Ask::of(Command::Delete)).await?;
        Ok(())
    }
}

/// A log that is there for everybody, and not for its forks alone.
fn usable(state: LogState) -> Result<LogState, LogError> {
    if state.deleted { Err(LogError::Deleted { name: state.name }) } else { Ok(state) }
}

/// The log that there is, if it is what was asked for.
pub(super) fn as_asked(
    found: LogState,
    settings: &LogSettings,
    is_so: impl Fn(&LogState) -> bool,
) -> Result<LogState, LogError> {
    if settings.is_same_as(&found.settings) && is_so(&found) {
        return Ok(found);
    }
    let name = found.name.clone();
    Err(LogError::OtherSettings { found: Box::new(found), name })
}
