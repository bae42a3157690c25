//! How a client command reaches its cluster: `cluster.toml`, and what the flags say instead.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::args::Connection;
use super::failure::Failure;
use super::quote::command_line;
use crate::address::Address;
use crate::client::{Client, Settings};
use crate::config::{CERTS_FOLDER, CLUSTER_FILE, ClusterConfig};
use crate::limits;
use crate::outcome::Outcome;
use crate::types::{ClusterId, NodeId};

/// The certificate that commands show.
pub(super) const CLIENT: &str = "client";
/// The certificate that shows that its holder may break things on purpose.
pub(super) const ADMIN: &str = "admin";

/// Where a cluster is looked for unless told.
const HERE: &str = ".";

/// Where a cluster is, and who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// The folder of certificates.
    pub(super) certs: PathBuf,
    /// The cluster.
    pub(super) cluster: ClusterId,
    /// The nodes, and where to reach them.
    pub(super) nodes: Vec<(NodeId, Address)>,
    /// Where to reach the registry, if there is one.
    pub(super) registry: Option<Address>,
    /// How long to try.
    pub(super) timeout: Duration,
}

/// Finds out where the cluster is.
pub(super) fn target(args: &Connection) -> Result<Target, Failure> {
    let certs = certs_of(args)?;
    let cluster = load(&certs)?;
    let nodes = match args.nodes.as_slice() {
        [] => cluster.nodes.iter().map(|(node, at)| (*node, at.clone())).collect(),
        given => named(given, &cluster)?,
    };
    let registry = match &args.registry {
        Some(given) => Some(address("--registry", given)?),
        None => cluster.registry,
    };
    Ok(Target {
        certs,
        cluster: cluster.cluster,
        nodes,
        registry,
        timeout: args.timeout.unwrap_or(limits::CLIENT_TIMEOUT_DEFAULT),
    })
}

/// What a cluster's file in this directory says, for whoever looks nowhere else.
pub(super) fn cluster_in(directory: &Path) -> Result<ClusterConfig, Failure> {
    load(&directory.join(CERTS_FOLDER))
}

/// What a cluster's file says.
pub(super) fn load(certs: &Path) -> Result<ClusterConfig, Failure> {
    ClusterConfig::load(certs).map_err(|error| {
        let hint = if error.is_missing() {
            "`annal up` makes a cluster; --dir says where one is".to_owned()
        } else {
            error.hint()
        };
        Failure::new(Outcome::Failed, &error, hint)
    })
}

/// A client of the target, which shows its usual certificate.
pub(super) fn connect_as_client(target: &Target) -> Result<Client, Failure> {
    connect(target, CLIENT)
}

/// A client of the target, which shows the certificate of an admin.
pub(super) fn connect_as_admin(target: &Target) -> Result<Client, Failure> {
    connect(target, ADMIN)
}

fn connect(target: &Target, name: &str) -> Result<Client, Failure> {
    let settings = Settings {
        certs: target.certs.clone(),
        name: name.to_owned(),
        cluster: Some(target.cluster),
        nodes: target.nodes.clone(),
        registry: target.registry.clone(),
        timeout: target.timeout,
    };
    Client::connect(settings).map_err(|error| Failure::of(error.outcome(), &error, error.hint()))
}

/// The folder of certificates. Unless one is named, it is looked for here and then upwards, as git does
/// for its own: below the folder of a cluster one need not name it.
fn certs_of(args: &Connection) -> Result<PathBuf, Failure> {
    let here = args.dir.join(CERTS_FOLDER);
    let is_there = |certs: &Path| certs.join(CLUSTER_FILE).exists();
    if args.dir != Path::new(HERE) || is_there(&here) {
        return Ok(here);
    }
    // A folder that cannot be found out has no others above it.
    let current = std::env::current_dir().unwrap_or_default();
    let above = current.ancestors().skip(1).map(|folder| folder.join(CERTS_FOLDER));
    match above.into_iter().find(|certs| is_there(certs)) {
        Some(certs) if is_trusted(&certs) => Ok(certs),
        Some(certs) => {
            let folder = certs.parent().unwrap_or(&certs).display().to_string();
            let sentence = format!("the cluster of {folder} is another user's");
            let hint = format!("if that one is meant: --dir {}", command_line([&folder]));
            Err(Failure::new(Outcome::Failed, sentence, hint))
        }
        None => Ok(here),
    }
}

/// Whether what is found above was put there by this user or by root. In a folder for all anybody could
/// put a cluster of his own, and be sent what is appended.
fn is_trusted(certs: &Path) -> bool {
    let is_ours = |path: &Path| {
        let owner = fs::metadata(path).map(|found| found.uid());
        owner.is_ok_and(|owner| owner == rustix::process::geteuid().as_raw() || owner == 0)
    };
    is_ours(certs) && is_ours(&certs.join(CLUSTER_FILE))
}

