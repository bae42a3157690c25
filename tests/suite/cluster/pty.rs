//! A terminal for a program, and somebody who types and looks.

use std::fs::File;
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Action, Winsize, tcflow, tcsetwinsize};

use super::harness::wait_for;

/// A program on a terminal of 80 columns and 24 rows.
pub(crate) struct Terminal {
    child: Child,
    keys: File,
    looking: Option<JoinHandle<()>>,
    is_hung_up: Arc<AtomicBool>,
    shown: Arc<Mutex<Vec<u8>>>,
    /// How much of it was looked at.
    seen: usize,
}

/// Notes what is shown, until nobody has the other end any more.
fn look(mut screen: File, shown: &Mutex<Vec<u8>>, is_hung_up: &AtomicBool) {
    let mut buffer = [0; 4096];
    while !is_hung_up.load(Ordering::Relaxed) {
        match screen.read(&mut buffer) {
            Ok(count @ 1..) => shown.lock().unwrap().extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                thread::sleep(Duration::from_millis(5));
            }
            Ok(_) | Err(_) => return,
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Terminal {
    /// Runs `annal` with these words in a folder, as the foreground of a terminal of its own.
    pub(crate) fn run(folder: &Path, words: &[&str]) -> Self {
        let master =
            openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&master, size).unwrap();
        let name = ptsname(&master, vec![]).unwrap();
        let slave = rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
        let slave = File::from(slave);
        // Only whoever leads a session of its own can have the terminal that Ctrl-C speaks to.
        let mut command = Command::new("setsid");
        command.args(["--ctty", "--wait", env!("CARGO_BIN_EXE_annal")]).args(words);
        command.current_dir(folder).env("HOME", folder).env("TERM", "xterm-256color");
        command.env_remove("XDG_STATE_HOME").env_remove("NO_COLOR").env_remove("CARGO");
        command.stdin(slave.try_clone().unwrap()).stdout(slave.try_clone().unwrap()).stderr(slave);
        let child = command.spawn().unwrap();
        rustix::fs::fcntl_setfl(&master, OFlags::NONBLOCK).unwrap();
        let keys = File::from(master);
        let (shown, is_hung_up) = (Arc::new(Mutex::new(vec![])), Arc::new(AtomicBool::new(false)));
        let (screen, all, is_over) = (keys.try_clone().unwrap(), shown.clone(), is_hung_up.clone());
        let looking = Some(thread::spawn(move || look(screen, &all, &is_over)));
        Self { child, keys, looking, is_hung_up, shown, seen: 0 }
    }

    /// Closes the terminal, as somebody does who closes its window. Returns the program's exit code.
    #[track_caller]
    pub(crate) fn hang_up(&mut self) -> Option<i32> {
        self.is_hung_up.store(true, Ordering::Relaxed);
        self.looking.take().unwrap().join().unwrap();
        self.keys = File::open("/dev/null").unwrap();
        self.expect_end()
    }

    /// Stops the output, as a terminal does that is held: whoever writes to it hangs.
    pub(crate) fn stop_output(&self) {
        let name = ptsname(&self.keys, vec![]).unwrap();
        let slave = rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
        tcflow(slave, Action::OOff).unwrap();
    }

    /// Presses keys.
    pub(crate) fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    /// Types a line.
    pub(crate) fn type_line(&mut self, line: &str) {
        self.press(&format!("{line}\r"));
    }

    /// Pastes a text, as terminals mark it, and presses return.
    pub(crate) fn paste_line(&mut self, text: &str) {
        self.press(&format!("\x1b[200~{}\x1b[201~\r", text.replace('\n', "\r")));
    }

    /// Waits until a text is shown, behind what was waited for before. Returns what was shown up to it.
    #[track_caller]
    pub(crate) fn expect(&mut self, text: &str) -> String {
        let mut found = String::new();
        let (shown, seen) = (self.shown.clone(), self.seen);
        self.seen += wait_for(&format!("'{text}' on the terminal"), || {
            let shown = shown.lock().unwrap();
            let (plain, ends) = without_controls(&shown[seen..]);
            found.clone_from(&plain);
            let end = plain.find(text)? + text.len();
            found.truncate(end);
            Some(ends[end - 1])
        });
        found
    }

    /// Sends the program a signal by its name, as `TERM`.
    pub(crate) fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", signal, &id]).status().unwrap().success());
    }

    /// Waits until the program has ended. Returns its exit code.
    #[track_caller]
    pub(crate) fn expect_end(&mut self) -> Option<i32> {
        wait_for("the program on the terminal to end", || self.child.try_wait().unwrap()).code()
    }

    /// Whether a program that took a screen and the keys for itself has given both back.
    pub(crate) fn has_its_own_screen_again(&self) -> bool {
        // What it wrote last may be on its way still, though the program has ended.
        let deadline = Instant::now() + Duration::from_mins(1);
        while !self.is_given_back() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(25));
        }
        self.is_given_back()
    }

    fn is_given_back(&self) -> bool {
        let shown = String::from_utf8_lossy(&self.shown.lock().unwrap()).into_owned();
        let (took, gave) = (shown.rfind("\x1b[?1049h"), shown.rfind("\x1b[?1049l"));
        let modes = rustix::termios::tcgetattr(&self.keys).unwrap().local_modes;
        let typed = rustix::termios::LocalModes::ICANON | rustix::termios::LocalModes::ECHO;
        took.is_some() && took < gave && modes.contains(typed)
    }

    /// All that was shown, without what moves the cursor and paints.
    pub(crate) fn text(&self) -> String {
        without_controls(&self.shown.lock().unwrap()).0
    }
}

/// The text without sequences of controls, and for each of its bytes where it ends in what was shown.
fn without_controls(shown: &[u8]) -> (String, Vec<usize>) {
    let (mut plain, mut ends) = (vec![], vec![]);
    let mut at = 0;
    while at < shown.len() {
        if shown[at..].starts_with(b"\x1b[") {
            let is_end = |byte: &u8| (0x40..=0x7e).contains(byte);
            at += 2 + shown[at + 2..].iter().position(is_end).map_or(0, |end| end + 1);
            continue;
        }
        if shown[at] != b'\r' {
            plain.push(if shown[at].is_ascii() { shown[at] } else { b'?' });
            ends.push(at + 1);
        }
        at += 1;
    }
    (String::from_utf8(plain).unwrap(), ends)
}
