//! How a command fails: a sentence, a hint, and a fixed exit code.

use std::sync::OnceLock;

use anstyle::AnsiColor;
use serde::Serialize;

use super::escape::{escaped, escaped_json};
use super::output::{Closed, Paint, colour, talk};
use super::parent::ChildWord;
use crate::client::{AppendError, LogError, OpenError, ReadError};
use crate::config::ConfigError;
use crate::label::FenceToken;
use crate::node::init::InitError;
use crate::node::start::StartError;
use crate::outcome::Outcome;
use crate::remedy;
use crate::store::BackupError;
use crate::types::Offset;

/// Why a command ends with anything but 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// What it came to, which the exit code says.
    pub(super) outcome: Outcome,
    /// What is wrong, in one sentence.
    pub(super) sentence: String,
    /// What to do about it.
    pub(super) hint: String,
    /// Commands that do it, ready to be run.
    pub(super) commands: Vec<String>,
    /// What a program may go on with.
    pub(super) facts: Box<Facts>,
    /// Another process has what this one needs.
    pub(super) is_occupied: bool,
}

impl Failure {
    /// A failure of a client's operation. There is always something to do about it.
    #[expect(clippy::needless_pass_by_value, reason = "texts and errors, owned or not")]
    pub(super) fn of(outcome: Outcome, sentence: impl ToString, hint: impl ToString) -> Self {
        let hint = match hint.to_string() {
            hint if hint.is_empty() => "`annal client status` shows how the cluster is".to_owned(),
            hint => hint,
        };
        Self::new(outcome, sentence, hint)
    }

    /// A failure without commands.
    #[expect(clippy::needless_pass_by_value, reason = "texts and errors, owned or not")]
    pub(super) fn new(outcome: Outcome, sentence: impl ToString, hint: impl ToString) -> Self {
        let (sentence, hint) = (sentence.to_string(), hint.to_string());
        let (commands, facts) = (Vec::new(), Box::default());
        Self { outcome, sentence, hint, commands, facts, is_occupied: false }
    }

    /// A failure of an append, in this sentence.
    pub(super) fn of_append(error: &AppendError, sentence: impl ToString) -> Self {
        let facts = Box::new(Facts::from(error));
        Self { facts, ..Self::of(error.outcome(), sentence, error.hint()) }
    }
}

impl Failure {
    /// The same, if another process has what this one needs.
    pub(super) fn occupied(self, is_occupied: bool) -> Self {
        Self { is_occupied, ..self }
    }

    /// What a parent has to know of it.
    pub(super) fn word(&self) -> ChildWord {
        let (sentence, hint) = (self.sentence.clone(), self.hint.clone());
        ChildWord::Failed { sentence, hint, is_occupied: self.is_occupied }
    }
}

/// What is known of a failure, each under its own name: a program need not read sentences.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Facts {
    /// The offset that the next record gets, if the log did not end where it was expected to.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_offset: Option<Offset>,
    /// The offset at which the log begins, if what was to be read is before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    start_offset: Option<Offset>,
    /// The log's fence, if it is another than the append names.
    #[serde(skip_serializing_if = "Option::is_none")]
    fence: Option<FenceToken>,
    /// How often the producer was opened, if a newer process of it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<u64>,
    /// The word that repeats the same append, if nobody knows what became of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
}

impl From<&AppendError> for Facts {
    fn from(error: &AppendError) -> Self {
        let mut facts =
            Self { token: error.token().map(|token| token.to_string()), ..Self::default() };
        match error {
            AppendError::OtherOffset { next, .. } => facts.next_offset = Some(*next),
            AppendError::Fenced { present, .. } => facts.fence = *present,
            AppendError::Superseded { epoch, .. } => facts.epoch = Some(*epoch),
            _ => {}
        }
        facts
    }
}

impl From<&ReadError> for Facts {
    fn from(error: &ReadError) -> Self {
        let start_offset = match error {
            ReadError::Trimmed { start } => Some(*start),
            _ => None,
        };
        Self { start_offset, ..Self::default() }
    }
}

impl From<&OpenError> for Failure {
    fn from(error: &OpenError) -> Self {
        let facts = match error {
            // To open it again does no harm: nobody has to repeat just this.
            OpenError::Append(error) => Facts { token: None, ..Facts::from(error) },
            _ => Facts::default(),
        };
        Self { facts: Box::new(facts), ..Self::of(error.outcome(), error, error.hint()) }
    }
}

/// Set in a process whose failures are for programs.
static FOR_PROGRAMS: OnceLock<()> = OnceLock::new();

