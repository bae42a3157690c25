//! The only place that prints: data to stdout, talk to stderr.
//!
//! Data goes to a pipe as it is. On a terminal, whatever others wrote is escaped (`escape`), and so is
//! all talk, wherever it goes.
//!
//! When stdout's reader has gone away, that is no error: `annal client read | head -1` got what it
//! wanted. Commands learn of it as [`Closed`] and end quietly, or finish their work unheard.

use std::fmt;
use std::io::{self, BufWriter, IsTerminal as _, StderrLock, StdoutLock, Write};

use anstyle::{AnsiColor, Style};
use clap::error::ErrorKind;
use serde::Serialize;

use super::escape::{escaped, escaped_json, escaped_lines};

/// Bytes gathered before they go out, unless flushed.
const BUFFER_BYTES: usize = 64 << 10;

/// A result that a command prints: one JSON object, or lines for people.
pub(super) trait Row: Serialize {
    /// Writes the lines for people, the last with its newline.
    fn human(&self, out: &mut dyn Write) -> io::Result<()>;

    /// How one of these lines looks on a terminal that shows colour.
    fn style(&self, _line: &str) -> Style {
        Style::new()
    }
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

/// How results look, and to whom.
#[derive(Clone, Copy, Debug)]
struct Form {
    json: bool,
    /// What is printed is seen by people, on something that acts upon controls.
    terminal: bool,
    /// And that shows colour.
    paint: Paint,
}

impl Form {
    fn write(self, out: &mut dyn Write, row: &impl Row) -> io::Result<()> {
        if self.json {
            return self.write_json(out, row);
        }
        if !self.terminal {
            return row.human(out);
        }
        self.lines(row)?.iter().try_for_each(|line| writeln!(out, "{line}"))
    }

    /// The lines for people, fit for a terminal.
    fn lines(self, row: &impl Row) -> io::Result<Vec<String>> {
        let mut lines = Vec::new();
        row.human(&mut lines)?;
        let lines = String::from_utf8_lossy(&lines);
        let shown = |line| self.paint.paint(row.style(line), escaped(line));
        Ok(lines.lines().map(shown).collect())
    }

    fn write_json(self, out: &mut dyn Write, row: &impl Serialize) -> io::Result<()> {
        if self.terminal {
            out.write_all(escaped_json(&serde_json::to_string(row)?).as_bytes())?;
        } else {
            serde_json::to_writer(&mut *out, row)?;
        }
        out.write_all(b"\n")
    }
}

/// Prints a command's results.
pub(super) struct Printer {
    form: Form,
    out: BufWriter<StdoutLock<'static>>,
}

impl Printer {
    /// A printer of JSON, or of lines for people.
    pub(super) fn new(json: bool) -> Self {
        let out = io::stdout().lock();
        let form = Form { json, terminal: out.is_terminal(), paint: Paint::of_stdout() };
        Self { form, out: BufWriter::with_capacity(BUFFER_BYTES, out) }
    }

    /// Whether it prints JSON.
    pub(super) fn is_json(&self) -> bool {
        self.form.json
    }

    /// Prints JSON from now on, or not. Returns whether it did.
    pub(super) fn set_json(&mut self, json: bool) -> bool {
        std::mem::replace(&mut self.form.json, json)
    }

    /// Prints one result; it may stay in the buffer until [`Self::flush`].
    pub(super) fn print(&mut self, row: &impl Row) -> Result<(), Closed> {
        Ok(self.form.write(&mut self.out, row)?)
    }

    /// Prints what somebody else chose: as JSON, or as `write` does it, which is told whether something
    /// may act upon it. It may stay in the buffer.
    pub(super) fn print_foreign(
        &mut self,
        row: &impl Serialize,
        write: impl FnOnce(&mut dyn Write, bool) -> io::Result<()>,
    ) -> Result<(), Closed> {
        if self.form.json {
            return Ok(self.form.write_json(&mut self.out, row)?);
        }
        Ok(write(&mut self.out, self.form.terminal)?)
    }

    /// Whether people see what it prints, on something that acts upon controls.
    pub(super) fn is_terminal(&self) -> bool {
        self.form.terminal
    }

