//! Why a registry was asked in vain.

use std::time::Duration;

use thiserror::Error;

use crate::net::{ConnectError, StreamError};
use crate::wire::registry::Refusal;

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
