//! What a client may do whose certificate says so: the grants of `access`, which tokens have at the door for
//! HTTP, asked of each request.
//!
//! A request names a log by its number, and grants mean names. Which name a number has is never another
//! once it is committed, so each connection remembers some.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{mpsc, oneshot};

use super::inputs::Command;
use crate::access::{Grants, Right};
use crate::command;
use crate::limits::NAMES_PER_CONNECTION_MAX;
use crate::log_name::LogName;
use crate::replica::Account;
use crate::types::LogNumber;
use crate::wire::api::{AppendRefusal, AppendRun, Read, ReadRefusal, Role};
use crate::wire::standing::Inquiry;

/// Whom to ask what a log is called.
type Commands = mpsc::Sender<Command>;

/// See the module.
#[derive(Debug)]
pub(super) struct Allowance {
    pub(super) grants: Grants,
    /// Names that were asked for.
    names: Mutex<BTreeMap<LogNumber, Arc<LogName>>>,
}

impl From<Grants> for Allowance {
    fn from(grants: Grants) -> Self {
        Self { grants, names: Mutex::default() }
    }
}

impl Allowance {
    /// Why these requests are not taken, if they are not.
    pub(super) async fn forbids_append(
        &self,
        (commands, account): (&Commands, Account),
        run: &AppendRun,
    ) -> Option<AppendRefusal> {
        match self.check_append(commands, run).await {
            Ok(true) => None,
            Ok(false) => Some(AppendRefusal::Forbidden),
            Err(refusal) => Some(of_unknown(account, &refusal)),
        }
    }

    async fn check_append(
        &self,
        commands: &Commands,
        run: &AppendRun,
    ) -> Result<bool, ReadRefusal> {
        use command::Command::{
            Append, Close, Configure, Create, Delete, Fence, Forget, Open, Revoke, Trim,
        };
        let right = match &run.command {
            None | Some(Append(_) | Fence(_) | Open(_)) => Right::Append,
            Some(Close(_) | Delete | Trim(_) | Configure(_) | Forget(_)) => Right::Manage,
            Some(Create(new)) => {
                let may_fork = match new.origin {
                    Some(origin) => self.may(commands, Right::Read, origin.source).await?,
                    None => true,
                };
                return Ok(may_fork && self.grants.allow(Right::Manage, &new.name));
            }
            // An admin has no grants.
            Some(Revoke(_)) => return Ok(false),
        };
        self.may(commands, right, run.log).await
    }

    /// Why a read is not served, if it is not.
    pub(super) async fn forbids_read(
        &self,
        commands: &Commands,
        read: &Read,
    ) -> Option<ReadRefusal> {
        match self.check_read(commands, read).await {
            Ok(true) => None,
            Ok(false) => Some(ReadRefusal::Forbidden),
            Err(refusal) => Some(refusal),
        }
    }

    async fn check_read(&self, commands: &Commands, read: &Read) -> Result<bool, ReadRefusal> {
        match &read.inquiry {
            None => self.may(commands, Right::Read, read.log).await,
            Some(Inquiry::Index(log)) => self.may(commands, Right::Read, *log).await,
            // Who appends asks as well: what fence there is, and how far a producer came.
            Some(Inquiry::Fence | Inquiry::Producer(_) | Inquiry::Producers) => {
                let name = self.name(commands, read.log).await?;
                Ok([Right::Read, Right::Append].iter().any(|it| self.grants.allow(*it, &name)))
            }
            // Whoever may do anything with a log has to learn its number.
            Some(Inquiry::Log(name)) => {
                Ok(Right::ALL.iter().any(|right| self.grants.allow(*right, name)))
            }
            Some(Inquiry::Logs { prefix, .. }) => {
                let mut readable = self.grants.readable().into_iter();
                Ok(readable.any(|pattern| pattern.means_all_with(prefix)))
            }
            Some(Inquiry::Revocations) => Ok(self.grants.observe),
        }
    }

    async fn may(
        &self,
        commands: &Commands,
        right: Right,
        log: LogNumber,
    ) -> Result<bool, ReadRefusal> {
        Ok(self.grants.allow(right, &*self.name(commands, log).await?))
    }

    /// The name of a log, as far as it is committed here.
    async fn name(&self, commands: &Commands, log: LogNumber) -> Result<Arc<LogName>, ReadRefusal> {
        if let Some(name) = self.names().get(&log) {
            return Ok(name.clone());
        }
        let (reply, answer) = oneshot::channel();
        // If there is no answer, the node is stopping.
        let _ = commands.send(Command::Name(log, reply)).await;
        let name = Arc::new(answer.await.unwrap_or(Err(ReadRefusal::Busy))?);
        let mut names = self.names();
        if names.len() >= NAMES_PER_CONNECTION_MAX {
            names.clear();
        }
        names.insert(log, name.clone());
        Ok(name)
    }

    fn names(&self) -> std::sync::MutexGuard<'_, BTreeMap<LogNumber, Arc<LogName>>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is said of an append to a log that this node does not know.
fn of_unknown(account: Account, refusal: &ReadRefusal) -> AppendRefusal {
    match refusal {
        _ if account.role != Role::Leader => AppendRefusal::NotLeader { leader: account.leader },
        ReadRefusal::Busy => AppendRefusal::Busy,
        _ => AppendRefusal::Invalid,
    }
}
