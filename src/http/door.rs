//! The door: listens, counts who comes in, and ends with its node.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::process::{Resource, getrlimit};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::gate::{Gate, Guest};
use super::house::House;
use super::inside::Inside;
use super::patience::Patience;
use super::routes;
use super::tls::Tls;
use crate::client::{Client, Settings};
use crate::config::HttpConfig;
use crate::limits;
use crate::net::Credentials;
use crate::remedy;
use crate::types::NodeId;

/// What a door needs.
#[derive(Debug)]
pub struct Plan {
    /// Whose door it is.
    pub node: NodeId,
    /// Where it is.
    pub config: HttpConfig,
    /// Whether an admin may crash the leader.
    pub fault_injection: bool,
    /// The node's certificate.
    pub credentials: Credentials,
    /// The folder where that is, and the keys that tokens are known by.
    pub certs: PathBuf,
    /// Where the nodes and the registry are.
    pub settings: Settings,
}

/// A node's door. It closes when the node is to stop.
#[derive(Debug)]
pub struct Door {
    /// Dropped by the door's thread at its end.
    closed: oneshot::Receiver<()>,
}

impl Door {
    /// Opens a door, beside the node: what it cannot have, it says and the node goes on.
    pub fn open(plan: Plan, inside: Arc<dyn Inside>, stop: CancellationToken) -> Self {
        let (closing, closed) = oneshot::channel::<()>();
        let node = plan.node;
        let run = move || {
            let _closing = closing;
            let runtime = Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(serve(plan, inside, stop));
            runtime.shutdown_timeout(Duration::ZERO);
            io::Result::Ok(())
        };
        let say = move |error: &io::Error| tracing::error!(%node, "there is no HTTP here: {error}");
        let started = thread::Builder::new()
            .name("http".to_owned())
            .spawn(move || run().unwrap_or_else(|error| say(&error)));
        started.map_or_else(|error| say(&error), drop);
        Self { closed }
    }

    /// Waits until it is closed, within a bound.
    pub async fn closed(self) {
        // Whatever hangs there ends with the process.
        let _ = timeout(limits::HTTP_CLOSE_TIMEOUT * 2, self.closed).await;
    }
}

/// Serves until the node is to stop.
async fn serve(plan: Plan, inside: Arc<dyn Inside>, stop: CancellationToken) {
    let (node, config) = (plan.node, plan.config);
    let client = match Client::with(&plan.credentials, plan.settings) {
        Ok(client) => client,
        Err(error) => return tracing::error!(%node, "there is no HTTP here: {error}"),
    };
    let listening = stop.run_until_cancelled(listen(node, config.listen)).await;
    let Some(Ok(listener)) = listening else { return };
    let tls = config.has_tls().then(|| Tls::of(&plan.credentials));
    let (scheme, whom) = match (&tls, config.tokens) {
        (Some(_), _) => ("https", "whoever has a token"),
        (None, true) => ("http", "whoever on this machine has a token"),
        (None, false) => ("http", "this machine"),
    };
    tracing::info!(%node, "HTTP for {whom} at {scheme}://{}/", config.listen);
    let cluster = plan.credentials.identity().cluster;
    let gate = config.tokens.then(|| Gate::new(cluster, plan.certs));
    let mut house = House::new(config, inside, client, stop);
    house.gate = gate;
    // With a token nobody crashes anything.
    house.fault_injection = plan.fault_injection && house.gate.is_none();
    receive(&Arc::new(house), tls.as_ref(), &listener).await;
}

/// Receives visitors until the node is to stop, and lets those who are there finish, within a bound.
pub(super) async fn receive(house: &Arc<House>, tls: Option<&Tls>, listener: &TcpListener) {
    let visitors = TaskTracker::new();
    let keep = house.chronicle.clone().keep(house.inside.clone(), house.stop.clone());
    visitors.spawn(keep);
    accept(house, tls, listener, &visitors).await;
    visitors.close();
    let _ = timeout(limits::HTTP_CLOSE_TIMEOUT, visitors.wait()).await;
}

/// Listens as soon as that can be done: whoever has the port may give it back.
async fn listen(node: NodeId, address: SocketAddr) -> io::Result<TcpListener> {
    let mut was_told = false;
    loop {
        let error = match TcpListener::bind(address).await {
            Ok(listener) => return Ok(listener),
            Err(error) => error,
        };
        if !was_told {
            let hint = remedy::of(&error, "say another [http] listen in node.toml, or \"off\"");
            tracing::error!(%node, "no HTTP at {address}: {error}; the node goes on without ({hint})");
        }
        was_told = true;
        sleep(limits::HTTP_BIND_PAUSE).await;
    }
}

