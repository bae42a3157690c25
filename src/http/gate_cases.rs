//! A door that asks for tokens, and who comes to it.

use std::fs;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::gate::Gate;
use super::tests::{Open, REVOKED, heard, status};
use crate::access::{
    AccessToken, Grant, Grants, PUBLIC_FILE, PublicKeys, Right, Rights, SigningKey, TokenId, renew,
};
use crate::limits;
use crate::types::ClusterId;

const CLUSTER: ClusterId = ClusterId::new(1);

/// A door that asks, the folder of its keys, and the key that signs.
struct Asking {
    door: Open,
    certs: tempfile::TempDir,
    key: SigningKey,
}

impl Asking {
    async fn new() -> Self {
        let certs = tempfile::tempdir().unwrap();
        renew(certs.path(), true).unwrap();
        let key = SigningKey::load(certs.path()).unwrap();
        let mut gate = Gate::new(CLUSTER, certs.path().to_owned());
        gate.look_every = Duration::ZERO;
        let door = Open::with(|house| house.gate = Some(gate), false).await;
        Self { door, certs, key }
    }

    /// The answer to a request with these headers besides.
    async fn ask(&self, line: &str, headers: &str) -> String {
        let text = format!("{line} HTTP/1.1\r\nhost: HOST\r\n{headers}connection: close\r\n\r\n");
        self.door.say(&text).await
    }

    async fn ask_with(&self, line: &str, token: &str) -> String {
        self.ask(line, &format!("authorization: Bearer {token}\r\n")).await
    }

    fn sign(&self, token: &AccessToken) -> String {
        token.sign(&self.key).unwrap()
    }
}

fn now() -> u64 {
    super::chronicle::now() / 1000
}

/// Allows to read `orders/*`, to append to `orders/eu`, and to observe, for a minute.
fn token() -> AccessToken {
    let grant = |logs: &str, right| Grant {
        logs: logs.parse().unwrap(),
        rights: Rights::of([right]).unwrap(),
    };
    let logs = vec![grant("orders/*", Right::Read), grant("orders/eu", Right::Append)];
    let id = TokenId::new(now() + 60, 7);
    let grants = Grants { logs, observe: true };
    AccessToken { cluster: CLUSTER, id, made: now(), name: None, grants }
}

/// Was let in: of this cluster nobody answers, so what is behind the gate is not there for now.
fn is_in(answer: &str) -> bool {
    status(answer) == "503"
}

#[tokio::test]
async fn without_a_token_nobody_comes_in_and_all_are_told_the_same() {
    let asking = Asking::new().await;
    let good = asking.sign(&token());
    let mut bodies = vec![];
    for (line, headers) in [
        ("GET /v1/stream/orders/eu", String::new()),
        ("GET /v1/streams", String::new()),
        ("GET /metrics", String::new()),
        ("GET /v1/status", String::new()),
        ("GET /nothing", String::new()),
        ("POST /v1/crash-leader", "annal-crash: yes\r\n".to_owned()),
        ("GET /v1/stream/orders/eu", format!("authorization: Basic {good}\r\n")),
        ("GET /v1/stream/orders/eu", format!("authorization: {good}\r\n")),
        ("GET /v1/stream/orders/eu", format!("authorization: Bearer {good}\r\n").repeat(2)),
        (&format!("GET /v1/stream/orders/eu?access_token={good}"), String::new()),
        (&format!("GET /v1/stream/orders/eu?token={good}"), String::new()),
        ("GET /v1/stream/orders/eu", format!("cookie: access_token={good}\r\n")),
    ] {
        let answer = asking.ask(line, &headers).await;
        assert_eq!(status(&answer), "401", "{line}: {answer}");
        assert!(answer.contains("www-authenticate: Bearer realm=\"annal\"\r\n"), "{answer}");
        bodies.push(answer.split_once("\r\n\r\n").unwrap().1.to_owned());
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "{bodies:?}");
    for line in ["GET /health/live", "GET /health/ready", "GET /", "OPTIONS /v1/stream/orders/eu"] {
        let answer = asking.ask(line, "").await;
        assert!(answer.starts_with("HTTP/1.1 20"), "{line}: {answer}");
    }
}

