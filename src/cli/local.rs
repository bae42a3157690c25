//! A cluster of child processes on this machine, in a folder of its own: what `annal demo` tells of
//! and `annal bench` measures.
//!
//! It comes up on free ports, and on others if one of them was taken in between. When it is over all
//! children are gone, and of the folder only what was made is removed; after a failure it is kept, to
//! be looked into.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::args::{LogFormat, Shared};
use super::children::{Children, Event, Part, ending};
use super::connection;
use super::escape::escaped;
use super::failure::{End, Failure};
use super::init::at_free;
use super::logs::SERVER_FILTER;
use super::output::talk;
use crate::access::{KEY_FILE, PUBLIC_FILE};
use crate::address::Address;
use crate::client::{Client, Leading};
use crate::config::{CERTS_FOLDER, CLUSTER_FILE, DATA_FOLDER, REGISTRY_FOLDER};
use crate::limits;
use crate::node::certificates::ISSUED_FOLDER;
use crate::node::init::{InitError, InitOptions, init};
use crate::outcome::Outcome;
use crate::remedy;
use crate::types::NodeId;

/// Each thing that is waited for comes within this time, or it has failed.
pub(super) const STEP_TIMEOUT: Duration = Duration::from_secs(15);
/// How often it is looked whether something has come.
pub(super) const POLL: Duration = Duration::from_millis(20);
/// Entries that a node may lack while others are being appended.
const LAG_MAX: u64 = 1_000;
/// Attempts to start on free ports, which others may take in between.
const START_ATTEMPTS: u32 = 3;
/// Log lines of each part that are shown after a failure.
const LAST_LINES: usize = 10;

/// Where the cluster is, and what of it has to be removed.
pub(super) struct Place {
    directory: PathBuf,
    /// The folders that are made on the way, innermost first.
    folders: Vec<PathBuf>,
    /// What was written into them and not removed yet. Nothing else is ever removed.
    made: Vec<PathBuf>,
}

impl Place {
    /// A place without a cluster.
    ///
    /// # Errors
    /// The directory that was asked for holds something already.
    pub(super) fn new(command: &str, directory: Option<&Path>) -> Result<Self, Failure> {
        let directory = match directory {
            Some(directory) => directory.to_owned(),
            None => fresh_directory(command)?,
        };
        let inner = [CERTS_FOLDER, DATA_FOLDER].map(|folder| directory.join(folder));
        if let Some(path) = inner.iter().find_map(|folder| visible_entry(folder)) {
            return Err(occupied(command, &path));
        }
        let folders = inner.into_iter().chain([directory.clone()]);
        let folders =
            folders.filter(|folder| folder.try_exists().is_ok_and(|exists| !exists)).collect();
        Ok(Self { directory, folders, made: Vec::new() })
    }

    /// Writes a cluster, and notes what has to be removed again.
    pub(super) fn write(&mut self, options: &InitOptions) -> Result<(), InitError> {
        let cluster = init(options)?;
        let parts = cluster.nodes.keys().map(|node| Part::Node(*node)).chain([Part::Registry]);
        let certs = self.directory.join(CERTS_FOLDER);
        let files = cert_files(cluster.nodes.keys()).map(|name| certs.join(name));
        self.made = parts.map(|part| part.data(&self.directory)).chain(files).collect();
        Ok(())
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    fn has_cluster(&self) -> bool {
        !self.made.is_empty()
    }

    /// Removes what was made here, and only that: others may have put something beside it.
    pub(super) fn remove(&mut self) {
        // What cannot be removed stays: the cluster in it is of no more use, and does no harm.
        for path in self.made.drain(..) {
            let _ = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        }
        for folder in &self.folders {
            // Fails, as it should, while something is in it.
            let _ = fs::remove_dir(folder);
        }
    }
}

/// The files that a new cluster's folder of certificates consists of.
fn cert_files<'a>(nodes: impl Iterator<Item = &'a NodeId>) -> impl Iterator<Item = String> {
    let others = ["ca", REGISTRY_FOLDER, "client", "admin"].map(ToOwned::to_owned);
    let holders = nodes.map(ToString::to_string).chain(others);
    let pair = |holder: String| [format!("{holder}.crt"), format!("{holder}.key")];
    let others = [KEY_FILE, PUBLIC_FILE, CLUSTER_FILE, ISSUED_FOLDER];
    holders.flat_map(pair).chain(others.map(ToOwned::to_owned))
}

fn occupied(command: &str, path: &Path) -> Failure {
    let path = path.display();
    let sentence = format!("{path} is already there, and `annal {command}` touches nothing");
    let hint = "choose an empty --dir, or none: a fresh one is then made and removed";
    Failure::new(Outcome::Failed, sentence, hint)
}

/// Something in a folder that is not hidden, as `.gitignore` is. A folder that cannot be read is
/// left to `init` to complain about.
fn visible_entry(folder: &Path) -> Option<PathBuf> {
    let mut entries = fs::read_dir(folder).ok()?.flatten();
    entries.find(|entry| !is_hidden(&entry.file_name())).map(|entry| entry.path())
}

fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
}

fn fresh_directory(command: &str) -> Result<PathBuf, Failure> {
    let number = u32::from_le_bytes(random()?);
    Ok(std::env::temp_dir().join(format!("annal-{command}-{number:08x}")))
}

/// Bytes that nobody else has.
pub(super) fn random<const COUNT: usize>() -> Result<[u8; COUNT], Failure> {
    let mut bytes = [0; COUNT];
    getrandom::fill(&mut bytes).map_err(|error| {
        let sentence = format!("this system gives out no random numbers: {error}");
        Failure::new(Outcome::Failed, sentence, "try again in a moment")
    })?;
    Ok(bytes)
}

/// The processes, and what they said last.
pub(super) struct LocalCluster {
    place: Place,
    count: u16,
    /// The registry's port, the nodes' behind it; free ones otherwise.
    base_port: Option<u16>,
    /// Whether its nodes have doors for HTTP where their ports are free ones.
    pub(super) has_doors: bool,
    pub(super) children: Children,
    /// The last log lines of each part.
    lines: BTreeMap<Part, Vec<String>>,
}

impl LocalCluster {
    /// So many nodes and a registry, not yet there.
    pub(super) fn new(place: Place, count: u16, base_port: Option<u16>) -> Self {
        // Their lines are looked at, whatever the user's own settings are.
        let shared = Shared {
            json: false,
            log_format: LogFormat::Human,
            log_filter: Some(SERVER_FILTER.to_owned()),
        };
        let children = Children::new(&place.directory, &shared);
        Self { place, count, base_port, has_doors: false, children, lines: BTreeMap::new() }
    }

    pub(super) fn directory(&self) -> &Path {
        &self.place.directory
    }

    /// Makes the cluster and starts it. Returns its first leader. `made` is told of each attempt.
    pub(super) async fn bring_up(
        &mut self,
        mut made: impl FnMut(&InitOptions) -> Result<(), End>,
    ) -> Result<Leading, End> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let options = self.options()?;
            self.place.write(&options)?;
            made(&options)?;
            match self.start_all(&options).await {
                Err(End::Failed(failure)) if attempts < START_ATTEMPTS && self.has_free_ports() => {
                    talk(format_args!("{}: trying other ports", failure.sentence));
                    self.stop().await?;
                    self.place.remove();
                }
                result => return result,
            }
        }
    }

    fn has_free_ports(&self) -> bool {
        self.base_port.is_none()
    }

    fn options(&self) -> Result<InitOptions, End> {
        let directory = &self.place.directory;
        if let Some(base_port) = self.base_port {
            return Ok(at_free(InitOptions::local(directory, self.count, base_port)?)?);
        }
        let mut options = InitOptions::local(directory, self.count, limits::BASE_PORT_DEFAULT)?;
        if !self.has_doors {
            // It is there for a moment, and for whoever made it.
            options.http.clear();
        }
        let count = options.nodes.len() + 1 + options.http.len();
        let mut free = free_addresses(count)?.into_iter();
        let mut next = || free.next().expect("as many as were asked for");
        for address in options.nodes.values_mut().chain(&mut options.registry) {
            *address = Address::Ip(next());
        }
        options.http.values_mut().for_each(|door| *door = next());
        Ok(options)
    }

    async fn start_all(&mut self, options: &InitOptions) -> Result<Leading, End> {
        self.children.start(Part::Registry)?;
        for node in options.nodes.keys() {
            self.children.start(Part::Node(*node))?;
        }
        let client = connection::connect_as_client(&connection::of_directory(&options.directory)?)?;
        Ok(self.all_follow(&client).await?)
    }

    /// Waits until there is a leader and every node answers and is not far behind it.
    pub(super) async fn all_follow(&mut self, client: &Client) -> Result<Leading, Failure> {
        let deadline = Instant::now() + STEP_TIMEOUT;
        loop {
            if let Some((part, how)) = self.take_events() {
                return Err(failed(format!("{part} {how} before the cluster was up")));
            }
            let status = client.status().await;
            let follows = |node| status.lag(node).is_some_and(|lag| lag <= LAG_MAX);
            if let Some(leading) = status.leader.filter(|_| status.nodes.iter().all(follows)) {
                return Ok(leading);
            }
            if Instant::now() >= deadline {
                return Err(failed("no leader was elected that all follow".to_owned()));
            }
            sleep(POLL).await;
        }
    }

    /// Notes what the children did meanwhile. Returns one that ended, and how.
    fn take_events(&mut self) -> Option<(Part, String)> {
        let mut ended = None;
        while let Some(event) = self.children.try_next() {
            ended = self.note(event).or(ended);
        }
        ended
    }

    fn note(&mut self, event: Event) -> Option<(Part, String)> {
        match event {
            Event::Line { part, text } => {
                let lines = self.lines.entry(part).or_default();
                lines.push(text);
                let surplus = lines.len().saturating_sub(LAST_LINES);
                lines.drain(..surplus);
                None
            }
            Event::Told { .. } => None,
            Event::Ended { part, status } => Some((part, ending(status))),
        }
    }

    /// Waits for something that a child does.
    pub(super) async fn wait_for(&mut self, is_it: impl Fn(&Event) -> bool) -> Option<Event> {
        let deadline = Instant::now() + STEP_TIMEOUT;
        loop {
            let event = self.children.next_until(deadline).await?;
            if is_it(&event) {
                return Some(event);
            }
            self.note(event);
        }
    }

    /// Waits until every node has everything that is committed.
    pub(super) async fn catch_up(&self, client: &Client) -> Result<(), Failure> {
        let deadline = Instant::now() + STEP_TIMEOUT;
        while Instant::now() < deadline {
            let status = client.status().await;
            let has_all = |node| status.lag(node) == Some(0);
            if status.leader.is_some() && status.nodes.iter().all(has_all) {
                return Ok(());
            }
            sleep(POLL).await;
        }
        Err(failed("a node did not catch up".to_owned()))
    }

    /// Stops all children in an orderly way.
    pub(super) async fn stop(&mut self) -> Result<(), Failure> {
        self.children.ask_to_stop();
        let deadline = Instant::now() + limits::STOP_TIMEOUT;
        let mut late = Vec::new();
        while !self.children.running().is_empty() {
            match self.children.next_until(deadline).await {
                Some(event) => drop(self.note(event)),
                None if late.is_empty() => {
                    late = self.children.running();
                    self.children.kill();
                }
                None => {
                    // Killed: the rest is the system's business, and takes no time.
                    if timeout(limits::STOP_TIMEOUT, self.children.next()).await.is_err() {
                        break;
                    }
                }
            }
        }
        match late.as_slice() {
            [] => Ok(()),
            [first, ..] => Err(failed(format!("{first} did not stop in time"))),
        }
    }

    /// Leaves nothing behind, unless it is to be kept, or there is something to look into.
    pub(super) async fn end(
        mut self,
        result: Result<(), End>,
        keep: bool,
        interrupted: &Failure,
    ) -> Result<(), End> {
        let stopped = self.stop().await;
        match &result {
            Ok(()) if !keep => self.place.remove(),
            Err(_) if !self.place.has_cluster() => {}
            Err(End::Failed(failure)) if failure != interrupted => self.show_what_is_left(),
            Err(_) => self.place.remove(),
            Ok(()) => {}
        }
        result?;
        Ok(stopped?)
    }

    fn show_what_is_left(&self) {
        for (part, lines) in &self.lines {
            for line in lines {
                talk(format_args!("{part:<8} | {}", escaped(line)));
            }
        }
        let folder = self.place.directory.display().to_string();
        talk(format_args!("the folder is kept: {}", escaped(&folder)));
    }
}

