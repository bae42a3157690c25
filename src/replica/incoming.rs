//! What is checked of entries from a leader before the core hears of them.

use thiserror::Error;

use super::window::Window;
use crate::entry::{Chain, EntryError, EntryKind, Logged, NoOp, SealedEntry, TermStart};
use crate::housekeeping::Housekeeping;
use crate::raft::{AppendEntries, Configuration, EntryInfo, Message, Raft};
use crate::types::{Index, LogId, NodeId, Term};
use crate::wire::peer::PeerMessage;

/// Entries that were not taken. Nothing of their message was.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BadEntries {
    /// An entry is damaged, or does not follow on the one before it.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// An entry does not follow on the `prev_log_id` of its message.
    #[error("entry {id} does not follow on {previous}")]
    Order {
        /// The entry.
        id: LogId,
        /// What the message says comes before it.
        previous: LogId,
    },
    /// Entries came without the chain that they continue.
    #[error("entries after {previous} came without the chain before them")]
    NoChain {
        /// What the message says comes before them.
        previous: LogId,
    },
    /// An entry is of a higher term than the leader that sent it.
    #[error("entry {id} is of a higher term than {term}, its sender's")]
    Term {
        /// The entry.
        id: LogId,
        /// The message's term.
        term: Term,
    },
    /// A head that came is not what was announced.
    #[error("the head behind {id} is not the one that was announced, or is not of its form")]
    Head {
        /// The entry before it.
        id: LogId,
    },
    /// A configuration entry holds none.
    #[error("entry {id} holds no configuration")]
    Configuration {
        /// The entry.
        id: LogId,
    },
}

/// An entry that was checked and read once, when it came.
#[derive(Clone, Debug)]
pub(super) struct Checked {
    pub(super) entry: SealedEntry,
    /// The chain that it was found to continue.
    pub(super) previous: Chain,
    pub(super) contents: Contents,
}

/// What an entry says, as far as this floor cares.
#[derive(Clone, Debug)]
pub(super) struct Contents {
    pub(super) no_op: Option<NoOp>,
    pub(super) housekeeping: Option<Housekeeping>,
    pub(super) runs: Vec<Logged>,
}

impl Contents {
    /// Reads an entry.
    pub(super) fn of(entry: &SealedEntry) -> Result<Self, EntryError> {
        let (no_op, housekeeping) = (entry.no_op()?, entry.housekeeping()?);
        Ok(Self { no_op, housekeeping, runs: entry.logged()? })
    }

    /// The term that begins with the entry that this was read of.
    pub(super) fn term_start(&self, entry: &SealedEntry) -> Option<TermStart> {
        let LogId { index: first_index, term } = entry.id();
        let leader = self.no_op.as_ref()?.leader;
        Some(TermStart { term, first_index, leader, time: entry.time() })
    }
}

/// Checks the entries beside an AppendEntries: each by its CRC, each against the one before it, the
/// first against the chain that the message claims for `prev_log_id`. All of it happens once: a hash
/// over every byte is most of what a follower computes.
pub(super) fn check(
    header: &AppendEntries,
    message: &PeerMessage,
) -> Result<Vec<Checked>, BadEntries> {
    let entries = check_chain(header, message)?;
    let Some(mut previous) = message.previous_chain else { return Ok(vec![]) };
    let mut checked = Vec::with_capacity(entries.len());
    for entry in entries {
        let contents = Contents::of(&entry)?;
        let chain = entry.chain();
        checked.push(Checked { entry, previous, contents });
        previous = chain;
    }
    Ok(checked)
}

fn check_chain(
    header: &AppendEntries,
    message: &PeerMessage,
) -> Result<Vec<SealedEntry>, BadEntries> {
    let previous = header.prev_log_id;
    let entries: Vec<SealedEntry> =
        message.entries.iter().cloned().map(SealedEntry::parse).collect::<Result<_, _>>()?;
    let Some(first) = entries.first() else { return Ok(entries) };

    // NB: what the message claims may be the last index that there is; it has no next one.
    let follows = first.id().index > Index::ZERO
        && first.id().index.previous() == previous.index
        && first.id().term >= previous.term;
    if !follows {
        return Err(BadEntries::Order { id: first.id(), previous });
    }
    let chain = message.previous_chain.ok_or(BadEntries::NoChain { previous })?;
    first.check_chain(&chain)?;
    for (before, entry) in entries.iter().zip(entries.iter().skip(1)) {
        entry.check_follows(&before.tip())?;
    }
    match entries.iter().find(|entry| entry.id().term > header.term) {
        Some(entry) => Err(BadEntries::Term { id: entry.id(), term: header.term }),
        None => Ok(entries),
    }
}

