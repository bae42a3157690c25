//! What others wrote, made fit for a terminal and for a line of a log.
//!
//! A terminal acts upon what it is sent: a record could clear the screen, change the title, or put on
//! it what looks like lines of ours. Here whatever a terminal might act upon, or that hides or turns
//! round what stands beside it, is replaced by a word for it, as `\x1b` or `\u{202e}`. Letters of all
//! scripts stay what they are, and a tab is only a gap. The exact bytes are what a pipe gets, and `--json`
//! has them in its own form on a terminal as well.

use std::fmt::Write as _;
use std::io::{self, Write};

/// Whether a terminal may act upon a character, or people be deceived by it: controls (C0, DEL, C1),
/// marks of direction, separators of lines, and what has no width and no use in a word.
pub(super) fn is_unsafe(character: char) -> bool {
    matches!(character,
        '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}' | '\u{2029}'
        | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e007f}')
        || character.is_control() && character != '\t'
}

/// Writes bytes that somebody else chose, on one line.
pub(super) fn write_escaped(out: &mut dyn Write, bytes: &[u8]) -> io::Result<()> {
    for chunk in bytes.utf8_chunks() {
        let mut rest = chunk.valid();
        while let Some((at, character)) = rest.char_indices().find(|(_, found)| is_unsafe(*found)) {
            out.write_all(&rest.as_bytes()[..at])?;
            out.write_all(escaped_char(character).as_bytes())?;
            rest = &rest[at + character.len_utf8()..];
        }
        out.write_all(rest.as_bytes())?;
        for byte in chunk.invalid() {
            write!(out, "\\x{byte:02x}")?;
        }
    }
    Ok(())
}

/// A text that somebody else may have chosen, on one line.
pub(super) fn escaped(text: &str) -> String {
    if !text.contains(is_unsafe) {
        return text.to_owned();
    }
    let mut out = Vec::with_capacity(text.len());
    write_escaped(&mut out, text.as_bytes()).expect("writing to a Vec does not fail");
    String::from_utf8(out).expect("text stays text")
}

/// Lines of ours that may hold what others chose: each stays the line that it is.
pub(super) fn escaped_lines(lines: &str) -> String {
    lines.split('\n').map(escaped).collect::<Vec<_>>().join("\n")
}

/// JSON with the same characters in JSON's own form, so that it says what it said.
pub(super) fn escaped_json(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for character in json.chars() {
        if is_unsafe(character) {
            // JSON writes what lies beyond 16 bits as two.
            for unit in character.encode_utf16(&mut [0; 2]) {
                write!(out, "\\u{unit:04x}").expect("writing to a String does not fail");
            }
        } else {
            out.push(character);
        }
    }
    out
}

fn escaped_char(character: char) -> String {
    match character {
        '\n' => "\\n".to_owned(),
        '\r' => "\\r".to_owned(),
        character if u32::from(character) < 0x80 => format!("\\x{:02x}", u32::from(character)),
        character => format!("\\u{{{:x}}}", u32::from(character)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(bytes: &[u8]) -> String {
        let mut out = Vec::new();
        write_escaped(&mut out, bytes).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_a_terminal_would_act_upon_becomes_a_word() {
        assert_eq!(shown(b"\x1b[2J\x1b]0;title\x07"), r"\x1b[2J\x1b]0;title\x07");
        assert_eq!(shown(b"one\ntwo\rthree\x7f"), r"one\ntwo\rthree\x7f");
        // Controls beyond ASCII, as text and as bare bytes.
        assert_eq!(shown("\u{9b}31m".as_bytes()), r"\u{9b}31m");
        assert_eq!(shown(b"\x9b31m \xff"), r"\x9b31m \xff");
        assert_eq!(
            shown("abc\u{202e}txt\u{2069}\u{e0041}".as_bytes()),
            r"abc\u{202e}txt\u{2069}\u{e0041}"
        );
    }

    #[test]
    fn what_is_text_stays_as_it_is() {
        for text in ["", "plain", "a\tb", "größer", "日本語", "👩‍🚀", "שלום", r"C:\new"]
        {
            assert_eq!(shown(text.as_bytes()), text);
            assert_eq!(escaped(text), text);
        }
        assert_eq!(escaped_lines("a\u{7}\nb"), "a\\x07\nb");
    }

    #[test]
    fn json_says_what_it_said() {
        let said = "\u{9b}2J \u{202e} \u{e0041} ü";
        let json = serde_json::to_string(said).unwrap();
        let escaped = escaped_json(&json);
        assert!(!escaped.contains(is_unsafe), "{escaped}");
        assert_eq!(serde_json::from_str::<String>(&escaped).unwrap(), said);
    }
}
