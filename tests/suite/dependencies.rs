//! What the lock file may hold: licences, sources, crates that must not come in, and versions twice.
//!
//! The checks of `cargo deny` that need nothing but the lock file, as a table with a reason beside
//! each exception, over what is compiled on Linux. (`cargo deny` itself would have to be compiled on each
//! fresh machine; where it is installed, `.ci/run` has it ask for advisories.)

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Licences under which a crate may be used as part of a program of ours, as people know them.
const LICENCES: &[&str] = &["MIT", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "Zlib"];

/// Crates with another licence beside those, and why that is no trouble.
const LICENCES_OF: &[(&str, &str, &str)] = &[(
    "unicode-ident",
    "Unicode-3.0",
    "tables of Unicode, as free as MIT; only macros use it, while compiling",
)];

/// Crates that must not come in.
const BANNED: &[(&str, &str)] = &[
    ("aws-lc-rs", "ring is the one implementation of cryptography"),
    ("aws-lc-sys", "ring is the one implementation of cryptography"),
    ("openssl", "rustls is the one implementation of TLS"),
    ("openssl-sys", "rustls is the one implementation of TLS"),
    ("native-tls", "rustls is the one implementation of TLS"),
    ("openraft", "the core of consensus is our own"),
    ("raft", "its tables judge ours; it is never compiled"),
    ("reqwest", "nothing calls home"),
    ("async-std", "tokio is the one runtime"),
    ("smol", "tokio is the one runtime"),
    ("failure", "abandoned, with an unsound downcast (RUSTSEC-2020-0036)"),
];

/// Crates of which more than one version is compiled, how many, and why that has to be.
const TWICE: &[(&str, usize, &str)] = &[
    ("anstream", 2, "clap is a version ahead of what we print with"),
    ("anstyle-parse", 2, "of the two versions of anstream"),
    ("bit-vec", 2, "yasna, with which rcgen writes certificates, is behind; proptest is not"),
    ("console", 2, "indicatif is ahead of goldenscript's similar-asserts, which is for tests only"),
    ("embedded-io", 2, "postcard names both, and uses neither here"),
    ("getrandom", 3, "ring is behind quinn, and rand of stateright is in between"),
    ("hashbrown", 2, "dashmap of stateright, for tests only, is behind"),
    ("itertools", 2, "ratatui is ahead of criterion, which is for benches only"),
    ("parking_lot", 2, "sled is of 2021; the other is stateright's, for tests only"),
    ("parking_lot_core", 2, "of the two versions of parking_lot"),
    ("rand", 2, "quinn is ahead of stateright, which is for tests only"),
    ("rand_core", 2, "of the versions of rand"),
    ("syn", 2, "macros of two generations, while compiling"),
    ("toml_datetime", 2, "ours, and that of a macro while compiling"),
    ("winnow", 2, "of the two generations of toml"),
];

/// The crates that the client without the server may build, by what each is for: with
/// `default-features = false, features = ["client"]`, on Linux.
const OF_CLIENT: &[(&str, &[&str])] = &[
    (
        "QUIC, and what it draws and hashes",
        &[
            "quinn",
            "quinn-proto",
            "quinn-udp",
            "bytes",
            "chacha20",
            "cpufeatures",
            "lru-slab",
            "rand",
            "rand_core",
            "rand_pcg",
            "rustc-hash",
            "slab",
            "socket2",
            "tinyvec",
            "getrandom",
        ],
    ),
    (
        "TLS, with its cryptography",
        &[
            "rustls",
            "rustls-pki-types",
            "rustls-webpki",
            "ring",
            "subtle",
            "untrusted",
            "zeroize",
            "once_cell",
        ],
    ),
    (
        "the runtime",
        &[
            "tokio",
            "tokio-macros",
            "tokio-util",
            "mio",
            "pin-project-lite",
            "libc",
            "futures-core",
            "futures-sink",
            "futures-task",
            "futures-util",
            "futures-macro",
        ],
    ),
    (
        "identities in certificates",
        &[
            "x509-parser",
            "asn1-rs",
            "asn1-rs-derive",
            "asn1-rs-impl",
            "der-parser",
            "oid-registry",
            "rusticata-macros",
            "nom",
            "minimal-lexical",
            "memchr",
            "data-encoding",
            "num-bigint",
            "num-integer",
            "num-traits",
            "lazy_static",
            "time",
            "time-core",
            "time-macros",
            "deranged",
            "num-conv",
            "powerfmt",
            "displaydoc",
            "synstructure",
        ],
    ),
    (
        "`cluster.toml`",
        &["toml", "toml_datetime", "toml_parser", "toml_writer", "serde_spanned", "winnow"],
    ),
    ("headers of frames", &["postcard", "cobs", "serde", "serde_core", "serde_derive"]),
    (
        "names of clients, and secrets of resets",
        &["blake3", "arrayvec", "constant_time_eq", "cfg-if", "crc32c"],
    ),
    ("what the system says", &["rustix", "bitflags", "linux-raw-sys"]),
    (
        "errors and logs",
        &["tracing", "tracing-attributes", "tracing-core", "thiserror", "thiserror-impl"],
    ),
    ("macros, while compiling", &["proc-macro2", "quote", "syn", "unicode-ident"]),
];

