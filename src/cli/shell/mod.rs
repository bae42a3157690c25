//! `annal shell`, and `annal client` without a verb: a prompt.
//!
//! # What it is
//!
//! A line is one of the client's verbs as `args` has them, and does what it does as a command: the
//! prompt has no verb of its own. It shows who leads, and changes when that changes ([`leadership`]).
//!
//! # How it works
//!
//! 1. [`editor`] reads a line, by the crate `rustyline`: history, completion, hints.
//! 2. [`mod@line`] says what it means. What the Python project has at its prompt means the same here
//!    ([`python`]). Several lines come only by being pasted, and are asked about before anything is done.
//! 3. The verb runs as ever. Ctrl-C ends it and not the shell; whatever goes wrong is said, and the
//!    next line is read.
//!
//! # What it does not do
//!
//! It reads no commands from a pipe: there each verb is a command of its own, with an exit code.

mod editor;
mod ending;
mod help;
mod history;
mod leadership;
mod line;
mod python;

use std::io::{self, IsTerminal as _};

use anstyle::AnsiColor;
use tokio::signal::unix::SignalKind;

use self::editor::{Entered, LineEditor};
use self::ending::Ending;
use self::leadership::{Leadership, watch};
use self::line::{Line, Refusal, understand};
use super::append::Typed;
use super::args::{ClientVerb, Connection};
use super::connection::{self, connect_as_client, target};
use super::failure::{End, Failure, complain};
use super::output::{Paint, Printer, colour, print_help, print_usage, talk};
use super::reach::Reach;
use super::runtime;
use super::verb::Verb;
use crate::client::Leading;
use crate::outcome::Outcome;

/// Reads lines and does what they say, until it is told to leave. `command` is how it was called.
pub(super) fn run(args: &Connection, command: &str, printer: &mut Printer) -> Result<(), End> {
    if !(io::stdin().is_terminal() && io::stdout().is_terminal()) {
        let sentence = format!("`{command}` is a prompt for people, and this is no terminal");
        let hint = format!("a script calls the verbs: {}", help::verbs().join(", "));
        return Err(Failure::new(Outcome::Usage, sentence, hint).into());
    }
    let target = target(args)?;
    let knows_nodes = !connection::names_nodes(args);
    runtime::wait(async {
        let mut shell = Shell::new(Reach::new(target), knows_nodes, printer)?;
        shell.greet().await?;
        shell.converse().await
    })
}

/// A conversation.
struct Shell<'a> {
    reach: Reach,
    /// Whether the cluster's file says which nodes there are.
    knows_nodes: bool,
    printer: &'a mut Printer,
    editor: LineEditor,
    leadership: Leadership,
    ending: Ending,
}

/// What comes after a line.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Next {
    /// The next one.
    Line,
    /// The next one that is typed: those that were pasted with it may rest on what could not be done.
    NewLine,
    /// Nothing.
    Leave,
}

impl<'a> Shell<'a> {
    fn new(reach: Reach, knows_nodes: bool, printer: &'a mut Printer) -> Result<Self, Failure> {
        let leadership = Leadership::default();
        let editor = LineEditor::new(leadership.clone())?;
        let ending = Ending::listen()?;
        Ok(Self { reach, knows_nodes, printer, editor, leadership, ending })
    }

    /// Says where one is, and keeps an eye on who leads from now on.
    async fn greet(&mut self) -> Result<(), End> {
        let client = connect_as_client(self.reach.target())?;
        let status = client.status().await;
        self.leadership.note(status.leader);
        let (version, nodes) = (env!("CARGO_PKG_VERSION"), status.nodes.len());
        let plural = if nodes == 1 { "" } else { "s" };
        let cluster = status.cluster;
        talk(format_args!("annal {version}, cluster {cluster} of {nodes} node{plural}"));
        talk("`help` shows what there is, with examples; Ctrl-D leaves");
        if let Some(reason) = &status.unavailable {
            talk(reason);
        }
        tokio::spawn(watch(client, self.leadership.clone(), self.editor.printer()));
        Ok(())
    }

    async fn converse(&mut self) -> Result<(), End> {
        loop {
            let entered = self.ending.while_typing(|| self.editor.line());
            match entered.unwrap_or(Ok(Entered::End))? {
                Entered::Line(text) => {
                    if self.obey(&text).await? == Next::Leave {
                        return Ok(());
                    }
                }
                Entered::Nothing => {}
                Entered::End => return Ok(()),
            }
        }
    }

