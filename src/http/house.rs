//! What answering takes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{HOST, HeaderMap};
use serde::Serialize;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::answer::json;
use super::chronicle::{Chronicle, Turn};
use super::gate::Gate;
use super::inside::Inside;
use super::streams::Rooms;
use crate::client::Client;
use crate::client::report::StatusRow;
use crate::config::HttpConfig;
use crate::limits::{HTTP_HEAD_TIMEOUT, HTTP_STATUS_FRESH};
use crate::types::NodeId;

/// What all visitors share.
pub(super) struct House {
    /// Where the door is, and who may use it.
    pub(super) config: HttpConfig,
    /// Who may come in, where that is asked.
    pub(super) gate: Option<Gate>,
    /// The node behind it.
    pub(super) inside: Arc<dyn Inside>,
    /// For what concerns more than this node.
    pub(super) client: Client,
    pub(super) visits: Visits,
    /// What readers and writers of logs take.
    pub(super) rooms: Arc<Rooms>,
    /// Who led when.
    pub(super) chronicle: Arc<Chronicle>,
    /// Whether the leader may be crashed, as far as this node is asked.
    pub(super) fault_injection: bool,
    /// How long the head of a request may take.
    pub(super) head_timeout: Duration,
    /// The state of the cluster, and when all nodes were asked for it. Locked while they are asked.
    status: Mutex<Option<(Instant, Bytes)>>,
    /// The node is to stop.
    pub(super) stop: CancellationToken,
}

/// What the door has counted since it opened.
#[derive(Debug, Default)]
pub(super) struct Visits {
    /// Connections that are open.
    pub(super) connections: AtomicUsize,
    /// Connections that were one too many.
    pub(super) turned_away: AtomicU64,
    /// Answers, by the first digit of their status.
    answers: [AtomicU64; 6],
}

/// What a node tells its page.
#[derive(Serialize)]
struct NodeRow {
    node: NodeId,
    fault_injection: bool,
    terms: Vec<Turn>,
}

impl Visits {
    pub(super) fn answered(&self, status: hyper::StatusCode) {
        if let Some(count) = self.answers.get(usize::from(status.as_u16() / 100)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many answers there were of each kind: 2 for those from 200 to 299.
    pub(super) fn answers(&self) -> impl Iterator<Item = (usize, u64)> {
        let count = |(kind, count): (usize, &AtomicU64)| (kind, count.load(Ordering::Relaxed));
        self.answers.iter().enumerate().skip(2).map(count)
    }
}

impl House {
    pub(super) fn new(
        config: HttpConfig,
        inside: Arc<dyn Inside>,
        client: Client,
        stop: CancellationToken,
    ) -> Self {
        Self {
            config,
            gate: None,
            inside,
            client,
            visits: Visits::default(),
            rooms: Arc::default(),
            chronicle: Arc::default(),
            fault_injection: false,
            head_timeout: HTTP_HEAD_TIMEOUT,
            status: Mutex::default(),
            stop,
        }
    }

    /// What the addresses of its places begin with, for who asked for one so.
    pub(super) fn base(&self, headers: &HeaderMap) -> String {
        let asked = headers.get(HOST).filter(|_| self.config.has_tls());
        match asked.and_then(|host| host.to_str().ok()) {
            Some(host) => format!("https://{host}"),
            None => format!("http://{}", self.config.listen),
        }
    }

    /// Which node this is, and what it has seen.
    pub(super) fn node(&self) -> Vec<u8> {
        let row = NodeRow {
            node: self.inside.welcome().node,
            fault_injection: self.fault_injection,
            terms: self.chronicle.turns(),
        };
        json(&row)
    }

    /// The state of the cluster, as `annal status --json` has it, not older than a moment.
    pub(super) async fn status(&self) -> Bytes {
        let mut kept = self.status.lock().await;
        if let Some((at, status)) = &*kept
            && at.elapsed() < HTTP_STATUS_FRESH
        {
            return status.clone();
        }
        let asked = Instant::now();
        let row = StatusRow::of(&self.client.status().await);
        let mut text = json(&row);
        text.push(b'\n');
        let status = Bytes::from(text);
        *kept = Some((asked, status.clone()));
        status
    }
}
