//! How a process ends because of its store or of a panic, and whose folder is to blame.
//!
//! A node that lost a thread must not go on voting with the rest. And a sled database that panics
//! while it is opened must not be unwound: its `Drop` would write into the very files that are in
//! question. So the hook ends the process on the spot.

use std::any::Any;
use std::fs::{self, File};
use std::io;
use std::panic::{self, PanicHookInfo};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

use super::error::StoreError;
use crate::remedy;
use crate::types::ByteCount;

/// The exit code for trouble that is nobody's damage.
const EXIT_FAILED: i32 = 1;

/// The exit code for damage.
const EXIT_DAMAGE: i32 = 6;

/// What is being opened at this moment.
static OPENING: Mutex<Vec<Opening>> = Mutex::new(Vec::new());

struct Opening {
    number: u64,
    thread: ThreadId,
    what: Opened,
}

/// What is opened, and so what a panic meanwhile means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Opened {
    /// A folder itself: it gets a mark, and the process ends.
    InPlace(PathBuf),
    /// A copy that nobody needs: the panic is caught by whoever opened it.
    Copy,
}

/// While it lives, a panic of this thread, or of one of sled's, is put down to the folder.
pub(super) struct OpeningGuard {
    number: u64,
}

/// Notes that this thread opens a database now.
pub(super) fn opening(what: Opened) -> OpeningGuard {
    let mut openings = openings();
    let number = openings.iter().map(|opening| opening.number + 1).max().unwrap_or(0);
    openings.push(Opening { number, thread: thread::current().id(), what });
    OpeningGuard { number }
}

impl Drop for OpeningGuard {
    fn drop(&mut self) {
        openings().retain(|opening| opening.number != self.number);
    }
}

fn openings() -> MutexGuard<'static, Vec<Opening>> {
    // The list is whole after each of its changes, whoever panicked.
    OPENING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How the name of a mark ends.
pub(super) const MARK: &str = ".damaged";

/// Where the mark of a damaged folder stands: beside it, so that the folder stays as it was.
pub(super) fn mark_of(folder: &Path) -> PathBuf {
    let mut name = folder.as_os_str().to_owned();
    name.push(MARK);
    name.into()
}

/// Installs the hook of this module for the whole process: a panic ends it.
///
/// While a folder is being opened, the hook marks it (a file `<folder>.damaged` beside it), says so,
/// and exits with code 6; a marked folder is refused from then on. A panic at any other time prints
/// one sentence and aborts. If sled panics because the disk is full, nothing is damaged: the process
/// says so and exits with code 1.
pub fn install_panic_hook() {
    panic::set_hook(Box::new(|info| match panicked_over() {
        over if over != Some(Opened::Copy) && is_about_space(info.payload()) => {
            end_with_full_disk(over, info);
        }
        Some(Opened::Copy) => tracing::debug!(%info, "a copy cannot be opened"),
        // That the system gave no thread or file says nothing of the folder.
        Some(Opened::InPlace(_)) if remedy::of_panic(&info.to_string()).is_some() => {
            end_with_abort(info)
        }
        Some(Opened::InPlace(folder)) => end_with_damage(&folder, info),
        None => end_with_abort(info),
    }));
}

/// What the panicking thread was opening. sled opens on threads of its own as well.
fn panicked_over() -> Option<Opened> {
    let current = thread::current();
    let of_sled = current.name().is_some_and(|name| name.starts_with("sled"));
    let openings = openings();
    let own = openings.iter().find(|opening| opening.thread == current.id());
    let in_place = || openings.iter().find(|opening| matches!(opening.what, Opened::InPlace(_)));
    let any = || openings.first();
    own.or_else(|| if of_sled { in_place().or_else(any) } else { None }).map(|o| o.what.clone())
}

