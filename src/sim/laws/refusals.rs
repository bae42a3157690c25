//! Invariant: a condition that was said not to hold did not, at a moment while the client waited; and
//! what was refused so is never in the log.
//!
//! A leader that was deposed and does not know it, or that judged against entries which were cut, would
//! send away a client that was right: with a lock taken so, nobody has it.
//!
//! Judged by the reference model: a refusal names the entry with which the log ended. It must be the
//! log's, with what the refusal says behind it, and not before what anybody was told before the client
//! asked. It can come before anybody has reported that entry: it is looked up when that is.

use std::collections::BTreeMap;

use super::{Law, LawName, Moment, What};
use crate::command::{Command, Stamp, Turn};
use crate::entry::SealedEntry;
use crate::label::ProducerName;
use crate::sim::model::{Model, Placed, RecordHash};
use crate::types::{ClientId, Index, LogNumber, Seq};
use crate::wire::conditions::{Conditions, Obstacle, Unmet};

/// A request.
type RequestId = (ClientId, Seq);

/// What a client asked for, and what everybody had been told by then.
#[derive(Clone, Debug)]
struct Asked {
    log: LogNumber,
    conditions: Conditions,
    /// The last entry that anybody was told of.
    told: Index,
}

/// A refusal whose entry was not reported yet.
#[derive(Clone, Debug)]
struct Ahead {
    id: RequestId,
    log: LogNumber,
    conditions: Conditions,
    unmet: Unmet,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Refusals {
    model: Model,
    asked: BTreeMap<RequestId, Asked>,
    /// The last entry that anybody was told of.
    told: Index,
    ahead: Vec<Ahead>,
    /// The records that were refused.
    refused: BTreeMap<ClientId, Vec<Vec<RecordHash>>>,
}

impl Refusals {
    fn on_committed(&mut self, committed: &[SealedEntry]) -> Result<(), String> {
        let known = self.model.requests().len();
        self.model.catch_up(committed)?;
        for placed in self.model.requests().iter().skip(known) {
            let refused = self.refused.get(&placed.client);
            let is_refused = refused.is_some_and(|all| all.contains(&placed.records));
            if is_refused && !placed.records.is_empty() {
                return Err(format!(
                    "a request of client {} was refused for its condition, and is in {}",
                    placed.client, placed.entry
                ));
            }
        }
        let applied = self.model.applied();
        let due: Vec<_> = self.ahead.extract_if(.., |it| it.unmet.as_of.index <= applied).collect();
        due.iter().try_for_each(|it| self.check(it))
    }

    fn on_unmet(
        &mut self,
        id: RequestId,
        records: &[RecordHash],
        unmet: Unmet,
    ) -> Result<(), String> {
        let (client, seq) = id;
        let Some(asked) = self.asked.get(&id) else {
            return Err(format!("request {seq} of client {client} is refused, and nobody asked"));
        };
        if unmet.as_of.index < asked.told {
            return Err(format!(
                "request {seq} of client {client} was refused as of {}, and entry {} was known \
                 when it was asked for",
                unmet.as_of, asked.told
            ));
        }
        let is_in = |placed: &Placed| {
            placed.client == client && placed.records == records && !records.is_empty()
        };
        if let Some(placed) = self.model.requests().iter().find(|placed| is_in(placed)) {
            return Err(format!(
                "request {seq} of client {client} was refused for its condition, and is in {}",
                placed.entry
            ));
        }
        if !records.is_empty() {
            self.refused.entry(client).or_default().push(records.to_vec());
        }
        let it = Ahead { id, log: asked.log, conditions: asked.conditions.clone(), unmet };
        if unmet.as_of.index <= self.model.applied() {
            return self.check(&it);
        }
        self.ahead.push(it);
        Ok(())
    }

