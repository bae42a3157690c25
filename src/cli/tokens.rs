//! `annal token …`: what lets somebody in over HTTP.
//!
//! Making one asks nobody: it is signed with the key in `certs/`, and each node knows it by the public
//! half of that. Revoking one is a command in the log, which an admin may ask for.

use std::io::{self, BufRead as _, Write};

use serde::Serialize;

use super::args::{NewToken, TokenVerb, Tokens};
use super::connection::{Target, target};
use super::failure::{End, Failure};
use super::grants::{self, GrantRow};
use super::moment::shown;
use super::output::{Printer, Row, talk};
use super::reach::Reach;
use super::revoking::revoke;
use super::runtime;
use crate::access::{self, AccessToken, KeyError, PublicKeys, SigningKey, TokenId};
use crate::date::wall_clock;
use crate::label::Label;
use crate::limits;
use crate::outcome::Outcome;
use crate::types::Timestamp;

/// Does what is asked for.
pub(super) fn run(args: Tokens, printer: &mut Printer) -> Result<(), End> {
    let target = target(&args.connection)?;
    match args.verb {
        TokenVerb::Create(new) => create(&target, new, printer),
        TokenVerb::Show { token } => show(&target, token, printer),
        TokenVerb::Revoke { token } => {
            let token = meant(&target, token)?;
            runtime::wait(revoke(Reach::new(target), "token", token)).map(|_| ())
        }
        TokenVerb::ListRevoked => runtime::wait(list_revoked(Reach::new(target), printer)),
        TokenVerb::NewKey { drop_former } => new_key(&target, drop_former, printer),
    }
}

/// Makes a token and prints it.
fn create(target: &Target, new: NewToken, printer: &mut Printer) -> Result<(), End> {
    let key = SigningKey::load(&target.certs)?;
    let made = wall_clock().get() / 1000;
    let number = u64::from_le_bytes(super::local::random()?);
    let id = TokenId::new(made + new.expires.as_secs(), number);
    let (cluster, name) = (target.cluster, new.name);
    let token = AccessToken { cluster, id, made, name, grants: grants::of(new.logs, &new.allow)? };
    let text = token.sign(&key).map_err(|error| {
        Failure::new(Outcome::Usage, error, "say less: fewer logs, or shorter names of them")
    })?;
    printer.print_now(&NewTokenRow { token: &text, row: TokenRow::of(&token) })?;
    if !printer.is_json() {
        let expires = shown(token.id.expires());
        talk(format_args!("token {id} holds until {expires}; whoever sees it has it"));
    }
    Ok(())
}

/// Shows what a token allows.
fn show(target: &Target, token: Option<String>, printer: &mut Printer) -> Result<(), End> {
    let keys = PublicKeys::load(&target.certs)?;
    let token = opened(&typed(token)?, &keys, target)?;
    Ok(printer.print_now(&TokenRow::of(&token))?)
}

/// The token of a text, if this cluster's key has signed it.
fn opened(text: &str, keys: &PublicKeys, target: &Target) -> Result<AccessToken, Failure> {
    AccessToken::open(text.trim(), keys, target.cluster).map_err(|forged| {
        let hint = "it begins with annal1_, and was made with a key that certs/tokens.pub has";
        Failure::new(Outcome::Failed, forged, hint)
    })
}

/// Which token is meant, by its id or itself.
fn meant(target: &Target, token: Option<String>) -> Result<TokenId, Failure> {
    let text = typed(token)?;
    if let Ok(id) = text.trim().parse() {
        return Ok(id);
    }
    let keys = PublicKeys::load(&target.certs)?;
    Ok(opened(&text, &keys, target)?.id)
}

/// Lists those that are revoked and whose time is not over.
async fn list_revoked(reach: Reach, printer: &mut Printer) -> Result<(), End> {
    let revoked = reach.client()?.revoked_tokens().await?;
    for token in revoked.into_iter().filter(|token| token.expires() > wall_clock()) {
        printer.print_now(&RevokedRow { id: token, expires_at: shown(token.expires()) })?;
    }
    Ok(())
}