    /// Makes room for what is printed in place, where that is a screen.
    pub(super) fn clear_screen(&mut self) -> Result<(), Closed> {
        if self.form.terminal && !self.form.json {
            self.out.write_all(b"\x1b[2J")?;
        }
        Ok(())
    }

    /// Prints one result, now, over the one before; where that is no screen, behind it.
    pub(super) fn print_in_place(&mut self, row: &impl Row) -> Result<(), Closed> {
        if !self.form.terminal || self.form.json {
            return self.print_now(row);
        }
        self.out.write_all(b"\x1b[H")?;
        for line in self.form.lines(row)? {
            // What stood there before is longer, it may be.
            write!(self.out, "{line}\x1b[K\r\n")?;
        }
        self.out.write_all(b"\x1b[J")?;
        self.flush()
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

/// A style that is shown only where there is a terminal that shows colour.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paint {
    enabled: bool,
}

impl Paint {
    /// Finds out whether stderr shows colour.
    pub(super) fn of_stderr() -> Self {
        Self::chosen(anstream::AutoStream::choice(&io::stderr()))
    }

    /// Finds out whether stdout does.
    pub(super) fn of_stdout() -> Self {
        Self::chosen(anstream::AutoStream::choice(&io::stdout()))
    }

    /// Whether any is shown.
    pub(super) fn is_shown(self) -> bool {
        self.enabled
    }

    /// Shows none.
    #[cfg(test)]
    pub(super) const NONE: Self = Self { enabled: false };

    fn chosen(choice: anstream::ColorChoice) -> Self {
        Self { enabled: choice != anstream::ColorChoice::Never }
    }

    /// The text in that style, or as it is.
    pub(super) fn paint<T: fmt::Display>(self, style: Style, text: T) -> String {
        if self.enabled && !style.is_plain() {
            format!("{style}{text}{style:#}")
        } else {
            text.to_string()
        }
    }
}

/// The columns of the terminal that stderr is; of a usual one if it does not say.
pub(super) fn columns_of_stderr() -> usize {
    const USUAL: usize = 80;
    let size = rustix::termios::tcgetwinsize(io::stderr());
    size.map_or(USUAL, |size| match size.ws_col {
        0 => USUAL,
        columns => columns.into(),
    })
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

/// Prints a text of ours to stdout.
///
/// # Errors
/// It could not be written.
pub(super) fn print_help(text: &str) -> Result<(), Closed> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

/// Prints what clap has to say: help to stdout, errors to stderr with their last line as a hint.
///
/// # Errors
/// The help could not be written to where it was asked for.
pub(super) fn print_usage(error: &clap::Error) -> Result<(), Closed> {
    if !error.use_stderr() {
        let mut out = anstream::stdout().lock();
        write!(out, "{}", error.render().ansi())?;
        return Ok(out.flush()?);
    }
    let is_help = error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
    let text = if is_help {
        error.render().ansi().to_string()
    } else {
        // It quotes what was typed, in which there may be styles as well.
        escaped_lines(&error.render().to_string())
    };
    let text = text.replace("For more information, try", "hint: for more information, try");
    let _ = write!(anstream::stderr().lock(), "{text}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A row of which somebody else wrote a part.
    #[derive(Serialize)]
    struct Said {
        text: String,
    }

    impl Row for Said {
        fn human(&self, out: &mut dyn Write) -> io::Result<()> {
            writeln!(out, "{}", self.text)
        }
    }

    fn printed(json: bool, terminal: bool) -> String {
        let mut out = Vec::new();
        let row = Said { text: "a\n\u{1b}[2J\u{9b}".to_owned() };
        let paint = Paint { enabled: false };
        Form { json, terminal, paint }.write(&mut out, &row).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_pipe_gets_the_bytes_and_a_terminal_nothing_to_act_upon() {
        assert_eq!(printed(false, false), "a\n\u{1b}[2J\u{9b}\n");
        assert_eq!(printed(false, true), "a\n\\x1b[2J\\u{9b}\n");
        assert_eq!(printed(true, false), "{\"text\":\"a\\n\\u001b[2J\u{9b}\"}\n");
        assert_eq!(printed(true, true), "{\"text\":\"a\\n\\u001b[2J\\u009b\"}\n");
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
