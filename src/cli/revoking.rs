//! Revoking a token or a certificate by its name, which has in it until when that is remembered.

use std::time::Duration;

use super::failure::{End, Failure};
use super::output::talk;
use super::reach::Reach;
use crate::access::TokenId;
use crate::client::AppendError;
use crate::date::wall_clock;
use crate::limits;
use crate::outcome::Outcome;

/// Revokes a token or a certificate, as `what` says, unless its time is over. Whether it is revoked now.
pub(super) async fn revoke(reach: Reach, what: &str, id: TokenId) -> Result<bool, End> {
    let left = id.expires().get().saturating_sub(wall_clock().get());
    if left == 0 {
        talk(format_args!("{what} {id} has expired already, and is not revoked"));
        return Ok(false);
    }
    if Duration::from_millis(left) > limits::TOKEN_LIFE_MAX + limits::TOKEN_CLOCKS_APART {
        let sentence = format!("{id} would expire later than any {what} does");
        let hint = "`annal token show` and `annal cert show` say an id";
        return Err(Failure::new(Outcome::Usage, sentence, hint).into());
    }
    let revoked = reach.admin()?.revoke_token(id).await;
    revoked.map_err(|error| unrevoked(what, id, &error))?;
    Ok(true)
}

fn unrevoked(what: &str, id: TokenId, error: &AppendError) -> Failure {
    if error.token().is_some() {
        let sentence = format!("no answer came: {what} {id} may be revoked, or may still be");
        return Failure::new(Outcome::Unknown, sentence, "revoke it again, which does no harm");
    }
    Failure::of_append(error, error)
}
