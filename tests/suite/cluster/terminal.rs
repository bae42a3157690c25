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

    // Nor does it leave a lock: the folder may be on a file system that is mounted read-only.
    let lock = cluster.path("data/n1/lock");
    fs::remove_file(&lock).unwrap();
    cluster.inspect("n1", None);
    assert!(!lock.exists());
}
