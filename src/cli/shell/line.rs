//! What a line means.

use std::ffi::OsString;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use super::python;
use crate::cli::args::{Append, ClientVerb, without_env};
use crate::cli::failure::Failure;
use crate::cli::{examples, quote, suggest};
use crate::outcome::Outcome;

/// The grammar of a line: the client's verbs, without the flags that say where the cluster is.
#[derive(Debug, Parser)]
#[command(name = "annal", no_binary_name = true, disable_help_subcommand = true)]
struct Grammar {
    /// Print JSON, one object per line
    #[arg(long, global = true, display_order = 900)]
    json: bool,

    #[command(subcommand)]
    verb: TypedVerb,
}

#[derive(Debug, Subcommand)]
enum TypedVerb {
    #[command(flatten)]
    Client(ClientVerb),
}

/// What is to be done.
#[derive(Debug)]
pub(super) enum Line {
    /// Nothing.
    Nothing,
    /// One of the client's verbs.
    Verb {
        /// Which.
        verb: Box<ClientVerb>,
        /// Whether each of its words is meant as it is, also a dash.
        is_literal: bool,
        /// Whether it answers in JSON.
        json: bool,
    },
    /// Lines of text, each to be a record.
    Records(Append),
    /// Lines that are commands.
    Commands(Vec<String>),
    /// To say what there is.
    Help,
    /// To leave.
    Quit,
}

/// Why a line is not done.
#[derive(Debug)]
pub(super) enum Refusal {
    /// It asks for help on a verb.
    Help(clap::Error),
    /// It means nothing.
    Failure(Failure),
}

/// The grammar, in which variables of the environment play no part.
pub(super) fn grammar() -> clap::Command {
    examples::added_for_prompt(without_env(Grammar::command(), &|_| true))
}

/// Understands what was typed or pasted.
pub(super) fn understand(text: &str) -> Result<Line, Refusal> {
    // A line that ends within quotes goes on in the next one.
    let is_one = !text.trim().contains('\n')
        || text.lines().next().is_some_and(|line| quote::words(line).is_none());
    if is_one { one(text) } else { Ok(several(text)) }
}

fn one(text: &str) -> Result<Line, Refusal> {
    if let Some(verb) = python::verb(text) {
        let verb = Box::new(verb.map_err(Refusal::Failure)?);
        return Ok(Line::Verb { verb, is_literal: true, json: false });
    }
    let Some(mut words) = quote::words(text) else {
        let hint = "a quote in a record stands in quotes of the other kind, or behind a backslash";
        let failure = Failure::new(Outcome::Usage, "a quote is open at the end of the line", hint);
        return Err(Refusal::Failure(failure));
    };
    words.drain(..words_before_verb(&words));
    of_words(&words)
}

/// How many of the first words only say which program is meant, as one that is copied from elsewhere
/// says.
fn words_before_verb(words: &[OsString]) -> usize {
    let is =
        |at: usize, names: &[&str]| words.get(at).is_some_and(|w| names.iter().any(|n| w == n));
    let is_program = is(0, &["annal", "cargo"]);
    usize::from(is_program) + usize::from(is_program && is(1, &["client"]))
}

fn of_words(words: &[OsString]) -> Result<Line, Refusal> {
    let texts: Vec<_> = words.iter().map(|word| word.to_str().unwrap_or_default()).collect();
    match texts.as_slice() {
        [] => Ok(Line::Nothing),
        ["quit" | "exit"] => Ok(Line::Quit),
        ["help" | "?" | "--help" | "-h"] => Ok(Line::Help),
        ["help", verb, ..] => parsed(&[(*verb).into(), "--help".into()]),
        _ => parsed(words),
    }
}

fn parsed(words: &[OsString]) -> Result<Line, Refusal> {
    let mut grammar = grammar();
    let typed = grammar
        .try_get_matches_from_mut(words)
        .and_then(|matches| Grammar::from_arg_matches(&matches))
        .map_err(|error| refused(error.format(&mut grammar), words))?;
    let TypedVerb::Client(verb) = typed.verb;
    let is_literal = words.iter().any(|word| word == "--");
    Ok(Line::Verb { verb: Box::new(verb), is_literal, json: typed.json })
}

/// What clap says at length, in one sentence and with a hint that is of use here.
fn refused(error: clap::Error, words: &[OsString]) -> Refusal {
    if !error.use_stderr() {
        return Refusal::Help(error);
    }
    let is_verb = |word: &str| grammar().find_subcommand(word).is_some();
    if let Some(failure) = suggest::unknown_command(&error, "", is_verb) {
        return Refusal::Failure(failure);
    }
    let said = error.render().to_string();
    let mut parts =
        said.split("\n\n").map(|part| part.split_whitespace().collect::<Vec<_>>().join(" "));
    let sentence = parts.next().unwrap_or_default();
    let verb = words.first().and_then(|word| word.to_str());
    let hint =
        match (parts.find_map(|part| part.strip_prefix("tip: ").map(ToOwned::to_owned)), verb) {
            (Some(tip), _) => tip,
            (None, Some(verb)) if is_verb(verb) => {
                format!("`help {verb}` says more")
            }
            (None, _) => "`help` shows what there is".to_owned(),
        };
    let sentence = sentence.trim_start_matches("error: ");
    Refusal::Failure(Failure::new(Outcome::Usage, sentence, hint))
}

