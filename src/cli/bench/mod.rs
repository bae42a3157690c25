//! `annal bench`: how fast appends are, and that none of them is lost.
//!
//! Every append is acknowledged by itself, so an acknowledgement means the disks of a majority. Time
//! runs from the moment in which there is room for a request, not from when it leaves: a cluster
//! that stalls is not spared the requests that could not be sent meanwhile. In the end every
//! acknowledged record is read back, once, in its order, at its place.
//!
//! A figure means little without the machine. So the floors of this one are measured beside it: the
//! disk's time for a small append with its sync, and a round trip over QUIC. An append cannot take
//! less than one sync and two round trips; see [`floor`].

mod failover;
mod floor;
mod followers;
mod load;
mod logs;
mod record;
mod rows;
mod verify;

use std::path::Path;
use std::time::Duration;

use indicatif::ProgressBar;

use self::floor::Floors;
use self::load::{Load, Measured};
use self::rows::{BenchRow, FloorRow};
use super::args::{self, Bench, BenchKind, BenchLoad};
use super::connection::{self, Target};
use super::failure::{End, Failure};
use super::local::{LocalCluster, Place};
use super::output::Printer;
use super::runtime::{self, Signals};
use crate::limits;
use crate::outcome::Outcome;

/// Measures what was asked for.
pub(super) fn run(args: &Bench, printer: &mut Printer) -> Result<(), End> {
    match &args.kind {
        None => bench(&args.load, printer),
        Some(BenchKind::Floor(args)) => measure_floors(args, printer),
        Some(BenchKind::Failover(args)) => failover::run(args, printer),
        Some(BenchKind::Logs(args)) => logs::run(args, printer),
        Some(BenchKind::Followers(args)) => followers::run(args, printer),
    }
}

fn bench(args: &BenchLoad, printer: &mut Printer) -> Result<(), End> {
    check(args)?;
    if args.here {
        let target = connection::target(&args.connection)?;
        return runtime::wait(measure(args, &target, &args.connection.dir, printer));
    }
    with_cluster(args.cluster, async |cluster| {
        let mut target = connection::of_directory(cluster.directory())?;
        target.timeout = args.connection.timeout.unwrap_or(target.timeout);
        measure(args, &target, cluster.directory(), printer).await
    })
}

/// Runs something on a cluster of so many nodes that is made for it, and removed after it.
fn with_cluster(
    count: u16,
    work: impl AsyncFnOnce(&mut LocalCluster) -> Result<(), End>,
) -> Result<(), End> {
    with(LocalCluster::new(Place::new("bench", None)?, count, None), work)
}

fn with(
    mut cluster: LocalCluster,
    work: impl AsyncFnOnce(&mut LocalCluster) -> Result<(), End>,
) -> Result<(), End> {
    let interrupted =
        Failure::new(Outcome::Failed, "the bench was interrupted", "nothing of it stays behind");
    runtime::wait(async {
        let mut signals = Signals::new()?;
        let up_and_work = async {
            cluster.bring_up(|_| Ok(())).await?;
            work(&mut cluster).await
        };
        let result = tokio::select! {
            result = up_and_work => result,
            () = signals.next() => Err(interrupted.clone().into()),
        };
        cluster.end(result, false, &interrupted).await
    })
}

fn check(args: &BenchLoad) -> Result<(), Failure> {
    let usage = |sentence: String, hint: &str| Err(Failure::new(Outcome::Usage, sentence, hint));
    if !args.here && connection::is_named(&args.connection) {
        let sentence = "--dir, --nodes and --registry name a cluster, and a bench makes its own";
        let hint = "--here measures the one that is named; the records stay in its log";
        return usage(sentence.to_owned(), hint);
    }
    if args.size < record::HEADER_BYTES && !args.no_verify {
        let sentence = format!("records of {} bytes cannot be told apart", args.size);
        let hint = format!("--size {} at least, or --no-verify", record::HEADER_BYTES);
        return usage(sentence, &hint);
    }
    if args.size > limits::RECORD_BYTES_MAX
        || args.size.saturating_mul(args.batch) > limits::REQUEST_BYTES_MAX
    {
        let (record, request) = (limits::RECORD_BYTES_MAX, limits::REQUEST_BYTES_MAX);
        let sentence = "the records are larger than a request may be".to_owned();
        let hint =
            format!("a record has at most {record} bytes, all of a request together {request}");
        return usage(sentence, &hint);
    }
    if args.batch > limits::REQUEST_RECORDS_MAX {
        let hint = format!("--batch {} at most", limits::REQUEST_RECORDS_MAX);
        return usage("a request cannot have that many records".to_owned(), &hint);
    }
    if args.inflight < args.connections {
        let hint = "they are shared out among the connections: at least one for each";
        return usage("there are more connections than requests in flight".to_owned(), hint);
    }
    if args.inflight > args.connections.saturating_mul(limits::CLIENT_IN_FLIGHT_MAX) {
        let most = limits::CLIENT_IN_FLIGHT_MAX;
        let hint = format!("a connection has at most {most}: ask for more --connections");
        return usage("that many requests cannot be in flight".to_owned(), &hint);
    }
    Ok(())
}

async fn measure(
    args: &BenchLoad,
    target: &Target,
    directory: &Path,
    printer: &mut Printer,
) -> Result<(), End> {
    let load = Load::new(args)?;
    let bar = super::progress::spinner();
    let measured = load.run(target, |rate| show(&bar, rate)).await;
    bar.finish_and_clear();
    let measured = measured?;
    let verified = if args.no_verify { None } else { Some(verify_all(target, &measured).await?) };
    let row = BenchRow::new(args, &measured, verified);
    if printer.is_json() {
        printer.print_now(&row)?;
    } else {
        let floors = Floors::measure(directory).await?;
        let ratio = row.ratio_to(&floors);
        printer.print_now(&row)?;
        printer.print_now(&FloorRow::new(&floors, Some(ratio)))?;
    }
    if measured.acknowledged() == 0 {
        let hint = "`annal client status` says how the nodes are";
        return Err(Failure::new(Outcome::NoLeader, "nothing was acknowledged", hint).into());
    }
    Ok(())
}

async fn verify_all(target: &Target, measured: &Measured) -> Result<bool, End> {
    let client = connection::connect_as_client(target)?;
    let bar = super::progress::spinner();
    bar.set_message("reading everything back");
    let result = verify::verify(&client, measured).await;
    bar.finish_and_clear();
    Ok(result.map(|()| true)?)
}

fn show(bar: &ProgressBar, records_per_s: f64) {
    bar.set_message(format!("{records_per_s:.0} appends/s"));
}

fn measure_floors(args: &args::BenchFloor, printer: &mut Printer) -> Result<(), End> {
    runtime::wait(async {
        let floors = Floors::measure(&args.data).await?;
        Ok(printer.print_now(&FloorRow::new(&floors, None))?)
    })
}

/// Milliseconds with three digits behind the point, of microseconds.
fn in_ms(micros: u64) -> String {
    format!("{:.3} ms", Duration::from_micros(micros).as_secs_f64() * 1e3)
}
