//! `annal client append`: arguments in one request, or lines in as many as it takes.
//!
//! Of lines, several requests are in flight. The first that fails ends it: what is acknowledged is
//! a prefix of the input. Each request whose outcome is unknown gets a command that settles it; run
//! in their order they leave the log as if nothing had happened.

use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, IsTerminal as _, Read, Write as _};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::append_progress::{Sum, Tally, Telling};
use super::args::{Append, AppendConditions, Connection};
use super::connection;
use super::failure::{End, Failure};
use super::gather::{Batch, Gatherer, too_long, too_much};
use super::output::{Closed, Printer, talk};
use super::quote::command_line;
use super::rows::AppendRow;
use super::runtime::Interruption;
use crate::client::{
    AppendError, AppendOptions, AppendReceiver, AppendSender, Appended, Client, Token,
};
use crate::label::ProducerName;
use crate::limits;
use crate::outcome::Outcome;
use crate::remedy;

/// Records up to these are repeated as arguments; more of them are put into a file.
const ARGUMENT_BYTES_MAX: usize = 4 << 10;
const ARGUMENT_RECORDS_MAX: usize = 64;

/// How an append was typed.
pub(super) struct Typed {
    /// The words with which another append to the same cluster begins.
    words: Vec<OsString>,
    /// Whether every record is meant as it is, also one that is a dash.
    is_literal: bool,
    /// Whether standard input is the append's own.
    has_input: bool,
}

impl Typed {
    /// As a command of the system's shell.
    pub(super) fn to_the_system(connection: &Connection) -> Self {
        let mut words: Vec<OsString> = vec!["annal".into(), "client".into(), "append".into()];
        words.extend(connection::flags(connection));
        let is_literal = std::env::args_os().any(|word| word == "--");
        Self { words, is_literal, has_input: true }
    }

    /// At the prompt of ours.
    pub(super) fn to_the_prompt(is_literal: bool) -> Self {
        Self { words: vec!["append".into()], is_literal, has_input: false }
    }
}

/// What to append.
pub(super) struct Settings {
    source: Source,
    /// The append that is repeated.
    token: Option<Token>,
    /// What must be so for it.
    conditions: AppendConditions,
    /// The producer that appends.
    producer: Option<ProducerName>,
    /// The words with which its repetition begins.
    words: Vec<OsString>,
}

/// Where records come from.
enum Source {
    /// From the command line, as one request.
    Arguments(Vec<Bytes>),
    /// Lines of standard input, or of a file.
    Lines(Input),
}

/// Where lines come from.
struct Input {
    lines: Box<dyn Read + Send>,
    /// How many bytes they are, if that is known.
    bytes: Option<u64>,
    /// Somebody types them, and wants to know of each what became of it.
    is_typed: bool,
    /// Each is an object, of which its record is taken.
    are_objects: bool,
}

impl Input {
    fn gatherer(self) -> Gatherer {
        Gatherer::new(self.lines, self.are_objects)
    }
}

impl Settings {
    /// Whether it waits for a leader as long as it takes, unless told: whoever pipes into it is not
    /// there to try again.
    pub(super) fn is_pipe(&self) -> bool {
        matches!(self.source, Source::Lines(_))
    }
}

/// Understands what was typed, and opens the file.
pub(super) fn settings(args: Append, typed: Typed) -> Result<Settings, Failure> {
    let token = args.token.map(|word| word.parse::<Token>()).transpose().map_err(|error| {
        let hint = "the token stands behind --as in the last line of the append that failed";
        Failure::new(Outcome::Usage, error, hint)
    })?;
    let source = match (args.file, args.records) {
        (Some(path), _) => Source::Lines(of_file(&path, args.from_json)?),
        (None, records) if !typed.is_literal && records.iter().any(|record| record == "-") => {
            standard_input(&records, typed.has_input, args.from_json)?
        }
        (None, _) if args.from_json => return Err(objects_of_nothing()),
        (None, records) => Source::Arguments(check(
            records.into_iter().map(|record| Bytes::from(record.into_vec())).collect(),
        )?),
    };
    if args.producer.is_some() && matches!(source, Source::Arguments(_)) {
        let sentence = "a producer's records are the lines of an input, counted from its first";
        let hint = "give `-` for standard input, or --file F";
        return Err(Failure::new(Outcome::Usage, sentence, hint));
    }
    let (conditions, producer) = (args.conditions, args.producer);
    let of_log = args.of.log_name.map(|name| ["--log".into(), name.as_str().into()]);
    let words = typed.words.into_iter().chain(of_log.into_iter().flatten()).collect();
    Ok(Settings { source, token, conditions, producer, words })
}

