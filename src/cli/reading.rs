//! `annal read` and `annal tail`: which records, and where to go on after them.

use std::future::pending;
use std::io::{self, IsTerminal as _};

use tokio::time::sleep;

use super::args::{Range, Read, Tail};
use super::connection::Target;
use super::failure::{End, Failure};
use super::output::{Printer, talk};
use super::rows::RecordRow;
use super::runtime::Interruption;
use super::shape::Shape;
use crate::client::{Client, Consistency, ReadFrom, ReadOptions, Record, Step};
use crate::limits;
use crate::log_name::LogName;
use crate::outcome::Outcome;
use crate::types::{Offset, Timestamp};

/// How many records `tail` shows unless told.
const TAIL_RECORDS: u64 = 10;

/// What is to be read, and how it is printed.
pub(super) struct Reading {
    begin: Begin,
    until: Option<Timestamp>,
    limit: Option<u64>,
    follow: bool,
    consistency: Consistency,
    shape: Shape,
}

/// Where it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Begin {
    At(ReadFrom),
    Since(Timestamp),
}

impl Reading {
    /// What `read` asks for: all of the log, unless told.
    pub(super) fn of_read(args: Read) -> Self {
        let consistency = match args.node {
            node if args.stale => Consistency::Stale { node },
            Some(node) => Consistency::LinearizableAt { node },
            None => Consistency::Linearizable,
        };
        Self::new(&args.range, ReadFrom::Start, consistency, args.form.shape())
    }

    /// What `tail` asks for: the end of the log, unless told.
    pub(super) fn of_tail(args: Tail) -> Self {
        let shape = args.form.shape();
        let usual = if shape == Shape::Raw { 1 } else { TAIL_RECORDS };
        Self::new(&args.range, ReadFrom::Last(usual), Consistency::Linearizable, shape)
    }

    fn new(range: &Range, usual: ReadFrom, consistency: Consistency, shape: Shape) -> Self {
        let begin = match (range.from, range.last, range.since) {
            (Some(from), ..) => Begin::At(ReadFrom::Offset(Offset::new(from))),
            (_, Some(last), _) => Begin::At(ReadFrom::Last(last)),
            (_, _, Some(time)) => Begin::Since(time),
            _ => Begin::At(usual),
        };
        let limit = if shape == Shape::Raw { Some(1) } else { range.limit };
        let (until, follow) = (range.until, range.follow);
        Self { begin, until, limit, follow, consistency, shape }
    }

    /// What its records must reflect.
    pub(super) fn consistency(&self) -> Consistency {
        self.consistency
    }

    /// Whether the cluster has the node that is to be read from.
    pub(super) fn check_node(&self, target: &Target) -> Result<(), Failure> {
        let node = match self.consistency {
            Consistency::LinearizableAt { .. } if self.follow => return Err(follows_the_leader()),
            Consistency::Stale { node: Some(node) } | Consistency::LinearizableAt { node } => node,
            Consistency::Stale { node: None } | Consistency::Linearizable => return Ok(()),
        };
        if target.nodes.iter().any(|(known, _)| *known == node) {
            return Ok(());
        }
        let names: Vec<_> = target.nodes.iter().map(|(known, _)| known.to_string()).collect();
        let sentence = format!("the cluster has no node {node}");
        Err(Failure::new(Outcome::Usage, sentence, format!("its nodes are {}", names.join(", "))))
    }

