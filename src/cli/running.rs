//! Who runs a cluster's parts here: a file in `data/` that is locked while they run.
//!
//! The system gives the lock back however the process ends, so what the file says counts only while
//! somebody holds it. It says which process that is, and whether the cluster has come up.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::failure::Failure;
use super::process::Process;
use crate::config::DATA_FOLDER;
use crate::outcome::Outcome;
use crate::remedy;

/// The file, in the folder of the data.
const FILE: &str = "up.json";
/// What is locked while a process starts another one that is to run them, beside it.
const START_FILE: &str = "up.lock";
/// Whoever only looks holds the lock for a moment, and whoever writes is about to have written.
const PATIENCE: Duration = Duration::from_millis(500);
const PAUSE: Duration = Duration::from_millis(10);

/// A process that runs a cluster's parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Runner {
    /// Which.
    pub(super) process: Process,
    /// Whether the cluster has come up.
    pub(super) is_ready: bool,
}

/// This process is the one that runs them, while this lives.
#[derive(Debug)]
pub(super) struct Running {
    path: PathBuf,
    _locked: File,
}

impl Running {
    /// From now on this process runs the parts of the cluster in this directory.
    ///
    /// # Errors
    /// Another does, or the file cannot be written.
    pub(super) fn take(directory: &Path) -> Result<Self, Failure> {
        let path = file_in(directory);
        let locked = locked(&path)?.ok_or_else(|| runs_already(directory))?;
        let running = Self { path, _locked: locked };
        running.write(false)?;
        Ok(running)
    }

    /// The cluster has come up.
    pub(super) fn ready(&self) -> Result<(), Failure> {
        self.write(true)
    }

    fn write(&self, is_ready: bool) -> Result<(), Failure> {
        let process = Process::own().map_err(|error| unusable(&self.path, &error))?;
        let runner = Runner { process, is_ready };
        let text = serde_json::to_string(&runner).expect("numbers have a form in JSON");
        fs::write(&self.path, text + "\n").map_err(|error| unusable(&self.path, &error))
    }
}

/// This process is the one that starts another one in the background, while this lives: of two that did,
/// each would take the other's log away.
#[derive(Debug)]
pub(super) struct Starting {
    _locked: File,
}

impl Starting {
    /// From now on this process starts another one.
    ///
    /// # Errors
    /// Another does, or one runs already.
    pub(super) fn take(directory: &Path) -> Result<Self, Failure> {
        let path = directory.join(DATA_FOLDER).join(START_FILE);
        let locked = locked(&path)?.ok_or_else(|| starts_already(directory))?;
        match runner(directory)? {
            Some(_) => Err(runs_already(directory)),
            None => Ok(Self { _locked: locked }),
        }
    }
}

/// A file that this process has locked; `None` if another has.
fn locked(path: &Path) -> Result<Option<File>, Failure> {
    let file = File::options().create(true).truncate(false).write(true).open(path);
    let file = file.map_err(|error| unusable(path, &error))?;
    let until = Instant::now() + PATIENCE;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Some(file)),
            Err(TryLockError::Error(error)) => return Err(unusable(path, &error)),
            Err(TryLockError::WouldBlock) if Instant::now() < until => thread::sleep(PAUSE),
            Err(TryLockError::WouldBlock) => return Ok(None),
        }
    }
}

/// Who runs the parts of the cluster in this directory, if anybody does.
///
/// # Errors
/// The file cannot be read.
pub(super) fn runner(directory: &Path) -> Result<Option<Runner>, Failure> {
    let path = file_in(directory);
    let until = Instant::now() + PATIENCE;
    loop {
        match held(&path).map_err(|error| unusable(&path, &error))? {
            None => return Ok(None),
            Some(text) => match serde_json::from_str(&text) {
                Ok(runner) => return Ok(Some(runner)),
                Err(_) if Instant::now() < until => thread::sleep(PAUSE),
                Err(error) => return Err(unusable(&path, &error.into())),
            },
        }
    }
}

/// What the file says, if anybody holds it.
fn held(path: &Path) -> io::Result<Option<String>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(None),
        Err(TryLockError::WouldBlock) => fs::read_to_string(path).map(Some),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// The complaint of a second process about the first.
pub(super) fn runs_already(directory: &Path) -> Failure {
    let who = match runner(directory) {
        Ok(Some(runner)) => format!(" (process {})", runner.process.number),
        Ok(None) | Err(_) => String::new(),
    };
    let sentence = format!("the cluster in {} runs already{who}", directory.display());
    let hint = "`annal status` shows it, `annal down` stops it";
    Failure::new(Outcome::Failed, sentence, hint).occupied(true)
}

/// The complaint of a second process that would start it in the background about the first.
fn starts_already(directory: &Path) -> Failure {
    let sentence = format!("another process starts the cluster in {} now", directory.display());
    let hint = "`annal status` shows it as soon as it is up";
    Failure::new(Outcome::Failed, sentence, hint).occupied(true)
}

fn file_in(directory: &Path) -> PathBuf {
    directory.join(DATA_FOLDER).join(FILE)
}

fn unusable(path: &Path, error: &io::Error) -> Failure {
    let sentence = format!("{} cannot be used: {error}", path.display());
    Failure::new(Outcome::Failed, sentence, remedy::of(error, "look into that folder"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_counts_while_somebody_holds_it() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path();
        assert_eq!(runner(directory).unwrap(), None, "there is no file");
        fs::create_dir(directory.join(DATA_FOLDER)).unwrap();
        let running = Running::take(directory).unwrap();
        let process = Process::own().unwrap();
        assert_eq!(runner(directory).unwrap(), Some(Runner { process, is_ready: false }));
        running.ready().unwrap();
        assert_eq!(runner(directory).unwrap(), Some(Runner { process, is_ready: true }));
        let refused = Running::take(directory).unwrap_err();
        assert!(refused.sentence.contains(&format!("runs already (process {})", process.number)));
        let refused = Starting::take(directory).unwrap_err();
        assert!(refused.sentence.contains("runs already"), "{}", refused.sentence);
        // What is left of a process that died says nothing.
        drop(running);
        assert!(file_in(directory).exists());
        assert_eq!(runner(directory).unwrap(), None);
        let starting = Starting::take(directory).unwrap();
        let refused = Starting::take(directory).unwrap_err();
        assert!(refused.sentence.contains("another process starts"), "{}", refused.sentence);
        drop(starting);
        Running::take(directory).unwrap();
    }
}
