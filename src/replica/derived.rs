//! What the entries of a log come to, one after the other, where all of them count: for whoever reads a log
//! that no node runs on. The same parts that a running node has say it.

use super::border::RecoverError;
use super::incoming::{self, Contents};
use super::rolling::Rolling;
use super::state::State;
use super::tail::Tail;
use crate::entry::{EntryKind, SealedEntry, TermStart, Tip};
use crate::limits;
use crate::store::Head;

/// See the module.
#[derive(Debug)]
pub struct Derived {
    tip: Tip,
    terms: Vec<TermStart>,
    tail: Tail,
    rolling: Rolling,
}

impl Derived {
    /// Begins with a head. Segments have `segment_bytes`.
    ///
    /// # Errors
    /// [`RecoverError::Table`] if the head is not of its form.
    pub fn of(head: &Head, segment_bytes: u64) -> Result<Self, RecoverError> {
        let state = State::decode(&head.sessions).map_err(|_| RecoverError::Table)?;
        let last = head.tip.id.index;
        let offsets = head.next_offsets.iter().copied().collect();
        Ok(Self {
            tip: head.tip,
            terms: head.terms.clone(),
            tail: Tail::new((last, state), offsets, limits::SESSIONS_MAX),
            rolling: Rolling::new(last, head.configuration.clone(), segment_bytes),
        })
    }

    /// Takes the next entry. Says whether a segment ends with it.
    ///
    /// # Errors
    /// [`RecoverError::Entry`] if it does not follow on the one before, or is not of its form. Nothing of it
    /// was taken.
    pub fn take(&mut self, entry: &SealedEntry) -> Result<bool, RecoverError> {
        let bad = || RecoverError::Entry { id: entry.id() };
        entry.check_follows(&self.tip).map_err(|_| bad())?;
        let contents = Contents::of(entry).map_err(|_| bad())?;
        let info = incoming::info(entry).map_err(|_| bad())?;
        let start = contents.term_start(entry);
        let is_new =
            |start: &TermStart| self.terms.last().is_none_or(|last| last.term < start.term);
        if start.as_ref().is_some_and(|start| !is_new(start))
            || !self.tail.continues(&contents.runs)
        {
            return Err(bad());
        }
        self.terms.extend(start);
        if entry.kind() == EntryKind::Configuration {
            self.rolling.push_configuration(info.configuration.ok_or_else(bad)?);
        }
        let index = entry.id().index;
        self.tail.push((index, entry.time()), contents.runs, contents.housekeeping);
        self.tail.commit(index);
        let is_last = self.rolling.push(entry.bytes().len());
        self.rolling.commit(index);
        self.tip = entry.tip();
        Ok(is_last)
    }

    /// The head of a segment that begins behind the last entry.
    pub fn head(&self) -> Head {
        Head {
            tip: self.tip,
            next_offsets: self.tail.offsets(),
            configuration: self.rolling.configuration().clone(),
            terms: self.terms.clone(),
            sessions: self.tail.state_with_tail().encode().into(),
        }
    }

    /// The last entry.
    pub fn tip(&self) -> Tip {
        self.tip
    }

    /// How many logs there are behind the last entry.
    pub fn logs(&self) -> usize {
        self.tail.committed_guards().catalogue.len()
    }
}
