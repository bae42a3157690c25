//! `annal client …`: a verb and its end, or a prompt for many.

use super::append::Typed;
use super::args::Client as Arguments;
use super::connection::{self, target};
use super::failure::End;
use super::output::Printer;
use super::reach::Reach;
use super::verb::Verb;
use super::{runtime, shell};
use crate::limits;

/// Runs a client's command.
pub(super) fn run(args: Arguments, printer: &mut Printer) -> Result<(), End> {
    let Arguments { connection, verb } = args;
    let Some(verb) = verb else { return shell::run(&connection, "annal client", printer) };
    // What is wrong with the words is said before anybody is asked for the cluster.
    let verb = Verb::of(verb, Typed::to_the_system(&connection))?;
    let mut target = target(&connection)?;
    if verb.has_time() && connection.timeout.is_none() {
        target.timeout = limits::CLIENT_TIMEOUT_NONE;
    }
    if !connection::names_nodes(&connection) {
        verb.check(&target)?;
    }
    runtime::wait(async { verb.perform(&Reach::new(target), printer).await.map(|_| ()) })
}
