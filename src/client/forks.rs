//! Forks: logs that begin with another one's records.

use super::append::AppendError;
use super::handle::Client;
use super::logs::{LogError, as_asked};
use crate::command::{NewLog, Origin};
use crate::log_name::LogName;
use crate::log_settings::{ContentType, LogSettings};
use crate::types::Offset;
use crate::wire::standing::LogState;

impl Client {
    /// Creates a fork of a log: as [`Self::fork_log_with`], with the type and the expiry of its source.
    ///
    /// ```
    /// # mod one_node { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/suite/one_node.rs")); }
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// #   let cluster = one_node::OneNode::start();
    /// #   let client = annal::Client::connect(annal::Settings::from_dir(cluster.directory())?)?;
    /// let (orders, trial) = ("orders".parse()?, "orders-trial".parse()?);
    /// client.create_log(&orders).await?;
    /// client.log(&orders).await?.append(vec!["one pair of shoes".into()]).await?;
    /// client.fork_log(&trial, &orders, None).await?;
    /// let appended = client.log(&trial).await?.append(vec!["a hat".into()]).await?;
    /// assert_eq!(appended.offset.get(), 1, "the shoes are in both");
    /// #   cluster.stop().await;
    /// #   Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`LogError`]. If nobody knows what became of it, it can be done again.
    pub async fn fork_log(
        &self,
        name: &LogName,
        source: &LogName,
        at: Option<Offset>,
    ) -> Result<LogState, LogError> {
        self.fork_log_with(name, source, at, LogSettings::default()).await
    }

    /// Creates a log that begins with the records of another one before an offset, all that there are if
    /// none is given, and goes on with its own from there. It is open, sees nothing that is appended to its
    /// source later, and knows none of its fence and producers. If there is one of this name that is such a
    /// fork, that one is as good.
    ///
    /// Nothing is copied: what it has of its source stays on the disks as long as it has it, whatever becomes
    /// of the source.
    ///
    /// Of the settings it has the source's type, which is the only one that may be given, and its expiry if
    /// none is given; how much is kept is its own, and its bytes are counted from then on.
    ///
    /// # Errors
    /// [`LogError`]. If nobody knows what became of it, it can be done again.
    pub async fn fork_log_with(
        &self,
        name: &LogName,
        source: &LogName,
        at: Option<Offset>,
        settings: LogSettings,
    ) -> Result<LogState, LogError> {
        let source = self.log_state(source).await?;
        let settings = inherited(&settings, &source)?;
        let origin =
            Origin { source: source.number, at: at.unwrap_or(source.next_offset), part: 0 };
        let new = NewLog { settings, origin: Some(origin), ..NewLog::from(name.clone()) };
        match self.make_log(new.clone(), vec![]).await {
            Ok(_) => {}
            Err(AppendError::UnknownLog) => return Err(LogError::Deleted { name: source.name }),
            Err(error) => return Err(error.into()),
        }
        let found = self.usable_state(name).await?;
        as_asked(found, &new.settings, |found| is_from(found, new.origin, at.is_some()))
    }
}

/// The settings of a fork for which these were given.
///
/// # Errors
/// [`LogError::OtherType`].
pub(crate) fn inherited(
    settings: &LogSettings,
    source: &LogState,
) -> Result<LogSettings, LogError> {
    let of_source =
        LogSettings { content_type: settings.content_type.clone(), ..source.settings.clone() };
    if settings.content_type.is_some() && !of_source.is_same_as(&source.settings) {
        let found = source.settings.content_type.as_ref();
        let found = found.map_or(ContentType::BYTES, ContentType::as_str).to_owned();
        return Err(LogError::OtherType { source_name: source.name.clone(), found });
    }
    let content_type = source.settings.content_type.clone();
    let expiry = settings.expiry.or(source.settings.expiry);
    Ok(LogSettings { content_type, expiry, ..settings.clone() })
}

/// Whether a log is a fork from there; wherever that is, unless it must be the very place.
pub(crate) fn is_from(found: &LogState, origin: Option<Origin>, is_exact: bool) -> bool {
    match (&found.fork, origin) {
        (None, None) => true,
        (Some(fork), Some(Origin { source, at, part })) => {
            fork.number == source && (!is_exact || (fork.at, fork.part) == (at, part))
        }
        _ => false,
    }
}
