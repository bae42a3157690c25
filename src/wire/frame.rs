//! Frames: how a stream of bytes is cut into messages.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::limits::FRAME_BYTES_MAX;

/// The version of every frame.
pub const VERSION: u8 = 1;

/// Bytes of the length field.
pub const LENGTH_BYTES: usize = 4;

/// Bytes of version and kind: the least that a frame has after its length field.
const FIXED_BYTES: usize = 2;

/// The kinds of frames. A number stands for one kind for ever.
pub mod kind {
    /// [`crate::wire::PeerHello`].
    pub const PEER_HELLO: u8 = 1;
    /// [`crate::wire::PeerWelcome`].
    pub const PEER_WELCOME: u8 = 2;
    /// [`crate::wire::PeerMessage`].
    pub const PEER_MESSAGE: u8 = 3;
    /// [`crate::wire::api::Request`].
    pub const REQUEST: u8 = 16;
    /// [`crate::wire::api::Welcome`].
    pub const WELCOME: u8 = 17;
    /// [`crate::wire::api::AppendRun`].
    pub const APPEND: u8 = 18;
    /// [`crate::wire::api::AppendReplies`].
    pub const APPEND_REPLIES: u8 = 19;
    /// [`crate::wire::api::Records`].
    pub const RECORDS: u8 = 20;
    /// [`crate::wire::api::CrashReply`].
    pub const CRASH_REPLY: u8 = 21;
    /// [`crate::wire::backup::BackupPart`].
    pub const BACKUP: u8 = 22;
    /// [`crate::wire::api::MembersReply`].
    pub const MEMBERS: u8 = 23;
    /// [`crate::members::MemberReply`].
    pub const MEMBER_REPLY: u8 = 24;
    /// [`crate::wire::soundness::Soundness`].
    pub const SOUNDNESS: u8 = 25;
    /// [`crate::wire::registry::Question`].
    pub const QUESTION: u8 = 32;
    /// [`crate::wire::registry::Answer`].
    pub const ANSWER: u8 = 33;
}

/// One frame, to be sent or as received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    kind: u8,
    /// The header; of a received frame the payload as well.
    head: Bytes,
    /// The payload, in slices that lie wherever their makers had them.
    payload: Vec<Bytes>,
}

/// What is wrong with a frame.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FrameError {
    /// Its length field says more than any frame has, or less.
    #[error("a frame of {bytes} bytes is announced, and frames have 2 to {FRAME_BYTES_MAX}")]
    Length {
        /// What the field says.
        bytes: u32,
    },
    /// The stream ended within it.
    #[error("the stream ends within a frame")]
    Truncated,
    /// It is of a version that this program does not know.
    #[error("a frame of version {found}, and this program speaks version {VERSION}")]
    Version {
        /// The version found.
        found: u8,
    },
    /// It is of another kind than the conversation calls for.
    #[error("a frame of kind {found} where kind {expected} was to come")]
    Kind {
        /// The kind that was to come.
        expected: u8,
        /// The kind found.
        found: u8,
    },
    /// Its header is not a message of its kind.
    #[error("the header of a frame of kind {kind} is malformed")]
    Header {
        /// The frame's kind.
        kind: u8,
    },
    /// Its payload is not what its header describes.
    #[error("the payload of a frame of kind {kind} is not what its header describes")]
    Payload {
        /// The frame's kind.
        kind: u8,
    },
    /// Its message breaks a limit or contradicts itself.
    #[error("the message in a frame of kind {kind} breaks a limit or contradicts itself")]
    Message {
        /// The frame's kind.
        kind: u8,
    },
}

impl Frame {
    /// A frame of a kind with this header and payload. The payload is not copied.
    pub fn new<H: Serialize>(kind: u8, header: &H, payload: &[Bytes]) -> Self {
        let head = postcard::to_stdvec(header).expect("messages have no part postcard refuses");
        let mut payload = payload.to_vec();
        payload.retain(|slice| !slice.is_empty());
        let frame = Self { kind, head: head.into(), payload };
        // Broken law: records, requests and entries are bounded long before they are framed.
        assert!(frame.length() <= FRAME_BYTES_MAX, "a frame of {} bytes", frame.length());
        frame
    }

