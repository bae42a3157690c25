//! The page at `/`: one file, which asks this node and, when it is gone, its neighbours.
//!
//! It takes nothing from elsewhere, and a browser runs of it only what has the number that this answer
//! alone has, so that no record and no name can become a program.

use hyper::StatusCode;
use hyper::header::{CONTENT_SECURITY_POLICY, HeaderValue};

use super::answer::{Answer, answer, not_now};

const HTML: &str = "text/html; charset=utf-8";
const PAGE: &str = include_str!("page.html");

/// The page, with a number of its own. Where it asks for a token it gives that to no other door.
pub(super) fn show(asks_for_token: bool) -> Answer {
    let Ok(number) = getrandom::u64() else {
        return not_now("this system gives out no random numbers", "try again in a moment");
    };
    let nonce = format!("{number:016x}");
    // The neighbours' doors are at other ports of this machine.
    let neighbours = if asks_for_token { "" } else { " http://127.0.0.1:* http://localhost:*" };
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; \
         connect-src 'self'{neighbours}; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'"
    );
    let mut page = answer(StatusCode::OK, HTML, PAGE.replace("{nonce}", &nonce));
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        page.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
    }
    page
}
