//! Asking a registry.

use std::collections::BTreeSet;
use std::time::Duration;

use thiserror::Error;
use tokio::time::timeout;

use crate::address::Address;
use crate::limits::{REGISTRY_PAGE_MAX, REGISTRY_TERMS_MAX};
use crate::net::{
    CertificateRole, Close, ConnectError, Connection, Endpoint, Expect, Protocol, StreamError,
};
use crate::types::{ClusterId, Term};
use crate::wire::registry::{Announcement, Answer, Question, Refusal};

/// What a leader tells a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leadership {
    /// The cluster.
    pub cluster: ClusterId,
    /// The term that it leads.
    pub current: Announcement,
    /// The terms before that, as its log has them, oldest first.
    pub history: Vec<Announcement>,
}

/// A registry gave no answer, or none that is of use.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LookupError {
    /// It could not be reached.
    #[error("the registry at {0}")]
    Connect(#[from] ConnectError),
    /// It was reached and then lost.
    #[error("the registry did not answer: {0}")]
    Stream(#[from] StreamError),
    /// It took longer than it may.
    #[error("the registry did not answer within {} ms", after.as_millis())]
    TimedOut {
        /// How long that is.
        after: Duration,
    },
    /// It refused.
    #[error("{}", sentence(.0))]
    Refused(Refusal),
    /// Its answer is not one to the question.
    #[error("the registry gave an answer to another question")]
    Confused,
}

impl LookupError {
    /// What to do about it; empty where there is nothing to say.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Connect(ConnectError::TimedOut { .. }) => {
                "start it with `annal registry start`; the cluster works without it"
            }
            Self::Connect(error) => error.hint(),
            Self::Stream(error) => error.hint(),
            Self::TimedOut { .. } => "try again in a moment",
            Self::Refused(Refusal::NotAllowed) => {
                "use the certs/ that `annal init` made for this cluster"
            }
            Self::Refused(_) | Self::Confused => "",
        }
    }
}

fn sentence(refusal: &Refusal) -> String {
    match refusal {
        Refusal::LowerTerm { highest } => {
            format!("the registry knows a leader of the higher term {highest}")
        }
        Refusal::TermTaken { term, node } => {
            format!("the registry knows {node} as the leader of term {term}")
        }
        Refusal::NotAllowed => {
            "the registry does not allow that to the holder of this certificate".to_owned()
        }
        Refusal::Implausible { highest } => {
            format!("the registry knows terms up to {highest}, and this one is far beyond that")
        }
        Refusal::Invalid => "the registry finds that the question breaks a limit".to_owned(),
    }
}

/// Who led last; `None` if the registry has not heard of a leader yet. May be dead by now.
///
/// # Errors
/// [`LookupError`], after `limit` at the latest.
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
/// [`LookupError`], after `limit` at the latest.
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

/// Tells the registry who leads, and the terms before that which it lacks. What it knows already may
/// be told again. When this returns, it is on the registry's disk.
///
/// # Errors
/// [`LookupError`], after `limit` at the latest. After [`LookupError::Refused`] trying again is of
/// use only if an admin has the registry forget what is in the way.
pub async fn announce(
    endpoint: &Endpoint,
    address: &Address,
    leadership: &Leadership,
    limit: Duration,
) -> Result<(), LookupError> {
    let Leadership { cluster, current, history } = leadership;
    let cluster = *cluster;
    let announcing = async {
        let registry = Asked::connect(endpoint, address, limit).await?;
        let known = registry.ask(&Question::Known { cluster }, limit).await?;
        let Answer::Known(known) = known else { return Err(LookupError::Confused) };
        for history in missing(history, known) {
            let question = Question::Announce { cluster, current: current.clone(), history };
            match registry.ask(&question, limit).await? {
                Answer::Announced => {}
                _ => return Err(LookupError::Confused),
            }
        }
        Ok(())
    };
    bounded(limit, announcing).await
}

/// Has the registry forget who led a term, or (the flag) that and all later ones: for terms that a
/// stolen certificate announced, in whose way every real leader is. Needs an admin's certificate. Gives
/// the number of terms forgotten; when this returns, that is on the registry's disk.
///
/// # Errors
/// [`LookupError`], after `limit` at the latest.
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

/// The terms of a history that are not known, in pieces; at least one, which may be empty.
fn missing(history: &[Announcement], known: Vec<Term>) -> Vec<Vec<Announcement>> {
    let known: BTreeSet<Term> = known.into_iter().collect();
    let missing: Vec<Announcement> =
        history.iter().filter(|earlier| !known.contains(&earlier.term)).cloned().collect();
    if missing.is_empty() {
        return vec![vec![]];
    }
    missing.chunks(REGISTRY_PAGE_MAX).map(<[Announcement]>::to_vec).collect()
}

async fn bounded<T>(
    limit: Duration,
    asking: impl Future<Output = Result<T, LookupError>>,
) -> Result<T, LookupError> {
    timeout(limit, asking).await.unwrap_or(Err(LookupError::TimedOut { after: limit }))
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
    fn only_what_is_missing_is_sent_in_pieces() {
        let history: Vec<_> = (1..=2001).map(announcement).collect();
        assert_eq!(missing(&[], vec![]), [vec![]]);
        assert_eq!(missing(&history[..2], vec![Term::new(1), Term::new(2)]), [vec![]]);
        let pieces = missing(&history, vec![Term::new(2)]);
        assert_eq!(pieces.iter().map(Vec::len).collect::<Vec<_>>(), [1000, 1000]);
        assert_eq!(pieces[0][1], announcement(3));
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
