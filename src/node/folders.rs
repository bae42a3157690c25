//! What is written into the folder of each part of a cluster.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::net::{Ipv6Addr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::privacy;
use crate::address::Address;
use crate::config::{CERTS_FOLDER, NODE_FILE, NodeConfig, REGISTRY_FILE, RegistryConfig};
use crate::net::CertificateFile;

/// The empty file beside `node.toml` that says: this node has not promised anything yet.
pub const NEW_FILE: &str = "new";

/// A file or folder could not be written.
#[derive(Debug, Error)]
#[error("{} could not be written: {source}", path.display())]
pub struct FolderError {
    /// The file or folder.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

/// A service of systemd: its file's name, and what is in it.
#[derive(Clone, Copy, Debug)]
pub struct Unit {
    name: &'static str,
    text: &'static str,
}

/// Runs any node of a machine, as `annal@n1`.
pub const NODE_UNIT: Unit =
    Unit { name: "annal@.service", text: include_str!("../../packaging/annal@.service") };

/// Runs the registry.
pub const REGISTRY_UNIT: Unit = Unit {
    name: "annal-registry.service",
    text: include_str!("../../packaging/annal-registry.service"),
};

/// Writes the folder of a node that has not promised anything yet: its configuration, and the mark that
/// says so.
pub(super) fn node(folder: &Path, config: &NodeConfig) -> Result<(), FolderError> {
    create(folder)?;
    write_file(&folder.join(NODE_FILE), config.to_toml().as_bytes())?;
    write_file(&folder.join(NEW_FILE), b"")?;
    sync_folder(folder)
}

/// Writes the folder of a registry.
pub(super) fn registry(folder: &Path, config: &RegistryConfig) -> Result<(), FolderError> {
    create(folder)?;
    write_file(&folder.join(REGISTRY_FILE), config.to_toml().as_bytes())?;
    sync_folder(folder)
}

/// Adds to the folder of a part what it needs on a machine of its own: a folder `certs` with these files,
/// and the unit that runs it.
///
/// # Errors
/// Something could not be written, or is there already.
pub fn equip<'a>(
    folder: &Path,
    files: impl IntoIterator<Item = &'a CertificateFile>,
    unit: Unit,
) -> Result<(), FolderError> {
    certs(folder, files)?;
    write_file(&folder.join(unit.name), unit.text.as_bytes())?;
    sync_folder(folder)
}

/// Writes a folder `certs` with these files into a folder.
pub(super) fn certs<'a>(
    folder: &Path,
    files: impl IntoIterator<Item = &'a CertificateFile>,
) -> Result<(), FolderError> {
    let certs = folder.join(CERTS_FOLDER);
    create(&certs)?;
    for file in files {
        write_file(&certs.join(&file.name), file.contents.as_bytes())?;
    }
    sync_folder(&certs)?;
    sync_folder(folder)
}

/// A file of this name.
pub fn file(name: &str, contents: String) -> CertificateFile {
    CertificateFile { name: name.to_owned(), contents }
}

/// A file of a pair under another name.
pub fn named(name: &str, file: CertificateFile) -> CertificateFile {
    let (_, extension) = file.name.rsplit_once('.').unwrap_or_default();
    CertificateFile { name: format!("{name}.{extension}"), ..file }
}

/// What is to be bound on a machine that is reached at an address: that one, or all that the machine has
/// where it is a name, for what a name stands for may change.
pub fn listen_for(address: &Address) -> Address {
    match address {
        Address::Ip(address) => Address::Ip(*address),
        Address::Name { port, .. } => SocketAddr::from((Ipv6Addr::UNSPECIFIED, *port)).into(),
    }
}

/// Makes a folder for this user alone.
pub(super) fn create(folder: &Path) -> Result<(), FolderError> {
    privacy::create_folder(folder).map_err(at(folder))
}

/// Writes a new file, for this user alone, and waits until it is on disk.
pub(super) fn write_file(path: &Path, contents: &[u8]) -> Result<(), FolderError> {
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(contents)?;
        file.sync_all()
    };
    write().map_err(at(path))
}

/// Writes files into a folder, in order, each in the place of one that is there, and whole or not at all. The
/// folder and those above it are made if they are not there.
pub(super) fn replace(folder: &Path, files: &[CertificateFile]) -> Result<(), FolderError> {
    privacy::create_folders(folder).map_err(at(folder))?;
    for file in files {
        let (path, new) = (folder.join(&file.name), folder.join(format!(".{}.new", file.name)));
        // What a killed process has left.
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(&new)(error)),
            _ => write_file(&new, file.contents.as_bytes())?,
        }
        fs::rename(&new, &path).map_err(at(&path))?;
    }
    sync_folder(folder)
}

pub(super) fn sync_folder(folder: &Path) -> Result<(), FolderError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(at(folder))
}

pub(super) fn at(path: &Path) -> impl FnOnce(io::Error) -> FolderError + use<> {
    let path = path.to_owned();
    move |source| FolderError { path, source }
}
