//! Answers questions over QUIC.

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use thiserror::Error;
use tokio::sync::{Mutex, mpsc};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, error, info};

use super::table::{LeaderTable, Row, TableError};
use crate::limits::{
    FIRST_FRAME_BYTES_MAX, READ_SENT_BYTES_MAX, READ_SENT_BYTES_PER_CONNECTION,
    READ_SENT_BYTES_PER_IDENTITY, REGISTRY_ANSWER_BYTES_MAX, REGISTRY_QUESTION_BYTES_MAX,
    REGISTRY_QUESTION_TIMEOUT,
};
use crate::net::{
    Audit, Budget, BudgetLimits, CertificateIdentity, CertificateRole, Close, Connection, Endpoint,
    Share, Stream, StreamError,
};
use crate::store::{DiskMap, StoreError};
use crate::types::{ClusterId, Term};
use crate::wire::registry::{Announcement, Answer, Question, Refusal};

/// A registry that is running. Dropped, it stops.
#[derive(Debug)]
pub struct Server {
    task: AbortOnDropHandle<Result<(), ServerError>>,
}

/// Why a registry does not start, or stops.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServerError {
    /// Its disk, or its data on it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Its data is not that of a registry, or of a newer one.
    #[error(transparent)]
    Table(#[from] TableError),
    /// It was ended from outside.
    #[error("the registry was ended")]
    Ended,
}

impl ServerError {
    /// Whether data that was promised is not there any more (exit code 6).
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Store(error) => error.is_damage(),
            Self::Table(_) => true,
            Self::Ended => false,
        }
    }

    /// Whether another process has the folder.
    pub fn is_occupied(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_occupied())
    }

    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Store(error) => error.hint(),
            Self::Table(_) => {
                "a newer version of this program may have written it; if not, remove \
                               the folder: the registry is a copy, and leaders announce again"
                    .to_owned()
            }
            Self::Ended => "start it again".to_owned(),
        }
    }
}

impl Server {
    /// Opens the table in the folder `data`, or makes one there, and answers whoever connects to
    /// `endpoint`, which must accept [`crate::net::Protocol::Registry`].
    ///
    /// Reads the disk, so it blocks for a moment. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`ServerError`].
    pub fn start(data: &Path, endpoint: Endpoint) -> Result<Self, ServerError> {
        let map = DiskMap::open(data)?;
        let mut table = LeaderTable::default();
        for (key, value) in map.scan()? {
            let row = Row::decode(&key, &value)?;
            report(&row);
            table.insert(row);
        }
        Ok(Self::start_with(Arc::new(map), table, endpoint))
    }

    fn start_with(storage: Arc<dyn Storage>, table: LeaderTable, endpoint: Endpoint) -> Self {
        let (failed, failure) = mpsc::channel(1);
        let registry = Arc::new(Registry {
            storage,
            table: RwLock::new(table),
            announcing: Mutex::new(()),
            sent: Budget::new(BudgetLimits {
                total: READ_SENT_BYTES_MAX,
                per_identity: READ_SENT_BYTES_PER_IDENTITY,
                per_connection: READ_SENT_BYTES_PER_CONNECTION,
            }),
            failed,
            audit: endpoint.audit().clone(),
        });
        let task = tokio::spawn(registry.serve(endpoint, failure));
        Self { task: AbortOnDropHandle::new(task) }
    }

    /// Waits until the endpoint is closed, or the disk fails.
    ///
    /// # Errors
    /// [`ServerError`] if it was the disk: then nothing more is promised, and the endpoint is closed.
    pub async fn stopped(self) -> Result<(), ServerError> {
        self.task.await.unwrap_or(Err(ServerError::Ended))
    }
}

/// Where rows are kept; a trait so that tests can see what happens before and after.
trait Storage: Send + Sync + 'static {
    /// Adds rows. They are on disk when this returns. An error is final.
    fn put_all(&self, rows: &[(Vec<u8>, Vec<u8>)]) -> Result<(), StoreError>;
}

