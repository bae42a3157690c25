//! Packages of others that tests run in Node: from `npm`, by version, once, into the folder for tests below
//! `target`.
#![allow(clippy::print_stderr, reason = "what was left out")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The folder in which a package is, as `@scope/name@1.2.3`, if it can be had: else the test that needs it says
/// so.
pub(super) fn installed(package: &str) -> Option<PathBuf> {
    let skip = |why: &str| {
        eprintln!("note: what needs {package} is not run: {why}");
        None
    };
    let is_there = |program: &str| Command::new(program).arg("--version").output().is_ok();
    if !is_there("node") || !is_there("npm") {
        return skip("there is no Node");
    }
    let name = package.trim_start_matches('@').replace(['/', '@'], "-");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&folder).unwrap();
    let done = folder.join("installed");
    if !done.exists() {
        let line = ["install", "--no-save", "--no-audit", "--no-fund", "--fetch-retries=0"];
        let mut npm = Command::new("npm");
        npm.args(line).args(["--fetch-timeout=60000", "--prefix", ".", package]);
        let output = npm.current_dir(&folder).output().unwrap();
        if !output.status.success() {
            return skip(&format!("npm cannot have it: {}", said(&output)));
        }
        fs::write(done, "").unwrap();
    }
    Some(folder)
}

/// All that a program said.
pub(super) fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text)).concat()
}
