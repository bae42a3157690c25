//! The client itself: what it needs, and its verbs.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use thiserror::Error;
use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, timeout};

use super::append::{AppendError, Appender, Orders, check_limits};
use super::append_options::AppendOptions;
use super::ask::Ask;
use super::by_time;
use super::connections::Connections;
use super::conversation;
use super::crash::{self, CrashError, Crashed};
use super::leader;
use super::leader_watch;
use super::producer::{OpenError, Producer};
use super::random;
use super::read::{ReadError, Reader};
use super::read_options::{Consistency, ReadOptions};
use super::route::Leading;
use super::shared::Shared;
use super::status::{self, Status};
use super::tail::Tail;
use super::token::Token;
#[cfg(feature = "server")]
use crate::access::TokenId;
use crate::address::Address;
use crate::command::Command;
#[cfg(feature = "http")]
use crate::command::Stamp;
use crate::config::{CERTS_FOLDER, ClusterConfig, ConfigError};
use crate::label::{FenceToken, ProducerName};
use crate::limits::{CLIENT_CLOSE_TIMEOUT, CLIENT_TIMEOUT_DEFAULT};
use crate::net::tls::TlsError;
use crate::net::{BindError, Credentials, Endpoint};
use crate::outcome::Outcome;
use crate::types::{ClientId, ClusterId, LogNumber, NodeId, Offset, Seq, Timestamp};
use crate::wire::api::Appended;
use crate::wire::standing::{Inquiry, ProducerState, Standing};

/// The certificate that a client shows unless its settings name another.
const CLIENT: &str = "client";

/// What a client needs to know.
///
/// Made by [`Self::from_dir`] or [`Self::new`]; what they choose can be changed afterwards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The folder with `ca.crt` and the client's certificate and key.
    pub certs: PathBuf,
    /// The certificate's name in that folder: `client`, or `admin`.
    pub name: String,
    /// The cluster; `None`: the certificate's.
    pub cluster: Option<ClusterId>,
    /// Nodes and where they listen. One is enough, it knows the others; a wrong name does no harm.
    pub nodes: Vec<(NodeId, Address)>,
    /// Where the registry listens, if there is one.
    pub registry: Option<Address>,
    /// Every wait ends after this time, that of a followed read for new records excepted.
    pub timeout: Duration,
}

impl Settings {
    /// A client of the cluster whose files are in a directory: the one in which `annal init` or
    /// `annal up` was called. Of what they wrote a client needs `certs/` with `cluster.toml`,
    /// `ca.crt`, `client.crt` and `client.key`, here or copied to another machine.
    ///
    /// # Errors
    /// `certs/cluster.toml` is missing, cannot be read, or says what it cannot mean.
    pub fn from_dir(directory: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let certs = directory.as_ref().join(CERTS_FOLDER);
        let cluster = ClusterConfig::load(&certs)?;
        Ok(Self {
            cluster: Some(cluster.cluster),
            registry: cluster.registry,
            ..Self::new(certs, cluster.nodes)
        })
    }

    /// A client with the certificates in this folder, of a cluster that has nodes at these addresses.
    /// The host of an address may be a name (`"n1.example.org:7101".parse()`): it is looked up at each
    /// attempt to connect.
    pub fn new(
        certs: impl Into<PathBuf>,
        nodes: impl IntoIterator<Item = (NodeId, Address)>,
    ) -> Self {
        Self {
            certs: certs.into(),
            name: CLIENT.to_owned(),
            cluster: None,
            nodes: nodes.into_iter().collect(),
            registry: None,
            timeout: CLIENT_TIMEOUT_DEFAULT,
        }
    }
}

/// A client could not be made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SetupError {
    /// The certificates cannot be used.
    #[error("{0}")]
    Certificates(#[from] TlsError),
    /// There is no socket to be had.
    #[error("{0}")]
    Socket(#[from] BindError),
    /// The certificate is another cluster's.
    #[error("the certificate is of cluster {found}, and the settings are of cluster {expected}")]
    OtherCluster {
        /// The settings' cluster.
        expected: ClusterId,
        /// The certificate's.
        found: ClusterId,
    },
    /// Neither a node nor a registry is known.
    #[error("no address of a node or of the registry is known")]
    NoAddresses,
}

impl SetupError {
    /// What it means for scripts.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::NoAddresses => Outcome::Usage,
            Self::Certificates(_) | Self::Socket(_) | Self::OtherCluster { .. } => Outcome::Failed,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Certificates(error) => error.hint(),
            Self::Socket(error) => error.hint().to_owned(),
            Self::OtherCluster { .. } => {
                "--dir names the folder that holds the cluster's certs/".to_owned()
            }
            Self::NoAddresses => "give --nodes or --registry".to_owned(),
        }
    }
}

