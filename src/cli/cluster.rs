//! `annal cluster …`: who the members are, and changes of them while the cluster is in use.
//!
//! A change is asked for until it is so. What was begun the leader goes on with by itself, whoever leads, so that
//! a command that was interrupted, or had no more time, can be given again: it finds how far that is.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Duration;

use indicatif::ProgressBar;
use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::args::{self, ClusterVerb};
use super::connection::{Target, target};
use super::escape::escaped;
use super::failure::{End, Failure};
use super::output::{Printer, Row, talk};
use super::progress;
use super::quote::command_line;
use super::reach::Reach;
use super::runtime;
use crate::address::Address;
use crate::client::{Client, MembersError};
use crate::config::ClusterConfig;
use crate::limits::{MEMBER_CHANGE_TIMEOUT, MEMBERS_ASKED_EVERY};
use crate::members::{Aim, Member, MemberChange, MemberRefusal, MemberReply, Members, Part};
use crate::node::join::{JoinError, Joined, Joining, note_nodes};
use crate::outcome::Outcome;
use crate::types::{Incarnation, Index, NodeId};

/// Does what is asked for.
pub(super) fn run(args: &args::Cluster, printer: &mut Printer) -> Result<(), End> {
    let target = target(&args.connection)?;
    let patience = args.connection.timeout.unwrap_or(MEMBER_CHANGE_TIMEOUT);
    runtime::wait(perform(&args.verb, Reach::new(target), patience, printer))
}

async fn perform(
    verb: &ClusterVerb,
    reach: Reach,
    patience: Duration,
    printer: &mut Printer,
) -> Result<(), End> {
    if let ClusterVerb::Members = verb {
        let members = reach.client()?.members().await.map_err(|error| failure_of(&error))?;
        return print_members(&members, printer);
    }
    let changing = Changing {
        admin: reach.admin()?,
        target: reach.target(),
        until: Instant::now() + patience,
        patience,
        telling: progress::spinner(),
    };
    let done = changing.perform(verb).await;
    changing.telling.finish_and_clear();
    let (row, members) = done?;
    printer.print_now(&row)?;
    if let Some(members) = members {
        print_members(&members, printer)?;
    }
    Ok(())
}

fn print_members(members: &Members, printer: &mut Printer) -> Result<(), End> {
    Ok(printer.print_now(&MembersRow::of(members))?)
}

/// A change on its way.
struct Changing<'a> {
    admin: Client,
    target: &'a Target,
    until: Instant,
    patience: Duration,
    telling: ProgressBar,
}

/// How far what is wanted is.
enum Standing {
    /// It is so.
    Is,
    /// It has been begun, and this is waited for.
    Waits(String),
    /// It is to be asked for.
    Ask(MemberChange),
}

