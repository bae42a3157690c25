//! Cuts an input into lines, and gathers lines into requests.
//!
//! A thread of its own reads, so that a terminal that says nothing holds up nobody. A line is
//! whatever stands before a newline, text or not; the last needs none. A request takes lines until
//! it is large enough, or until nothing more has come for a moment.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::thread;

use bytes::{Bytes, BytesMut};
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::failure::Failure;
use crate::base64::from_base64;
use crate::limits;
use crate::outcome::Outcome;
use crate::remedy;

/// Bytes read at a time.
const CHUNK_BYTES: usize = 64 << 10;
/// A line that is an object: a record of which each byte is written as `\u001b`, and what stands beside it.
const OBJECT_BYTES_MAX: usize = 6 * limits::RECORD_BYTES_MAX + 1024;
/// Chunks that wait to be cut.
const CHUNKS_MAX: usize = 8;

/// Lines for one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Batch {
    /// The number of its first line, from 1.
    pub(super) first_line: u64,
    /// The lines, without their newlines.
    pub(super) records: Vec<Bytes>,
}

impl Batch {
    /// The bytes that its lines were in the input, newlines included, if each was a record as it is.
    pub(super) fn bytes(&self) -> usize {
        self.records.iter().map(|record| record.len() + 1).sum()
    }
}

/// Why gathering stops before the end of the input.
#[derive(Debug)]
pub(super) enum GatherError {
    /// The input cannot be read.
    Read(io::Error),
    /// A line is no record.
    TooLong {
        /// Its number, from 1.
        line: u64,
    },
    /// A line is no object with a record.
    NoObject {
        /// Its number, from 1.
        line: u64,
    },
    /// The input is larger than the one request that it has to be.
    TooMuch,
}

impl From<GatherError> for Failure {
    fn from(error: GatherError) -> Self {
        match error {
            GatherError::Read(error) => Self::new(
                Outcome::Failed,
                format!("the input cannot be read: {error}"),
                remedy::of(&error, "is it a file or a pipe that this user may read?"),
            ),
            GatherError::TooLong { line } => too_long(&format!("line {line}")),
            GatherError::NoObject { line } => Self::new(
                Outcome::Failed,
                format!("line {line} is no object with a record, and was not sent"),
                "--from-json takes what `annal read --json` prints, an object a line",
            ),
            GatherError::TooMuch => too_much(),
        }
    }
}

/// The complaint about a record over the limit.
pub(super) fn too_long(what: &str) -> Failure {
    let limit = limits::RECORD_BYTES_MAX;
    Failure::new(
        Outcome::Failed,
        format!("{what} is longer than a record may be ({limit} bytes), and was not sent"),
        "cut it into several records",
    )
}

/// The complaint about records that do not fit into one request.
pub(super) fn too_much() -> Failure {
    let (bytes, records) = (limits::REQUEST_BYTES_MAX, limits::REQUEST_RECORDS_MAX);
    Failure::new(
        Outcome::Failed,
        format!("one request holds at most {records} records and {bytes} bytes; nothing was sent"),
        "`append -` and `append --file` cut their input into as many requests as it takes",
    )
}

/// Gathers lines of an input into requests.
pub(super) struct Gatherer {
    chunks: mpsc::Receiver<io::Result<Bytes>>,
    lines: Lines,
    /// The input's end was seen, or its error handed out.
    ended: bool,
}

impl Gatherer {
    /// Starts to read.
    /// `are_objects`: each line is an object as `read --json` prints it, of which its record is taken.
    pub(super) fn new(input: impl Read + Send + 'static, are_objects: bool) -> Self {
        let (sender, chunks) = mpsc::channel(CHUNKS_MAX);
        // The thread ends with the input, or with us: nobody waits for it.
        thread::spawn(move || read_chunks(input, &sender));
        Self { chunks, lines: Lines { are_objects, ..Lines::default() }, ended: false }
    }

    /// The next request's lines; `None` at the end of the input. Dropping the future loses
    /// nothing.
    pub(super) async fn next(&mut self) -> Option<Result<Batch, GatherError>> {
        while !self.ended && self.lines.ready.is_empty() {
            let chunk = self.chunks.recv().await;
            if let Err(error) = self.take(chunk) {
                return Some(Err(error));
            }
        }
        // From here on a caller that gives up loses time only: lines stay until they are taken.
        let deadline = Instant::now() + limits::GATHER_TIME;
        while !self.ended && !self.lines.is_batch_full() {
            match timeout_at(deadline, self.chunks.recv()).await {
                Ok(chunk) => {
                    if let Err(error) = self.take(chunk) {
                        return Some(Err(error));
                    }
                }
                Err(_) => break,
            }
        }
        match self.lines.take_batch() {
            Some(batch) => Some(Ok(batch)),
            None => self.lines.error().map(Err),
        }
    }

