//! What to do when the operating system refuses: by its reason, wherever it refuses.
//!
//! The place that was refused says only what was tried. "Check the address" does not help whoever may
//! open no more files, so each hint about an error of the system is asked for here first, and the
//! place's own words are for reasons that say nothing by themselves.

use std::io;

use rustix::io::Errno;

/// What to do about an error of the system; `otherwise` if its reason alone does not tell.
pub fn of(error: &io::Error, otherwise: &'static str) -> &'static str {
    code_of(error).and_then(of_errno).unwrap_or(otherwise)
}

/// The system's number. Some libraries put its error into one of their own, which still shows it.
fn code_of(error: &io::Error) -> Option<i32> {
    error.raw_os_error().or_else(|| {
        let text = error.to_string();
        let (_, behind) = text.rsplit_once("(os error ")?;
        behind.split_once(')')?.0.parse().ok()
    })
}

/// What to do when no thread or process could be started.
pub fn of_spawn(error: &io::Error) -> &'static str {
    match code_of(error).map(Errno::from_raw_os_error) {
        // Elsewhere it means no more than "later".
        Some(Errno::AGAIN) => TOO_MANY_THREADS,
        _ => of(error, "the lines above may say more"),
    }
}

/// What to do about a panic of somebody else's code over something that the system did not give:
/// nothing if it is not about that.
pub fn of_panic(message: &str) -> Option<&'static str> {
    // As `io::Error` shows itself, for people and for programmers.
    let speaks_of = |errno: Errno| {
        let code = errno.raw_os_error();
        message.contains(&format!("(os error {code})"))
            || message.contains(&format!("Os {{ code: {code},"))
    };
    let about_threads = speaks_of(Errno::AGAIN).then_some(TOO_MANY_THREADS);
    let refusals = [Errno::MFILE, Errno::NFILE, Errno::NOMEM];
    about_threads.or_else(|| {
        let found = refusals.into_iter().find(|errno| speaks_of(*errno))?;
        of_errno(found.raw_os_error())
    })
}

const TOO_MANY_THREADS: &str = "this user or its control group has all the threads that it may have: \
                                raise `ulimit -u` or the group's pids.max, or end others";

fn of_errno(code: i32) -> Option<&'static str> {
    Some(match Errno::from_raw_os_error(code) {
        Errno::MFILE => "this process may open no more files: raise its limit (`ulimit -n`)",
        Errno::NFILE => "this machine has no more open files to give: raise fs.file-max",
        Errno::NOMEM => "there is no memory left for this process: end others, or raise its limit",
        Errno::NOSPC => "free some space there and start again",
        Errno::DQUOT => "this user's quota of that disk is used up: raise it, or free some space",
        Errno::ROFS => "that file system is mounted read-only: mount it for writing",
        Errno::ACCESS | Errno::PERM => {
            "this user may not do that there: see who owns it, and with what permissions"
        }
        Errno::IO => {
            "the device itself failed: see the system's log (`dmesg`) before it is used again"
        }
        Errno::ADDRNOTAVAIL => {
            "this machine has no such address: correct it where it is configured"
        }
        Errno::AFNOSUPPORT => {
            "this machine does not speak that kind of IP: use an address of another"
        }
        Errno::NETUNREACH | Errno::NETDOWN => "this machine has no way there: is its network up?",
        Errno::NAMETOOLONG => "choose a shorter path",
        Errno::NOTDIR => "a part of that path is a file and not a folder",
        Errno::ISDIR => "that is a folder and not a file",
        Errno::LOOP => "links in that path lead in a circle",
        Errno::XDEV => "that folder lies on another file system than the one above it: it must not",
        Errno::STALE => "the file system went away: mount it again",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(errno: Errno) -> io::Error {
        io::Error::from_raw_os_error(errno.raw_os_error())
    }

    #[test]
    fn the_reason_wins_over_the_place() {
        let place = "check the address in the configuration";
        assert!(of(&error(Errno::MFILE), place).contains("ulimit -n"));
        assert!(of(&error(Errno::NOSPC), place).contains("free some space"));
        assert_eq!(of(&error(Errno::AGAIN), place), place);
        assert_eq!(of(&io::Error::other("no errno"), place), place);
        let wrapped = io::Error::other(format!("cannot open: {}", error(Errno::MFILE)));
        assert!(of(&wrapped, place).contains("ulimit -n"));
        assert!(of_spawn(&error(Errno::AGAIN)).contains("ulimit -u"));
        assert!(of_spawn(&error(Errno::NOMEM)).contains("memory"));
    }

    #[test]
    fn a_panic_over_what_the_system_did_not_give_is_no_broken_law() {
        let threads = error(Errno::AGAIN);
        for message in [format!("cannot spawn: {threads}"), format!("spawned: {threads:?}")] {
            assert!(of_panic(&message).is_some_and(|hint| hint.contains("ulimit -u")), "{message}");
        }
        let files = format!("failed to create UnixStream: {:?}", error(Errno::MFILE));
        assert!(of_panic(&files).is_some_and(|hint| hint.contains("ulimit -n")));
        assert_eq!(of_panic("index 24 out of bounds (os error 2)"), None);
    }
}
