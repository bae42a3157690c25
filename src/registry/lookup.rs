//! Asking a registry.

use std::time::Duration;

use tokio::time::timeout;

use super::announcing::Announcing;
use super::error::LookupError;
use crate::address::Address;
use crate::limits::REGISTRY_TERMS_MAX;
use crate::net::{CertificateRole, Close, Connection, Endpoint, Expect, Protocol, StreamError};
use crate::types::{ClusterId, Term};
use crate::wire::registry::{Announcement, Answer, Question};

/// Who led last; `None` if the registry has not heard of a leader yet. May be dead by now.
///
/// # Errors
/// [`LookupError`], after `limit` and a moment at the latest.
pub async fn leader(
    endpoint: &Endpoint,
    address: &Address,
    cluster: ClusterId,
    limit: Duration,
) -> Result<Option<Announcement>, LookupError> {
    let asking = async {
        let registry = Asked::connect(endpoint, address, limit).await?;
        match registry.ask(&Question::Leader { cluster }, limit).await? {
            Answer::Terms(mut terms) if terms.len() <= 1 => Ok(terms.pop()),
            _ => Err(LookupError::Confused),
        }
    };
    bounded(limit, asking).await
}

/// All terms that the registry knows, oldest first.
///
/// # Errors
/// [`LookupError`], after `limit` and a moment at the latest.
pub async fn terms(
    endpoint: &Endpoint,
    address: &Address,
    cluster: ClusterId,
    limit: Duration,
) -> Result<Vec<Announcement>, LookupError> {
    let asking = async {
        let registry = Asked::connect(endpoint, address, limit).await?;
        let mut found: Vec<Announcement> = Vec::new();
        let mut after = Term::ZERO;
        // New terms may come while we ask, but not for ever.
        while found.len() <= REGISTRY_TERMS_MAX {
            let page = match registry.ask(&Question::Terms { cluster, after }, limit).await? {
                Answer::Terms(page) if is_after(after, &page) => page,
                _ => return Err(LookupError::Confused),
            };
            let Some(last) = page.last() else { break };
            after = last.term;
            found.extend(page);
        }
        Ok(found)
    };
    bounded(limit, asking).await
}

/// Whether the terms of a page go up from `after`: only then does asking for the next one end.
fn is_after(after: Term, page: &[Announcement]) -> bool {
    page.iter()
        .map(|announcement| announcement.term)
        .try_fold(after, |before, term| (term > before).then_some(term))
        .is_some()
}

/// One attempt to tell the registry who leads, and the terms before that which it lacks. What it knows
/// already may be told again. When this returns, it is on the registry's disk.
///
/// # Errors
/// [`LookupError`], after `limit` and a moment at the latest. After [`LookupError::Refused`] trying again is of
/// use only if an admin has the registry forget what is in the way.
pub async fn announce(
    endpoint: &Endpoint,
    address: &Address,
    announcing: &mut Announcing,
    limit: Duration,
) -> Result<(), LookupError> {
    let attempt = async {
        let registry = Asked::connect(endpoint, address, limit).await?;
        let mut question = announcing.begin();
        loop {
            let answer = registry.ask(&question, limit).await?;
            match announcing.on_answer(answer)? {
                Some(next) => question = next,
                None => return Ok(()),
            }
        }
    };
    bounded(limit, attempt).await
}

/// Has the registry forget who led a term, or (the flag) that and all later ones: for terms that a
/// stolen certificate announced, in whose way every real leader is. Needs an admin's certificate. Gives
/// the number of terms forgotten; when this returns, that is on the registry's disk.
///
/// # Errors
/// [`LookupError`], after `limit` and a moment at the latest.
pub async fn forget(
    endpoint: &Endpoint,
    address: &Address,
    (cluster, term, and_later): (ClusterId, Term, bool),
    limit: Duration,
) -> Result<u32, LookupError> {
    let asking = async {
        let registry = Asked::connect(endpoint, address, limit).await?;
        match registry.ask(&Question::Forget { cluster, term, and_later }, limit).await? {
            Answer::Forgotten(count) => Ok(count),
            _ => Err(LookupError::Confused),
        }
    };
    bounded(limit, asking).await
}

/// Whoever waits for a connection or an answer as long as for all of it knows better what came to nothing,
/// and is let say so.
const LAST_WORD: Duration = Duration::from_millis(100);

async fn bounded<T>(
    limit: Duration,
    asking: impl Future<Output = Result<T, LookupError>>,
) -> Result<T, LookupError> {
    timeout(limit + LAST_WORD, asking).await.unwrap_or(Err(LookupError::TimedOut { after: limit }))
}

/// A connection to a registry, closed when it is dropped.
struct Asked {
    connection: Connection,
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.connection.close(Close::Done);
    }
}

impl Asked {
    async fn connect(
        endpoint: &Endpoint,
        address: &Address,
        limit: Duration,
    ) -> Result<Self, LookupError> {
        let expect = Expect { role: CertificateRole::Registry, name: None };
        let connection = endpoint.reach_within(limit, address, &expect, Protocol::Registry).await?;
        Ok(Self { connection })
    }

    /// One question, one answer; a refusal is an error.
    async fn ask(&self, question: &Question, limit: Duration) -> Result<Answer, LookupError> {
        let mut stream = self.connection.open().await?;
        stream.sender.send(&question.to_frame()).await?;
        stream.sender.finish();
        let frame = stream.receiver.answer(limit).await?;
        match Answer::from_frame(&frame).map_err(StreamError::from)? {
            Answer::Refused(refusal) => Err(LookupError::Refused(refusal)),
            answer => Ok(answer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{NodeId, Timestamp};

    fn announcement(term: u64) -> Announcement {
        Announcement {
            term: Term::new(term),
            node: NodeId::new(1).unwrap(),
            address: String::new(),
            time: Timestamp::new(0),
        }
    }

    #[test]
    fn a_page_that_does_not_go_on_is_refused() {
        let page = [announcement(3), announcement(4)];
        assert!(is_after(Term::new(2), &page));
        assert!(is_after(Term::new(2), &[]));
        assert!(!is_after(Term::new(3), &page));
        assert!(!is_after(Term::new(1), &[announcement(3), announcement(3)]));
    }
}
