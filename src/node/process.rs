//! One node as a process: from its folder to its last word.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use thiserror::Error;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::accepting;
use super::announce::{AnnounceTo, Announcer};
use super::caller::Shares;
use super::driver::{self, Driver, End, Outputs};
use super::folders::NEW_FILE;
use super::framing::Framing;
use super::inputs::Inputs;
use super::leaders::Leaders;
use super::mending;
use super::narrator::Narrator;
use super::new_sessions::NewSessions;
use super::published;
use super::pulse::{self, Pulse};
use super::refused;
use super::shared::Service;
use super::tally::Tally;
use crate::address::Address;
#[cfg(feature = "http")]
use crate::client;
use crate::config::NodeConfig;
#[cfg(feature = "http")]
use crate::http::{Door, Plan};
use crate::limits;
use crate::members::MemberSettings;
use crate::net::{
    self, BindError, Credentials, Endpoint, Expelled, Inbound, LocalNode, Peers, Protocol,
    SharedMemory,
};
use crate::outcome::Outcome;
use crate::raft::{self, Configuration, HardState, Loss, Memory, Standing};
use crate::remedy;
use crate::replica::{self, Account, Contradiction, RecoverError, Replica, Revocations};
use crate::store::{self, Done, Identity, Installation, Recovered, Store, StoreError, Writer};
use crate::types::{Incarnation, Index, LogId, LogNumber, NodeId, Ticket};

/// What a node needs to run.
#[derive(Debug)]
pub struct Settings {
    /// Its data folder.
    pub data: PathBuf,
    /// Its configuration.
    pub config: NodeConfig,
    /// Its certificate.
    pub credentials: Credentials,
    /// The folder where that is.
    pub certs: PathBuf,
    /// Is told in a sentence what was found on disk, if anything was.
    pub on_recovered: fn(&str),
}

/// Why a node could not run, or had to end.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RunError {
    /// The address cannot be had.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store is intact and says what this program does not understand.
    #[error("{}: {error}", data.display())]
    Recover {
        /// The data folder.
        data: PathBuf,
        /// What is not understood.
        error: RecoverError,
    },
    /// The mark of a folder that was never started could not be removed.
    #[error("cannot remove {}: {error}", file.display())]
    NewFile {
        /// The mark.
        file: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// A peer knows that the node is not what it was.
    #[error("{node} is not what {by} remembers of it: {loss}")]
    Expelled {
        /// The node.
        node: NodeId,
        /// Who refused it.
        by: NodeId,
        /// Why.
        loss: Loss,
    },
    /// Another node's log and this one's cannot both be right.
    #[error("{node} and another node contradict each other: {found}")]
    Contradicted {
        /// The node.
        node: NodeId,
        /// How.
        found: Contradiction,
    },
    /// The node is no member any more.
    #[error("{node} was removed from the cluster by entry {as_of} or before{}", says(by.as_ref()))]
    Removed {
        /// The node.
        node: NodeId,
        /// The entry of the newest configuration that is known to be committed.
        as_of: Index,
        /// Who says so, if not its own log.
        by: Option<NodeId>,
    },
    /// An earlier start with this folder was refused by a peer.
    #[error("an earlier start was refused: {sentence}")]
    RefusedBefore {
        /// What was said then.
        sentence: String,
    },
}

fn says(by: Option<&NodeId>) -> String {
    by.map_or_else(String::new, |by| format!(", as {by} knows"))
}

impl RunError {
    /// What to do about it; empty where there is nothing to say.
    pub fn hint(&self) -> String {
        match self {
            Self::Bind(error) => error.hint().to_owned(),
            Self::Store(error) => error.hint(),
            Self::Recover { .. } => {
                "another version of annal may have written it; keep the folder".to_owned()
            }
            Self::NewFile { error, .. } => remedy::of(error, "look into the folder").to_owned(),
            Self::Expelled { loss: Loss::Twin, .. } => {
                "stop one of the two: a copy of a node's folder must not run beside it".to_owned()
            }
            Self::Contradicted { .. } => {
                "one of the two was put back from an older copy, or was started twice; nothing was \
                 changed: keep both folders, look at them with `annal node inspect --at`, and let \
                 those that agree carry on"
                    .to_owned()
            }
            Self::Removed { .. } => {
                "nothing is left for it to do here, and its folder is needed by nobody; `annal cluster \
                 add` takes a node of this name again, with a new folder"
                    .to_owned()
            }
            Self::Expelled { .. } | Self::RefusedBefore { .. } => refused::HINT.to_owned(),
        }
    }

