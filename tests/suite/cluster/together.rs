//! All parts from one command (`up`, `demo`), and each by hand on an empty folder.

use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

use serde_json::Value;

use super::harness::{alone, free_ports, wait_for};
use super::pty::Terminal;
use crate::program::{self, annal, run};

/// A process that is killed when the test is over, however it ends.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A folder whose cluster is stopped when the test is over, however it ends.
struct Stopped<'a>(&'a Path);

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        let _ = annal(self.0).arg("down").stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}

fn start(folder: &Path, line: &[&str], log: &str) -> Killed {
    let file = |name: &str| fs::File::create(folder.join(name)).unwrap();
    let mut command = annal(folder);
    command.args(line).stdin(Stdio::null());
    command.stdout(file(&format!("{log}.out"))).stderr(file(&format!("{log}.err")));
    Killed(command.spawn().unwrap())
}

fn signal(process: &Killed, signal: &str) {
    let id = process.0.id().to_string();
    assert!(Command::new("kill").args(["-s", signal, &id]).status().unwrap().success());
}

/// Sends two signals at once, of two kinds: the system would merge two of one.
fn signal_twice(process: &Killed) {
    let id = process.0.id();
    let script = format!("kill -s INT {id}; kill -s TERM {id}");
    assert!(Command::new("sh").args(["-c", &script]).status().unwrap().success());
}

fn text(folder: &Path, name: &str) -> String {
    String::from_utf8_lossy(&fs::read(folder.join(name)).unwrap()).into_owned()
}

fn status(folder: &Path) -> Option<Value> {
    let output = run(folder, ["client", "status", "--json"]);
    (output.code == Some(0)).then(|| output.json().swap_remove(0))
}

/// Whether nobody listens at these ports any more.
fn are_free(mut ports: std::ops::RangeInclusive<u16>) -> bool {
    ports.all(|port| UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).is_ok())
}

#[test]
fn up_starts_all_says_what_to_try_and_stops_all() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let port = free_ports(3).to_string();
    let mut up = start(folder, &["up", "--base-port", &port], "up");
    wait_for("the ready line", || text(folder, "up.out").contains("ready: ").then_some(()));
    assert!(text(folder, "up.out").contains("annal client append hello"));
    run(folder, ["client", "append", "hello"]).expect_code(0);

    let crash = ["client", "crash-leader", "--json", "--timeout", "30s"];
    let crash = run(folder, crash).expect_code(0).json().swap_remove(0);
    let crashed = crash["crashed"].as_str().unwrap();
    let command = format!("annal node start --data ./data/{crashed}");
    wait_for("the command that restarts it", || {
        text(folder, "up.err").lines().any(|line| line.ends_with(&command)).then_some(())
    });
    let data = format!("./data/{crashed}");
    let mut again = start(folder, &["node", "start", "--data", &data], "again");
    wait_for("the restarted node", || {
        let nodes = status(folder)?["nodes"].clone();
        nodes.as_array()?.iter().all(|node| node["lag"] == 0).then_some(())
    });
    signal(&again, "INT");
    assert_eq!(again.0.wait().unwrap().code(), Some(0));

    signal(&up, "INT");
    let status = program::wait(&mut up.0, std::time::Duration::from_secs(10)).expect("it stops");
    assert_eq!(status.code(), Some(0), "{}", text(folder, "up.err"));
    let port: u16 = port.parse().unwrap();
    assert!(are_free(port..=port + 3), "a part still runs");

    // What is there is started as it is.
    let mut up = start(folder, &["up", "--nodes", "5"], "up");
    wait_for("the ready line", || text(folder, "up.out").contains("ready: ").then_some(()));
    assert_eq!(run(folder, ["client", "read"]).expect_code(0).text(), "hello\n");

    // However the parent dies, its children stop.
    up.0.kill().unwrap();
    up.0.wait().unwrap();
    wait_for("the children to stop", || are_free(port..=port + 3).then_some(()));
}

