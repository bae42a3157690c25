//! When logs that expire are due, as their leader counts: in ticks, from when it began to lead.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::limits::{EXPIRY_LOOK, EXPIRY_LOOKS_MAX};
use crate::log_settings::Expiry;
use crate::mutants::{self, Mutant};
use crate::types::{LogNumber, Term, Timestamp};

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Deadlines {
    /// The term in which this node leads, and counts.
    pub(super) term: Option<Term>,
    /// Ticks since then.
    pub(super) ticks: u64,
    /// In which of them each log was used last, if it was.
    pub(super) used: BTreeMap<LogNumber, u64>,
    /// In which each is looked at next: not later than it may be due.
    pub(super) looks: BTreeSet<(u64, LogNumber)>,
}

impl Deadlines {
    /// A log expires: it is looked at soon.
    pub(super) fn watch(&mut self, log: LogNumber) {
        self.looks.insert((self.ticks, log));
    }

    /// The logs that are due, of so many that are looked at. `left` says how long a log has, from when it was used last;
    /// nothing, if it does not expire.
    pub(super) fn take_due(
        &mut self,
        tick: Duration,
        left: impl Fn(LogNumber) -> Option<Left>,
    ) -> Vec<LogNumber> {
        let mut due = vec![];
        for _ in 0..EXPIRY_LOOKS_MAX {
            let first = self.looks.first().copied();
            let Some((at, log)) = first.filter(|(at, _)| *at <= self.ticks) else { break };
            self.looks.remove(&(at, log));
            let used = self.used.get(&log).copied().unwrap_or_default();
            let until = match left(log) {
                None => {
                    self.used.remove(&log);
                    continue;
                }
                // A tick may have been about to come, and so counts for nothing.
                Some(Left::Idle(time)) => used + ticks_in(time, tick) + 1,
                Some(Left::Still(time)) => self.ticks + ticks_in(time.min(EXPIRY_LOOK), tick),
            };
            if until > self.ticks {
                self.looks.insert((until, log));
            } else {
                self.used.remove(&log);
                due.push(log);
            }
        }
        due
    }
}

/// How long a log has.
pub(super) enum Left {
    /// So long, from when it was used last.
    Idle(Duration),
    /// So long from now on.
    Still(Duration),
}

impl Left {
    pub(super) fn of(expiry: Expiry, now: Timestamp) -> Self {
        match expiry {
            Expiry::Idle { seconds } if mutants::is_on(Mutant::ExpireEarly) => {
                Self::Idle(Duration::from_secs(seconds) / 3)
            }
            Expiry::Idle { seconds } => Self::Idle(Duration::from_secs(seconds)),
            Expiry::At(time) => {
                Self::Still(Duration::from_millis(time.get().saturating_sub(now.get())))
            }
        }
    }
}

/// Ticks that take so long at least.
fn ticks_in(time: Duration, tick: Duration) -> u64 {
    let ticks = time.as_micros().div_ceil(tick.as_micros().max(1));
    // Nobody waits for so many; and they can be counted on from.
    u64::try_from(ticks).unwrap_or(u64::MAX).min(u64::MAX / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_millis(10);

    fn due(deadlines: &mut Deadlines, ticks: u64, left: Option<Duration>) -> usize {
        deadlines.ticks = ticks;
        deadlines.take_due(TICK, |_| left.map(Left::Idle)).len()
    }

    #[test]
    fn a_log_is_due_when_it_was_not_used_for_so_long_and_not_before() {
        let mut deadlines = Deadlines::default();
        let (log, second) = (LogNumber::new(1), Some(Duration::from_secs(1)));
        deadlines.watch(log);
        assert_eq!(due(&mut deadlines, 1, second), 0);
        assert_eq!(due(&mut deadlines, 60, second), 0);
        deadlines.used.insert(log, 60);
        assert_eq!(due(&mut deadlines, 160, second), 0);
        assert_eq!(due(&mut deadlines, 161, second), 1);
        assert_eq!(due(&mut deadlines, 1000, second), 0, "it was told once");
        deadlines.watch(log);
        assert_eq!(due(&mut deadlines, 1001, None), 0, "it expires no more");
        assert!(deadlines.used.is_empty() && deadlines.looks.is_empty());
    }

    #[test]
    fn many_that_are_due_are_told_in_turn_and_the_longest_time_is_none() {
        let mut deadlines = Deadlines::default();
        let many = u32::try_from(EXPIRY_LOOKS_MAX).unwrap() + 1;
        (0..many).for_each(|log| deadlines.watch(LogNumber::new(log)));
        let soon = Some(Duration::ZERO);
        assert_eq!(due(&mut deadlines, 2, soon), EXPIRY_LOOKS_MAX);
        assert_eq!(due(&mut deadlines, 3, soon), 1);
        // Those that are not due take their turns as well.
        (0..many).for_each(|log| deadlines.watch(LogNumber::new(log)));
        assert_eq!(due(&mut deadlines, 3, Some(Duration::from_hours(1))), 0);
        let waiting = deadlines.looks.iter().filter(|(at, _)| *at == 3).count();
        assert_eq!(waiting, 1, "so many are looked at in one tick");
        assert_eq!(due(&mut deadlines, 3, None), 0);
        deadlines.looks.clear();
        deadlines.watch(LogNumber::new(1));
        assert_eq!(due(&mut deadlines, 4, Some(Duration::MAX)), 0);
        let now = Timestamp::new(5);
        assert!(matches!(
            Left::of(Expiry::At(Timestamp::new(5)), now),
            Left::Still(Duration::ZERO)
        ));
    }
}
