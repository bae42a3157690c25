//! Invariant: a log has a number that no other has or had, and offsets without a gap; one that is closed
//! or deleted accepts nothing; all nodes have the same logs at the same entry; and who reads a log is
//! given its records, those of no other, none that were trimmed, and nothing once it is deleted. A log's
//! beginning never goes back. A log that expires goes late or never, but not before its time. A fork has the
//! records of its source up to an offset, and its own behind that; and a log that is deleted while it has forks
//! keeps its name until the last of them goes.
//!
//! Whoever holds a log's number relies on it that what comes under it is that log, for ever.
//!
//! Judged by a list of logs of its own, made of committed entries in the plainest way.

use std::collections::BTreeMap;

use super::{Law, LawName, Moment, What, behind};
use crate::command::{Command, NewLog, Origin, Stamp, Turn};
use crate::entry::{Request, SealedEntry};
use crate::label::{ProducerName, SequenceWord};
use crate::log_name::LogName;
use crate::log_settings::{Expiry, LogSettings};
use crate::sim::model::RecordHash;
use crate::types::{ClientId, Index, LogNumber, NodeId, Offset, Seq, Timestamp};
use crate::wire::standing::{Fork, Inquiry, LogState};

/// A log, as the entries have it.
#[derive(Clone, Debug)]
struct Log {
    name: LogName,
    settings: LogSettings,
    closed: bool,
    deleted: bool,
    origin: Option<Origin>,
    start: Offset,
    records: Vec<RecordHash>,
    /// Its last sequence word.
    word: Option<SequenceWord>,
    /// Somebody used it then or later.
    used: u64,
    /// Of each producer that counts its requests, its epoch and the number of its next one.
    turns: BTreeMap<ProducerName, (u64, u64)>,
}

impl Log {
    /// A new one, with this beginning.
    fn of(new: &NewLog, (start, records): (Offset, Vec<RecordHash>)) -> Self {
        let NewLog { name, settings, closed, origin } = new.clone();
        Self {
            name,
            settings,
            closed,
            deleted: false,
            origin,
            start,
            records,
            word: None,
            used: 0,
            turns: BTreeMap::new(),
        }
    }

    fn next_offset(&self) -> Offset {
        Offset::new(self.records.len() as u64)
    }

    /// A request is known by this.
    fn stamp(&mut self, stamp: &Stamp) -> Result<(), String> {
        if let Some(word) = stamp.word
            && let Some(last) = self.word.replace(word)
            && word <= last
        {
            return Err(format!("sequence word {word} comes after {last}"));
        }
        let Some(Turn { producer, epoch, seq }) = stamp.turn else { return Ok(()) };
        let known = self.turns.insert(producer, (epoch, seq + 1));
        let is_next = match known {
            Some((known, next)) if known == epoch => seq == next,
            known => seq == 0 && known.is_none_or(|(known, _)| known < epoch),
        };
        if is_next {
            return Ok(());
        }
        Err(format!("request {seq} of epoch {epoch} of {producer} comes, and it was at {known:?}"))
    }
}

/// By how much of its time, in millionths, a log may go early: the clocks of ticks are as wrong as that.
const FAST_CLOCK_PPM: u64 = 200_000;

/// A log as nodes tell of it.
type Row = LogState;

/// What a read of a log has given.
#[derive(Clone, Copy, Debug)]
pub struct Given<'a> {
    /// Which log.
    pub log: LogNumber,
    /// When it was asked for.
    pub invoked: u64,
    /// Whether it must reflect all that was acknowledged before.
    pub linearizable: bool,
    /// The offset of the first record.
    pub first: Offset,
    /// The records.
    pub records: &'a [RecordHash],
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Catalogues {
    /// The last entry that was applied.
    applied: Index,
    /// All that ever were, by number.
    logs: BTreeMap<LogNumber, Log>,
    /// The logs behind each entry.
    rows: BTreeMap<Index, Vec<Row>>,
    /// Up to where each node was looked at.
    seen: BTreeMap<NodeId, Index>,
    /// What nodes have behind entries that were not reported yet.
    ahead: BTreeMap<Index, (NodeId, Vec<Row>)>,
    /// When each request was asked for first.
    asked: BTreeMap<(ClientId, Seq), u64>,
    /// Which log each request for its deletion was about.
    deletions: BTreeMap<(ClientId, Seq), LogNumber>,
    /// Where each request to trim a log lets it begin.
    trims: BTreeMap<(ClientId, Seq), (LogNumber, Offset)>,
    /// Where somebody was told that a log begins, and when.
    begins: Vec<(LogNumber, Offset, u64)>,
    /// When somebody was told first that a log is deleted.
    gone: BTreeMap<LogNumber, u64>,
    /// Logs that a node says are not there any more.
    said_gone: Vec<LogNumber>,
}

