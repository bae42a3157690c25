//! Certificates: loading them, and TLS with them.
//!
//! A cluster has a certificate authority of its own, and trusts nobody else. TLS checks that a
//! certificate is of the authority, is valid now and fits its key; that the other side is whom we
//! expect (`identity`) is checked on both sides before a frame is exchanged.

use std::any::Any;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Instant;

use quinn::crypto::rustls::{HandshakeData, QuicClientConfig, QuicServerConfig};
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, ClientConfig, RootCertStore, ServerConfig};
use thiserror::Error;
use tracing::{debug, warn};

use super::certificate::Certificate;
use super::identity::{CertificateIdentity, IdentityError};
use super::protocol::Protocol;
use super::reset::ResetSecret;
use crate::limits::CERTIFICATE_LOOK;
use crate::remedy;
use crate::types::Timestamp;

/// The name for which every certificate of a cluster is issued, beside the one that counts.
///
/// TLS insists on a name for the server. Ours are told apart by their URI, which TLS cannot check.
pub(super) const SERVER_NAME: &str = "annal";

/// What a process proves its identity with, and whom it trusts. Clones are the same: what one of them loads
/// anew, all of them show from then on.
#[derive(Clone)]
pub struct Credentials {
    identity: CertificateIdentity,
    /// Where the files are, and what they are called.
    files: (PathBuf, String),
    roots: Arc<RootCertStore>,
    shown: Arc<RwLock<Shown>>,
    /// When a process that is no server looked at the files last.
    looked: Arc<Mutex<Instant>>,
    reset: ResetSecret,
}

/// The certificate that is shown for now.
#[derive(Debug)]
struct Shown {
    expires: Timestamp,
    key: Arc<CertifiedKey>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({})", self.identity())
    }
}

/// Certificates that cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file could not be read.
    #[error("{} could not be read: {source}", file.display())]
    File {
        /// Which.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file does not hold what its name says.
    #[error("{} does not hold a {expected} in PEM", file.display())]
    Malformed {
        /// Which.
        file: PathBuf,
        /// What it should hold.
        expected: &'static str,
    },
    /// The certificate has expired.
    #[error("the certificate {} has expired", file.display())]
    Expired {
        /// Which.
        file: PathBuf,
    },
    /// The certificate is not valid yet.
    #[error("the certificate {} is not valid yet", file.display())]
    NotYetValid {
        /// Which.
        file: PathBuf,
    },
    /// The certificate is not of the authority beside it.
    #[error("the certificate {} was not issued by {}", file.display(), authority.display())]
    OtherAuthority {
        /// Which.
        file: PathBuf,
        /// The authority's certificate.
        authority: PathBuf,
    },
    /// The key is not that of the certificate.
    #[error("the key {} does not belong to the certificate {}", key.display(), file.display())]
    OtherKey {
        /// The key.
        key: PathBuf,
        /// The certificate.
        file: PathBuf,
    },
    /// The certificate does not say who its holder is.
    #[error("the certificate {} names no holder in the form annal://<cluster>/<role>/<name>", file.display())]
    NoIdentity {
        /// Which.
        file: PathBuf,
    },
    /// The certificate is another holder's than the one that is shown.
    #[error("the certificate {} is of {found} now, and this process is {expected}", file.display())]
    OtherHolder {
        /// Which.
        file: PathBuf,
        /// Whose it is.
        found: Box<CertificateIdentity>,
        /// Whose it should be.
        expected: Box<CertificateIdentity>,
    },
    /// The certificate is unusable for another reason.
    #[error("the certificate {} is not usable: {source}", file.display())]
    Unusable {
        /// Which.
        file: PathBuf,
        /// Why.
        source: rustls::Error,
    },
}

/// The authority's own certificate, in each folder of certificates.
pub const AUTHORITY_FILE: &str = "ca.crt";

/// What each part of a cluster has, and no more: whoever has `ca.key` can be any of them.
const OWN_FILES: &str = "copy ca.crt and the two files of this name from where `annal init` made \
                         them, or `annal cert issue` makes new ones; ca.key stays there";

