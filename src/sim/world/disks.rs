//! What disks do to processes: writes that take time, ends in the middle of one, starts.

use std::collections::BTreeMap;
use std::time::Duration;

use super::World;
use super::hello::BEGINS_ANEW_AFTER;
use super::put_back::standing;
use crate::limits;
use crate::marks::{Mark, hit};
use crate::raft::Memory;
use crate::replica::{self, Replica};
use crate::sim::announcer::Announcer;
use crate::sim::codec::CLUSTER;
use crate::sim::laws::{LawName, What};
use crate::sim::machine::{Process, UpkeepState};
use crate::sim::queue::Event;
use crate::sim::time::Time;
use crate::store::{self, Done, Identity, Installation, StoreError};
use crate::types::{Incarnation, NodeId};

/// Longer than any run.
const FOR_EVER: Time = Time::from_secs(1_000_000);

/// A process that is to begin at a head starts again after so long: sooner than what was repeated of that arrives.
const STARTS_AGAIN_AFTER: Time = Time::from_millis(2);

/// A process that its disk ended is started again after so long.
const RESTART: Time = Time::from_millis(700);

impl World {
    /// How long a group of writes takes: one sync.
    fn write_time(&mut self, node: NodeId) -> Time {
        self.disk_time(node) + self.options.disks.slowness_of(node)
    }

    /// How long the next thing takes that a disk is asked.
    pub(super) fn disk_time(&mut self, node: NodeId) -> Time {
        let latency = Time::from_micros(1) + self.chance.around(self.options.disks.latency);
        let machine = self.machine_mut(node);
        let stuck = if machine.is_stuck { FOR_EVER } else { Time::ZERO };
        latency + std::mem::take(&mut machine.stall) + stuck
    }

    /// If the disk has nothing to do, it takes what waits.
    pub(super) fn begin_write(&mut self, node: NodeId) {
        let Some(process) = &mut self.machine_mut(node).process else { return };
        if process.disk_is_busy || !process.writer.begin() {
            return;
        }
        process.disk_is_busy = true;
        process.writes += 1;
        let (incarnation, write) = (process.incarnation, process.writes);
        let at = self.now + self.write_time(node);
        self.queue.push(at, Event::DiskDone { node, incarnation, write });
    }

    pub(super) fn on_disk_done(&mut self, node: NodeId, incarnation: Incarnation, write: u64) {
        let machine = self.machine_mut(node);
        let Some(process) = machine.process_of(incarnation) else { return };
        if !process.disk_is_busy || process.writes != write {
            return; // A disk that was stuck was repaired, and is done already.
        }
        process.disk_is_busy = false;
        match process.writer.finish() {
            Ok(done) => {
                self.counts.writes += 1;
                if let Some(Done::Persisted(ticket)) = done {
                    self.input(node, replica::Event::Persisted(ticket));
                }
                self.begin_write(node);
                self.begin_chore(node);
                self.look(What::Disk { node });
            }
            Err(error) => self.on_store_error(node, &error),
        }
    }

    pub(super) fn on_keep_up(&mut self, node: NodeId, incarnation: Incarnation) {
        let Some(process) = self.machine_mut(node).process_of(incarnation) else { return };
        process.upkeep.is_due = true;
        self.begin_chore(node);
    }

    /// If no upkeep is under way, what waits begins: a segment to be sealed, and if there is none what
    /// is done twice a second. That takes as long as a disk takes, and a segment is long.
    pub(super) fn begin_chore(&mut self, node: NodeId) {
        let Some(process) = &mut self.machine_mut(node).process else { return };
        if process.upkeep.is_busy {
            return;
        }
        let seals = process.writer.begin_chore();
        if !seals && !process.upkeep.is_due {
            return;
        }
        process.upkeep.is_busy = true;
        process.upkeep.chores += 1;
        let (incarnation, chore) = (process.incarnation, process.upkeep.chores);
        let length =
            if seals { self.chance.around(self.options.disks.sealing) } else { Time::ZERO };
        let at = self.now + self.disk_time(node) + length;
        self.queue.push(at, Event::UpkeepDone { node, incarnation, chore });
    }

