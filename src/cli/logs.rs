//! Log lines on stderr: time, level, node and message for people, or a JSON object a line.

use std::fmt::{self, Write as _};
use std::io;

use anstyle::{AnsiColor, Style};
use serde_json::{Map, Value};
use time::OffsetDateTime;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::args::LogFormat;
use super::escape::escaped;
use super::failure::Failure;
use crate::date::FORM;
use crate::outcome::Outcome;

/// Which lines a node or registry shows, unless asked otherwise. What sled finds wrong, the store
/// says in words of its own.
pub(super) const SERVER_FILTER: &str = "info,quinn=warn,quinn_proto=warn,rustls=warn,sled=off";
/// Which lines a client's command shows, unless asked otherwise. A name that is not found is passed
/// over, and its owner would not know of it otherwise.
pub(super) const CLIENT_FILTER: &str = "error,annal::net::names=warn,sled=off";

/// How a process logs.
pub(super) struct LogSettings<'a> {
    /// The form of the lines.
    pub(super) format: LogFormat,
    /// Which lines, as asked for.
    pub(super) filter: Option<&'a str>,
    /// Which lines, unless asked for.
    pub(super) default_filter: &'a str,
    /// Who speaks.
    pub(super) name: String,
    /// Whether somebody else writes the name before each line.
    pub(super) named_by_parent: bool,
}

/// Starts logging for the whole process.
///
/// What was asked for is added to what is shown unless asked otherwise: whoever wants to see more of one
/// part does not lose the errors of the others, and whoever wants more of annal does not get the insides
/// of the libraries that it is made of, unless they are named.
///
/// # Errors
/// The filter is not of its form: a usage error.
pub(super) fn install(settings: LogSettings<'_>) -> Result<(), Failure> {
    let filter = filter(settings.filter.unwrap_or_default(), settings.default_filter)?;
    let lines = Lines {
        format: settings.format,
        name: settings.name,
        shows_name: !settings.named_by_parent,
        colours: anstream::AutoStream::choice(&io::stderr()) != anstream::ColorChoice::Never,
    };
    // A second logger in one process would be a mistake of ours, and harms nobody.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .log_internal_errors(false)
        .event_format(lines)
        .finish()
        .try_init();
    Ok(())
}

/// The filter that was asked for, upon the one that holds otherwise.
fn filter(asked: &str, default: &str) -> Result<EnvFilter, Failure> {
    let complain = |error: &dyn fmt::Display| {
        let hint = "a filter is a level (error, warn, info, debug, trace, off), or parts like \
                    annal::raft=debug, with commas between";
        Failure::new(Outcome::Usage, format!("'{asked}' is not a log filter: {error}"), hint)
    };
    // The library takes a word that it does not know for a part of the program, of which there is
    // nothing to show: everything would be silent.
    if let Some(word) = asked.split(',').map(str::trim).find(|word| !is_directive(word)) {
        return Err(complain(&format_args!("'{word}' is neither a level nor a part with one")));
    }
    EnvFilter::try_new(format!("{default},{asked}")).map_err(|error| complain(&error))
}

fn is_directive(word: &str) -> bool {
    let is_level = |word: &str| word.parse::<LevelFilter>().is_ok();
    match word.rsplit_once('=') {
        Some((part, level)) => !part.is_empty() && is_level(level),
        None => word.is_empty() || is_level(word) || word == "annal" || word.starts_with("annal::"),
    }
}

/// Formats log lines.
struct Lines {
    format: LogFormat,
    name: String,
    shows_name: bool,
    colours: bool,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let line =
            Line { level: *event.metadata().level(), target: event.metadata().target(), fields };
        match self.format {
            LogFormat::Human => self.write_human(&mut writer, &line),
            LogFormat::Json => self.write_json(&mut writer, line),
        }
    }
}

/// One event.
struct Line<'a> {
    level: Level,
    target: &'a str,
    fields: Fields,
}

