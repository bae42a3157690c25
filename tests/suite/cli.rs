//! The command line where no cluster is needed: help, usage, configuration, exit codes.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::cluster::harness::{free_ports, wait_for};
use crate::program::{annal, finish, run, run_with_input};

fn initialized() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    run(folder.path(), ["init"]).expect_code(0);
    folder
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn help_goes_to_stdout_and_names_every_command() {
    let folder = tempfile::tempdir().unwrap();
    let help = run(folder.path(), ["--help"]).expect_code(0);
    for command in ["demo", "up", "init", "node", "client", "shell", "registry", "sim", "bench"] {
        assert!(help.text().contains(&format!("\n  {command} ")), "{}", help.text());
    }
    assert!(help.text().contains("Exit codes: 0 done"));
    let version = run(folder.path(), ["--version"]).expect_code(0);
    assert_eq!(version.text(), format!("annal {}\n", env!("CARGO_PKG_VERSION")));
    assert_eq!(run(folder.path(), ["version"]).expect_code(0).text(), version.text());
    let json = run(folder.path(), ["version", "--json"]).expect_code(0).json();
    assert_eq!(json[0]["version"], env!("CARGO_PKG_VERSION"));
    assert!(names(folder.path()).is_empty(), "help writes nothing");
}

#[test]
fn usage_errors_end_with_2_and_a_hint() {
    let folder = tempfile::tempdir().unwrap();
    for line in [
        &["nonsense"][..],
        &["client", "append"],
        &["client", "append", "x", "--file", "y"],
        &["client", "append", "x", "--timeout", "5"],
        &["client", "read", "--from", "-1"],
        &["read", "--from", "1", "--last", "2"],
        &["read", "--last", "1", "--since", "10m"],
        &["tail", "--since", "yesterday"],
        &["read", "--raw", "--limit", "2"],
        &["read", "--raw", "--json"],
        &["read", "-0", "--format", "%r"],
        &["read", "--format", "%x"],
        &["client", "read", "--stale", "--node", "first"],
        &["node", "start"],
        &["node", "inspect", "--data", "data/n1", "--at", "0"],
        &["up", "--base-port", "70000"],
        &["init", "--json=maybe"],
        &["client", "append", "-", "extra"],
        &["client", "append", "extra", "-"],
        &["--log-filter", "verbose", "client", "status"],
        &["client", "\u{1b}[2J\u{9b}2J"],
        &["bench", "--here", "--cluster", "3"],
    ] {
        let output = run(folder.path(), line).expect_complaint(2, "");
        assert!(output.stdout.is_empty(), "{line:?}");
        let is_foul = |c: char| c.is_control() && c != '\n';
        assert!(!output.stderr.contains(is_foul), "{line:?}: {:?}", output.stderr);
    }
    assert!(names(folder.path()).is_empty(), "a usage error writes nothing");
}

#[test]
fn a_word_of_another_program_leads_to_ours() {
    let folder = tempfile::tempdir().unwrap();
    let said = run(folder.path(), ["pub", "x"]).expect_complaint(2, "there is no command `pub`");
    assert!(said.stderr.contains("hint: `annal append` does that"), "{}", said.stderr);
    let said = run(folder.path(), ["reed"]).expect_complaint(2, "there is no command `reed`");
    assert!(said.stderr.contains("hint: did you mean `annal read`?"), "{}", said.stderr);
}

#[test]
fn help_has_a_commands_own_flags_first_and_examples_last() {
    let folder = tempfile::tempdir().unwrap();
    let help = run(folder.path(), ["tail", "--help"]).expect_code(0).text();
    let place = |text: &str| help.find(text).unwrap_or_else(|| panic!("no {text} in {help}"));
    let order = [
        "\nOptions:\n",
        "--follow",
        "\nConnection:\n",
        "--timeout",
        "\nLogging:\n",
        "\nExamples:\n",
    ];
    assert!(order.iter().map(|text| place(text)).is_sorted(), "{help}");
    assert!(!help[..place("\nConnection:")].contains("--dir"), "{help}");
}