#[test]
fn up_on_a_terminal_fits_it_and_says_what_is_appended() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let port = free_ports(3).to_string();
    let mut up = Terminal::run(folder, &["up", "--base-port", &port]);
    up.expect("times are UTC\n");
    up.expect("ready: ");
    up.expect("annal client crash-leader\n");
    // A second may pass between two looks at an empty log.
    wait_for("a rate", || {
        run(folder, ["append", "--timeout", "30s", "one", "two"]).expect_code(0);
        up.text().contains(" records/s").then_some(())
    });
    wait_for("all connected", || up.text().contains(" 3 of 3 connected\n").then_some(()));
    up.press("\x03");
    assert_eq!(up.expect_end(), Some(0));
    let text = up.text();
    for line in text.lines() {
        assert!(line.len() <= 80 || line.contains(&*folder.to_string_lossy()), "too long: {line}");
        assert!(!(line.contains("term ") && line.contains("term=")), "it repeats itself: {line}");
    }
    assert_eq!(text.matches("n1       stopped\n").count(), 1, "{text}");
    let time = |line: &str| line.get(..12).filter(|time| time.contains('.')).map(str::to_owned);
    let times: Vec<String> = text.lines().filter_map(time).collect();
    assert!(times.len() > 5, "{text}");
}

#[test]
fn up_in_the_background_stays_until_down_and_is_found_after_a_crash() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let _stopped = Stopped(folder);
    let port = free_ports(1);
    let up = ["up", "--detach", "--json", "--nodes", "1"];
    let first: Vec<_> = up
        .iter()
        .map(ToString::to_string)
        .chain(["--base-port".into(), port.to_string()])
        .collect();
    let ready = run(folder, first).expect_code(0).json().swap_remove(0);
    assert_eq!(ready["log"], "./data/up.log");
    run(folder, ["append", "hello"]).expect_code(0);
    let second = run(folder, ["up", "--detach"]).expect_complaint(1, "runs already (process ");
    assert_eq!(second.text(), "");

    // Killed, it leaves nothing that `down` would not see to.
    let process = ready["process"].to_string();
    assert!(Command::new("kill").args(["-s", "KILL", &process]).status().unwrap().success());
    let down = run(folder, ["down", "--json"]).expect_code(0).json().swap_remove(0);
    assert_eq!(down["was_running"], false);
    assert!(are_free(port..=port + 1), "a part still runs");

    run(folder, up).expect_code(0);
    assert_eq!(run(folder, ["read"]).expect_code(0).text(), "hello\n");
    let down = run(folder, ["down"]).expect_code(0).text();
    assert!(down.starts_with("stopped: process "), "{down}");
    assert!(are_free(port..=port + 1), "a part still runs");
    assert!(text(folder, "data/up.log").contains("stopped"), "{}", text(folder, "data/up.log"));
    assert_eq!(
        run(folder, ["down"]).expect_code(0).text(),
        "nothing of the cluster in . is running\n"
    );
}

#[test]
fn of_many_that_start_it_in_the_background_at_once_one_does_and_its_log_is_whole() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let _stopped = Stopped(folder);
    let port = free_ports(1).to_string();
    run(folder, ["init", "--nodes", "1", "--base-port", &port]).expect_code(0);
    let mut outcomes = thread::scope(|scope| {
        let all = [(); 8].map(|()| scope.spawn(|| run(folder, ["up", "--detach"])));
        all.map(|starting| starting.join().unwrap())
    });
    outcomes.sort_by_key(|output| output.code);
    for (at, outcome) in outcomes.into_iter().enumerate() {
        let said = outcome.expect_code(i32::from(at > 0)).stderr;
        let is_told = said.contains("another process starts") || said.contains("runs already");
        assert_eq!(is_told, at > 0, "{said}");
    }
    run(folder, ["down"]).expect_code(0);
    let log = text(folder, "data/up.log");
    assert!(log.contains("stopped") && !log.contains("error: "), "{log}");
    assert!(!folder.join("data/up.log.1").exists(), "a log was taken away");
}

