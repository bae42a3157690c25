//! What ends a process on a simulated disk, and who knows what its store had promised by then.

use super::super::testing::*;
use super::super::*;
use crate::entry::SealedEntry;

/// What ends a process.
#[derive(Clone, Copy, Debug)]
pub(super) enum End {
    Kill,
    LoseAll,
    KeepAll,
    /// Some is kept, some lost, some torn: another choice for each number.
    Some(u64),
}

impl End {
    pub(super) const ALL: [Self; 8] = [
        Self::Kill,
        Self::LoseAll,
        Self::KeepAll,
        Self::Some(1),
        Self::Some(2),
        Self::Some(3),
        Self::Some(4),
        Self::Some(5),
    ];

    pub(super) fn strike(self, disk: &MemoryDisk) {
        match self {
            Self::Kill => disk.restart(),
            Self::LoseAll => disk.power_cut(&mut |_| 0),
            Self::KeepAll => disk.power_cut(&mut |bound| bound - 1),
            Self::Some(seed) => disk.power_cut(&mut choices(seed)),
        }
    }
}

/// A generator of choices.
pub(super) fn choices(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut number = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move |bound| {
        number = number.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (number >> 33) % bound
    }
}

/// Goes through every sequence of choices that there is. Returns how many there are.
pub(super) fn every_choice(mut act: impl FnMut(&mut dyn FnMut(u64) -> u64)) -> u64 {
    let mut path: Vec<(u64, u64)> = vec![];
    for count in 1.. {
        let mut depth = 0;
        act(&mut |bound| {
            if depth == path.len() {
                path.push((0, bound));
            }
            depth += 1;
            path[depth - 1].0
        });
        while path.pop_if(|(answer, bound)| *answer + 1 == *bound).is_some() {}
        match path.last_mut() {
            Some((answer, _)) => *answer += 1,
            None => return count,
        }
    }
    unreachable!("choices end")
}

/// Knows what a store has promised.
#[derive(Clone)]
pub(super) struct Witness {
    /// What was reported to be persisted.
    pub(super) log: Vec<SealedEntry>,
    pub(super) hard_state: HardState,
    /// The write that is under way.
    pub(super) attempt: Option<Write>,
    pub(super) ticket: u64,
    /// What was asked to be given up ends before this entry.
    pub(super) released: u64,
}

impl Witness {
    pub(super) fn new() -> Self {
        let hard_state = HardState::default();
        Self { log: vec![], hard_state, attempt: None, ticket: 0, released: 0 }
    }

    pub(super) fn settle(&mut self) {
        let Some(write) = self.attempt.take() else { return };
        (self.log, self.hard_state) = self.after(&write);
    }

    /// What there is once a write is done.
    fn after(&self, write: &Write) -> (Vec<SealedEntry>, HardState) {
        let mut log = self.log.clone();
        log.truncate(kept_by(write, log.len()));
        log.extend(write.entries.iter().cloned());
        (log, write.hard_state.unwrap_or(self.hard_state))
    }

    /// What was persisted would survive any power cut.
    pub(super) fn check_platter(&self, disk: &MemoryDisk) {
        assert_eq!(disk.durable_last(), index(self.log.len() as u64));
        assert_eq!(disk.durable_hard_state(), self.hard_state);
        for entry in self.log.iter().rev().take(20) {
            let id = entry.id();
            if id.index < disk.durable_first() {
                break;
            }
            assert_eq!(disk.durable_entry(id.index), Some((id, entry.chain())));
        }
    }

    /// The log is what was persisted, or that with the whole write that was under way.
    pub(super) fn check(&self, found: &[SealedEntry], hard_state: HardState) {
        let old = (&self.log[..], self.hard_state);
        let (after, new_state) = self.after(&self.attempt.clone().unwrap_or(nothing()));
        let is_known = [old, (&after[..], new_state)].contains(&(found, hard_state));
        let (length, was, will_be) = (found.len(), self.log.len(), after.len());
        assert!(
            is_known,
            "{length} found, {hard_state:?}: not {was}, {:?}, nor {will_be}, {new_state:?}",
            self.hard_state
        );
    }
}

fn kept_by(write: &Write, length: usize) -> usize {
    let from = write.truncate_from.map_or(length, |from| usize::try_from(from.get() - 1).unwrap());
    from.min(length)
}