#[test]
fn shells_learn_to_complete_and_each_command_has_a_page() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = run(folder.path(), ["completions", shell]).expect_code(0).text();
        assert!(script.contains("crash-leader"), "{shell}");
        fs::write(folder.path().join(shell), script).unwrap();
    }
    let script = "source ./bash; COMP_WORDS=(annal app); COMP_CWORD=1; _annal annal app annal; \
        echo \"${COMPREPLY[@]}\"";
    let mut bash = Command::new("bash");
    bash.args(["-c", script]).current_dir(folder.path());
    assert_eq!(finish(bash, b"").expect_code(0).text(), "append\n");

    let man = ["man", "--out", "pages/man1", "--json"];
    let written = run(folder.path(), man).expect_code(0).json().swap_remove(0);
    let pages = names(&folder.path().join("pages/man1"));
    assert_eq!(written["pages"], pages.len());
    for page in ["annal.1", "annal-append.1", "annal-client-tail.1", "annal-node-start.1"] {
        assert!(pages.iter().any(|found| found == page), "{page}: {pages:?}");
    }
    let page = folder.path().join("pages/man1/annal-append.1");
    assert!(fs::read_to_string(&page).unwrap().contains("annal append hello"));
    assert_eq!(fs::metadata(page).unwrap().permissions().mode() & 0o777, 0o644);
}

#[test]
fn a_cluster_is_found_from_the_folders_below_it() {
    let folder = initialized();
    let below = folder.path().join("some/where");
    fs::create_dir_all(&below).unwrap();
    // Found, and of no use without nodes.
    run(&below, ["read", "--timeout", "100ms"]).expect_complaint(3, "none of the 3 known nodes");
    run(&below, ["read", "--dir", "elsewhere"]).expect_complaint(1, "cluster.toml is missing");
    // The next one above wins, and `init` and `up` look at nothing but where they are.
    run(&below, ["init", "--nodes", "1"]).expect_code(0);
    run(&below, ["read", "--timeout", "100ms"]).expect_complaint(3, "none of the 1 known nodes");
}

#[test]
#[ignore = "needs root: gives a folder to somebody else"]
fn a_strangers_cluster_above_is_not_taken() {
    let folder = initialized();
    let below = folder.path().join("below");
    fs::create_dir(&below).unwrap();
    let certs = folder.path().join("certs");
    assert!(Command::new("chown").arg("65534").arg(&certs).status().unwrap().success());
    let read = ["read", "--timeout", "100ms"];
    run(&below, read).expect_complaint(1, "is another user's");
    // Named, or where one is, it is meant.
    let named = read.into_iter().chain(["--dir", ".."]);
    run(&below, named).expect_complaint(3, "none of the 3 known nodes");
    run(folder.path(), read).expect_complaint(3, "none of the 3 known nodes");
}

#[test]
fn init_writes_a_cluster_and_refuses_to_overwrite() {
    let folder = tempfile::tempdir().unwrap();
    let init = ["init", "--nodes", "5", "--base-port", "9100", "--json"];
    let output = run(folder.path(), init).expect_code(0);
    let object = &output.json()[0];
    assert_eq!(object["nodes"][4]["node"], "n5");
    assert_eq!(object["nodes"][4]["address"], "127.0.0.1:9105");
    assert_eq!(object["registry"], "127.0.0.1:9100");
    assert_eq!(object["fault_injection"], true);
    assert_eq!(names(folder.path()), ["certs", "data"]);
    assert_eq!(names(&folder.path().join("data")), ["n1", "n2", "n3", "n4", "n5", "registry"]);
    assert_eq!(names(&folder.path().join("data/n1")), ["new", "node.toml"]);

    let before = fs::read(folder.path().join("certs/cluster.toml")).unwrap();
    run(folder.path(), ["init"]).expect_complaint(1, "is already there");
    assert_eq!(fs::read(folder.path().join("certs/cluster.toml")).unwrap(), before);
}

#[test]
fn hints_lead_out_and_spread_no_secrets() {
    let folder = initialized();
    let init = || run(folder.path(), ["init"]).expect_code(1).stderr;
    assert!(init().contains("`annal up` starts the cluster that is there"), "{}", init());
    // What lacks a part is not started, and not made anew: neither says that the other does it.
    fs::remove_file(folder.path().join("certs/cluster.toml")).unwrap();
    assert!(init().contains("put back what it lacks"), "{}", init());
    for line in [&["client", "status"][..], &["up"]] {
        let said = run(folder.path(), line).expect_complaint(1, "cluster.toml is missing").stderr;
        assert!(!said.contains("`annal init` writes"), "{said}");
    }
    fs::remove_file(folder.path().join("certs/n1.key")).unwrap();
    fs::write(folder.path().join("certs/n2.crt"), "nonsense").unwrap();
    for node in ["n1", "n2"] {
        let data = format!("./data/{node}");
        let said = run(folder.path(), ["node", "start", "--data", &data]).expect_code(1).stderr;
        assert!(said.contains("hint: copy ca.crt and the two files of this name"), "{said}");
        assert!(said.contains("ca.key stays there"), "{said}");
    }
}

