//! The runtime that commands wait in.

use std::future::Future;
use std::io::IsTerminal as _;
use std::num::NonZero;
use std::os::unix::net::UnixStream;
use std::pin::pin;
use std::sync::{Arc, Mutex, mpsc};
use std::thread::{self, available_parallelism};
use std::time::Duration;
use std::{io, process};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::failure::{End, Failure, complain};
use crate::limits;
use crate::outcome::Outcome;
use crate::remedy;

/// How long an ended command's tasks may take to notice.
const LEAVE_TIME: Duration = Duration::from_millis(100);

/// Signals that come this soon after one are copies of it. Nobody types a second one as fast.
const COPIES_TIME: Duration = Duration::from_millis(300);

/// How long a screen may take to give the terminal back. One that is read from takes no time for it.
const LEAVES_WITHIN: Duration = Duration::from_secs(1);

/// The stack of a thread that only waits.
const TRIAL_STACK_BYTES: usize = 64 << 10;

/// Runs a command's future to its end. Whatever it leaves behind ends with the process.
///
/// NB: its own prints wait for whoever reads them, so its other tasks are on other threads.
pub(super) fn wait<T>(command: impl Future<Output = Result<T, End>>) -> Result<T, End> {
    let workers = available_parallelism().map_or(1, NonZero::get);
    let room = Room { threads: workers + limits::COMMAND_THREADS, files: limits::COMMAND_FILES };
    room.check()?;
    run(Builder::new_multi_thread().worker_threads(workers), command)
}

/// The same for a node or a registry, whose tasks all share this thread: what they do for an append
/// is little work and many hand-overs, and within a thread those wake nobody.
pub(super) fn serve<T>(server: impl Future<Output = Result<T, End>>) -> Result<T, End> {
    run(&mut Builder::new_current_thread(), server)
}

/// Finds out whether a server may have the threads and open files that it cannot do without. What
/// starts them, sled among it, does not take no for an answer: it panics, or waits for ever for a
/// thread that never was.
///
/// NB: to be called before anything is started or locked.
pub(super) fn check_room_to_serve() -> Result<(), Failure> {
    raise_files();
    Room { threads: limits::SERVER_THREADS, files: limits::SERVER_FILES }.check()
}

/// A server may have as many files open as whoever set the limits would ever allow: the lower limit is
/// for programs that cannot count so far.
fn raise_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, ..limit };
    // Where it must stay as it is, there are fewer places for visitors.
    let _ = setrlimit(Resource::Nofile, raised);
}

/// What a process needs of the system besides memory.
struct Room {
    threads: usize,
    files: usize,
}

impl Room {
    /// Takes it all at once, and gives it back. Others may take it meanwhile, but then it is a
    /// matter of one thread or file, of which somebody can speak.
    fn check(&self) -> Result<(), Failure> {
        let pairs = (0..self.files.div_ceil(2)).map(|_| UnixStream::pair());
        let held = pairs.collect::<io::Result<Vec<_>>>().map_err(|error| no_runtime(&error))?;
        drop(held);
        // Each waits until all have been started, or the first has not.
        let (all_started, waits) = mpsc::channel::<()>();
        let waits = Arc::new(Mutex::new(waits));
        let start = |_| {
            let waits = waits.clone();
            // An error is the end of the wait.
            let wait = move || drop(waits.lock().map(|waits| waits.recv()));
            thread::Builder::new().stack_size(TRIAL_STACK_BYTES).spawn(wait)
        };
        let started = (0..self.threads).map(start).collect::<io::Result<Vec<_>>>();
        drop(all_started);
        for trial in started.map_err(|error| no_runtime(&error))? {
            trial.join().expect("it only waits");
        }
        Ok(())
    }
}

fn run<T>(builder: &mut Builder, command: impl Future<Output = Result<T, End>>) -> Result<T, End> {
    let runtime = builder.enable_all().build().map_err(|error| no_runtime(&error))?;
    let result = runtime.block_on(command);
    runtime.shutdown_timeout(LEAVE_TIME);
    result
}

