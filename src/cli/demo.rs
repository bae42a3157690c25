//! `annal demo`: the tour, on real processes and files.
//!
//! A cluster comes up, records are appended, the leader crashes in the middle of it, the next one
//! takes over, the crashed node restarts and catches up. Then what was promised is checked: every
//! acknowledged record is there, once, at its place, and all logs are the same.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::args::{self, LogFormat, Shared};
use super::children::{Children, Event, Part, ending};
use super::client;
use super::connection::{self, Target};
use super::failure::{Code, End, Failure};
use super::logs::SERVER_FILTER;
use super::output::{Printer, talk};
use super::quote::command_line;
use super::registry;
use super::rows::StoryRow;
use super::runtime::{self, Signals};
use crate::client::{AppendError, Appended, Client, Crashed, Leading, ReadOptions};
use crate::limits;
use crate::node::config::CLUSTER_FILE;
use crate::node::init::{CERTS_FOLDER, DATA_FOLDER, InitError, InitOptions, REGISTRY_FOLDER, init};
use crate::store::{self, Inspection};
use crate::types::{Index, NodeId, Offset};

/// Each thing that the demo waits for comes within this time, or it has failed.
const STEP_TIMEOUT: Duration = Duration::from_secs(15);
/// How often it looks whether something has come.
const POLL: Duration = Duration::from_millis(20);
/// Records appended before the crash starts, and after the new leader is there.
const RECORDS_BEFORE: usize = 500;
const RECORDS_AFTER: usize = 300;
/// Records appended one by one under the old leader, before it is crashed.
const RECORDS_UNDER_LOAD: usize = 100;
/// Records of one request in the first part.
const RECORDS_PER_REQUEST: usize = 10;
/// Attempts to start on free ports, which others may take in between.
const START_ATTEMPTS: u32 = 3;
/// Log lines of each part that are shown when the demo fails.
const LAST_LINES: usize = 10;

/// Takes the tour.
pub(super) fn run(args: &args::Demo, printer: &mut Printer) -> Result<(), End> {
    let place = Place::new(args)?;
    runtime::wait(async {
        let mut signals = Signals::new()?;
        let mut demo = Demo::new(args, place, printer);
        let result = tokio::select! {
            result = demo.tell() => result,
            () = signals.next() => Err(interrupted().into()),
        };
        demo.end(result).await
    })
}

fn interrupted() -> Failure {
    Failure::new(Code::Failed, "the demo was interrupted", "nothing of it stays behind")
}

/// Where the demo's cluster is, and what of it has to be removed.
struct Place {
    directory: PathBuf,
    /// The folders that the demo makes on the way, innermost first.
    folders: Vec<PathBuf>,
    /// What the demo has written into them and not removed yet. Nothing else is ever removed.
    made: Vec<PathBuf>,
}

impl Place {
    /// A place without a cluster.
    ///
    /// # Errors
    /// The directory that was asked for holds something already.
    fn new(args: &args::Demo) -> Result<Self, Failure> {
        let directory = match &args.dir {
            Some(directory) => directory.clone(),
            None => std::env::temp_dir().join(format!("annal-demo-{:08x}", random()?)),
        };
        let inner = [CERTS_FOLDER, DATA_FOLDER].map(|folder| directory.join(folder));
        if let Some(path) = inner.iter().find_map(|folder| visible_entry(folder)) {
            return Err(occupied(&path));
        }
        let folders = inner.into_iter().chain([directory.clone()]);
        let folders = folders.filter(|folder| !folder.exists()).collect();
        Ok(Self { directory, folders, made: Vec::new() })
    }

    /// Writes a cluster, and notes what has to be removed again.
    fn write(&mut self, options: &InitOptions) -> Result<(), InitError> {
        let cluster = init(options)?;
        let parts = cluster.nodes.keys().map(|node| Part::Node(*node)).chain([Part::Registry]);
        let certs = self.directory.join(CERTS_FOLDER);
        let files = cert_files(cluster.nodes.keys()).map(|name| certs.join(name));
        self.made = parts.map(|part| part.data(&self.directory)).chain(files).collect();
        Ok(())
    }

    fn has_cluster(&self) -> bool {
        !self.made.is_empty()
    }