/// A step did not come to its end.
pub(super) fn failed(sentence: String) -> Failure {
    Failure::new(Outcome::Failed, sentence, "the lines above are the last that each part said")
}

/// Addresses on this machine that nobody uses just now.
fn free_addresses(count: usize) -> Result<Vec<SocketAddr>, Failure> {
    let failed = |error: io::Error| {
        let sentence = format!("no free ports could be found: {error}");
        Failure::new(Outcome::Failed, sentence, remedy::of(&error, "choose some with --base-port"))
    };
    // All are held until all are found, so that they differ.
    let bind = |_| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0));
    let sockets: Vec<UdpSocket> = (0..count).map(bind).collect::<Result<_, _>>().map_err(failed)?;
    sockets.iter().map(UdpSocket::local_addr).collect::<Result<_, _>>().map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place_in(directory: &Path) -> Result<Place, Failure> {
        Place::new("demo", Some(directory))
    }

    #[test]
    fn only_what_was_made_here_is_removed_also_before_other_ports_are_tried() {
        let folder = tempfile::tempdir().unwrap();
        let mut place = place_in(folder.path()).unwrap();
        let options = InitOptions::local(folder.path(), 3, 7100).unwrap();
        let bystanders =
            ["mine", "data/mine", "data/n4", "data/.mine"].map(|n| folder.path().join(n));
        for _ in 0..2 {
            place.write(&options).unwrap();
            for bystander in &bystanders {
                fs::write(bystander, "mine").unwrap();
            }
            place.remove();
            assert!(bystanders.iter().all(|bystander| bystander.exists()));
            assert!(!folder.path().join("certs").exists());
            assert_eq!(fs::read_dir(folder.path().join("data")).unwrap().count(), 3);
            fs::remove_file(&bystanders[2]).unwrap();
        }

        // Another's cluster, made since, is not ours to remove.
        fs::remove_file(&bystanders[1]).unwrap();
        init(&options).unwrap();
        place.write(&options).unwrap_err();
        assert!(!place.has_cluster());
        place.remove();
        assert!(folder.path().join("certs/cluster.toml").exists());
        place_in(folder.path()).map(|_| ()).unwrap_err();
    }

    #[test]
    fn free_addresses_differ() {
        let mut addresses = free_addresses(4).unwrap();
        addresses.sort_unstable();
        addresses.dedup();
        assert_eq!(addresses.len(), 4);
    }
}
