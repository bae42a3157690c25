//! Who may do what with which log.
//!
//! - `pattern`: which logs are meant; `grants`: what may be done with them, and what else;
//! - `token_id`: what an access token is called by those who must not know it;
//! - `token`: the token: its contents, and the text with the signature;
//! - `keys`: what signs tokens, and what tells that one was signed.
//!
//! Rights only add up: nothing takes away what a grant gives. What may be done is asked of
//! [`Grants`] alone, whoever holds them.

mod grants;
#[cfg(feature = "server")]
mod keys;
mod pattern;
#[cfg(feature = "server")]
mod token;
mod token_id;

pub use grants::{Grant, Grants, Right, Rights};
#[cfg(feature = "server")]
pub use keys::{KEY_FILE, KeyError, PUBLIC_FILE, PublicKeys, SigningKey, renew};
pub use pattern::{LogPattern, LogPatternError};
#[cfg(feature = "server")]
pub use token::{AccessToken, Forged, LongToken, Stale};
pub use token_id::{TokenId, TokenIdError};
