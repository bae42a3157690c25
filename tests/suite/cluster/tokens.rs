//! Access tokens, and HTTP that others than this machine's programs can get to.
#![allow(clippy::print_stderr, reason = "what was left out")]

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

use super::harness::{Cluster, HTTP_PORTS_AFTER, Kind, wait_for};
use crate::program;

/// A cluster whose doors anybody can get to; `None`: there is no `curl` to go through them.
pub(super) fn open_to_others(kind: Kind) -> Option<Cluster> {
    if Command::new("curl").arg("--version").output().is_err() {
        eprintln!("note: nothing goes through doors with TLS: there is no curl");
        return None;
    }
    let mut cluster = Cluster::started(kind);
    for node in cluster.nodes() {
        let port = port(&cluster, &node);
        let (from, to) = (format!("\"127.0.0.1:{port}\""), format!("\"0.0.0.0:{port}\""));
        cluster.stop(&node);
        cluster.change_config(&node, &from, &to);
        cluster.start(&node);
    }
    for node in cluster.nodes() {
        wait_for("a door that is ready", || {
            let (status, _) = curl(&cluster, &node, "/health/ready", &[]);
            (status == "200").then_some(())
        });
    }
    Some(cluster)
}

pub(super) fn port(cluster: &Cluster, node: &str) -> u16 {
    cluster.base_port() + HTTP_PORTS_AFTER + node.trim_start_matches('n').parse::<u16>().unwrap()
}

/// The status and the body that come back from a node's door.
fn curl(cluster: &Cluster, node: &str, path: &str, args: &[&str]) -> (String, String) {
    let address = format!("https://127.0.0.1:{}{path}", port(cluster, node));
    let mut command = Command::new("curl");
    command.args(["-s", "--path-as-is", "--max-time", "60", "--cacert", "certs/ca.crt"]);
    command.args(["-w", "\n%{http_code}"]).args(args).arg(address).current_dir(cluster.folder());
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let (body, status) = text.rsplit_once('\n').unwrap();
    (status.to_owned(), body.to_owned())
}

/// With a token.
pub(super) fn ask(
    cluster: &Cluster,
    node: &str,
    path: &str,
    token: &str,
    args: &[&str],
) -> (String, String) {
    let header = format!("authorization: Bearer {token}");
    curl(cluster, node, path, &[&["-H", &header][..], args].concat())
}

pub(super) fn token(folder: &Path, words: &[&str]) -> String {
    let line = [&["token", "create"], words].concat();
    program::run(folder, line).expect_code(0).text().trim().to_owned()
}

fn leader_and_follower(cluster: &Cluster) -> [String; 2] {
    let leader = cluster.leader();
    let follower = cluster.nodes().into_iter().find(|node| *node != leader).unwrap();
    [leader, follower]
}

/// The page for people says what is so.
#[test]
fn the_lines_of_the_page_about_tokens_do_what_they_say() {
    let Some(cluster) = open_to_others(Kind { nodes: 1, ..Kind::default() }) else { return };
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/tokens.md");
    let page = fs::read_to_string(page).unwrap();
    let blocks = page.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let here = format!("127.0.0.1:{}", port(&cluster, "n1"));
    let script = blocks.collect::<String>().replace("node1.example.org:7181", &here);
    let script = script.replace("curl -s", "curl -sS --fail");
    let program = Path::new(env!("CARGO_BIN_EXE_annal")).parent().unwrap();
    let path = format!("{}:{}", program.display(), env::var("PATH").unwrap());
    let mut command = Command::new("sh");
    command.args(["-ec", &script]).current_dir(cluster.folder()).env("PATH", path);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}\n{said}");
    let printed = String::from_utf8(output.stdout).unwrap();
    for expected in
        ["read,append,manage orders/*", "shoes", "\"name\":\"orders/eu\"", "annal_leads 1"]
    {
        assert!(printed.contains(expected), "{expected} is not in\n{printed}");
    }
    // No token holds any more.
    let first = fs::read_to_string(cluster.path("token.txt")).unwrap();
    wait_for("the new key", || {
        let (status, _) = ask(&cluster, "n1", "/v1/streams", first.trim(), &[]);
        (status == "401").then_some(())
    });
}

