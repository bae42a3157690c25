//! Makes certificates: a cluster's own authority, and one for each holder.

use std::fmt;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use thiserror::Error;
use time::{Duration, OffsetDateTime};

use super::identity::{AUTHORITY, CertificateIdentity, CertificateRole, is_name};
use super::tls::SERVER_NAME;
use crate::address::Address;
use crate::types::{ClusterId, NodeId};

/// Certificates are valid from this long before they are made: clocks differ.
pub(super) const VALID_BEFORE: Duration = Duration::days(1);

/// Certificates are valid for about ten years.
pub(super) const VALID_AFTER: Duration = Duration::days(3650);

/// A file of a folder `certs/`.
#[derive(Clone)]
pub struct CertificateFile {
    /// Its name: `ca.crt`, `n1.key`, …
    pub name: String,
    /// What goes into it, in PEM.
    pub contents: String,
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

    /// Whether it can get a certificate.
    ///
    /// # Errors
    /// [`IssueError::Name`].
    pub fn check(&self) -> Result<(), IssueError> {
        let Self { role, ref name, .. } = *self;
        if is_name(role, name) { Ok(()) } else { Err(IssueError::Name { role }) }
    }

    /// A node that is reached at this address.
    pub fn node(node: NodeId, address: &Address) -> Self {
        let holder = Self::new(CertificateRole::Node, node.to_string());
        Self { address: Some(address.clone()), ..holder }
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

/// A cluster's certificate authority: whoever has it makes members.
pub struct Authority {
    cluster: ClusterId,
    issuer: Issuer<'static, KeyPair>,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authority({})", self.cluster)
    }
}

impl Authority {
    /// Makes one for a new cluster, valid from a day ago for about ten years. Gives its files with it,
    /// `ca.crt` and `ca.key`.
    ///
    /// # Errors
    /// [`IssueError`].
    pub fn generate(cluster: ClusterId) -> Result<(Self, [CertificateFile; 2]), IssueError> {
        let key = KeyPair::generate()?;
        let params = authority(cluster);
        let files = pair(AUTHORITY, params.self_signed(&key)?.pem(), &key);
        Ok((Self { cluster, issuer: Issuer::new(params, key) }, files))
    }

    /// Makes a certificate with a fresh key for `holder`: `<name>.crt` and `<name>.key`. Valid from a
    /// day ago, for about ten years.
    ///
    /// # Errors
    /// [`IssueError`].
    pub fn issue(&self, holder: &Holder) -> Result<[CertificateFile; 2], IssueError> {
        let now = OffsetDateTime::now_utc();
        self.issue_for(holder, (now - VALID_BEFORE, now + VALID_AFTER))
    }

    pub(super) fn issue_for(
        &self,
        holder: &Holder,
        validity: (OffsetDateTime, OffsetDateTime),
    ) -> Result<[CertificateFile; 2], IssueError> {
        holder.check()?;
        let Holder { role, name, address } = holder;
        let identity =
            CertificateIdentity { cluster: self.cluster, role: *role, name: name.clone() };
        let key = KeyPair::generate()?;
        let mut params = leaf(&identity, validity)?;
        params.subject_alt_names.extend(address.as_ref().map(host_of).transpose()?);
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(pair(name, certificate.pem(), &key))
    }
}

fn pair(name: &str, certificate: String, key: &KeyPair) -> [CertificateFile; 2] {
    [
        CertificateFile { name: format!("{name}.crt"), contents: certificate },
        CertificateFile { name: format!("{name}.key"), contents: key.serialize_pem() },
    ]
}

fn authority(cluster: ClusterId) -> CertificateParams {
    let now = OffsetDateTime::now_utc();
    let mut params = CertificateParams::default();
    params.not_before = now - VALID_BEFORE;
    params.not_after = now + VALID_AFTER;
    params.distinguished_name = common_name(format!("annal authority of {cluster}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
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
