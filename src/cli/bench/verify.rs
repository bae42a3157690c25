//! Reads back what was acknowledged: each record once, in its order, at its place.

use std::collections::BTreeMap;

use super::load::{Measured, Stream};
use super::record::{self, Label};
use crate::cli::failure::Failure;
use crate::client::{Client, Consistency, ReadFrom, ReadOptions};
use crate::outcome::Outcome;
use crate::types::Offset;

/// What is known of a stream while the log is read.
struct Expected<'a> {
    stream: &'a Stream,
    /// How many of its records came so far.
    found: u64,
}

/// Reads the log from the first acknowledged record to the last.
///
/// # Errors
/// What is missing, doubled, or in another place, or why it cannot be read.
pub(super) async fn verify(client: &Client, measured: &Measured) -> Result<(), Failure> {
    let batch = measured.load.batch as u64;
    let offsets = || measured.streams.iter().flat_map(|stream| &stream.offsets);
    let (Some(first), Some(last)) = (offsets().min(), offsets().max()) else { return Ok(()) };
    let mut expected: BTreeMap<u64, Expected<'_>> = measured
        .streams
        .iter()
        .map(|stream| (stream.number, Expected { stream, found: 0 }))
        .collect();
    let mut reader = client.read(ReadOptions {
        from: ReadFrom::Offset(*first),
        limit: Some(last.get() - first.get() + batch),
        consistency: Consistency::Linearizable,
        follow: false,
    });
    while let Some(records) = reader.next().await? {
        for record in records {
            // Others may append to the same log.
            let Some(label) = record::label_of(measured.load.run, &record.bytes) else { continue };
            let Some(expected) = expected.get_mut(&label.stream) else { continue };
            expected.take(label, record.offset, batch)?;
        }
    }
    expected.values().try_for_each(|expected| expected.check_end(batch))
}

impl Expected<'_> {
    /// The next record of the stream. Behind those that were acknowledged, others may be in the
    /// log: still in their order.
    fn take(&mut self, label: Label, offset: Offset, batch: u64) -> Result<(), Failure> {
        let number = label.number;
        if number != self.found {
            let sentence =
                format!("record {number} is at offset {offset}, where {} should be", self.found);
            return Err(lost(&sentence));
        }
        self.found += 1;
        let request = usize::try_from(number / batch).unwrap_or(usize::MAX);
        let acknowledged = self.stream.offsets.get(request).map(|first| first.plus(number % batch));
        match acknowledged {
            Some(place) if place != offset => {
                let sentence = format!(
                    "record {number} was acknowledged at offset {place} and is at {offset}"
                );
                Err(lost(&sentence))
            }
            _ => Ok(()),
        }
    }

    fn check_end(&self, batch: u64) -> Result<(), Failure> {
        let acknowledged = self.stream.offsets.len() as u64 * batch;
        if self.found < acknowledged {
            let sentence =
                format!("{} of {acknowledged} acknowledged records are in the log", self.found);
            return Err(lost(&sentence));
        }
        Ok(())
    }
}

/// That what was acknowledged is not there.
pub(super) fn lost(sentence: &str) -> Failure {
    let sentence = format!("an acknowledgement was broken: {sentence}");
    Failure::new(
        Outcome::Damage,
        sentence,
        "this is a bug of annal: please report it, and keep the data",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(offsets: &[u64], found: &[(u64, u64)]) -> Result<(), Failure> {
        let offsets = offsets.iter().copied().map(Offset::new).collect();
        let stream = Stream { number: 0, offsets };
        let mut expected = Expected { stream: &stream, found: 0 };
        for (number, offset) in found {
            let label = Label { stream: 0, number: *number };
            expected.take(label, Offset::new(*offset), 2)?;
        }
        expected.check_end(2)
    }

    #[test]
    fn what_is_lost_doubled_or_moved_is_found() {
        let whole = [(0, 10), (1, 11), (2, 20), (3, 21)];
        taken(&[10, 20], &whole).unwrap();
        taken(&[10], &whole).unwrap();
        taken(&[10, 20], &whole[..3]).unwrap_err();
        taken(&[10, 20], &[(0, 10), (2, 20), (3, 21)]).unwrap_err();
        taken(&[10, 20], &[(0, 10), (1, 11), (1, 12), (2, 20), (3, 21)]).unwrap_err();
        taken(&[10, 20], &[(0, 10), (1, 11), (2, 21), (3, 22)]).unwrap_err();
        taken(&[10, 20], &[(2, 20), (3, 21), (0, 10), (1, 11)]).unwrap_err();
    }
}
