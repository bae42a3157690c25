//! Streams of frames.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use quinn::{ConnectionError, ReadError, RecvStream, SendStream, StoppedError, VarInt, WriteError};
use thiserror::Error;
use tokio::io::AsyncReadExt;
use tokio::time::{Instant, timeout, timeout_at};

use super::budget::{Held, Share};
use super::guests::{Guest, Stay};
use super::problem::{Close, Problem};
use crate::limits::{
    FRAME_BYTES_MAX, FRAME_TIMEOUT, FRAME_TIMEOUT_WANTED, FRAME_UNCOUNTED_BYTES, READ_STEP_BYTES,
};
use crate::wire::frame::{LENGTH_BYTES, encode_all};
use crate::wire::{Frame, FrameError};

/// Both directions of a stream.
#[derive(Debug)]
pub struct Stream {
    /// What we say.
    pub sender: FrameSender,
    /// What the other side says.
    pub receiver: FrameReceiver,
}

/// Why a stream is of no more use.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum StreamError {
    /// The connection is gone.
    #[error("{0}")]
    Lost(#[from] Problem),
    /// The other side gave up this stream; the connection may be fine.
    #[error("the other side abandoned the stream")]
    Abandoned,
    /// The stream was already ended on this side.
    #[error("the stream was already ended here")]
    Ended,
    /// What came was no frame.
    #[error("the other side sent {0}")]
    Frame(#[from] FrameError),
    /// It took longer than it may.
    #[error("no answer within {} ms", after.as_millis())]
    TimedOut {
        /// How long that is.
        after: Duration,
    },
}

impl StreamError {
    /// What to do about it; empty where there is nothing to say.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Lost(problem) => problem.hint(),
            Self::TimedOut { .. } => "try again in a moment",
            Self::Abandoned | Self::Ended | Self::Frame(_) => "",
        }
    }
}

impl Stream {
    pub(super) fn new((sender, receiver): (SendStream, RecvStream)) -> Self {
        Self {
            sender: FrameSender { stream: sender, pending: vec![], stay: None },
            receiver: FrameReceiver {
                stream: receiver,
                buffer: BytesMut::new(),
                bytes_max: FRAME_BYTES_MAX,
                arriving: None,
                arrival: None,
                stay: None,
            },
        }
    }

    /// A stream that a guest has opened: its larger frames are counted, and come in time.
    pub(super) fn of_guest(both: (SendStream, RecvStream), guest: &Guest) -> Self {
        let mut stream = Self::new(both);
        let stay = Arc::new(guest.stay());
        stream.receiver.arriving = guest.arriving().cloned();
        stream.receiver.stay = Some(stay.clone());
        stream.sender.stay = Some(stay);
        stream
    }
}

/// The sending side of a stream. Dropped, it ends the stream in good order.
#[derive(Debug)]
pub struct FrameSender {
    stream: SendStream,
    /// What an interrupted `send` had not yet handed to QUIC: it goes first.
    pending: Vec<Bytes>,
    /// Held so that the guest who has the stream is not idle.
    stay: Option<Arc<Stay>>,
}

impl FrameSender {
    /// Sends a frame. Waits while the other side reads too slowly.
    ///
    /// May be dropped before it is done: the rest goes out with the next frame.
    ///
    /// # Errors
    /// [`StreamError`], after which the stream is of no more use.
    pub async fn send(&mut self, frame: &Frame) -> Result<(), StreamError> {
        self.send_all(std::slice::from_ref(frame)).await
    }

    /// Sends frames, small ones together in one write. As [`Self::send`].
    ///
    /// # Errors
    /// As [`Self::send`].
    pub async fn send_all(&mut self, frames: &[Frame]) -> Result<(), StreamError> {
        // What was written of an interrupted send has been taken out of its slices.
        self.pending.retain(|slice| !slice.is_empty());
        self.pending.extend(encode_all(frames));
        self.stream.write_all_chunks(&mut self.pending).await?;
        self.pending.clear();
        Ok(())
    }

    /// Hands the rest of an interrupted send to QUIC. As [`Self::send`].
    ///
    /// # Errors
    /// As [`Self::send`].
    pub async fn flush(&mut self) -> Result<(), StreamError> {
        self.send_all(&[]).await
    }

    /// Bytes of an interrupted send that are still to be handed to QUIC.
    pub fn pending_bytes(&self) -> usize {
        self.pending.iter().map(Bytes::len).sum()
    }

    /// Streams of higher priority go first when a packet is filled. New streams have 0.
    pub fn set_priority(&mut self, priority: i32) {
        // It fails on a stream that is over, where it does not matter.
        let _ = self.stream.set_priority(priority);
    }

