//! Tells in the log what a person who watches a node wants to know.

use std::time::Duration;

use tokio::time::Instant;

use super::company::Company;
use crate::limits;
use crate::raft::{Message, Notice};
use crate::replica::Replica;
use crate::types::{ByteCount, DiskFull, Index, NodeId};
use crate::wire::peer::PeerMessage;

/// The part of the log in which it is said who was elected: on a terminal that stands out.
pub const ELECTIONS: &str = "annal::elections";

/// How often a lonely node says that it waits.
const LONELY_INTERVAL: Duration = Duration::from_secs(2);

/// How often a node complains of the same thing.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(10);

/// See the module.
#[expect(clippy::struct_excessive_bools, reason = "each is a question of its own")]
#[derive(Debug)]
pub(super) struct Narrator {
    /// When it last said that it waits, or began to.
    lonely_since: Instant,
    /// Whether the next lonely line is the first.
    said: bool,
    /// Until it has caught up: how far the leader said that the log is committed.
    catching_up: Option<Index>,
    caught_up: bool,
    /// The core's unit of time.
    tick: Duration,
    slow_disk: Complaint,
    /// The longest write of a slow disk since that was last said.
    longest: Duration,
    company: Company,
    refused: Complaint,
    no_term: Complaint,
    /// When it last said that the log's time is ahead of the clock.
    log_ahead: Option<Instant>,
    /// Its clock is wrong, as it was last said.
    is_reluctant: bool,
    /// It has said that its disk is full.
    is_full: bool,
    is_refilling: bool,
}

/// Something that may happen thousands of times a second and is said now and then.
#[derive(Debug, Default)]
struct Complaint {
    /// When it was last said.
    said: Option<Instant>,
    /// How often it has happened since.
    count: u64,
}

impl Complaint {
    /// It happened. If it is to be said now: how often it happened since it was last said.
    fn happened(&mut self) -> Option<u64> {
        self.count = self.count.saturating_add(1);
        if self.said.is_some_and(|said| said.elapsed() < COMPLAINT_INTERVAL) {
            return None;
        }
        self.said = Some(Instant::now());
        Some(std::mem::take(&mut self.count))
    }
}

impl Narrator {
    pub(super) fn new(tick: Duration) -> Self {
        Self {
            lonely_since: Instant::now(),
            said: false,
            catching_up: None,
            caught_up: false,
            tick,
            slow_disk: Complaint::default(),
            longest: Duration::ZERO,
            company: Company::new(),
            refused: Complaint::default(),
            no_term: Complaint::default(),
            log_ahead: None,
            is_reluctant: false,
            is_full: false,
            is_refilling: false,
        }
    }

    /// Tells what happened in the core.
    pub(super) fn tell(&mut self, notice: &Notice, replica: &Replica) {
        let raft = replica.raft();
        let (node, term, last) = (raft.id(), raft.current_term(), raft.log().last());
        match notice {
            Notice::Forgot { .. } => {
                tracing::error!(%node, %term, index = %last.index, "{notice}");
            }
            Notice::Truncated { .. } => {
                tracing::warn!(%node, %term, index = %last.index, "{notice}");
            }
            Notice::BecameLeader { .. }
            | Notice::SteppedDown { .. }
            | Notice::SendsHead { .. }
            | Notice::Refilling { .. }
            | Notice::Reinstated { .. } => {
                tracing::info!(target: ELECTIONS, %node, %term, index = %last.index, "{notice}");
            }
            // A node that is alone asks again and again; a follower of nobody will soon say more.
            Notice::BecamePreCandidate { .. }
            | Notice::BecameFollower { leader: None, .. }
            | Notice::Voted { .. } => {
                tracing::debug!(%node, %term, index = %last.index, "{notice}");
            }
            Notice::BecameCandidate { .. }
            | Notice::BecameFollower { leader: Some(_), .. }
            | Notice::TransferStarted { .. } => {
                tracing::info!(%node, %term, index = %last.index, "{notice}");
            }
            Notice::Refused { from, .. } => self.tell_refused(*from, notice, replica),
            Notice::NoTermLeft => self.tell_no_term(replica),
            Notice::DiskSlow { ticks } => self.tell_slow_disk(*ticks, replica),
            Notice::DiskStuck { ticks } => {
                let waited = (self.tick * *ticks).as_millis();
                tracing::warn!(
                    %node, %term, index = %last.index,
                    "the disk has been at one write for {waited} ms and has not finished"
                );
            }
        }
    }

    /// Elections and appends wait for the disk. Who runs the node cannot see that elsewhere.
    fn tell_slow_disk(&mut self, ticks: u32, replica: &Replica) {
        self.longest = self.longest.max(self.tick * ticks);
        let Some(count) = self.slow_disk.happened() else { return };
        let longest = std::mem::take(&mut self.longest).as_millis();
        let raft = replica.raft();
        let (node, term, last) = (raft.id(), raft.current_term(), raft.log().last());
        tracing::warn!(
            %node, %term, index = %last.index,
            "the disk took {longest} ms for a write ({count} slow ones): elections and appends wait \
             for it; with such disks, set election_timeout_ms in every node.toml to more than that"
        );
    }

    /// Somebody with a node's key says what no node can say.
    fn tell_refused(&mut self, from: NodeId, notice: &Notice, replica: &Replica) {
        let Some(count) = self.refused.happened() else { return };
        let raft = replica.raft();
        let (node, term) = (raft.id(), raft.current_term());
        tracing::error!(
            %node, %term, %from,
            "{notice} ({count} such messages); if {from} is what it should be, its key may be in other \
             hands; if its own term is wrong, see `annal node set-term --help`"
        );
    }

