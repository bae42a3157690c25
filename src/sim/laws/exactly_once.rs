//! Invariant: a request is in the log at most once, where every acknowledgement of it says it is, in
//! the order in which its client numbered it; one that was refused for certain is never in it
//! (thesis 6.3).
//!
//! A client that hears nothing asks again, elsewhere. Without this law that doubles its records, or
//! tells it of records that are not there.
//!
//! Judged by the reference model, which is fed by whichever node is furthest, and by all that
//! clients were told. An acknowledgement can come before anybody has reported its entry: it is
//! looked up when that is.

use std::collections::{BTreeMap, BTreeSet};

use super::{Law, LawName, Moment, What};
use crate::entry::SealedEntry;
use crate::sim::model::Model;
use crate::types::{ClientId, Index, LogId, Seq};
use crate::wire::api::Appended;

/// A request.
type RequestId = (ClientId, Seq);

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct ExactlyOnce {
    model: Model,
    acknowledged: BTreeMap<RequestId, Appended>,
    rejected: BTreeSet<RequestId>,
    /// Acknowledged requests whose entry was not reported yet.
    ahead: BTreeSet<(Index, RequestId)>,
}

impl ExactlyOnce {
    fn on_committed(&mut self, committed: &[SealedEntry]) -> Result<(), String> {
        let known = self.model.requests().len();
        self.model.catch_up(committed)?;
        for placed in self.model.requests().iter().skip(known) {
            let (client, seq) = (placed.client, placed.seq);
            if self.rejected.contains(&(client, seq)) {
                return Err(format!(
                    "request {seq} of client {client} was refused for certain, and is in {}",
                    placed.entry
                ));
            }
        }
        while let Some((index, id)) = self.ahead.first().copied()
            && index <= self.model.applied()
        {
            self.ahead.remove(&(index, id));
            self.check_place(id, &self.acknowledged[&id])?;
        }
        Ok(())
    }

    fn on_acknowledged(&mut self, id: RequestId, appended: &Appended) -> Result<(), String> {
        let (client, seq) = id;
        if self.rejected.contains(&id) {
            return Err(format!(
                "request {seq} of client {client} was refused for certain, and then acknowledged"
            ));
        }
        let first = *self.acknowledged.entry(id).or_insert(*appended);
        if place(&first) != place(appended) {
            return Err(format!(
                "request {seq} of client {client} was acknowledged at offset {} and at offset {}",
                first.offset, appended.offset
            ));
        }
        if appended.index > self.model.applied() {
            self.ahead.insert((appended.index, id));
            return Ok(());
        }
        self.check_place(id, appended)
    }

    /// What was acknowledged is where that said.
    fn check_place(&self, id: RequestId, appended: &Appended) -> Result<(), String> {
        let (client, seq) = id;
        let Some(placed) = self.model.find(client, seq) else {
            return Err(format!(
                "request {seq} of client {client} was acknowledged in entry {}, and is not in the \
                 log up to {}",
                appended.index,
                self.model.applied()
            ));
        };
        let found = (placed.entry, placed.offset, placed.count());
        if found == place(appended) {
            return Ok(());
        }
        Err(format!(
            "request {seq} of client {client} was acknowledged at offset {} in {}, and is at \
             offset {} in {}",
            appended.offset,
            LogId::new(appended.index, appended.term),
            placed.offset,
            placed.entry
        ))
    }

    /// All that was committed has been reported.
    fn on_whole(&self) -> Result<(), String> {
        self.ahead.first().map_or(Ok(()), |(_, id)| self.check_place(*id, &self.acknowledged[id]))
    }

    fn on_rejected(&mut self, id: RequestId) -> Result<(), String> {
        self.rejected.insert(id);
        let (client, seq) = id;
        let entry = self.model.find(client, seq).map(|placed| placed.entry.index);
        match entry.or(self.acknowledged.get(&id).map(|appended| appended.index)) {
            None => Ok(()),
            Some(index) => Err(format!(
                "request {seq} of client {client} is in entry {index}, and was refused for certain"
            )),
        }
    }
}

fn place(appended: &Appended) -> (LogId, crate::types::Offset, u64) {
    let entry = LogId::new(appended.index, appended.term);
    (entry, appended.offset, u64::from(appended.count))
}

impl Law for ExactlyOnce {
    fn name(&self) -> LawName {
        LawName::ExactlyOnce
    }

