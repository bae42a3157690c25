//! Giving up: the oldest sealed segments go, once nobody needs anything in them.
//!
//! ```text
//!   `meta` names the segment no more, and says which entry is the first: behind a barrier
//!   nobody new finds it
//!   nobody reads it any more: its folder is deleted
//! ```
//!
//! In this order: a start refuses a list that names what is gone, and deletes a folder that no list
//! names. So a crash at any step loses nothing, and leaves nothing behind. The newest sealed segment
//! stays in any case: what comes behind it is compared with its end at each start.
//!
//! What may go is not decided here: whoever says so ([`super::Writer::release_before`]) has asked which
//! segments have a live record ([`super::Reader::dead_before`]). What a start needs of what is gone is in the
//! head of the segment that it begins with, and so is what a node needs that never had it ([`super::Lacking`]).

use super::database::wait_until_released;
use super::error::StoreError;
use super::upkeep::{Shared, UNPOISONED};
use crate::limits::{NOTE_ROOM_BYTES, SEGMENTS_RELEASED_AT_ONCE};
use crate::marks::{Mark, hit};
use crate::mutants::{self, Mutant};

impl Shared {
    /// Gives up what is to be given up, so many segments at once, and deletes what was.
    pub(super) fn release(&self) -> Result<(), StoreError> {
        for _ in 0..SEGMENTS_RELEASED_AT_ONCE {
            let Some(oldest) = self.segments.oldest_before(self.release_before()) else { break };
            // Where `meta` may have no room it waits: it is asked for again twice a second.
            if self.is_abandoned() || self.free_bytes() < NOTE_ROOM_BYTES {
                break;
            }
            let folder = self.layout.segment(oldest.first);
            if mutants::is_on(Mutant::DeleteListed) && self.layout.disk.exists(&folder)? {
                // The list follows the next time.
                return self.layout.disk.remove_folder(&folder);
            }
            {
                let mut meta = self.meta.lock().expect(UNPOISONED);
                meta.release(&oldest, |record| self.bring_up(record))?;
            }
            hit(Mark::Released);
            self.segments.give_up(oldest.first);
        }
        self.delete_unread()
    }

    /// Deletes the segments that were given up, but for those that are still read. The next start deletes
    /// whatever is left of them.
    fn delete_unread(&self) -> Result<(), StoreError> {
        for first in self.segments.take_unread() {
            let folder = self.layout.segment(first);
            // Its last reader may have let go of it this very moment, and sled's threads not yet. Damage
            // to what nobody needs is no damage; the next start deletes what cannot be had now.
            match wait_until_released(&self.layout.disk, &folder) {
                Err(error) if !error.is_damage() => {
                    tracing::warn!(%first, %error, "a segment that was given up is deleted by the next start");
                }
                _ => {
                    self.layout.disk.remove_folder(&folder)?;
                    tracing::info!(%first, "gave up a segment: nothing in it is live");
                }
            }
        }
        Ok(())
    }
}
