//! Reads and tails: a range of the log that can no longer change, sent as fast as it is taken.
//!
//! A linearizable read asks the driver once, for the index up to which it must see (thesis 6.4).
//! From there on it is a walk over entries on this node's disk, up to the end that was fixed; it
//! holds up nothing else. A tail walks on whenever more is committed.

use std::collections::VecDeque;

use bytes::BytesMut;
use thiserror::Error;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::caller::Caller;
use super::driver::Command;
use super::service::{self, Service};
use crate::entry::{EntryError, SealedEntry};
use crate::limits;
use crate::net::{Held, Stream};
use crate::replica::{Account, ReadAnswer};
use crate::store::{self, ReadError, Reader};
use crate::types::{Index, LogNumber, Offset};
use crate::wire::Frame;
use crate::wire::api::{Read, ReadFrom, ReadRefusal, Records, Run};

/// Serves one read on its stream.
pub(super) async fn serve(service: &Service, caller: &Caller, mut stream: Stream, read: Read) {
    // Nothing follows the question. What came all the same would fill the windows that the other
    // streams of the connection need.
    stream.receiver.stop();
    let walk = match begin(service, &read).await {
        Ok(walk) => walk,
        Err(refusal) => {
            // A client that is gone misses nothing.
            let refusal = Records::refused(refusal).to_frame(&[]);
            let _ = caller.send(&mut stream.sender, &refusal, || {}).await;
            return;
        }
    };
    let follow = read.follow;
    if let Err(error) = run(service, caller, &mut stream, (walk, follow)).await {
        if let WalkError::Store(ReadError::Store(error)) = &error
            && error.is_damage()
        {
            store::end_at_damage(error);
        }
        tracing::error!(node = %service.node, %error, "cannot read the log");
        let frame = Records::refused(ReadRefusal::Failed).to_frame(&[]);
        let _ = caller.send(&mut stream.sender, &frame, || {}).await;
    }
}

/// Why a read could not go on.
#[derive(Debug, Error)]
enum WalkError {
    /// The store is in trouble.
    #[error(transparent)]
    Store(#[from] ReadError),
    /// An entry is not of its form.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// A committed record is not on this node's disk.
    #[error("the record at offset {offset} is committed and not on this node's disk")]
    Missing { offset: Offset },
}

/// Where a read is: it sends the records from `offset` on, of the entries from `index` on.
struct Walk {
    log: LogNumber,
    offset: Offset,
    /// The entry to go on with; `None` until it has been looked up.
    index: Option<Index>,
    /// The records before this offset, in entries up to this index, are settled.
    end: Account,
    /// How many records it may still send.
    left: u64,
    /// Entries that were read and not sent yet, the next one first.
    loaded: Option<Loaded>,
}

/// Entries in memory, and the bytes that they take of their client's share.
struct Loaded {
    entries: VecDeque<SealedEntry>,
    _held: Held,
}

/// Fixes the end, and where to begin.
async fn begin(service: &Service, read: &Read) -> Result<Walk, ReadRefusal> {
    if read.log != LogNumber::MAIN {
        return Err(ReadRefusal::UnknownLog);
    }
    let must_see = if read.linearizable { read_index(service).await? } else { Index::ZERO };
    let mut published = service.published.clone();
    let end = service::until_readable(&mut published, must_see).await;
    // A slow disk, or a commit that does not come: the client asks again.
    let end = end.ok_or(ReadRefusal::Busy)?;
    let offset = match read.from {
        ReadFrom::Offset(offset) => offset,
        ReadFrom::Last(count) => Offset::new(end.next_offset.get().saturating_sub(count)),
    };
    let left = read.limit.unwrap_or(u64::MAX);
    Ok(Walk { log: read.log, offset, index: None, end, left, loaded: None })
}

async fn read_index(service: &Service) -> Result<Index, ReadRefusal> {
    let leader = || service.published.borrow().leader;
    let (reply, answer) = oneshot::channel();
    if service.commands.send(Command::Read(reply)).await.is_err() {
        return Err(ReadRefusal::NotLeader { leader: None });
    }
    match timeout(limits::READABLE_TIMEOUT, answer).await {
        Ok(Ok(ReadAnswer::At(index))) => Ok(index),
        Ok(Ok(ReadAnswer::Busy)) => Err(ReadRefusal::Busy),
        Ok(Ok(ReadAnswer::NotLeader) | Err(_)) | Err(_) => {
            Err(ReadRefusal::NotLeader { leader: leader() })
        }
    }
}

async fn run(
    service: &Service,
    caller: &Caller,
    stream: &mut Stream,
    (mut walk, follow): (Walk, bool),
) -> Result<(), WalkError> {
    let mut published = service.published.clone();
    loop {
        while let Some(batch) = walk.next_batch(&service.reader, caller).await? {
            let (frame, _held) = batch.into_frame();
            // An entry may hold half a million records: others go first.
            tokio::task::yield_now().await;
            // Whoever does not read keeps no more in memory than that frame.
            let unload = || walk.loaded = None;
            if caller.send(&mut stream.sender, &frame, unload).await.is_err() {
                return Ok(()); // The client wants no more, or takes nothing.
            }
        }
        if !follow || walk.left == 0 {
            let end = Records { end: true, ..empty(walk.offset) }.to_frame(&[]);
            let _ = caller.send(&mut stream.sender, &end, || {}).await;
            stream.sender.finish();
            return Ok(());
        }
        let settled = walk.end.commit_index;
        let more = tokio::select! {
            changed = published.wait_for(|now| now.readable > settled) => changed.map(|now| now.readable),
            () = stream.sender.unwanted() => return Ok(()),
        };
        let Ok(readable) = more else { return Ok(()) };
        // What can be read may lag behind what is committed: the end is settled by both.
        if let Some(end) = service::until_readable(&mut published, readable).await {
            walk.end = end;
        }
    }
}

impl Walk {
    /// The next frame's worth of records; `None` at the end.
    ///
    /// NB: whoever holds bytes of a frame never waits for entries: else two might wait for each other.
    async fn next_batch(
        &mut self,
        reader: &Reader,
        caller: &Caller,
    ) -> Result<Option<Batch>, WalkError> {
        while self.offset < self.end.next_offset && self.left > 0 {
            if self.loaded.is_none() {
                self.load(reader, caller).await?;
            }
            let held = caller.sent.take(limits::READ_FRAME_COST_MAX).await;
            let batch = self.fill(Batch::new(self.offset, held))?;
            if !batch.header.lengths.is_empty() {
                return Ok(Some(batch));
            }
        }
        Ok(None)
    }