#[tokio::test]
async fn a_token_that_holds_no_more_or_never_did_is_none() {
    let asking = Asking::new().await;
    let (stranger, _) = SigningKey::generate().unwrap();
    let forged = "that is no token of this cluster";
    let expired = AccessToken { made: now() - 60, id: TokenId::new(now() - 1, 7), ..token() };
    let early = AccessToken { made: now() + 3600, id: TokenId::new(now() + 7200, 7), ..token() };
    let life = limits::TOKEN_LIFE_MAX.as_secs();
    let long = AccessToken { id: TokenId::new(now() + life + 60, 7), ..token() };
    let revoked = AccessToken { id: TokenId::new(now() + 60, REVOKED), ..token() };
    let elsewhere = AccessToken { cluster: ClusterId::new(2), ..token() };
    let good = asking.sign(&token());
    for (text, sentence) in [
        (asking.sign(&expired), "the token has expired"),
        (asking.sign(&early), "the token is not valid yet"),
        (asking.sign(&long), "longer than any may"),
        (asking.sign(&revoked), "the token was revoked"),
        (asking.sign(&elsewhere), forged),
        (token().sign(&stranger).unwrap(), forged),
        (good[..good.len() - 1].to_owned(), forged),
        (good.replacen("annal1_", "annal2_", 1), forged),
        (format!("{good}, {good}"), forged),
        ("x".repeat(limits::TOKEN_BYTES_MAX + 1), forged),
        (String::new(), "asks for a token"),
    ] {
        let answer = asking.ask_with("GET /v1/stream/orders/eu", &text).await;
        assert_eq!(status(&answer), "401", "{sentence}: {answer}");
        assert!(answer.contains(sentence), "{sentence}: {answer}");
        assert!(answer.contains("connection: close"), "{answer}");
        assert!(text.is_empty() || !answer.contains(&text), "the token stands in {answer}");
    }
    let answer = asking.ask_with("GET /v1/stream/orders/eu", &good).await;
    assert!(is_in(&answer), "{answer}");
    let answer = asking.ask("GET /metrics", &format!("AUTHORIZATION: bearer   {good} \r\n")).await;
    assert_eq!(status(&answer), "200", "{answer}");
}

#[tokio::test]
async fn each_verb_needs_its_right_for_the_log_that_it_names() {
    let asking = Asking::new().await;
    let text = asking.sign(&token());
    for line in [
        "GET /v1/stream/orders/eu",
        "HEAD /v1/stream/orders/us/2?offset=-1",
        "POST /v1/stream/orders/eu",
        "GET /v1/streams",
    ] {
        let answer = asking.ask_with(line, &text).await;
        assert!(is_in(&answer) || status(&answer) == "400", "{line}: {answer}");
    }
    for (line, lack) in [
        ("GET /v1/stream/main", "read the log main"),
        ("GET /v1/stream/orders", "read the log orders"),
        ("HEAD /v1/stream/orders2/eu", ""),
        ("POST /v1/stream/orders/us", "append the log orders/us"),
        ("PUT /v1/stream/orders/eu", "manage the log orders/eu"),
        ("DELETE /v1/stream/orders/eu", "manage the log orders/eu"),
        ("POST /v1/crash-leader", "none does"),
    ] {
        let answer = asking.ask_with(line, &text).await;
        assert_eq!(status(&answer), "403", "{line}: {answer}");
        assert!(answer.contains(lack), "{line}: {answer}");
        assert!(answer.contains("insufficient_scope"), "{line}: {answer}");
    }
    let closing = format!("authorization: Bearer {text}\r\nstream-closed: true\r\n");
    let answer = asking.ask("POST /v1/stream/orders/eu", &closing).await;
    assert!(answer.contains("manage the log orders/eu"), "{answer}");
    // A fork would show what its source has.
    let mut managing = token();
    let (logs, rights) = ("orders/eu".parse().unwrap(), Rights::of([Right::Manage]).unwrap());
    managing.grants.logs.push(Grant { logs, rights });
    let text = asking.sign(&managing);
    for (source, lack) in [("/v1/stream/main", "read the log main"), ("main", "read the log ")] {
        let fork = format!("authorization: Bearer {text}\r\nstream-forked-from: {source}\r\n");
        let answer = asking.ask("PUT /v1/stream/orders/eu", &fork).await;
        assert!(answer.contains(&format!("does not allow to {lack}")), "{answer}");
    }
    let blind = AccessToken { grants: Grants { observe: false, ..token().grants }, ..token() };
    let blind = asking.sign(&blind);
    for path in ["/metrics", "/v1/status", "/v1/node"] {
        let answer = asking.ask_with(&format!("GET {path}"), &blind).await;
        assert!(answer.contains("observe the cluster"), "{path}: {answer}");
    }
}

