//! Reads and tails: a range of the log that can no longer change, sent as fast as it is taken.
//!
//! A linearizable read asks the driver once, for the index up to which it must see (thesis 6.4); of a
//! node that does not lead, the leader is asked. From there on it goes over entries on this node's disk, up to the end that was fixed; it
//! holds up nothing else. A tail goes on whenever more is committed.

use std::collections::VecDeque;

use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

use super::caller::Caller;
use super::inputs::{Command, Watched};
use super::onward;
use super::shared::Service;
use crate::entry::SealedEntry;
use crate::limits;
use crate::net::{FrameSender, Held, Stream};
use crate::replica::{
    Account, Cursor, CursorError, Horizon, Reach, ReadAnswer, ReadEnd, ReadNext, RecordBatch,
    end_of_read,
};
use crate::store::{self, ReadError};
use crate::types::{Index, LogNumber};
use crate::wire::api::{Read, ReadFrom, ReadRefusal, Records};
use crate::wire::standing::Inquiry;

/// Serves one read on its stream.
pub(super) async fn serve(service: &Service, caller: &Caller, mut stream: Stream, read: Read) {
    // Nothing follows the question. What came all the same would fill the windows that the other
    // streams of the connection need.
    stream.receiver.stop();
    if let Some(allowance) = &caller.allowance
        && let Some(refusal) = allowance.forbids_read(&service.commands, &read).await
    {
        return refuse(caller, &mut stream, refusal).await;
    }
    let reading = match begin(service, caller, &read).await {
        Ok(reading) => reading,
        Err(refusal) => return refuse(caller, &mut stream, refusal).await,
    };
    if let Some(inquiry) = read.inquiry {
        return answer(service, caller, stream, (read.log, inquiry)).await;
    }
    let (follow, watched) = (read.follow, reading.watched.clone());
    let refusal = match run(service, caller, &mut stream, (reading, follow)).await {
        Ok(()) => return,
        Err(Halt::Refused(refusal)) => refusal,
        Err(Halt::Failed(error)) => {
            let by_right = error.refusal(watched.borrow().as_ref());
            by_right.unwrap_or_else(|| failed(service, &error))
        }
    };
    refuse(caller, &mut stream, refusal).await;
}

/// What is here cannot be read.
fn failed(service: &Service, error: &CursorError) -> ReadRefusal {
    if let CursorError::Store(error) = error {
        end_if_damaged(error);
    }
    tracing::error!(node = %service.node, %error, "cannot read the log");
    ReadRefusal::Failed
}

/// A node whose disk does not hold what it should ends.
pub(super) fn end_if_damaged(error: &ReadError) {
    if let ReadError::Store(error) = error
        && error.is_damage()
    {
        store::end_at_damage(error);
    }
}

/// Why a read that was begun goes on no more.
enum Halt {
    /// What comes next is not to be had.
    Refused(ReadRefusal),
    /// It could not be read.
    Failed(CursorError),
}

