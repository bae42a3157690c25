//! `annal down`: stops what `annal up` has started, wherever that was.

use std::path::Path;

use rustix::process::Signal;
use tokio::time::{Duration, Instant, sleep};

use super::args::Down;
use super::children::Part;
use super::connection;
use super::failure::{End, Failure};
use super::output::{Printer, talk};
use super::process::Process;
use super::rows::DownRow;
use super::running;
use super::runtime;
use super::up::parts_in_use;
use crate::config::ClusterConfig;
use crate::limits::STOP_TIMEOUT;
use crate::outcome::Outcome;
use crate::remedy;

/// How often it is looked whether all have ended.
const POLL: Duration = Duration::from_millis(50);
/// How long a process is given beyond what it gives its parts.
const GRACE: Duration = Duration::from_secs(2);

/// Stops the cluster, and says what was running.
pub(super) fn run(args: &Down, printer: &mut Printer) -> Result<(), End> {
    let cluster = connection::cluster_in(&args.dir)?;
    let process = runtime::wait(async { Ok(stop(&args.dir, &cluster).await?) })?;
    let dir = args.dir.display().to_string();
    Ok(printer.print_now(&DownRow { was_running: process.is_some(), process, dir })?)
}

/// Stops whoever runs the parts, and sees to it that these have ended. Returns whose they were.
async fn stop(directory: &Path, cluster: &ClusterConfig) -> Result<Option<u32>, Failure> {
    let process = running::runner(directory)?.map(|runner| runner.process);
    if let Some(process) = process {
        end(directory, process).await?;
    }
    // Parts whose parent was killed are ending by themselves.
    let until = Instant::now() + STOP_TIMEOUT;
    while !parts_in_use(cluster).is_empty() && Instant::now() < until {
        sleep(POLL).await;
    }
    match parts_in_use(cluster).as_slice() {
        [] => Ok(process.map(|process| process.number)),
        parts => Err(strangers(parts)),
    }
}

/// Has a process end that runs the parts.
async fn end(directory: &Path, process: Process) -> Result<(), Failure> {
    // It may have ended meanwhile, which is what is wanted.
    let is_there = signal(process, Signal::TERM)?;
    let patience = if is_there { STOP_TIMEOUT + GRACE } else { GRACE };
    if has_let_go(directory, patience).await? {
        return Ok(());
    }
    if !is_there {
        return Err(elsewhere(directory, process));
    }
    talk(format_args!("process {} does not stop, and is ended", process.number));
    signal(process, Signal::KILL)?;
    has_let_go(directory, GRACE).await?;
    Ok(())
}

/// Sends the process a signal. Says whether it is still there.
fn signal(process: Process, signal: Signal) -> Result<bool, Failure> {
    process.signal(signal).map_err(|error| {
        let number = process.number;
        let sentence = format!("process {number} runs the cluster, and cannot be stopped: {error}");
        let hint = remedy::of(&error, "stop it as the user who started it");
        Failure::new(Outcome::Failed, sentence, hint)
    })
}

/// Somebody runs the parts, and is not the process of this system that has the number.
fn elsewhere(directory: &Path, process: Process) -> Failure {
    let (dir, number) = (directory.display(), process.number);
    let sentence =
        format!("the cluster in {dir} runs, and process {number} here is not what runs it");
    let hint = "stop it where it was started: in another container, or on another machine";
    Failure::new(Outcome::Failed, sentence, hint)
}

/// Whether nobody runs the parts any more, before long.
async fn has_let_go(directory: &Path, patience: Duration) -> Result<bool, Failure> {
    let until = Instant::now() + patience;
    while running::runner(directory)?.is_some() {
        if Instant::now() >= until {
            return Ok(false);
        }
        sleep(POLL).await;
    }
    Ok(true)
}

fn strangers(parts: &[Part]) -> Failure {
    let names: Vec<_> = parts.iter().map(ToString::to_string).collect();
    let sentence =
        format!("of this cluster {} still run, which no `annal up` holds", names.join(", "));
    let hint = "stop them where they were started: Ctrl-C there, or the service that runs them";
    Failure::new(Outcome::Failed, sentence, hint)
}
