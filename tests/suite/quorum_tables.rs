//! Majority arithmetic, judged by tables that are not ours: those published inside of the crate
//! `raft`, which had them from etcd. The crate is a dependency that no platform has, so cargo fetches
//! it and never compiles it; the tables are read where cargo has put them.
//!
//! A table says of a configuration what its voters have acknowledged, or how they vote, and what
//! follows. `_` is a voter that has said nothing:
//!
//! ```text
//! committed cfg=(1,2,3) cfgj=(3,4) idx=(5,_,7,_)
//! ----
//! (a drawing, which is passed over)
//! 0
//! ```
//!
//! `cfg` are our `voters` and `cfgj` our `outgoing`; values belong to the nodes of both in the order
//! in which they are first named.
//!
//! Behind the tables stands the definition itself, over all small configurations.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::process::Command;

use annal::raft::{Configuration, quorum};
use annal::types::{Index, NodeId};

/// What the published tables hold: fewer would mean that nothing is judged.
const COMMITTED_CASES: usize = 65;
const VOTE_CASES: usize = 59;
/// Commits of groups of nodes, which we do not have: they bound ours from below.
const GROUP_CASES: usize = 14;
/// A configuration of nobody agrees to everything there; here it cannot be made.
const NOBODY_CASES: usize = 3;

#[test]
fn the_published_tables_agree() {
    let mut judged = BTreeMap::new();
    for (name, text) in tables() {
        for case in cases_of(&text) {
            let kind = judge(&case).unwrap_or_else(|why| panic!("{name}: {}: {why}", case.line));
            *judged.entry(kind).or_insert(0) += 1;
        }
    }
    let expected = [
        (Kind::Committed, COMMITTED_CASES),
        (Kind::Vote, VOTE_CASES),
        (Kind::Group, GROUP_CASES),
        (Kind::Nobody, NOBODY_CASES),
    ];
    assert_eq!(judged, BTreeMap::from(expected), "the tables are not those that were published");
}

/// What a case is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Committed,
    Vote,
    Group,
    Nobody,
}

/// One case of a table.
struct Case {
    /// The line that it was read from.
    line: String,
    command: String,
    arguments: BTreeMap<String, Vec<String>>,
    /// The last line of what is expected.
    expected: String,
}

/// The tables of the package, by name.
fn tables() -> Vec<(String, String)> {
    let folder = package_folder().join("src/quorum/testdata");
    let mut found = vec![];
    for entry in std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()))
    {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        found.push((name, std::fs::read_to_string(&path).unwrap()));
    }
    found.sort();
    found
}

/// Where cargo keeps the sources of the package that our lock file names.
fn package_folder() -> PathBuf {
    // NB: without `--filter-platform`, which would leave out what no platform has.
    let metadata = metadata(&["--offline"]).or_else(|_| metadata(&[])).unwrap();
    let metadata: serde_json::Value = serde_json::from_str(&metadata).unwrap();
    let packages = metadata["packages"].as_array().expect("metadata lists packages");
    let is_raft = |package: &&serde_json::Value| {
        package["name"] == "raft" && package["version"].as_str().unwrap().starts_with("0.7.")
    };
    let manifest = packages.iter().find(is_raft).expect("the package is in the lock file");
    let manifest = Path::new(manifest["manifest_path"].as_str().unwrap());
    manifest.parent().unwrap().to_owned()
}

fn metadata(more: &[&str]) -> Result<String, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--locked", "--manifest-path"])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"))
        .args(more)
        .output()
        .map_err(|e| format!("cargo does not run: {e}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    String::from_utf8(output.stdout).map_err(|e| e.to_string())
}

/// The cases of a table: a command, a line of dashes, and what is expected up to an empty line.
fn cases_of(text: &str) -> Vec<Case> {
    let mut cases = vec![];
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        assert_eq!(lines.next(), Some("----"), "behind {line}");
        let output = lines.by_ref().take_while(|line| !line.is_empty());
        let expected = output.last().unwrap_or_default().trim().to_owned();
        let (command, rest) = line.split_once(' ').unwrap_or((line, ""));
        let arguments = arguments_of(rest);
        let (line, command) = (line.to_owned(), command.to_owned());
        cases.push(Case { line, command, arguments, expected });
    }
    cases
}