impl Lines {
    fn write_human(&self, writer: &mut Writer<'_>, line: &Line<'_>) -> fmt::Result {
        let dimmed = Style::new().dimmed();
        self.write_styled(writer, dimmed, &time_now())?;
        writer.write_char(' ')?;
        self.write_styled(writer, style_of(line.level), &format!("{:>5}", line.level))?;
        if self.shows_name {
            let name = line.fields.others.get("node").and_then(Value::as_str).unwrap_or(&self.name);
            writer.write_char(' ')?;
            self.write_styled(writer, Style::new().bold(), &escaped(name))?;
        }
        // A message may quote what others said: it stays a line, in a file as well.
        write!(writer, " {}", escaped(&line.fields.message))?;
        for (key, value) in for_people(&line.fields.message, &line.fields.others) {
            self.write_styled(writer, dimmed, &format!(" {key}="))?;
            writer.write_str(&escaped(&value))?;
        }
        writeln!(writer)
    }

    fn write_styled(&self, writer: &mut Writer<'_>, style: Style, text: &str) -> fmt::Result {
        if self.colours { write!(writer, "{style}{text}{style:#}") } else { writer.write_str(text) }
    }

    fn write_json(&self, writer: &mut Writer<'_>, line: Line<'_>) -> fmt::Result {
        let mut object = Map::new();
        object.insert("time".to_owned(), time_now().into());
        object.insert("level".to_owned(), line.level.as_str().into());
        object.insert("node".to_owned(), self.name.as_str().into());
        object.insert("target".to_owned(), line.target.into());
        object.insert("message".to_owned(), line.fields.message.into());
        object.extend(line.fields.others);
        writeln!(writer, "{}", Value::Object(object))
    }
}

/// Fields that only programs look for: who reads a line has its sentence.
const FOR_PROGRAMS: [&str; 3] = ["node", "index", "incarnation"];

/// The fields that say what their line's sentence does not, with their values.
pub(super) fn for_people<'a>(
    message: &str,
    fields: &'a Map<String, Value>,
) -> Vec<(&'a str, String)> {
    let as_text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        value => value.to_string(),
    };
    let shown = fields.iter().map(|(key, value)| (key.as_str(), as_text(value)));
    let is_news = |(key, value): &(&str, String)| {
        !FOR_PROGRAMS.contains(key)
            && !says(message, value)
            && !says(message, &format!("{key} {value}"))
    };
    shown.filter(is_news).collect()
}

/// Whether a sentence says this, as a word. A number alone may be anything, but behind an `@` it is the
/// term of an entry.
fn says(message: &str, what: &str) -> bool {
    let is_part = |character: Option<char>| character.is_some_and(char::is_alphanumeric);
    let is_number = what.chars().all(|character| character.is_ascii_digit());
    message.match_indices(what).any(|(at, found)| {
        let before = message[..at].chars().next_back();
        let after = message[at + found.len()..].chars().next();
        let begins = if is_number { before == Some('@') } else { !is_part(before) };
        begins && !is_part(after)
    })
}

/// The time as log lines have it, with date and zone: lines outlive the day on which they were written, and are
/// read elsewhere.
pub(super) fn time_now() -> String {
    now().format(FORM).unwrap_or_default()
}

fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

fn style_of(level: Level) -> Style {
    let colour = match level {
        Level::ERROR => AnsiColor::Red,
        Level::WARN => AnsiColor::Yellow,
        Level::INFO => AnsiColor::Green,
        _ => AnsiColor::Blue,
    };
    colour.on_default()
}

/// The fields of an event: its message, and the others as JSON values in their order.
#[derive(Default)]
struct Fields {
    message: String,
    others: Map<String, Value>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(text)) => self.message = text,
            ("message", value) => self.message = value.to_string(),
            // Fields that the bridge from `log` adds, which repeat the target.
            (name, _) if name.starts_with("log.") => {}
            (name, value) => {
                self.others.insert(name.to_owned(), value);
            }
        }
    }
}

/// Numbers that are names: drawn at random, and too large for some readers of JSON.
const NAMES: [&str; 1] = ["incarnation"];

