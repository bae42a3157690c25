//! Which logs there are, a page at a time.

use hyper::StatusCode;
use hyper::http::request::Parts;
use serde::Serialize;

use super::super::answer::{Answer, JSON, answer, complaint, json};
use super::super::house::House;
use super::log::{content_type, name};
use super::manage::end_of;
use super::query::{pairs, plain};
use super::refusal::Refusal;
use crate::access::Grants;
use crate::client::LogState;
use crate::limits::LOGS_PAGE;
use crate::log_name::LogName;

/// Where they are listed.
pub(in super::super) const PATH: &str = "/v1/streams";

/// What is asked for.
struct Wanted {
    prefix: String,
    after: Option<LogName>,
    limit: usize,
}

/// A page.
#[derive(Serialize)]
struct Page {
    streams: Vec<Row>,
    /// More may come behind this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<LogName>,
}

/// A log.
#[derive(Serialize)]
struct Row {
    name: LogName,
    content_type: String,
    next_offset: String,
    closed: bool,
    /// It is there for its forks alone.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    deleted: bool,
}

impl From<LogState> for Row {
    fn from(state: LogState) -> Self {
        let (content_type, next_offset) =
            (content_type(&state.settings).to_owned(), end_of(&state));
        let LogState { name, closed, deleted, .. } = state;
        Self { name, content_type, next_offset: next_offset.to_string(), closed, deleted }
    }
}

/// Lists logs by name; with grants, those that may be read.
pub(super) async fn list(
    house: &House,
    grants: Option<&Grants>,
    parts: &Parts,
) -> Result<Answer, Refusal> {
    let wanted = Wanted::parse(parts.uri.query().unwrap_or_default())?;
    let limit = wanted.limit;
    let mut page = match grants {
        None => behind(house, &wanted.prefix, wanted.after).await?,
        Some(grants) => readable(house, grants, wanted).await?,
    };
    let is_full = page.len() >= limit;
    page.truncate(limit);
    let after = page.last().filter(|_| is_full).map(|last| last.name.clone());
    let streams = page.into_iter().map(Row::from).collect();
    Ok(answer(StatusCode::OK, JSON, json(&Page { streams, after })))
}

/// The logs behind this one whose names begin so, as many as an answer has.
async fn behind(
    house: &House,
    prefix: &str,
    after: Option<LogName>,
) -> Result<Vec<LogState>, Refusal> {
    let page = house.client.logs_behind(prefix.to_owned(), after).await;
    page.map_err(|error| Refusal::of_read(&error))
}

/// Those of them that may be read, up to the limit. Logs that may not are not even looked at, so that
/// neither an answer nor the time that it takes tells of them.
async fn readable(
    house: &House,
    grants: &Grants,
    wanted: Wanted,
) -> Result<Vec<LogState>, Refusal> {
    let Wanted { prefix, after, limit } = wanted;
    let mut found: Vec<LogState> = vec![];
    for pattern in grants.readable() {
        // What both begin with; where they part there is nothing.
        let longer = match (prefix.as_str(), pattern.prefix()) {
            (asked, granted) if asked.starts_with(granted) => asked,
            (asked, granted) if granted.starts_with(asked) => granted,
            _ => continue,
        };
        let mut last = found.last().map(|log| log.name.clone()).or_else(|| after.clone());
        while found.len() < limit {
            let page = behind(house, longer, last).await?;
            let is_full = page.len() >= LOGS_PAGE;
            last = page.last().map(|log| log.name.clone());
            let before = found.len();
            found.extend(page.into_iter().filter(|log| pattern.matches(&log.name)));
            // A name alone is the first of those that begin with it.
            if !is_full || found.len() == before {
                break;
            }
        }
    }
    Ok(found)
}

impl Wanted {
    /// Of the text behind the question mark. Words that nobody knows are passed over.
    fn parse(text: &str) -> Result<Self, Refusal> {
        let mut wanted = Self { prefix: String::new(), after: None, limit: LOGS_PAGE };
        for (key, value) in pairs(text) {
            let value = plain(value).ok_or_else(bad)?;
            match key {
                "prefix" => wanted.prefix = value,
                "after" => wanted.after = Some(name(&value)?),
                "limit" => {
                    let limit = value.parse().ok().filter(|limit| (1..=LOGS_PAGE).contains(limit));
                    wanted.limit = limit.ok_or_else(bad)?;
                }
                _ => {}
            }
        }
        Ok(wanted)
    }
}

fn bad() -> Refusal {
    let hint = format!("prefix=eu/, after= a name, limit= 1 to {LOGS_PAGE}");
    complaint(StatusCode::BAD_REQUEST, "that is no question for streams", &hint).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_of_a_list() {
        let parse = |text| Wanted::parse(text).ok().map(|it| (it.prefix, it.after, it.limit));
        assert_eq!(parse(""), Some((String::new(), None, LOGS_PAGE)));
        let asked = parse("prefix=eu%2F&after=eu/a&limit=5&x=y");
        assert_eq!(asked, Some(("eu/".to_owned(), "eu/a".parse().ok(), 5)));
        for bad in ["limit=0", "limit=1001", "limit=x", "after=", "after=/", "prefix=%zz"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