impl Changing<'_> {
    async fn perform(&self, verb: &ClusterVerb) -> Result<(ChangeRow, Option<Members>), End> {
        match verb {
            ClusterVerb::Members => unreachable!("printed above"),
            ClusterVerb::Add { node, address, learner, no_wait } => {
                let aim = learner.then_some(Aim::Stay);
                self.add(*node, address, (aim, *no_wait)).await
            }
            ClusterVerb::Replace { node, with, address, no_wait } => {
                if node == with {
                    let sentence = format!("{node} cannot take its own place");
                    let hint = "choose a name that no member has, as --with n5";
                    return Err(Failure::new(Outcome::Usage, sentence, hint).into());
                }
                let done = self.add(*with, address, (Some(Aim::Replace(*node)), *no_wait)).await?;
                if !*no_wait {
                    self.forget_in_file(*node)?;
                }
                Ok(done)
            }
            ClusterVerb::Remove { node } => self.remove(*node).await,
            ClusterVerb::Transfer { to } => self.transfer(*to).await,
            ClusterVerb::Address { node, address } => self.relocate(*node, address).await,
        }
    }

    async fn add(
        &self,
        node: NodeId,
        address: &Address,
        (aim, no_wait): (Option<Aim>, bool),
    ) -> Result<(ChangeRow, Option<Members>), End> {
        let members = self.members().await?;
        check_addition(&members, node, address, aim)?;
        let joined = self.write_folder(&members, node, address)?;
        let start = self.tell_start(node, &joined);
        let change = MemberChange::Add { node, address: address.clone(), aim };
        let standing = |members: &Members| {
            let Some(member) = members.get(node) else { return Standing::Ask(change.clone()) };
            let is_done = match aim {
                None => members.is_voter(node),
                Some(Aim::Stay) => member.part == Part::Learner && member.aim == aim,
                Some(Aim::Replace(other)) => members.is_voter(node) && members.get(other).is_none(),
            };
            let is_learner = member.part == Part::Learner;
            // Whose place it was to take is gone already: then it simply becomes a voter.
            let is_vacant =
                |aim: &Aim| matches!(aim, Aim::Replace(it) if members.get(*it).is_none());
            let wanted = aim.filter(|aim| !is_vacant(aim));
            match aim {
                _ if is_done && members.settled => Standing::Is,
                // Somebody made it a voter beside the other one.
                Some(Aim::Replace(node)) if members.is_voter(node) && !is_learner => {
                    Standing::Ask(MemberChange::Remove { node })
                }
                _ if is_learner
                    && (member.aim != wanted || member.address.as_ref() != Some(address)) =>
                {
                    Standing::Ask(change.clone())
                }
                _ if no_wait && members.settled => Standing::Is,
                _ => Standing::Waits(waits_for(members, member)),
            }
        };
        let members = self.bring_about(standing, &start).await?;
        let what = match (aim, members.get(node).map(|member| member.part)) {
            (Some(Aim::Replace(other)), Some(Part::Voter)) => {
                format!("{node} has the place of {other}")
            }
            (_, Some(Part::Voter)) => format!("{node} is a voter"),
            _ => format!("{node} is a learner"),
        };
        Ok((ChangeRow::of(node, what, members.as_of), Some(members)))
    }

    /// Writes the folder of a node that joins; one that is there is left as it is.
    fn write_folder(
        &self,
        members: &Members,
        node: NodeId,
        address: &Address,
    ) -> Result<Joined, Failure> {
        let cluster = ClusterConfig::load(&self.target.certs)?;
        let known = members.members.iter();
        let peers: BTreeMap<NodeId, Address> =
            known.filter_map(|member| Some((member.node, member.address.clone()?))).collect();
        let joining = Joining {
            certs: &self.target.certs,
            cluster: &cluster,
            node,
            address,
            peers,
            settings: members.settings,
        };
        Ok(joining.write()?)
    }

    /// Says how the node is started, and returns it as a hint.
    fn tell_start(&self, node: NodeId, joined: &Joined) -> String {
        let folder = joined.folder.display().to_string();
        let start = if joined.goes_elsewhere {
            format!("copy {} to the machine of {node}, and start the unit in it", escaped(&folder))
        } else {
            format!(
                "start {node} with: {}",
                command_line(["annal", "node", "start", "--data", &folder])
            )
        };
        if !joined.was_there {
            self.telling.suspend(|| talk(&start));
        }
        start
    }

    async fn remove(&self, node: NodeId) -> Result<(ChangeRow, Option<Members>), End> {
        let standing = |members: &Members| match members.get(node) {
            None if members.settled => Standing::Is,
            None => Standing::Waits(format!("that {node} is removed")),
            Some(member) if member.part == Part::Outgoing => {
                Standing::Waits(format!("that {node} is removed"))
            }
            Some(_) => Standing::Ask(MemberChange::Remove { node }),
        };
        let members = self.bring_about(standing, "").await?;
        self.forget_in_file(node)?;
        let what = format!("{node} is no member");
        Ok((ChangeRow::of(node, what, members.as_of), Some(members)))
    }

    async fn transfer(&self, to: Option<NodeId>) -> Result<(ChangeRow, Option<Members>), End> {
        let before = self.members().await?.leader;
        let standing = |members: &Members| {
            let is_done = to.map_or(members.leader != before, |to| members.leader == to);
            if is_done { Standing::Is } else { Standing::Ask(MemberChange::Transfer { to }) }
        };
        let members = self.bring_about(standing, "").await?;
        let what = format!("{} leads in term {}", members.leader, members.term);
        Ok((ChangeRow::of(members.leader, what, members.as_of), None))
    }

    async fn relocate(
        &self,
        node: NodeId,
        address: &Address,
    ) -> Result<(ChangeRow, Option<Members>), End> {
        let standing = |members: &Members| match members.get(node) {
            Some(member) if member.address.as_ref() != Some(address) || !members.settled => {
                Standing::Ask(MemberChange::Move { node, address: address.clone() })
            }
            Some(_) => Standing::Is,
            None => Standing::Ask(MemberChange::Move { node, address: address.clone() }),
        };
        let members = self.bring_about(standing, "").await?;
        let cluster = ClusterConfig::load(&self.target.certs)?;
        if cluster.nodes.contains_key(&node) {
            let mut nodes = cluster.nodes.clone();
            nodes.insert(node, address.clone());
            note_nodes(&self.target.certs, &cluster, nodes).map_err(JoinError::from)?;
        }
        let what = format!("{node} is reached at {address}");
        Ok((ChangeRow::of(node, what, members.as_of), Some(members)))
    }

    /// Where clients begin: not at a node that was removed.
    fn forget_in_file(&self, node: NodeId) -> Result<(), End> {
        let cluster = ClusterConfig::load(&self.target.certs)?;
        let mut nodes = cluster.nodes.clone();
        nodes.remove(&node);
        note_nodes(&self.target.certs, &cluster, nodes).map_err(JoinError::from)?;
        Ok(())
    }

    async fn members(&self) -> Result<Members, Failure> {
        self.admin.members().await.map_err(|error| failure_of(&error))
    }

    /// Looks, and asks, until it is so.
    async fn bring_about(
        &self,
        standing: impl Fn(&Members) -> Standing,
        hint: &str,
    ) -> Result<Members, End> {
        loop {
            let last = match self.admin.members().await {
                Ok(members) => match standing(&members) {
                    Standing::Is => return Ok(members),
                    Standing::Waits(what) => {
                        self.telling.set_message(format!("waiting {what}"));
                        self.out_of_time(&what, hint)
                    }
                    Standing::Ask(change) => {
                        let reply = self.admin.change_members(members.as_of, change.clone()).await;
                        self.after(&change, reply, hint)?
                    }
                },
                Err(error) => failure_of(&error),
            };
            if Instant::now() >= self.until {
                return Err(last.into());
            }
            sleep(MEMBERS_ASKED_EVERY).await;
        }
    }

    /// What is wrong if nothing more comes of it, after a leader was asked.
    fn after(
        &self,
        change: &MemberChange,
        reply: Result<MemberReply, MembersError>,
        hint: &str,
    ) -> Result<Failure, End> {
        match reply {
            Ok(MemberReply::Refused(refusal)) if !refusal.is_passing() => {
                Err(refused(change, &refusal).into())
            }
            Ok(MemberReply::Refused(refusal)) => Ok(self.out_of_time(&refusal.to_string(), hint)),
            Ok(MemberReply::HandsOver { to }) => {
                let what = format!("that {to} leads");
                self.telling.set_message(format!("waiting {what}"));
                Ok(self.out_of_time(&what, hint))
            }
            Ok(MemberReply::IsSo | MemberReply::Begun { .. }) => {
                Ok(self.out_of_time("that it is committed", hint))
            }
            Err(error) => Ok(failure_of(&error)),
        }
    }

    fn out_of_time(&self, what: &str, hint: &str) -> Failure {
        let after = humantime::format_duration(self.patience);
        let sentence = format!("after {after} it is still waited {what}");
        let hint = if hint.is_empty() {
            "give the same command again: what was begun is gone on with".to_owned()
        } else {
            format!(
                "{hint}; what was begun goes on by itself, and the same command waits for it again"
            )
        };
        Failure::new(Outcome::TimedOut, sentence, hint)
    }
}

