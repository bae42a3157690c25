//! The floors of the source: imports go only downward, and each dependency has one door.
//!
//! ```text
//!   8  cli                      4  registry            1  raft
//!   7  node                     3  replica   net       0  types  address  config
//!   6  http   sim               2  store     wire         limits  bounded  entry  remedy  outcome
//!   5  client                                             marks  mutants
//! ```
//!
//! Modules of one floor do not know each other, those of floor 0 excepted: they are one folder's
//! worth of plain types. The check reads the text of the sources, comments and strings left out.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Every module at the top of the crate and its floor.
const FLOORS: &[(&str, u32)] = &[
    ("cli", 8),
    ("node", 7),
    ("http", 6),
    ("sim", 6),
    ("client", 5),
    ("registry", 4),
    ("replica", 3),
    ("net", 3),
    ("store", 2),
    ("wire", 2),
    ("raft", 1),
    ("types", 0),
    ("access", 0),
    ("address", 0),
    ("config", 0),
    ("remedy", 0),
    ("retention", 0),
    ("outcome", 0),
    ("limits", 0),
    ("base64", 0),
    ("bounded", 0),
    ("command", 0),
    ("members", 0),
    ("housekeeping", 0),
    ("date", 0),
    ("label", 0),
    ("log_name", 0),
    ("log_settings", 0),
    ("entry", 0),
    ("marks", 0),
    ("mutants", 0),
];

/// Every crate with a door, and the paths below `src/` that may name it.
const DOORS: &[(&str, &[&str])] = &[
    ("http_body_util", &["http/"]),
    ("hyper", &["http/"]),
    ("hyper_util", &["http/"]),
    ("tokio_rustls", &["http/tls.rs"]),
    ("ring", &["access/keys.rs"]),
    ("data_encoding", &["access/"]),
    ("sled", &["store/"]),
    ("quinn", &["net/"]),
    ("quinn_proto", &["net/"]),
    ("rustls", &["net/tls.rs"]),
    ("rcgen", &["net/issue.rs"]),
    ("x509_parser", &["net/certificate.rs"]),
    ("clap", &["cli/"]),
    ("clap_complete", &["cli/paper.rs", "cli/args.rs"]),
    ("clap_mangen", &["cli/paper.rs"]),
    ("indicatif", &["cli/"]),
    ("rustyline", &["cli/shell/editor.rs"]),
    ("ratatui", &["cli/top/"]),
    ("hdrhistogram", &["cli/bench/"]),
    ("rand_chacha", &["sim/random.rs"]),
];

/// What the pure core must not name.
const IMPURE: &[&str] = &[
    "std::fs",
    "std::net",
    "std::io",
    "std::thread",
    "std::time",
    "std::process",
    "std::env",
    "tokio",
    "tracing",
    "getrandom",
    "async",
    "HashMap",
    "HashSet",
    "SystemTime",
    "Instant",
];

