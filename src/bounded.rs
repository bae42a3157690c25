//! Lists whose length is bounded while they are decoded, and texts that bound themselves.
//!
//! An item may take a byte on the wire and many more in memory, so a frame's own bound is none for
//! what is made of it. A list of a message says how many items it has at most:
//!
//! ```ignore
//! #[serde(deserialize_with = "bounded::list::<_, _, REQUEST_RECORDS_MAX>")]
//! ```

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};

/// Items that are made room for before any is there.
const ITEMS_AHEAD_MAX: usize = 64;

/// A list of at most `MAX` items. One more, and nothing is decoded any further.
///
/// # Errors
/// Those of the decoder; one more item than there may be.
pub(crate) fn list<'de, D, T, const MAX: usize>(decoder: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    decoder.deserialize_seq(List::<T, MAX>(PhantomData))
}

struct List<T, const MAX: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for List<T, MAX> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at most {MAX} items")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<T>, A::Error> {
        let announced = items.size_hint().unwrap_or(0);
        if announced > MAX {
            return Err(A::Error::invalid_length(announced, &self));
        }
        let mut list = Vec::with_capacity(announced.min(ITEMS_AHEAD_MAX));
        while let Some(item) = items.next_element()? {
            if list.len() == MAX {
                return Err(A::Error::invalid_length(MAX + 1, &self));
            }
            list.push(item);
        }
        Ok(list)
    }
}

/// A text that is parsed before anything is made of it. `what` says what it should have been.
///
/// # Errors
/// Those of the decoder; it cannot be parsed.
pub(crate) fn parsed<'de, D, T>(decoder: D, what: fmt::Arguments<'_>) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: fmt::Display>,
{
    decoder.deserialize_str(Parsed(what, PhantomData))
}

struct Parsed<'a, T>(fmt::Arguments<'a>, PhantomData<T>);

impl<T: FromStr<Err: fmt::Display>> Visitor<'_> for Parsed<'_, T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_fmt(self.0)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

/// A type of texts that are checked when they are parsed: shown, encoded and decoded as the text that it
/// holds. `what` says what one that cannot be parsed should have been.
macro_rules! checked_text {
    ($name:ident, $what:literal) => {
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(&self.0)
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Debug::fmt(&self.0, f)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::bounded::parsed(deserializer, format_args!($what))
            }
        }
    };
}
pub(crate) use checked_text;

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Three(#[serde(deserialize_with = "list::<_, _, 3>")] Vec<u32>);

    #[test]
    fn a_list_has_as_many_items_as_it_may_and_no_more() {
        let of = |bytes: &[u8]| postcard::from_bytes::<Three>(bytes).map(|Three(list)| list);
        assert_eq!(of(&[0]).unwrap(), [0; 0]);
        assert_eq!(of(&[3, 1, 2, 3]).unwrap(), [1, 2, 3]);
        assert!(of(&[4, 1, 2, 3, 4]).is_err());
        // A length that lies is refused before anything is made of it.
        assert!(of(&[0xff, 0xff, 0xff, 0xff, 0x0f]).is_err());
        // Where the length is not said first it is counted.
        assert!(serde_json::from_str::<Three>("[1, 2, 3]").is_ok());
        assert!(serde_json::from_str::<Three>("[1, 2, 3, 4]").is_err());
    }
}
