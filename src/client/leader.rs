//! Looking for the leader by itself, for what asks it one thing.

use std::sync::Arc;

use tokio::time::{Instant, sleep_until};

use super::questions::Questions;
use super::random::draw_jitter;
use super::route::Leading;
use super::search::{Search, Verdict, Wanted, Way};
use super::shared::Shared;
use super::unavailable::Unavailable;
use crate::types::Index;

/// Finds the leader.
pub(super) async fn find(shared: &Arc<Shared>, until: Instant) -> Result<Leading, Unavailable> {
    let way = find_way(shared, Wanted::Leader { word: false }, until).await?;
    way.leading.ok_or_else(|| shared.unavailable())
}

/// Finds the leader, and with its word its commit index.
pub(super) async fn find_commit_index(
    shared: &Arc<Shared>,
    until: Instant,
) -> Result<Index, Unavailable> {
    let way = find_way(shared, Wanted::Leader { word: true }, until).await?;
    way.commit_index.ok_or_else(|| shared.unavailable())
}

async fn find_way(
    shared: &Arc<Shared>,
    wanted: Wanted,
    until: Instant,
) -> Result<Way, Unavailable> {
    let mut jitter = draw_jitter();
    let search = Search::new(shared.now(), wanted, None);
    let mut search = search.in_turn(jitter.turn());
    let mut questions = Questions::new(shared.clone());
    loop {
        let now = shared.now();
        let asked = {
            let mut beliefs = shared.beliefs();
            match search.verdict(now, &beliefs) {
                Some(Verdict::Found(way)) => return Ok(way),
                Some(_) => return Err(shared.unavailable()),
                None => search.ask(now, &mut beliefs),
            }
        };
        for question in asked {
            questions.ask(question);
        }
        let wake_at = search.wake_at().map_or(until, |at| shared.instant(at).min(until));
        tokio::select! {
            word = questions.next() => {
                let beliefs = &mut shared.beliefs();
                Search::hear(Some(&mut search), shared.now(), &word, beliefs, &mut jitter);
            }
            () = sleep_until(wake_at) => {}
        }
        if Instant::now() >= until {
            return Err(shared.unavailable());
        }
    }
}
