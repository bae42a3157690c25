//! `annal fence`: the word that appends have to name, for those that name one.

use super::args::Fence;
use super::failure::{End, Failure};
use super::output::Printer;
use super::rows::FenceRow;
use crate::client::{AppendError, Client};
use crate::label::FenceToken;
use crate::outcome::Outcome;

/// What is to be done with the fence.
pub(super) enum Fencing {
    Show,
    Set(Option<FenceToken>),
}

impl Fencing {
    /// Understands what was typed.
    pub(super) fn of(args: &Fence) -> Self {
        match *args {
            Fence { clear: true, .. } => Self::Set(None),
            Fence { token: Some(token), .. } => Self::Set(Some(token)),
            Fence { .. } => Self::Show,
        }
    }

    /// Does it, and prints the fence that there is.
    pub(super) async fn run(self, client: &Client, printer: &mut Printer) -> Result<(), End> {
        let fence = match self {
            Self::Show => client.fence().await?,
            Self::Set(token) => {
                client.set_fence(token).await.map_err(|error| unset(&error))?;
                token
            }
        };
        Ok(printer.print_now(&FenceRow { fence })?)
    }
}

fn unset(error: &AppendError) -> Failure {
    if error.token().is_some() {
        let sentence = "no answer came: the fence may be set, or may still be";
        let hint = "set it again, which does no harm; `annal fence` shows which there is";
        return Failure::new(Outcome::Unknown, sentence, hint);
    }
    Failure::of_append(error, error)
}
