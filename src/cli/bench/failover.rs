//! `annal bench failover`: for how long nothing is acknowledged when the leader is killed.
//!
//! A client keeps requests in flight at a cluster of its own. The leader's process is killed (signal
//! 9), and time runs until the first acknowledgement of a request that there was room for after the
//! kill. The killed node is started again and catches up before the next trial. In the end everything
//! that was acknowledged must be there, once.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::load::{Acknowledgement, Common, Load, Measured, Worker};
use super::record::RunId;
use super::rows::FailoverRow;
use super::{verify, with_cluster};
use crate::cli::args::BenchFailover;
use crate::cli::children::{Event, Part};
use crate::cli::connection;
use crate::cli::failure::{End, Failure};
use crate::cli::local::{LocalCluster, STEP_TIMEOUT, failed};
use crate::cli::output::Printer;
use crate::cli::progress;
use crate::client::Client;
use crate::limits;
use crate::outcome::Outcome;

/// Requests in flight.
const IN_FLIGHT: usize = 64;
/// Bytes of a record.
const SIZE: usize = 100;
/// Longer than any bench: it is stopped.
const FOR_EVER: Duration = Duration::from_hours(24);
/// All is well for so long before a leader is killed.
const CALM: Duration = Duration::from_millis(500);

/// Runs the trials.
pub(super) fn run(args: &BenchFailover, printer: &mut Printer) -> Result<(), End> {
    let load = Load {
        run: RunId::new()?,
        size: SIZE,
        batch: 1,
        inflight: IN_FLIGHT,
        connections: 1,
        warmup: Duration::ZERO,
        duration: FOR_EVER,
    };
    with_cluster(limits::NODES_DEFAULT, async |cluster| {
        let target = connection::of_directory(cluster.directory())?;
        let client = connection::connect_as_client(&target)?;
        let common = Arc::new(Common::default());
        let mut worker = Worker::new(&target, &load, IN_FLIGHT, &common)?;
        let mut latest = worker.watch();
        let now = Instant::now();
        let working = tokio::spawn(worker.work(now, now + FOR_EVER));
        let mut gaps = vec![];
        let bar = progress::bar(u64::from(args.trials), "{bar:40} {pos}/{len} trials, {msg}");
        for _ in 0..args.trials {
            sleep(CALM).await;
            let gap = kill_leader(cluster, &client, &mut latest).await?;
            bar.inc(1);
            bar.set_message(format!("{} ms", gap.as_millis()));
            gaps.push(gap);
        }
        bar.finish_and_clear();
        common.stop();
        let mut measured = Measured::new(load);
        measured.add(working.await.expect("a panic ends the process"));
        verify::verify(&client, &measured).await?;
        Ok(printer.print_now(&FailoverRow::new(gaps, &measured))?)
    })
}

/// Kills the leader, and starts it again when another has taken over. Returns how long nothing was
/// acknowledged.
async fn kill_leader(
    cluster: &mut LocalCluster,
    client: &Client,
    latest: &mut watch::Receiver<Option<Acknowledgement>>,
) -> Result<Duration, Failure> {
    let leader = client.status().await.leader.ok_or_else(|| failed("nobody leads".to_owned()))?;
    let part = Part::Node(leader.node);
    let killed = Instant::now();
    cluster.children.kill_one(part);
    let is_after = |latest: &Option<Acknowledgement>| latest.is_some_and(|a| a.began >= killed);
    let first = timeout(STEP_TIMEOUT, latest.wait_for(is_after)).await;
    let first = first.ok().and_then(Result::ok).and_then(|latest| *latest);
    let Some(first) = first else {
        let sentence = format!("nothing was acknowledged after {part} was killed");
        return Err(Failure::new(Outcome::NoLeader, sentence, "its log above may say why"));
    };
    let ended = |event: &Event| matches!(event, Event::Ended { part: of, .. } if *of == part);
    cluster.wait_for(ended).await.ok_or_else(|| failed(format!("{part} did not end")))?;
    cluster.children.start(part)?;
    cluster.all_follow(client).await?;
    Ok(first.ended.duration_since(killed))
}
