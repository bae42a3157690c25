//! `/metrics`: numbers for Prometheus, in its text form.

use std::fmt::{Display, Write as _};
use std::sync::atomic::Ordering;

use hyper::StatusCode;

use super::answer::{Answer, answer};
use super::house::{House, Visits};
use super::inside::Counts;
use crate::limits::PERSIST_BOUNDS_MS;
use crate::wire::api::{Role, Vitals, Welcome};

/// The form's name, as Prometheus asks for it.
const KIND: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All that is counted and measured here.
pub(super) fn show(house: &House) -> Answer {
    let mut page = Page::default();
    page.push_standing(&house.inside.welcome());
    page.push_counts(&house.inside.counts());
    page.push_visits(&house.visits);
    answer(StatusCode::OK, KIND, page.text)
}

#[derive(Debug, Default)]
struct Page {
    text: String,
}

impl Page {
    /// A family of one value.
    fn push(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.head(name, kind, help);
        self.line(name, "", value);
    }

    fn head(&mut self, name: &str, kind: &str, help: &str) {
        self.write(format_args!("# HELP annal_{name} {help}\n# TYPE annal_{name} {kind}\n"));
    }

    /// A value; labels come in braces, or not at all.
    fn line(&mut self, name: &str, labels: &str, value: impl Display) {
        self.write(format_args!("annal_{name}{labels} {value}\n"));
    }

    fn write(&mut self, text: std::fmt::Arguments<'_>) {
        self.text.write_fmt(text).expect("writing to a String does not fail");
    }

    /// Where the node stands in the cluster, and its log.
    fn push_standing(&mut self, welcome: &Welcome) {
        let Welcome { node, cluster, role, vitals, .. } = welcome;
        let version = &vitals.version;
        self.head("info", "gauge", "Which node this is.");
        let labels = format!("{{cluster=\"{cluster}\",node=\"{node}\",version=\"{version}\"}}");
        self.line("info", &labels, 1);
        let leads = u8::from(*role == Role::Leader && welcome.ready);
        self.push("leads", "gauge", "Whether this node leads and can serve.", leads);
        let is_led = u8::from(welcome.leader.is_some());
        self.push("has_leader", "gauge", "Whether this node knows who leads.", is_led);
        self.push("term", "gauge", "The node's term.", welcome.term);
        self.push("last_index", "gauge", "The last entry in its log.", welcome.last_index);
        self.push("commit_index", "gauge", "The last committed entry.", welcome.commit_index);
        let help = "Records of the log main up to the last committed one.";
        self.push("records_committed", "gauge", help, welcome.next_offset);
        let full = u8::from(welcome.disk_full.is_some());
        self.push("disk_full", "gauge", "Whether it takes no records for want of space.", full);
        let ahead = Seconds(u128::from(welcome.log_ahead_ms) * 1000);
        let help = "How far the log's time is ahead of the clock.";
        self.push("log_ahead_seconds", "gauge", help, ahead);
        self.push_vitals(vitals);
    }

    /// How its process is.
    fn push_vitals(&mut self, vitals: &Vitals) {
        let uptime = Seconds(u128::from(vitals.uptime_ms) * 1000);
        self.push("uptime_seconds", "gauge", "How long the process has been running.", uptime);
        let help = "Terms whose leader it has met since it started.";
        self.push("elections_total", "counter", help, vitals.elections);
        if let Some(disk) = vitals.disk {
            let help = "What its folder takes of the disk.";
            self.push("disk_used_bytes", "gauge", help, disk.used_bytes);
            let help = "What it could have beside that.";
            self.push("disk_free_bytes", "gauge", help, disk.free_bytes);
        }
        let help = "Sealed segments that it has read to find rot.";
        self.push("scrubbed_segments_total", "counter", help, vitals.scrubbed);
        let help = "Sealed segments that are damaged on its disk.";
        self.push("damaged_segments", "gauge", help, vitals.damaged.len());
        if let Some(expires) = vitals.certificate_expires {
            let help = "When its certificate expires, in seconds since 1970.";
            let seconds = expires.get() / 1000;
            self.push("certificate_expires_timestamp_seconds", "gauge", help, seconds);
        }
        let name = "peer_heard_seconds";
        self.head(name, "gauge", "How long ago another node was heard.");
        for (peer, ms) in &vitals.heard_ms {
            self.line(name, &format!("{{peer=\"{peer}\"}}"), Seconds(u128::from(*ms) * 1000));
        }
    }

