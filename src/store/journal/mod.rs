//! The journal: where a promise is kept until sled has what was promised.
//!
//! ```text
//!   …06.journal           …07.journal                         …08.journal
//!  ┌──┬─────┬────┬───┐   ┌──┬───┬────────┬─────┬╌╌╌╌╌╌╌╌╌╌┐  ┌──┬╌╌╌╌╌╌╌╌╌┐
//!  │id│group│grp │grp│   │id│grp│ group  │group│          │  │id│         │
//!  └──┴─────┴────┴───┘   └──┴───┴────────┴─────┴╌╌╌╌╌╌╌╌╌╌┘  └──┴╌╌╌╌╌╌╌╌╌┘
//!   needed as long as     written from front   zeros, or      ready: nothing in it
//!   an entry of it is     to back              earlier lives  yet
//!   in no segment
//! ```
//!
//! A *group* (`group`) is what shares a sync: entries, term and vote, what is to be removed first. It
//! is one write of whole blocks behind the last, and no block is written twice in a life of its file, so
//! a write that is torn hurts only itself. A file (`files`) is made ahead of its use and used again when
//! nobody needs it: writing into blocks that are there takes half as long as adding some. `journal`
//! writes, `scan` reads at a start, and `places` says where each entry stands meanwhile.

mod files;
mod group;
#[expect(clippy::module_inception, reason = "it is the journal")]
mod journal;
mod places;
mod scan;

pub(super) use files::{JournalFile, Spares};
pub(super) use group::{GroupHeader, GroupMark};
pub(super) use journal::{Journal, Written};
pub(super) use places::{Piece, Place, Places};
pub(super) use scan::Scan;