/// What another node says and what this one has cannot both be right. One of the two has lost what it
/// had promised, and to go on would be to choose whose acknowledged records are lost: so this node
/// ends, with its folder as it is.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Contradiction {
    /// Two entries of one index and one term.
    #[error(
        "{from} has another entry {id} than this node: their histories differ from there on, or from \
         before it"
    )]
    TwoHistories {
        /// The other node.
        from: NodeId,
        /// The first entry that is known to differ.
        id: LogId,
    },
    /// A leader without an entry that is committed.
    #[error("{from} leads, and has entry {id} where this node has {ours}, which is committed")]
    NotCommitted {
        /// The leader.
        from: NodeId,
        /// What it has there.
        id: LogId,
        /// What this node has there.
        ours: LogId,
    },
    /// Two leaders of one term: somebody has voted twice.
    #[error("{from} and {leader} both lead term {term}: somebody has voted twice in it")]
    TwoLeaders {
        /// The one that was heard now.
        from: NodeId,
        /// The one that this node knows.
        leader: NodeId,
        /// The term.
        term: Term,
    },
}

/// The leader of a term is one, and has all that was committed (thesis 3.4, 3.6.3).
pub(super) fn check_leader(
    raft: &Raft,
    from: NodeId,
    message: &Message,
    entries: &[Checked],
) -> Result<(), Contradiction> {
    let Some(term) = message.led_term().filter(|term| *term >= raft.current_term()) else {
        return Ok(());
    };
    let known = raft.leader().filter(|leader| *leader != from);
    if let Some(leader) = known.filter(|_| term == raft.current_term()) {
        return Err(Contradiction::TwoLeaders { from, leader, term });
    }
    let previous = match message {
        Message::AppendEntries(header) => Some(header.prev_log_id),
        Message::InstallSnapshot(header) => Some(header.head.id),
        _ => None,
    };
    let log = raft.log();
    let theirs = previous.into_iter().chain(entries.iter().map(|checked| checked.entry.id()));
    for id in theirs.take_while(|id| id.index <= log.commit_index()) {
        let ours = log.id_at(id.index);
        if ours != id {
            return Err(Contradiction::NotCommitted { from, id, ours });
        }
    }
    Ok(())
}

/// Time never goes back. The entries were compared with each other; here the first is with the one before
/// it, whose time the chain does not tell.
pub(super) fn check_time(
    window: &Window,
    previous: LogId,
    entries: &[Checked],
) -> Result<(), BadEntries> {
    let Some(Checked { entry, .. }) = entries.first() else { return Ok(()) };
    match window.tip_at(previous.index) {
        Some(tip) if tip.id == previous && entry.time() < tip.time => {
            Err(BadEntries::Order { id: entry.id(), previous })
        }
        _ => Ok(()),
    }
}

/// Where both logs have the same entry, the histories before it must be the same as well.
///
/// Invariant (Log Matching, thesis 3.5): equal ids mean equal chains.
pub(super) fn check_history(
    window: &Window,
    (from, header): (NodeId, &AppendEntries),
    message: &PeerMessage,
    entries: &[Checked],
) -> Result<(), Contradiction> {
    let claimed = message.previous_chain.map(|chain| (header.prev_log_id, chain));
    let sent = entries.iter().map(|Checked { entry, .. }| (entry.id(), entry.chain()));
    for (id, chain) in claimed.into_iter().chain(sent) {
        let Some(tip) = window.tip_at(id.index).filter(|tip| tip.id == id) else { continue };
        if tip.chain != chain {
            return Err(Contradiction::TwoHistories { from, id });
        }
    }
    Ok(())
}

/// What the core is told of an entry.
pub(super) fn info(entry: &SealedEntry) -> Result<EntryInfo, BadEntries> {
    let configuration = match entry.kind() {
        EntryKind::Configuration => Some(decode_configuration(entry)?),
        EntryKind::NoOp | EntryKind::Records | EntryKind::Housekeeping => None,
    };
    let bytes = u32::try_from(entry.bytes().len()).expect("an entry's bound is below 4 GiB");
    Ok(EntryInfo { term: entry.id().term, bytes, configuration })
}

fn decode_configuration(entry: &SealedEntry) -> Result<Configuration, BadEntries> {
    postcard::from_bytes::<Configuration>(&entry.payload())
        .ok()
        .filter(|configuration| !configuration.voters.is_empty())
        .ok_or(BadEntries::Configuration { id: entry.id() })
}
