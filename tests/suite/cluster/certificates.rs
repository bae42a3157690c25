//! Certificates that are made, renewed and revoked while a cluster runs, and what they allow.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use super::harness::{Cluster, Kind, wait_for};
use crate::program::{Output, run};

impl Cluster {
    /// Issues a certificate of a client, and gives the folder that has it.
    fn client_with(&self, name: &str, grants: &[&str]) -> PathBuf {
        let line = ["cert", "issue", "client", name].into_iter().chain(grants.iter().copied());
        run(self.folder(), line).expect_code(0);
        self.path(&format!("clients/{name}"))
    }
}

fn at(folder: &Path, line: &[&str]) -> Output {
    run(folder, line.iter().copied().chain(["--timeout", "30s"]))
}

const FORBIDDEN: &str = "this certificate does not allow that";

#[test]
fn a_certificate_allows_what_it_says_and_no_more() {
    let mut cluster = Cluster::started(Kind::default());
    for log in ["orders/eu", "orders/us", "pay"] {
        cluster.client(["log", "create", log]).expect_code(0);
    }
    cluster.client(["append", "--log", "orders/eu", "shoes"]).expect_code(0);

    let writer = cluster.client_with("writer", &["--allow", "append", "--log", "orders/*"]);
    fs::write(writer.join("list.txt"), "gloves\n").unwrap();
    at(&writer, &["append", "--log", "orders/eu", "hats"]).expect_code(0);
    at(&writer, &["append", "--log", "orders/us", "--producer", "p", "--file", "list.txt"])
        .expect_code(0);
    for line in [
        &["append", "--log", "pay", "x"][..],
        &["append", "x"],
        &["read", "--log", "orders/eu"],
        &["read"],
        &["tail", "-f", "--log", "orders/eu"],
        &["log", "list"],
        &["log", "list", "--prefix", "orders/"],
        &["log", "create", "orders/asia"],
        &["log", "close", "orders/eu"],
        &["log", "delete", "--yes", "orders/eu"],
        &["trim", "--log", "orders/eu", "--before", "1"],
        &["token", "list-revoked"],
    ] {
        at(&writer, line).expect_complaint(1, FORBIDDEN);
    }
    // It is no admin, whatever is granted to it.
    at(&writer, &["crash-leader"]).expect_complaint(1, "admin.crt could not be read");

    let reader = cluster.client_with("reader", &["--allow", "read", "--log", "orders/eu"]);
    let read = at(&reader, &["read", "--log", "orders/eu"]).expect_code(0).text();
    assert_eq!(read, "shoes\nhats\n");
    for line in [
        &["append", "--log", "orders/eu", "x"][..],
        &["read", "--log", "orders/us"],
        &["fence", "--log", "orders/eu", "w"],
    ] {
        at(&reader, line).expect_complaint(1, FORBIDDEN);
    }
    // At a follower it is asked as well, whether that serves or hands on.
    let leader = cluster.leader();
    let follower = cluster.nodes().into_iter().find(|node| *node != leader).unwrap();
    let number: u16 = follower[1..].parse().unwrap();
    let only = format!("{follower}=127.0.0.1:{}", cluster.base_port() + number);
    let by_follower = ["--nodes", &only, "--registry", "127.0.0.1:9"];
    let near = |line: &[&'static str]| line.iter().copied().chain(by_follower).collect::<Vec<_>>();
    at(&writer, &near(&["append", "--log", "orders/eu", "coats"])).expect_code(0);
    at(&writer, &near(&["append", "--log", "pay", "x"])).expect_complaint(1, FORBIDDEN);
    at(&reader, &near(&["read", "--log", "orders/us"])).expect_complaint(1, FORBIDDEN);
    let stale = ["read", "--log", "orders/us", "--stale", "--node", &follower];
    at(&reader, &stale).expect_complaint(1, FORBIDDEN);

    // How the nodes are is for whoever may observe.
    let version = |folder: &Path| {
        let status = at(folder, &["status", "--json"]).expect_code(0).json().remove(0);
        status["nodes"][0]["version"].clone()
    };
    let watcher = cluster.client_with("watcher", &["--allow", "observe"]);
    assert!(version(&watcher).as_str().is_some_and(|version| !version.is_empty()));
    assert_ne!(version(&reader), version(&watcher));
    at(&watcher, &["token", "list-revoked"]).expect_code(0);
    at(&watcher, &["append", "x"]).expect_complaint(1, FORBIDDEN);

    let manager = cluster.client_with("manager", &["--allow", "manage,read", "--log", "orders/*"]);
    at(&manager, &["log", "create", "orders/asia"]).expect_code(0);
    at(&manager, &["log", "list", "--prefix", "orders/"]).expect_code(0);
    at(&manager, &["log", "delete", "--yes", "orders/asia"]).expect_code(0);
    at(&manager, &["append", "--log", "orders/eu", "x"]).expect_complaint(1, FORBIDDEN);
    at(&manager, &["log", "create", "pay/more"]).expect_complaint(1, FORBIDDEN);
    assert_eq!(cluster.client(["read", "--log", "pay"]).expect_code(0).text(), "");
    cluster.stop_all();
}

#[test]
fn who_has_a_certificate_is_shown_and_renewed_where_the_authority_is() {
    let folder = tempfile::tempdir().unwrap();
    let annal = |line: &[&str]| run(folder.path(), line);
    annal(&["init", "--nodes", "1"]).expect_code(0);
    let days = |name: &str| {
        let shown = annal(&["cert", "show", "--json"]).expect_code(0).json();
        let of_name = shown.iter().filter(|row| row["name"] == name);
        // A day begins whenever it does.
        of_name.map(|row| (row["days_left"].as_i64().unwrap() + 1) / 5 * 5).collect::<Vec<_>>()
    };
    assert_eq!(days("n1"), [365], "a certificate is in two places, and one");
    let grants = ["--allow", "read,observe", "--log", "a/*", "--expires", "10d"];
    let issue = ["cert", "issue", "client", "app"].into_iter().chain(grants).collect::<Vec<_>>();
    let made = annal(&issue).expect_code(0);
    assert!(made.text().contains("read a/*"), "{}", made.text());
    assert!(made.stderr.contains("copy what is in ./clients/app/certs"), "{}", made.stderr);
    annal(&issue).expect_complaint(1, "clients/app/certs is already there");
    // Of all it is the one that expires soon; it is made anew with what it allowed.
    let renewed = annal(&["cert", "renew", "--json"]).expect_code(0).json();
    assert_eq!(renewed.len(), 1, "{renewed:?}");
    assert_eq!(renewed[0]["logs"][0]["log"], "a/*");
    assert_eq!(renewed[0]["observe"], true);
    assert_eq!(days("app"), [10, 365]);
    assert!(annal(&["cert", "renew"]).expect_code(0).stderr.contains("no certificate expires"));
    annal(&["cert", "renew", "n1", "admin"]).expect_code(0);
    assert_eq!(days("n1"), [365, 365]);
    annal(&["cert", "renew", "nobody"]).expect_complaint(1, "nobody called nobody");
    let file = annal(&["cert", "show", "certs/n1.crt", "--json"]).expect_code(0).json();
    assert_eq!((&file[0]["role"], &file[0]["name"]), (&"node".into(), &"n1".into()));
    annal(&["cert", "show", "certs/n1.key"]).expect_complaint(1, "does not hold a certificate");
    for (line, code, said) in [
        (&["node", "app"][..], 2, "cannot be issued for that name"),
        (&["client", "../app"], 2, "cannot be issued for that name"),
        (&["client", "b", "--allow", "read"], 2, "which logs"),
        (&["admin", "b", "--allow", "observe"], 2, "said of clients only"),
        (&["client", "b", "--expires", "367d"], 2, "it holds for"),
    ] {
        let line = ["cert", "issue"].into_iter().chain(line.iter().copied());
        run(folder.path(), line).expect_complaint(code, said);
    }
    assert!(!folder.path().join("clients/b").exists());
    fs::remove_file(folder.path().join("certs/ca.key")).unwrap();
    annal(&["cert", "renew", "--all"]).expect_complaint(1, "ca.key could not be read");
}

#[test]
fn a_new_certificate_is_shown_without_a_restart_and_one_that_ends_soon_is_spoken_of() {
    let mut cluster = Cluster::started(Kind::default());
    let process = cluster.id("n1");
    let annal = |line: &[&str]| run(cluster.folder(), line).expect_code(0);
    let expires_soon = |node: &str| {
        let status = cluster.status();
        let place: usize = node[1..].parse::<usize>().unwrap() - 1;
        let at = status["nodes"][place]["certificate_expires_ms"].as_u64().unwrap();
        let now = UNIX_EPOCH.elapsed().unwrap() + Duration::from_hours(30 * 24);
        u128::from(at) < now.as_millis()
    };
    assert!(!expires_soon("n1"));
    // By itself within seconds; and it is warned of.
    annal(&["cert", "issue", "node", "n1", "--expires", "10d"]);
    cluster.wait_for_line("n1", "its certificate was loaded anew");
    cluster.wait_for_line("n1", "its certificate expires in 9 days");
    assert!(expires_soon("n1") && !expires_soon("n2"));
    let shown = cluster.client(["status"]).expect_code(0).text();
    assert!(shown.contains("n1's certificate expires ") && !shown.contains("n2's certificate"));
    // Who is renewed is spoken of no more; SIGHUP asks at once.
    annal(&["cert", "renew"]);
    cluster.signal("n1", "HUP");
    wait_for("n1 to show the new one", || (!expires_soon("n1")).then_some(()));
    cluster.signal("n1", "HUP");
    cluster.wait_for_line("n1", "its certificate is as it was");
    // What cannot be shown is said, and what was there before is shown on.
    fs::copy(cluster.path("certs/n2.crt"), cluster.path("certs/n1.crt")).unwrap();
    cluster.signal("n1", "HUP");
    cluster.wait_for_line("n1", "the former certificate is shown still");
    cluster.append(&["all the time"]);
    annal(&["cert", "issue", "node", "n1"]);
    // The registry's as well.
    annal(&["cert", "renew", "registry"]);
    cluster.wait_for_line("registry", "its certificate was loaded anew");
    assert!(cluster.is_running("n1") && cluster.id("n1") == process);
    cluster.stop_all();
}

#[test]
fn what_is_revoked_opens_no_door_through_restarts_and_a_node_gets_another() {
    let mut cluster = Cluster::started(Kind::default());
    let app = cluster.client_with("app", &[]);
    at(&app, &["append", "of the app"]).expect_code(0);
    let annal = |line: &[&str]| run(cluster.folder(), line);
    let id = |file: &str| {
        let row = annal(&["cert", "show", file, "--json"]).expect_code(0).json().remove(0);
        row["id"].as_str().unwrap().to_owned()
    };
    // Somebody has taken n1's key; n1 gets another.
    let stolen = cluster.path("stolen");
    fs::create_dir_all(stolen.join("certs")).unwrap();
    for (from, to) in [
        ("n1.crt", "client.crt"),
        ("n1.key", "client.key"),
        ("ca.crt", "ca.crt"),
        ("cluster.toml", "cluster.toml"),
    ] {
        fs::copy(cluster.path("certs").join(from), stolen.join("certs").join(to)).unwrap();
    }
    at(&stolen, &["append", "of the thief"]).expect_code(0);
    annal(&["cert", "issue", "node", "n1"]).expect_code(0);
    cluster.wait_for_line("n1", "its certificate was loaded anew");
    // As a client one is no admin.
    at(&app, &["cert", "revoke", &id("stolen/certs/client.crt")])
        .expect_complaint(1, "admin.crt could not be read");
    annal(&["cert", "revoke", "stolen/certs/client.crt"]).expect_code(0);
    annal(&["cert", "revoke", &id("clients/app/certs/client.crt")]).expect_code(0);
    let refused = |folder: &Path| {
        let output = run(folder, ["append", "x", "--timeout", "2s"]);
        // One of them may not have heard of it yet.
        (output.code != Some(0)).then_some(output.stderr)
    };
    for folder in [&app, &stolen] {
        let said = wait_for("the nodes to hear of it", || refused(folder));
        assert!(said.contains("it was revoked"), "{said}");
    }
    cluster.wait_until_caught_up();
    for name in cluster.nodes() {
        cluster.stop(&name);
        cluster.start(&name);
    }
    cluster.leader();
    wait_for("n1 to be reached with its new certificate", || {
        (cluster.status()["nodes"][0]["reachable"] == true).then_some(())
    });
    cluster.append(&["of the others"]);
    for folder in [&app, &stolen] {
        assert!(refused(folder).is_some_and(|said| said.contains("it was revoked")));
    }
    let listed = cluster.client(["read"]).expect_code(0).text();
    assert!(listed.ends_with("of the others\n") && !listed.contains('x'), "{listed}");
    // Whoever was sent away is not made anew by and by; who is to come back gets another.
    let renewed = run(cluster.folder(), ["cert", "renew", "--all"]).expect_code(0).text();
    assert!(renewed.contains("node n1") && !renewed.contains("client app"), "{renewed}");
    run(cluster.folder(), ["cert", "renew", "app"]).expect_complaint(1, "nobody called app");
    fs::remove_dir_all(&app).unwrap();
    cluster.client_with("app", &[]);
    at(&app, &["append", "of the app again"]).expect_code(0);
    cluster.stop_all();
}
