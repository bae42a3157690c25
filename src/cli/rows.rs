//! What commands print: the JSON objects with their fixed field names, and the forms for people.

use std::array;
use std::io::{self, Write};
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use bytes::Bytes;
use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};
use time::OffsetDateTime;
use time::macros::format_description;

use super::output::{Row, colour};
use crate::client::Record;
use crate::limits;
use crate::types::{ByteCount, ClusterId, DiskFull, Index, NodeId, Offset, Term, Timestamp};
use crate::wire::api::{Appended, Role};

/// An acknowledged request.
#[derive(Serialize)]
pub(super) struct AppendRow {
    offset: Offset,
    count: u32,
    term: Term,
    index: Index,
    leader: NodeId,
}

impl From<Appended> for AppendRow {
    fn from(appended: Appended) -> Self {
        let Appended { offset, count, term, index, leader } = appended;
        Self { offset, count, term, index, leader }
    }
}

impl Row for AppendRow {
    fn human(&self, out: &mut dyn Write) -> io::Result<()> {
        let Self { offset, count, term, index, leader } = self;
        match count {
            1 => write!(out, "offset {offset}")?,
            _ => write!(out, "offsets {offset} to {}", offset.get() + u64::from(*count) - 1)?,
        }
        writeln!(out, " in entry {index}@{term}, acknowledged by {leader}")
    }
}

/// A record.
pub(super) struct RecordRow {
    /// Its place in the log.
    pub(super) offset: Offset,
    /// The term of its entry.
    pub(super) term: Term,
    /// The index of its entry.
    pub(super) index: Index,
    /// The time of its entry.
    pub(super) time: Timestamp,
    /// Its bytes.
    pub(super) record: Bytes,
}

impl From<Record> for RecordRow {
    fn from(Record { offset, term, index, time, bytes: record }: Record) -> Self {
        Self { offset, term, index, time, record }
    }
}

impl Serialize for RecordRow {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("record", 5)?;
        object.serialize_field("offset", &self.offset)?;
        object.serialize_field("term", &self.term)?;
        object.serialize_field("index", &self.index)?;
        object.serialize_field("time", &rfc3339(self.time))?;
        match std::str::from_utf8(&self.record) {
            Ok(text) => object.serialize_field("record", text)?,
            Err(_) => object.serialize_field("record_base64", &base64(&self.record))?,
        }
        object.end()
    }
}

/// A node's term, before and after it was set.
#[derive(Serialize)]
pub(super) struct SetTermRow {
    /// Before.
    pub(super) before: Term,
    /// Now.
    pub(super) now: Term,
}

impl Row for SetTermRow {
    fn human(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "the node's term was {} and is {}, with no vote", self.before, self.now)
    }
}

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

/// The version of this program.
#[derive(Serialize)]
pub(super) struct VersionRow {
    /// Its three numbers.
    pub(super) version: &'static str,
}

impl Row for VersionRow {
    fn human(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "annal {}", self.version)
    }
}

/// Pages of the manual that were written.
#[derive(Serialize)]
pub(super) struct ManRow {
    /// How many.
    pub(super) pages: usize,
    /// Where.
    pub(super) dir: String,
}

impl Row for ManRow {
    fn human(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{} pages in {}", self.pages, self.dir)
    }
}

/// Who leads, by its own word.
#[derive(Serialize)]
pub(super) struct LeaderRow {
    /// Who.
    pub(super) leader: NodeId,
    /// Which term.
    pub(super) term: Term,
    /// Where it listens.
    pub(super) address: String,
}

impl Row for LeaderRow {
    fn human(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{} leads term {}, at {}", self.leader, self.term, self.address)
    }
}

/// Who led a term, as the registry knows.
#[derive(Serialize)]
pub(super) struct TermRow {
    /// `Leader_TermX`.
    pub(super) name: String,
    /// The term.
    pub(super) term: Term,
    /// Who.
    pub(super) node: NodeId,
    /// Where it listened.
    pub(super) address: String,
    /// When the term began.
    #[serde(serialize_with = "as_rfc3339")]
    pub(super) time: Timestamp,
}

impl Row for TermRow {
    fn human(&self, out: &mut dyn Write) -> io::Result<()> {
        let time = rfc3339(self.time).unwrap_or_else(|| "-".to_owned());
        writeln!(out, "{}  {}  {}  {time}", self.name, self.node, self.address)
    }
}

