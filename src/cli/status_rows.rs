//! How the state of a cluster is printed.

use std::array;
use std::io::{self, Write};
use std::time::Duration;

use super::moment;
use super::output::{Row, colour};
use crate::client::report::{NodeRow, StatusRow};
use crate::date::wall_clock;
use crate::limits;
use crate::node::certificates::is_expiring;
use crate::types::{ByteCount, Offset, Timestamp};
use crate::wire::api::Role;
use anstyle::{AnsiColor, Style};

impl Row for StatusRow {
    fn human(&self, out: &mut dyn Write) -> io::Result<()> {
        self.write_head(out)?;
        self.write_table(out, LOG_HEADS, NodeRow::log_cells, NodeRow::write_remarks)?;
        self.write_table(out, PROCESS_HEADS, NodeRow::process_cells, |_, _| Ok(()))?;
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
            Some(Some(Role::Candidate | Role::PreCandidate | Role::Recovering)) => {
                colour(AnsiColor::Yellow)
            }
            Some(Some(Role::Damaged) | None) => colour(AnsiColor::Red),
            Some(Some(Role::Follower | Role::Learner)) | None => Style::new(),
        }
    }
}

/// What each node has of the log, and where it is.
const LOG_HEADS: [&str; 8] = ["NODE", "ROLE", "TERM", "LAST", "COMMIT", "NEXT", "LAG", "ADDRESS"];
/// What each node's process is.
const PROCESS_HEADS: [&str; 7] =
    ["NODE", "VERSION", "UPTIME", "LAST HEARD", "ELECTIONS", "DISK USED", "DISK FREE"];

impl StatusRow {
    /// A line a node, each under the heads, with what else is to be said of it below.
    fn write_table<const N: usize>(
        &self,
        out: &mut dyn Write,
        heads: [&str; N],
        cells: impl Fn(&NodeRow) -> [String; N],
        remarks: impl Fn(&NodeRow, &mut dyn Write) -> io::Result<()>,
    ) -> io::Result<()> {
        let rows: Vec<_> = self.nodes.iter().map(cells).collect();
        let widths: [usize; N] = array::from_fn(|at| {
            let widest = rows.iter().map(|row| row[at].len()).max().unwrap_or(0);
            widest.max(heads[at].len())
        });
        write_cells(out, &heads.map(ToOwned::to_owned), &widths)?;
        for (node, row) in self.nodes.iter().zip(&rows) {
            write_cells(out, row, &widths)?;
            remarks(node, out)?;
        }
        Ok(())
    }

    fn write_head(&self, out: &mut dyn Write) -> io::Result<()> {
        write!(out, "cluster {}: ", self.cluster)?;
        match (self.leader, self.term) {
            (Some(leader), Some(term)) => write!(out, "{leader} leads term {term}")?,
            _ => write!(out, "{}", self.reason.as_deref().unwrap_or("no leader"))?,
        }
        match self.next_offset.map(Offset::get) {
            Some(1) => writeln!(out, ", 1 record in main"),
            Some(count) => writeln!(out, ", {count} records in main"),
            None => writeln!(out),
        }
    }
}

