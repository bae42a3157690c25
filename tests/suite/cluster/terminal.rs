//! What people see who look at a log that others wrote.

use std::fs;
use std::process::Command;

use super::harness::{Cluster, Kind};
use crate::program;

#[test]
fn a_record_is_escaped_on_a_terminal_and_raw_on_a_pipe() {
    let mut cluster = Cluster::started(Kind { nodes: 1, ..Kind::default() });
    // Clears the screen, changes the title, forges a line, turns the text round.
    let record = "\u{1b}[2J\u{1b}]0;title\u{7}\nforged \u{202e}txt";
    let shown = r"\x1b[2J\x1b]0;title\x07\nforged \u{202e}txt";
    cluster.append(&[record, "plain"]);
    let piped = cluster.client(["read"]).expect_code(0);
    assert_eq!(piped.text(), format!("{record}\nplain\n"));

    let on_terminal = |verb: &str| {
        let mut command = Command::new("script");
        let line = format!("'{}' client {verb}", env!("CARGO_BIN_EXE_annal"));
        command.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
        command.current_dir(cluster.folder());
        // The terminal itself ends its lines with a return as well.
        program::finish(command, b"").expect_code(0).text().replace("\r\n", "\n")
    };
    let end = "2 records; --from 2 goes on from here\n";
    assert_eq!(on_terminal("read"), format!("{shown}\nplain\n{end}"));
    let format = on_terminal("read --last 2 --format '%o %r|\\n'");
    assert_eq!(format, format!("0 {shown}|\n1 plain|\n{end}"));
    let json = on_terminal("read --json --limit 1");
    let (json, end) = json.split_once('\n').unwrap();
    assert_eq!(end, "1 record; --from 1 goes on from here\n");
    assert!(!json.contains(char::is_control) && !json.contains('\u{202e}'), "{json:?}");
    let object: serde_json::Value = serde_json::from_str(json).unwrap();
    assert_eq!(object["record"], record, "it says what it said");
    cluster.stop_all();
}

#[test]
fn inspecting_says_what_is_not_there_and_writes_nothing() {
    let mut cluster = Cluster::started(Kind { nodes: 1, ..Kind::default() });
    cluster.append(&["one"]);
    cluster.stop_all();
    let last = cluster.inspect("n1", None)["last_index"].as_u64().unwrap();
    assert!(cluster.inspect("n1", Some(last))["chain"].is_string());
    let beyond = (last + 1).to_string();
    let inspect = cluster.run(["node", "inspect", "--data", "data/n1", "--at", &beyond]);
    let inspect = inspect.expect_complaint(1, "is not there: the log has 1 to ");
    assert!(!inspect.text().contains("no damage"), "{}", inspect.text());

    let inspect = cluster.run(["node", "inspect", "--data", "data/n1", "--from", &beyond]);
    inspect.expect_complaint(1, "is not there: the log has 1 to ");

    // Nor does it leave a lock: the folder may be on a file system that is mounted read-only.
    let lock = cluster.path("data/n1/lock");
    fs::remove_file(&lock).unwrap();
    cluster.inspect("n1", None);
    assert!(!lock.exists());
}

#[test]
fn entries_are_shown_with_what_is_in_them() {
    let mut cluster = Cluster::started(Kind { nodes: 1, ..Kind::default() });
    cluster.append(&["one", "t\u{1b}[2Jwo"]);
    cluster.client(["fence", "w1"]).expect_code(0);
    cluster.append(&["three"]);
    cluster.stop_all();
    let inspect = |flags: &[&str]| {
        let words = ["node", "inspect", "--data", "data/n1"];
        cluster.run(words.iter().chain(flags)).expect_code(0)
    };
    let shown = inspect(&["--from", "1"]).text();
    let lines: Vec<_> = shown.lines().collect();
    assert!(
        lines[0].starts_with("entry 1@1 ") && lines[0].ends_with(": n1 was elected"),
        "{shown}"
    );
    assert!(lines[1].starts_with("entry 2@1 ") && lines[1].ends_with("Z: records"), "{shown}");
    assert_eq!(lines[2..4], ["  0: one", r"  1: t\x1b[2Jwo"]);
    assert_eq!((lines[5], lines[7]), ("  fence w1", "  2: three"), "{shown}");
    let some = inspect(&["--from", "2", "--limit", "2", "--json"]).json();
    assert_eq!(some.len(), 2);
    assert_eq!(some[0]["records"][1], serde_json::json!({"offset": 1, "record": "t\u{1b}[2Jwo"}));
    assert_eq!(some[1]["commands"], serde_json::json!(["fence w1"]));
}

#[test]
#[ignore = "needs root: mounts a folder read-only"]
fn a_folder_that_is_mounted_read_only_can_be_inspected() {
    let mut cluster = Cluster::started(Kind { nodes: 1, ..Kind::default() });
    cluster.append(&["one"]);
    cluster.stop_all();
    let (data, seen) = (cluster.path("data/n1"), cluster.path("seen"));
    fs::create_dir(&seen).unwrap();
    let mount = |words: &[&str]| {
        assert!(Command::new("mount").args(words).arg(&seen).status().unwrap().success());
    };
    mount(&["--bind", data.to_str().unwrap()]);
    mount(&["-o", "remount,bind,ro"]);
    let shown = cluster.run(["node", "inspect", "--data", "seen", "--from", "2"]);
    let whole = cluster.run(["node", "inspect", "--data", "seen"]);
    assert!(Command::new("umount").arg(&seen).status().unwrap().success());
    assert!(shown.expect_code(0).text().ends_with("  0: one\n"));
    assert!(whole.expect_code(0).text().ends_with("no damage found\n"));
}
