//! What `annal init` writes: the folders of a cluster and the files that say who is where.
//!
//! ```text
//!   certs/    ca.crt · a certificate and a key for each holder · cluster.toml: all that a client needs
//!   data/     n1/node.toml, n2/node.toml, … · registry/registry.toml
//!   hosts/    in the place of data/ where each part has a machine of its own: n1/, … with certs/ in it
//!   clients/  app/certs/, …: what each client needs, likewise
//! ```
//!
//! What a file says is checked when it is read, value by value, and an error names file, line and
//! column: a damaged configuration never comes further than this page. Paths in a file are
//! relative to the file.

mod cluster;
mod file;
mod http;
mod node;
mod registry;

pub use cluster::ClusterConfig;
pub use file::ConfigError;
pub use http::HttpConfig;
pub use node::{NodeConfig, Recover};
pub use registry::RegistryConfig;

/// The folder of certificates in a cluster's directory.
pub const CERTS_FOLDER: &str = "certs";
/// The folder of data in a cluster's directory.
pub const DATA_FOLDER: &str = "data";
/// The folder in a cluster's directory with what goes to other machines, in the place of `data`.
pub const HOSTS_FOLDER: &str = "hosts";
/// The folder in a cluster's directory with what goes to clients.
pub const CLIENTS_FOLDER: &str = "clients";
/// The registry's folder in the folder of data.
pub const REGISTRY_FOLDER: &str = "registry";
/// The name of a node's configuration file in its data folder.
pub const NODE_FILE: &str = "node.toml";
/// The name of the registry's configuration file in its data folder.
pub const REGISTRY_FILE: &str = "registry.toml";
/// The name of the file beside the certificates that says all a client needs.
pub const CLUSTER_FILE: &str = "cluster.toml";
