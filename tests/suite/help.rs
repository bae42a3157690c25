//! The help of every command, as people see it on a terminal of 80 columns.
//!
//! A file each in `tests/help/`; `UPDATE_GOLDENFILES=1 cargo test --test suite help` writes them anew.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::program::{annal, finish};

/// The help of a command, and of all below it, by the names of their files.
fn helps(words: &[&str], found: &mut BTreeMap<String, String>) {
    let folder = tempfile::tempdir().unwrap();
    let mut command = annal(folder.path());
    command.args(words).arg("--help").env("COLUMNS", "80");
    let help = finish(command, b"").expect_code(0).text();
    let commands = help.split("\nCommands:\n").nth(1).unwrap_or_default();
    let commands = commands.lines().take_while(|line| !line.is_empty());
    let names = commands.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    for name in names.filter(|name| !name.is_empty() && *name != "help") {
        helps(&[words, &[name]].concat(), found);
    }
    found.insert([&["annal"], words].concat().join("-") + ".txt", help);
}

#[test]
fn help_is_what_was_recorded() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/help");
    let mut found = BTreeMap::new();
    helps(&[], &mut found);
    assert!(found.len() > 25, "only {} commands: looked in the wrong way?", found.len());
    if std::env::var_os("UPDATE_GOLDENFILES").is_some() {
        fs::remove_dir_all(&folder).unwrap();
        fs::create_dir(&folder).unwrap();
        for (name, help) in &found {
            fs::write(folder.join(name), help).unwrap();
        }
    }
    let files = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap());
    let text = |path| fs::read_to_string(path).unwrap();
    let recorded: BTreeMap<_, _> =
        files.map(|entry| (entry.file_name().into_string().unwrap(), text(entry.path()))).collect();
    assert!(found.keys().eq(recorded.keys()), "{:?} {:?}", found.keys(), recorded.keys());
    for (name, help) in &found {
        assert_eq!(*help, recorded[name], "{name}: see the head of this file");
        let too_wide = help.lines().find(|line| line.chars().count() > 80);
        assert_eq!(too_wide, None, "{name}");
    }
}
