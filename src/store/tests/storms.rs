//! Many lives of one store, each ended by something that a disk does.

use super::super::testing::*;
use super::super::*;
use super::witness::{End, Witness, choices};
use crate::entry::{SealedEntry, Tip};

/// A store, what it holds, and what the cluster has decided that it should hold.
struct Storm<C> {
    disk: MemoryDisk,
    choose: C,
    witness: Witness,
    /// What is committed: it may be longer than the log, and other than its end.
    committed: Vec<SealedEntry>,
    /// Where segments of the log end, as its replica would know.
    heads: Vec<Head>,
    ends: u64,
}

impl<C: FnMut(u64) -> u64> Storm<C> {
    fn new(choose: C) -> Self {
        let disk = MemoryDisk::new();
        create_in(&disk, IDENTITY, &configuration(), &small()).unwrap();
        Self { disk, choose, witness: Witness::new(), committed: vec![], heads: vec![], ends: 0 }
    }

    fn one_in(&mut self, count: u64) -> bool {
        (self.choose)(count) == 0
    }

    /// One process, from its start to whatever ends it.
    fn live(&mut self) {
        if self.one_in(3) {
            let operations = (self.choose)(60);
            self.disk.fail_after(operations);
        }
        if let Ok(writer) = self.start() {
            self.arm();
            let outcome = self.work(writer);
            if let Err(error) = outcome {
                assert!(!error.is_damage(), "{error}");
                self.ends += 1;
            }
        }
        self.disk.make_room();
        match (self.choose)(4) {
            0 => End::Kill.strike(&self.disk),
            1 => End::LoseAll.strike(&self.disk),
            2 => End::KeepAll.strike(&self.disk),
            _ => self.disk.power_cut(&mut self.choose),
        }
    }

    /// Chooses what this life will end with.
    fn arm(&mut self) {
        match (self.choose)(5) {
            0 => self.disk.fail_sync_once(),
            1 => (),
            _ => {
                let operations = (self.choose)(150);
                self.disk.fail_after(operations);
            }
        }
    }

    fn start(&mut self) -> Result<SteppedWriter, StoreError> {
        let (store, recovered) = match open_in(&self.disk, IDENTITY, small()) {
            Err(error) if error.is_damage() => panic!("{error}"),
            found => found?,
        };
        let reader = store.reader();
        let found = match reader.entries(index(1), index(u64::MAX), usize::MAX) {
            Err(ReadError::Store(error)) if !error.is_damage() => return Err(error),
            found => found.unwrap(),
        };
        self.witness.check(&found, recovered.hard_state);
        let hint = usize::try_from(recovered.commit_index.get()).unwrap();
        assert!(self.committed.starts_with(&found[..hint]), "{hint} is no commit index");
        let hard_state = recovered.hard_state;
        self.witness = Witness { log: found, hard_state, attempt: None, ..self.witness.clone() };
        self.witness.check_platter(&self.disk);
        let mut writer = store.into_stepped_writer();
        self.tell_heads(&recovered.head, &mut writer)?;
        Ok(writer)
    }

    /// A start has forgotten where those segments end that are not sealed.
    fn tell_heads(&mut self, oldest: &Head, writer: &mut SteppedWriter) -> Result<(), StoreError> {
        let found = &self.witness.log;
        let is_there = |head: &Head| found.iter().any(|entry| entry.tip() == head.tip);
        let behind = |head: &Head| head.tip.id.index > oldest.tip.id.index;
        self.heads.retain(|head| is_there(head) && behind(head));
        let told = self.heads.clone();
        if oldest.tip != Tip::default() {
            self.heads.insert(0, oldest.clone());
        }
        self.perform(writer, vec![Write { heads: told, ..nothing() }])
    }

    fn work(&mut self, mut writer: SteppedWriter) -> Result<(), StoreError> {
        for _ in 0..(self.choose)(40) {
            match (self.choose)(12) {
                0 => writer.keep_up()?,
                10 => drop(writer.begin_chore()),
                11 => writer.finish_chore()?,
                1 => {
                    let known = self.common().min(self.witness.log.len());
                    writer.committed(index(known as u64))?;
                }
                2 if self.one_in(4) => self.disk.leave_room(0),
                _ => self.write(&mut writer)?,
            }
        }
        if self.one_in(2) { writer.close() } else { Ok(()) }
    }

