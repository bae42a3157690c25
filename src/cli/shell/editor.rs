//! A line with its keys, history, completion and hints: the door of the crate `rustyline`.

use std::borrow::Cow;
use std::fs;
use std::io;
use std::path::PathBuf;

use anstyle::{AnsiColor, Style};
use rustyline::completion::{Completer, FilenameCompleter, Pair};
use rustyline::config::BellStyle;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::{Hint, Hinter, HistoryHinter};
use rustyline::history::FileHistory;
use rustyline::validate::Validator;
use rustyline::{ColorMode, CompletionType, Config, Context, Editor, ExternalPrinter as _, Helper};

use super::leadership::Leadership;
use super::{help, history, line, python};
use crate::cli::failure::Failure;
use crate::cli::output::{Paint, colour, talk};
use crate::limits::{SHELL_HISTORY_LINE_BYTES_MAX, SHELL_HISTORY_LINES_MAX};
use crate::outcome::Outcome;

/// What came of reading.
pub(super) enum Entered {
    /// A line, or several that were pasted.
    Line(String),
    /// What was typed was taken back, by Ctrl-C.
    Nothing,
    /// The end, by Ctrl-D.
    End,
}

/// See the module.
pub(super) struct LineEditor {
    editor: Editor<Assistant, FileHistory>,
    leadership: Leadership,
    /// Where lines are kept, as long as that can be written.
    history: Option<PathBuf>,
}

impl LineEditor {
    /// An editor that knows what was typed in earlier conversations.
    pub(super) fn new(leadership: Leadership) -> Result<Self, Failure> {
        let config = Config::builder()
            .max_history_size(SHELL_HISTORY_LINES_MAX)
            .and_then(|config| config.history_ignore_dups(true))
            .map_err(|error| failed(&error))?
            .history_ignore_space(true)
            .completion_type(CompletionType::List)
            // The prompt is painted anew wherever it changes; without colour it has none.
            .color_mode(ColorMode::Forced)
            .bell_style(BellStyle::None)
            .build();
        let mut editor = Editor::with_config(config).map_err(|error| failed(&error))?;
        editor.set_helper(Some(Assistant::new(leadership.clone())));
        let mut editor = Self { editor, leadership, history: history::file() };
        editor.load();
        Ok(editor)
    }

    /// Reads a line at the prompt.
    pub(super) fn line(&mut self) -> Result<Entered, Failure> {
        let prompt = self.leadership.prompt();
        self.assist(Some(prompt.clone()));
        self.leadership.show(true);
        let read = self.editor.readline(&prompt);
        self.leadership.show(false);
        let entered = entered(read)?;
        if let Entered::Line(text) = &entered {
            self.keep(text);
        }
        Ok(entered)
    }

    /// Reads an answer, which is not kept.
    pub(super) fn ask(&mut self, question: &str) -> Result<Entered, Failure> {
        self.assist(None);
        entered(self.editor.readline(question))
    }

    /// What prints above the line that is being typed.
    pub(super) fn printer(&mut self) -> impl FnMut(String) + Send + 'static + use<> {
        // A terminal that knows no more than lines is not written into.
        let mut printer = self.editor.create_external_printer().ok();
        move |text: String| {
            if let Some(printer) = &mut printer {
                // Without the terminal there is nobody to tell.
                let _ = printer.print(format!("{text}\n"));
            }
        }
    }

    fn assist(&mut self, prompt: Option<String>) {
        if let Some(assistant) = self.editor.helper_mut() {
            assistant.prompt = prompt;
        }
    }

    fn load(&mut self) {
        let Some(path) = &self.history else { return };
        match self.editor.load_history(path) {
            Err(ReadlineError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => self.keep_no_more(&error),
            Ok(()) => {}
        }
    }

    /// Adds a line to those that can be got back, now and later.
    fn keep(&mut self, text: &str) {
        if text.trim().is_empty() || text.len() > SHELL_HISTORY_LINE_BYTES_MAX {
            return;
        }
        let is_new = self.editor.add_history_entry(text).unwrap_or(false);
        let Some(path) = self.history.clone().filter(|_| is_new) else { return };
        // The folder is this user's alone: the process makes nothing for others.
        let folder = path.parent().map_or(Ok(()), fs::create_dir_all);
        let kept = folder.map_err(ReadlineError::Io);
        if let Err(error) = kept.and_then(|()| self.editor.append_history(&path)) {
            self.keep_no_more(&error);
        }
    }

    fn keep_no_more(&mut self, error: &ReadlineError) {
        if let Some(path) = self.history.take() {
            talk(format_args!(
                "the lines of this prompt are not kept: {}: {error}",
                path.display()
            ));
        }
    }
}

