//! More certificates for a cluster that is there: where its authority's key is, new ones are made, and put
//! where their holder's files are.
//!
//! What was made is written down in `certs/issued`: the certificates without their keys, so that it can be
//! told who has which, that they are made anew with what they allow, and revoked when the key is gone.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;

use super::folders::{self, FolderError, at};
use crate::access::{PUBLIC_FILE, TokenId};
use crate::config::{CERTS_FOLDER, CLIENTS_FOLDER, CLUSTER_FILE, ClusterConfig, HOSTS_FOLDER};
use crate::limits::CERTIFICATE_WARNING;
use crate::net::tls::{AUTHORITY_FILE, TlsError};
use crate::net::{Authority, Certificate, CertificateFile, CertificateRole, Holder, IssueError};
use crate::remedy;
use crate::types::Timestamp;

/// The folder in `certs` with what was issued.
pub const ISSUED_FOLDER: &str = "issued";
/// Who uses the cluster in the directory where it was made.
const OWN_CLIENT: &str = "client";
const OWN_ADMIN: &str = "admin";

/// A cluster's directory, where its authority's key is.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The directory, with `certs` in it.
    pub directory: &'a Path,
    /// The cluster.
    pub cluster: &'a ClusterConfig,
}

/// A certificate that was made.
#[derive(Clone, Debug)]
pub struct Made {
    /// What it says.
    pub certificate: Certificate,
    /// The folder that its files are in.
    pub folder: PathBuf,
    /// Its holder runs elsewhere.
    pub is_to_be_copied: bool,
}

/// Why a certificate was not made or found.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CertificatesError {
    /// The client has one.
    #[error("{} is already there, and is not overwritten", path.display())]
    Occupied {
        /// Its folder.
        path: PathBuf,
    },
    /// It could not be made.
    #[error(transparent)]
    Issue(#[from] IssueError),
    /// It could not be written.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// What is there could not be read.
    #[error(transparent)]
    Read(#[from] TlsError),
}

impl CertificatesError {
    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Occupied { .. } => {
                "`annal cert renew` with this name makes it anew, with what it allows".to_owned()
            }
            Self::Issue(error) => error.hint().to_owned(),
            Self::Folder(error) => remedy::of(&error.source, "look into that folder").to_owned(),
            Self::Read(error) => error.hint(),
        }
    }
}