    /// The whole input as one request, as it must be when a request is repeated.
    pub(super) async fn all(&mut self) -> Result<Batch, GatherError> {
        while !self.ended {
            let chunk = self.chunks.recv().await;
            self.take(chunk)?;
            if self.lines.ready_bytes > limits::REQUEST_BYTES_MAX
                || self.lines.ready.len() > limits::REQUEST_RECORDS_MAX
            {
                return Err(GatherError::TooMuch);
            }
        }
        match self.lines.error() {
            Some(error) => Err(error),
            None => Ok(Batch { first_line: 1, records: self.lines.ready.drain(..).collect() }),
        }
    }

    fn take(&mut self, chunk: Option<io::Result<Bytes>>) -> Result<(), GatherError> {
        match chunk {
            Some(Ok(chunk)) => self.lines.push(&chunk),
            Some(Err(error)) => {
                self.ended = true;
                return Err(GatherError::Read(error));
            }
            None => self.lines.end(),
        }
        self.ended = self.lines.is_over;
        Ok(())
    }
}

fn read_chunks(mut input: impl Read, sender: &mpsc::Sender<io::Result<Bytes>>) {
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        let chunk = match input.read(&mut buffer) {
            Ok(0) => return,
            Ok(count) => Ok(Bytes::copy_from_slice(&buffer[..count])),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => Err(error),
        };
        let is_over = chunk.is_err();
        if sender.blocking_send(chunk).is_err() || is_over {
            return;
        }
    }
}

/// Bytes cut into lines.
#[derive(Default)]
struct Lines {
    /// Whole lines that nobody has taken yet, and their bytes.
    ready: VecDeque<Bytes>,
    ready_bytes: usize,
    /// The bytes after the last newline.
    partial: BytesMut,
    /// Lines taken so far.
    taken: u64,
    /// Nothing more is cut: the input ended, or a line is too long.
    is_over: bool,
    /// What is wrong with the line after those that are ready.
    fault: Option<Fault>,
    /// Each line is an object, of which its record is taken.
    are_objects: bool,
}

/// Why a line is no record.
#[derive(Clone, Copy, Debug)]
enum Fault {
    TooLong,
    NoObject,
}

impl Lines {
    fn push(&mut self, chunk: &[u8]) {
        for piece in chunk.split_inclusive(|byte| *byte == b'\n') {
            if self.is_over {
                return;
            }
            let (text, is_line) = match piece.split_last() {
                Some((b'\n', text)) => (text, true),
                _ => (piece, false),
            };
            if self.partial.len() + text.len() > self.line_bytes_max() {
                return self.stop(Fault::TooLong);
            }
            self.partial.extend_from_slice(text);
            if is_line {
                self.finish_line();
            }
        }
    }

    fn end(&mut self) {
        if !self.is_over && !self.partial.is_empty() {
            self.finish_line();
        }
        self.is_over = true;
    }

    /// A record has its bytes in an object as `\u001b`, at worst.
    fn line_bytes_max(&self) -> usize {
        if self.are_objects { OBJECT_BYTES_MAX } else { limits::RECORD_BYTES_MAX }
    }

    /// Nothing is cut any more.
    fn stop(&mut self, fault: Fault) {
        self.fault = Some(fault);
        self.is_over = true;
    }

    fn finish_line(&mut self) {
        let mut line = self.partial.split().freeze();
        if self.are_objects {
            match record_in(&line) {
                Some(record) if record.len() > limits::RECORD_BYTES_MAX => {
                    return self.stop(Fault::TooLong);
                }
                Some(record) => line = record,
                None => return self.stop(Fault::NoObject),
            }
        }
        self.ready_bytes += line.len();
        self.ready.push_back(line);
    }

    fn is_batch_full(&self) -> bool {
        self.ready_bytes >= limits::GATHER_BYTES_MAX
            || self.ready.len() >= limits::REQUEST_RECORDS_MAX
    }

    /// As many lines as one request takes; at least one if there is any.
    fn take_batch(&mut self) -> Option<Batch> {
        let first_line = self.taken + 1;
        let mut records = Vec::new();
        let mut bytes = 0;
        while let Some(line) = self.ready.front() {
            let has_room = bytes + line.len() <= limits::GATHER_BYTES_MAX
                && records.len() < limits::REQUEST_RECORDS_MAX;
            if !records.is_empty() && !has_room {
                break;
            }
            bytes += line.len();
            records.extend(self.ready.pop_front());
        }
        self.ready_bytes -= bytes;
        self.taken += records.len() as u64;
        assert!(self.ready_bytes == 0 || !self.ready.is_empty(), "{} bytes", self.ready_bytes);
        if records.is_empty() { None } else { Some(Batch { first_line, records }) }
    }

    /// What is wrong with the line after those that are ready, once all before it are taken.
    fn error(&self) -> Option<GatherError> {
        let line = self.taken + self.ready.len() as u64 + 1;
        Some(match self.fault? {
            Fault::TooLong => GatherError::TooLong { line },
            Fault::NoObject => GatherError::NoObject { line },
        })
    }
}

