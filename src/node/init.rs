//! Writes a new cluster's configuration and certificates, whole or not at all.
//!
//! Everything is written into a folder beside its destination, synced, and marked complete; only
//! then is it moved, `certs/cluster.toml` last. A process that was killed before the mark leaves
//! rubbish, which the next one removes; after the mark, moves, which the next one finishes. A lock
//! on the directory keeps two from writing at once: the second waits and uses what it finds. What is
//! left there is only believed if this user made it and nobody else can have changed it: whoever can
//! write into the directory could else hand us certificates of their own.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use thiserror::Error;

use super::privacy;
use super::restore::{self, RestoreError};
use crate::access::{KEY_FILE, KeyError, PUBLIC_FILE, SigningKey};
use crate::address::Address;
use crate::config::{
    CERTS_FOLDER, CLUSTER_FILE, ClusterConfig, ConfigError, DATA_FOLDER, HttpConfig, NODE_FILE,
    NodeConfig, REGISTRY_FILE, REGISTRY_FOLDER, Recover, RegistryConfig,
};
use crate::limits;
use crate::net::{CertificateFile, CertificateRole, Holder, IssueError, issue_all};
use crate::remedy;
use crate::types::{ClusterId, NodeId};

/// The empty file beside `node.toml` that says: this node has not promised anything yet.
pub const NEW_FILE: &str = "new";

/// Where everything is written before it is moved.
const STAGING: &str = ".annal-init";
/// The file in it that says that it is all there.
const COMPLETE: &str = "complete";

/// What to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitOptions {
    /// The directory that gets `certs/` and `data/`.
    pub directory: PathBuf,
    /// Where the registry will listen.
    pub registry: Address,
    /// The nodes, and where they will listen; 1 to `limits::NODES_MAX`.
    pub nodes: BTreeMap<NodeId, Address>,
    /// Whether the leader may be crashed on purpose: by an admin, or at a node's door for HTTP.
    pub fault_injection: bool,
    /// Where nodes will listen for HTTP, those that will.
    pub http: BTreeMap<NodeId, SocketAddr>,
    /// Whose log the nodes begin with: a whole backup, and those that follow on it, in order.
    pub backups: Vec<PathBuf>,
}

impl InitOptions {
    /// A cluster on this machine: the registry at `base_port`, the nodes at the ports after it, their
    /// doors for HTTP [`limits::HTTP_PORTS_AFTER`] further on, as far as there are such ports.
    ///
    /// # Errors
    /// There are no nodes, too many, or too few ports above `base_port`.
    pub fn local(directory: &Path, nodes: u16, base_port: u16) -> Result<Self, InitError> {
        if nodes == 0 || usize::from(nodes) > limits::NODES_MAX {
            return Err(InitError::Nodes { found: nodes });
        }
        if base_port == 0 || base_port.checked_add(nodes).is_none() {
            return Err(InitError::Ports { base_port, nodes });
        }
        let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let nodes = (1..=nodes).filter_map(|number| Some((NodeId::new(number)?, number)));
        let door = |(node, number)| {
            let port = base_port.checked_add(limits::HTTP_PORTS_AFTER + number)?;
            Some((node, at(port)))
        };
        Ok(Self {
            directory: directory.to_owned(),
            registry: at(base_port).into(),
            nodes: nodes
                .clone()
                .map(|(node, number)| (node, at(base_port + number).into()))
                .collect(),
            fault_injection: true,
            http: nodes.filter_map(door).collect(),
            backups: vec![],
        })
    }
}