impl NodeRow {
    /// What it has of the log.
    fn log_cells(&self) -> [String; 8] {
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

    /// What its process is.
    fn process_cells(&self) -> [String; 7] {
        let time = |ms: Option<u64>| shown(ms.map(Duration::from_millis).map(short_time));
        [
            self.node.to_string(),
            shown(self.version.as_deref()),
            time(self.uptime_ms),
            shown(self.last_contact_ms.map(Duration::from_millis).map(ago)),
            shown(self.elections),
            shown(self.disk_used_bytes.map(ByteCount)),
            shown(self.disk_free_bytes.map(ByteCount)),
        ]
    }

    /// What else is to be known of it, a line each.
    fn write_remarks(&self, out: &mut dyn Write) -> io::Result<()> {
        if !self.leads_according_to.is_empty() {
            let names: Vec<_> = self.leads_according_to.iter().map(ToString::to_string).collect();
            let (node, names) = (self.node, names.join(", "));
            writeln!(out, "      {node} leads according to {names}, and does not answer here")?;
        }
        if let Some(full) = self.disk_full {
            let (free, needed) = (ByteCount(full.free_bytes), ByteCount(full.needed_bytes));
            writeln!(out, "      {}'s disk is full: {free} free, {needed} needed", self.node)?;
        }
        if self.role == Some(Role::Recovering) {
            let (node, has) = (self.node, shown(self.last_index));
            writeln!(
                out,
                "      {node} lost its store and is being filled: it has entry {has}, and does not vote"
            )?;
        }
        if self.role == Some(Role::Damaged) {
            let node = self.node;
            writeln!(
                out,
                "      {node} lost what it promised, and waits with what is left until enough others are sound"
            )?;
        }
        for (first, last) in &self.damaged {
            writeln!(out, "      entries {first} to {last} are damaged on {}'s disk", self.node)?;
        }
        let expires = self.certificate_expires_ms.map(Timestamp::new);
        if let Some(expires) = expires.filter(|expires| is_expiring(*expires, wall_clock())) {
            let (node, until) = (self.node, moment::shown(expires));
            writeln!(out, "      {node}'s certificate expires {until}: `annal cert renew`")?;
        }
        let ahead = Duration::from_millis(self.log_ahead_ms.unwrap_or(0));
        if ahead > limits::CLOCK_AHEAD_MAX {
            let seconds = ahead.as_secs();
            writeln!(out, "      {}'s log is {seconds} s ahead of its clock", self.node)?;
        }
        Ok(())
    }
}

/// A line of a table: names to the left, numbers to the right, and what stands last as it is.
fn write_cells(out: &mut dyn Write, cells: &[String], widths: &[usize]) -> io::Result<()> {
    let last = cells.len() - 1;
    for (at, (cell, width)) in cells.iter().zip(widths).enumerate() {
        match at {
            0 => write!(out, "{cell:<width$}")?,
            1 => write!(out, "  {cell:<width$}")?,
            _ if at == last => write!(out, "  {cell}")?,
            _ => write!(out, "  {cell:>width$}")?,
        }
    }
    writeln!(out)
}

fn ago(time: Duration) -> String {
    format!("{} ago", time_since(time))
}

/// A time that is usually less than a second.
pub(super) fn time_since(time: Duration) -> String {
    match time.as_millis() {
        ms if ms < 1000 => format!("{ms} ms"),
        _ => short_time(time),
    }
}

/// A time as people say it, in its two largest units.
pub(super) fn short_time(time: Duration) -> String {
    let seconds = time.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, ..) => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

fn shown(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

pub(super) fn role_name(role: Role) -> &'static str {
    match role {
        Role::Follower => "follower",
        Role::PreCandidate => "pre-candidate",
        Role::Candidate => "candidate",
        Role::Leader => "leader",
        Role::Recovering => "recovering",
        Role::Damaged => "damaged",
        Role::Learner => "learner",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::rows::tests::{human, json, node};
    use crate::client::report::RegistryRow;
    use crate::types::{ClusterId, Index, Term};

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
                version: None,
                uptime_ms: None,
                last_contact_ms: Some(61_000),
                elections: None,
                disk_used_bytes: None,
                disk_free_bytes: None,
                certificate_expires_ms: None,
                leads_according_to: vec![node("n2"), node("n3")],
                damaged: vec![],
            }],
            registry: RegistryRow {
                reachable: true,
                leader: Some(node("n2")),
                term: Some(Term::new(1)),
            },
        };
        let expected = r#"{"cluster":"00000000000000000000000000000001","leader":null,"term":null,"next_offset":null,"nodes":[{"node":"n1","address":"127.0.0.1:7101","role":null,"term":null,"last_index":null,"commit_index":null,"next_offset":null,"lag":null,"reachable":false,"disk_full":null,"log_ahead_ms":null,"version":null,"uptime_ms":null,"last_contact_ms":61000,"elections":null,"disk_used_bytes":null,"disk_free_bytes":null,"certificate_expires_ms":null,"leads_according_to":["n2","n3"]}],"registry":{"reachable":true,"leader":"n2","term":1}}"#;
        assert_eq!(json(&status), expected);
        assert_eq!(
            human(&status),
            "cluster 00000000000000000000000000000001: none of the 1 known nodes answers\n\
             NODE  ROLE         TERM  LAST  COMMIT  NEXT  LAG  ADDRESS\n\
             n1    unreachable     -     -       -     -    -  127.0.0.1:7101\n      \
             n1 leads according to n2, n3, and does not answer here\n\
             NODE  VERSION  UPTIME     LAST HEARD  ELECTIONS  DISK USED  DISK FREE\n\
             n1    -             -  1 min 1 s ago          -          -  -\n\
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
            version: Some("0.1.0".to_owned()),
            uptime_ms: Some(7_380_000),
            last_contact_ms: Some(12),
            elections: Some(4),
            disk_used_bytes: Some(51 << 20),
            disk_free_bytes: Some(120 << 30),
            certificate_expires_ms: Some(u64::MAX),
            leads_according_to: vec![],
            damaged: vec![],
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
            "cluster 00000000000000000000000000000001: n1 leads term 2, 1 record in main\n\
             NODE  ROLE           TERM     LAST  COMMIT      NEXT  LAG  ADDRESS\n\
             n1    leader            2  1234567       7  12345678    0  127.0.0.1:7101\n      \
             n1's log is 60 s ahead of its clock\n\
             n10   pre-candidate     2  1234567       7  12345678    1  127.0.0.1:7101\n      \
             n10's log is 60 s ahead of its clock\n\
             NODE  VERSION     UPTIME  LAST HEARD  ELECTIONS  DISK USED  DISK FREE\n\
             n1    0.1.0    2 h 3 min   12 ms ago          4     51 MiB  120 GiB\n\
             n10   0.1.0    2 h 3 min   12 ms ago          4     51 MiB  120 GiB\n\
             registry: knows no leader yet\n"
        );
        let styles: Vec<_> = text.lines().map(|line| status.style(line).is_plain()).collect();
        assert_eq!(styles, [true, true, false, true, false, true, true, false, false, true]);
    }
}
