//! Bars and spinners: on a terminal, and nothing elsewhere.

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// How often a spinner turns.
const TURN_EVERY: Duration = Duration::from_millis(100);

/// A bar of so many steps; `template` is indicatif's.
pub(super) fn bar(steps: u64, template: &str) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template(template).expect("a template without errors");
    ProgressBar::new(steps).with_style(style)
}

/// How much of an input is done: of so many bytes, or of nobody knows how many.
pub(super) fn lines(bytes: Option<u64>) -> ProgressBar {
    if let Some(bytes) = bytes {
        return bar(bytes, "{bar:20} {percent}%  {msg}, {binary_bytes_per_sec}, {eta} left");
    }
    let bar = bar(0, "{spinner} {elapsed}  {msg}, {bytes}, {binary_bytes_per_sec}");
    bar.enable_steady_tick(TURN_EVERY);
    bar
}

/// Says that something goes on, and a word about it.
pub(super) fn spinner() -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{spinner} {elapsed}, {msg}");
    let spinner = ProgressBar::new_spinner().with_style(style.expect("a template without errors"));
    spinner.enable_steady_tick(TURN_EVERY);
    spinner
}
