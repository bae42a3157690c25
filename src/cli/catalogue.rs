//! `annal log …`: which logs there are.

use std::io::{self, IsTerminal as _};

use super::args::{Kept, LogVerb};
use super::failure::{End, Failure};
use super::output::{Printer, talk};
use super::rows::LogRow;
use crate::client::{Client, LogError};
use crate::log_name::LogName;
use crate::outcome::Outcome;
use crate::types::Offset;

/// Does what is asked of a log, and prints how it stands then.
pub(super) async fn run(client: &Client, verb: LogVerb, printer: &mut Printer) -> Result<(), End> {
    match verb {
        LogVerb::Create { name, fork_of, at, settings } => {
            let log = match fork_of {
                None => client.create_log_with(&name, settings.into()).await?,
                Some(source) => {
                    let at = at.map(Offset::new);
                    client.fork_log_with(&name, &source, at, settings.into()).await?
                }
            };
            Ok(printer.print_now(&LogRow::from(log))?)
        }
        LogVerb::List { prefix } => {
            for log in client.logs(&prefix).await? {
                printer.print_now(&LogRow::from(log))?;
            }
            Ok(())
        }
        LogVerb::Describe { name } => {
            let log = client.log_state(&name).await?;
            Ok(printer.print_now(&LogRow::from(log))?)
        }
        LogVerb::Configure { name, kept } => configure(client, &name, kept, printer).await,
        LogVerb::Close { name } => Ok(client.log(&name).await?.close_log().await?),
        LogVerb::Delete { name, yes } => delete(client, name, yes).await,
    }
}

/// Changes how much of a log is kept, as far as that is said, and prints how it stands then.
async fn configure(
    client: &Client,
    name: &LogName,
    kept: Kept,
    printer: &mut Printer,
) -> Result<(), End> {
    if kept.is_silent() {
        let sentence = format!("nothing was said of what is to change of {name}");
        let hint = "give --retention-age, --retention-bytes or --retention-records";
        return Err(Failure::new(Outcome::Usage, sentence, hint).into());
    }
    let log = client.usable_state(name).await?;
    client.about(log.number).configure_log(kept.upon(log.settings.retention)).await?;
    Ok(printer.print_now(&LogRow::from(client.log_state(name).await?))?)
}

/// Deletes a log, once it is certain that it is meant.
async fn delete(client: &Client, name: LogName, is_meant: bool) -> Result<(), End> {
    // Looked up once: what is asked about is what is deleted, whoever takes the name meanwhile.
    let log = client.usable_state(&name).await?;
    if !is_meant {
        let count = log.next_offset;
        let kept = match log.forks {
            0 => "",
            1 => ", which a fork may keep",
            _ => ", which its forks may keep",
        };
        ask(&name, &format!("{name} has {count} records{kept}; type its name to delete it: "))
            .await?;
    }
    Ok(client.about(log.number).delete_log().await?)
}

/// Has the name typed again.
async fn ask(name: &LogName, question: &str) -> Result<(), Failure> {
    if !io::stdin().is_terminal() {
        let sentence =
            format!("log {name} would be deleted with all its records, and nobody is asked");
        return Err(Failure::new(Outcome::Usage, sentence, "give --yes if that is meant"));
    }
    talk(question);
    let typed = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        io::stdin().read_line(&mut line).map(|_| line)
    });
    let typed = typed.await.ok().and_then(Result::ok).unwrap_or_default();
    if typed.trim() == name.as_str() {
        return Ok(());
    }
    let hint = format!("`annal log delete {name} --yes` does not ask");
    Err(Failure::new(Outcome::Failed, "nothing was deleted: that is not its name", hint))
}

/// Lets a log begin at this offset.
pub(super) async fn trim(client: &Client, before: Offset) -> Result<(), End> {
    client.trim(before).await.map_err(LogError::from)?;
    Ok(())
}
