//! A backup: the log of a cluster, from the head of a segment on, in one file.
//!
//! ```text
//!  "annalbak" · u32 format, 1 · u32 length, and the beginning: see `Beginning`
//!  if it has a head: u64 length, BLAKE3, and the head as segments have it
//!  the entries, as they are everywhere, one behind the other
//!  the end, 76 bytes: "annalend" · u64 entries · u64 index · u64 term · u64 time · chain · u32 CRC32C
//! ```
//!
//! Numbers are little-endian. A *whole* backup begins with the head of a segment, so it stands for all that was
//! before. One that *follows* on another has none: it begins behind the last entry of that. What an entry is
//! says its chain: so a file is verified while it is written, and whenever it is read.
//!
//! It is written beside its place and gets there when all of it is on the disk: what has the name of a backup
//! is one, whenever a crash comes. What a broken off one leaves behind, the next takes over.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufReader, BufWriter, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::Head;
use super::barrier::sync_path;
use super::meta::{decode, encode};
use super::segment::encode_head;
use crate::entry::{Chain, EntryError, HEADER_BYTES, SealedEntry, Tip, length_in_header};
use crate::limits::{ENTRY_PAYLOAD_BYTES_MAX, HEAD_BYTES_MAX};
use crate::outcome::Outcome;
use crate::remedy;
use crate::types::{ClusterId, Index, LogId, Term, Timestamp};

const MAGIC: &[u8; 8] = b"annalbak";
const FORMAT: u32 = 1;
const END: &[u8; 8] = b"annalend";
const END_BYTES: usize = 76;
/// From the end of the file.
const END_AT: i64 = -76;
/// A beginning is some hundred bytes.
const BEGINNING_BYTES_MAX: u32 = 1 << 10;
/// What is behind the name of a backup that is being written.
const PARTIAL: &str = ".partial";
/// Bytes read and written at once.
const BUFFER_BYTES: usize = 1 << 20;

/// Where a backup comes from, and where it begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beginning {
    /// The cluster whose log it is.
    pub cluster: ClusterId,
    /// When it was begun, by the clock of who took it.
    pub begun: Timestamp,
    /// The entry before its first.
    pub after: Tip,
    /// Whether a head stands for what was before.
    pub is_whole: bool,
}

/// The end of a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackupEnd {
    /// How many entries it has.
    pub entries: u64,
    /// The last of them, or the one before its first.
    pub tip: Tip,
}

/// Trouble with a backup.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BackupError {
    /// There is something of that name.
    #[error("{} is already there, and is not overwritten", path.display())]
    Occupied {
        /// The name.
        path: PathBuf,
    },
    /// Another process writes it.
    #[error("another process is writing {}", path.display())]
    Locked {
        /// Its name while it is written.
        path: PathBuf,
    },
    /// It is another file.
    #[error("{} is no backup", path.display())]
    NoBackup {
        /// The file.
        path: PathBuf,
    },
    /// A format that this program does not know.
    #[error("{} is a backup of format {found}; this program knows format {FORMAT}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What was found.
        found: u32,
    },
    /// It is not what was written.
    #[error("{} is damaged at byte {at}, behind entry {last}: {fault}", path.display())]
    Damage {
        /// The file.
        path: PathBuf,
        /// Where.
        at: u64,
        /// The last entry that is intact.
        last: LogId,
        /// What is wrong.
        fault: BackupFault,
    },
    /// It does not begin where the one before it ends.
    #[error("{} begins behind entry {after}, and what it is to follow on ends with {before}", path.display())]
    Border {
        /// The file.
        path: PathBuf,
        /// The entry before its first.
        after: LogId,
        /// Where the one before ends.
        before: LogId,
    },
    /// It follows on another.
    #[error("{} has only what came behind entry {after}", path.display())]
    NotWhole {
        /// The file.
        path: PathBuf,
        /// The entry before its first.
        after: LogId,
    },
    /// The operating system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

