//! Mending: what is damaged on this node's disk is asked for of the others.
//!
//! One segment at a time, of one node after the other, and after a round that came to nothing the next begins
//! later. What a node sends proves itself (`store::Mending`), so it does not matter who leads.

use std::collections::BTreeSet;
use std::sync::Arc;

use thiserror::Error;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, timeout};

use super::onward;
use super::shared::Service;
use crate::limits::{FRAME_BYTES_MAX, MEND_INTERVAL, MEND_INTERVAL_MAX, MEND_TIMEOUT};
use crate::net::{Stream, StreamError};
use crate::store::{Damaged, MendError, Mender, Mending};
use crate::types::{Index, NodeId};
use crate::wire::FrameError;
use crate::wire::api::Request;
use crate::wire::backup::{BackupPart, BackupRefusal, SegmentWanted};

/// Why a node was of no help.
#[derive(Debug, Error)]
enum Trouble {
    #[error("it does not answer")]
    Unreachable,
    #[error("it says no more")]
    TimedOut,
    #[error("it lost the way: {0}")]
    Stream(#[from] StreamError),
    #[error("it says what cannot be understood: {0}")]
    Frame(#[from] FrameError),
    #[error("it speaks out of turn")]
    OutOfTurn,
    #[error("it has it not: {0:?}")]
    Refused(BackupRefusal),
    #[error(transparent)]
    Mend(#[from] MendError),
}

/// Tells of whatever is found damaged, and mends it, as long as the node runs.
pub(super) async fn run(service: Arc<Service>, mender: Mender) {
    let (mut told, mut round) = (BTreeSet::new(), 0);
    let (mut wait, mut due) = (MEND_INTERVAL, Instant::now());
    loop {
        sleep(MEND_INTERVAL).await;
        let damaged = service.reader.damaged();
        tell(&mut told, &damaged);
        if damaged.is_empty() {
            (wait, due) = (MEND_INTERVAL, Instant::now());
        } else if Instant::now() >= due {
            let next = &damaged[round % damaged.len()];
            round = round.wrapping_add(1);
            let is_mended = mend_of_any(&service, &mender, next).await;
            wait = if is_mended { MEND_INTERVAL } else { MEND_INTERVAL_MAX.min(wait * 2) };
            due = Instant::now() + wait;
        }
    }
}

/// Says once of each segment that it is damaged.
fn tell(told: &mut BTreeSet<Index>, damaged: &[Damaged]) {
    told.retain(|first| damaged.iter().any(|it| it.first == *first));
    for Damaged { first, last, why } in damaged {
        if told.insert(*first) {
            tracing::error!(%first, %last, "entries {first} to {last} are damaged on this disk: {why}");
        }
    }
}

/// Asks one node after the other. Says whether the segment is mended, or nobody needs it any more.
async fn mend_of_any(service: &Service, mender: &Mender, damaged: &Damaged) -> bool {
    let Damaged { first, last, .. } = damaged;
    let members: Vec<NodeId> = service.roll.borrow().members.keys().copied().collect();
    for node in members.into_iter().filter(|node| *node != service.node) {
        let Some(mending) = mender.begin(*first) else { return true };
        match mend(service, node, mending).await {
            Ok(()) => {
                tracing::info!(%first, %last, "entries {first} to {last} are mended: {node} had them");
                return true;
            }
            Err(trouble) => {
                tracing::warn!(%node, %first, %last, "{node} cannot help to mend a segment: {trouble}");
            }
        }
    }
    false
}

async fn mend(service: &Service, node: NodeId, mending: Mending) -> Result<(), Trouble> {
    let (first, last) = mending.range();
    let request = Request::Segment(SegmentWanted { first, last }).to_frame();
    let at = onward::addresses(service, node);
    let opening = timeout(MEND_TIMEOUT, service.leaders.open(node, &at, &request));
    let mut stream = opening.await.ok().flatten().ok_or(Trouble::Unreachable)?;
    stream.sender.finish();
    stream.receiver.set_bytes_max(FRAME_BYTES_MAX);
    let mut mending = mending;
    loop {
        let part = next_part(&mut stream).await?;
        let step = move || match part {
            (BackupPart::Begin { .. }, _) => Ok(Some(mending)),
            (BackupPart::Head, piece) => {
                mending.take_head(&piece)?;
                Ok(Some(mending))
            }
            (BackupPart::Entries, entries) => {
                mending.take_entries(entries)?;
                Ok(Some(mending))
            }
            (BackupPart::End, _) => {
                mending.finish()?;
                Ok(None)
            }
            (BackupPart::Refused(refusal), _) => Err(Trouble::Refused(refusal)),
        };
        match spawn_blocking(step).await.expect("a panic ends the process")? {
            Some(same) => mending = same,
            None => return Ok(()),
        }
    }
}

async fn next_part(stream: &mut Stream) -> Result<(BackupPart, bytes::Bytes), Trouble> {
    let frame =
        timeout(MEND_TIMEOUT, stream.receiver.next()).await.map_err(|_| Trouble::TimedOut)?;
    let frame = frame?.ok_or(Trouble::OutOfTurn)?;
    Ok(BackupPart::from_frame(&frame)?)
}
