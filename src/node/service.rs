//! What a node does for clients: one task a connection, one a stream.
//!
//! A client certificate can ask; it can never speak Raft, for that is another protocol with another
//! certificate. What came and is not handled is bounded by permits: a stream that is not read from
//! is a client that waits.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc};

use super::backup;
use super::caller::{self, Caller};
use super::inputs::{AppendAnswer, Command};
use super::members;
use super::onward;
use super::reading;
use super::shared::Service;
use crate::address::Address;
use crate::command::Command::Revoke;
use crate::date::wall_clock;
use crate::limits;
use crate::net::{CertificateRole, Close, Connection, FrameReceiver, FrameSender, Held, Stream};
use crate::replica::{Account, Name};
use crate::types::{NodeId, Seq, SeqRange, Term};
use crate::wire::api::{
    AppendRefusal, AppendReplies, AppendReply, AppendRun, CrashReply, Onward, Request, Role,
    Vitals, Welcome,
};

impl Service {
    /// Serves a connection until it ends.
    pub(super) async fn serve(self: Arc<Self>, connection: Connection) {
        let role = connection.identity().role;
        // A node does what clients do for those who come to its door.
        if role == CertificateRole::Registry {
            connection.close(Close::NotAllowed);
            return;
        }
        let caller = Arc::new(self.shares.open(&connection));
        while let Some(stream) = connection.accept().await {
            tokio::spawn(Arc::clone(&self).serve_stream(stream, Arc::clone(&caller)));
        }
    }

    async fn serve_stream(self: Arc<Self>, mut stream: Stream, caller: Arc<Caller>) {
        stream.receiver.set_bytes_max(limits::FIRST_FRAME_BYTES_MAX);
        let Ok(frame) = stream.receiver.answer(limits::FIRST_FRAME_TIMEOUT).await else { return };
        let Ok(request) = Request::from_frame(&frame) else {
            return stream.sender.abandon();
        };
        match request {
            Request::Hello => {
                // A client that is gone misses nothing.
                let welcome = self.welcome_of(&caller).to_frame();
                let _ = caller.send(&mut stream.sender, &welcome, || {}).await;
            }
            Request::Appends => self.serve_request(stream, &caller, Onward::Appends).await,
            Request::Read(read) => self.serve_request(stream, &caller, Onward::Read(read)).await,
            Request::Onward(onward) => {
                if let Some(stream) = onward::hand_on(&self, stream, &caller, &onward).await {
                    self.serve_request(stream, &caller, onward).await;
                }
            }
            // A client speaks for itself, and mends nothing.
            Request::OnBehalf(_) | Request::Segment(_) | Request::Soundness => {
                stream.sender.abandon();
            }
            Request::CrashLeader { term } => self.crash(stream, &caller, term).await,
            Request::Backup(wanted) => backup::serve(&self, &caller, stream, wanted).await,
            Request::Members => members::tell(&self, &caller, stream).await,
            Request::ChangeMembers { as_of, change } => {
                members::change(&self, &caller, stream, (as_of, change)).await;
            }
        }
    }

    /// Serves here what may also be handed on.
    pub(super) async fn serve_request(
        &self,
        stream: Stream,
        caller: &Arc<Caller>,
        request: Onward,
    ) {
        match request {
            Onward::Appends => self.serve_appends(stream, caller).await,
            Onward::Read(read) => reading::serve(self, caller, stream, read).await,
        }
    }

    /// Its nodes and their leader everybody has to know who asks them for anything; how they are, not.
    fn welcome_of(&self, caller: &Caller) -> Welcome {
        let may_observe =
            caller.allowance.as_ref().is_none_or(|allowance| allowance.grants.observe);
        let welcome = self.welcome();
        if may_observe { welcome } else { Welcome { vitals: Vitals::default(), ..welcome } }
    }

    pub(super) fn welcome(&self) -> Welcome {
        let Self { cluster, node, incarnation, .. } = *self;
        let name = Name { cluster, node, incarnation };
        let damaged = self.reader.damaged().into_iter().take(limits::DAMAGED_TOLD_MAX);
        let damaged = damaged.map(|it| (it.first, it.last)).collect();
        let scrubbed = self.reader.scrubbed();
        let certificate_expires = Some(self.credentials.expires());
        let members = self.roll.borrow().addresses();
        let (now, is_member) = (wall_clock(), |node| members.contains_key(&node));
        let vitals = self.pulse.vitals(is_member);
        let vitals = Vitals { scrubbed, damaged, certificate_expires, ..vitals };
        self.published.borrow().welcome(name, now, self.addresses(&members), vitals)
    }

    /// Where the members are: as the log and the files say, and behind that where this node is connected with
    /// them, if that is somewhere else.
    fn addresses(&self, members: &BTreeMap<NodeId, Address>) -> Vec<(NodeId, String)> {
        let seen = members.keys().filter_map(|node| Some((*node, self.peers.address(*node)?)));
        let is_news = |(node, at): &(NodeId, SocketAddr)| match members.get(node) {
            Some(Address::Ip(known)) => known != at,
            _ => false,
        };
        let as_text = |(node, at): (NodeId, SocketAddr)| (node, at.to_string());
        let known = members.iter().map(|(node, address)| (*node, address.to_string()));
        known.chain(seen.filter(is_news).map(as_text)).collect()
    }