#[test]
fn what_another_has_planted_is_not_taken_for_a_cluster_of_ours() {
    let folder = tempfile::tempdir().unwrap();
    let staging = folder.path().join(".annal-init");
    fs::create_dir_all(staging.join("certs")).unwrap();
    fs::write(staging.join("certs/cluster.toml"), "planted").unwrap();
    fs::write(staging.join("complete"), "").unwrap();
    fs::set_permissions(&staging, fs::Permissions::from_mode(0o777)).unwrap();
    run(folder.path(), ["init"]).expect_complaint(1, "is not this user's alone");
    run(folder.path(), ["up"]).expect_complaint(1, "is not this user's alone");
    assert_eq!(names(folder.path()), [".annal-init"]);
}

#[test]
fn init_takes_the_place_from_the_environment() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = annal(folder.path());
    command.args(["init", "--nodes", "1", "--production"]);
    command.env("ANNAL_DIR", "elsewhere").env("ANNAL_JSON", "1");
    // How many nodes a cluster gets is no property of a place.
    command.env("ANNAL_NODE_COUNT", "5");
    let output = finish(command, b"").expect_code(0);
    assert_eq!(output.json()[0]["fault_injection"], false);
    assert_eq!(names(&folder.path().join("elsewhere/data")), ["n1", "registry"]);
    let config = fs::read_to_string(folder.path().join("elsewhere/data/n1/node.toml")).unwrap();
    assert!(config.contains("fault_injection = false"), "{config}");
}

#[test]
fn a_fresh_clone_counts_as_empty() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["certs", "data"] {
        fs::create_dir(folder.path().join(name)).unwrap();
        fs::write(folder.path().join(name).join(".gitignore"), "*\n!.gitignore\n").unwrap();
    }
    run(folder.path(), ["init"]).expect_code(0);
    assert!(folder.path().join("certs/cluster.toml").exists());
    assert!(folder.path().join("certs/.gitignore").exists());
}

#[test]
fn of_two_inits_at_once_one_writes_and_the_other_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let start = || {
        let mut command = annal(folder.path());
        command.arg("init").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    let mut codes: Vec<_> = [start(), start(), start()]
        .into_iter()
        .map(|mut child| child.wait().unwrap().code().unwrap())
        .collect();
    codes.sort_unstable();
    assert_eq!(codes, [0, 1, 1]);
    // What is there is of one cluster.
    let cluster = |path: &str| {
        let text = fs::read_to_string(folder.path().join(path)).unwrap();
        text.lines().find(|line| line.starts_with("cluster = ")).unwrap()[11..43].to_owned()
    };
    for path in ["data/n1/node.toml", "data/n2/node.toml", "data/n3/node.toml"] {
        assert_eq!(cluster(path), cluster("certs/cluster.toml"));
    }
}

#[test]
fn a_damaged_configuration_is_shown_with_line_and_column() {
    let folder = initialized();
    let path = folder.path().join("data/n1/node.toml");
    let text = fs::read_to_string(&path).unwrap();
    let start = ["node", "start", "--data", "./data/n1"];

    let line = text.lines().position(|line| line.starts_with("heartbeat_ms")).unwrap() + 1;
    fs::write(&path, text.replace("heartbeat_ms = 25", "heartbeat_ms = \"soon\"")).unwrap();
    run(folder.path(), start).expect_complaint(1, &format!("node.toml:{line}:16: "));

    fs::write(&path, text.replace("heartbeat_ms = 25", "heartbeat_ms = 0")).unwrap();
    run(folder.path(), start).expect_complaint(1, "heartbeat_ms must lie between");

    fs::write(&path, text.replace("listen", "hears")).unwrap();
    run(folder.path(), start).expect_complaint(1, "unknown field `hears`");

    fs::write(&path, &text[..text.len() - 20]).unwrap();
    run(folder.path(), start).expect_complaint(1, "node.toml:");

    fs::write(folder.path().join("certs/cluster.toml"), "nodes = 3").unwrap();
    run(folder.path(), ["client", "status"]).expect_complaint(1, "cluster.toml:1:");
}

