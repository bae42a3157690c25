//! What goes through the simulated network is bytes: each frame is encoded where it is sent and cut from
//! its bytes where it arrives.

use bytes::{Bytes, BytesMut};

use crate::types::ClusterId;
use crate::wire::Frame;
use crate::wire::frame::encode_all;

/// The cluster of every run.
pub(super) const CLUSTER: ClusterId = ClusterId::new(0xa11a1);

/// The bytes of a frame on the wire.
pub(super) fn bytes_of(frame: &Frame) -> Bytes {
    encode_all(std::slice::from_ref(frame)).concat().into()
}

/// The frame in bytes that arrived whole.
pub(super) fn frame_of(bytes: &Bytes) -> Option<Frame> {
    Frame::split_from(&mut BytesMut::from(&bytes[..])).ok().flatten()
}
