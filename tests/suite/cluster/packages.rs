//! What is made for whole machines: the units, under a systemd of their own, the Debian package, and the
//! composition of containers. Nobody has to have `cargo deb` or a Docker for these; `docs/packages.md` says how the
//! packages themselves are made.
//!
//! ```sh
//! cargo test --test suite packages -- --ignored
//! ```

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::harness::{alone, free_ports, wait_for};
use crate::program::{self, finish};

/// The parts of a cluster, as systemd calls them.
const UNITS: [&str; 4] = ["annal-registry", "annal@n1", "annal@n2", "annal@n3"];

/// Boots a systemd whose root is the first word, where the second is /usr/local/bin, until the target of the tests.
/// It has the programs and the network of this machine, and a /run which nobody else has.
const BOOT: &str = "mount -t tmpfs tmpfs /run && exec systemd-nspawn --quiet --directory=$0 --bind-ro=/usr \
    --bind-ro=$1:/usr/local/bin --register=no --keep-unit --link-journal=no --console=pipe --boot \
    systemd.unit=test.target";

/// A systemd of its own, in a folder. It is shut down with this.
struct Machine(Child);

impl Machine {
    fn boot(root: &Path) -> Self {
        let program = Path::new(env!("CARGO_BIN_EXE_annal"));
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", BOOT]).arg(root).arg(program.parent().unwrap());
        let log = fs::File::create(root.with_extension("log")).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let machine = Self(command.spawn().unwrap());
        wait_for("systemd to be up", || {
            (machine.systemctl(&["is-active", "test.target"]).code == Some(0)).then_some(())
        });
        machine
    }

    /// The first process in it, by the number that it has outside.
    fn first_process(&self) -> Option<String> {
        let children = format!("/proc/{0}/task/{0}/children", self.0.id());
        fs::read_to_string(children).ok()?.split_whitespace().next().map(str::to_owned)
    }

    /// Runs `systemctl` in it.
    fn systemctl(&self, words: &[&str]) -> program::Output {
        let mut command = Command::new("nsenter");
        let first = self.first_process().unwrap_or_default();
        let inside = ["--mount", "--uts", "--ipc", "--pid", "--root", "--wd", "systemctl"];
        command.args(["--target", &first]).args(inside).args(words);
        finish(command, b"")
    }

    fn expect(&self, words: &[&str]) {
        self.systemctl(words).expect_code(0);
    }

