//! Who may come in, at a door that asks who somebody is.
//!
//! One place asks, before anything else is done for a request: what is wanted is written beside the table
//! of what there is ([`Need`]), and nothing behind the gate looks at tokens, the list of logs excepted,
//! which shows what may be read. What goes on to other nodes goes as this node's own request: so it has to
//! be refused here, or nowhere.
//!
//! A text that is no token of this cluster is answered in one way, whatever is wrong with it. Once signed, a
//! token is told what is the matter. The text is looked for in the header alone: addresses are written down
//! on the way.

use std::fmt::Display;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::StatusCode;
use hyper::header::{AUTHORIZATION, CONNECTION, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use hyper::http::request::Parts;
use thiserror::Error;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::answer::{Answer, complaint, not_now};
use super::chronicle;
use crate::access::{AccessToken, Forged, Grants, PublicKeys, Right, TokenId};
use crate::limits::TOKEN_KEYS_LOOK;
use crate::log_name::LogName;
use crate::types::{ClusterId, Timestamp};

/// What a request needs.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Need<'a> {
    /// Nothing: it says nothing that is worth keeping.
    Nothing,
    /// A token that holds, whatever it allows.
    Token,
    /// A token that allows all of this: each with a log, as the request names it.
    Logs(Vec<(Right, &'a str)>),
    /// A token with which one may see how the cluster is.
    Observe,
    /// No token is enough.
    Never,
}

/// Whose request it is.
#[derive(Clone, Debug)]
pub(super) enum Visitor {
    /// Nobody was asked.
    Anybody,
    /// Of somebody with this token.
    Holder(Arc<AccessToken>),
}

/// A connection, and who is known to be on it.
#[derive(Debug, Default)]
pub(super) struct Guest(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// Its place among those that have not shown a token.
    stranger: Option<OwnedSemaphorePermit>,
    /// The last token that it showed, by the hash of its text, and by which keys that was good.
    token: Option<(blake3::Hash, Arc<PublicKeys>, Arc<AccessToken>)>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Gate {
    cluster: ClusterId,
    certs: PathBuf,
    /// How often it looks for other keys.
    pub(super) look_every: Duration,
    keys: Mutex<Keys>,
}

/// The keys whose tokens are good, as the file had them.
#[derive(Debug, Default)]
struct Keys {
    looked: Option<Instant>,
    found: Option<Arc<PublicKeys>>,
}

impl Visitor {
    /// What may be done; `None`: everything.
    pub(super) fn grants(&self) -> Option<&Grants> {
        match self {
            Self::Anybody => None,
            Self::Holder(token) => Some(&token.grants),
        }
    }
}

impl Guest {
    /// One of those that have not shown a token.
    pub(super) fn stranger(place: OwnedSemaphorePermit) -> Self {
        Self(Mutex::new(Known { stranger: Some(place), token: None }))
    }

    /// Whether it has not shown a token yet, and ought to.
    pub(super) fn is_stranger(&self) -> bool {
        lock(&self.0).stranger.is_some()
    }
}

impl Gate {
    /// A gate for tokens of this cluster, whose keys are in `certs`.
    pub(super) fn new(cluster: ClusterId, certs: PathBuf) -> Self {
        Self { cluster, certs, look_every: TOKEN_KEYS_LOOK, keys: Mutex::default() }
    }

    /// Lets a request in, or says why not.
    pub(super) fn admit(
        &self,
        parts: &Parts,
        need: &Need<'_>,
        guest: &Guest,
        is_revoked: impl FnOnce(TokenId) -> bool,
    ) -> Result<Visitor, Box<Answer>> {
        if *need == Need::Nothing {
            return Ok(Visitor::Anybody);
        }
        let now = Timestamp::new(chronicle::now());
        let text = bearer(&parts.headers).ok_or_else(|| Box::new(nobody()))?;
        let Some(keys) = self.keys() else {
            let sentence = "this node has no keys to know tokens by";
            return Err(not_now(sentence, "its log says what it lacks").into());
        };
        let token = self.token(text, keys, guest).map_err(|forged| Box::new(no_use(forged)))?;
        if let Some(stale) = token.stale_at(now) {
            return Err(no_use(stale).into());
        }
        if is_revoked(token.id) {
            return Err(no_use(Revoked).into());
        }
        lock(&guest.0).stranger = None;
        match missing(&token.grants, need) {
            None => Ok(Visitor::Holder(token)),
            Some(lack) => Err(forbidden(&lack).into()),
        }
    }

    /// The token of a text. A signature is checked once for each connection.
    fn token(
        &self,
        text: &str,
        keys: Arc<PublicKeys>,
        guest: &Guest,
    ) -> Result<Arc<AccessToken>, Forged> {
        // Hashes are compared in constant time.
        let hash = blake3::hash(text.as_bytes());
        let mut known = lock(&guest.0);
        if let Some((seen, by, token)) = &known.token
            && *seen == hash
            && Arc::ptr_eq(by, &keys)
        {
            return Ok(token.clone());
        }
        let token = Arc::new(AccessToken::open(text, &keys, self.cluster)?);
        known.token = Some((hash, keys, token.clone()));
        Ok(token)
    }

    /// The keys, as the file has them now, or had a moment ago.
    fn keys(&self) -> Option<Arc<PublicKeys>> {
        let mut keys = lock(&self.keys);
        if keys.looked.is_some_and(|at| at.elapsed() < self.look_every) {
            return keys.found.clone();
        }
        let is_first = keys.looked.replace(Instant::now()).is_none();
        match PublicKeys::load(&self.certs) {
            Ok(found) if keys.found.as_deref() == Some(&found) => {}
            Ok(found) => keys.found = Some(Arc::new(found)),
            Err(error) => {
                if is_first || keys.found.is_some() {
                    tracing::error!("tokens over HTTP: {error} ({})", error.hint());
                }
                // Who takes the file away wants no token to hold; who cannot read it wants nothing.
                if error.is_missing() {
                    keys.found = None;
                }
            }
        }
        keys.found.clone()
    }
}

/// The token was good.
#[derive(Debug, Error)]
#[error("the token was revoked")]
struct Revoked;

/// What is missing for what is needed, if something is.
fn missing(grants: &Grants, need: &Need<'_>) -> Option<String> {
    match need {
        Need::Nothing | Need::Token => None,
        Need::Observe => (!grants.observe).then(|| "observe the cluster".to_owned()),
        Need::Never => Some("do this, and none does".to_owned()),
        Need::Logs(needed) => {
            // What is no name is no log that a grant means.
            let is_missing = |(right, log): &&(Right, &str)| {
                !log.parse::<LogName>().is_ok_and(|name| grants.allow(*right, &name))
            };
            let (right, log) = needed.iter().find(is_missing)?;
            Some(format!("{right} the log {log}"))
        }
    }
}

/// What stands behind `Bearer`, in the one header that there may be.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut said = headers.get_all(AUTHORIZATION).iter();
    let (Some(said), None) = (said.next(), said.next()) else { return None };
    let (scheme, text) = said.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| text.trim_matches(' '))
}

/// Nobody has said who he is, or not as it is said.
fn nobody() -> Answer {
    let sentence = "this door asks for a token";
    let hint = "send the header `authorization: Bearer TOKEN`, with what `annal token create` printed; \
                in an address it would be written down on the way";
    unauthorized(sentence, hint, "Bearer realm=\"annal\"")
}

/// The token is none, or holds no more.
fn no_use(reason: impl Display) -> Answer {
    let said =
        format!("Bearer realm=\"annal\", error=\"invalid_token\", error_description=\"{reason}\"");
    unauthorized(&reason.to_string(), "`annal token create` makes one", &said)
}

fn unauthorized(sentence: &str, hint: &str, said: &str) -> Answer {
    let mut answer = complaint(StatusCode::UNAUTHORIZED, sentence, hint);
    if let Ok(said) = HeaderValue::from_str(said) {
        answer.headers_mut().insert(WWW_AUTHENTICATE, said);
    }
    leave(&mut answer);
    answer
}

fn forbidden(lack: &str) -> Answer {
    let sentence = format!("the token does not allow to {lack}");
    let hint = "`annal token show` says what it allows";
    let mut answer = complaint(StatusCode::FORBIDDEN, sentence, hint);
    let said = HeaderValue::from_static("Bearer realm=\"annal\", error=\"insufficient_scope\"");
    answer.headers_mut().insert(WWW_AUTHENTICATE, said);
    answer
}

/// Whoever gets this answer comes back by another connection.
pub(super) fn leave(answer: &mut Answer) {
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
}

/// A panic ends the process: whoever locks next finds what is whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
