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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpConfig {
    /// The address it binds. Anywhere but on this machine's loopback it speaks TLS.
    pub listen: SocketAddr,
    /// How long a reader is kept waiting for news before it is told that there are none.
    pub long_poll: Duration,
    /// Whether it asks for access tokens: anywhere but on the loopback it does.
    pub tokens: bool,
    /// The sites whose pages may use it, as browsers say them; those of this machine may, whatever stands
    /// here. At most [`limits::HTTP_ORIGINS_MAX`].
    pub origins: Vec<String>,
}

impl HttpConfig {
    /// A door at this address, as it is unless something else is said.
    pub fn at(listen: SocketAddr) -> Self {
        let long_poll = limits::HTTP_LONG_POLL_DEFAULT;
        Self { listen, long_poll, tokens: is_from_elsewhere(listen), origins: vec![] }
    }

    /// Whether it speaks TLS.
    pub fn has_tls(&self) -> bool {
        is_from_elsewhere(self.listen)
    }
}

/// Whether others than this machine's programs may get to an address.
fn is_from_elsewhere(listen: SocketAddr) -> bool {
    !listen.ip().is_loopback()
}

/// Appends the table that says this.
pub(super) fn push_http(text: &mut String, http: Option<&HttpConfig>) {
    text.push_str("\n[http]\n");
    let address = http.map_or_else(|| OFF.to_owned(), |http| http.listen.to_string());
    line(text, "listen", &quoted(address), "HTTP: 127.0.0.1 for this machine alone, or off");
    if let Some(HttpConfig { listen, long_poll, tokens, origins }) = http {
        let long_poll = long_poll.as_millis().to_string();
        line(text, "long_poll_ms", &long_poll, "how long readers wait for news");
        if *tokens != is_from_elsewhere(*listen) {
            line(text, "tokens", &tokens.to_string(), "whether it asks for access tokens");
        }
        if !origins.is_empty() {
            let origins: Vec<_> = origins.iter().map(quoted).collect();
            let origins = format!("[{}]", origins.join(", "));
            line(text, "origins", &origins, "sites whose pages may use it");
        }
    }
}

/// `[http]` as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawHttp {
    listen: Spanned<String>,
    long_poll_ms: Option<Spanned<u64>>,
    tokens: Option<Spanned<bool>>,
    #[serde(default)]
    origins: Vec<Spanned<String>>,
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
        if listen.port() == 0 {
            return complain("an address needs a port other than 0".to_owned());
        }
        let tokens = self.check_tokens(file, listen)?;
        let origins = self.check_origins(file)?;
        Ok(Some(HttpConfig { listen, long_poll, tokens, origins }))
    }

    fn check_tokens(&self, file: &ConfigFile, listen: SocketAddr) -> Result<bool, ConfigError> {
        let is_reached = is_from_elsewhere(listen);
        match &self.tokens {
            Some(tokens) if is_reached && !tokens.get_ref() => {
                let sentence = format!(
                    "{listen} can be reached from elsewhere: there HTTP asks for tokens, or listens at \
                     127.0.0.1 or [::1]"
                );
                Err(file.invalid(tokens.span().start, sentence))
            }
            Some(tokens) => Ok(*tokens.get_ref()),
            None => Ok(is_reached),
        }
    }

    fn check_origins(&self, file: &ConfigFile) -> Result<Vec<String>, ConfigError> {
        let most = limits::HTTP_ORIGINS_MAX;
        if let Some(origin) = self.origins.get(most) {
            let sentence = format!("there are {most} origins at most");
            return Err(file.invalid(origin.span().start, sentence));
        }
        if let Some(bad) = self.origins.iter().find(|origin| !is_origin(origin.get_ref())) {
            let text = bad.get_ref();
            let sentence =
                format!("'{text}' is no origin as browsers say it, as https://app.example.org");
            return Err(file.invalid(bad.span().start, sentence));
        }
        Ok(self.origins.iter().map(|origin| origin.get_ref().clone()).collect())
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

/// Whether a browser says so whose page it speaks for: a scheme, a host in small letters, and its port.
fn is_origin(text: &str) -> bool {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let is_known = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-:[]".contains(c);
    host.is_some_and(|host| !host.is_empty() && host.chars().all(is_known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_what_browsers_say() {
        for good in ["https://app.example.org", "http://localhost:3000", "http://[::1]:80"] {
            assert!(is_origin(good), "{good}");
        }
        for bad in ["", "*", "null", "app.example.org", "https://", "https://a/", "https://A.b"] {
            assert!(!is_origin(bad), "{bad}");
        }
    }
}