/// From now on, failures are said as objects of JSON.
pub(super) fn complain_to_programs() {
    // The first call is as good as another.
    let _ = FOR_PROGRAMS.set(());
}

/// A failure as programs read it, on stderr.
#[derive(Serialize)]
struct Complaint<'a> {
    error: &'a str,
    hint: &'a str,
    exit: u8,
    kind: &'static str,
    #[serde(flatten)]
    facts: &'a Facts,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    commands: &'a [String],
}

impl<'a> From<&'a Failure> for Complaint<'a> {
    fn from(failure: &'a Failure) -> Self {
        let Failure { outcome, sentence: error, hint, commands, facts, .. } = failure;
        Self { error, hint, exit: outcome.exit_code(), kind: outcome.kind(), facts, commands }
    }
}

/// Says why a command failed: the error, what to do about it, and commands that do it.
pub(super) fn complain(failure: &Failure) {
    if FOR_PROGRAMS.get().is_some() {
        let json = serde_json::to_string(&Complaint::from(failure));
        return talk(escaped_json(&json.expect("texts and numbers have a form in JSON")));
    }
    let paint = Paint::of_stderr();
    let error = paint.paint(colour(AnsiColor::Red).bold(), "error:");
    let hint = paint.paint(colour(AnsiColor::Cyan).bold(), "hint:");
    talk(format_args!("{error} {}", escaped(&failure.sentence)));
    talk(format_args!("{hint} {}", escaped(&failure.hint)));
    failure.commands.iter().for_each(talk);
}

/// How a command ends before its time.
#[derive(Debug)]
pub(super) enum End {
    /// With a complaint.
    Failed(Failure),
    /// Quietly: nobody reads any more.
    Unheard,
}

impl From<Failure> for End {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<Closed> for End {
    fn from(closed: Closed) -> Self {
        match closed {
            Closed::Quietly => Self::Unheard,
            Closed::Error(error) => Self::Failed(Failure::new(
                Outcome::Failed,
                format!("the output cannot be written: {error}"),
                remedy::of(&error, "is there space where it goes?"),
            )),
        }
    }
}

impl From<LogError> for Failure {
    fn from(error: LogError) -> Self {
        let facts = match &error {
            LogError::Append(error) => Facts::from(error),
            LogError::Read(error) => Facts::from(error),
            _ => Facts::default(),
        };
        Self { facts: Box::new(facts), ..Self::of(error.outcome(), &error, error.hint()) }
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        let facts = Box::new(Facts::from(&error));
        Self { facts, ..Self::of(error.outcome(), &error, error.hint()) }
    }
}

impl From<InitError> for Failure {
    fn from(error: InitError) -> Self {
        let is_usage = matches!(
            error,
            InitError::Nodes { .. }
                | InitError::Ports { .. }
                | InitError::Nowhere { .. }
                | InitError::Twice { .. }
        ) || matches!(&error, InitError::Certificates(error) if error.is_usage());
        let outcome = match &error {
            InitError::Restore(error) => error.outcome(),
            _ if is_usage => Outcome::Usage,
            _ => Outcome::Failed,
        };
        Self::new(outcome, &error, error.hint())
    }
}

impl From<BackupError> for Failure {
    fn from(error: BackupError) -> Self {
        Self::new(error.outcome(), &error, error.hint())
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::new(Outcome::Failed, &error, error.hint())
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        Self::new(error.outcome(), &error, error.hint())
    }
}

/// What fails with one of these ends a command with the same words.
macro_rules! ends_with {
    ($($error:ty),+) => {$(
        impl From<$error> for End {
            fn from(error: $error) -> Self {
                Failure::from(error).into()
            }
        }
    )+};
}

ends_with!(LogError, ReadError, InitError, ConfigError, StartError, BackupError);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_reads_what_happened_what_helps_and_how_it_is_called() {
        let mut failure = Failure::new(Outcome::Unknown, "nobody knows", "this settles it");
        let json = |failure: &Failure| serde_json::to_string(&Complaint::from(failure)).unwrap();
        assert_eq!(
            json(&failure),
            r#"{"error":"nobody knows","hint":"this settles it","exit":5,"kind":"outcome-unknown"}"#
        );
        let (producer, epoch) = ("p".parse().unwrap(), 7);
        *failure.facts = Facts::from(&AppendError::Superseded { producer, epoch });
        assert!(json(&failure).ends_with(r#""kind":"outcome-unknown","epoch":7}"#));
        failure.commands.push("annal append --as s1- x".to_owned());
        assert!(json(&failure).ends_with(r#","commands":["annal append --as s1- x"]}"#));
    }
}
