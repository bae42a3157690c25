//! Invariant: what a log's retention keeps is kept: a leader trims by itself no more than one of its limits
//! allows. It may come late, and never early.
//!
//! Judged by each entry that trims a log unasked, against the records in the log by then, with their
//! bytes and the times of their entries.

use std::collections::BTreeMap;

use super::{Law, LawName, Moment, What, behind};
use crate::command::Command;
use crate::entry::{Request, SealedEntry};
use crate::retention::Retention;
use crate::types::{Index, LogNumber, Offset, Timestamp};

/// A log, as the entries have it.
#[derive(Clone, Debug, Default)]
struct Log {
    retention: Retention,
    /// When each record came, and its bytes.
    records: Vec<(Timestamp, u64)>,
}

impl Log {
    /// Whether it may begin at an offset.
    fn may_begin(&self, start: Offset, now: Timestamp) -> Result<(), String> {
        let Self { retention, records } = self;
        let place = usize::try_from(start.get()).unwrap_or(usize::MAX);
        let Some((gone, kept)) = records.split_at_checked(place) else {
            return Err(format!("it has {} records", records.len()));
        };
        let bytes: u64 = kept.iter().map(|(_, bytes)| bytes).sum();
        let newest = gone.last().map_or(0, |(time, _)| time.get());
        let age = now.get().saturating_sub(newest);
        let allows = [
            retention.records.is_some_and(|least| kept.len() as u64 >= least),
            retention.bytes.is_some_and(|least| bytes >= least),
            retention.age_ms.is_some_and(|least| age >= least),
        ];
        if allows.contains(&true) {
            return Ok(());
        }
        let left = kept.len();
        Err(format!(
            "{left} records of {bytes} bytes are left, what went came {age} ms ago at least, and {retention:?}"
        ))
    }
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Retentions {
    /// The last entry that was applied.
    applied: Index,
    logs: BTreeMap<LogNumber, Log>,
}

impl Retentions {
    fn apply(&mut self, entry: &SealedEntry) -> Result<(), String> {
        self.applied = entry.id().index;
        for request in entry.requests().unwrap_or_default() {
            self.place(&request, entry.time());
        }
        let housekeeping = entry.housekeeping().ok().flatten().unwrap_or_default();
        for (number, start) in housekeeping.trims {
            let Some(log) = self.logs.get(&number) else { continue };
            log.may_begin(start, entry.time()).map_err(|what| {
                format!("entry {} trims log {number} before {start}: {what}", entry.id())
            })?;
        }
        Ok(())
    }

    fn place(&mut self, request: &Request, time: Timestamp) {
        // A fork has what its source had before.
        let origin = request.command.as_ref().and_then(Command::origin);
        let inherited = origin.and_then(|origin| {
            let at = usize::try_from(origin.at.get()).ok()?;
            self.logs.get(&origin.source)?.records.get(..at).map(<[_]>::to_vec)
        });
        let log = self.logs.entry(request.log).or_default();
        log.records.extend(inherited.unwrap_or_default());
        log.records.extend(request.records.iter().map(|record| (time, record.len() as u64)));
        match &request.command {
            Some(Command::Create(new)) => log.retention = new.settings.retention,
            Some(Command::Configure(retention)) => log.retention = *retention,
            Some(Command::Delete) => drop(self.logs.remove(&request.log)),
            _ => {}
        }
    }
}

impl Law for Retentions {
    fn name(&self) -> LawName {
        LawName::Retentions
    }

    fn look(&mut self, moment: &Moment<'_>) -> Result<(), String> {
        let What::Turn { committed, .. } = moment.what else { return Ok(()) };
        behind(self.applied, committed).iter().try_for_each(|entry| self.apply(entry))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::housekeeping::Housekeeping;
    use crate::sim::laws::testing::Log as EntryLog;

    /// Three records of 5 bytes come, and a trim, all at one time.
    fn trimmed(retention: Retention, start: u64) -> Result<(), String> {
        let mut log = EntryLog::of(&[1]);
        let command = Some(Command::Configure(retention));
        let configure = Request { records: vec![], command, ..request(1, 1, 0, 0, "") };
        log.requests(1, &[configure]);
        for number in 0..3 {
            log.requests(1, &[request(1, number + 2, number, 1, "")]);
        }
        let trims = vec![(LogNumber::MAIN, Offset::new(start))];
        log.housekeeping(1, &Housekeeping { trims, released: Index::ZERO, expired: vec![] });
        let mut law = Retentions::default();
        Stage::new().commits(&mut law, 1, &log.entries)
    }

    #[test]
    fn a_trim_that_one_limit_allows_is_lawful_and_any_other_is_found() {
        let all = Retention::ALL;
        assert_broken(trimmed(all, 1), "2 records of 10 bytes are left");
        let records = Retention { records: Some(2), ..all };
        trimmed(records, 1).unwrap();
        assert_broken(trimmed(records, 2), "1 records of 5 bytes are left");
        let bytes = Retention { bytes: Some(6), ..all };
        trimmed(bytes, 1).unwrap();
        assert_broken(trimmed(bytes, 2), "1 records of 5 bytes are left");
        trimmed(Retention { records: Some(1), ..bytes }, 2).unwrap();
        assert_broken(trimmed(all, 4), "it has 3 records");
    }

    #[test]
    fn a_trim_of_what_is_not_old_is_found() {
        let of = |age| Retention { age_ms: Some(age), ..Retention::ALL };
        trimmed(of(0), 1).unwrap();
        assert_broken(trimmed(of(1), 1), "what went came 0 ms ago at least");
    }
}