/// What is wrong with a damaged backup.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BackupFault {
    /// An entry.
    #[error("{0}")]
    Entry(#[from] EntryError),
    /// It ends too early.
    #[error("it ends before its end was written")]
    Cut,
    /// A part is not of its form.
    #[error("its {0} is not of its form")]
    Part(&'static str),
    /// Something follows its end.
    #[error("something follows its end")]
    Rest,
}

impl BackupError {
    /// What it means for scripts.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Damage { .. } => Outcome::Damage,
            _ => Outcome::Failed,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Occupied { .. } => "choose another name, or remove what is there".to_owned(),
            Self::Locked { .. } => "wait for it, or choose another name".to_owned(),
            Self::NoBackup { .. } => {
                "it is a file that `annal client backup --out` has written".to_owned()
            }
            Self::Format { .. } => "use the version of annal that wrote it".to_owned(),
            Self::Damage { .. } => {
                "copy it again from where it was written to, or take another: `annal client backup`"
                    .to_owned()
            }
            Self::Border { .. } => {
                "give a whole one first and those that follow in the order in which they were taken"
                    .to_owned()
            }
            Self::NotWhole { .. } => {
                "give the backup that it follows on first: --from WHOLE --from THIS".to_owned()
            }
            Self::Io { source, .. } => remedy::of(source, "check the disk").to_owned(),
        }
    }

    fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}

/// A backup that is being written. Dropped before its end it leaves nothing of its name.
#[derive(Debug)]
pub struct BackupWriter {
    path: PathBuf,
    partial: PathBuf,
    file: BufWriter<File>,
    end: BackupEnd,
    bytes: u64,
}

impl BackupWriter {
    /// Begins a backup that will be at `path`.
    ///
    /// # Errors
    /// [`BackupError`]: there is something, or it cannot be written.
    pub fn begin(path: &Path) -> Result<Self, BackupError> {
        if path.try_exists().map_err(BackupError::io("look for", path))? {
            return Err(BackupError::Occupied { path: path.to_owned() });
        }
        let mut partial = path.as_os_str().to_owned();
        partial.push(PARTIAL);
        let partial = PathBuf::from(partial);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(&partial).map_err(BackupError::io("create", &partial))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(BackupError::Locked { path: partial }),
            Err(TryLockError::Error(error)) => {
                return Err(BackupError::io("lock", &partial)(error));
            }
        }
        file.set_len(0).map_err(BackupError::io("write", &partial))?;
        let file = BufWriter::with_capacity(BUFFER_BYTES, file);
        let end = BackupEnd { entries: 0, tip: Tip::default() };
        Ok(Self { path: path.to_owned(), partial, file, end, bytes: 0 })
    }

    /// Writes where it comes from, and the head if it begins with one: once, before the entries.
    ///
    /// # Errors
    /// [`BackupError::Io`].
    pub fn describe(
        &mut self,
        (cluster, begun): (ClusterId, Timestamp),
        after: Tip,
        head: Option<&Head>,
    ) -> Result<(), BackupError> {
        assert_eq!(self.bytes, 0, "it is described once");
        self.end.tip = after;
        let beginning = encode(&Beginning { cluster, begun, after, is_whole: head.is_some() });
        let length = u32::try_from(beginning.len()).expect("a beginning is small");
        self.write(MAGIC)?;
        self.write(&FORMAT.to_le_bytes())?;
        self.write(&length.to_le_bytes())?;
        self.write(&beginning)?;
        let Some(head) = head else { return Ok(()) };
        let form = encode_head(head);
        self.write(&(form.len() as u64).to_le_bytes())?;
        self.write(blake3::hash(&form).as_bytes())?;
        self.write(&form)
    }

    /// Writes the next entry.
    ///
    /// # Errors
    /// [`BackupError::Damage`] if it does not follow on the one before, and others if it cannot be written.
    pub fn push(&mut self, entry: &SealedEntry) -> Result<(), BackupError> {
        if let Err(error) = entry.check_follows(&self.end.tip) {
            return Err(self.damage(error));
        }
        self.write(entry.bytes())?;
        self.end = BackupEnd { entries: self.end.entries + 1, tip: entry.tip() };
        Ok(())
    }

    /// Where it ends so far.
    pub fn end(&self) -> BackupEnd {
        self.end
    }

    /// How many bytes it has so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Writes the end, and returns when all of it is on the disk under its name.
    ///
    /// # Errors
    /// [`BackupError::Io`].
    pub fn finish(mut self) -> Result<(), BackupError> {
        let end = self.end.encode();
        self.write(&end)?;
        self.file.flush().map_err(BackupError::io("write", &self.partial))?;
        self.file.get_ref().sync_all().map_err(BackupError::io("sync", &self.partial))?;
        fs::rename(&self.partial, &self.path).map_err(BackupError::io("write", &self.path))?;
        let folder = match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        sync_path(folder).map_err(BackupError::io("sync", folder))
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), BackupError> {
        self.file.write_all(bytes).map_err(BackupError::io("write", &self.partial))?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    fn damage(&self, fault: impl Into<BackupFault>) -> BackupError {
        let (at, last) = (self.bytes, self.end.tip.id);
        BackupError::Damage { path: self.path.clone(), at, last, fault: fault.into() }
    }
}