    /// Removes what the demo made, and only that: others may have put something beside it.
    fn remove(&mut self) {
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
    holders.flat_map(pair).chain([CLUSTER_FILE.to_owned()])
}

fn occupied(path: &Path) -> Failure {
    let sentence = format!("{} is already there, and the demo touches nothing", path.display());
    let hint = "choose an empty --dir, or none: the demo then makes one and removes it";
    Failure::new(Code::Failed, sentence, hint)
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

fn random() -> Result<u32, Failure> {
    let mut bytes = [0; 4];
    getrandom::fill(&mut bytes).map_err(|error| {
        let sentence = format!("this system gives out no random numbers: {error}");
        Failure::new(Code::Failed, sentence, "try again in a moment")
    })?;
    Ok(u32::from_le_bytes(bytes))
}

/// An acknowledged record.
struct Kept {
    text: String,
    offset: Offset,
    index: Index,
}

struct Demo<'a> {
    args: &'a args::Demo,
    place: Place,
    printer: &'a mut Printer,
    began: Instant,
    children: Children,
    /// The last log lines of each part.
    lines: BTreeMap<Part, Vec<String>>,
}

impl<'a> Demo<'a> {
    fn new(args: &'a args::Demo, place: Place, printer: &'a mut Printer) -> Self {
        // The story depends on their lines, whatever the user's own settings are.
        let shared = Shared {
            json: false,
            log_format: LogFormat::Human,
            log: Some(SERVER_FILTER.to_owned()),
        };
        let children = Children::new(&place.directory, &shared);
        let (began, lines) = (Instant::now(), BTreeMap::new());
        Self { args, place, printer, began, children, lines }
    }

    async fn tell(&mut self) -> Result<(), End> {
        let leading = self.bring_up().await?;
        let Leading { node, term } = leading;
        self.say(format!("{node} was elected and leads term {term}: Leader_Term{term}"))?;

        let target = connection::of_directory(&self.place.directory)?;
        let client = client::connect_as_client(&target)?;
        let admin = client::connect_as_admin(&target)?;
        let mut kept = append_requests(&client).await?;
        let count = kept.len();
        self.say(format!("{count} records appended: each is on the disks of a majority"))?;

        let crash = self.crash_under_load(&client, &admin, &mut kept).await?;
        self.restart(crash.node, &client).await?;
        let last = kept.iter().map(|kept| kept.index).max().unwrap_or_default();
        self.check_records(&client, &kept).await?;
        self.check_registry(&target, &crash).await?;
        self.stop().await?;
        self.compare_logs(last)?;
        if self.args.keep {
            self.leave_up(&client).await?;
        }
        self.say("nothing was lost".to_owned())
    }

    fn say(&mut self, text: String) -> Result<(), End> {
        let elapsed_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        Ok(self.printer.print_now(&StoryRow { elapsed_ms, text })?)
    }

    /// Makes the cluster and starts it. Returns its first leader.
    async fn bring_up(&mut self) -> Result<Leading, End> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let options = self.options()?;
            self.place.write(&options)?;
            let nodes: Vec<_> = options.nodes.keys().map(ToString::to_string).collect();
            self.say(format!(
                "a new cluster in {}: certificates, a registry, and the nodes {}",
                self.place.directory.display(),
                nodes.join(", ")
            ))?;
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
        self.args.base_port.is_none()
    }

    fn options(&self) -> Result<InitOptions, End> {
        let directory = &self.place.directory;
        if let Some(base_port) = self.args.base_port {
            return Ok(InitOptions::local(directory, limits::NODES_DEFAULT, base_port)?);
        }
        let mut options =
            InitOptions::local(directory, limits::NODES_DEFAULT, limits::BASE_PORT_DEFAULT)?;
        let mut free = free_addresses(options.nodes.len() + 1)?.into_iter();
        for address in options.nodes.values_mut().chain([&mut options.registry]) {
            *address = free.next().expect("as many as were asked for");
        }
        Ok(options)
    }

