//! Why not.

use hyper::StatusCode;
use hyper::header::{ALLOW, HeaderValue};

use super::super::answer::{Answer, complaint, not_now};
use super::header;
use super::place::Place;
use crate::client::{AppendError, LogError, Outcome, ReadError};
use crate::types::LogNumber;

/// The answer to whoever is refused.
#[derive(Debug)]
pub(super) struct Refusal(Box<Answer>);

impl From<Answer> for Refusal {
    fn from(answer: Answer) -> Self {
        Self(Box::new(answer))
    }
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Self {
        *refusal.0
    }
}

pub(super) fn no_such_verb(allowed: &'static str) -> Refusal {
    let hint = format!("there are {allowed}");
    let sentence = "that can not be done to a stream here";
    let mut answer = complaint(StatusCode::METHOD_NOT_ALLOWED, sentence, &hint);
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    answer.into()
}

pub(super) fn busy(what: &str) -> Refusal {
    not_now(what, "come back in a moment").into()
}

/// Nobody was told of such an offset.
pub(super) fn beyond_the_end(end: Place) -> Refusal {
    let hint = format!("the log ends at offset {end}");
    complaint(StatusCode::BAD_REQUEST, "that offset is behind the end of the log", &hint).into()
}

impl Refusal {
    /// Of an append that failed.
    pub(super) fn of_append(number: LogNumber, error: &AppendError) -> Self {
        let hint = error.hint();
        let complain = |status| complaint(status, error, &hint);
        match error {
            AppendError::OtherOffset { next, .. } => {
                let mut answer = complain(StatusCode::PRECONDITION_FAILED);
                header::say_place(answer.headers_mut(), Place { number, offset: *next }, false);
                answer
            }
            AppendError::UnknownLog => complain(StatusCode::NOT_FOUND),
            AppendError::EpochBegins | AppendError::BeyondEnd { .. } => {
                complain(StatusCode::BAD_REQUEST)
            }
            AppendError::Trimmed { .. } => complain(StatusCode::GONE),
            AppendError::TooManyProducers => complain(StatusCode::TOO_MANY_REQUESTS),
            AppendError::RecordTooLarge { .. }
            | AppendError::RequestTooLarge { .. }
            | AppendError::TooManyRecords { .. } => complain(StatusCode::PAYLOAD_TOO_LARGE),
            error => match error.outcome() {
                Outcome::NoLeader => not_now(error, &hint),
                Outcome::Unknown => {
                    let hint = "read the end of the log to see whether it is there";
                    complaint(StatusCode::GATEWAY_TIMEOUT, error, hint)
                }
                Outcome::ConditionNotMet => complain(StatusCode::CONFLICT),
                _ => complain(StatusCode::INTERNAL_SERVER_ERROR),
            },
        }
        .into()
    }

    /// Of what was not done about a log.
    pub(super) fn of_log(number: LogNumber, error: &LogError) -> Self {
        match error {
            LogError::Append(error) => Self::of_append(number, error),
            LogError::Read(error) => Self::of_read(error),
            LogError::OtherSettings { .. } | LogError::OtherType { .. } => {
                complaint(StatusCode::CONFLICT, error, &error.hint()).into()
            }
            LogError::Deleted { .. } => complaint(StatusCode::GONE, error, &error.hint()).into(),
            LogError::NoSuchPart { .. } => {
                complaint(StatusCode::BAD_REQUEST, error, &error.hint()).into()
            }
            error => {
                let hint = "PUT makes it; `annal log list` shows which there are";
                complaint(StatusCode::NOT_FOUND, error, hint).into()
            }
        }
    }

    /// Of a read that failed.
    pub(super) fn of_read(error: &ReadError) -> Self {
        match error {
            ReadError::UnknownLog => complaint(StatusCode::NOT_FOUND, error, error.hint()),
            ReadError::Trimmed { .. } => complaint(StatusCode::GONE, error, error.hint()),
            ReadError::Unavailable(_)
            | ReadError::Unreachable { .. }
            | ReadError::NoAddress { .. }
            | ReadError::TimedOut { .. } => not_now(error, error.hint()),
            error => complaint(StatusCode::INTERNAL_SERVER_ERROR, error, error.hint()),
        }
        .into()
    }
}
