//! A configuration file: its text, its errors with line and column, and how lines are written.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use thiserror::Error;
use toml::Spanned;

use super::{NODE_FILE, REGISTRY_FILE};
use crate::address::Address;
use crate::remedy;
use crate::types::NodeId;

/// A configuration file that is not there, not readable, or not right.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// There is no such file.
    #[error("{} is missing", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// The file cannot be read.
    #[error("{} cannot be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file says something that is not of its form or range.
    #[error("{}:{line}:{column}: {sentence}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The column, in characters from 1.
        column: usize,
        /// What is wrong there.
        sentence: String,
    },
}

impl ConfigError {
    /// What the user can do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Missing { path } => {
                let folder = path.parent().unwrap_or(path);
                let holds = |file: &str| folder.join(file).exists();
                // Where there is a part of a cluster, `annal init` would write nothing.
                if holds("ca.crt") || holds(NODE_FILE) || holds(REGISTRY_FILE) {
                    return "copy it from where `annal init` made it: the rest is there".to_owned();
                }
                format!("`annal init` writes it; is {} the right folder?", folder.display())
            }
            Self::Unreadable { source, .. } => {
                remedy::of(source, "see who may read the file").to_owned()
            }
            Self::Invalid { path, line, .. } => {
                format!("correct line {line} of {} and start again", path.display())
            }
        }
    }

    /// Whether there is no such file.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Missing { .. })
    }
}

/// A configuration file's path and text, which errors refer to.
pub(super) struct ConfigFile {
    path: PathBuf,
    text: String,
}

impl ConfigFile {
    pub(super) fn read(path: &Path) -> Result<Self, ConfigError> {
        let path = path.to_owned();
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(ConfigError::Missing { path });
            }
            Err(source) => return Err(ConfigError::Unreadable { path, source }),
        };
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Self { path, text }),
            Err(error) => {
                let valid = error.utf8_error().valid_up_to();
                let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
                Err(Self { path, text }.invalid(valid, "this is not UTF-8 text".to_owned()))
            }
        }
    }

    pub(super) fn parse<T: DeserializeOwned>(&self) -> Result<T, ConfigError> {
        toml::from_str(&self.text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            self.invalid(at, error.message().trim().replace('\n', "; "))
        })
    }

    /// An error at this byte of the text.
    pub(super) fn invalid(&self, at: usize, sentence: String) -> ConfigError {
        let at = (0..=at.min(self.text.len())).rev().find(|at| self.text.is_char_boundary(*at));
        let before = at.and_then(|at| self.text.get(..at)).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|character| *character != '\n').count() + 1;
        ConfigError::Invalid { path: self.path.clone(), line, column, sentence }
    }

    /// A path in the file, seen from where the process runs.
    pub(super) fn relative(&self, path: &Path) -> PathBuf {
        self.path.parent().map_or_else(|| path.to_owned(), |folder| folder.join(path))
    }
}

/// Refuses addresses without a port, and two parts of the cluster at one address.
pub(super) fn check_addresses<'a>(
    file: &ConfigFile,
    addresses: impl IntoIterator<Item = &'a Spanned<Address>>,
) -> Result<(), ConfigError> {
    let mut seen = BTreeSet::new();
    for address in addresses {
        check_port(file, address)?;
        if !seen.insert(address.get_ref()) {
            let sentence = format!("{} is used twice", address.get_ref());
            return Err(file.invalid(address.span().start, sentence));
        }
    }
    Ok(())
}

pub(super) fn check_port(file: &ConfigFile, address: &Spanned<Address>) -> Result<(), ConfigError> {
    if address.get_ref().port() != 0 {
        return Ok(());
    }
    Err(file.invalid(address.span().start, "an address needs a port other than 0".to_owned()))
}

pub(super) fn plain(addresses: BTreeMap<NodeId, Spanned<Address>>) -> BTreeMap<NodeId, Address> {
    addresses.into_iter().map(|(node, address)| (node, address.into_inner())).collect()
}

/// Appends `key = value  # comment`.
pub(super) fn line(text: &mut String, key: &str, value: &str, comment: &str) {
    let assignment = format!("{key} = {value}");
    writeln!(text, "{assignment:<50}  # {comment}").expect("writing to a String does not fail");
}

/// Names as a list: `["n1", "n2"]`.
pub(super) fn quoted_names(names: &BTreeSet<NodeId>) -> String {
    let names: Vec<_> = names.iter().map(quoted).collect();
    format!("[{}]", names.join(", "))
}

pub(super) fn push_addresses(
    text: &mut String,
    table: &str,
    addresses: &BTreeMap<NodeId, Address>,
) {
    write!(text, "\n[{table}]\n").expect("writing to a String does not fail");
    for (node, address) in addresses {
        writeln!(text, "{node} = {}", quoted(address)).expect("writing to a String does not fail");
    }
}

/// A value without characters that TOML would want escaped, in quotes.
pub(super) fn quoted(value: impl std::fmt::Display) -> String {
    format!("\"{value}\"")
}

pub(super) fn quoted_path(path: &Path) -> String {
    toml::Value::String(path.to_string_lossy().into_owned()).to_string()
}
