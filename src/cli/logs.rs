//! Log lines on stderr: time, level, node and message for people, or a JSON object a line.

use std::fmt::{self, Write as _};
use std::io;

use anstyle::{AnsiColor, Style};
use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::macros::format_description;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::args::LogFormat;
use super::failure::{Code, Failure};

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
/// # Errors
/// The filter is not of its form: a usage error.
pub(super) fn install(settings: LogSettings<'_>) -> Result<(), Failure> {
    let filter = settings.filter.unwrap_or(settings.default_filter);
    let filter = EnvFilter::try_new(filter).map_err(|error| {
        let hint = "a filter is a level, or parts like annal::raft=debug, with commas between";
        Failure::new(Code::Usage, format!("'{filter}' is not a log filter: {error}"), hint)
    })?;
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
        let time =
            now().format(format_description!("[hour]:[minute]:[second].[subsecond digits:3]"));
        let dimmed = Style::new().dimmed();
        self.write_styled(writer, dimmed, &time.unwrap_or_default())?;
        writer.write_char(' ')?;
        self.write_styled(writer, style_of(line.level), &format!("{:>5}", line.level))?;
        if self.shows_name {
            let name = line.fields.others.get("node").and_then(Value::as_str).unwrap_or(&self.name);
            writer.write_char(' ')?;
            self.write_styled(writer, Style::new().bold(), name)?;
        }
        write!(writer, " {}", line.fields.message)?;
        for (key, value) in line.fields.others.iter().filter(|(key, _)| *key != "node") {
            self.write_styled(writer, dimmed, &format!(" {key}="))?;
            match value {
                Value::String(text) => write!(writer, "{text}")?,
                value => write!(writer, "{value}")?,
            }
        }
        writeln!(writer)
    }

    fn write_styled(&self, writer: &mut Writer<'_>, style: Style, text: &str) -> fmt::Result {
        if self.colours { write!(writer, "{style}{text}{style:#}") } else { writer.write_str(text) }
    }

    fn write_json(&self, writer: &mut Writer<'_>, line: Line<'_>) -> fmt::Result {
        let format = format_description!(
            "[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z"
        );
        let mut object = Map::new();
        object.insert("time".to_owned(), now().format(&format).ok().into());
        object.insert("level".to_owned(), line.level.as_str().into());
        object.insert("node".to_owned(), self.name.as_str().into());
        object.insert("target".to_owned(), line.target.into());
        object.insert("message".to_owned(), line.fields.message.into());
        object.extend(line.fields.others);
        writeln!(writer, "{}", Value::Object(object))
    }
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

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = String::new();
        write!(text, "{value:?}").expect("writing to a String does not fail");
        self.put(field, text.into());
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
            tracing::info!(term = 3, peer = %"n2", "became leader");
        });
        let bytes = sink.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_line_for_people_has_time_level_node_and_message() {
        let line = logged(LogFormat::Human, true);
        assert_eq!(line.get(12..), Some("  INFO n1 became leader peer=n2 term=3\n"), "{line}");
        let line = logged(LogFormat::Human, false);
        assert_eq!(line.get(12..), Some("  INFO became leader peer=n2 term=3\n"), "{line}");
    }

    #[test]
    fn a_line_of_json_is_one_object() {
        let line = logged(LogFormat::Json, true);
        let value: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["node"], "n1");
        assert_eq!(value["message"], "became leader");
        assert_eq!(value["term"], 3);
        assert_eq!(value["level"], "INFO");
    }
}
