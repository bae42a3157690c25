//! A node that lost its store, or a part of it, begins anew: what is there is set aside, and the others fill
//! a new store.
//!
//! By itself it does so only where that can come to something, and cannot be the beginning of a
//! series: with two others at least, not again and again, and not before the others can do without it
//! ([`super::waiting`]).

use std::fs;
use std::path::Path;

use super::driver;
use super::process::RunError;
use super::refused;
use crate::config::{NodeConfig, Recover};
use crate::limits::{NODES_TO_REFILL_MIN, SET_ASIDE_MAX};
use crate::outcome::Outcome;
use crate::raft::{Configuration, Loss};
use crate::store::{self, Identity, StoreError};
use crate::types::Incarnation;

/// Why a node does not begin anew.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AnewError {
    /// The others could not make it a voter again.
    #[error(
        "of {nodes} nodes none can be filled by the others: a majority of them has to vote for it"
    )]
    TooFew {
        /// How many there are.
        nodes: usize,
    },
    /// It was done too often.
    #[error("{count} stores were set aside in this folder before")]
    TooOften {
        /// How many.
        count: usize,
    },
    /// The disk refuses.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl AnewError {
    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::TooFew { .. } => "put back the newest copy of the folder that there is".to_owned(),
            Self::TooOften { .. } => {
                "look at its disk; once it is sound, remove what is called suspect-… in the folder if the \
                 node has been a voter since, and start it again"
                    .to_owned()
            }
            Self::Store(error) => error.hint(),
        }
    }

    /// What a command that ends with it came to.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::TooFew { .. } | Self::TooOften { .. } => Outcome::Damage,
            Self::Store(_) => Outcome::Failed,
        }
    }
}

/// Whether a node that ended so has lost its store, and begins anew by itself. A copy that runs beside the
/// original never does.
pub fn is_wanted(config: &NodeConfig, error: &RunError) -> bool {
    let is_lost = match error {
        RunError::Store(error) => error.is_damage(),
        RunError::Expelled { loss, .. } => !matches!(loss, Loss::Twin | Loss::Removed { .. }),
        RunError::RefusedBefore { .. } => true,
        _ => false,
    };
    is_lost && config.recover == Recover::Auto
}

/// Finds out whether it can come to something, whatever the others are.
///
/// # Errors
/// [`AnewError`].
pub fn check(data: &Path, config: &NodeConfig) -> Result<(), AnewError> {
    let nodes = config.members().len();
    if nodes < NODES_TO_REFILL_MIN {
        return Err(AnewError::TooFew { nodes });
    }
    if !store::began_anew(data)? {
        let count = store::set_aside(data)?.len();
        if count >= SET_ASIDE_MAX {
            return Err(AnewError::TooOften { count });
        }
    }
    Ok(())
}

/// Sets aside what is in the folder and makes a new store. Returns how the names of what was set aside
/// begin. Nobody else may have the folder, and the others are asked nothing: that is for whoever calls this.
///
/// # Errors
/// [`AnewError`]. What was begun is gone on with by the next start.
pub fn begin(data: &Path, config: &NodeConfig) -> Result<String, AnewError> {
    let lock = store::lock(data)?;
    check(data, config)?;
    let identity = Identity { cluster: config.cluster, node: config.node };
    let configuration = Configuration::of(config.founders());
    let start = Incarnation::new(driver::random());
    let options = store::Options { start, ..Default::default() };
    let number = store::begin_anew(data, identity, &configuration, &options, &lock)?;
    refused::remove(data);
    Ok(format!("suspect-{number}-"))
}

/// Whether the folder was being emptied when the process ended: that has to be gone on with.
///
/// # Errors
/// That cannot be told.
pub fn was_begun(data: &Path) -> Result<bool, StoreError> {
    if !fs::exists(data).unwrap_or(true) {
        return Ok(false);
    }
    store::began_anew(data)
}
