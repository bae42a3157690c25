//! Writes what a node needs that joins a cluster: a folder and a certificate, where the authority's key is.
//!
//! As `init` does: beside its destination first, and moved when it is whole. Done again it finds what it has
//! written, and the node may run by then.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;

use super::certificates::{self, ISSUED_FOLDER};
use super::folders::{self, FolderError, NODE_UNIT, at, sync_folder};
use super::init::is_of_machines;
use crate::access::PUBLIC_FILE;
use crate::address::Address;
use crate::config::{
    CERTS_FOLDER, CLUSTER_FILE, ClusterConfig, ConfigError, DATA_FOLDER, HOSTS_FOLDER, NodeConfig,
    Recover,
};
use crate::limits;
use crate::members::MemberSettings;
use crate::net::tls::{AUTHORITY_FILE, TlsError};
use crate::net::{Authority, CertificateFile, Holder, IssueError};
use crate::remedy;
use crate::types::NodeId;

/// A node that is to join.
#[derive(Debug)]
pub struct Joining<'a> {
    /// The folder of the cluster's certificates, with the authority's key.
    pub certs: &'a Path,
    /// The cluster, as its file says.
    pub cluster: &'a ClusterConfig,
    /// The node.
    pub node: NodeId,
    /// Where the others are to reach it.
    pub address: &'a Address,
    /// Where the members are.
    pub peers: BTreeMap<NodeId, Address>,
    /// How they are set up.
    pub settings: MemberSettings,
}

/// What a node has that is to join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// Its folder.
    pub folder: PathBuf,
    /// It is to be taken to a machine of its own.
    pub goes_elsewhere: bool,
    /// It was there already.
    pub was_there: bool,
}

/// Why there is no folder.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum JoinError {
    /// There is one of a node that did not join so, or of another address.
    #[error("{} is there already, and not that of {node} at {address}", folder.display())]
    Occupied {
        /// The folder.
        folder: PathBuf,
        /// The node.
        node: NodeId,
        /// Where it is to be.
        address: Address,
    },
    /// The certificate could not be made.
    #[error(transparent)]
    Issue(#[from] IssueError),
    /// It is not what it should be.
    #[error(transparent)]
    Read(#[from] TlsError),
    /// Something could not be written.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// A file cannot be read, or is not right.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

impl JoinError {
    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Occupied { .. } => {
                "if nothing in it is needed, remove it and try again; a node that has been removed needs \
                 a new one"
                    .to_owned()
            }
            Self::Issue(error) => error.hint().to_owned(),
            Self::Read(error) => error.hint(),
            Self::Folder(error) => remedy::of(&error.source, "look into that folder").to_owned(),
            Self::Config(error) => error.hint(),
        }
    }
}

impl Joining<'_> {
    /// Writes the folder and the certificate, and notes in the cluster's file where the node is.
    ///
    /// # Errors
    /// [`JoinError`]: what was written is found, or written again, the next time.
    pub fn write(&self) -> Result<Joined, JoinError> {
        let directory = self.certs.parent().unwrap_or(self.certs);
        let goes_elsewhere = is_of_machines(directory);
        let parts = directory.join(if goes_elsewhere { HOSTS_FOLDER } else { DATA_FOLDER });
        let folder = parts.join(self.node.to_string());
        let was_there = self.is_there(&folder)?;
        if !was_there {
            self.write_new((directory, &parts), &folder, goes_elsewhere)?;
        }
        let mut nodes = self.cluster.nodes.clone();
        nodes.insert(self.node, self.address.clone());
        note_nodes(self.certs, self.cluster, nodes)?;
        Ok(Joined { folder, goes_elsewhere, was_there })
    }

    /// Whether its folder is there already. Another's is refused.
    fn is_there(&self, folder: &Path) -> Result<bool, JoinError> {
        if !folder.try_exists().map_err(at(folder))? {
            return Ok(false);
        }
        let config = NodeConfig::load(folder)?;
        let is_same = (config.node, config.cluster) == (self.node, self.cluster.cluster);
        if is_same && config.founders.is_some() && config.address == *self.address {
            return Ok(true);
        }
        let (folder, node, address) = (folder.to_owned(), self.node, self.address.clone());
        Err(JoinError::Occupied { folder, node, address })
    }

    fn write_new(
        &self,
        (directory, parts): (&Path, &Path),
        folder: &Path,
        goes_elsewhere: bool,
    ) -> Result<(), JoinError> {
        let pair = Authority::load(self.certs, self.cluster.cluster)?
            .issue(&Holder::node(self.node, self.address))?;
        // Known before it is used.
        folders::replace(&self.certs.join(ISSUED_FOLDER), &[certificates::record(&pair[0])?])?;
        let staging = directory.join(format!(".annal-join-{}", self.node));
        match fs::remove_dir_all(&staging) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(at(&staging)(error).into());
            }
            _ => {}
        }
        folders::node(&staging, &self.config(goes_elsewhere))?;
        if goes_elsewhere {
            let others = [AUTHORITY_FILE, PUBLIC_FILE].into_iter();
            let others = others.map(|name| self.known(name)).collect::<Result<Vec<_>, _>>()?;
            folders::equip(&staging, others.iter().chain(&pair), NODE_UNIT)?;
        } else {
            folders::replace(self.certs, &pair)?;
        }
        super::privacy::create_folders(parts).map_err(at(parts))?;
        fs::rename(&staging, folder).map_err(at(folder))?;
        sync_folder(parts)?;
        Ok(sync_folder(directory)?)
    }

    /// A file of the folder of certificates.
    fn known(&self, name: &str) -> Result<CertificateFile, FolderError> {
        let path = self.certs.join(name);
        let contents = fs::read_to_string(&path).map_err(at(&path))?;
        Ok(folders::file(name, contents))
    }

    fn config(&self, goes_elsewhere: bool) -> NodeConfig {
        let (min, max) = self.settings.election_timeout_ms;
        let usual = Path::new("../..").join(CERTS_FOLDER);
        let mut peers = self.peers.clone();
        peers.remove(&self.node);
        NodeConfig {
            cluster: self.cluster.cluster,
            node: self.node,
            listen: if goes_elsewhere {
                folders::listen_for(self.address)
            } else {
                self.address.clone()
            },
            address: self.address.clone(),
            peers,
            founders: Some(self.cluster.founders()),
            registry: self.cluster.registry.clone(),
            heartbeat: Duration::from_millis(self.settings.heartbeat_ms),
            election_timeout_min: Duration::from_millis(min),
            election_timeout_max: Duration::from_millis(max),
            segment_bytes: self.settings.segment_bytes,
            recover: Recover::default(),
            scrub: Some(limits::SCRUB_DEFAULT),
            fault_injection: self.settings.fault_injection,
            certs: Some(if goes_elsewhere { PathBuf::from(CERTS_FOLDER) } else { usual }),
            http: None,
        }
    }
}

