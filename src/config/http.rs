//! `[http]` in `node.toml`: where a node opens its door for everybody, if it does.

use std::net::SocketAddr;
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use super::file::{ConfigError, ConfigFile, line, quoted};
use crate::limits;

/// What stands in the place of an address where there is to be no door.
const OFF: &str = "off";

/// A node's door for HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpConfig {
    /// The address it binds: of this machine's loopback, for whoever gets that far is asked for nothing.
    pub listen: SocketAddr,
    /// How long a reader is kept waiting for news before it is told that there are none.
    pub long_poll: Duration,
}

impl HttpConfig {
    /// A door at this address, as it is unless something else is said.
    pub fn at(listen: SocketAddr) -> Self {
        Self { listen, long_poll: limits::HTTP_LONG_POLL_DEFAULT }
    }
}

/// Appends the table that says this.
pub(super) fn push_http(text: &mut String, http: Option<&HttpConfig>) {
    text.push_str("\n[http]\n");
    let listen = http.map_or_else(|| OFF.to_owned(), |http| http.listen.to_string());
    line(text, "listen", &quoted(listen), "HTTP for this machine alone, or off");
    if let Some(HttpConfig { long_poll, .. }) = http {
        let long_poll = long_poll.as_millis().to_string();
        line(text, "long_poll_ms", &long_poll, "how long readers wait for news");
    }
}

/// `[http]` as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawHttp {
    listen: Spanned<String>,
    long_poll_ms: Option<Spanned<u64>>,
}

impl RawHttp {
    pub(super) fn check(&self, file: &ConfigFile) -> Result<Option<HttpConfig>, ConfigError> {
        let long_poll = self.check_long_poll(file)?;
        let text = self.listen.get_ref();
        if text == OFF {
            return Ok(None);
        }
        let complain = |sentence| Err(file.invalid(self.listen.span().start, sentence));
        let Ok(listen) = text.parse::<SocketAddr>() else {
            return complain(format!("'{text}' is neither an address with a port nor \"{OFF}\""));
        };
        if !listen.ip().is_loopback() {
            return complain(format!(
                "{listen} can be reached from elsewhere, and HTTP asks nobody who they are: listen at \
                 127.0.0.1 or [::1]"
            ));
        }
        if listen.port() == 0 {
            return complain("an address needs a port other than 0".to_owned());
        }
        Ok(Some(HttpConfig { listen, long_poll }))
    }

    fn check_long_poll(&self, file: &ConfigFile) -> Result<Duration, ConfigError> {
        let Some(value) = &self.long_poll_ms else { return Ok(limits::HTTP_LONG_POLL_DEFAULT) };
        let (min, max) = (limits::HTTP_LONG_POLL_MIN, limits::HTTP_LONG_POLL_MAX);
        let long_poll = Duration::from_millis(*value.get_ref());
        if (min..=max).contains(&long_poll) {
            return Ok(long_poll);
        }
        let (min, max) = (min.as_millis(), max.as_millis());
        let sentence = format!("long_poll_ms must lie between {min} and {max}");
        Err(file.invalid(value.span().start, sentence))
    }
}