    /// Does what was typed or pasted.
    async fn obey(&mut self, text: &str) -> Result<Next, End> {
        match understand(text) {
            Ok(Line::Commands(lines)) => {
                if self.is_meant(&format!("run these {} lines?", lines.len()))? {
                    return self.obey_all(&lines).await;
                }
            }
            Ok(Line::Records(verb)) => {
                let count = verb.records.len();
                if self.is_meant(&format!("append these {count} lines, each as a record?"))? {
                    return self.perform(ClientVerb::Append(verb), true, false).await;
                }
            }
            Ok(Line::Verb { verb, is_literal, json }) => {
                return self.perform(*verb, is_literal, json).await;
            }
            Ok(Line::Help) => print_help(&help::text())?,
            Ok(Line::Nothing) => {}
            Ok(Line::Quit) => return Ok(Next::Leave),
            Err(refusal) => {
                refuse(&refusal)?;
                return Ok(Next::NewLine);
            }
        }
        Ok(Next::Line)
    }

    /// Does what each of these lines says, until one cannot be done, or a signal comes.
    async fn obey_all(&mut self, lines: &[String]) -> Result<Next, End> {
        // Also a signal that comes between two lines counts.
        let mut interrupt = runtime::listen(SignalKind::interrupt())?;
        for (place, line) in lines.iter().enumerate() {
            self.show(line);
            // A line is one command: what it means has no further lines.
            let mut next = Box::pin(self.obey(line)).await?;
            tokio::select! {
                biased;
                _ = interrupt.recv() => next = next.max(Next::NewLine),
                () = std::future::ready(()) => {}
            }
            let left = lines.len() - place - 1;
            if next == Next::NewLine && left > 0 {
                talk(format_args!("{} of {} lines were run", place + 1, lines.len()));
            }
            if next != Next::Line {
                return Ok(next);
            }
        }
        Ok(Next::Line)
    }

    /// Asks before more is done than one line usually says.
    fn is_meant(&mut self, question: &str) -> Result<bool, Failure> {
        let answer = self.ending.while_typing(|| self.editor.ask(&format!("{question} [y/N] ")));
        let is_meant = match answer.unwrap_or(Ok(Entered::End))? {
            Entered::Line(answer) => ["y", "yes"].contains(&answer.trim().to_lowercase().as_str()),
            Entered::Nothing | Entered::End => false,
        };
        if !is_meant {
            talk("nothing was done");
        }
        Ok(is_meant)
    }

    /// A line of several, before it is done.
    fn show(&self, line: &str) {
        let prompt = self.leadership.prompt();
        talk(Paint::of_stderr().paint(colour(AnsiColor::BrightBlack), format!("{prompt}{line}")));
    }

    /// Runs a verb. Only that nobody can be told any more ends the shell.
    async fn perform(
        &mut self,
        verb: ClientVerb,
        is_literal: bool,
        json: bool,
    ) -> Result<Next, End> {
        let was_json = self.printer.set_json(json || self.printer.is_json());
        let done = self.try_to(verb, is_literal).await;
        self.printer.set_json(was_json);
        match done {
            Ok(None) => {}
            Ok(leading) => self.leadership.note(leading),
            Err(End::Failed(failure)) => {
                complain(&failure);
                self.reach.forget_client();
                return Ok(Next::NewLine);
            }
            Err(End::Unheard) => return Err(End::Unheard),
        }
        Ok(Next::Line)
    }

    async fn try_to(&mut self, verb: ClientVerb, is_literal: bool) -> Result<Option<Leading>, End> {
        let verb = Verb::of(verb, Typed::to_the_prompt(is_literal))?;
        if self.knows_nodes {
            verb.check(self.reach.target())?;
        }
        let mut interrupt = runtime::listen(SignalKind::interrupt())?;
        let hears_signals = verb.hears_signals();
        let performing = verb.perform(&self.reach, self.printer);
        if hears_signals {
            return performing.await;
        }
        tokio::select! {
            done = performing => done,
            _ = interrupt.recv() => {
                let hint = "`status` shows what has become of it";
                Err(Failure::new(Outcome::Failed, "interrupted: it was not waited for", hint).into())
            }
        }
    }
}

/// Says what is wrong with a line, or the help that it asks for.
fn refuse(refusal: &Refusal) -> Result<(), End> {
    match refusal {
        Refusal::Help(error) => Ok(print_usage(error)?),
        Refusal::Failure(failure) => {
            complain(failure);
            Ok(())
        }
    }
}
