//! A head that comes from the leader, piece by piece: in memory, and checked as a whole.

use bytes::{Bytes, BytesMut};

use super::incoming::BadEntries;
use super::state::State;
use crate::raft::HeadInfo;
use crate::store::{self, Head};

/// See the module.
#[derive(Debug)]
pub(super) struct Arriving {
    info: HeadInfo,
    /// What has come, from the beginning on: no more than the head has.
    form: BytesMut,
    /// All of it, once it is there and good.
    head: Option<Head>,
}

impl Arriving {
    /// Nothing yet.
    pub(super) fn of(info: HeadInfo) -> Self {
        Self { info, form: BytesMut::new(), head: None }
    }

    /// Whether it is this head.
    pub(super) fn is_of(&self, info: &HeadInfo) -> bool {
        self.info == *info
    }

    /// How many bytes are there. All of them are only if they are what was announced.
    pub(super) fn received(&self) -> u64 {
        self.form.len() as u64
    }

    /// The same with a piece that begins at `offset`, if that is the next one.
    ///
    /// # Errors
    /// [`BadEntries::Head`]: it is not what was announced. What has come so far is of no use.
    pub(super) fn with(mut self, offset: u64, piece: &Bytes) -> Result<Self, BadEntries> {
        let id = self.info.id;
        let bad = BadEntries::Head { id };
        if offset != self.received() {
            return Ok(self);
        }
        self.form.extend_from_slice(piece);
        if self.received() > self.info.bytes {
            return Err(bad);
        }
        if self.received() == self.info.bytes {
            let is_whole = *blake3::hash(&self.form).as_bytes() == self.info.hash;
            let head = store::decode_head(&self.form).filter(|head| head.tip.id == id);
            let head = head.filter(|head| is_whole && State::decode(&head.sessions).is_ok());
            self.head = Some(head.ok_or(bad)?);
        }
        Ok(self)
    }

    /// The head, if all of it is there.
    pub(super) fn into_head(self) -> Option<Head> {
        self.head
    }
}
