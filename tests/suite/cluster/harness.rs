//! A cluster of real processes for a test.
//!
//! It has a folder of its own and free ports, runs alone on the machine (a file lock sees to
//! that), and nothing of it outlives the test. Nothing here sleeps for a fixed time and hopes:
//! everything waits for what it needs, up to a minute, and says what it was waiting for.
#![allow(clippy::print_stderr, reason = "what the processes of a failed test said")]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read as _;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::program::{self, Output, annal};

/// Whatever a test waits for comes within this time, on however slow a machine.
const PATIENCE: Duration = Duration::from_mins(1);
const POLL: Duration = Duration::from_millis(25);
/// Attempts to find ports that nobody takes in between.
const START_ATTEMPTS: u32 = 5;

/// What kind of cluster.
#[derive(Clone, Copy)]
pub(crate) struct Kind {
    pub(crate) nodes: u16,
    pub(crate) production: bool,
    /// Four times the default times: for tests that do not measure any.
    pub(crate) is_slow: bool,
    /// Nodes that lost their data begin anew by themselves, as is usual; else they end.
    pub(crate) recovers: bool,
}

impl Default for Kind {
    fn default() -> Self {
        Self { nodes: 3, production: false, is_slow: true, recovers: false }
    }
}

/// A process of the cluster: a node or the registry.
struct Process {
    child: Child,
    /// Where its last start begins in its log.
    log_start: usize,
}

pub(crate) struct Cluster {
    folder: tempfile::TempDir,
    base_port: u16,
    kind: Kind,
    processes: BTreeMap<String, Process>,
    /// What its processes find in their environment besides the usual.
    environment: Vec<(String, String)>,
    /// Held as long as the cluster lives.
    alone: File,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for process in self.processes.values_mut() {
            let _ = process.child.kill();
            let _ = process.child.wait();
        }
        if thread::panicking() {
            for name in self.names() {
                let log = self.log(&name);
                let lines: Vec<_> = log.lines().rev().take(25).collect();
                eprintln!("--- the last lines of {name}");
                lines.iter().rev().for_each(|line| eprintln!("{line}"));
            }
        }
    }
}

/// Waits until it is this test's turn to have processes of its own.
pub(crate) fn alone() -> File {
    let path = std::env::temp_dir().join("annal-tests.lock");
    let file = File::options().create(true).truncate(false).write(true).open(path).unwrap();
    file.lock().unwrap();
    file
}

/// From a port of a cluster to that of its first door for HTTP, less one.
pub(crate) const HTTP_PORTS_AFTER: u16 = 80;

/// A port with `count` free ones after it, and as many for HTTP, all of this machine's loopback.
pub(crate) fn free_ports(count: u16) -> u16 {
    let is_free = |port| {
        UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
            && TcpListener::bind((Ipv4Addr::LOCALHOST, port + HTTP_PORTS_AFTER)).is_ok()
    };
    loop {
        let found = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        if found.checked_add(HTTP_PORTS_AFTER + count).is_some()
            && (found..=found + count).all(is_free)
        {
            return found;
        }
    }
}

/// Waits for something, and says so if it does not come.
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        thread::sleep(POLL);
    }
}

impl Cluster {
    /// A cluster that is configured and of which nothing runs yet.
    pub(crate) fn prepared(kind: Kind) -> Self {
        let mut cluster = Self::unwritten(kind, alone());
        cluster.init(&[]);
        cluster
    }

    /// Another one, whose nodes begin with the log of these backups. Of this one nothing runs any more.
    pub(crate) fn restored(&self, kind: Kind, backups: &[PathBuf]) -> Self {
        let mut cluster = Self::unwritten(kind, self.alone.try_clone().unwrap());
        cluster.init(backups);
        cluster
    }