/// What a learner lacks before it votes.
fn waits_for(members: &Members, member: &Member) -> String {
    let Member { node, match_index, heard, .. } = member;
    if !heard && *match_index == Index::ZERO {
        return format!("for {node} to be started: nobody hears it");
    }
    if !heard {
        return format!("for {node}, which is not heard");
    }
    format!("for {node}, which has {match_index} of {} entries", members.last_index)
}

/// Refuses what makes no sense before anything is written.
fn check_addition(
    members: &Members,
    node: NodeId,
    address: &Address,
    aim: Option<Aim>,
) -> Result<(), Failure> {
    let failed = |sentence: String, hint: &str| Failure::new(Outcome::Failed, sentence, hint);
    if let Some(other) = members
        .members
        .iter()
        .find(|other| other.node != node && other.address.as_ref() == Some(address))
    {
        let sentence = format!("{} is at {address}", other.node);
        return Err(failed(sentence, "choose another address, or port"));
    }
    if address.port() == 0 || address.is_wildcard() {
        let sentence = format!("nobody can be reached at {address}");
        return Err(failed(sentence, "say where others reach it, as n4.example.org:7101"));
    }
    let is_member = members.get(node).is_some();
    match aim {
        Some(Aim::Replace(other)) if !is_member && !members.is_voter(other) => {
            let sentence = format!("{other} is no voter");
            Err(failed(sentence, "`annal cluster members` shows who is"))
        }
        Some(Aim::Stay) if members.is_voter(node) => {
            let sentence = format!("{node} is a voter, and does not become a learner");
            Err(failed(sentence, "remove it first, and add it again with a new folder"))
        }
        _ => match members.get(node).and_then(|member| member.address.as_ref()) {
            Some(known) if known != address && members.is_voter(node) => {
                let sentence = format!("{node} is a member already, at {known}");
                let hint = "`annal cluster address` says where a member has moved to";
                Err(failed(sentence, hint))
            }
            _ => Ok(()),
        },
    }
}