/// Ends the process with exit code 6, because a running store turned out not to hold what it
/// promised: such a node neither votes nor leads nor acknowledges. What is damaged is marked, so that
/// the next start is refused too.
#[expect(clippy::print_stderr, reason = "the last words of a process that ends here")]
pub fn end_at_damage(error: &StoreError) -> ! {
    tracing::error!(%error, "this node ends: its store is damaged");
    eprintln!("error: {error}");
    if let StoreError::Damage { place, .. } = error
        && let Err(error) = set_mark(place, &error.to_string())
    {
        eprintln!("error: cannot mark it either: {error}");
    }
    eprintln!("hint: {}", error.hint());
    process::exit(EXIT_DAMAGE)
}

fn set_mark(folder: &Path, why: &str) -> io::Result<()> {
    let mark = mark_of(folder);
    fs::write(&mark, format!("{why}\n"))?;
    File::open(&mark)?.sync_all()?;
    File::open(mark.parent().unwrap_or(&mark))?.sync_all()
}

#[expect(clippy::print_stderr, reason = "the last words of a process that ends here")]
fn end_with_damage(folder: &Path, info: &PanicHookInfo<'_>) -> ! {
    let marked = set_mark(folder, &info.to_string());
    eprintln!("error: {} is damaged: sled panicked while it was opened", folder.display());
    if let Err(error) = marked {
        eprintln!("error: cannot mark it either: {error}");
    }
    eprintln!("hint: keep the folder; the other nodes carry on without this one");
    process::exit(EXIT_DAMAGE)
}

/// Ends the process with exit code 1, because its store cannot go on: no write or sync is tried
/// again, and the next start finds out what the disk holds.
#[expect(clippy::print_stderr, reason = "the last words of a process that ends here")]
pub(super) fn end_at_failure(error: &StoreError, free_bytes: Option<u64>) -> ! {
    if error.is_damage() {
        end_at_damage(error);
    }
    let free = match free_bytes.filter(|_| error.is_full()) {
        Some(bytes) => format!(" ({} are free)", ByteCount(bytes)),
        None => String::new(),
    };
    tracing::error!(%error, "the store cannot go on, so this process ends");
    eprintln!("error: the store cannot go on, so this process ends: {error}{free}");
    eprintln!("hint: {}", error.hint());
    process::exit(EXIT_FAILED)
}

/// Whether a panic of sled's says that the disk is full: it then shows the error that it was given.
pub(super) fn is_about_space(payload: &(dyn Any + Send)) -> bool {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or_default();
    ["StorageFull", "No space left on device", "QuotaExceeded", "Disk quota exceeded"]
        .iter()
        .any(|words| text.contains(words))
}

#[expect(clippy::print_stderr, reason = "the last words of a process that ends here")]
fn end_with_full_disk(over: Option<Opened>, info: &PanicHookInfo<'_>) -> ! {
    tracing::error!(%info, "the disk is full, so this process ends");
    match over {
        Some(Opened::InPlace(folder)) => {
            eprintln!("error: the disk is full: sled cannot open {}", folder.display());
        }
        _ => eprintln!("error: the disk is full: sled cannot go on, so this process ends"),
    }
    eprintln!("hint: make room there and start again; nothing that was acknowledged is lost");
    process::exit(EXIT_FAILED)
}

#[expect(clippy::print_stderr, reason = "the last words of a process that ends here")]
fn end_with_abort(info: &PanicHookInfo<'_>) -> ! {
    if let Some(hint) = remedy::of_panic(&info.to_string()) {
        eprintln!("error: the system did not give this process what it needs: {}", said_by(info));
        eprintln!("hint: {hint}");
        process::exit(EXIT_FAILED);
    }
    eprintln!("error: a law was broken, so this process ends: {info}");
    tracing::error!(%info, "a law was broken, so this process ends");
    process::abort()
}