    /// What was said was so, behind the entry that was named.
    fn check(&self, ahead: &Ahead) -> Result<(), String> {
        let Ahead { id: (client, seq), log, conditions, unmet } = ahead;
        let it = format!("request {seq} of client {client}");
        let Unmet { as_of, obstacle } = *unmet;
        let is_the_start = as_of.index == Index::ZERO;
        if !is_the_start && self.model.id_at(as_of.index) != Some(as_of) {
            return Err(format!("{it} was refused as of {as_of}, which is not in the log"));
        }
        match obstacle {
            Obstacle::Fence { present } => {
                let was_so = self.model.fences_within(*log, as_of.index).contains(&present);
                if !was_so || conditions.fence.is_none_or(|named| Some(named) == present) {
                    return Err(format!(
                        "{it} was refused because the fence was {present:?} in {as_of}, and it asks \
                         for {conditions:?}"
                    ));
                }
            }
            Obstacle::Superseded { epoch } => {
                self.check_superseded(&it, conditions, (*client, as_of.index, epoch))?;
            }
            Obstacle::NoProducer => {
                self.check_none(&it, conditions, as_of.index)?;
            }
            Obstacle::TooManyProducers => {
                return Err(format!("{it} was refused by {obstacle:?}, and there are few"));
            }
            Obstacle::NoLog if self.model.has_expired(*log, as_of.index) => {}
            Obstacle::NoLog => self.check_command(&it, unmet, |placed| {
                placed.log == *log && placed.command == Some(Command::Delete)
            })?,
            Obstacle::Closed => {
                self.check_command(&it, unmet, |placed| placed.log == *log && closes(placed))?;
            }
            Obstacle::LogExists { number } => self.check_command(&it, unmet, |placed| {
                placed.log == number && matches!(placed.command, Some(Command::Create(_)))
            })?,
            Obstacle::Repeated { last } => self.check_command(&it, unmet, |placed| {
                placed.log == *log && turn_of(placed).is_some_and(|turn| turn.seq == last)
            })?,
            Obstacle::OutOfTurn { expected: 0 } => {}
            Obstacle::OutOfTurn { expected } => self.check_command(&it, unmet, |placed| {
                placed.log == *log && turn_of(placed).is_some_and(|turn| turn.seq + 1 == expected)
            })?,
            Obstacle::EpochBegins => self.check_command(&it, unmet, |placed| {
                placed.log == *log && turn_of(placed).is_some()
            })?,
            Obstacle::WordNotBehind => self.check_command(&it, unmet, |placed| {
                placed.log == *log && stamp_of(placed).is_some_and(|stamp| stamp.word.is_some())
            })?,
            Obstacle::Trimmed { start } if self.model.has_begun(*log, as_of.index, start) => {}
            Obstacle::Trimmed { start } => {
                return Err(format!(
                    "{it} was refused because log {log} begins at {start}: it does not"
                ));
            }
            Obstacle::TooManyLogs
            | Obstacle::TooManyForks
            | Obstacle::TooManyRevocations
            | Obstacle::MainStays => {
                return Err(format!("{it} was refused by {obstacle:?}, and nobody asks for that"));
            }
            Obstacle::Offset { next } => {
                // It may have ended within the entry: requests that wait together share one.
                let end = self.model.end_within(*log, as_of.index, next);
                // Who expects none wants to trim further than that.
                if end != next || conditions.expect_offset.is_some_and(|expected| expected == end) {
                    return Err(format!(
                        "{it} was refused because the log ends at {next} as of {as_of}, and it ended \
                         at {end}; it asks for {conditions:?}"
                    ));
                }
            }
        }
        Ok(())
    }
}

impl Refusals {
    /// Some command has made it so.
    fn check_command(
        &self,
        it: &str,
        unmet: &Unmet,
        is_meant: impl Fn(&Placed) -> bool,
    ) -> Result<(), String> {
        let through = |placed: &&Placed| placed.entry.index <= unmet.as_of.index;
        if self.model.requests().iter().filter(through).any(is_meant) {
            return Ok(());
        }
        Err(format!(
            "{it} was refused by {:?} as of {}, and nobody did that",
            unmet.obstacle, unmet.as_of
        ))
    }

    /// A producer that was opened so often was opened last by another client.
    fn check_superseded(
        &self,
        it: &str,
        conditions: &Conditions,
        (client, as_of, epoch): (ClientId, Index, u64),
    ) -> Result<(), String> {
        let found = self.producers_within(as_of, conditions.producer);
        let is_so = |state: &Opened| state.epoch == epoch && state.by != client;
        if found.iter().flatten().any(is_so) {
            return Ok(());
        }
        Err(format!("{it} was refused by epoch {epoch}, and it was {found:?} then"))
    }

    /// There was no such producer.
    fn check_none(&self, it: &str, conditions: &Conditions, as_of: Index) -> Result<(), String> {
        let found = self.producers_within(as_of, conditions.producer);
        if found.contains(&None) {
            return Ok(());
        }
        Err(format!("{it} was refused because nobody is a producer, and it was {found:?} then"))
    }

