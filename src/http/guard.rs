//! Who is not heard at all.
//!
//! A page that a browser has from elsewhere may try to speak to this machine: by its address, or by a name
//! of its own that it lets point here (DNS rebinding). In the first case the browser says whose page it
//! is, in the second it asks for that name; both are refused before anything is looked at. And a path
//! means one thing: what could be read in two ways is refused.

use std::net::{IpAddr, SocketAddr};

use hyper::header::{HOST, HeaderValue, ORIGIN};
use hyper::http::request::Parts;
use hyper::http::uri::Authority;
use hyper::{Method, StatusCode, Uri};

use super::answer::{Answer, complaint};
use crate::config::HttpConfig;

/// Names of this machine that no other has.
const NAMES: [&str; 3] = ["127.0.0.1", "localhost", "[::1]"];

/// What is wrong with a request, if it is not to be heard at this door.
pub(super) fn refusal(parts: &Parts, door: &HttpConfig) -> Option<Answer> {
    if !is_asked_for(parts, door) {
        let sentence = "this door answers only under this machine's own names";
        let hint = format!("ask for http://{}", door.listen);
        return Some(complaint(StatusCode::MISDIRECTED_REQUEST, sentence, &hint));
    }
    // A browser that asks what there is, is told: what it sends then is looked at.
    let is_question = parts.method == Method::OPTIONS;
    let mut origins = parts.headers.get_all(ORIGIN).iter();
    if !is_question && origins.any(|origin| !is_welcome(origin, parts, door)) {
        let sentence = "a page from elsewhere may not use this door";
        let hint = "programs are not asked: only browsers say whose page they speak for. `origins` in \
                    node.toml names sites whose pages may";
        return Some(complaint(StatusCode::FORBIDDEN, sentence, hint));
    }
    if !is_plain(parts.uri.path()) {
        let sentence = "that path could be read in more than one way";
        let hint = "paths have letters, digits, '.', '_', '-' and '/' in them, and no part that is empty \
                    or made of dots";
        return Some(complaint(StatusCode::BAD_REQUEST, sentence, hint));
    }
    None
}

/// Whether a request is for this door: by its one header, and by its line, if that says more than a path.
/// With TLS the certificate tells who is at which name, and no browser has a token of its own accord.
fn is_asked_for(parts: &Parts, door: &HttpConfig) -> bool {
    let mut hosts = parts.headers.get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
    if door.has_tls() {
        return true;
    }
    let in_line = parts.uri.authority().map(Authority::as_str);
    let is_host = host.to_str().is_ok_and(|host| is_name_of(host, door.listen));
    is_host && in_line.is_none_or(|name| is_name_of(name, door.listen))
}

fn is_name_of(host: &str, door: SocketAddr) -> bool {
    let (name, port) = split(host);
    let is_own = match name.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(address) => address == door.ip() || NAMES.contains(&name),
        Err(_) => NAMES.iter().any(|known| known.eq_ignore_ascii_case(name)),
    };
    is_own && port.unwrap_or("80") == door.port().to_string()
}

/// A host's name, and its port if it has one. Of an address of IPv6 the colons are in brackets.
fn split(host: &str) -> (&str, Option<&str>) {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
        _ => (host, None),
    }
}

/// Whether a page may use this door: one of a site that is named, and else its own; on the loopback one of
/// this machine, whichever program's it is.
fn is_welcome(origin: &HeaderValue, parts: &Parts, door: &HttpConfig) -> bool {
    let Ok(origin) = origin.to_str() else { return false };
    let is_named = door.origins.iter().any(|named| named == origin);
    let is_own = || {
        let host = parts.headers.get(HOST).and_then(|host| host.to_str().ok());
        host.is_some_and(|host| origin.strip_prefix("https://") == Some(host))
    };
    is_named || if door.has_tls() { is_own() } else { is_from_here(origin, door.listen) }
}

fn is_from_here(origin: &str, door: SocketAddr) -> bool {
    let Ok(uri) = origin.parse::<Uri>() else { return false };
    let is_here = |host: &str| {
        host == door.ip().to_string() || NAMES.iter().any(|known| known.eq_ignore_ascii_case(host))
    };
    uri.scheme().is_some() && uri.host().is_some_and(is_here)
}

