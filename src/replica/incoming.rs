//! What is checked of entries from a leader before the core hears of them.

use thiserror::Error;

use super::window::Window;
use crate::entry::{EntryError, EntryKind, SealedEntry};
use crate::raft::{AppendEntries, Configuration, EntryInfo};
use crate::types::{LogId, Term};
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
    /// A configuration entry holds none.
    #[error("entry {id} holds no configuration")]
    Configuration {
        /// The entry.
        id: LogId,
    },
}

/// Checks the entries beside an AppendEntries: each by its CRC, each against the one before it, the
/// first against the chain that the message claims for `prev_log_id`.
pub(super) fn check(
    header: &AppendEntries,
    message: &PeerMessage,
) -> Result<Vec<SealedEntry>, BadEntries> {
    let previous = header.prev_log_id;
    let entries: Vec<SealedEntry> =
        message.entries.iter().cloned().map(SealedEntry::parse).collect::<Result<_, _>>()?;
    let Some(first) = entries.first() else { return Ok(entries) };

    let follows = first.id().index == previous.index.next() && first.id().term >= previous.term;
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

/// Where both logs have the same entry, the histories before it must be the same as well.
///
/// Invariant (Log Matching, thesis 3.5): equal ids mean equal chains.
pub(super) fn assert_same_history(
    window: &Window,
    header: &AppendEntries,
    message: &PeerMessage,
    entries: &[SealedEntry],
) {
    let claimed = message.previous_chain.map(|chain| (header.prev_log_id, chain));
    let sent = entries.iter().map(|entry| (entry.id(), entry.chain()));
    for (id, chain) in claimed.into_iter().chain(sent) {
        let Some(tip) = window.tip_at(id.index).filter(|tip| tip.id == id) else { continue };
        assert_eq!(tip.chain, chain, "broken law: two histories with the same entry {id}");
    }
}

/// What the core is told of an entry.
pub(super) fn info(entry: &SealedEntry) -> Result<EntryInfo, BadEntries> {
    let configuration = match entry.kind() {
        EntryKind::Configuration => Some(decode_configuration(entry)?),
        EntryKind::NoOp | EntryKind::Records => None,
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