#[test]
fn a_node_whose_data_is_gone_is_refused_with_6() {
    let folder = initialized();
    let data = folder.path().join("data/n1");
    let sentence = "n1's data is gone; starting it empty could break what it promised";
    let start = ["node", "start", "--data", "./data/n1"];
    fs::remove_file(data.join("new")).unwrap();
    run(folder.path(), start).expect_complaint(6, sentence);
    fs::remove_file(data.join("node.toml")).unwrap();
    run(folder.path(), start).expect_complaint(6, sentence);
    fs::remove_dir(&data).unwrap();
    run(folder.path(), start).expect_complaint(6, sentence);
    assert!(!data.exists(), "the refused start made nothing");
}

#[test]
fn a_node_of_no_cluster_is_refused() {
    let folder = initialized();
    let start = |data| run(folder.path(), ["node", "start", "--data", data]);
    start("./data/n9").expect_complaint(1, "has no n9");
    start("./data/mine").expect_complaint(1, "does not end in a node's name");
    let elsewhere = ["node", "start", "--data", "/proc/n1", "--dir", "/proc"];
    run(folder.path(), elsewhere).expect_complaint(1, "node.toml is missing");
}

#[test]
fn a_node_without_certificates_says_where_it_looked() {
    let folder = initialized();
    fs::remove_dir_all(folder.path().join("certs")).unwrap();
    let start = ["node", "start", "--data", "./data/n1"];
    run(folder.path(), start).expect_complaint(1, "there are no certificates in");
}

#[test]
fn a_client_without_a_cluster_says_so() {
    let folder = tempfile::tempdir().unwrap();
    for verb in [
        &["append", "x"][..],
        &["read"],
        &["tail"],
        &["status"],
        &["leader"],
        &["terms"],
        &["crash-leader"],
    ] {
        let line = ["client"].iter().chain(verb);
        run(folder.path(), line).expect_complaint(1, "cluster.toml is missing");
    }
    run(folder.path(), ["registry", "leader"]).expect_complaint(1, "cluster.toml is missing");
    assert!(names(folder.path()).is_empty(), "a client makes no cluster");
}

#[test]
fn a_record_over_the_limit_is_refused_before_anything_is_sent() {
    let folder = initialized();
    let mut input = vec![b'x'; (1 << 20) + 1];
    input.push(b'\n');
    let append = ["client", "append", "-"];
    let output = run_with_input(folder.path(), append, &input);
    output.expect_complaint(1, "line 1 is longer than a record may be (1048576 bytes)");

    fs::write(folder.path().join("input"), &input).unwrap();
    let append = ["client", "append", "--file", "input"];
    run(folder.path(), append).expect_complaint(1, "line 1 is longer than a record may be");
    let append = ["client", "append", "--file", "missing"];
    run(folder.path(), append).expect_complaint(1, "missing cannot be read");
}

#[test]
fn a_token_that_is_none_is_a_usage_error() {
    let folder = initialized();
    let append = ["client", "append", "--as", "s1-nonsense", "x"];
    run(folder.path(), append).expect_complaint(2, "token");
}

#[test]
fn inspecting_what_is_no_store_says_so() {
    let folder = initialized();
    let inspect = |data: &str| run(folder.path(), ["node", "inspect", "--data", data]);
    inspect("./nowhere").expect_complaint(1, "no store in ./nowhere");
    inspect("./data/n1").expect_complaint(1, "no store in ./data/n1");
    fs::remove_file(folder.path().join("data/n1/new")).unwrap();
    inspect("./data/n1").expect_complaint(6, "no store in ./data/n1");
}

#[test]
fn errors_are_objects_where_answers_are() {
    let folder = tempfile::tempdir().unwrap();
    for (line, code, kind) in [
        (&["--json", "read", "--zzz"][..], 2, "usage"),
        (&["stauts", "--json"], 2, "usage"),
        (&["status", "--json"], 1, "failed"),
        (&["append", "--json", "--as", "zzz", "x"], 2, "usage"),
        (&["node", "start", "--json", "--data", "data/zzz"], 1, "failed"),
    ] {
        let output = run(folder.path(), line).expect_code(code);
        let complaint = output.complaint().unwrap_or_else(|| panic!("{line:?}: {}", output.stderr));
        let keys: Vec<_> = complaint.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["error", "exit", "hint", "kind"], "{line:?}");
        assert_eq!((&complaint["exit"], &complaint["kind"]), (&code.into(), &kind.into()));
        assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);
        assert!(output.stdout.is_empty());
    }
    let mut by_variable = annal(folder.path());
    by_variable.args(["status"]).env("ANNAL_JSON", "1");
    assert!(finish(by_variable, b"").expect_code(1).complaint().is_some());
}

