//! Logs that take no records any more.

use std::collections::BTreeMap;

use super::append::AppendError;
use crate::limits::ENDED_LOGS_MAX;
use crate::types::LogNumber;

/// Logs of which it is known that they are closed or gone, which they stay: their numbers are not given
/// again. Those of which it was heard first make room for others.
#[derive(Debug, Default)]
pub(super) struct EndedLogs {
    heard: u64,
    logs: BTreeMap<LogNumber, (u64, AppendError)>,
}

impl EndedLogs {
    /// Why this log takes no records, if that is known.
    pub(super) fn of(&self, log: LogNumber) -> Option<AppendError> {
        self.logs.get(&log).map(|(_, error)| error.clone())
    }

    /// Why an append to this log failed.
    pub(super) fn note(&mut self, log: LogNumber, error: &AppendError) {
        if !matches!(error, AppendError::LogClosed | AppendError::UnknownLog) {
            return;
        }
        self.heard += 1;
        self.logs.insert(log, (self.heard, error.clone()));
        if self.logs.len() > ENDED_LOGS_MAX {
            let oldest = self.logs.iter().min_by_key(|(_, (heard, _))| *heard);
            let oldest = oldest.map(|(log, _)| *log);
            self.logs.retain(|log, _| Some(*log) != oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_closed_or_gone_is_known_and_so_many_of_them() {
        let mut ended = EndedLogs::default();
        let log = |number: usize| LogNumber::new(u32::try_from(number).unwrap());
        ended.note(log(0), &AppendError::Ended);
        assert_eq!(ended.of(log(0)), None);
        for number in 0..=ENDED_LOGS_MAX {
            ended.note(log(number), &AppendError::LogClosed);
        }
        ended.note(log(1), &AppendError::UnknownLog);
        assert_eq!(ended.of(log(0)), None, "it was heard of first");
        assert_eq!(ended.of(log(1)), Some(AppendError::UnknownLog));
        assert_eq!(ended.of(log(ENDED_LOGS_MAX)), Some(AppendError::LogClosed));
    }
}