/// What `-` stands for, which goes with nothing else: the lines are as many requests as it takes.
fn standard_input(
    records: &[OsString],
    is_ours: bool,
    are_objects: bool,
) -> Result<Source, Failure> {
    if !is_ours {
        let sentence = "`-` stands for standard input, which is this prompt";
        let hint =
            "`append --file F` takes the lines of a file; lines that are pasted are asked about";
        return Err(Failure::new(Outcome::Usage, sentence, hint));
    }
    if records.len() == 1 {
        let is_typed = io::stdin().is_terminal();
        let lines = Box::new(io::stdin());
        return Ok(Source::Lines(Input { lines, bytes: None, is_typed, are_objects }));
    }
    let sentence = "`-` stands for standard input, and goes with no other record";
    let hint = "a record that is a dash stands behind `--`, as in: append -- - x";
    Err(Failure::new(Outcome::Usage, sentence, hint))
}

fn objects_of_nothing() -> Failure {
    let sentence = "--from-json takes lines, and none are to be read";
    let hint = "as in: annal append --from-json - < dump, or --file dump";
    Failure::new(Outcome::Usage, sentence, hint)
}

/// The lines of a file.
fn of_file(path: &Path, are_objects: bool) -> Result<Input, Failure> {
    let file = open(path)?;
    // Of a pipe with a name, nobody knows.
    let found = file.metadata().ok().filter(Metadata::is_file);
    let bytes = found.map(|found| found.len());
    Ok(Input { lines: Box::new(file), bytes, is_typed: false, are_objects })
}

fn open(path: &Path) -> Result<File, Failure> {
    File::open(path).map_err(|error| {
        let sentence = format!("{} cannot be read: {error}", path.display());
        Failure::new(Outcome::Failed, sentence, remedy::of(&error, "is the path right?"))
    })
}

fn check(records: Vec<Bytes>) -> Result<Vec<Bytes>, Failure> {
    let large = records.iter().position(|record| record.len() > limits::RECORD_BYTES_MAX);
    if let Some(at) = large {
        return Err(too_long(&format!("argument {}", at + 1)));
    }
    let bytes: usize = records.iter().map(Bytes::len).sum();
    if bytes > limits::REQUEST_BYTES_MAX || records.len() > limits::REQUEST_RECORDS_MAX {
        return Err(too_much());
    }
    Ok(records)
}

/// Appends, and prints an acknowledgement for each request.
pub(super) async fn run(
    client: &Client,
    settings: Settings,
    printer: &mut Printer,
) -> Result<(), End> {
    let Settings { source, token, conditions, producer, words } = settings;
    let options = conditions.options();
    // Everything under way is given up, so that it can be said what became of it.
    let given_up = client.clone();
    let interruption = Interruption::listen(move || given_up.give_up(), ended_at_once())?;
    let interrupted = interruption.notice();
    let mut printer = Unheard { printer, closed: None, sum: None };
    let (answer, records) = match (source, token) {
        (Source::Lines(input), None) => {
            let interrupted = interrupted.clone();
            let pipeline = Pipeline { words: &words, conditions, producer, interrupted };
            let is_each = printer.printer.is_json() || input.is_typed;
            printer.sum = (!is_each).then(Sum::begin);
            let tally = Arc::new(Tally::default());
            let telling = Telling::start(client, tally.clone(), input.bytes, !is_each);
            return pipeline.run(client, (input.gatherer(), tally), (printer, telling)).await;
        }
        (Source::Arguments(records), None) if options == AppendOptions::default() => {
            (client.append(records.clone()).await, records)
        }
        (Source::Arguments(records), None) => {
            (client.append_with(records.clone(), &options).await, records)
        }
        (Source::Arguments(records), Some(token)) => {
            (repeat(client, (token, &options), records.clone()).await, records)
        }
        (Source::Lines(input), Some(token)) => {
            let records = all_lines(input.gatherer(), interrupted).await?;
            (repeat(client, (token, &options), records.clone()).await, records)
        }
    };
    match answer {
        Ok(appended) => printer.print_only(appended),
        Err(error) => {
            let error = named(error, token, interrupted);
            let words = with_flags(&words, &conditions);
            Err(failure_of_one(&error, &records, &words, interrupted).into())
        }
    }
}

/// The last words where what became of the records cannot be waited for.
fn ended_at_once() -> Failure {
    let sentence = "interrupted again: the records may be in the log, or may still get there";
    let hint = "read the end of the log to see which of them are in it";
    Failure::new(Outcome::Unknown, sentence, hint)
}

