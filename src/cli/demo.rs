//! `annal demo`: the tour, on real processes and files.
//!
//! A cluster comes up, records are appended, the leader crashes in the middle of it, the next one
//! takes over, the crashed node restarts and catches up. Then what was promised is checked: every
//! acknowledged record is there, once, at its place, and all logs are the same.

use std::collections::BTreeMap;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::args;
use super::children::{Event, Part};
use super::connection::{self, Target};
use super::failure::{End, Failure};
use super::local::{LocalCluster, POLL, Place, STEP_TIMEOUT, failed};
use super::output::Printer;
use super::parent::ChildWord;
use super::quote::command_line;
use super::registry;
use super::rows::StoryRow;
use super::runtime::{self, Signals};
use crate::client::{AppendError, Appended, Client, Crashed, Leading, ReadOptions};
use crate::limits;
use crate::node::init::InitOptions;
use crate::outcome::Outcome;
use crate::store::{self, Inspection};
use crate::types::{Index, NodeId, Offset};

/// Records appended before the crash starts, and after the new leader is there.
const RECORDS_BEFORE: usize = 500;
const RECORDS_AFTER: usize = 300;
/// Records appended one by one under the old leader, before it is crashed.
const RECORDS_UNDER_LOAD: usize = 100;
/// Records of one request in the first part.
const RECORDS_PER_REQUEST: usize = 10;

/// Takes the tour.
pub(super) fn run(args: &args::Demo, printer: &mut Printer) -> Result<(), End> {
    let place = Place::new("demo", args.dir.as_deref())?;
    runtime::wait(async {
        let mut signals = Signals::new()?;
        let mut demo = Demo::new(args, place, printer);
        let result = tokio::select! {
            result = demo.tell() => result,
            () = signals.next() => Err(interrupted().into()),
        };
        demo.cluster.end(result, args.keep, &interrupted()).await
    })
}

fn interrupted() -> Failure {
    Failure::new(Outcome::Failed, "the demo was interrupted", "nothing of it stays behind")
}

/// An acknowledged record.
struct Kept {
    text: String,
    offset: Offset,
    index: Index,
}

struct Demo<'a> {
    args: &'a args::Demo,
    printer: &'a mut Printer,
    began: Instant,
    cluster: LocalCluster,
}

impl<'a> Demo<'a> {
    fn new(args: &'a args::Demo, place: Place, printer: &'a mut Printer) -> Self {
        let cluster = LocalCluster::new(place, limits::NODES_DEFAULT, args.base_port);
        Self { args, printer, began: Instant::now(), cluster }
    }

    async fn tell(&mut self) -> Result<(), End> {
        let (printer, began) = (&mut *self.printer, self.began);
        let made = |options: &InitOptions| {
            let nodes: Vec<_> = options.nodes.keys().map(ToString::to_string).collect();
            let (directory, nodes) = (options.directory.display(), nodes.join(", "));
            let what = "certificates, a registry, and the nodes";
            say(printer, began, format!("a new cluster in {directory}: {what} {nodes}"))
        };
        let Leading { node, term } = self.cluster.bring_up(made).await?;
        self.say(format!("{node} was elected and leads term {term}: Leader_Term{term}"))?;

        let target = connection::of_directory(self.cluster.directory())?;
        let client = connection::connect_as_client(&target)?;
        let admin = connection::connect_as_admin(&target)?;
        let mut kept = append_requests(&client).await?;
        let count = kept.len();
        self.say(format!("{count} records appended: each is on the disks of a majority"))?;

        let crash = self.crash_under_load(&client, &admin, &mut kept).await?;
        self.restart(crash.node, &client).await?;
        let last = kept.iter().map(|kept| kept.index).max().unwrap_or_default();
        self.check_records(&client, &kept).await?;
        self.check_registry(&target, &crash).await?;
        self.cluster.stop().await?;
        self.compare_logs(last)?;
        if self.args.keep {
            self.leave_up(&client).await?;
        }
        self.say("nothing was lost".to_owned())
    }

    fn say(&mut self, text: String) -> Result<(), End> {
        say(self.printer, self.began, text)
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
        self.cluster
            .wait_for(|event| matches!(event, Event::Ended { part: ended, .. } if *ended == part))
            .await
            .ok_or_else(|| failed(format!("{part} did not end")))?;
        self.cluster.children.start(part)?;
        let recovered = |event: &Event| matches!(event, Event::Told { part: of, word: ChildWord::Recovered(_) } if *of == part);
        let Some(Event::Told { word: ChildWord::Recovered(report), .. }) =
            self.cluster.wait_for(recovered).await
        else {
            return Err(failed(format!("{part} did not say what it recovered")).into());
        };
        self.say(format!("{part} restarted; it says: {report}"))?;
        self.cluster.catch_up(client).await?;
        self.say(format!("{part} has caught up with the others"))
    }

    /// Reads everything back: each acknowledged record must be at its place, and nowhere else.
    async fn check_records(&mut self, client: &Client, kept: &[Kept]) -> Result<(), End> {
        let mut found: BTreeMap<Bytes, Vec<Offset>> = BTreeMap::new();
        let mut count = 0_u64;
        let mut reader = client.read(ReadOptions::default());
        loop {
            let Some(records) = reader.next().await? else { break };
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

    /// Compares the logs of all nodes, which have stopped.
    fn compare_logs(&mut self, last_acknowledged: Index) -> Result<(), End> {
        let cluster = connection::of_directory(self.cluster.directory())?;
        let inspect = |node: NodeId, at| -> Result<Inspection, Failure> {
            let data = Part::Node(node).data(self.cluster.directory());
            let found = store::inspect(&data, at)
                .map_err(|error| Failure::new(Outcome::Failed, &error, error.hint()))?;
            match found.damage.first() {
                None => Ok(found),
                Some(damage) => Err(Failure::new(Outcome::Damage, damage, "keep the folder")),
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
        let directory = self.cluster.directory().to_owned();
        let cluster = connection::of_directory(&directory)?;
        let nodes = cluster.nodes.iter().map(|(node, _)| Part::Node(*node));
        let mut processes = vec!["kill".to_owned()];
        for part in [Part::Registry].into_iter().chain(nodes) {
            let log = part.data(&directory).join("log.txt");
            processes.push(self.cluster.children.leave_behind(part, &log)?.to_string());
        }
        self.cluster.catch_up(client).await?;
        let status = ["annal", "client", "status", "--dir", &directory.to_string_lossy()]
            .map(ToOwned::to_owned);
        self.say(format!("the cluster is up again, to stay; look: {}", command_line(status)))?;
        self.say(format!("stop it with: {}", command_line(processes)))
    }
}

fn say(printer: &mut Printer, began: Instant, text: String) -> Result<(), End> {
    let elapsed_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(printer.print_now(&StoryRow { elapsed_ms, text })?)
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
    Failure::of_append(&error, format!("a record was not acknowledged: {error}"))
}
