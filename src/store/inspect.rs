//! Looking at a store from outside, while no node runs on it. Everything is looked at on copies in
//! a temporary folder; the store itself is only read.

use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Head;
use super::Identity;
use super::database::{hash_of, on_copy};
use super::disk::Disk;
use super::error::{Fault, StoreError};
use super::installed;
use super::layout::Layout;
use super::lock::lock_to_look;
use super::meta::{Contents, LastEntry, META_SHAPE, SealedRow};
use super::recovery::{Examined, check_first};
use super::segment::{Loaded, content_of, load, segment_shape};
use crate::entry::{Chain, SealedEntry, Tip};
use crate::raft::HardState;
use crate::types::{Index, LogNumber, Offset};

/// What a store holds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Inspection {
    /// Whose it is.
    pub identity: Identity,
    /// Term and vote.
    pub hard_state: HardState,
    /// How many segments the log has.
    pub segments: usize,
    /// The first entry that is there: those before it were given up.
    pub first_index: Index,
    /// The last entry that is there.
    pub last: Tip,
    /// A commit index that the node has known.
    pub commit_index: Index,
    /// The next offset of the log `main`.
    pub next_offset: Offset,
    /// The chain up to the index asked for, or to the last: equal on two nodes if everything up to
    /// there is. `None` if the log does not reach so far, or not intact.
    pub chain: Option<Chain>,
    /// What is wrong, a sentence each.
    pub damage: Vec<String>,
    /// Whether something of that may be a promise, so that the node cannot go on with what is left. What is
    /// damaged besides are sealed segments, which a running node has mended.
    pub is_lost: bool,
}

/// What an inspection comes across, in the order of the log.
#[derive(Clone, Copy, Debug)]
pub enum Seen<'a> {
    /// What the entries before those that follow come to: a segment begins here.
    Head(&'a Head),
    /// An entry.
    Entry(&'a SealedEntry),
}

/// Reads all of the store in `data`, checks it, and takes the chain at `at` (default: at the end).
///
/// Copies one segment at a time, so it needs the space of one in the temporary folder.
///
/// # Errors
/// [`StoreError::Locked`] while a node runs on it; [`StoreError`] if it cannot even be told whose it
/// is. Other damage is listed in the answer.
pub fn inspect(data: &Path, at: Option<Index>) -> Result<Inspection, StoreError> {
    inspect_each(data, at, |_| ())
}

/// As [`inspect`], and shows `visit` each head and each entry that can be read, in order.
///
/// # Errors
/// As there.
pub fn inspect_each(
    data: &Path,
    at: Option<Index>,
    mut visit: impl FnMut(Seen<'_>),
) -> Result<Inspection, StoreError> {
    let layout = Layout::of(data);
    if installed::is_ready(&layout)? {
        return Err(StoreError::Installing { folder: data.to_owned() });
    }
    if !layout.disk.exists(&layout.meta())? {
        return Err(StoreError::Missing { folder: data.to_owned() });
    }
    let _lock = lock_to_look(data)?;
    let scratch = Scratch::new()?;
    let copy = scratch.0.join("copy");
    let contents = on_copy(&Disk::real(), &layout.meta(), &copy, META_SHAPE, Contents::read)?;
    let mut inspector = Inspector::new(&layout, &contents, (at, &mut visit));
    let sealed: Vec<Index> = contents.sealed.keys().copied().collect();
    inspector.note(layout.check_marks(&sealed, contents.record.first).map(|_| ()));
    inspector.note(check_first(&layout, &contents));
    let elsewhere = inspector.found.damage.len();
    for row in contents.sealed.values() {
        inspector.look_at_sealed(row, &copy);
    }
    let mendable = inspector.found.damage.len() - elsewhere;
    inspector.look_at_journal();
    let mut found = inspector.finish();
    found.is_lost = found.damage.len() > mendable;
    Ok(found)
}

/// Checks that a segment holds what the list says: its last entry, and the hash that it has on every node.
fn check_content(
    folder: &Path,
    row: &SealedRow,
    head: &Head,
    entries: &[SealedEntry],
) -> Result<(), StoreError> {
    let tip = entries.last().map_or(head.tip, SealedEntry::tip);
    if row.last == LastEntry::from(&tip) && row.content == content_of(head, &tip) {
        Ok(())
    } else {
        Err(StoreError::damage(folder, Fault::Content))
    }
}

/// A temporary folder that is gone at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self, StoreError> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("annal-inspect-{}-{count}", process::id()));
        Disk::real().remove_folder(&folder)?;
        fs::create_dir(&folder).map_err(StoreError::io("create", &folder))?;
        Ok(Self(folder))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = Disk::real().remove_folder(&self.0) {
            tracing::warn!(%error, "a temporary folder stays behind");
        }
    }
}