    /// Whether another process has the folder or the address.
    pub fn is_occupied(&self) -> bool {
        match self {
            Self::Bind(error) => error.is_occupied(),
            Self::Store(error) => error.is_occupied(),
            _ => false,
        }
    }

    /// What a process that ends with it came to.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Store(error) if error.is_damage() => Outcome::Damage,
            Self::Recover { .. }
            | Self::Expelled { .. }
            | Self::Contradicted { .. }
            | Self::RefusedBefore { .. } => Outcome::Damage,
            Self::Removed { .. } => Outcome::ConditionNotMet,
            Self::Bind(_) | Self::Store(_) | Self::NewFile { .. } => Outcome::Failed,
        }
    }
}

/// How a node ended that is well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Ended {
    /// It was asked to stop, and has.
    Stopped,
    /// It lacked what the others have given up. Its store now begins behind that, and it is to be started
    /// again at once: it is not done.
    StartsAgain,
}

/// Runs a node until `stop` is cancelled and it has stopped in good order, or until it has to be started
/// again.
///
/// # Errors
/// [`RunError`], before anything was promised or after everything was kept.
pub async fn run(settings: Settings, stop: CancellationToken) -> Result<Ended, RunError> {
    let Settings { data, config, credentials, certs, on_recovered } = settings;
    let (folder, found) = (data.clone(), config.clone());
    let protocols = [Protocol::Peer, Protocol::Client, Protocol::Onward];
    // Taken before the store is opened and after its lock: a second process of one folder is told of
    // the folder.
    let Some(lock) = unless_stopped(&stop, move || Ok(store::lock(&folder)?)).await? else {
        return Ok(Ended::Stopped);
    };
    let endpoint = net::listen(&config.listen, &credentials, &protocols).await?;
    if let Some(sentence) = refused::earlier(&data) {
        return Err(RunError::RefusedBefore { sentence });
    }
    let (folder, start) = (data.clone(), Incarnation::new(driver::random()));
    let opening = unless_stopped(&stop, move || open_store(&folder, &found, start, lock));
    let Some((store, recovered)) = opening.await? else { return Ok(Ended::Stopped) };
    report(&config, &recovered, on_recovered);
    tracing::info!(node = %config.node, "listening on {}", endpoint.local_address());

    let mut replica_options = options(&config);
    replica_options.raft.store = store.lineage().new_store();
    replica_options.raft.joins = config.founders.is_some() && store::set_aside(&data)?.is_empty();
    let replica = Replica::recover(replica_options, &recovered, driver::random())
        .map_err(|error| RunError::Recover { data: data.clone(), error })?;
    let standing = standing(&store, &recovered);
    drop(recovered);
    let stores = (store, standing);
    let place = Place { data: &data, config: &config, certs: &certs, credentials: &credentials };
    let (writer, end) = serve(place, endpoint.clone(), stores, replica, stop.clone()).await;

    endpoint.close();
    endpoint.closed(limits::CONNECT_TIMEOUT).await;
    let closed = tokio::task::spawn_blocking(move || writer.close()).await;
    let closed = closed.expect("a panic ends the process");
    if let End::Installs(installation) = end {
        closed?;
        let install = move || install(&data, &config, &installation);
        tokio::task::spawn_blocking(install).await.expect("a panic ends the process")?;
        let is_wanted = !stop.is_cancelled();
        return Ok(if is_wanted { Ended::StartsAgain } else { Ended::Stopped });
    }
    finish(&data, config.node, end, closed).map(|()| Ended::Stopped)
}

/// Makes the node's store one that begins where the others' do.
fn install(data: &Path, config: &NodeConfig, installation: &Installation) -> Result<(), RunError> {
    let lock = store::lock(data)?;
    let identity = Identity { cluster: config.cluster, node: config.node };
    let options =
        store::Options { start: Incarnation::new(driver::random()), ..Default::default() };
    store::install(data, identity, options, installation, &lock)?;
    tracing::warn!(
        node = %config.node, index = %installation.head.tip.id.index,
        "lacks what the others have given up: its log begins behind entry {} from now on",
        installation.head.tip.id.index
    );
    Ok(())
}

