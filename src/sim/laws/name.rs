//! The names of the laws, for who judges, reports, and expects one of them to break.

use std::fmt;

/// A law's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LawName {
    /// At most one node leads in a term.
    ElectionSafety,
    /// A node votes for one candidate in a term, over all its restarts.
    VoteOnce,
    /// Entries of one index and term are the same, and so is all before them.
    LogMatching,
    /// Segments of one range hold the same on all nodes.
    SegmentsEqual,
    /// A leader removes nothing from its log.
    LeaderAppendOnly,
    /// A leader has all that was committed in terms before its own.
    LeaderCompleteness,
    /// Nodes commit the same entry at an index.
    StateMachineSafety,
    /// What was acknowledged is on the disks of a quorum.
    Durability,
    /// Nothing is given up that is live, or that another node lacks.
    LiveKept,
    /// What a retention keeps is kept.
    Retentions,
    /// A token that is revoked stays so until it expires, on all nodes.
    Revocations,
    /// Logs have numbers, offsets and ends of their own, the same on all nodes.
    Catalogues,
    /// A request is in the log once, where its client was told.
    ExactlyOnce,
    /// What is appended under a condition stands where that holds.
    Conditional,
    /// A producer's records are in the log in order, each once.
    Producers,
    /// A condition that was said not to hold did not.
    Refusals,
    /// What clients saw can be put in one order.
    Linearizable,
    /// Who follows the log is shown all of it, once and in order.
    Subscriptions,
    /// The registry never goes back to an earlier term.
    RegistryMonotonic,
    /// Terms and commit indexes never go down.
    Monotonic,
    /// Who decides is what the log says.
    ConfigurationSafety,
    /// A learner has what the others have before it votes.
    FilledFirst,
    /// What a node promises is on its disk first.
    DurableBeforeVisible,
    /// A start hands on what was promised, or refuses; damage is found where it was done only.
    NoSilentRepair,
    /// Everything that can grow has a bound.
    Bounded,
    /// A seed gives the same run, and a log the same state.
    Determinism,
    /// A healthy majority serves within a bound.
    Liveness,
    /// A folder that was put back is told so, and no other is.
    Identity,
    /// Nodes that have set aside what they promised are a minority.
    MajorityKept,
    /// A client neither waits for whoever will not answer nor sleeps with something to do.
    Patience,
    /// A pair of nodes says no more than it has reason to.
    Traffic,
    /// No assert of the code under test fails.
    Assertion,
    /// What was made by a codec is read by it.
    Codec,
    /// A node understands the log that its store hands on.
    Recovery,
    /// What is committed can be read.
    Reads,
}

impl LawName {
    /// In words, as people and programs are told.
    pub const fn words(self) -> &'static str {
        match self {
            Self::ElectionSafety => "election safety",
            Self::VoteOnce => "vote once",
            Self::LogMatching => "log matching",
            Self::SegmentsEqual => "segments equal",
            Self::LeaderAppendOnly => "leader append-only",
            Self::LeaderCompleteness => "leader completeness",
            Self::StateMachineSafety => "state machine safety",
            Self::Durability => "durability of acknowledgements",
            Self::LiveKept => "what is live is kept",
            Self::Retentions => "retentions",
            Self::Revocations => "revocations",
            Self::Catalogues => "catalogues",
            Self::ExactlyOnce => "exactly once",
            Self::Conditional => "conditions",
            Self::Producers => "producers",
            Self::Refusals => "refusals",
            Self::Linearizable => "linearizable",
            Self::Subscriptions => "subscriptions",
            Self::RegistryMonotonic => "registry monotonic",
            Self::Monotonic => "monotonic",
            Self::ConfigurationSafety => "configuration safety",
            Self::FilledFirst => "filled first",
            Self::DurableBeforeVisible => "durable before visible",
            Self::NoSilentRepair => "no silent repair",
            Self::Bounded => "bounded",
            Self::Determinism => "determinism",
            Self::Liveness => "liveness",
            Self::Identity => "identity",
            Self::MajorityKept => "a majority keeps what it promised",
            Self::Patience => "patience",
            Self::Traffic => "traffic",
            Self::Assertion => "assertion",
            Self::Codec => "codec",
            Self::Recovery => "recovery",
            Self::Reads => "reads",
        }
    }
}

impl fmt::Display for LawName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.words())
    }
}

#[cfg(test)]
mod tests {
    use super::super::all;

    #[test]
    fn no_two_laws_have_one_name() {
        let names: Vec<_> = all().iter().map(|law| law.name()).collect();
        for (at, name) in names.iter().enumerate() {
            assert!(!names[..at].contains(name), "{name}");
        }
    }
}
