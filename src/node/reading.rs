//! Reads and tails: a range of the log that can no longer change, sent as fast as it is taken.
//!
//! A linearizable read asks the driver once, for the index up to which it must see (thesis 6.4).
//! From there on it is a walk over entries on this node's disk, up to the end that was fixed; it
//! holds up nothing else. A tail walks on whenever more is committed.

use bytes::Bytes;
use thiserror::Error;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::driver::Command;
use super::published::Published;
use super::service::{self, Service};
use crate::entry::{EntryError, SealedEntry};
use crate::limits;
use crate::net::Stream;
use crate::replica::ReadAnswer;
use crate::store::{self, ReadError, Reader};
use crate::types::{Index, LogNumber, Offset};
use crate::wire::api::{Read, ReadFrom, ReadRefusal, Records, Run};

/// Serves one read on its stream.
pub(super) async fn serve(service: &Service, mut stream: Stream, read: Read) {
    let walk = match begin(service, &read).await {
        Ok(walk) => walk,
        Err(refusal) => {
            // A client that is gone misses nothing.
            let _ = stream.sender.send(&Records::refused(refusal).to_frame(&[])).await;
            return;
        }
    };
    let follow = read.follow;
    if let Err(error) = run(service, &mut stream, walk, follow).await {
        if let WalkError::Store(ReadError::Store(error)) = &error
            && error.is_damage()
        {
            store::end_at_damage(error);
        }
        tracing::error!(node = %service.node, %error, "cannot read the log");
        let frame = Records::refused(ReadRefusal::Failed).to_frame(&[]);
        let _ = stream.sender.send(&frame).await;
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
    end: Published,
    /// How many records it may still send.
    left: u64,
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
    Ok(Walk { log: read.log, offset, index: None, end, left: read.limit.unwrap_or(u64::MAX) })
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
    stream: &mut Stream,
    mut walk: Walk,
    follow: bool,
) -> Result<(), WalkError> {
    let mut published = service.published.clone();
    loop {
        while let Some(batch) = walk.next_batch(&service.reader).await? {
            let frame = batch.header.to_frame(&batch.records);
            if stream.sender.send(&frame).await.is_err() {
                return Ok(()); // The client wants no more.
            }
        }
        if !follow || walk.left == 0 {
            let header = Records { end: true, ..Batch::new(walk.offset).header };
            let _ = stream.sender.send(&header.to_frame(&[])).await;
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
    async fn next_batch(&mut self, reader: &Reader) -> Result<Option<Batch>, WalkError> {
        while self.offset < self.end.next_offset && self.left > 0 {
            let entries = self.next_entries(reader).await?;
            let mut batch = Batch::new(self.offset);
            for entry in &entries {
                self.take(entry, &mut batch)?;
                self.index = Some(entry.id().index.next());
            }
            if !batch.records.is_empty() {
                return Ok(Some(batch));
            }
            if entries.is_empty() {
                return Err(WalkError::Missing { offset: self.offset });
            }
        }
        Ok(None)
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

    /// Takes from an entry the records that belong to the walk.
    fn take(&mut self, entry: &SealedEntry, batch: &mut Batch) -> Result<(), WalkError> {
        let mut count = 0_u32;
        for request in entry.requests()?.iter().filter(|request| request.log == self.log) {
            let skip = self.offset.since(request.first_offset);
            let skip = usize::try_from(skip).unwrap_or(usize::MAX);
            let wanted = usize::try_from(self.left).unwrap_or(usize::MAX);
            for record in request.records.iter().skip(skip).take(wanted) {
                batch.header.lengths.push(u32::try_from(record.len()).expect("bounded"));
                batch.records.push(record.clone());
                self.offset = self.offset.plus(1);
                self.left -= 1;
                count += 1;
            }
        }
        if count > 0 {
            let (term, index, time) = (entry.id().term, entry.id().index, entry.time());
            batch.header.runs.push(Run { count, term, index, time });
        }
        Ok(())
    }
}

/// Records side by side.
struct Batch {
    header: Records,
    records: Vec<Bytes>,
}

impl Batch {
    fn new(first_offset: Offset) -> Self {
        let header =
            Records { first_offset, runs: vec![], lengths: vec![], end: false, refusal: None };
        Self { header, records: vec![] }
    }
}
