//! Has the allocator give back what was used once.
//!
//! glibc keeps freed memory at the end of each thread's arena, up to a threshold that it raises to
//! twice the largest block that was ever freed: after some minutes a node held 90 MB in the thread
//! that had sealed a segment and 20 MB in each that had read for a client, and used hardly any of it.
//! The threshold stays where it is once somebody sets it. A program can do so for itself only by a call that is
//! `unsafe`, but whoever starts it can by its environment. So a node starts itself once more, with the
//! same process id.

use std::ffi::OsStr;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::{env, io};

use crate::limits::ALLOCATOR_KEEPS_BYTES_MAX;

/// Where glibc looks for the threshold when a process begins.
const THRESHOLD: &str = "MALLOC_TRIM_THRESHOLD_";

/// Where it looks for settings of all kinds.
const TUNABLES: &str = "GLIBC_TUNABLES";

/// Starts this process anew with a threshold, unless it has one. Returns if it has, or if that cannot
/// be: then the node takes more memory, and is as good otherwise.
///
/// NB: to be called before anything is opened or started.
pub(super) fn give_back() {
    let is_set = env::var_os(THRESHOLD).is_some()
        || env::var_os(TUNABLES).is_some_and(|all| sets_threshold(&all));
    if cfg!(target_env = "gnu") && !is_set {
        let _error = start_anew();
    }
}

fn sets_threshold(tunables: &OsStr) -> bool {
    tunables.to_string_lossy().contains("glibc.malloc.trim_threshold")
}

/// Returns only with an error.
fn start_anew() -> io::Error {
    let program = match env::current_exe() {
        Ok(program) => program,
        Err(error) => return error,
    };
    let mut arguments = env::args_os();
    let mut command = Command::new(&program);
    command.arg0(arguments.next().unwrap_or_else(|| program.into_os_string()));
    command.args(arguments).env(THRESHOLD, ALLOCATOR_KEEPS_BYTES_MAX.to_string());
    command.exec()
}
