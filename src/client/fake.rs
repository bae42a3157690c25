//! A cluster of three that has no Raft: nodes on real sockets around one log that everybody
//! believes. Tests say who leads, who is silent, and what the leader does with what it takes.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::sleep;

use super::connections::lock;
use super::{Client, Settings};
use crate::address::Address;
use crate::net::testing::relay::Relay;
use crate::net::testing::{Certificates, any_port};
use crate::net::{Close, Connection, Credentials, Endpoint, Protocol, Stream, StreamError};
use crate::types::{
    ClientId, ClusterId, Incarnation, Index, LogId, LogNumber, NodeId, Offset, Seq, SeqRange, Term,
    Timestamp,
};
use crate::wire::api::{
    AppendRefusal, AppendReplies, AppendReply, AppendRun, Appended, CrashReply, EntrySpan, Onward,
    Read, ReadFrom, ReadRefusal, Records, Request, Role, Vitals, Welcome,
};
use crate::wire::conditions::{Obstacle, Unmet};

pub(super) const CLUSTER: ClusterId = ClusterId::new(1);

pub(super) fn n(number: u16) -> NodeId {
    NodeId::new(number).unwrap()
}

/// One request in the log.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub(super) client: ClientId,
    pub(super) seq: Seq,
    pub(super) first_offset: Offset,
    pub(super) records: Vec<Bytes>,
}

#[derive(Debug, Default)]
pub(super) struct World {
    pub(super) term: u64,
    pub(super) leader: Option<NodeId>,
    /// Whom the others name as the leader, if it is not the leader.
    pub(super) rumour: Option<NodeId>,
    pub(super) log: Vec<Slot>,
    /// Requests that are committed at most: the leader takes more and keeps silent about them.
    pub(super) commits_max: usize,
    /// Answers nothing, as a killed process.
    pub(super) silent: BTreeSet<NodeId>,
    /// The nodes take no more connections.
    pub(super) crowded: bool,
    /// The leader says that it leads and refuses appends all the same.
    pub(super) refuses: bool,
    /// Appends that the leader refuses as Busy.
    pub(super) busy: u32,
    /// Clients that began before this, and not in the log, are unknown for ever.
    pub(super) floor: u64,
    /// Every append that any node was handed.
    pub(super) handed: Vec<(NodeId, ClientId, Seq)>,
    /// Who takes over after a crash.
    pub(super) heir: Option<NodeId>,
    addresses: Vec<(NodeId, Address)>,
}

pub(super) struct Fake {
    pub(super) certificates: Certificates,
    pub(super) world: Arc<Mutex<World>>,
    endpoints: Vec<Endpoint>,
    /// What lies between the clients and each node, if anything does.
    pub(super) relays: Vec<Relay>,
}

impl Fake {
    /// Three nodes, of which n1 leads term 1.
    pub(super) fn start() -> Self {
        Self::build(None)
    }

    /// The same, each behind a network in which every datagram takes that long.
    pub(super) fn behind(delay: Duration) -> Self {
        Self::build(Some(delay))
    }

    fn build(delay: Option<Duration>) -> Self {
        let certificates = Certificates::of(CLUSTER.get());
        let world = World { term: 1, leader: Some(n(1)), ..World::default() };
        let world = Arc::new(Mutex::new(World { commits_max: usize::MAX, ..world }));
        let (mut endpoints, mut relays) = (vec![], vec![]);
        for number in 1..=3 {
            let endpoint = certificates.server(&format!("n{number}"), &[Protocol::Client]);
            let mut address = endpoint.local_address();
            if let Some(delay) = delay {
                let relay = Relay::new(address, delay);
                address = relay.address();
                relays.push(relay);
            }
            lock(&world).addresses.push((n(number), address.into()));
            tokio::spawn(serve(n(number), endpoint.clone(), world.clone()));
            endpoints.push(endpoint);
        }
        Self { certificates, world, endpoints, relays }
    }

