//! What crashes do not do: lose, repeat, or reorder what was acknowledged.

use std::io::Write as _;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::Value;

use super::harness::{Cluster, Kind, wait_for};
use crate::program::{self, Output, annal};

#[test]
fn a_crashed_leader_is_replaced_and_catches_up() {
    let mut cluster = Cluster::started(Kind::default());
    cluster.append(&["one"]);
    let leader = cluster.leader();
    let crash = ["crash-leader", "--json", "--timeout", "30s"];
    let crash = cluster.client(crash).expect_code(0).json().swap_remove(0);
    assert_eq!(crash["crashed"], leader);
    assert_ne!(crash["new_leader"], leader);
    assert!(crash["new_term"].as_u64() > crash["term"].as_u64(), "{crash}");
    assert!(crash["failover_ms"].is_u64(), "{crash}");
    assert_eq!(cluster.wait_for_end(&leader).code(), None, "it was aborted");
    let status = cluster.status();
    assert_eq!(status["leader"], crash["new_leader"]);
    let is_crashed = |node: &&Value| node["node"] == leader;
    let crashed = status["nodes"].as_array().unwrap().iter().find(is_crashed).unwrap().clone();
    assert_eq!((&crashed["reachable"], &crashed["role"]), (&false.into(), &Value::Null));

    cluster.append(&["two"]);
    cluster.start(&leader);
    let report = cluster.wait_for_line(&leader, "recovered");
    assert!(report.contains("after a crash"), "{report}");
    cluster.wait_for_line(&leader, "caught up");
    cluster.wait_until_caught_up();
    assert_eq!(cluster.records(), ["one", "two"]);

    let terms = wait_for("the registry to know both terms", || {
        let terms = cluster.run(["registry", "terms", "--json"]).expect_code(0).json();
        (terms.last()?["term"] == crash["new_term"]).then_some(terms)
    });
    let first = terms.iter().find(|term| term["term"] == crash["term"]).unwrap();
    assert_eq!(first["node"], leader);
    assert_eq!(first["name"], format!("Leader_Term{}", crash["term"]));
    let last = cluster.run(["registry", "leader", "--json"]).expect_code(0).json().swap_remove(0);
    assert_eq!(last["node"], crash["new_leader"]);
    cluster.stop_all();
    cluster.expect_equal_logs();
}

#[test]
fn kill_9_of_all_loses_nothing_that_was_acknowledged() {
    let mut cluster = Cluster::started(Kind::default());
    let mut acknowledged: Vec<(u64, String)> = Vec::new();
    for round in 0..3 {
        let enough = AtomicBool::new(false);
        let folder = cluster.folder().to_owned();
        let more = thread::scope(|scope| {
            let appending = scope.spawn(|| {
                let mut acknowledged = Vec::new();
                for number in 0.. {
                    let record = format!("round {round} record {number}");
                    let line = ["client", "append", "--json", "--timeout", "1s", &record];
                    let output = program::run(&folder, line);
                    if output.code != Some(0) {
                        break;
                    }
                    let offset = output.json()[0]["offset"].as_u64().unwrap();
                    acknowledged.push((offset, record));
                    enough.store(acknowledged.len() >= 10, Ordering::Relaxed);
                }
                acknowledged
            });
            wait_for("ten acknowledgements", || enough.load(Ordering::Relaxed).then_some(()));
            cluster.kill_all();
            appending.join().unwrap()
        });
        acknowledged.extend(more);
        cluster.start_all();
        cluster.leader();
        expect_each_once(&cluster, &acknowledged);
    }
    cluster.wait_until_caught_up();
    cluster.stop_all();
    cluster.expect_equal_logs();
}

/// Every acknowledged record is at its offset and nowhere else.
#[track_caller]
fn expect_each_once(cluster: &Cluster, acknowledged: &[(u64, String)]) {
    let records = cluster.records();
    for (offset, record) in acknowledged {
        let at = usize::try_from(*offset).unwrap();
        assert_eq!(records.get(at), Some(record), "at offset {offset}");
        let count = records.iter().filter(|found| *found == record).count();
        assert_eq!(count, 1, "'{record}'");
    }
    let offsets: Vec<_> = acknowledged.iter().map(|(offset, _)| offset).collect();
    assert!(offsets.is_sorted(), "acknowledged in order");
}