impl TlsError {
    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::File { file, source } if source.kind() == std::io::ErrorKind::NotFound => {
                let folder = file.parent().unwrap_or(file);
                // Where there is a part of a cluster, `annal init` would write nothing.
                let is_authority = file.ends_with(AUTHORITY_FILE);
                if folder.join(AUTHORITY_FILE).exists() || is_authority && folder.exists() {
                    return OWN_FILES.to_owned();
                }
                format!(
                    "`annal init` makes a cluster; --dir names the folder that holds its {}",
                    folder.file_name().unwrap_or(folder.as_os_str()).display()
                )
            }
            Self::File { source, .. } => remedy::of(source, "see who may read it").to_owned(),
            Self::NotYetValid { .. } => "check this machine's clock".to_owned(),
            Self::Expired { .. } => {
                "check this machine's clock; if it is right, `annal cert renew` where ca.key is makes \
                 another, to be copied here"
                    .to_owned()
            }
            Self::Malformed { .. }
            | Self::OtherAuthority { .. }
            | Self::OtherKey { .. }
            | Self::NoIdentity { .. }
            | Self::OtherHolder { .. }
            | Self::Unusable { .. } => OWN_FILES.to_owned(),
        }
    }
}

impl Certificate {
    /// What the certificate in a file says, whether or not it holds.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn read(file: &Path) -> Result<Self, TlsError> {
        Self::of_der(&certificate_in(file)?, file)
    }

    /// What the certificate in a text says, which is or will be in this file.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn of_text(text: &str, file: &Path) -> Result<Self, TlsError> {
        let certificate = der_of(text.as_bytes()).ok_or_else(|| no_certificate(file))?;
        Self::of_der(&certificate, file)
    }

    fn of_der(certificate: &CertificateDer<'_>, file: &Path) -> Result<Self, TlsError> {
        let file = || file.to_owned();
        Self::parse(certificate).map_err(|IdentityError| TlsError::NoIdentity { file: file() })
    }
}

impl Credentials {
    /// Loads `ca.crt`, `<name>.crt` and `<name>.key` from the folder `certs`.
    ///
    /// # Errors
    /// [`TlsError`], which names the file and says what is wrong with it.
    pub fn load(certs: &Path, name: &str) -> Result<Self, TlsError> {
        let (credentials, certificate) = Self::read(certs, name)?;
        warn_if_open(&certs.join(format!("{name}.key")));
        credentials.check(&certs.join(AUTHORITY_FILE), certificate)?;
        Ok(credentials)
    }

    /// Looks whether there is another certificate by now in the files, and shows that from now on, to
    /// whoever connects then. Says whether there is. The authority's certificate is that of the start.
    ///
    /// # Errors
    /// [`TlsError`]: what is there cannot be shown, and what was there before still is.
    pub fn reload(&self) -> Result<bool, TlsError> {
        let (certs, name) = &self.files;
        let file = certs.join(format!("{name}.crt"));
        if certificate_in(&file)? == self.key().cert[0] {
            return Ok(false);
        }
        let (found, file) = Self::read(certs, name)?;
        let (found_identity, expected) = (found.identity.clone(), self.identity.clone());
        if found_identity != expected {
            let (found, expected) = (Box::new(found_identity), Box::new(expected));
            return Err(TlsError::OtherHolder { file, found, expected });
        }
        Self { roots: self.roots.clone(), ..found.clone() }
            .check(&certs.join(AUTHORITY_FILE), file)?;
        let found = found.shown.read().unwrap_or_else(PoisonError::into_inner);
        let shown = Shown { expires: found.expires, key: found.key.clone() };
        *self.shown.write().unwrap_or_else(PoisonError::into_inner) = shown;
        Ok(true)
    }

    /// [`Self::reload`] for a process that only dials, before it does: at most every
    /// [`CERTIFICATE_LOOK`], and without a word, since what it has may still do.
    pub(super) fn reload_now_and_then(&self) {
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        if looked.elapsed() < CERTIFICATE_LOOK {
            return;
        }
        *looked = Instant::now();
        match self.reload() {
            Ok(false) => {}
            Ok(true) => debug!("another certificate is shown from now on"),
            Err(error) => debug!("the certificate is not loaded anew: {error}"),
        }
    }