#[test]
fn licences_are_known() {
    let mut complaints = vec![];
    for package in packages() {
        let licence = package["license"].as_str().unwrap_or("none");
        let name = name(&package);
        let extra = LICENCES_OF.iter().find(|(of, ..)| *of == name).map(|(_, licence, _)| *licence);
        if !is_allowed(licence, extra) {
            complaints.push(format!("{name}: {licence}"));
        }
    }
    assert!(complaints.is_empty(), "{complaints:#?}");
}

#[test]
fn all_crates_come_from_the_registry() {
    for package in packages().iter().filter(|package| name(package) != "annal") {
        let source = package["source"].as_str().unwrap_or("a folder");
        let is_registry = source == "registry+https://github.com/rust-lang/crates.io-index";
        assert!(is_registry, "{} comes from {source}", name(package));
    }
}

#[test]
fn what_must_not_come_in_has_not() {
    for package in packages() {
        let banned = BANNED.iter().find(|(banned, _)| *banned == name(&package));
        assert!(banned.is_none(), "{banned:?}");
    }
}

#[test]
fn versions_are_compiled_twice_only_for_a_reason() {
    let mut versions: BTreeMap<String, usize> = BTreeMap::new();
    for package in packages() {
        *versions.entry(name(&package).to_owned()).or_default() += 1;
    }
    let found: Vec<_> = versions.iter().filter(|(_, count)| **count > 1).collect();
    let known: BTreeMap<_, _> = TWICE.iter().map(|(name, count, _)| (*name, *count)).collect();
    for (name, count) in &found {
        let known = known.get(name.as_str()).copied().unwrap_or(1);
        assert!(**count <= known, "{name} is there {count} times: see `cargo tree --duplicates`");
    }
    // A reason that is none any more goes.
    for (name, count) in known {
        assert_eq!(versions.get(name), Some(&count), "{name} is in the table of duplicates");
    }
}

#[test]
fn the_client_builds_nothing_that_only_a_server_needs() {
    let found: BTreeSet<String> = crates_of_client().into_iter().collect();
    let known = OF_CLIENT.iter().flat_map(|(_, names)| names.iter().map(ToString::to_string));
    let known: BTreeSet<String> = known.collect();
    let added: Vec<_> = found.difference(&known).collect();
    assert!(added.is_empty(), "the client now builds {added:?}: does it need them?");
    let gone: Vec<_> = known.difference(&found).collect();
    assert!(gone.is_empty(), "the client no longer builds {gone:?}: take them off the list");
}

#[test]
fn licences_are_judged_as_they_are_meant() {
    for (licence, is_fine) in [
        ("MIT", true),
        ("MIT/Apache-2.0", true),
        ("Apache-2.0 WITH LLVM-exception OR Apache-2.0 OR MIT", true),
        ("MIT OR LGPL-2.1-or-later", true),
        ("Apache-2.0 AND ISC", true),
        ("MPL-2.0", false),
        ("MIT AND GPL-3.0", false),
        ("(MIT OR Apache-2.0) AND Unicode-3.0", false),
        ("none", false),
    ] {
        assert_eq!(is_allowed(licence, None), is_fine, "{licence}");
    }
    assert!(is_allowed("(MIT OR Apache-2.0) AND Unicode-3.0", Some("Unicode-3.0")));
}

/// Whether an expression of licences can be satisfied: of each part of an "and", one part of its "or".
fn is_allowed(expression: &str, extra: Option<&str>) -> bool {
    let expression = expression.replace('/', " OR ").replace(['(', ')'], "");
    let is_known = |licence: &str| LICENCES.contains(&licence) || extra == Some(licence);
    expression.split(" AND ").all(|part| part.split(" OR ").map(str::trim).any(is_known))
}

fn name(package: &Value) -> &str {
    package["name"].as_str().unwrap()
}

/// The packages that are compiled on Linux, for the program or its tests.
fn packages() -> Vec<Value> {
    let metadata = metadata(&["--offline"]).or_else(|_| metadata(&[])).unwrap();
    let metadata: Value = serde_json::from_str(&metadata).unwrap();
    let packages = metadata["packages"].as_array().unwrap().clone();
    assert!(packages.len() > 100, "only {} packages", packages.len());
    packages
}

/// What `cargo tree` names for the client alone; tests and benches left out.
fn crates_of_client() -> Vec<String> {
    let tree = |more: &[&str]| {
        let mut arguments =
            vec!["tree", "--locked", "--no-default-features", "--features", "client"];
        arguments.extend(["--edges", "normal", "--prefix", "none", "--format", "{p}"]);
        arguments.extend(["--target", "x86_64-unknown-linux-gnu"]);
        arguments.extend(more);
        cargo(&arguments)
    };
    let tree = tree(&["--offline"]).or_else(|_| tree(&[])).unwrap();
    let names = tree.lines().filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != "annal").map(ToOwned::to_owned).collect()
}

fn metadata(more: &[&str]) -> Result<String, String> {
    let mut arguments = vec!["metadata", "--format-version", "1", "--locked"];
    arguments.extend(["--filter-platform", "x86_64-unknown-linux-gnu"]);
    arguments.extend(more);
    cargo(&arguments)
}

fn cargo(arguments: &[&str]) -> Result<String, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into());
    let output = Command::new(cargo)
        .args(arguments)
        .arg("--manifest-path")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"))
        .output()
        .map_err(|error| format!("cargo does not run: {error}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    String::from_utf8(output.stdout).map_err(|error| error.to_string())
}
