//! Randomness with a seed: the same for ever, on every machine, in every build.
//!
//! Each purpose draws from a stream of its own, so that what shrinking takes away from one does not
//! reshuffle the others. Integers only: nothing rests on how a library rounds.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use super::time::Time;

/// What a stream of random numbers is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Drawing the options of a run.
    Options,
    /// Drawing its faults.
    Faults,
    /// What becomes of messages.
    Network,
    /// How long disks take, and what a power cut leaves.
    Disk,
    /// What clients do.
    Workload,
    /// Whether disks are slow by nature.
    Slowness,
    /// What lies between clients and nodes.
    Reach,
    /// Which folders are put back to an earlier state.
    PutBack,
    /// What clients ask for besides being appended.
    Guard,
    /// Which logs there are besides `main`.
    Logs,
    /// How heads are sent to those who lack what was given up.
    Heads,
    /// Whether the disks of a majority rot at once.
    Majority,
    /// How members change.
    Members,
    /// The entropy of a node.
    Node(u16),
}

impl Purpose {
    fn stream(self) -> u64 {
        match self {
            Self::Options => 1,
            Self::Faults => 2,
            Self::Network => 3,
            Self::Disk => 4,
            Self::Workload => 5,
            Self::Slowness => 10,
            Self::Reach => 20,
            Self::PutBack => 21,
            Self::Guard => 22,
            Self::Logs => 23,
            Self::Heads => 24,
            Self::Majority => 26,
            Self::Members => 25,
            Self::Node(number) => 100 + u64::from(number),
        }
    }
}

/// One stream.
#[derive(Clone, Debug)]
pub(super) struct Random(ChaCha8Rng);

impl Random {
    /// The stream of a seed for a purpose.
    pub(super) fn new(seed: u64, purpose: Purpose) -> Self {
        let mut generator = ChaCha8Rng::seed_from_u64(seed);
        generator.set_stream(purpose.stream());
        Self(generator)
    }

    /// Any number.
    pub(super) fn number(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number below `bound`, which is not zero.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        // The bias of a remainder is far below what any run could notice.
        self.number() % bound
    }

    /// A number from `low` to `high`, both included.
    pub(super) fn between(&mut self, low: u64, high: u64) -> u64 {
        assert!(low <= high, "{low} to {high}");
        low + self.below(high - low + 1)
    }

    /// True with a chance in a million.
    pub(super) fn happens(&mut self, per_million: u32) -> bool {
        // Drawn even when it cannot happen: a class that is off must not shift the others.
        self.below(1_000_000) < u64::from(per_million)
    }

    /// True half the time.
    pub(super) fn coin(&mut self) -> bool {
        self.number() & 1 == 1
    }

    /// One of several.
    pub(super) fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        let place = self.below(choices.len() as u64);
        choices[usize::try_from(place).expect("a place in memory")]
    }

    /// A number between two, each order of magnitude equally likely.
    pub(super) fn spread(&mut self, low: u64, high: u64) -> u64 {
        assert!(0 < low && low <= high, "{low} to {high}");
        let doublings = u64::from((high / low).ilog2()) + 1;
        let base = low << self.below(doublings);
        self.between(base, (base * 2 - 1).min(high))
    }

    /// A time around `mean`: mostly less, now and then several times as much.
    pub(super) fn around(&mut self, mean: Time) -> Time {
        // The sum of a few geometric steps stands in for an exponential distribution.
        let quarter = mean.micros() / 4 + 1;
        let mut micros = self.below(quarter * 4);
        while self.below(8) < 3 {
            micros += self.below(quarter * 4);
        }
        Time::from_micros(micros)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_means_the_same_for_ever() {
        let mut random = Random::new(42, Purpose::Network);
        let drawn: Vec<u64> = (0..3).map(|_| random.below(1000)).collect();
        let mut again = Random::new(42, Purpose::Network);
        assert_eq!(drawn, (0..3).map(|_| again.below(1000)).collect::<Vec<_>>());
        let mut other = Random::new(42, Purpose::Disk);
        assert_ne!(drawn, (0..3).map(|_| other.below(1000)).collect::<Vec<_>>());
    }

    #[test]
    fn spread_reaches_all_orders_of_magnitude() {
        let mut random = Random::new(1, Purpose::Options);
        let drawn: Vec<u64> = (0..1000).map(|_| random.spread(10, 100_000)).collect();
        assert!(drawn.iter().all(|number| (10..=100_000).contains(number)));
        assert!(drawn.iter().filter(|number| **number < 100).count() > 150);
        assert!(drawn.iter().filter(|number| **number > 10_000).count() > 150);
    }
}