    /// What it is; see [`kind`].
    pub fn kind(&self) -> u8 {
        self.kind
    }

    /// Bytes that it takes on the wire, its length field included.
    pub fn wire_bytes(&self) -> usize {
        LENGTH_BYTES + self.length()
    }

    /// What the length field says.
    fn length(&self) -> usize {
        FIXED_BYTES + self.slices().map(Bytes::len).sum::<usize>()
    }

    fn slices(&self) -> impl Iterator<Item = &Bytes> {
        std::iter::once(&self.head).chain(&self.payload)
    }

    /// The header, and the payload after it, which shares the frame's bytes.
    ///
    /// # Errors
    /// [`FrameError::Kind`] or [`FrameError::Header`].
    pub fn read<H: DeserializeOwned>(&self, kind: u8) -> Result<(H, Bytes), FrameError> {
        if self.kind != kind {
            return Err(FrameError::Kind { expected: kind, found: self.kind });
        }
        let mut body = self.contiguous();
        let (header, payload) =
            postcard::take_from_bytes(&body).map_err(|_| FrameError::Header { kind })?;
        let header_bytes = body.len() - payload.len();
        body.advance(header_bytes);
        Ok((header, body))
    }

    /// The header of a kind that has no payload.
    ///
    /// # Errors
    /// As [`Self::read`], and [`FrameError::Payload`] if something follows the header.
    pub fn read_header<H: DeserializeOwned>(&self, kind: u8) -> Result<H, FrameError> {
        let (header, payload) = self.read(kind)?;
        if payload.is_empty() { Ok(header) } else { Err(FrameError::Payload { kind }) }
    }

    /// The body in one slice. A received frame's already is; this copies one that was made here.
    fn contiguous(&self) -> Bytes {
        if self.payload.is_empty() {
            return self.head.clone();
        }
        let mut whole = BytesMut::with_capacity(self.length());
        self.slices().for_each(|slice| whole.put_slice(slice));
        whole.freeze()
    }

    /// Appends the slices that make up the frame on the wire. Short ones are gathered in `gather`,
    /// which the caller turns into a slice at the end; see [`encode_all`].
    fn encode(&self, gather: &mut BytesMut, slices: &mut Vec<Bytes>) {
        let length = u32::try_from(self.length()).expect("at most FRAME_BYTES_MAX");
        gather.put_u32_le(length);
        gather.put_u8(VERSION);
        gather.put_u8(self.kind);
        for slice in self.slices() {
            if slice.len() <= GATHER_BELOW_BYTES {
                gather.put_slice(slice);
            } else {
                slices.push(gather.split().freeze());
                slices.push(slice.clone());
            }
        }
    }

    /// Takes one frame off the front of what a stream has delivered; `None` if more must come.
    ///
    /// # Errors
    /// [`FrameError::Length`] or [`FrameError::Version`], as soon as that much of it is there.
    pub fn split_from(buffer: &mut BytesMut) -> Result<Option<Self>, FrameError> {
        let Some(length) = announced_length(buffer)? else { return Ok(None) };
        if buffer.len() < LENGTH_BYTES + length {
            return Ok(None);
        }
        buffer.advance(LENGTH_BYTES);
        let mut head = buffer.split_to(length).freeze();
        // The length is at least FIXED_BYTES, so both are there.
        let version = head.get_u8();
        let kind = head.get_u8();
        if version != VERSION {
            return Err(FrameError::Version { found: version });
        }
        Ok(Some(Self { kind, head, payload: vec![] }))
    }

    /// How many bytes the frame at the front of `buffer` still lacks, or 0 if not even that is
    /// known: what a reader may make room for.
    pub fn bytes_missing(buffer: &BytesMut) -> usize {
        match announced_length(buffer) {
            Ok(Some(length)) => (LENGTH_BYTES + length).saturating_sub(buffer.len()),
            Ok(None) | Err(_) => 0,
        }
    }
}

