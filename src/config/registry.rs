//! `registry.toml`: what the registry has to know.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

use super::REGISTRY_FILE;
use super::file::{ConfigError, ConfigFile, check_port, line, quoted, quoted_path};
use crate::address::Address;

/// What the registry has to know, from its `registry.toml`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryConfig {
    /// The address it binds; of a name, the first address that can be had.
    pub listen: Address,
    /// The folder with the certificates, if the file names one; the file's folder is put before it.
    pub certs: Option<PathBuf>,
}

impl RegistryConfig {
    /// Reads and checks `registry.toml` in `data`.
    ///
    /// # Errors
    /// As [`super::NodeConfig::load`].
    pub fn load(data: &Path) -> Result<Self, ConfigError> {
        let file = ConfigFile::read(&data.join(REGISTRY_FILE))?;
        let raw: RawRegistry = file.parse()?;
        check_port(&file, &raw.listen)?;
        let certs = raw.certs.map(|certs| file.relative(&certs));
        Ok(Self { listen: raw.listen.into_inner(), certs })
    }

    /// The file that says this.
    pub fn to_toml(&self) -> String {
        let mut text = String::from(
            "# The registry of an annal cluster. Paths are relative to this file.\n\n",
        );
        line(&mut text, "listen", &quoted(&self.listen), "the address it binds");
        if let Some(certs) = &self.certs {
            line(&mut text, "certs", &quoted_path(certs), "the folder with the certificates");
        }
        text
    }
}

/// `registry.toml` as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRegistry {
    listen: Spanned<Address>,
    certs: Option<PathBuf>,
}
