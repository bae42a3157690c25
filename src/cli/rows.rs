//! What commands print: the JSON objects with their fixed field names, and the forms for people.

use std::io::{self, Write};
use std::time::Duration;

use bytes::Bytes;
use humantime::format_duration;
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use super::amount::{shown_age, shown_bytes};
use super::output::Row;
use crate::base64::base64;
use crate::client::report::CrashRow;
use crate::client::{LogState, ProducerState, Record};
use crate::date::rfc3339;
use crate::label::{FenceToken, ProducerName};
use crate::log_name::LogName;
use crate::log_settings::{ContentType, Expiry, LogSettings};
use crate::retention::Retention;
use crate::types::{ByteCount, ClusterId, Index, LogNumber, NodeId, Offset, Term, Timestamp};
use crate::wire::api::Appended;

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

/// The log's fence.
#[derive(Serialize)]
pub(super) struct FenceRow {
    pub(super) fence: Option<FenceToken>,
}

impl Row for FenceRow {
    fn human(&self, out: &mut dyn Write) -> io::Result<()> {
        match &self.fence {
            Some(token) => writeln!(out, "{token}"),
            None => writeln!(out, "no fence"),
        }
    }
}

/// How far a producer is.
#[derive(Serialize)]
pub(super) struct ProducerRow {
    producer: ProducerName,
    epoch: u64,
    last_seq: u64,
    offset: Option<Offset>,
}

impl From<ProducerState> for ProducerRow {
    fn from(state: ProducerState) -> Self {
        let ProducerState { name: producer, epoch, last_seq, offset, .. } = state;
        Self { producer, epoch, last_seq, offset }
    }
}

impl Row for ProducerRow {
    fn human(&self, out: &mut dyn Write) -> io::Result<()> {
        let Self { producer, epoch, last_seq, .. } = self;
        write!(out, "{producer}: epoch {epoch}, last seq {last_seq}")?;
        match self.offset {
            Some(offset) => writeln!(out, ", at offset {offset}"),
            None => writeln!(out),
        }
    }
}

/// How a log stands.
#[derive(Serialize)]
pub(super) struct LogRow {
    log: LogName,
    number: LogNumber,
    start_offset: Offset,
    next_offset: Offset,
    closed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<ContentType>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retention_age_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retention_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retention_records: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expire_idle_seconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fork_of: Option<LogName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fork_at: Option<Offset>,
    #[serde(skip_serializing_if = "Option::is_none")]
    forks: Option<u32>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    deleted: bool,
}

impl From<LogState> for LogRow {
    fn from(state: LogState) -> Self {
        let LogState {
            name: log,
            number,
            start_offset,
            next_offset,
            closed,
            settings,
            deleted,
            fork,
            forks,
        } = state;
        let (fork_of, fork_at) = fork.map(|fork| (fork.source, fork.at)).unzip();
        let LogSettings { content_type, retention, expiry } = settings;
        let (expire_idle_seconds, expires_at) = match expiry {
            None => (None, None),
            Some(Expiry::Idle { seconds }) => (Some(seconds), None),
            Some(Expiry::At(time)) => (None, rfc3339(time)),
        };
        Self {
            log,
            number,
            start_offset,
            next_offset,
            closed,
            content_type,
            retention_age_ms: retention.age_ms,
            retention_bytes: retention.bytes,
            retention_records: retention.records,
            expire_idle_seconds,
            expires_at,
            fork_of,
            fork_at,
            forks: Some(forks).filter(|forks| *forks > 0),
            deleted,
        }
    }
}

/// What is kept of a log, as it is typed.
pub(super) fn shown_retention(retention: Retention) -> String {
    let Retention { age_ms, bytes, records } = retention;
    let limits = [
        age_ms.map(shown_age),
        bytes.map(shown_bytes),
        records.map(|records| format!("{records} records")),
    ];
    let limits: Vec<_> = limits.into_iter().flatten().collect();
    if limits.is_empty() { "all".to_owned() } else { limits.join(" or ") }
}