impl Place<'_> {
    fn certs(&self) -> PathBuf {
        self.directory.join(CERTS_FOLDER)
    }

    /// Makes a certificate for a holder and puts it where its files are, in the place of the one that is
    /// there. A client that has a folder keeps it as it is, unless `anew`.
    ///
    /// # Errors
    /// [`CertificatesError`].
    pub fn issue(
        &self,
        holder: &Holder,
        life: Duration,
        anew: bool,
    ) -> Result<Made, CertificatesError> {
        holder.check()?;
        let folder = self.folder_of(holder.role, &holder.name);
        if !anew && self.is_client_folder(&folder) && folder.exists() {
            return Err(CertificatesError::Occupied { path: folder });
        }
        let authority = Authority::load(&self.certs(), self.cluster.cluster)?;
        let pair = authority.issue_living(holder, life)?;
        let record = record(&pair[0])?;
        let certificate = parse(&pair[0])?;
        // Known before it is used.
        folders::replace(&self.certs().join(ISSUED_FOLDER), &[record])?;
        folders::replace(&folder, &self.files_for(holder, pair)?)?;
        let is_to_be_copied = folder != self.certs();
        Ok(Made { certificate, folder, is_to_be_copied })
    }

    /// All that goes into the folder of a holder.
    fn files_for(
        &self,
        holder: &Holder,
        pair: [CertificateFile; 2],
    ) -> Result<Vec<CertificateFile>, CertificatesError> {
        let folder = self.folder_of(holder.role, &holder.name);
        let mut files = vec![];
        if folder != self.certs() {
            files.push(self.copy(AUTHORITY_FILE)?);
            match holder.role {
                CertificateRole::Node if self.certs().join(PUBLIC_FILE).exists() => {
                    files.push(self.copy(PUBLIC_FILE)?);
                }
                CertificateRole::Client | CertificateRole::Admin => {
                    files.push(folders::file(CLUSTER_FILE, self.cluster.to_toml()));
                }
                CertificateRole::Node | CertificateRole::Registry => {}
            }
        }
        // The key last: whoever looks meanwhile finds a pair that does not fit, and looks again.
        let [certificate, key] = pair;
        for file in [certificate, key] {
            if self.is_client_folder(&folder) {
                if holder.role == CertificateRole::Admin {
                    files.push(folders::named(OWN_ADMIN, file.clone()));
                }
                files.push(folders::named(OWN_CLIENT, file));
            } else {
                files.push(file);
            }
        }
        Ok(files)
    }

    /// A file of `certs` that others get as well.
    fn copy(&self, name: &str) -> Result<CertificateFile, CertificatesError> {
        let file = self.certs().join(name);
        let contents = fs::read_to_string(&file);
        let contents = contents.map_err(|source| TlsError::File { file, source })?;
        Ok(folders::file(name, contents))
    }

    /// Where a holder's files are.
    fn folder_of(&self, role: CertificateRole, name: &str) -> PathBuf {
        let hosts = self.directory.join(HOSTS_FOLDER);
        match role {
            CertificateRole::Client if name == OWN_CLIENT => self.certs(),
            CertificateRole::Admin if name == OWN_ADMIN => self.certs(),
            CertificateRole::Client | CertificateRole::Admin => {
                self.directory.join(CLIENTS_FOLDER).join(name).join(CERTS_FOLDER)
            }
            CertificateRole::Node | CertificateRole::Registry if hosts.exists() => {
                hosts.join(name).join(CERTS_FOLDER)
            }
            CertificateRole::Node | CertificateRole::Registry => self.certs(),
        }
    }

    fn is_client_folder(&self, folder: &Path) -> bool {
        folder.starts_with(self.directory.join(CLIENTS_FOLDER))
    }

    /// The certificates that were made, by holder, the newest of each last.
    ///
    /// # Errors
    /// One of them could not be read.
    pub fn issued(&self) -> Result<Vec<Certificate>, CertificatesError> {
        let mut found = BTreeMap::new();
        for folder in [self.certs().join(ISSUED_FOLDER), self.certs()] {
            for file in certificates_in(&folder)? {
                let certificate = Certificate::read(&file)?;
                let identity = certificate.identity.clone();
                // Of two that were made in one second the file tells.
                let written = fs::metadata(&file).and_then(|found| found.modified()).ok();
                let order = (identity.role, identity.name, certificate.begins, written);
                let is = (certificate.id, order.0, order.1.clone(), certificate.expires);
                found.entry(is).or_insert((order, certificate));
            }
        }
        let mut found: Vec<_> = found.into_values().collect();
        found.sort_by(|(one, _), (other, _)| one.cmp(other));
        Ok(found.into_iter().map(|(_, certificate)| certificate).collect())
    }

    /// Those of [`Self::issued`] that are their holder's newest, and expire soon.
    ///
    /// # Errors
    /// As [`Self::issued`].
    pub fn expiring(&self, now: Timestamp) -> Result<Vec<Certificate>, CertificatesError> {
        let mut newest = newest(self.issued()?);
        newest.retain(|certificate| is_expiring(certificate.expires, now));
        Ok(newest)
    }

    /// Forgets that a certificate was made: it is made anew no more.
    ///
    /// # Errors
    /// The file could not be removed.
    pub fn forget(&self, id: TokenId) -> Result<(), CertificatesError> {
        let file = self.certs().join(ISSUED_FOLDER).join(format!("{id}.crt"));
        match fs::remove_file(&file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(&file)(error).into()),
            _ => Ok(()),
        }
    }
}

/// The last of each holder.
pub fn newest(issued: Vec<Certificate>) -> Vec<Certificate> {
    let mut newest = BTreeMap::new();
    for certificate in issued {
        let identity = &certificate.identity;
        newest.insert((identity.role, identity.name.clone()), certificate);
    }
    newest.into_values().collect()
}

/// Whether somebody is to be told that it expires, or has.
pub fn is_expiring(expires: Timestamp, now: Timestamp) -> bool {
    let left = Duration::from_millis(expires.get().saturating_sub(now.get()));
    left < CERTIFICATE_WARNING
}

/// What is written down of a certificate: itself, under its name.
pub(super) fn record(certificate: &CertificateFile) -> Result<CertificateFile, TlsError> {
    let id = parse(certificate)?.id.expect("what is made here has a name");
    Ok(folders::file(&format!("{id}.crt"), certificate.contents.clone()))
}

fn parse(certificate: &CertificateFile) -> Result<Certificate, TlsError> {
    Certificate::of_text(&certificate.contents, Path::new(&certificate.name))
}