/// Was swallowed, and `down` waited in vain.
#[test]
#[ignore = "needs root: tries to stop a cluster as somebody else"]
fn down_says_whose_the_cluster_is_that_it_may_not_stop() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let _stopped = Stopped(folder);
    let port = free_ports(1).to_string();
    let up = ["up", "--detach", "--nodes", "1", "--base-port", &port];
    run(folder, up).expect_code(0);
    assert!(Command::new("chmod").args(["-R", "a+rX"]).arg(folder).status().unwrap().success());
    let mut down = Command::new("setpriv");
    down.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    down.args([env!("CARGO_BIN_EXE_annal"), "down"]).current_dir(folder);
    let refused = program::finish(down, b"").expect_code(1);
    assert!(refused.stderr.contains("cannot be stopped: Operation not permitted"), "{refused:?}");
    assert!(status(folder).is_some());
}

#[test]
fn up_in_the_background_says_why_it_did_not_come_up_and_down_what_it_does_not_stop() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let port = free_ports(1).to_string();
    run(folder, ["init", "--nodes", "1", "--base-port", &port]).expect_code(0);
    let lock = fs::File::create(folder.join("data/n1/lock")).unwrap();
    lock.lock().unwrap();
    let output = run(folder, ["up", "--detach"]).expect_complaint(1, "another process holds");
    assert_eq!(output.text(), "");
    drop(lock);

    let mut node = start(folder, &["node", "start", "--data", "data/n1"], "node");
    wait_for("the node", || status(folder));
    run(folder, ["down"]).expect_complaint(1, "n1 still run, which no `annal up` holds");
    assert!(status(folder).is_some(), "it was stopped all the same");
    signal(&node, "TERM");
    assert_eq!(node.0.wait().unwrap().code(), Some(0));
}

#[test]
fn up_tries_the_ports_before_it_writes_and_keeps_those_that_are_there() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let port = free_ports(1);
    let taken = UdpSocket::bind((Ipv4Addr::LOCALHOST, port + 1)).unwrap();
    let up = |port: u16| ["up", "--nodes", "1", "--base-port", &port.to_string()].map(String::from);
    let output = run(folder, up(port)).expect_complaint(1, "is in use by another process");
    assert!(output.stderr.contains("nothing was written"), "{}", output.stderr);
    assert_eq!(fs::read_dir(folder).unwrap().count(), 0);

    // Once they are free a cluster gets them; it keeps them, and other wishes are refused.
    drop(taken);
    run(folder, ["init", "--nodes", "1", "--base-port", &port.to_string()]).expect_code(0);
    let output = run(folder, up(port.wrapping_sub(7))).expect_code(2);
    let ports = format!("has the ports {port}, {}", port + 1);
    assert!(output.stderr.contains(&ports), "{}", output.stderr);
    let line = up(port);
    let line: Vec<&str> = line.iter().map(String::as_str).collect();
    let mut same = start(folder, &line, "same");
    wait_for("the ready line", || text(folder, "same.out").contains("ready: ").then_some(()));
    signal(&same, "INT");
    assert_eq!(same.0.wait().unwrap().code(), Some(0));
}

#[test]
fn nobody_asked_for_ports_so_free_ones_are_found() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    // Whoever else has the usual port does as well.
    let _taken = UdpSocket::bind((Ipv4Addr::LOCALHOST, 7101));
    let mut up = start(folder, &["up", "--nodes", "1"], "up");
    wait_for("the ready line", || text(folder, "up.out").contains("ready: ").then_some(()));
    let said = text(folder, "up.err");
    assert!(said.contains("of the ports 7100 to 7101 some are in use"), "{said}");
    run(folder, ["client", "append", "hello"]).expect_code(0);
    signal(&up, "INT");
    assert_eq!(up.0.wait().unwrap().code(), Some(0));
}

