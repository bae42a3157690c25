//! The log that the journal's files make together, from the platter alone.
//!
//! It is asked after every operation of the disk, so it remembers what it has seen and looks only at
//! what was added. Whatever else changes is read from the beginning.

use std::collections::BTreeMap;

use super::entries::Found;
use super::journal::{Group, Mark, Scan};
use super::tree::{self, NodeNumber, Tree, View};
use crate::raft::HardState;
use crate::types::Index;

/// The folder of the journal's files.
pub(super) const FOLDER: &str = "journal";
const SUFFIX: &str = ".journal";

/// The name of a file of the journal.
pub(super) fn file_name(number: u64) -> String {
    format!("{number:020}{SUFFIX}")
}

fn number_in(name: &str) -> Option<u64> {
    name.strip_suffix(SUFFIX).filter(|digits| digits.len() == 20)?.parse().ok()
}

/// The files of the journal on the platter, from a number on.
pub(super) fn files(tree: &Tree, from: u64) -> impl Iterator<Item = (u64, NodeNumber)> {
    let names = tree::part(tree, FOLDER).and_then(|folder| tree.names(View::Platter, folder));
    let behind = names.into_iter().flat_map(move |names| names.range(file_name(from)..));
    behind.filter_map(|(name, node)| Some((number_in(name)?, *node)))
}

/// What the journal says, as far as it was looked at.
#[derive(Clone, Debug, Default)]
pub(super) struct Judge {
    scans: BTreeMap<NodeNumber, Scan>,
    log: JournalLog,
}

impl Judge {
    /// The log that the files from this number on make.
    pub(super) fn look(&mut self, tree: &Tree, from: u64) -> &JournalLog {
        let files: Vec<_> = files(tree, from).collect();
        self.scans.retain(|node, _| files.iter().any(|(_, found)| found == node));
        for (_, node) in &files {
            if let Some(file) = tree.blocks_of(*node) {
                self.scans.entry(*node).or_default().follow(file.platter());
            }
        }
        self.log.follow(&self.scans, &files, from);
        &self.log
    }

    /// What stands in a file that was looked at.
    pub(super) fn scan(&self, node: NodeNumber) -> Option<&Scan> {
        self.scans.get(&node)
    }
}

/// A file of which groups were taken: which it was, and how many they were.
type Taken = (NodeNumber, u64, usize);

/// A log, put together of groups that follow each other.
#[derive(Clone, Debug, Default)]
pub(super) struct JournalLog {
    /// What it was put together of.
    taken: Vec<Taken>,
    /// The last group.
    pub(super) last: Option<Mark>,
    /// How many there are.
    pub(super) groups: u64,
    /// As the last group says.
    pub(super) hard_state: HardState,
    /// The index of the first entry.
    first: Index,
    entries: Vec<Found>,
}

impl JournalLog {
    fn follow(
        &mut self,
        scans: &BTreeMap<NodeNumber, Scan>,
        files: &[(u64, NodeNumber)],
        from: u64,
    ) {
        let scan = |(number, node): &(u64, NodeNumber)| {
            scans.get(node).filter(|scan| scan.is_number(*number)).map(|scan| (*node, scan))
        };
        // Without its first file it has no beginning.
        let begins = files.first().is_some_and(|file| file.0 == from && scan(file).is_some());
        let found = files.iter().filter_map(scan).filter(|(_, scan)| !scan.groups.is_empty());
        let found: Vec<_> = if begins { found.collect() } else { vec![] };
        let all: Vec<Taken> =
            found.iter().map(|(node, scan)| (*node, scan.revision, scan.groups.len())).collect();
        if self.taken == all {
            return;
        }
        if !is_more(&self.taken, &all) {
            *self = Self::default();
        }
        let (last, seen) = (self.taken.len().saturating_sub(1), self.taken.last().copied());
        for (place, (_, scan)) in found.into_iter().enumerate().skip(last) {
            let seen = seen.filter(|_| place == last).map_or(0, |(.., groups)| groups);
            for group in scan.groups.iter().skip(seen) {
                self.add(group);
            }
        }
        self.taken = all;
    }

    /// Adds a group, if it follows. None of what follows on one that does not will do so.
    fn add(&mut self, group: &Group) {
        if self.last.is_some_and(|last| group.previous != last) {
            return;
        }
        let (tip, _) = group.tip;
        if self.last.is_none() {
            self.first = tip.index.next();
        } else if group.truncate_from > Index::ZERO {
            self.truncate(group.truncate_from);
        }
        if self.end() != tip.index.next()
            || self.entries.last().is_some_and(|last| *last != group.tip)
        {
            return;
        }
        self.entries.extend(&group.entries);
        self.last = Some(group.mark);
        self.groups += 1;
        self.hard_state = group.hard_state;
    }

    fn truncate(&mut self, from: Index) {
        let kept = from.get().saturating_sub(self.first.get());
        self.entries.truncate(usize::try_from(kept).unwrap_or(usize::MAX));
        self.first = self.first.min(from);
    }

    /// The index behind the last entry.
    fn end(&self) -> Index {
        Index::new(self.first.get() + self.entries.len() as u64)
    }

    /// The entry with an index.
    pub(super) fn entry(&self, index: Index) -> Option<Found> {
        let place = index.get().checked_sub(self.first.get())?;
        self.entries.get(usize::try_from(place).ok()?).copied()
    }

    /// The last entry of a log whose entries up to `sealed` stand elsewhere.
    pub(super) fn last_behind(&self, sealed: Index) -> Index {
        let follows = !self.entries.is_empty() && self.first <= sealed.next();
        if follows { self.end().previous().max(sealed) } else { sealed }
    }

    /// The lowest entry behind `sealed` that is not the same in another log.
    pub(super) fn first_changed(&self, other: &Self, sealed: Index) -> Option<Index> {
        let from = sealed.next().max(self.first).get();
        let mut indexes = (from..self.end().get()).map(Index::new);
        indexes.find(|index| self.entry(*index) != other.entry(*index))
    }
}

/// Whether `all` is `taken`, with more behind its last group or nothing.
fn is_more(taken: &[Taken], all: &[Taken]) -> bool {
    let Some(((node, revision, groups), before)) = taken.split_last() else { return true };
    let Some((found, _)) = all.strip_prefix(before).and_then(<[Taken]>::split_first) else {
        return false;
    };
    (*node, *revision) == (found.0, found.1) && *groups <= found.2
}