#[test]
fn a_pipeline_survives_the_crash_of_the_leader() {
    let mut cluster = Cluster::started(Kind::default());
    let mut command = annal(cluster.folder());
    command.args(["client", "append", "-", "--json", "--timeout", "30s"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut appending = command.spawn().unwrap();
    let mut input = appending.stdin.take().unwrap();
    let lines: Vec<String> = (0..400).map(|number| format!("line {number}")).collect();
    let feeding = {
        let lines = lines.clone();
        thread::spawn(move || {
            for line in lines {
                writeln!(input, "{line}").unwrap();
                // So that it is many requests, and the crash comes among them.
                thread::sleep(std::time::Duration::from_millis(8));
            }
        })
    };
    // Somebody follows, from before the first record to behind the crash.
    let mut follow = annal(cluster.folder());
    let out = std::fs::File::create(cluster.path("followed")).unwrap();
    follow.args(["client", "tail", "-f", "-n", "100000", "--timeout", "30s"]).stdout(out);
    let mut following = follow.spawn().unwrap();
    wait_for("some records", || {
        (cluster.status()["nodes"][0]["next_offset"].as_u64()? > 20).then_some(())
    });
    let leader = cluster.leader();
    cluster.kill(&leader);
    feeding.join().unwrap();
    let output = appending.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(cluster.records(), lines);
    let expected = lines.join("\n") + "\n";
    let followed = || std::fs::read_to_string(cluster.path("followed")).unwrap();
    wait_for("the follower", || (followed().len() >= expected.len()).then_some(()));
    following.kill().unwrap();
    following.wait().unwrap();
    assert_eq!(followed(), expected, "it skips nothing and repeats nothing");
}

#[test]
fn without_the_registry_the_cluster_elects_commits_and_serves() {
    let mut cluster = Cluster::started(Kind::default());
    cluster.append(&["one"]);
    let known = wait_for("an announcement", || {
        let terms = cluster.run(["registry", "terms", "--json"]).json();
        (!terms.is_empty()).then_some(terms)
    });
    cluster.kill("registry");
    cluster.run(["registry", "leader", "--timeout", "1s"]).expect_complaint(1, "registry");
    cluster.append(&["two"]);
    cluster.client(["crash-leader", "--timeout", "30s"]).expect_code(0);
    cluster.append(&["three"]);
    assert_eq!(cluster.records(), ["one", "two", "three"]);
    let status = cluster.status();
    assert_eq!(status["registry"]["reachable"], false);

    // Started again it still knows, and is told what it missed.
    cluster.start("registry");
    let terms = wait_for("the new term", || {
        let output = cluster.run(["registry", "terms", "--json"]);
        let terms = if output.code == Some(0) { output.json() } else { return None };
        (terms.last()?["term"] == status["term"]).then_some(terms)
    });
    assert_eq!(terms[..known.len()], known);
    assert_eq!(terms.last().unwrap()["node"], status["leader"]);
}

#[test]
fn without_a_quorum_nothing_is_taken_and_the_code_says_so() {
    let mut cluster = Cluster::started(Kind::default());
    cluster.append(&["one"]);
    let leader = cluster.leader();
    for node in cluster.nodes() {
        if node != leader {
            cluster.kill(&node);
        }
    }
    wait_for("the leader to step down", || cluster.status()["leader"].is_null().then_some(()));
    let output = cluster.client(["append", "--timeout", "1s", "two"]);
    output.expect_complaint(3, "no quorum");
    let status = cluster.client(["status", "--json"]).expect_complaint(3, "no quorum");
    assert_eq!(status.json()[0]["leader"], Value::Null, "the object is printed all the same");
    cluster.kill_all();
    cluster.client(["append", "--timeout", "1s", "two"]).expect_complaint(3, "answers");
    cluster.start_all();
    cluster.leader();
    assert_eq!(cluster.records(), ["one"]);
}

#[test]
fn an_unknown_outcome_is_settled_by_the_printed_command() {
    let cluster = Cluster::started(Kind::default());
    cluster.append(&["one"]);
    // Whoever leads at the moment, for a leader that nobody answers steps down.
    let followers = || {
        let leader = cluster.leader();
        cluster.nodes().into_iter().filter(move |node| *node != leader).collect::<Vec<_>>()
    };
    let signal = |to: &[String], name| to.iter().for_each(|node| cluster.signal(node, name));

    // The followers hang: the leader takes the record, and nobody can answer in time, whether it goes
    // on leading for that long or not.
    let hung = followers();
    signal(&hung, "STOP");
    let output = cluster.client(["append", "--timeout", "2s", "--", "it's two", "-three"]);
    signal(&hung, "CONT");
    let output = output.expect_complaint(5, "no answer");
    let settle = settling_command(&output);
    let answers: Vec<_> = (0..3).map(|_| shell(&cluster, &settle, "--json")).collect();
    assert!(answers.iter().all(|answer| answer.json() == answers[0].json()));
    assert_eq!(cluster.records(), ["one", "it's two", "-three"]);

    // Another record under the same name is no repetition.
    let other = settle.replace("-three", "-four");
    let output = program::finish(bash(&cluster, &other, ""), b"");
    output.expect_complaint(2, "other records");
    assert_eq!(cluster.records().len(), 3);

    // The same for lines, of which several requests are under way.
    let hung = followers();
    signal(&hung, "STOP");
    let lines: Vec<String> = (0..9000).map(|number| format!("line {number}")).collect();
    let line = ["client", "append", "-", "--timeout", "2s"];
    let output = program::run_with_input(cluster.folder(), line, lines.join("\n").as_bytes());
    signal(&hung, "CONT");
    let output = output.expect_complaint(5, "no line is acknowledged");
    let commands: Vec<_> =
        output.stderr.lines().filter(|line| line.starts_with("annal client append")).collect();
    assert!(commands.len() > 1, "{}", output.stderr);
    for command in &commands {
        shell(&cluster, command, "");
    }
    for command in &commands {
        shell(&cluster, command, "");
        let file = command.rsplit_once(" --file ").map(|(_, file)| file);
        if let Some(file) = file {
            std::fs::remove_file(file).unwrap();
        }
    }
    let records = cluster.records();
    assert_eq!(records[3..], lines[..records.len() - 3], "a prefix, in order, once");
    assert_eq!(records.len(), 3 + lines.len(), "all lines were under way");
}

#[test]
fn an_interrupted_append_says_what_became_of_it() {
    let cluster = Cluster::started(Kind::default());
    // Told of nobody else it asks the leader first, which without followers leads for a moment only.
    let start = |leader: &str, words: &[&str]| {
        let number: u16 = leader.trim_start_matches('n').parse().unwrap();
        let address = format!("127.0.0.1:{}", cluster.base_port() + number);
        let mut command = annal(cluster.folder());
        command.args(["client", "append", "--timeout", "1m", "--nodes", &address]).args(words);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    };

    // Idle: all that was sent is acknowledged, and the input has not ended.
    let mut child = start(&cluster.leader(), &["-"]);
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"one\ntwo\n").unwrap();
    wait_for("both records", || (cluster.records().len() == 2).then_some(()));
    let stderr = interrupted(child, "TERM", 1);
    assert!(stderr.contains("the first 2 lines are acknowledged"), "{stderr}");

    // With requests under way, of lines or of arguments.
    let last_index_of = |leader: &str| {
        let status = cluster.status();
        let nodes = status["nodes"].as_array().unwrap();
        nodes.iter().find(|node| node["node"] == leader)?["last_index"].as_u64()
    };
    let lines: Vec<String> = (0..9000).map(|number| format!("line {number}")).collect();
    let mut expected = vec!["one".to_owned(), "two".to_owned()];
    for (words, records) in [(&["-"][..], lines), (&["three"], vec!["three".to_owned()])] {
        // The time before may have cost the leader its term.
        let leader = cluster.leader();
        let followers = cluster.nodes().into_iter().filter(|node| *node != leader);
        let followers: Vec<_> = followers.collect();
        let signal = |name| followers.iter().for_each(|node| cluster.signal(node, name));
        let last_index = || last_index_of(&leader);
        let before = wait_for("the leader", last_index);
        signal("STOP");
        let mut child = start(&leader, words);
        let mut input = child.stdin.take().unwrap();
        if words == ["-"] {
            writeln!(input, "{}", records.join("\n")).unwrap();
        }
        wait_for("the leader to take it", || (last_index()? > before).then_some(()));
        let stderr = interrupted(child, "INT", 5);
        signal("CONT");
        let mut commands = stderr.lines().filter(|line| line.starts_with("annal client append"));
        let count = commands.clone().count();
        assert!(count >= 1, "{stderr}");
        for command in commands.by_ref() {
            shell(&cluster, command, "");
            shell(&cluster, command, "");
            if let Some((_, file)) = command.rsplit_once(" --file ") {
                std::fs::remove_file(file).unwrap();
            }
        }
        let found = cluster.records().split_off(expected.len());
        assert!(!found.is_empty() && records.starts_with(&found), "a prefix, in order, once");
        expected.extend(found);
        cluster.leader();
    }
}

/// Sends a signal to a client. Returns what it said before it ended with this code.
#[track_caller]
fn interrupted(child: Child, signal: &str, code: i32) -> String {
    self::signal(&child, signal);
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert!(stderr.starts_with("error: interrupted"), "{stderr}");
    stderr
}

fn signal(child: &Child, signal: &str) {
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-s", signal, &id]).status().unwrap().success());
}

#[test]
fn an_append_whose_output_nobody_reads_can_be_interrupted() {
    let cluster = Cluster::started(Kind::default());
    for (words, expected) in [(&["one"][..], 1), (&["--json", "-"], 2)] {
        // What a pipe holds on Linux, unless told otherwise: the next byte waits for a reader.
        let (_reader, mut output) = std::io::pipe().unwrap();
        output.write_all(&vec![b'.'; 64 << 10]).unwrap();
        let mut command = annal(cluster.folder());
        command.args(["client", "append", "--timeout", "1m"]).args(words);
        command.stdin(Stdio::piped()).stdout(output).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        input.write_all(b"two\n").unwrap();
        wait_for("the record", || (cluster.records().len() == expected).then_some(()));
        // Two that come at once may be one.
        wait_for("the end", || {
            let ended = child.try_wait().unwrap();
            if ended.is_none() {
                signal(&child, "INT");
            }
            ended
        });
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(5), "{stderr}");
        assert!(stderr.contains("interrupted again"), "{stderr}");
    }
}