impl Storage for DiskMap {
    fn put_all(&self, rows: &[(Vec<u8>, Vec<u8>)]) -> Result<(), StoreError> {
        self.put_all(rows)
    }
}

struct Registry {
    storage: Arc<dyn Storage>,
    /// What is on disk, and nothing else.
    table: RwLock<LeaderTable>,
    /// Held from judging an announcement to storing it.
    announcing: Mutex<()>,
    /// Bytes of answers that are being made and sent.
    sent: Budget,
    /// Where a failure of the disk is told.
    failed: mpsc::Sender<ServerError>,
    audit: Audit,
}

impl Registry {
    async fn serve(
        self: Arc<Self>,
        endpoint: Endpoint,
        mut failure: mpsc::Receiver<ServerError>,
    ) -> Result<(), ServerError> {
        loop {
            tokio::select! {
                Some(error) = failure.recv() => {
                    endpoint.close();
                    return Err(error);
                }
                connection = endpoint.accept() => match connection {
                    Some(connection) => drop(tokio::spawn(self.clone().attend(connection))),
                    None => return Ok(()),
                }
            }
        }
    }

    /// Answers one connection's questions, each on a stream of its own.
    async fn attend(self: Arc<Self>, connection: Connection) {
        let share = self.sent.open(&connection.identity().to_string());
        while let Some(stream) = connection.accept().await {
            let (registry, connection) = (self.clone(), connection.clone());
            let share = share.clone();
            tokio::spawn(async move {
                let conversed = registry.converse(&connection, &share, stream).await;
                if let Err(StreamError::Frame(error)) = conversed {
                    debug!(who = %connection.identity(), "it sent {error}");
                    connection.close(Close::Malformed);
                }
            });
        }
    }

    async fn converse(
        &self,
        connection: &Connection,
        share: &Share,
        mut stream: Stream,
    ) -> Result<(), StreamError> {
        let who = connection.identity();
        let announces = who.role == CertificateRole::Node;
        let most = if announces { REGISTRY_QUESTION_BYTES_MAX } else { FIRST_FRAME_BYTES_MAX };
        stream.receiver.set_bytes_max(most);
        let frame = stream.receiver.answer(REGISTRY_QUESTION_TIMEOUT).await?;
        let question = Question::from_frame(&frame)?;
        let forgets = forgets(&question);
        // Until it is sent, or nobody has taken it in time.
        let _held = share.take(answer_bytes_max(&question)).await;
        let answer = match self.answer(who, question).await {
            Ok(answer) => answer,
            Err(error) => {
                // Not answered: what is on disk is unknown. The first failure is told; it ends all.
                let _ = self.failed.try_send(error);
                return Ok(());
            }
        };
        if let Some(what) = forgets {
            self.note(connection, &what, &answer);
        }
        let sent = timeout(REGISTRY_QUESTION_TIMEOUT, stream.sender.send(&answer.to_frame())).await;
        stream.sender.finish();
        sent.unwrap_or(Err(StreamError::TimedOut { after: REGISTRY_QUESTION_TIMEOUT }))
    }

    /// Notes what came of a wish to have something forgotten. NB: whoever is refused does not choose
    /// the words of a line.
    fn note(&self, connection: &Connection, what: &str, answer: &Answer) {
        let (who, address) = (connection.identity().to_string(), connection.remote_address());
        match answer {
            Answer::Forgotten(0) => {}
            Answer::Forgotten(count) => {
                self.audit.did(&who, address, &format!("{what} ({count} in all)"));
            }
            _ => self.audit.refused(&who, address, "forget who led"),
        }
    }

    async fn answer(
        &self,
        who: &CertificateIdentity,
        question: Question,
    ) -> Result<Answer, ServerError> {
        if !is_allowed(who, &question) {
            return Ok(Answer::Refused(Refusal::NotAllowed));
        }
        Ok(match question {
            Question::Known { cluster } => Answer::Known(self.table().known(cluster)),
            Question::Leader { cluster } => {
                Answer::Terms(self.table().leader(cluster).cloned().into_iter().collect())
            }
            Question::Terms { cluster, after } => Answer::Terms(self.table().page(cluster, after)),
            Question::Announce { cluster, current, history } => {
                self.announce(cluster, current, history).await?
            }
            Question::Forget { cluster, term, and_later } => {
                self.forget(cluster, term, and_later).await?
            }
        })
    }