/// Slices up to here are copied together, so that many small messages are one write; a longer one
/// goes out from where it lies.
const GATHER_BELOW_BYTES: usize = 4096;

/// The bytes of these frames on the wire, in slices.
pub fn encode_all(frames: &[Frame]) -> Vec<Bytes> {
    let mut gather = BytesMut::new();
    let mut slices = Vec::new();
    for frame in frames {
        frame.encode(&mut gather, &mut slices);
    }
    slices.push(gather.freeze());
    slices.retain(|slice| !slice.is_empty());
    slices
}

fn announced_length(buffer: &BytesMut) -> Result<Option<usize>, FrameError> {
    let Some(field) = buffer.first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
    let bytes = u32::from_le_bytes(*field);
    let length = bytes as usize;
    if !(FIXED_BYTES..=FRAME_BYTES_MAX).contains(&length) {
        return Err(FrameError::Length { bytes });
    }
    Ok(Some(length))
}

/// Cuts a payload into slices of these lengths; all of it must be used.
///
/// # Errors
/// [`FrameError::Payload`].
pub(super) fn cut(kind: u8, mut payload: Bytes, lengths: &[u32]) -> Result<Vec<Bytes>, FrameError> {
    check_lengths(kind, &payload, lengths)?;
    Ok(lengths.iter().map(|length| payload.split_to(*length as usize)).collect())
}

/// Checks that slices of these lengths make up a payload.
///
/// # Errors
/// [`FrameError::Payload`].
pub(super) fn check_lengths(kind: u8, payload: &Bytes, lengths: &[u32]) -> Result<(), FrameError> {
    let total: u64 = lengths.iter().map(|length| u64::from(*length)).sum();
    if total == payload.len() as u64 { Ok(()) } else { Err(FrameError::Payload { kind }) }
}

/// The lengths of these slices, as [`cut`] wants them.
pub(super) fn lengths_of(slices: &[Bytes]) -> Vec<u32> {
    let length = |slice: &Bytes| u32::try_from(slice.len()).expect("records are bounded");
    slices.iter().map(length).collect()
}