    /// What systemd knows of a unit.
    fn show(&self, unit: &str, property: &str) -> String {
        let output = self.systemctl(&["show", "--value", "--property", property, unit]);
        output.expect_code(0).text().trim().to_owned()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-s", "TERM", &self.0.id().to_string()]).status();
        if program::wait(&mut self.0, Duration::from_mins(1)).is_none() {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
}

/// Writes a file of a machine.
fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

#[test]
#[ignore = "needs root: boots a systemd"]
fn a_systemd_runs_the_units_with_all_that_they_forbid() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let annal = |words: &[&str]| program::run(folder.path(), words);
    let base = free_ports(3);
    let at = |number: u16| format!("127.0.0.1:{}", base + number);
    let mut line = vec!["init".to_owned(), "--registry".to_owned(), at(0)];
    for number in 1..=3 {
        line.extend(["--node".to_owned(), format!("n{number}={}", at(number))]);
    }
    program::run(folder.path(), line).expect_code(0);

    // The folders as they are copied, and the units where systemd looks.
    let root = folder.path().join("root");
    for link in ["bin", "sbin", "lib", "lib64"] {
        fs::create_dir_all(root.join("usr")).unwrap();
        std::os::unix::fs::symlink(Path::new("usr").join(link), root.join(link)).unwrap();
    }
    write(&root, "etc/passwd", "root:x:0:0::/root:/bin/sh\n");
    write(&root, "etc/group", "root:x:0:\n");
    write(&root, "etc/os-release", "ID=annal-test\n");
    let services: String = UNITS.map(|unit| format!(" {unit}.service")).concat();
    let target = format!("[Unit]\nRequires=basic.target\nWants={services}\n");
    write(&root, "etc/systemd/system/test.target", &target);
    let data = root.join("var/lib/annal");
    fs::create_dir_all(&data).unwrap();
    for part in ["registry", "n1", "n2", "n3"] {
        let name = if part == "registry" { "annal-registry.service" } else { "annal@.service" };
        let written = folder.path().join("hosts").join(part);
        fs::rename(written.join(name), root.join("etc/systemd/system").join(name)).unwrap();
        fs::rename(&written, data.join(part)).unwrap();
    }

    let machine = Machine::boot(&root);
    annal(&["append", "by a user that was made up", "--timeout", "60s"]).expect_code(0);
    assert!(fs::symlink_metadata(data.join("n1")).unwrap().is_symlink());
    let process = machine.show("annal@n2", "MainPID");
    machine.expect(&["reload", "annal@n2", "annal-registry"]);
    machine.expect(&["kill", "--signal", "KILL", "annal@n1"]);
    wait_for("systemd to start n1 again", || {
        (machine.show("annal@n1", "NRestarts") == "1").then_some(())
    });
    wait_for("all three to answer", || {
        let said = annal(&["status", "--timeout", "60s"]).text();
        (!said.contains("unreachable") && said.contains("Leader_Term")).then_some(())
    });
    assert_eq!(machine.show("annal@n2", "MainPID"), process, "a reload is no restart");
    machine.expect(&[&["stop"][..], &UNITS].concat());
    for unit in UNITS {
        assert_eq!(machine.show(unit, "Result"), "success", "{unit} stops in good order");
    }

    // What the Debian package adds. The folders come back to where they are said to be.
    let add = |path: &str, line: &str| {
        let mut file = OpenOptions::new().append(true).open(root.join(path)).unwrap();
        file.write_all(line.as_bytes()).unwrap();
    };
    add("etc/passwd", "annal:x:990:990::/var/lib/annal:/usr/sbin/nologin\n");
    add("etc/group", "annal:x:990:\n");
    let own = include_str!("../../../packaging/debian/user.conf");
    for unit in ["annal@", "annal-registry"] {
        write(&root, &format!("etc/systemd/system/{unit}.service.d/user.conf"), own);
    }
    machine.expect(&["daemon-reload"]);
    machine.expect(&[&["start"][..], &UNITS].concat());
    annal(&["append", "by annal", "--timeout", "60s"]).expect_code(0);
    assert_eq!(annal(&["read"]).expect_code(0).text(), "by a user that was made up\nby annal\n");
    for part in ["registry", "n1", "n2", "n3"] {
        let kept = fs::symlink_metadata(data.join(part)).unwrap();
        assert!(kept.is_dir() && kept.uid() == 990 && kept.mode() & 0o777 == 0o700, "{kept:?}");
    }
    machine.expect(&[&["stop"][..], &UNITS].concat());
}

fn source(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

fn manifest() -> toml::Table {
    source("Cargo.toml").parse().unwrap()
}

/// The program takes these words.
fn accept(words: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    program::run(folder.path(), words.iter().chain(&["--help"])).expect_code(0);
}

/// What stands behind a key in each line of a text that has it.
fn values<'a>(text: &'a str, key: &'a str) -> impl Iterator<Item = &'a str> {
    text.lines().filter_map(move |line| line.trim_start().strip_prefix(key))
}

/// The lists of words that stand behind a key.
fn lists(text: &str, key: &str) -> Vec<Vec<String>> {
    values(text, key).map(|list| serde_json::from_str(list).unwrap()).collect()
}

#[test]
fn units_forbid_the_same_and_say_what_is_not_tried_again() {
    let [node, registry] =
        ["annal@", "annal-registry"].map(|unit| source(&format!("packaging/{unit}.service")));
    let forbidden = |unit: &str| unit.split_once("# It needs its folder").unwrap().1.to_owned();
    assert_eq!(forbidden(&node), forbidden(&registry));
    for (unit, outcomes) in [
        (&node, [annal::Outcome::Usage, annal::Outcome::ConditionNotMet]),
        (&registry, [annal::Outcome::Usage, annal::Outcome::Damage]),
    ] {
        let codes = values(unit, "RestartPreventExitStatus=").next().unwrap();
        let expected = outcomes.map(|outcome| outcome.exit_code().to_string());
        assert_eq!(codes.split(' ').collect::<Vec<_>>(), expected);
        let line = values(unit, "ExecStart=annal ").next().unwrap();
        accept(&line.split(' ').collect::<Vec<_>>());
    }
}

#[test]
fn what_the_debian_package_is_made_of_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    // The script as it is, with this program, and a cargo that writes down what it is asked for.
    let folder = tempfile::tempdir().unwrap();
    let path = |below: &str| folder.path().join(below);
    for made in ["packaging", "bin", "target/release"] {
        fs::create_dir_all(path(made)).unwrap();
    }
    let script = path("packaging/make-deb");
    fs::copy(root.join("packaging/make-deb"), &script).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_annal"), path("target/release/annal")).unwrap();
    fs::write(path("bin/cargo"), "#!/bin/sh\necho \"$@\"\n").unwrap();
    fs::set_permissions(path("bin/cargo"), fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new(script);
    let programs = format!("{}:{}", path("bin").display(), std::env::var("PATH").unwrap());
    command.env("PATH", programs).env_remove("CARGO_TARGET_DIR").arg("--fast");
    let said = finish(command, b"").expect_code(0).text();
    assert!(said.starts_with("build --release --locked\n"), "{said}");
    assert!(said.ends_with("deb --no-build --locked --fast\n"), "{said}");

    let manifest = manifest();
    let packed = &manifest["package"]["metadata"]["deb"];
    let mut targets = BTreeSet::new();
    for asset in packed["assets"].as_array().unwrap() {
        let [source, target, mode] = [0, 1, 2].map(|at| asset[at].as_str().unwrap());
        let base = if source.starts_with("target/") { folder.path() } else { root };
        let (above, pattern) = source.rsplit_once('/').unwrap_or((".", source));
        let is_there = if pattern == "*" {
            fs::read_dir(base.join(above)).unwrap().all(|entry| entry.unwrap().path().is_file())
        } else {
            base.join(source).metadata().unwrap().len() > 0
        };
        assert!(is_there, "{source}");
        assert_eq!(mode == "755", target.contains("bin/"), "{source}");
        assert!(targets.insert((target, pattern)), "{source} is packed twice");
    }
    let scripts = root.join(packed["maintainer-scripts"].as_str().unwrap());
    for script in ["postinst", "prerm", "postrm"] {
        let path = scripts.join(script);
        let mut command = Command::new("sh");
        command.arg("-n").arg(&path);
        finish(command, b"").expect_code(0);
        assert!(path.metadata().unwrap().mode() & 0o111 != 0, "{script} cannot be run");
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains("\nset -e\n"), "{script} goes on after an error");
        // It starts, enables and restarts nothing.
        for words in text.split("systemctl ").skip(1) {
            let verb = words.split_whitespace().next().unwrap();
            assert!(["daemon-reload", "list-units", "stop"].contains(&verb), "{script}: {verb}");
        }
    }
}

#[test]
fn containers_are_given_what_the_program_takes_and_init_has_written() {
    let dockerfile = source("Dockerfile");
    let version = manifest()["package"]["rust-version"].as_str().unwrap().to_owned();
    assert!(dockerfile.contains(&format!("\nFROM rust:{version}-")), "built with another Rust");
    assert_eq!(lists(&dockerfile, "ENTRYPOINT "), [["annal"]]);
    for words in lists(&dockerfile, "CMD ") {
        accept(&words.iter().map(String::as_str).collect::<Vec<_>>());
    }
    for name in values(&source(".dockerignore"), "!") {
        assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(name).exists(), "{name}");
    }