impl Default for Catalogues {
    fn default() -> Self {
        Self {
            applied: Index::ZERO,
            logs: BTreeMap::from([(
                LogNumber::MAIN,
                Log::of(&LogName::main().into(), (Offset::ZERO, vec![])),
            )]),
            rows: BTreeMap::new(),
            seen: BTreeMap::new(),
            ahead: BTreeMap::new(),
            asked: BTreeMap::new(),
            deletions: BTreeMap::new(),
            trims: BTreeMap::new(),
            begins: vec![],
            gone: BTreeMap::new(),
            said_gone: vec![],
        }
    }
}

impl Catalogues {
    fn on_committed(&mut self, committed: &[SealedEntry], now: u64) -> Result<(), String> {
        for entry in behind(self.applied, committed) {
            self.applied = entry.id().index;
            // What is wrong with its form is another law's to say.
            for request in entry.requests().unwrap_or_default() {
                self.place(&request).map_err(|what| format!("entry {}: {what}", entry.id()))?;
            }
            let housekeeping = entry.housekeeping().ok().flatten().unwrap_or_default();
            for (number, start) in housekeeping.trims {
                if let Some(log) = self.logs.get_mut(&number) {
                    log.start = log.start.max(start);
                }
            }
            for log in housekeeping.expired {
                self.expire(log, entry.time(), now)
                    .map_err(|what| format!("entry {}: {what}", entry.id()))?;
            }
            self.rows.insert(self.applied, self.rows_now());
            if let Some((node, rows)) = self.ahead.remove(&self.applied) {
                self.compare(node, self.applied, &rows)?;
            }
        }
        Ok(())
    }

    fn rows_now(&self) -> Vec<Row> {
        let there = self.logs.iter().filter(|(number, _)| self.is_there(**number));
        let row = |(number, log): (&LogNumber, &Log)| LogState {
            name: log.name.clone(),
            number: *number,
            settings: log.settings.clone(),
            start_offset: log.start,
            next_offset: log.next_offset(),
            closed: log.closed,
            deleted: log.deleted,
            fork: log.origin.map(|Origin { source, at, part }| Fork {
                source: self.logs[&source].name.clone(),
                number: source,
                at,
                part,
            }),
            forks: u32::try_from(self.forks(*number).count()).expect("there are few"),
        };
        let mut rows: Vec<Row> = there.map(row).collect();
        rows.sort_by(|one, other| one.name.cmp(&other.name));
        rows
    }

    /// The forks of a log.
    fn forks(&self, source: LogNumber) -> impl Iterator<Item = LogNumber> {
        let is_of = move |log: &Log| log.origin.is_some_and(|origin| origin.source == source);
        let forks = self.logs.iter().filter(move |(_, log)| is_of(log));
        forks.map(|(number, _)| *number).filter(|number| self.is_there(*number))
    }

    /// Whether a log has its name, be it for its forks alone.
    fn is_there(&self, number: LogNumber) -> bool {
        self.logs.get(&number).is_some_and(|log| !log.deleted)
            || self.forks(number).next().is_some()
    }

    fn place(&mut self, request: &Request) -> Result<(), String> {
        let number = request.log;
        if let Some(Command::Create(new)) = &request.command {
            self.create(number, new)?;
        }
        let log = self.logs.get_mut(&number).filter(|log| !log.deleted);
        let Some(log) = log else {
            return Err(format!("something is done to log {number}, which does not exist"));
        };
        let is_of_the_end = |command: &Command| {
            matches!(
                command,
                Command::Configure(_)
                    | Command::Create(_)
                    | Command::Delete
                    | Command::Forget(_)
                    | Command::Trim(_)
            )
        };
        if log.closed && !request.command.as_ref().is_some_and(is_of_the_end) {
            return Err(format!("something is done to log {number}, which is closed"));
        }
        let next = log.next_offset();
        if request.first_offset != next {
            let found = request.first_offset;
            return Err(format!("log {number} goes on at offset {found}, and {next} is next"));
        }
        log.records.extend(RecordHash::of_all(&request.records));
        // Before it was asked for nobody can have used it so.
        log.used =
            log.used.max(self.asked.get(&(request.client, request.seq)).copied().unwrap_or(0));
        match request.command {
            Some(Command::Append(ref stamp)) => log.stamp(stamp)?,
            Some(Command::Close(ref stamp)) => {
                log.stamp(stamp)?;
                log.closed = true;
            }
            Some(Command::Configure(retention)) => log.settings.retention = retention,
            Some(Command::Forget(name)) => drop(log.turns.remove(&name)),
            Some(Command::Trim(before)) if before > next => {
                return Err(format!("log {number} ends at {next}, and begins at {before}"));
            }
            Some(Command::Trim(before)) => {
                log.start = log.start.max(before);
                self.trims.insert((request.client, request.seq), (number, before));
            }
            Some(Command::Delete) => {
                log.deleted = true;
                self.deletions.insert((request.client, request.seq), number);
            }
            _ => {}
        }
        Ok(())
    }