/// Who is shown all of it.
type Visit<'a> = &'a mut dyn FnMut(Seen<'_>);

/// Goes through the log from the first entry to the last.
struct Inspector<'a> {
    layout: &'a Layout,
    contents: &'a Contents,
    at: Option<Index>,
    visit: Visit<'a>,
    /// The end of what was found intact so far; `None` behind something that was not.
    intact: Option<Tip>,
    found: Inspection,
}

impl<'a> Inspector<'a> {
    fn new(
        layout: &'a Layout,
        contents: &'a Contents,
        (at, visit): (Option<Index>, Visit<'a>),
    ) -> Self {
        let found = Inspection {
            identity: contents.identity,
            hard_state: contents.record.hard_state,
            segments: contents.sealed.len() + 1,
            first_index: contents.record.first,
            last: Tip::default(),
            commit_index: contents.record.commit_index,
            next_offset: Offset::ZERO,
            chain: None,
            damage: vec![],
            is_lost: false,
        };
        Self { layout, contents, at, visit, intact: Some(Tip::default()), found }
    }

    /// Keeps what went wrong.
    fn note(&mut self, outcome: Result<(), StoreError>) {
        if let Err(error) = outcome {
            self.found.damage.push(error.to_string());
        }
    }

    /// As [`Self::note`]; nothing behind this is known to be intact.
    fn note_break(&mut self, error: StoreError) {
        self.intact = None;
        self.note(Err(error));
    }

    fn look_at_sealed(&mut self, row: &SealedRow, copy: &Path) {
        let first = row.first;
        let folder = self.layout.segment(first);
        match self.layout.disk.exists(&folder) {
            Ok(true) => (),
            Ok(false) => {
                let fault = Fault::SegmentGone { first };
                return self.note_break(StoreError::damage(&folder, fault));
            }
            Err(error) => return self.note_break(error),
        }
        self.note(self.layout.check_mark(&folder));
        let is_as_closed = hash_of(&Disk::real(), &folder).and_then(|files| {
            let differs = || StoreError::damage(&folder, Fault::Hash);
            (files == row.files).then_some(()).ok_or_else(differs)
        });
        self.note(is_as_closed);
        let shape = segment_shape();
        match on_copy(&Disk::real(), &folder, copy, shape, |database| load(database, first)) {
            Ok(Loaded { head, entries }) => {
                self.note(check_content(&folder, row, &head, &entries));
                self.take(&folder, &head, &entries);
            }
            Err(error) => self.note_break(error),
        }
    }

    fn look_at_journal(&mut self) {
        let Examined { head, scan, hard_state, .. } =
            match Examined::of(self.layout, self.contents.clone()) {
                Ok(examined) => examined,
                Err(error) => return self.note_break(error),
            };
        self.found.hard_state = hard_state;
        self.found.commit_index = self.found.commit_index.max(scan.commit_index);
        let entries: Vec<_> = scan.entries.into_iter().map(|(entry, _)| entry).collect();
        self.take(&self.layout.journal(), &head, &entries);
    }

    fn take(&mut self, place: &Path, head: &Head, entries: &[SealedEntry]) {
        let first = head.tip.id.index.next();
        if first == self.contents.record.first && first > Index::new(1) {
            // What was before it was given up, and its head stands for that.
            self.intact = Some(head.tip);
        }
        if self.intact.is_some_and(|tip| tip != head.tip) {
            self.note_break(StoreError::damage(place, Fault::Border { first }));
        }
        let mut of_main = head.next_offsets.iter().filter(|(log, _)| *log == LogNumber::MAIN);
        self.found.next_offset = of_main.next().map(|(_, next)| *next).unwrap_or_default();
        self.pass(&head.tip);
        (self.visit)(Seen::Head(head));
        for entry in entries {
            (self.visit)(Seen::Entry(entry));
            self.pass(&entry.tip());
            let runs = entry.runs().unwrap_or_default();
            if let Some(run) = runs.iter().rev().find(|run| run.log == LogNumber::MAIN) {
                self.found.next_offset = run.next_offset();
            }
        }
        let last = entries.last().map_or(head.tip, SealedEntry::tip);
        self.found.last = last;
        self.intact = self.intact.map(|_| last);
    }

    /// One entry, or the end of the segment before.
    fn pass(&mut self, tip: &Tip) {
        if self.intact.is_some() && self.at == Some(tip.id.index) {
            self.found.chain = Some(tip.chain);
        }
    }

    fn finish(mut self) -> Inspection {
        if self.at.is_none() {
            self.found.chain = self.intact.map(|tip| tip.chain);
        }
        self.found.commit_index = self.found.commit_index.min(self.found.last.id.index);
        self.found
    }
}

#[cfg(test)]
mod tests {
    use super::super::database::wait_until_released;
    use super::super::meta::Meta;
    use super::super::segment::ContentHash;
    use super::super::testing::*;
    use super::super::*;
    use super::*;

