//! What a log is made with, as headers say it.

use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderMap};

use super::super::answer::complaint;
use super::header::{self, word};
use super::log::content_type;
use super::refusal::Refusal;
use crate::date::{parse_rfc3339, rfc3339};
use crate::log_settings::{ContentType, Expiry, LogSettings};

/// The settings that these headers ask for.
pub(super) fn of(headers: &HeaderMap) -> Result<LogSettings, Refusal> {
    let content_type = match word(headers, &CONTENT_TYPE) {
        None => None,
        Some(word) => Some(word.parse::<ContentType>().map_err(|error| {
            complaint(StatusCode::BAD_REQUEST, error, "without one it is application/octet-stream")
        })?),
    };
    Ok(LogSettings { content_type, expiry: expiry(headers)?, ..LogSettings::default() })
}

/// Says them.
pub(super) fn say(headers: &mut HeaderMap, settings: &LogSettings) {
    header::say(headers, CONTENT_TYPE, content_type(settings));
    match settings.expiry {
        Some(Expiry::Idle { seconds }) => header::say_number(headers, header::TTL, seconds),
        Some(Expiry::At(time)) => {
            header::say(headers, header::EXPIRES_AT, &rfc3339(time).unwrap_or_default());
        }
        None => {}
    }
}

fn expiry(headers: &HeaderMap) -> Result<Option<Expiry>, Refusal> {
    let refuse = |sentence| {
        let hint =
            "stream-ttl is a number of seconds, stream-expires-at a time as 2026-01-31T12:00:00Z";
        Err(complaint(StatusCode::BAD_REQUEST, sentence, hint).into())
    };
    match (word(headers, &header::TTL), word(headers, &header::EXPIRES_AT)) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) => refuse("a log expires when nobody uses it or at a time, not both"),
        (Some(text), None) => match text.parse::<u64>() {
            // In its one form.
            Ok(seconds) if seconds.to_string() == text => Ok(Some(Expiry::Idle { seconds })),
            _ => refuse("that is no number of seconds"),
        },
        (None, Some(text)) => match parse_rfc3339(text) {
            Some(time) => Ok(Some(Expiry::At(time))),
            None => refuse("that is no time"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Timestamp;

    fn asked(said: &[(&'static str, &'static str)]) -> Option<LogSettings> {
        let mut headers = HeaderMap::new();
        for (name, value) in said {
            headers.insert(*name, value.parse().unwrap());
        }
        of(&headers).ok()
    }

    fn expiring(expiry: Expiry) -> LogSettings {
        LogSettings { expiry: Some(expiry), ..LogSettings::default() }
    }

    #[test]
    fn an_expiry_is_one_of_two_and_said_in_one_form() {
        assert_eq!(asked(&[]), Some(LogSettings::default()));
        let idle = |seconds| Some(expiring(Expiry::Idle { seconds }));
        assert_eq!(asked(&[("stream-ttl", "0")]), idle(0));
        assert_eq!(asked(&[("stream-ttl", "3600")]), idle(3600));
        for bad in ["", "00", "01", "+1", "-1", "1.0", "1e3", "x", "99999999999999999999"] {
            assert_eq!(asked(&[("stream-ttl", bad)]), None, "{bad:?}");
        }
        let at = Some(expiring(Expiry::At(Timestamp::new(1_769_860_800_000))));
        assert_eq!(asked(&[("stream-expires-at", "2026-01-31T13:00:00+01:00")]), at);
        for bad in ["", "soon", "2026-01-31", "2026-01-31T12:00:00"] {
            assert_eq!(asked(&[("stream-expires-at", bad)]), None, "{bad:?}");
        }
        let both = [("stream-ttl", "1"), ("stream-expires-at", "2026-01-31T12:00:00Z")];
        assert_eq!(asked(&both), None);
    }
}
