//! The numbers and names of the project, each a type of its own.
//!
//! The usual off-by-one is a mix of kinds: an index taken for a count, a term for an index. A bare
//! `u64` therefore never crosses a function's signature above this floor.

use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

/// Declares a newtype over an unsigned integer that is shown as its number.
macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name($inner);

        impl $name {
            /// Wraps a number.
            pub const fn new(number: $inner) -> Self {
                Self(number)
            }

            /// The number inside.
            pub const fn get(self) -> $inner {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number!(
    /// A Raft term: logical time, with at most one leader each (thesis 3.3). The first is 1.
    Term(u64)
);
number!(
    /// The position of an entry in the Raft log. The first entry has index 1.
    Index(u64)
);
number!(
    /// The position of a record in its log, counted from 0 and without gaps.
    Offset(u64)
);
number!(
    /// The number of a client's request, counted from 1 by that client (thesis 6.3).
    Seq(u64)
);
number!(
    /// Which log a record belongs to: given in the order of their creation, and never twice.
    LogNumber(u32)
);
number!(
    /// Names one write to the store. Tickets are handed out and reported in increasing order.
    Ticket(u64)
);
number!(
    /// Drawn at random when a process starts, so that peers notice that it is a new one.
    Incarnation(u64)
);

number!(
    /// Wall-clock time: milliseconds since 1970-01-01 00:00 UTC.
    Timestamp(u64)
);

impl Term {
    /// Before any election.
    pub const ZERO: Self = Self(0);

    /// The term after this one, unless it is the last that there is.
    #[must_use]
    pub const fn next(self) -> Option<Self> {
        match self.0.checked_add(1) {
            Some(next) => Some(Self(next)),
            None => None,
        }
    }
}

impl Index {
    /// Before the first entry.
    pub const ZERO: Self = Self(0);

    /// The index after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The index before this one; [`Index::ZERO`] stays where it is.
    #[must_use]
    pub const fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }

    /// The index `count` entries after this one.
    #[must_use]
    pub const fn plus(self, count: u64) -> Self {
        Self(self.0 + count)
    }

    /// How many entries lie after `earlier`, up to and including this one. Zero if there are none.
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl Offset {
    /// The first record of a log.
    pub const ZERO: Self = Self(0);

    /// The offset `count` records after this one.
    #[must_use]
    pub const fn plus(self, count: u64) -> Self {
        Self(self.0 + count)
    }

    /// How many records lie from `earlier` (included) to this one (excluded).
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl Seq {
    /// The number of a client's first request.
    pub const FIRST: Self = Self(1);

    /// The number after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        self.plus(1)
    }

    /// The number `count` after this one.
    #[must_use]
    pub const fn plus(self, count: u64) -> Self {
        Self(self.0 + count)
    }

    /// How many numbers lie from `earlier` up to before this one; `earlier` must not be later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> u64 {
        self.0 - earlier.0
    }
}

/// Requests of one client that follow one another in its numbering.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SeqRange {
    /// The first of them.
    pub first: Seq,
    /// How many.
    pub count: u32,
}

impl SeqRange {
    /// One request.
    pub const fn one(seq: Seq) -> Self {
        Self { first: seq, count: 1 }
    }

    /// Whether it is one that a client can have: not empty, counted from 1, and with a number after it.
    pub fn is_valid(self) -> bool {
        self.count > 0
            && self.first >= Seq::FIRST
            && self.first.get().checked_add(u64::from(self.count)).is_some()
    }

    /// The number after the last.
    #[must_use]
    pub fn next(self) -> Seq {
        self.first.plus(u64::from(self.count))
    }

    /// The first of them, `count` at most.
    #[must_use]
    pub fn take(self, count: u32) -> Self {
        Self { count: self.count.min(count), ..self }
    }

    /// Those behind the first `count`, which it must have.
    #[must_use]
    pub fn skip(self, count: u32) -> Self {
        Self { first: self.first.plus(u64::from(count)), count: self.count - count }
    }

    /// Those of them that lie in `from..to` as well; there may be none.
    #[must_use]
    pub fn within(self, from: Seq, to: Seq) -> Self {
        let (first, next) = (self.first.max(from), self.next().min(to));
        let count = next.get().saturating_sub(first.get());
        Self { first, count: u32::try_from(count).expect("no more than there were") }
    }

    /// Each of them.
    pub fn iter(self) -> impl DoubleEndedIterator<Item = Seq> {
        (self.first.get()..self.next().get()).map(Seq::new)
    }
}

impl fmt::Display for SeqRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}", self.first, self.count)
    }
}

impl LogNumber {
    /// The number after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The log `main`.
    pub const MAIN: Self = Self(0);

    /// The number that no log gets: none comes after it.
    pub const LAST: Self = Self(u32::MAX);
}

impl Ticket {
    /// The ticket after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// The identity of an entry: no two entries with the same index and term differ (thesis 3.5).
///
/// Shown as `17@3`: index 17 of term 3. Ordered as the election compares logs (thesis 3.6.1):
/// by term first, then by index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LogId {
    /// Where the entry stands.
    pub index: Index,
    /// The term of the leader that made it.
    pub term: Term,
}

impl LogId {
    /// Before the first entry.
    pub const ZERO: Self = Self { index: Index::ZERO, term: Term::ZERO };

