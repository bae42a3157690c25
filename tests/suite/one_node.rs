// A cluster of one node in this process, as `annal init` would write it: for what needs a cluster to
// show how the library is used. The front page of the crate includes this file into its first program,
// which is why it has no page of its own above it.

use std::net::{SocketAddr, UdpSocket};
use std::path::Path;

use annal::config::{CERTS_FOLDER, DATA_FOLDER, NodeConfig};
use annal::net::Credentials;
use annal::node::init::{InitOptions, init};
use annal::node::{Ended, RunError, Settings, run};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A node that is running, and the folder of its cluster.
pub(crate) struct OneNode {
    directory: TempDir,
    stop: CancellationToken,
    node: JoinHandle<Result<Ended, RunError>>,
}

impl OneNode {
    /// Makes the cluster and starts its node. The registry's address is nobody's: it is not needed.
    pub(crate) fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut options = InitOptions::local(directory.path(), 1, 7100).unwrap();
        // Both are held until both are found, so that they differ.
        let sockets = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
        let [registry, node]: [SocketAddr; 2] = sockets.map(|socket| socket.local_addr().unwrap());
        options.registry = Some(registry.into());
        options.nodes.values_mut().for_each(|address| *address = node.into());
        options.http.clear();
        init(&options).unwrap();

        let data = directory.path().join(DATA_FOLDER).join("n1");
        let config = NodeConfig::load(&data).unwrap();
        let certs = directory.path().join(CERTS_FOLDER);
        let credentials = Credentials::load(&certs, "n1").unwrap();
        let stop = CancellationToken::new();
        let settings = Settings { data, config, credentials, certs, on_recovered: |_| () };
        let node = tokio::spawn(run(settings, stop.clone()));
        Self { directory, stop, node }
    }

    /// The cluster's directory, for `annal::Settings::from_dir`.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Stops the node in good order.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        assert_eq!(self.node.await.unwrap().unwrap(), Ended::Stopped);
    }
}
