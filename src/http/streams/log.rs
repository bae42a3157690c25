//! Which log a path means.

use hyper::StatusCode;

use super::super::answer::complaint;
use super::super::house::House;
use super::place::Place;
use super::refusal::Refusal;
use crate::client::Client;
use crate::types::{LogNumber, Offset};

/// A log that somebody asks for.
#[derive(Clone, Debug)]
pub(super) struct Log {
    pub(super) client: Client,
    pub(super) number: LogNumber,
}

impl Log {
    /// The log of this name, if there is one.
    pub(super) fn find(house: &House, name: &str) -> Result<Self, Refusal> {
        if name != "main" {
            let sentence = format!("there is no log {name}");
            return Err(complaint(StatusCode::NOT_FOUND, sentence, "there is one log, main").into());
        }
        Ok(Self { client: house.client.clone(), number: LogNumber::MAIN })
    }

    pub(super) fn place(&self, offset: Offset) -> Place {
        Place { number: self.number, offset }
    }

    /// A word that is of this log.
    pub(super) fn own(&self, place: Place) -> Result<Offset, Refusal> {
        if place.number == self.number {
            return Ok(place.offset);
        }
        let sentence = "that offset is of another log, which may have had this name";
        let hint = "begin anew at -1 or at now";
        Err(complaint(StatusCode::GONE, sentence, hint).into())
    }
}
