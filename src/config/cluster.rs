//! `cluster.toml`: all that a client has to know beside its certificate.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Deserialize;
use toml::Spanned;

use super::CLUSTER_FILE;
use super::file::{
    ConfigError, ConfigFile, check_addresses, line, plain, push_addresses, quoted, quoted_names,
};
use crate::address::Address;
use crate::limits;
use crate::types::{ClusterId, NodeId};

/// All that a client has to know, from `cluster.toml` beside the certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterConfig {
    /// The cluster.
    pub cluster: ClusterId,
    /// Where the registry is reached, if there is one.
    pub registry: Option<Address>,
    /// The members that the cluster began with, if they are others than `nodes`.
    pub founders: Option<BTreeSet<NodeId>>,
    /// The nodes, and where they are reached; 1 to `limits::NODES_MAX`.
    pub nodes: BTreeMap<NodeId, Address>,
}

impl ClusterConfig {
    /// Reads and checks `cluster.toml` in `certs`.
    ///
    /// # Errors
    /// As [`super::NodeConfig::load`].
    pub fn load(certs: &Path) -> Result<Self, ConfigError> {
        let file = ConfigFile::read(&certs.join(CLUSTER_FILE))?;
        let raw: RawCluster = file.parse()?;
        let nodes = raw.nodes.get_ref();
        if nodes.is_empty() || nodes.len() > limits::NODES_MAX {
            let sentence = format!("a cluster has 1 to {} nodes", limits::NODES_MAX);
            return Err(file.invalid(raw.nodes.span().start, sentence));
        }
        check_addresses(&file, nodes.values().chain(&raw.registry))?;
        let nodes = plain(raw.nodes.into_inner());
        let (cluster, founders) = (raw.cluster, raw.founders);
        Ok(Self { cluster, registry: raw.registry.map(Spanned::into_inner), founders, nodes })
    }

    /// The members that the cluster began with.
    pub fn founders(&self) -> BTreeSet<NodeId> {
        self.founders.clone().unwrap_or_else(|| self.nodes.keys().copied().collect())
    }

    /// The file that says this.
    pub fn to_toml(&self) -> String {
        let mut text =
            String::from("# An annal cluster: with the certificates, all that a client needs.\n\n");
        line(&mut text, "cluster", &quoted(self.cluster), "the cluster's identity");
        if let Some(registry) = &self.registry {
            line(&mut text, "registry", &quoted(registry), "who led last, and before");
        }
        if let Some(founders) = &self.founders {
            line(&mut text, "founders", &quoted_names(founders), "the nodes that it began with");
        }
        push_addresses(&mut text, "nodes", &self.nodes);
        text
    }
}

/// `cluster.toml` as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCluster {
    cluster: ClusterId,
    registry: Option<Spanned<Address>>,
    founders: Option<BTreeSet<NodeId>>,
    nodes: Spanned<BTreeMap<NodeId, Spanned<Address>>>,
}
