//! Records as they go out.

use bytes::{Bytes, BytesMut};
use serde::Serialize;

use super::log::Log;
use crate::base64::base64;
use crate::client::{ReadError, ReadFrom, ReadOptions, Record};
use crate::limits::{HTTP_ANSWER_BYTES, HTTP_LINE_BYTES};
use crate::types::{Offset, Timestamp};

/// Bytes that a record takes in memory: those of none take some too.
pub(super) fn cost(record: &Record) -> usize {
    record.bytes.len() + HTTP_LINE_BYTES
}

/// Records that follow on each other, and what is behind them.
#[derive(Clone, Debug, Default)]
pub(super) struct Batch {
    pub(super) records: Vec<Record>,
    /// The offset after the last of them.
    pub(super) next: Offset,
    /// Whether the log ended there.
    pub(super) is_at_tail: bool,
    /// Whether it ends there for ever.
    pub(super) is_closed: bool,
}

/// A record for people and programs that want to know where it stands.
#[derive(Serialize)]
struct Line<'a> {
    offset: Offset,
    time_ms: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    record_base64: Option<String>,
}

impl Batch {
    /// What there is from a place on, as far as it fits into an answer.
    pub(super) async fn read(log: &Log, from: Offset) -> Result<Self, ReadError> {
        let from = ReadFrom::Offset(from);
        let mut reader = log.client.read(ReadOptions { from, ..ReadOptions::default() });
        let mut batch = Self::default();
        let mut bytes = 0;
        while bytes < HTTP_ANSWER_BYTES && !batch.is_at_tail {
            match reader.next().await? {
                Some(records) => {
                    bytes += records.iter().map(cost).sum::<usize>();
                    batch.records.extend(records);
                }
                None => batch.is_at_tail = true,
            }
        }
        batch.next = reader.position().unwrap_or_default();
        // What was closed before the read began is as long as it ever was.
        batch.is_closed = batch.is_at_tail && log.is_closed;
        Ok(batch)
    }

    /// Where the log ends.
    pub(super) async fn tail(log: &Log) -> Result<Offset, ReadError> {
        let from = ReadFrom::Last(0);
        let mut reader = log.client.read(ReadOptions { from, ..ReadOptions::default() });
        while reader.next().await?.is_some() {}
        Ok(reader.position().unwrap_or_default())
    }

    /// Bytes that it takes at most, however it is shown.
    pub(super) fn size(&self) -> usize {
        let size = |record: &Record| record.bytes.len() * 2 + HTTP_LINE_BYTES;
        self.records.iter().map(size).sum()
    }

    /// The records, one after the other.
    pub(super) fn bytes(&self) -> Bytes {
        let mut all = BytesMut::new();
        for record in &self.records {
            all.extend_from_slice(&record.bytes);
        }
        all.freeze()
    }

    /// A line of JSON for each.
    pub(super) fn lines(&self) -> Bytes {
        let mut text = vec![];
        for Record { offset, time, bytes, .. } in &self.records {
            let record = std::str::from_utf8(bytes).ok();
            let record_base64 = record.is_none().then(|| base64(bytes));
            let line = Line { offset: *offset, time_ms: *time, record, record_base64 };
            serde_json::to_writer(&mut text, &line).expect("numbers and words are JSON");
            text.push(b'\n');
        }
        text.into()
    }
}