/// The holders' certificates in a folder, in order; none if there is no folder.
fn certificates_in(folder: &Path) -> Result<Vec<PathBuf>, CertificatesError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
        Err(source) => {
            return Err(TlsError::File { file: folder.to_owned(), source }.into());
        }
    };
    let paths = entries.flatten().map(|entry| entry.path());
    let is_one = |path: &PathBuf| {
        path.extension().is_some_and(|it| it == "crt") && !path.ends_with(AUTHORITY_FILE)
    };
    let mut paths: Vec<_> = paths.filter(is_one).collect();
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::super::init::{InitOptions, init};
    use super::*;
    use crate::access::{Grant, Grants, Right, Rights};
    use crate::limits::CERTIFICATE_LIFE_DEFAULT;
    use crate::net::Credentials;

    fn now() -> Timestamp {
        let now = time::OffsetDateTime::now_utc().unix_timestamp();
        Timestamp::new(u64::try_from(now).unwrap() * 1000)
    }

    fn in_days(days: u64) -> Timestamp {
        Timestamp::new(now().get() + days * 24 * 60 * 60 * 1000)
    }

    #[test]
    fn what_is_made_is_where_it_belongs_and_written_down() {
        let folder = tempfile::tempdir().unwrap();
        let cluster = init(&InitOptions::local(folder.path(), 3, 7100).unwrap()).unwrap();
        let place = Place { directory: folder.path(), cluster: &cluster };
        assert_eq!(place.issued().unwrap().len(), 6, "{:?}", place.issued());
        assert_eq!(place.expiring(in_days(300)).unwrap(), []);
        assert_eq!(place.expiring(in_days(340)).unwrap().len(), 6);

        let rights = Rights::of([Right::Read]).unwrap();
        let grants = Grants {
            logs: vec![Grant { logs: "orders/*".parse().unwrap(), rights }],
            observe: false,
        };
        let app = Holder::new(CertificateRole::Client, "app");
        let app = Holder { grants: Some(grants.clone()), ..app };
        let life = Duration::from_hours(24);
        let made = place.issue(&app, life, false).unwrap();
        assert_eq!(made.certificate.grants, Some(grants));
        let certs = folder.path().join("clients/app/certs");
        assert_eq!(made.folder, certs);
        let credentials = Credentials::load(&certs, "client").unwrap();
        assert_eq!(*credentials.identity(), made.certificate.identity);
        assert_eq!(ClusterConfig::load(&certs).unwrap(), cluster);
        let again = place.issue(&app, life, false);
        assert!(matches!(again, Err(CertificatesError::Occupied { .. })));
        assert_eq!(place.expiring(now()).unwrap(), std::slice::from_ref(&made.certificate));
        let anew = place.issue(&app, CERTIFICATE_LIFE_DEFAULT, true).unwrap();
        assert_ne!(anew.certificate.id, made.certificate.id);
        assert_eq!(place.expiring(now()).unwrap(), []);
        assert_eq!(place.issued().unwrap().len(), 8);
        place.forget(made.certificate.id.unwrap()).unwrap();
        place.forget(made.certificate.id.unwrap()).unwrap();
        assert_eq!(place.issued().unwrap().len(), 7);

        // A node's lost key: one in the place of that.
        let node = cluster.nodes.first_key_value().unwrap();
        let before = Certificate::read(&folder.path().join("certs/n1.crt")).unwrap();
        let made = place.issue(&Holder::node(*node.0, node.1), life, false).unwrap();
        assert_eq!(made.folder, folder.path().join("certs"));
        let after = Certificate::read(&folder.path().join("certs/n1.crt")).unwrap();
        assert!(after.id == made.certificate.id && after.id != before.id);
        Credentials::load(&folder.path().join("certs"), "n1").unwrap();
        // An admin can do what a client can.
        place.issue(&Holder::new(CertificateRole::Admin, "eve"), life, false).unwrap();
        for name in ["admin", "client"] {
            let credentials =
                Credentials::load(&folder.path().join("clients/eve/certs"), name).unwrap();
            assert_eq!(credentials.identity().role, CertificateRole::Admin);
        }
        let limited = Holder { grants: Some(Grants::default()), ..Holder::node(*node.0, node.1) };
        assert!(place.issue(&limited, life, true).is_err(), "nobody asks what a node may do");
        fs::remove_file(folder.path().join("certs/ca.key")).unwrap();
        let error = place.issue(&app, life, true).unwrap_err();
        assert!(error.to_string().contains("ca.key could not be read"), "{error}");
        assert!(!error.hint().is_empty());
    }
}