/// The node's last word. If it must not go on, that is why it ends, however its store was closed.
fn finish(
    data: &Path,
    node: NodeId,
    end: End,
    closed: Result<(), StoreError>,
) -> Result<(), RunError> {
    if let (End::Contradicted(_) | End::Expelled(_) | End::Removed(_), Err(error)) = (&end, &closed)
    {
        tracing::warn!(%node, "the store was not closed: {error}");
    }
    match end {
        End::Installs(_) => unreachable!("that is not the end"),
        End::Stopped => {
            closed?;
            tracing::info!(%node, "stopped");
            Ok(())
        }
        End::Contradicted(found) => Err(RunError::Contradicted { node, found }),
        End::Removed(as_of) => Err(RunError::Removed { node, as_of, by: None }),
        End::Expelled(Expelled { by, loss: Loss::Removed { as_of } }) => {
            Err(RunError::Removed { node, as_of, by: Some(by) })
        }
        End::Expelled(Expelled { by, loss }) => {
            // A twin may go on alone, and by itself it has lost nothing.
            let is_for_good = loss != Loss::Twin;
            let error = RunError::Expelled { node, by, loss };
            if is_for_good {
                refused::write(data, &error.to_string());
            }
            Err(error)
        }
    }
}

/// What this node shows of its store to others.
fn standing(store: &Store, recovered: &Recovered) -> Standing {
    Standing {
        lineage: store.lineage().clone(),
        hard_state: recovered.hard_state,
        last: recovered.report.last,
    }
}

/// The members that the cluster began with, and where its file says that they are.
fn founders(config: &NodeConfig) -> BTreeMap<NodeId, String> {
    let known = config.members();
    let address = |node: &NodeId| known.get(node).map(Address::to_string).unwrap_or_default();
    config.founders().into_iter().map(|node| (node, address(&node))).collect()
}

/// How a node is set up, as far as all should be set up alike.
fn settings(config: &NodeConfig) -> MemberSettings {
    let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    MemberSettings {
        heartbeat_ms: ms(config.heartbeat),
        election_timeout_ms: (ms(config.election_timeout_min), ms(config.election_timeout_max)),
        segment_bytes: config.segment_bytes,
        fault_injection: config.fault_injection,
    }
}

/// What it remembers of them.
fn memory(config: &NodeConfig, store: &Store, shown: &Standing) -> SharedMemory {
    let count_after = ticks(config, limits::PEER_COUNTS_AFTER);
    let me = (config.node, shown.hard_state.current_term);
    Arc::new(Mutex::new(Memory::new(me, store.remembered(), count_after)))
}

/// Which node it is, and where.
#[derive(Clone, Copy)]
struct Place<'a> {
    data: &'a Path,
    config: &'a NodeConfig,
    #[cfg_attr(not(feature = "http"), expect(dead_code, reason = "only the door asks"))]
    certs: &'a Path,
    credentials: &'a Credentials,
}