    /// Index and term together.
    pub const fn new(index: Index, term: Term) -> Self {
        Self { index, term }
    }
}

impl PartialOrd for LogId {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for LogId {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.term, self.index).cmp(&(other.term, other.index))
    }
}

/// A number of bytes, as people read it: in whole MiB, or in less where that would be nothing, or in GiB
/// where there are many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteCount(pub u64);

impl fmt::Display for ByteCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes if bytes >> 30 >= 10 => write!(f, "{} GiB", bytes >> 30),
            bytes if bytes >> 20 > 0 => write!(f, "{} MiB", bytes >> 20),
            bytes if bytes >> 10 > 0 => write!(f, "{} KiB", bytes >> 10),
            bytes => write!(f, "{bytes} bytes"),
        }
    }
}

/// A disk with less room than its node wants to keep free.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DiskFull {
    /// Bytes that are free.
    pub free_bytes: u64,
    /// Bytes below which it is full.
    pub needed_bytes: u64,
}

impl DiskFull {
    /// Whether its node still takes the entries of its leader.
    pub fn takes_entries(&self) -> bool {
        self.free_bytes >= self.needed_bytes / 2
    }

    /// Whether its node still takes the small first entries of terms.
    pub fn takes_openings(&self) -> bool {
        self.free_bytes >= self.needed_bytes / 4
    }
}

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.index, self.term)
    }
}

/// A member of the cluster, shown as `n1`, `n2`, …
///
/// Text formats carry the name, binary formats the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(u16);

impl NodeId {
    /// The node with this number, or `None` for 0: nodes are counted from 1.
    pub const fn new(number: u16) -> Option<Self> {
        if number == 0 { None } else { Some(Self(number)) }
    }

    /// The number in the name.
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{}", self.0)
    }
}

impl FromStr for NodeId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        text.strip_prefix('n')
            .filter(|digits| !digits.starts_with(['0', '+']))
            .and_then(|digits| digits.parse().ok())
            .and_then(Self::new)
            .ok_or_else(|| NameError::Node { found: shortened(text) })
    }
}

impl Serialize for NodeId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            self.0.serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for NodeId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
        } else {
            Self::new(u16::deserialize(deserializer)?)
                .ok_or_else(|| D::Error::custom("nodes are counted from 1"))
        }
    }
}

/// Declares a random 128-bit identity that is shown as 32 hexadecimal digits.
macro_rules! identity {
    ($(#[$doc:meta])* $name:ident, $error:ident) => {
        $(#[$doc])*
        ///
        /// Text formats carry the digits, binary formats the 16 bytes.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u128);

        impl $name {
            /// Wraps a number that was drawn at random.
            pub const fn new(number: u128) -> Self {
                Self(number)
            }

            /// The number inside.
            pub const fn get(self) -> u128 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:032x}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                let error = || NameError::$error { found: shortened(text) };
                if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                    return Err(error());
                }
                u128::from_str_radix(text, 16).map(Self).map_err(|_| error())
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.collect_str(self)
                } else {
                    self.0.to_le_bytes().serialize(serializer)
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
                } else {
                    <[u8; 16]>::deserialize(deserializer).map(u128::from_le_bytes).map(Self)
                }
            }
        }
    };
}

identity!(
    /// Which cluster something belongs to: drawn at random by `annal init`.
    ClusterId,
    Cluster
);
identity!(
    /// A client's session: drawn at random by the client (thesis 6.3).
    ClientId,
    Client
);

/// A name that is not of its form.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NameError {
    /// Not a node's name.
    #[error("'{found}' is not a node's name (n1, n2, … n65535)")]
    Node {
        /// What was found, shortened.
        found: String,
    },
    /// Not a cluster's identity.
    #[error("'{found}' is not a cluster's identity (32 hexadecimal digits)")]
    Cluster {
        /// What was found, shortened.
        found: String,
    },
    /// Not a client's identity.
    #[error("'{found}' is not a client's identity (32 hexadecimal digits)")]
    Client {
        /// What was found, shortened.
        found: String,
    },
}

/// A foreign text made fit to be quoted in a message: short and without control characters.
fn shortened(text: &str) -> String {
    text.chars().take(40).map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_ids_compare_by_term_before_index() {
        let long_but_old = LogId::new(Index::new(9), Term::new(1));
        let short_but_new = LogId::new(Index::new(2), Term::new(2));
        assert!(short_but_new > long_but_old);
        assert_eq!(short_but_new.to_string(), "2@2");
    }

    #[test]
    fn node_names_round_trip_and_reject_everything_else() {
        assert_eq!("n17".parse::<NodeId>().unwrap().to_string(), "n17");
        for bad in ["", "n", "n0", "n01", "n+1", "x1", "n65536", "N1", "n1 ", "../n1"] {
            assert!(bad.parse::<NodeId>().is_err(), "{bad:?} was taken for a node");
        }
    }

    #[test]
    fn identities_round_trip_and_reject_everything_else() {
        let id = ClusterId::new(0xab);
        assert_eq!(id.to_string(), "000000000000000000000000000000ab");
        assert_eq!(id.to_string().parse::<ClusterId>().unwrap(), id);
        for bad in ["", "ab", "+00000000000000000000000000000ab", &"g".repeat(32)] {
            assert!(bad.parse::<ClusterId>().is_err(), "{bad:?} was taken for a cluster");
        }
    }
}
