//! Processes that the system gives less than they need: no threads, no open files, no room for output.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::cluster::harness::{free_ports, wait_for};
use crate::program::{Output, annal, finish, run, wait};

/// A user who has no processes but those of this test.
const NOBODY: u32 = 54_321;

fn initialized() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let port = free_ports(3).to_string();
    run(folder.path(), ["init", "--base-port", &port]).expect_code(0);
    folder
}

/// Runs a command in a shell that has set a limit for it.
fn limited(folder: &Path, limit: &str, line: &str) -> Output {
    let mut command = Command::new("bash");
    let program = env!("CARGO_BIN_EXE_annal");
    command.args(["-c", &format!("ulimit {limit}; exec '{program}' {line}")]).current_dir(folder);
    finish(command, b"")
}

#[test]
fn without_open_files_every_command_says_so() {
    let folder = initialized();
    for line in ["client append hi --timeout 1s", "node start --data data/n1", "registry start"] {
        for files in 4..=8 {
            let output = limited(folder.path(), &format!("-n {files}"), line);
            let output = output.expect_complaint(1, "Too many open files");
            assert!(output.stderr.contains("ulimit -n"), "{line}: {}", output.stderr);
        }
    }
    assert!(folder.path().join("data/n1/new").exists(), "nothing was begun");
}

#[test]
fn output_that_cannot_be_written_is_a_failure() {
    let folder = initialized();
    for line in [&["--help"][..], &["--version"], &["client", "--help"]] {
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let mut command = annal(folder.path());
        let output = command.args(line).stdout(full).stderr(Stdio::piped()).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{line:?}: {stderr}");
        assert!(stderr.starts_with("error: the output cannot be written"), "{line:?}: {stderr}");
        assert!(stderr.contains("hint: free some space"), "{line:?}: {stderr}");
    }
}

/// A copy of the program and a cluster that [`NOBODY`] may use.
fn of_nobody() -> tempfile::TempDir {
    let folder = initialized();
    give_away(folder.path());
    let program = folder.path().join("annal");
    fs::copy(env!("CARGO_BIN_EXE_annal"), &program).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

fn give_away(path: &Path) {
    chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            give_away(&entry.unwrap().path());
        }
    }
}

/// A command that may have so many processes and threads. The limit does not bind root.
fn with_threads(folder: &Path, threads: u32) -> Command {
    let mut command = Command::new("setpriv");
    let user = NOBODY.to_string();
    command.args(["--reuid", &user, "--regid", &user, "--clear-groups", "--"]);
    command.args(["prlimit", &format!("--nproc={threads}"), "--"]).arg(folder.join("annal"));
    command.current_dir(folder);
    command
}

#[test]
#[ignore = "needs root: a limit of threads binds other users only"]
fn without_threads_a_node_says_so_and_ends() {
    let folder = of_nobody();
    for threads in [1, 2, 3, 4, 6, 8, 10] {
        for line in [&["node", "start", "--data", "data/n1"][..], &["registry", "start"]] {
            let mut command = with_threads(folder.path(), threads);
            command.args(line);
            let output = finish(command, b"").expect_complaint(1, "cannot begin to work");
            assert!(output.stderr.contains("ulimit -u"), "{threads}: {}", output.stderr);
        }
    }
    let mut command = with_threads(folder.path(), 1);
    command.args(["client", "append", "hi"]);
    finish(command, b"").expect_complaint(1, "cannot begin to work");
    assert!(folder.path().join("data/n1/new").exists(), "nothing was begun");
}

#[test]
#[ignore = "needs root: a limit of threads binds other users only"]
fn with_few_threads_a_node_runs_or_says_so_and_hears_signals() {
    let folder = of_nobody();
    for threads in 11..=16 {
        let log = folder.path().join("log");
        let mut command = with_threads(folder.path(), threads);
        command.args(["node", "start", "--data", "data/n1"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(fs::File::create(&log).unwrap());
        let mut child = command.spawn().unwrap();
        let said = || fs::read_to_string(&log).unwrap();
        let has_ended = wait_for("the node to run or to end", || {
            let status = child.try_wait().unwrap();
            (status.is_some() || said().contains("listening on")).then_some(status)
        });
        let status = has_ended.or_else(|| {
            let id = child.id().to_string();
            assert!(Command::new("kill").args(["-s", "TERM", &id]).status().unwrap().success());
            wait(&mut child, Duration::from_mins(1))
        });
        let code = status.expect("it ends").code();
        assert!(matches!(code, Some(0 | 1)), "{threads}: {code:?}: {}", said());
        assert!(!said().contains("law was broken"), "{threads}: {}", said());
        assert_eq!(code == Some(1), said().contains("hint: "), "{threads}: {}", said());
    }
}