/// What was typed, or stands on a line of the input.
fn typed(token: Option<String>) -> Result<String, Failure> {
    if let Some(token) = token.filter(|token| token != "-") {
        return Ok(token);
    }
    let mut line = String::new();
    let most = limits::TOKEN_BYTES_MAX as u64 * 2;
    let read = io::Read::take(io::stdin().lock(), most).read_line(&mut line);
    read.map_err(|error| {
        let sentence = format!("the token could not be read: {error}");
        Failure::new(Outcome::Failed, sentence, "give it as an argument, or as a line of the input")
    })?;
    Ok(line)
}

/// Makes a new key.
fn new_key(target: &Target, drop_former: bool, printer: &mut Printer) -> Result<(), End> {
    let keys = access::renew(&target.certs, !drop_former)?;
    let file = target.certs.join(access::PUBLIC_FILE).display().to_string();
    printer.print_now(&KeysRow { keys: keys.count(), file })?;
    if !printer.is_json() {
        talk("nodes on other machines need that file beside their certificates, within seconds");
    }
    Ok(())
}

impl From<KeyError> for Failure {
    fn from(error: KeyError) -> Self {
        Self::new(Outcome::Failed, &error, error.hint())
    }
}

impl From<KeyError> for End {
    fn from(error: KeyError) -> Self {
        Failure::from(error).into()
    }
}

/// A token that was made.
#[derive(Serialize)]
struct NewTokenRow<'a> {
    token: &'a str,
    #[serde(flatten)]
    row: TokenRow,
}

impl Row for NewTokenRow<'_> {
    fn human(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{}", self.token)
    }
}

/// What a token says.
#[derive(Serialize)]
struct TokenRow {
    id: TokenId,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<Label<64>>,
    logs: Vec<GrantRow>,
    observe: bool,
    made_at: String,
    expires_at: String,
    /// Why it does not hold now.
    #[serde(skip_serializing_if = "Option::is_none")]
    stale: Option<String>,
}

impl TokenRow {
    fn of(token: &AccessToken) -> Self {
        let AccessToken { id, name, made, ref grants, .. } = *token;
        Self {
            id,
            name,
            logs: grants::rows(grants),
            observe: grants.observe,
            made_at: shown(Timestamp::new(made.saturating_mul(1000))),
            expires_at: shown(id.expires()),
            stale: token.stale_at(wall_clock()).map(|stale| stale.to_string()),
        }
    }
}

impl Row for TokenRow {
    fn human(&self, out: &mut dyn Write) -> io::Result<()> {
        let name = self.name.map(|name| format!(" ({name})")).unwrap_or_default();
        writeln!(out, "token {}{name}", self.id)?;
        writeln!(out, "  made {}, expires {}", self.made_at, self.expires_at)?;
        for GrantRow { log, allow } in &self.logs {
            writeln!(out, "  {allow} {log}")?;
        }
        if self.observe {
            writeln!(out, "  observe the cluster")?;
        }
        self.stale.iter().try_for_each(|stale| writeln!(out, "  {stale}"))
    }
}

/// A token that is revoked.
#[derive(Serialize)]
struct RevokedRow {
    id: TokenId,
    expires_at: String,
}

impl Row for RevokedRow {
    fn human(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{}, until {}", self.id, self.expires_at)
    }
}

/// Which keys there are.
#[derive(Serialize)]
struct KeysRow {
    /// How many have tokens that hold.
    keys: usize,
    file: String,
}

impl Row for KeysRow {
    fn human(&self, out: &mut dyn Write) -> io::Result<()> {
        match self.keys {
            1 => writeln!(out, "a new key signs tokens; {} has its public half alone", self.file),
            keys => writeln!(out, "a new key signs tokens; {} has {keys}", self.file),
        }
    }
}
