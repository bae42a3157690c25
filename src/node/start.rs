//! What has to be true before a node or a registry starts, and what is done about it when not.
//!
//! The first to need a cluster makes the default one. A node whose data is gone never starts
//! empty: it may have promised its vote, or acknowledged entries, on what is gone.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::folders::NEW_FILE;
use super::init::{self, InitError, InitOptions};
use super::ports;
use super::privacy;
use crate::config::{
    CERTS_FOLDER, CLUSTER_FILE, ClusterConfig, ConfigError, DATA_FOLDER, NODE_FILE, NodeConfig,
    REGISTRY_FILE, REGISTRY_FOLDER, RegistryConfig,
};
use crate::limits;
use crate::net::tls::AUTHORITY_FILE;
use crate::outcome::Outcome;
use crate::remedy;
use crate::store::{self, StoreError};
use crate::types::{ClusterId, NodeId};

/// A node that may start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreparedNode {
    /// Its data folder.
    pub data: PathBuf,
    /// Its configuration.
    pub config: NodeConfig,
    /// The folder with its certificates.
    pub certs: PathBuf,
    /// The directory that a new cluster was written into, if that was done.
    pub wrote: Option<PathBuf>,
}

/// A registry that may start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreparedRegistry {
    /// Its data folder.
    pub data: PathBuf,
    /// Its configuration.
    pub config: RegistryConfig,
    /// The folder with its certificates.
    pub certs: PathBuf,
    /// The directory that a new cluster was written into, if that was done.
    pub wrote: Option<PathBuf>,
}

/// Why a node or registry may not start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// The folder's name is not a node's.
    #[error("{} does not end in a node's name (n1, n2, …)", data.display())]
    Name {
        /// The folder.
        data: PathBuf,
    },
    /// The node was there once.
    #[error("{node}'s data is gone; starting it empty could break what it promised")]
    Gone {
        /// The node.
        node: NodeId,
        /// Where its data should be.
        data: PathBuf,
    },
    /// The cluster has no such node.
    #[error("the cluster of {} has no {node}", certs.display())]
    NotAMember {
        /// The node.
        node: NodeId,
        /// The cluster's folder of certificates.
        certs: PathBuf,
    },
    /// The folder belongs to another node.
    #[error("{} is the data of {found}, not of {expected}", data.display())]
    OtherNode {
        /// The folder.
        data: PathBuf,
        /// Whose it is.
        found: NodeId,
        /// Whose it should be.
        expected: NodeId,
    },
    /// The folder belongs to another cluster.
    #[error(
        "{} is of cluster {found}, but {} is of cluster {expected}",
        data.display(),
        certs.display()
    )]
    OtherCluster {
        /// The folder.
        data: PathBuf,
        /// Whose it is.
        found: ClusterId,
        /// The folder of certificates.
        certs: PathBuf,
        /// Whose that is.
        expected: ClusterId,
    },
    /// There are no certificates.
    #[error("there are no certificates in {}", list(looked))]
    NoCertificates {
        /// Where they were looked for.
        looked: Vec<PathBuf>,
    },
    /// It cannot be told whether there is a store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The folder cannot be read or written.
    #[error("{} cannot be used: {source}", path.display())]
    Io {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A configuration file is not right.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The default cluster could not be made.
    #[error(transparent)]
    Init(#[from] InitError),
}

impl StartError {
    /// What the user can do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Name { .. } => "name the folder after its node: --data ./data/n1".into(),
            Self::Gone { data, .. } => {
                format!(
                    "put {} back as it was; a majority of the others can go on without",
                    data.display()
                )
            }
            Self::NotAMember { certs, .. } => {
                format!("{} lists the nodes", certs.join(CLUSTER_FILE).display())
            }
            Self::OtherNode { found, .. } => {
                format!("start it as {found}, from a folder of that name")
            }
            Self::OtherCluster { .. } => {
                "put certificates and data of one cluster together".to_owned()
            }
            Self::NoCertificates { .. } => {
                "--dir says where certs/ is; on another machine it takes ca.crt and the two files \
                 of this name from where `annal init` made them, never ca.key"
                    .to_owned()
            }
            Self::Io { source, .. } => remedy::of(source, "look into that folder").to_owned(),
            Self::Store(error) => error.hint(),
            Self::Config(error) => error.hint(),
            Self::Init(error) => error.hint(),
        }
    }

    /// What a command that ends with it came to.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Gone { .. } => Outcome::Damage,
            _ => Outcome::Failed,
        }
    }
}

