//! What was meant by a word that is no command: another one that looks like it, or what other programs
//! call it.

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::failure::Failure;
use crate::outcome::Outcome;

/// The words of other programs, and what they are here.
const OTHERS: &[(&str, &[&str])] = &[
    (
        "append",
        &[
            "put",
            "pub",
            "publish",
            "produce",
            "producer",
            "push",
            "write",
            "add",
            "insert",
            "send",
            "set",
            "xadd",
            "lpush",
            "rpush",
            "log",
            "echo",
            "send_command",
            "send-command",
        ],
    ),
    (
        "read",
        &[
            "get", "cat", "fetch", "range", "xrange", "xread", "list", "show", "dump", "export",
            "scan",
        ],
    ),
    (
        "tail -f",
        &["sub", "subscribe", "consume", "consumer", "follow", "watch", "listen", "stream", "poll"],
    ),
    (
        "status",
        &[
            "ls", "info", "ps", "health", "state", "stat", "stats", "members", "nodes", "endpoint",
            "ping",
        ],
    ),
    ("top", &["monitor", "dashboard", "ui", "tui", "htop"]),
    ("leader", &["who", "master", "primary", "controller"]),
    ("terms", &["epochs", "elections", "leaders", "history"]),
    ("crash-leader", &["kill", "crash", "stop-leader", "stop_leader", "failover", "step-down"]),
    ("shell", &["repl", "cli", "console", "prompt", "connect", "interactive"]),
    ("up", &["start", "run", "serve", "server", "cluster", "launch", "dev"]),
    ("down", &["stop", "halt", "shutdown", "teardown", "quit", "exit"]),
    ("init", &["create", "new", "setup", "bootstrap", "certs"]),
    ("node inspect", &["inspect", "check", "verify", "fsck", "doctor"]),
    ("bench", &["benchmark", "perf", "load"]),
    ("completions", &["completion", "complete"]),
    ("man", &["manual", "manpage", "docs"]),
];

/// What the other word is called here.
fn of_others(word: &str) -> Option<&'static str> {
    let word = word.to_lowercase();
    OTHERS.iter().find(|(_, words)| words.contains(&word.as_str())).map(|(here, _)| *here)
}

/// One sentence and a hint about a word that is no command; `None` if something else is wrong. `program`
/// is what a command begins with where it was typed, and `is_known` whether it is one that other programs
/// may have a word for.
pub(super) fn unknown_command(
    error: &clap::Error,
    program: &str,
    is_known: impl Fn(&str) -> bool,
) -> Option<Failure> {
    if error.kind() != ErrorKind::InvalidSubcommand {
        return None;
    }
    let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand) else {
        return None;
    };
    let meant = of_others(word).filter(|meant| is_known(first(meant)));
    let hint = match (meant, error.get(ContextKind::SuggestedSubcommand)) {
        (Some(meant), _) => {
            format!("`{program}{meant}` does that; `{program}help {}` says more", first(meant))
        }
        (None, Some(ContextValue::Strings(similar))) if !similar.is_empty() => {
            let quoted: Vec<_> = similar.iter().map(|word| format!("`{program}{word}`")).collect();
            format!("did you mean {}?", quoted.join(" or "))
        }
        _ => format!("`{program}help` names all there are"),
    };
    Some(Failure::new(Outcome::Usage, format!("there is no command `{word}`"), hint))
}

/// The same for the words of a whole command, without the program.
pub(super) fn unknown_in(
    error: &clap::Error,
    words: impl Iterator<Item = String>,
    grammar: &clap::Command,
) -> Option<Failure> {
    let nouns: Vec<String> = words
        .filter(|word| !word.starts_with('-'))
        .take_while(|word| {
            grammar.find_subcommand(word).is_some_and(clap::Command::has_subcommands)
        })
        .filter(|noun| noun != "client")
        .collect();
    match nouns.first() {
        None => unknown_command(error, "annal ", |word| grammar.find_subcommand(word).is_some()),
        Some(noun) => unknown_command(error, &format!("annal {noun} "), |_| false),
    }
}

fn first(words: &str) -> &str {
    words.split(' ').next().unwrap_or(words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::Arguments;

    #[test]
    fn no_word_of_others_means_two_things() {
        let mut words: Vec<_> = OTHERS.iter().flat_map(|(_, words)| *words).collect();
        let count = words.len();
        words.sort();
        words.dedup();
        assert_eq!(words.len(), count);
        assert_eq!(of_others("PUT"), Some("append"));
        assert_eq!(of_others("append"), None);
    }

    #[test]
    fn a_command_that_is_none_is_answered_where_it_was_typed() {
        let hint = |line: &str| {
            let grammar = Arguments::grammar();
            let error = grammar.clone().try_get_matches_from(line.split(' ')).unwrap_err();
            let words = line.split(' ').skip(1).map(ToOwned::to_owned);
            unknown_in(&error, words, &grammar).map(|failure| failure.hint)
        };
        for (line, expected) in [
            ("annal put x", "`annal append` does that; `annal help append` says more"),
            ("annal client put x", "`annal append` does that; `annal help append` says more"),
            ("annal --json sub", "`annal tail -f` does that; `annal help tail` says more"),
            ("annal help consume", "`annal tail -f` does that; `annal help tail` says more"),
            ("annal stauts", "did you mean `annal status`?"),
            ("annal node strat", "did you mean `annal node start`?"),
            ("annal node zzz", "`annal node help` names all there are"),
            ("annal zzz", "`annal help` names all there are"),
        ] {
            assert_eq!(hint(line).as_deref(), Some(expected), "{line}");
        }
        assert_eq!(hint("annal append"), None);
        for (here, _) in OTHERS {
            assert!(Arguments::grammar().find_subcommand(first(here)).is_some(), "{here}");
        }
    }
}