#[test]
fn an_output_that_cannot_be_written_does_not_hide_what_is_in_the_log() {
    let cluster = Cluster::started(Kind::default());
    let lines: Vec<String> = (0..20_000).map(|number| format!("line {number}")).collect();
    std::fs::write(cluster.path("many"), lines.join("\n")).unwrap();
    let append = |words: &[&str]| {
        let mut command = annal(cluster.folder());
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        command.args(["client", "append", "--timeout", "30s"]).args(words).stdout(full);
        let output = command.output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains("the output cannot be written"), "{stderr}");
        stderr
    };
    let stderr = append(&["zero"]);
    assert!(stderr.contains("the append is acknowledged: offset 0, entry "), "{stderr}");
    let stderr = append(&["--file", "many"]);
    assert!(stderr.contains("the first 20000 lines are acknowledged"), "{stderr}");
    assert_eq!(cluster.records()[1..], lines);
}

/// The command at the end of stderr.
#[track_caller]
fn settling_command(output: &Output) -> String {
    let last = output.stderr.lines().last().unwrap_or_default();
    assert!(last.starts_with("annal client append --as "), "{}", output.stderr);
    last.to_owned()
}

fn bash(cluster: &Cluster, command: &str, flag: &str) -> Command {
    let folder = std::path::Path::new(env!("CARGO_BIN_EXE_annal")).parent().unwrap();
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    // Flags may stand anywhere before the records.
    let command = command.replacen("append", &format!("append {flag} --timeout 30s"), 1);
    let mut shell = Command::new("bash");
    shell.args(["-c", &command]).current_dir(cluster.folder()).env("PATH", path);
    shell
}

#[track_caller]
fn shell(cluster: &Cluster, command: &str, flag: &str) -> Output {
    program::finish(bash(cluster, command, flag), b"").expect_code(0)
}
