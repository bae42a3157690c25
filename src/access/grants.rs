//! What somebody may do.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::pattern::LogPattern;
use crate::bounded;
use crate::limits::GRANTS_MAX;
use crate::log_name::LogName;

/// What can be done with a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// Read its records, and how it stands; see it among the others.
    Read,
    /// Append records to it.
    Append,
    /// Create, close, and delete it.
    Manage,
}

/// Some of the rights, at least one.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rights(u8);

/// What may be done with some logs.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Grant {
    /// Which logs.
    pub logs: LogPattern,
    /// What.
    pub rights: Rights,
}

/// All that somebody may do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Grants {
    /// With logs; at most [`GRANTS_MAX`].
    #[serde(deserialize_with = "bounded::list::<_, _, GRANTS_MAX>")]
    pub logs: Vec<Grant>,
    /// See how the cluster is: its nodes, their numbers, its leaders.
    pub observe: bool,
}

impl Right {
    /// Each of them.
    pub const ALL: [Self; 3] = [Self::Read, Self::Append, Self::Manage];

    /// The right's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Append => "append",
            Self::Manage => "manage",
        }
    }

    const fn bit(self) -> u8 {
        match self {
            Self::Read => 1,
            Self::Append => 2,
            Self::Manage => 4,
        }
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Rights {
    /// These; `None` if there are none.
    pub fn of(rights: impl IntoIterator<Item = Right>) -> Option<Self> {
        let bits = rights.into_iter().fold(0, |bits, right| bits | right.bit());
        (bits > 0).then_some(Self(bits))
    }

    /// Whether this one is among them.
    pub const fn has(self, right: Right) -> bool {
        self.0 & right.bit() > 0
    }
}

/// With commas between.
impl fmt::Display for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let present: Vec<_> =
            Right::ALL.into_iter().filter(|right| self.has(*right)).map(Right::as_str).collect();
        f.write_str(&present.join(","))
    }
}

impl fmt::Debug for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Rights {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(self.0)
    }
}

impl<'de> Deserialize<'de> for Rights {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bits = u8::deserialize(deserializer)?;
        let present = Right::ALL.into_iter().filter(|right| bits & right.bit() > 0);
        // One that nobody knows here may be about anything.
        let known = Self::of(present).filter(|rights| rights.0 == bits);
        known.ok_or_else(|| de::Error::custom("no rights that are known"))
    }
}

impl Grants {
    /// Whether this may be done with the log of this name.
    pub fn allow(&self, right: Right, name: &LogName) -> bool {
        self.logs.iter().any(|grant| grant.rights.has(right) && grant.logs.matches(name))
    }

    /// Which logs may be read: no two of the patterns mean the same log, and they stand in the order of
    /// the names that they mean.
    pub fn readable(&self) -> Vec<&LogPattern> {
        let reading = self.logs.iter().filter(|grant| grant.rights.has(Right::Read));
        let mut patterns: Vec<_> = reading.map(|grant| &grant.logs).collect();
        patterns.sort_unstable();
        patterns.dedup();
        let all = patterns.clone();
        let is_covered = |it: &LogPattern| all.iter().any(|other| *other != it && other.covers(it));
        patterns.retain(|it| !is_covered(it));
        patterns.sort_unstable_by(|one, other| one.prefix().cmp(other.prefix()));
        patterns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grants(said: &[(&str, &[Right])]) -> Grants {
        let grant = |(logs, rights): &(&str, &[Right])| Grant {
            logs: logs.parse().unwrap(),
            rights: Rights::of(rights.iter().copied()).unwrap(),
        };
        Grants { logs: said.iter().map(grant).collect(), observe: false }
    }

    #[test]
    fn what_is_not_granted_is_not_allowed() {
        use Right::{Append, Manage, Read};
        let grants = grants(&[("orders/*", &[Read]), ("orders/eu", &[Append]), ("x", &[Manage])]);
        let allowed = |right, name: &str| grants.allow(right, &name.parse().unwrap());
        assert!(allowed(Read, "orders/eu") && allowed(Append, "orders/eu") && allowed(Manage, "x"));
        assert!(!allowed(Append, "orders/us") && !allowed(Manage, "orders/eu"));
        assert!(!allowed(Read, "x") && !allowed(Read, "orders") && !allowed(Read, "main"));
        assert!(!Grants::default().allow(Read, &LogName::main()));
    }

    #[test]
    fn what_may_be_read_is_listed_once_and_in_order() {
        use Right::{Append, Read};
        let readable = |said: &[&str]| {
            let said: Vec<_> = said.iter().map(|text| (*text, &[Read][..])).collect();
            let grants = grants(&said);
            grants.readable().into_iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(readable(&["b/*", "a", "b/c", "b/d/*", "a"]), ["a", "b/*"]);
        assert_eq!(readable(&["b/*", "*", "a"]), ["*"]);
        assert_eq!(readable(&["b/*", "b", "b.x"]), ["b", "b.x", "b/*"]);
        assert_eq!(grants(&[("a", &[Append])]).readable(), Vec::<&LogPattern>::new());
    }

    #[test]
    fn golden_bytes_and_rights_that_nobody_knows() {
        let grants = grants(&[("a/*", &[Right::Read, Right::Manage])]);
        let bytes = postcard::to_stdvec(&grants).unwrap();
        assert_eq!(bytes, b"\x01\x03a/*\x05\x00");
        assert_eq!(postcard::from_bytes::<Grants>(&bytes).unwrap(), grants);
        for bad in
            [&b"\x01\x03a/*\x00\x00"[..], b"\x01\x03a/*\x09\x00", b"\x11", b"\x01\x02/*\x01\x00"]
        {
            assert!(postcard::from_bytes::<Grants>(bad).is_err());
        }
        assert_eq!(grants.logs[0].rights.to_string(), "read,manage");
        assert_eq!(Rights::of([]), None);
    }
}
