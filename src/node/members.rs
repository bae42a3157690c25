//! Members: who they are, for whoever asks the leader; and changes of them, for admins.

use tokio::sync::oneshot;

use super::caller::Caller;
use super::inputs::Command;
use super::shared::Service;
use crate::address::Address;
use crate::members::{MemberChange, MemberRefusal, MemberReply, MemberSettings, Members};
use crate::net::{CertificateRole, Roll, Stream};
use crate::replica::Replica;
use crate::types::{Index, NodeId};
use crate::wire::api::MembersReply;

/// What is noted of it.
const WHAT: &str = "change members";

/// Answers who the members are.
pub(super) async fn tell(service: &Service, caller: &Caller, mut stream: Stream) {
    let (reply, answer) = oneshot::channel();
    let asked = service.commands.send(Command::Members(reply)).await;
    let found = if asked.is_ok() { answer.await.ok().flatten() } else { None };
    let reply = match found {
        Some(members) => MembersReply::Members(Members { settings: service.settings, ..members }),
        None => MembersReply::NotLeader { leader: service.published.borrow().leader },
    };
    // A client that is gone misses nothing.
    let _ = caller.send(&mut stream.sender, &reply.to_frame(), || {}).await;
}

/// Changes the members, if an admin asks.
pub(super) async fn change(
    service: &Service,
    caller: &Caller,
    mut stream: Stream,
    (as_of, change): (Index, MemberChange),
) {
    let reply = if caller.role == CertificateRole::Admin {
        service.audit.did(&caller.identity, caller.address, WHAT);
        let (reply, answer) = oneshot::channel();
        let asked = service.commands.send(Command::ChangeMembers(as_of, change, reply)).await;
        let found = if asked.is_ok() { answer.await.ok() } else { None };
        // A node that is being stopped leads nobody.
        found.unwrap_or(MemberReply::Refused(MemberRefusal::NotLeader { leader: None }))
    } else {
        service.audit.refused(&caller.identity, caller.address, WHAT);
        MemberReply::Refused(MemberRefusal::NotAdmin)
    };
    // A client that is gone asks again: what it wants is so, or is begun.
    let _ = caller.send(&mut stream.sender, &reply.to_frame(), || {}).await;
}

/// The members as this node sees them, if it leads for certain. How it is set up the service knows.
pub(super) fn members(replica: &Replica, roll: &Roll) -> Option<Members> {
    let raft = replica.raft();
    let (term, log) = (raft.ready_term()?, raft.log());
    let as_of = log.configuration_index();
    let known = |node: NodeId| -> Option<Address> { roll.members.get(&node).cloned().flatten() };
    let member = |node| {
        let member = raft.member(node)?;
        Some(crate::members::Member { address: member.address.or_else(|| known(node)), ..member })
    };
    Some(Members {
        leader: raft.id(),
        term,
        as_of,
        settled: as_of <= log.commit_index() && !log.configuration().is_joint(),
        last_index: log.last().index,
        members: log.configuration().members().into_iter().filter_map(member).collect(),
        settings: MemberSettings::default(),
    })
}