    /// Until when the certificate holds that is shown.
    pub fn expires(&self) -> Timestamp {
        self.shown.read().unwrap_or_else(PoisonError::into_inner).expires
    }

    fn key(&self) -> Arc<CertifiedKey> {
        self.shown.read().unwrap_or_else(PoisonError::into_inner).key.clone()
    }

    /// What ends the connections of this holder's former processes.
    pub(super) fn reset(&self) -> &ResetSecret {
        &self.reset
    }

    /// Who the holder is.
    pub fn identity(&self) -> &CertificateIdentity {
        &self.identity
    }

    /// Reads the files, and checks that key and certificate fit.
    fn read(certs: &Path, name: &str) -> Result<(Self, PathBuf), TlsError> {
        let authority_file = certs.join(AUTHORITY_FILE);
        let file = certs.join(format!("{name}.crt"));
        let key_file = certs.join(format!("{name}.key"));

        let mut roots = RootCertStore::empty();
        roots
            .add(certificate_in(&authority_file)?)
            .map_err(|_| TlsError::Malformed { file: authority_file, expected: "certificate" })?;
        let certificate = certificate_in(&file)?;
        let key = PrivateKeyDer::from_pem_slice(&contents_of(&key_file)?)
            .map_err(|_| TlsError::Malformed { file: key_file.clone(), expected: "key" })?;

        let says = Certificate::of_der(&certificate, &file)?;
        let reset = ResetSecret::of(key.secret_der());
        let key = CertifiedKey::from_der(vec![certificate], key, &provider()).map_err(|error| {
            if let rustls::Error::InconsistentKeys(_) = error {
                TlsError::OtherKey { key: key_file, file: file.clone() }
            } else {
                TlsError::Unusable { file: file.clone(), source: error }
            }
        })?;
        let shown = Arc::new(RwLock::new(Shown { expires: says.expires, key: Arc::new(key) }));
        let credentials = Self {
            identity: says.identity,
            files: (certs.to_owned(), name.to_owned()),
            roots: Arc::new(roots),
            shown,
            looked: Arc::new(Mutex::new(Instant::now())),
            reset,
        };
        Ok((credentials, file))
    }

    /// Checks the certificate as the other side will, so that what is wrong is said where it can be
    /// put right.
    fn check(&self, authority: &Path, file: PathBuf) -> Result<(), TlsError> {
        let unusable = |source| TlsError::Unusable { file: file.clone(), source };
        let key = self.key();
        let certificate = key.end_entity_cert().map_err(unusable)?;
        let verifier = WebPkiClientVerifier::builder_with_provider(self.roots.clone(), provider())
            .build()
            .expect("there is a root, and no revocation list");
        match verifier.verify_client_cert(certificate, &[], UnixTime::now()) {
            Ok(_) => Ok(()),
            Err(rustls::Error::InvalidCertificate(error)) => Err(match error {
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                    TlsError::Expired { file }
                }
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                    TlsError::NotYetValid { file }
                }
                CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                    TlsError::OtherAuthority { file, authority: authority.to_owned() }
                }
                other => unusable(rustls::Error::InvalidCertificate(other)),
            }),
            Err(other) => Err(unusable(other)),
        }
    }

    /// The TLS side of a server that speaks these protocols.
    pub(super) fn server_crypto(&self, protocols: &[Protocol]) -> Arc<QuicServerConfig> {
        let config = Arc::new(self.server_config(protocols));
        Arc::new(
            QuicServerConfig::try_from(config).expect("ring has the suite that QUIC begins with"),
        )
    }

    /// The TLS side of a connection for this protocol.
    pub(super) fn client_crypto(&self, protocol: Protocol) -> Arc<QuicClientConfig> {
        let config = Arc::new(self.client_config(protocol));
        Arc::new(
            QuicClientConfig::try_from(config).expect("ring has the suite that QUIC begins with"),
        )
    }

    fn server_config(&self, protocols: &[Protocol]) -> ServerConfig {
        let verifier = WebPkiClientVerifier::builder_with_provider(self.roots.clone(), provider())
            .build()
            .expect("there is a root, and no revocation list");
        let protocols = protocols.iter().map(|protocol| protocol.alpn().to_vec()).collect();
        self.server_that_asks(verifier, protocols)
    }

    /// The TLS side of a server for HTTP, which asks for no certificate.
    #[cfg(feature = "http")]
    pub(crate) fn web_server(&self) -> Arc<ServerConfig> {
        let nobody = WebPkiClientVerifier::no_client_auth();
        Arc::new(self.server_that_asks(nobody, vec![b"http/1.1".to_vec()]))
    }

    fn server_that_asks(
        &self,
        verifier: Arc<dyn ClientCertVerifier>,
        protocols: Vec<Vec<u8>>,
    ) -> ServerConfig {
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("ring speaks TLS 1.3")
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::new(OwnCertificate(self.shown.clone())));
        config.alpn_protocols = protocols;
        // No 0-RTT: what comes in one can be replayed. No resumption: every connection shows its
        // certificate.
        config.max_early_data_size = 0;
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config
    }

    fn client_config(&self, protocol: Protocol) -> ClientConfig {
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("ring speaks TLS 1.3")
            .with_root_certificates(self.roots.clone())
            .with_client_cert_resolver(Arc::new(OwnCertificate(self.shown.clone())));
        config.alpn_protocols = vec![protocol.alpn().to_vec()];
        config.enable_early_data = false;
        config.resumption = Resumption::disabled();
        config
    }
}