/// Lets visitors in until the node is to stop.
async fn accept(
    house: &Arc<House>,
    tls: Option<&Tls>,
    listener: &TcpListener,
    visitors: &TaskTracker,
) {
    let places = Arc::new(Semaphore::new(places(allowed_files())));
    let strangers = Arc::new(Semaphore::new(limits::HTTP_STRANGERS_MAX));
    while let Some(accepted) = house.stop.run_until_cancelled(listener.accept()).await {
        let Ok((stream, _)) = accepted else {
            // No files are left, or the visitor is gone already.
            sleep(limits::HTTP_ACCEPT_PAUSE).await;
            continue;
        };
        let guest = match &house.gate {
            None => Some(Guest::default()),
            Some(_) => Arc::clone(&strangers).try_acquire_owned().ok().map(Guest::stranger),
        };
        match (guest, Arc::clone(&places).try_acquire_owned()) {
            (Some(guest), Ok(place)) => {
                let serving = serve_visitor(house.clone(), tls.cloned(), stream, guest.into());
                visitors.spawn(async move {
                    serving.await;
                    drop(place);
                });
            }
            _ => turn_away(house, &stream),
        }
    }
}

/// Files and sockets that this process may have open.
fn allowed_files() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

/// Connections that are served at once: each is a file, and the log must never lack one.
fn places(allowed_files: Option<u64>) -> usize {
    let allowed = allowed_files.and_then(|files| usize::try_from(files).ok()).unwrap_or(usize::MAX);
    limits::HTTP_CONNECTIONS_MAX.min(allowed.saturating_sub(limits::FILES_BESIDE_HTTP))
}

/// One too many: it is told so if that costs nothing.
fn turn_away(house: &House, stream: &TcpStream) {
    house.visits.turned_away.fetch_add(1, Ordering::Relaxed);
    if house.config.has_tls() {
        // To say it would take a handshake.
        return;
    }
    let seconds = limits::HTTP_RETRY_AFTER_SECONDS;
    let text = "there are too many connections\nhint: close some, or come back in a moment\n";
    let length = text.len();
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\nretry-after: {seconds}\r\nconnection: close\r\n\
         content-type: text/plain\r\ncontent-length: {length}\r\n\r\n{text}"
    );
    // What does not fit into the system's buffer is not sent.
    let _ = stream.try_write(answer.as_bytes());
}

/// Serves a connection until it ends or the node is to stop; then what is under way still ends.
async fn serve_visitor(house: Arc<House>, tls: Option<Tls>, stream: TcpStream, guest: Arc<Guest>) {
    house.visits.connections.fetch_add(1, Ordering::Relaxed);
    // Answers are small and written whole.
    let _ = stream.set_nodelay(true);
    let stream = Patience::new(stream, limits::HTTP_STALL_TIMEOUT);
    let served = match tls {
        None => serve_connection(&house, guest, stream).await,
        Some(tls) => {
            let greeted =
                house.stop.run_until_cancelled(tls.greet(stream, house.head_timeout)).await;
            match greeted {
                Some(Ok(stream)) => serve_connection(&house, guest, stream).await,
                Some(Err(error)) => Err(error.to_string()),
                None => Ok(()),
            }
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "a connection over HTTP ended");
    }
    house.visits.connections.fetch_sub(1, Ordering::Relaxed);
}

async fn serve_connection(
    house: &Arc<House>,
    guest: Arc<Guest>,
    stream: impl AsyncRead + AsyncWrite + Unpin,
) -> Result<(), String> {
    let service = service_fn(|request| routes::attend(house.clone(), guest.clone(), request));
    let mut connection = Box::pin(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(house.head_timeout)
            .max_buf_size(limits::HTTP_HEAD_BYTES_MAX)
            .max_headers(limits::HTTP_HEADERS_MAX)
            .serve_connection(TokioIo::new(stream), service),
    );
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = house.stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.as_mut().await
        }
    };
    served.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn visitors_leave_files_to_the_log() {
        assert_eq!(places(None), limits::HTTP_CONNECTIONS_MAX);
        assert_eq!(places(Some(1 << 20)), limits::HTTP_CONNECTIONS_MAX);
        assert_eq!(places(Some(1024)), 1024 - limits::FILES_BESIDE_HTTP);
        assert_eq!(places(Some(64)), 0);
    }
}
