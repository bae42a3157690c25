//! What signs access tokens, and what tells that one was signed.
//!
//! Ed25519, by ring. A cluster has a key of its own for it: who makes tokens need not have the key of the
//! authority, with which one could be a node. The secret half, `tokens.key`, stays with whoever makes
//! tokens; the public half, `tokens.pub`, is beside each node's certificate, and may be several: while a
//! new key takes over, the tokens of the former one hold.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use data_encoding::BASE64URL_NOPAD;
use ring::rand::SystemRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use thiserror::Error;

use crate::limits::TOKEN_KEYS_MAX;
use crate::remedy;

/// The file with the secret half.
pub const KEY_FILE: &str = "tokens.key";
/// The file with the public halves.
pub const PUBLIC_FILE: &str = "tokens.pub";

const PUBLIC_BYTES: usize = 32;
/// A signature is so long.
pub(super) const SIGNATURE_BYTES: usize = 64;

/// Signs tokens.
pub struct SigningKey(Ed25519KeyPair);

/// The keys whose tokens are good, newest first; one at least.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKeys(Vec<[u8; PUBLIC_BYTES]>);

/// A key cannot be had.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum KeyError {
    /// A file could not be read or written.
    #[error("{} could not be {verb}: {source}", file.display())]
    File {
        /// Which.
        file: PathBuf,
        /// What was tried: `read` or `written`.
        verb: &'static str,
        /// Why.
        source: io::Error,
    },
    /// A file has something else in it.
    #[error("{} does not hold what it should: {expected}", file.display())]
    Malformed {
        /// Which.
        file: PathBuf,
        /// What it should hold.
        expected: String,
    },
    /// No key could be made.
    #[error("this system gives out no random numbers")]
    Random,
}

impl KeyError {
    /// Whether there is no such file.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::File { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::File { file, source, .. } if self.is_missing() => {
                let otherwise = "`annal token new-key` makes both, where the cluster's ca.key is";
                let is_public = file.ends_with(PUBLIC_FILE);
                let copied =
                    "copy tokens.pub from where `annal init` or `annal token new-key` made it";
                remedy::of(source, if is_public { copied } else { otherwise }).to_owned()
            }
            Self::File { source, .. } => remedy::of(source, "look into that folder").to_owned(),
            Self::Malformed { .. } => {
                "put back what `annal init` or `annal token new-key` made".to_owned()
            }
            Self::Random => "try again in a moment".to_owned(),
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey")
    }
}

impl fmt::Debug for PublicKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKeys({})", self.0.len())
    }
}

impl SigningKey {
    /// Draws a new key. Gives what goes into [`KEY_FILE`] with it.
    ///
    /// # Errors
    /// [`KeyError::Random`].
    pub fn generate() -> Result<(Self, String), KeyError> {
        let stored = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new());
        let stored = stored.map_err(|_| KeyError::Random)?;
        let key = Ed25519KeyPair::from_pkcs8(stored.as_ref()).map_err(|_| KeyError::Random)?;
        let text = format!(
            "# Signs access tokens. Whoever has it can make some: it stays with you, and is on no node.\n{}\n",
            BASE64URL_NOPAD.encode(stored.as_ref())
        );
        Ok((Self(key), text))
    }

    /// The key in this folder.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn load(certs: &Path) -> Result<Self, KeyError> {
        let file = certs.join(KEY_FILE);
        let text = read(&file)?;
        let mut lines = lines(&text);
        let key = match (lines.next(), lines.next()) {
            (Some(line), None) => BASE64URL_NOPAD
                .decode(line.as_bytes())
                .ok()
                .and_then(|stored| Ed25519KeyPair::from_pkcs8(&stored).ok()),
            _ => None,
        };
        let expected = "one line with a key".to_owned();
        key.map(Self).ok_or(KeyError::Malformed { file, expected })
    }

    /// Its public half.
    pub fn public(&self) -> PublicKeys {
        let bytes = self.0.public_key().as_ref().try_into();
        PublicKeys(vec![bytes.expect("a public key of Ed25519 has 32 bytes")])
    }

    pub(super) fn sign(&self, message: &[u8]) -> [u8; SIGNATURE_BYTES] {
        let signature = self.0.sign(message);
        signature.as_ref().try_into().expect("a signature of Ed25519 has 64 bytes")
    }
}

impl PublicKeys {
    /// The keys in this folder.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn load(certs: &Path) -> Result<Self, KeyError> {
        let file = certs.join(PUBLIC_FILE);
        let text = read(&file)?;
        let key = |line: &str| BASE64URL_NOPAD.decode(line.as_bytes()).ok()?.try_into().ok();
        let keys: Option<Vec<_>> = lines(&text).map(key).collect();
        let keys = keys.filter(|keys| (1..=TOKEN_KEYS_MAX).contains(&keys.len()));
        let expected = format!("1 to {TOKEN_KEYS_MAX} lines with a key each");
        keys.map(Self).ok_or(KeyError::Malformed { file, expected })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// These, and those of `older` that are still to hold: all that there is room for.
    #[must_use]
    pub fn before(mut self, older: &Self) -> Self {
        self.0.extend(&older.0);
        self.0.truncate(TOKEN_KEYS_MAX);
        self
    }