/// A printer that goes on when nothing can be printed any more: what is to be appended is appended.
struct Unheard<'a> {
    printer: &'a mut Printer,
    /// Why nothing is printed any more.
    closed: Option<Closed>,
    /// What is printed in the end, if not every acknowledgement is.
    sum: Option<Sum>,
}

impl Unheard<'_> {
    fn print(&mut self, appended: Appended) {
        if let Some(sum) = &mut self.sum {
            sum.add(appended);
        } else if self.closed.is_none() {
            self.closed = self.printer.print_now(&AppendRow::from(appended)).err();
        }
    }

    /// Prints the answer to the only request.
    fn print_only(mut self, appended: Appended) -> Result<(), End> {
        self.print(appended);
        let (offset, index) = (appended.offset, appended.index);
        self.end(&format!("the append is acknowledged: offset {offset}, entry {index}"))
    }

    /// Everything is appended, as the word says. It fails if nobody could be told, unless nobody
    /// wanted to be.
    fn end(mut self, word: &str) -> Result<(), End> {
        if let Some(sum) = self.sum {
            self.closed = self.printer.print_now(&sum.row()).err();
        }
        let Some(Closed::Error(error)) = self.closed else { return Ok(()) };
        let sentence = format!("the output cannot be written: {error}; {word}");
        let hint = "do not append them again: the records are in the log, only the output is lost";
        Err(Failure::new(Outcome::Failed, sentence, hint).into())
    }
}

/// All lines of the input, for a repetition.
async fn all_lines(
    mut gatherer: Gatherer,
    interrupted: &CancellationToken,
) -> Result<Vec<Bytes>, Failure> {
    tokio::select! {
        batch = gatherer.all() => Ok(batch?.records),
        () = interrupted.cancelled() => {
            let sentence = "interrupted before it was sent: what the append came to is still unknown";
            Err(Failure::new(Outcome::Unknown, sentence, "the same command settles it"))
        }
    }
}

async fn repeat(
    client: &Client,
    (token, options): (Token, &AppendOptions),
    records: Vec<Bytes>,
) -> Result<Appended, AppendError> {
    let mut appender = client.resume_with(token, options);
    appender.send(records).await?;
    appender.next().await?.ok_or(AppendError::Ended)
}

/// What an interruption means for the only request, which may have ended before it was looked at.
/// That a repetition was not sent says nothing about the append that it repeats.
fn named(error: AppendError, token: Option<Token>, interrupted: &CancellationToken) -> AppendError {
    let unsent = matches!(error, AppendError::Ended | AppendError::GivenUp);
    match token {
        _ if !unsent || !interrupted.is_cancelled() => error,
        Some(token) => AppendError::Unknown { token },
        None => AppendError::GivenUp,
    }
}

fn failure_of_one(
    error: &AppendError,
    records: &[Bytes],
    words: &[OsString],
    interrupted: &CancellationToken,
) -> Failure {
    let mut failure = failure_of(error, said(error, interrupted));
    if let AppendError::Unknown { token } = error {
        failure.commands.push(settling_command(*token, records, words));
    }
    failure
}

/// The error, and whether it came of a signal.
fn said(error: &AppendError, interrupted: &CancellationToken) -> String {
    if interrupted.is_cancelled() { format!("interrupted; {error}") } else { error.to_string() }
}

fn failure_of(error: &AppendError, sentence: String) -> Failure {
    let mut failure = Failure::of_append(error, sentence);
    if let AppendError::Unknown { .. } = error {
        "this settles it: the same append, which may be repeated at will"
            .clone_into(&mut failure.hint);
    }
    failure
}

/// An append of lines.
struct Pipeline<'a> {
    words: &'a [OsString],
    conditions: AppendConditions,
    producer: Option<ProducerName>,
    interrupted: CancellationToken,
}