/// A client of one cluster, and of one of its logs: of `main`, unless [`Self::log`] names another. Clones
/// share its connections and its session.
#[derive(Clone, Debug)]
pub struct Client {
    pub(super) shared: Arc<Shared>,
    /// The log that it is about.
    log: LogNumber,
    /// The task behind [`Client::append`], once there is one.
    orders: Arc<OnceLock<Orders>>,
    /// The task behind [`Client::append_with`], once there is one. Whoever appends holds it: a condition
    /// that does not hold must not fail others.
    one_by_one: Arc<Mutex<Option<Orders>>>,
}

impl Client {
    /// A client with these settings. No node needs to be up, and none is asked yet. Must be called
    /// within a tokio runtime.
    ///
    /// # Errors
    /// [`SetupError`].
    pub fn connect(settings: Settings) -> Result<Self, SetupError> {
        let credentials = Credentials::load(&settings.certs, &settings.name)?;
        let found = credentials.identity().cluster;
        if let Some(expected) = settings.cluster.filter(|expected| *expected != found) {
            return Err(SetupError::OtherCluster { expected, found });
        }
        if settings.nodes.is_empty() && settings.registry.is_none() {
            return Err(SetupError::NoAddresses);
        }
        Ok(Self::with(&credentials, settings)?)
    }

    /// As [`Self::connect`], with credentials that are loaded already; the settings' folder does not
    /// matter.
    pub(crate) fn with(credentials: &Credentials, settings: Settings) -> Result<Self, BindError> {
        let endpoint = Endpoint::client(credentials)?;
        let connections = Connections::new(endpoint, settings.nodes, settings.registry);
        let shared = Arc::new(Shared::new(connections, settings.timeout));
        let (orders, one_by_one) = (Arc::default(), Arc::default());
        Ok(Self { shared, log: LogNumber::MAIN, orders, one_by_one })
    }

    /// The same for another log.
    pub(crate) fn about(&self, log: LogNumber) -> Self {
        Self { log, ..self.clone() }
    }

    /// Appends records as one request: all of them side by side, or none.
    ///
    /// Acknowledged, they are on the disks of a majority, once. Calls made at the same time, whichever logs
    /// they are about, share a session. If one fails, those behind it are asked again where they certainly
    /// are in no log; the others fail with it, each with what is certain about it.
    ///
    /// # Errors
    /// [`AppendError`]; its `outcome` tells "certainly not in the log" from "nobody knows".
    pub async fn append(&self, records: Vec<Bytes>) -> Result<Appended, AppendError> {
        let until = Instant::now() + self.shared.timeout;
        loop {
            // NB: else one log that is closed could end everybody's session again and again.
            if let Some(error) = self.shared.ended_logs().of(self.log) {
                return Err(error);
            }
            let orders = self.orders();
            match orders.append(Ask::from(records.clone()).on(self.log)).await {
                Err(AppendError::Ended) if !orders.have_ended() && Instant::now() < until => {}
                Err(error) => {
                    self.shared.ended_logs().note(self.log, &error);
                    return Err(error);
                }
                appended => return appended,
            }
        }
    }

    fn orders(&self) -> &Orders {
        self.orders.get_or_init(|| conversation::start(self.shared.clone()))
    }

    /// As [`Self::append`], if what the options ask for is so. One at a time: calls made at the same
    /// time wait for each other, also for one whose future was dropped before its answer came, each as long
    /// as [`Settings::timeout`] says and as long again for its own answer.
    ///
    /// # Errors
    /// Those of [`Self::append`], and [`AppendError::OtherOffset`]; [`AppendError::GivenUp`] if those
    /// before it took too long.
    pub async fn append_with(
        &self,
        records: Vec<Bytes>,
        options: &AppendOptions,
    ) -> Result<Appended, AppendError> {
        self.alone(Ask { conditions: options.conditions(), ..records.into() }).await
    }

    /// As [`Self::append_with`], under a stamp. If it `closes` the log, these records are its last, of which
    /// there may be none then.
    #[cfg(feature = "http")]
    pub(crate) async fn append_stamped(
        &self,
        records: Vec<Bytes>,
        options: &AppendOptions,
        (stamp, closes): (Stamp, bool),
    ) -> Result<Appended, AppendError> {
        let stamp = Box::new(stamp);
        let command = if closes { Command::Close(stamp) } else { Command::Append(stamp) };
        let conditions = options.conditions();
        self.alone(Ask { conditions, command: Some(command), ..records.into() }).await
    }