impl Drop for BackupWriter {
    fn drop(&mut self) {
        // Gone once it has its name; what cannot be removed the next one takes over.
        let _ = fs::remove_file(&self.partial);
    }
}

impl BackupEnd {
    fn encode(&self) -> Vec<u8> {
        let Self { entries, tip } = self;
        let mut bytes = END.to_vec();
        for number in [*entries, tip.id.index.get(), tip.id.term.get(), tip.time.get()] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(tip.chain.as_bytes());
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
        assert_eq!(bytes.len(), END_BYTES);
        bytes
    }

    fn decode(bytes: &[u8; END_BYTES]) -> Option<Self> {
        let (covered, crc) = bytes.split_last_chunk::<4>()?;
        let (magic, mut rest) = covered.split_first_chunk::<8>()?;
        if magic != END || crc32c::crc32c(covered).to_le_bytes() != *crc {
            return None;
        }
        let mut number = || {
            let (number, behind) = rest.split_first_chunk::<8>()?;
            rest = behind;
            Some(u64::from_le_bytes(*number))
        };
        let (entries, index, term, time) = (number()?, number()?, number()?, number()?);
        let id = LogId::new(Index::new(index), Term::new(term));
        let chain = Chain::new(rest.try_into().ok()?);
        Some(Self { entries, tip: Tip { id, chain, time: Timestamp::new(time) } })
    }
}

/// Where the backup at `path` begins and ends, as it says. What is in between is not read.
///
/// # Errors
/// [`BackupError`].
pub fn outline(path: &Path) -> Result<(Beginning, BackupEnd), BackupError> {
    let mut backup = Backup::open(path)?;
    let file = backup.input.get_mut();
    let mut bytes = [0; END_BYTES];
    let read = file.seek(SeekFrom::End(END_AT)).and_then(|_| file.read_exact(&mut bytes));
    match read {
        Err(error) if !is_cut(&error) => Err(BackupError::io("read", path)(error)),
        _ => BackupEnd::decode(&bytes)
            .map(|end| (backup.beginning.clone(), end))
            .ok_or_else(|| backup.damage(BackupFault::Cut)),
    }
}

/// A backup that is being read, from its beginning to its end.
#[derive(Debug)]
pub struct Backup {
    path: PathBuf,
    input: BufReader<File>,
    beginning: Beginning,
    head: Option<Head>,
    at: u64,
    end: BackupEnd,
    is_over: bool,
}

impl Backup {
    /// Opens it, and reads and checks what is before its entries.
    ///
    /// # Errors
    /// [`BackupError`].
    pub fn open(path: &Path) -> Result<Self, BackupError> {
        let file = File::open(path).map_err(BackupError::io("open", path))?;
        let mut backup = Self {
            path: path.to_owned(),
            input: BufReader::with_capacity(BUFFER_BYTES, file),
            beginning: Beginning {
                cluster: ClusterId::new(0),
                begun: Timestamp::default(),
                after: Tip::default(),
                is_whole: false,
            },
            head: None,
            at: 0,
            end: BackupEnd { entries: 0, tip: Tip::default() },
            is_over: false,
        };
        backup.read_beginning()?;
        Ok(backup)
    }