/// Several lines are commands if each of them is, and else records.
fn several(text: &str) -> Line {
    let lines: Vec<&str> = text.trim_end().lines().collect();
    let commands: Vec<_> = lines.iter().filter(|line| !line.trim().is_empty()).collect();
    if commands.iter().all(|line| is_command(line)) {
        return Line::Commands(commands.iter().map(ToString::to_string).collect());
    }
    let is_verb = |rest: &&str| rest.is_empty() || rest.starts_with(' ');
    let first = lines.first().and_then(|line| line.trim_start().strip_prefix("append"));
    let records: Vec<&str> = match first.filter(is_verb).map(str::trim) {
        Some("") => lines[1..].to_vec(),
        Some(text) => [text].into_iter().chain(lines[1..].iter().copied()).collect(),
        None => lines,
    };
    Line::Records(Append::of(records.into_iter().map(OsString::from)))
}

fn is_command(line: &str) -> bool {
    let Some(words) = quote::words(line) else { return false };
    let first = words.get(words_before_verb(&words));
    let is = |name: &str| first.is_some_and(|word| word == name);
    python::verb(line).is_some()
        || ["quit", "exit", "help"].into_iter().any(is)
        || grammar().get_subcommands().any(|verb| is(verb.get_name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(append: &Append) -> Vec<&str> {
        append.records.iter().map(|record| record.to_str().unwrap()).collect()
    }

    /// The records of a line that appends.
    fn appended(text: &str) -> Vec<String> {
        match understand(text) {
            Ok(Line::Verb { verb, .. }) => match *verb {
                ClientVerb::Append(append) => {
                    records(&append).into_iter().map(ToOwned::to_owned).collect()
                }
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_grammar_is_sound() {
        Grammar::command().debug_assert();
    }

    #[test]
    fn a_line_is_taken_apart_as_a_shell_does() {
        assert_eq!(appended("append hello"), ["hello"]);
        assert_eq!(appended("append 'two words' it\\'s #5"), ["two words", "it's", "#5"]);
        assert_eq!(appended("annal client append x"), ["x"]);
        assert_eq!(appended("annal append x"), ["x"]);
        assert_eq!(appended("cargo client append annal"), ["annal"]);
        assert_eq!(appended("append 'one\nrecord'"), ["one\nrecord"]);
        assert_eq!(appended("send_command(\"two words\")"), ["two words"]);
        assert!(matches!(understand("append 'open"), Err(Refusal::Failure(_))));
        let refusal = |text: &str| match understand(text) {
            Err(Refusal::Failure(failure)) => (failure.sentence, failure.hint),
            other => panic!("{other:?}"),
        };
        let (sentence, hint) = refusal("nonsense");
        assert_eq!(sentence, "there is no command `nonsense`");
        assert_eq!(hint, "`help` names all there are");
        assert_eq!(refusal("appendd x").1, "did you mean `append`?");
        assert_eq!(refusal("put x").1, "`append` does that; `help append` says more");
        assert_eq!(refusal("bootstrap").1, "`help` names all there are", "no verb of the prompt");
        assert_eq!(
            refusal("read 7"),
            ("unexpected argument '7' found".into(), "`help read` says more".into())
        );
        assert!(refusal("append x --dir y").0.contains("--dir"));
        assert!(refusal("append").0.contains("not provided: <TEXT>"), "{}", refusal("append").0);
    }

    #[test]
    fn what_is_not_a_verb_of_the_client_is_the_shells() {
        for (text, is_it) in [
            ("", (|line| matches!(line, Line::Nothing)) as fn(&Line) -> bool),
            ("  ", |line| matches!(line, Line::Nothing)),
            ("quit", |line| matches!(line, Line::Quit)),
            ("exit", |line| matches!(line, Line::Quit)),
            ("help", |line| matches!(line, Line::Help)),
            ("status --json", |line| matches!(line, Line::Verb { json: true, .. })),
            ("append -- -", |line| matches!(line, Line::Verb { is_literal: true, .. })),
            ("append -", |line| matches!(line, Line::Verb { is_literal: false, .. })),
        ] {
            assert!(is_it(&understand(text).unwrap()), "{text}");
        }
        let Err(Refusal::Help(help)) = understand("help read") else { panic!("no help") };
        assert!(!help.use_stderr() && help.to_string().contains("--limit"), "{help}");
    }

    #[test]
    fn pasted_lines_are_commands_if_each_is_and_records_else() {
        let Ok(Line::Commands(lines)) = understand("append a\n\nstop_leader()\nread --limit 1\n")
        else {
            panic!("no commands")
        };
        assert_eq!(lines, ["append a", "stop_leader()", "read --limit 1"]);
        for (text, expected) in [
            ("one\ntwo\n", &["one", "two"][..]),
            ("append one\ntwo 'three\n\nfour", &["one", "two 'three", "", "four"]),
            ("append\none\ntwo", &["one", "two"]),
            ("appendix\nread", &["appendix", "read"]),
        ] {
            let Ok(Line::Records(append)) = understand(text) else { panic!("{text}") };
            assert_eq!(records(&append), expected, "{text}");
        }
        assert_eq!(appended("append one\n"), ["one"]);
    }
}
