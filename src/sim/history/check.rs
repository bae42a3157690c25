//! The rules. See the chapter.

use std::collections::BTreeMap;
use std::fmt;

use super::record::{AppendSeen, Extent, History, ReadSeen, RequestId, TailSeen};
use crate::sim::model::{Placed, RecordHash};
use crate::types::{ClientId, LogId, Offset, Seq};
use crate::wire::api::{Appended, ReadFrom};

/// The log as it was at the end of a run.
#[derive(Clone, Copy, Debug)]
pub struct FinalLog<'a> {
    /// All its requests, in order.
    pub requests: &'a [Placed],
    /// Whether that is all that was ever committed. If not, then what was answered about offsets
    /// after its end is not judged.
    pub whole: bool,
}

/// Which rule is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// No request twice, no gap.
    A1,
    /// Acknowledged means there.
    A2,
    /// Failed for certain means not there.
    A3,
    /// Nothing that was not asked for.
    A4,
    /// A read shows a run of the log.
    A5,
    /// Real time.
    C,
    /// No future.
    D,
    /// Within a session no read shows less than one before it.
    Session,
}

/// What cannot have been a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anomaly {
    /// The rule that is broken.
    pub rule: Rule,
    /// By what, in a sentence.
    pub what: String,
}

impl fmt::Display for Anomaly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.rule, self.what)
    }
}

fn broken<T>(rule: Rule, what: String) -> Result<T, Anomaly> {
    Err(Anomaly { rule, what })
}

impl History {
    /// Whether this can have been a log: see the chapter.
    ///
    /// # Errors
    /// The first rule that is broken, and by what.
    pub fn check(&self, log: FinalLog<'_>) -> Result<(), Anomaly> {
        let log = Layout::of(log)?;
        check_content(self, &log)?;
        let operations = operations(self, &log);
        check_real_time(&operations)?;
        check_future(&operations)
    }
}

/// The final log, with what is looked up in it.
pub(super) struct Layout<'a> {
    log: FinalLog<'a>,
    places: BTreeMap<RequestId, &'a Placed>,
    records: Vec<RecordHash>,
    /// The offset after each request, and the one before all of them.
    borders: Vec<Offset>,
}

impl<'a> Layout<'a> {
    /// Rule A1.
    pub(super) fn of(log: FinalLog<'a>) -> Result<Self, Anomaly> {
        let mut layout =
            Self { log, places: BTreeMap::new(), records: vec![], borders: vec![Offset::ZERO] };
        for placed in log.requests {
            let (id, end) = ((placed.client, placed.seq), layout.end());
            if let Some(first) = layout.places.insert(id, placed) {
                let (one, other, it) = (first.offset, placed.offset, Source::Append(id));
                return broken(Rule::A1, format!("{it} is at offset {one} and at offset {other}"));
            }
            if placed.offset != end || placed.records.is_empty() {
                let (it, offset) = (Source::Append(id), placed.offset);
                return broken(Rule::A1, format!("{it} is at offset {offset}, and {end} is next"));
            }
            layout.records.extend(&placed.records);
            layout.borders.push(placed.next_offset());
        }
        Ok(layout)
    }

    fn end(&self) -> Offset {
        *self.borders.last().expect("there is one before all requests")
    }

    /// The end of the request that `offset` is in, or `offset` if it is between two.
    fn border_after(&self, offset: Offset) -> Offset {
        self.borders[self.borders.partition_point(|border| *border < offset)]
    }

    /// Whether it is not known what the log has there.
    fn is_beyond(&self, offset: Offset) -> bool {
        !self.log.whole && offset > self.end()
    }
}