fn list(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" or ")
}

/// Finds out whether the node of the folder `data` may start. Makes the default cluster of three
/// two folders above if there is nothing at all. Certificates are looked for where the
/// configuration says, then two folders above, then in `directory`.
///
/// # Errors
/// The node may not start, or not so.
pub fn prepare_node(data: &Path, directory: &Path) -> Result<PreparedNode, StartError> {
    let place = Place::of(data, directory)?;
    let node = place.node()?;
    let wrote = place.init_if_empty(|cluster| cluster.nodes.contains_key(&node))?;
    let config = place.node_config(node)?;
    let new = data.join(NEW_FILE);
    if !store::exists(data)? && !exists(&new)? && !super::anew::was_begun(data)? {
        return Err(StartError::Gone { node, data: data.to_owned() });
    }
    let certs = place.certs(config.certs.as_deref())?;
    check_cluster(data, config.cluster, &certs)?;
    Ok(PreparedNode { data: data.to_owned(), config, certs, wrote })
}

/// Finds out whether the registry of the folder `data` may start, as [`prepare_node`] does for a
/// node. A registry whose folder is gone is made anew: leaders tell it again what it knew.
///
/// # Errors
/// The registry may not start, or not so.
pub fn prepare_registry(data: &Path, directory: &Path) -> Result<PreparedRegistry, StartError> {
    let place = Place::of(data, directory)?;
    let wrote = place.init_if_empty(|_| true)?;
    let config = match RegistryConfig::load(data) {
        Err(error) if error.is_missing() => place.restore_registry(error)?,
        other => other?,
    };
    let certs = place.certs(config.certs.as_deref())?;
    Ok(PreparedRegistry { data: data.to_owned(), config, certs, wrote })
}

/// Where a data folder lies, and where the rest of its cluster may be.
struct Place<'a> {
    data: &'a Path,
    /// The last part of the path to the data.
    name: String,
    /// The directory two folders above, if the one above is called `data`.
    above: Option<PathBuf>,
    /// The directories in which certificates are looked for, in order.
    roots: Vec<PathBuf>,
}

impl<'a> Place<'a> {
    fn of(data: &'a Path, directory: &Path) -> Result<Self, StartError> {
        let io = |source| StartError::Io { path: data.to_owned(), source };
        let absolute = std::path::absolute(data).map_err(io)?;
        // A path through `..` or a link is taken for what it leads to, once it is there.
        let absolute = match fs::canonicalize(&absolute) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => absolute,
            found => found.map_err(io)?,
        };
        let name = absolute.file_name().and_then(OsStr::to_str).unwrap_or_default().to_owned();
        let parent = absolute.parent();
        let root = parent.and_then(Path::parent).map(shortened);
        let is_usual = parent.and_then(Path::file_name) == Some(OsStr::new(DATA_FOLDER));
        let above = root.clone().filter(|_| is_usual);
        let roots = root.into_iter().chain([directory.to_owned()]).collect();
        Ok(Self { data, name, above, roots })
    }

    fn node(&self) -> Result<NodeId, StartError> {
        self.name.parse().map_err(|_| StartError::Name { data: self.data.to_owned() })
    }

    /// The first directory whose cluster is written.
    fn cluster_certs(&self) -> Result<Option<PathBuf>, StartError> {
        first_with(self.roots.iter().map(|root| root.join(CERTS_FOLDER)), CLUSTER_FILE)
    }

    /// Makes the default cluster if nothing is there and it would have a place for this folder.
    fn init_if_empty(
        &self,
        has_place: impl Fn(&InitOptions) -> bool,
    ) -> Result<Option<PathBuf>, StartError> {
        let is_written = self.cluster_certs()?.is_some();
        let Some(above) = self.above.as_ref().filter(|_| !is_written) else {
            return Ok(None);
        };
        let options = ports::local_at_free_ports(above, limits::NODES_DEFAULT)?;
        if !has_place(&options) {
            return Ok(None);
        }
        let wrote = init::init_if_empty(&options)?.map(|_| above.clone());
        if let Some(sentence) = ports::why_others(&options).filter(|_| wrote.is_some()) {
            tracing::info!("{sentence}");
        }
        Ok(wrote)
    }

    fn node_config(&self, node: NodeId) -> Result<NodeConfig, StartError> {
        let data = self.data.to_owned();
        if !exists(&data.join(NODE_FILE))? {
            return Err(self.why_missing(node)?);
        }
        let config = NodeConfig::load(&data)?;
        if config.node != node {
            return Err(StartError::OtherNode { data, found: config.node, expected: node });
        }
        Ok(config)
    }

    /// Why there is no `node.toml`.
    fn why_missing(&self, node: NodeId) -> Result<StartError, StartError> {
        let data = self.data.to_owned();
        let Some(certs) = self.cluster_certs()? else {
            return Ok(ConfigError::Missing { path: data.join(NODE_FILE) }.into());
        };
        let is_member = ClusterConfig::load(&certs)?.nodes.contains_key(&node);
        Ok(if is_member {
            StartError::Gone { node, data }
        } else {
            StartError::NotAMember { node, certs }
        })
    }

    /// Writes `registry.toml` from what `cluster.toml` says, or gives back the complaint.
    fn restore_registry(&self, missing: ConfigError) -> Result<RegistryConfig, StartError> {
        let certs = self.cluster_certs()?;
        let Some(certs) = certs.filter(|_| self.name == REGISTRY_FOLDER) else {
            return Err(missing.into());
        };
        let Some(listen) = ClusterConfig::load(&certs)?.registry else {
            return Err(missing.into());
        };
        let config = RegistryConfig { listen, certs: None };
        let write = || {
            privacy::create_folders(self.data)?;
            fs::write(self.data.join(REGISTRY_FILE), config.to_toml())
        };
        write().map_err(|source| StartError::Io { path: self.data.to_owned(), source })?;
        Ok(config)
    }

    /// The folder with the certificates: the first that has any.
    fn certs(&self, configured: Option<&Path>) -> Result<PathBuf, StartError> {
        let usual = self.roots.iter().map(|root| root.join(CERTS_FOLDER));
        let mut looked: Vec<PathBuf> = configured.map(Path::to_owned).into_iter().collect();
        looked.extend(usual);
        let found = first_with(looked.iter().cloned(), AUTHORITY_FILE)?;
        found.ok_or(StartError::NoCertificates { looked })
    }
}