impl Pipeline<'_> {
    /// Appends lines to their end, to the first failure, or to a signal.
    async fn run(
        self,
        client: &Client,
        (gatherer, tally): (Gatherer, Arc<Tally>),
        (mut printer, telling): (Unheard<'_>, Telling),
    ) -> Result<(), End> {
        let ((sender, mut receiver), known) = self.begin(client).await?;
        let (under_way, mut sent) = mpsc::channel(limits::GATHER_IN_FLIGHT_MAX);
        let notice = self.interrupted.clone();
        let sending = tokio::spawn(async move {
            tokio::select! {
                sent = send_lines((gatherer, known), &tally, sender, under_way) => sent,
                () = notice.cancelled() => Err(interruption()),
            }
        });
        loop {
            match receiver.next().await {
                Ok(Some(appended)) => {
                    // Its place among those under way is free.
                    let batch = sent.recv().await;
                    telling.acknowledged(appended.count, batch.map_or(0, |batch| batch.bytes()));
                    printer.print(appended);
                }
                Ok(None) => break,
                Err(error) => {
                    sending.abort();
                    let stopped = self.stopped((&error, known), &mut receiver, &mut sent).await;
                    return Err(stopped.into());
                }
            }
        }
        drop(telling);
        // Everything sent is acknowledged; what stopped the sending, if not the end?
        let count = known + receiver.acknowledged_records();
        match sending.await.expect("a panic ends the process") {
            Ok(()) => printer.end(&all_acknowledged(count)),
            Err(mut failure) => {
                if count == 0 && self.interrupted.is_cancelled() {
                    failure.outcome = Outcome::NoLeader;
                }
                failure.sentence = format!("{}; {}", failure.sentence, acknowledged(count));
                if let Some(name) = self.producer {
                    failure.hint = goes_on(&name);
                }
                Err(failure.into())
            }
        }
    }

    /// What sends and what receives, and how many lines of the input are in the log already.
    async fn begin(
        &self,
        client: &Client,
    ) -> Result<((AppendSender, AppendReceiver), u64), Failure> {
        let options = self.conditions.options();
        let Some(name) = self.producer else {
            return Ok((client.appender_with(&options).split(), 0));
        };
        let opened = tokio::select! {
            opened = client.producer(name, &options) => opened,
            () = self.interrupted.cancelled() => {
                let failure = interruption();
                return Err(Failure { outcome: Outcome::NoLeader, ..failure });
            }
        };
        let producer = opened.map_err(|error| Failure::from(&error))?;
        let known = producer.last_seq();
        if known > 0 {
            let lines = if known == 1 { "line was" } else { "lines were" };
            talk(format_args!("{known} {lines} in the log already"));
        }
        Ok((producer.split(), known))
    }

    /// The failure of the first request that is not acknowledged, with a command for it and for
    /// each after it whose outcome is unknown as well.
    async fn stopped(
        &self,
        (error, known): (&AppendError, u64),
        receiver: &mut AppendReceiver,
        sent: &mut mpsc::Receiver<Batch>,
    ) -> Failure {
        let error = &named(error.clone(), None, &self.interrupted);
        let count = receiver.acknowledged_records();
        let so_far = acknowledged(known + count);
        let mut failure =
            failure_of(error, format!("{}; {so_far}", said(error, &self.interrupted)));
        if let Some(name) = self.producer.filter(|_| error.token().is_some()) {
            failure.hint = goes_on(&name);
            return failure;
        }
        let AppendError::Unknown { token } = error else { return failure };
        let later = receiver.later_unknown().await;
        let mut conditions = self.conditions.after(count);
        for token in [*token].into_iter().chain(later) {
            let Some(batch) = sent.recv().await else { break };
            let words = with_flags(self.words, &conditions);
            conditions = conditions.after(batch.records.len() as u64);
            failure.commands.push(settling_command(token, &batch.records, &words));
        }
        let settled = failure.commands.len();
        if settled > 1 {
            failure.hint = format!(
                "these {settled} settle it, in this order: the same appends, which may be repeated at will"
            );
        }
        failure
    }
}

/// Gathers lines and sends them. A place among those under way is taken before, and is given back
/// by the acknowledgement.
async fn send_lines(
    (mut gatherer, known): (Gatherer, u64),
    tally: &Tally,
    mut sender: AppendSender,
    under_way: mpsc::Sender<Batch>,
) -> Result<(), Failure> {
    let mut known = usize::try_from(known).unwrap_or(usize::MAX);
    loop {
        let Ok(place) = under_way.reserve().await else { return Ok(()) };
        let Some(batch) = gatherer.next().await else { break };
        let mut batch = batch?;
        let skipped = known.min(batch.records.len());
        batch.records.drain(..skipped);
        known -= skipped;
        tally.read(batch.records.len());
        if batch.records.is_empty() {
            continue;
        }
        let records = batch.records.clone();
        place.send(batch);
        match sender.send(records).await {
            Ok(()) => {}
            // The other half knows why, unless nothing was under way when all was given up.
            Err(AppendError::Ended) => return Err(interruption()),
            Err(error) => return Err(failure_of(&error, error.to_string())),
        }
    }
    if known > 0 {
        talk(format_args!("the input ends {known} lines before that: is it the producer's?"));
    }
    Ok(())
}

/// A signal ended the sending.
fn interruption() -> Failure {
    let hint = "append the lines after those";
    Failure::new(Outcome::Failed, "interrupted before the end of the input", hint)
}

