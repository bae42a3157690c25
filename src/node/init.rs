//! Writes a new cluster's configuration and certificates, whole or not at all.
//!
//! A cluster is on one machine, or each part of it on one of its own ([`Layout`]): what is written for a part
//! (`folders`) is the same, but for where its certificates are.
//!
//! Everything is written into a folder beside its destination, synced, and marked complete; only
//! then is it moved, `certs/cluster.toml` last. A process that was killed before the mark leaves
//! rubbish, which the next one removes; after the mark, moves, which the next one finishes. A lock
//! on the directory keeps two from writing at once: the second waits and uses what it finds. What is
//! left there is only believed if this user made it and nobody else can have changed it: whoever can
//! write into the directory could else hand us certificates of their own.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::{self, File, TryLockError};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use thiserror::Error;

use super::certificates::{self, ISSUED_FOLDER};
use super::folders::{self, FolderError, NODE_UNIT, REGISTRY_UNIT, at, sync_folder, write_file};
use super::privacy;
use super::restore::{self, RestoreError};
use crate::access::{KEY_FILE, KeyError, PUBLIC_FILE, SigningKey};
use crate::address::Address;
use crate::config::{
    CERTS_FOLDER, CLIENTS_FOLDER, CLUSTER_FILE, ClusterConfig, ConfigError, DATA_FOLDER,
    HOSTS_FOLDER, HttpConfig, NodeConfig, REGISTRY_FOLDER, Recover, RegistryConfig,
};
use crate::limits;
use crate::net::tls::TlsError;
use crate::net::{Authority, CertificateFile, CertificateRole, Holder, IssueError};
use crate::remedy;
use crate::types::{ClusterId, NodeId};

/// Where everything is written before it is moved.
const STAGING: &str = ".annal-init";
/// What there may be in it, in the order in which it is moved.
const FOLDERS: [&str; 4] = [DATA_FOLDER, HOSTS_FOLDER, CLIENTS_FOLDER, CERTS_FOLDER];
/// The file in it that says that it is all there.
const COMPLETE: &str = "complete";

/// What to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitOptions {
    /// The directory that gets `certs/`, and the folders of the parts.
    pub directory: PathBuf,
    /// Where the parts are to run.
    pub layout: Layout,
    /// Where the registry will be reached, if there is to be one.
    pub registry: Option<Address>,
    /// The nodes, and where they will be reached; 1 to `limits::NODES_MAX`.
    pub nodes: BTreeMap<NodeId, Address>,
    /// Whether the leader may be crashed on purpose: by an admin, or at a node's door for HTTP.
    pub fault_injection: bool,
    /// Where nodes will listen for HTTP, those that will.
    pub http: BTreeMap<NodeId, SocketAddr>,
    /// Whose log the nodes begin with: a whole backup, and those that follow on it, in order.
    pub backups: Vec<PathBuf>,
}

/// Where the parts of a new cluster are to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Layout {
    /// On this machine: in `data/`, with one `certs/` for all.
    OneMachine,
    /// Each on a machine of its own: in `hosts/`, each with what it needs of `certs/`. That one stays here,
    /// with the keys that make certificates and tokens.
    Machines {
        /// Who gets a folder in `clients/`.
        clients: BTreeSet<String>,
    },
}