#[test]
fn imports_go_only_downward_and_each_dependency_has_one_door() {
    let complaints: Vec<_> = sources().iter().flat_map(|(path, text)| check(path, text)).collect();
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn every_module_has_a_floor() {
    for (path, _) in sources() {
        let module = module_of(&path);
        let has_floor = FLOORS.iter().any(|(name, _)| *name == module);
        assert!(has_floor || ["lib", "main"].contains(&module), "{path} has no floor");
    }
}

/// Within a folder, too, files know each other in one direction: then one can be read, and changed,
/// without the others.
#[test]
fn the_files_of_a_folder_know_each_other_in_one_direction() {
    let sources: Vec<_> =
        sources().into_iter().map(|(path, text)| (path, code_only(&text))).collect();
    let found = circles(&sources);
    assert!(found.is_empty(), "files that know each other in circles: {found:#?}");
}

#[test]
fn a_circle_of_files_is_found_and_a_chain_is_not() {
    let file = |path: &str, text: &str| (path.to_owned(), code_only(text));
    let circle = [
        file("net/a.rs", "use super::b;"),
        file("net/b.rs", "use super::{d::X, c::{self, Y}};"),
        file("net/c.rs", "fn f() { crate::net::a::f() }"),
        file("net/d.rs", "use super::super::net; use crate::wire::a;"),
        file("net/mod.rs", "use super::a; mod b;"),
    ];
    assert_eq!(circles(&circle), ["net: a b c"]);
    assert_eq!(circles(&circle[..2]), [""; 0]);
    let in_tests = file(
        "net/c.rs",
        "struct S;\n#[cfg(test)]\nmod tests { use super::super::a; use super::a; }",
    );
    assert_eq!(circles(&[circle[0].clone(), circle[1].clone(), in_tests]), [""; 0]);
}

#[test]
fn the_lock_file_holds_the_versions_that_matter() {
    let lock = fs::read_to_string(root().join("Cargo.lock")).unwrap();
    assert_eq!(versions(&lock, "sled"), [[0, 34, 7]], "its file format and habits are ours");
    let proto = versions(&lock, "quinn-proto");
    assert!(!proto.is_empty());
    for version in proto {
        assert!(version >= [0, 11, 18], "{version:?} has known ways to be crashed from outside");
    }
    for unwanted in ["aws-lc-rs", "openraft", "turmoil", "madsim"] {
        assert!(versions(&lock, unwanted).is_empty(), "{unwanted} came in");
    }
}

#[test]
fn the_check_can_convict() {
    let cases = [
        ("raft/log.rs", "use crate::store::Store;", "floor 1 may not know store"),
        ("raft/log.rs", "use crate::{types, node};", "floor 1 may not know node"),
        ("raft/log.rs", "use crate::{\n    types::{Index, Term},\n    wire::api,\n};", "wire"),
        ("raft/log.rs", "fn f() { crate::net::tls::issue() }", "floor 1 may not know net"),
        ("raft/log.rs", "use std::time::Instant;", "the core names std::time"),
        ("raft/log.rs", "async fn f() {}", "the core names async"),
        ("store/mod.rs", "use crate::wire::api;", "floor 2 may not know wire"),
        ("net/peer.rs", "use crate::replica::Replica;", "floor 3 may not know replica"),
        ("sim/world.rs", "use crate::node::init;", "floor 6 may not know node"),
        ("types.rs", "use crate::raft::Message;", "floor 0 may not know raft"),
        ("client/mod.rs", "use annal::cli;", "names the crate from outside"),
        ("node/driver.rs", "use super::super::cli;", "floor 7 may not know cli"),
        ("raft/mod.rs", "use super::{types, store::Head};", "floor 1 may not know store"),
        ("http/door.rs", "use crate::node::init;", "floor 6 may not know node"),
        ("node/driver.rs", "use hyper::Request;", "hyper has its door in http/"),
        ("node/driver.rs", "use sled::Db;", "sled has its door in store/"),
        ("node/driver.rs", "fn f(db: &sled::Db) {}", "sled has its door in store/"),
        ("registry/server.rs", "use quinn::Endpoint;", "quinn has its door in net/"),
        ("net/endpoint.rs", "use rustls::ServerConfig;", "rustls has its door in net/tls.rs"),
        ("client/mod.rs", "extern crate clap;", "clap has its door in cli/"),
        ("client/mod.rs", "#[derive(clap::Args)] struct A;", "clap has its door in cli/"),
    ];
    for (path, text, expected) in cases {
        let complaints = check(path, text).join("\n");
        assert!(complaints.contains(expected), "{path}: {text}: {complaints:?}");
    }
}

#[test]
fn the_check_can_acquit() {
    let cases = [
        ("raft/log.rs", "use crate::types::Index;\nuse crate::raft::message;\nuse super::quorum;"),
        ("raft/log.rs", "// use crate::store::Store;\n/// See crate::node.\nfn f() {}"),
        (
            "raft/log.rs",
            "/* use\n crate::cli; */ fn f() -> &'static str { \"crate::cli sled::Db\" }",
        ),
        ("raft/log.rs", "fn f() -> &'static str { r#\"\"crate::cli\"#; '\"'; \"\\\"crate::cli\" }"),
        ("cli/mod.rs", "use crate::{node::init, types};\nuse clap::Parser;"),
        ("net/endpoint.rs", "use quinn::crypto::rustls::QuicServerConfig;"),
        ("store/segment.rs", "use sled::Db;\nlet sled_cache_bytes = 1;"),
        ("registry/mod.rs", "mod server { use super::super::table; }"),
        ("entry.rs", "use crate::limits;\nuse crate::types::Index;"),
        ("lib.rs", "pub mod cli;\npub mod sled_free;"),
        ("main.rs", "fn main() { annal::cli::main() }"),
    ];
    for (path, text) in cases {
        let complaints = check(path, text);
        assert!(complaints.is_empty(), "{path}: {text}: {complaints:?}");
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every source file: its path below `src/` with forward slashes, and its text.
fn sources() -> Vec<(String, String)> {
    fn walk(folder: &Path, below: &str, found: &mut Vec<(String, String)>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() {
                walk(&path, &format!("{below}{name}/"), found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push((format!("{below}{name}"), fs::read_to_string(&path).unwrap()));
            }
        }
    }
    let mut found = Vec::new();
    walk(&root().join("src"), "", &mut found);
    assert!(found.len() > 10, "only {} sources: looked in the wrong place?", found.len());
    found.sort();
    found
}

/// The module at the top of the crate that a file belongs to.
fn module_of(path: &str) -> &str {
    path.split('/').next().unwrap().trim_end_matches(".rs")
}

fn floor_of(module: &str) -> Option<u32> {
    FLOORS.iter().find(|(name, _)| *name == module).map(|(_, floor)| *floor)
}

/// What is wrong with a file, a line each.
fn check(path: &str, text: &str) -> Vec<String> {
    let code = code_only(text);
    let mut complaints = Vec::new();
    complaints.extend(check_floors(path, &code));
    complaints.extend(check_doors(path, &code));
    if module_of(path) == "raft" {
        let named = IMPURE.iter().filter(|name| positions(&code, name).next().is_some());
        complaints.extend(named.map(|name| format!("{path}: the core names {name}")));
    }
    complaints
}

/// The circles among the files of each folder, a line each. Tests may know whatever they like.
fn circles(sources: &[(String, String)]) -> Vec<String> {
    let mut folders: BTreeMap<&str, BTreeMap<&str, BTreeSet<String>>> = BTreeMap::new();
    for (path, code) in sources {
        let Some((folder, file)) = path.rsplit_once('/') else { continue };
        let module = file.trim_end_matches(".rs");
        if !["mod", "tests", "testing", "fake"].contains(&module) {
            folders.entry(folder).or_default().insert(module, siblings(folder, code));
        }
    }
    let of_folder = |(folder, files): (&&str, &BTreeMap<&str, BTreeSet<String>>)| {
        let mut circles = BTreeSet::new();
        for module in files.keys() {
            let from_here = reached(files, module);
            let is_mutual = |other: &&&str| {
                from_here.contains(**other) && reached(files, other).contains(*module)
            };
            let members: Vec<_> = files.keys().filter(is_mutual).copied().collect();
            if members.len() > 1 {
                circles.insert(format!("{folder}: {}", members.join(" ")));
            }
        }
        circles
    };
    folders.iter().flat_map(of_folder).collect()
}

/// The files that one knows, directly or through others.
fn reached<'a>(files: &'a BTreeMap<&str, BTreeSet<String>>, from: &str) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut left: Vec<&str> = files[from].iter().map(String::as_str).collect();
    while let Some(module) = left.pop() {
        if files.contains_key(module) && reached.insert(module) {
            left.extend(files[module].iter().map(String::as_str));
        }
    }
    reached
}

/// The names that code takes out of its own folder.
fn siblings(folder: &str, code: &str) -> BTreeSet<String> {
    let code = code.split("#[cfg(test)]\nmod ").next().unwrap();
    let inside = format!("crate::{}::", folder.replace('/', "::"));
    let mut names = Vec::new();
    for prefix in ["super::", inside.as_str()] {
        for at in positions(code, prefix) {
            if code[..at].ends_with("::") {
                continue;
            }
            let rest = code[at + prefix.len()..].trim_start();
            match rest.strip_prefix('{') {
                Some(group) => names.extend(group_heads(group)),
                None => names.push(identifier(rest)),
            }
        }
    }
    names.into_iter().collect()
}

fn check_floors(path: &str, code: &str) -> Vec<String> {
    let module = module_of(path);
    let mut complaints = Vec::new();
    let Some(floor) = floor_of(module) else {
        // `lib.rs` names all modules, `main.rs` only the library.
        return complaints;
    };
    for other in crate_modules(code).into_iter().chain(climbed_modules(path, code)) {
        let allowed = match floor_of(&other) {
            Some(other_floor) => {
                other == module || other_floor < floor || other_floor == 0 && floor == 0
            }
            None => false,
        };
        if !allowed {
            complaints.push(format!("{path}: floor {floor} may not know {other}"));
        }
    }
    if positions(code, "annal::").next().is_some() {
        complaints.push(format!("{path}: names the crate from outside"));
    }
    complaints
}

/// The modules with a floor that a file names by as many `super::` as lead to the top.
///
/// Inside an inline module as many may lead less far; only a name that has a floor counts, so that
/// such a path is not mistaken.
fn climbed_modules(path: &str, code: &str) -> Vec<String> {
    let depth = path.matches('/').count() + 1 - usize::from(path.ends_with("/mod.rs"));
    let climb = "super::".repeat(depth);
    let mut modules = Vec::new();
    for at in positions(code, &climb) {
        let rest = code[at + climb.len()..].trim_start_matches("super::").trim_start();
        match rest.strip_prefix('{') {
            Some(group) => modules.extend(group_heads(group)),
            None => modules.push(identifier(rest)),
        }
    }
    modules.retain(|module| floor_of(module).is_some());
    modules
}

fn check_doors(path: &str, code: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    for (name, doors) in DOORS {
        let is_door = doors.iter().any(|door| path.starts_with(door));
        // A name inside a path, as in `quinn::crypto::rustls`, is another crate's module.
        let is_crate = |at: usize| {
            let before = code[..at].trim_end();
            let after = code[at + name.len()..].trim_start();
            !before.ends_with("::") && (after.starts_with("::") || before.ends_with("extern crate"))
                || after.starts_with(" as ") && before.ends_with("use")
        };
        if !is_door && positions(code, name).any(is_crate) {
            complaints.push(format!("{path}: {name} has its door in {}", doors.join(", ")));
        }
    }
    complaints
}

/// The modules that a file names after `crate::`, alone or in braces.
fn crate_modules(code: &str) -> Vec<String> {
    let mut modules = Vec::new();
    for at in positions(code, "crate::") {
        let rest = code[at + "crate::".len()..].trim_start();
        match rest.strip_prefix('{') {
            Some(group) => modules.extend(group_heads(group)),
            None => modules.push(identifier(rest)),
        }
    }
    modules
}

/// The first names of the parts of a brace group whose opening brace was read.
fn group_heads(group: &str) -> Vec<String> {
    let mut heads = Vec::new();
    let mut depth = 0;
    let mut expects_head = true;
    for (at, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => expects_head = true,
            character if expects_head && !character.is_whitespace() => {
                heads.push(identifier(&group[at..]));
                expects_head = false;
            }
            _ => {}
        }
    }
    heads
}

