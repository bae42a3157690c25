//! The floors of this machine: what an append cannot take less than.
//!
//! On disk: a small append to a growing file with `fdatasync`, one after the other. On the wire: a
//! small frame there and back over QUIC with mutual TLS, between two threads of this process. An
//! append takes a round trip between client and leader, one between leader and follower, and the
//! follower's sync: [`Floors::append`] is their sum.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hdrhistogram::Histogram;
use tokio::runtime::Builder;
use tokio::sync::oneshot;

use super::load::{histogram, in_micros};
use crate::cli::failure::Failure;
use crate::cli::local::Place;
use crate::cli::runtime::no_runtime;
use crate::config::CERTS_FOLDER;
use crate::limits;
use crate::net::{CertificateRole, Credentials, Endpoint, Expect, Protocol, Stream};
use crate::node::init::InitOptions;
use crate::outcome::Outcome;
use crate::types::NodeId;
use crate::wire::frame::{Frame, kind};

/// How long each is measured.
const MEASURE_FOR: Duration = Duration::from_millis(800);
/// The first ones do not count.
const WARMUP: Duration = Duration::from_millis(100);
/// What is appended and sent.
const BYTES: usize = 100;
/// Longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(5);

/// Medians and worse, in microseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Floors {
    pub(super) sync_p50: u64,
    pub(super) sync_p99: u64,
    pub(super) round_trip_p50: u64,
    pub(super) round_trip_p99: u64,
}

impl Floors {
    /// What an append takes at least, in microseconds.
    pub(super) fn append(&self) -> u64 {
        self.sync_p50 + 2 * self.round_trip_p50
    }

    /// Measures the disk below a folder, which must exist, and the wire.
    ///
    /// # Errors
    /// A file or a socket cannot be had.
    pub(super) async fn measure(folder: &Path) -> Result<Self, Failure> {
        let path = folder.join(format!(".annal-floor-{}", std::process::id()));
        let on_disk = Scratch(path);
        let syncs = tokio::task::spawn_blocking(move || sync_times(&on_disk.0))
            .await
            .expect("a panic ends the process")
            .map_err(|error| {
                let sentence = format!("{} cannot be written: {error}", folder.display());
                Failure::new(Outcome::Failed, sentence, "name a folder of the disk in question")
            })?;
        let trips = round_trips().await?;
        let [sync_p50, sync_p99] = [0.5, 0.99].map(|quantile| syncs.value_at_quantile(quantile));
        let [round_trip_p50, round_trip_p99] =
            [0.5, 0.99].map(|quantile| trips.value_at_quantile(quantile));
        Ok(Self { sync_p50, sync_p99, round_trip_p50, round_trip_p99 })
    }
}

/// A file that is removed when it is no longer needed.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn sync_times(path: &Path) -> io::Result<Histogram<u64>> {
    let mut file = File::options().append(true).create_new(true).open(path)?;
    let mut times = Times::new();
    while times.go_on() {
        times.begin();
        file.write_all(&[b'.'; BYTES])?;
        file.sync_data()?;
        times.end();
    }
    Ok(times.histogram)
}

/// Times of something that is done over and over.
struct Times {
    first: Instant,
    began: Instant,
    histogram: Histogram<u64>,
}

impl Times {
    fn new() -> Self {
        Self { first: Instant::now(), began: Instant::now(), histogram: histogram() }
    }

    fn go_on(&self) -> bool {
        self.first.elapsed() < WARMUP + MEASURE_FOR
    }

    fn begin(&mut self) {
        self.began = Instant::now();
    }

    fn end(&mut self) {
        if self.first.elapsed() >= WARMUP {
            self.histogram.saturating_record(in_micros(self.began.elapsed()));
        }
    }
}

/// A cluster of one, of which only the certificates are needed. It is removed when it no longer is.
struct Certificates(Place);

impl Certificates {
    fn new() -> Result<Self, Failure> {
        let mut made = Self(Place::new("bench", None)?);
        let options = InitOptions::local(made.0.directory(), 1, limits::BASE_PORT_DEFAULT)?;
        made.0.write(&options)?;
        Ok(made)
    }

    fn folder(&self) -> PathBuf {
        self.0.directory().join(CERTS_FOLDER)
    }
}

impl Drop for Certificates {
    fn drop(&mut self) {
        self.0.remove();
    }
}

async fn round_trips() -> Result<Histogram<u64>, Failure> {
    let certificates = Certificates::new()?;
    echo_times(&certificates.folder()).await
}

async fn echo_times(certs: &Path) -> Result<Histogram<u64>, Failure> {
    let node = NodeId::new(1).expect("not 0");
    let load = |name: &str| {
        Credentials::load(certs, name)
            .map_err(|error| Failure::new(Outcome::Failed, &error, error.hint()))
    };
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let socket = |error: crate::net::BindError| Failure::new(Outcome::Failed, &error, error.hint());
    let server = load(&node.to_string())?;
    let (ready, address) = oneshot::channel();
    // A thread with a runtime of its own, as another process would be: to wake it costs something.
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| no_runtime(&error))?;
    thread::spawn(move || {
        runtime.block_on(async {
            match Endpoint::server(any, &server, &[Protocol::Client]) {
                Ok(server) => {
                    // Nobody is told if nobody waits: then nobody connects, either.
                    let _ = ready.send(Ok(server.local_address()));
                    echo(&server).await
                }
                Err(error) => ready.send(Err(error)).ok(),
            }
        });
    });
    let address = address.await.expect("a panic ends the process").map_err(socket)?;
    let client = Endpoint::client(&load("client")?).map_err(socket)?;
    let expect = Expect { role: CertificateRole::Node, name: Some(node.to_string()) };
    let connection = client
        .connect(address, &expect, Protocol::Client)
        .await
        .map_err(|error| Failure::new(Outcome::Failed, &error, error.hint()))?;
    let silent =
        |error: crate::net::StreamError| Failure::new(Outcome::Failed, &error, error.hint());
    let mut stream = connection.open().await.map_err(silent)?;
    let frame = Frame::new(kind::REQUEST, &(), &[Bytes::from_static(&[b'.'; BYTES])]);
    let mut times = Times::new();
    while times.go_on() {
        times.begin();
        stream.sender.send(&frame).await.map_err(silent)?;
        stream.receiver.answer(PATIENCE).await.map_err(silent)?;
        times.end();
    }
    Ok(times.histogram)
}

/// Sends everything back that comes on the first stream of the first connection.
async fn echo(server: &Endpoint) -> Option<()> {
    let connection = server.accept().await?;
    let Stream { mut sender, mut receiver } = connection.accept().await?;
    while let Ok(Some(frame)) = receiver.next().await {
        sender.send(&frame).await.ok()?;
    }
    Some(())
}