    /// Says that nothing more follows. Extra calls are harmless.
    pub fn finish(&mut self) {
        let _ = self.stream.finish();
    }

    /// Gives up the stream: what was not sent yet is not sent any more.
    pub fn abandon(&mut self) {
        let _ = self.stream.reset(VarInt::from_u32(Close::Done.code()));
    }

    /// Ends the stream and waits until the other side's QUIC has acknowledged all of it.
    ///
    /// # Errors
    /// [`StreamError::TimedOut`] after `limit`; [`StreamError::Abandoned`] if the other side did not
    /// want it all; [`StreamError::Lost`].
    pub async fn finished(&mut self, limit: Duration) -> Result<(), StreamError> {
        self.finish();
        match timeout(limit, self.stream.stopped()).await {
            Err(_) => Err(StreamError::TimedOut { after: limit }),
            Ok(Ok(None)) => Ok(()),
            Ok(Ok(Some(_))) => Err(StreamError::Abandoned),
            Ok(Err(StoppedError::ConnectionLost(error))) => Err(lost(error)),
            Ok(Err(StoppedError::ZeroRttRejected)) => Err(StreamError::Ended),
        }
    }

    /// Resolves when the other side no longer wants what this stream carries, or is gone.
    pub async fn unwanted(&self) {
        let _ = self.stream.stopped().await;
    }
}

/// The receiving side of a stream. Dropped, it tells the other side to send no more.
#[derive(Debug)]
pub struct FrameReceiver {
    stream: RecvStream,
    buffer: BytesMut,
    /// The largest frame that is taken.
    bytes_max: usize,
    /// What larger frames are counted in, if they are.
    arriving: Option<Share>,
    /// The larger frame that is under way, or was returned last.
    arrival: Option<Arrival>,
    /// Held so that the guest who has the stream is not idle.
    stay: Option<Arc<Stay>>,
}

/// A larger frame on its way.
#[derive(Debug)]
struct Arrival {
    since: Instant,
    is_whole: bool,
    _held: Held,
}

impl FrameReceiver {
    /// The next frame; `None` when the other side has ended the stream in good order.
    ///
    /// Waits as long as the connection lives: whoever needs an answer in time sets a limit. May be
    /// dropped before it is done: nothing is lost.
    ///
    /// # Errors
    /// [`StreamError`], after which the stream is of no more use.
    pub async fn next(&mut self) -> Result<Option<Frame>, StreamError> {
        // What the last one held is given back only now: until here it may have been in memory.
        self.arrival.take_if(|arrival| arrival.is_whole);
        loop {
            if let Some(frame) = Frame::split_from(&mut self.buffer)? {
                if let Some(arrival) = &mut self.arrival {
                    arrival.is_whole = true;
                }
                return Ok(Some(frame));
            }
            self.begin_arrival().await?;
            self.make_room();
            let read = self.read().await?;
            if read == 0 {
                let whole = self.buffer.is_empty();
                return if whole { Ok(None) } else { Err(FrameError::Truncated.into()) };
            }
        }
    }

    /// The next frame, which must come within `limit`. The end of the stream is an error here.
    ///
    /// # Errors
    /// As [`Self::next`]; [`StreamError::TimedOut`]; [`StreamError::Abandoned`] at the end.
    pub async fn answer(&mut self, limit: Duration) -> Result<Frame, StreamError> {
        match timeout(limit, self.next()).await {
            Err(_) => Err(StreamError::TimedOut { after: limit }),
            Ok(frame) => frame?.ok_or(StreamError::Abandoned),
        }
    }

    /// Tells the other side to send no more. Extra calls are harmless.
    pub fn stop(&mut self) {
        let _ = self.stream.stop(VarInt::from_u32(Close::Done.code()));
    }

    /// Takes frames of up to so many bytes from here on.
    pub fn set_bytes_max(&mut self, bytes_max: usize) {
        self.bytes_max = bytes_max;
    }

    /// Before a frame is read whose length is known: it may have that, and, if it is a large one of a
    /// guest's, there is room for it.
    async fn begin_arrival(&mut self) -> Result<(), StreamError> {
        let missing = Frame::bytes_missing(&self.buffer);
        if missing == 0 {
            return Ok(());
        }
        let bytes = self.buffer.len() + missing;
        if bytes > self.bytes_max.saturating_add(LENGTH_BYTES) {
            let bytes = u32::try_from(bytes - LENGTH_BYTES).unwrap_or(u32::MAX);
            return Err(FrameError::Length { bytes }.into());
        }
        if let Some(share) = &self.arriving
            && bytes > FRAME_UNCOUNTED_BYTES
            && self.arrival.is_none()
        {
            let held = share.take(bytes).await;
            self.arrival = Some(Arrival { since: Instant::now(), is_whole: false, _held: held });
        }
        Ok(())
    }

