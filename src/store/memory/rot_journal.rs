//! Damage to the files of the journal.

use std::iter;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::blocks::BLOCK_BYTES;
use super::disk::State;
use super::journal::Scan;
use super::judge::{self, FOLDER};
use super::platter;
use super::rot::{Choose, Rot, RotKind, pick};
use super::tree::{NodeNumber, ROOT};

/// A file of the journal that may be damaged.
struct Target {
    place: PathBuf,
    /// The file.
    node: NodeNumber,
}

impl State {
    /// Damages a file of the journal, if by that a group is lost that the store answers for: one that
    /// `meta` knows of, or one behind which another is still there. If the end of the journal is gone
    /// and nothing tells of it, it looks as if it had never been written.
    pub(super) fn rot_journal(&mut self, choose: Choose) -> Option<Rot> {
        let record = platter::record(&self.tree)?;
        let files: Vec<_> = judge::files(&self.tree, record.journal_from).collect();
        let (number, node) = *pick(&files, choose)?;
        let place = Path::new(ROOT).join(FOLDER).join(judge::file_name(number));
        let before = self.judge.look(&self.tree, record.journal_from).clone();
        let (last, _) = before.last?;
        let mut damaged = self.clone();
        let kind = damaged.rot_file(&Target { place: place.clone(), node }, choose)?;
        let after = damaged.judge.look(&damaged.tree, record.journal_from).clone();
        let left = after.last.map_or(last - before.groups, |(left, _)| left);
        let is_known = record.synced.number.min(last) > left;
        if !is_known && !self.has_kept(&damaged, record.journal_from, left) {
            return None;
        }
        let lowest = before.first_changed(&after, platter::last_sealed(&self.tree));
        *self = damaged;
        Some(Rot { place, kind, lowest, segment: None })
    }

    /// Whether a group with a higher number than this still stands where it stood.
    fn has_kept(&self, damaged: &Self, journal_from: u64, number: u64) -> bool {
        let mut files = judge::files(&damaged.tree, journal_from);
        files.any(|(_, node)| self.has_kept_in(node, damaged, number).unwrap_or_default())
    }

    fn has_kept_in(&self, node: NodeNumber, damaged: &Self, number: u64) -> Option<bool> {
        let before = self.tree.blocks_of(node)?.platter();
        let after = damaged.tree.blocks_of(node)?.platter();
        let groups = &self.judge.scan(node)?.groups;
        Some(groups.iter().filter(|group| group.mark.0 > number).any(|group| {
            let bytes = after.bytes(group.block, group.bytes);
            bytes.is_some() && bytes == before.bytes(group.block, group.bytes)
        }))
    }

    /// Damages a file in one of several ways, whether that counts or not.
    fn rot_file(&mut self, target: &Target, choose: Choose) -> Option<RotKind> {
        match choose(6) {
            0 | 1 => self.change_block(target, RotKind::Bit, choose),
            2 => self.change_block(target, RotKind::Zeroed, choose),
            3 => {
                self.tree.lose(&target.place);
                Some(RotKind::FileGone)
            }
            4 => {
                let end = parts(self.judge.scan(target.node)?).last()?.end;
                self.tree.blocks_of_mut(target.node)?.cut_short(choose(end));
                Some(RotKind::Short)
            }
            _ => {
                let file = self.tree.blocks_of_mut(target.node)?;
                let count = file.history_length();
                if count == 0 {
                    return None;
                }
                file.rewind(1 + usize::try_from(choose(count)).ok()?);
                Some(RotKind::Older)
            }
        }
    }

    /// Changes a block of the header or of a group, in what counts of it.
    fn change_block(&mut self, target: &Target, kind: RotKind, choose: Choose) -> Option<RotKind> {
        let parts = parts(self.judge.scan(target.node)?);
        let bytes = pick(&parts, choose)?;
        let length = bytes.end - bytes.start;
        let bit = choose(length * 8);
        let (block, at) = split(bytes.start + bit / 8);
        let file = self.tree.blocks_of_mut(target.node)?;
        file.change_block(block, |block| {
            if kind == RotKind::Zeroed {
                block.fill(0);
            } else if let Some(byte) = block.get_mut(at) {
                *byte ^= 1 << (bit % 8);
            }
        });
        Some(kind)
    }
}

/// The bytes of a file that count: those of its header, and those of each group but for the zeros
/// that fill its last block.
fn parts(scan: &Scan) -> Vec<Range<u64>> {
    let groups = scan.groups.iter().map(|group| {
        let begin = group.block * BLOCK_BYTES;
        begin..begin + group.bytes
    });
    iter::once(0..Scan::header_bytes()).chain(groups).collect()
}

/// The block of a place in a file, and the place in it.
fn split(at: u64) -> (u64, usize) {
    (at / BLOCK_BYTES, usize::try_from(at % BLOCK_BYTES).unwrap_or_default())
}