/// What a registry has forgotten.
#[derive(Serialize)]
pub(super) struct ForgottenRow {
    /// How many terms.
    pub(super) terms: u32,
}

impl Row for ForgottenRow {
    fn human(&self, out: &mut dyn Write) -> io::Result<()> {
        let plural = if self.terms == 1 { "" } else { "s" };
        writeln!(out, "the registry has forgotten {} term{plural}", self.terms)
    }
}

/// A leader that crashed as asked, and the one after it.
#[derive(Serialize)]
pub(super) struct CrashRow {
    /// Who crashed.
    pub(super) crashed: NodeId,
    /// The term that it led.
    pub(super) term: Term,
    /// Who leads now, if anybody.
    pub(super) new_leader: Option<NodeId>,
    /// In which term.
    pub(super) new_term: Option<Term>,
    /// The time without a leader in ms.
    pub(super) failover_ms: Option<u64>,
}

impl Row for CrashRow {
    fn human(&self, out: &mut dyn Write) -> io::Result<()> {
        write!(out, "{}, leader of term {}, crashed; ", self.crashed, self.term)?;
        match (self.new_leader, self.new_term, self.failover_ms) {
            (Some(leader), Some(term), Some(ms)) => {
                writeln!(out, "{leader} leads term {term} after {ms} ms")
            }
            _ => writeln!(out, "no new leader yet"),
        }
    }
}

/// What is in a stopped node's folder.
#[derive(Serialize)]
pub(super) struct InspectRow {
    /// Whose folder it is.
    pub(super) node: NodeId,
    /// Its term.
    pub(super) term: Term,
    /// Whom it voted for in that term.
    pub(super) voted_for: Option<NodeId>,
    /// How many segments the log has.
    pub(super) segments: usize,
    /// The first entry that is there.
    pub(super) first_index: Index,
    /// The last.
    pub(super) last_index: Index,
    /// The commit index as known on disk.
    pub(super) commit_index: Index,
    /// The offset after the last record.
    pub(super) next_offset: Offset,
    /// The chain at the entry asked for, if it is there.
    pub(super) chain: Option<String>,
    /// What is damaged, a sentence each.
    pub(super) damage: Vec<String>,
}

impl Row for InspectRow {
    fn human(&self, out: &mut dyn Write) -> io::Result<()> {
        let vote = self.voted_for.map_or("nobody".to_owned(), |node| node.to_string());
        writeln!(out, "node {}: term {}, voted for {vote}", self.node, self.term)?;
        writeln!(
            out,
            "entries {} to {} in {} segment(s), committed at least to {}",
            self.first_index, self.last_index, self.segments, self.commit_index
        )?;
        writeln!(out, "next offset {}", self.next_offset)?;
        writeln!(out, "chain {}", self.chain.as_deref().unwrap_or("-"))?;
        match self.damage.as_slice() {
            [] => writeln!(out, "no damage found"),
            damage => damage.iter().try_for_each(|what| writeln!(out, "DAMAGE: {what}")),
        }
    }
}

/// A cluster that was written.
#[derive(Serialize)]
pub(super) struct InitRow {
    /// Its identity.
    pub(super) cluster: ClusterId,
    /// Where its certs/ and data/ are.
    pub(super) dir: String,
    /// Its nodes.
    pub(super) nodes: Vec<PartRow>,
    /// Where its registry will listen.
    pub(super) registry: Option<String>,
    /// Whether an admin may crash the leader.
    pub(super) fault_injection: bool,
}

/// A node of an [`InitRow`] or a [`ReadyRow`].
#[derive(Serialize)]
pub(super) struct PartRow {
    /// Its name.
    pub(super) node: NodeId,
    /// Where it listens.
    pub(super) address: String,
}

impl Row for InitRow {
    fn human(&self, out: &mut dyn Write) -> io::Result<()> {
        let names: Vec<_> = self.nodes.iter().map(|part| part.node.to_string()).collect();
        writeln!(out, "cluster {} of {} in {}", self.cluster, names.join(", "), self.dir)
    }
}

/// A cluster that is up.
#[derive(Serialize)]
pub(super) struct ReadyRow {
    /// Who leads.
    pub(super) leader: NodeId,
    /// In which term.
    pub(super) term: Term,
    /// Its identity.
    pub(super) cluster: ClusterId,
    /// Where its certs/ and data/ are.
    pub(super) dir: String,
    /// Its nodes.
    pub(super) nodes: Vec<PartRow>,
    /// What to try next.
    #[serde(skip)]
    pub(super) commands: Vec<String>,
}

