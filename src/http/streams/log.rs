//! Which log a path means.

use std::collections::BTreeMap;
use std::sync::Mutex;

use hyper::StatusCode;

use super::super::answer::complaint;
use super::super::house::House;
use super::lineage::is_inherited;
use super::lock;
use super::place::Place;
use super::refusal::Refusal;
use crate::client::{Client, Fork, LogState};
use crate::limits::HTTP_LOGS_MAX;
use crate::log_name::LogName;
use crate::log_settings::{ContentType, LogSettings};
use crate::types::{LogNumber, Offset};

/// A log that somebody asks for.
#[derive(Clone, Debug)]
pub(super) struct Log {
    pub(super) name: LogName,
    pub(super) client: Client,
    pub(super) number: LogNumber,
    /// What it was created with.
    pub(super) settings: LogSettings,
    /// Whether it was closed when it was last looked at: it never opens again.
    pub(super) is_closed: bool,
    /// Where it comes from, if it is a fork.
    fork: Option<Fork>,
}

/// Logs that were looked up, so that not every request has to.
#[derive(Debug, Default)]
pub(super) struct Logs(Mutex<BTreeMap<LogName, Log>>);

impl Log {
    /// The log of this name, as it is known here: it may have been deleted since.
    pub(super) async fn find(house: &House, text: &str) -> Result<Self, Refusal> {
        let name = name(text)?;
        match house.rooms.logs.known(&name) {
            Some(log) => Ok(log),
            None => Self::look(house, text).await,
        }
    }

    /// The log that has this name now, as it stands now.
    pub(super) async fn look(house: &House, text: &str) -> Result<Self, Refusal> {
        let name = name(text)?;
        if name.as_str() == LogName::MAIN {
            let (client, number) = (house.client.clone(), LogNumber::MAIN);
            let settings = LogSettings::default();
            return Ok(Self { name, client, number, settings, is_closed: false, fork: None });
        }
        let state = state(house, &name).await?;
        let LogState { number, settings, closed: is_closed, fork, .. } = state;
        let client = house.client.about(number);
        let log = Self { name, client, number, settings, is_closed, fork };
        house.rooms.logs.keep(log.clone());
        Ok(log)
    }

    /// Of what type its records are, as its creator said.
    pub(super) fn content_type(&self) -> &str {
        content_type(&self.settings)
    }

    pub(super) fn place(&self, offset: Offset) -> Place {
        Place { number: self.number, offset }
    }

    /// The offset of a place that is of this log: what a fork has of others it has under their offsets.
    pub(super) async fn own(&self, house: &House, place: Place) -> Result<Offset, Refusal> {
        if place.number == self.number || is_inherited(house, self.fork.as_ref(), place).await? {
            return Ok(place.offset);
        }
        let sentence = "that offset is of another log, which may have had this name";
        let hint = "begin anew at -1 or at now";
        Err(complaint(StatusCode::GONE, sentence, hint).into())
    }
}

/// How the log of this name stands now.
pub(super) async fn state(house: &House, name: &LogName) -> Result<LogState, Refusal> {
    let state = house.client.usable_state(name).await;
    state.map_err(|error| Refusal::of_log(LogNumber::MAIN, &error))
}

/// The type of a log with these settings, as it was given.
pub(super) fn content_type(settings: &LogSettings) -> &str {
    settings.content_type.as_ref().map_or(ContentType::BYTES, ContentType::as_str)
}

pub(super) fn name(text: &str) -> Result<LogName, Refusal> {
    let parsed = text.parse::<LogName>();
    parsed.map_err(|error| {
        complaint(StatusCode::BAD_REQUEST, error, "as in /v1/stream/eu/orders-2").into()
    })
}

impl Logs {
    fn known(&self, name: &LogName) -> Option<Log> {
        lock(&self.0).get(name).cloned()
    }

    /// Keeps a log. If there are too many, all others are looked up anew.
    fn keep(&self, log: Log) {
        let mut logs = lock(&self.0);
        if logs.len() >= HTTP_LOGS_MAX {
            logs.clear();
        }
        logs.insert(log.name.clone(), log);
    }

    /// It may be there no more.
    pub(super) fn forget(&self, name: &LogName) {
        lock(&self.0).remove(name);
    }
}
