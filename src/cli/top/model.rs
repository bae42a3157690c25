//! What the screen shows, from all that was answered so far.

use std::collections::VecDeque;

use tokio::time::Instant;

use super::news;
use crate::cli::logs::time_now;
use crate::client::Status;

/// How many rates are kept: more than the widest terminal has columns.
const RATES_MAX: usize = 512;
/// How many events are kept: more than the highest terminal has rows.
const EVENTS_MAX: usize = 200;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Model {
    /// The last answers.
    pub(super) status: Option<Status>,
    /// Records a second, the newest first. Where nothing is known, nothing was appended.
    pub(super) rates: VecDeque<u64>,
    /// What has happened and at what time of day, the newest first.
    pub(super) events: VecDeque<(String, String)>,
    /// Where the log ended, and when.
    end: Option<(Instant, u64)>,
}

impl Model {
    /// Everybody has answered, or has had time to.
    pub(super) fn note(&mut self, status: Status, now: Instant) {
        let time = time_of_day(&time_now());
        for sentence in news::between(self.status.as_ref(), &status) {
            self.events.push_front((time.clone(), sentence));
        }
        self.events.truncate(EVENTS_MAX);
        let rate = self.rate(&status, now);
        self.rates.push_front(rate.unwrap_or(0));
        self.rates.truncate(RATES_MAX);
        self.status = Some(status);
    }

    /// How many records a second there were since the last time that a leader could tell.
    fn rate(&mut self, status: &Status, now: Instant) -> Option<u64> {
        let end = status.next_offset()?.get();
        let (then, before) = self.end.replace((now, end))?;
        let milliseconds = u64::try_from((now - then).as_millis()).ok()?.max(1);
        Some(end.saturating_sub(before).saturating_mul(1000) / milliseconds)
    }
}

/// Hours, minutes and seconds of a time as log lines have it.
fn time_of_day(time: &str) -> String {
    time.get(11..19).unwrap_or_default().to_owned()
}

#[cfg(test)]
pub(super) mod testing {
    use crate::client::{AskError, Leading, NodeStatus, Role, Status, Vitals, Welcome};
    use crate::types::{ClusterId, Incarnation, Index, NodeId, Offset, Term};

    pub(crate) fn n(number: u16) -> NodeId {
        NodeId::new(number).unwrap()
    }

    /// Three nodes of which one leads, or none, with so many records.
    pub(crate) fn status(leader: Option<u16>, term: u64, records: u64) -> Status {
        let node = |number: u16| {
            let leads = leader == Some(number);
            let said = Welcome {
                cluster: ClusterId::new(1),
                node: n(number),
                incarnation: Incarnation::new(1),
                role: if leads { Role::Leader } else { Role::Follower },
                term: Term::new(term),
                leader: leader.map(n),
                ready: leads,
                last_index: Index::new(records + 1),
                commit_index: Index::new(records + 1),
                next_offset: Offset::new(records),
                disk_full: None,
                log_ahead_ms: 0,
                nodes: vec![],
                vitals: Vitals { uptime_ms: 61_000, ..Vitals::default() },
            };
            let address = format!("127.0.0.1:710{number}").parse().unwrap();
            NodeStatus { node: n(number), address, said: Ok(said) }
        };
        Status {
            cluster: ClusterId::new(1),
            leader: leader.map(|leader| Leading { term: Term::new(term), node: n(leader) }),
            nodes: (1..=3).map(node).collect(),
            registry: None,
            unavailable: None,
        }
    }

    /// The same, with one that does not answer.
    pub(crate) fn unreachable(mut status: Status, node: u16) -> Status {
        let lost = status.nodes.iter_mut().find(|known| known.node == n(node)).unwrap();
        lost.said = Err(AskError::NoAddress { node: n(node) });
        status
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::testing::status;
    use super::*;

    #[test]
    fn a_rate_is_reckoned_over_the_time_in_which_nobody_could_tell() {
        let mut model = Model::default();
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        model.note(status(Some(1), 1, 100), at(0));
        model.note(status(Some(1), 1, 600), at(1));
        model.note(status(None, 2, 0), at(2));
        model.note(status(Some(2), 2, 1_000), at(3));
        assert_eq!(model.rates, [200, 0, 500, 0]);
        assert_eq!(model.events.len(), 3, "{:?}", model.events);
        for _ in 0..2 * RATES_MAX {
            model.note(status(Some(2), 2, 1_000), at(4));
        }
        assert_eq!(model.rates.len(), RATES_MAX);
    }

    #[test]
    fn a_time_of_day_is_cut_out_of_a_time() {
        assert_eq!(time_of_day("2026-11-29T23:28:19.591Z"), "23:28:19");
    }
}
