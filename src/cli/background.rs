//! `annal up --detach`: the same `up`, as a process that outlives this one.

use std::env;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, sleep};

use super::args::{Shared, Up};
use super::children::ending;
use super::failure::{End, Failure};
use super::running::{self, Runner, Starting};
use super::runtime::Signals;
use crate::config::DATA_FOLDER;
use crate::outcome::Outcome;
use crate::remedy;

/// What it says goes here, in the folder of the data; what the one before said, beside it.
const LOG: &str = "up.log";
const LOG_BEFORE: &str = "up.log.1";
/// How long a cluster may take to come up: many times what one takes that can.
const COMES_UP_WITHIN: Duration = Duration::from_mins(1);
/// How often it is looked whether it has.
const POLL: Duration = Duration::from_millis(50);

/// Where what it says goes.
pub(super) fn log_in(directory: &Path) -> PathBuf {
    directory.join(DATA_FOLDER).join(LOG)
}

/// Starts `up` in the background and waits until the cluster has come up. Returns its process.
///
/// # Errors
/// One runs already; or it ended, for the reason that it said; or it was interrupted, and is stopped.
pub(super) async fn start(args: &Up, shared: &Shared) -> Result<u32, End> {
    let mut signals = Signals::new()?;
    let _starting = Starting::take(&args.dir)?;
    let log = log_in(&args.dir);
    let mut child = spawn(args, shared, &log).map_err(|error| cannot_start(&error))?;
    let process = child.id();
    let came_up = tokio::select! {
        came_up = comes_up(&mut child, &args.dir) => came_up?,
        () = signals.next() => {
            stop(&mut child);
            return Err(interrupted().into());
        }
    };
    match came_up {
        Some(status) => Err(why(status, &log).into()),
        None => Ok(process),
    }
}

fn spawn(args: &Up, shared: &Shared, log: &Path) -> io::Result<Child> {
    let mut command = Command::new(env::current_exe()?);
    command.arg("up").arg("--dir").arg(&args.dir);
    command.args(args.restart.then_some("--restart"));
    command.args(["--log-format", shared.log_format.word()]);
    if let Some(filter) = &shared.log_filter {
        command.args(["--log-filter", filter]);
    }
    // Its complaint is read, and said here in the form that was asked for here.
    command.env_remove("ANNAL_JSON");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(fresh(log)?);
    // What is typed in this terminal is not for it.
    command.process_group(0).spawn()
}

/// A new log. What was said before stays for once: it may say why this had to be started again.
fn fresh(log: &Path) -> io::Result<File> {
    match fs::rename(log, log.with_file_name(LOG_BEFORE)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    OpenOptions::new().create(true).append(true).open(log)
}

/// Waits until it is ready, or has ended, and how.
async fn comes_up(child: &mut Child, directory: &Path) -> Result<Option<ExitStatus>, Failure> {
    let deadline = Instant::now() + COMES_UP_WITHIN;
    loop {
        if let Some(status) = child.try_wait().map_err(|error| cannot_start(&error))? {
            return Ok(Some(status));
        }
        let is_ready = |runner: Runner| runner.process.number == child.id() && runner.is_ready;
        if running::runner(directory)?.is_some_and(is_ready) {
            return Ok(None);
        }
        if Instant::now() >= deadline {
            return Err(late(directory));
        }
        sleep(POLL).await;
    }
}

/// Why it ended, as it said itself with its last words.
fn why(status: ExitStatus, log: &Path) -> Failure {
    let said = fs::read_to_string(log).unwrap_or_default();
    let last = |word: &str| said.lines().rev().find_map(|line| line.strip_prefix(word));
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    let outcome = code.map_or(Outcome::Failed, Outcome::of_exit_code);
    let log = log.display();
    if let (Some(sentence), Some(hint)) = (last("error: "), last("hint: ")) {
        return Failure::new(outcome, sentence, hint);
    }
    Failure::new(outcome, format!("it {}", ending(status)), format!("{log} may say why"))
}

/// Has it stop its parts, and waits for that: it has a bound of its own for it.
fn stop(child: &mut Child) {
    if let Some(process) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        // It may have ended by itself, and is not waited for in vain.
        let _ = kill_process(process, Signal::TERM);
        let _ = child.wait();
    }
}

fn interrupted() -> Failure {
    let sentence = "interrupted before the cluster was up; it is stopped again";
    Failure::new(Outcome::Failed, sentence, "start it again when there is time to wait for it")
}

fn late(directory: &Path) -> Failure {
    let seconds = COMES_UP_WITHIN.as_secs();
    let sentence = format!("the cluster runs, but is not ready after {seconds} s");
    let log = log_in(directory);
    let hint = format!("{} says more; `annal down` stops it", log.display());
    Failure::new(Outcome::NoLeader, sentence, hint)
}

fn cannot_start(error: &io::Error) -> Failure {
    let sentence = format!("the cluster could not be started in the background: {error}");
    Failure::new(Outcome::Failed, sentence, remedy::of_spawn(error))
}
