//! Finds a place in the log by its time.
//!
//! The times of entries never go back, so a search by halves finds the first record of a time, with
//! reads of one record each: thirty for a thousand million records.

use std::sync::Arc;

use super::read::{ReadError, Reader, Record};
use super::read_options::{Consistency, ReadOptions};
use super::shared::Shared;
use crate::types::{LogNumber, Offset, Timestamp};
use crate::wire::api::ReadFrom;

/// The offset of the first record of this time or later; the end of the log if there is none yet.
pub(super) async fn first_since(
    (shared, log): (&Arc<Shared>, LogNumber),
    consistency: Consistency,
    time: Timestamp,
) -> Result<Offset, ReadError> {
    let one = async |from| one((shared, log), consistency, from).await;
    let begin = start((shared, log), consistency).await?;
    let Some(last) = one(ReadFrom::Last(1)).await? else { return Ok(begin) };
    let end = last.offset.plus(1);
    if last.time < time {
        return Ok(end);
    }
    let found = first((begin.get(), last.offset.get()), async |offset| {
        let record = one(ReadFrom::Offset(Offset::new(offset))).await?;
        // What a node that lags does not have yet comes later than what it has.
        Ok(record.is_none_or(|record| record.time >= time))
    });
    Ok(Offset::new(found.await?))
}

/// The first offset that there is, also of a log without records.
pub(super) async fn start(
    (shared, log): (&Arc<Shared>, LogNumber),
    consistency: Consistency,
) -> Result<Offset, ReadError> {
    let options = ReadOptions { limit: Some(1), consistency, ..ReadOptions::default() };
    let mut reader = Reader::new(shared.clone(), log, options);
    let first = reader.next().await?.and_then(|records| Some(records.first()?.offset));
    Ok(first.or(reader.position()).unwrap_or_default())
}

async fn one(
    (shared, log): (&Arc<Shared>, LogNumber),
    consistency: Consistency,
    from: ReadFrom,
) -> Result<Option<Record>, ReadError> {
    let options = ReadOptions { from, limit: Some(1), consistency, follow: false };
    let records = Reader::new(shared.clone(), log, options).next().await?;
    Ok(records.and_then(|records| records.into_iter().next()))
}

/// The first number from `low` up to `last` of which something holds, as it does of `last` and, once it holds, of
/// all that follow.
async fn first<E>(
    (low, last): (u64, u64),
    holds: impl AsyncFn(u64) -> Result<bool, E>,
) -> Result<u64, E> {
    let (mut low, mut high) = (low, last);
    while low < high {
        let middle = low + (high - low) / 2;
        if holds(middle).await? {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    Ok(low)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn the_first_is_found_in_few_steps() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for last in [0, 1, 2, 7, 1_000_000_000] {
            for expected in [0, 1, last / 3, last] {
                let steps = Cell::new(0);
                let found = runtime.block_on(first((0, last), async |number| {
                    steps.set(steps.get() + 1);
                    Ok::<_, ()>(number >= expected.min(last))
                }));
                assert_eq!(found, Ok(expected.min(last)));
                assert!(steps.get() <= 30, "{} steps", steps.get());
            }
        }
    }
}
