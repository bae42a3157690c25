//! Visitors of all kinds, over real connections, at a door whose node is a picture.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::door;
use super::health::tests::welcome;
use super::house::House;
use super::tls::Tls;
use super::{Counts, Inside};
use crate::access::TokenId;
use crate::client::{Client, Settings};
use crate::config::HttpConfig;
use crate::limits;
use crate::net::Credentials;
use crate::net::tls::tests::certificates;
use crate::types::ClusterId;
use crate::wire::api::{Role, Welcome};

struct Picture;

/// The number of tokens that were revoked.
pub(super) const REVOKED: u64 = 1;

impl Inside for Picture {
    fn welcome(&self) -> Welcome {
        welcome(Role::Leader, Some(2), true)
    }

    fn counts(&self) -> Counts {
        Counts::default()
    }

    fn is_revoked(&self, token: TokenId) -> bool {
        token == TokenId::new(token.expires_seconds(), REVOKED)
    }

    fn still_for(&self) -> Duration {
        Duration::ZERO
    }
}

/// A door that is open.
pub(super) struct Open {
    pub(super) house: Arc<House>,
    stop: CancellationToken,
    receiving: JoinHandle<()>,
}

impl Open {
    async fn new() -> Self {
        Self::with_head_timeout(limits::HTTP_HEAD_TIMEOUT).await
    }

    async fn with_head_timeout(head_timeout: Duration) -> Self {
        Self::with(|house| house.head_timeout = head_timeout, false).await
    }

    /// A door of which something is different.
    pub(super) async fn with(change: impl FnOnce(&mut House), has_tls: bool) -> Self {
        let certs = certificates(ClusterId::new(1));
        let credentials = Credentials::load(certs.path(), "n2").unwrap();
        // A cluster of which nobody answers.
        let nowhere = [("n2".parse().unwrap(), "127.0.0.1:9".parse().unwrap())];
        let client = Client::with(&credentials, Settings::new("", nowhere)).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
        let config = HttpConfig::at(address);
        let mut house = House::new(config, Arc::new(Picture), client, stop.clone());
        change(&mut house);
        let house = Arc::new(house);
        let at_door = house.clone();
        let tls = has_tls.then(|| Tls::of(&credentials));
        let receiving =
            tokio::spawn(async move { door::receive(&at_door, tls.as_ref(), &listener).await });
        Self { house, stop, receiving }
    }

    pub(super) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.house.config.listen).await.unwrap()
    }

    /// What comes back until the connection is closed; `HOST` stands for the door's name.
    pub(super) async fn say(&self, text: &str) -> String {
        let mut stream = self.connect().await;
        let text = text.replace("HOST", &self.house.config.listen.to_string());
        // It may be closed before all is said.
        let _ = stream.write_all(text.as_bytes()).await;
        heard(&mut stream).await
    }

    pub(super) async fn get(&self, path: &str) -> String {
        self.say(&format!("GET {path} HTTP/1.1\r\nhost: HOST\r\nconnection: close\r\n\r\n")).await
    }
}

pub(super) async fn heard(stream: &mut TcpStream) -> String {
    let mut bytes = vec![];
    // An end by a reset is one, too.
    let _ = stream.read_to_end(&mut bytes).await;
    String::from_utf8(bytes).unwrap()
}

pub(super) fn status(answer: &str) -> &str {
    answer.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).unwrap_or("none")
}