/// Wires the tasks together and runs the driver to its end.
async fn serve(
    place: Place<'_>,
    endpoint: Endpoint,
    (store, standing): (Store, Standing),
    replica: Replica,
    stop: CancellationToken,
) -> (Writer, End) {
    let Place { data, config, .. } = place;
    let incarnation = standing.lineage.newest();
    let memory = memory(config, &store, &standing);
    let (inbound, peer_messages) = Inbound::new();
    let (command_sender, commands) = mpsc::channel(limits::INBOUND_MESSAGES_MAX);
    let (persisted_sender, persisted) = watch::channel(Ticket::default());
    let (published, watched) = watch::channel(Account::of(&replica));
    let (revoked, revoked_seen) = watch::channel(replica.revocations().clone());
    refuse_revoked(&endpoint, revoked_seen.clone());
    let files = config.members();
    let (roll, rolled) = watch::channel(published::roll_of(&replica, &files));
    let pulse = Arc::new(Pulse::new());
    let tally = Arc::new(Tally::default());
    tokio::spawn(pulse::look_at_disk(pulse.clone(), data.to_owned()));

    let reader = store.reader();
    let writer = store.start_writer(move |Done::Persisted(ticket)| {
        // Without a driver nobody is promised anything any more.
        let _ = persisted_sender.send(ticket);
    });
    writer.scrub_every(config.scrub);
    let me = LocalNode {
        cluster: config.cluster,
        node: config.node,
        standing,
        founders: founders(config),
        roll: rolled.clone(),
    };
    let peers = Peers::start(&endpoint, me, (&inbound, &memory));
    let service = Service {
        cluster: config.cluster,
        node: config.node,
        incarnation,
        roll: rolled.clone(),
        settings: settings(config),
        peers: peers.clone(),
        fault_injection: config.fault_injection,
        published: watched,
        revoked: revoked_seen,
        credentials: place.credentials.clone(),
        pulse: pulse.clone(),
        tally: tally.clone(),
        commands: command_sender,
        shares: Shares::new(),
        new_sessions: NewSessions::default(),
        reader: reader.clone(),
        framing: Framing::new(),
        backups: Semaphore::new(limits::BACKUPS_AT_ONCE_MAX),
        mends: Semaphore::new(limits::MENDS_AT_ONCE_MAX),
        leaders: Leaders::new(endpoint.clone()),
        audit: endpoint.audit().clone(),
    };
    let registry = config.registry.clone().map(|address| AnnounceTo {
        endpoint: endpoint.clone(),
        address,
        cluster: config.cluster,
        nodes: files.clone(),
        roll: rolled,
    });
    let announcer = Announcer::start(registry, stop.clone());
    let service = Arc::new(service);
    #[cfg(feature = "http")]
    let door = open_door(place, &service, &stop);
    let mending = tokio::spawn(mending::run(service.clone(), writer.mender()));
    tokio::spawn(accepting::accept(endpoint, peers.clone(), service));

    let expelled = peers.expelled();
    let inputs = Inputs::new((peer_messages, commands), expelled, persisted, stop);
    let narrator = Narrator::new(tick(config));
    let outputs = Outputs {
        peers,
        memory,
        writer,
        reader,
        published,
        revoked,
        roll: (roll, files),
        pulse,
        tally,
        announcer,
        narrator,
    };
    let ended = Driver::new(replica, inputs, outputs, tick(config)).run().await;
    mending.abort();
    #[cfg(feature = "http")]
    close_door(door).await;
    ended
}

/// Lets nobody in, and nobody stay, whose certificate is revoked by all that the node has.
fn refuse_revoked(endpoint: &Endpoint, mut revoked: watch::Receiver<Revocations>) {
    let known = revoked.clone();
    endpoint.refuse_revoked(move |id| known.borrow().has(id));
    let endpoint = endpoint.clone();
    tokio::spawn(async move {
        while revoked.changed().await.is_ok() {
            endpoint.end_revoked();
        }
    });
}

/// Opens the node's door for HTTP, if it is to have one.
#[cfg(feature = "http")]
fn open_door(
    Place { config, certs, credentials, .. }: Place<'_>,
    service: &Arc<Service>,
    stop: &CancellationToken,
) -> Option<(Door, CancellationToken)> {
    let settings = client::Settings {
        registry: config.registry.clone(),
        ..client::Settings::new("", config.members())
    };
    let plan = Plan {
        node: config.node,
        config: config.http.clone()?,
        fault_injection: config.fault_injection,
        credentials: credentials.clone(),
        certs: certs.to_owned(),
        settings,
    };
    // It ends with the node, whatever ends that.
    let stop = stop.child_token();
    Some((Door::open(plan, service.clone(), stop.clone()), stop))
}

#[cfg(feature = "http")]
async fn close_door(door: Option<(Door, CancellationToken)>) {
    if let Some((door, stop)) = door {
        stop.cancel();
        door.closed().await;
    }
}

/// Does something that may take long, or hang, beside this thread, which hears of `stop` meanwhile.
/// `None`: this node is to stop and has promised nothing. What was begun ends with the process, as it
/// does when that is killed.
async fn unless_stopped<T: Send + 'static>(
    stop: &CancellationToken,
    work: impl FnOnce() -> Result<T, RunError> + Send + 'static,
) -> Result<Option<T>, RunError> {
    let Some(done) = stop.run_until_cancelled(tokio::task::spawn_blocking(work)).await else {
        tracing::info!("stopped while the store was being opened");
        return Ok(None);
    };
    done.expect("a panic ends the process").map(Some)
}