/// Writes into the cluster's file where clients are to begin from now on. With whom the cluster began stays
/// in it.
///
/// # Errors
/// The file cannot be written.
pub fn note_nodes(
    certs: &Path,
    cluster: &ClusterConfig,
    nodes: BTreeMap<NodeId, Address>,
) -> Result<(), FolderError> {
    if nodes == cluster.nodes || nodes.is_empty() {
        return Ok(());
    }
    let founders: BTreeSet<NodeId> = cluster.founders();
    let next = ClusterConfig { founders: Some(founders), nodes, ..cluster.clone() };
    folders::replace(certs, &[folders::file(CLUSTER_FILE, next.to_toml())])
}

#[cfg(test)]
mod tests {
    use super::super::init::{InitOptions, init};
    use super::*;
    use crate::net::Credentials;

    fn node(name: &str) -> NodeId {
        name.parse().unwrap()
    }

    fn settings() -> MemberSettings {
        MemberSettings {
            heartbeat_ms: 50,
            election_timeout_ms: (300, 600),
            segment_bytes: 1 << 20,
            fault_injection: true,
        }
    }

    #[test]
    fn a_node_that_joins_gets_a_folder_once() {
        let folder = tempfile::tempdir().unwrap();
        let cluster = init(&InitOptions::local(folder.path(), 3, 7100).unwrap()).unwrap();
        let certs = folder.path().join(CERTS_FOLDER);
        let address: Address = "127.0.0.1:7104".parse().unwrap();
        let joining = Joining {
            certs: &certs,
            cluster: &cluster,
            node: node("n4"),
            address: &address,
            peers: cluster.nodes.clone(),
            settings: settings(),
        };
        let joined = joining.write().unwrap();
        assert!(!joined.was_there && !joined.goes_elsewhere);
        assert!(joining.write().unwrap().was_there);
        let config = NodeConfig::load(&joined.folder).unwrap();
        assert_eq!(config.founders(), ["n1", "n2", "n3"].map(node).into());
        assert_eq!((config.peers.len(), config.segment_bytes), (3, 1 << 20));
        let credentials = Credentials::load(&certs, "n4").unwrap();
        assert_eq!(credentials.identity().node(), Some(node("n4")));
        let noted = ClusterConfig::load(&certs).unwrap();
        assert_eq!(noted.nodes.get(&node("n4")), Some(&address));
        assert_eq!(noted.founders(), cluster.founders());
        // A founder's folder is nobody else's.
        let at = &cluster.nodes[&node("n1")];
        let taken = Joining { node: node("n1"), address: at, peers: BTreeMap::new(), ..joining };
        assert!(matches!(taken.write(), Err(JoinError::Occupied { .. })));
        fs::remove_file(certs.join("ca.key")).unwrap();
        let next = Joining { node: node("n5"), peers: BTreeMap::new(), ..taken };
        assert!(matches!(next.write(), Err(JoinError::Issue(IssueError::File { .. }))));
        assert!(!folder.path().join("data/n5").exists());
    }
}
