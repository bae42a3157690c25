//! What the prompt says of itself.

use std::fmt::Write as _;

use super::line;

/// The verbs, as they are typed.
pub(super) fn verbs() -> Vec<String> {
    line::grammar().get_subcommands().map(|verb| verb.get_name().to_owned()).collect()
}

/// Lines for people: each verb with its sentence, then examples.
pub(super) fn text() -> String {
    let mut text = String::new();
    for verb in line::grammar().get_subcommands() {
        let about = verb.get_about().map(ToString::to_string).unwrap_or_default();
        // Writing into a String does not fail.
        let _ = writeln!(text, "  {:<14}{about}", verb.get_name());
    }
    text + MORE
}

/// Together with the verbs it fits on a screen of 24 lines.
const MORE: &str = r#"  help VERB     Say more about one, with its flags
  quit          Leave; so do exit and Ctrl-D
  send_command("hello"), stop_leader(): as in the Python project
Examples:
  append hello               one record
  tail -n 3 -f               the last three, and those to come; Ctrl-C ends it
Several lines that are pasted are asked about before anything is done.
Tab completes, the right arrow takes the hint, Ctrl-R finds earlier lines.
"#;

/// What may follow a verb, as a hint beside it.
pub(super) fn usage(line: &str) -> Option<&'static str> {
    Some(match line {
        "append " => "TEXT…   'two words' in quotes   --file F",
        "read " => "--from N  --last N  --since 10m  --limit N  --json",
        "tail " => "-n N  -f  --from N  --since 10m",
        "help " => "VERB",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_fits_on_a_small_terminal_with_the_next_prompt() {
        let text = text();
        assert!(text.lines().count() < 24, "{} lines", text.lines().count());
        assert!(text.lines().all(|line| line.chars().count() < 80), "{text}");
    }
}
