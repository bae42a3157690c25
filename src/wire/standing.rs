//! What a client can ask of a log besides its records, and the answer.

use serde::{Deserialize, Serialize};

use crate::label::FenceToken;
use crate::types::Index;

/// What is asked. The answer comes as that of a read does: in a frame that ends it, without records.
///
/// Its variants are numbered by their order on the wire: a new one goes to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Inquiry {
    /// Which fence token it has.
    Fence,
}

/// How a log stands, as far as it was asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// The last entry that it reflects.
    pub as_of: Index,
    /// Its fence token.
    pub fence: Option<FenceToken>,
}