/// Shows the one certificate that a process has by now, whatever it is asked for.
#[derive(Debug)]
struct OwnCertificate(Arc<RwLock<Shown>>);

impl OwnCertificate {
    fn key(&self) -> Arc<CertifiedKey> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).key.clone()
    }
}

impl rustls::server::ResolvesServerCert for OwnCertificate {
    fn resolve(&self, _: rustls::server::ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.key())
    }
}

impl rustls::client::ResolvesClientCert for OwnCertificate {
    fn resolve(&self, _: &[&[u8]], _: &[rustls::SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.key())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// ring, named: a process-wide default could be set by anybody.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// A key that others may read is no proof of who one is. It is not refused: some mounts show every
/// file so.
fn warn_if_open(key: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let open = std::fs::metadata(key).is_ok_and(|data| data.permissions().mode() & 0o077 != 0);
    if open {
        warn!("{} can be read by other users: `chmod 600` it", key.display());
    }
}

fn contents_of(file: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(file).map_err(|source| TlsError::File { file: file.to_owned(), source })
}

pub(super) fn certificate_in(file: &Path) -> Result<CertificateDer<'static>, TlsError> {
    der_of(&contents_of(file)?).ok_or_else(|| no_certificate(file))
}

fn no_certificate(file: &Path) -> TlsError {
    TlsError::Malformed { file: file.to_owned(), expected: "certificate" }
}

/// The certificate in a text, in DER.
pub(super) fn der_of(text: &[u8]) -> Option<CertificateDer<'static>> {
    CertificateDer::from_pem_slice(text).ok()
}