impl Row for ReadyRow {
    fn human(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(
            out,
            "ready: {} leads term {}. In another terminal, try:",
            self.leader, self.term
        )?;
        self.commands.iter().try_for_each(|command| writeln!(out, "    {command}"))
    }
}

/// A line of the demo's story.
#[derive(Serialize)]
pub(super) struct StoryRow {
    /// Milliseconds since the demo began.
    pub(super) elapsed_ms: u64,
    /// What happened.
    pub(super) text: String,
}

impl Row for StoryRow {
    fn human(&self, out: &mut dyn Write) -> io::Result<()> {
        let (seconds, tenths) = (self.elapsed_ms / 1000, self.elapsed_ms % 1000 / 100);
        writeln!(out, "{seconds:>3}.{tenths} s  {}", self.text)
    }
}

/// The time as `2026-01-31T12:00:00.123Z`; `None` if it is not of this age of the world.
pub(super) fn rfc3339(time: Timestamp) -> Option<String> {
    let format =
        format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    let nanoseconds = i128::from(time.get()) * 1_000_000;
    OffsetDateTime::from_unix_timestamp_nanos(nanoseconds).ok()?.format(&format).ok()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands the field over by reference")]
fn as_rfc3339<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    rfc3339(*time).serialize(serializer)
}

/// Base64 as in RFC 4648, section 4, with padding.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits =
            (0..3).fold(0, |bits, at| bits << 8 | usize::from(group.get(at).copied().unwrap_or(0)));
        for digit in 0..4 {
            let value = bits >> (18 - 6 * digit) & 0x3f;
            let is_padding = digit > group.len();
            text.push(if is_padding { '=' } else { char::from(ALPHABET[value]) });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(row: &impl Serialize) -> String {
        serde_json::to_string(row).unwrap()
    }

    fn human(row: &impl Row) -> String {
        let mut out = Vec::new();
        row.human(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn node(name: &str) -> NodeId {
        name.parse().unwrap()
    }

    fn record(bytes: &'static [u8]) -> RecordRow {
        RecordRow {
            offset: Offset::ZERO,
            term: Term::new(2),
            index: Index::new(3),
            time: Timestamp::new(1_769_860_800_123),
            record: Bytes::from_static(bytes),
        }
    }

    #[test]
    fn objects_have_the_fixed_fields_in_order() {
        let append = AppendRow::from(Appended {
            offset: Offset::ZERO,
            count: 1,
            term: Term::new(2),
            index: Index::new(3),
            leader: node("n1"),
        });
        assert_eq!(json(&append), r#"{"offset":0,"count":1,"term":2,"index":3,"leader":"n1"}"#);
        assert_eq!(
            json(&record(b"text")),
            r#"{"offset":0,"term":2,"index":3,"time":"2026-01-31T12:00:00.123Z","record":"text"}"#
        );
        let crash = CrashRow {
            crashed: node("n1"),
            term: Term::new(2),
            new_leader: None,
            new_term: None,
            failover_ms: None,
        };
        let expected =
            r#"{"crashed":"n1","term":2,"new_leader":null,"new_term":null,"failover_ms":null}"#;
        assert_eq!(json(&crash), expected);
        let term = TermRow {
            name: "Leader_Term2".to_owned(),
            term: Term::new(2),
            node: node("n1"),
            address: "127.0.0.1:7101".to_owned(),
            time: Timestamp::new(0),
        };
        let expected = r#"{"name":"Leader_Term2","term":2,"node":"n1","address":"127.0.0.1:7101","time":"1970-01-01T00:00:00.000Z"}"#;
        assert_eq!(json(&term), expected);
    }

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

    #[test]
    fn bytes_that_are_no_text_are_kept() {
        assert!(json(&record(b"\xff\x00")).ends_with(r#""record_base64":"/wA="}"#));
    }

    #[test]
    fn base64_is_that_of_the_rfc() {
        let cases =
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")];
        for (bytes, text) in cases {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
        assert_eq!(base64(&[0xfb, 0xff, 0xfe]), "+//+");
    }

    #[test]
    fn a_time_beyond_the_calendar_is_null() {
        assert_eq!(rfc3339(Timestamp::new(u64::MAX)), None);
    }
}