/// The record in an object as `read --json` prints it; what else it has belongs to another log.
fn record_in(line: &[u8]) -> Option<Bytes> {
    #[derive(Deserialize)]
    struct Object {
        record: Option<String>,
        record_base64: Option<String>,
    }
    match serde_json::from_slice(line).ok()? {
        Object { record: Some(text), record_base64: None } => Some(text.into()),
        Object { record: None, record_base64: Some(text) } => from_base64(&text),
        Object { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
    }

    fn cut(input: impl Into<Vec<u8>>) -> (Vec<Batch>, Option<GatherError>) {
        let mut gatherer = Gatherer::new(io::Cursor::new(input.into()), false);
        runtime().block_on(async {
            let mut batches = Vec::new();
            loop {
                match gatherer.next().await {
                    Some(Ok(batch)) => batches.push(batch),
                    Some(Err(error)) => return (batches, Some(error)),
                    None => return (batches, None),
                }
            }
        })
    }

    fn records(batches: &[Batch]) -> Vec<Bytes> {
        batches.iter().flat_map(|batch| batch.records.clone()).collect()
    }

    #[test]
    fn the_last_line_needs_no_newline_and_a_line_may_be_empty() {
        for (input, expected) in [
            ("", vec![]),
            ("a", vec!["a"]),
            ("a\n", vec!["a"]),
            ("\n", vec![""]),
            ("a\n\nb", vec!["a", "", "b"]),
            ("a\r\nb\n", vec!["a\r", "b"]),
        ] {
            let (batches, error) = cut(input);
            assert!(error.is_none());
            assert_eq!(records(&batches), expected, "{input:?}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_kept() {
        let (batches, _) = cut(&b"\xff\x00\n\xfe"[..]);
        assert_eq!(records(&batches), [&b"\xff\x00"[..], &b"\xfe"[..]]);
    }

    #[test]
    fn requests_are_bounded_and_their_lines_numbered() {
        let line = format!("{}\n", "x".repeat(999));
        let (batches, error) = cut(line.repeat(10_000));
        assert!(error.is_none());
        let mut next_line = 1;
        for batch in &batches {
            assert_eq!(batch.first_line, next_line);
            assert!(
                batch.records.iter().map(Bytes::len).sum::<usize>() <= limits::GATHER_BYTES_MAX
            );
            next_line += batch.records.len() as u64;
        }
        assert_eq!(next_line, 10_001);

        let (many, _) = cut("\n".repeat(10_000));
        assert!(many.iter().all(|batch| batch.records.len() <= limits::REQUEST_RECORDS_MAX));
        assert_eq!(records(&many).len(), 10_000);
    }

    #[test]
    fn a_line_over_the_limit_is_named_after_all_lines_before_it() {
        let longest = "x".repeat(limits::RECORD_BYTES_MAX);
        let (batches, error) = cut(format!("a\n{longest}\nb\n{longest}x\nc\n"));
        assert_eq!(records(&batches), ["a", longest.as_str(), "b"]);
        assert!(matches!(error, Some(GatherError::TooLong { line: 4 })), "{error:?}");
    }

    #[test]
    fn an_input_that_fails_is_not_an_input_that_ends() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("broken"))
            }
        }
        let mut gatherer = Gatherer::new(Broken, false);
        let next = runtime().block_on(gatherer.next());
        assert!(matches!(next, Some(Err(GatherError::Read(_)))), "{next:?}");
    }

    #[test]
    fn a_repeated_request_is_the_whole_input_or_nothing() {
        let all = |input: String| {
            let mut gatherer = Gatherer::new(io::Cursor::new(input.into_bytes()), false);
            runtime().block_on(gatherer.all())
        };
        assert_eq!(all("a\nb".to_owned()).unwrap().records, ["a", "b"]);
        let too_many = "\n".repeat(limits::REQUEST_RECORDS_MAX + 1);
        assert!(matches!(all(too_many), Err(GatherError::TooMuch)));
        let too_long = "x".repeat(limits::RECORD_BYTES_MAX + 1);
        assert!(matches!(all(too_long), Err(GatherError::TooLong { line: 1 })));
    }

    #[test]
    fn of_an_object_its_record_is_taken_and_what_is_none_is_named() {
        let dump = concat!(
            r#"{"offset":7,"term":2,"index":3,"time":"x","record":"text \u001b"}"#,
            "\n",
            r#"{"record_base64":"/wA="}"#,
            "\n",
            r#"{"record":1}"#,
            "\n",
        );
        let mut gatherer = Gatherer::new(io::Cursor::new(dump), true);
        runtime().block_on(async {
            let batch = gatherer.next().await.unwrap().unwrap();
            assert_eq!(batch.records, [&b"text \x1b"[..], &b"\xff\x00"[..]]);
            let error = gatherer.next().await.unwrap();
            assert!(matches!(error, Err(GatherError::NoObject { line: 3 })), "{error:?}");
        });
        for no_object in ["", "[]", "{}", r#"{"record":"a","record_base64":""}"#, "text"] {
            assert_eq!(record_in(no_object.as_bytes()), None, "{no_object}");
        }
    }
}
