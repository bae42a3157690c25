//! What is to go wrong with the operations of a disk, and what has gone wrong so far.

use std::io;

use crate::marks::{Mark, hit};

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    /// Looks. Not counted.
    Read,
    /// Changes something, and needs space for it.
    Write,
    /// Writes to a file, which gets so many bytes longer.
    Grow(u64),
    /// Changes something without needing space: removes, renames.
    Change,
    /// Waits for the disk.
    Sync,
}

impl Operation {
    /// Bytes that must be free for it. What a pair takes is not known before: so it is one.
    pub(super) fn needed_bytes(self) -> u64 {
        match self {
            Self::Write => 1,
            Self::Grow(bytes) => bytes,
            Self::Read | Self::Change | Self::Sync => 0,
        }
    }
}

/// Which operations fail from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failing {
    /// Those that read.
    Reads,
    /// Those that write or change.
    Writes,
}

/// How often what has gone wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FaultCounts {
    /// Processes that were killed between two operations.
    pub kills: u64,
    /// Power cuts.
    pub power_cuts: u64,
    /// Batches that were written, not synced, and survived a power cut.
    pub batches_kept: u64,
    /// Batches that were written, not synced, and lost with the power.
    pub batches_lost: u64,
    /// Batches of which a half was left.
    pub batches_torn: u64,
    /// Blocks that were written, not synced, and survived a power cut.
    pub blocks_kept: u64,
    /// Blocks that were lost with the power.
    pub blocks_lost: u64,
    /// Changes of names that were not synced and survived a power cut.
    pub names_kept: u64,
    /// Changes of names that were lost with the power.
    pub names_lost: u64,
    /// Syncs that failed.
    pub syncs_failed: u64,
    /// Reads that failed.
    pub reads_failed: u64,
    /// Writes that failed, those on a full disk excepted.
    pub writes_failed: u64,
    /// Writes that did not fit.
    pub writes_refused: u64,
    /// Places that were damaged.
    pub rots: u64,
}

/// What is to go wrong.
#[expect(clippy::struct_excessive_bools, reason = "faults do not exclude each other")]
#[derive(Clone, Debug, Default)]
pub(super) struct Faults {
    /// How many more operations the process lives; `None` for ever.
    pub(super) operations_left: Option<u64>,
    pub(super) is_killed: bool,
    pub(super) sync_fails: bool,
    pub(super) reads_fail: bool,
    pub(super) writes_fail: bool,
    /// What the operation needs does not fit any more.
    pub(super) is_full: bool,
    /// Operations so far.
    pub(super) operations: u64,
    pub(super) counts: FaultCounts,
}

/// What becomes of an operation.
#[derive(Debug)]
pub(super) enum Refusal {
    /// Nothing happens: the process is not there to see it.
    Killed,
    /// It fails, half done.
    Failed(io::Error),
}

impl From<Refusal> for io::Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Killed => killed(),
            Refusal::Failed(error) => error,
        }
    }
}

/// What a process that was killed would be told.
pub(super) fn killed() -> io::Error {
    io::Error::other("the process was killed")
}

fn input_output_error() -> io::Error {
    io::Error::from_raw_os_error(rustix::io::Errno::IO.raw_os_error())
}

fn no_space() -> io::Error {
    io::Error::from_raw_os_error(rustix::io::Errno::NOSPC.raw_os_error())
}

impl Faults {
    /// Decides what becomes of the next operation.
    pub(super) fn pass(&mut self, operation: Operation) -> Result<(), Refusal> {
        if self.is_killed {
            return Err(Refusal::Killed);
        }
        if operation != Operation::Read {
            self.count()?;
        }
        match operation {
            Operation::Read if self.reads_fail => {
                self.counts.reads_failed += 1;
                Err(Refusal::Failed(input_output_error()))
            }
            Operation::Write | Operation::Grow(_) | Operation::Change if self.writes_fail => {
                self.counts.writes_failed += 1;
                Err(Refusal::Failed(input_output_error()))
            }
            Operation::Write | Operation::Grow(_) if self.is_full => {
                hit(Mark::DiskFull);
                self.counts.writes_refused += 1;
                Err(Refusal::Failed(no_space()))
            }
            Operation::Sync if self.sync_fails => {
                self.sync_fails = false;
                hit(Mark::SyncFailed);
                self.counts.syncs_failed += 1;
                Err(Refusal::Failed(input_output_error()))
            }
            _ => Ok(()),
        }
    }

    fn count(&mut self) -> Result<(), Refusal> {
        match &mut self.operations_left {
            Some(0) => {
                self.is_killed = true;
                self.counts.kills += 1;
                return Err(Refusal::Killed);
            }
            Some(left) => *left -= 1,
            None => (),
        }
        self.operations += 1;
        Ok(())
    }

    /// A new process: what was said of the old one's operations is over. A full disk stays full.
    pub(super) fn restart(&mut self) {
        self.operations_left = None;
        self.is_killed = false;
        self.sync_fails = false;
        self.reads_fail = false;
        self.writes_fail = false;
    }
}