/// Why a cluster could not be written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum InitError {
    /// There is something already.
    #[error("{} is already there, and is not overwritten", path.display())]
    Occupied {
        /// What is there.
        path: PathBuf,
    },
    /// What a killed process seems to have left may be another's.
    #[error("{} is not this user's alone, and is left as it is", path.display())]
    Foreign {
        /// What is there.
        path: PathBuf,
    },
    /// Another process has been writing there for a long time.
    #[error("another process is writing a cluster into {} and does not finish", path.display())]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// A number of nodes that cannot be.
    #[error("a cluster has 1 to {} nodes, not {found}", limits::NODES_MAX)]
    Nodes {
        /// The number.
        found: u16,
    },
    /// Ports that cannot be.
    #[error("there are no {nodes} ports for nodes after port {base_port}")]
    Ports {
        /// The registry's port.
        base_port: u16,
        /// How many must follow.
        nodes: u16,
    },
    /// The certificates could not be made.
    #[error(transparent)]
    Certificates(#[from] IssueError),
    /// The key for access tokens could not be made.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The system gives out no random numbers.
    #[error("this system gives out no random numbers: {error}")]
    Random {
        /// What it said.
        error: getrandom::Error,
    },
    /// A file or folder could not be written.
    #[error("{} could not be written: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What is there cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A backup was not put into the nodes.
    #[error(transparent)]
    Restore(#[from] RestoreError),
}

impl InitError {
    /// What the user can do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Occupied { path } if is_whole(path) => {
                "`annal up` starts the cluster that is there; `--dir` makes one elsewhere".into()
            }
            Self::Occupied { .. } => {
                "a part of a cluster is there: put back what it lacks from where it was made, or \
                 make another elsewhere with `--dir`"
                    .into()
            }
            Self::Foreign { .. } => {
                "who put it there? if nobody needs it, remove it and try again".into()
            }
            Self::Locked { .. } => "find the other `annal` and stop it, then try again".into(),
            Self::Nodes { .. } => "3 nodes survive the loss of one, 5 of two".into(),
            Self::Ports { base_port: 0, .. } => "choose a --base-port from 1 on".into(),
            Self::Ports { .. } => "choose a lower --base-port".into(),
            Self::Certificates(_) | Self::Random { .. } => "try again in a moment".into(),
            Self::Io { source, .. } => {
                remedy::of(source, "choose another --dir, or look into that folder").into()
            }
            Self::Key(error) => error.hint(),
            Self::Config(error) => error.hint(),
            Self::Restore(error) => error.hint(),
        }
    }
}

/// Whether what is there, `certs/` or something in `data/`, belongs to a cluster that could start.
fn is_whole(path: &Path) -> bool {
    let certs = if path.ends_with(CERTS_FOLDER) {
        path.to_owned()
    } else {
        let directory = path.parent().and_then(Path::parent).unwrap_or(path);
        directory.join(CERTS_FOLDER)
    };
    certs.join(CLUSTER_FILE).exists()
}

/// Writes a new cluster.
///
/// # Errors
/// There is one already, or part of one; or it could not be written.
pub fn init(options: &InitOptions) -> Result<ClusterConfig, InitError> {
    let directory = &options.directory;
    fs::create_dir_all(directory).map_err(at(directory))?;
    let _lock = lock(directory)?;
    finish_or_forget(directory)?;
    match occupied(directory)? {
        Some(path) => Err(InitError::Occupied { path }),
        None => write(options),
    }
}