    async fn forget(
        &self,
        cluster: ClusterId,
        term: Term,
        and_later: bool,
    ) -> Result<Answer, ServerError> {
        let _one_at_a_time = self.announcing.lock().await;
        let rows = self.table().forget(cluster, term, and_later);
        let count = u32::try_from(rows.len()).unwrap_or(u32::MAX);
        if !rows.is_empty() {
            self.keep(rows).await?;
        }
        Ok(Answer::Forgotten(count))
    }

    /// Puts rows on disk, and then into the table.
    async fn keep(&self, rows: Vec<Row>) -> Result<(), ServerError> {
        self.store(&rows).await?;
        for row in rows {
            report(&row);
            self.table_mut().insert(row);
        }
        Ok(())
    }

    async fn announce(
        &self,
        cluster: ClusterId,
        current: Announcement,
        history: Vec<Announcement>,
    ) -> Result<Answer, ServerError> {
        let _one_at_a_time = self.announcing.lock().await;
        let judgement = self.table().judge(cluster, &current, &history);
        if !judgement.rows.is_empty() {
            self.keep(judgement.rows).await?;
        }
        Ok(match judgement.answer {
            Ok(()) => {
                let table = self.table();
                let leader = table.leader(cluster);
                let is_shown =
                    leader.is_some_and(|l| (l.term, l.node) == (current.term, current.node));
                assert!(is_shown, "{current:?} was announced, and {leader:?} leads");
                Answer::Announced
            }
            Err(refusal) => {
                log_refusal(&current, &refusal);
                Answer::Refused(refusal)
            }
        })
    }

    /// Puts rows on disk, on a thread that may block.
    async fn store(&self, rows: &[Row]) -> Result<(), ServerError> {
        let rows: Vec<_> = rows.iter().map(Row::encode).collect();
        let storage = self.storage.clone();
        let stored = tokio::task::spawn_blocking(move || storage.put_all(&rows));
        Ok(stored.await.map_err(|_| ServerError::Ended)??)
    }

