//! Who watches how far a log reaches: told when something of that log is committed, and not when
//! something of another one is.

use std::collections::BTreeMap;

use tokio::sync::watch;

use super::inputs::Watched;
use crate::replica::{Reach, Replica};
use crate::types::LogNumber;
use crate::wire::api::ReadRefusal;

/// The logs that somebody reads.
#[derive(Debug, Default)]
pub(super) struct Watches(BTreeMap<LogNumber, watch::Sender<Option<Reach>>>);

impl Watches {
    /// How far a log reaches from now on.
    pub(super) fn watch(
        &mut self,
        replica: &Replica,
        log: LogNumber,
    ) -> Result<Watched, ReadRefusal> {
        let reach = replica.reach(log)?;
        if let Some(sender) = self.0.get(&log) {
            // Whoever comes is told how it is, whatever the others have been told.
            let reach = Some(reach);
            sender.send_if_modified(|told| std::mem::replace(told, reach.clone()) != reach);
            return Ok(sender.subscribe());
        }
        // As many as are being read, and no more.
        self.0.retain(|_, sender| sender.receiver_count() > 0);
        let (sender, receiver) = watch::channel(Some(reach));
        self.0.insert(log, sender);
        Ok(receiver)
    }

    /// Notes that the logs which somebody follows are in use. To be called after each tick.
    pub(super) fn note_use(&self, replica: &mut Replica) {
        for (log, _) in self.0.iter().filter(|(_, sender)| sender.receiver_count() > 0) {
            replica.use_log(*log);
        }
    }

    /// Tells those whose logs have changed.
    pub(super) fn tell(&mut self, replica: &mut Replica) {
        for log in replica.take_changed_logs() {
            if let Some(sender) = self.0.get(&log) {
                sender.send_replace(replica.reach(log).ok());
            }
        }
    }
}
