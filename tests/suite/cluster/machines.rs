//! A cluster whose parts have a machine each, as `annal init --node` writes it: on one machine by names and
//! both families of addresses, and, as root, as docs/three-machines.md says, line by line, in a network
//! namespace for each machine.
//!
//! ```sh
//! cargo test --test suite machines -- --ignored
//! ```

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::harness::{alone, free_ports, wait_for};
use crate::power_cut;
use crate::program::{self, annal, finish};

/// A process of a machine, which ends with this.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts what the unit in a part's folder says, with this folder in the place of that on its machine.
fn start(folder: &Path) -> Process {
    let name = folder.file_name().unwrap().to_str().unwrap();
    let unit = if name == "registry" { "annal-registry.service" } else { "annal@.service" };
    let unit = fs::read_to_string(folder.join(unit)).unwrap();
    let line = unit.lines().find_map(|line| line.strip_prefix("ExecStart=annal ")).unwrap();
    let line = line
        .replace("%i", name)
        .replace("/var/lib/annal", folder.parent().unwrap().to_str().unwrap());
    let log = File::create(folder.with_extension("log")).unwrap();
    let mut command = annal(Path::new("/"));
    command.args(line.split(' ')).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    Process(command.spawn().unwrap())
}

#[test]
fn parts_of_machines_of_their_own_find_each_other_by_name() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let base = free_ports(3);
    let at = |host: &str, number: u16| format!("{host}:{}", base + number);
    let line = [
        "init",
        "--node",
        &format!("n1={}", at("localhost", 1)),
        "--node",
        &format!("n2={}", at("[::1]", 2)),
        // Nobody has it: n1 and n2 are a majority.
        "--node",
        "n3=nobody.invalid:7101",
        "--registry",
        // Whichever of the two leads: one of them binds an address of IPv6.
        &at("[::1]", 0),
        "--client",
        "app",
    ];
    let init = || program::run(folder.path(), line);
    let said = init().expect_code(0);
    assert!(said.stderr.contains("copy each folder of ./hosts to its machine"), "{}", said.stderr);
    program::run(folder.path(), ["up"]).expect_complaint(1, "for machines of their own");
    init().expect_complaint(1, "is already there");

    // Each to a place of its own, with nothing beside it.
    let parts = ["n1", "n2", "registry"].map(|part| {
        let machine = folder.path().join(format!("machine-{part}"));
        fs::create_dir(&machine).unwrap();
        fs::rename(folder.path().join("hosts").join(part), machine.join(part)).unwrap();
        machine.join(part)
    });
    let _running = parts.each_ref().map(|folder| start(folder));
    let app = folder.path().join("app");
    fs::rename(folder.path().join("clients/app"), &app).unwrap();
    program::run(&app, ["append", "by name", "--timeout", "60s"]).expect_code(0);
    assert_eq!(program::run(folder.path(), ["read"]).expect_code(0).text(), "by name\n");
    wait_for("the registry to hear of the leader", || {
        let leader = program::run(&app, ["registry", "leader", "--json"]);
        (leader.code == Some(0)).then_some(())
    });
    // An app is no admin, and has no such certificate.
    program::run(&app, ["crash-leader"]).expect_complaint(1, "admin.crt could not be read");

    // Ports of this machine that are in use are told of before anything is written.
    let elsewhere = line.into_iter().chain(["--dir", "elsewhere"]);
    let in_use = format!("{} is in use by another process; nothing was written", at("[::1]", 0));
    program::run(folder.path(), elsewhere).expect_complaint(1, &in_use);
    assert!(!folder.path().join("elsewhere/certs").exists());
}

