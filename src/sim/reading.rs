//! Reads, as a node of the simulation serves them: by the cursor that every node uses.

use super::queue::Caller;
use super::time::Time;
use crate::limits;
use crate::replica::{Account, Cursor, CursorError, Horizon, ReadEnd, RecordBatch, Replica};
use crate::store::Reader;
use crate::types::Index;
use crate::wire::Frame;
use crate::wire::api::{Read, ReadRefusal, Records};

/// A read on its way.
#[derive(Clone, Debug)]
pub(super) struct OngoingRead {
    /// Who asked.
    pub(super) caller: Caller,
    pub(super) read: Read,
    since: Time,
    horizon: Horizon,
    end: Option<ReadEnd>,
}

impl OngoingRead {
    /// One that begins now, and must see nothing in particular.
    pub(super) fn new(caller: Caller, read: Read, now: Time) -> Self {
        Self { caller, read, since: now, horizon: Horizon::of(Index::ZERO), end: None }
    }

    /// It must see everything up to here.
    pub(super) fn must_see(self, index: Index) -> Self {
        Self { horizon: Horizon::of(index), ..self }
    }

    /// Whether the read can be served now. Fixes its end once that is known.
    ///
    /// # Errors
    /// The refusal: there is no such log.
    pub(super) fn is_ready(&mut self, replica: &Replica) -> Result<bool, ReadRefusal> {
        let reach = replica.reach(self.read.log)?;
        self.end = self.horizon.look(&Account::of(replica), &reach);
        Ok(self.end.is_some())
    }

    /// Whether it has waited for too long.
    pub(super) fn is_over(&self, now: Time) -> bool {
        now.since(self.since) > Time::of(limits::READABLE_TIMEOUT)
    }

    /// The records, all in one frame, however large: no client here asks for many.
    pub(super) fn serve(&self, replica: &Replica, reader: &Reader) -> Result<Frame, CursorError> {
        if let Some(inquiry) = self.read.inquiry.clone() {
            return Ok(Records::answered(replica.standing(self.read.log, inquiry)).to_frame(&[]));
        }
        let end = self.end.expect("only a read that is ready is served");
        let begun = replica.reach(self.read.log);
        let mut cursor = match begun.and_then(|reach| Cursor::begin(&self.read, &reach, end)) {
            Ok(cursor) => cursor,
            Err(refusal) => return Ok(Self::refused(refusal)),
        };
        let mut batch = RecordBatch::with_room(cursor.offset(), usize::MAX);
        while !cursor.is_at_end() {
            let (found, mut loaded) = cursor.load(reader, limits::READ_STEP_BYTES)?;
            cursor = found;
            cursor.fill(&mut loaded, &mut batch)?;
        }
        Ok(batch.into_last_frame())
    }

    /// The answer to a read that is not served.
    pub(super) fn refused(refusal: ReadRefusal) -> Frame {
        Records::refused(refusal).to_frame(&[])
    }
}
