//! How the state of a cluster is printed.

use std::array;
use std::io::{self, Write};
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use super::output::{Row, colour};
use crate::limits;
use crate::types::{ByteCount, ClusterId, DiskFull, Index, NodeId, Offset, Term};
use crate::wire::api::Role;

/// The state of a cluster.
#[derive(Serialize)]
pub(super) struct StatusRow {
    /// Which.
    pub(super) cluster: ClusterId,
    /// Who leads, if anybody.
    pub(super) leader: Option<NodeId>,
    /// In which term.
    pub(super) term: Option<Term>,
    /// The offset after the last committed record.
    pub(super) next_offset: Option<Offset>,
    /// Why nobody leads, if nobody does and that is not said elsewhere.
    #[serde(skip)]
    pub(super) reason: Option<String>,
    /// Every node.
    pub(super) nodes: Vec<NodeRow>,
    /// The registry.
    pub(super) registry: RegistryRow,
}

/// The state of a node, in a [`StatusRow`]. What a node out of reach would say is `null`.
#[derive(Serialize)]
pub(super) struct NodeRow {
    /// Its name.
    pub(super) node: NodeId,
    /// Where it listens.
    pub(super) address: String,
    /// Its role.
    pub(super) role: Option<Role>,
    /// Its term.
    pub(super) term: Option<Term>,
    /// Its last index.
    pub(super) last_index: Option<Index>,
    /// Its commit index.
    pub(super) commit_index: Option<Index>,
    /// The offset after its last committed record.
    pub(super) next_offset: Option<Offset>,
    /// How many entries it lacks that the leader has.
    pub(super) lag: Option<u64>,
    /// Whether it answered.
    pub(super) reachable: bool,
    /// What its disk has and needs, if that is too little.
    pub(super) disk_full: Option<DiskFull>,
    /// How far the time of its log is ahead of its clock, in ms.
    pub(super) log_ahead_ms: Option<u64>,
}

/// What the registry says, in a [`StatusRow`].
#[derive(Serialize)]
pub(super) struct RegistryRow {
    /// Whether it answered.
    pub(super) reachable: bool,
    /// Who led last, as it knows.
    pub(super) leader: Option<NodeId>,
    /// In which term.
    pub(super) term: Option<Term>,
}

impl Row for StatusRow {
    fn human(&self, out: &mut dyn Write) -> io::Result<()> {
        self.write_head(out)?;
        let heads = ["NODE", "ROLE", "TERM", "LAST", "COMMIT", "NEXT", "LAG", "ADDRESS"];
        let cells: Vec<_> = self.nodes.iter().map(NodeRow::cells).collect();
        let widths: [usize; 8] = array::from_fn(|at| {
            let widest = cells.iter().map(|row| row[at].len()).max().unwrap_or(0);
            widest.max(heads[at].len())
        });
        write_cells(out, &heads.map(ToOwned::to_owned), &widths)?;
        for (node, cells) in self.nodes.iter().zip(&cells) {
            write_cells(out, cells, &widths)?;
            node.write_remarks(out)?;
        }
        let registry = &self.registry;
        match (registry.reachable, registry.leader, registry.term) {
            (false, ..) => writeln!(out, "registry: unreachable"),
            (true, Some(leader), Some(term)) => {
                writeln!(out, "registry: Leader_Term{term} is {leader}")
            }
            (true, ..) => writeln!(out, "registry: knows no leader yet"),
        }
    }

    fn style(&self, line: &str) -> Style {
        let name = line.split(' ').next();
        let node = self.nodes.iter().find(|node| Some(node.node.to_string().as_str()) == name);
        match node.map(|node| node.role) {
            Some(Some(Role::Leader)) => colour(AnsiColor::Green).bold(),
            Some(Some(Role::Candidate | Role::PreCandidate)) => colour(AnsiColor::Yellow),
            Some(None) => colour(AnsiColor::Red),
            Some(Some(Role::Follower)) | None => Style::new(),
        }
    }
}

impl StatusRow {
    fn write_head(&self, out: &mut dyn Write) -> io::Result<()> {
        write!(out, "cluster {}: ", self.cluster)?;
        match (self.leader, self.term) {
            (Some(leader), Some(term)) => write!(out, "{leader} leads term {term}")?,
            _ => write!(out, "{}", self.reason.as_deref().unwrap_or("no leader"))?,
        }
        match self.next_offset.map(Offset::get) {
            Some(1) => writeln!(out, ", 1 record"),
            Some(count) => writeln!(out, ", {count} records"),
            None => writeln!(out),
        }
    }
}

impl NodeRow {
    /// Its line, as cells.
    fn cells(&self) -> [String; 8] {
        [
            self.node.to_string(),
            self.role.map_or("unreachable", role_name).to_owned(),
            shown(self.term),
            shown(self.last_index),
            shown(self.commit_index),
            shown(self.next_offset),
            shown(self.lag),
            self.address.clone(),
        ]
    }