#[test]
fn a_token_opens_what_it_names_at_a_leader_and_at_a_follower_and_nothing_else() {
    let Some(mut cluster) = open_to_others(Kind::default()) else { return };
    let all = token(cluster.folder(), &["--log", "*", "--allow", "read,append,manage"]);
    let some = token(cluster.folder(), &["--log", "orders/*", "--allow", "read,append"]);
    let sees = token(cluster.folder(), &["--allow", "observe", "--expires", "1h"]);
    for name in ["orders/eu", "orders/us", "secret"] {
        let made = ask(&cluster, "n1", &format!("/v1/stream/{name}"), &all, &["-X", "PUT"]);
        assert_eq!(made.0, "201", "{}", made.1);
    }

    // A cluster of somebody else, with a key of its own.
    let other = tempfile::tempdir().unwrap();
    program::run(other.path(), ["init"]).expect_code(0);
    let foreign = token(other.path(), &["--log", "*", "--allow", "read,append,manage"]);
    let at = some.len() / 2;
    let digit = if some.as_bytes()[at] == b'A' { "B" } else { "A" };
    let tampered = format!("{}{digit}{}", &some[..at], &some[at + 1..]);
    let brief = token(cluster.folder(), &["--log", "*", "--allow", "read", "--expires", "1s"]);

    for node in leader_and_follower(&cluster) {
        let get = |path: &str, token: &str| ask(&cluster, &node, path, token, &[]);
        let post = |path: &str, token: &str| {
            ask(&cluster, &node, path, token, &["--data-binary", &format!("by {node};")])
        };
        assert_eq!(post("/v1/stream/orders/eu", &some).0, "204", "{node}");
        let (status, read) = get("/v1/stream/orders/eu?offset=-1", &some);
        assert!(status == "200" && read.contains(&format!("by {node};")), "{node}: {read}");

        for (answer, lack) in [
            (get("/v1/stream/secret?offset=-1", &some), "read the log secret"),
            (post("/v1/stream/secret", &some), "append the log secret"),
            (get("/v1/status", &some), "observe the cluster"),
            (get("/v1/stream/orders/eu", &sees), "read the log orders/eu"),
        ] {
            assert_eq!(answer.0, "403", "{node}: {}", answer.1);
            assert!(answer.1.contains(lack), "{node}: {}", answer.1);
        }
        for token in [&foreign, &tampered, "annal1_", "x"] {
            let (status, body) = get("/v1/stream/orders/eu?offset=-1", token);
            assert_eq!(
                (status.as_str(), body.lines().next()),
                ("401", Some("that is no token of this cluster"))
            );
        }
        let (status, _) = curl(&cluster, &node, "/v1/stream/orders/eu?offset=-1", &[]);
        assert_eq!(status, "401", "{node}");
        let in_query = format!("/v1/stream/orders/eu?offset=-1&access_token={some}");
        assert_eq!(curl(&cluster, &node, &in_query, &[]).0, "401", "{node}");
        for path in [
            "/v1/stream/orders/../secret",
            "/v1/stream/orders/%2e%2e/secret",
            "/v1/stream/orders%2f..%2fsecret",
        ] {
            assert_eq!(get(path, &some).0, "400", "{node}: {path}");
        }
        wait_for("a token to expire", || {
            let (status, body) = get("/v1/stream/secret?offset=-1", &brief);
            (status == "401" && body.contains("has expired")).then_some(())
        });

        // The list shows what may be read, page by page.
        let (_, list) = get("/v1/streams?limit=1", &some);
        assert!(
            list.contains("\"orders/eu\"") && list.contains("\"after\":\"orders/eu\""),
            "{list}"
        );
        let (_, list) = get("/v1/streams?after=orders/eu", &some);
        assert!(list.contains("\"orders/us\"") && !list.contains("secret"), "{list}");
        let (_, list) = get("/v1/streams?prefix=s", &some);
        assert_eq!(list, "{\"streams\":[]}");
        assert!(get("/v1/streams", &all).1.contains("secret"));

        // Without TLS nothing is said, and not under another certificate.
        let plain = format!("http://127.0.0.1:{}/health/live", port(&cluster, &node));
        let plain = Command::new("curl").args(["-s", "--max-time", "60", &plain]).output().unwrap();
        assert!(!plain.status.success() && plain.stdout.is_empty());
        let others = other.path().join("certs/ca.crt").display().to_string();
        let (status, _) = curl(&cluster, &node, "/health/live", &["--cacert", &others]);
        assert_eq!(status, "000");
    }
    for node in cluster.nodes() {
        let log = cluster.log(&node);
        for secret in [&all, &some, &sees, &foreign, &tampered] {
            assert!(!log.contains(secret.as_str()), "a token stands in the log of {node}");
        }
    }
    cluster.stop_all();
}

