//! `annal down`: stops what `annal up` has started, wherever that was.

use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Duration, Instant, sleep};

use super::args::Down;
use super::children::Part;
use super::connection;
use super::failure::{End, Failure};
use super::output::{Printer, talk};
use super::rows::DownRow;
use super::running;
use super::runtime;
use super::up::parts_in_use;
use crate::config::ClusterConfig;
use crate::limits::STOP_TIMEOUT;
use crate::outcome::Outcome;

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
        signal(process, Signal::TERM);
        if !has_let_go(directory, STOP_TIMEOUT + GRACE).await? {
            talk(format_args!("process {process} does not stop, and is ended"));
            signal(process, Signal::KILL);
            has_let_go(directory, GRACE).await?;
        }
    }
    // Parts whose parent was killed are ending by themselves.
    let until = Instant::now() + STOP_TIMEOUT;
    while !parts_in_use(cluster).is_empty() && Instant::now() < until {
        sleep(POLL).await;
    }
    match parts_in_use(cluster).as_slice() {
        [] => Ok(process),
        parts => Err(strangers(parts)),
    }
}

fn signal(process: u32, signal: Signal) {
    if let Some(process) = i32::try_from(process).ok().and_then(Pid::from_raw) {
        // It may have ended meanwhile, which is what is wanted.
        let _ = kill_process(process, signal);
    }
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