/// Whether a path can be read in one way only.
fn is_plain(path: &str) -> bool {
    let is_known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-');
    let mut parts = path.strip_prefix('/').into_iter().flat_map(|path| path.split('/'));
    let is_part = |part: &str| part.chars().any(|c| c != '.');
    path == "/" || path.starts_with('/') && path.chars().all(is_known) && parts.all(is_part)
}

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::*;

    fn refused(uri: &str, headers: &[(&str, &str)]) -> Option<u16> {
        let door = HttpConfig::at(SocketAddr::from(([127, 0, 0, 1], 7181)));
        refused_at(&door, uri, headers)
    }

    fn refused_at(door: &HttpConfig, uri: &str, headers: &[(&str, &str)]) -> Option<u16> {
        let mut request = Request::builder().uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        refusal(&parts, door).map(|answer| answer.status().as_u16())
    }

    #[test]
    fn only_this_machines_own_names_are_answered() {
        for host in ["127.0.0.1:7181", "localhost:7181", "LocalHost:7181", "[::1]:7181"] {
            assert_eq!(refused("/", &[("host", host)]), None, "{host}");
        }
        for host in [
            "evil.example:7181",
            "127.0.0.1.evil.example:7181",
            "localhost.evil.example:7181",
            "127.0.0.1:7182",
            "127.0.0.1",
            "localhost",
            "127.0.0.2:7181",
            "evil@127.0.0.1:7181",
            "",
        ] {
            assert_eq!(refused("/", &[("host", host)]), Some(421), "{host}");
        }
        let own = ("host", "127.0.0.1:7181");
        assert_eq!(refused("/", &[]), Some(421));
        assert_eq!(refused("/", &[own, own]), Some(421));
        assert_eq!(refused("http://evil.example/", &[own]), Some(421));
        assert_eq!(refused("http://127.0.0.1:7181/", &[own]), None);
    }

    #[test]
    fn pages_of_other_sites_are_not_heard() {
        let asked = |origin| refused("/", &[("host", "127.0.0.1:7181"), ("origin", origin)]);
        for origin in ["http://127.0.0.1:7181", "http://localhost:3000", "https://[::1]"] {
            assert_eq!(asked(origin), None, "{origin}");
        }
        for origin in
            ["http://evil.example", "null", "http://localhost.evil.example", "file://", ""]
        {
            assert_eq!(asked(origin), Some(403), "{origin}");
        }
    }

    #[test]
    fn sites_that_are_named_may_use_a_door_and_others_may_not() {
        let host = ("host", "n1.example.org:7181");
        for listen in [[127, 0, 0, 1], [0, 0, 0, 0]] {
            let mut door = HttpConfig::at(SocketAddr::from((listen, 7181)));
            door.origins = vec!["https://app.example.org".to_owned()];
            let host = if door.has_tls() { host } else { ("host", "127.0.0.1:7181") };
            let asked = |origin| refused_at(&door, "/", &[host, ("origin", origin)]);
            assert_eq!(asked("https://app.example.org"), None);
            for origin in ["http://app.example.org", "https://app.example.org:444", "null"] {
                assert_eq!(asked(origin), Some(403), "{origin}");
            }
            assert_eq!(asked("http://127.0.0.1:80").is_none(), !door.has_tls());
            assert_eq!(asked("https://n1.example.org:7181").is_none(), door.has_tls());
            assert_eq!(refused_at(&door, "/", &[]), Some(421));
        }
    }

    #[test]
    fn a_path_means_one_thing() {
        let asked = |path| refused(path, &[("host", "127.0.0.1:7181")]);
        for path in ["/", "/metrics", "/v1/stream/a.b-c_D9", "/v1/stream/a/b?offset=%2e%2e"] {
            assert_eq!(asked(path), None, "{path}");
        }
        for path in [
            "//",
            "/v1//status",
            "/v1/status/",
            "/v1/../metrics",
            "/.",
            "/v1/%2e%2e/metrics",
            "/%6detrics",
            "/v1/stream/...",
            "/a\\b",
            "/a;b",
            "*",
        ] {
            assert_eq!(asked(path), Some(400), "{path}");
        }
    }
}
