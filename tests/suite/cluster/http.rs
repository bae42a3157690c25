//! The door of a real node.
#![allow(clippy::print_stderr, reason = "what was left out")]

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::harness::{Cluster, HTTP_PORTS_AFTER, Kind, wait_for};

/// What a door answers, its head and its body; `None`: there is no door.
fn get(cluster: &Cluster, number: u16, path: &str) -> Option<(String, String)> {
    let port = cluster.base_port() + HTTP_PORTS_AFTER + number;
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    let host = format!("127.0.0.1:{port}");
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.to_owned(), body.to_owned()))
}

/// Waits until a door answers so.
#[track_caller]
fn wait_for_answer(cluster: &Cluster, number: u16, path: &str, status: &str) -> String {
    wait_for(&format!("{status} at {path}"), || {
        let (head, body) = get(cluster, number, path)?;
        head.starts_with(&format!("HTTP/1.1 {status} ")).then_some(body)
    })
}

#[test]
fn a_monitor_sees_who_leads_what_was_appended_and_that_a_majority_is_gone() {
    let mut cluster = Cluster::started(Kind::default());
    let leader: u16 = cluster.leader().trim_start_matches('n').parse().unwrap();
    let others: Vec<_> = [1, 2, 3].into_iter().filter(|number| *number != leader).collect();
    for number in 1..=3 {
        wait_for_answer(&cluster, number, "/health/ready", "200");
    }
    cluster.append(&["hello", "world"]);
    let metrics = wait_for_answer(&cluster, leader, "/metrics", "200");
    for line in [
        "annal_leads 1",
        "annal_records_committed 2",
        "annal_appends_total{result=\"acknowledged\"} 1",
        "annal_appended_bytes_total 10",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} is not in\n{metrics}");
    }
    assert!(wait_for_answer(&cluster, others[0], "/metrics", "200").contains("\nannal_leads 0\n"));

    // From a follower's door, as the command has it.
    let told = wait_for_answer(&cluster, others[0], "/v1/status", "200");
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told["leader"], format!("n{leader}"));
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let status = cluster.status();
    assert_eq!(keys(&told), keys(&status));
    assert_eq!(keys(&told["nodes"][0]), keys(&status["nodes"][0]));
    assert!(told["nodes"].as_array().unwrap().iter().all(|node| node["reachable"] == true));

    for number in others {
        cluster.kill(&format!("n{number}"));
    }
    wait_for_answer(&cluster, leader, "/health/ready", "503");
    wait_for_answer(&cluster, leader, "/health/live", "200");
    cluster.stop(&format!("n{leader}"));
}

/// The page for people says what is so.
#[test]
fn the_lines_of_the_page_do_what_they_say() {
    if Command::new("curl").arg("--version").output().is_err() {
        eprintln!("note: the lines of docs/http.md are not tried: there is no curl");
        return;
    }
    let cluster = Cluster::started(Kind { nodes: 1, ..Kind::default() });
    wait_for_answer(&cluster, 1, "/health/ready", "200");
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/http.md");
    let page = fs::read_to_string(page).unwrap();
    let scripts: Vec<_> =
        page.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(!scripts.is_empty());
    let door = (cluster.base_port() + HTTP_PORTS_AFTER + 1).to_string();
    for script in scripts {
        let script = script.replace("7181", &door).replace("curl -s", "curl -sS --fail");
        let output = Command::new("sh").args(["-ec", &script]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{script}\n{said}");
        assert!(!output.stdout.is_empty(), "{script}");
    }
}

#[test]
fn a_port_that_is_taken_costs_only_the_door_until_it_is_free() {
    let mut cluster = Cluster::prepared(Kind { nodes: 1, ..Kind::default() });
    let port = cluster.base_port() + HTTP_PORTS_AFTER + 1;
    let other = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    cluster.start_all();
    let line = cluster.wait_for_line("n1", "no HTTP at");
    assert!(line.contains("in use") && line.contains("node.toml"), "{line}");
    cluster.append(&["without a door"]);
    drop(other);
    wait_for_answer(&cluster, 1, "/health/ready", "200");
    cluster.stop("n1");

    let address = format!("\"127.0.0.1:{port}\"");
    cluster.change_config("n1", &address, "\"off\"");
    cluster.start("n1");
    cluster.append(&["nor with one that is off"]);
    assert!(get(&cluster, 1, "/health/live").is_none());
    cluster.stop("n1");

    cluster.change_config("n1", "\"off\"", &format!("\"0.0.0.0:{port}\"\ntokens = false"));
    let output = cluster.run(["node", "start", "--data", "./data/n1"]).expect_code(1);
    assert!(output.stderr.contains("there HTTP asks for tokens"), "{}", output.stderr);
    assert!(output.stderr.contains("hint: correct line"), "{}", output.stderr);
}
