//! `docs/python.md`, as written: the client of the school project over the package that others publish.
#![allow(clippy::print_stderr, reason = "what was left out")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::harness::{Cluster, HTTP_PORTS_AFTER, Kind};
use super::tokens;
use crate::program::finish;

/// A Python that has the packages which the page asks for; `None` if it cannot be had here.
fn python(page: &str) -> Option<PathBuf> {
    let package = page.lines().find_map(|line| line.strip_prefix("pip install ")).unwrap();
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("python");
    let (python, done) = (place.join("bin/python"), place.join(package));
    let succeeds = |command: &mut Command| {
        command.stdin(Stdio::null()).output().is_ok_and(|output| output.status.success())
    };
    let is_there = done.exists()
        || succeeds(Command::new("python3").args(["-m", "venv"]).arg(&place))
            && succeeds(Command::new(&python).args([
                "-m",
                "pip",
                "install",
                "--timeout",
                "20",
                package,
            ]));
    if is_there {
        std::fs::write(done, "").unwrap();
    }
    is_there.then_some(python)
}

/// What stands in the page's blocks of Python.
fn blocks(page: &str) -> Vec<&str> {
    page.split("```python\n").skip(1).filter_map(|rest| rest.split("```").next()).collect()
}

/// The page, and a Python with the packages that it names. If that cannot be had it is said.
fn page_and_python() -> Option<(String, PathBuf)> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/python.md");
    let page = std::fs::read_to_string(page).unwrap();
    let python = python(&page);
    if python.is_none() {
        eprintln!("left out: no Python with the packages of docs/python.md can be had here");
    }
    Some((page, python?))
}

#[test]
fn what_the_page_for_python_says_is_so() {
    let Some((page, python)) = page_and_python() else { return };
    let mut cluster = Cluster::started(Kind::default());
    let port = cluster.base_port() + HTTP_PORTS_AFTER;
    let [class, session, _] = blocks(&page)[..] else { panic!("a class, and how it is used") };
    let ports = format!("({}, {}, {})", port + 1, port + 2, port + 3);
    let script = class.replace("(7181, 7182, 7183)", &ports) + session;
    let path = cluster.path("client.py");
    std::fs::write(&path, script).unwrap();
    let mut command = Command::new(python);
    command.arg(path);
    assert_eq!(finish(command, b"").expect_code(0).text(), "textanother\n");
    assert_eq!(cluster.records(), ["text", "another"]);
    cluster.stop_all();
}

#[test]
fn python_comes_in_with_a_token_and_over_tls() {
    let Some((page, python)) = page_and_python() else { return };
    let kind = Kind { nodes: 1, ..Kind::default() };
    let Some(cluster) = tokens::open_to_others(kind) else { return };
    let words = ["--log", "orders/*", "--allow", "read,append,manage"];
    let token = tokens::token(cluster.folder(), &words);
    tokens::ask(&cluster, "n1", "/v1/stream/orders/eu", &token, &["-X", "PUT"]);
    std::fs::write(cluster.path("token.txt"), token).unwrap();
    let [class, _, session] = blocks(&page)[..] else { panic!("a session with a token") };
    let imports: Vec<_> = class.lines().take_while(|line| !line.is_empty()).collect();
    let here = format!("127.0.0.1:{}", tokens::port(&cluster, "n1"));
    let session = session.replace("node1.example.org:7181", &here);
    std::fs::write(cluster.path("client.py"), format!("{}\n{session}", imports.join("\n")))
        .unwrap();
    let mut command = Command::new(python);
    command.arg("client.py").env("SSL_CERT_FILE", "certs/ca.crt").current_dir(cluster.folder());
    assert_eq!(finish(command, b"").expect_code(0).text(), "shoes\n");
}