impl From<ReadRefusal> for Halt {
    fn from(refusal: ReadRefusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<CursorError> for Halt {
    fn from(error: CursorError) -> Self {
        Self::Failed(error)
    }
}

async fn refuse(caller: &Caller, stream: &mut Stream, refusal: ReadRefusal) {
    // A client that is gone misses nothing.
    let frame = Records::refused(refusal).to_frame(&[]);
    let _ = caller.send(&mut stream.sender, &frame, || {}).await;
}

/// Answers what is asked instead of records, when all is committed that it must see.
async fn answer(
    service: &Service,
    caller: &Caller,
    mut stream: Stream,
    (log, inquiry): (LogNumber, Inquiry),
) {
    let (reply, standing) = oneshot::channel();
    if service.commands.send(Command::Ask(log, inquiry, reply)).await.is_err() {
        return; // The node is stopping.
    }
    let Ok(standing) = standing.await else { return };
    // A client that is gone misses nothing.
    let frame = Records::answered(standing).to_frame(&[]);
    let _ = caller.send(&mut stream.sender, &frame, || {}).await;
    stream.sender.finish();
}

/// A read that is being served.
struct OngoingRead {
    cursor: Cursor,
    /// How far its log reaches.
    watched: Watched,
    /// Entries that were read and not sent yet, the next one first.
    loaded: Option<Loaded>,
}

/// Entries in memory, and the bytes that they take of their client's share.
struct Loaded {
    entries: VecDeque<SealedEntry>,
    _held: Held,
}

/// Fixes the end, and where to begin.
async fn begin(
    service: &Service,
    caller: &Caller,
    read: &Read,
) -> Result<OngoingRead, ReadRefusal> {
    let (watched, end) = find_end(service, caller, read).await?;
    let reach = watched.borrow().clone().ok_or(ReadRefusal::UnknownLog)?;
    // A slow disk, or a commit that does not come: the client asks again.
    let end = end.ok_or(ReadRefusal::Busy)?;
    Ok(OngoingRead { cursor: Cursor::begin(read, &reach, end)?, watched, loaded: None })
}

/// How far its log reaches, and where it ends if that can be read here soon.
async fn find_end(
    service: &Service,
    caller: &Caller,
    read: &Read,
) -> Result<(Watched, Option<ReadEnd>), ReadRefusal> {
    let must_see =
        if read.linearizable { read_index(service, caller, read).await? } else { Index::ZERO };
    let mut published = service.published.clone();
    let watched = watch(service, read.log).await?;
    let end = until_readable(&mut published, must_see, &watched).await;
    Ok((watched, end))
}

/// The last entry that was committed when this was asked, whoever leads; it can be read here.
pub(super) async fn end_of_log(service: &Service, caller: &Caller) -> Result<Index, ReadRefusal> {
    let read = Read {
        log: LogNumber::MAIN,
        from: ReadFrom::Start,
        limit: Some(0),
        linearizable: true,
        follow: false,
        inquiry: None,
    };
    let (_, end) = find_end(service, caller, &read).await?;
    end.map(|end| end.commit_index).ok_or(ReadRefusal::Busy)
}

/// How far a log reaches, from now on.
async fn watch(service: &Service, log: LogNumber) -> Result<Watched, ReadRefusal> {
    let (reply, answer) = oneshot::channel();
    // If there is no answer, the node is stopping.
    let _ = service.commands.send(Command::Watch(log, reply)).await;
    answer.await.unwrap_or(Err(ReadRefusal::Busy))
}

/// Up to where it must see: this node knows if it leads, else its leader does.
async fn read_index(service: &Service, caller: &Caller, read: &Read) -> Result<Index, ReadRefusal> {
    let answer = own_read_index(service, read.used()).await;
    let leader = service.published.borrow().leader.filter(|leader| *leader != service.node);
    match answer.next(read, leader) {
        ReadNext::See(index) => Ok(index),
        ReadNext::Ask(leader) => {
            let told = onward::ask_index(service, caller, leader, read.log).await;
            told.ok_or(ReadRefusal::NotLeader { leader: Some(leader) })
        }
        ReadNext::Refuse(refusal) => Err(refusal),
    }
}

async fn own_read_index(service: &Service, log: LogNumber) -> ReadAnswer {
    let (reply, answer) = oneshot::channel();
    if service.commands.send(Command::Read(log, reply)).await.is_err() {
        return ReadAnswer::NotLeader;
    }
    // Whoever gets no answer is as well off elsewhere.
    let answer = timeout(limits::READABLE_TIMEOUT, answer).await.ok().and_then(Result::ok);
    answer.unwrap_or(ReadAnswer::NotLeader)
}

/// Waits, within a bound, for the end of a read that must see so much, of a log that reaches so far. There is
/// none if the log is gone.
async fn until_readable(
    published: &mut watch::Receiver<Account>,
    must_see: Index,
    watched: &Watched,
) -> Option<ReadEnd> {
    let mut horizon = Horizon::of(must_see);
    let mut end = None;
    let wait = published.wait_for(|account| {
        let Some(reach) = &*watched.borrow() else { return true };
        end = horizon.look(account, reach);
        end.is_some()
    });
    timeout(limits::READABLE_TIMEOUT, wait).await.ok()?.ok()?;
    end
}

async fn run(
    service: &Service,
    caller: &Caller,
    stream: &mut Stream,
    (mut reading, follow): (OngoingRead, bool),
) -> Result<(), Halt> {
    let mut published = service.published.clone();
    loop {
        while let Some((batch, _held)) = reading.next_batch(service, caller).await? {
            let frame = batch.into_frame();
            // Whoever does not read keeps no more in memory than that frame.
            let unload = || reading.loaded = None;
            if caller.send(&mut stream.sender, &frame, unload).await.is_err() {
                return Ok(()); // The client wants no more, or takes nothing.
            }
        }
        if !follow || reading.cursor.is_sated() {
            let end = end_of_read(reading.cursor.offset());
            let _ = caller.send(&mut stream.sender, &end, || {}).await;
            stream.sender.finish();
            return Ok(());
        }
        if !reading.goes_on(&stream.sender).await {
            return Ok(()); // The client is gone, or the node is stopping.
        }
        reading.check()?;
        // What can be read may lag behind what is committed: the end is settled by both.
        let end = until_readable(&mut published, Index::ZERO, &reading.watched).await;
        if let Some(end) = end {
            reading.cursor.go_on_to(end);
        }
    }
}

impl OngoingRead {
    /// Whether what comes next is still there.
    fn check(&self) -> Result<(), ReadRefusal> {
        let watched = self.watched.borrow();
        let reach = watched.as_ref().ok_or(ReadRefusal::UnknownLog)?;
        self.cursor.check(reach.start)
    }

    /// Waits until its log reaches further, or is gone. Says whether the read goes on then.
    async fn goes_on(&mut self, sender: &FrameSender) -> bool {
        let end = self.cursor.end();
        let is_news = |reach: &Option<Reach>| reach.as_ref().is_none_or(|reach| reach.end != end);
        tokio::select! {
            news = self.watched.wait_for(is_news) => news.is_ok(),
            () = sender.unwanted() => false,
        }
    }

    /// The next frame's worth of records, and what they take of their client's share as long as they
    /// are being sent; `None` at the end.
    ///
    /// NB: whoever holds bytes of a frame never waits for entries: else two might wait for each other.
    async fn next_batch(
        &mut self,
        service: &Service,
        caller: &Caller,
    ) -> Result<Option<(RecordBatch, Held)>, Halt> {
        while !self.cursor.is_at_end() {
            self.check()?;
            if self.loaded.is_none() {
                self.load(service, caller).await?;
            }
            let mut held = caller.sent.take(limits::READ_FRAME_COST_MAX).await;
            let batch = service.framing.in_turn(|| self.fill()).await?;
            let (count, bytes) = batch.size();
            held.shrink_to(bytes + count * limits::SENT_RECORD_OVERHEAD_BYTES);
            if !batch.is_empty() {
                return Ok(Some((batch, held)));
            }
        }
        Ok(None)
    }

    /// Reads entries from the disk, as many as there is room for: one at least.
    async fn load(&mut self, service: &Service, caller: &Caller) -> Result<(), CursorError> {
        let mut held = caller.loaded.take(limits::READ_LOAD_BYTES).await;
        let (reader, cursor) = (service.reader.clone(), self.cursor.clone());
        let read = move || cursor.load(&reader, limits::READ_FRAME_BYTES_MAX);
        let (cursor, entries) = service.framing.load(read).await?;
        self.cursor = cursor;
        held.shrink_to(entries.iter().map(|entry| entry.bytes().len()).sum());
        self.loaded = Some(Loaded { entries, _held: held });
        Ok(())
    }

    /// Fills a frame from the entries that are loaded, and lets go of those that are done.
    fn fill(&mut self) -> Result<RecordBatch, CursorError> {
        let mut batch = RecordBatch::new(self.cursor.offset());
        if let Some(loaded) = &mut self.loaded {
            self.cursor.fill(&mut loaded.entries, &mut batch)?;
        }
        self.loaded.take_if(|loaded| loaded.entries.is_empty());
        Ok(batch)
    }
}