    fn create(&mut self, number: LogNumber, new: &NewLog) -> Result<(), String> {
        let name = &new.name;
        let (last, _) = self.logs.last_key_value().expect("main is there");
        if number != last.next() {
            return Err(format!("log {name} gets number {number}, and {last} was the last"));
        }
        let has_name = |(of, log): (&LogNumber, &Log)| log.name == *name && self.is_there(*of);
        if self.logs.iter().any(has_name) {
            return Err(format!("there are two logs of the name {name}"));
        }
        let beginning = match new.origin {
            None => (Offset::ZERO, vec![]),
            Some(origin) => self.beginning(origin)?,
        };
        self.logs.insert(number, Log::of(new, beginning));
        Ok(())
    }

    /// Where a fork begins, and what it has of its source.
    fn beginning(
        &self,
        Origin { source, at, .. }: Origin,
    ) -> Result<(Offset, Vec<RecordHash>), String> {
        let Some(log) = self.logs.get(&source).filter(|log| !log.deleted) else {
            return Err(format!("log {source} is forked, which does not exist"));
        };
        let until = usize::try_from(at.get()).unwrap_or(usize::MAX);
        match log.records.get(..until) {
            Some(records) if at >= log.start => Ok((log.start, records.to_vec())),
            _ => {
                let (start, next) = (log.start, log.next_offset());
                Err(format!("log {source} is forked at {at}, and has {start} to {next}"))
            }
        }
    }

    /// A log has expired, in an entry of this time, which is known now.
    fn expire(&mut self, number: LogNumber, time: Timestamp, now: u64) -> Result<(), String> {
        let Some(log) = self.logs.get_mut(&number).filter(|log| !log.deleted) else {
            return Err(format!("log {number} expires, and does not exist"));
        };
        log.deleted = true;
        let is_due = match log.settings.expiry {
            None => false,
            Some(Expiry::At(at)) => time >= at,
            Some(Expiry::Idle { seconds }) => {
                now.saturating_sub(log.used) >= seconds * (1_000_000 - FAST_CLOCK_PPM)
            }
        };
        if is_due {
            return Ok(());
        }
        let (expiry, used) = (log.settings.expiry, log.used);
        Err(format!(
            "log {number} expires at {time} ({now} us) by {expiry:?}, and was used at {used} us"
        ))
    }

    /// What a node has is what the entries say.
    fn on_node(&mut self, node: NodeId, at: Index, rows: Vec<Row>) -> Result<(), String> {
        if at > self.applied {
            self.ahead.insert(at, (node, rows));
            return Ok(());
        }
        self.compare(node, at, &rows)
    }

    fn compare(&self, node: NodeId, at: Index, found: &[Row]) -> Result<(), String> {
        let Some(expected) = self.rows.get(&at) else { return Ok(()) };
        if found == expected {
            return Ok(());
        }
        Err(format!(
            "behind entry {at} {node} has logs {found:?}, and the entries say {expected:?}"
        ))
    }

