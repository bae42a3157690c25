//! Reads, as a node of the simulation serves them: the driver's part with the store's own reader.

use bytes::Bytes;

use super::machine::Process;
use super::queue::Caller;
use super::time::Time;
use crate::entry::EntryError;
use crate::limits;
use crate::store::ReadError;
use crate::types::{Index, LogNumber, Offset};
use crate::wire::Frame;
use crate::wire::api::{Read, ReadFrom, ReadRefusal, Records, Run};

/// A read on its way.
#[derive(Clone, Debug)]
pub(super) struct Walk {
    /// Who asked.
    pub(super) caller: Caller,
    pub(super) read: Read,
    pub(super) since: Time,
    /// It must see everything up to here.
    pub(super) must_see: Index,
    /// What was committed when that was reached: the end of the read.
    pub(super) end: Option<(Index, Offset)>,
}

/// A read that could not be served.
#[derive(Debug, thiserror::Error)]
pub(super) enum WalkError {
    #[error(transparent)]
    Store(#[from] ReadError),
    #[error(transparent)]
    Entry(#[from] EntryError),
    #[error("the record at offset {0} is committed and not there")]
    Missing(Offset),
}

impl Walk {
    /// Whether the read can be served now. Fixes its end once that is known.
    pub(super) fn is_ready(&mut self, process: &Process) -> bool {
        let replica = &process.replica;
        let (commit_index, next_offset) = replica.end_of_reads();
        if self.end.is_none() && commit_index >= self.must_see {
            self.end = Some((commit_index, next_offset));
        }
        self.end.is_some_and(|(index, _)| replica.shown() >= index)
    }

    /// Whether it has waited for too long.
    pub(super) fn is_over(&self, now: Time) -> bool {
        now.since(self.since) > Time::of(limits::READABLE_TIMEOUT)
    }

    /// The records, all in one frame.
    pub(super) fn serve(&self, process: &Process) -> Result<Frame, WalkError> {
        let (last, end) = self.end.expect("only a read that is ready is served");
        let mut offset = match self.read.from {
            ReadFrom::Offset(offset) => offset,
            ReadFrom::Last(count) => Offset::new(end.get().saturating_sub(count)),
        };
        let mut left = self.read.limit.unwrap_or(u64::MAX);
        let mut header = Records {
            first_offset: offset,
            runs: vec![],
            lengths: vec![],
            end: true,
            refusal: None,
        };
        let mut records: Vec<Bytes> = vec![];
        while offset < end && left > 0 {
            let place = process.reader.locate(LogNumber::MAIN, offset)?;
            let index = place.ok_or(WalkError::Missing(offset))?;
            let before = offset;
            for entry in process.reader.entries(index, last, limits::READ_STEP_BYTES)? {
                for request in entry.requests()? {
                    let skip = offset.since(request.first_offset);
                    let is_here = request.first_offset <= offset && skip < request.count();
                    if !is_here || left == 0 {
                        continue;
                    }
                    let wanted = left.min(request.count() - skip);
                    let skip = usize::try_from(skip).expect("a count in memory");
                    let taken = usize::try_from(wanted).expect("a count in memory");
                    let chosen: Vec<Bytes> =
                        request.records.iter().skip(skip).take(taken).cloned().collect();
                    header.lengths.extend(chosen.iter().map(|record| {
                        u32::try_from(record.len()).expect("bounded by the limits of a record")
                    }));
                    let (term, index, time) = (entry.id().term, entry.id().index, entry.time());
                    let count = u32::try_from(taken).expect("bounded by the limits");
                    header.runs.push(Run { count, term, index, time });
                    records.extend(chosen);
                    offset = offset.plus(wanted);
                    left -= wanted;
                }
            }
            if offset == before {
                return Err(WalkError::Missing(offset));
            }
        }
        Ok(header.to_frame(&records))
    }

    /// The answer to a read that is not served.
    pub(super) fn refused(refusal: ReadRefusal) -> Frame {
        Records::refused(refusal).to_frame(&[])
    }
}
