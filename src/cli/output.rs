//! The only place that prints: data to stdout, talk to stderr.
//!
//! When stdout's reader has gone away, that is no error: `annal client read | head -1` got what it
//! wanted. Commands learn of it as [`Closed`] and end quietly, or finish their work unheard.

use std::fmt;
use std::io::{self, BufWriter, StderrLock, StdoutLock, Write};

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use super::failure::Failure;

/// Bytes gathered before they go out, unless flushed.
const BUFFER_BYTES: usize = 64 << 10;

/// A result that a command prints: one JSON object, or lines for people.
pub(super) trait Row: Serialize {
    /// Writes the lines for people, the last with its newline.
    fn human(&self, out: &mut dyn Write) -> io::Result<()>;
}

/// Stdout has no reader any more, or cannot be written.
#[derive(Debug)]
pub(super) enum Closed {
    /// The reader went away.
    Quietly,
    /// Something else is wrong, as a full disk.
    Error(io::Error),
}

impl From<io::Error> for Closed {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::Quietly,
            _ => Self::Error(error),
        }
    }
}

/// Prints a command's results.
pub(super) struct Printer {
    json: bool,
    out: BufWriter<StdoutLock<'static>>,
}

impl Printer {
    /// A printer of JSON, or of lines for people.
    pub(super) fn new(json: bool) -> Self {
        let out = BufWriter::with_capacity(BUFFER_BYTES, io::stdout().lock());
        Self { json, out }
    }

    /// Whether it prints JSON.
    pub(super) fn is_json(&self) -> bool {
        self.json
    }

    /// Prints one result; it may stay in the buffer until [`Self::flush`].
    pub(super) fn print(&mut self, row: &impl Row) -> Result<(), Closed> {
        if self.json {
            serde_json::to_writer(&mut self.out, row).map_err(io::Error::from)?;
            self.out.write_all(b"\n")?;
        } else {
            row.human(&mut self.out)?;
        }
        Ok(())
    }

    /// Prints one result, now.
    pub(super) fn print_now(&mut self, row: &impl Row) -> Result<(), Closed> {
        self.print(row)?;
        self.flush()
    }

    /// Sends out what is in the buffer.
    pub(super) fn flush(&mut self) -> Result<(), Closed> {
        Ok(self.out.flush()?)
    }
}

/// A style that is shown only where stderr is a terminal that shows colour.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paint {
    enabled: bool,
}

impl Paint {
    /// Finds out whether stderr shows colour.
    pub(super) fn of_stderr() -> Self {
        let choice = anstream::AutoStream::choice(&io::stderr());
        Self { enabled: choice != anstream::ColorChoice::Never }
    }

    /// The text in that style, or as it is.
    pub(super) fn paint<T: fmt::Display>(self, style: Style, text: T) -> String {
        if self.enabled { format!("{style}{text}{style:#}") } else { text.to_string() }
    }
}

/// A colour's style.
pub(super) fn colour(colour: AnsiColor) -> Style {
    colour.on_default()
}

/// Says something on stderr, which is nobody's data. A stderr without reader is not minded.
pub(super) fn talk(text: impl fmt::Display) {
    let mut err: StderrLock<'_> = io::stderr().lock();
    let _ = writeln!(err, "{text}");
}

/// Says why a command failed: the error, what to do about it, and commands that do it.
pub(super) fn complain(failure: &Failure) {
    let paint = Paint::of_stderr();
    let error = paint.paint(colour(AnsiColor::Red).bold(), "error:");
    let hint = paint.paint(colour(AnsiColor::Cyan).bold(), "hint:");
    talk(format_args!("{error} {}", one_line(&failure.sentence)));
    talk(format_args!("{hint} {}", one_line(&failure.hint)));
    failure.commands.iter().for_each(talk);
}

/// Foreign words in a message stay on its line and send nothing to the terminal.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Prints what clap has to say: help to stdout, errors to stderr with their last line as a hint.
pub(super) fn print_usage(error: &clap::Error) {
    let text = error.render().ansi().to_string();
    if error.use_stderr() {
        let text = text.replace("For more information, try", "hint: for more information, try");
        let _ = write!(anstream::stderr().lock(), "{text}");
    } else {
        let _ = write!(anstream::stdout().lock(), "{text}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_stay_on_one_line() {
        assert_eq!(one_line("a\nb\u{1b}[31mc"), "a b [31mc");
    }

    #[test]
    fn a_reader_that_left_is_no_error() {
        assert!(matches!(
            Closed::from(io::Error::from(io::ErrorKind::BrokenPipe)),
            Closed::Quietly
        ));
        assert!(matches!(Closed::from(io::Error::other("x")), Closed::Error(_)));
    }
}