    fn look(&mut self, moment: &Moment<'_>) -> Result<(), String> {
        match moment.what {
            What::Turn { committed, .. } => self.on_committed(committed),
            What::Acknowledged { client, seq, ref appended } => {
                self.on_acknowledged((client, seq), appended)
            }
            What::Rejected { client, seq } => self.on_rejected((client, seq)),
            What::Finished { whole: true, .. } => self.on_whole(),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::types::{Offset, Term};

    /// A no-op, then an entry with one request of two records and one of one.
    fn log() -> Log {
        let mut log = Log::of(&[1]);
        log.records(1, &[(1, 2), (2, 1)]);
        log
    }

    fn told(law: &mut ExactlyOnce, client: u128, at: (u64, u32, u64)) -> Result<(), String> {
        let (offset, count, index) = at;
        let appended = Appended {
            offset: Offset::new(offset),
            count,
            term: Term::new(1),
            index: Index::new(index),
            leader: node(1),
        };
        let (client, seq) = (ClientId::new(client), Seq::FIRST);
        Stage::new().show(law, What::Acknowledged { client, seq, appended })
    }

    fn refused(law: &mut ExactlyOnce, client: u128) -> Result<(), String> {
        let (client, seq) = (ClientId::new(client), Seq::FIRST);
        Stage::new().show(law, What::Rejected { client, seq })
    }

    fn commits(law: &mut ExactlyOnce, entries: &[SealedEntry]) -> Result<(), String> {
        Stage::new().commits(law, 1, entries)
    }

    #[test]
    fn acknowledgements_before_and_after_the_entry_is_reported_are_compared_with_it() {
        let mut law = ExactlyOnce::default();
        told(&mut law, 1, (0, 2, 2)).unwrap();
        commits(&mut law, &log().entries).unwrap();
        told(&mut law, 1, (0, 2, 2)).unwrap();
        told(&mut law, 2, (2, 1, 2)).unwrap();
        refused(&mut law, 3).unwrap();
    }

    #[test]
    fn an_acknowledgement_of_another_place_is_found() {
        for wrong in [(1, 1, 2), (2, 2, 2)] {
            let mut law = ExactlyOnce::default();
            commits(&mut law, &log().entries).unwrap();
            assert_broken(told(&mut law, 2, wrong), "and is at offset 2 in 2@1");
            let mut law = ExactlyOnce::default();
            told(&mut law, 2, wrong).unwrap();
            assert_broken(commits(&mut law, &log().entries), "and is at offset 2 in 2@1");
        }
    }

    #[test]
    fn an_acknowledgement_of_nothing_is_found() {
        let mut law = ExactlyOnce::default();
        commits(&mut law, &log().entries).unwrap();
        assert_broken(told(&mut law, 3, (0, 1, 2)), "and is not in the log up to 2");
        let mut law = ExactlyOnce::default();
        told(&mut law, 3, (0, 1, 2)).unwrap();
        commits(&mut law, &log().entries[..1]).unwrap();
        assert_broken(commits(&mut law, &log().entries[1..]), "and is not in the log up to 2");
    }

    #[test]
    fn an_acknowledgement_beyond_the_end_of_the_log_is_found_when_that_is_known() {
        let mut law = ExactlyOnce::default();
        let finish = |law: &mut ExactlyOnce, whole| {
            let history = &crate::sim::history::History::default();
            Stage::new().show(law, What::Finished { history, whole })
        };
        commits(&mut law, &log().entries).unwrap();
        told(&mut law, 1, (0, 2, 2)).unwrap();
        finish(&mut law, true).unwrap();
        told(&mut law, 3, (3, 1, 3)).unwrap();
        finish(&mut law, false).unwrap();
        assert_broken(finish(&mut law, true), "acknowledged in entry 3, and is not in the log");
    }

    #[test]
    fn two_acknowledgements_that_differ_are_found() {
        let mut law = ExactlyOnce::default();
        told(&mut law, 1, (0, 2, 2)).unwrap();
        let second = told(&mut law, 1, (5, 2, 2));
        assert_broken(second, "was acknowledged at offset 0 and at offset 5");
    }

    #[test]
    fn a_refused_request_in_the_log_is_found_whichever_comes_first() {
        let mut law = ExactlyOnce::default();
        refused(&mut law, 2).unwrap();
        assert_broken(commits(&mut law, &log().entries), "was refused for certain, and is in 2@1");
        let mut law = ExactlyOnce::default();
        commits(&mut law, &log().entries).unwrap();
        assert_broken(refused(&mut law, 2), "is in entry 2, and was refused for certain");
        let mut law = ExactlyOnce::default();
        told(&mut law, 2, (2, 1, 2)).unwrap();
        assert_broken(refused(&mut law, 2), "is in entry 2, and was refused for certain");
        let mut law = ExactlyOnce::default();
        refused(&mut law, 2).unwrap();
        assert_broken(told(&mut law, 2, (2, 1, 2)), "refused for certain, and then acknowledged");
    }

    #[test]
    fn what_the_model_finds_is_passed_on() {
        let mut law = ExactlyOnce::default();
        let mut log = log();
        log.requests(1, &[request(2, 1, 3, 1, "")]);
        assert_broken(commits(&mut law, &log.entries), "in entry 3@1 is in entry 2@1 already");
    }
}
