//! How much of a body is taken, and what is kept in memory of answers.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use hyper::StatusCode;
use hyper::body::{Body as _, Incoming};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::super::answer::complaint;
use super::refusal::{Refusal, busy};
use crate::limits::{HTTP_BODIES_BYTES_MAX, HTTP_BODY_TIMEOUT, REQUEST_BYTES_MAX};

/// Room for the bodies of all visitors together.
#[derive(Clone, Debug)]
pub(in super::super) struct Room(Arc<Semaphore>);

impl Default for Room {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(HTTP_BODIES_BYTES_MAX)))
    }
}

impl Room {
    /// So many bytes of it, if there are some.
    pub(super) fn take(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Refusal> {
        let count = u32::try_from(bytes).unwrap_or(u32::MAX);
        let taken = Arc::clone(&self.0).try_acquire_many_owned(count);
        taken.map_err(|_| busy("there is no room for that now"))
    }
}

/// Bytes, and the room that they take as long as anybody has them.
struct Kept {
    bytes: Bytes,
    _room: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Room {
    /// Makes bytes, so many at most, once there is room for them, and keeps it for them.
    pub(super) async fn make(
        &self,
        most: usize,
        make: impl FnOnce() -> Bytes,
    ) -> Result<Bytes, Refusal> {
        let count = u32::try_from(most.min(HTTP_BODIES_BYTES_MAX)).unwrap_or(u32::MAX);
        let taking = timeout(HTTP_BODY_TIMEOUT, Arc::clone(&self.0).acquire_many_owned(count));
        let Ok(Ok(mut room)) = taking.await else {
            return Err(busy("there is no room for an answer now"));
        };
        let bytes = make();
        // What was not needed is given back at once.
        drop(room.split(room.num_permits().saturating_sub(bytes.len())));
        Ok(Bytes::from_owner(Kept { bytes, _room: room }))
    }
}

/// A body, whole, and the room that it takes.
pub(super) async fn take(
    room: &Room,
    body: Incoming,
) -> Result<(Bytes, OwnedSemaphorePermit), Refusal> {
    // Who does not say how much it is may send as much as there may be.
    let most = body.size_hint().upper().unwrap_or(REQUEST_BYTES_MAX as u64);
    if most > REQUEST_BYTES_MAX as u64 {
        return Err(too_large());
    }
    let held = room.take(usize::try_from(most).unwrap_or(REQUEST_BYTES_MAX).max(1))?;
    let collecting = timeout(HTTP_BODY_TIMEOUT, Limited::new(body, REQUEST_BYTES_MAX).collect());
    match collecting.await {
        Ok(Ok(collected)) => Ok((collected.to_bytes(), held)),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => {
            let hint = "send it again, whole";
            Err(complaint(StatusCode::BAD_REQUEST, "the body broke off", hint).into())
        }
        Err(_) => {
            let seconds = HTTP_BODY_TIMEOUT.as_secs();
            let sentence = format!("the body did not come within {seconds} s");
            Err(complaint(StatusCode::REQUEST_TIMEOUT, sentence, "send less at once").into())
        }
    }
}

fn too_large() -> Refusal {
    let sentence = format!("a request has at most {REQUEST_BYTES_MAX} bytes");
    complaint(StatusCode::PAYLOAD_TOO_LARGE, sentence, "send it in several").into()
}