    /// What goes into [`PUBLIC_FILE`].
    pub fn to_text(&self) -> String {
        let mut text =
            "# Keys whose access tokens are good, the newest first. It is no secret.\n# Take a \
                        line away, and its tokens are good no more.\n"
                .to_owned();
        for key in &self.0 {
            text.push_str(&BASE64URL_NOPAD.encode(key));
            text.push('\n');
        }
        text
    }

    pub(super) fn have_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        let has = |key: &[u8; PUBLIC_BYTES]| {
            UnparsedPublicKey::new(&ED25519, key).verify(message, signature).is_ok()
        };
        self.0.iter().any(has)
    }
}

/// Draws a new key into this folder, in the place of the one there may be. The tokens of the former one
/// hold on if it is kept.
///
/// # Errors
/// [`KeyError`]; the former key is there as before, or the new one is.
pub fn renew(certs: &Path, is_former_kept: bool) -> Result<PublicKeys, KeyError> {
    let (key, text) = SigningKey::generate()?;
    let mut public = key.public();
    match PublicKeys::load(certs) {
        Ok(former) if is_former_kept => public = public.before(&former),
        Err(error) if is_former_kept && !error.is_missing() => return Err(error),
        _ => {}
    }
    // What is known of a key that is not there yet does no harm.
    replace(&certs.join(PUBLIC_FILE), &public.to_text())?;
    replace(&certs.join(KEY_FILE), &text)?;
    Ok(public)
}

/// Writes a file for this user alone: it is there whole, or as it was.
fn replace(file: &Path, text: &str) -> Result<(), KeyError> {
    let beside = file.with_extension("new");
    let write = || {
        let mut options = OpenOptions::new();
        let mut new = options.write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        new.write_all(text.as_bytes())?;
        new.sync_all()?;
        fs::rename(&beside, file)?;
        fs::File::open(file.parent().unwrap_or(Path::new(".")))?.sync_all()
    };
    write().map_err(|source| KeyError::File { file: file.to_owned(), verb: "written", source })
}

fn read(file: &Path) -> Result<String, KeyError> {
    let read = fs::read_to_string(file);
    read.map_err(|source| KeyError::File { file: file.to_owned(), verb: "read", source })
}

/// What stands in a file, comments left out.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn keys_are_read_as_they_were_written() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        let missing = SigningKey::load(folder.path()).unwrap_err();
        assert!(missing.is_missing() && missing.hint().contains("new-key"), "{missing}");
        let (key, text) = SigningKey::generate().unwrap();
        let (former, _) = SigningKey::generate().unwrap();
        write(KEY_FILE, &text);
        let both = key.public().before(&former.public());
        write(PUBLIC_FILE, &both.to_text());
        assert_eq!(SigningKey::load(folder.path()).unwrap().public(), key.public());
        assert_eq!(PublicKeys::load(folder.path()).unwrap(), both);
        let signature = former.sign(b"it");
        assert!(both.have_signed(b"it", &signature) && !both.have_signed(b"is", &signature));
        assert!(!key.public().have_signed(b"it", &signature));
        for bad in ["", "# nothing", "xyz", &text, &both.to_text().repeat(TOKEN_KEYS_MAX)] {
            write(PUBLIC_FILE, bad);
            let error = PublicKeys::load(folder.path()).unwrap_err();
            assert!(matches!(error, KeyError::Malformed { .. }), "{bad}: {error}");
        }
        for bad in ["", "xyz", &text.repeat(2), &both.to_text()] {
            write(KEY_FILE, bad);
            let error = SigningKey::load(folder.path()).unwrap_err();
            assert!(matches!(error, KeyError::Malformed { .. }), "{error}");
        }
    }

    #[test]
    fn a_new_key_takes_over_with_the_former_ones_tokens_or_without() {
        let folder = tempfile::tempdir().unwrap();
        let certs = folder.path();
        let first = renew(certs, true).unwrap();
        let second = renew(certs, true).unwrap();
        assert_eq!(second.0[1..], first.0[..]);
        assert_eq!(SigningKey::load(certs).unwrap().public().0, second.0[..1]);
        let third = renew(certs, false).unwrap();
        assert_eq!((third.0.len(), PublicKeys::load(certs).unwrap()), (1, third.clone()));
        fs::write(certs.join(PUBLIC_FILE), "xyz").unwrap();
        renew(certs, true).unwrap_err();
        assert_eq!(SigningKey::load(certs).unwrap().public(), third);
        for file in [KEY_FILE, PUBLIC_FILE] {
            let found = fs::metadata(certs.join(file)).unwrap();
            assert_eq!(found.permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn so_many_keys_hold_at_once() {
        let mut keys = SigningKey::generate().unwrap().0.public();
        for _ in 0..=TOKEN_KEYS_MAX {
            let newest = SigningKey::generate().unwrap().0.public();
            keys = newest.clone().before(&keys);
            assert_eq!(keys.0.first(), newest.0.first());
        }
        assert_eq!(keys.0.len(), TOKEN_KEYS_MAX);
    }
}
