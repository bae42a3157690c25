//! `annal bench followers`: how soon many who follow a log over HTTP have what is appended.
//!
//! A cluster of its own has a log of text. So many readers follow it at one node's door, as server-sent
//! events; appends come at a fixed rate, and each says when it was made. All readers must have all of them.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::load::{histogram, in_micros};
use super::rows::FollowersRow;
use super::with;
use crate::cli::args::BenchFollowers;
use crate::cli::connection;
use crate::cli::failure::{End, Failure};
use crate::cli::local::{LocalCluster, POLL, Place, STEP_TIMEOUT, failed};
use crate::cli::output::Printer;
use crate::cli::progress;
use crate::client::{Client, LogError};
use crate::config::NodeConfig;
use crate::limits;
use crate::log_settings::LogSettings;

/// Bytes of a record.
const SIZE: usize = 100;
/// What a record begins with; nothing else in an answer has it.
const BEGIN: u8 = b'@';
/// The digits behind it: microseconds since the bench began.
const DIGITS: usize = 16;
/// The log's name.
const NAME: &str = "bench";

/// What has come so far, to all readers together.
struct Delivered {
    began: Instant,
    /// Readers that are there.
    open: AtomicUsize,
    /// Microseconds from the making of each record to each reader.
    latencies: Mutex<Histogram<u64>>,
}

/// Measures it.
pub(super) fn run(args: &BenchFollowers, printer: &mut Printer) -> Result<(), End> {
    let mut cluster = LocalCluster::new(Place::new("bench", None)?, limits::NODES_DEFAULT, None);
    cluster.has_doors = true;
    with(cluster, async |cluster| {
        let door = door(&cluster.directory().join("data/n1"))?;
        let target = connection::of_directory(cluster.directory())?;
        let client = connection::connect_as_client(&target)?;
        let content_type = Some("text/plain".parse().expect("it is one"));
        let text = LogSettings { content_type, ..LogSettings::default() };
        let log = client.create_log_with(&NAME.parse().expect("it is one"), text).await?;
        let latencies = Mutex::new(histogram());
        let (began, open) = (Instant::now(), AtomicUsize::new(0));
        let delivered = Arc::new(Delivered { began, open, latencies });
        let bar = progress::spinner();
        bar.set_message("readers come");
        let mut readers = JoinSet::new();
        for _ in 0..args.readers {
            readers.spawn(follow(door, delivered.clone()));
        }
        let are_open = || delivered.open.load(Ordering::Relaxed) == args.readers;
        wait_for(&mut readers, "not all readers were let in", are_open).await?;
        bar.set_message("appending");
        let appended = append(&client.about(log.number), args, began).await?;
        let all = appended * args.readers as u64;
        let have_all = || delivered.count() == all;
        wait_for(&mut readers, "not everything came to all readers", have_all).await?;
        bar.finish_and_clear();
        let latencies = delivered.latencies.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(printer.print_now(&FollowersRow::new(args, appended, &latencies))?)
    })
}

/// Where a node's door is.
fn door(data: &Path) -> Result<SocketAddr, End> {
    let door = NodeConfig::load(data)?.http.filter(|_| cfg!(feature = "http"));
    let none = || failed("the node has no door for HTTP".to_owned());
    Ok(door.ok_or_else(none)?.listen)
}

/// Waits until it is so, for as long as a step may take; or until a reader has failed.
async fn wait_for(
    readers: &mut JoinSet<Failure>,
    otherwise: &str,
    is_it: impl Fn() -> bool,
) -> Result<(), Failure> {
    let until = Instant::now() + STEP_TIMEOUT;
    while !is_it() {
        if let Some(ended) = readers.try_join_next() {
            return Err(ended.expect("a panic ends the process"));
        }
        if Instant::now() > until {
            return Err(failed(otherwise.to_owned()));
        }
        sleep(POLL).await;
    }
    Ok(())
}

/// Appends at the rate, each by itself. Returns how many there were.
async fn append(log: &Client, args: &BenchFollowers, began: Instant) -> Result<u64, LogError> {
    let mut ticks = interval(Duration::from_secs(1) / args.rate);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let end = Instant::now() + args.duration;
    let (mut appends, mut count) = (JoinSet::new(), 0);
    while Instant::now() < end {
        ticks.tick().await;
        let log = log.clone();
        let made = in_micros(began.elapsed());
        let mut record = format!("{}{made:0DIGITS$}", char::from(BEGIN)).into_bytes();
        record.resize(SIZE, b'.');
        appends.spawn(async move { log.append(vec![record.into()]).await });
        count += 1;
        while let Some(appended) = appends.try_join_next() {
            appended.expect("a panic ends the process")?;
        }
    }
    while let Some(appended) = appends.join_next().await {
        appended.expect("a panic ends the process")?;
    }
    Ok(count)
}

/// Follows the log, until that fails.
async fn follow(door: SocketAddr, delivered: Arc<Delivered>) -> Failure {
    let ended = match read(door, &delivered).await {
        Ok(()) => "its answer has ended".to_owned(),
        Err(error) => error.to_string(),
    };
    failed(format!("a reader at {door} was left alone: {ended}"))
}

async fn read(door: SocketAddr, delivered: &Delivered) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(door).await?;
    let line =
        format!("GET /v1/stream/{NAME}?offset=now&live=sse HTTP/1.1\r\nhost: {door}\r\n\r\n");
    stream.write_all(line.as_bytes()).await?;
    let mut bytes = vec![];
    let mut is_open = false;
    loop {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(());
        }
        if !is_open && bytes.len() > 12 {
            if !bytes.starts_with(b"HTTP/1.1 200") {
                let status = String::from_utf8_lossy(&bytes[..12]).into_owned();
                return Err(std::io::Error::other(status));
            }
            is_open = true;
            delivered.open.fetch_add(1, Ordering::Relaxed);
        }
        delivered.take(&mut bytes);
    }
}

impl Delivered {
    fn count(&self) -> u64 {
        self.latencies.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Takes the times of the records that are whole, and leaves what may become one.
    fn take(&self, bytes: &mut Vec<u8>) {
        let now = in_micros(self.began.elapsed());
        let mut latencies = self.latencies.lock().unwrap_or_else(PoisonError::into_inner);
        let mut rest = &bytes[..];
        while let Some(at) = rest.iter().position(|byte| *byte == BEGIN) {
            rest = &rest[at..];
            let Some(digits) = rest.get(1..=DIGITS) else { break };
            let made = digits.iter().fold(0, |made, digit| made * 10 + u64::from(digit - b'0'));
            latencies.saturating_record(now.saturating_sub(made).max(1));
            rest = &rest[1 + DIGITS..];
        }
        let left = if rest.first() == Some(&BEGIN) { rest.len() } else { 0 };
        bytes.drain(..bytes.len() - left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_taken_once_and_whole_however_they_come() {
        let latencies = Mutex::new(histogram());
        let (began, open) = (Instant::now(), AtomicUsize::new(0));
        let delivered = Delivered { began, open, latencies };
        let whole = b"HTTP/1.1 200\r\ndata: @0000000000000001..\ndata:@0000000000000002..";
        let mut bytes = vec![];
        for byte in whole {
            bytes.push(*byte);
            delivered.take(&mut bytes);
        }
        assert_eq!((delivered.count(), bytes.len()), (2, 0));
    }
}