    // What docs/packages.md says to do before.
    let page = source("docs/packages.md");
    let line = page.lines().find_map(|line| line.split_once(" annal init ")).unwrap().1;
    let folder = tempfile::tempdir().unwrap();
    program::run(folder.path(), ["init"].into_iter().chain(line.split(' '))).expect_code(0);
    let known = folder.path().join("clients/app/certs/cluster.toml");
    let known = fs::read_to_string(known).unwrap();

    let compose = source("compose.yaml");
    let mut starts = 0;
    for words in lists(&compose, "command: ").into_iter().chain(lists(&compose, "test: ")) {
        let mut words: Vec<_> = words.iter().map(String::as_str).collect();
        if words.starts_with(&["CMD", "annal"]) {
            words.drain(..2);
            let (_, behind) =
                words.split_at(words.iter().position(|word| *word == "--node").unwrap());
            let address = format!("{0} = \"{0}:", behind[1]);
            assert!(known.contains(&address), "{address} is nowhere in {known}");
        }
        accept(&words);
        starts += usize::from(words.contains(&"start"));
    }
    assert_eq!(starts, 4, "looked in the wrong way?");
    for volume in lists(&compose, "volumes: ").concat() {
        let (written, place) = volume.split_once(':').unwrap();
        assert!(folder.path().join(written).is_dir(), "{written}");
        let data = compose.contains(&format!("\"--data\", \"{place}\"]"));
        assert!(data || place == "/app:ro", "{place} is nobody's --data");
    }
}
