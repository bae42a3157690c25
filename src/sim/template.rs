//! The scenarios that a run may begin with. What each of them is stands in `scenarios`.

use std::fmt;
use std::str::FromStr;

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
    /// Space is given back all the time, and one is away while that is done, or has lost its store. Drawn by
    /// itself (`swarm`), so that what a seed meant before it means still.
    Trimmed,
    /// What stands on the disks of two of three rots at once. Drawn by itself likewise.
    MajorityRot,
    /// Leaders are cut off with a change of members on its way, while the next one makes another
    /// (Ongaro, 2015). Drawn by itself, too.
    Changes,
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

/// Their names.
const NAMES: [(Template, &str); 12] = [
    (Template::Figure8, "figure-8"),
    (Template::Bridge, "bridge"),
    (Template::DeafLeader, "deaf-leader"),
    (Template::Isolated, "isolated"),
    (Template::PowerCutOfAll, "power-cut-of-all"),
    (Template::MinorityRot, "minority-rot"),
    (Template::PauseAndKill, "pause-and-kill"),
    (Template::StaleLeader, "stale-leader"),
    (Template::SlowDisks, "slow-disks"),
    (Template::Trimmed, "trimmed"),
    (Template::MajorityRot, "majority-rot"),
    (Template::Changes, "changes"),
];

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = NAMES.iter().find(|(template, _)| template == self);
        f.write_str(named.map(|(_, name)| *name).unwrap_or_default())
    }
}

/// No scenario has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no scenario has this name: there are {}", NAMES.map(|(_, name)| name).join(", "))]
pub struct UnknownTemplate;

impl FromStr for Template {
    type Err = UnknownTemplate;

    fn from_str(text: &str) -> Result<Self, UnknownTemplate> {
        let named = NAMES.iter().find(|(_, name)| *name == text);
        named.map(|(template, _)| *template).ok_or(UnknownTemplate)
    }
}

impl Template {
    /// Any.
    pub(super) fn draw(random: &mut Random) -> Self {
        random.one_of(&TEMPLATES)
    }
}