#[tokio::test]
async fn what_there_is_is_found_and_nothing_else() {
    let door = Open::new().await;
    for path in ["/health/live", "/health/ready", "/metrics", "/metrics?x=%2e%2e"] {
        let answer = door.get(path).await;
        assert_eq!(status(&answer), "200", "{path}: {answer}");
        assert!(answer.contains("x-content-type-options: nosniff"), "{answer}");
    }
    assert_eq!(status(&door.get("/nothing").await), "404");
    let post = "POST /metrics HTTP/1.1\r\nhost: HOST\r\ncontent-length: 2\r\n\
                connection: close\r\n\r\nhi";
    let answer = door.say(post).await;
    assert_eq!(status(&answer), "405");
    assert!(answer.contains("allow: GET, HEAD"), "{answer}");
    let head = "HEAD /health/live HTTP/1.1\r\nhost: HOST\r\nconnection: close\r\n\r\n";
    let answer = door.say(head).await;
    assert!(answer.contains("content-length: 5\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");
}

#[tokio::test]
async fn what_is_no_request_is_refused_and_ends_the_connection() {
    let door = Open::new().await;
    let long = "a".repeat(limits::HTTP_HEAD_BYTES_MAX);
    let many = "x: y\r\n".repeat(limits::HTTP_HEADERS_MAX + 1);
    let get = "GET /health/live HTTP/1.1\r\nhost: HOST\r\n";
    for (expected, text) in [
        ("431", format!("{get}x: {long}\r\n\r\n")),
        ("431", format!("{get}{many}\r\n")),
        ("431", format!("GET /{long} HTTP/1.1\r\nhost: HOST\r\n\r\n")),
        ("400", format!("{get}content-length: 1\r\ncontent-length: 2\r\n\r\n")),
        ("400", format!("{get}content-length: -1\r\n\r\n")),
        ("400", format!("{get}transfer-encoding: gzip\r\n\r\n")),
        ("400", format!("{get}transfer-encoding: chunked, identity\r\n\r\n")),
        ("400", format!("{get}x : y\r\n\r\n")),
        ("400", format!("{get}x\0: y\r\n\r\n")),
        ("400", "GET /health/live HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n".to_owned()),
        ("400", "\x16\x03\x01\x02\0\x01\0\r\n\r\n".to_owned()),
        (
            "421",
            "GET /health/live HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n".into(),
        ),
        (
            "400",
            "GET /v1/%2e%2e/metrics HTTP/1.1\r\nhost: HOST\r\nconnection: close\r\n\r\n".into(),
        ),
    ] {
        let answer = door.say(&text).await;
        assert_eq!(status(&answer), expected, "{text:.60}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{text:.60}: {answer}");
    }
}

/// Where two programs do not agree where a request ends, the rest of one becomes another's.
#[tokio::test]
async fn no_request_is_smuggled_in_the_body_of_another() {
    let door = Open::new().await;
    let inner = "GET /smuggled HTTP/1.1\r\nhost: HOST\r\n\r\n";
    let post = "POST /health/live HTTP/1.1\r\nhost: HOST\r\n";
    for (what, text) in [
        (
            "both lengths",
            format!(
                "{post}content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{inner}"
            ),
        ),
        (
            "the other way round",
            format!(
                "{post}transfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n0\r\n\r\n{inner}"
            ),
        ),
        (
            "a chunk's size that is none",
            format!("{post}transfer-encoding: chunked\r\n\r\nzz\r\n{inner}"),
        ),
        (
            "a chunk's size that turns over",
            format!("{post}transfer-encoding: chunked\r\n\r\n10000000000000001\r\nab{inner}"),
        ),
        (
            "a chunk that is longer than it says",
            format!("{post}transfer-encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n{inner}"),
        ),
        ("a body that is not wanted", format!("{post}content-length: 9999999\r\n\r\n{inner}")),
    ] {
        let mut stream = door.connect().await;
        let text = text.replace("HOST", &door.house.config.listen.to_string());
        stream.write_all(text.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let answer = heard(&mut stream).await;
        assert!(!answer.contains("404"), "{what}: {answer}");
        assert!(answer.matches("HTTP/1.1 ").count() <= 1, "{what}: {answer}");
    }
}

#[tokio::test]
async fn who_begins_and_does_not_go_on_is_let_go() {
    let door = Open::with_head_timeout(Duration::from_millis(100)).await;
    let mut silent = door.connect().await;
    assert_eq!(heard(&mut silent).await, "");
    let mut slow = door.connect().await;
    slow.write_all(b"GET /health/live HTTP/1.1\r\nhost: ").await.unwrap();
    let answer = heard(&mut slow).await;
    assert!(!answer.contains("200"), "{answer}");
}

#[tokio::test]
async fn one_too_many_is_told_so_and_a_place_that_is_free_again_is_taken() {
    let door = Open::new().await;
    let mut guests = vec![];
    while guests.len() < limits::HTTP_CONNECTIONS_MAX {
        guests.push(door.connect().await);
    }
    let answer = heard(&mut door.connect().await).await;
    assert_eq!(status(&answer), "503", "{answer}");
    assert!(answer.contains("retry-after: 1"), "{answer}");
    drop(guests.pop());
    while status(&door.get("/health/live").await) != "200" {
        tokio::task::yield_now().await;
    }
    assert!(door.get("/metrics").await.contains("annal_http_turned_away_total"));
}

#[tokio::test]
async fn a_door_closes_with_its_node_though_a_visitor_stays() {
    let door = Open::new().await;
    let mut idle = door.connect().await;
    let text = format!("GET /health/live HTTP/1.1\r\nhost: {}\r\n\r\n", door.house.config.listen);
    idle.write_all(text.as_bytes()).await.unwrap();
    let mut first = [0; 12];
    idle.read_exact(&mut first).await.unwrap();
    door.stop.cancel();
    assert!(heard(&mut idle).await.ends_with("live\n"));
    door.receiving.await.unwrap();
}

#[tokio::test]
async fn the_page_is_whole_and_runs_nothing_that_is_not_its_own() {
    let door = Open::new().await;
    let page = door.get("/").await;
    assert_eq!(status(&page), "200");
    let policy = page.lines().find(|line| line.starts_with("content-security-policy: ")).unwrap();
    let nonce = policy.split("'nonce-").nth(1).unwrap().split('\'').next().unwrap();
    assert_eq!(nonce.len(), 16);
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    assert_eq!(page.matches("<script").count(), 1);
    for part in [format!("<script nonce=\"{nonce}\">"), format!("<style nonce=\"{nonce}\">")] {
        assert!(page.contains(&part), "{part}");
    }
    for from_elsewhere in ["src=", "href=", "@import", "url(", "onclick", "style=", "innerHTML"] {
        assert!(!page.contains(from_elsewhere), "{from_elsewhere}");
    }
    assert!(!door.get("/").await.contains(nonce), "a number is used once");
}

#[tokio::test]
async fn no_page_but_the_doors_own_asks_for_a_crash() {
    let door = Open::new().await;
    let post = |more: &str| {
        let text = format!(
            "POST /v1/crash-leader HTTP/1.1\r\nhost: HOST\r\nconnection: close\r\n{more}\r\n"
        );
        let door = &door;
        async move { door.say(&text).await }
    };
    for (expected, more) in [
        ("nobody has asked", ""),
        ("nobody has asked", "content-type: application/x-www-form-urlencoded\r\n"),
        ("nobody has asked", "annal-crash: no\r\n"),
        ("nobody has asked", "annal-crash: yes\r\norigin: http://localhost:3000\r\n"),
        ("from elsewhere", "annal-crash: yes\r\norigin: http://evil.example\r\n"),
        ("from elsewhere", "annal-crash: yes\r\norigin: null\r\n"),
        // Its own is heard; this cluster does not allow it.
        ("without fault injection", "annal-crash: yes\r\norigin: http://HOST\r\n"),
        ("without fault injection", "annal-crash: yes\r\n"),
    ] {
        let answer = post(more).await;
        assert_eq!(status(&answer), "403", "{more}: {answer}");
        assert!(answer.contains(expected), "{more}: {answer}");
    }
    // Nor is a browser told that it may ask so.
    let text = "OPTIONS /v1/crash-leader HTTP/1.1\r\nhost: HOST\r\nconnection: close\r\n\
                origin: http://localhost:3000\r\naccess-control-request-headers: annal-crash\r\n\r\n";
    let answer = door.say(text).await;
    assert_eq!(status(&answer), "405");
    assert!(!answer.contains("access-control-allow-headers"), "{answer}");
    assert_eq!(status(&door.get("/v1/crash-leader").await), "405");
}
