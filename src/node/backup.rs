//! Backups: the committed log as it stands on this node's disk, for an admin.
//!
//! It ends where the log reached when it was asked for, as a read does, and this node's disk is the one that
//! is read, whoever leads. Segments that it has not come to yet are kept meanwhile. It makes way for everything
//! else: after each piece it rests for as long as the reading took, and on the connection it goes last.

use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::time::sleep;

use super::caller::Caller;
use super::reading;
use super::shared::Service;
use crate::limits::{BACKUP_FRAME_BYTES, BACKUP_REST_MAX, READ_LOAD_BYTES};
use crate::net::{CertificateRole, Held, Stream};
use crate::store::{Kept, ReadError};
use crate::types::Index;
use crate::wire::Frame;
use crate::wire::api::ReadRefusal;
use crate::wire::backup::{Backup, BackupPart, BackupRefusal, SegmentWanted};

/// What is noted of it.
const WHAT: &str = "take a backup";
/// On its connection everything else goes first.
const PRIORITY: i32 = -1;

/// Why a backup ends early.
enum Halt {
    /// Its client is told.
    Refused(BackupRefusal),
    /// Its client is gone, or takes nothing.
    Unheard,
}

impl From<BackupRefusal> for Halt {
    fn from(refusal: BackupRefusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Serves a backup on its stream.
pub(super) async fn serve(service: &Service, caller: &Caller, mut stream: Stream, wanted: Backup) {
    begin(&mut stream);
    let outcome = run(service, caller, &mut stream, wanted).await;
    end(caller, stream, outcome).await;
}

/// Sends another node a segment that it mends.
pub(super) async fn serve_segment(
    service: &Service,
    caller: &Caller,
    mut stream: Stream,
    wanted: SegmentWanted,
) {
    begin(&mut stream);
    let outcome = run_segment(service, caller, &mut stream, wanted).await;
    end(caller, stream, outcome).await;
}

fn begin(stream: &mut Stream) {
    stream.receiver.stop();
    stream.sender.set_priority(PRIORITY);
}

/// Ends the stream, or says why nothing more comes.
async fn end(caller: &Caller, mut stream: Stream, outcome: Result<(), Halt>) {
    let last = match outcome {
        Ok(()) => BackupPart::End,
        Err(Halt::Refused(refusal)) => BackupPart::Refused(refusal),
        Err(Halt::Unheard) => return,
    };
    // A client that is gone misses nothing.
    let _ = send(caller, &mut stream, &last.to_frame(&[])).await;
    stream.sender.finish();
}

async fn run_segment(
    service: &Service,
    caller: &Caller,
    stream: &mut Stream,
    SegmentWanted { first, last }: SegmentWanted,
) -> Result<(), Halt> {
    let _turn = service.mends.try_acquire().map_err(|_| BackupRefusal::Busy)?;
    let kept = service.reader.keep();
    let reach = service.published.borrow().readable;
    if last > reach {
        return Err(BackupRefusal::Beyond { last: reach }.into());
    }
    let reader = service.reader.clone();
    let head = service.framing.load(move || reader.head_before(first)).await;
    let head = head.map_err(|error| failed(service, &error))?;
    let gone = BackupRefusal::Gone { first: kept.first() };
    let head = head.filter(|_| first >= kept.first()).ok_or(gone)?;
    send(caller, stream, &BackupPart::Begin { through: last }.to_frame(&[])).await?;
    send_pieces(caller, stream, head).await?;
    send_all(service, caller, stream, (first, last), &kept).await
}

async fn run(
    service: &Service,
    caller: &Caller,
    stream: &mut Stream,
    wanted: Backup,
) -> Result<(), Halt> {
    if caller.role != CertificateRole::Admin {
        service.audit.refused(&caller.identity, caller.address, WHAT);
        return Err(BackupRefusal::NotAdmin.into());
    }
    let _turn = service.backups.try_acquire().map_err(|_| BackupRefusal::Busy)?;
    let through = reading::end_of_log(service, caller).await;
    let through = through.map_err(|found| refusal(&found))?;
    let kept = service.reader.keep();
    let next = match wanted.after {
        None => kept.first(),
        Some(after) if after > through => {
            return Err(BackupRefusal::Beyond { last: through }.into());
        }
        Some(after) => after.next(),
    };
    if next < kept.first() {
        return Err(BackupRefusal::Gone { first: kept.first() }.into());
    }
    service.audit.did(&caller.identity, caller.address, WHAT);
    send(caller, stream, &BackupPart::Begin { through }.to_frame(&[])).await?;
    if wanted.after.is_none() {
        send_head(service, caller, stream).await?;
    }
    send_all(service, caller, stream, (next, through), &kept).await
}

fn refusal(refusal: &ReadRefusal) -> BackupRefusal {
    match refusal {
        ReadRefusal::NotLeader { leader } => BackupRefusal::NotLeader { leader: *leader },
        ReadRefusal::Failed => BackupRefusal::Failed,
        _ => BackupRefusal::Busy,
    }
}

async fn send_head(service: &Service, caller: &Caller, stream: &mut Stream) -> Result<(), Halt> {
    let reader = service.reader.clone();
    let head = service.framing.load(move || reader.first_head()).await;
    let head = head.map_err(|error| failed(service, &error))?;
    send_pieces(caller, stream, head).await
}

async fn send_pieces(caller: &Caller, stream: &mut Stream, mut head: Bytes) -> Result<(), Halt> {
    while !head.is_empty() {
        let piece = head.split_to(head.len().min(BACKUP_FRAME_BYTES));
        send(caller, stream, &BackupPart::Head.to_frame(&[piece])).await?;
    }
    Ok(())
}

/// Sends entries up to the last of these.
async fn send_all(
    service: &Service,
    caller: &Caller,
    stream: &mut Stream,
    (mut next, through): (Index, Index),
    kept: &Kept,
) -> Result<(), Halt> {
    while next <= through {
        next = send_entries(service, caller, stream, (next, through), kept).await?;
    }
    Ok(())
}

/// Sends some entries, and rests. Says which comes next.
async fn send_entries(
    service: &Service,
    caller: &Caller,
    stream: &mut Stream,
    (next, through): (Index, Index),
    kept: &Kept,
) -> Result<Index, Halt> {
    let (held, entries, worked) = load(service, caller, (next, through)).await?;
    let Some((last, frame)) = entries else { return Err(BackupRefusal::Failed.into()) };
    send(caller, stream, &frame).await?;
    drop((held, frame));
    kept.move_to(last.next());
    sleep(worked.min(BACKUP_REST_MAX)).await;
    Ok(last.next())
}

/// Entries that were read, what they take of their client's share, and how long it took.
type Loaded = (Held, Option<(Index, Frame)>, Duration);

async fn load(
    service: &Service,
    caller: &Caller,
    (next, through): (Index, Index),
) -> Result<Loaded, Halt> {
    let mut held = caller.loaded.take(READ_LOAD_BYTES).await;
    let reader = service.reader.clone();
    let read = move || {
        let begun = Instant::now();
        reader.entries(next, through, BACKUP_FRAME_BYTES).map(|entries| (entries, begun.elapsed()))
    };
    let read = service.framing.load(read).await;
    let (entries, worked) = read.map_err(|error| failed(service, &error))?;
    let bytes: Vec<Bytes> = entries.iter().map(|entry| entry.bytes().clone()).collect();
    held.shrink_to(bytes.iter().map(Bytes::len).sum());
    let last = entries.last().map(|entry| entry.id().index);
    Ok((held, last.map(|last| (last, BackupPart::Entries.to_frame(&bytes))), worked))
}

fn failed(service: &Service, error: &ReadError) -> BackupRefusal {
    reading::end_if_damaged(error);
    tracing::error!(node = %service.node, %error, "cannot read the log for a backup");
    BackupRefusal::Failed
}

async fn send(caller: &Caller, stream: &mut Stream, frame: &Frame) -> Result<(), Halt> {
    caller.send(&mut stream.sender, frame, || {}).await.map_err(|_| Halt::Unheard)
}
