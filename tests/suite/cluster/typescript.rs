//! The program of `docs/http.md` over the client for TypeScript that others publish, as written: it appends and
//! follows while the leader dies.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::harness::{Cluster, HTTP_PORTS_AFTER, Kind};
use super::npm::installed;
use crate::program::finish;

#[test]
fn what_the_page_says_of_the_client_for_typescript_is_so() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/http.md");
    let page = fs::read_to_string(page).unwrap();
    let package = page.lines().find_map(|line| line.strip_prefix("npm install ")).unwrap();
    let script = page.split("```js\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let Some(folder) = installed(package) else { return };
    let mut cluster = Cluster::started(Kind::default());
    let leader = cluster.leader();
    // That of a node which lives on.
    let door = cluster.nodes().into_iter().find(|node| *node != leader).unwrap();
    let number: u16 = door.trim_start_matches('n').parse().unwrap();
    let port = cluster.base_port() + HTTP_PORTS_AFTER + number;
    let path = folder.join(format!("shoes-{port}.mjs"));
    fs::write(&path, script.replace("7181", &port.to_string())).unwrap();
    let mut node = Command::new("node");
    node.arg(&path);
    assert_eq!(finish(node, b"").expect_code(0).text(), "1\n2\n3\n");
    fs::remove_file(path).unwrap();
    let log = cluster.client(["read", "--log", "eu/shoes"]).expect_code(0).text();
    assert_eq!(log, "{\"pair\":1}\n{\"pair\":2}\n{\"pair\":3}\n");
    assert_ne!(cluster.leader(), leader, "it was crashed by the program");
    cluster.stop_all();
}
