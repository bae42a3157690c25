//! How a record looks where it is printed.

use std::io::{self, Write};

use super::escape::write_escaped;
use super::rows::RecordRow;
use crate::date::rfc3339;

/// See the module. JSON is the printer's affair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// On a line of its own.
    Line,
    /// With a NUL behind it, so that no newline in a record ends it.
    Null,
    /// Nothing but its bytes.
    Raw,
    /// As a template says.
    Template(Template),
}

impl Shape {
    /// Writes a record. To a terminal nothing goes that it might act upon.
    pub(super) fn write(
        &self,
        out: &mut dyn Write,
        record: &RecordRow,
        is_terminal: bool,
    ) -> io::Result<()> {
        match self {
            Self::Template(template) => return template.write(out, record, is_terminal),
            Self::Line | Self::Null | Self::Raw => write_bytes(out, &record.record, is_terminal)?,
        }
        match self {
            Self::Line => out.write_all(b"\n"),
            Self::Null => out.write_all(b"\0"),
            Self::Raw | Self::Template(_) => Ok(()),
        }
    }
}

fn write_bytes(out: &mut dyn Write, bytes: &[u8], is_terminal: bool) -> io::Result<()> {
    if is_terminal { write_escaped(out, bytes) } else { out.write_all(bytes) }
}

/// What is printed for each record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Offset,
    Time,
    Term,
    Index,
    Record,
}

impl Template {
    /// Understands `%o %t %T %i %r`, `%%`, and what stands behind a backslash.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text.chars();
        while let Some(character) = rest.next() {
            match character {
                '%' => match piece(rest.next())? {
                    Piece::Text(text) => plain.push_str(&text),
                    field => {
                        pieces.push(Piece::Text(std::mem::take(&mut plain)));
                        pieces.push(field);
                    }
                },
                '\\' => plain.push(escape(rest.next())?),
                same => plain.push(same),
            }
        }
        pieces.push(Piece::Text(plain));
        Ok(Self(pieces))
    }

    fn write(&self, out: &mut dyn Write, record: &RecordRow, is_terminal: bool) -> io::Result<()> {
        self.0.iter().try_for_each(|piece| match piece {
            Piece::Text(text) => out.write_all(text.as_bytes()),
            Piece::Offset => write!(out, "{}", record.offset),
            Piece::Time => out.write_all(rfc3339(record.time).as_deref().unwrap_or("-").as_bytes()),
            Piece::Term => write!(out, "{}", record.term),
            Piece::Index => write!(out, "{}", record.index),
            Piece::Record => write_bytes(out, &record.record, is_terminal),
        })
    }
}

fn piece(letter: Option<char>) -> Result<Piece, String> {
    Ok(match letter {
        Some('o') => Piece::Offset,
        Some('t') => Piece::Time,
        Some('T') => Piece::Term,
        Some('i') => Piece::Index,
        Some('r') => Piece::Record,
        Some('%') => Piece::Text("%".to_owned()),
        other => {
            let found = other.map_or("% at the end".to_owned(), |letter| format!("%{letter}"));
            return Err(format!("{found} is none of %o %t %T %i %r and %%"));
        }
    })
}

fn escape(letter: Option<char>) -> Result<char, String> {
    Ok(match letter {
        Some('n') => '\n',
        Some('t') => '\t',
        Some('r') => '\r',
        Some('0') => '\0',
        Some('\\') => '\\',
        other => {
            let found = other.map_or("\\ at the end".to_owned(), |letter| format!("\\{letter}"));
            return Err(format!("{found} is none of \\n \\t \\r \\0 and \\\\"));
        }
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::types::{Index, Offset, Term, Timestamp};

    fn written(shape: &Shape, record: &'static [u8], is_terminal: bool) -> String {
        let row = RecordRow {
            offset: Offset::new(7),
            term: Term::new(2),
            index: Index::new(9),
            time: Timestamp::new(1_769_860_800_123),
            record: Bytes::from_static(record),
        };
        let mut out = Vec::new();
        shape.write(&mut out, &row, is_terminal).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_record_has_the_shape_that_was_asked_for() {
        assert_eq!(written(&Shape::Line, b"a\x1b[2J", false), "a\x1b[2J\n");
        assert_eq!(written(&Shape::Line, b"a\x1b[2J", true), "a\\x1b[2J\n");
        assert_eq!(written(&Shape::Null, b"a\nb", false), "a\nb\0");
        assert_eq!(written(&Shape::Raw, b"a\nb", false), "a\nb");
        let template = |text| Shape::Template(Template::parse(text).unwrap());
        assert_eq!(
            written(&template(r"%o\t%t\t%T\t%i\t%r %%\\\n"), b"a\nb", false),
            "7\t2026-01-31T12:00:00.123Z\t2\t9\ta\nb %\\\n"
        );
        assert_eq!(written(&template("%r|"), b"\x1b]0;title\x07", true), "\\x1b]0;title\\x07|");
        assert_eq!(written(&template(""), b"a", false), "");
    }

    #[test]
    fn a_template_that_means_nothing_is_refused() {
        for (text, words) in [
            ("%x", "%x is none of"),
            ("50%", "% at the end"),
            (r"\q", r"\q is none of"),
            ("\\", r"\ at the end"),
        ] {
            assert!(Template::parse(text).unwrap_err().contains(words), "{text}");
        }
    }
}