/// What the certificate of the other side of a connection says, from what
/// `quinn::Connection::peer_identity` gives: a chain that TLS has verified.
pub(super) fn certificate_of(peer: Option<Box<dyn Any>>) -> Result<Certificate, IdentityError> {
    let chain = peer
        .and_then(|peer| peer.downcast::<Vec<CertificateDer<'static>>>().ok())
        .ok_or(IdentityError)?;
    Certificate::parse(chain.first().ok_or(IdentityError)?)
}

/// The protocol that was agreed on, from what `quinn::Connection::handshake_data` gives.
pub(super) fn protocol_of(handshake: Option<Box<dyn Any>>) -> Option<Protocol> {
    let handshake = handshake?.downcast::<HandshakeData>().ok()?;
    Protocol::from_alpn(handshake.protocol.as_deref()?)
}

#[cfg(test)]
pub(crate) mod tests {
    use time::{Duration, OffsetDateTime};

    use super::super::identity::CertificateRole;
    use super::super::issue::{Authority, Holder, IssueError, VALID_BEFORE};
    use super::*;
    use crate::types::ClusterId;

    /// A folder with the certificates of a cluster: n1 to n3, client, admin and registry.
    pub(crate) fn certificates(cluster: ClusterId) -> tempfile::TempDir {
        let now = OffsetDateTime::now_utc();
        certificates_for(cluster, (now - VALID_BEFORE, now + Duration::days(365)))
    }

    /// The same, but expired.
    pub(crate) fn expired_certificates(cluster: ClusterId) -> tempfile::TempDir {
        let now = OffsetDateTime::now_utc();
        certificates_for(cluster, (now - Duration::days(2), now - Duration::days(1)))
    }

    fn certificates_for(
        cluster: ClusterId,
        validity: (OffsetDateTime, OffsetDateTime),
    ) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let (authority, pair) = Authority::generate(cluster).unwrap();
        let mut files = Vec::from(pair);
        for holder in holders() {
            files.extend(authority.issue_for(&holder, validity).unwrap());
        }
        for file in files {
            std::fs::write(folder.path().join(file.name), file.contents).unwrap();
        }
        folder
    }

    fn holders() -> Vec<Holder> {
        use CertificateRole::{Admin, Client, Node, Registry};
        [(Node, "n1"), (Node, "n2"), (Node, "n3"), (Client, "client"), (Admin, "admin")]
            .into_iter()
            .chain([(Registry, "registry")])
            .map(|(role, name)| Holder::new(role, name))
            .collect()
    }

    impl Credentials {
        /// Without the checks of [`Credentials::load`], as somebody hostile would.
        pub(crate) fn load_unchecked(certs: &Path, name: &str) -> Self {
            Self::read(certs, name).unwrap().0
        }

        /// These credentials, trusting another authority: `certs/ca.crt`.
        pub(crate) fn trusting(&self, certs: &Path) -> Self {
            let mut roots = RootCertStore::empty();
            roots.add(certificate_in(&certs.join("ca.crt")).unwrap()).unwrap();
            Self { roots: Arc::new(roots), ..self.clone() }
        }

        /// A client that shows no certificate at all.
        pub(crate) fn client_crypto_without_certificate(
            &self,
            protocols: &[&[u8]],
        ) -> Arc<QuicClientConfig> {
            let mut config = ClientConfig::builder_with_provider(provider())
                .with_protocol_versions(&[&rustls::version::TLS13])
                .unwrap()
                .with_root_certificates(self.roots.clone())
                .with_no_client_auth();
            config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
            Arc::new(QuicClientConfig::try_from(Arc::new(config)).unwrap())
        }
    }

    fn load_error(folder: &tempfile::TempDir, name: &str) -> TlsError {
        let error = Credentials::load(folder.path(), name).unwrap_err();
        assert!(error.to_string().contains(name), "{error}");
        assert!(!error.hint().is_empty());
        error
    }

    #[test]
    fn early_data_and_resumption_are_off_on_both_sides() {
        let folder = certificates(ClusterId::new(1));
        let credentials = Credentials::load(folder.path(), "n1").unwrap();
        let server = credentials.server_config(&[Protocol::Peer]);
        assert_eq!(server.max_early_data_size, 0);
        assert_eq!(server.send_tls13_tickets, 0);
        assert!(!server.session_storage.can_cache());
        let client = credentials.client_config(Protocol::Peer);
        assert!(!client.enable_early_data);
    }

    #[test]
    fn issued_certificates_load_and_say_who_they_are() {
        let cluster = ClusterId::new(7);
        let folder = certificates(cluster);
        for Holder { role, name, .. } in holders() {
            let credentials = Credentials::load(folder.path(), &name).unwrap();
            assert_eq!(*credentials.identity(), CertificateIdentity { cluster, role, name });
        }
    }

    #[test]
    fn what_is_loaded_anew_is_shown_by_all_clones() {
        let cluster = ClusterId::new(1);
        let folder = certificates(cluster);
        let credentials = Credentials::load(folder.path(), "n1").unwrap();
        let clone = credentials.clone();
        let shown = || clone.key().cert[0].clone();
        let first = shown();
        assert!(!credentials.reload().unwrap());
        // Of another authority, of another holder, without its key: none of them is shown.
        let other = certificates(cluster);
        let copy = |from: &Path, name: &str| {
            for extension in ["crt", "key"] {
                let to = folder.path().join("n1").with_extension(extension);
                std::fs::copy(from.join(name).with_extension(extension), to).unwrap();
            }
        };
        copy(other.path(), "n1");
        assert!(matches!(credentials.reload(), Err(TlsError::OtherAuthority { .. })));
        copy(folder.path(), "n2");
        assert!(matches!(credentials.reload(), Err(TlsError::OtherHolder { .. })));
        std::fs::copy(folder.path().join("n3.key"), folder.path().join("n1.key")).unwrap();
        assert!(matches!(credentials.reload(), Err(TlsError::OtherKey { .. })));
        assert_eq!(shown(), first);

        let (authority, ca) = Authority::generate(cluster).unwrap();
        let life = std::time::Duration::from_hours(48);
        let pair = authority.issue_living(&Holder::new(CertificateRole::Node, "n1"), life).unwrap();
        for file in ca.into_iter().chain(pair) {
            std::fs::write(folder.path().join(file.name), file.contents).unwrap();
        }
        // Its authority is that of the start.
        assert!(matches!(credentials.reload(), Err(TlsError::OtherAuthority { .. })));
        let credentials = Credentials::load(folder.path(), "n1").unwrap();
        let (before, clone) = (credentials.expires(), credentials.clone());
        for file in authority.issue(&Holder::new(CertificateRole::Node, "n1")).unwrap() {
            std::fs::write(folder.path().join(file.name), file.contents).unwrap();
        }
        assert!(credentials.reload().unwrap() && !credentials.reload().unwrap());
        assert!(clone.expires() > before);
    }

    #[test]
    fn names_that_are_none_get_no_certificate() {
        use CertificateRole::{Client, Node};
        let (authority, _) = Authority::generate(ClusterId::new(1)).unwrap();
        for (role, name) in [
            (Node, "client"),
            (Node, "n0"),
            (Client, ""),
            (Client, "../n1"),
            (Client, "ca"),
            (Client, "A"),
        ] {
            let refused = authority.issue(&Holder::new(role, name));
            assert!(matches!(refused, Err(IssueError::Name { .. })), "{name:?}");
        }
    }

    #[test]
    fn each_fault_of_the_files_has_its_own_sentence() {
        let folder = certificates(ClusterId::new(1));
        let other = certificates(ClusterId::new(2));
        let copy = |from: &str, to: &str| {
            std::fs::copy(other.path().join(from), folder.path().join(to)).unwrap();
        };
        copy("n1.crt", "n1.crt");
        assert!(matches!(load_error(&folder, "n1"), TlsError::OtherKey { .. }));
        copy("n1.key", "n1.key");
        assert!(matches!(load_error(&folder, "n1"), TlsError::OtherAuthority { .. }));
        std::fs::write(folder.path().join("n2.key"), "not a key").unwrap();
        assert!(matches!(load_error(&folder, "n2"), TlsError::Malformed { expected: "key", .. }));
        std::fs::remove_file(folder.path().join("n3.crt")).unwrap();
        assert!(load_error(&folder, "n3").hint().contains("annal init"));
        for (from, to) in [("ca.crt", "x.crt"), ("ca.key", "x.key")] {
            std::fs::copy(folder.path().join(from), folder.path().join(to)).unwrap();
        }
        assert!(matches!(load_error(&folder, "x"), TlsError::NoIdentity { .. }));
        let expired = expired_certificates(ClusterId::new(1));
        assert!(matches!(load_error(&expired, "n1"), TlsError::Expired { .. }));
        let tomorrow = OffsetDateTime::now_utc() + Duration::days(1);
        let early = certificates_for(ClusterId::new(1), (tomorrow, tomorrow + Duration::days(1)));
        assert!(matches!(load_error(&early, "n1"), TlsError::NotYetValid { .. }));
    }
}
