//! What `annal up` shows of its parts: their log lines, in order of time.
//!
//! Each part speaks through a pipe of its own, so lines that belong together come in any order: they are
//! gathered for a moment. On a terminal a line is a time of day, a name and a sentence, and is folded
//! where the terminal ends; a file gets lines with date, zone and level, as a node writes them itself.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _};
use std::time::Duration;

use anstream::adapter::strip_str;
use anstyle::{AnsiColor, Style};
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::args::LogFormat;
use super::children::Part;
use super::escape::{escaped, escaped_json};
use super::logs::{self, for_people};
use super::output::{Paint, colour, columns_of_stderr, talk};
use crate::node::ELECTIONS;

/// How long lines are gathered: longer than pipes take, and shorter than people notice.
const GATHERED_FOR: Duration = Duration::from_millis(100);

/// Lines that wait at most; beyond it they are shown at once.
const WAITING_MAX: usize = 1024;

/// Characters of a date, as `2026-01-31`.
const DATE_LENGTH: usize = 10;

/// See the module.
pub(super) struct Lines {
    look: Look,
    /// By time, and then by when they came.
    waiting: BTreeMap<(String, u64), Line>,
    came: u64,
    /// When those that wait are shown.
    due: Option<Instant>,
    /// The day that was said last.
    day: String,
}

/// How lines look.
#[derive(Clone, Copy, Debug)]
struct Look {
    format: LogFormat,
    paint: Paint,
    /// The columns of the terminal, if it is one.
    columns: Option<usize>,
    /// The width of the longest name.
    names: usize,
}

/// A line that a part said, or that is said of it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    part: Part,
    /// In UTC, as log lines have it.
    time: String,
    level: String,
    target: String,
    message: String,
    fields: Map<String, Value>,
    /// It is no line of a log: the words of a process that cannot go on.
    is_plain: bool,
}

impl Lines {
    /// Of these parts, to stderr.
    pub(super) fn new(format: LogFormat, parts: &[Part]) -> Self {
        let columns = io::stderr().is_terminal().then(columns_of_stderr);
        let names = parts.iter().map(|part| part.to_string().len()).max().unwrap_or(0);
        let look = Look { format, paint: Paint::of_stderr(), columns, names };
        Self { look, waiting: BTreeMap::new(), came: 0, due: None, day: String::new() }
    }

    /// Whether people see them as they come.
    pub(super) fn are_watched(&self) -> bool {
        self.look.columns.is_some() && self.look.format == LogFormat::Human
    }

    /// A part said this.
    pub(super) fn add(&mut self, part: Part, text: &str) {
        self.wait(Line::parsed(part, text).unwrap_or_else(|| Line::plain(part, text)));
    }

    /// This is to be said of a part.
    pub(super) fn say(&mut self, part: Part, text: &str) {
        self.wait(Line {
            target: "annal::up".to_owned(),
            is_plain: false,
            ..Line::plain(part, text)
        });
    }

    fn wait(&mut self, line: Line) {
        self.came += 1;
        self.due.get_or_insert_with(|| Instant::now() + GATHERED_FOR);
        self.waiting.insert((line.time.clone(), self.came), line);
        if self.waiting.len() >= WAITING_MAX {
            self.show();
        }
    }

    /// When [`Self::show`] is to be called.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Shows what has been gathered.
    pub(super) fn show(&mut self) {
        self.due = None;
        for line in std::mem::take(&mut self.waiting).into_values() {
            if self.are_watched() {
                self.say_day(&line);
            }
            self.look.shown(&line).iter().for_each(talk);
        }
    }

    /// Says what day it is, where lines have the time of day alone.
    fn say_day(&mut self, line: &Line) {
        let day = line.time.get(..DATE_LENGTH).unwrap_or_default();
        if day != self.day {
            day.clone_into(&mut self.day);
            talk(self.look.paint.paint(Style::new().dimmed(), format!("{day}, times are UTC")));
        }
    }
}

impl Line {
    /// A line of a part's log.
    fn parsed(part: Part, text: &str) -> Option<Self> {
        let mut fields: Map<String, Value> = serde_json::from_str(text).ok()?;
        let mut take = |key| match fields.remove(key) {
            Some(Value::String(text)) => Some(text),
            _ => None,
        };
        let (time, level) = (take("time")?, take("level")?);
        let (target, message) = (take("target")?, take("message")?);
        Some(Self { part, time, level, target, message, fields, is_plain: false })
    }

    fn plain(part: Part, text: &str) -> Self {
        let (time, message) = (logs::time_now(), strip_str(text).to_string());
        let (level, target, fields) = ("INFO".to_owned(), String::new(), Map::new());
        Self { part, time, level, target, message, fields, is_plain: true }
    }

    fn sentence(&self) -> String {
        let fields = for_people(&self.message, &self.fields);
        let fields = fields.into_iter().map(|(key, value)| format!(" {key}={value}"));
        escaped(&(self.message.clone() + &fields.collect::<String>()))
    }

    fn style(&self) -> Style {
        match self.level.as_str() {
            _ if self.target == ELECTIONS => colour(AnsiColor::Green).bold(),
            "ERROR" => colour(AnsiColor::Red),
            "WARN" => colour(AnsiColor::Yellow),
            _ => Style::new(),
        }
    }

    fn to_json(&self) -> String {
        let Self { time, level, part, target, message, .. } = self;
        let mut object = json!({
            "time": time, "level": level, "node": part.to_string(), "target": target, "message": message,
        });
        object.as_object_mut().expect("it is one").extend(self.fields.clone());
        object.to_string()
    }
}

