//! The runtime that commands wait in.

use std::future::Future;
use std::io;
use std::time::Duration;

use super::failure::{Code, End, Failure};

/// How long an ended command's tasks may take to notice.
const LEAVE_TIME: Duration = Duration::from_millis(100);

/// Runs a command's future to its end. Whatever it leaves behind ends with the process.
pub(super) fn wait<T>(command: impl Future<Output = Result<T, End>>) -> Result<T, End> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| no_runtime(&error))?;
    let result = runtime.block_on(command);
    runtime.shutdown_timeout(LEAVE_TIME);
    result
}

fn no_runtime(error: &io::Error) -> Failure {
    let sentence = format!("no threads could be started: {error}");
    Failure::new(Code::Failed, sentence, "does this user run too many already?")
}
