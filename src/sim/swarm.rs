//! What a run is like, drawn from its seed (swarm testing): each class of faults is off in half of
//! all runs, for a fault that is always there hides what only shows without it.
//!
//! The order of the draws is part of what a seed means: what is drawn anew has a stream of random
//! numbers of its own, so that the runs of old seeds stay.

use super::class::Class;
use super::options::{ClusterOptions, Options, Slowness};
use super::random::{Purpose, Random};
use super::template::Template;
use super::time::Time;
use crate::limits;

/// Those that a coin decides. The others have a chance and a stream of random numbers of their own, so
/// that what a seed meant before them it means still.
const DRAWN: [Class; 19] = [
    Class::Loss,
    Class::Repeat,
    Class::Reorder,
    Class::Corrupt,
    Class::Partition,
    Class::Clog,
    Class::Streams,
    Class::Crash,
    Class::MidWrite,
    Class::Power,
    Class::Pause,
    Class::Stall,
    Class::Full,
    Class::Io,
    Class::Rot,
    Class::Clock,
    Class::Handover,
    Class::Registry,
    Class::Clients,
];

/// One in so many runs begins with a scenario.
const TEMPLATE_ONE_IN: u64 = 5;

/// One in so many runs has slow disks.
const SLOW_ONE_IN: u64 = 4;

/// In one of so many runs something is between clients and nodes.
const REACH_ONE_IN: u64 = 4;

/// In one of so many runs clients append under conditions.
const GUARDED_ONE_IN: u64 = 3;
/// One run in so many has clients with logs of their own.
const KEEPERS_ONE_IN: u64 = 3;

/// One in so many of these has no others: then everything that is appended is trimmed or deleted one day,
/// and space comes back.
const TIDY_ONE_IN: u64 = 2;

/// In one of so many runs without another scenario nothing is kept, and nodes lack what was given up.
const TRIMMED_ONE_IN: u64 = 12;

/// In one of so many runs without another scenario the disks of a majority rot at once.
const MAJORITY_ROT_ONE_IN: u64 = 24;
/// In one of so many runs members come and go.
const MEMBERS_ONE_IN: u64 = 4;

/// In one of so many of these, leaders are cut off with a change on its way.
const CHANGES_ONE_IN: u64 = 3;

/// In one of so many runs folders are put back.
const PUT_BACK_ONE_IN: u64 = 4;

impl Options {
    /// The options of a seed.
    pub fn draw(seed: u64) -> Self {
        let mut options = Self::draw_for_scenario(seed);
        options.rot_majorities(seed);
        options.change_members(seed);
        options
    }

    /// The same without what is a scenario of its own: for one that is asked for.
    pub(super) fn draw_for_scenario(seed: u64) -> Self {
        let mut options = Self::draw_freely(seed);
        if let Some(template) = options.faults.template {
            template.prepare(&mut options);
        }
        let random = &mut Random::new(seed, Purpose::Slowness);
        if random.below(SLOW_ONE_IN) == 0 {
            options.slow_down(random);
        }
        options.part_clients(seed);
        options.guard_clients(seed);
        options.add_keepers(seed);
        if Random::new(seed, Purpose::PutBack).below(PUT_BACK_ONE_IN) == 0 {
            options.faults.classes.insert(Class::PutBack);
        }
        options.send_heads(seed);
        options
    }

    /// Lets the disks of a majority rot at once, in some runs.
    fn rot_majorities(&mut self, seed: u64) {
        let random = &mut Random::new(seed, Purpose::Majority);
        if random.below(MAJORITY_ROT_ONE_IN) == 0 && self.faults.template.is_none() {
            self.faults.template = Some(Template::MajorityRot);
            Template::MajorityRot.prepare(self);
        }
    }

    /// Lets nodes be behind for long, and heads be sent in small pieces.
    fn send_heads(&mut self, seed: u64) {
        let random = &mut Random::new(seed, Purpose::Heads);
        let Self { cluster, faults, .. } = self;
        cluster.head_piece_bytes_max = random.spread(64, limits::HEAD_PIECE_BYTES_MAX);
        cluster.release_patience = u32::try_from(random.spread(2, 50)).expect("a small number");
        if random.below(TRIMMED_ONE_IN) == 0 && faults.template.is_none() {
            faults.template = Some(Template::Trimmed);
            Template::Trimmed.prepare(self);
        }
    }

    /// Lets members come and go, in some runs. Which disks may be destroyed then, nobody could say: they are
    /// not.
    fn change_members(&mut self, seed: u64) {
        let random = &mut Random::new(seed, Purpose::Members);
        if random.below(MEMBERS_ONE_IN) > 0 || self.faults.template.is_some() {
            return;
        }
        self.let_members_change(u16::try_from(random.between(1, 3)).expect("a small number"));
        if random.below(CHANGES_ONE_IN) == 0 {
            self.faults.template = Some(Template::Changes);
            Template::Changes.prepare(self);
        }
    }

    /// Lets as many nodes more be members now and then.
    pub(super) fn let_members_change(&mut self, spares: u16) {
        self.cluster.spares = spares;
        for class in [Class::Rot, Class::PutBack] {
            self.switch_off(class);
        }
        self.faults.classes.insert(Class::Members);
    }

    /// Makes all disks slow, or one.
    fn slow_down(&mut self, random: &mut Random) {
        let sync = Time::from_millis(random.spread(70, 1_500));
        let one = self.cluster.any(random);
        let node = if random.coin() { Some(one) } else { None };
        self.disks.slowness = Some(Slowness { sync, node });
        self.faults.classes.insert(Class::Slow);
        // Whoever lacks entries gets so many messages for each sync; with tiny ones the run would show
        // nothing but how long catching up takes.
        let cluster = &mut self.cluster;
        cluster.append_count_max = cluster.append_count_max.max(64);
        cluster.append_bytes_max = cluster.append_bytes_max.max(64 << 10);
    }

