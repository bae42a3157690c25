//! Invariant: the records of a named producer are in the log in the order of their numbers, without a gap
//! and without a double, whichever of its processes have appended them.
//!
//! Once it was forgotten, its records are counted anew, and no process of before appends any more.
//!
//! A program that crashed goes on where it was, and knows neither what of its last words arrived nor
//! whether its former process really ended.
//!
//! Judged by what clients say of the numbers of their records, and by the reference model.

use std::collections::BTreeMap;

use super::{Law, LawName, Moment, What};
use crate::command::Command;
use crate::entry::SealedEntry;
use crate::label::ProducerName;
use crate::sim::model::Model;
use crate::types::{ClientId, Seq};

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Producers {
    model: Model,
    /// Whose record is the first of each request, and which number it has.
    asked: BTreeMap<(ClientId, Seq), (ProducerName, u64)>,
    /// The last number of each that is in the log.
    last: BTreeMap<ProducerName, u64>,
}

impl Producers {
    fn on_committed(&mut self, committed: &[SealedEntry]) -> Result<(), String> {
        let known = self.model.requests().len();
        self.model.catch_up(committed)?;
        for placed in self.model.requests().iter().skip(known) {
            if let Some(Command::Forget(name)) = &placed.command {
                // Whoever is it next begins with the first.
                self.last.remove(name);
            }
            let asked = self.asked.get(&(placed.client, placed.seq));
            let Some((name, first)) = asked else { continue };
            let last = self.last.entry(*name).or_default();
            if *first != *last + 1 {
                return Err(format!(
                    "record {first} of producer {name} is in {}, after record {last}",
                    placed.entry
                ));
            }
            *last += placed.count();
        }
        Ok(())
    }
}

impl Law for Producers {
    fn name(&self) -> LawName {
        LawName::Producers
    }

    fn look(&mut self, moment: &Moment<'_>) -> Result<(), String> {
        match moment.what {
            What::Turn { committed, .. } => self.on_committed(committed),
            What::Asked { client, seq, conditions, sequence, .. } => {
                match conditions.producer.zip(sequence) {
                    Some(it) => self.asked.insert((client, seq), it),
                    None => self.asked.remove(&(client, seq)),
                };
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::entry::Request;
    use crate::wire::conditions::Conditions;

    /// A client asks for records of the producer from this number on.
    fn asks(law: &mut Producers, client: u128, first: u64) {
        let conditions = Conditions { producer: "p".parse().ok(), ..Conditions::default() };
        Stage::new().asks(law, client, &conditions, Some(first));
    }

    /// One client asks for records from the first on, another from this number on, and the log has these.
    fn check(log: &Log, number: u64, found: Option<&str>) {
        let mut law = Producers::default();
        asks(&mut law, 1, 1);
        asks(&mut law, 2, number);
        let commits = Stage::new().commits(&mut law, 1, &log.entries);
        match found {
            None => commits.unwrap(),
            Some(words) => assert_broken(commits, words),
        }
    }

    #[test]
    fn gaps_and_doubles_are_found_whoever_appends() {
        let mut log = Log::of(&[1]);
        log.records(1, &[(1, 2), (2, 1)]);
        for (second, found) in [
            (3, None),
            (2, Some("record 2 of producer p is in 2@1, after record 2")),
            (4, Some("record 4")),
        ] {
            check(&log, second, found);
        }
    }

    #[test]
    fn what_goes_on_behind_its_end_is_found() {
        let forget = Request {
            records: vec![],
            command: "p".parse().ok().map(Command::Forget),
            ..request(3, 1, 2, 0, "")
        };
        let mut log = Log::of(&[1]);
        log.requests(1, &[request(1, 1, 0, 2, ""), forget]);
        log.requests(1, &[request(2, 1, 2, 1, "")]);
        for (first, found) in
            [(1, None), (3, Some("record 3 of producer p is in 3@1, after record 0"))]
        {
            check(&log, first, found);
        }
    }
}
