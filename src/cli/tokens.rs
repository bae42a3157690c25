//! `annal token …`: what lets somebody in over HTTP.
//!
//! Making one asks nobody: it is signed with the key in `certs/`, and each node knows it by the public
//! half of that. Revoking one is a command in the log, which an admin may ask for.

use std::io::{self, BufRead as _, Write};
use std::time::Duration;

use serde::Serialize;

use super::args::{Allowed, NewToken, TokenVerb, Tokens};
use super::connection::{Target, target};
use super::failure::{End, Failure};
use super::moment::now;
use super::output::{Printer, Row, talk};
use super::reach::Reach;
use super::runtime;
use crate::access::{
    self, AccessToken, Grant, Grants, KeyError, PublicKeys, Right, Rights, SigningKey, TokenId,
};
use crate::client::AppendError;
use crate::date::rfc3339;
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
            runtime::wait(revoke(Reach::new(target), token))
        }
        TokenVerb::ListRevoked => runtime::wait(list_revoked(Reach::new(target), printer)),
        TokenVerb::NewKey { drop_former } => new_key(&target, drop_former, printer),
    }
}

/// Makes a token and prints it.
fn create(target: &Target, new: NewToken, printer: &mut Printer) -> Result<(), End> {
    let key = SigningKey::load(&target.certs)?;
    let made = now().get() / 1000;
    let number = u64::from_le_bytes(super::local::random()?);
    let id = TokenId::new(made + new.expires.as_secs(), number);
    let (cluster, name) = (target.cluster, new.name);
    let token = AccessToken { cluster, id, made, name, grants: grants(new)? };
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

/// What was said that a token is to allow.
fn grants(new: NewToken) -> Result<Grants, Failure> {
    let right = |allowed: &Allowed| match allowed {
        Allowed::Read => Some(Right::Read),
        Allowed::Append => Some(Right::Append),
        Allowed::Manage => Some(Right::Manage),
        Allowed::Observe => None,
    };
    let observe = new.allow.contains(&Allowed::Observe);
    let usage = |sentence, hint| Failure::new(Outcome::Usage, sentence, hint);
    match (Rights::of(new.allow.iter().filter_map(right)), new.logs.as_slice()) {
        (None, []) => Ok(Grants { logs: vec![], observe }),
        (None, _) => {
            let sentence = "nothing is allowed with these logs";
            Err(usage(sentence.to_owned(), "--allow read, append, manage, or several with commas"))
        }
        (Some(rights), []) => {
            let sentence = format!("it is not said which logs --allow {rights} is for");
            Err(usage(sentence, "as --log 'orders/*', or --log '*' for all"))
        }
        (Some(_), logs) if logs.len() > limits::GRANTS_MAX => {
            let sentence = format!("a token is for {} patterns at most", limits::GRANTS_MAX);
            Err(usage(sentence, "one pattern means many logs, as 'orders/*'"))
        }
        (Some(rights), _) => {
            let grant = |logs| Grant { logs, rights };
            Ok(Grants { logs: new.logs.into_iter().map(grant).collect(), observe })
        }
    }
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

/// Revokes a token, unless its time is over.
async fn revoke(reach: Reach, token: TokenId) -> Result<(), End> {
    let left = token.expires().get().saturating_sub(now().get());
    if left == 0 {
        talk(format_args!("token {token} has expired already, and is not revoked"));
        return Ok(());
    }
    if Duration::from_millis(left) > limits::TOKEN_LIFE_MAX + limits::TOKEN_CLOCKS_APART {
        let sentence = format!("{token} would expire later than any token does");
        return Err(
            Failure::new(Outcome::Usage, sentence, "`annal token show` says a token's id").into()
        );
    }
    let revoked = reach.admin()?.revoke_token(token).await;
    Ok(revoked.map(|_| ()).map_err(|error| unrevoked(token, &error))?)
}

fn unrevoked(token: TokenId, error: &AppendError) -> Failure {
    if error.token().is_some() {
        let sentence = format!("no answer came: token {token} may be revoked, or may still be");
        return Failure::new(Outcome::Unknown, sentence, "revoke it again, which does no harm");
    }
    Failure::of_append(error, error)
}

/// Lists those that are revoked and whose time is not over.
async fn list_revoked(reach: Reach, printer: &mut Printer) -> Result<(), End> {
    let revoked = reach.client()?.revoked_tokens().await?;
    for token in revoked.into_iter().filter(|token| token.expires() > now()) {
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

fn shown(time: Timestamp) -> String {
    rfc3339(time).unwrap_or_else(|| "never".to_owned())
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

#[derive(Serialize)]
struct GrantRow {
    log: String,
    allow: String,
}

impl TokenRow {
    fn of(token: &AccessToken) -> Self {
        let AccessToken { id, name, made, ref grants, .. } = *token;
        let grant = |grant: &Grant| GrantRow {
            log: grant.logs.to_string(),
            allow: grant.rights.to_string(),
        };
        Self {
            id,
            name,
            logs: grants.logs.iter().map(grant).collect(),
            observe: grants.observe,
            made_at: shown(Timestamp::new(made.saturating_mul(1000))),
            expires_at: shown(id.expires()),
            stale: token.stale_at(now()).map(|stale| stale.to_string()),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn said(logs: &[&str], allow: &[Allowed]) -> Result<Grants, Failure> {
        let logs = logs.iter().map(|text| text.parse().unwrap()).collect();
        let expires = Duration::from_secs(1);
        grants(NewToken { logs, allow: allow.to_vec(), expires, name: None })
    }

    #[test]
    fn what_a_token_allows_is_said_whole() {
        use Allowed::{Append, Observe, Read};
        let grants = said(&["a/*", "b"], &[Read, Append, Observe]).unwrap();
        assert!(grants.observe && grants.logs.len() == 2);
        assert!(grants.allow(Right::Append, &"b".parse().unwrap()));
        assert_eq!(said(&[], &[Observe]).unwrap(), Grants { logs: vec![], observe: true });
        for (logs, allow) in [(&["a"][..], &[Observe][..]), (&[], &[Read]), (&["a"; 17], &[Read])] {
            assert_eq!(said(logs, allow).unwrap_err().outcome, Outcome::Usage, "{logs:?}");
        }
    }
}