    pub(super) fn on_upkeep_done(&mut self, node: NodeId, incarnation: Incarnation, chore: u64) {
        let every = Time::of(limits::UPKEEP_INTERVAL);
        let now = self.now;
        let Some(process) = self.machine_mut(node).process_of(incarnation) else { return };
        if !process.upkeep.is_busy || process.upkeep.chores != chore {
            return; // A disk that was stuck was repaired, and is done already.
        }
        process.upkeep.is_busy = false;
        let mut outcome = process.writer.finish_chore();
        if outcome.is_ok() && std::mem::take(&mut process.upkeep.is_due) {
            process.writer.remember(process.memory.take_changes());
            outcome = process.writer.keep_up();
            self.queue.push(now + every, Event::KeepUp { node, incarnation });
            outcome = outcome.and_then(|()| self.mend(node));
        }
        match outcome {
            Ok(()) => {
                self.begin_chore(node);
                self.look(What::Disk { node });
            }
            Err(error) => self.on_store_error(node, &error),
        }
    }

    /// The store cannot go on: the process ends, as in production.
    pub(super) fn on_store_error(&mut self, node: NodeId, error: &StoreError) {
        self.trace.text(self.now, node, || format!("its store cannot go on: {error}"));
        let machine = self.machine_mut(node);
        let Some(process) = machine.process.take() else { return };
        let (power, down) = process.dies_mid_write.unwrap_or((false, RESTART));
        if error.is_damage() {
            self.refuse(node, error);
            return self.after_end(node, Some(BEGINS_ANEW_AFTER));
        }
        if power {
            self.cut_power(node);
        }
        self.after_end(node, Some(down));
    }

    /// Kills a process: what its disk was doing is done in part.
    pub(super) fn kill(&mut self, node: NodeId, power: bool, down: Option<Time>) {
        let operations = self.chance.below(16);
        let machine = self.machine_mut(node);
        if let Some(mut process) = machine.process.take() {
            let Process { disk_is_busy, upkeep, writer, .. } = &mut process;
            if *disk_is_busy || upkeep.is_busy {
                machine.disk.memory.fail_after(operations);
            }
            // However far they got, nobody is left to hear of it.
            if upkeep.is_busy {
                let _ = writer.finish_chore();
            }
            if *disk_is_busy {
                let _ = writer.finish();
            }
            self.counts.crashes += 1;
        }
        if power {
            self.cut_power(node);
        }
        self.after_end(node, down);
    }

    /// Stops a process in order.
    pub(super) fn stop(&mut self, node: NodeId, down: Time) {
        if self.close(node).is_some() {
            self.counts.stops += 1;
            self.after_end(node, Some(down));
        }
    }

    /// Ends a process in order, if there is one. Says whether that came off.
    fn close(&mut self, node: NodeId) -> Option<bool> {
        let mut process = self.machine_mut(node).process.take()?;
        let mut closed = Ok(());
        while closed.is_ok() && (process.disk_is_busy || process.writer.begin()) {
            process.disk_is_busy = false;
            closed = process.writer.finish().map(drop);
        }
        process.writer.remember(process.memory.take_changes());
        let closed = closed.and_then(|()| process.writer.close());
        // A stop that fails is a crash: the next start finds out what is there.
        if let Err(error) = &closed {
            self.trace.text(self.now, node, || format!("cannot stop in order: {error}"));
        }
        Some(closed.is_ok())
    }