    /// Reads, and prints each record. On a terminal it says in the end where to go on.
    pub(super) async fn run(
        self,
        (client, log): (&Client, Option<&LogName>),
        printer: &mut Printer,
    ) -> Result<(), End> {
        if self.shape == Shape::Raw && printer.is_terminal() {
            let sentence = "--raw prints the bytes of a record as they are, and this is a terminal";
            let hint = "send them elsewhere, as in `| xxd` or `> file`, or leave out --raw";
            return Err(Failure::new(Outcome::Usage, sentence, hint).into());
        }
        let interruption = Interruption::listen(|| {}, ended_at_once())?;
        let mut way = Way { next: None, count: 0 };
        let ended = tokio::select! {
            ended = self.read((client, log), &mut way, printer) => ended,
            () = interruption.notice().cancelled() => self.interrupted(),
        };
        match ended {
            Ok(()) => {
                self.check_raw(&way)?;
                way.tell();
                Ok(())
            }
            Err(End::Failed(failure)) => Err(way.named_in(failure).into()),
            Err(unheard) => Err(unheard),
        }
    }

    async fn read(
        &self,
        (client, log): (&Client, Option<&LogName>),
        way: &mut Way,
        printer: &mut Printer,
    ) -> Result<(), End> {
        let mut reader = client.read(ReadOptions {
            from: self.from(client).await?,
            limit: self.limit.filter(|_| !self.skips()),
            consistency: self.consistency,
            follow: self.follow,
        });
        while !self.is_over(way) {
            way.next = reader.position().or(way.next);
            let came = tokio::select! {
                came = reader.step() => came,
                () = closed_at((client, log), way.next), if self.follow => {
                    talk("the log is closed: nothing more comes");
                    return Ok(());
                }
            };
            match came {
                Ok(Some(Step::Records(records))) => {
                    let is_over = self.print(records, way, printer)?;
                    printer.flush()?;
                    if is_over {
                        return Ok(());
                    }
                }
                Ok(Some(Step::Waits(error))) => talk(format_args!("waiting: {error}")),
                Ok(Some(Step::GoesOn)) => talk("going on"),
                Ok(None) => {
                    way.next = reader.position().or(way.next);
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Where to begin. Looked for by time, it may lie behind the end, before what is not there yet.
    async fn from(&self, client: &Client) -> Result<ReadFrom, End> {
        let time = match self.begin {
            Begin::At(from) => return Ok(from),
            Begin::Since(time) => time,
        };
        let mut has_said = false;
        loop {
            match client.first_since(time, self.consistency).await {
                Ok(offset) => {
                    if has_said {
                        talk("going on");
                    }
                    return Ok(ReadFrom::Offset(offset));
                }
                // Whoever follows waits for a leader here, too.
                Err(error) if self.follow && error.outcome() == Outcome::NoLeader => {
                    if !has_said {
                        talk(format_args!("waiting: {error}"));
                    }
                    has_said = true;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Whether there may be records at the beginning that are not to be printed.
    fn skips(&self) -> bool {
        matches!(self.begin, Begin::Since(_))
    }

    fn is_over(&self, way: &Way) -> bool {
        self.limit.is_some_and(|limit| way.count >= limit)
    }

    /// Prints those that are asked for. Returns whether no later one is.
    fn print(
        &self,
        records: Vec<Record>,
        way: &mut Way,
        printer: &mut Printer,
    ) -> Result<bool, End> {
        for record in records {
            if self.until.is_some_and(|until| record.time >= until) || self.is_over(way) {
                way.next = Some(record.offset);
                return Ok(true);
            }
            way.next = Some(record.offset.plus(1));
            if matches!(self.begin, Begin::Since(time) if record.time < time) {
                continue;
            }
            way.count += 1;
            let row = RecordRow::from(record);
            printer
                .print_foreign(&row, |out, is_terminal| self.shape.write(out, &row, is_terminal))?;
        }
        Ok(false)
    }

    /// What a signal means: a read that follows has no other end, any other one is not whole.
    fn interrupted(&self) -> Result<(), End> {
        if self.follow {
            return Ok(());
        }
        let hint = "what was printed is whole records, in order";
        Err(Failure::new(Outcome::Failed, "interrupted before the end of the log", hint).into())
    }

    /// No bytes could be a record, so that there was none is a failure.
    fn check_raw(&self, way: &Way) -> Result<(), Failure> {
        if self.shape != Shape::Raw || way.count > 0 {
            return Ok(());
        }
        let hint = "`annal tail` shows the last ones, with their offsets under --json";
        Err(Failure::new(Outcome::Failed, "there is no such record", hint))
    }
}

/// How far a read has come.
struct Way {
    /// The offset of the record after the last one that was printed, if it is known.
    next: Option<Offset>,
    /// How many were printed.
    count: u64,
}

impl Way {
    /// Tells whoever sits there where another read would go on.
    fn tell(&self) {
        let Some(next) = self.next.filter(|_| io::stderr().is_terminal()) else { return };
        let plural = if self.count == 1 { "" } else { "s" };
        talk(format_args!("{} record{plural}; --from {next} goes on from here", self.count));
    }

    /// The failure, with the place where another read would go on.
    fn named_in(&self, mut failure: Failure) -> Failure {
        // Where it cannot go on, the failure says why.
        let ends = matches!(failure.outcome, Outcome::Usage | Outcome::ConditionNotMet);
        if let Some(next) = self.next.filter(|_| !ends) {
            failure.hint = format!("{}; --from {next} goes on from here", failure.hint);
        }
        failure
    }
}

/// Waits until a log takes no more records and ends there; for ever, if it takes some.
async fn closed_at((client, log): (&Client, Option<&LogName>), next: Option<Offset>) {
    let Some(name) = log else { return pending().await };
    loop {
        sleep(limits::FOLLOW_LOOK).await;
        // Nobody leads, or it is gone: whoever follows it hears of that.
        let Ok(state) = client.log_state(name).await else { continue };
        let end = next.unwrap_or(state.start_offset);
        if state.closed && end >= state.next_offset {
            return;
        }
    }
}

fn follows_the_leader() -> Failure {
    let sentence = "what comes is followed where the leader is, not at a node of one's choice";
    let hint = "leave out --node, or add --stale for what that node knows to be committed";
    Failure::new(Outcome::Usage, sentence, hint)
}

/// The last words where nobody reads what is printed.
fn ended_at_once() -> Failure {
    let hint = "whoever was to read the records did not take them";
    Failure::new(Outcome::Failed, "interrupted again: the read was ended at once", hint)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct OfRead {
        #[command(flatten)]
        read: Read,
        #[arg(long)]
        json: bool,
    }

    #[derive(Parser)]
    struct OfTail {
        #[command(flatten)]
        tail: Tail,
        #[arg(long)]
        json: bool,
    }

    fn read(words: &[&str]) -> Reading {
        let typed = OfRead::try_parse_from(["read"].iter().chain(words)).unwrap();
        assert!(!typed.json);
        Reading::of_read(typed.read)
    }

    fn tail(words: &[&str]) -> Reading {
        let typed = OfTail::try_parse_from(["tail"].iter().chain(words)).unwrap();
        assert!(!typed.json);
        Reading::of_tail(typed.tail)
    }

    #[test]
    fn a_read_begins_at_the_first_record_and_a_tail_before_the_end_unless_told() {
        let at = |offset| Begin::At(ReadFrom::Offset(Offset::new(offset)));
        let last = |count| Begin::At(ReadFrom::Last(count));
        assert_eq!(read(&[]).begin, Begin::At(ReadFrom::Start));
        assert_eq!(tail(&[]).begin, last(10));
        for of in [read, tail] {
            assert_eq!(of(&["--from", "7"]).begin, at(7));
            assert_eq!(of(&["--last", "3"]).begin, last(3));
            assert_eq!(of(&["-n", "3"]).begin, last(3));
            let since = of(&["--since", "1970-01-01T00:00:01Z", "-f", "--limit", "2"]);
            assert_eq!(since.begin, Begin::Since(Timestamp::new(1000)));
            assert_eq!((since.follow, since.limit, since.skips()), (true, Some(2), true));
        }
        let raw = tail(&["--raw"]);
        assert_eq!((raw.begin, raw.limit), (last(1), Some(1)));
    }
}