/// `a=(1, 2) b=zero`: each name with its values.
fn arguments_of(text: &str) -> BTreeMap<String, Vec<String>> {
    let mut arguments = BTreeMap::new();
    let mut rest = text.trim();
    while let Some((name, behind)) = rest.split_once('=') {
        let (values, behind) = match behind.strip_prefix('(') {
            Some(behind) => behind.split_once(')').expect("a bracket is closed"),
            None => behind.split_once(' ').unwrap_or((behind, "")),
        };
        let values = values.split(',').map(|value| value.trim().to_owned()).collect();
        assert!(arguments.insert(name.to_owned(), values).is_none(), "{name} twice in {text}");
        rest = behind.trim();
    }
    assert!(rest.is_empty(), "cannot read {rest}");
    arguments
}

impl Case {
    fn nodes(&self, name: &str) -> Vec<NodeId> {
        let values = self.arguments.get(name).map_or(&[][..], Vec::as_slice);
        let numbers = values.iter().filter(|value| *value != "zero");
        numbers.map(|value| NodeId::new(value.parse().unwrap()).unwrap()).collect()
    }

    fn configuration(&self) -> Configuration {
        let mut configuration = Configuration::of(self.nodes("cfg"));
        configuration.outgoing = self.nodes("cfgj").into_iter().collect();
        configuration
    }

    /// What each node says, as far as it does.
    fn said(&self, name: &str) -> BTreeMap<NodeId, &str> {
        let mut nodes = self.nodes("cfg");
        for node in self.nodes("cfgj") {
            if !nodes.contains(&node) {
                nodes.push(node);
            }
        }
        let values = &self.arguments[name];
        assert_eq!(values.len(), nodes.len(), "a value for each node: {}", self.line);
        let said = nodes.into_iter().zip(values.iter().map(String::as_str));
        said.filter(|(_, value)| *value != "_").collect()
    }
}

fn judge(case: &Case) -> Result<Kind, String> {
    if case.nodes("cfg").is_empty() {
        assert!(catch_unwind(|| Configuration::of([])).is_err(), "a cluster of nobody");
        return Ok(Kind::Nobody);
    }
    match case.command.as_str() {
        "committed" => judge_committed(case).map(|()| Kind::Committed),
        "group_committed" => judge_group(case).map(|()| Kind::Group),
        "vote" => judge_vote(case).map(|()| Kind::Vote),
        other => panic!("no such command: {other}"),
    }
}

fn judge_committed(case: &Case) -> Result<(), String> {
    let expected = Index::new(case.expected.parse().unwrap());
    let reached: BTreeMap<_, Index> =
        case.said("idx").into_iter().map(|(n, v)| (n, Index::new(v.parse().unwrap()))).collect();
    let index = |configuration: &Configuration, reached: &BTreeMap<NodeId, Index>| {
        configuration.quorum_index(|node| reached.get(&node).copied().unwrap_or_default())
    };
    let configuration = case.configuration();
    same("the index", index(&configuration, &reached), expected)?;
    same("both sides changed places", index(&turned(&configuration), &reached), expected)?;
    if !configuration.is_joint() {
        let mut twice = configuration.clone();
        twice.outgoing.clone_from(&twice.voters);
        same("joined with itself", index(&twice, &reached), expected)?;
    }
    // Who is behind the index anyhow has no part in it, however far behind.
    for (node, far) in reached.iter().filter(|(_, far)| **far < expected) {
        for lower in [far.previous(), Index::ZERO] {
            let mut overlaid = reached.clone();
            overlaid.insert(*node, lower);
            same(&format!("{node} at {lower}"), index(&configuration, &overlaid), expected)?;
        }
    }
    // The same asked of the votes: a quorum agrees to this index and not to the next.
    let agrees = |index: Index| {
        configuration.is_quorum(|n| reached.get(&n).copied().unwrap_or_default() >= index)
    };
    same("a quorum at the index", agrees(expected), true)?;
    same("a quorum behind the index", agrees(expected.next()), false)
}

fn judge_group(case: &Case) -> Result<(), String> {
    let group_index = Index::new(case.expected.parse().unwrap());
    let reached = case.said("idx");
    let index = case.configuration().quorum_index(|node| {
        reached.get(&node).map_or(Index::ZERO, |value| Index::new(value.parse().unwrap()))
    });
    if index >= group_index { Ok(()) } else { Err(format!("{index} is below {group_index}")) }
}