    /// Reads what there is. A large frame of a guest's that does not come in time ends the stream.
    async fn read(&mut self) -> Result<usize, StreamError> {
        let Some((arrival, share)) = self.arrival.as_ref().zip(self.arriving.as_ref()) else {
            return self.stream.read_buf(&mut self.buffer).await.map_err(read_failed);
        };
        let since = arrival.since;
        loop {
            let limit = if share.is_wanted() { FRAME_TIMEOUT_WANTED } else { FRAME_TIMEOUT };
            if since.elapsed() >= limit {
                return Err(StreamError::TimedOut { after: limit });
            }
            let look_at = Instant::now() + FRAME_TIMEOUT_WANTED / 4;
            if let Ok(read) = timeout_at(look_at, self.stream.read_buf(&mut self.buffer)).await {
                return read.map_err(read_failed);
            }
        }
    }

    /// Makes room for the next read: for no more than has come already, or a step, so that a length
    /// field alone makes nobody allocate what it says.
    fn make_room(&mut self) {
        const LEAST: usize = 4096;
        if self.buffer.capacity() - self.buffer.len() >= LEAST {
            return;
        }
        let doubling = Frame::bytes_missing(&self.buffer).min(self.buffer.len());
        let step = if self.arriving.is_some() { FRAME_UNCOUNTED_BYTES } else { READ_STEP_BYTES };
        self.buffer.reserve(doubling.max(step));
    }
}

fn lost(error: ConnectionError) -> StreamError {
    StreamError::Lost(error.into())
}

impl From<WriteError> for StreamError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Stopped(_) => Self::Abandoned,
            WriteError::ConnectionLost(error) => lost(error),
            WriteError::ClosedStream | WriteError::ZeroRttRejected => Self::Ended,
        }
    }
}

