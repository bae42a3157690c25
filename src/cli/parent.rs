//! The pipe between `annal up` and its children.
//!
//! The parent holds one end and never writes. However it dies, the pipe ends, and with it, in an
//! orderly way, the child: no node is left running behind a closed terminal.

use std::io::{self, Read as _};
use std::thread;

use rustix::process::{Signal, getpid, kill_process};

/// From now on, the end of standard input stops this process as SIGTERM does.
pub(super) fn stop_when_it_ends() {
    thread::spawn(|| {
        let mut buffer = [0; 64];
        let mut input = io::stdin().lock();
        loop {
            match input.read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(count) if count > 0 => {}
                // The end, or a pipe that fails: the parent is gone.
                Ok(_) | Err(_) => break,
            }
        }
        // This process always may signal itself.
        let _ = kill_process(getpid(), Signal::TERM);
    });
}
