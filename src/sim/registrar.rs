//! The registry of the simulation: the production table, and a disk that takes a moment.

use std::collections::VecDeque;

use super::queue::Asker;
use crate::registry::{Row, Table};
use crate::types::ClusterId;
use crate::wire::registry::{Announcement, Answer, Question, Refusal};

/// An announcement that waits.
#[derive(Debug)]
struct Pending {
    cluster: ClusterId,
    current: Announcement,
    history: Vec<Announcement>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Registrar {
    /// What would survive a power cut.
    durable: Vec<Row>,
    /// What it knows; `None` while it is down.
    table: Option<Table>,
    /// Announcements whose turn has not come, in order: one at a time is judged and stored.
    pending: VecDeque<(Asker, Pending)>,
    /// Counts its starts.
    pub(super) start: u64,
}

impl Registrar {
    /// Starts with what is on its disk.
    pub(super) fn start(&mut self) {
        let mut table = Table::default();
        self.durable.iter().cloned().for_each(|row| table.insert(row));
        self.table = Some(table);
        self.start += 1;
    }

    /// It is killed, and the power fails: what was not synced is gone.
    pub(super) fn crash(&mut self) {
        self.table = None;
        self.pending.clear();
    }

    /// Answers a question at once, or, where its disk comes first, notes it down. Says whether the
    /// disk has something to do.
    pub(super) fn ask(&mut self, asker: Asker, question: Question) -> (Option<Answer>, bool) {
        let Some(table) = &self.table else { return (None, false) };
        match question {
            Question::Known { cluster } => (Some(Answer::Known(table.known(cluster))), false),
            Question::Terms { cluster, after } => {
                (Some(Answer::Terms(table.page(cluster, after))), false)
            }
            Question::Leader { cluster } => {
                (Some(Answer::Terms(table.leader(cluster).cloned().into_iter().collect())), false)
            }
            // No admin is simulated.
            Question::Forget { .. } => (Some(Answer::Refused(Refusal::NotAllowed)), false),
            Question::Announce { cluster, current, history } => {
                self.pending.push_back((asker, Pending { cluster, current, history }));
                (None, true)
            }
        }
    }

    /// The disk is done with the oldest announcement: who is to be answered what.
    pub(super) fn synced(&mut self) -> Option<(Asker, Answer)> {
        let table = self.table.as_mut()?;
        let (asker, Pending { cluster, current, history }) = self.pending.pop_front()?;
        let verdict = table.judge(cluster, &current, &history);
        for row in verdict.rows {
            // As it stands on the disk: what cannot be read back is a bug of the table.
            let (key, value) = row.encode();
            let row = Row::decode(&key, &value).expect("a row that was just encoded");
            self.durable.push(row.clone());
            table.insert(row);
        }
        let answer = verdict.answer.map_or_else(Answer::Refused, |()| Answer::Announced);
        Some((asker, answer))
    }

    /// Who led last, as it says.
    pub(super) fn leader(&self, cluster: ClusterId) -> Option<&Announcement> {
        self.table.as_ref()?.leader(cluster)
    }
}