fn goes_on(producer: &ProducerName) -> String {
    format!(
        "the same command goes on where it was; `annal outcome --producer {producer}` tells how far"
    )
}

fn all_acknowledged(count: u64) -> String {
    match count {
        1 => "the first line is acknowledged, and there was no other".to_owned(),
        count => format!("the first {count} lines are acknowledged, and there were no more"),
    }
}

fn acknowledged(count: u64) -> String {
    match count {
        0 => "no line is acknowledged".to_owned(),
        1 => "the first line is acknowledged, none after it".to_owned(),
        count => format!("the first {count} lines are acknowledged, none after them"),
    }
}

/// The words of an append, with the flags that say what must be so for it.
fn with_flags(words: &[OsString], conditions: &AppendConditions) -> Vec<OsString> {
    words.iter().cloned().chain(conditions.flags()).collect()
}

/// The command that repeats an append.
fn settling_command(token: Token, records: &[Bytes], words: &[OsString]) -> String {
    let mut words = words.to_vec();
    words.extend(["--as".into(), token.to_string().into()]);
    if let Some(path) = saved(token, records) {
        words.extend(["--file".into(), path.into_os_string()]);
    } else {
        let is_option = |record: &Bytes| record.starts_with(b"-");
        if records.iter().any(is_option) {
            words.push("--".into());
        }
        words.extend(records.iter().map(|record| OsStr::from_bytes(record).to_owned()));
    }
    command_line(words)
}

/// The file into which the records were put, if that is how they have to be repeated.
fn saved(token: Token, records: &[Bytes]) -> Option<PathBuf> {
    let bytes: usize = records.iter().map(Bytes::len).sum();
    let fits = bytes <= ARGUMENT_BYTES_MAX && records.len() <= ARGUMENT_RECORDS_MAX;
    let are_arguments = !records.iter().any(|record| record.contains(&0));
    let would_be_input = records.len() == 1 && records[0] == "-";
    let are_lines = !records.iter().any(|record| record.contains(&b'\n'));
    if (fits && are_arguments && !would_be_input) || !are_lines {
        return None;
    }
    let path = std::env::temp_dir().join(format!("annal-{token}.lines"));
    let write = || {
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        for record in records {
            file.write_all(record)?;
            file.write_all(b"\n")?;
        }
        file.sync_all()
    };
    write().ok().map(|()| path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{ClientId, Index, Seq};

    fn command(records: &[&[u8]], flags: &[&str]) -> (String, Token) {
        let records: Vec<Bytes> =
            records.iter().map(|record| Bytes::copy_from_slice(record)).collect();
        let place = (Seq::new(1), Seq::new(2));
        let token = Token::new(ClientId::new(7), place, Index::new(3), &records.clone().into());
        let words = ["annal", "client", "append"].iter().chain(flags).map(OsString::from);
        (settling_command(token, &records, &words.collect::<Vec<_>>()), token)
    }

    #[test]
    fn short_records_are_repeated_as_arguments_with_the_same_flags() {
        let (line, token) = command(&[b"hi", b"it's"], &["--dir", "./x y"]);
        let expected = format!(r"annal client append --dir './x y' --as {token} hi 'it'\''s'");
        assert_eq!(line, expected);
        let (line, token) = command(&[b"--json"], &[]);
        assert_eq!(line, format!("annal client append --as {token} -- --json"));
    }

    #[test]
    fn what_cannot_be_an_argument_is_put_into_a_file() {
        let long = vec![b'x'; 5000];
        let many = vec![&b""[..]; 65];
        for records in [&[&long[..]][..], &[b"-"], &[b"a\0b"], &many] {
            let (line, token) = command(records, &[]);
            let path = std::env::temp_dir().join(format!("annal-{token}.lines"));
            assert_eq!(line, format!("annal client append --as {token} --file {}", path.display()));
            let mut expected = records.join(&b'\n');
            expected.push(b'\n');
            assert_eq!(std::fs::read(&path).unwrap(), expected);
            std::fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn an_argument_over_the_limit_is_refused() {
        let long = Bytes::from(vec![0; limits::RECORD_BYTES_MAX + 1]);
        let failure = check(vec![Bytes::new(), long]).unwrap_err();
        assert!(failure.sentence.starts_with("argument 2 is longer"), "{}", failure.sentence);
        let full = Bytes::from(vec![0; limits::RECORD_BYTES_MAX]);
        assert!(check(vec![full.clone(); 4]).is_ok());
        assert!(check(vec![full; 5]).is_err());
    }
}
