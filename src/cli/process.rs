//! A process of this system that is not this one's child: by its number, and by when it was started, since
//! numbers are given again.

use std::{fs, io, process};

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

/// Where the moment of a start stands in `/proc/PID/stat`, counted behind the name.
const START_FIELD: usize = 19;

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Process {
    /// Its number.
    pub(super) number: u32,
    /// When it was started, in the system's ticks since that came up.
    started: u64,
}

impl Process {
    /// This one.
    ///
    /// # Errors
    /// The system does not say when it was started.
    pub(super) fn own() -> io::Result<Self> {
        let number = process::id();
        let started = started(number)?.ok_or(io::ErrorKind::NotFound)?;
        Ok(Self { number, started })
    }

    /// Sends it a signal. Says whether it is still there: another one that has its number gets none.
    ///
    /// # Errors
    /// It may not be sent any, as that of another user.
    pub(super) fn signal(self, signal: Signal) -> io::Result<bool> {
        let number = i32::try_from(self.number).ok().and_then(Pid::from_raw);
        let Some(number) = number else { return Ok(false) };
        // What is sent by way of this goes to whoever has the number now, and to nobody after.
        let held = match pidfd_open(number, PidfdFlags::empty()) {
            Err(Errno::SRCH) => return Ok(false),
            held => held?,
        };
        if started(self.number)? != Some(self.started) {
            return Ok(false);
        }
        match pidfd_send_signal(held, signal) {
            Err(Errno::SRCH) => Ok(false),
            sent => Ok(sent.map(|()| true)?),
        }
    }
}

/// When the process of this number was started, if there is one.
fn started(number: u32) -> io::Result<Option<u64>> {
    let gone = |error: &io::Error| {
        let code = error.raw_os_error().map(Errno::from_raw_os_error);
        matches!(code, Some(Errno::NOENT | Errno::SRCH))
    };
    match fs::read_to_string(format!("/proc/{number}/stat")) {
        Err(error) if gone(&error) => Ok(None),
        // A name may have brackets and spaces.
        stat => Ok(stat?
            .rsplit_once(')')
            .and_then(|(_, behind)| behind.split_whitespace().nth(START_FIELD)?.parse().ok())),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::Command;

    use super::*;

    #[test]
    fn a_signal_goes_to_the_process_that_was_meant_and_to_no_other_of_its_number() {
        assert_eq!(Process::own().unwrap(), Process::own().unwrap());
        let mut child = Command::new("sleep").arg("600").spawn().unwrap();
        let number = child.id();
        let meant = Process { number, started: started(number).unwrap().unwrap() };
        let earlier = Process { started: meant.started - 1, ..meant };
        assert!(!earlier.signal(Signal::KILL).unwrap());
        assert_eq!(child.try_wait().unwrap(), None, "another's signal ended it");
        assert!(meant.signal(Signal::TERM).unwrap());
        assert_eq!(child.wait().unwrap().signal(), Some(Signal::TERM.as_raw()));
        assert!(!meant.signal(Signal::TERM).unwrap(), "it is gone");
    }
}
