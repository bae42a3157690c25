//! Crashing the leader from the page, where the cluster was made for such things.
//!
//! No other site's page can ask for it: a browser sends the header that is asked for here only after it
//! has asked whether it may, which is denied to all but the page of this very door.

use hyper::StatusCode;
use hyper::header::{HeaderMap, HeaderName, ORIGIN};

use super::answer::{Answer, JSON, answer, complaint, json, not_now};
use super::house::House;
use crate::client::CrashError;
use crate::client::report::CrashRow;

/// Whoever wants it says so.
const WANTED: HeaderName = HeaderName::from_static("annal-crash");

/// Crashes the leader, if that may be done.
pub(super) async fn crash(house: &House, headers: &HeaderMap) -> Answer {
    let own = format!("http://{}", house.config.listen);
    let is_own = |origin: &[u8]| {
        let port = house.config.listen.port();
        origin == own.as_bytes() || origin == format!("http://localhost:{port}").as_bytes()
    };
    let is_asked = headers.get(WANTED).is_some_and(|value| value == "yes");
    let is_from_page = headers.get_all(ORIGIN).iter().all(|origin| is_own(origin.as_bytes()));
    if !is_asked || !is_from_page {
        let hint = "send the header `annal-crash: yes`; of pages only this door's own may";
        return complaint(
            StatusCode::FORBIDDEN,
            "nobody has asked for a crash in so many words",
            hint,
        );
    }
    if !house.fault_injection {
        let hint = "`fault_injection` in node.toml says whether an admin may";
        return complaint(StatusCode::FORBIDDEN, CrashError::NotAllowed, hint);
    }
    tracing::warn!(node = %house.inside.welcome().node, "at the door for HTTP somebody asks for a crash of the leader");
    match house.client.crash_leader().await {
        Ok(crashed) => answer(StatusCode::OK, JSON, json(&CrashRow::from(&crashed))),
        Err(error @ CrashError::Unavailable(_)) => {
            not_now(error, "`annal status` shows who answers")
        }
        Err(error @ (CrashError::NotAllowed | CrashError::NotAdmin)) => complaint(
            StatusCode::FORBIDDEN,
            error,
            "`fault_injection` in the leader's node.toml says so",
        ),
        Err(error) => {
            let hint = "`annal status` shows what became of it";
            complaint(StatusCode::INTERNAL_SERVER_ERROR, error, hint)
        }
    }
}