    async fn start_all(&mut self, options: &InitOptions) -> Result<Leading, End> {
        self.children.start(Part::Registry)?;
        for node in options.nodes.keys() {
            self.children.start(Part::Node(*node))?;
        }
        let client = client::connect_as_client(&connection::of_directory(&options.directory)?)?;
        let count = options.nodes.len();
        let deadline = Instant::now() + STEP_TIMEOUT;
        loop {
            if let Some((part, how)) = self.take_events() {
                return Err(failed(format!("{part} {how} before the cluster was up")).into());
            }
            let status = client.status().await;
            let answering = status.nodes.iter().filter(|node| node.said.is_ok()).count();
            if let Some(leading) = status.leader.filter(|_| answering == count) {
                return Ok(leading);
            }
            if Instant::now() >= deadline {
                return Err(failed("no leader was elected".to_owned()).into());
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
            Event::Ended { part, status } => Some((part, ending(status))),
        }
    }

    /// Crashes the leader while records are being appended one after the other.
    async fn crash_under_load(
        &mut self,
        client: &Client,
        admin: &Client,
        kept: &mut Vec<Kept>,
    ) -> Result<Crashed, End> {
        let (sender, is_over) = watch::channel(false);
        let (progress, mut under_load) = watch::channel(0);
        let first = kept.len();
        let appending = tokio::spawn(append_through(client.clone(), first, (is_over, progress)));
        let loaded = under_load.wait_for(|count| *count >= RECORDS_UNDER_LOAD);
        // If it comes to an end instead, its own error says why.
        let _ = timeout(STEP_TIMEOUT, loaded).await;
        let crashed = admin.crash_leader().await.map_err(|error| {
            Failure::of(error.outcome(), format!("the leader did not crash: {error}"), error.hint())
        })?;
        // From here on some more are appended, under the new leader.
        sender.send_replace(true);
        self.say(format!(
            "{} was crashed while records were being appended: no flush, no goodbye",
            crashed.node
        ))?;
        self.say(format!(
            "{} leads term {} after {} ms without a leader",
            crashed.new_leader,
            crashed.new_term,
            crashed.failover.as_millis()
        ))?;
        let appended = appending.await.expect("a panic ends the process")?;
        self.say(format!("{} more records appended, before, during and after", appended.len()))?;
        kept.extend(appended);
        Ok(crashed)
    }

    async fn restart(&mut self, node: NodeId, client: &Client) -> Result<(), End> {
        let part = Part::Node(node);
        self.wait_for(|event| matches!(event, Event::Ended { part: ended, .. } if *ended == part))
            .await
            .ok_or_else(|| failed(format!("{part} did not end")))?;
        self.children.start(part)?;
        let recovered = |event: &Event| matches!(event, Event::Line { part: of, text } if *of == part && text.contains("recovered"));
        let Some(Event::Line { text, .. }) = self.wait_for(recovered).await else {
            return Err(failed(format!("{part} did not say what it recovered")).into());
        };
        self.say(format!("{part} restarted; it says: {}", report_in(&text)))?;
        self.catch_up(client).await?;
        self.say(format!("{part} has caught up with the others"))
    }

    /// Waits for something that a child does.
    async fn wait_for(&mut self, is_it: impl Fn(&Event) -> bool) -> Option<Event> {
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
    async fn catch_up(&self, client: &Client) -> Result<(), Failure> {
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

    /// Reads everything back: each acknowledged record must be at its place, and nowhere else.
    async fn check_records(&mut self, client: &Client, kept: &[Kept]) -> Result<(), End> {
        let mut found: BTreeMap<Bytes, Vec<Offset>> = BTreeMap::new();
        let mut count = 0_u64;
        let mut reader = client.read(ReadOptions::default());
        loop {
            let batch = reader
                .next()
                .await
                .map_err(|error| Failure::of(error.outcome(), &error, error.hint()))?;
            let Some(records) = batch else { break };
            for record in records {
                count += 1;
                found.entry(record.bytes).or_default().push(record.offset);
            }
        }
        for Kept { text, offset, .. } in kept {
            let places = found.get(text.as_bytes()).map(Vec::as_slice).unwrap_or_default();
            if places != [*offset] {
                let sentence =
                    format!("'{text}' was acknowledged at offset {offset} and found at {places:?}");
                return Err(failed(sentence).into());
            }
        }
        self.say(format!(
            "read back {count} records: all {} acknowledged ones are there, each once",
            kept.len()
        ))
    }

    /// The registry knows both leaders: it was told in time, or is told again.
    async fn check_registry(&mut self, target: &Target, crash: &Crashed) -> Result<(), End> {
        let expected = [(crash.term, crash.node), (crash.new_term, crash.new_leader)];
        let deadline = Instant::now() + STEP_TIMEOUT;
        loop {
            let terms = registry::known_terms(target).await?;
            let knows =
                |(term, node)| terms.iter().any(|known| (known.term, known.node) == (term, node));
            if expected.into_iter().all(knows) {
                let names = terms.iter().map(|known| format!("{} = {}", known.name(), known.node));
                let names = names.collect::<Vec<_>>().join(", ");
                return self.say(format!("the registry knows who led: {names}"));
            }
            if Instant::now() >= deadline {
                return Err(failed("the registry was not told who leads".to_owned()).into());
            }
            sleep(POLL).await;
        }
    }

    /// Stops all children in an orderly way.
    async fn stop(&mut self) -> Result<(), Failure> {
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

    /// Compares the logs of all nodes, which have stopped.
    fn compare_logs(&mut self, last_acknowledged: Index) -> Result<(), End> {
        let cluster = connection::of_directory(&self.place.directory)?;
        let inspect = |node: NodeId, at| -> Result<Inspection, Failure> {
            let data = Part::Node(node).data(&self.place.directory);
            let found = store::inspect(&data, at)
                .map_err(|error| Failure::new(Code::Failed, &error, error.hint()))?;
            match found.damage.first() {
                None => Ok(found),
                Some(damage) => Err(Failure::new(Code::Damage, damage, "keep the folder")),
            }
        };
        let nodes: Vec<NodeId> = cluster.nodes.iter().map(|(node, _)| *node).collect();
        let mut lowest = Index::new(u64::MAX);
        for node in &nodes {
            lowest = lowest.min(inspect(*node, None)?.last.id.index);
        }
        if lowest < last_acknowledged {
            let sentence = format!(
                "a log ends at entry {lowest}, before the last acknowledged record in entry {last_acknowledged}"
            );
            return Err(failed(sentence).into());
        }
        let mut chains = BTreeMap::new();
        for node in &nodes {
            chains.insert(*node, inspect(*node, Some(lowest))?.chain);
        }
        let first = chains.values().next().copied().flatten();
        let are_equal = first.is_some() && chains.values().all(|chain| *chain == first);
        if !are_equal {
            return Err(failed(format!("the logs differ before entry {lowest}: {chains:?}")).into());
        }
        let names: Vec<_> = nodes.iter().map(ToString::to_string).collect();
        self.say(format!(
            "stopped; the logs of {} are equal, entry by entry, up to entry {lowest}; the last \
             acknowledged record is in entry {last_acknowledged}",
            names.join(", ")
        ))
    }

    /// Starts the cluster again, to stay when this process is gone.
    async fn leave_up(&mut self, client: &Client) -> Result<(), End> {
        let directory = self.place.directory.clone();
        let cluster = connection::of_directory(&directory)?;
        let nodes = cluster.nodes.iter().map(|(node, _)| Part::Node(*node));
        let mut processes = vec!["kill".to_owned()];
        for part in [Part::Registry].into_iter().chain(nodes) {
            let log = part.data(&directory).join("log.txt");
            processes.push(self.children.leave_behind(part, &log)?.to_string());
        }
        self.catch_up(client).await?;
        let status = ["annal", "client", "status", "--dir", &directory.to_string_lossy()]
            .map(ToOwned::to_owned);
        self.say(format!("the cluster is up again, to stay; look: {}", command_line(status)))?;
        self.say(format!("stop it with: {}", command_line(processes)))
    }

    /// Leaves nothing behind, unless asked to, or there is something to look into.
    async fn end(mut self, result: Result<(), End>) -> Result<(), End> {
        let stopped = self.stop().await;
        match &result {
            Ok(()) if !self.args.keep => self.place.remove(),
            Err(_) if !self.place.has_cluster() => {}
            Err(End::Failed(failure)) if *failure != interrupted() => self.show_what_is_left(),
            Err(_) => self.place.remove(),
            Ok(()) => {}
        }
        result?;
        Ok(stopped?)
    }

    fn show_what_is_left(&self) {
        for (part, lines) in &self.lines {
            for line in lines {
                talk(format_args!("{part:<8} | {line}"));
            }
        }
        talk(format_args!("the folder is kept: {}", self.place.directory.display()));
    }
}

fn failed(sentence: String) -> Failure {
    Failure::new(Code::Failed, sentence, "the lines above are the last that each part said")
}

/// Addresses on this machine that nobody uses just now.
fn free_addresses(count: usize) -> Result<Vec<SocketAddr>, Failure> {
    let failed = |error| {
        let sentence = format!("no free ports could be found: {error}");
        Failure::new(Code::Failed, sentence, "choose some with --base-port")
    };
    // All are held until all are found, so that they differ.
    let bind = |_| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0));
    let sockets: Vec<UdpSocket> = (0..count).map(bind).collect::<Result<_, _>>().map_err(failed)?;
    sockets.iter().map(UdpSocket::local_addr).collect::<Result<_, _>>().map_err(failed)
}

/// The part of a log line that says what was recovered.
fn report_in(line: &str) -> &str {
    let report = line.find("recovered").and_then(|at| line.get(at..)).unwrap_or(line);
    report.split(" index=").next().unwrap_or(report)
}

/// Appends the first records, many requests in flight.
async fn append_requests(client: &Client) -> Result<Vec<Kept>, Failure> {
    let texts: Vec<String> = (0..RECORDS_BEFORE).map(text).collect();
    let mut appender = client.appender();
    for request in texts.chunks(RECORDS_PER_REQUEST) {
        let records = request.iter().map(|text| Bytes::from(text.clone())).collect();
        appender.send(records).await.map_err(not_appended)?;
    }
    let mut kept = Vec::new();
    for request in texts.chunks(RECORDS_PER_REQUEST) {
        let answer = appender.next().await.map_err(not_appended)?;
        let answer = answer.ok_or_else(|| failed("an answer is missing".to_owned()))?;
        keep(&mut kept, request, answer);
    }
    Ok(kept)
}

/// Appends record after record until the crash is over, and then some more.
async fn append_through(
    client: Client,
    first: usize,
    (is_over, progress): (watch::Receiver<bool>, watch::Sender<usize>),
) -> Result<Vec<Kept>, Failure> {
    let mut kept = Vec::new();
    let mut after = 0;
    for number in first.. {
        // Whoever would say it may have failed: then nobody waits for these records.
        let crash_is_over = *is_over.borrow() || is_over.has_changed().is_err();
        after += usize::from(crash_is_over);
        if after > RECORDS_AFTER {
            break;
        }
        let record = [text(number)];
        let records = record.iter().map(|text| Bytes::from(text.clone())).collect();
        let appended = client.append(records).await.map_err(not_appended)?;
        keep(&mut kept, &record, appended);
        progress.send_replace(kept.len());
    }
    Ok(kept)
}

fn text(number: usize) -> String {
    format!("record {number}")
}

fn keep(kept: &mut Vec<Kept>, request: &[String], appended: Appended) {
    for (text, place) in request.iter().zip(0..) {
        let offset = appended.offset.plus(place);
        kept.push(Kept { text: text.clone(), offset, index: appended.index });
    }
}

#[expect(clippy::needless_pass_by_value, reason = "made for `map_err`")]
fn not_appended(error: AppendError) -> Failure {
    Failure::of(error.outcome(), format!("a record was not acknowledged: {error}"), error.hint())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(directory: &Path) -> args::Demo {
        args::Demo { dir: Some(directory.to_owned()), keep: false, base_port: None }
    }

    #[test]
    fn only_what_the_demo_made_is_removed_also_before_other_ports_are_tried() {
        let folder = tempfile::tempdir().unwrap();
        let mut place = Place::new(&args(folder.path())).unwrap();
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

        // Another's cluster, made since, is not the demo's to remove.
        fs::remove_file(&bystanders[1]).unwrap();
        init(&options).unwrap();
        place.write(&options).unwrap_err();
        assert!(!place.has_cluster());
        place.remove();
        assert!(folder.path().join("certs/cluster.toml").exists());
        Place::new(&args(folder.path())).map(|_| ()).unwrap_err();
    }

    #[test]
    fn free_addresses_differ() {
        let mut addresses = free_addresses(4).unwrap();
        addresses.sort_unstable();
        addresses.dedup();
        assert_eq!(addresses.len(), 4);
    }

    #[test]
    fn a_report_is_found_in_its_line() {
        let line = "08:25:25.231  INFO recovered: term 1, 3 entries index=3 term=1";
        assert_eq!(report_in(line), "recovered: term 1, 3 entries");
        assert_eq!(report_in("something else"), "something else");
    }
}