/// The number that a field shows, if that is all that it shows: terms and indexes have types of their
/// own, and come here as text.
fn number_in(field: &Field, text: &str) -> Option<Value> {
    let number: u64 = text.parse().ok()?;
    let is_plain = number.to_string() == text && field.name() != "message";
    (is_plain && !NAMES.contains(&field.name())).then(|| number.into())
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = String::new();
        write!(text, "{value:?}").expect("writing to a String does not fail");
        self.put(field, number_in(field, &text).unwrap_or_else(|| text.into()));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::fmt::MakeWriter;

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Sink {
        type Writer = Self;

        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    fn logged(format: LogFormat, shows_name: bool) -> String {
        let sink = Sink::default();
        let lines = Lines { format, name: "n1".to_owned(), shows_name, colours: false };
        let subscriber =
            tracing_subscriber::fmt().with_writer(sink.clone()).event_format(lines).finish();
        tracing::subscriber::with_default(subscriber, || {
            let (term, incarnation) = (crate::types::Term::new(3), 17_u64);
            tracing::info!(%term, peer = %"n2", %incarnation, "became leader");
        });
        let bytes = sink.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_line_for_people_has_time_level_node_and_message() {
        let line = logged(LogFormat::Human, true);
        let fields = "peer=n2 term=3";
        let expected = format!("  INFO n1 became leader {fields}\n");
        assert_eq!(line.get(24..), Some(&*expected), "{line}");
        let date = &line[..24];
        assert!(date.contains('T') && date.ends_with('Z'), "{date}");
        let line = logged(LogFormat::Human, false);
        assert_eq!(line.get(24..), Some(&*format!("  INFO became leader {fields}\n")), "{line}");
    }

    #[test]
    fn a_line_of_json_is_one_object() {
        let line = logged(LogFormat::Json, true);
        let value: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["node"], "n1");
        assert_eq!(value["message"], "became leader");
        assert_eq!(value["term"], 3);
        assert_eq!(value["level"], "INFO");
        assert_eq!(value["incarnation"], "17");
    }

    #[test]
    fn a_field_that_repeats_its_sentence_is_for_programs() {
        let fields = |value: Value| value.as_object().unwrap().clone();
        let all = fields(serde_json::json!({"term": 1, "peer": "n1", "index": 7, "from": "n12"}));
        let shown = |message| for_people(message, &all);
        assert_eq!(shown("follows n1 in term 1"), [("from", "n12".to_owned())]);
        assert_eq!(shown("caught up with n1 at 7@1"), [("from", "n12".to_owned())]);
        let rest = [("peer", "n1".to_owned()), ("term", "1".to_owned())];
        assert_eq!(shown("follows n12 in term 11, at 1"), rest);
    }

    #[test]
    fn a_filter_is_added_to_the_usual_one() {
        let shown = |asked| filter(asked, SERVER_FILTER).unwrap().to_string();
        let has = |asked, directive| shown(asked).split(',').any(|found| found == directive);
        assert!(has("debug", "debug") && has("debug", "sled=off") && !has("debug", "info"));
        assert!(has("annal::raft=trace", "info") && has("annal::raft=trace", "annal::raft=trace"));
        assert!(has("sled=debug", "sled=debug") && !has("sled=debug", "sled=off"));
        for good in ["", "off", "WARN,quinn=debug", "annal::net,info"] {
            filter(good, SERVER_FILTER).unwrap();
        }
        for bad in ["verbose", "info,loud", "annal=loud", "=debug", "raft"] {
            assert_eq!(filter(bad, SERVER_FILTER).unwrap_err().outcome, Outcome::Usage, "{bad}");
        }
    }

    #[test]
    fn a_message_stays_on_its_line() {
        let sink = Sink::default();
        let lines =
            Lines { format: LogFormat::Human, name: "n1".into(), shows_name: true, colours: false };
        let subscriber =
            tracing_subscriber::fmt().with_writer(sink.clone()).event_format(lines).finish();
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(who = "a\u{1b}[2J", "said\n2026-01-01T00:00:00.000Z  INFO forged");
        });
        let text = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.matches('\n').count(), 1, "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
    }
}