/// `to_frame` and `from_frame` of a message that is all header.
macro_rules! header_only {
    ($message:ty, $kind:expr) => {
        impl $message {
            /// The message in a frame.
            pub fn to_frame(&self) -> $crate::wire::Frame {
                $crate::wire::Frame::new($kind, self, &[])
            }

            /// The message in a received frame.
            ///
            /// # Errors
            /// Whatever is wrong with the frame.
            pub fn from_frame(
                frame: &$crate::wire::Frame,
            ) -> Result<Self, $crate::wire::FrameError> {
                frame.read_header($kind)
            }
        }
    };
}
pub(super) use header_only;

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The bytes of one frame on the wire, in hexadecimal.
    pub(in crate::wire) fn hex(frame: &Frame) -> String {
        hex_of(&encode_all(std::slice::from_ref(frame)).concat())
    }

    fn hex_of(bytes: &[u8]) -> String {
        bytes.iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
    }

    /// Checks that values have these bytes within a message, and are read from them again.
    pub(in crate::wire) fn check_golden<T>(golden: &[(T, &str)])
    where
        T: Serialize + for<'a> serde::Deserialize<'a> + PartialEq + std::fmt::Debug,
    {
        for (value, expected) in golden {
            let bytes = postcard::to_stdvec(value).unwrap();
            assert_eq!(hex_of(&bytes), *expected, "{value:?}");
            assert_eq!(postcard::from_bytes::<T>(&bytes).as_ref(), Ok(value));
        }
    }

    /// The frame as the other side gets it.
    pub(in crate::wire) fn received(frame: &Frame) -> Frame {
        let mut buffer =
            BytesMut::from(encode_all(std::slice::from_ref(frame)).concat().as_slice());
        assert_eq!(buffer.len(), frame.wire_bytes());
        let received = Frame::split_from(&mut buffer).unwrap().unwrap();
        assert!(buffer.is_empty());
        received
    }

    #[test]
    fn golden_bytes() {
        let frame = Frame::new(kind::QUESTION, &7_u32, &[Bytes::from_static(b"ab")]);
        assert_eq!(hex(&frame), "050000000120076162");
        assert_eq!(received(&frame).read::<u32>(kind::QUESTION).unwrap(), (7, "ab".into()));
        // A frame can be read where it was made, too.
        assert_eq!(frame.read::<u32>(kind::QUESTION).unwrap(), (7, "ab".into()));
    }

    #[test]
    fn hostile_lengths_are_refused_before_anything_is_allocated() {
        for bytes in [0, 1, u32::try_from(FRAME_BYTES_MAX).unwrap() + 1, u32::MAX] {
            let mut buffer = BytesMut::from(bytes.to_le_bytes().as_slice());
            assert_eq!(Frame::bytes_missing(&buffer), 0);
            assert_eq!(Frame::split_from(&mut buffer), Err(FrameError::Length { bytes }));
        }
    }

    #[test]
    fn the_largest_frame_is_a_frame() {
        let payload = Bytes::from(vec![7; FRAME_BYTES_MAX - FIXED_BYTES - 1]);
        let frame = Frame::new(kind::APPEND, &1_u8, std::slice::from_ref(&payload));
        assert_eq!(received(&frame).read::<u8>(kind::APPEND).unwrap(), (1, payload));
    }

    #[test]
    fn an_unknown_version_is_refused() {
        let mut buffer = BytesMut::from([2, 0, 0, 0, 9, kind::REQUEST].as_slice());
        assert_eq!(Frame::split_from(&mut buffer), Err(FrameError::Version { found: 9 }));
    }

    #[test]
    fn another_kind_a_short_header_and_trailing_bytes_are_refused() {
        let frame = received(&Frame::new(kind::WELCOME, &300_u32, &[Bytes::from_static(b"x")]));
        let other = FrameError::Kind { expected: kind::ANSWER, found: kind::WELCOME };
        assert_eq!(frame.read_header::<u32>(kind::ANSWER), Err(other));
        let trailing = FrameError::Payload { kind: kind::WELCOME };
        assert_eq!(frame.read_header::<u32>(kind::WELCOME), Err(trailing));
        let malformed = FrameError::Header { kind: kind::WELCOME };
        assert_eq!(frame.read_header::<[u8; 9]>(kind::WELCOME), Err(malformed));
    }

    #[test]
    fn small_slices_are_gathered_and_large_ones_are_not_copied() {
        let large = Bytes::from(vec![1; GATHER_BELOW_BYTES + 1]);
        let frames = [
            Frame::new(kind::PEER_MESSAGE, &1_u8, &[Bytes::from_static(b"small")]),
            Frame::new(kind::PEER_MESSAGE, &2_u8, &[]),
            Frame::new(kind::PEER_MESSAGE, &3_u8, std::slice::from_ref(&large)),
            Frame::new(kind::PEER_MESSAGE, &4_u8, &[]),
        ];
        let slices = encode_all(&frames);
        assert_eq!(slices.len(), 3);
        assert_eq!(slices[1].as_ptr(), large.as_ptr());
    }

    proptest! {
        #[test]
        fn frames_survive_however_the_stream_is_cut(
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9000), 1..6),
            step in 1_usize..5000,
        ) {
            let frames: Vec<Frame> = payloads
                .iter()
                .map(|payload| {
                    Frame::new(kind::RECORDS, &(payload.len() as u64), &[payload.clone().into()])
                })
                .collect();
            let wire = encode_all(&frames).concat();
            let mut buffer = BytesMut::new();
            let mut found = Vec::new();
            for piece in wire.chunks(step) {
                buffer.extend_from_slice(piece);
                while let Some(frame) = Frame::split_from(&mut buffer).unwrap() {
                    let (length, payload) = frame.read::<u64>(kind::RECORDS).unwrap();
                    prop_assert_eq!(length, payload.len() as u64);
                    found.push(payload.to_vec());
                }
            }
            prop_assert!(buffer.is_empty());
            prop_assert_eq!(found, payloads);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut buffer = BytesMut::from(bytes.as_slice());
            while let Ok(Some(_)) = Frame::split_from(&mut buffer) {}
        }
    }
}
