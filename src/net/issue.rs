//! Makes the certificates of a new cluster: an authority of its own, and one for each holder.

use std::fmt;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType,
};
use thiserror::Error;
use time::{Duration, OffsetDateTime};

use super::identity::{AUTHORITY, CertificateIdentity, CertificateRole, is_name};
use super::tls::SERVER_NAME;
use crate::address::Address;
use crate::types::ClusterId;

/// Certificates are valid from this long before they are made: clocks differ.
pub(super) const VALID_BEFORE: Duration = Duration::days(1);

/// Certificates are valid for about ten years.
pub(super) const VALID_AFTER: Duration = Duration::days(3650);

/// A file that `annal init` writes into `certs/`.
#[derive(Clone)]
pub struct CertificateFile {
    /// Its name: `ca.crt`, `n1.key`, …
    pub name: String,
    /// What goes into it, in PEM.
    pub contents: String,
    /// Whether only its owner may read it (mode 0600).
    pub secret: bool,
}

impl fmt::Debug for CertificateFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CertificateFile({})", self.name)
    }
}

/// Who gets a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// What it is.
    pub role: CertificateRole,
    /// Its name, which its files have as well.
    pub name: String,
    /// Where it is reached, if that is known: under this name or address browsers and `curl` know it, too.
    pub address: Option<Address>,
}

impl Holder {
    /// One of which nobody knows where it is.
    pub fn new(role: CertificateRole, name: impl Into<String>) -> Self {
        Self { role, name: name.into(), address: None }
    }
}

/// Certificates could not be made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum IssueError {
    /// A holder's name is not of the form of one.
    #[error(
        "'{role}' certificates cannot be issued for that name (1 to 64 of a-z 0-9 - _ ., and n1, n2, … for nodes)"
    )]
    Name {
        /// What the holder is.
        role: CertificateRole,
    },
    /// The library that makes them failed, probably for want of random numbers.
    #[error("certificates could not be made")]
    Failed(#[from] rcgen::Error),
}

/// Makes a cluster's certificate authority and a certificate with a fresh key for each of `holders`.
///
/// Gives all files of `certs/`: `ca.crt`, `ca.key`, and `<name>.crt` and `<name>.key` for each.
/// Valid from a day ago, for about ten years.
///
/// # Errors
/// [`IssueError`].
pub fn issue_all(
    cluster: ClusterId,
    holders: &[Holder],
) -> Result<Vec<CertificateFile>, IssueError> {
    let now = OffsetDateTime::now_utc();
    issue_for(cluster, holders, (now - VALID_BEFORE, now + VALID_AFTER))
}

pub(super) fn issue_for(
    cluster: ClusterId,
    holders: &[Holder],
    validity: (OffsetDateTime, OffsetDateTime),
) -> Result<Vec<CertificateFile>, IssueError> {
    let authority = authority(cluster)?;
    let mut files = pair(AUTHORITY, authority.pem(), authority.key());
    for Holder { role, name, address } in holders {
        if !is_name(*role, name) {
            return Err(IssueError::Name { role: *role });
        }
        let identity = CertificateIdentity { cluster, role: *role, name: name.clone() };
        let key = KeyPair::generate()?;
        let mut params = leaf(&identity, validity)?;
        params.subject_alt_names.extend(address.as_ref().map(host_of).transpose()?);
        let certificate = params.signed_by(&key, &authority)?;
        files.extend(pair(name, certificate.pem(), &key));
    }
    Ok(files)
}

fn pair(name: &str, certificate: String, key: &KeyPair) -> Vec<CertificateFile> {
    vec![
        CertificateFile { name: format!("{name}.crt"), contents: certificate, secret: false },
        CertificateFile {
            name: format!("{name}.key"),
            contents: key.serialize_pem(),
            secret: true,
        },
    ]
}

fn authority(cluster: ClusterId) -> Result<CertifiedIssuer<'static, KeyPair>, IssueError> {
    let now = OffsetDateTime::now_utc();
    let mut params = CertificateParams::default();
    params.not_before = now - VALID_BEFORE;
    params.not_after = now + VALID_AFTER;
    params.distinguished_name = common_name(format!("annal authority of {cluster}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?)
}

fn leaf(
    identity: &CertificateIdentity,
    (not_before, not_after): (OffsetDateTime, OffsetDateTime),
) -> Result<CertificateParams, IssueError> {
    let mut params = CertificateParams::default();
    params.not_before = not_before;
    params.not_after = not_after;
    params.distinguished_name = common_name(format!("{} {}", identity.role, identity.name));
    params.subject_alt_names = vec![
        SanType::URI(identity.to_string().try_into()?),
        SanType::DnsName(SERVER_NAME.try_into()?),
    ];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    if serves(identity.role) {
        params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
    }
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

/// The host at an address, as certificates name it.
fn host_of(address: &Address) -> Result<SanType, rcgen::Error> {
    Ok(match address {
        Address::Ip(address) => SanType::IpAddress(address.ip()),
        Address::Name { host, .. } => SanType::DnsName(host.as_str().try_into()?),
    })
}

/// Whether others connect to a holder of this role.
const fn serves(role: CertificateRole) -> bool {
    match role {
        CertificateRole::Node | CertificateRole::Registry => true,
        CertificateRole::Client | CertificateRole::Admin => false,
    }
}

fn common_name(name: String) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}
