//! Readers that wait for news.

use tokio::time::{Instant, timeout_at};

use super::super::house::House;
use super::batch::Batch;
use super::log::Log;
use super::refusal::{Refusal, beyond_the_end, busy};
use super::tails::{Rooms, Tail};
use crate::types::Offset;

/// What comes behind a place, at once if there is something; nothing, if the log is closed there; `None`:
/// nothing for as long as readers wait.
pub(super) async fn news(house: &House, log: &Log, from: Offset) -> Result<Option<Batch>, Refusal> {
    let until = Instant::now() + house.config.long_poll;
    let read = turn(&house.rooms, log, from).await?;
    if !read.records.is_empty() || read.is_closed {
        return Ok(Some(read));
    }
    let mut tail = house.rooms.tails.follow(log, read.next)?;
    tokio::select! {
        came = timeout_at(until, next(&house.rooms, log, &mut tail, from)) => came.ok().transpose(),
        () = house.stop.cancelled() => Err(busy("the node is stopping")),
    }
}

/// What comes behind a place, however long that takes.
pub(super) async fn next(
    rooms: &Rooms,
    log: &Log,
    tail: &mut Tail,
    from: Offset,
) -> Result<Batch, Refusal> {
    if !tail.reaches_beyond(from).await? {
        let next = from;
        return Ok(Batch { next, is_at_tail: true, is_closed: true, ..Batch::default() });
    }
    if let Some(batch) = tail.recent(from) {
        return Ok(batch);
    }
    // It is too long ago to be in memory.
    turn(rooms, log, from).await
}

/// Reads the log, when it is this reader's turn.
pub(super) async fn turn(rooms: &Rooms, log: &Log, from: Offset) -> Result<Batch, Refusal> {
    let _turn = rooms.reads.acquire().await;
    let batch = Batch::read(log, from).await.map_err(|error| Refusal::of_read(&error))?;
    if batch.records.is_empty() {
        // A read that finds nothing does not say where the log ends: all who wait there rely on it.
        let end = Batch::tail(log).await.map_err(|error| Refusal::of_read(&error))?;
        if from > end {
            return Err(beyond_the_end(log.place(end)));
        }
    }
    Ok(batch)
}