#[test]
fn up_is_not_ready_on_account_of_another_cluster() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let port = free_ports(1).to_string();
    let mut first = start(folder, &["up", "--nodes", "1", "--base-port", &port], "up");
    wait_for("the ready line", || text(folder, "up.out").contains("ready: ").then_some(()));
    let second = run(folder, ["up"]).expect_complaint(1, "runs already (process ");
    assert_eq!(second.text(), "");
    run(folder, ["client", "append", "still there"]).expect_code(0);
    signal(&first, "INT");
    assert_eq!(first.0.wait().unwrap().code(), Some(0));

    // Nobody listens, but somebody holds the folder. Nor does a restart help.
    let lock = fs::File::open(folder.join("data/n1/lock")).unwrap();
    lock.lock().unwrap();
    for line in [["up"].as_slice(), &["up", "--restart"]] {
        let output = run(folder, line).expect_complaint(1, "another process holds");
        assert_eq!(output.text(), "");
    }
}

#[test]
fn up_gives_up_what_cannot_come_up() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let port = free_ports(3);
    run(folder, ["init", "--base-port", &port.to_string()]).expect_code(0);

    // Without one of three it comes up.
    fs::remove_dir_all(folder.join("data/n1")).unwrap();
    let mut up = start(folder, &["up"], "up");
    wait_for("the ready line", || text(folder, "up.out").contains("ready: ").then_some(()));
    signal(&up, "INT");
    assert_eq!(up.0.wait().unwrap().code(), Some(0));

    // Without two it does not, and says whose fault it is.
    fs::write(folder.join("data/n2/node.toml"), "nonsense").unwrap();
    let output = run(folder, ["up"]);
    assert!(matches!(output.code, Some(1 | 6)), "{:?}: {}", output.code, output.stderr);
    assert!(output.stderr.contains("cannot come up with 1 of 3"), "{}", output.stderr);
    fs::remove_dir_all(folder.join("data/n2")).unwrap();
    let output = run(folder, ["up", "--restart"]).expect_complaint(6, "data is gone");
    assert_eq!(output.text(), "");
    assert!(are_free(port..=port + 3), "a part still runs");
}

#[test]
fn copies_of_a_signal_do_not_hurry_the_stop() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let port = free_ports(1).to_string();
    let up = ["up", "--nodes", "1", "--base-port", &port];
    let mut up = start(folder, &up, "up");
    wait_for("the ready line", || text(folder, "up.out").contains("ready: ").then_some(()));
    signal_twice(&up);
    assert_eq!(up.0.wait().unwrap().code(), Some(0), "{}", text(folder, "up.err"));

    let mut node = start(folder, &["node", "start", "--data", "./data/n1"], "node");
    wait_for("the node", || status(folder));
    signal_twice(&node);
    assert_eq!(node.0.wait().unwrap().code(), Some(0), "{}", text(folder, "node.err"));
}

#[test]
fn up_restarts_what_crashes_if_asked() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let port = free_ports(3).to_string();
    let mut up = start(folder, &["up", "--base-port", &port, "--restart"], "up");
    wait_for("the ready line", || text(folder, "up.out").contains("ready: ").then_some(()));
    run(folder, ["client", "crash-leader", "--timeout", "30s"]).expect_code(0);
    wait_for("all nodes again", || {
        let nodes = status(folder)?["nodes"].clone();
        nodes.as_array()?.iter().all(|node| node["lag"] == 0).then_some(())
    });
    signal(&up, "TERM");
    assert_eq!(up.0.wait().unwrap().code(), Some(0));
}

#[test]
fn the_demo_ends_well_and_leaves_nothing() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let mut demo = annal(folder.path());
    demo.arg("demo").env("TMPDIR", folder.path());
    let output = program::finish(demo, b"").expect_code(0);
    let story = output.text();
    for words in [
        "and leads term 1",
        "without a leader",
        "recovered",
        "Leader_Term1 = n",
        "logs of n1, n2, n3 are equal",
    ] {
        assert!(story.contains(words), "no '{words}' in\n{story}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "the demo left something");
}

#[test]
fn the_demo_leaves_what_was_there_before() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let hidden = folder.path().join("certs/.gitignore");
    fs::create_dir(folder.path().join("certs")).unwrap();
    fs::write(&hidden, "*").unwrap();
    run(folder.path(), ["demo", "--dir", "."]).expect_code(0);
    assert!(hidden.exists());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "the demo left something");
    run(folder.path(), ["init"]).expect_code(0);
    run(folder.path(), ["demo", "--dir", "."]).expect_complaint(1, "already there");
    assert!(folder.path().join("certs/cluster.toml").exists());
}

