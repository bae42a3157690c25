//! Certificates: loading them, and TLS with them.
//!
//! A cluster has a certificate authority of its own, and trusts nobody else. TLS checks that a
//! certificate is of the authority, is valid now and fits its key; that the other side is whom we
//! expect (`identity`) is checked on both sides before a frame is exchanged.

use std::any::Any;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

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
use tracing::warn;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::identity::{CertificateIdentity, IdentityError};
use super::protocol::Protocol;
use super::reset::ResetSecret;
use crate::remedy;

/// The name for which every certificate of a cluster is issued, beside the one that counts.
///
/// TLS insists on a name for the server. Ours are told apart by their URI, which TLS cannot check.
pub(super) const SERVER_NAME: &str = "annal";

/// What a process proves its identity with, and whom it trusts.
#[derive(Clone)]
pub struct Credentials {
    identity: CertificateIdentity,
    roots: Arc<RootCertStore>,
    key: Arc<CertifiedKey>,
    reset: ResetSecret,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({})", self.identity)
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
    /// The certificate is unusable for another reason.
    #[error("the certificate {} is not usable: {source}", file.display())]
    Unusable {
        /// Which.
        file: PathBuf,
        /// Why.
        source: rustls::Error,
    },
}

/// What each part of a cluster has, and no more: whoever has `ca.key` can be any of them.
const OWN_FILES: &str = "copy ca.crt and the two files of this name from where `annal init` made \
                         them; ca.key stays there";

impl TlsError {
    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::File { file, source } if source.kind() == std::io::ErrorKind::NotFound => {
                let folder = file.parent().unwrap_or(file);
                // Where there is a part of a cluster, `annal init` would write nothing.
                if folder.join("ca.crt").exists() || file.ends_with("ca.crt") && folder.exists() {
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
                "check this machine's clock; if it is right, the certificate has to be replaced"
                    .to_owned()
            }
            Self::Malformed { .. }
            | Self::OtherAuthority { .. }
            | Self::OtherKey { .. }
            | Self::NoIdentity { .. }
            | Self::Unusable { .. } => OWN_FILES.to_owned(),
        }
    }
}

impl Credentials {
    /// Loads `ca.crt`, `<name>.crt` and `<name>.key` from the folder `certs`.
    ///
    /// # Errors
    /// [`TlsError`], which names the file and says what is wrong with it.
    pub fn load(certs: &Path, name: &str) -> Result<Self, TlsError> {
        let (credentials, certificate) = Self::read(certs, name)?;
        credentials.check(&certs.join("ca.crt"), certificate)?;
        Ok(credentials)
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
        let authority_file = certs.join("ca.crt");
        let file = certs.join(format!("{name}.crt"));
        let key_file = certs.join(format!("{name}.key"));

        let mut roots = RootCertStore::empty();
        roots
            .add(certificate_in(&authority_file)?)
            .map_err(|_| TlsError::Malformed { file: authority_file, expected: "certificate" })?;
        let certificate = certificate_in(&file)?;
        warn_if_open(&key_file);
        let key = PrivateKeyDer::from_pem_slice(&contents_of(&key_file)?)
            .map_err(|_| TlsError::Malformed { file: key_file.clone(), expected: "key" })?;

        let identity = identity_in(&certificate)
            .map_err(|IdentityError| TlsError::NoIdentity { file: file.clone() })?;
        let reset = ResetSecret::of(key.secret_der());
        let key = CertifiedKey::from_der(vec![certificate], key, &provider()).map_err(|error| {
            if let rustls::Error::InconsistentKeys(_) = error {
                TlsError::OtherKey { key: key_file, file: file.clone() }
            } else {
                TlsError::Unusable { file: file.clone(), source: error }
            }
        })?;
        Ok((Self { identity, roots: Arc::new(roots), key: Arc::new(key), reset }, file))
    }

    /// Checks the certificate as the other side will, so that what is wrong is said where it can be
    /// put right.
    fn check(&self, authority: &Path, file: PathBuf) -> Result<(), TlsError> {
        let unusable = |source| TlsError::Unusable { file: file.clone(), source };
        let certificate = self.key.end_entity_cert().map_err(unusable)?;
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
            .with_cert_resolver(Arc::new(OwnCertificate(self.key.clone())));
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
            .with_client_cert_resolver(Arc::new(OwnCertificate(self.key.clone())));
        config.alpn_protocols = vec![protocol.alpn().to_vec()];
        config.enable_early_data = false;
        config.resumption = Resumption::disabled();
        config
    }
}

/// Shows the one certificate that a process has, whatever it is asked for.
#[derive(Debug)]
struct OwnCertificate(Arc<CertifiedKey>);

impl rustls::server::ResolvesServerCert for OwnCertificate {
    fn resolve(&self, _: rustls::server::ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
}

impl rustls::client::ResolvesClientCert for OwnCertificate {
    fn resolve(&self, _: &[&[u8]], _: &[rustls::SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
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

fn certificate_in(file: &Path) -> Result<CertificateDer<'static>, TlsError> {
    CertificateDer::from_pem_slice(&contents_of(file)?)
        .map_err(|_| TlsError::Malformed { file: file.to_owned(), expected: "certificate" })
}

/// The identity in a certificate: that of its only URI.
fn identity_in(certificate: &CertificateDer<'_>) -> Result<CertificateIdentity, IdentityError> {
    let (_, certificate) = X509Certificate::from_der(certificate).map_err(|_| IdentityError)?;
    let names = certificate.subject_alternative_name().ok().flatten().ok_or(IdentityError)?;
    let mut uris = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    });
    match (uris.next(), uris.next()) {
        (Some(uri), None) => uri.parse(),
        _ => Err(IdentityError),
    }
}

/// The identity of the other side of a connection, from what `quinn::Connection::peer_identity`
/// gives: a chain that TLS has verified.
pub(super) fn identity_of(
    peer: Option<Box<dyn Any>>,
) -> Result<CertificateIdentity, IdentityError> {
    let chain = peer
        .and_then(|peer| peer.downcast::<Vec<CertificateDer<'static>>>().ok())
        .ok_or(IdentityError)?;
    identity_in(chain.first().ok_or(IdentityError)?)
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
    use super::super::issue::{Authority, Holder, IssueError, VALID_AFTER, VALID_BEFORE};
    use super::*;
    use crate::types::ClusterId;

    /// A folder with the certificates of a cluster: n1 to n3, client, admin and registry.
    pub(crate) fn certificates(cluster: ClusterId) -> tempfile::TempDir {
        let now = OffsetDateTime::now_utc();
        certificates_for(cluster, (now - VALID_BEFORE, now + VALID_AFTER))
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
        let early = certificates_for(ClusterId::new(1), (tomorrow, tomorrow + VALID_AFTER));
        assert!(matches!(load_error(&early, "n1"), TlsError::NotYetValid { .. }));
    }
}
