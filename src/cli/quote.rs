//! Writes command lines that a shell takes apart again as they were.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use super::escape::is_unsafe;

/// The words as one line for a POSIX shell.
pub(super) fn command_line<W: AsRef<OsStr>>(words: impl IntoIterator<Item = W>) -> String {
    words.into_iter().map(|word| quoted(word.as_ref())).collect::<Vec<_>>().join(" ")
}

/// What people type to run this program: `cargo`, whose aliases lead here, if that is how it was run.
pub(super) fn program() -> &'static str {
    if std::env::var_os("CARGO").is_some() { "cargo" } else { "annal" }
}

fn quoted(word: &OsStr) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:=,@%+".contains(&byte);
    match word.to_str() {
        Some(text) if !text.is_empty() && text.bytes().all(plain) => text.to_owned(),
        Some(text) if !text.contains(|c| is_unsafe(c) || c == '\t') => {
            format!("'{}'", text.replace('\'', r"'\''"))
        }
        // Bytes that are no text, or that a terminal would act upon, in the form of bash and zsh.
        _ => {
            let bytes = word.as_bytes().iter().flat_map(|byte| std::ascii::escape_default(*byte));
            format!("$'{}'", bytes.map(char::from).collect::<String>())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_shell_takes_the_line_apart_as_it_was() {
        let words: [&[u8]; 9] = [
            b"plain",
            b"",
            b"two words",
            b"it's",
            b"$HOME `x` \"q\"",
            b"-n",
            b"a\nb\x1b",
            b"\xff'\x01",
            "a\u{202e}b".as_bytes(),
        ];
        let line = command_line(words.map(OsStr::from_bytes));
        assert!(!line.contains(is_unsafe));
        let script = format!("printf '%s\\0' {line}");
        let output = Command::new("bash").args(["-c", &script]).output().unwrap();
        let found: Vec<_> = output.stdout.split(|byte| *byte == 0).take(words.len()).collect();
        assert_eq!(found, words);
    }

    #[test]
    fn plain_words_stay_readable() {
        let words = ["annal", "client", "--dir", "./x", "append", "hello world"];
        assert_eq!(command_line(words), "annal client --dir ./x append 'hello world'");
    }
}