#[test]
fn the_demo_removes_nothing_that_it_did_not_make() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mine = |name: &str| fs::write(folder.join(name), "mine").unwrap();
    let count = |name: &str| fs::read_dir(folder.join(name)).unwrap().count();
    mine("notes");
    for name in ["data", "certs"] {
        fs::create_dir(folder.join(name)).unwrap();
        let file = format!("{name}/notes");
        mine(&file);
        let refused = run(folder, ["demo", "--dir", "."]).expect_complaint(1, &file);
        assert!(refused.stdout.is_empty(), "it began");
        assert_eq!(count(name), 1, "the demo wrote something");
        fs::remove_file(folder.join(&file)).unwrap();
    }
    run(folder, ["demo", "--dir", "."]).expect_code(0);
    assert_eq!((count("."), count("data"), count("certs")), (3, 0, 0));

    // Interrupted, after others have put something beside what the demo made.
    let mut demo = start(folder, &["demo", "--dir", "."], "demo");
    wait_for("the leader", || text(folder, "demo.out").contains("was elected").then_some(()));
    mine("data/notes");
    fs::create_dir(folder.join("certs/mine")).unwrap();
    signal(&demo, "INT");
    assert_eq!(demo.0.wait().unwrap().code(), Some(1));
    assert!(text(folder, "demo.err").contains("interrupted"));
    assert_eq!(text(folder, "data/notes"), "mine");
    assert_eq!((count("."), count("data"), count("certs")), (5, 1, 1));
}

#[test]
fn the_demo_leaves_its_cluster_up_if_asked() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let output = run(folder.path(), ["demo", "--keep", "--dir", "kept"]).expect_code(0);
    let story = output.text();
    let stop = story.split("stop it with: ").nth(1).and_then(|rest| rest.lines().next()).unwrap();
    let status = run(folder.path(), ["client", "status", "--json", "--dir", "kept"]);
    let stopped = Command::new("sh").args(["-c", stop]).status().unwrap();
    let status = status.expect_code(0).json().swap_remove(0);
    assert!(status["nodes"].as_array().unwrap().iter().all(|node| node["reachable"] == true));
    assert!(stopped.success(), "{stop}");
    let port = |node: &Value| -> u16 {
        let address = node["address"].as_str().unwrap();
        address.rsplit_once(':').unwrap().1.parse().unwrap()
    };
    wait_for("the cluster to stop", || {
        let nodes = status["nodes"].as_array()?;
        nodes.iter().all(|node| are_free(port(node)..=port(node))).then_some(())
    });
}

#[test]
fn each_part_by_hand_on_an_empty_folder() {
    let _alone = alone();
    if !are_free(7100..=7103) {
        eprintln!("left out: the default ports are in use");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let start_node =
        |name: &str| start(folder, &["node", "start", "--data", &format!("./data/{name}")], name);
    // All at once, and none of them has a cluster yet.
    let mut parts = vec![start(folder, &["registry", "start"], "registry")];
    parts.extend(["n1", "n2", "n3"].map(start_node));
    wait_for("the cluster", || {
        let status = status(folder)?;
        let all = status["nodes"].as_array()?.iter().all(|node| node["reachable"] == true);
        (all && status["registry"]["reachable"] == true).then_some(())
    });
    run(folder, ["client", "append", "hi"]).expect_code(0);
    assert_eq!(run(folder, ["client", "read"]).expect_code(0).text(), "hi\n");
    for part in &mut parts {
        signal(part, "TERM");
    }
    for part in &mut parts {
        assert_eq!(part.0.wait().unwrap().code(), Some(0));
    }
}