    pub(super) fn nodes(&self) -> Vec<(NodeId, Address)> {
        lock(&self.world).addresses.clone()
    }

    pub(super) fn settings(&self) -> Settings {
        Settings {
            certs: PathBuf::from(self.certificates.folder.path()),
            name: "client".to_owned(),
            cluster: Some(CLUSTER),
            nodes: self.nodes(),
            registry: None,
            timeout: Duration::from_secs(20),
        }
    }

    pub(super) fn client(&self) -> Client {
        Client::connect(self.settings()).unwrap()
    }

    pub(super) fn client_for(&self, timeout: Duration) -> Client {
        Client::connect(Settings { timeout, ..self.settings() }).unwrap()
    }

    pub(super) fn change<T>(&self, change: impl FnOnce(&mut World) -> T) -> T {
        change(&mut lock(&self.world))
    }

    pub(super) fn elect(&self, node: u16) {
        self.change(|world| world.elect(n(node)));
    }

    /// Stops a node: its socket is closed, and the others are told.
    pub(super) fn stop(&self, node: u16) {
        self.endpoints[usize::from(node) - 1].close();
    }

    /// The log's records, in order.
    pub(super) fn texts(&self) -> Vec<String> {
        let texts = |slot: &Slot| slot.records.iter().map(text).collect::<Vec<_>>();
        self.change(|world| world.log.iter().flat_map(texts).collect())
    }
}

/// A socket that nothing answers on.
pub(super) fn dead_address() -> (std::net::UdpSocket, Address) {
    let socket = std::net::UdpSocket::bind(any_port()).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address.into())
}

pub(super) fn text(record: &Bytes) -> String {
    String::from_utf8(record.to_vec()).unwrap()
}

impl World {
    fn elect(&mut self, node: NodeId) {
        self.term += 1;
        self.leader = Some(node);
    }

    pub(super) fn records(&self) -> Vec<Bytes> {
        let committed = self.log.iter().take(self.commits_max);
        committed.flat_map(|slot| slot.records.clone()).collect()
    }

    fn committed(&self) -> usize {
        self.log.len().min(self.commits_max)
    }

    fn welcome(&self, node: NodeId) -> Welcome {
        let leads = self.leader == Some(node);
        Welcome {
            cluster: CLUSTER,
            node,
            incarnation: incarnation(node),
            role: if leads { Role::Leader } else { Role::Follower },
            term: Term::new(self.term),
            leader: self.leader.or(self.rumour),
            ready: leads,
            last_index: Index::new(self.log.len() as u64),
            commit_index: Index::new(self.committed() as u64),
            next_offset: Offset::new(self.records().len() as u64),
            disk_full: None,
            log_ahead_ms: 0,
            nodes: self.addresses.iter().map(|(node, at)| (*node, at.to_string())).collect(),
            vitals: Vitals::default(),
        }
    }

    /// Takes a request, or refuses it. Gives its place in the log.
    fn append(
        &mut self,
        node: NodeId,
        header: &AppendRun,
        seq: Seq,
        records: Vec<Bytes>,
    ) -> Result<usize, AppendRefusal> {
        self.handed.push((node, header.client, seq));
        if self.leader != Some(node) || self.refuses {
            return Err(AppendRefusal::NotLeader { leader: self.leader });
        }
        if self.busy > 0 {
            self.busy -= 1;
            return Err(AppendRefusal::Busy);
        }
        let of_client = self.log.iter().filter(|slot| slot.client == header.client);
        let last = of_client.map(|slot| slot.seq.get()).max().unwrap_or(0);
        if last == 0 && header.began_at.get() < self.floor {
            return Err(AppendRefusal::Expired);
        }
        if seq.get() > last + 1 {
            return Err(AppendRefusal::Gap { expected: Seq::new(last + 1) });
        }
        let known = |slot: &Slot| slot.client == header.client && slot.seq == seq;
        if let Some(place) = self.log.iter().position(known) {
            return Ok(place);
        }
        let count: usize = self.log.iter().map(|slot| slot.records.len()).sum();
        let client = header.client;
        let first_offset = Offset::new(count as u64);
        let as_of = LogId::new(Index::new(self.log.len() as u64), Term::new(self.term));
        let unmet = |obstacle| Err(AppendRefusal::Unmet(Unmet { as_of, obstacle }));
        if header.log != LogNumber::MAIN {
            return unmet(Obstacle::Closed);
        }
        if header.conditions.expect_offset.is_some_and(|expected| expected != first_offset) {
            return unmet(Obstacle::Offset { next: first_offset });
        }
        self.log.push(Slot { client, seq, first_offset, records });
        Ok(self.log.len() - 1)
    }