    /// Where it comes from, and where it begins.
    pub fn beginning(&self) -> &Beginning {
        &self.beginning
    }

    /// What was before its entries, if it is a whole one.
    pub fn head(&self) -> Option<&Head> {
        self.head.as_ref()
    }

    /// Where it ends, as far as it was read.
    pub fn end(&self) -> BackupEnd {
        self.end
    }

    /// Bytes that were read.
    pub fn bytes(&self) -> u64 {
        self.at
    }

    /// Checks that it goes on where another one ended.
    ///
    /// # Errors
    /// [`BackupError::Border`].
    pub fn check_follows(&self, before: &Tip) -> Result<(), BackupError> {
        let after = self.beginning.after;
        if after == *before {
            return Ok(());
        }
        let (path, after, before) = (self.path.clone(), after.id, before.id);
        Err(BackupError::Border { path, after, before })
    }

    /// Checks that it can be the first.
    ///
    /// # Errors
    /// [`BackupError::NotWhole`].
    pub fn whole_head(&self) -> Result<&Head, BackupError> {
        self.head.as_ref().ok_or_else(|| BackupError::NotWhole {
            path: self.path.clone(),
            after: self.beginning.after.id,
        })
    }

    /// The next entry, checked and as a part of the chain; `None` at the end, which is checked, too.
    ///
    /// # Errors
    /// [`BackupError::Damage`] if it is not what was written.
    pub fn next_entry(&mut self) -> Result<Option<SealedEntry>, BackupError> {
        if self.is_over {
            return Ok(None);
        }
        let mut first = [0; END.len()];
        self.read(&mut first)?;
        if first == *END {
            self.read_end()?;
            self.is_over = true;
            return Ok(None);
        }
        let length = length_in_header(&first).unwrap_or(0);
        if !(HEADER_BYTES..=HEADER_BYTES + ENTRY_PAYLOAD_BYTES_MAX).contains(&length) {
            return Err(self.damage(BackupFault::Part("entry")));
        }
        let mut bytes = vec![0; length];
        let (begin, rest) = bytes.split_at_mut(first.len());
        begin.copy_from_slice(&first);
        self.read(rest)?;
        let checked = SealedEntry::parse(Bytes::from(bytes))
            .and_then(|entry| entry.check_follows(&self.end.tip).map(|()| entry));
        let entry = checked.map_err(|error| self.damage(error))?;
        self.end = BackupEnd { entries: self.end.entries + 1, tip: entry.tip() };
        Ok(Some(entry))
    }

    fn read_beginning(&mut self) -> Result<(), BackupError> {
        let mut magic = [0; MAGIC.len()];
        let is_backup = self.read(&mut magic).map(|()| magic == *MAGIC);
        if !is_backup.or_else(|error| if error.is_cut() { Ok(false) } else { Err(error) })? {
            return Err(BackupError::NoBackup { path: self.path.clone() });
        }
        let found = self.read_u32()?;
        if found != FORMAT {
            return Err(BackupError::Format { path: self.path.clone(), found });
        }
        let bad = || BackupFault::Part("beginning");
        let length = self.read_u32()?;
        if length > BEGINNING_BYTES_MAX {
            return Err(self.damage(bad()));
        }
        let mut bytes = vec![0; length as usize];
        self.read(&mut bytes)?;
        self.beginning = decode(&bytes).ok_or_else(|| self.damage(bad()))?;
        if self.beginning.is_whole {
            self.read_head()?;
        }
        self.end.tip = self.beginning.after;
        Ok(())
    }

    fn read_head(&mut self) -> Result<(), BackupError> {
        let bad = || BackupFault::Part("head");
        let (mut length, mut hash) = ([0; 8], [0; 32]);
        self.read(&mut length)?;
        self.read(&mut hash)?;
        let length = u64::from_le_bytes(length);
        if length > HEAD_BYTES_MAX as u64 {
            return Err(self.damage(bad()));
        }
        let mut form = vec![];
        self.at += length;
        let read = (&mut self.input).take(length).read_to_end(&mut form);
        read.map_err(BackupError::io("read", &self.path))?;
        let head: Option<Head> = postcard::from_bytes(&form).ok();
        let head = head.filter(|head| head.tip == self.beginning.after);
        let is_whole = *blake3::hash(&form).as_bytes() == hash;
        self.head = Some(head.filter(|_| is_whole).ok_or_else(|| self.damage(bad()))?);
        Ok(())
    }