impl Row for LogRow {
    fn human(&self, out: &mut dyn Write) -> io::Result<()> {
        let Self { log, next_offset, .. } = self;
        let begins = Some(self.start_offset).filter(|start| *start > Offset::ZERO);
        let begins = begins.map(|start| format!(", begins at {start}")).unwrap_or_default();
        let closed = if self.closed { ", closed" } else { "" };
        let origin = self.fork_of.as_ref().zip(self.fork_at);
        let origin = origin.map(|(source, at)| format!(", fork of {source} at {at}"));
        let origin = origin.unwrap_or_default();
        let kept_for = if self.deleted { ", deleted and kept for" } else { "," };
        let forks = self.forks.map(|forks| {
            format!("{kept_for} {forks} {}", if forks == 1 { "fork" } else { "forks" })
        });
        let forks = forks.unwrap_or_default();
        let of_type = self.content_type.as_ref().map(|kind| format!(", {kind}"));
        let of_type = of_type.unwrap_or_default();
        let retention = Retention {
            age_ms: self.retention_age_ms,
            bytes: self.retention_bytes,
            records: self.retention_records,
        };
        let kept = Some(retention).filter(|retention| !retention.is_all());
        let kept = kept.map(|kept| format!(", keeps {}", shown_retention(kept)));
        let kept = kept.unwrap_or_default();
        let idle = self.expire_idle_seconds.map(Duration::from_secs);
        let idle = idle.map(|time| format!(", expires when idle for {}", format_duration(time)));
        let at = self.expires_at.as_ref().map(|time| format!(", expires at {time}"));
        let expires = idle.or(at).unwrap_or_default();
        write!(out, "{log}: next offset {next_offset}{begins}{origin}{forks}")?;
        writeln!(out, "{closed}{of_type}{kept}{expires}")
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
        serialize_record(&mut object, &self.record)?;
        object.end()
    }
}