#[test]
fn what_cannot_be_machines_is_a_usage_error() {
    let folder = tempfile::tempdir().unwrap();
    for (words, said) in [
        (&["--node", "n1=a.invalid:1", "--nodes", "3"][..], "cannot be used with"),
        (&["--node", "n1=a.invalid:1", "--base-port", "7100"], "cannot be used with"),
        (&["--client", "app"], "required arguments"),
        (&["--node", "n1"], "as n1=node1.example.org:7101"),
        (&["--node", "x=a.invalid:1"], "'x' is not a node's name"),
        (&["--node", "n1=a.invalid"], "'a.invalid' is no address"),
        (&["--node", "n1=0.0.0.0:7101"], "nobody can be reached at 0.0.0.0:7101"),
        (&["--node", "n1=a.invalid:1", "--node", "n2=a.invalid:1"], "a.invalid:1 is used twice"),
        (&["--node", "n1=a.invalid:1", "--node", "n1=b.invalid:1"], "says twice where n1 is"),
        (&["--node", "n1=a.invalid:1", "--client", "../app"], "cannot be issued for that name"),
    ] {
        let line = ["init"].into_iter().chain(words.iter().copied());
        program::run(folder.path(), line).expect_complaint(2, said);
    }
    assert!(fs::read_dir(folder.path()).unwrap().next().is_none());
}

/// The machines of the page, each a network namespace with names from a hosts file, and what stands for the
/// tools that reach them. Removed with this.
struct Network {
    folder: tempfile::TempDir,
    /// What the names of namespaces and links of this test begin with.
    prefix: String,
}

/// The machines in the order of their addresses. On the last one sits who administers.
const MACHINES: [&str; 4] = ["node1", "node2", "node3", "admin"];

/// Copies to a machine: to where its folders are.
const SCP: &str = r#"#!/bin/sh
set -e
for last; do :; done
machine=${last#root@}; machine=${machine%%.*}
for word; do case $word in -*|root@*) ;; *) cp -r "$word" "MACHINES/$machine${last#*:}" ;; esac; done
"#;

/// Runs a command on a machine: in its namespace, and with its own folders in their places.
const SSH: &str = r#"#!/bin/sh
machine=${1#root@}; machine=${machine%%.*}
exec ip netns exec PREFIX$machine unshare --mount sh -c '
    mount --bind MACHINES/$0/var/lib/annal /var/lib/annal &&
    mount --bind MACHINES/$0/etc/systemd/system /etc/systemd/system &&
    eval "$1"' "$machine" "$2"
"#;

/// Starts units as they say, but for what they ask to be protected from.
const SYSTEMCTL: &str = r#"#!/bin/sh
set -e
[ "$1 $2" = "enable --now" ]; shift 2
for name; do
    instance=${name#*@}
    case $name in *@*) file=${name%%@*}@.service ;; *) file=$name.service ;; esac
    line=$(sed -n "s/^ExecStart=//; t found; d; :found s/%i/$instance/g; p" /etc/systemd/system/$file)
    setsid $line </dev/null >/dev/null 2>>MACHINES/$name.log &
    echo $! >> MACHINES/processes
done
"#;