    fn read_end(&mut self) -> Result<(), BackupError> {
        let mut bytes = [0; END_BYTES];
        let (begin, rest) = bytes.split_at_mut(END.len());
        begin.copy_from_slice(END);
        self.read(rest)?;
        if BackupEnd::decode(&bytes) != Some(self.end) {
            return Err(self.damage(BackupFault::Part("end")));
        }
        match self.input.read(&mut [0]) {
            Ok(0) => Ok(()),
            Ok(_) => Err(self.damage(BackupFault::Rest)),
            Err(error) => Err(BackupError::io("read", &self.path)(error)),
        }
    }

    fn read_u32(&mut self) -> Result<u32, BackupError> {
        let mut bytes = [0; 4];
        self.read(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn read(&mut self, bytes: &mut [u8]) -> Result<(), BackupError> {
        match self.input.read_exact(bytes) {
            Ok(()) => {
                self.at += bytes.len() as u64;
                Ok(())
            }
            Err(error) if is_cut(&error) => Err(self.damage(BackupFault::Cut)),
            Err(error) => Err(BackupError::io("read", &self.path)(error)),
        }
    }

    fn damage(&self, fault: impl Into<BackupFault>) -> BackupError {
        let (at, last) = (self.at, self.end.tip.id);
        BackupError::Damage { path: self.path.clone(), at, last, fault: fault.into() }
    }
}

impl BackupError {
    fn is_cut(&self) -> bool {
        matches!(self, Self::Damage { fault: BackupFault::Cut, .. })
    }
}

/// Whether a read has found that the file is over: a seek to before its beginning is no place.
fn is_cut(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::InvalidInput)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Log, hex};
    use super::*;

    /// A file with the log's entries from the first on, or from the third.
    fn written(folder: &Path, name: &str, log: &Log, whole: bool) -> PathBuf {
        let path = folder.join(name);
        let mut writer = BackupWriter::begin(&path).unwrap();
        let skip = if whole { 0 } else { 2 };
        let before = Log::of(&log.entries[..skip]);
        let head = before.head();
        let origin = (ClusterId::new(7), Timestamp::new(8));
        writer.describe(origin, before.tip(), whole.then_some(&head)).unwrap();
        for entry in &log.entries[skip..] {
            writer.push(entry).unwrap();
        }
        assert!(!path.exists(), "it has its name when it is whole");
        writer.finish().unwrap();
        path
    }

    fn log() -> Log {
        let mut log = Log::new();
        for bytes in [10, 0, 300, 70_000] {
            log.add(bytes);
        }
        log
    }

    fn read(path: &Path) -> Result<(Backup, Vec<SealedEntry>), BackupError> {
        let mut backup = Backup::open(path)?;
        let mut entries = vec![];
        while let Some(entry) = backup.next_entry()? {
            entries.push(entry);
        }
        Ok((backup, entries))
    }

    #[test]
    fn what_is_read_is_what_was_written_whole_or_from_an_entry_on() {
        let folder = tempfile::tempdir().unwrap();
        let log = log();
        for whole in [true, false] {
            let path = written(folder.path(), &format!("{whole}"), &log, whole);
            let (mut backup, entries) = read(&path).unwrap();
            let skip = if whole { 0 } else { 2 };
            assert_eq!(entries, log.entries[skip..]);
            let before = Log::of(&log.entries[..skip]);
            assert_eq!(backup.head().cloned(), whole.then(|| before.head()));
            assert_eq!(backup.whole_head().is_ok(), whole);
            assert_eq!(backup.beginning().cluster, ClusterId::new(7));
            let end = BackupEnd { entries: entries.len() as u64, tip: log.tip() };
            assert_eq!((backup.end(), backup.bytes()), (end, fs::metadata(&path).unwrap().len()));
            assert_eq!(outline(&path).unwrap(), (backup.beginning().clone(), end));
            assert!(backup.next_entry().unwrap().is_none(), "it stays over");
            backup.check_follows(&before.tip()).unwrap();
            let error = backup.check_follows(&Log::of(&log.entries[..1]).tip()).unwrap_err();
            assert!(matches!(error, BackupError::Border { .. }), "{error}");
        }
    }