    fn appended(&self, place: usize, by: NodeId) -> Appended {
        Appended {
            offset: self.log[place].first_offset,
            count: u32::try_from(self.log[place].records.len()).unwrap(),
            term: Term::new(self.term),
            index: Index::new(place as u64 + 1),
            leader: by,
        }
    }
}

pub(super) fn incarnation(node: NodeId) -> Incarnation {
    Incarnation::new(u64::from(node.get()) * 100)
}

async fn serve(node: NodeId, endpoint: Endpoint, world: Arc<Mutex<World>>) {
    while let Some(connection) = endpoint.accept().await {
        if lock(&world).crowded {
            connection.close(Close::Busy);
            continue;
        }
        tokio::spawn(serve_connection(node, connection, world.clone()));
    }
}

async fn serve_connection(node: NodeId, connection: Connection, world: Arc<Mutex<World>>) {
    while let Some(stream) = connection.accept().await {
        let is_admin = connection.identity().name == "admin";
        let served = Served { node, is_admin, world: world.clone(), stream };
        tokio::spawn(async move { drop(served.run().await) });
    }
}

struct Served {
    node: NodeId,
    is_admin: bool,
    world: Arc<Mutex<World>>,
    stream: Stream,
}

impl Served {
    /// A killed process does not even close its streams.
    async fn alive(&self) {
        while lock(&self.world).silent.contains(&self.node) {
            sleep(Duration::from_millis(2)).await;
        }
    }

    async fn run(mut self) -> Result<(), StreamError> {
        let frame = self.stream.receiver.next().await?.ok_or(StreamError::Ended)?;
        self.alive().await;
        match Request::from_frame(&frame)? {
            Request::Hello => {
                let welcome = lock(&self.world).welcome(self.node);
                self.stream.sender.send(&welcome.to_frame()).await
            }
            Request::Appends => self.appends().await,
            Request::Read(read) => self.read(read).await,
            Request::Onward(onward) => {
                self.node = lock(&self.world).leader.unwrap_or(self.node);
                match onward {
                    Onward::Appends => self.appends().await,
                    Onward::Read(read) => self.read(read).await,
                }
            }
            Request::CrashLeader { term } => self.crash(term).await,
            Request::OnBehalf(_)
            | Request::Backup(_)
            | Request::Segment(_)
            | Request::Soundness
            | Request::Members
            | Request::ChangeMembers { .. } => Err(StreamError::Abandoned),
        }
    }

    async fn appends(mut self) -> Result<(), StreamError> {
        let mut held = vec![];
        loop {
            let mut replies = vec![];
            let wait = Duration::from_millis(2);
            if let Ok(next) = tokio::time::timeout(wait, self.stream.receiver.next()).await {
                let frame = next?.ok_or(StreamError::Ended)?;
                let (header, mut bytes) = AppendRun::from_frame(&frame)?;
                let client = header.client;
                let each = header.lengths.chunks(header.each() as usize);
                for (seq, lengths) in header.seqs.iter().zip(each) {
                    let records = lengths.iter().map(|length| bytes.split_to(*length as usize));
                    let records = records.collect();
                    // NB: a silent leader still takes what it was given before it fell silent.
                    let taken = lock(&self.world).append(self.node, &header, seq, records);
                    match taken {
                        Ok(place) => held.push((client, seq, place)),
                        Err(refusal) => replies.push(reply(client, seq, Err(refusal))),
                    }
                }
            }
            self.alive().await;
            {
                let world = lock(&self.world);
                let leads = world.leader == Some(self.node);
                for (client, seq, place) in
                    held.extract_if(.., |held| !leads || held.2 < world.committed())
                {
                    let result = if leads {
                        Ok(world.appended(place, self.node))
                    } else {
                        Err(AppendRefusal::Unknown)
                    };
                    replies.push(reply(client, seq, result));
                }
            }
            if !replies.is_empty() {
                self.stream.sender.send(&AppendReplies { replies }.to_frame()).await?;
            }
        }
    }

