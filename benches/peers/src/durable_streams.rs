//! The server of Durable Streams that its makers publish as the crate `durable-streams`: one
//! process, not replicated, with its defaults.
//!
//! By default it answers for an append when that is in a log of its own and synced
//! (`--durability wal`); what waits meanwhile shares the sync. It is what one node that speaks HTTP
//! can do: whatever it loses with its disk is lost, and nobody goes on where it was killed.
//!
//! A request has a connection for itself while it is under way, and connections are kept. Its best
//! batch is an array posted to a stream of JSON: each element is an entry.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use crate::cluster::{Kind, Log, Place};
use crate::setup;

/// What is measured.
const VERSION: &str = "0.1.5";

/// Where single entries go: bytes one after the other.
const BYTES: (&str, &str) = ("bytes", "application/octet-stream");

/// Where batches go: one entry an element.
const JSON: (&str, &str) = ("json", "application/json");

pub(crate) struct DurableStreams {
    /// Where the server's program is installed.
    pub(crate) tools: PathBuf,
}

impl Kind for DurableStreams {
    type Log = Connection;
    const SERVERS: u16 = 1;
    const PORTS: u16 = 1;

    async fn install(&self) -> Result<String> {
        setup::install_durable_streams(&self.tools, VERSION).await?;
        Ok(format!("durable-streams {VERSION}, one node, not replicated"))
    }

    fn command(&self, place: &Place, server: u16) -> Result<Command> {
        let mut command = Command::new(setup::durable_streams_program(&self.tools));
        command.args(["--port", &place.port(server, 0).to_string(), "--data-dir"]);
        command.arg(place.folder(server)?);
        Ok(command)
    }

    async fn create(&self, place: &Place) -> Result<()> {
        let connection = Self::connect(&place.endpoints()).await?;
        for stream in [BYTES, JSON] {
            connection.ask(Method::PUT, stream, Bytes::new()).await?;
        }
        Ok(())
    }

    async fn leader(&self, _place: &Place) -> Result<u16> {
        Ok(0)
    }

    async fn connect(endpoints: &[String]) -> Result<Connection> {
        let client = Client::builder(TokioExecutor::new()).build_http();
        Ok(Connection { client, server: endpoints[0].clone() })
    }
}

#[derive(Clone)]
pub(crate) struct Connection {
    client: Client<HttpConnector, Full<Bytes>>,
    server: String,
}

impl Connection {
    async fn ask(&self, method: Method, (name, kind): (&str, &str), body: Bytes) -> Result<()> {
        let request = Request::builder()
            .method(method)
            .uri(format!("http://{}/{name}", self.server))
            .header("content-type", kind)
            .body(Full::new(body))?;
        let response = self.client.request(request).await?;
        let status = response.status();
        let said = response.into_body().collect().await?.to_bytes();
        let fine = [StatusCode::OK, StatusCode::CREATED, StatusCode::NO_CONTENT].contains(&status);
        ensure!(fine, "{status}: {}", String::from_utf8_lossy(&said));
        Ok(())
    }
}

impl Log for Connection {
    async fn append(&self, entry: &Bytes) -> Result<()> {
        self.ask(Method::POST, BYTES, entry.clone()).await
    }

    async fn append_batch(&self, entry: &Bytes, count: usize) -> Result<()> {
        // Digits of a hundred bytes and two quotes: as long as an entry is elsewhere.
        let text: String = entry.iter().map(|byte| char::from(b'0' + byte % 10)).collect();
        let batch = serde_json::to_vec(&vec![text; count])?;
        self.ask(Method::POST, JSON, batch.into()).await
    }
}