/// Opens the store; makes it first if the folder was never started.
fn open_store(
    data: &Path,
    config: &NodeConfig,
    start: Incarnation,
    lock: store::FolderLock,
) -> Result<(Store, Recovered), RunError> {
    let identity = Identity { cluster: config.cluster, node: config.node };
    let options = store::Options { start, ..Default::default() };
    let new = data.join(NEW_FILE);
    let is_new =
        new.try_exists().map_err(|error| RunError::NewFile { file: new.clone(), error })?;
    if is_new {
        if !store::exists(data)? {
            let configuration = Configuration::of(config.founders());
            if config.founders.is_some() {
                store::create_to_join(data, identity, &configuration, &options)?;
            } else {
                store::create(data, identity, &configuration, &options)?;
            }
        }
        fs::remove_file(&new).map_err(|error| RunError::NewFile { file: new, error })?;
    }
    Ok(store::open(data, identity, options, lock)?)
}

/// Says what was found: the first thing that a person who restarts a node wants to know.
fn report(config: &NodeConfig, recovered: &Recovered, tell: fn(&str)) {
    let node = config.node;
    let state = recovered.hard_state;
    let head = recovered.head.tip.id;
    let last = recovered.entries.last().map_or(head, crate::entry::SealedEntry::id);
    if last == LogId::ZERO && state == HardState::default() {
        tracing::info!(%node, "new: nothing to recover");
    } else {
        let vote = state.voted_for.map_or_else(|| "none".to_owned(), |node| node.to_string());
        let last_offset = next_offset(recovered)
            .checked_sub(1)
            .map_or_else(|| "none".to_owned(), |offset| offset.to_string());
        let (term, index) = (state.current_term, last.index);
        let report = format!(
            "recovered: term {term}, vote {vote}, {index} entries, last offset {last_offset}, {}",
            recovered.report
        );
        tracing::info!(%node, %term, %index, "{report}");
        tell(&report);
    }
}

fn next_offset(recovered: &Recovered) -> u64 {
    let in_entries = recovered.entries.iter().rev().find_map(|entry| {
        let runs = entry.runs().ok()?;
        Some(runs.iter().rfind(|run| run.log == LogNumber::MAIN)?.next_offset().get())
    });
    let in_head = || recovered.head.next_offsets.iter().find(|(log, _)| *log == LogNumber::MAIN);
    in_entries.or_else(|| Some(in_head()?.1.get())).unwrap_or(0)
}

fn tick(config: &NodeConfig) -> Duration {
    config.heartbeat / limits::TICKS_PER_HEARTBEAT
}

fn ticks(config: &NodeConfig, time: Duration) -> u32 {
    let ticks = time.as_micros().div_ceil(tick(config).as_micros().max(1));
    u32::try_from(ticks).expect("the configuration's times are bounded")
}

fn options(config: &NodeConfig) -> replica::Options {
    let ticks = |time| ticks(config, time);
    let timeouts = (ticks(config.election_timeout_min), ticks(config.election_timeout_max));
    let mut raft = raft::Options::new(config.node, limits::TICKS_PER_HEARTBEAT, timeouts);
    raft.read_stall_ticks = ticks(limits::READ_STALL);
    raft.election_timeout_ticks_widest = ticks(limits::ELECTION_TIMEOUT_WIDEST).max(timeouts.1);
    replica::Options {
        raft,
        segment_bytes: config.segment_bytes,
        sessions_max: limits::SESSIONS_MAX,
        proposals_bytes_max: limits::PROPOSALS_BYTES_MAX,
        reserve_bytes: limits::DISK_RESERVE_BYTES + 2 * config.segment_bytes,
        tick: tick(config),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn why_a_node_must_not_go_on_is_said_however_its_store_was_closed() {
        let folder = tempfile::tempdir().unwrap();
        let (node, by) = (NodeId::new(2).unwrap(), NodeId::new(1).unwrap());
        let broken = || Err(StoreError::Missing { folder: folder.path().to_owned() });
        let finish = |end| finish(folder.path(), node, end, broken());
        assert!(matches!(finish(End::Stopped), Err(RunError::Store(_))));
        assert_eq!(refused::earlier(folder.path()), None);
        let loss = Loss::OlderCopy { shown: 1, remembered: 2 };
        let error = finish(End::Expelled(Expelled { by, loss })).unwrap_err();
        assert_eq!(error.outcome(), Outcome::Damage);
        assert_eq!(refused::earlier(folder.path()), Some(error.to_string()));
    }
}