fn judge_vote(case: &Case) -> Result<(), String> {
    let votes = case.said("votes");
    let (won, possible) = match case.expected.as_str() {
        "VoteWon" => (true, true),
        "VotePending" => (false, true),
        "VoteLost" => (false, false),
        other => panic!("no such result: {other}"),
    };
    let configuration = case.configuration();
    for configuration in [turned(&configuration), configuration] {
        let yes = configuration.is_quorum(|node| votes.get(&node) == Some(&"y"));
        let not_no = configuration.is_quorum(|node| votes.get(&node) != Some(&"n"));
        same("won", yes, won)?;
        same("can be won", not_no, possible)?;
    }
    Ok(())
}

/// Old and new in each other's place, which makes no difference to what is decided.
fn turned(configuration: &Configuration) -> Configuration {
    let mut turned = configuration.clone();
    if configuration.is_joint() {
        std::mem::swap(&mut turned.voters, &mut turned.outgoing);
    }
    turned
}

#[expect(clippy::needless_pass_by_value, reason = "both are made for this")]
fn same<T: PartialEq + std::fmt::Debug>(what: &str, ours: T, theirs: T) -> Result<(), String> {
    if ours == theirs { Ok(()) } else { Err(format!("{what}: ours {ours:?}, theirs {theirs:?}")) }
}

/// Five nodes: room for a change that keeps one voter of three.
const NODES: u16 = 5;
const SETS: u16 = 1 << NODES;

fn set(bits: u16) -> BTreeSet<NodeId> {
    (0..NODES).filter(|n| bits & (1 << n) != 0).filter_map(|n| NodeId::new(n + 1)).collect()
}

/// All configurations of up to five nodes, joint or not: 31 × 32.
fn configurations() -> impl Iterator<Item = (u16, u16, Configuration)> {
    (1..SETS).flat_map(|voters| {
        (0..SETS).map(move |outgoing| {
            let mut configuration = Configuration::of(set(voters));
            configuration.outgoing = set(outgoing);
            (voters, outgoing, configuration)
        })
    })
}

/// More than half, on each side that there is (thesis 4.3).
fn is_quorum(voters: u16, outgoing: u16, agreeing: u16) -> bool {
    let majority = |of: u16| 2 * (of & agreeing).count_ones() > of.count_ones();
    majority(voters) && (outgoing == 0 || majority(outgoing))
}

#[test]
fn a_quorum_is_what_the_definition_says() {
    for (voters, outgoing, configuration) in configurations() {
        for agreeing in 0..SETS {
            let agrees = set(agreeing);
            assert_eq!(
                configuration.is_quorum(|node| agrees.contains(&node)),
                is_quorum(voters, outgoing, agreeing),
                "{configuration}: {agrees:?}"
            );
        }
    }
}

#[test]
fn the_quorum_index_is_the_highest_that_a_quorum_has_reached() {
    for (_, _, configuration) in configurations() {
        // Each node is at 0, 1 or 2.
        for places in 0..3_u64.pow(u32::from(NODES)) {
            let reached =
                |node: NodeId| Index::new(places / 3_u64.pow(u32::from(node.get() - 1)) % 3);
            let found = configuration.quorum_index(reached);
            let highest = (0..3)
                .map(Index::new)
                .filter(|index| configuration.is_quorum(|node| reached(node) >= *index))
                .max();
            assert_eq!(Some(found), highest, "{configuration}: {places}");
        }
    }
}

/// What makes a change safe: whoever can decide before a step of it and whoever can decide after it
/// share a node that does so in both (thesis 4.3).
#[test]
fn quorums_meet_across_every_step_of_a_change() {
    for (new, old, joint) in configurations().filter(|(_, old, _)| *old != 0) {
        let quorums = |configuration: &Configuration| -> Vec<u16> {
            let agrees = |bits: &u16| configuration.is_quorum(|node| set(*bits).contains(&node));
            (1..SETS).filter(|bits| bits & !(new | old) == 0).filter(agrees).collect()
        };
        let of_joint = quorums(&joint);
        for side in [old, new] {
            let of_side = quorums(&Configuration::of(set(side)));
            let meet = |one: &u16| of_side.iter().all(|other| one & other & side != 0);
            assert!(of_joint.iter().all(meet), "{joint}: two quorums that do not meet");
        }
    }
}

#[test]
fn nobody_is_no_majority() {
    assert!(!quorum::is_majority(0, 0));
    assert!(catch_unwind(|| quorum::majority_index(vec![])).is_err());
}