    fn on_given(&mut self, given: &Given<'_>) -> Result<(), String> {
        let Given { log: number, invoked, linearizable, first, records } = *given;
        let told = self.gone.get(&number).is_some_and(|told| *told < invoked);
        if linearizable && told {
            return Err(format!("log {number} was read after somebody knew that it is deleted"));
        }
        let is_before = |(of, start, told): &&(LogNumber, Offset, u64)| {
            *of == number && *told < invoked && first < *start && !records.is_empty()
        };
        if linearizable && let Some((_, start, _)) = self.begins.iter().find(is_before) {
            return Err(format!(
                "log {number} was read from offset {first} on after somebody knew that it begins at {start}"
            ));
        }
        // What was not reported yet is not judged.
        let Some(log) = self.logs.get_mut(&number) else { return Ok(()) };
        if linearizable {
            log.used = log.used.max(invoked);
        }
        let from = usize::try_from(first.get()).unwrap_or(usize::MAX);
        let known = log.records.get(from..).unwrap_or_default();
        let is_so = records.iter().zip(known).all(|(found, known)| found == known);
        if is_so {
            return Ok(());
        }
        Err(format!("a read of log {number} from offset {first} on has other records than the log"))
    }

    /// A node said that a log is not there any more.
    fn on_said_gone(&mut self, log: LogNumber) {
        if self.logs.get(&log).is_none_or(|log| !log.deleted) {
            self.said_gone.push(log);
        }
    }

    fn on_whole(&self) -> Result<(), String> {
        let exists = |number: &&LogNumber| self.logs.get(number).is_none_or(|log| !log.deleted);
        match self.said_gone.iter().find(exists) {
            Some(log) => Err(format!("log {log} was said to be deleted, and it never was")),
            None => Ok(()),
        }
    }

    fn on_turn(&mut self, moment: &Moment<'_>, node: NodeId) -> Result<(), String> {
        let Some(replica) = moment.node(node).replica else { return Ok(()) };
        let commit_index = replica.raft().log().commit_index();
        if self.seen.insert(node, commit_index) == Some(commit_index) {
            return Ok(());
        }
        let inquiry = Inquiry::Logs { prefix: String::new(), after: None };
        self.on_node(node, commit_index, replica.standing(LogNumber::MAIN, inquiry).logs)
    }
}

impl Law for Catalogues {
    fn name(&self) -> LawName {
        LawName::Catalogues
    }

