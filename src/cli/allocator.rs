//! Has the allocator give back what was used once.
//!
//! glibc keeps freed memory at the end of each thread's arena, up to a threshold that it raises to
//! twice the largest block that was ever freed: after some minutes a node held 90 MB in the thread
//! that had sealed a segment and 20 MB in each that had read for a client, and used hardly any of it.
//! The threshold stays where it is once somebody sets it. A program can do so for itself only by a call that is
//! `unsafe`, but whoever starts it can by its environment. So `up` sets it for its nodes, and a node
//! that has none starts itself once more, with the same process id.

use std::ffi::OsStr;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::{env, io};

use super::failure::Failure;
use crate::limits::ALLOCATOR_KEEPS_BYTES_MAX;
use crate::outcome::Outcome;

/// Where glibc looks for the threshold when a process begins.
const THRESHOLD: &str = "MALLOC_TRIM_THRESHOLD_";

/// Where it looks for settings of all kinds.
const TUNABLES: &str = "GLIBC_TUNABLES";

/// Says to a process that it was started anew: glibc takes the others away from one with more rights
/// than who started it.
const STARTED_ANEW: &str = "ANNAL_STARTED_ANEW";

/// Gives a server that is about to be started the threshold, unless it will have one.
pub(super) fn set_for(server: &mut Command) {
    if cfg!(target_env = "gnu") && !is_set() {
        server.env(THRESHOLD, ALLOCATOR_KEEPS_BYTES_MAX.to_string());
    }
}

/// Starts this process anew with a threshold, unless it has one. Returns if it has.
///
/// NB: to be called before anything is opened or started.
///
/// # Errors
/// It cannot be started anew. What was changed for that in this process is not put back, so it does not go
/// on.
pub(super) fn give_back() -> Result<(), Failure> {
    if !cfg!(target_env = "gnu") || is_set() || env::var_os(STARTED_ANEW).is_some() {
        return Ok(());
    }
    // A program whose file was replaced since is not there to be started.
    let there = |program: &std::path::PathBuf| program.is_file();
    let Some(program) = env::current_exe().ok().filter(there) else { return Ok(()) };
    let error = start_anew(Command::new(program));
    let sentence = format!("cannot start anew with {THRESHOLD} in the environment: {error}");
    let hint = format!("start it with {THRESHOLD}={ALLOCATOR_KEEPS_BYTES_MAX} in its environment");
    Err(Failure::new(Outcome::Failed, sentence, hint))
}

fn is_set() -> bool {
    let sets_threshold =
        |tunables: &OsStr| tunables.to_string_lossy().contains("glibc.malloc.trim_threshold");
    env::var_os(THRESHOLD).is_some()
        || env::var_os(TUNABLES).is_some_and(|tunables| sets_threshold(&tunables))
}

/// Starts this process once more, as it was started, with the same process id.
pub(super) fn begin_again() -> Failure {
    let program =
        env::current_exe().unwrap_or_else(|_| env::args_os().next().unwrap_or_default().into());
    let error = start_anew(Command::new(program));
    let sentence = format!("cannot start this process once more: {error}");
    Failure::new(Outcome::Failed, sentence, "start it again")
}

/// Returns only with an error.
fn start_anew(mut command: Command) -> io::Error {
    let mut arguments = env::args_os();
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    set_for(&mut command);
    command.args(arguments).env(STARTED_ANEW, "1").exec()
}
