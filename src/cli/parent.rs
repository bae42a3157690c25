//! The pipe between `annal up` and its children.
//!
//! The parent holds one end and never writes. However it dies, the pipe ends, and with it, in an
//! orderly way, the child: no node is left running behind a closed terminal.
//!
//! What the parent has to know of its child is told it in [`ChildWord`]s, lines among those for people that
//! begin with ASCII's record separator (as in RFC 7464) and are shown to nobody.

use std::io::{self, Read as _, Write as _};
use std::sync::OnceLock;
use std::thread;

use rustix::process::{Signal, getpid, kill_process};
use serde::{Deserialize, Serialize};

/// What a child tells its parent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum ChildWord {
    /// It cannot go on.
    Failed {
        /// Why, in one sentence.
        sentence: String,
        /// What to do about it.
        hint: String,
        /// Another process has what it needs: its folder or its port.
        is_occupied: bool,
    },
    /// It has opened its store, and found this.
    Recovered(String),
}

const SEPARATOR: char = '\u{1e}';

/// Set in a process that has a parent which listens.
static HAS_PARENT: OnceLock<()> = OnceLock::new();

/// Tells the parent, if there is one.
pub(super) fn tell(word: &ChildWord) {
    if HAS_PARENT.get().is_some() {
        let json = serde_json::to_string(word).expect("texts have a form in JSON");
        // A parent that does not read has ended, or is about to.
        let _ = writeln!(io::stderr().lock(), "{SEPARATOR}{json}");
    }
}

/// The word in a line of a child, if it is one.
pub(super) fn heard(line: &str) -> Option<ChildWord> {
    serde_json::from_str(line.strip_prefix(SEPARATOR)?).ok()
}

/// From now on, the end of standard input stops this process as SIGTERM does, and the parent is told
/// what it has to know.
pub(super) fn stop_when_it_ends() {
    // The first call is the only one.
    let _ = HAS_PARENT.set(());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_told_from_lines_for_people() {
        let word = ChildWord::Recovered("a line\nand another".to_owned());
        let line = format!("{SEPARATOR}{}", serde_json::to_string(&word).unwrap());
        assert_eq!(line.lines().count(), 1, "{line:?}");
        assert_eq!(heard(&line), Some(word));
        for other in ["error: no", "", "\u{1e}", "\u{1e}{\"Recovered\":1}"] {
            assert_eq!(heard(other), None);
        }
    }
}
