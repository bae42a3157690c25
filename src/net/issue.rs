//! Makes certificates: a cluster's own authority, and one for each holder.

use std::path::{Path, PathBuf};
use std::{fmt, fs, io};

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType, SerialNumber,
};
use thiserror::Error;
use time::{Duration, OffsetDateTime};

use super::certificate::{self, GRANTS_OID};
use super::identity::{AUTHORITY, CertificateIdentity, CertificateRole, is_name};
use super::tls::{SERVER_NAME, der_of};
use crate::access::{Grants, TokenId};
use crate::address::Address;
use crate::limits::CERTIFICATE_LIFE_DEFAULT;
use crate::types::{ClusterId, NodeId};

/// Certificates are valid from this long before they are made: clocks differ.
pub(super) const VALID_BEFORE: Duration = Duration::days(1);

/// An authority is valid for about ten years.
pub(super) const AUTHORITY_AFTER: Duration = Duration::days(3650);

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
    /// What it may do, if that is less than its role may; a client's only.
    pub grants: Option<Grants>,
    /// Where it is reached, if that is known: under this name or address browsers and `curl` know it, too.
    pub address: Option<Address>,
}

impl Holder {
    /// One of which nobody knows where it is.
    pub fn new(role: CertificateRole, name: impl Into<String>) -> Self {
        Self { role, name: name.into(), grants: None, address: None }
    }

    /// Whether it can get a certificate.
    ///
    /// # Errors
    /// [`IssueError`].
    pub fn check(&self) -> Result<(), IssueError> {
        let Self { role, ref name, ref grants, .. } = *self;
        if grants.is_some() && role != CertificateRole::Client {
            return Err(IssueError::Grants { role });
        }
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
    /// A role of which nobody asks for grants.
    #[error("what a certificate allows is said of clients only, not of {role}")]
    Grants {
        /// What the holder is.
        role: CertificateRole,
    },
    /// The authority's own certificate or key cannot be used.
    #[error("{} is not the authority's: {expected}", file.display())]
    Authority {
        /// The file.
        file: PathBuf,
        /// What it should hold.
        expected: &'static str,
    },
    /// The authority's own certificate or key cannot be read.
    #[error("{} could not be read: {source}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The authority's own certificate has expired.
    #[error("the authority's certificate has expired")]
    Expired,
    /// The library that makes them failed, probably for want of random numbers.
    #[error("certificates could not be made")]
    Failed(#[from] rcgen::Error),
}

impl IssueError {
    /// Whether nobody can have what was asked for.
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::Name { .. } | Self::Grants { .. })
    }

    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Name { .. } => "choose another name, as app or billing-2",
            Self::Grants { .. } => "without --allow and --log it is made",
            Self::Authority { .. } | Self::File { .. } => {
                "ca.key is where `annal init` made the cluster: run it there, or with --dir"
            }
            Self::Expired => "docs/operations.md says how it is made anew with its own key",
            Self::Failed(_) => "try again in a moment",
        }
    }
}

/// A cluster's certificate authority: whoever has it makes members.
pub struct Authority {
    cluster: ClusterId,
    issuer: Issuer<'static, KeyPair>,
    /// No certificate outlives it.
    expires: OffsetDateTime,
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
        let expires = params.not_after;
        Ok((Self { cluster, issuer: Issuer::new(params, key), expires }, files))
    }

    /// The authority whose `ca.crt` and `ca.key` are in a folder.
    ///
    /// # Errors
    /// [`IssueError`].
    pub fn load(certs: &Path, cluster: ClusterId) -> Result<Self, IssueError> {
        let [certificate_file, key_file] =
            ["crt", "key"].map(|extension| certs.join(format!("{AUTHORITY}.{extension}")));
        let read = |file: &PathBuf| {
            let failed = |source| IssueError::File { file: file.clone(), source };
            fs::read_to_string(file).map_err(failed)
        };
        let not = |file: &PathBuf, expected| IssueError::Authority { file: file.clone(), expected };
        let key = KeyPair::from_pem(&read(&key_file)?)
            .map_err(|_| not(&key_file, "it should hold a key in PEM"))?;
        let text = read(&certificate_file)?;
        let bad = || not(&certificate_file, "it should hold a certificate in PEM");
        let der = der_of(text.as_bytes()).ok_or_else(bad)?;
        let (own_key, expires) = certificate::key_and_expiry(&der).ok_or_else(bad)?;
        if own_key != key.public_key_raw() {
            return Err(not(&key_file, "it should hold the key of ca.crt"));
        }
        let expires = OffsetDateTime::from_unix_timestamp(expires).map_err(|_| bad())?;
        let issuer = Issuer::from_ca_cert_der(&der, key).map_err(|_| bad())?;
        Ok(Self { cluster, issuer, expires })
    }

    /// Makes a certificate with a fresh key for `holder`: `<name>.crt` and `<name>.key`. Valid from a
    /// day ago, for [`CERTIFICATE_LIFE_DEFAULT`] or as long as the authority is.
    ///
    /// # Errors
    /// [`IssueError`].
    pub fn issue(&self, holder: &Holder) -> Result<[CertificateFile; 2], IssueError> {
        self.issue_living(holder, CERTIFICATE_LIFE_DEFAULT)
    }

    /// The same, for so long.
    ///
    /// # Errors
    /// [`IssueError`].
    pub fn issue_living(
        &self,
        holder: &Holder,
        life: std::time::Duration,
    ) -> Result<[CertificateFile; 2], IssueError> {
        let now = OffsetDateTime::now_utc();
        let expires = (now + life).min(self.expires);
        if expires <= now {
            return Err(IssueError::Expired);
        }
        self.issue_for(holder, (now - VALID_BEFORE, expires))
    }

    pub(super) fn issue_for(
        &self,
        holder: &Holder,
        validity: (OffsetDateTime, OffsetDateTime),
    ) -> Result<[CertificateFile; 2], IssueError> {
        holder.check()?;
        let Holder { role, name, grants, address } = holder;
        let identity =
            CertificateIdentity { cluster: self.cluster, role: *role, name: name.clone() };
        let key = KeyPair::generate()?;
        let mut params = leaf(&identity, validity)?;
        params.serial_number = Some(SerialNumber::from_slice(&draw_serial(validity.1)));
        let extension = |grants| {
            CustomExtension::from_oid_content(&GRANTS_OID, certificate::encode_grants(grants))
        };
        params.custom_extensions = grants.iter().map(extension).collect();
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
    params.not_after = now + AUTHORITY_AFTER;
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

/// A serial number that names a certificate which expires then.
fn draw_serial(expires: OffsetDateTime) -> [u8; 16] {
    let number = getrandom::u64().expect("every system that runs this gives out random bytes");
    // A certificate that expires before 1970 is for tests.
    let expires = u64::try_from(expires.unix_timestamp()).unwrap_or_default();
    certificate::serial(TokenId::new(expires, number))
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
