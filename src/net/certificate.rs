//! What a certificate says: who its holder is, until when, and what it allows.

use x509_parser::extensions::GeneralName;
use x509_parser::oid_registry::Oid;
use x509_parser::prelude::{ASN1Time, FromDer, X509Certificate};

use super::identity::{CertificateIdentity, CertificateRole, IdentityError};
use crate::access::{Grants, TokenId};
use crate::types::Timestamp;

/// The extension with what a client may do, in an arc where whoever draws a number at random needs to ask
/// nobody (ITU-T X.667). In it are a version, 1, and the grants in postcard.
pub(super) const GRANTS_OID: [u64; 3] = [2, 25, 5_821_766_943_205_217_893];
const GRANTS_VERSION: u8 = 1;

/// What a certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Certificate {
    /// Who its holder is.
    pub identity: CertificateIdentity,
    /// What it is called by whoever revokes it: its serial number, which has in it when it expires, as a
    /// token's name has. `None`: it was not made by this program, or by one before there were such names.
    pub id: Option<TokenId>,
    /// What its holder may do; `None`: all that its role may.
    pub grants: Option<Grants>,
    /// From when on it holds: a day before it was made.
    pub begins: Timestamp,
    /// Until when it holds.
    pub expires: Timestamp,
}

impl Certificate {
    /// What a certificate says. Its holder is that of its only URI. Grants that are not understood are no
    /// reason to allow everything.
    pub(super) fn parse(certificate: &[u8]) -> Result<Self, IdentityError> {
        let (_, certificate) = X509Certificate::from_der(certificate).map_err(|_| IdentityError)?;
        let identity = identity_in(&certificate)?;
        let grants = grants_in(&certificate)?;
        // Whoever else may do anything is not kept from it by grants that nobody asks about.
        if grants.is_some() && identity.role != CertificateRole::Client {
            return Err(IdentityError);
        }
        let validity = certificate.validity();
        let seconds = |time: ASN1Time| u64::try_from(time.timestamp()).map_err(|_| IdentityError);
        let (begins, expires) = (seconds(validity.not_before)?, seconds(validity.not_after)?);
        let id = id_in(certificate.raw_serial()).filter(|id| id.expires_seconds() == expires);
        let [begins, expires] =
            [begins, expires].map(|seconds| Timestamp::new(seconds.saturating_mul(1000)));
        Ok(Self { identity, id, grants, begins, expires })
    }
}

/// The key of an authority's certificate, and until when that holds, in seconds since 1970.
#[cfg(feature = "server")]
pub(super) fn key_and_expiry(certificate: &[u8]) -> Option<(Vec<u8>, i64)> {
    let (_, found) = X509Certificate::from_der(certificate).ok()?;
    let key = found.public_key().subject_public_key.data.to_vec();
    Some((key, found.validity().not_after.timestamp()))
}

/// The serial number of a certificate that is called so.
#[cfg(feature = "server")]
pub(super) fn serial(id: TokenId) -> [u8; 16] {
    ((u128::from(id.expires_seconds()) << 64) | u128::from(id.number())).to_be_bytes()
}

fn id_in(serial: &[u8]) -> Option<TokenId> {
    let zeros = serial.iter().take_while(|byte| **byte == 0).count();
    let digits = serial.get(zeros..).filter(|digits| digits.len() <= 16)?;
    let number = digits.iter().fold(0_u128, |number, byte| (number << 8) | u128::from(*byte));
    let [expires, number] = [number >> 64, number & u128::from(u64::MAX)].map(u64::try_from);
    Some(TokenId::new(expires.ok()?, number.ok()?))
}

fn identity_in(certificate: &X509Certificate<'_>) -> Result<CertificateIdentity, IdentityError> {
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

fn grants_in(certificate: &X509Certificate<'_>) -> Result<Option<Grants>, IdentityError> {
    let oid = Oid::from(&GRANTS_OID).map_err(|_| IdentityError)?;
    let extension = certificate.get_extension_unique(&oid).map_err(|_| IdentityError)?;
    let Some(extension) = extension else { return Ok(None) };
    let (version, fields) = extension.value.split_first().ok_or(IdentityError)?;
    let (grants, rest) = postcard::take_from_bytes(fields).map_err(|_| IdentityError)?;
    if *version == GRANTS_VERSION && rest.is_empty() {
        Ok(Some(grants))
    } else {
        Err(IdentityError)
    }
}

/// What stands in the extension for grants.
#[cfg(feature = "server")]
pub(super) fn encode_grants(grants: &Grants) -> Vec<u8> {
    let fields = postcard::to_stdvec(grants).expect("grants have no part that postcard refuses");
    [&[GRANTS_VERSION], &fields[..]].concat()
}

#[cfg(test)]
mod tests {
    use super::super::issue::{Authority, Holder};
    use super::*;
    use crate::access::{Grant, Right, Rights};
    use crate::types::{ClusterId, NodeId};

    fn issued(holder: &Holder) -> Certificate {
        let folder = tempfile::tempdir().unwrap();
        let (authority, _) = Authority::generate(ClusterId::new(7)).unwrap();
        let [certificate, _] = authority.issue(holder).unwrap();
        let file = folder.path().join(&certificate.name);
        std::fs::write(&file, certificate.contents).unwrap();
        Certificate::read(&file).unwrap()
    }

    #[test]
    fn a_certificate_says_who_until_when_and_what() {
        let rights = Rights::of([Right::Read, Right::Append]).unwrap();
        let logs = vec![Grant { logs: "orders/*".parse().unwrap(), rights }];
        let grants = Some(Grants { logs, observe: true });
        let client = Holder::new(CertificateRole::Client, "app");
        let found = issued(&Holder { grants: grants.clone(), ..client.clone() });
        assert_eq!(found.identity.to_string(), format!("annal://{}/client/app", ClusterId::new(7)));
        assert_eq!(found.grants, grants);
        assert_eq!(found.id.unwrap().expires(), found.expires);
        let life = found.expires.get() - found.begins.get();
        assert_eq!(life / (24 * 60 * 60 * 1000), 366, "from a day ago on");
        assert_eq!(issued(&client).grants, None);
        assert_ne!(issued(&client).id, issued(&client).id);
        let nothing = Some(Grants::default());
        assert_eq!(issued(&Holder { grants: nothing.clone(), ..client }).grants, nothing);
        let node = Holder::node(NodeId::new(1).unwrap(), &"a.invalid:1".parse().unwrap());
        assert_eq!(issued(&node).identity.node(), NodeId::new(1));
    }

    #[test]
    fn a_name_is_a_serial_number_and_back() {
        for id in [TokenId::new(0x6a1f_3c20, 7), TokenId::new(1, u64::MAX), TokenId::new(0, 1)] {
            assert_eq!(id_in(&serial(id)), Some(id));
        }
        // As DER has it: without zeros, or with one before a high bit.
        assert_eq!(id_in(&[0, 0x80, 1]), Some(TokenId::new(0, 0x8001)));
        assert_eq!(id_in(&[1; 20]), None);
    }
}