    /// How a producer was within the entry at `index`, before each of its requests and behind the last.
    /// Who would forget one names none in a condition: here all have one name.
    fn producers_within(&self, index: Index, name: Option<ProducerName>) -> Vec<Option<Opened>> {
        let is_meant = |other: &ProducerName| name.is_none_or(|name| name == *other);
        let (mut state, mut within) = (None, vec![]);
        let requests = self.model.requests().iter();
        for placed in requests.take_while(|placed| placed.entry.index <= index) {
            if placed.entry.index == index {
                within.push(state);
            }
            match &placed.command {
                Some(Command::Open(name)) if is_meant(name) => {
                    let epoch = state.map_or(1, |former: Opened| former.epoch + 1);
                    state = Some(Opened { epoch, by: placed.client });
                }
                Some(Command::Forget(name)) if is_meant(name) => state = None,
                _ => {}
            }
        }
        within.push(state);
        within
    }
}

fn closes(placed: &Placed) -> bool {
    match &placed.command {
        Some(Command::Close(_)) => true,
        Some(Command::Create(new)) => new.closed,
        _ => false,
    }
}

fn stamp_of(placed: &Placed) -> Option<&Stamp> {
    placed.command.as_ref()?.stamp()
}

fn turn_of(placed: &Placed) -> Option<&Turn> {
    stamp_of(placed)?.turn.as_ref()
}

/// How a producer stands: how often it was opened, and by whom last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Opened {
    epoch: u64,
    by: ClientId,
}

impl Law for Refusals {
    fn name(&self) -> LawName {
        LawName::Refusals
    }

    fn look(&mut self, moment: &Moment<'_>) -> Result<(), String> {
        match moment.what {
            What::Turn { committed, .. } => self.on_committed(committed),
            What::Asked { client, seq, log, conditions, .. } => {
                let asked = Asked { log, conditions: conditions.clone(), told: self.told };
                self.asked.insert((client, seq), asked);
                Ok(())
            }
            What::Acknowledged { ref appended, .. } => {
                self.told = self.told.max(appended.index);
                Ok(())
            }
            What::Unmet { client, seq, records, unmet } => {
                self.told = self.told.max(unmet.as_of.index);
                self.on_unmet((client, seq), records, unmet)
            }
            What::Finished { whole: true, .. } => match self.ahead.first() {
                Some(it) => self.check(it),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::types::Offset;

    /// A no-op, and an entry with three records behind it.
    fn log() -> Log {
        let mut log = Log::of(&[1]);
        log.records(1, &[(1, 2), (2, 1)]);
        log
    }

    fn asks(law: &mut Refusals, client: u128, expected: u64) {
        let conditions =
            Conditions { expect_offset: Some(Offset::new(expected)), ..Conditions::default() };
        Stage::new().asks(law, client, &conditions, None);
    }

    fn refused(
        law: &mut Refusals,
        client: u128,
        next: u64,
        as_of: (u64, u64),
    ) -> Result<(), String> {
        let (client, seq) = (ClientId::new(client), Seq::FIRST);
        let obstacle = Obstacle::Offset { next: Offset::new(next) };
        let unmet = Unmet { as_of: id(as_of.0, as_of.1), obstacle };
        let records = &[RecordHash::of(b"none")];
        Stage::new().show(law, What::Unmet { client, seq, records, unmet })
    }

    fn law() -> Refusals {
        let mut law = Refusals::default();
        asks(&mut law, 7, 9);
        law
    }

    #[test]
    fn a_refusal_is_compared_with_the_log_before_and_after_its_entry_is_reported() {
        let mut first = law();
        refused(&mut first, 7, 3, (2, 1)).unwrap();
        Stage::new().commits(&mut first, 1, &log().entries).unwrap();
        let mut after = law();
        Stage::new().commits(&mut after, 1, &log().entries).unwrap();
        refused(&mut after, 7, 3, (2, 1)).unwrap();
        asks(&mut after, 7, 9);
        refused(&mut after, 7, 0, (1, 1)).unwrap_err();
    }

    #[test]
    fn a_refusal_by_what_is_not_so_is_found() {
        for (next, as_of, what) in [
            (1, (2, 1), "and it ended at 2"),
            (4, (2, 1), "and it ended at 3"),
            (3, (2, 2), "which is not in the log"),
        ] {
            let mut law = law();
            refused(&mut law, 7, next, as_of).unwrap();
            assert_broken(Stage::new().commits(&mut law, 1, &log().entries), what);
        }
        let mut law = Refusals::default();
        asks(&mut law, 7, 3);
        refused(&mut law, 7, 3, (2, 1)).unwrap();
        assert_broken(Stage::new().commits(&mut law, 1, &log().entries), "it asks for");
    }
}