    /// Two sealed segments, a full one that is not committed, and one behind it; stopped cleanly or
    /// not.
    fn four_segments(clean: bool) -> (Folder, Log) {
        let folder = Folder::with_store();
        let (mut running, _) = folder.open();
        for sizes in [&[10, 20][..], &[30]] {
            running.append(sizes);
            running.roll();
        }
        running.seal();
        running.append(&[40]);
        running.roll();
        running.append(&[50]);
        running.write(Write { hard_state: Some(hard_state(4, Some(2))), ..nothing() });
        let log = if clean { running.close() } else { running.crash() };
        (folder, log)
    }

    #[test]
    fn an_inspection_tells_what_is_there_and_changes_nothing() {
        for clean in [false, true] {
            let (folder, log) = four_segments(clean);
            let before = folder.contents();
            let found = inspect(folder.path(), None).unwrap();
            assert_eq!(found.damage, [""; 0]);
            assert_eq!(found.identity, IDENTITY);
            assert_eq!(found.hard_state, hard_state(4, Some(2)));
            assert_eq!((found.segments, found.first_index), (3, Index::new(1)));
            assert_eq!((found.last, found.chain), (log.tip(), Some(log.tip().chain)));
            assert_eq!(found.commit_index, Index::new(3));
            assert_eq!(found.next_offset, Offset::new(5));
            for entry in &log.entries {
                let found = inspect(folder.path(), Some(entry.id().index)).unwrap();
                assert_eq!(found.chain, Some(entry.chain()));
            }
            assert_eq!(inspect(folder.path(), Some(Index::new(6))).unwrap().chain, None);
            let mut entries = vec![];
            let mut heads = vec![];
            inspect_each(folder.path(), None, |seen| match seen {
                Seen::Head(head) => heads.push(head.tip.id.index.get()),
                Seen::Entry(entry) => entries.push(entry.clone()),
            })
            .unwrap();
            assert_eq!((entries, heads), (log.entries.clone(), vec![0, 2, 3]));
            assert!(folder.contents() == before);
        }
    }