    fn tell_no_term(&mut self, replica: &Replica) {
        if self.no_term.happened().is_some() {
            let raft = replica.raft();
            let (node, term) = (raft.id(), raft.current_term());
            tracing::error!(%node, %term, "{}; see `annal node set-term --help`", Notice::NoTermLeft);
        }
    }

    /// Notes how far the leader is, so that this node can say when it has caught up.
    pub(super) fn on_peer(&mut self, message: &PeerMessage) {
        if let Message::AppendEntries(m) = &message.message
            && !self.caught_up
            && !m.heartbeat
        {
            self.catching_up = Some(m.leader_commit.max(m.prev_log_id.index));
        }
    }

    pub(super) fn on_tick(&mut self, replica: &Replica, is_connected: impl Fn(NodeId) -> bool) {
        self.tell_caught_up(replica);
        self.tell_refilling(replica);
        self.tell_log_ahead(replica);
        self.tell_space(replica);
        self.tell_company(replica, &is_connected);
        if replica.raft().leader().is_some() {
            self.said = false;
            self.lonely_since = Instant::now();
            return;
        }
        let configuration = replica.raft().log().configuration();
        let voters = configuration.voters.len();
        let connected = configuration.voters.iter().filter(|node| is_connected(**node)).count();
        let waited = self.lonely_since.elapsed();
        let is_due =
            if self.said { waited >= LONELY_INTERVAL } else { waited >= LONELY_INTERVAL / 4 };
        if is_due && connected < voters / 2 {
            self.said = true;
            self.lonely_since = Instant::now();
            let node = replica.raft().id();
            tracing::info!(%node, "waiting for a majority ({} of {voters})", connected + 1);
        }
    }

    /// That it does not vote, and when that is over.
    fn tell_refilling(&mut self, replica: &Replica) {
        let raft = replica.raft();
        let is_refilling = raft.is_refilling();
        if is_refilling == self.is_refilling {
            return;
        }
        self.is_refilling = is_refilling;
        let (node, last) = (raft.id(), raft.log().last());
        if raft.options().joins {
            let is = if is_refilling {
                "a learner: it joins, and is filled first"
            } else {
                "a voter now"
            };
            tracing::info!(%node, index = %last.index, "{node} is {is}");
        } else if is_refilling {
            tracing::warn!(
                %node,
                "its store was lost: a new one is being filled by the others, and it does not vote meanwhile"
            );
        } else {
            tracing::info!(
                %node, index = %last.index,
                "it is filled, and a voter again: what was set aside in its folder (suspect-…) may be \
                 removed"
            );
        }
    }

    fn tell_company(&mut self, replica: &Replica, is_connected: impl Fn(NodeId) -> bool) {
        let raft = replica.raft();
        let (node, voters) = (raft.id(), &raft.log().configuration().voters);
        let others = voters.iter().copied().filter(|voter| *voter != node);
        let missing = others.filter(|other| !is_connected(*other)).collect();
        if let Some(sentence) = self.company.look(Instant::now(), voters.len(), missing) {
            tracing::info!(%node, "{sentence}");
        }
    }

    /// Whoever reads the log by time has to know that its times are wrong.
    fn tell_log_ahead(&mut self, replica: &Replica) {
        let ahead = Duration::from_millis(replica.log_ahead_ms());
        let is_due =
            self.log_ahead.is_none_or(|at| at.elapsed() >= limits::CLOCK_COMPLAINT_INTERVAL);
        if ahead > limits::CLOCK_AHEAD_MAX && is_due {
            self.log_ahead = Some(Instant::now());
            let (node, seconds) = (replica.raft().id(), ahead.as_secs());
            tracing::warn!(
                %node,
                "the time of the log is {seconds} s ahead of the clock: a leader's clock was wrong, or \
                 this one is; all records until then have the same time"
            );
        }
        let is_reluctant = replica.raft().is_reluctant();
        if is_reluctant && !self.is_reluctant {
            let node = replica.raft().id();
            tracing::warn!(
                %node,
                "this node's clock is far ahead of the others': it leads only if nobody else can"
            );
        }
        self.is_reluctant = is_reluctant;
    }

    fn tell_space(&mut self, replica: &Replica) {
        let (node, full) = (replica.raft().id(), replica.raft().disk_full());
        if full.is_some() == self.is_full {
            return;
        }
        self.is_full = full.is_some();
        let Some(DiskFull { free_bytes, needed_bytes }) = full else {
            tracing::info!(%node, "the disk has room again");
            return;
        };
        let (free, needed) = (ByteCount(free_bytes), ByteCount(needed_bytes));
        tracing::warn!(
            %node,
            "the disk is full ({free} free, {needed} needed): as leader this node takes no records \
             until there is room"
        );
    }

    fn tell_caught_up(&mut self, replica: &Replica) {
        let raft = replica.raft();
        let Some(target) = self.catching_up.filter(|_| !self.caught_up) else { return };
        if let Some(leader) = raft.leader()
            && replica.readable() >= target
        {
            self.caught_up = true;
            let (node, term, last) = (raft.id(), raft.current_term(), raft.log().last());
            tracing::info!(%node, %term, index = %last.index, "caught up with {leader} at {last}");
        }
    }
}
