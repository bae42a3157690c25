//! What the Python project has at its prompt: `send_command("text")` and `stop_leader()`.

use crate::cli::args::{Append, ClientVerb};
use crate::cli::failure::Failure;
use crate::outcome::Outcome;

/// The words, as far as they can be completed.
pub(super) const WORDS: [&str; 2] = ["send_command(\"", "stop_leader()"];

/// The verb that a call stands for; `None` if the text is no call of these.
pub(super) fn verb(text: &str) -> Option<Result<ClientVerb, Failure>> {
    let (name, rest) = text.split_once('(').unwrap_or((text, ""));
    let arguments = rest.trim_end().strip_suffix(')').map(str::trim);
    match name.trim() {
        "send_command" => Some(match arguments.and_then(string) {
            Some(text) => Ok(ClientVerb::Append(Append::of([text.into()]))),
            None => Err(refused("send_command takes one text in quotes")),
        }),
        "stop_leader" => Some(match arguments {
            Some("") => Ok(ClientVerb::CrashLeader),
            _ => Err(refused("stop_leader takes nothing")),
        }),
        _ => None,
    }
}

fn refused(sentence: &str) -> Failure {
    Failure::new(Outcome::Usage, sentence, "as in send_command(\"hello\") and stop_leader()")
}

/// The text that a Python literal stands for, if that is all there is.
fn string(literal: &str) -> Option<String> {
    let quote = literal.chars().next().filter(|first| ['"', '\''].contains(first))?;
    let mut rest = literal[1..].chars();
    let mut text = String::new();
    loop {
        match rest.next()? {
            end if end == quote => break,
            '\\' => text.push_str(&escape(&mut rest)?),
            '\n' => return None,
            plain => text.push(plain),
        }
    }
    rest.as_str().trim().is_empty().then_some(text)
}

/// What stands behind a backslash. One that means nothing stays as it is.
fn escape(rest: &mut std::str::Chars<'_>) -> Option<String> {
    let plain = match rest.next()? {
        'n' => '\n',
        't' => '\t',
        'r' => '\r',
        'a' => '\x07',
        'b' => '\x08',
        'f' => '\x0c',
        'v' => '\x0b',
        '0' => '\0',
        'x' => return numbered(rest, 2),
        'u' => return numbered(rest, 4),
        'U' => return numbered(rest, 8),
        same @ ('\\' | '\'' | '"') => same,
        other => return Some(format!("\\{other}")),
    };
    Some(plain.to_string())
}

fn numbered(rest: &mut std::str::Chars<'_>, digits: usize) -> Option<String> {
    let number = rest.as_str().get(..digits)?;
    let character = char::from_u32(u32::from_str_radix(number, 16).ok()?)?;
    *rest = rest.as_str()[digits..].chars();
    Some(character.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(text: &str) -> Option<String> {
        match verb(text) {
            Some(Ok(ClientVerb::Append(append))) => {
                assert_eq!(append.records.len(), 1);
                Some(append.records[0].clone().into_string().unwrap())
            }
            _ => None,
        }
    }

    #[test]
    fn a_call_says_what_python_says() {
        for (call, text) in [
            (r#"send_command("hello")"#, "hello"),
            ("send_command('it is')", "it is"),
            (r#" send_command ( "a (b) c" ) "#, "a (b) c"),
            (r#"send_command("it's \"so\"")"#, r#"it's "so""#),
            (r#"send_command("a\tb\\c\x41\u00fc\q")"#, "a\tb\\cAü\\q"),
            (r#"send_command("-")"#, "-"),
            (r#"send_command("")"#, ""),
        ] {
            assert_eq!(record(call).as_deref(), Some(text), "{call}");
        }
        assert!(matches!(verb("stop_leader()"), Some(Ok(ClientVerb::CrashLeader))));
        assert!(matches!(verb("stop_leader( )"), Some(Ok(ClientVerb::CrashLeader))));
    }

    #[test]
    fn a_call_that_is_none_says_how_it_is_written() {
        for call in [
            "send_command(hello)",
            "send_command",
            r#"send_command("open"#,
            r#"send_command("a" + "b")"#,
            r#"send_command("a", "b")"#,
            r#"send_command("\ud800")"#,
            "stop_leader",
            "stop_leader(now)",
        ] {
            assert!(matches!(verb(call), Some(Err(_))), "{call}");
        }
        for other in ["append hello", "send_commands(\"x\")", "status", "append (x)"] {
            assert!(verb(other).is_none(), "{other}");
        }
    }
}