/// Writes a new cluster if there is nothing of one; `None` if there is something.
///
/// # Errors
/// As [`init`], except that something being there is no error.
pub fn init_if_empty(options: &InitOptions) -> Result<Option<ClusterConfig>, InitError> {
    match init(options) {
        Ok(cluster) => Ok(Some(cluster)),
        Err(InitError::Occupied { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Holds the directory until dropped. Nobody else writes a cluster into it meanwhile.
struct DirectoryLock {
    _directory: File,
}

fn lock(directory: &Path) -> Result<DirectoryLock, InitError> {
    const PAUSE: Duration = Duration::from_millis(20);
    let file = File::open(directory).map_err(at(directory))?;
    let deadline = Instant::now() + limits::INIT_LOCK_TIMEOUT;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(DirectoryLock { _directory: file }),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                std::thread::sleep(PAUSE);
            }
            Err(TryLockError::WouldBlock) => {
                return Err(InitError::Locked { path: directory.to_owned() });
            }
            Err(TryLockError::Error(error)) => return Err(at(directory)(error)),
        }
    }
}

/// The first part of a cluster that is there. Hidden files, as `.gitignore`, do not count.
fn occupied(directory: &Path) -> Result<Option<PathBuf>, InitError> {
    let certs = directory.join(CERTS_FOLDER);
    if !visible_entries(&certs)?.is_empty() {
        return Ok(Some(certs));
    }
    for path in visible_entries(&directory.join(DATA_FOLDER))? {
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        let is_registry = name == REGISTRY_FOLDER && !visible_entries(&path)?.is_empty();
        if is_registry || name.parse::<NodeId>().is_ok() {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// What is in a folder, in order, hidden files left out; nothing if there is no folder.
fn visible_entries(folder: &Path) -> Result<Vec<PathBuf>, InitError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(at(folder)(error)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let entry = entry.map_err(at(folder))?;
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

/// Deals with what a killed process has left: finishes its moves, or forgets what it began.
fn finish_or_forget(directory: &Path) -> Result<(), InitError> {
    let staging = directory.join(STAGING);
    if !is_ours_alone(&staging)? {
        return Err(InitError::Foreign { path: staging });
    }
    let complete = staging.join(COMPLETE);
    if complete.try_exists().map_err(at(&complete))? {
        return move_into_place(directory);
    }
    match fs::remove_dir_all(&staging) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(&staging)(error)),
        _ => Ok(()),
    }
}

/// Whether what is staged, if anything, was made by this user, and nobody else may write there.
fn is_ours_alone(staging: &Path) -> Result<bool, InitError> {
    const OTHERS_MAY_WRITE: u32 = 0o022;
    let found = match fs::symlink_metadata(staging) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        found => found.map_err(at(staging))?,
    };
    if !found.is_dir() || found.permissions().mode() & OTHERS_MAY_WRITE != 0 {
        return Ok(false);
    }
    is_of_user(staging, rustix::process::geteuid().as_raw())
}

/// Whether a folder and all in it belong to a user, and no link leads out of it.
fn is_of_user(path: &Path, user: u32) -> Result<bool, InitError> {
    let found = fs::symlink_metadata(path).map_err(at(path))?;
    if found.uid() != user || !(found.is_dir() || found.is_file()) {
        return Ok(false);
    }
    if found.is_dir() {
        for entry in fs::read_dir(path).map_err(at(path))? {
            if !is_of_user(&entry.map_err(at(path))?.path(), user)? {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

fn write(options: &InitOptions) -> Result<ClusterConfig, InitError> {
    let mut number = [0; 16];
    getrandom::fill(&mut number).map_err(|error| InitError::Random { error })?;
    let cluster = ClusterConfig {
        cluster: ClusterId::new(u128::from_le_bytes(number)),
        registry: Some(options.registry.clone()),
        nodes: options.nodes.clone(),
    };
    let staging = options.directory.join(STAGING);
    privacy::create_folder(&staging).map_err(at(&staging))?;
    stage_data(options, &cluster)?;
    if let Err(error) = stage_log(options, &cluster) {
        // It may be large. What cannot be removed now the next one removes.
        let _ = fs::remove_dir_all(&staging);
        return Err(error);
    }
    stage_certs(&staging, &cluster)?;
    sync_folder(&staging)?;
    write_file(&staging.join(COMPLETE), b"")?;
    sync_folder(&staging)?;
    move_into_place(&options.directory)?;
    Ok(cluster)
}

fn stage_data(options: &InitOptions, cluster: &ClusterConfig) -> Result<(), InitError> {
    let certs = Some(Path::new("../..").join(CERTS_FOLDER));
    let data = options.directory.join(STAGING).join(DATA_FOLDER);
    privacy::create_folder(&data).map_err(at(&data))?;

    let folder = data.join(REGISTRY_FOLDER);
    let registry = RegistryConfig { listen: options.registry.clone(), certs: certs.clone() };
    privacy::create_folder(&folder).map_err(at(&folder))?;
    write_file(&folder.join(REGISTRY_FILE), registry.to_toml().as_bytes())?;
    sync_folder(&folder)?;

    for (node, address) in &cluster.nodes {
        let folder = data.join(node.to_string());
        let config = NodeConfig {
            cluster: cluster.cluster,
            node: *node,
            listen: address.clone(),
            address: address.clone(),
            peers: cluster.nodes.iter().filter(|(peer, _)| *peer != node).map(copied).collect(),
            registry: cluster.registry.clone(),
            heartbeat: limits::HEARTBEAT_DEFAULT,
            election_timeout_min: limits::ELECTION_TIMEOUT_MIN_DEFAULT,
            election_timeout_max: limits::ELECTION_TIMEOUT_MAX_DEFAULT,
            segment_bytes: limits::SEGMENT_BYTES_DEFAULT,
            recover: Recover::default(),
            fault_injection: options.fault_injection,
            certs: certs.clone(),
            http: options.http.get(node).copied().map(HttpConfig::at),
        };
        privacy::create_folder(&folder).map_err(at(&folder))?;
        write_file(&folder.join(NODE_FILE), config.to_toml().as_bytes())?;
        write_file(&folder.join(NEW_FILE), b"")?;
        sync_folder(&folder)?;
    }
    sync_folder(&data)
}

/// Puts the log of the backups into the nodes' folders, if there are any.
fn stage_log(options: &InitOptions, cluster: &ClusterConfig) -> Result<(), InitError> {
    if options.backups.is_empty() {
        return Ok(());
    }
    let data = options.directory.join(STAGING).join(DATA_FOLDER);
    restore::restore(&options.backups, cluster, &data)?;
    cluster.nodes.keys().try_for_each(|node| sync_folder(&data.join(node.to_string())))
}

fn copied((node, address): (&NodeId, &Address)) -> (NodeId, Address) {
    (*node, address.clone())
}

fn stage_certs(staging: &Path, cluster: &ClusterConfig) -> Result<(), InitError> {
    let certs = staging.join(CERTS_FOLDER);
    privacy::create_folder(&certs).map_err(at(&certs))?;
    for file in certificates(cluster)? {
        write_file(&certs.join(file.name), file.contents.as_bytes())?;
    }
    let (key, text) = SigningKey::generate()?;
    write_file(&certs.join(KEY_FILE), text.as_bytes())?;
    write_file(&certs.join(PUBLIC_FILE), key.public().to_text().as_bytes())?;
    write_file(&certs.join(CLUSTER_FILE), cluster.to_toml().as_bytes())?;
    sync_folder(&certs)
}

/// The files with the certificates and keys of a cluster, a certificate for each of its parts and
/// for those who use it.
fn certificates(cluster: &ClusterConfig) -> Result<Vec<CertificateFile>, InitError> {
    let nodes = cluster.nodes.iter().map(|(node, address)| Holder {
        address: Some(address.clone()),
        ..Holder::new(CertificateRole::Node, node.to_string())
    });
    let others = [
        Holder::new(CertificateRole::Registry, REGISTRY_FOLDER),
        Holder::new(CertificateRole::Client, "client"),
        Holder::new(CertificateRole::Admin, "admin"),
    ];
    let holders: Vec<_> = nodes.chain(others).collect();
    Ok(issue_all(cluster.cluster, &holders)?)
}

/// Moves what was staged to where it belongs, `cluster.toml` last. May be cut off anywhere and
/// done again: what is no longer staged has been moved.
fn move_into_place(directory: &Path) -> Result<(), InitError> {
    let staging = directory.join(STAGING);
    assert!(staging.join(COMPLETE).exists(), "only what is complete is moved");

    for folder in [DATA_FOLDER, CERTS_FOLDER] {
        let target = directory.join(folder);
        privacy::create_folders(&target).map_err(at(&target))?;
        let (last, first): (Vec<_>, Vec<_>) = visible_entries(&staging.join(folder))?
            .into_iter()
            .partition(|path| path.file_name() == Some(OsStr::new(CLUSTER_FILE)));
        for paths in [first, last] {
            for path in paths {
                let name = path.file_name().expect("an entry of a folder has a name");
                let target = target.join(name);
                fs::rename(&path, &target).map_err(at(&target))?;
            }
            sync_folder(&target)?;
        }
    }
    sync_folder(directory)?;
    // The mark goes last: while it is there, everything above may be done again.
    for folder in [DATA_FOLDER, CERTS_FOLDER] {
        let folder = staging.join(folder);
        remove_folder(&folder)?;
    }
    remove_folder(&staging)
}

fn remove_folder(folder: &Path) -> Result<(), InitError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(folder)(error)),
        _ => Ok(()),
    }
}

/// Writes a new file, for this user alone, and waits until it is on disk.
fn write_file(path: &Path, contents: &[u8]) -> Result<(), InitError> {
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(contents)?;
        file.sync_all()
    };
    write().map_err(at(path))
}

fn sync_folder(folder: &Path) -> Result<(), InitError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(at(folder))
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> InitError + use<> {
    let path = path.to_owned();
    move |source| InitError::Io { path, source }
}

#[cfg(test)]
mod tests {
    use std::fs::{DirBuilder, Permissions};
    use std::os::unix::fs::DirBuilderExt as _;

    use super::*;

    fn options(directory: &Path) -> InitOptions {
        InitOptions::local(directory, 3, 7100).unwrap()
    }

    #[test]
    fn a_cluster_is_written_and_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let cluster = init(&options(folder.path())).unwrap();
        assert_eq!(ClusterConfig::load(&folder.path().join("certs")).unwrap(), cluster);
        for (node, address) in &cluster.nodes {
            let data = folder.path().join("data").join(node.to_string());
            let config = NodeConfig::load(&data).unwrap();
            assert_eq!((config.node, &config.listen), (*node, address));
            assert_eq!(config.members(), cluster.nodes);
            assert!(data.join(NEW_FILE).exists());
        }
        assert!(!folder.path().join(STAGING).exists());
        assert!(matches!(init(&options(folder.path())), Err(InitError::Occupied { .. })));
        assert!(init_if_empty(&options(folder.path())).unwrap().is_none());
        assert_eq!(ClusterConfig::load(&folder.path().join("certs")).unwrap(), cluster);
    }

    #[test]
    fn a_fresh_clone_with_only_hidden_files_counts_as_empty() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["certs", "data"] {
            fs::create_dir(folder.path().join(name)).unwrap();
            fs::write(folder.path().join(name).join(".gitignore"), "*\n").unwrap();
        }
        init(&options(folder.path())).unwrap();
        assert!(folder.path().join("certs/.gitignore").exists());
        assert!(folder.path().join("certs/cluster.toml").exists());
    }

    #[test]
    fn a_node_that_is_there_is_not_overwritten_though_the_certificates_are_gone() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("data/n4")).unwrap();
        assert!(matches!(init(&options(folder.path())), Err(InitError::Occupied { .. })));
    }

    #[test]
    fn what_a_killed_process_began_is_forgotten_and_what_it_completed_is_finished() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join(STAGING).join("data/n1")).unwrap();
        let mode = Permissions::from_mode(0o700);
        fs::set_permissions(folder.path().join(STAGING), mode).unwrap();
        let cluster = init(&options(folder.path())).unwrap();

        // As if killed after the second move.
        let staging = folder.path().join(STAGING);
        DirBuilder::new().mode(0o700).create(&staging).unwrap();
        fs::create_dir(staging.join("data")).unwrap();
        fs::rename(folder.path().join("certs"), staging.join("certs")).unwrap();
        fs::rename(folder.path().join("data/n3"), staging.join("data/n3")).unwrap();
        fs::write(staging.join(COMPLETE), "").unwrap();
        assert!(init_if_empty(&options(folder.path())).unwrap().is_none());
        assert_eq!(ClusterConfig::load(&folder.path().join("certs")).unwrap(), cluster);
        assert_eq!(
            NodeConfig::load(&folder.path().join("data/n3")).unwrap().cluster,
            cluster.cluster
        );
        assert!(!staging.exists());
    }

    #[test]
    fn what_others_may_have_put_there_is_not_taken_over() {
        let plant: [fn(&Path); 4] = [
            |staging| fs::set_permissions(staging, Permissions::from_mode(0o777)).unwrap(),
            |staging| fs::set_permissions(staging, Permissions::from_mode(0o730)).unwrap(),
            |staging| {
                fs::rename(staging, staging.with_extension("real")).unwrap();
                std::os::unix::fs::symlink(staging.with_extension("real"), staging).unwrap();
            },
            |staging| {
                std::os::unix::fs::symlink("/etc/hosts", staging.join("certs/ca.crt")).unwrap();
            },
        ];
        for plant in plant {
            let folder = tempfile::tempdir().unwrap();
            let staging = folder.path().join(STAGING);
            for below in ["data/n1", "certs"] {
                fs::create_dir_all(staging.join(below)).unwrap();
            }
            fs::set_permissions(&staging, Permissions::from_mode(0o700)).unwrap();
            fs::write(staging.join("certs/cluster.toml"), "planted").unwrap();
            fs::write(staging.join(COMPLETE), "").unwrap();
            plant(&staging);
            let error = init(&options(folder.path())).unwrap_err();
            assert!(matches!(error, InitError::Foreign { .. }), "{error}");
            assert!(staging.join("certs/cluster.toml").exists(), "it is left as it is");
            assert!(!folder.path().join("certs").exists());
        }
        // Another user's is known by its owner.
        let mine = tempfile::tempdir().unwrap();
        let user = rustix::process::geteuid().as_raw();
        assert!(is_of_user(mine.path(), user).unwrap());
        assert!(!is_of_user(mine.path(), user + 1).unwrap());
    }

    #[test]
    fn of_many_at_once_one_writes_and_the_others_find_it() {
        let folder = tempfile::tempdir().unwrap();
        let options = options(folder.path());
        let written = std::thread::scope(|scope| {
            let starters: Vec<_> =
                (0..8).map(|_| scope.spawn(|| init_if_empty(&options).unwrap())).collect();
            starters.into_iter().filter_map(|starter| starter.join().unwrap()).collect::<Vec<_>>()
        });
        assert_eq!(written.len(), 1);
        assert_eq!(ClusterConfig::load(&folder.path().join("certs")).unwrap(), written[0]);
    }

    #[test]
    fn what_is_written_is_for_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        init(&options(folder.path())).unwrap();
        let mut paths = visible_entries(folder.path()).unwrap();
        let mut count = 0;
        while let Some(path) = paths.pop() {
            let found = fs::metadata(&path).unwrap();
            let expected = if found.is_dir() { 0o700 } else { 0o600 };
            assert_eq!(found.permissions().mode() & 0o777, expected, "{}", path.display());
            if found.is_dir() {
                paths.extend(visible_entries(&path).unwrap());
            }
            count += 1;
        }
        assert!(count > 20, "{count}");
    }

    #[test]
    fn impossible_clusters_are_refused() {
        let here = Path::new(".");
        assert!(matches!(InitOptions::local(here, 0, 7100), Err(InitError::Nodes { .. })));
        assert!(matches!(InitOptions::local(here, 16, 7100), Err(InitError::Nodes { .. })));
        assert!(matches!(InitOptions::local(here, 3, 65_533), Err(InitError::Ports { .. })));
        assert!(matches!(InitOptions::local(here, 3, 0), Err(InitError::Ports { .. })));
    }
}