    /// What else is to be known of it, a line each.
    fn write_remarks(&self, out: &mut dyn Write) -> io::Result<()> {
        if let Some(full) = self.disk_full {
            let (free, needed) = (ByteCount(full.free_bytes), ByteCount(full.needed_bytes));
            writeln!(out, "      {}'s disk is full: {free} free, {needed} needed", self.node)?;
        }
        let ahead = Duration::from_millis(self.log_ahead_ms.unwrap_or(0));
        if ahead > limits::CLOCK_AHEAD_MAX {
            let seconds = ahead.as_secs();
            writeln!(out, "      {}'s log is {seconds} s ahead of its clock", self.node)?;
        }
        Ok(())
    }
}

/// A line of a table: names to the left, numbers to the right.
fn write_cells(out: &mut dyn Write, cells: &[String; 8], widths: &[usize; 8]) -> io::Result<()> {
    let [node, role, numbers @ .., address] = cells;
    write!(out, "{node:<0$}  {role:<1$}", widths[0], widths[1])?;
    for (number, width) in numbers.iter().zip(&widths[2..]) {
        write!(out, "  {number:>width$}")?;
    }
    writeln!(out, "  {address}")
}

fn shown(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

fn role_name(role: Role) -> &'static str {
    match role {
        Role::Follower => "follower",
        Role::PreCandidate => "pre-candidate",
        Role::Candidate => "candidate",
        Role::Leader => "leader",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::rows::tests::{human, json, node};

    #[test]
    fn the_status_of_a_node_out_of_reach_is_null() {
        let status = StatusRow {
            cluster: ClusterId::new(1),
            leader: None,
            term: None,
            next_offset: None,
            reason: Some("none of the 1 known nodes answers".to_owned()),
            nodes: vec![NodeRow {
                node: node("n1"),
                address: "127.0.0.1:7101".to_owned(),
                role: None,
                term: None,
                last_index: None,
                commit_index: None,
                next_offset: None,
                lag: None,
                reachable: false,
                disk_full: None,
                log_ahead_ms: None,
            }],
            registry: RegistryRow {
                reachable: true,
                leader: Some(node("n2")),
                term: Some(Term::new(1)),
            },
        };
        let expected = r#"{"cluster":"00000000000000000000000000000001","leader":null,"term":null,"next_offset":null,"nodes":[{"node":"n1","address":"127.0.0.1:7101","role":null,"term":null,"last_index":null,"commit_index":null,"next_offset":null,"lag":null,"reachable":false,"disk_full":null,"log_ahead_ms":null}],"registry":{"reachable":true,"leader":"n2","term":1}}"#;
        assert_eq!(json(&status), expected);
        assert_eq!(
            human(&status),
            "cluster 00000000000000000000000000000001: none of the 1 known nodes answers\n\
             NODE  ROLE         TERM  LAST  COMMIT  NEXT  LAG  ADDRESS\n\
             n1    unreachable     -     -       -     -    -  127.0.0.1:7101\n\
             registry: Leader_Term1 is n2\n"
        );
    }

    #[test]
    fn the_status_of_a_cluster_is_a_table_with_the_leader_in_colour() {
        let part = |name: &str, role, lag| NodeRow {
            node: node(name),
            address: "127.0.0.1:7101".to_owned(),
            role: Some(role),
            term: Some(Term::new(2)),
            last_index: Some(Index::new(1_234_567)),
            commit_index: Some(Index::new(7)),
            next_offset: Some(Offset::new(12_345_678)),
            lag: Some(lag),
            reachable: true,
            disk_full: None,
            log_ahead_ms: Some(60_000),
        };
        let status = StatusRow {
            cluster: ClusterId::new(1),
            leader: Some(node("n1")),
            term: Some(Term::new(2)),
            next_offset: Some(Offset::new(1)),
            reason: None,
            nodes: vec![part("n1", Role::Leader, 0), part("n10", Role::PreCandidate, 1)],
            registry: RegistryRow { reachable: true, leader: None, term: None },
        };
        let text = human(&status);
        assert_eq!(
            text,
            "cluster 00000000000000000000000000000001: n1 leads term 2, 1 record\n\
             NODE  ROLE           TERM     LAST  COMMIT      NEXT  LAG  ADDRESS\n\
             n1    leader            2  1234567       7  12345678    0  127.0.0.1:7101\n      \
             n1's log is 60 s ahead of its clock\n\
             n10   pre-candidate     2  1234567       7  12345678    1  127.0.0.1:7101\n      \
             n10's log is 60 s ahead of its clock\n\
             registry: knows no leader yet\n"
        );
        let styles: Vec<_> = text.lines().map(|line| status.style(line).is_plain()).collect();
        assert_eq!(styles, [true, true, false, true, false, true, true]);
    }
}