fn identifier(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// Where a path or name stands by itself, not as a part of a longer name.
fn positions<'a>(code: &'a str, name: &'a str) -> impl Iterator<Item = usize> + 'a {
    let is_word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    code.match_indices(name).map(|(at, _)| at).filter(move |at| {
        let ends_open = name.ends_with(':');
        !is_word(code[..*at].chars().next_back())
            && (ends_open || !is_word(code[at + name.len()..].chars().next()))
    })
}

/// The text without comments and without the insides of strings.
fn code_only(text: &str) -> String {
    let mut code = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            comment_end(rest)
        } else if let Some(end) = raw_string_end(rest, &code) {
            end
        } else if first == '"' {
            string_end(rest)
        } else if first == '\'' {
            character_end(rest)
        } else {
            0
        };
        if skipped > 0 {
            code.push(' ');
            rest = &rest[skipped..];
        } else {
            code.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    code
}

/// The end of a block comment, which may hold others.
fn comment_end(text: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < text.len() {
        if text[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if text[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// The end of a raw string that begins here, if one does.
fn raw_string_end(text: &str, before: &str) -> Option<usize> {
    let is_inside_word = before.ends_with(|c: char| c.is_alphanumeric() && c != 'b' || c == '_');
    let hashes = text.strip_prefix('r')?;
    let count = hashes.len() - hashes.trim_start_matches('#').len();
    if is_inside_word || !hashes[count..].starts_with('"') {
        return None;
    }
    let close = format!("\"{}", "#".repeat(count));
    let begin = 1 + count + 1;
    text[begin..].find(&close).map(|at| begin + at + close.len())
}

fn string_end(text: &str) -> usize {
    let mut escaped = false;
    for (at, character) in text.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The end of a character in quotes; 0 for a lifetime.
fn character_end(text: &str) -> usize {
    let mut characters = text.char_indices().skip(1);
    match characters.next() {
        Some((_, '\\')) => text[3..].find('\'').map_or(0, |at| 3 + at + 1),
        Some(_) => characters.next().filter(|(_, c)| *c == '\'').map_or(0, |(at, _)| at + 1),
        None => 0,
    }
}

/// The versions of a package in the lock file.
fn versions(lock: &str, package: &str) -> Vec<[u64; 3]> {
    let name = format!("name = \"{package}\"");
    let mut lines = lock.lines();
    let mut versions = Vec::new();
    while lines.by_ref().any(|line| line == name) {
        let version = lines.next().and_then(|line| line.strip_prefix("version = \"")).unwrap();
        let numbers: Vec<u64> = version
            .trim_end_matches('"')
            .split(['.', '+', '-'])
            .take(3)
            .map(|number| number.parse().unwrap())
            .collect();
        versions.push(numbers.try_into().unwrap());
    }
    versions
}