#[tokio::test]
async fn no_trick_with_a_path_leads_to_another_log() {
    let asking = Asking::new().await;
    let text = asking.sign(&token());
    for path in [
        "/v1/stream/orders/../main",
        "/v1/stream/orders/./../main",
        "/v1/stream/orders/%2e%2e/main",
        "/v1/stream/orders%2F..%2Fmain",
        "/v1/stream/%6dain",
        "/v1/stream//main",
        "/v1/stream/orders/eu/",
        "/v1/stream/orders/..;/main",
        "/v1/stream/orders\\..\\main",
    ] {
        let answer = asking.ask_with(&format!("GET {path}"), &text).await;
        assert_eq!(status(&answer), "400", "{path}: {answer}");
    }
    for path in ["/v1/stream/ORDERS/eu", "/v1/STREAM/orders/eu", "/v1/stream/", "/v1/stream"] {
        let answer = asking.ask_with(&format!("GET {path}"), &text).await;
        assert!(matches!(status(&answer), "403" | "404" | "400"), "{path}: {answer}");
    }
    // Whoever else the line names: the door is asked by its own name.
    let line = "GET http://evil.example/v1/stream/orders/eu";
    assert_eq!(status(&asking.ask_with(line, &text).await), "421");
}

/// A site's page that may use the door sees why it was not let in; another's sees nothing.
#[tokio::test]
async fn pages_learn_why_not_where_they_may_come() {
    let certs = tempfile::tempdir().unwrap();
    renew(certs.path(), true).unwrap();
    let gate = Gate::new(CLUSTER, certs.path().to_owned());
    let change = |house: &mut super::house::House| {
        house.gate = Some(gate);
        house.config.origins = vec!["https://app.example.org".to_owned()];
    };
    let door = Open::with(change, false).await;
    let ask = |line: &'static str, origin: &'static str| {
        let text = format!(
            "{line} HTTP/1.1\r\nhost: HOST\r\norigin: {origin}\r\nconnection: close\r\n\r\n"
        );
        let door = &door;
        async move { door.say(&text).await }
    };
    let answer = ask("GET /v1/stream/orders/eu", "https://app.example.org").await;
    assert_eq!(status(&answer), "401", "{answer}");
    assert!(answer.contains("access-control-allow-origin: *"), "{answer}");
    let answer = ask("OPTIONS /v1/stream/orders/eu", "https://app.example.org").await;
    assert_eq!(status(&answer), "204", "{answer}");
    assert!(answer.contains("authorization"), "{answer}");
    let answer = ask("GET /v1/stream/orders/eu", "https://evil.example").await;
    assert_eq!(status(&answer), "403", "{answer}");
    assert!(!answer.contains("access-control-allow-origin"), "{answer}");
}