fn entered(read: Result<String, ReadlineError>) -> Result<Entered, Failure> {
    match read {
        Ok(text) => Ok(Entered::Line(text)),
        Err(ReadlineError::Interrupted) => Ok(Entered::Nothing),
        Err(ReadlineError::Eof) => Ok(Entered::End),
        Err(ReadlineError::Io(error)) if error.kind() == io::ErrorKind::InvalidData => {
            talk("that is no text (UTF-8): such records are appended from a file or a pipe");
            Ok(Entered::Nothing)
        }
        Err(error) => Err(failed(&error)),
    }
}

fn failed(error: &ReadlineError) -> Failure {
    let sentence = format!("the terminal cannot be read: {error}");
    Failure::new(Outcome::Failed, sentence, "each verb is a command as well: `annal append hello`")
}

/// What stands beside a line while it is typed.
struct Assistant {
    leadership: Leadership,
    /// The prompt for which the editor has reserved the room; `None`: a question is asked.
    prompt: Option<String>,
    earlier: HistoryHinter,
    files: FilenameCompleter,
    paint: Paint,
}

impl Assistant {
    fn new(leadership: Leadership) -> Self {
        let (earlier, files) = (HistoryHinter::new(), FilenameCompleter::new());
        Self { leadership, prompt: None, earlier, files, paint: Paint::of_stdout() }
    }
}

impl Helper for Assistant {}
impl Validator for Assistant {}

impl Highlighter for Assistant {
    fn highlight_prompt<'b, 's: 'b, 'p: 'b>(&'s self, text: &'p str, _: bool) -> Cow<'b, str> {
        match &self.prompt {
            Some(prompt) if prompt == text => {
                let now = self.leadership.prompt_of_width(prompt.len());
                Cow::Owned(self.paint.paint(colour(AnsiColor::Cyan).bold(), now))
            }
            _ => Cow::Owned(self.paint.paint(Style::new().bold(), text)),
        }
    }

    fn highlight_hint<'h>(&self, hint: &'h str) -> Cow<'h, str> {
        Cow::Owned(self.paint.paint(colour(AnsiColor::BrightBlack), hint))
    }
}

/// What is shown behind the line.
struct Beside {
    text: String,
    /// Whether it is what the line may become.
    is_rest: bool,
}

impl Hint for Beside {
    fn display(&self) -> &str {
        &self.text
    }

    fn completion(&self) -> Option<&str> {
        self.is_rest.then_some(&self.text)
    }
}

impl Hinter for Assistant {
    type Hint = Beside;

    fn hint(&self, text: &str, at: usize, context: &Context<'_>) -> Option<Beside> {
        self.prompt.as_ref()?;
        if let Some(usage) = help::usage(text) {
            return Some(Beside { text: usage.to_owned(), is_rest: false });
        }
        let rest = self.earlier.hint(text, at, context)?;
        // Of several lines the first is enough of a hint.
        (!rest.contains('\n')).then_some(Beside { text: rest, is_rest: true })
    }
}

impl Completer for Assistant {
    type Candidate = Pair;

    fn complete(
        &self,
        text: &str,
        at: usize,
        context: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        let before = &text[..at];
        let start = before.rfind(' ').map_or(0, |space| space + 1);
        let earlier: Vec<&str> = before[..start].split_whitespace().collect();
        if earlier.last() == Some(&"--file") {
            return self.files.complete(text, at, context);
        }
        let fitting =
            candidates(&earlier).into_iter().filter(|it| it.starts_with(&before[start..]));
        Ok((start, fitting.map(offered).collect()))
    }
}

/// A word that is whole has a space behind it.
fn offered(word: String) -> Pair {
    let end = if word.ends_with(['"', ')']) { "" } else { " " };
    Pair { replacement: format!("{word}{end}"), display: word }
}

/// What may stand behind these words.
fn candidates(earlier: &[&str]) -> Vec<String> {
    match earlier {
        [] => {
            let own = python::WORDS.iter().chain(&["help", "quit"]).map(ToString::to_string);
            help::verbs().into_iter().chain(own).collect()
        }
        ["help"] => help::verbs(),
        [verb, ..] => flags_of(verb),
    }
}

fn flags_of(verb: &str) -> Vec<String> {
    let mut grammar = line::grammar();
    // What all verbs have is known to each only then.
    grammar.build();
    let flags = grammar.find_subcommand(verb).into_iter().flat_map(clap::Command::get_arguments);
    flags.filter_map(|flag| flag.get_long().map(|name| format!("--{name}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbs_and_their_flags_can_be_completed() {
        let first = candidates(&[]);
        for word in ["append", "crash-leader", "help", "quit", "send_command(\"", "stop_leader()"] {
            assert!(first.iter().any(|it| it == word), "{word}: {first:?}");
        }
        assert!(candidates(&["help"]).contains(&"read".to_owned()));
        let read = candidates(&["read"]);
        assert!(["--from", "--limit", "--json"].iter().all(|flag| read.contains(&(*flag).into())));
        assert_eq!(candidates(&["nonsense"]), [""; 0]);
    }
}