/// Runs a server until it ends by itself, or a signal asks it to stop. If it then does not stop in
/// time, or at a second signal, the process ends at once: nothing that it promised depends on it.
pub(super) async fn until_signal<F, T>(serve: impl FnOnce(CancellationToken) -> F) -> Result<T, End>
where
    F: Future<Output = Result<T, End>>,
{
    let mut signals = if hang_up_stops() { Signals::new()? } else { Signals::of_service()? };
    let stop = CancellationToken::new();
    let mut serving = pin!(serve(stop.clone()));
    tokio::select! {
        result = &mut serving => return result,
        () = signals.next() => stop.cancel(),
    }
    let sentence = tokio::select! {
        result = &mut serving => return result,
        () = sleep(limits::STOP_TIMEOUT) => "it did not stop in time, and was ended",
        () = signals.next() => "it was ended at once",
    };
    let hint = "nothing acknowledged is lost: the next start recovers it";
    complain(&Failure::new(Outcome::Failed, sentence, hint));
    // Whatever hangs there must not be waited for, as its end would be.
    process::exit(Outcome::Failed.exit_code().into())
}

/// Whether SIGHUP stops a server: it does where somebody has started it in a terminal, which is gone then. A
/// service's manager asks with it to load anew what has changed.
pub(super) fn hang_up_stops() -> bool {
    let has_terminal = [io::stdin().is_terminal(), io::stderr().is_terminal()];
    has_terminal.contains(&true)
}

/// From now on this signal only wakes whoever waits for it.
pub(super) fn listen(kind: SignalKind) -> Result<Signal, Failure> {
    signal(kind).map_err(|error| {
        let sentence = format!("signals cannot be listened to: {error}");
        Failure::new(Outcome::Failed, sentence, remedy::of(&error, "try again in a moment"))
    })
}

/// The signals that ask a process to stop.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// `None`: it means something else.
    hang_up: Option<Signal>,
    /// Until then, a signal is a copy of the one before.
    copies_until: Option<Instant>,
}

impl Signals {
    /// From now on these signals only wake [`Self::next`].
    pub(super) fn new() -> Result<Self, Failure> {
        Ok(Self { hang_up: Some(listen(SignalKind::hangup())?), ..Self::of_service()? })
    }

    /// The same without SIGHUP.
    fn of_service() -> Result<Self, Failure> {
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hang_up: None,
            copies_until: None,
        })
    }

    /// The next of them, copies left out: `timeout`, shells and supervisors send the same wish to
    /// a process and to its group. May be dropped before it comes: none is lost.
    pub(super) async fn next(&mut self) {
        loop {
            self.receive().await;
            let now = Instant::now();
            if self.copies_until.is_none_or(|until| now >= until) {
                self.copies_until = Some(now + COPIES_TIME);
                return;
            }
        }
    }

    async fn receive(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            Some(()) = async { self.hang_up.as_mut()?.recv().await }, if self.hang_up.is_some() => {}
        }
    }
}

/// Makes a notice of the first signal. At another the process ends at once, as it may hang in a write
/// that nobody reads. Dropped, it listens no more.
pub(super) struct Interruption {
    notice: CancellationToken,
    listening: JoinHandle<()>,
}

impl Interruption {
    /// Listens from now on. `then` is called after the notice: whoever sees what it does knows why.
    pub(super) fn listen(
        then: impl FnOnce() + Send + 'static,
        last_words: Failure,
    ) -> Result<Self, Failure> {
        let mut signals = Signals::new()?;
        let notice = CancellationToken::new();
        let noticed = notice.clone();
        let listening = tokio::spawn(async move {
            signals.next().await;
            noticed.cancel();
            then();
            signals.next().await;
            complain(&last_words);
            process::exit(last_words.outcome.exit_code().into());
        });
        Ok(Self { notice, listening })
    }

    /// Cancelled by the first signal.
    pub(super) fn notice(&self) -> &CancellationToken {
        &self.notice
    }
}

impl Drop for Interruption {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

/// Sees to it that a process ends soon after a signal, even if it hangs in a write to a terminal that is
/// stopped: then at another signal, or after [`LEAVES_WITHIN`]. Dropped, it listens no more.
pub(super) struct Leaving(JoinHandle<()>);

impl Leaving {
    /// Watches from now on. `last` is done before the process is ended, and must not write: whoever would
    /// read it does not.
    pub(super) fn watch(last: fn()) -> Result<Self, Failure> {
        let mut signals = Signals::new()?;
        Ok(Self(tokio::spawn(async move {
            signals.next().await;
            tokio::select! {
                () = signals.next() => {}
                () = sleep(LEAVES_WITHIN) => {}
            }
            last();
            process::exit(Outcome::Failed.exit_code().into());
        })))
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.abort();
    }
}

pub(super) fn no_runtime(error: &io::Error) -> Failure {
    let sentence = format!("this process cannot begin to work: {error}");
    Failure::new(Outcome::Failed, sentence, remedy::of_spawn(error))
}