/// What is behind one request on a connection is asked anew.
#[tokio::test]
async fn a_connection_is_nobodys_ticket() {
    let asking = Asking::new().await;
    let text = asking.sign(&token());
    let both = format!(
        "GET /metrics HTTP/1.1\r\nhost: HOST\r\nauthorization: Bearer {text}\r\n\r\n\
         GET /metrics HTTP/1.1\r\nhost: HOST\r\n\r\n"
    );
    let answer = asking.door.say(&both).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("HTTP/1.1 401 "), "{answer}");
    let (other, _) = SigningKey::generate().unwrap();
    let both = both.replace(
        "GET /metrics HTTP/1.1\r\nhost: HOST\r\n\r\n",
        &format!(
            "GET /metrics HTTP/1.1\r\nhost: HOST\r\nauthorization: Bearer {}\r\n\r\n",
            token().sign(&other).unwrap()
        ),
    );
    let answer = asking.door.say(&both).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("HTTP/1.1 401 "), "{answer}");
}

#[tokio::test]
async fn keys_are_read_anew_and_without_any_nobody_comes_in() {
    let asking = Asking::new().await;
    let former = asking.sign(&token());
    let line = "GET /v1/stream/orders/eu";
    assert!(is_in(&asking.ask_with(line, &former).await));
    renew(asking.certs.path(), true).unwrap();
    let newer = token().sign(&SigningKey::load(asking.certs.path()).unwrap()).unwrap();
    for text in [&former, &newer] {
        assert!(is_in(&asking.ask_with(line, text).await));
    }
    renew(asking.certs.path(), false).unwrap();
    for text in [&former, &newer] {
        assert_eq!(status(&asking.ask_with(line, text).await), "401");
    }
    fs::remove_file(asking.certs.path().join(PUBLIC_FILE)).unwrap();
    PublicKeys::load(asking.certs.path()).unwrap_err();
    let answer = asking.ask_with(line, &newer).await;
    assert!(answer.contains("no keys to know tokens by"), "{answer}");
}

#[tokio::test]
async fn strangers_take_no_place_of_those_with_a_token() {
    let asking = Asking::new().await;
    let mut strangers = vec![];
    for _ in 0..limits::HTTP_STRANGERS_MAX {
        strangers.push(asking.door.connect().await);
    }
    // Connections are taken in the order in which they come.
    let mut last = asking.door.connect().await;
    assert!(heard(&mut last).await.starts_with("HTTP/1.1 503 "));
    let text = asking.sign(&token());
    let host = asking.door.house.config.listen;
    let get =
        format!("GET /metrics HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {text}\r\n\r\n");
    let mut known = strangers.pop().unwrap();
    known.write_all(get.as_bytes()).await.unwrap();
    let mut begin = [0; 12];
    known.read_exact(&mut begin).await.unwrap();
    assert_eq!(&begin, b"HTTP/1.1 200");
    // Its place is free, and it stays.
    let mut next = asking.door.connect().await;
    let live = format!("GET /health/live HTTP/1.1\r\nhost: {host}\r\n\r\n");
    next.write_all(live.as_bytes()).await.unwrap();
    assert!(heard(&mut next).await.starts_with("HTTP/1.1 200 "));
    known.write_all(get.as_bytes()).await.unwrap();
    drop(strangers);
}

/// A handshake that is not begun ends, and what is no handshake as well.
#[tokio::test]
async fn who_does_not_shake_hands_is_let_go() {
    let soon = Duration::from_millis(100);
    let door = Open::with(|house| house.head_timeout = soon, true).await;
    let mut chatty = door.connect().await;
    chatty.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert!(!heard(&mut chatty).await.starts_with("HTTP"));
    let mut silent = door.connect().await;
    assert_eq!(heard(&mut silent).await, "");
}