impl Look {
    /// The lines of output that a line takes.
    fn shown(self, line: &Line) -> Vec<String> {
        match (self.format, self.columns) {
            (LogFormat::Json, _) if line.is_plain => vec![escaped(&line.message)],
            (LogFormat::Json, _) => vec![escaped_json(&line.to_json())],
            (LogFormat::Human, Some(columns)) => self.folded(line, columns),
            (LogFormat::Human, None) => vec![self.in_full(line)],
        }
    }

    /// For a file, or a program: the date, the level, all in one line.
    fn in_full(self, line: &Line) -> String {
        let name = self.paint.paint(style_of(line.part), self.name(line.part) + " |");
        let sentence = line.sentence();
        if line.is_plain {
            return format!("{name} {sentence}");
        }
        format!("{name} {} {:>5} {sentence}", line.time, line.level)
    }

    /// For people who watch: the time of day, and the level where it is not the usual one.
    fn folded(self, line: &Line, columns: usize) -> Vec<String> {
        let time = line.time.get(DATE_LENGTH + 1..).unwrap_or_default().trim_end_matches('Z');
        let name = self.name(line.part);
        let indent = time.len() + 1 + name.len() + 1;
        let level = match line.level.as_str() {
            "INFO" => String::new(),
            level => format!("{level} "),
        };
        let sentence = level + &line.sentence();
        let mut folds = folds(&sentence, columns.saturating_sub(indent).max(20)).into_iter();
        let paint = |text: String| self.paint.paint(line.style(), text);
        let first = paint(folds.next().unwrap_or_default());
        let time = self.paint.paint(Style::new().dimmed(), time);
        let first = format!("{time} {} {first}", self.paint.paint(style_of(line.part), name));
        let more = folds.map(|fold| " ".repeat(indent) + &paint(fold));
        [first].into_iter().chain(more).collect()
    }

    fn name(self, part: Part) -> String {
        format!("{part:<width$}", width = self.names)
    }
}

/// A text in lines of so many characters, cut between words where there are any.
fn folds(text: &str, width: usize) -> Vec<String> {
    let mut folds = vec![String::new()];
    for word in text.split(' ') {
        let last = folds.last_mut().expect("there is one");
        if last.is_empty() {
            last.push_str(word);
        } else if last.chars().count() + 1 + word.chars().count() <= width {
            last.push(' ');
            last.push_str(word);
        } else {
            folds.push(word.to_owned());
        }
    }
    folds
}

/// The colour of a part's name.
fn style_of(part: Part) -> Style {
    const COLOURS: [AnsiColor; 6] = [
        AnsiColor::Cyan,
        AnsiColor::Yellow,
        AnsiColor::Magenta,
        AnsiColor::Green,
        AnsiColor::Blue,
        AnsiColor::BrightRed,
    ];
    match part {
        Part::Registry => Style::new().dimmed(),
        Part::Node(node) => colour(COLOURS[usize::from(node.get() - 1) % COLOURS.len()]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(format: LogFormat, columns: Option<usize>) -> Look {
        Look { format, paint: Paint::NONE, columns, names: 8 }
    }

    fn node(number: u16) -> Part {
        Part::Node(crate::types::NodeId::new(number).unwrap())
    }

    fn said(message: &str) -> String {
        json!({
            "time": "2026-11-29T23:28:19.591Z", "level": "WARN", "node": "n1", "target": "annal::x",
            "message": message, "term": 1, "index": 7, "from": "n3",
        })
        .to_string()
    }

    #[test]
    fn a_terminal_gets_the_time_of_day_and_folds_a_file_gets_it_all() {
        let message =
            "a sentence in term 1 that is too long for a line of a terminal of 80 columns";
        let line = Line::parsed(node(1), &said(message)).unwrap();
        let folded = look(LogFormat::Human, Some(80)).shown(&line);
        assert_eq!(
            folded,
            [
                "23:28:19.591 n1       WARN a sentence in term 1 that is too long for a line of a",
                "                      terminal of 80 columns from=n3",
            ]
        );
        assert!(folded.iter().all(|fold| fold.len() <= 80));
        let full = look(LogFormat::Human, None).shown(&line);
        assert_eq!(full, [format!("n1       | 2026-11-29T23:28:19.591Z  WARN {message} from=n3")]);
        let json = look(LogFormat::Json, None).shown(&line);
        let (json, original): (Value, Value) = (
            serde_json::from_str(&json[0]).unwrap(),
            serde_json::from_str(&said(message)).unwrap(),
        );
        assert_eq!(json, original);
    }

    #[test]
    fn lines_are_shown_in_order_of_time_whoever_said_them() {
        let mut lines = Lines::new(LogFormat::Human, &[node(1), node(2)]);
        let later = said("later").replace("19.591", "19.592");
        lines.add(node(1), &later);
        lines.add(node(2), &said("sooner"));
        lines.add(node(1), &said("at the same time"));
        lines.add(node(1), "error: no more");
        assert!(lines.due().is_some());
        let order: Vec<_> = lines.waiting.values().map(|line| line.message.as_str()).collect();
        assert_eq!(order, ["sooner", "at the same time", "later", "error: no more"]);
        lines.show();
        assert!(lines.due().is_none() && lines.waiting.is_empty());
    }

    #[test]
    fn what_a_part_says_cannot_forge_a_line() {
        let line = Line::parsed(node(1), &said("a\nn2 | forged \u{1b}[2J")).unwrap();
        for columns in [Some(80), None] {
            let shown = look(LogFormat::Human, columns).shown(&line);
            assert!(shown.iter().all(|line| !line.contains(char::is_control)), "{shown:?}");
        }
        let plain = Line::plain(node(1), "\u{1b}[31merror:\u{1b}[0m no\u{202e}");
        assert_eq!(look(LogFormat::Human, None).shown(&plain), ["n1       | error: no\\u{202e}"]);
    }
}
