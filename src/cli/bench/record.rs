//! What the records of a bench look like: each says who made it, and as which.

use bytes::{BufMut, Bytes, BytesMut};

use crate::cli::failure::Failure;
use crate::cli::local::random;

/// The least that a record has that is to be told from all others.
pub(super) const HEADER_BYTES: usize = 24;

/// One bench, among all whose records are in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RunId(u64);

impl RunId {
    pub(super) fn new() -> Result<Self, Failure> {
        Ok(Self(u64::from_le_bytes(random()?)))
    }
}

/// Whose record it is, and the how manieth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Label {
    /// A session of requests, counted over all connections.
    pub(super) stream: u64,
    /// The record among those of its stream, from 0.
    pub(super) number: u64,
}

/// Makes a record; shorter ones than [`HEADER_BYTES`] lack the end of their label.
pub(super) fn make(run: RunId, label: Label, size: usize) -> Bytes {
    let mut record = BytesMut::with_capacity(size.max(HEADER_BYTES));
    record.put_u64_le(run.0);
    record.put_u64_le(label.stream);
    record.put_u64_le(label.number);
    record.resize(size, b'.');
    record.freeze()
}

/// The label of a record of this run.
pub(super) fn label_of(run: RunId, record: &[u8]) -> Option<Label> {
    let number = |at: usize| {
        let bytes = record.get(at..at + 8)?;
        Some(u64::from_le_bytes(bytes.try_into().ok()?))
    };
    let (of, stream, number) = (number(0)?, number(8)?, number(16)?);
    (of == run.0).then_some(Label { stream, number })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_has_its_size_and_its_label_and_is_of_one_run() {
        let label = Label { stream: 3, number: 1 << 40 };
        let record = make(RunId(7), label, 100);
        assert_eq!(record.len(), 100);
        assert_eq!(label_of(RunId(7), &record), Some(label));
        assert_eq!(label_of(RunId(8), &record), None);
        assert_eq!(make(RunId(7), label, 5).len(), 5);
        assert_eq!(label_of(RunId(7), &make(RunId(7), label, 5)), None);
    }
}