fn refused(change: &MemberChange, refusal: &MemberRefusal) -> Failure {
    let what = match change {
        MemberChange::Add { node, .. } => format!("{node} is not added"),
        MemberChange::Remove { node } => format!("{node} is not removed"),
        MemberChange::Move { node, .. } => format!("{node} is not moved"),
        MemberChange::Transfer { .. } => "nobody else leads".to_owned(),
    };
    let hint = match refusal {
        MemberRefusal::NotAdmin => "use the certificate `admin` that `annal init` made",
        MemberRefusal::NoMajority { .. } => {
            "first start those that are down, or add others: `annal cluster members` shows who is heard"
        }
        MemberRefusal::LastVoter => "add another node first",
        _ => "`annal cluster members` shows who they are",
    };
    Failure::new(Outcome::ConditionNotMet, format!("{what}: {refusal}"), hint)
}

fn failure_of(error: &MembersError) -> Failure {
    Failure::of(error.outcome(), error, error.hint())
}

impl From<JoinError> for Failure {
    fn from(error: JoinError) -> Self {
        Self::new(Outcome::Failed, &error, error.hint())
    }
}

impl From<JoinError> for End {
    fn from(error: JoinError) -> Self {
        Failure::from(error).into()
    }
}

/// What has come about.
#[derive(Serialize)]
struct ChangeRow {
    node: NodeId,
    what: String,
    /// The entry that says who the members are.
    as_of: Index,
}

impl ChangeRow {
    fn of(node: NodeId, what: String, as_of: Index) -> Self {
        Self { node, what, as_of }
    }
}

impl Row for ChangeRow {
    fn human(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{}", self.what)
    }
}

/// The members.
#[derive(Serialize)]
struct MembersRow {
    leader: NodeId,
    term: u64,
    as_of: Index,
    settled: bool,
    last_index: Index,
    members: Vec<MemberRow>,
}

/// One of them.
#[derive(Serialize)]
struct MemberRow {
    node: NodeId,
    part: Part,
    /// What it is for: to stay a learner, or to take another's place.
    #[serde(skip_serializing_if = "Option::is_none")]
    stays: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    replaces: Option<NodeId>,
    address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    store: Option<Incarnation>,
    match_index: Index,
    behind: u64,
    heard: bool,
}

impl MembersRow {
    fn of(members: &Members) -> Self {
        let row = |member: &Member| MemberRow {
            node: member.node,
            part: member.part,
            stays: (member.aim == Some(Aim::Stay)).then_some(true),
            replaces: match member.aim {
                Some(Aim::Replace(other)) => Some(other),
                _ => None,
            },
            address: member.address.as_ref().map(ToString::to_string),
            store: member.store,
            match_index: member.match_index,
            behind: members.last_index.get().saturating_sub(member.match_index.get()),
            heard: member.heard,
        };
        Self {
            leader: members.leader,
            term: members.term.get(),
            as_of: members.as_of,
            settled: members.settled,
            last_index: members.last_index,
            members: members.members.iter().map(row).collect(),
        }
    }
}

impl MemberRow {
    fn is(&self, leader: NodeId) -> String {
        match (self.part, self.stays, self.replaces) {
            (Part::Voter, ..) if self.node == leader => "leader".to_owned(),
            (Part::Voter, ..) => "voter".to_owned(),
            (Part::Outgoing, ..) => "leaving".to_owned(),
            (Part::Learner, Some(_), _) => "learner, stays".to_owned(),
            (Part::Learner, _, Some(other)) => format!("learner for {other}"),
            (Part::Learner, ..) => "learner".to_owned(),
        }
    }
}

impl Row for MembersRow {
    fn human(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{:<5} {:<16} {:>10} {:<6} ADDRESS", "NODE", "MEMBER", "BEHIND", "HEARD")?;
        for member in &self.members {
            let heard = if member.heard { "yes" } else { "no" };
            let address = member.address.as_deref().unwrap_or("unknown");
            let (node, is) = (member.node.to_string(), member.is(self.leader));
            writeln!(out, "{node:<5} {is:<16} {:>10} {heard:<6} {address}", member.behind)?;
        }
        if !self.settled {
            writeln!(out, "a change is under way")?;
        }
        Ok(())
    }
}