    async fn read(mut self, read: Read) -> Result<(), StreamError> {
        let mut sent = 0;
        let mut next = None;
        loop {
            self.alive().await;
            let (leader, records) = {
                let world = lock(&self.world);
                (world.leader, world.records())
            };
            if read.linearizable && leader != Some(self.node) {
                let refusal = ReadRefusal::NotLeader { leader };
                return self.stream.sender.send(&Records::refused(refusal).to_frame(&[])).await;
            }
            let end = records.len() as u64;
            let at = next.unwrap_or(match read.from {
                ReadFrom::Offset(offset) => offset.get(),
                ReadFrom::Start => 0,
                ReadFrom::Last(count) => end.saturating_sub(count),
            });
            let wanted = read.limit.map_or(u64::MAX, |limit| limit - sent);
            // Two at a time, so that there is something to put together.
            let count = wanted.min(end.saturating_sub(at)).min(2);
            let batch: Vec<Bytes> = records
                .into_iter()
                .skip(usize::try_from(at).unwrap())
                .take(usize::try_from(count).unwrap())
                .collect();
            let is_end = count == 0 || count == wanted;
            if count > 0 || next.is_none() || (is_end && !read.follow) {
                let header = Records {
                    standing: None,
                    first_offset: Offset::new(at),
                    spans: batch.iter().map(|_| span()).collect(),
                    lengths: AppendRun::lengths_of(&batch),
                    end: is_end && !read.follow,
                    refusal: None,
                };
                self.stream.sender.send(&header.to_frame(&batch)).await?;
            }
            (sent, next) = (sent + count, Some(at + count));
            if is_end && !read.follow {
                return Ok(());
            }
            if count == 0 {
                sleep(Duration::from_millis(2)).await;
            }
        }
    }

    async fn crash(mut self, term: Term) -> Result<(), StreamError> {
        let reply = {
            let world = lock(&self.world);
            let leads = world.leader == Some(self.node) && Term::new(world.term) == term;
            if !self.is_admin {
                CrashReply::NotAdmin
            } else if leads {
                CrashReply::Crashing { node: self.node, term, incarnation: incarnation(self.node) }
            } else {
                CrashReply::NotLeader { term: Term::new(world.term), leader: world.leader }
            }
        };
        self.stream.sender.send(&reply.to_frame()).await?;
        if let CrashReply::Crashing { .. } = reply {
            {
                let mut world = lock(&self.world);
                world.silent.insert(self.node);
                world.rumour = world.leader.take();
            }
            sleep(Duration::from_millis(60)).await;
            let mut world = lock(&self.world);
            if let Some(heir) = world.heir {
                world.elect(heir);
            }
        }
        Ok(())
    }
}

fn reply(client: ClientId, seq: Seq, result: Result<Appended, AppendRefusal>) -> AppendReply {
    AppendReply { client, seqs: SeqRange::one(seq), result }
}

fn span() -> EntrySpan {
    EntrySpan { count: 1, term: Term::new(1), index: Index::new(1), time: Timestamp::new(5) }
}

/// The credentials of a client of another cluster with the same name.
pub(super) fn strangers() -> Certificates {
    let certificates = Certificates::of(2);
    let _: Credentials = certificates.of_holder("client");
    certificates
}
