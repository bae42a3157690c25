//! Invariant: all that clients saw can be put in one order in which every answer is right, and which
//! contradicts no clock (Herlihy and Wing's linearizability; thesis 6.3 and 6.4).
//!
//! A leader that was deposed and does not know it answers reads from a past that others have left.
//!
//! Judged once, when the run is over, by the history of the clients against the log that the nodes
//! reported: see [`crate::sim::history`].

use super::{Law, LawName, Moment, What};
use crate::sim::history::FinalLog;
use crate::sim::model::Model;
use crate::types::LogNumber;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Linearizable {
    model: Model,
}

impl Law for Linearizable {
    fn name(&self) -> LawName {
        LawName::Linearizable
    }

    fn look(&mut self, moment: &Moment<'_>) -> Result<(), String> {
        match moment.what {
            What::Turn { committed, .. } => {
                // What is wrong with the log itself is another law's to say.
                let _ = self.model.catch_up(committed);
                Ok(())
            }
            What::Finished { history, whole } => {
                // What appends nothing shows nothing, and other logs are another law's to judge.
                let all = self.model.requests().iter();
                let of_main = all.filter(|placed| placed.log == LogNumber::MAIN);
                let appends = of_main.filter(|placed| placed.command.is_none());
                let requests: Vec<_> = appends.cloned().collect();
                let log = FinalLog { requests: &requests, whole };
                history.check(log).map_err(|anomaly| anomaly.to_string())
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::testing::*;
    use super::*;
    use crate::sim::history::{History, TailSeen};
    use crate::sim::model::RecordHash;
    use crate::types::{ClientId, Offset, Seq};

    #[test]
    fn a_look_at_the_end_that_misses_what_was_seen_before_is_found() {
        let (mut log, mut law) = (Log::of(&[1]), Linearizable::default());
        log.records(1, &[(1, 2)]);
        Stage::new().commits(&mut law, 1, &log.entries).unwrap();
        let mut history = History::default();
        let records: Vec<Bytes> = request(1, 1, 0, 2, "").records;
        history.append(1, (ClientId::new(1), Seq::FIRST), RecordHash::of_all(&records));
        let look = |history: &mut History, invoked, end| {
            let (returned, end) = (invoked + 1, Offset::new(end));
            let linearizable = true;
            history.tail(TailSeen { invoked, returned, session: None, linearizable, end });
        };
        let mut finish = |history: &History, whole| {
            Stage::new().show(&mut law, What::Finished { history, whole })
        };
        look(&mut history, 2, 0);
        look(&mut history, 4, 2);
        finish(&history, true).unwrap();
        let mut early = history.clone();
        look(&mut early, 6, 0);
        assert_broken(finish(&early, true), "C: a look at the end");
        look(&mut history, 6, 4);
        assert_broken(finish(&history, true), "A5: a look at the end");
        finish(&history, false).unwrap();
    }
}