/// Whether there is such a file. What this user may not look at is not taken for lost.
fn exists(path: &Path) -> Result<bool, StartError> {
    path.try_exists().map_err(|source| StartError::Io { path: path.to_owned(), source })
}

/// The first of the folders that has this file.
fn first_with(
    mut folders: impl Iterator<Item = PathBuf>,
    file: &str,
) -> Result<Option<PathBuf>, StartError> {
    let found = folders.find_map(|folder| match exists(&folder.join(file)) {
        Ok(false) => None,
        Ok(true) => Some(Ok(folder)),
        Err(error) => Some(Err(error)),
    });
    found.transpose()
}

/// The path as seen from where the process runs, if it lies below: short paths read better.
fn shortened(path: &Path) -> PathBuf {
    let current = std::env::current_dir().ok();
    match current.as_deref().and_then(|current| path.strip_prefix(current).ok()) {
        Some(below) => Path::new(".").join(below),
        None => path.to_owned(),
    }
}

/// Data and certificates must be of one cluster, as far as the latter say.
fn check_cluster(data: &Path, found: ClusterId, certs: &Path) -> Result<(), StartError> {
    let expected = match ClusterConfig::load(certs) {
        Ok(cluster) => cluster.cluster,
        // A node alone on its machine needs no `cluster.toml`.
        Err(error) if error.is_missing() => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    if expected == found {
        return Ok(());
    }
    let (data, certs) = (data.to_owned(), certs.to_owned());
    Err(StartError::OtherCluster { data, found, certs, expected })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        init::init(&InitOptions::local(folder.path(), 3, 7100).unwrap()).unwrap();
        folder
    }

    #[test]
    fn the_first_node_makes_the_default_cluster_and_the_second_uses_it() {
        let folder = tempfile::tempdir().unwrap();
        let first = prepare_node(&folder.path().join("data/n1"), Path::new(".")).unwrap();
        assert!(first.wrote.is_some());
        let second = prepare_node(&folder.path().join("data/n2"), Path::new(".")).unwrap();
        assert!(second.wrote.is_none());
        assert_eq!(first.config.cluster, second.config.cluster);
        let registry = prepare_registry(&folder.path().join("data/registry"), Path::new("."));
        // Where that is depends on the ports that are free on this machine.
        assert_eq!(Some(registry.unwrap().config.listen), first.config.registry);
    }

    #[test]
    fn a_node_outside_the_default_cluster_makes_none() {
        let folder = tempfile::tempdir().unwrap();
        let error = prepare_node(&folder.path().join("data/n4"), Path::new(".")).unwrap_err();
        assert!(matches!(error, StartError::Config(ConfigError::Missing { .. })), "{error}");
        assert!(!folder.path().join("certs").exists());
    }

    #[test]
    fn a_node_whose_data_is_gone_does_not_start() {
        let spoil: [fn(&Path); 3] = [
            |data| fs::remove_dir_all(data).unwrap(),
            |data| {
                fs::remove_dir_all(data).unwrap();
                fs::create_dir(data).unwrap();
            },
            |data| fs::remove_file(data.join(NEW_FILE)).unwrap(),
        ];
        for spoil in spoil {
            let folder = written();
            let data = folder.path().join("data/n1");
            spoil(&data);
            let error = prepare_node(&data, Path::new(".")).unwrap_err();
            assert_eq!(error.outcome(), Outcome::Damage, "{error}");
            let sentence = "n1's data is gone; starting it empty could break what it promised";
            assert_eq!(error.to_string(), sentence);
        }
    }

    #[test]
    fn what_cannot_be_looked_at_is_not_gone() {
        // As permissions do for others, a loop of links keeps root from looking as well.
        let spoil: [fn(&Path); 4] = [
            |data| replace_by_loop(data),
            |data| replace_by_loop(&data.join(NODE_FILE)),
            |data| replace_by_loop(&data.join(NEW_FILE)),
            |data| replace_by_loop(&data.join("meta")),
        ];
        for spoil in spoil {
            let folder = written();
            let data = folder.path().join("data/n1");
            spoil(&data);
            let error = prepare_node(&data, Path::new(".")).unwrap_err();
            assert_eq!(error.outcome(), Outcome::Failed, "{error}");
            assert!(error.to_string().contains("symbolic links"), "{error}");
            assert!(!error.hint().is_empty());
        }
        let folder = written();
        replace_by_loop(&folder.path().join("certs/cluster.toml"));
        let error = prepare_node(&folder.path().join("data/n1"), Path::new(".")).unwrap_err();
        assert!(error.to_string().contains("symbolic links"), "{error}");
    }

    fn replace_by_loop(path: &Path) {
        let _ = fs::remove_file(path).or_else(|_| fs::remove_dir_all(path));
        std::os::unix::fs::symlink(path, path).unwrap();
    }

    #[test]
    fn a_registry_whose_data_is_gone_starts_anew() {
        let folder = written();
        let data = folder.path().join("data/registry");
        fs::remove_dir_all(&data).unwrap();
        let registry = prepare_registry(&data, Path::new(".")).unwrap();
        assert_eq!(registry.config.listen, "127.0.0.1:7100".parse().unwrap());
        assert_eq!(RegistryConfig::load(&data).unwrap(), registry.config);
    }

    #[test]
    fn folders_of_others_are_told_apart() {
        let folder = written();
        let data = |name: &str| folder.path().join("data").join(name);
        fs::remove_dir_all(data("n2")).unwrap();
        fs::rename(data("n1"), data("n2")).unwrap();
        let error = prepare_node(&data("n2"), Path::new(".")).unwrap_err();
        assert!(matches!(error, StartError::OtherNode { .. }), "{error}");

        let error = prepare_node(&data("n9"), Path::new(".")).unwrap_err();
        assert!(matches!(error, StartError::NotAMember { .. }), "{error}");

        let other = written();
        fs::remove_dir_all(data("n3")).unwrap();
        fs::rename(other.path().join("data/n3"), data("n3")).unwrap();
        let error = prepare_node(&data("n3"), Path::new(".")).unwrap_err();
        assert!(matches!(error, StartError::OtherCluster { .. }), "{error}");

        let error = prepare_node(&data("mine"), Path::new(".")).unwrap_err();
        assert!(matches!(error, StartError::Name { .. }), "{error}");
    }

    #[test]
    fn certificates_are_found_above_the_data_and_then_in_the_directory() {
        let folder = written();
        let elsewhere = tempfile::tempdir().unwrap();
        let data = folder.path().join("data/n1");
        let (certs, moved) = (folder.path().join("certs"), elsewhere.path().join("certs"));
        fs::rename(&certs, &moved).unwrap();
        let error = prepare_node(&data, Path::new("/nowhere")).unwrap_err();
        assert!(matches!(error, StartError::NoCertificates { .. }), "{error}");
        assert_eq!(prepare_node(&data, elsewhere.path()).unwrap().certs, moved);
    }
}
