//! How this node's process is doing, for whoever asks.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

use crate::limits::{DISK_USE_LOOKED_AT_EVERY, DISK_USE_REST};
use crate::types::{NodeId, Term};
use crate::wire::api::{DiskUse, Vitals};

const UNPOISONED: &str = "a panic ends the process";

/// What is known of this process. The driver notes, everybody may read.
#[derive(Debug)]
pub(super) struct Pulse {
    started: Instant,
    /// When the driver turned last, in ms after the start.
    turned: AtomicU64,
    /// The highest term of which a leader was known.
    led: AtomicU64,
    elections: AtomicU64,
    /// When each other node was heard last, in ms after the start.
    heard: Mutex<BTreeMap<NodeId, u64>>,
    disk: watch::Sender<Option<DiskUse>>,
}

impl Pulse {
    /// Of a process that starts now.
    pub(super) fn new() -> Self {
        Self {
            started: Instant::now(),
            turned: AtomicU64::new(0),
            led: AtomicU64::new(0),
            elections: AtomicU64::new(0),
            heard: Mutex::default(),
            disk: watch::channel(None).0,
        }
    }

    /// The driver turns.
    pub(super) fn turned(&self) {
        self.turned.store(self.now_ms(), Ordering::Relaxed);
    }

    /// How long ago the driver turned last.
    #[cfg(feature = "http")]
    pub(super) fn still_for(&self) -> Duration {
        Duration::from_millis(self.now_ms().saturating_sub(self.turned.load(Ordering::Relaxed)))
    }

    /// A message of that node has come.
    pub(super) fn heard(&self, node: NodeId) {
        self.heard.lock().expect(UNPOISONED).insert(node, self.now_ms());
    }

    /// Somebody is known to lead that term. Only the driver says so.
    pub(super) fn led(&self, term: Term) {
        if self.led.load(Ordering::Relaxed) < term.get() {
            self.led.store(term.get(), Ordering::Relaxed);
            self.elections.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What there is to say, of those that are members.
    pub(super) fn vitals(&self, is_member: impl Fn(NodeId) -> bool) -> Vitals {
        let now = self.now_ms();
        let mut heard = self.heard.lock().expect(UNPOISONED);
        heard.retain(|node, _| is_member(*node));
        let heard_ms = heard.iter().map(|(node, at)| (*node, now.saturating_sub(*at))).collect();
        Vitals {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_ms: now,
            elections: self.elections.load(Ordering::Relaxed),
            disk: *self.disk.borrow(),
            heard_ms,
            ..Vitals::default()
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// Looks at the disk now and then, until the process ends. A folder of a million files takes seconds to
/// look through: it rests many times as long as it has worked.
pub(super) async fn look_at_disk(pulse: Arc<Pulse>, folder: PathBuf) {
    loop {
        let begun = Instant::now();
        let folder = folder.clone();
        let found =
            spawn_blocking(move || disk_use(&folder)).await.expect("a panic ends the process");
        // What cannot be looked at now is as it was.
        pulse.disk.send_if_modified(|known| {
            *known = found.ok().or(*known);
            true
        });
        sleep(rest_after(begun.elapsed())).await;
    }
}

fn rest_after(worked: Duration) -> Duration {
    DISK_USE_LOOKED_AT_EVERY.max(worked * DISK_USE_REST)
}

fn disk_use(folder: &Path) -> io::Result<DiskUse> {
    let found = rustix::fs::statvfs(folder)?;
    let free_bytes = found.f_bavail.saturating_mul(found.f_frsize);
    Ok(DiskUse { used_bytes: used_bytes(folder), free_bytes })
}

/// What a folder takes of the disk, with all below it. Files come and go meanwhile.
fn used_bytes(folder: &Path) -> u64 {
    let mut used = 0_u64;
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let Ok(found) = entry.metadata() else { continue };
            // The unit of `st_blocks`, whatever the file system's is.
            used = used.saturating_add(found.blocks().saturating_mul(512));
            if found.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    used
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(number: u16) -> NodeId {
        NodeId::new(number).unwrap()
    }

    #[test]
    fn a_term_counts_once_and_only_when_somebody_leads_it() {
        let pulse = Pulse::new();
        for term in [2, 2, 5, 5] {
            pulse.led(Term::new(term));
        }
        pulse.heard(node(3));
        pulse.heard(node(9));
        let vitals = pulse.vitals(|member| member == node(3));
        assert_eq!(vitals.elections, 2);
        assert_eq!(vitals.heard_ms.iter().map(|(node, _)| *node).collect::<Vec<_>>(), [node(3)]);
        assert_eq!(vitals.version, env!("CARGO_PKG_VERSION"));
        assert_eq!(vitals.disk, None);
    }

    #[test]
    fn what_lies_in_a_folder_and_below_it_is_counted_as_the_disk_does() {
        let folder = tempfile::tempdir().unwrap();
        let before = used_bytes(folder.path());
        fs::create_dir(folder.path().join("below")).unwrap();
        fs::write(folder.path().join("below/file"), vec![7; 100_000]).unwrap();
        let found = disk_use(folder.path()).unwrap();
        assert!((before + 100_000..before + 200_000).contains(&found.used_bytes), "{found:?}");
        assert!(disk_use(&folder.path().join("missing")).is_err());
    }

    #[test]
    fn whoever_looks_long_rests_long() {
        assert_eq!(rest_after(Duration::from_millis(1)), DISK_USE_LOOKED_AT_EVERY);
        assert_eq!(rest_after(Duration::from_secs(3)), Duration::from_secs(3) * DISK_USE_REST);
    }
}