    /// Asks when nothing else is asked so, and waits for the answer.
    ///
    /// NB: if whoever asks is gone before it comes, it is waited for all the same. Else the next request
    /// would stand behind this one, and fail with it.
    pub(super) async fn alone(&self, ask: Ask) -> Result<Appended, AppendError> {
        let turn = timeout(self.shared.timeout, self.one_by_one.clone().lock_owned()).await;
        let Ok(mut held) = turn else { return Err(AppendError::GivenUp) };
        let (shared, ask) = (self.shared.clone(), ask.on(self.log));
        let asking = tokio::spawn(async move {
            held.get_or_insert_with(|| conversation::start(shared)).append(ask).await
        });
        // It ends before its time only with the runtime.
        asking.await.unwrap_or(Err(AppendError::Ended))
    }

    /// The answer to a question, as of everything that was acknowledged before.
    pub(super) async fn answer(&self, inquiry: Inquiry) -> Result<Standing, ReadError> {
        self.answer_reflecting(inquiry, Consistency::Linearizable).await
    }

    /// The same, of which the answer must reflect so much.
    pub(super) async fn answer_reflecting(
        &self,
        inquiry: Inquiry,
        consistency: Consistency,
    ) -> Result<Standing, ReadError> {
        Reader::asking(self.shared.clone(), self.log, (inquiry, consistency)).answer().await
    }

    /// Sets the log's fence token, or takes it away: from then on every append that names another one
    /// ([`AppendOptions::fence`]) is refused, and none that does comes after it in the log.
    ///
    /// # Errors
    /// As [`Self::append`]. If nobody knows what became of it, it can be done again.
    pub async fn set_fence(&self, token: Option<FenceToken>) -> Result<Appended, AppendError> {
        self.orders().append(Ask::of(Command::Fence(token)).on(self.log)).await
    }

    /// Trims the log: it begins at this offset from then on, unless it begins later already, and the
    /// records before it are gone. Offsets stay as they are.
    ///
    /// # Errors
    /// As [`Self::append`], and [`AppendError::BeyondEnd`].
    pub async fn trim(&self, before: Offset) -> Result<Appended, AppendError> {
        self.alone(Ask::of(Command::Trim(before))).await
    }