    /// How much of the log is committed.
    fn common(&self) -> usize {
        let pairs = self.witness.log.iter().zip(&self.committed);
        pairs.take_while(|(entry, committed)| entry == committed).count()
    }

    /// Writes of one group.
    fn write(&mut self, writer: &mut SteppedWriter) -> Result<(), StoreError> {
        let mut log = Log { heads: self.heads.clone(), ..Log::of(&self.witness.log) };
        let mut group = vec![self.next_write(&mut log, true)];
        // What the next says of term and vote rests on this one.
        while self.one_in(3) && group.last().unwrap().hard_state.is_none() {
            group.push(self.next_write(&mut log, false));
        }
        self.perform(writer, group)?;
        self.heads = log.heads;
        Ok(())
    }

    fn perform(&mut self, writer: &mut SteppedWriter, group: Vec<Write>) -> Result<(), StoreError> {
        let mut whole = Write { truncate_from: group[0].truncate_from, ..nothing() };
        for write in group {
            whole.entries.extend(write.entries.clone());
            whole.hard_state = write.hard_state.or(whole.hard_state);
            self.witness.ticket += 1;
            writer.write(Write { ticket: Ticket::new(self.witness.ticket), ..write });
        }
        self.witness.attempt = Some(whole);
        assert!(writer.begin());
        if writer.finish()?.is_some() {
            self.witness.settle();
            self.witness.check_platter(&self.disk);
        }
        Ok(())
    }

    fn next_write(&mut self, log: &mut Log, is_first: bool) -> Write {
        let mut write = nothing();
        let common = log.entries.iter().zip(&self.committed).take_while(|(a, b)| a == b).count();
        let is_behind = common < self.committed.len();
        if is_first && (is_behind && common < log.entries.len() || self.one_in(4)) {
            let spare = (log.entries.len() - common) as u64;
            let keep = if is_behind { 0 } else { (self.choose)(spare + 1) };
            let from = index(common as u64 + keep + 1);
            log.truncate(from);
            write.truncate_from = Some(from);
        }
        for _ in 0..(self.choose)(4) {
            let next = log.entries.len();
            // Behind what is committed comes what is committed, unless the log still differs.
            match self.committed.get(next) {
                Some(entry) if self.committed.starts_with(&log.entries) => {
                    log.push(entry.clone());
                    write.entries.push(entry.clone());
                }
                Some(_) => break,
                None => {
                    let bytes = usize::try_from((self.choose)(3000)).unwrap();
                    let term = self.witness.hard_state.current_term.get().max(1);
                    let term = term.max(log.tip().id.term.get());
                    write.entries.push(log.add_to(0, term, bytes));
                }
            }
        }
        if self.one_in(3) && log.entries.starts_with(&self.committed) {
            let more = (self.choose)((log.entries.len() - self.committed.len()) as u64 + 1);
            let count = self.committed.len() + usize::try_from(more).unwrap();
            self.committed = log.entries[..count].to_vec();
        }
        let agreed = log.entries.iter().zip(&self.committed).take_while(|(a, b)| a == b).count();
        write.commit_index = index(agreed as u64);
        if self.one_in(6) {
            let vote = u16::try_from((self.choose)(3)).unwrap();
            let term = self.witness.hard_state.current_term.get() + 1;
            write.hard_state = Some(hard_state(term, (vote > 0).then_some(vote)));
        }
        if self.one_in(4) {
            write.heads = log.end_segment();
        }
        write
    }
}

#[test]
fn nothing_promised_is_lost_in_many_lives() {
    let (mut ends, mut kept, mut lost) = (0, 0, 0);
    for seed in 0..150 {
        println!("seed {seed}");
        let mut storm = Storm::new(choices(seed));
        for _ in 0..12 {
            storm.live();
        }
        ends += storm.ends;
        kept += storm.disk.faults().blocks_kept;
        lost += storm.disk.faults().blocks_lost;
    }
    assert!(ends > 200 && kept > 20 && lost > 20, "{ends} ended early, {kept} kept, {lost} lost");
}