/// Rules A2 to A5.
pub(super) fn check_content(history: &History, log: &Layout<'_>) -> Result<(), Anomaly> {
    for (id, append) in &history.appends {
        check_acknowledgements(*id, append, log)?;
        check_rejection(*id, append, log)?;
    }
    for (id, placed) in &log.places {
        let it = Source::Append(*id);
        let Some(append) = history.appends.get(id) else {
            let offset = placed.offset;
            return broken(
                Rule::A4,
                format!("{it} is at offset {offset}, and nobody asked for it"),
            );
        };
        if append.records != placed.records {
            return broken(Rule::A4, format!("{it} is in the log with other records"));
        }
    }
    history.reads.iter().try_for_each(|read| check_read(read, log))?;
    history
        .tails
        .iter()
        .try_for_each(|tail| check_extent(&Source::Tail(tail), Extent::at(tail.end), log))
}

fn check_acknowledgements(
    id: RequestId,
    append: &AppendSeen,
    log: &Layout<'_>,
) -> Result<(), Anomaly> {
    let Some((_, first)) = append.acknowledged.first() else { return Ok(()) };
    let it = Source::Append(id);
    if let Some((_, other)) = append.acknowledged.iter().find(|(_, a)| place(a) != place(first)) {
        let (one, other) = (place(first), place(other));
        return broken(Rule::A2, format!("{it} was acknowledged at {one} and at {other}"));
    }
    let said = place(first);
    match log.places.get(&id) {
        Some(placed) if said == Place::from(*placed) => Ok(()),
        Some(placed) => {
            let found = Place::from(*placed);
            broken(Rule::A2, format!("{it} was acknowledged at {said}, and is at {found}"))
        }
        None if log.is_beyond(said.end()) => Ok(()),
        None => broken(Rule::A2, format!("{it} was acknowledged at {said}, and is not in the log")),
    }
}

fn check_rejection(id: RequestId, append: &AppendSeen, log: &Layout<'_>) -> Result<(), Anomaly> {
    if !append.rejected {
        return Ok(());
    }
    let it = Source::Append(id);
    if !append.acknowledged.is_empty() {
        return broken(Rule::A3, format!("{it} was acknowledged, and failed for certain"));
    }
    match log.places.get(&id) {
        None => Ok(()),
        Some(placed) => {
            let offset = placed.offset;
            broken(Rule::A3, format!("{it} failed for certain, and is at offset {offset}"))
        }
    }
}

/// Rule A5.
fn check_read(read: &ReadSeen, log: &Layout<'_>) -> Result<(), Anomaly> {
    let (it, count) = (Source::Read(read), read.count());
    if let Some(limit) = read.read.limit.filter(|limit| count > *limit) {
        return broken(Rule::A5, format!("{it} shows {count} records, and {limit} were asked for"));
    }
    if let ReadFrom::Offset(from) = read.read.from
        && from != read.first
    {
        return broken(Rule::A5, format!("{it} was to begin at {from}"));
    }
    let end = read.end();
    if count > 0 && end > log.end() && !log.is_beyond(end) {
        return broken(
            Rule::A5,
            format!("{it} shows more than there is: the end is {}", log.end()),
        );
    }
    let from = usize::try_from(read.first.get()).unwrap_or(usize::MAX);
    let there = log.records.iter().skip(from);
    if let Some(at) = there.zip(&read.records).position(|(one, other)| one != other) {
        let offset = read.first.plus(at as u64);
        return broken(Rule::A5, format!("{it} shows another record at offset {offset}"));
    }
    let extent = read.extent();
    if let ReadFrom::Last(wanted) = read.read.from
        && extent.is_exact()
    {
        let end = extent.at_most.get();
        let first = end.saturating_sub(wanted);
        let expected = read.read.limit.unwrap_or(u64::MAX).min(end - first);
        if first != read.first.get() || count != expected {
            return broken(Rule::A5, format!("{it} does not show the last {wanted}"));
        }
    }
    check_extent(&it, extent, log)
}

/// An end of the log that was seen: all of a request is there, or nothing.
fn check_extent(it: &Source<'_>, extent: Extent, log: &Layout<'_>) -> Result<(), Anomaly> {
    let Extent { at_least, at_most } = extent;
    if log.is_beyond(at_least) {
        return Ok(());
    }
    if at_least > log.end() {
        return broken(
            Rule::A5,
            format!("{it} saw the end at {at_least}, and it is {}", log.end()),
        );
    }
    if log.border_after(at_least) > at_most {
        let what = format!("{it} saw the end at {at_most}, in the middle of a request");
        return broken(Rule::A5, what);
    }
    Ok(())
}