impl Layout {
    /// The folder that has those of the nodes and of the registry.
    const fn parts_folder(&self) -> &'static str {
        match self {
            Self::OneMachine => DATA_FOLDER,
            Self::Machines { .. } => HOSTS_FOLDER,
        }
    }
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
            layout: Layout::OneMachine,
            registry: Some(at(base_port).into()),
            nodes: nodes
                .clone()
                .map(|(node, number)| (node, at(base_port + number).into()))
                .collect(),
            fault_injection: true,
            http: nodes.filter_map(door).collect(),
            backups: vec![],
        })
    }

    /// A cluster of which each part has a machine of its own: nobody may crash its leader on purpose, and no
    /// node has a door for HTTP.
    ///
    /// # Errors
    /// There are too many nodes or none, or one is nowhere that others can reach, or where another part is.
    pub fn machines(
        directory: &Path,
        nodes: BTreeMap<NodeId, Address>,
        registry: Option<Address>,
        clients: BTreeSet<String>,
    ) -> Result<Self, InitError> {
        if nodes.is_empty() || nodes.len() > limits::NODES_MAX {
            let found = u16::try_from(nodes.len()).unwrap_or(u16::MAX);
            return Err(InitError::Nodes { found });
        }
        let mut seen = BTreeSet::new();
        for address in nodes.values().chain(&registry) {
            if address.is_wildcard() || address.port() == 0 {
                return Err(InitError::Nowhere { address: address.clone() });
            }
            if !seen.insert(address) {
                return Err(InitError::Twice { address: address.clone() });
            }
        }
        let client = |name: &String| Holder::new(CertificateRole::Client, name).check();
        clients.iter().try_for_each(client)?;
        Ok(Self {
            directory: directory.to_owned(),
            layout: Layout::Machines { clients },
            registry,
            nodes,
            fault_injection: false,
            http: BTreeMap::new(),
            backups: vec![],
        })
    }

    /// What a node of the cluster has to know.
    fn config_of(&self, node: NodeId, address: &Address, cluster: &ClusterConfig) -> NodeConfig {
        let peers = cluster.nodes.iter().filter(|(peer, _)| **peer != node);
        NodeConfig {
            cluster: cluster.cluster,
            node,
            listen: self.listen_for(address),
            address: address.clone(),
            peers: peers.map(|(peer, address)| (*peer, address.clone())).collect(),
            founders: None,
            registry: cluster.registry.clone(),
            heartbeat: limits::HEARTBEAT_DEFAULT,
            election_timeout_min: limits::ELECTION_TIMEOUT_MIN_DEFAULT,
            election_timeout_max: limits::ELECTION_TIMEOUT_MAX_DEFAULT,
            segment_bytes: limits::SEGMENT_BYTES_DEFAULT,
            recover: Recover::default(),
            scrub: Some(limits::SCRUB_DEFAULT),
            fault_injection: self.fault_injection,
            certs: Some(self.certs_of_part()),
            http: self.http.get(&node).copied().map(HttpConfig::at),
        }
    }

    /// What is to be bound by whoever is reached at an address.
    fn listen_for(&self, address: &Address) -> Address {
        match self.layout {
            Layout::OneMachine => address.clone(),
            Layout::Machines { .. } => folders::listen_for(address),
        }
    }

    /// Where a part's certificates are, as seen from its folder.
    fn certs_of_part(&self) -> PathBuf {
        match self.layout {
            Layout::OneMachine => Path::new("../..").join(CERTS_FOLDER),
            Layout::Machines { .. } => PathBuf::from(CERTS_FOLDER),
        }
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
    /// An address at which nobody can be reached.
    #[error("nobody can be reached at {address}")]
    Nowhere {
        /// The address.
        address: Address,
    },
    /// An address that two parts have.
    #[error("{address} is used twice")]
    Twice {
        /// The address.
        address: Address,
    },
    /// The certificates could not be made.
    #[error(transparent)]
    Certificates(#[from] IssueError),
    /// A certificate that was made is none.
    #[error(transparent)]
    Certificate(#[from] TlsError),
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
    #[error(transparent)]
    Folder(#[from] FolderError),
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
            Self::Occupied { path } if path.ancestors().skip(1).take(2).any(is_of_machines) => {
                "a cluster whose parts run elsewhere was made here; `--dir` makes one elsewhere"
                    .into()
            }
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
            Self::Nowhere { .. } => {
                "say where others reach it, as n1=n1.example.org:7101; it listens at all its \
                 addresses where that is a name"
                    .into()
            }
            Self::Twice { .. } => "give each part an address, or a port, of its own".into(),
            Self::Certificates(error) => error.hint().into(),
            Self::Random { .. } => "try again in a moment".into(),
            Self::Certificate(error) => error.hint(),
            Self::Folder(error) => {
                remedy::of(&error.source, "choose another --dir, or look into that folder").into()
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

/// Whether the cluster of this directory was made for several machines, so that none of its parts is to run
/// here.
pub fn is_of_machines(directory: &Path) -> bool {
    directory.join(HOSTS_FOLDER).exists()
}

/// That there is no cluster in a directory, nor a part of one.
///
/// # Errors
/// [`InitError::Occupied`], and whatever keeps it from being told.
pub fn check_vacant(directory: &Path) -> Result<(), InitError> {
    match occupied(directory)? {
        Some(path) => Err(InitError::Occupied { path }),
        None => Ok(()),
    }
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
    check_vacant(directory)?;
    write(options)
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
            Err(TryLockError::Error(error)) => return Err(at(directory)(error).into()),
        }
    }
}

/// The first part of a cluster that is there. Hidden files, as `.gitignore`, do not count.
fn occupied(directory: &Path) -> Result<Option<PathBuf>, InitError> {
    let certs = directory.join(CERTS_FOLDER);
    if !visible_entries(&certs)?.is_empty() {
        return Ok(Some(certs));
    }
    let parts = [DATA_FOLDER, HOSTS_FOLDER].map(|folder| visible_entries(&directory.join(folder)));
    for path in parts.into_iter().collect::<Result<Vec<_>, _>>()?.concat() {
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
        Err(error) => return Err(at(folder)(error).into()),
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
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(&staging)(error).into()),
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
        registry: options.registry.clone(),
        founders: None,
        nodes: options.nodes.clone(),
    };
    let staging = options.directory.join(STAGING);
    folders::create(&staging)?;
    stage_parts(options, &cluster)?;
    if let Err(error) = stage_log(options, &cluster) {
        // It may be large. What cannot be removed now the next one removes.
        let _ = fs::remove_dir_all(&staging);
        return Err(error);
    }
    stage_certs(options, &cluster)?;
    sync_folder(&staging)?;
    write_file(&staging.join(COMPLETE), b"")?;
    sync_folder(&staging)?;
    move_into_place(&options.directory)?;
    Ok(cluster)
}

/// The folders of the parts, without certificates.
fn stage_parts(options: &InitOptions, cluster: &ClusterConfig) -> Result<(), InitError> {
    let parts = options.directory.join(STAGING).join(options.layout.parts_folder());
    folders::create(&parts)?;
    if let Some(registry) = &options.registry {
        let listen = options.listen_for(registry);
        let config = RegistryConfig { listen, certs: Some(options.certs_of_part()) };
        folders::registry(&parts.join(REGISTRY_FOLDER), &config)?;
    }
    for (node, address) in &cluster.nodes {
        let config = options.config_of(*node, address, cluster);
        folders::node(&parts.join(node.to_string()), &config)?;
    }
    Ok(sync_folder(&parts)?)
}

/// Puts the log of the backups into the nodes' folders, if there are any.
fn stage_log(options: &InitOptions, cluster: &ClusterConfig) -> Result<(), InitError> {
    if options.backups.is_empty() {
        return Ok(());
    }
    let data = options.directory.join(STAGING).join(options.layout.parts_folder());
    restore::restore(&options.backups, cluster, &data)?;
    let mut nodes = cluster.nodes.keys().map(|node| data.join(node.to_string()));
    Ok(nodes.try_for_each(|folder| sync_folder(&folder))?)
}

/// The folders with certificates: one for all and for whoever makes more, and on several machines one in
/// the folder of each part and of each client.
fn stage_certs(options: &InitOptions, cluster: &ClusterConfig) -> Result<(), InitError> {
    let staging = options.directory.join(STAGING);
    let (authority, authority_files) = Authority::generate(cluster.cluster)?;
    let (key, key_text) = SigningKey::generate()?;
    let tokens = folders::file(PUBLIC_FILE, key.public().to_text());
    let cluster_file = folders::file(CLUSTER_FILE, cluster.to_toml());
    let [authority_file, _] = &authority_files;

    let mut all = authority_files.to_vec();
    all.extend([folders::file(KEY_FILE, key_text), tokens.clone(), cluster_file.clone()]);
    let mut issued = vec![];
    let mut issue = |holder: &Holder| -> Result<[CertificateFile; 2], InitError> {
        let pair = authority.issue(holder)?;
        issued.push(certificates::record(&pair[0])?);
        Ok(pair)
    };
    for (role, name) in [(CertificateRole::Client, "client"), (CertificateRole::Admin, "admin")] {
        all.extend(issue(&Holder::new(role, name))?);
    }
    let nodes = cluster.nodes.iter().map(|(node, at)| (Holder::node(*node, at), NODE_UNIT));
    let registry = Holder::new(CertificateRole::Registry, REGISTRY_FOLDER);
    let registry = cluster.registry.iter().map(|_| (registry.clone(), REGISTRY_UNIT));
    for (holder, unit) in nodes.chain(registry) {
        let pair = issue(&holder)?;
        match options.layout {
            Layout::OneMachine => all.extend(pair),
            Layout::Machines { .. } => {
                let known = (holder.role == CertificateRole::Node).then_some(&tokens);
                let own = [authority_file].into_iter().chain(known).chain(&pair);
                folders::equip(&staging.join(HOSTS_FOLDER).join(&holder.name), own, unit)?;
            }
        }
    }
    if let Layout::Machines { clients } = &options.layout {
        let folder = staging.join(CLIENTS_FOLDER);
        folders::create(&folder)?;
        for name in clients {
            let holder = Holder::new(CertificateRole::Client, name);
            let pair = issue(&holder)?.map(|file| folders::named("client", file));
            let own = [authority_file, &cluster_file].into_iter().chain(&pair);
            let folder = folder.join(name);
            folders::create(&folder)?;
            folders::certs(&folder, own)?;
        }
        sync_folder(&folder)?;
    }
    folders::certs(&staging, &all)?;
    Ok(folders::replace(&staging.join(CERTS_FOLDER).join(ISSUED_FOLDER), &issued)?)
}

/// Moves what was staged to where it belongs, `cluster.toml` last. May be cut off anywhere and
/// done again: what is no longer staged has been moved.
fn move_into_place(directory: &Path) -> Result<(), InitError> {
    let staging = directory.join(STAGING);
    assert!(staging.join(COMPLETE).exists(), "only what is complete is moved");

    for folder in FOLDERS {
        if !staging.join(folder).try_exists().map_err(at(&staging))? {
            continue;
        }
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
    for folder in FOLDERS {
        let folder = staging.join(folder);
        remove_folder(&folder)?;
    }
    remove_folder(&staging)
}

fn remove_folder(folder: &Path) -> Result<(), InitError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(folder)(error).into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{DirBuilder, Permissions};
    use std::os::unix::fs::DirBuilderExt as _;

    use super::super::folders::NEW_FILE;
    use super::*;
    use crate::net::Credentials;

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

    fn machines(directory: &Path) -> Result<InitOptions, InitError> {
        let address = |text: &str| text.parse::<Address>().unwrap();
        let node = |number: u16, text| (NodeId::new(number).unwrap(), address(text));
        let nodes = [node(1, "a.invalid:7101"), node(2, "192.0.2.1:7102"), node(3, "[::1]:7103")];
        let clients = ["app", "b"].map(str::to_owned).into();
        InitOptions::machines(directory, nodes.into(), Some(address("r.invalid:7100")), clients)
    }

    fn names(folder: &Path) -> Vec<String> {
        let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
        visible_entries(folder).unwrap().iter().map(name).collect()
    }

    #[test]
    fn each_machine_gets_what_it_needs_and_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let path = |path: &str| folder.path().join(path);
        let cluster = init(&machines(folder.path()).unwrap()).unwrap();
        assert_eq!(names(folder.path()), ["certs", "clients", "hosts"]);
        assert_eq!(names(&path("hosts")), ["n1", "n2", "n3", "registry"]);
        assert_eq!(names(&path("hosts/n1")), ["annal@.service", "certs", "new", "node.toml"]);
        assert_eq!(names(&path("hosts/n1/certs")), ["ca.crt", "n1.crt", "n1.key", "tokens.pub"]);
        let registry = ["annal-registry.service", "certs", "registry.toml"];
        assert_eq!(names(&path("hosts/registry")), registry);
        assert_eq!(
            names(&path("hosts/registry/certs")),
            ["ca.crt", "registry.crt", "registry.key"]
        );
        assert_eq!(names(&path("clients")), ["app", "b"]);
        let client = ["ca.crt", "client.crt", "client.key", "cluster.toml"];
        assert_eq!(names(&path("clients/app/certs")), client);
        assert!(names(&path("certs")).contains(&"ca.key".to_owned()));

        for (node, listen) in [("n1", "[::]:7101"), ("n2", "192.0.2.1:7102"), ("n3", "[::1]:7103")]
        {
            let data = path("hosts").join(node);
            let config = NodeConfig::load(&data).unwrap();
            assert_eq!(config.listen, listen.parse().unwrap());
            assert_eq!(config.members(), cluster.nodes);
            assert_eq!(config.certs, Some(data.join("certs")));
            assert!(!config.fault_injection && config.http.is_none());
            let credentials = Credentials::load(&data.join("certs"), node).unwrap();
            assert_eq!(credentials.identity().node(), Some(config.node));
        }
        let app = Credentials::load(&path("clients/app/certs"), "client").unwrap();
        assert_eq!((app.identity().role, &*app.identity().name), (CertificateRole::Client, "app"));
        assert_eq!(ClusterConfig::load(&path("clients/b/certs")).unwrap(), cluster);
        assert_eq!(RegistryConfig::load(&path("hosts/registry")).unwrap().listen.port(), 7100);
        let again = init(&machines(folder.path()).unwrap());
        assert!(matches!(again, Err(InitError::Occupied { .. })));
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
        for options in [|at: &Path| options(at), |at: &Path| machines(at).unwrap()] {
            let folder = tempfile::tempdir().unwrap();
            init(&options(folder.path())).unwrap();
            check_private(folder.path());
        }
    }

    fn check_private(folder: &Path) {
        let mut paths = visible_entries(folder).unwrap();
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

        let machine = |at: &str, registry: Option<&str>, client: &str| {
            let nodes = BTreeMap::from([(NodeId::new(1).unwrap(), at.parse().unwrap())]);
            let registry = registry.map(|at| at.parse().unwrap());
            InitOptions::machines(here, nodes, registry, [client.to_owned()].into())
        };
        let none = InitOptions::machines(here, BTreeMap::new(), None, BTreeSet::new());
        assert!(matches!(none, Err(InitError::Nodes { found: 0 })));
        for at in ["0.0.0.0:7101", "[::]:7101", "a.invalid:0"] {
            let refused = machine(at, None, "app");
            assert!(matches!(refused, Err(InitError::Nowhere { .. })), "{at}");
        }
        let twice = machine("a.invalid:1", Some("a.invalid:1"), "app");
        assert!(matches!(twice, Err(InitError::Twice { .. })));
        for client in ["../app", "", "ca", "A"] {
            let refused = machine("a.invalid:1", None, client);
            assert!(matches!(refused, Err(InitError::Certificates(IssueError::Name { .. }))));
        }
    }
}