/// What quinn packs into an `io::Error`, unpacked.
fn read_failed(error: std::io::Error) -> StreamError {
    let error = error.into_inner().and_then(|inner| inner.downcast::<ReadError>().ok());
    match error.map(|error| *error) {
        Some(ReadError::ConnectionLost(error)) => lost(error),
        Some(ReadError::Reset(_)) => StreamError::Abandoned,
        Some(
            ReadError::ClosedStream | ReadError::IllegalOrderedRead | ReadError::ZeroRttRejected,
        )
        | None => StreamError::Ended,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Certificates, a_node, connect, echo, number, number_in, soon};
    use super::super::{Connection, Endpoint, Protocol};
    use super::*;
    use crate::limits::STREAMS_PER_CONNECTION_MAX;
    use crate::wire::frame::kind;

    struct Pair {
        _endpoints: (Endpoint, Endpoint),
        dialled: Connection,
        accepted: Connection,
    }

    async fn pair() -> Pair {
        let certificates = Certificates::of(1);
        let server = certificates.server("n1", &[Protocol::Client]);
        let client = certificates.client("client");
        let dialled = connect(&client, &server, &a_node(), Protocol::Client).await;
        let accepted = soon(server.accept()).await.unwrap();
        Pair { _endpoints: (client, server), dialled, accepted }
    }

    fn large(header: u64, bytes: usize) -> Frame {
        Frame::new(kind::APPEND, &header, &[vec![7; bytes].into()])
    }

    #[tokio::test]
    async fn frames_of_all_sizes_come_back_in_order() {
        let pair = pair().await;
        tokio::spawn(echo(pair.accepted.clone()));
        let Stream { mut sender, mut receiver } = pair.dialled.open().await.unwrap();
        let sizes = [0, 1, 4095, 4096, 70_000, FRAME_BYTES_MAX - 16, 3];
        tokio::spawn(async move {
            let frames: Vec<Frame> = (0..).zip(sizes).map(|(n, size)| large(n, size)).collect();
            sender.send_all(&frames).await.unwrap();
            sender.finished(Duration::from_mins(1)).await.unwrap();
        });
        for (number, size) in (0..).zip(sizes) {
            let frame = soon(receiver.next()).await.unwrap().unwrap();
            let (header, payload) = frame.read::<u64>(kind::APPEND).unwrap();
            assert_eq!((header, payload.len()), (number, size));
            assert!(payload.iter().all(|byte| *byte == 7));
        }
        assert_eq!(soon(receiver.next()).await, Ok(None));
    }

    /// What the other side makes of these bytes, sent raw.
    async fn received(pair: &Pair, bytes: &[u8]) -> StreamError {
        let mut stream = pair.dialled.open().await.unwrap();
        stream.sender.stream.write_all(bytes).await.unwrap();
        stream.sender.finish();
        let mut accepted = soon(pair.accepted.accept()).await.unwrap();
        let error = soon(accepted.receiver.next()).await.unwrap_err();
        assert!(accepted.receiver.buffer.capacity() <= 2 * READ_STEP_BYTES);
        error
    }

    #[tokio::test]
    async fn what_is_no_frame_is_refused() {
        let pair = pair().await;
        let too_long = FrameError::Length { bytes: u32::MAX };
        assert_eq!(received(&pair, &[0xff; 4]).await, too_long.into());
        let too_short = FrameError::Length { bytes: 0 };
        assert_eq!(received(&pair, &[0; 64]).await, too_short.into());
        assert_eq!(received(&pair, &[1, 2]).await, FrameError::Truncated.into());
        // The longest length, and then nothing: refused, and no room was made for it.
        let length = u32::try_from(FRAME_BYTES_MAX).unwrap().to_le_bytes();
        assert_eq!(received(&pair, &length).await, FrameError::Truncated.into());
        let version = FrameError::Version { found: 2 };
        assert_eq!(received(&pair, &[2, 0, 0, 0, 2, 1]).await, version.into());
    }

    #[tokio::test]
    async fn streams_that_nobody_reads_stop_no_other() {
        let pair = pair().await;
        // The server fills every stream but one, as far as the client's windows go.
        let mut unread = Vec::new();
        for _ in 1..STREAMS_PER_CONNECTION_MAX {
            let mut stream = soon(pair.dialled.open()).await.unwrap();
            stream.sender.send(&number(0)).await.unwrap();
            let mut accepted = soon(pair.accepted.accept()).await.unwrap();
            tokio::spawn(async move { accepted.sender.send(&large(1, 2 << 20)).await });
            unread.push(stream);
        }
        let mut stream = soon(pair.dialled.open()).await.unwrap();
        stream.sender.send(&number(0)).await.unwrap();
        let mut accepted = soon(pair.accepted.accept()).await.unwrap();
        // More than a window: it flows only if this stream has room of its own.
        tokio::spawn(async move { accepted.sender.send(&large(2, 4 << 20)).await });
        let frame = soon(stream.receiver.next()).await.unwrap().unwrap();
        assert_eq!(frame.read::<u64>(kind::APPEND).unwrap().0, 2);
    }

    #[tokio::test]
    async fn an_interrupted_send_goes_out_with_the_next() {
        let pair = pair().await;
        let mut stream = pair.dialled.open().await.unwrap();
        let big = large(1, FRAME_BYTES_MAX - 16);
        let begun = tokio::select! {
            biased;
            sent = stream.sender.send(&big) => sent.is_ok(),
            () = std::future::ready(()) => false,
        };
        assert!(!begun, "the window is smaller than that");
        tokio::spawn(async move {
            stream.sender.send(&number(2)).await.unwrap();
            stream.sender.finished(Duration::from_mins(1)).await
        });
        let mut accepted = soon(pair.accepted.accept()).await.unwrap();
        let first = soon(accepted.receiver.next()).await.unwrap().unwrap();
        assert_eq!(first.read::<u64>(kind::APPEND).unwrap().0, 1);
        let second = soon(accepted.receiver.next()).await.unwrap().unwrap();
        assert_eq!(number_in(&second), 2);
        assert_eq!(soon(accepted.receiver.next()).await, Ok(None));
    }

    #[tokio::test]
    async fn a_sender_learns_that_nobody_wants_more() {
        let pair = pair().await;
        let mut stream = pair.dialled.open().await.unwrap();
        stream.sender.send(&number(1)).await.unwrap();
        let mut accepted = soon(pair.accepted.accept()).await.unwrap();
        accepted.receiver.stop();
        accepted.sender.abandon();
        soon(stream.sender.unwanted()).await;
        assert_eq!(soon(stream.receiver.next()).await, Err(StreamError::Abandoned));
        let refused = soon(stream.sender.send(&number(2))).await;
        assert_eq!(refused, Err(StreamError::Abandoned));
        let late = soon(stream.receiver.answer(Duration::ZERO)).await;
        assert!(late.is_err());
    }
}