    #[test]
    fn golden_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::new();
        log.add(1);
        let bytes = fs::read(written(folder.path(), "one", &log, true)).unwrap();
        assert_eq!(hex(&bytes[..8]), "616e6e616c62616b");
        assert_eq!(hex(&bytes[8..16]), "0100000039000000");
        let end = hex(&bytes[bytes.len() - END_BYTES..]);
        assert!(end.starts_with("616e6e616c656e6401000000000000000100000000000000"), "{end}");
    }

    /// Whatever is changed, cut off or added: no entry that is not as it was is given, and it is said.
    #[test]
    fn a_changed_file_is_known() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::new();
        for bytes in [3, 0, 40] {
            log.add(bytes);
        }
        let path = written(folder.path(), "whole", &log, true);
        let bytes = fs::read(&path).unwrap();
        let changed = folder.path().join("changed");
        let refused = |bytes: &[u8], how: &str| {
            fs::write(&changed, bytes).unwrap();
            let mut backup = match Backup::open(&changed) {
                Ok(backup) => backup,
                Err(error) => return assert!(!matches!(error, BackupError::Io { .. }), "{error}"),
            };
            for known in log.entries.iter().map(Some).chain([None]) {
                match backup.next_entry() {
                    Ok(found) => assert_eq!(found.as_ref(), known, "{how}"),
                    Err(error) => return assert_eq!(error.outcome(), Outcome::Damage, "{error}"),
                }
            }
            panic!("{how} was not noticed");
        };
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (at % 8);
            refused(&flipped, &format!("a flip at {at}"));
        }
        for at in (0..bytes.len()).step_by(7) {
            refused(&bytes[..at], &format!("a cut at {at}"));
        }
        refused(&[&bytes[..], b"x"].concat(), "a byte more");
        fs::write(&changed, &bytes[..bytes.len() - 1]).unwrap();
        assert_eq!(outline(&changed).unwrap_err().outcome(), Outcome::Damage);
        fs::write(&changed, "no").unwrap();
        assert!(matches!(outline(&changed), Err(BackupError::NoBackup { .. })));
    }

    #[test]
    fn nothing_is_overwritten_and_what_was_broken_off_is_taken_over() {
        let folder = tempfile::tempdir().unwrap();
        let log = log();
        let path = folder.path().join("b");
        let partial = folder.path().join("b.partial");
        fs::write(&partial, vec![7; 1 << 20]).unwrap();
        let writer = BackupWriter::begin(&path).unwrap();
        assert!(matches!(BackupWriter::begin(&path), Err(BackupError::Locked { .. })));
        drop(writer);
        assert!(!partial.exists(), "one that is given up leaves nothing");
        fs::write(&partial, vec![7; 1 << 20]).unwrap();
        assert_eq!(written(folder.path(), "b", &log, true), path);
        assert_eq!(read(&path).unwrap().1, log.entries);
        assert!(!partial.exists());
        assert!(matches!(BackupWriter::begin(&path), Err(BackupError::Occupied { .. })));
    }

    #[test]
    fn an_entry_of_another_history_is_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let log = log();
        let mut writer = BackupWriter::begin(&folder.path().join("b")).unwrap();
        let origin = (ClusterId::new(7), Timestamp::new(8));
        writer.describe(origin, Tip::default(), None).unwrap();
        writer.push(&log.entries[0]).unwrap();
        assert_eq!(writer.push(&log.entries[2]).unwrap_err().outcome(), Outcome::Damage);
        writer.push(&log.entries[1]).unwrap();
        assert_eq!(writer.end(), BackupEnd { entries: 2, tip: log.entries[1].tip() });
    }
}