    /// The log's fence token, as of everything that was acknowledged before.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn fence(&self) -> Result<Option<FenceToken>, ReadError> {
        Ok(self.answer(Inquiry::Fence).await?.fence)
    }

    /// Becomes a producer of this name, which is new or goes on where it was: an older process of it is
    /// refused from now on.
    ///
    /// # Errors
    /// [`OpenError`]. Opening it again does no harm.
    pub async fn producer(
        &self,
        name: ProducerName,
        options: &AppendOptions,
    ) -> Result<Producer, OpenError> {
        let mut appender = self.appender_with(options);
        let opened = appender.open(name).await?;
        let state =
            self.producer_state(name).await?.ok_or(AppendError::NoProducer { producer: name })?;
        // An entry has one command.
        if state.opened_at == opened.index {
            return Ok(Producer::new(appender, state));
        }
        Err(AppendError::Superseded { producer: name, epoch: state.epoch }.into())
    }

    /// How a producer stands, as of everything that was acknowledged before; `None` if there is none.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn producer_state(
        &self,
        name: ProducerName,
    ) -> Result<Option<ProducerState>, ReadError> {
        Ok(self.answer(Inquiry::Producer(name)).await?.producers.first().copied())
    }

    /// How all producers stand, by name.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn producers(&self) -> Result<Vec<ProducerState>, ReadError> {
        Ok(self.answer(Inquiry::Producers).await?.producers)
    }

    /// Forgets a producer: its records stay, and one that is opened under its name is a new one.
    ///
    /// # Errors
    /// As [`Self::append`], and [`AppendError::NoProducer`].
    pub async fn forget_producer(&self, name: ProducerName) -> Result<Appended, AppendError> {
        self.alone(Ask::of(Command::Forget(name))).await
    }

    /// Revokes an access token, with an admin's certificate: no node takes it for good from when it has that
    /// entry, which is at once where it follows the leader. One that is revoked already is as good.
    ///
    /// # Errors
    /// As [`Self::append`]; [`AppendError::NotAdmin`], [`AppendError::TooManyRevocations`].
    #[cfg(feature = "server")]
    pub(crate) async fn revoke_token(&self, token: TokenId) -> Result<Appended, AppendError> {
        self.about(LogNumber::MAIN).alone(Ask::of(Command::Revoke(token))).await
    }

    /// The access tokens that are revoked and have not expired by the last time that one was, in the order in
    /// which they expire.
    ///
    /// # Errors
    /// [`ReadError`].
    #[cfg(feature = "server")]
    pub(crate) async fn revoked_tokens(&self) -> Result<Vec<TokenId>, ReadError> {
        Ok(self.about(LogNumber::MAIN).answer(Inquiry::Revocations).await?.revoked)
    }

    /// A pipeline of requests in order, over a session of its own.
    pub fn appender(&self) -> Appender {
        self.appender_with(&AppendOptions::default())
    }

    /// As [`Self::appender`], if what the options ask for is so: the first request for which it is not
    /// ends it.
    pub fn appender_with(&self, options: &AppendOptions) -> Appender {
        conversation::appender((self.shared.clone(), self.log), None, options)
    }

    /// Names an append that has not been sent yet: written down before [`Self::resume`] sends it, the
    /// token lets the next process repeat the same append if this one crashes.
    ///
    /// # Errors
    /// The records break a limit, or nobody leads: nothing was sent.
    pub async fn prepare(&self, records: &[Bytes]) -> Result<Token, AppendError> {
        check_limits(records)?;
        let until = Instant::now() + self.shared.timeout;
        let found = leader::find_commit_index(&self.shared, until).await;
        let began_at = found.map_err(AppendError::Unavailable)?;
        let (client, first) = (ClientId::new(random::draw()), Seq::FIRST);
        let ask = Ask::from(records.to_vec()).on(self.log);
        Ok(Token::new(client, (first, first), began_at, &ask))
    }

    /// Repeats the append of a token, whose outcome is not known: it is the same append, however
    /// often it is repeated. Its records must be the first request that is sent; what is sent after
    /// it goes out one request at a time.
    pub fn resume(&self, token: Token) -> Appender {
        self.resume_with(token, &AppendOptions::default())
    }

    /// As [`Self::resume`], of an append with these options.
    pub fn resume_with(&self, token: Token, options: &AppendOptions) -> Appender {
        conversation::appender((self.shared.clone(), self.log), Some(token), options)
    }

    /// Gives up every append that is under way, as if its time had run out, and takes no more: each
    /// ends at once with what is certain about it.
    pub fn give_up(&self) {
        self.shared.given_up.cancel();
    }

    /// Begins a read. Nobody is asked before the first batch is.
    pub fn read(&self, options: ReadOptions) -> Reader {
        Reader::new(self.shared.clone(), self.log, options)
    }

    /// The records of a read that follows, as a stream: it waits through any time without a leader.
    pub fn tail(&self, options: ReadOptions) -> Tail {
        Tail::new(self.read(ReadOptions { follow: true, ..options }))
    }

    /// The offset of the first record of this time or later, to begin a read at; the end of the log if
    /// there is none yet.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn first_since(
        &self,
        time: Timestamp,
        consistency: Consistency,
    ) -> Result<Offset, ReadError> {
        by_time::first_since((&self.shared, self.log), consistency, time).await
    }

    /// The offset at which the log begins.
    #[cfg(feature = "http")]
    pub(crate) async fn start_offset(&self, consistency: Consistency) -> Result<Offset, ReadError> {
        by_time::start((&self.shared, self.log), consistency).await
    }

    /// Who leads, from now on: looked for twice a second, for as long as anybody holds the receiver.
    /// `None` where nobody is found, as before the first look.
    pub fn leader(&self) -> watch::Receiver<Option<Leading>> {
        leader_watch::watch(self.shared.clone())
    }

    /// Tells the nodes that this client is gone, so that they need not wait to notice. What is under
    /// way fails; no clone is of use any more. Takes at most [`CLIENT_CLOSE_TIMEOUT`].
    pub async fn close(&self) {
        self.shared.connections.close(CLIENT_CLOSE_TIMEOUT).await;
    }

    /// Asks every node and the registry at once how they are.
    pub async fn status(&self) -> Status {
        status::status(&self.shared).await
    }

    /// Makes the leader crash, and waits for the next one. Needs an admin's certificate.
    ///
    /// # Errors
    /// [`CrashError`].
    pub async fn crash_leader(&self) -> Result<Crashed, CrashError> {
        crash::crash_leader(&self.shared).await
    }
}