/// Where a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    offset: Offset,
    count: u64,
    entry: LogId,
}

impl Place {
    fn end(self) -> Offset {
        self.offset.plus(self.count)
    }
}

fn place(appended: &Appended) -> Place {
    Place {
        offset: appended.offset,
        count: u64::from(appended.count),
        entry: LogId::new(appended.index, appended.term),
    }
}

impl From<&Placed> for Place {
    fn from(placed: &Placed) -> Self {
        Self { offset: placed.offset, count: placed.count(), entry: placed.entry }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "offsets {} to {} in entry {}", self.offset, self.end(), self.entry)
    }
}

/// Where an operation comes from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Source<'a> {
    Append((ClientId, Seq)),
    Read(&'a ReadSeen),
    Tail(&'a TailSeen),
}

impl fmt::Display for Source<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Append((client, seq)) => write!(f, "request {seq} of client {client}"),
            Self::Read(read) => {
                let ReadSeen { invoked, returned, first, .. } = read;
                write!(f, "a read of {first} to {} ({invoked} to {returned} us)", read.end())
            }
            Self::Tail(tail) => {
                let TailSeen { invoked, returned, .. } = tail;
                write!(f, "a look at the end ({invoked} to {returned} us)")
            }
        }
    }
}

/// An operation and its place (rule B).
#[derive(Clone, Copy, Debug)]
pub(super) struct Operation<'a> {
    source: Source<'a>,
    invoked: u64,
    /// `None`: nobody was told.
    returned: Option<u64>,
    /// It stands here at least …
    low: Offset,
    /// … and here at most.
    high: Offset,
    /// It stands behind what was answered before it began.
    linearizable: bool,
    session: Option<u64>,
}

impl Operation<'_> {
    fn is_append(&self) -> bool {
        matches!(self.source, Source::Append(_))
    }
}

/// All operations with a place. Rule A6: an append that is not in the log has none.
pub(super) fn operations<'a>(history: &'a History, log: &Layout<'_>) -> Vec<Operation<'a>> {
    let appends = history.appends.iter().filter_map(|(id, append)| {
        let end = log.places.get(id)?.next_offset();
        Some(Operation {
            source: Source::Append(*id),
            invoked: append.invoked,
            // The first acknowledgement tells; later ones repeat it.
            returned: append.acknowledged.iter().map(|(at, _)| *at).min(),
            low: end,
            high: end,
            linearizable: true,
            session: None,
        })
    });
    let reads = history.reads.iter().filter_map(|read| {
        let (low, high) = span(read.extent(), log)?;
        Some(Operation {
            source: Source::Read(read),
            invoked: read.invoked,
            returned: Some(read.returned),
            low,
            high,
            linearizable: read.read.linearizable,
            session: read.session,
        })
    });
    let tails = history.tails.iter().filter_map(|tail| {
        let (low, high) = span(Extent::at(tail.end), log)?;
        Some(Operation {
            source: Source::Tail(tail),
            invoked: tail.invoked,
            returned: Some(tail.returned),
            low,
            high,
            linearizable: tail.linearizable,
            session: tail.session,
        })
    });
    appends.chain(reads).chain(tails).collect()
}

/// Where a read may stand. Only between two requests is there a log to be seen.
fn span(extent: Extent, log: &Layout<'_>) -> Option<(Offset, Offset)> {
    let Extent { at_least, at_most } = extent;
    (!log.is_beyond(at_least)).then(|| (log.border_after(at_least), at_most))
}

/// How far the log had certainly reached, and who saw it.
#[derive(Clone, Copy)]
struct Reached<'a> {
    place: Offset,
    by: Option<&'a Operation<'a>>,
}

impl<'a> Reached<'a> {
    const NOTHING: Self = Self { place: Offset::ZERO, by: None };

