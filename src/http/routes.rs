//! The one table of what there is.

use std::convert::Infallible;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_LENGTH, HeaderValue};
use hyper::{Method, Request, StatusCode};

use super::answer::{Answer, JSON, answer, close_to_others, complaint, whole};
use super::guard;
use super::health;
use super::house::House;
use super::metrics;

/// Answers a request, whatever it is.
pub(super) async fn attend(
    house: Arc<House>,
    request: Request<Incoming>,
) -> Result<Answer, Infallible> {
    let (parts, body) = request.into_parts();
    let is_head = parts.method == Method::HEAD;
    let mut answer = match guard::refusal(&parts, house.address) {
        Some(refusal) => refusal,
        None => route(&house, &parts.method, parts.uri.path()).await,
    };
    // Nothing here takes a body. What is left of one is not read: hyper closes the connection then.
    drop(body);
    close_to_others(&mut answer);
    house.visits.answered(answer.status());
    Ok(if is_head { without_body(answer) } else { answer })
}

async fn route(house: &House, method: &Method, path: &str) -> Answer {
    let is_read = matches!(*method, Method::GET | Method::HEAD);
    match path {
        _ if !is_read && is_known(path) => not_allowed(method),
        "/health/live" => health::live(),
        "/health/ready" => health::ready(house),
        "/metrics" => metrics::show(house),
        "/v1/status" => answer(StatusCode::OK, JSON, house.status().await),
        _ => complaint(
            StatusCode::NOT_FOUND,
            "there is nothing at this path",
            "there are /health/live, /health/ready, /metrics and /v1/status",
        ),
    }
}

fn is_known(path: &str) -> bool {
    ["/health/live", "/health/ready", "/metrics", "/v1/status"].contains(&path)
}

fn not_allowed(method: &Method) -> Answer {
    let sentence = format!("{method} means nothing here");
    let mut answer = complaint(StatusCode::METHOD_NOT_ALLOWED, sentence, "use GET");
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
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
