//! Amounts of bytes and times as people type them for what is kept, and as they are shown again.

use std::time::Duration;

/// What a limit is set to: an amount, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limit(pub(super) Option<u64>);

/// The word for no limit.
const NONE: &str = "none";

/// Units of bytes, and how many each is.
const UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("TB", 1_000_000_000_000),
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("kB", 1_000),
    ("B", 1),
];

/// Understands an amount of bytes.
pub(super) fn bytes(text: &str) -> Result<Limit, String> {
    limit(text, bytes_in).ok_or_else(|| {
        "an amount is a number and a unit, as 500MB or 10GiB, above 0; or it is none".to_owned()
    })
}

/// Understands an age.
pub(super) fn age(text: &str) -> Result<Limit, String> {
    let in_ms = |text: &str| {
        let age = humantime::parse_duration(text).ok()?;
        u64::try_from(age.as_millis()).ok()
    };
    limit(text, in_ms).ok_or_else(|| {
        "an age is a number and a unit, as 30m, 12h or 7d, above 0; or it is none".to_owned()
    })
}

/// Understands a count.
pub(super) fn count(text: &str) -> Result<Limit, String> {
    limit(text, |text| text.parse().ok())
        .ok_or_else(|| "a count is a number above 0, or none".to_owned())
}

fn limit(text: &str, parse: impl Fn(&str) -> Option<u64>) -> Option<Limit> {
    if text == NONE {
        return Some(Limit(None));
    }
    parse(text).filter(|amount| *amount > 0).map(|amount| Limit(Some(amount)))
}

fn bytes_in(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim();
    let of_unit = |(name, _): &&(&str, u64)| unit.eq_ignore_ascii_case(name);
    let factor = match unit {
        "" => 1,
        _ => UNITS.iter().find(of_unit)?.1,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// An amount of bytes, exactly, as it can be typed.
pub(super) fn shown_bytes(bytes: u64) -> String {
    let fits = |(_, factor): &&(&str, u64)| bytes > 0 && bytes.is_multiple_of(*factor);
    let most = UNITS.iter().filter(fits).max_by_key(|(_, factor)| *factor);
    most.map_or_else(|| format!("{bytes}B"), |(unit, factor)| format!("{}{unit}", bytes / factor))
}

/// An age, exactly, as it can be typed.
pub(super) fn shown_age(ms: u64) -> String {
    humantime::format_duration(Duration::from_millis(ms)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_is_understood_and_shown_again() {
        for (text, amount, again) in [
            ("10GB", 10_000_000_000, "10GB"),
            ("10 gb", 10_000_000_000, "10GB"),
            ("64MiB", 64 << 20, "64MiB"),
            ("2048", 2048, "2KiB"),
            ("1500B", 1500, "1500B"),
            ("1000kB", 1_000_000, "1MB"),
        ] {
            assert_eq!(bytes(text), Ok(Limit(Some(amount))), "{text}");
            assert_eq!(shown_bytes(amount), again);
            assert_eq!(bytes(again), Ok(Limit(Some(amount))));
        }
        assert_eq!(age("7d"), Ok(Limit(Some(604_800_000))));
        assert_eq!(shown_age(604_800_000), "7days");
        assert_eq!(count("12"), Ok(Limit(Some(12))));
        assert_eq!([bytes("none"), age("none"), count("none")], [(); 3].map(|()| Ok(Limit(None))));
    }

    #[test]
    fn what_is_no_amount_is_refused() {
        for bad in ["", "0", "0MB", "MB", "-1", "1.5GB", "10 XB", "99999999TB"] {
            assert!(bytes(bad).is_err(), "{bad}");
        }
        for bad in ["", "0s", "7", "soon"] {
            assert!(age(bad).is_err(), "{bad}");
        }
        assert!(count("0").is_err() && count("1k").is_err());
    }
}