    fn raise(&mut self, place: Offset, by: &'a Operation<'a>) {
        if place > self.place {
            *self = Self { place, by: Some(by) };
        }
    }
}

/// Rule C, and sessions: one sweep through time. At equal times calls come before answers, for then
/// nothing says which was first.
pub(super) fn check_real_time(operations: &[Operation<'_>]) -> Result<(), Anomaly> {
    let mut reached = Reached::NOTHING;
    let mut sessions: BTreeMap<u64, Reached<'_>> = BTreeMap::new();
    // The first place where each operation that was called can stand.
    let mut places = vec![Offset::ZERO; operations.len()];
    for (number, is_answer) in in_time(operations) {
        let operation = &operations[number];
        let session = operation.session.map(|s| sessions.entry(s).or_insert(Reached::NOTHING));
        if is_answer {
            reached.raise(places[number], operation);
            if let Some(session) = session {
                session.raise(places[number], operation);
            }
            continue;
        }
        let behind = if operation.linearizable { reached } else { Reached::NOTHING };
        let behind_in_session = session.map_or(Reached::NOTHING, |session| *session);
        check_stands_behind(operation, behind)?;
        check_session(operation, behind_in_session)?;
        places[number] = operation.low.max(behind.place).max(behind_in_session.place);
    }
    Ok(())
}

fn check_stands_behind(operation: &Operation<'_>, behind: Reached<'_>) -> Result<(), Anomaly> {
    let Operation { source, high, .. } = operation;
    let Reached { place, by: Some(by) } = behind else { return Ok(()) };
    if *high > place || *high == place && !operation.is_append() {
        return Ok(());
    }
    let (invoked, returned) = (operation.invoked, by.returned.unwrap_or_default());
    broken(
        Rule::C,
        format!(
            "{source} stands at {high} at most and began at {invoked} us, when {} had been answered \
             at {returned} us and stands at {place}",
            by.source
        ),
    )
}

fn check_session(operation: &Operation<'_>, behind: Reached<'_>) -> Result<(), Anomaly> {
    match behind {
        Reached { place, by: Some(by) } if operation.high < place => {
            let (it, before) = (operation.source, by.source);
            broken(Rule::Session, format!("{it} shows less than {before} in its session"))
        }
        _ => Ok(()),
    }
}

/// The calls (false) and answers (true) of the operations, in the order of time.
fn in_time(operations: &[Operation<'_>]) -> Vec<(usize, bool)> {
    let calls = operations.iter().map(|operation| Some(operation.invoked));
    let answers = operations.iter().map(|operation| operation.returned);
    let events = calls.enumerate().map(|(number, at)| (at, false, number));
    let events = events.chain(answers.enumerate().map(|(number, at)| (at, true, number)));
    let mut events: Vec<_> = events.filter(|(at, ..)| at.is_some()).collect();
    events.sort_unstable();
    events.into_iter().map(|(_, is_answer, number)| (number, is_answer)).collect()
}

/// Rule D: one pass along the log. Of what stands before, the append that was asked for last counts.
pub(super) fn check_future(operations: &[Operation<'_>]) -> Result<(), Anomaly> {
    let mut in_place: Vec<&Operation<'_>> = operations.iter().collect();
    // What stands at one place: the append that ends there, then those who saw it.
    in_place.sort_by_key(|operation| (operation.low, !operation.is_append()));
    let mut newest: Option<&Operation<'_>> = None;
    for operation in in_place {
        if let (Some(before), Some(returned)) = (newest, operation.returned)
            && before.invoked > returned
        {
            let (it, other, invoked) = (operation.source, before.source, before.invoked);
            return broken(
                Rule::D,
                format!(
                    "{it} was answered at {returned} us, and stands behind {other}, which was asked \
                     for at {invoked} us"
                ),
            );
        }
        if operation.is_append() && newest.is_none_or(|n| n.invoked < operation.invoked) {
            newest = Some(operation);
        }
    }
    Ok(())
}