#[test]
fn a_cluster_without_a_key_gets_one_while_it_runs() {
    let Some(cluster) = open_to_others(Kind { nodes: 1, ..Kind::default() }) else { return };
    let words = ["token", "create", "--log", "main", "--allow", "read"];
    let former = token(cluster.folder(), &words[2..]);
    for file in ["certs/tokens.key", "certs/tokens.pub"] {
        fs::remove_file(cluster.path(file)).unwrap();
    }
    let output = cluster.run(words).expect_code(1);
    assert!(output.stderr.contains("tokens.key") && output.stderr.contains("annal token new-key"));
    let path = "/v1/stream/main?offset=-1";
    wait_for("a door without keys", || {
        let (status, body) = ask(&cluster, "n1", path, &former, &[]);
        (status == "503" && body.contains("no keys to know tokens by")).then_some(())
    });
    cluster.wait_for_line("n1", "tokens.pub could not be read");
    cluster.run(["token", "new-key"]).expect_code(0);
    let token = token(cluster.folder(), &words[2..]);
    wait_for("the new key", || (ask(&cluster, "n1", path, &token, &[]).0 == "200").then_some(()));
    assert_eq!(ask(&cluster, "n1", path, &former, &[]).0, "401");
}

/// Whoever leads, and whoever was away meanwhile, knows it.
#[test]
fn a_token_that_was_revoked_stays_so_through_the_death_of_leaders_and_restarts() {
    let Some(mut cluster) = open_to_others(Kind::default()) else { return };
    let words = ["--log", "*", "--allow", "read,append,manage"];
    let [lost, kept] = [(); 2].map(|()| token(cluster.folder(), &words));
    let shown = cluster.run(["token", "show", &lost, "--json"]).expect_code(0).json();
    let id = shown[0]["id"].as_str().unwrap().to_owned();
    let path = "/v1/stream/main?offset=-1";
    for node in cluster.nodes() {
        assert_eq!(ask(&cluster, &node, path, &lost, &[]).0, "200", "{node}");
    }
    // A client's certificate is not enough: it is taken for the admin's here.
    let (admin, client) = (cluster.path("certs/admin"), cluster.path("certs/client"));
    let swap = |from: &Path, to: &Path| {
        for end in ["crt", "key"] {
            fs::copy(from.with_extension(end), to.with_extension(end)).unwrap();
        }
    };
    swap(&admin, &cluster.path("certs/kept"));
    swap(&client, &admin);
    let output = cluster.run(["token", "revoke", &id]).expect_code(1);
    assert!(output.stderr.contains("admin"), "{}", output.stderr);
    swap(&cluster.path("certs/kept"), &admin);

    let [_, away] = leader_and_follower(&cluster);
    cluster.kill(&away);
    cluster.run(["token", "revoke", &id]).expect_code(0);
    cluster.run(["token", "revoke", &lost]).expect_code(0);
    let refused = |cluster: &Cluster, node: &str| {
        wait_for(&format!("{node} to know that the token is revoked"), || {
            let (status, body) = ask(cluster, node, path, &lost, &[]);
            (status == "401" && body.contains("the token was revoked")).then_some(())
        });
        assert_eq!(ask(cluster, node, path, &kept, &[]).0, "200", "{node}");
    };
    for node in cluster.nodes().into_iter().filter(|node| *node != away) {
        refused(&cluster, &node);
    }
    let leader = cluster.leader();
    cluster.kill(&leader);
    cluster.start(&away);
    wait_for("another leader", || (cluster.status()["leader"].is_string()).then_some(()));
    for node in cluster.nodes().into_iter().filter(|node| *node != leader) {
        refused(&cluster, &node);
    }
    cluster.start(&leader);
    refused(&cluster, &leader);
    let listed = cluster.run(["token", "list-revoked"]).expect_code(0).text();
    assert!(listed.starts_with(&id) && listed.lines().count() == 1, "{listed}");

    let brief = token(cluster.folder(), &["--allow", "observe", "--expires", "1s"]);
    wait_for("a token to expire", || {
        (ask(&cluster, &away, "/v1/node", &brief, &[]).0 == "401").then_some(())
    });
    let output = cluster.run(["token", "revoke", &brief]).expect_code(0);
    assert!(output.stderr.contains("has expired already"), "{}", output.stderr);
    let output = cluster.run(["token", "revoke", "ffffffff-0000000000000001"]).expect_code(2);
    assert!(output.stderr.contains("later than any token does"), "{}", output.stderr);
    cluster.stop_all();
}