    fn unwritten(kind: Kind, alone: File) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let base_port = free_ports(kind.nodes);
        let (processes, environment) = (BTreeMap::new(), vec![]);
        Self { folder, base_port, kind, processes, environment, alone }
    }

    /// A cluster that is up: it has a leader, and every node and the registry answer.
    pub(crate) fn started(kind: Kind) -> Self {
        let mut cluster = Self::prepared(kind);
        for _ in 0..START_ATTEMPTS {
            cluster.start_all();
            if cluster.is_up_soon() {
                return cluster;
            }
            // Somebody took a port since we looked: all over again, on others.
            for name in cluster.names() {
                cluster.kill(&name);
            }
            for folder in ["certs", "data", "logs"] {
                fs::remove_dir_all(cluster.path(folder)).unwrap();
            }
            cluster.base_port = free_ports(kind.nodes);
            cluster.init(&[]);
        }
        panic!("no ports could be had");
    }

    fn init(&mut self, backups: &[PathBuf]) {
        let (nodes, base_port) = (self.kind.nodes.to_string(), self.base_port.to_string());
        let mut line = vec!["init", "--nodes", &nodes, "--base-port", &base_port];
        if self.kind.production {
            line.push("--production");
        }
        for backup in backups {
            line.extend(["--from", backup.to_str().unwrap()]);
        }
        program::run(self.folder(), line).expect_code(0);
        fs::create_dir(self.path("logs")).unwrap();
        if !self.kind.recovers {
            for node in self.nodes() {
                self.change_config(&node, "recover = \"auto\"", "recover = \"manual\"");
            }
        }
        if self.kind.is_slow {
            for node in self.nodes() {
                self.change_config(&node, "heartbeat_ms = 25", "heartbeat_ms = 100");
                self.change_config(&node, "min = 150, max = 300", "min = 600, max = 1200");
            }
        }
    }

    /// Whether all is up within the usual patience; not, if a port was taken.
    fn is_up_soon(&mut self) -> bool {
        wait_for("the cluster to be up", || {
            let names: Vec<String> = self.processes.keys().cloned().collect();
            let lost = names.iter().any(|name| self.has_ended(name).is_some());
            if lost {
                let is_port = names.iter().any(|name| self.log(name).contains("in use"));
                assert!(is_port, "a process ended at its start");
                return Some(false);
            }
            let status = self.status();
            let nodes = status["nodes"].as_array()?;
            let all = nodes.len() == usize::from(self.kind.nodes)
                && nodes.iter().all(|node| node["reachable"] == true)
                && status["registry"]["reachable"] == true
                && status["leader"].is_string();
            all.then_some(true)
        })
    }

    /// The cluster's folder, which holds `certs/` and `data/`.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.folder().join(below)
    }

    pub(crate) fn base_port(&self) -> u16 {
        self.base_port
    }

    /// The nodes' names.
    pub(crate) fn nodes(&self) -> Vec<String> {
        (1..=self.kind.nodes).map(|number| format!("n{number}")).collect()
    }

    /// The names of all processes: the registry and the nodes.
    pub(crate) fn names(&self) -> Vec<String> {
        [String::from("registry")].into_iter().chain(self.nodes()).collect()
    }

    /// Replaces a text in a node's configuration, which has to contain it.
    pub(crate) fn change_config(&self, node: &str, from: &str, to: &str) {
        let path = self.path(&format!("data/{node}/node.toml"));
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{from} is not in\n{text}");
        fs::write(&path, text.replace(from, to)).unwrap();
    }

    /// The command that starts a process of the cluster in the foreground.
    /// Segments of a MiB: the least there is.
    pub(crate) fn make_segments_small(&self) {
        for node in self.nodes() {
            let file = fs::read_to_string(self.path(&format!("data/{node}/node.toml"))).unwrap();
            let line = file.lines().find(|line| line.starts_with("segment_bytes")).unwrap();
            self.change_config(&node, line, "segment_bytes = 1048576");
        }
    }

    pub(crate) fn start_command(&self, name: &str) -> Command {
        let mut command = annal(self.folder());
        let noun = if name == "registry" { "registry" } else { "node" };
        command.args([noun, "start", "--data", &format!("./data/{name}")]);
        command
    }

    /// What the processes that are started from now on find in their environment.
    pub(crate) fn set_environment(&mut self, variables: &[(&str, &str)]) {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        self.environment = variables.iter().map(owned).collect();
    }

    pub(crate) fn start_all(&mut self) {
        for name in self.names() {
            self.start(&name);
        }
    }

    /// Starts a process, which must not be running.
    pub(crate) fn start(&mut self, name: &str) {
        assert!(!self.is_running(name), "{name} runs already");
        let path = self.path(&format!("logs/{name}.log"));
        let log = File::options().create(true).append(true).open(path).unwrap();
        let log_start = usize::try_from(log.metadata().unwrap().len()).unwrap();
        let mut command = self.start_command(name);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        command.envs(self.environment.iter().cloned());
        let child = command.spawn().unwrap();
        self.processes.insert(name.to_owned(), Process { child, log_start });
    }

    pub(crate) fn is_running(&mut self, name: &str) -> bool {
        self.processes.contains_key(name) && self.has_ended(name).is_none()
    }

    /// How a process ended, if it was started and has.
    pub(crate) fn has_ended(&mut self, name: &str) -> Option<ExitStatus> {
        self.processes.get_mut(name)?.child.try_wait().unwrap()
    }

    /// The number of a process that was started.
    pub(crate) fn id(&self, name: &str) -> u32 {
        self.processes[name].child.id()
    }

    /// Waits until a process has ended.
    #[track_caller]
    pub(crate) fn wait_for_end(&mut self, name: &str) -> ExitStatus {
        wait_for(&format!("{name} to end"), || self.has_ended(name))
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self, name: &str) {
        if let Some(process) = self.processes.get_mut(name) {
            let _ = process.child.kill();
            process.child.wait().unwrap();
        }
    }

    /// `kill -9` of all at once.
    pub(crate) fn kill_all(&mut self) {
        for process in self.processes.values_mut() {
            let _ = process.child.kill();
        }
        for name in self.names() {
            self.wait_for_end(&name);
        }
    }

    /// Sends a signal by its name, as `TERM` or `STOP`.
    pub(crate) fn signal(&self, name: &str, signal: &str) {
        let id = self.processes[name].child.id().to_string();
        let status = Command::new("kill").args(["-s", signal, &id]).status().unwrap();
        assert!(status.success(), "{name} could not be sent SIG{signal}");
    }

    /// Stops a process in an orderly way, which has to succeed.
    #[track_caller]
    pub(crate) fn stop(&mut self, name: &str) {
        self.signal(name, "TERM");
        let status = self.wait_for_end(name);
        assert_eq!(status.code(), Some(0), "{name}: {status}");
    }

    #[track_caller]
    pub(crate) fn stop_all(&mut self) {
        for name in self.names() {
            if self.is_running(&name) {
                self.signal(&name, "TERM");
            }
        }
        for name in self.names() {
            if self.processes.contains_key(&name) {
                self.wait_for_end(&name);
            }
        }
    }

    /// What a process has logged, from its first start on.
    pub(crate) fn log(&self, name: &str) -> String {
        let mut text = Vec::new();
        if let Ok(mut file) = File::open(self.path(&format!("logs/{name}.log"))) {
            file.read_to_end(&mut text).unwrap();
        }
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Waits for a line with these words in the log of a process since its last start.
    #[track_caller]
    pub(crate) fn wait_for_line(&self, name: &str, words: &str) -> String {
        let start = self.processes[name].log_start;
        wait_for(&format!("'{words}' in the log of {name}"), || {
            let log = self.log(name);
            let found = log.get(start..)?.lines().find(|line| line.contains(words))?;
            Some(found.to_owned())
        })
    }

    /// Runs a command of the program in the cluster's folder.
    #[track_caller]
    pub(crate) fn run<A: AsRef<OsStr>>(&self, line: impl IntoIterator<Item = A>) -> Output {
        program::run(self.folder(), line)
    }

    /// Runs `annal client …`.
    #[track_caller]
    pub(crate) fn client<'a>(&self, line: impl IntoIterator<Item = &'a str>) -> Output {
        self.run(["client"].into_iter().chain(line))
    }

    /// The cluster's state as `status --json` has it, leader or not.
    #[track_caller]
    pub(crate) fn status(&self) -> Value {
        let output = self.client(["status", "--json"]);
        assert!(matches!(output.code, Some(0 | 3)), "{:?}: {}", output.code, output.stderr);
        output.json().swap_remove(0)
    }

    /// Waits for a leader. Returns its name.
    #[track_caller]
    pub(crate) fn leader(&self) -> String {
        wait_for("a leader", || self.status()["leader"].as_str().map(ToOwned::to_owned))
    }

    /// Waits until every running node knows all that is committed.
    #[track_caller]
    pub(crate) fn wait_until_caught_up(&mut self) {
        let running = self.nodes().iter().filter(|node| self.is_running(node)).count();
        wait_for("all nodes to catch up", || {
            let status = self.status();
            let nodes = status["nodes"].as_array()?;
            let leader = nodes.iter().find(|node| node["node"] == status["leader"])?;
            let knows_all = |node: &&Value| node["commit_index"] == leader["commit_index"];
            (nodes.iter().filter(knows_all).count() == running).then_some(())
        });
    }

    /// Appends records as one request, which has to succeed. Returns the answer.
    #[track_caller]
    pub(crate) fn append(&self, records: &[&str]) -> Value {
        let line = ["append", "--json", "--timeout", "30s", "--"].iter().chain(records).copied();
        self.client(line).expect_code(0).json().swap_remove(0)
    }

    /// All records of the log, as text.
    #[track_caller]
    pub(crate) fn records(&self) -> Vec<String> {
        let output = self.client(["read", "--json", "--timeout", "30s"]).expect_code(0);
        let records = output.json();
        for (record, offset) in records.iter().zip(0..) {
            assert_eq!(record["offset"], offset, "offsets are dense");
        }
        records.iter().map(|record| record["record"].as_str().unwrap().to_owned()).collect()
    }

    /// What `node inspect --json` says of a stopped node, up to an entry or to the end.
    #[track_caller]
    pub(crate) fn inspect(&self, node: &str, at: Option<u64>) -> Value {
        let mut line = vec!["node".to_owned(), "inspect".to_owned(), "--json".to_owned()];
        line.extend(["--data".to_owned(), format!("./data/{node}")]);
        if let Some(at) = at {
            line.extend(["--at".to_owned(), at.to_string()]);
        }
        self.run(line).expect_code(0).json().swap_remove(0)
    }

    /// The logs of all nodes, which have stopped, are equal up to the lowest last entry. Returns
    /// that.
    #[track_caller]
    pub(crate) fn expect_equal_logs(&self) -> u64 {
        let nodes = self.nodes();
        let last = |node: &String| self.inspect(node, None)["last_index"].as_u64().unwrap();
        let lowest = nodes.iter().map(last).min().unwrap();
        let chains: Vec<Value> =
            nodes.iter().map(|node| self.inspect(node, Some(lowest))["chain"].clone()).collect();
        assert!(chains.iter().all(|chain| chain.is_string() && *chain == chains[0]), "{chains:?}");
        lowest
    }
}