    /// A node's process ends, and its store begins at a head from then on, unless that is cut off.
    pub(super) fn install(&mut self, node: NodeId, installation: &Installation) {
        let place = Self::place(node);
        let options = self.store_options(place);
        let tip = installation.head.tip;
        self.trace.text(self.now, node, || format!("begins behind {}", tip.id));
        if self.close(node) != Some(true) {
            return self.after_end(node, Some(RESTART));
        }
        self.look(What::Installs { node, tip: &tip });
        if self.chance.below(3) == 0 {
            let operations = self.chance.below(60);
            self.machines[place].disk.memory.fail_after(operations);
        }
        let disk = &self.machines[place].disk.memory;
        let identity = Identity { cluster: CLUSTER, node };
        match store::install_in(disk, identity, options, installation) {
            Ok(()) => self.counts.installed += 1,
            Err(error) => {
                self.trace.text(self.now, node, || format!("could not begin there: {error}"));
            }
        }
        if self.chance.below(4) == 0 {
            self.cut_power(node);
        }
        self.after_end(node, Some(STARTS_AGAIN_AFTER));
    }

    fn cut_power(&mut self, node: NodeId) {
        self.counts.power_cuts += 1;
        let place = Self::place(node);
        let chance = &mut self.chance;
        self.machines[place].disk.memory.power_cut(&mut |bound| chance.below(bound));
    }

    /// What follows when a process is no more.
    pub(super) fn after_end(&mut self, node: NodeId, down: Option<Time>) {
        let now = self.now;
        for stream in self.network.break_streams_to(node) {
            // A dead process says nothing: the client notices by itself.
            let idle = Time::of(limits::CLIENT_IDLE_TIMEOUT);
            let after = Time::from_millis(50) + Time::from_micros(self.chance.below(idle.micros()));
            self.queue.push(now + after, Event::StreamEnds { stream });
        }
        let machine = self.machine_mut(node);
        machine.paused_until = None;
        machine.start_at = down.map(|down| now + down);
        if let Some(at) = machine.start_at {
            self.queue.push(at, Event::Start { node });
        }
        self.look(What::Ended { node });
        self.look(What::Disk { node });
    }

    pub(super) fn on_start(&mut self, node: NodeId) {
        let now = self.now;
        let machine = self.machine_mut(node);
        let is_due = machine.start_at == Some(now);
        if !is_due || machine.is_up() || machine.is_out {
            return;
        }
        if let Some(at) = self.start_of_put_back(node) {
            self.machine_mut(node).start_at = Some(at);
            return self.queue.push(at, Event::Start { node });
        }
        self.machine_mut(node).start_at = None;
        self.start(Self::place(node));
        self.say_hello_if_put_back(node);
    }

    /// Starts a process on what its disk holds.
    pub(super) fn start(&mut self, place: usize) {
        let node = Self::at(place);
        let options = self.store_options(place);
        let machine = &mut self.machines[place];
        machine.disk.memory.restart();
        machine.disk_fails = false;
        if let Some(at) = self.must_wait(node) {
            self.machine_mut(node).start_at = Some(at);
            return self.queue.push(at, Event::Start { node });
        }
        let machine = &mut self.machines[place];
        if let Some(operations) = machine.dies_at_start.take() {
            machine.disk.memory.fail_after(operations);
        }
        match self.open(place, options) {
            Ok((store, recovered)) => self.run_process(node, store, &recovered),
            Err(error) if error.is_damage() => {
                self.refuse(node, &error);
                self.after_end(node, Some(BEGINS_ANEW_AFTER));
            }
            Err(error) => {
                // A full disk, a failing one: whoever runs the node tries again.
                self.trace.text(self.now, node, || format!("cannot start: {error}"));
                self.counts.failed_starts += 1;
                let at = self.now + RESTART;
                self.machine_mut(node).start_at = Some(at);
                self.queue.push(at, Event::Start { node });
            }
        }
    }