    /// Lets some clients append under conditions, in some runs.
    fn guard_clients(&mut self, seed: u64) {
        let random = &mut Random::new(seed, Purpose::Guard);
        if random.below(GUARDED_ONE_IN) == 0 {
            let workload = &mut self.workload;
            workload.guarded = usize::try_from(random.between(1, 3)).expect("a small number");
            workload.clients += workload.guarded;
        }
    }

    /// Lets some clients have logs of their own, in some runs.
    fn add_keepers(&mut self, seed: u64) {
        let random = &mut Random::new(seed, Purpose::Logs);
        if random.below(KEEPERS_ONE_IN) == 0 {
            let workload = &mut self.workload;
            workload.keepers = usize::try_from(random.between(1, 4)).expect("a small number");
            workload.clients += workload.keepers;
            if random.below(TIDY_ONE_IN) == 0 {
                (workload.clients, workload.guarded) = (workload.keepers, 0);
                let few = random.spread(4 << 10, 32 << 10);
                self.cluster.segment_bytes = self.cluster.segment_bytes.min(few);
            }
        }
    }

    /// Puts something between clients and nodes, in some runs.
    fn part_clients(&mut self, seed: u64) {
        let random = &mut Random::new(seed, Purpose::Reach);
        if random.below(REACH_ONE_IN) == 0 {
            self.faults.classes.insert(Class::Reach);
            let distance = Time::from_millis(random.spread(20, 350));
            self.network.distance = if random.coin() { distance } else { Time::ZERO };
        }
    }

    fn draw_freely(seed: u64) -> Self {
        let random = &mut Random::new(seed, Purpose::Options);
        let mut options = Self::quiet(0);
        let faults = &mut options.faults;
        faults.template = (random.below(TEMPLATE_ONE_IN) == 0).then(|| Template::draw(random));
        faults.classes = DRAWN.iter().copied().filter(|_| random.coin()).collect();
        options.draw_rates(random);
        options.cluster.draw_elections(random);
        options.workload.clients = usize::try_from(random.between(1, 4)).expect("a small number");
        options.faults.storm = Time::from_secs(random.between(4, 20));
        options.faults.beyond_the_promise = random.below(20) == 0;
        options.cluster.tick = Time::from_millis(random.one_of(&[5, 5, 5, 10]));
        options.draw_sizes(random);
        options.draw_times(random);
        options
    }

    /// How often what happens to single messages happens, and how wrong clocks are.
    fn draw_rates(&mut self, random: &mut Random) {
        let classes = &self.faults.classes;
        let mut rate = |class, most| {
            let drawn = u32::try_from(random.spread(100, most)).expect("at most a million");
            if classes.contains(&class) { drawn } else { 0 }
        };
        let network = &mut self.network;
        network.loss = rate(Class::Loss, 300_000);
        network.repeat = rate(Class::Repeat, 500_000);
        network.reorder = rate(Class::Reorder, 500_000);
        network.corrupt = rate(Class::Corrupt, 50_000);
        network.stream_break = rate(Class::Streams, 20_000);
        if self.faults.has(Class::Clock) {
            self.faults.drift = random.below(200);
        }
    }

    /// How much of what there may be.
    fn draw_sizes(&mut self, random: &mut Random) {
        let Self { cluster, disks, .. } = self;
        cluster.segment_bytes = random.spread(4 << 10, 256 << 10);
        cluster.proposals_bytes_max = random.one_of(&[16 << 10, 32 << 20]);
        disks.journal_file_bytes = random.one_of(&[8 << 10, 64 << 10, 256 << 10]);
        cluster.reserve_bytes = random.spread(16 << 10, 512 << 10);
        cluster.sessions_max = random.one_of(&[2, 8, 10_000, 10_000]);
        cluster.window_bytes_max = random.spread(1 << 10, 4 << 20);
        cluster.append_count_max = random.one_of(&[1, 2, 16, 256, 256]);
        cluster.append_bytes_max = random.one_of(&[1, 4 << 10, 1 << 20]);
        cluster.uncommitted_bytes_max = random.one_of(&[2 << 10, 64 << 10, 64 << 20]);
    }

    /// How long things take, and what clients do with their time.
    fn draw_times(&mut self, random: &mut Random) {
        let Self { cluster, disks, network, workload, faults } = self;
        disks.latency = Time::from_micros(random.spread(100, 20_000));
        network.latency = Time::from_micros(random.spread(50, 10_000));
        cluster.turn = Time::from_micros(random.spread(1, 2_000));
        faults.every = Time::from_millis(random.spread(50, 3_000));
        workload.think = Time::from_micros(random.spread(500, 200_000));
        workload.in_flight_max = random.one_of(&[1, 2, 8, 64]);
        workload.record_bytes_max = random.one_of(&[16, 100, 100, 2_000]);
        workload.patience = Time::from_millis(random.one_of(&[300, 2_000, 5_000]));
        disks.sealing = Time::from_micros(random.spread(100, 3_000_000));
    }
}

impl ClusterOptions {
    /// How many nodes, and when they stand for election.
    fn draw_elections(&mut self, random: &mut Random) {
        self.nodes = random.one_of(&[1, 2, 3, 3, 3, 3, 3, 4, 5, 5, 5, 7]);
        self.heartbeat_ticks = random.one_of(&[5, 5, 5, 2]);
        self.election_timeout_ticks = random.one_of(&[(30, 60), (30, 60), (20, 25), (60, 120)]);
    }
}