#[test]
fn a_log_filter_that_is_none_is_a_usage_error() {
    let folder = tempfile::tempdir().unwrap();
    let line = ["--log-filter", "annal=loud", "client", "status"];
    run(folder.path(), line).expect_complaint(2, "is not a log filter");
}

#[test]
fn an_empty_variable_is_as_good_as_none() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = annal(folder.path());
    command.arg("init");
    for name in ["DIR", "REGISTRY", "NODES", "TIMEOUT", "JSON", "LOG", "LOG_FORMAT"] {
        command.env(format!("ANNAL_{name}"), "");
    }
    let output = finish(command, b"").expect_code(0);
    assert!(!output.text().starts_with('{'), "{}", output.text());
    assert_eq!(names(&folder.path().join("data")), ["n1", "n2", "n3", "registry"]);
}

#[test]
fn the_verbs_of_the_client_and_help_are_commands() {
    let folder = tempfile::tempdir().unwrap();
    let said = |words: &[&str]| run(folder.path(), words).expect_code(0).text();
    let help = said(&["help"]);
    for verb in ["append", "read", "tail", "status", "leader", "terms", "crash-leader"] {
        assert!(help.contains(&format!("\n  {verb} ")), "{verb} is not in {help}");
        assert_eq!(said(&["help", verb]), said(&[verb, "--help"]));
        let words: &[&str] = if verb == "append" { &["append", "hi"] } else { &[verb] };
        // Understood, and only then in want of a cluster.
        run(folder.path(), words).expect_complaint(1, "cluster.toml is missing");
    }
}

#[test]
fn what_is_typed_wins_over_the_environment() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = annal(folder.path());
    command.args(["read", "--raw"]).env("ANNAL_JSON", "1");
    // Understood, and only then in want of a cluster.
    finish(command, b"").expect_complaint(1, "cluster.toml is missing");
    // Where it contradicts nothing it is taken.
    let mut command = annal(folder.path());
    command.args(["init", "--nodes", "1"]).env("ANNAL_JSON", "1");
    assert!(finish(command, b"").expect_code(0).text().starts_with('{'));
}

#[test]
fn a_node_that_the_cluster_does_not_have_is_a_usage_error() {
    let folder = initialized();
    let read = ["client", "read", "--stale", "--node", "n9"];
    run(folder.path(), read).expect_complaint(2, "the cluster has no node n9");
    let nodes = ["--nodes", "n1=127.0.0.1:1"];
    let output = run(folder.path(), read.into_iter().chain(nodes));
    output.expect_complaint(2, "no address of n9 is known");
}

#[test]
fn an_append_that_nobody_can_have_taken_is_given_up_at_a_signal() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_ports(3).to_string();
    run(folder.path(), ["init", "--base-port", &port]).expect_code(0);
    for words in [&["hi"][..], &["-"]] {
        let mut command = annal(folder.path());
        command.args(["client", "append", "--timeout", "1h"]).args(words);
        command.stdin(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // Held open: the end of the input would be the end of the append.
        let _input = child.stdin.take();
        wait_for("the client to listen to signals", || listens(child.id()).then_some(()));
        let id = child.id().to_string();
        assert!(Command::new("kill").args(["-s", "INT", &id]).status().unwrap().success());
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(3), "{stderr}");
        assert!(stderr.starts_with("error: interrupted"), "{stderr}");
        assert!(stderr.contains("\nhint: "), "{stderr}");
    }
}

#[test]
fn a_node_that_hangs_while_it_opens_its_folder_hears_signals() {
    let folder = initialized();
    // Nobody ever reads from it, so that whoever opens it to write waits for ever.
    let lock = folder.path().join("data/n1/lock");
    assert!(Command::new("mkfifo").arg(&lock).status().unwrap().success());
    let mut command = annal(folder.path());
    command.args(["node", "start", "--data", "data/n1"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    wait_for("the node to listen to signals", || listens(child.id()).then_some(()));
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-s", "TERM", &id]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    assert!(stderr.contains("stopped while the store was being opened"), "{stderr}");
}

/// Whether a process handles SIGINT, SIGTERM and SIGHUP itself.
fn listens(id: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let wanted = (1 << 1) | (1 << 14) | 1;
    caught.is_some_and(|mask| u64::from_str_radix(mask.trim(), 16).unwrap() & wanted == wanted)
}