    /// Opens the store; begins anew first if it is lost, or if that was interrupted.
    fn open(
        &mut self,
        place: usize,
        options: store::Options,
    ) -> Result<(store::Store, store::Recovered), StoreError> {
        let node = Self::at(place);
        let identity = Identity { cluster: CLUSTER, node };
        let disk = &self.machines[place].disk.memory;
        if self.machines[place].begins_anew || store::began_anew_in(disk)? {
            let configuration = self.options.cluster.founders();
            store::begin_anew_in(disk, identity, &configuration, &options)?;
            self.trace.text(self.now, node, || "begins anew, to be filled".to_owned());
            self.counts.began_anew += 1;
            let machine = &mut self.machines[place];
            machine.begins_anew = false;
            machine.is_refilling = true;
            self.judge_who_begins_anew(node);
            self.look(What::BegunAnew { node });
            self.look(What::Disk { node });
        }
        store::open_in(&self.machines[place].disk.memory, identity, options)
    }

    /// A node that is a voter again, and knows it, has all that was acknowledged: it is as good as any.
    pub(super) fn look_whether_it_votes_again(&mut self, node: NodeId) {
        let machine = self.machine_mut(node);
        let Some(process) = machine.process.as_ref().filter(|_| machine.is_refilling) else {
            return;
        };
        if process.standing.lineage.in_place && process.replica.raft().is_settled_voter() {
            machine.is_refilling = false;
            machine.lost = false;
            machine.rotten.clear();
            self.counts.reinstated += 1;
            self.trace.text(self.now, node, || "is a voter again".to_owned());
        }
    }

    fn run_process(&mut self, node: NodeId, store: store::Store, recovered: &store::Recovered) {
        let now = self.now;
        let options = self.options.cluster.clone();
        let machine = self.machine_mut(node);
        machine.before_rot = None;
        machine.starts += 1;
        let incarnation = Incarnation::new(machine.starts);
        let random = machine.random.number();
        let mut replica_options = machine.replica_options(&options);
        replica_options.raft.store = store.lineage().new_store();
        let replica = Replica::recover(replica_options, recovered, random);
        let replica = match replica {
            Ok(replica) => replica,
            Err(error) => {
                let what = format!("{node} does not understand its own log: {error}");
                return self.violate(LawName::Recovery, what);
            }
        };
        let reader = store.reader();
        let standing = standing(&store, recovered);
        let me = (node, standing.hard_state.current_term);
        let memory = Memory::new(me, store.remembered(), machine.count_after());
        let writer = store.into_stepped_writer();
        // Each sealed segment is due all the time.
        writer.scrub_every(Some(Duration::ZERO));
        machine.process = Some(Process {
            incarnation,
            replica,
            standing,
            memory,
            reader,
            writer,
            inbox: vec![],
            tick_is_due: false,
            wakes: false,
            disk_is_busy: false,
            writes: 0,
            upkeep: UpkeepState::default(),
            appends: BTreeMap::new(),
            reads_without_index: BTreeMap::new(),
            reads_with_index: vec![],
            next_token: 0,
            announcer: Announcer::default(),
            dies_mid_write: None,
        });
        let first_tick = now + Time::from_micros(machine.random.below(machine.tick.micros()));
        self.counts.starts += 1;
        if recovered.report.torn_bytes > 0 {
            hit(Mark::TornEnd);
        }
        self.trace.text(now, node, || {
            let (state, last) = (recovered.hard_state, recovered.report.last);
            format!("started: {state}, last {last}, commit {}", recovered.commit_index)
        });
        self.queue.push(first_tick, Event::Tick { node, incarnation });
        let keep_up_at = now + Time::of(limits::UPKEEP_INTERVAL);
        self.queue.push(keep_up_at, Event::KeepUp { node, incarnation });
        self.judge_what_is_known(node);
        self.look(What::Started { node, recovered });
        self.look(What::Disk { node });
    }

    /// A node finds its store damaged, says so, and begins anew.
    fn refuse(&mut self, node: NodeId, error: &StoreError) {
        self.trace.text(self.now, node, || format!("refuses to go on: {error}"));
        hit(Mark::DamageFound);
        self.counts.refusals += 1;
        let machine = self.machine_mut(node);
        machine.begins_anew = true;
        if !machine.lost {
            let what = format!("{node} finds damage where none was done: {error}");
            self.violate(LawName::NoSilentRepair, what);
        }
        self.look(What::Refused { node });
    }
}