    /// What it has done.
    fn push_counts(&mut self, counts: &Counts) {
        let name = "appends_total";
        self.head(name, "counter", "Requests to append that this node has answered as leader.");
        self.line(name, "{result=\"acknowledged\"}", counts.acknowledged_requests);
        self.line(name, "{result=\"refused\"}", counts.refused_requests);
        let help = "Bytes of records in acknowledged requests.";
        self.push("appended_bytes_total", "counter", help, counts.acknowledged_bytes);
        let name = "persist_seconds";
        self.head(name, "histogram", "From handing a write to the disk until it is on it.");
        let mut so_far = 0;
        for (bound, count) in PERSIST_BOUNDS_MS.iter().zip(counts.persisted) {
            so_far += count;
            let bound = Seconds(u128::from(*bound) * 1000);
            self.line("persist_seconds_bucket", &format!("{{le=\"{bound}\"}}"), so_far);
        }
        let all: u64 = counts.persisted.iter().sum();
        self.line("persist_seconds_bucket", "{le=\"+Inf\"}", all);
        self.line("persist_seconds_sum", "", Seconds(counts.persisted_micros.into()));
        self.line("persist_seconds_count", "", all);
    }

    /// Who comes to the door.
    fn push_visits(&mut self, visits: &Visits) {
        let open = visits.connections.load(Ordering::Relaxed);
        self.push("http_connections", "gauge", "Connections over HTTP that are open.", open);
        let turned_away = visits.turned_away.load(Ordering::Relaxed);
        let help = "Connections over HTTP that were one too many.";
        self.push("http_turned_away_total", "counter", help, turned_away);
        let name = "http_answers_total";
        self.head(name, "counter", "Answers over HTTP, by the kind of their status.");
        for (kind, count) in visits.answers() {
            self.line(name, &format!("{{status=\"{kind}xx\"}}"), count);
        }
    }
}

/// Microseconds, in the unit that Prometheus wants.
struct Seconds(u128);

impl Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::super::health::tests::welcome;
    use super::*;
    use crate::types::{Index, NodeId};

    #[test]
    fn every_family_is_declared_once_and_a_histogram_adds_up() {
        let mut page = Page::default();
        let mut said = welcome(Role::Leader, Some(2), true);
        said.vitals.heard_ms = vec![(NodeId::new(1).unwrap(), 1500)];
        said.vitals.damaged = vec![(Index::new(5), Index::new(9))];
        page.push_standing(&said);
        let mut counts = Counts { persisted_micros: 12_345, ..Counts::default() };
        (counts.persisted[0], counts.persisted[10]) = (3, 2);
        page.push_counts(&counts);
        page.push_visits(&Visits::default());
        let text = page.text;
        for line in [
            "annal_leads 1",
            "annal_term 3",
            "annal_damaged_segments 1",
            "annal_peer_heard_seconds{peer=\"n1\"} 1.500000",
            "annal_persist_seconds_bucket{le=\"0.001000\"} 3",
            "annal_persist_seconds_bucket{le=\"1.000000\"} 3",
            "annal_persist_seconds_bucket{le=\"+Inf\"} 5",
            "annal_persist_seconds_sum 0.012345",
            "annal_http_answers_total{status=\"4xx\"} 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        let declared: Vec<_> =
            text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let name = line.split(['{', ' ']).next().unwrap();
            let is_of = |of: &&&str| {
                let family = of.split(' ').next().unwrap();
                name.strip_prefix(family)
                    .is_some_and(|rest| ["", "_bucket", "_sum", "_count"].contains(&rest))
            };
            assert_eq!(declared.iter().filter(is_of).count(), 1, "{line}");
        }
    }
}
