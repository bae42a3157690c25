//! Runs the program as a user does, in a directory of its own.

use std::ffi::OsStr;
use std::io::{Read, Write as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How long one command may take before the test says that it hangs.
const COMMAND_TIMEOUT: Duration = Duration::from_mins(1);

/// What a command left behind.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
    /// The command line, for messages.
    command: String,
}

impl Output {
    /// Stdout as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.stdout.clone()).expect("stdout is text")
    }

    /// Every line of stdout as JSON.
    pub(crate) fn json(&self) -> Vec<serde_json::Value> {
        let text = self.text();
        let parse = |line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"));
        text.lines().map(parse).collect()
    }

    /// The command ended with this code.
    #[track_caller]
    pub(crate) fn expect_code(self, code: i32) -> Self {
        assert_eq!(
            self.code,
            Some(code),
            "{}\n--- stdout\n{}\n--- stderr\n{}",
            self.command,
            String::from_utf8_lossy(&self.stdout),
            self.stderr
        );
        self
    }

    /// The complaint as JSON, if it was asked for so.
    pub(crate) fn complaint(&self) -> Option<serde_json::Value> {
        let mut objects = self.stderr.lines().filter_map(|line| serde_json::from_str(line).ok());
        objects.rfind(|object: &serde_json::Value| object["error"].is_string())
    }

    /// The command ended with this code, and said on stderr one sentence with these words and a
    /// hint.
    #[track_caller]
    pub(crate) fn expect_complaint(self, code: i32, words: &str) -> Self {
        let output = self.expect_code(code);
        let stderr = &output.stderr;
        if let Some(complaint) = output.complaint() {
            assert!(complaint["error"].as_str().is_some_and(|e| e.contains(words)), "{complaint}");
            assert_eq!(complaint["exit"], code, "{complaint}");
            assert!(complaint["hint"].as_str().is_some_and(|hint| !hint.is_empty()), "{complaint}");
            return output;
        }
        let error = stderr.lines().find(|line| line.starts_with("error: "));
        assert!(
            error.is_some_and(|error| error.contains(words)),
            "{}: no error with '{words}' in:\n{stderr}",
            output.command
        );
        let has_hint = stderr.lines().any(|line| line.starts_with("hint: "));
        assert!(has_hint, "{}: no hint in:\n{stderr}", output.command);
        assert!(!stderr.contains("panicked"), "{}:\n{stderr}", output.command);
        output
    }
}

/// A command of the program, with nothing of the tester's own settings.
pub(crate) fn annal(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_annal"));
    // What it prints for people depends on whether cargo runs it.
    command.current_dir(directory).env_remove("CARGO");
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"ANNAL_") {
            command.env_remove(name);
        }
    }
    command
}

/// Runs a command to its end.
#[track_caller]
pub(crate) fn run<A: AsRef<OsStr>>(
    directory: &Path,
    arguments: impl IntoIterator<Item = A>,
) -> Output {
    run_with_input(directory, arguments, b"")
}

/// Runs a command to its end, with this on stdin.
#[track_caller]
pub(crate) fn run_with_input<A: AsRef<OsStr>>(
    directory: &Path,
    arguments: impl IntoIterator<Item = A>,
    input: &[u8],
) -> Output {
    let mut command = annal(directory);
    command.args(arguments);
    finish(command, input)
}

/// Runs a prepared command to its end, with this on stdin. A command that hangs is killed, and
/// has no code.
#[track_caller]
pub(crate) fn finish(mut command: Command, input: &[u8]) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    let mut stdin = child.stdin.take().expect("stdin is piped");
    let input = input.to_vec();
    let feeder = thread::spawn(move || stdin.write_all(&input));
    let stdout = drain(child.stdout.take().expect("stdout is piped"));
    let stderr = drain(child.stderr.take().expect("stderr is piped"));
    let status = wait(&mut child, COMMAND_TIMEOUT);
    if status.is_none() {
        let _ = child.kill();
        let _ = child.wait();
    }
    // A command that does not read its input to the end is none of our business.
    let _ = feeder.join().expect("the feeder does not panic");
    Output {
        code: status.and_then(|status| status.code()),
        stdout: stdout.join().expect("the drain does not panic"),
        stderr: String::from_utf8_lossy(&stderr.join().expect("the drain does not panic"))
            .into_owned(),
        command: format!("{command:?}"),
    }
}

/// Waits for a process, but no longer than this.
pub(crate) fn wait(child: &mut Child, timeout: Duration) -> Option<ExitStatus> {
    let deadline = Instant::now() + timeout;
    loop {
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            return Some(status);
        }
        if Instant::now() >= deadline {
            return None;
        }
        thread::sleep(Duration::from_millis(5));
    }
}

fn drain(mut from: impl Read + Send + 'static) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = from.read_to_end(&mut bytes);
        bytes
    })
}
