//! Where somebody is reached: an IP address and a port, or a name and a port.
//!
//! A name is only looked at here, never looked up: what it stands for may change while a process
//! runs, so it is looked up at each dial (`net`). Who answers there is shown by a certificate and
//! never by a name, so that whoever answers for names can keep two parts of a cluster apart and
//! nothing more.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

/// Bytes of a host's name (RFC 1035, section 2.3.4).
const NAME_BYTES_MAX: usize = 253;
/// Bytes of a name's part between two dots.
const LABEL_BYTES_MAX: usize = 63;

/// A host and a port, as `127.0.0.1:7101`, `[::1]:7101` or `n1.example.org:7101`. The port may be 0
/// where the system is to choose one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Address {
    /// An IP address.
    Ip(SocketAddr),
    /// A name, which is looked up when it is needed.
    Name {
        /// The host's name, in lower case.
        host: String,
        /// The port.
        port: u16,
    },
}

/// A text that is no address.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("'{found}' is no address: a host and a port, as 127.0.0.1:7101 or n1.example.org:7101")]
pub struct AddressError {
    /// The text, made fit to be quoted.
    pub found: String,
}

impl Address {
    /// The port.
    pub fn port(&self) -> u16 {
        match self {
            Self::Ip(address) => address.port(),
            Self::Name { port, .. } => *port,
        }
    }

    /// The IP address, if it is one and not a name.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Ip(address) => Some(address.ip()),
            Self::Name { .. } => None,
        }
    }

    /// Whether it is an address to listen on and not one to dial: a wildcard.
    pub fn is_wildcard(&self) -> bool {
        self.ip().is_some_and(|ip| ip.is_unspecified())
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Ip(address)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => write!(f, "{address}"),
            Self::Name { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if let Ok(address) = text.parse() {
            return Ok(Self::Ip(address));
        }
        let error = || AddressError { found: quotable(text) };
        let (host, port) = text.rsplit_once(':').ok_or_else(error)?;
        let is_number = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        match port.parse() {
            Ok(port) if is_number && is_name(host) => {
                Ok(Self::Name { host: host.to_ascii_lowercase(), port })
            }
            _ => Err(error()),
        }
    }
}

/// Whether a text has the form of a host's name (RFC 1123, section 2.1), underscores allowed. A name
/// whose last part is a number would be an IP address that was mistyped.
fn is_name(host: &str) -> bool {
    let name = host.strip_suffix('.').unwrap_or(host);
    let is_label = |label: &str| {
        let is_of_form = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        (1..=LABEL_BYTES_MAX).contains(&label.len())
            && label.bytes().all(is_of_form)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last = name.rsplit('.').next().unwrap_or_default();
    name.len() <= NAME_BYTES_MAX
        && name.split('.').all(is_label)
        && !last.bytes().all(|byte| byte.is_ascii_digit())
}

/// A foreign text made fit to be quoted: short, and without what a terminal would act upon.
fn quotable(text: &str) -> String {
    text.chars().take(60).map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).collect()
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_names_are_told_apart_and_shown_as_they_are_read() {
        for text in ["127.0.0.1:7101", "[::1]:7101", "0.0.0.0:0"] {
            let address: Address = text.parse().unwrap();
            assert!(matches!(address, Address::Ip(_)), "{text}");
            assert_eq!(address.to_string(), text);
        }
        for text in ["localhost:7101", "n1.example.org:7101", "n1.example.org.:1", "a_b-c:65535"] {
            let address: Address = text.parse().unwrap();
            assert!(matches!(address, Address::Name { .. }), "{text}");
            assert_eq!(address.to_string(), text);
            assert!(!address.is_wildcard());
        }
        assert!("[::]:7101".parse::<Address>().unwrap().is_wildcard());
        let shouted: Address = "N1.Example.org:7101".parse().unwrap();
        assert_eq!(shouted, "n1.example.org:7101".parse().unwrap());
    }

    #[test]
    fn what_is_neither_is_refused() {
        let long = format!("{}:1", "a.".repeat(130));
        let label = format!("{}.org:1", "a".repeat(64));
        for bad in [
            "",
            ":",
            "nowhere",
            "127.0.0.1",
            "127.0.0.1:",
            "n1:",
            ":7101",
            "n1:65536",
            "n1:+1",
            "127.0.0:1",
            "300.1.2.3:1",
            "::1:7101",
            "a b:1",
            "a..b:1",
            "-a:1",
            "a-:1",
            "a/b:1",
            "n1:7101:7102",
            "é.org:1",
            &long,
            &label,
        ] {
            assert!(bad.parse::<Address>().is_err(), "{bad:?} was taken for an address");
        }
        let error = "a\u{1b}[2J\u{202e}:1".parse::<Address>().unwrap_err();
        assert_eq!(error.found, "a?[2J?:1");
    }
}
