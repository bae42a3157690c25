//! The registry of the simulation: the production table and the production map, on a disk that
//! takes a moment, loses, tears and fails.

use std::collections::VecDeque;

use super::queue::Asker;
use crate::registry::{LeaderTable, Row};
use crate::store::{DiskMap, MemoryDisk, StoreError};
use crate::types::ClusterId;
use crate::wire::registry::{Announcement, Answer, Question, Refusal};

/// An announcement that waits.
#[derive(Debug)]
struct Pending {
    cluster: ClusterId,
    current: Announcement,
    history: Vec<Announcement>,
}

/// What its process has.
#[derive(Debug)]
struct Process {
    rows_on_disk: DiskMap,
    /// What it knows: what is on its disk, and nothing else.
    table: LeaderTable,
    /// Announcements whose turn has not come, in order: one at a time is judged and stored.
    pending: VecDeque<(Asker, Pending)>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Registrar {
    pub(super) disk: MemoryDisk,
    /// `None` while it is down.
    process: Option<Process>,
    /// Counts its starts.
    pub(super) start: u64,
}

impl Registrar {
    /// Starts with what is on its disk.
    ///
    /// # Errors
    /// Its disk refuses, or does not hold what it promised.
    pub(super) fn start(&mut self) -> Result<(), StoreError> {
        self.start += 1;
        self.disk.restart();
        let rows_on_disk = DiskMap::open_in(&self.disk)?;
        let mut table = LeaderTable::default();
        for (key, value) in rows_on_disk.scan()? {
            table.insert(Row::decode(&key, &value).expect("a row of this program"));
        }
        self.process = Some(Process { rows_on_disk, table, pending: VecDeque::new() });
        Ok(())
    }

    pub(super) fn is_up(&self) -> bool {
        self.process.is_some()
    }

    /// Its process is killed. What its disk was doing is done in part: so many operations of it.
    pub(super) fn kill(&mut self, operations: u64) {
        self.disk.fail_after(operations);
        // However far it got, nobody is left to hear of it.
        let _ = self.store_next();
        self.process = None;
    }

    /// Answers a question at once, or, where its disk comes first, notes it down. Says whether the
    /// disk has something to do.
    pub(super) fn ask(&mut self, asker: Asker, question: Question) -> (Option<Answer>, bool) {
        let Some(Process { table, pending, .. }) = &mut self.process else { return (None, false) };
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
                pending.push_back((asker, Pending { cluster, current, history }));
                (None, true)
            }
        }
    }

    /// The disk does what the oldest announcement asks of it: who is to be answered what.
    ///
    /// # Errors
    /// It cannot. Then nothing is answered, and the process ends, as in production.
    pub(super) fn store_next(&mut self) -> Result<Option<(Asker, Answer)>, StoreError> {
        let Some(Process { rows_on_disk, table, pending }) = &mut self.process else {
            return Ok(None);
        };
        let Some((asker, announced)) = pending.pop_front() else { return Ok(None) };
        let Pending { cluster, current, history } = announced;
        let verdict = table.judge(cluster, &current, &history);
        if !verdict.rows.is_empty() {
            let rows: Vec<_> = verdict.rows.iter().map(Row::encode).collect();
            if let Err(error) = rows_on_disk.put_all(&rows) {
                self.process = None;
                return Err(error);
            }
            verdict.rows.into_iter().for_each(|row| table.insert(row));
        }
        let answer = verdict.answer.map_or_else(Answer::Refused, |()| Answer::Announced);
        Ok(Some((asker, answer)))
    }

    /// Who led last, as it says.
    pub(super) fn leader(&self, cluster: ClusterId) -> Option<&Announcement> {
        self.process.as_ref()?.table.leader(cluster)
    }
}