    fn table(&self) -> RwLockReadGuard<'_, LeaderTable> {
        // Nothing that is done under the lock panics half-way.
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn table_mut(&self) -> RwLockWriteGuard<'_, LeaderTable> {
        self.table.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is to be forgotten, if anything is.
fn forgets(question: &Question) -> Option<String> {
    let Question::Forget { term, and_later, .. } = question else { return None };
    let later = if *and_later { " and later ones" } else { "" };
    Some(format!("forget who led term {term}{later}"))
}

/// What an answer comes to at most, in memory and on the wire.
fn answer_bytes_max(question: &Question) -> usize {
    match question {
        Question::Known { .. } => REGISTRY_ANSWER_BYTES_MAX,
        Question::Terms { .. } => REGISTRY_QUESTION_BYTES_MAX,
        Question::Leader { .. } | Question::Announce { .. } | Question::Forget { .. } => {
            FIRST_FRAME_BYTES_MAX
        }
    }
}

/// Whoever is of the cluster may ask; only nodes may announce, and only themselves; only an admin may
/// have something forgotten.
fn is_allowed(who: &CertificateIdentity, question: &Question) -> bool {
    match question {
        Question::Leader { cluster } | Question::Terms { cluster, .. } => who.cluster == *cluster,
        Question::Known { cluster } => who.cluster == *cluster && who.role == CertificateRole::Node,
        Question::Announce { cluster, current, .. } => {
            who.cluster == *cluster && who.node() == Some(current.node)
        }
        Question::Forget { cluster, .. } => {
            who.cluster == *cluster && who.role == CertificateRole::Admin
        }
    }
}

fn report(row: &Row) {
    match row {
        Row::Term(_, announced) => {
            debug!(node = %announced.node, "{} is known", announced.name());
        }
        Row::Forgotten(_, term) => debug!(%term, "who led it is forgotten"),
        Row::SecondLeader(_, second) => error!(
            term = %second.term,
            node = %second.node,
            "a law of Raft is broken: a second node announced itself as {}",
            second.name()
        ),
    }
}

fn log_refusal(current: &Announcement, refusal: &Refusal) {
    let (name, node) = (current.name(), current.node);
    match refusal {
        Refusal::TermTaken { term, node: known } => error!(
            %term, %known,
            "a law of Raft is broken: {node}, announcing {name}, names another leader of a term"
        ),
        refusal => info!("{node} announced {name} and was refused: {refusal:?}"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc as blocking;

    use super::super::{Announcing, Leadership, LookupError, announce, forget, leader, terms};
    use super::*;
    use crate::limits::REGISTRY_PAGE_MAX;
    use crate::net::testing::{Certificates, any_port, connect, soon};
    use crate::net::{Expect, Problem, Protocol};
    use crate::types::{NodeId, Timestamp};
    use crate::wire::Frame;

    const CLUSTER: ClusterId = ClusterId::new(1);
    const LONG: std::time::Duration = std::time::Duration::from_mins(1);

    fn announcement(term: u64, node: u16) -> Announcement {
        Announcement {
            term: Term::new(term),
            node: NodeId::new(node).unwrap(),
            address: format!("127.0.0.1:710{node}"),
            time: Timestamp::new(term.saturating_mul(1000)),
        }
    }

    fn leadership(term: u64, node: u16, history: Vec<Announcement>) -> Leadership {
        Leadership { cluster: CLUSTER, current: announcement(term, node), history }
    }

    fn expect_registry() -> Expect {
        Expect { role: CertificateRole::Registry, name: None }
    }

    /// A registry on disk, and the certificates of its cluster.
    struct Running {
        certificates: Certificates,
        endpoint: Endpoint,
        server: Server,
        data: tempfile::TempDir,
    }

    fn run() -> Running {
        let certificates = Certificates::of(CLUSTER.get());
        let endpoint = certificates.server("registry", &[Protocol::Registry]);
        let data = tempfile::tempdir().unwrap();
        let server = Server::start(data.path(), endpoint.clone()).unwrap();
        Running { certificates, endpoint, server, data }
    }

    impl Running {
        async fn announce(&self, name: &str, leadership: &Leadership) -> Result<(), LookupError> {
            let node = self.certificates.client(name);
            let address = self.endpoint.local_address().into();
            let mut announcing = Announcing::new(leadership.clone());
            soon(announce(&node, &address, &mut announcing, LONG)).await
        }

        async fn leader(&self, name: &str) -> Result<Option<Announcement>, LookupError> {
            let asker = self.certificates.client(name);
            soon(leader(&asker, &self.endpoint.local_address().into(), CLUSTER, LONG)).await
        }

        async fn terms(&self) -> Vec<Announcement> {
            let asker = self.certificates.client("client");
            soon(terms(&asker, &self.endpoint.local_address().into(), CLUSTER, LONG)).await.unwrap()
        }

        async fn restarted(self) -> Self {
            self.endpoint.close();
            soon(self.server.stopped()).await.unwrap();
            let endpoint = self.certificates.server("registry", &[Protocol::Registry]);
            let server = Server::start(self.data.path(), endpoint.clone()).unwrap();
            Self { endpoint, server, ..self }
        }
    }

    #[tokio::test]
    async fn a_leader_announces_itself_and_everybody_finds_it() {
        let registry = run();
        for name in ["client", "admin", "n2", "registry"] {
            assert_eq!(registry.leader(name).await.unwrap(), None);
        }
        registry.announce("n1", &leadership(1, 1, vec![])).await.unwrap();
        registry.announce("n2", &leadership(3, 2, vec![announcement(1, 1)])).await.unwrap();
        for name in ["client", "admin", "n2", "registry"] {
            assert_eq!(registry.leader(name).await.unwrap(), Some(announcement(3, 2)));
        }
        assert_eq!(registry.terms().await, [announcement(1, 1), announcement(3, 2)]);
    }

    #[tokio::test]
    async fn refusals_reach_whoever_announces() {
        let registry = run();
        registry.announce("n2", &leadership(3, 2, vec![])).await.unwrap();
        let refused = |refusal| Err(LookupError::Refused(refusal));
        let lower = refused(Refusal::LowerTerm { highest: Term::new(3) });
        assert_eq!(registry.announce("n1", &leadership(2, 1, vec![])).await, lower);
        let second =
            refused(Refusal::TermTaken { term: Term::new(3), node: NodeId::new(2).unwrap() });
        assert_eq!(registry.announce("n1", &leadership(3, 1, vec![])).await, second);
        assert_eq!(registry.leader("client").await.unwrap(), Some(announcement(3, 2)));
    }

    #[tokio::test]
    async fn only_a_node_announces_and_only_itself() {
        let registry = run();
        let not_allowed = Err(LookupError::Refused(Refusal::NotAllowed));
        for name in ["n2", "client", "admin", "registry"] {
            assert_eq!(registry.announce(name, &leadership(1, 1, vec![])).await, not_allowed);
        }
        let of_another = Leadership { cluster: ClusterId::new(2), ..leadership(1, 1, vec![]) };
        assert_eq!(registry.announce("n1", &of_another).await, not_allowed);
        let asker = registry.certificates.client("client");
        let address = registry.endpoint.local_address().into();
        let found = soon(leader(&asker, &address, ClusterId::new(2), LONG)).await;
        assert_eq!(found, Err(LookupError::Refused(Refusal::NotAllowed)));
        assert_eq!(registry.terms().await, []);
    }

    #[tokio::test]
    async fn an_admin_has_a_made_up_term_forgotten_and_the_real_leader_is_known_again() {
        let registry = run();
        registry.announce("n1", &leadership(1, 1, vec![])).await.unwrap();
        let made_up = leadership(u64::MAX, 3, vec![]);
        let implausible = Refusal::Implausible { highest: Term::new(1) };
        let refused = registry.announce("n3", &made_up).await;
        assert_eq!(refused, Err(LookupError::Refused(implausible)));
        // One that is not out of reach gets in, and is in the way.
        registry.announce("n3", &leadership(1000, 3, vec![])).await.unwrap();
        let lower = Err(LookupError::Refused(Refusal::LowerTerm { highest: Term::new(1000) }));
        assert_eq!(registry.announce("n2", &leadership(2, 2, vec![])).await, lower);
        let address = registry.endpoint.local_address().into();
        let term = Term::new(1000);
        let ask = async |name: &str| {
            let asker = registry.certificates.client(name);
            soon(forget(&asker, &address, (CLUSTER, term, false), LONG)).await
        };
        let not_allowed = Err(LookupError::Refused(Refusal::NotAllowed));
        for name in ["client", "n1", "registry"] {
            assert_eq!(ask(name).await, not_allowed);
        }
        assert_eq!(ask("admin").await, Ok(1));
        let registry = registry.restarted().await;
        registry.announce("n2", &leadership(2, 2, vec![])).await.unwrap();
        assert_eq!(registry.leader("client").await.unwrap(), Some(announcement(2, 2)));
    }

    #[tokio::test]
    async fn a_long_history_travels_in_pages_and_survives_a_restart() {
        let registry = run();
        let last = 2 * REGISTRY_PAGE_MAX as u64 + 500;
        let history: Vec<_> = (1..last).map(|term| announcement(term, 1)).collect();
        registry.announce("n1", &leadership(7, 1, history[..6].to_vec())).await.unwrap();
        registry.announce("n2", &leadership(last, 2, history.clone())).await.unwrap();
        // A broken law is remembered, too: it is logged at each start.
        registry.announce("n1", &leadership(last, 1, vec![])).await.unwrap_err();
        let expected: Vec<_> = history.into_iter().chain([announcement(last, 2)]).collect();
        assert_eq!(registry.terms().await, expected);

        let registry = registry.restarted().await;
        assert_eq!(registry.terms().await, expected);
        assert_eq!(registry.leader("client").await.unwrap(), Some(announcement(last, 2)));
        registry.announce("n1", &leadership(last + 1, 1, vec![])).await.unwrap();
        let rows = DiskMap::open(registry.data.path());
        assert!(rows.is_err(), "the folder is locked");
    }

    #[tokio::test]
    async fn nonsense_ends_the_connection_and_nothing_else() {
        let registry = run();
        let client = registry.certificates.client("client");
        let connection =
            connect(&client, &registry.endpoint, &expect_registry(), Protocol::Registry).await;
        let mut stream = connection.open().await.unwrap();
        stream.sender.send(&Frame::new(99, &1_u8, &[])).await.unwrap();
        assert_eq!(soon(connection.closed()).await, Problem::Closed(Close::Malformed));
        assert_eq!(registry.leader("client").await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_registry_that_is_not_there_is_given_up() {
        let certificates = Certificates::of(CLUSTER.get());
        let nobody = std::net::UdpSocket::bind(any_port()).unwrap();
        let client = certificates.client("client");
        let nowhere = nobody.local_addr().unwrap().into();
        let asked = soon(leader(&client, &nowhere, CLUSTER, LONG)).await;
        assert!(matches!(asked, Err(LookupError::Connect(_))));
        // A node is no registry.
        let node = certificates.server("n1", &[Protocol::Client]);
        let asked = soon(leader(&client, &node.local_address().into(), CLUSTER, LONG)).await;
        let error = asked.unwrap_err();
        assert!(matches!(error, LookupError::Connect(_)), "{error}");
    }

    /// A disk that syncs when it is told to.
    struct Slow {
        asked: blocking::Sender<usize>,
        go: std::sync::Mutex<blocking::Receiver<Result<(), StoreError>>>,
    }

    impl Storage for Slow {
        fn put_all(&self, rows: &[(Vec<u8>, Vec<u8>)]) -> Result<(), StoreError> {
            self.asked.send(rows.len()).unwrap();
            self.go.lock().unwrap().recv().unwrap()
        }
    }

    #[tokio::test]
    async fn nothing_is_answered_or_shown_before_it_is_on_disk() {
        let certificates = Certificates::of(CLUSTER.get());
        let endpoint = certificates.server("registry", &[Protocol::Registry]);
        let (asked, was_asked) = blocking::channel();
        let (go, gone) = blocking::channel();
        let disk = Slow { asked, go: std::sync::Mutex::new(gone) };
        let server = Server::start_with(Arc::new(disk), LeaderTable::default(), endpoint.clone());
        let address = crate::address::Address::from(endpoint.local_address());
        let announcing = |term| {
            let (node, address) = (certificates.client("n1"), address.clone());
            tokio::spawn(async move {
                announce(&node, &address, &mut Announcing::new(leadership(term, 1, vec![])), LONG)
                    .await
            })
        };
        let first = announcing(1);
        let was_asked = tokio::task::spawn_blocking(move || {
            assert_eq!(was_asked.recv().unwrap(), 1);
            was_asked
        });
        let was_asked = soon(was_asked).await.unwrap();
        let client = certificates.client("client");
        assert_eq!(soon(leader(&client, &address, CLUSTER, LONG)).await, Ok(None));
        assert!(!first.is_finished());
        go.send(Ok(())).unwrap();
        soon(first).await.unwrap().unwrap();
        let known = soon(leader(&client, &address, CLUSTER, LONG)).await;
        assert_eq!(known, Ok(Some(announcement(1, 1))));

        // A disk that fails ends the registry, without an answer.
        let second = announcing(2);
        soon(tokio::task::spawn_blocking(move || was_asked.recv().unwrap())).await.unwrap();
        go.send(Err(StoreError::Failed { folder: "x".into() })).unwrap();
        assert!(matches!(soon(server.stopped()).await, Err(ServerError::Store(_))));
        assert!(matches!(soon(second).await.unwrap(), Err(LookupError::Stream(_))));
    }
}
