//! The one table of what there is.

use std::convert::Infallible;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, ALLOW, CONTENT_LENGTH, HeaderMap, HeaderValue, ORIGIN, VARY,
};
use hyper::http::request::Parts;
use hyper::{Method, Request, StatusCode};

use super::answer::{Answer, JSON, answer, close_to_others, complaint, whole};
use super::crash;
use super::gate::{self, Guest, Need, Visitor};
use super::guard;
use super::health;
use super::house::House;
use super::metrics;
use super::page;
use super::streams;

/// What there is at a path.
enum Place {
    Page,
    Live,
    Ready,
    Metrics,
    Node,
    Status,
    CrashLeader,
}

impl Place {
    /// All of them, as they are asked for.
    const ALL: [(&str, Self); 7] = [
        ("/", Self::Page),
        ("/health/live", Self::Live),
        ("/health/ready", Self::Ready),
        ("/metrics", Self::Metrics),
        ("/v1/node", Self::Node),
        ("/v1/status", Self::Status),
        ("/v1/crash-leader", Self::CrashLeader),
    ];

    fn of(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find_map(|(known, place)| (known == path).then_some(place))
    }

    /// What it takes to get there.
    fn need(&self) -> Need<'static> {
        match self {
            // The page is the same for everybody: what it shows it asks for, with its visitor's token. The
            // others say one word, to whoever spreads requests over nodes.
            Self::Page | Self::Live | Self::Ready => Need::Nothing,
            Self::Metrics | Self::Node | Self::Status => Need::Observe,
            Self::CrashLeader => Need::Never,
        }
    }
}

/// What a request needs where tokens are asked for.
fn need(parts: &Parts) -> Need<'_> {
    let path = parts.uri.path();
    match path.strip_prefix(streams::PREFIX) {
        Some(name) => streams::need(parts, name),
        None if path == streams::LIST && parts.method == Method::OPTIONS => Need::Nothing,
        None => Place::of(path).map_or(Need::Token, |place| place.need()),
    }
}

/// Whether logs are at a path, or the list of them.
fn is_of_streams(path: &str) -> bool {
    path == streams::LIST || path.starts_with(streams::PREFIX)
}

/// Answers a request, whatever it is.
pub(super) async fn attend(
    house: Arc<House>,
    guest: Arc<Guest>,
    request: Request<Incoming>,
) -> Result<Answer, Infallible> {
    let (parts, body) = request.into_parts();
    let admitted = match guard::refusal(&parts, &house.config) {
        Some(refusal) => Err(Box::new(refusal)),
        None => match &house.gate {
            Some(gate) => {
                let is_revoked = |token| house.inside.is_revoked(token);
                let admitted = gate.admit(&parts, &need(&parts), &guest, is_revoked);
                // A page that the guard lets through learns why not.
                admitted.map_err(|refusal| match parts.uri.path() {
                    path if is_of_streams(path) => Box::new(streams::open_to_pages(*refusal)),
                    _ => refusal,
                })
            }
            None => Ok(Visitor::Anybody),
        },
    };
    let mut answer = match admitted {
        Err(refusal) => *refusal,
        Ok(visitor) => serve(&house, &visitor, &parts, body).await,
    };
    if guest.is_stranger() {
        gate::leave(&mut answer);
    }
    close_to_others(&mut answer);
    house.visits.answered(answer.status());
    Ok(if parts.method == Method::HEAD { without_body(answer) } else { answer })
}

/// Answers a request that may be made.
async fn serve(house: &House, visitor: &Visitor, parts: &Parts, body: Incoming) -> Answer {
    if parts.uri.path() == streams::LIST {
        return streams::attend_list(house, visitor, parts).await;
    }
    match parts.uri.path().strip_prefix(streams::PREFIX) {
        Some(name) => streams::attend(house, parts, body, name).await,
        // No other place takes a body. One that is left is not read: the connection closes.
        None => open_to_neighbours(route(house, parts).await, &parts.headers),
    }
}

async fn route(house: &House, parts: &Parts) -> Answer {
    let Some(place) = Place::of(parts.uri.path()) else { return nothing_here() };
    let is_read = matches!(parts.method, Method::GET | Method::HEAD);
    match (place, is_read) {
        (Place::Page, true) => page::show(house.gate.is_some()),
        (Place::Live, true) => health::live(house),
        (Place::Ready, true) => health::ready(house),
        (Place::Metrics, true) => metrics::show(house),
        (Place::Node, true) => answer(StatusCode::OK, JSON, house.node()),
        (Place::Status, true) => answer(StatusCode::OK, JSON, house.status().await),
        (Place::CrashLeader, _) if parts.method == Method::POST => {
            crash::crash(house, &parts.headers).await
        }
        (Place::CrashLeader, _) => not_allowed(&parts.method, "POST"),
        (_, false) => not_allowed(&parts.method, "GET, HEAD"),
    }
}

fn nothing_here() -> Answer {
    let known = Place::ALL.map(|(path, _)| path).join(", ");
    let known = format!("{known}, {} and {}main", streams::LIST, streams::PREFIX);
    let sentence = "there is nothing at this path";
    complaint(StatusCode::NOT_FOUND, sentence, &format!("there are {known}"))
}

fn not_allowed(method: &Method, allowed: &'static str) -> Answer {
    let sentence = format!("{method} means nothing here");
    let hint = format!("use {allowed}");
    let mut answer = complaint(StatusCode::METHOD_NOT_ALLOWED, sentence, &hint);
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    answer
}

/// Pages of this machine may read what is said here: of others the guard has let none through.
fn open_to_neighbours(mut answer: Answer, asked: &HeaderMap) -> Answer {
    let Some(origin) = asked.get(ORIGIN) else { return answer };
    answer.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    answer.headers_mut().insert(VARY, HeaderValue::from_static("origin"));
    answer
}

/// The answer to HEAD: as to GET, with the length of what is left out.
fn without_body(mut answer: Answer) -> Answer {
    use hyper::body::Body as _;
    if let Some(length) = answer.body().size_hint().exact() {
        answer.headers_mut().insert(CONTENT_LENGTH, length.into());
    }
    *answer.body_mut() = whole("");
    answer
}