    /// Two halves of one stream: requests go to the driver as they come, answers back as they come.
    async fn serve_appends(&self, stream: Stream, caller: &Arc<Caller>) {
        let Stream { mut sender, mut receiver } = stream;
        let Ok(_place) = caller.append_streams.try_acquire() else {
            receiver.stop();
            return sender.abandon();
        };
        receiver.set_bytes_max(limits::FRAME_BYTES_MAX);
        // Bounded all the same: each request has a permit of `under_way`.
        let (reply, replies) = mpsc::unbounded_channel();
        let under_way = Arc::new(Semaphore::new(limits::CLIENT_IN_FLIGHT_MAX));
        let answering = send_replies(sender, replies, Arc::clone(&under_way), Arc::clone(caller));
        let writing = tokio::spawn(answering);
        self.receive_appends(receiver, caller, &reply, &under_way).await;
        // The answers that are owed still go out: their senders are with the driver.
        drop(reply);
        let _ = writing.await;
    }

    async fn receive_appends(
        &self,
        mut receiver: FrameReceiver,
        caller: &Caller,
        reply: &mpsc::UnboundedSender<AppendAnswer>,
        under_way: &Semaphore,
    ) {
        while let Ok(Some(frame)) = receiver.next().await {
            let Some((run, records, held)) = caller.take_run(&frame).await else {
                return receiver.stop();
            };
            if !caller.may_ask(under_way, places(run.seqs)).await {
                return receiver.stop();
            }
            if matches!(run.command, Some(Revoke(_))) && !self.may_revoke(caller) {
                refuse(reply, &run, held, AppendRefusal::NotAdmin);
                continue;
            }
            if let Some(allowance) = &caller.allowance
                && let Some(refusal) = allowance.forbids_append(self.asking(), &run).await
            {
                refuse(reply, &run, held, refusal);
                continue;
            }
            let is_new = run.seqs.first == Seq::FIRST;
            let may_begin = !is_new || self.new_sessions.allow(&caller.identity);
            let held = match held {
                Some(held) if may_begin => held,
                held => {
                    refuse(reply, &run, held, AppendRefusal::Busy);
                    continue;
                }
            };
            let command = Command::Append { run, records, reply: reply.clone(), held };
            if self.commands.send(command).await.is_err() {
                return; // The node is stopping.
            }
        }
    }

    /// Whom to ask about logs, and how this node stands.
    fn asking(&self) -> (&mpsc::Sender<Command>, Account) {
        (&self.commands, *self.published.borrow())
    }

    /// Whether somebody may take away access tokens.
    fn may_revoke(&self, caller: &Caller) -> bool {
        let (who, what) = (&caller.identity, "revoke a token or a certificate");
        let may = caller.role == CertificateRole::Admin;
        if may {
            self.audit.did(who, caller.address, what);
        } else {
            self.audit.refused(who, caller.address, what);
        }
        may
    }

    /// Crashes as the leader of `term`, if that is what this node is: no flush, no goodbye.
    async fn crash(&self, mut stream: Stream, caller: &Caller, term: Term) {
        let published = *self.published.borrow();
        let leads = published.role == Role::Leader && published.term == term;
        // A node asks for those who come to its door, which asks whether they may.
        let may_ask = matches!(caller.role, CertificateRole::Admin | CertificateRole::Node);
        let reply = if !may_ask {
            CrashReply::NotAdmin
        } else if !self.fault_injection {
            CrashReply::NotAllowed
        } else if !leads {
            CrashReply::NotLeader { term: published.term, leader: published.leader }
        } else {
            CrashReply::Crashing { node: self.node, term, incarnation: self.incarnation }
        };
        let crashing = matches!(reply, CrashReply::Crashing { .. });
        let (who, what) = (&caller.identity, "crash the leader");
        if crashing {
            self.audit.did(who, caller.address, what);
        } else {
            self.audit.refused(who, caller.address, what);
        }
        let sent = stream.sender.send(&reply.to_frame()).await;
        if crashing {
            tracing::error!(node = %self.node, %term, "crashing as asked");
            // Whether or not its last words arrive, it was asked to crash.
            let _ = stream.sender.finished(limits::LAST_WORDS_TIMEOUT).await;
            std::process::abort();
        }
        if let Err(error) = sent {
            tracing::debug!(%error, "a refusal to crash was not heard");
        }
    }
}

/// Refuses what never gets to the driver.
fn refuse(
    reply: &mpsc::UnboundedSender<AppendAnswer>,
    run: &AppendRun,
    mut held: Option<Held>,
    refusal: AppendRefusal,
) {
    let AppendRun { client, seqs, .. } = *run;
    if let Some(held) = &mut held {
        held.shrink_to(caller::answers_bytes(run));
    }
    let refused = AppendReply { client, seqs, result: Err(refusal) };
    // A client that is gone asks again elsewhere.
    let _ = reply.send(AppendAnswer { reply: refused, held });
}

/// Places that requests take among those that are not answered: one each, and no more than there are
/// if these are no run.
fn places(seqs: SeqRange) -> u32 {
    let most = u32::try_from(limits::CLIENT_IN_FLIGHT_MAX).expect("a bound of thousands");
    seqs.count.clamp(1, most)
}

async fn send_replies(
    mut sender: FrameSender,
    mut answers: mpsc::UnboundedReceiver<AppendAnswer>,
    under_way: Arc<Semaphore>,
    caller: Arc<Caller>,
) {
    let mut batch = Vec::new();
    while answers.recv_many(&mut batch, limits::APPEND_REPLIES_MAX).await > 0 {
        let answered = batch.iter().map(|answer| places(answer.reply.seqs) as usize).sum();
        under_way.add_permits(answered);
        let (replies, held): (Vec<AppendReply>, Vec<Option<Held>>) =
            batch.drain(..).map(|AppendAnswer { reply, held }| (reply, held)).unzip();
        let frame = AppendReplies { replies }.to_frame();
        if caller.send(&mut sender, &frame, || {}).await.is_err() {
            break; // The client is gone, or takes nothing; it asks again elsewhere.
        }
        drop(held);
    }
    // Whoever waits for a place on a stream that gives no more answers waits in vain.
    under_way.close();
    sender.finish();
}