    #[test]
    fn damage_is_listed_and_everything_else_told() {
        let (folder, log) = four_segments(false);
        let file = folder.segment(1).join("db");
        let mut bytes = fs::read(&file).unwrap();
        let last = bytes.iter().rposition(|byte| *byte != 0).unwrap();
        bytes[last / 2] ^= 1;
        fs::write(&file, bytes).unwrap();
        let before = folder.contents();
        let found = inspect(folder.path(), None).unwrap();
        assert!(!found.damage.is_empty());
        assert!(found.damage[0].contains("00000000000000000001"), "{:?}", found.damage);
        assert_eq!(found.last, log.tip());
        assert!(folder.contents() == before);
    }

    #[test]
    fn a_journal_that_is_gone_is_damage_and_so_is_a_segment() {
        let (folder, log) = four_segments(false);
        let saved = Folder::new();
        copy_folder(folder.path(), saved.path());
        folder.journal().iter().for_each(|file| fs::remove_file(file).unwrap());
        let found = inspect(folder.path(), None).unwrap();
        assert_eq!(found.last.id.index, Index::new(3));
        assert_eq!((found.chain, found.damage.len()), (None, 1), "{:?}", found.damage);

        put_back(&saved.path().join("journal"), &folder.path().join("journal"));
        fs::remove_dir_all(folder.segment(3)).unwrap();
        let found = inspect(folder.path(), None).unwrap();
        assert_eq!(found.last, log.tip());
        assert_eq!((found.chain, found.damage.len()), (None, 1), "{:?}", found.damage);
    }

    /// Rewrites `meta`'s row of the first segment, or takes it away.
    fn change_first_row(folder: &Folder, change: impl FnOnce(&mut SealedRow) -> bool) {
        let layout = Layout::of(folder.path());
        let (mut meta, contents) = Meta::open(&layout.disk, &layout.meta()).unwrap();
        let mut row = contents.sealed.values().next().unwrap().clone();
        let stays = change(&mut row);
        meta.release(&row, |_| ()).unwrap();
        if stays {
            let first = contents.record.first;
            meta.seal(row, &vec![], |record| record.first = first).unwrap();
        }
        meta.close();
        wait_until_released(&layout.disk, &layout.meta()).unwrap();
    }

    /// As one that was made of other entries, though its files are those that were closed.
    #[test]
    fn a_segment_with_other_contents_than_the_list_says_is_damage() {
        let changes: [fn(&mut SealedRow); 2] = [
            |row| row.content = ContentHash::of_test(7),
            |row| row.last.chain = Chain::new([7; 32]),
        ];
        for change in changes {
            let (folder, log) = four_segments(true);
            change_first_row(&folder, |row| {
                change(row);
                true
            });
            let found = inspect(folder.path(), None).unwrap();
            let [damage] = &found.damage[..] else { panic!("{:?}", found.damage) };
            assert!(damage.contains("not what was sealed"), "{damage}");
            assert_eq!(found.last, log.tip());
        }
    }

    /// The list of segments is empty, and the log is to begin behind what is gone.
    #[test]
    fn a_list_that_lacks_the_first_segment_is_damage() {
        let folder = Folder::with_store();
        let (mut running, _) = folder.open();
        running.append(&[10, 20]);
        running.roll();
        running.seal();
        running.append(&[30]);
        running.close();
        assert_eq!(inspect(folder.path(), None).unwrap().damage, [""; 0]);
        change_first_row(&folder, |_| false);
        let found = inspect(folder.path(), None).unwrap();
        let gone = "the segment that begins at 3 is gone";
        assert!(found.damage.iter().any(|damage| damage.contains(gone)), "{:?}", found.damage);
        assert!(folder.try_open().unwrap_err().is_damage());
    }

    #[test]
    fn a_running_store_is_left_alone() {
        let folder = Folder::with_store();
        let (running, _) = folder.open();
        assert!(matches!(inspect(folder.path(), None), Err(StoreError::Locked { .. })));
        running.close();
        fs::remove_dir_all(folder.path().join("meta")).unwrap();
        assert!(matches!(inspect(folder.path(), None), Err(StoreError::Missing { .. })));
    }
}
