//! `annal bench logs`: what it costs that records are of many logs.
//!
//! A cluster of its own is given so many logs. The same callers, each with one append in flight, append to
//! one log first, and then to all of them in turn; then one of the logs is read, and the one alone. In
//! the end every log must hold what was acknowledged of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::load::Rate;
use super::rows::LogsRow;
use super::{verify, with_cluster};
use crate::cli::args::BenchLogs;
use crate::cli::connection::{self, Target};
use crate::cli::failure::{End, Failure};
use crate::cli::output::Printer;
use crate::cli::progress;
use crate::client::{AppendError, Client, LogError, ReadOptions};
use crate::limits;
use crate::log_name::LogName;
use crate::types::LogNumber;

/// Bytes of a record.
const SIZE: usize = 100;
/// What their names begin with.
const PREFIX: &str = "bench/";
/// Clients that create the logs: each creates one at a time.
const CREATORS: usize = 16;

/// A log and how many records of it were acknowledged.
struct Filled {
    name: LogName,
    log: Client,
    acknowledged: AtomicU64,
}

impl Filled {
    fn new(client: &Client, name: LogName, number: LogNumber) -> Self {
        Self { name, log: client.about(number), acknowledged: AtomicU64::new(0) }
    }

    fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// That so many records were found in it.
    fn check(&self, found: u64) -> Result<(), Failure> {
        let (acknowledged, name) = (self.acknowledged(), &self.name);
        if found == acknowledged {
            return Ok(());
        }
        Err(verify::lost(&format!("{found} of {acknowledged} acknowledged records are in {name}")))
    }
}

/// Measures it.
pub(super) fn run(args: &BenchLogs, printer: &mut Printer) -> Result<(), End> {
    with_cluster(limits::NODES_DEFAULT, async |cluster| {
        let target = connection::of_directory(cluster.directory())?;
        let client = connection::connect_as_client(&target)?;
        let bar = progress::spinner();
        bar.set_message("creating the logs");
        let began = Instant::now();
        create(&target, args.logs).await?;
        let created = Rate { count: args.logs as u64, took: began.elapsed() };
        let logs = client.logs(PREFIX).await?;
        let logs = logs.into_iter().map(|state| Filled::new(&client, state.name, state.number));
        let logs: Arc<Vec<_>> = Arc::new(logs.collect());
        bar.set_message("appending to one log");
        let main = LogName::MAIN.parse().expect("it is one");
        let main = Arc::new(vec![Filled::new(&client, main, LogNumber::MAIN)]);
        let one = append(&main, args).await?;
        bar.set_message("appending to all of them");
        let many = append(&logs, args).await?;
        bar.set_message("reading back");
        let read_one = read(&main[0]).await?;
        let read_among = read(&logs[0]).await?;
        check(&client, &logs).await?;
        bar.finish_and_clear();
        Ok(printer.print_now(&LogsRow::new(args, created, (one, many), (read_one, read_among)))?)
    })
}

async fn create(target: &Target, logs: usize) -> Result<(), End> {
    let next = Arc::new(AtomicUsize::new(0));
    let mut creators = JoinSet::new();
    for _ in 0..CREATORS {
        let (client, next) = (connection::connect_as_client(target)?, next.clone());
        creators.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= logs {
                    return Ok::<_, LogError>(());
                }
                let name = format!("{PREFIX}{number}").parse().expect("it is one");
                client.create_log(&name).await?;
            }
        });
    }
    while let Some(created) = creators.join_next().await {
        created.expect("a panic ends the process")?;
    }
    Ok(())
}

/// Appends to the logs in turn, for as long as it takes.
async fn append(logs: &Arc<Vec<Filled>>, args: &BenchLogs) -> Result<Rate, End> {
    let (next, began) = (Arc::new(AtomicUsize::new(0)), Instant::now());
    let end = began + args.duration;
    let record = Bytes::from(vec![b'.'; SIZE]);
    let mut callers = JoinSet::new();
    for _ in 0..args.inflight {
        let (logs, next, record) = (logs.clone(), next.clone(), record.clone());
        callers.spawn(async move {
            let mut count = 0;
            while Instant::now() < end {
                let filled = &logs[next.fetch_add(1, Ordering::Relaxed) % logs.len()];
                filled.log.append(vec![record.clone()]).await?;
                filled.acknowledged.fetch_add(1, Ordering::Relaxed);
                count += 1;
            }
            Ok::<u64, AppendError>(count)
        });
    }
    let mut count = 0;
    while let Some(appended) = callers.join_next().await {
        count += appended.expect("a panic ends the process").map_err(LogError::from)?;
    }
    Ok(Rate { count, took: began.elapsed() })
}

/// Reads a log as a whole.
async fn read(filled: &Filled) -> Result<Rate, Failure> {
    let began = Instant::now();
    let mut reader = filled.log.read(ReadOptions::default());
    let mut count = 0;
    while let Some(records) = reader.next().await? {
        count += records.len() as u64;
    }
    let took = began.elapsed();
    filled.check(count)?;
    Ok(Rate { count, took })
}

/// That each log ends where what was acknowledged of it does.
async fn check(client: &Client, logs: &[Filled]) -> Result<(), End> {
    let states = client.logs(PREFIX).await?;
    for filled in logs {
        let place = states.binary_search_by(|state| state.name.cmp(&filled.name));
        filled.check(place.map_or(0, |place| states[place].next_offset.get()))?;
    }
    Ok(())
}
