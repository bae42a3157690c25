//! Crashing the leader from the page, where the cluster was made for such things.
//!
//! No other site's page can ask for it: a browser sends the header that is asked for here only after it
//! has asked whether it may, which is denied to all but the page of this very door.

use hyper::StatusCode;
use hyper::header::{HeaderMap, HeaderName, ORIGIN};
use serde::Serialize;

use super::answer::{Answer, JSON, answer, complaint, not_now};
use super::house::House;
use crate::client::{CrashError, Crashed};
use crate::types::{NodeId, Term};

/// Whoever wants it says so.
const WANTED: HeaderName = HeaderName::from_static("annal-crash");

/// What came of it, as `annal crash-leader --json` has it.
#[derive(Serialize)]
struct CrashRow {
    crashed: NodeId,
    term: Term,
    new_leader: NodeId,
    new_term: Term,
    failover_ms: u64,
}

/// Crashes the leader, if that may be done.
pub(super) async fn crash(house: &House, headers: &HeaderMap) -> Answer {
    let own = format!("http://{}", house.address);
    let is_own = |origin: &[u8]| {
        let port = house.address.port();
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
        Ok(crashed) => answer(StatusCode::OK, JSON, row(&crashed)),
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

fn row(crashed: &Crashed) -> Vec<u8> {
    let row = CrashRow {
        crashed: crashed.node,
        term: crashed.term,
        new_leader: crashed.new_leader,
        new_term: crashed.new_term,
        failover_ms: u64::try_from(crashed.failover.as_millis()).unwrap_or(u64::MAX),
    };
    serde_json::to_vec(&row).expect("numbers and words are JSON")
}
