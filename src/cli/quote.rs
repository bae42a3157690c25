//! Writes command lines that a shell takes apart again as they were, and takes them apart.

use std::ffi::{OsStr, OsString};
use std::iter::Peekable;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::str::Chars;

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

/// The words of a line, as a POSIX shell without variables, patterns and comments has them; `$'…'` as
/// [`command_line`] writes it. `None` if a quote is open at the end.
pub(super) fn words(line: &str) -> Option<Vec<OsString>> {
    let mut words = Vec::new();
    let mut rest = line.chars().peekable();
    loop {
        while rest.next_if(|character| character.is_whitespace()).is_some() {}
        if rest.peek().is_none() {
            return Some(words);
        }
        words.push(OsString::from_vec(word(&mut rest)?));
    }
}

fn word(rest: &mut Peekable<Chars<'_>>) -> Option<Vec<u8>> {
    let mut word = Vec::new();
    while let Some(character) = rest.next_if(|character| !character.is_whitespace()) {
        match character {
            '\'' => single_quoted(rest, &mut word)?,
            '"' => double_quoted(rest, &mut word)?,
            '$' if rest.next_if_eq(&'\'').is_some() => escaped(rest, &mut word)?,
            '\\' => push(rest.next()?, &mut word),
            plain => push(plain, &mut word),
        }
    }
    Some(word)
}

fn push(character: char, word: &mut Vec<u8>) {
    word.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
}

fn single_quoted(rest: &mut Peekable<Chars<'_>>, word: &mut Vec<u8>) -> Option<()> {
    loop {
        match rest.next()? {
            '\'' => return Some(()),
            plain => push(plain, word),
        }
    }
}

fn double_quoted(rest: &mut Peekable<Chars<'_>>, word: &mut Vec<u8>) -> Option<()> {
    loop {
        match rest.next()? {
            '"' => return Some(()),
            '\\' => match rest.next()? {
                special @ ('"' | '\\' | '$' | '`') => push(special, word),
                plain => word.extend(['\\', plain].iter().collect::<String>().bytes()),
            },
            plain => push(plain, word),
        }
    }
}

fn escaped(rest: &mut Peekable<Chars<'_>>, word: &mut Vec<u8>) -> Option<()> {
    loop {
        match rest.next()? {
            '\'' => return Some(()),
            '\\' => match rest.next()? {
                'n' => word.push(b'\n'),
                'r' => word.push(b'\r'),
                't' => word.push(b'\t'),
                'x' => {
                    let digits: String = [rest.next()?, rest.next()?].iter().collect();
                    word.push(u8::from_str_radix(&digits, 16).ok()?);
                }
                plain => push(plain, word),
            },
            plain => push(plain, word),
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
        assert_eq!(super::words(&line).unwrap(), words.map(OsStr::from_bytes));
    }

    #[test]
    fn words_are_those_that_a_shell_finds() {
        for line in [
            "",
            "  a  b ",
            r#"a "two words" 'it is' it\'s """#,
            r#"say "a \"b\" \\ \n" '\n' x"y"z"#,
            r"$'a\nb\x41\'c' \  end",
        ] {
            let script = format!("printf '%s\\0' {line}");
            let output = Command::new("bash").args(["-c", &script]).output().unwrap();
            let found: Vec<_> = output.stdout.split(|byte| *byte == 0).collect();
            // Without an argument `printf` prints an empty one.
            let found = if line.is_empty() { &[][..] } else { &found[..found.len() - 1] };
            let words = words(line).unwrap();
            assert_eq!(
                words.iter().map(|word| word.as_bytes()).collect::<Vec<_>>(),
                found,
                "{line}"
            );
        }
        for open in ["'", "a \"b", "$'x", r"a \"] {
            assert_eq!(words(open), None, "{open}");
        }
        assert_eq!(words("#tag $HOME *").unwrap(), ["#tag", "$HOME", "*"]);
    }

    #[test]
    fn plain_words_stay_readable() {
        let words = ["annal", "client", "--dir", "./x", "append", "hello world"];
        assert_eq!(command_line(words), "annal client --dir ./x append 'hello world'");
    }
}
