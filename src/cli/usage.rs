//! A command line that could not be understood, for programs.

use std::ffi::{OsStr, OsString};

use clap::builder::{BoolishValueParser, TypedValueParser as _};

use super::failure::Failure;
use crate::outcome::Outcome;

/// Whether JSON is asked for in words that could not be understood, or by the variable for it.
pub(super) fn asks_for_json(
    words: impl Iterator<Item = OsString>,
    variable: Option<OsString>,
) -> bool {
    let is_set = |text: OsString| {
        BoolishValueParser::new().parse_ref(&clap::Command::new("annal"), None, OsStr::new(&text))
    };
    let mut words = words.take_while(|word| word != "--");
    words.any(|word| word == "--json") || variable.and_then(|text| is_set(text).ok()) == Some(true)
}

/// What is wrong, in one sentence, and what helps.
pub(super) fn failure_of(usage: &clap::Error) -> Failure {
    let text = usage.render().to_string();
    let (what, more) = text.split_once("\n\n").unwrap_or((&text, ""));
    let what = what.strip_prefix("error: ").unwrap_or(what);
    let sentence = what.split_whitespace().collect::<Vec<_>>().join(" ");
    let tip = more.lines().find_map(|line| line.trim().strip_prefix("tip: "));
    let hint = tip.unwrap_or("--help says what there is");
    Failure::new(Outcome::Usage, sentence, hint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::Arguments;

    #[test]
    fn json_is_asked_for_before_the_dashes_or_by_the_variable() {
        let asks = |line: &str, variable: Option<&str>| {
            asks_for_json(line.split(' ').map(OsString::from), variable.map(OsString::from))
        };
        assert!(asks("annal --json zzz", None) && asks("annal read --json --zzz", None));
        assert!(!asks("annal append --zzz -- --json", None));
        assert!(asks("annal zzz", Some("1")) && asks("annal zzz", Some("true")));
        assert!(!asks("annal zzz", Some("0")) && !asks("annal zzz", Some("")));
    }

    #[test]
    fn a_usage_error_is_a_sentence_and_a_hint() {
        let failure = |line: &str| {
            let error = Arguments::grammar().try_get_matches_from(line.split(' ')).unwrap_err();
            let failure = failure_of(&error);
            (failure.sentence, failure.hint)
        };
        let hint = "--help says what there is".to_owned();
        assert_eq!(
            failure("annal node start"),
            ("the following required arguments were not provided: --data <FOLDER>".into(), hint)
        );
        let (sentence, hint) = failure("annal read --lmit 3");
        assert_eq!(sentence, "unexpected argument '--lmit' found");
        assert!(hint.contains("'--limit'"), "{hint}");
    }
}
