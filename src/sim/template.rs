//! The scenarios that a run may begin with. What each of them is stands in `scenarios`.

use std::fmt;

use super::random::Random;

/// A scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Template {
    /// Leaders that die with entries on a minority, over and over (paper, figure 8).
    Figure8,
    /// Five nodes, two sides that hear each other only through one (Howard, 2020).
    Bridge,
    /// A leader that can speak and not hear.
    DeafLeader,
    /// A node alone for long comes back.
    Isolated,
    /// The power of all fails, again and again.
    PowerCutOfAll,
    /// What stands on the disks of a minority rots.
    MinorityRot,
    /// One stands still while another is killed; then it goes on with old messages and timers.
    PauseAndKill,
    /// A leader cut off goes on taking appends and reads while others elect another.
    StaleLeader,
    /// Every sync of every disk takes longer than an election timeout, and whoever leads dies for good.
    /// Not among those that a seed draws, whose disks are slow now and then.
    SlowDisks,
}

/// Those that a seed draws.
const TEMPLATES: [Template; 8] = [
    Template::Figure8,
    Template::Bridge,
    Template::DeafLeader,
    Template::Isolated,
    Template::PowerCutOfAll,
    Template::MinorityRot,
    Template::PauseAndKill,
    Template::StaleLeader,
];

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Figure8 => "figure 8",
            Self::Bridge => "bridge",
            Self::DeafLeader => "deaf leader",
            Self::Isolated => "isolated",
            Self::PowerCutOfAll => "power cut of all",
            Self::MinorityRot => "minority rot",
            Self::PauseAndKill => "pause and kill",
            Self::StaleLeader => "stale leader",
            Self::SlowDisks => "slow disks",
        })
    }
}

impl Template {
    /// Any.
    pub(super) fn draw(random: &mut Random) -> Self {
        random.one_of(&TEMPLATES)
    }
}