impl Network {
    fn new() -> Self {
        let prefix = format!("annal{}-", std::process::id());
        let network = Self { folder: tempfile::tempdir().unwrap(), prefix };
        let bridge = Self::link("b");
        ip(&["link", "add", &bridge, "type", "bridge"]);
        ip(&["link", "set", &bridge, "up"]);
        let address = |number: usize| format!("10.213.57.{number}");
        let entry = |(number, name): (usize, &&str)| {
            format!("{} {name}.example.org\n", address(number + 1))
        };
        let hosts: String = MACHINES.iter().enumerate().map(entry).collect();
        for (number, machine) in MACHINES.iter().enumerate() {
            let (space, link) = (network.space(machine), Self::link(&number.to_string()));
            fs::create_dir_all(Path::new("/etc/netns").join(&space)).unwrap();
            let file = Path::new("/etc/netns").join(&space).join("hosts");
            fs::write(file, format!("127.0.0.1 localhost\n{hosts}")).unwrap();
            ip(&["netns", "add", &space]);
            ip(&["link", "add", &link, "type", "veth", "peer", "name", "eth0", "netns", &space]);
            ip(&["link", "set", &link, "master", &bridge, "up"]);
            let own = format!("{}/24", address(number + 1));
            ip(&["-n", &space, "address", "add", &own, "dev", "eth0"]);
            ip(&["-n", &space, "link", "set", "eth0", "up"]);
            ip(&["-n", &space, "link", "set", "lo", "up"]);
            for folder in ["var/lib/annal", "etc/systemd/system"] {
                fs::create_dir_all(network.path(machine).join(folder)).unwrap();
            }
        }
        // Where each machine's own are mounted; the machine that tests need not have them.
        for folder in ["/var/lib/annal", "/etc/systemd/system"] {
            fs::create_dir_all(folder).unwrap();
        }
        for (tool, text) in [("scp", SCP), ("ssh", SSH), ("systemctl", SYSTEMCTL)] {
            let file = network.path("bin").join(tool);
            fs::create_dir_all(network.path("bin")).unwrap();
            let machines = network.folder.path().to_str().unwrap();
            let text = text.replace("MACHINES", machines).replace("PREFIX", &network.prefix);
            fs::write(&file, text).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let program = network.path("bin").join("annal");
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_annal"), program).unwrap();
        network
    }

    fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    fn space(&self, machine: &str) -> String {
        format!("{}{machine}", self.prefix)
    }

    /// Links have short names.
    fn link(which: &str) -> String {
        format!("an{}{which}", std::process::id())
    }

    /// Runs a line on the machine of who administers, in a folder of his.
    fn run(&self, line: &str) -> program::Output {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.space("admin"), "sh", "-c", line]);
        let path = format!("{}:{}", self.path("bin").display(), std::env::var("PATH").unwrap());
        command.current_dir(self.path("admin/home")).env("PATH", path).env_remove("CARGO");
        finish(command, b"")
    }

    /// What is written down of the processes that were started.
    fn processes(&self) -> Vec<String> {
        let file = fs::read_to_string(self.path("processes")).unwrap_or_default();
        file.lines().map(str::to_owned).collect()
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for process in self.processes() {
            let _ = Command::new("kill").args(["-s", "KILL", &process]).status();
        }
        // Unless it is somebody's.
        let _ = fs::remove_dir("/var/lib/annal");
        let bridge = Self::link("b");
        let _ = Command::new("ip").args(["link", "del", &bridge]).status();
        for machine in MACHINES {
            let _ = Command::new("ip").args(["netns", "del", &self.space(machine)]).status();
            let _ = fs::remove_dir_all(Path::new("/etc/netns").join(self.space(machine)));
        }
    }
}

fn ip(arguments: &[&str]) {
    power_cut::run("ip", arguments);
}

/// The lines of the page that are to be typed.
fn lines_of_the_page() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/three-machines.md")).unwrap();
    let blocks = page.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    blocks.flat_map(str::lines).map(str::to_owned).collect()
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn the_page_on_three_machines_is_as_it_says() {
    let _alone = alone();
    let network = Network::new();
    fs::create_dir_all(network.path("admin/home")).unwrap();
    let lines = lines_of_the_page();
    assert!(lines.len() >= 10, "{lines:?}");
    let mut said = String::new();
    for line in &lines {
        // Whoever types takes longer than an election does.
        let output = wait_for(&format!("`{line}` to succeed"), || {
            let output = network.run(line);
            let is_early = output.code == Some(3) && line.starts_with("annal status");
            (!is_early).then_some(output)
        });
        said.push_str(&output.expect_code(0).text());
    }
    assert!(said.contains("from the fourth machine\n"), "{said}");
    let key = |place: &str| network.path(place).join("var/lib/annal");
    for machine in ["node1", "node2", "node3"] {
        let found = Command::new("find").arg(key(machine)).args(["-name", "ca.key"]).output();
        assert!(found.unwrap().stdout.is_empty(), "{machine} has the authority's key");
    }

    // A machine that is cut off takes nothing with it.
    ip(&["-n", &network.space("node3"), "link", "set", "eth0", "down"]);
    network.run("annal append 'by two' --timeout 60s").expect_code(0);
    let read = network.run("annal read").expect_code(0).text();
    assert_eq!(read, "from the fourth machine\nwithout the copies\nby two\n");
    for process in network.processes() {
        power_cut::run("kill", &["-s", "TERM", &process]);
        let gone = || (!Path::new("/proc").join(&process).join("exe").exists()).then_some(());
        wait_for("a node to stop", gone);
    }
    fs::remove_file(network.path("processes")).unwrap();
}
