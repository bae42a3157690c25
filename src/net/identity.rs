//! Who is who: each process of a cluster has a certificate with one URI in it,
//! `annal://<cluster>/<role>/<name>`.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::types::{ClusterId, NodeId};

/// The name of the authority's files, which no holder may have.
pub(super) const AUTHORITY: &str = "ca";
/// The name of the files that are about access tokens, which no holder may have either.
const TOKENS: &str = "tokens";

/// What the holder of a certificate is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CertificateRole {
    /// A member of the cluster.
    Node,
    /// Appends and reads.
    Client,
    /// A client that may do what breaks things on purpose.
    Admin,
    /// A registry.
    Registry,
}

impl CertificateRole {
    const ALL: [Self; 4] = [Self::Node, Self::Client, Self::Admin, Self::Registry];

    /// The role as it stands in the URI.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Client => "client",
            Self::Admin => "admin",
            Self::Registry => "registry",
        }
    }
}

impl fmt::Display for CertificateRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who the holder of a certificate is: its URI `annal://<cluster>/<role>/<name>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateIdentity {
    /// The cluster that issued it.
    pub cluster: ClusterId,
    /// What it is.
    pub role: CertificateRole,
    /// Its name: `n1` for a node. 1 to 64 of `a-z`, `0-9`, `-`, `_` and `.`.
    pub name: String,
}

impl CertificateIdentity {
    /// The node that this names; `None` if it does not name a node.
    pub fn node(&self) -> Option<NodeId> {
        if self.role == CertificateRole::Node { self.name.parse().ok() } else { None }
    }
}

impl fmt::Display for CertificateIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "annal://{}/{}/{}", self.cluster, self.role, self.name)
    }
}

/// A URI or a name that is not of its form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not of the form annal://<cluster>/<role>/<name>")]
pub struct IdentityError;

impl FromStr for CertificateIdentity {
    type Err = IdentityError;

    fn from_str(uri: &str) -> Result<Self, IdentityError> {
        let rest = uri.strip_prefix("annal://").ok_or(IdentityError)?;
        let (cluster, rest) = rest.split_once('/').ok_or(IdentityError)?;
        let (role, name) = rest.split_once('/').ok_or(IdentityError)?;
        let role = CertificateRole::ALL
            .into_iter()
            .find(|known| known.as_str() == role)
            .ok_or(IdentityError)?;
        let identity = Self {
            cluster: cluster.parse().map_err(|_| IdentityError)?,
            role,
            name: name.to_owned(),
        };
        if is_name(role, name) { Ok(identity) } else { Err(IdentityError) }
    }
}

pub(super) fn is_name(role: CertificateRole, name: &str) -> bool {
    let plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.');
    (1..=64).contains(&name.len())
        && ![AUTHORITY, TOKENS].contains(&name)
        && name.bytes().all(plain)
        && (role != CertificateRole::Node || name.parse::<NodeId>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_round_trip_and_reject_everything_else() {
        let uri = "annal://000000000000000000000000000000ab/node/n3";
        let identity: CertificateIdentity = uri.parse().unwrap();
        assert_eq!(identity.to_string(), uri);
        assert_eq!(identity.node(), NodeId::new(3));
        for bad in [
            "annal://000000000000000000000000000000ab/node/n0",
            "annal://000000000000000000000000000000ab/node/n3/",
            "annal://000000000000000000000000000000ab/king/n3",
            "annal://000000000000000000000000000000ab/client/",
            "annal://000000000000000000000000000000ab/client",
            "annal://ab/node/n3",
            "http://000000000000000000000000000000ab/node/n3",
            "",
        ] {
            assert_eq!(bad.parse::<CertificateIdentity>(), Err(IdentityError), "{bad}");
        }
    }
}