/// The cluster in a directory, as its `cluster.toml` says.
pub(super) fn of_directory(directory: &Path) -> Result<Target, Failure> {
    target(&Connection {
        dir: directory.to_owned(),
        registry: None,
        nodes: Vec::new(),
        timeout: None,
    })
}

/// Gives the addresses their nodes' names: as in `n1=ADDR`, or as `cluster.toml` knows the
/// address, or the names that are left, in order.
fn named(given: &[String], cluster: &ClusterConfig) -> Result<Vec<(NodeId, Address)>, Failure> {
    let mut nodes = Vec::new();
    let mut unnamed = Vec::new();
    for text in given {
        let (name, at) = match text.split_once('=') {
            Some((name, at)) => (Some(name), at),
            None => (None, text.as_str()),
        };
        let address = address("--nodes", at)?;
        let known = cluster.nodes.iter().find(|(_, known)| **known == address);
        match (name, known) {
            (Some(name), _) => {
                let node = name.parse().map_err(|error| usage(error, "as n1=127.0.0.1:7101"))?;
                nodes.push((node, address));
            }
            (None, Some((node, _))) => nodes.push((*node, address)),
            (None, None) => unnamed.push(address),
        }
    }
    for address in unnamed {
        let is_free = |node: &&NodeId| nodes.iter().all(|(taken, _)| taken != *node);
        let node = cluster.nodes.keys().find(is_free).copied().ok_or_else(|| {
            let sentence = format!("the cluster has no node left that could be at {address}");
            usage(sentence, "say which is where, as n1=127.0.0.1:7101")
        })?;
        nodes.push((node, address));
    }
    nodes.sort_unstable();
    Ok(nodes)
}

/// What was typed as an address. Whether somebody is there, or has that name, shows when it is
/// dialled: one that cannot be reached keeps nobody from the others.
fn address(flag: &str, text: &str) -> Result<Address, Failure> {
    text.parse::<Address>().map_err(|error| {
        let hint = "several stand with commas between, each with its port";
        usage(format!("{flag}: {error}"), hint)
    })
}

fn usage(sentence: impl ToString, hint: &str) -> Failure {
    Failure::new(Outcome::Usage, sentence, hint)
}

/// Whether nodes are named that the cluster's file need not know.
pub(super) fn names_nodes(args: &Connection) -> bool {
    !args.nodes.is_empty()
}

/// Whether a cluster is named, and not only where one usually is.
pub(super) fn is_named(args: &Connection) -> bool {
    args.dir != Path::new(HERE) || args.registry.is_some() || !args.nodes.is_empty()
}

/// The flags that lead another command to the same cluster.
pub(super) fn flags(args: &Connection) -> Vec<OsString> {
    let mut flags: Vec<OsString> = Vec::new();
    if args.dir != Path::new(HERE) {
        flags.extend(["--dir".into(), args.dir.clone().into_os_string()]);
    }
    if let Some(registry) = &args.registry {
        flags.extend(["--registry".into(), registry.into()]);
    }
    if !args.nodes.is_empty() {
        flags.extend(["--nodes".into(), args.nodes.join(",").into()]);
    }
    flags
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster() -> ClusterConfig {
        let nodes = (1..=3).map(|number| {
            (NodeId::new(number).unwrap(), format!("127.0.0.1:{}", 7100 + number).parse().unwrap())
        });
        let cluster = ClusterId::new(1);
        ClusterConfig { cluster, registry: None, founders: None, nodes: nodes.collect() }
    }

    fn names(given: &[&str]) -> Result<Vec<String>, Failure> {
        let given: Vec<String> = given.iter().map(ToString::to_string).collect();
        let named = named(&given, &cluster())?;
        Ok(named.iter().map(|(node, address)| format!("{node}={address}")).collect())
    }

    #[test]
    fn addresses_get_their_nodes_names() {
        assert_eq!(names(&["127.0.0.1:7102"]).unwrap(), ["n2=127.0.0.1:7102"]);
        assert_eq!(
            names(&["127.0.0.1:9000", "127.0.0.1:7101", "n3=127.0.0.1:9003"]).unwrap(),
            ["n1=127.0.0.1:7101", "n2=127.0.0.1:9000", "n3=127.0.0.1:9003"]
        );
        // A name is not looked up here: it may have no address now, and the others be enough.
        let given = ["nobody.invalid:7102", "n1=n1.invalid:7101"];
        assert_eq!(names(&given).unwrap(), ["n1=n1.invalid:7101", "n2=nobody.invalid:7102"]);
        for bad in ["nowhere", "x=127.0.0.1:1", "127.0.0.1"] {
            assert_eq!(names(&[bad]).unwrap_err().outcome, Outcome::Usage, "{bad}");
        }
        let four = ["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3", "127.0.0.1:4"];
        assert_eq!(names(&four).unwrap_err().outcome, Outcome::Usage);
    }
}