/// The message of a panic on one line, without the place in the code.
fn said_by(info: &PanicHookInfo<'_>) -> String {
    info.payload_as_str().unwrap_or("a panic").replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    #[test]
    fn a_panic_is_put_down_to_what_its_own_thread_opens() {
        assert_eq!(panicked_over(), None);
        let outer = opening(Opened::InPlace("/a".into()));
        assert_eq!(panicked_over(), Some(Opened::InPlace("/a".into())));
        let elsewhere = thread::spawn(panicked_over).join().unwrap();
        assert_eq!(elsewhere, None, "a thread that opens nothing was blamed on a folder");
        let of_sled = thread::Builder::new().name("sled-io-1".into()).spawn(panicked_over).unwrap();
        assert!(of_sled.join().unwrap().is_some());
        drop(outer);
        assert_eq!(panicked_over(), None);
    }

    /// What a child of these tests is to do.
    const JOB: &str = "ANNAL_TEST_FATAL_JOB";

    /// Runs a test of this file in a process of its own, with a job.
    fn child(name: &str, job: &Path) -> process::Output {
        let name = format!("store::fatal::tests::{name}");
        let program = std::env::current_exe().unwrap();
        let mut command = process::Command::new(program);
        command.args([name.as_str(), "--exact", "--nocapture"]).env(JOB, job);
        command.output().unwrap()
    }

    #[test]
    fn a_panic_during_an_open_marks_the_folder_and_exits_with_6_without_unwinding() {
        struct Unwound;
        impl Drop for Unwound {
            fn drop(&mut self) {
                println!("unwound");
            }
        }
        if let Some(folder) = std::env::var_os(JOB) {
            install_panic_hook();
            let _unwound = Unwound;
            let _guard = opening(Opened::InPlace(folder.into()));
            let name = "sled-io-7".into();
            let of_sled = thread::Builder::new().name(name).spawn(|| panic!("bad page"));
            of_sled.unwrap().join().unwrap();
        }
        let data = tempfile::tempdir().unwrap();
        let folder = data.path().join("segment");
        let name = "a_panic_during_an_open_marks_the_folder_and_exits_with_6_without_unwinding";
        let output = child(name, &folder);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(EXIT_DAMAGE), "{said}");
        assert!(said.contains("segment is damaged") && said.contains("hint: "), "{said}");
        assert!(!String::from_utf8_lossy(&output.stdout).contains("unwound"));
        let mark = fs::read_to_string(mark_of(&folder)).unwrap();
        assert!(mark.contains("bad page"), "{mark}");
    }

    #[test]
    fn a_panic_at_any_other_time_aborts() {
        if let Some(folder) = std::env::var_os(JOB) {
            install_panic_hook();
            // A folder that another thread opens is not to blame.
            let _guard = opening(Opened::InPlace(folder.into()));
            let other = thread::spawn(|| panic!("a law"));
            let _ = other.join();
            unreachable!("a node with a thread less goes on");
        }
        let data = tempfile::tempdir().unwrap();
        let folder = data.path().join("segment");
        let output = child("a_panic_at_any_other_time_aborts", &folder);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.signal(), Some(6), "{said}");
        assert!(said.contains("a law"), "{said}");
        assert!(!mark_of(&folder).exists());
    }

    #[test]
    fn damage_in_a_running_store_ends_the_process_and_marks_the_place() {
        if let Some(folder) = std::env::var_os(JOB) {
            end_at_damage(&StoreError::damage(Path::new(&folder), super::super::Fault::Hash));
        }
        let data = tempfile::tempdir().unwrap();
        let folder = data.path().join("segment");
        let name = "damage_in_a_running_store_ends_the_process_and_marks_the_place";
        let output = child(name, &folder);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(EXIT_DAMAGE), "{said}");
        assert!(said.contains("segment is damaged") && said.contains("hint: "), "{said}");
        assert!(mark_of(&folder).exists());
    }

    #[test]
    fn a_panic_over_a_copy_is_caught() {
        if std::env::var_os(JOB).is_some() {
            install_panic_hook();
            let caught = panic::catch_unwind(|| {
                let _guard = opening(Opened::Copy);
                panic!("bad page");
            });
            assert!(caught.is_err());
            process::exit(33);
        }
        let output = child("a_panic_over_a_copy_is_caught", Path::new("unused"));
        assert_eq!(output.status.code(), Some(33));
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    #[test]
    fn the_mark_stands_beside_the_folder() {
        assert_eq!(mark_of(Path::new("/d/log/1")), Path::new("/d/log/1.damaged"));
    }
}
