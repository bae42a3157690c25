//! Catching up, paced by what is live.
//!
//! What a follower lacks that is far behind comes off the leader's disk, and could keep both machines
//! busy with nothing else. So it is counted in bytes against what is appended meanwhile: twice that for each
//! of them, and
//! [a little in any case](super::Options::catch_up_bytes_min). Twice, because a follower that
//! gets less than what is appended never arrives. Where nothing is appended nobody waits.

/// How many ticks the measure of what is appended looks back, roughly.
const MEMORY: u64 = 16;

/// What followers that are far behind may be sent now. A leader has one as long as there are such.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Pace {
    /// Bytes appended since the last tick.
    appended: u64,
    /// Bytes appended in a tick, times [`MEMORY`].
    live: u64,
    /// Bytes that may be read for followers in a tick.
    share: u64,
    /// Bytes that were read for them and are not made up for by ticks.
    taken: u64,
}

impl Pace {
    /// Notes an append.
    pub(super) fn on_appended(&mut self, bytes: u32) {
        self.appended = self.appended.saturating_add(u64::from(bytes));
    }

    /// Notes what was read for a follower.
    pub(super) fn on_fetched(&mut self, bytes: u64) {
        self.taken = self.taken.saturating_add(bytes);
    }

    /// Another tick, in which `bytes_min` may be read in any case. So many followers are `behind`: each
    /// has to get twice what is appended, or none of them arrives.
    pub(super) fn on_tick(&mut self, behind: u64, bytes_min: u64) {
        self.live = self.live - self.live.div_ceil(MEMORY) + self.appended;
        self.appended = 0;
        self.taken = if self.live == 0 { 0 } else { self.taken.saturating_sub(self.share) };
        self.share = (self.live / MEMORY).saturating_mul(2 * behind).max(bytes_min);
    }

    /// Whether more may be read for a follower.
    pub(super) fn may_fetch(&self) -> bool {
        self.taken < self.share || self.live == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: u64 = 128 << 10;

    /// Bytes that are read in so many ticks, a MiB at a time as soon as it may be, beside appends of so
    /// many bytes a tick.
    fn caught_up(behind: u64, ticks: u64, appended: u32) -> u64 {
        let mut pace = Pace::default();
        let mut bytes = 0;
        for _ in 0..ticks {
            pace.on_appended(appended);
            pace.on_tick(behind, LEAST);
            for _ in 0..100 {
                if pace.may_fetch() {
                    pace.on_fetched(1 << 20);
                    bytes += 1 << 20;
                }
            }
        }
        bytes
    }

    #[test]
    fn twice_what_is_appended_a_little_at_least_and_all_where_nothing_is() {
        assert_eq!(caught_up(1, 1000, 0), 100_000 << 20);
        let per_tick = |appended| caught_up(1, 1000, appended) / 1000;
        let (low, high) = (LEAST / 100 * 95, LEAST / 100 * 105);
        for little in [1, 100, 10_000] {
            let got = per_tick(little);
            assert!((low..high).contains(&got), "{got} beside {little}");
        }
        let got = per_tick(2 << 20);
        assert!(((19 << 20) / 5..(21 << 20) / 5).contains(&got), "{got} beside 2 MiB");
        let got = caught_up(3, 1000, 1 << 20) / 1000;
        assert!(((28 << 20) / 5..(31 << 20) / 5).contains(&got), "{got} for three beside 1 MiB");
    }

    #[test]
    fn who_waits_goes_on_soon_after_the_last_append() {
        let mut pace = Pace::default();
        pace.on_appended(100_000);
        pace.on_tick(1, LEAST);
        pace.on_fetched(1 << 30);
        let is_over = (0..1000).any(|_| {
            pace.on_tick(1, LEAST);
            pace.may_fetch()
        });
        assert!(is_over);
    }
}