/// A record as a field: a text, or what stands for other bytes.
pub(super) fn serialize_record<S: SerializeStruct>(
    object: &mut S,
    record: &[u8],
) -> Result<(), S::Error> {
    match std::str::from_utf8(record) {
        Ok(text) => object.serialize_field("record", text),
        Err(_) => object.serialize_field("record_base64", &base64(record)),
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

/// A node that begins anew.
#[derive(Serialize)]
pub(super) struct RecoverRow {
    /// Which.
    pub(super) node: NodeId,
    /// The names in its folder of what was set aside.
    pub(super) set_aside: String,
}

impl Row for RecoverRow {
    fn human(&self, out: &mut dyn Write) -> io::Result<()> {
        let Self { node, set_aside } = self;
        writeln!(out, "{node} begins anew when it is started; its data is set aside as {set_aside}")
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
        write_damage(out, &self.damage)
    }
}

/// What was verified.
#[derive(Serialize)]
pub(super) struct VerifyRow {
    /// Of which cluster it is.
    pub(super) cluster: ClusterId,
    /// Whose folder it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) node: Option<NodeId>,
    /// The first entry that is there.
    pub(super) first_index: Index,
    /// The last.
    pub(super) last_index: Index,
    /// How many were read.
    pub(super) entries: u64,
    /// In how many segments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) segments: Option<usize>,
    /// How many logs there are behind the last entry.
    pub(super) logs: Option<usize>,
    /// How many records the entries have.
    pub(super) records: u64,
    /// The chain at the last entry, if all before it is intact.
    pub(super) chain: Option<String>,
    /// What is wrong, a sentence each.
    pub(super) damage: Vec<String>,
}

impl Row for VerifyRow {
    fn human(&self, out: &mut dyn Write) -> io::Result<()> {
        let Self { cluster, first_index, last_index, entries, records, .. } = self;
        match self.node {
            Some(node) => writeln!(out, "{node} of cluster {cluster}")?,
            None => writeln!(out, "backup of cluster {cluster}")?,
        }
        let of_logs = self.logs.map(|logs| format!(" of {logs} log(s)")).unwrap_or_default();
        let segments = self.segments.map(|segments| format!(", in {segments} segment(s)"));
        let segments = segments.unwrap_or_default();
        writeln!(
            out,
            "read {entries} entries, {first_index} to {last_index}{segments}, with {records} records\
             {of_logs}"
        )?;
        writeln!(out, "chain {}", self.chain.as_deref().unwrap_or("-"))?;
        write_damage(out, &self.damage)
    }
}

/// A backup that was taken.
#[derive(Serialize)]
pub(super) struct BackupRow {
    /// Where it is.
    pub(super) file: String,
    /// Who sent the end of it.
    pub(super) node: NodeId,
    /// Its first entry.
    pub(super) first_index: Index,
    /// Its last entry.
    pub(super) last_index: Index,
    /// How many it has.
    pub(super) entries: u64,
    /// How many bytes it has.
    pub(super) bytes: u64,
    /// The chain at its last entry.
    pub(super) chain: String,
    /// How long it took.
    pub(super) elapsed_ms: u64,
}

impl Row for BackupRow {
    fn human(&self, out: &mut dyn Write) -> io::Result<()> {
        let Self { file, first_index, last_index, entries, elapsed_ms, .. } = self;
        let bytes = ByteCount(self.bytes);
        let (seconds, tenths) = (elapsed_ms / 1000, elapsed_ms % 1000 / 100);
        if *entries == 0 {
            return writeln!(out, "{file}: nothing came since entry {last_index}");
        }
        writeln!(
            out,
            "{file}: entries {first_index} to {last_index}, {bytes}, chain {}; {seconds}.{tenths} s",
            self.chain
        )
    }
}

fn write_damage(out: &mut dyn Write, damage: &[String]) -> io::Result<()> {
    match damage {
        [] => writeln!(out, "no damage found"),
        damage => damage.iter().try_for_each(|what| writeln!(out, "DAMAGE: {what}")),
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
    /// The process in the background, if it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) process: Option<u32>,
    /// Where that says what happens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) log: Option<String>,
    /// What to try next.
    #[serde(skip)]
    pub(super) commands: Vec<String>,
}

impl Row for ReadyRow {
    fn human(&self, out: &mut dyn Write) -> io::Result<()> {
        write!(out, "ready: {} leads term {}", self.leader, self.term)?;
        match (self.process, &self.log) {
            (Some(process), Some(log)) => {
                writeln!(out, "; process {process}, its log is {log}. Try:")?;
            }
            _ => writeln!(out, ". In another terminal, try:")?,
        }
        self.commands.iter().try_for_each(|command| writeln!(out, "    {command}"))
    }
}

/// A cluster that was to be stopped.
#[derive(Serialize)]
pub(super) struct DownRow {
    /// Whether it was running.
    pub(super) was_running: bool,
    /// The process that ran it.
    pub(super) process: Option<u32>,
    /// Where its certs/ and data/ are.
    #[serde(skip)]
    pub(super) dir: String,
}

impl Row for DownRow {
    fn human(&self, out: &mut dyn Write) -> io::Result<()> {
        match self.process {
            Some(process) => writeln!(out, "stopped: process {process}, and all parts with it"),
            None => writeln!(out, "nothing of the cluster in {} is running", self.dir),
        }
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
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands the field over by reference")]
fn as_rfc3339<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    rfc3339(*time).serialize(serializer)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::cli) fn json(row: &impl Serialize) -> String {
        serde_json::to_string(row).unwrap()
    }

    pub(in crate::cli) fn human(row: &impl Row) -> String {
        let mut out = Vec::new();
        row.human(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    pub(in crate::cli) fn node(name: &str) -> NodeId {
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
        let retention = Retention { age_ms: Some(60_000), bytes: None, records: Some(5) };
        let content_type = "text/plain".parse().ok();
        let expiry = Some(Expiry::Idle { seconds: 90 });
        let log = LogRow::from(LogState {
            name: "a/b".parse().unwrap(),
            number: LogNumber::new(3),
            start_offset: Offset::new(2),
            next_offset: Offset::new(7),
            closed: true,
            settings: LogSettings { content_type, expiry, retention },
            deleted: false,
            fork: None,
            forks: 0,
        });
        assert_eq!(
            json(&log),
            r#"{"log":"a/b","number":3,"start_offset":2,"next_offset":7,"closed":true,"content_type":"text/plain","retention_age_ms":60000,"retention_records":5,"expire_idle_seconds":90}"#
        );
        let expected = "a/b: next offset 7, begins at 2, closed, text/plain, keeps 1m or 5 records, \
             expires when idle for 1m 30s\n";
        assert_eq!(human(&log), expected);
        let fork = LogRow {
            closed: false,
            start_offset: Offset::ZERO,
            content_type: None,
            retention_age_ms: None,
            retention_records: None,
            expire_idle_seconds: None,
            fork_of: "a".parse().ok(),
            fork_at: Some(Offset::new(5)),
            forks: Some(1),
            ..log
        };
        assert_eq!(human(&fork), "a/b: next offset 7, fork of a at 5, 1 fork\n");
        let kept = LogRow { fork_of: None, forks: Some(2), deleted: true, ..fork };
        assert_eq!(human(&kept), "a/b: next offset 7, deleted and kept for 2 forks\n");
        assert!(json(&kept).ends_with(r#""closed":false,"fork_at":5,"forks":2,"deleted":true}"#));
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
    fn bytes_that_are_no_text_are_kept() {
        assert!(json(&record(b"\xff\x00")).ends_with(r#""record_base64":"/wA="}"#));
    }
}