    /// Reads entries from the disk, as many as there is room for: one at least.
    async fn load(&mut self, reader: &Reader, caller: &Caller) -> Result<(), WalkError> {
        let mut held = caller.loaded.take(limits::READ_LOAD_BYTES).await;
        let entries = self.next_entries(reader).await?;
        if entries.is_empty() {
            return Err(WalkError::Missing { offset: self.offset });
        }
        held.shrink_to(entries.iter().map(|entry| entry.bytes().len()).sum());
        self.loaded = Some(Loaded { entries: entries.into(), _held: held });
        Ok(())
    }

    async fn next_entries(&mut self, reader: &Reader) -> Result<Vec<SealedEntry>, ReadError> {
        let (reader, log, offset) = (reader.clone(), self.log, self.offset);
        let (index, last) = (self.index, self.end.commit_index);
        let read = move || {
            let Some(first) = index.map_or_else(|| reader.locate(log, offset), |i| Ok(Some(i)))?
            else {
                return Ok(vec![]);
            };
            if first > last {
                return Ok(vec![]);
            }
            reader.entries(first, last, limits::READ_FRAME_BYTES_MAX)
        };
        tokio::task::spawn_blocking(read).await.expect("a panic ends the process")
    }

    /// Fills a frame from the entries that are loaded, and lets go of those that are done.
    fn fill(&mut self, mut batch: Batch) -> Result<Batch, WalkError> {
        let Some(mut loaded) = self.loaded.take() else { return Ok(batch) };
        while let Some(entry) = loaded.entries.front() {
            let is_done = self.take(entry, &mut batch)?;
            if !is_done {
                self.loaded = Some(loaded);
                break;
            }
            self.index = Some(entry.id().index.next());
            loaded.entries.pop_front();
        }
        batch.settle();
        Ok(batch)
    }

    /// Takes from an entry the records that belong to the walk, as far as they fit. Says whether
    /// that is all of them.
    fn take(&mut self, entry: &SealedEntry, batch: &mut Batch) -> Result<bool, WalkError> {
        let (mut count, mut is_done, mut next) = (0_u32, true, self.offset);
        entry.visit_records(self.log, self.offset, |offset, record| {
            if offset != next || self.left == 0 || !batch.has_room(record) {
                is_done = false;
                return false;
            }
            batch.push(record);
            next = offset.plus(1);
            self.left -= 1;
            count += 1;
            true
        })?;
        if count > 0 {
            self.offset = next;
            let (term, index, time) = (entry.id().term, entry.id().index, entry.time());
            // The index of an entry of which more is to come stays.
            self.index = Some(index);
            batch.header.runs.push(Run { count, term, index, time });
        } else if !is_done && batch.header.lengths.is_empty() && self.left > 0 {
            // There is room for any record in an empty frame: what comes next is another one.
            return Err(WalkError::Missing { offset: self.offset });
        }
        Ok(is_done)
    }
}

/// Records side by side.
struct Batch {
    header: Records,
    records: BytesMut,
    held: Held,
}

impl Batch {
    fn new(first_offset: Offset, held: Held) -> Self {
        Self { header: empty(first_offset), records: BytesMut::new(), held }
    }

    /// Whether a record fits in: a frame has one at least.
    fn has_room(&self, record: &[u8]) -> bool {
        let count = self.header.lengths.len();
        let bytes = self.records.len() + record.len();
        count == 0
            || (count < limits::READ_FRAME_RECORDS_MAX && bytes <= limits::READ_FRAME_BYTES_MAX)
    }

    fn push(&mut self, record: &[u8]) {
        self.header.lengths.push(u32::try_from(record.len()).expect("bounded"));
        self.records.extend_from_slice(record);
    }

    /// Gives back what it does not need.
    fn settle(&mut self) {
        let overhead = self.header.lengths.len() * limits::SENT_RECORD_OVERHEAD_BYTES;
        self.held.shrink_to(self.records.len() + overhead);
    }

    /// The frame, and what it takes of its client's share as long as it is being sent.
    fn into_frame(self) -> (Frame, Held) {
        (self.header.to_frame_of(self.records.freeze()), self.held)
    }
}

/// A header without records.
fn empty(first_offset: Offset) -> Records {
    Records { first_offset, runs: vec![], lengths: vec![], end: false, refusal: None }
}