    fn look(&mut self, moment: &Moment<'_>) -> Result<(), String> {
        match moment.what {
            What::Turn { node, committed, .. } => {
                self.on_committed(committed, moment.now)?;
                self.on_turn(moment, node)
            }
            What::Started { node, .. } => {
                self.seen.remove(&node);
                Ok(())
            }
            What::Acknowledged { client, seq, .. } => {
                if let Some((log, start)) = self.trims.get(&(client, seq)) {
                    self.begins.push((*log, *start, moment.now));
                }
                if let Some(log) = self.deletions.get(&(client, seq)) {
                    self.gone.entry(*log).or_insert(moment.now);
                }
                Ok(())
            }
            What::Asked { client, seq, .. } => {
                self.asked.entry((client, seq)).or_insert(moment.now);
                Ok(())
            }
            What::Given(given) => self.on_given(&given),
            What::SaidGone { log } => {
                self.on_said_gone(log);
                Ok(())
            }
            What::Finished { whole: true, .. } => self.on_whole(),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::wire::api::Appended;
    use bytes::Bytes;

    fn command(seq: u64, log: u32, command: Command) -> Request {
        let log = LogNumber::new(log);
        Request { log, records: vec![], command: Some(command), ..request(1, seq, 0, 0, "") }
    }

    fn create(seq: u64, log: u32, name: &str) -> Request {
        command(seq, log, Command::create(name.parse::<LogName>().unwrap()))
    }

    fn append(client: u128, log: u32, offset: u64) -> Request {
        Request { log: LogNumber::new(log), ..request(client, 1, offset, 1, "") }
    }

    fn log_of(entries: &[&[Request]]) -> super::super::testing::Log {
        let mut log = super::super::testing::Log::of(&[1]);
        for requests in entries {
            log.requests(1, requests);
        }
        log
    }

    fn judged(entries: &[&[Request]]) -> Result<Catalogues, String> {
        let mut law = Catalogues::default();
        Stage::new().commits(&mut law, 1, &log_of(entries).entries).map(|()| law)
    }

    #[test]
    fn logs_that_come_and_go_in_order_are_lawful() {
        let delete = Request { first_offset: Offset::new(1), ..command(2, 1, Command::Delete) };
        judged(&[
            &[create(1, 1, "a")],
            &[append(2, 1, 0), append(3, 0, 0)],
            &[delete],
            &[create(3, 2, "a")],
        ])
        .unwrap();
    }

    fn fork(seq: u64, log: u32, at: u64) -> Request {
        let origin = Some(Origin { source: LogNumber::new(1), at: Offset::new(at), part: 0 });
        let new = NewLog { origin, ..NewLog::from("f".parse::<LogName>().unwrap()) };
        Request { first_offset: Offset::new(at), ..command(seq, log, Command::create(new)) }
    }

    #[test]
    fn a_fork_has_what_its_source_had_and_keeps_its_name() {
        let one_by_one = |requests: &[Request]| {
            judged(&requests.iter().map(std::slice::from_ref).collect::<Vec<_>>())
        };
        let delete = |seq, log, offset| Request {
            first_offset: Offset::new(offset),
            ..command(seq, log, Command::Delete)
        };
        let (of_source, own) = (append(3, 1, 0), append(2, 2, 1));
        let start = [create(1, 1, "a"), of_source.clone(), fork(2, 2, 1), own.clone()];
        let deleted = [&start[..], &[delete(3, 1, 1)]].concat();
        let mut law = one_by_one(&deleted).unwrap();
        let rows: Vec<_> = law.rows_now().into_iter().map(|it| (it.deleted, it.forks)).collect();
        assert_eq!(rows, [(true, 1), (false, 0), (false, 0)], "a, f and main");
        let mut has = |requests: &[Request]| {
            let of = |request: &Request| RecordHash::of_all(&request.records);
            let records: Vec<_> = requests.iter().flat_map(of).collect();
            let (log, first) = (LogNumber::new(2), Offset::ZERO);
            let given = Given { log, invoked: 9, linearizable: true, first, records: &records };
            Stage::new().show(&mut law, What::Given(given))
        };
        has(&[of_source.clone(), own]).unwrap();
        assert_broken(has(&[of_source, append(4, 1, 1)]), "has other records than the log");
        let again = [&deleted[..], &[create(4, 3, "a")]].concat();
        assert_broken(one_by_one(&again).map(|_| ()), "two logs of the name a");
        one_by_one(&[&deleted[..], &[delete(4, 2, 2), create(5, 3, "a")]].concat()).unwrap();
        let beyond = one_by_one(&[create(1, 1, "a"), fork(2, 2, 2)]);
        assert_broken(beyond.map(|_| ()), "log 1 is forked at 2, and has 0 to 0");
    }

    #[test]
    fn a_number_or_a_name_that_is_given_twice_is_found() {
        let twice = judged(&[
            &[create(1, 1, "a")],
            &[command(2, 1, Command::Delete)],
            &[create(3, 1, "b")],
        ]);
        assert_broken(twice.map(|_| ()), "log b gets number 1, and 1 was the last");
        let same = judged(&[&[create(1, 1, "a")], &[create(2, 2, "a")]]);
        assert_broken(same.map(|_| ()), "two logs of the name a");
    }

    #[test]
    fn what_goes_to_a_log_that_takes_nothing_is_found() {
        let created: &[Request] = &[create(1, 1, "a")];
        let closed = judged(&[
            created,
            &[command(2, 1, Command::Close(Box::default()))],
            &[append(2, 1, 0)],
        ]);
        assert_broken(closed.map(|_| ()), "log 1, which is closed");
        let deleted = judged(&[created, &[command(2, 1, Command::Delete)], &[append(2, 1, 0)]]);
        assert_broken(deleted.map(|_| ()), "log 1, which does not exist");
        assert_broken(judged(&[&[append(2, 7, 0)]]).map(|_| ()), "log 7, which does not exist");
        let gap = judged(&[created, &[append(2, 1, 1)]]);
        assert_broken(gap.map(|_| ()), "log 1 goes on at offset 1, and 0 is next");
    }

    #[test]
    fn a_node_with_other_logs_than_the_entries_say_is_found() {
        let log = log_of(&[&[create(1, 1, "a")]]);
        let mut stage = Stage::new();
        stage.run(follower(1, &log, 1, 2), &log.entries);
        let mut law = Catalogues::default();
        stage.commits(&mut law, 1, &log.entries).unwrap();
        law.rows.insert(Index::new(2), vec![]);
        law.seen.clear();
        assert_broken(stage.turns(&mut law, 1), "behind entry 2 n1 has logs");
        // What a node has before its entries are reported is looked at when they are.
        let mut law = Catalogues::default();
        stage.turns(&mut law, 1).unwrap();
        law.ahead.insert(Index::new(2), (node(1), vec![]));
        assert_broken(stage.commits(&mut law, 1, &log.entries), "behind entry 2 n1 has logs []");
    }

    #[test]
    fn a_read_of_other_records_or_of_a_log_that_is_known_to_be_gone_is_found() {
        let delete = Request { first_offset: Offset::new(1), ..command(2, 1, Command::Delete) };
        let appended = append(2, 1, 0);
        let records = RecordHash::of_all(&appended.records);
        let mut law = judged(&[&[create(1, 1, "a")], &[appended], &[delete]]).unwrap();
        let given = |law: &mut Catalogues, number, records: &[RecordHash]| {
            let (log, first) = (LogNumber::new(number), Offset::ZERO);
            let given = Given { log, invoked: 9, linearizable: true, first, records };
            Stage::new().show(law, What::Given(given))
        };
        given(&mut law, 1, &records).unwrap();
        let others = RecordHash::of_all(&[Bytes::from_static(b"other")]);
        assert_broken(given(&mut law, 1, &others), "has other records than the log");
        let (offset, count, term, index) = (Offset::new(1), 0, id(4, 1).term, id(4, 1).index);
        let appended = Appended { offset, count, term, index, leader: node(1) };
        let (client, seq) = (ClientId::new(1), Seq::new(2));
        Stage::new().show(&mut law, What::Acknowledged { client, seq, appended }).unwrap();
        assert_broken(given(&mut law, 1, &records), "after somebody knew that it is deleted");
    }

    #[test]
    fn a_read_of_what_is_known_to_be_trimmed_is_found() {
        let trim = |seq, before| Request {
            first_offset: Offset::new(1),
            ..command(seq, 1, Command::Trim(Offset::new(before)))
        };
        let appended = append(2, 1, 0);
        let records = RecordHash::of_all(&appended.records);
        let entries: &[&[Request]] = &[&[create(1, 1, "a")], &[appended], &[trim(2, 1)]];
        let mut law = judged(entries).unwrap();
        assert_eq!(law.rows_now()[0].start_offset, Offset::new(1));
        let given = |law: &mut Catalogues| {
            let (log, first) = (LogNumber::new(1), Offset::ZERO);
            let given = Given { log, invoked: 9, linearizable: true, first, records: &records };
            Stage::new().show(law, What::Given(given))
        };
        given(&mut law).unwrap();
        let (offset, count, term, index) = (Offset::new(1), 0, id(4, 1).term, id(4, 1).index);
        let appended = Appended { offset, count, term, index, leader: node(1) };
        let (client, seq) = (ClientId::new(1), Seq::new(2));
        Stage::new().show(&mut law, What::Acknowledged { client, seq, appended }).unwrap();
        assert_broken(given(&mut law), "after somebody knew that it begins at 1");
        let beyond = judged(&[entries[0], entries[1], &[trim(2, 2)]]);
        assert_broken(beyond.map(|_| ()), "log 1 ends at 1, and begins at 2");
    }

    #[test]
    fn a_log_that_expires_before_its_time_is_found() {
        let idle = Some(Expiry::Idle { seconds: 1 });
        let expiring = |expiry| {
            let settings = LogSettings { expiry, ..LogSettings::default() };
            let new = NewLog { settings, ..NewLog::from("a".parse::<LogName>().unwrap()) };
            judged(&[&[command(1, 1, Command::create(new))]]).unwrap()
        };
        let expire = |law: &mut Catalogues, time, now| {
            law.expire(LogNumber::new(1), Timestamp::new(time), now)
        };
        let mut law = expiring(idle);
        law.logs.get_mut(&LogNumber::new(1)).unwrap().used = 100;
        assert_broken(expire(&mut law.clone(), 0, 800_099), "and was used at 100 us");
        expire(&mut law, 0, 800_100).unwrap();
        assert_broken(expire(&mut law, 0, 900_000), "log 1 expires, and does not exist");
        assert_broken(expire(&mut expiring(None), 0, u64::MAX), "log 1 expires at");
        let at = Some(Expiry::At(Timestamp::new(5)));
        assert_broken(expire(&mut expiring(at), 4, u64::MAX), "log 1 expires at");
        expire(&mut expiring(at), 5, 0).unwrap();
    }

    #[test]
    fn a_log_that_is_said_to_be_gone_and_never_was_is_found() {
        let mut law = judged(&[&[create(1, 1, "a")]]).unwrap();
        let log = LogNumber::new(1);
        Stage::new().show(&mut law, What::SaidGone { log }).unwrap();
        let history = &crate::sim::history::History::default();
        let finish = What::Finished { history, whole: true };
        assert_broken(Stage::new().show(&mut law, finish), "log 1 was said to be deleted");
    }
}
