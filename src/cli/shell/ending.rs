//! How the shell ends when a signal asks it to: with the terminal as it was.
//!
//! While a line is being typed the terminal is in a mode of the editor's, and a thread waits for keys
//! that cannot be told to stop. So whoever asks ends the process then, once the terminal is as before.
//! While a verb runs, that hears the signal itself, and the shell leaves after it.

use std::io::stdin;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use tokio::signal::unix::SignalKind;
use tokio::task::block_in_place;
use tokio_util::sync::CancellationToken;

use crate::cli::failure::Failure;
use crate::cli::output::talk;
use crate::cli::runtime;
use crate::outcome::Outcome;

/// What a terminal is told so that it marks pasted text no more.
const BRACKETED_PASTE_OFF: &str = "\x1b[?2004l";

/// See the module.
pub(super) struct Ending {
    asked: CancellationToken,
    is_typing: Arc<AtomicBool>,
}

impl Ending {
    /// Listens to SIGTERM and SIGHUP from now on.
    pub(super) fn listen() -> Result<Self, Failure> {
        let mut terminate = runtime::listen(SignalKind::terminate())?;
        let mut hang_up = runtime::listen(SignalKind::hangup())?;
        // Whatever is interrupted, it is not the shell.
        drop(runtime::listen(SignalKind::interrupt())?);
        let ending = Self { asked: CancellationToken::new(), is_typing: Arc::default() };
        let (asked, is_typing) = (ending.asked.clone(), ending.is_typing.clone());
        let before = tcgetattr(stdin()).ok();
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = hang_up.recv() => {}
            }
            asked.cancel();
            if is_typing.load(Ordering::SeqCst) {
                leave(before.as_ref());
            }
        });
        Ok(ending)
    }

    /// Reads from the terminal, unless it was asked to end.
    pub(super) fn while_typing<T>(&self, read: impl FnOnce() -> T) -> Option<T> {
        self.is_typing.store(true, Ordering::SeqCst);
        // In this order: whoever asks after this look finds somebody typing.
        let read = (!self.asked.is_cancelled()).then(|| block_in_place(read));
        self.is_typing.store(false, Ordering::SeqCst);
        read
    }
}

fn leave(before: Option<&Termios>) {
    talk(BRACKETED_PASTE_OFF);
    if let Some(before) = before {
        // A terminal that is gone needs no mode.
        let _ = tcsetattr(stdin(), OptionalActions::Now, before);
    }
    process::exit(Outcome::Done.exit_code().into());
}
